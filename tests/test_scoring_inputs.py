"""What the scores accept and refuse, how they split, and their bootstrap."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from hlvm.scoring import bootstrap_mean, cca, kernel_r2, linear_r2, permutation_null
from hlvm.scoring.inputs import matrix, random_streams
from hlvm.scoring.intervals import percentile_limits, resampling_weights
from hlvm.scoring.regression.splitting import Standardiser, random_split

Z = np.random.default_rng(0).normal(size=(60, 2))
SCORES = {
    "kernel_r2": lambda a, b: kernel_r2(a, b, key=0),
    "linear_r2": lambda a, b: linear_r2(a, b, key=0),
    "permutation_null": lambda a, b: permutation_null(a, b, key=0, n_permutations=2),
    "cca": cca,
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.where(np.arange(120).reshape(60, 2) == 5, np.nan, Z), Z, "1 NaN or infinite values, the first in row 2"),
        (Z, np.where(np.arange(120).reshape(60, 2) == 8, np.inf, Z), "1 NaN or infinite values, the first in row 4"),
        (Z, Z[:50], "got 60 rows in .* and 50 in"),
        (Z[:9], Z[:9], "at least 10 rows"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "at least 10 rows"),
        (np.zeros((60, 0)), Z, "at least 10 rows and 1 column"),
        (np.zeros((60, 2, 2)), Z, "flatten everything after the first axis"),
        (np.ma.masked_array(Z, Z > 2), Z, "masked array with 1 masked entries"),
        (pd.DataFrame({"a": Z[:, 0], "b": "text"}), Z, "column 'b': expected numbers"),
        (Z.astype(object), Z, "got Python objects"),
        (pd.DataFrame(Z, index=range(1, 61)), pd.DataFrame(Z), "expected rows with the same labels"),
        (Z.astype(complex), Z, "expected real numbers, got dtype complex128"),
        (Z.astype(str), Z, "expected real numbers"),
    ],
)
def test_scores_unfit_arrays_are_refused(score, a, b, message):
    with pytest.raises(ValueError, match=message):
        score(a, b)


@pytest.mark.parametrize("convert", [jnp.asarray, np.float32, np.ndarray.tolist, np.asfortranarray])
def test_kernel_r2_accepts_any_array_like(convert):
    assert kernel_r2(convert(Z), convert(Z), key=0).value == pytest.approx(kernel_r2(Z, Z, key=0).value, abs=1e-4)


def test_scores_pair_frames_by_their_labels():
    frame = pd.DataFrame(Z, index=[f"row {i}" for i in range(60)])
    assert kernel_r2(frame, frame.iloc[::-1], key=0).value == kernel_r2(Z, Z, key=0).value
    assert cca(frame, frame.iloc[::-1]).mean == cca(Z, Z).mean


@pytest.mark.parametrize("kind", ["grad", "bfloat16", "float64"])
def test_scores_accept_tensors_that_numpy_alone_refuses(kind):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(Z)
    tensor = {
        "grad": tensor.clone().requires_grad_(),
        "bfloat16": tensor.to(torch.bfloat16),
        "float64": tensor,
    }[kind]
    tolerance = 0.02 if kind == "bfloat16" else 1e-12
    assert kernel_r2(tensor, Z, key=0).value == pytest.approx(kernel_r2(Z, Z, key=0).value, abs=tolerance)
    assert cca(tensor, Z).mean == pytest.approx(1, abs=tolerance)
    collinear = torch.cat([tensor, tensor[:, :1] + tensor[:, 1:]], dim=1)
    assert cca(collinear, Z).rank_a == 2  # in bfloat16 the sum is off by 0.4 %


@pytest.mark.parametrize("unit", [1e-310, 1e-200, 1e140, 1e300])
def test_regressions_do_not_depend_on_extreme_units(unit):
    for score in (kernel_r2, linear_r2):
        plain = score(Z @ [[1.0, 1.0], [0.0, 2.0]], Z, key=0).value
        assert score(unit * (Z @ [[1.0, 1.0], [0.0, 2.0]]), unit * Z, key=0).value == pytest.approx(plain, abs=1e-9)


def test_matrix_accepts_bfloat16_and_one_axis():
    assert matrix("z", jnp.arange(12, dtype=jnp.bfloat16)).tolist() == [[float(i)] for i in range(12)]


def test_random_streams_same_key_same_streams_and_every_kind_of_key():
    for make in (lambda s: jax.random.key(s), lambda s: jax.random.PRNGKey(s), lambda s: s, np.int64):
        first, again, other = (random_streams(make(s)) for s in (1, 1, 2))
        assert first.split.integers(2**60) == again.split.integers(2**60)
        assert first.bootstrap.integers(2**60) != other.bootstrap.integers(2**60)
        draws = {stream.integers(2**60) for stream in random_streams(make(3))}
        assert len(draws) == len(random_streams(make(3)))


@pytest.mark.parametrize(
    ("key", "message"),
    [(None, "got None"), (0.5, "got 0.5"), (-1, "got -1"), (jax.random.split(jax.random.key(0), 3), "batch")],
)
def test_random_streams_bad_keys_are_refused(key, message):
    with pytest.raises(ValueError, match=message):
        random_streams(key)


@pytest.mark.parametrize("n_rows", [2, 10, 57, 5000])
def test_random_split_parts_are_disjoint_and_within_limits(n_rows):
    split = random_split(n_rows, np.random.default_rng(0), test_fraction=0.4, max_train=1500, max_test=400)
    assert not set(split.train) & set(split.test)
    assert len(split.test) == min(max(round(0.4 * n_rows), 1), 400)
    assert len(split.train) == min(n_rows - max(round(0.4 * n_rows), 1), 1500)
    assert set(split.train) | set(split.test) <= set(range(n_rows))


def test_standardiser_uses_training_rows_only_and_zeroes_constant_columns():
    train = np.column_stack([Z, np.full(60, 0.1, dtype=np.float32)])
    standardiser = Standardiser.fit(train)
    out = standardiser.apply(train + np.array([0, 0, 5.0]))
    np.testing.assert_allclose(out[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(out[:, :2].std(axis=0), 1)
    assert (out[:, 2] == 0).all()


def test_resampling_weights_match_drawing_the_rows():
    weights = resampling_weights(20, 7, np.random.default_rng(3))
    drawn = np.random.default_rng(3).integers(0, 20, size=(7, 20))
    values = np.random.default_rng(4).normal(size=20)
    np.testing.assert_allclose(weights @ values, values[drawn].sum(axis=1))
    assert (weights.sum(axis=1) == 20).all()


def test_percentile_limits_ignore_undefined_resamples():
    draws = np.column_stack([np.arange(101.0), np.where(np.arange(101) < 51, np.nan, 7.0), np.full(101, np.nan)])
    low, high = percentile_limits(draws, 0.9)
    np.testing.assert_allclose(low, [5, 7, np.nan])
    np.testing.assert_allclose(high, [95, 7, np.nan])


def test_bootstrap_mean_interval_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_mean(values, key=1)
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=0.1 * half)


@pytest.mark.parametrize(
    ("values", "level", "message"), [([1.0], 0.9, "at least 2"), ([1.0, np.nan], 0.9, "finite"), ([1, 2], 1.5, "level")]
)
def test_bootstrap_mean_bad_input_is_refused(values, level, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, key=0, level=level)
