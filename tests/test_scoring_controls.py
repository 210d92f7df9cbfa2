"""The permutation null: honest under independence, unmoved by the factorisation trick."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from hlvm.scoring import (
    RegressionConfig,
    controlled_r2,
    kernel_r2,
    leakage,
    leakage_many,
    normalised_r2,
    paired_difference,
    permutation_null,
    r2_over_seeds,
)
from hlvm.scoring.controls import _permuted

SMALL = RegressionConfig(max_train=100, n_boot=20, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-2, 1.0))


def test_permutation_null_observed_and_each_null_score_equal_kernel_r2():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(150, 2))
    x = z + rng.normal(size=z.shape)
    found = permutation_null(x, z, key=1, n_permutations=3, config=SMALL)
    score = kernel_r2(x, z, key=1, config=SMALL)
    assert found.observed == pytest.approx(score.value, abs=1e-9)

    from hlvm.scoring.inputs import random_streams

    rng, used = random_streams(1).permutation, np.concatenate([score.split.train, score.split.test])
    for null in found.null:
        shuffled = z.copy()
        shuffled[used] = z[rng.permutation(used)]
        assert null == pytest.approx(kernel_r2(x, shuffled, key=1, config=SMALL).value, abs=1e-9)


def test_permutation_null_separates_signal_from_noise():
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=(2, 200, 2))
    signal = permutation_null(z + noise, z, key=1, config=SMALL)
    assert signal.p_value == 0.01
    assert signal.chance == pytest.approx(0, abs=0.05)
    assert signal.upper < 0.1 < signal.observed
    assert permutation_null(noise, z, key=1, config=SMALL).p_value > 0.05


def test_permutation_null_p_values_are_valid_under_independence():
    p_values = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        x, z = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
        p_values.append(permutation_null(x, z, key=seed, n_permutations=19, config=SMALL).p_value)
    # 120 tests at 10 %: more than 22 rejections happen with probability 0.001 (binomial).
    assert np.sum(np.array(p_values) <= 0.1) <= 22
    assert np.mean(p_values) > 0.4


def test_permutation_null_standardises_each_permutation_by_its_own_training_rows():
    z = np.random.default_rng(0).normal(size=(50, 2))
    split = kernel_r2(z, z, key=0).split
    train, test, kept = _permuted(z, split, 4, np.random.default_rng(1))
    assert train.shape == (30, 10)
    assert test.shape == (20, 10)
    assert kept.all()
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(train.std(axis=0), 1)


def test_permutation_null_rare_event_and_constants():
    x = np.random.default_rng(0).normal(size=(40, 2))
    rare = np.zeros(40)
    rare[:3] = 1.0
    found = permutation_null(x, np.column_stack([rare, x[:, 0]]), key=0, n_permutations=19)
    assert np.isfinite(found.null).all()
    with pytest.raises(ValueError, match="at least one column that varies"):
        permutation_null(x, np.ones(40), key=0)
    with pytest.raises(ValueError, match="n_permutations must be a whole number of at least 1"):
        permutation_null(x, x, key=0, n_permutations=0)


def test_leakage_of_style_caused_by_content_equals_its_closed_form():
    """s = a c + b e: the content itself explains a²/(a² + b²) of it, and an exact code no more."""
    rng = np.random.default_rng(0)
    c, e, own = rng.normal(size=(3, 2500))
    style = 0.6 * c + 0.8 * e
    config = RegressionConfig(max_train=800, bandwidths=(1.0, 2.0, 4.0), ridges=(1e-3, 1e-1, 1.0, 10.0), n_boot=200)
    clean = leakage(np.sinh(c), c, style, key=0, config=config)
    closed_form = 0.36
    assert clean.from_content.low < closed_form < clean.from_content.high
    assert clean.from_content.value == pytest.approx(closed_form, abs=0.04)  # 2 standard errors of 1,000 test rows
    assert clean.excess.low < 0.01 > clean.excess.value
    assert abs(clean.beyond.value) < 0.02
    # A code that lost most of the content for some style scores no more than the content, and leaks all the same.
    leaky = leakage(0.5 * style + 0.9 * own, c, style, key=0, config=config)
    assert leaky.excess.high < 0
    assert leaky.beyond.low > 0.05


def test_leakage_many_equals_one_at_a_time():
    rng = np.random.default_rng(0)
    c, s, e = rng.normal(size=(3, 150, 2))
    code = c + 0.3 * s
    together = leakage_many(code, c, {"s": s, "e": e}, key=2, config=SMALL)
    for name, style in {"s": s, "e": e}.items():
        alone = leakage(code, c, style, key=2, config=SMALL)
        for field in ("excess", "beyond"):
            expected = dataclasses.astuple(getattr(alone, field))
            assert dataclasses.astuple(getattr(together[name], field)) == pytest.approx(expected, abs=1e-9)


def test_controlled_r2_equals_every_control_on_its_own():
    rng = np.random.default_rng(0)
    z, noise, style = rng.normal(size=(3, 200, 2))
    code, floor, ceiling = z + 0.5 * noise, z + 2 * noise, np.tanh(z)
    found = controlled_r2(code, z, floor=floor, ceiling=ceiling, style=style, key=1, n_permutations=19, config=SMALL)
    alone = [kernel_r2(array, z, key=1, config=SMALL) for array in (code, floor, ceiling)]
    assert [of.value for of in (found.score, found.floor, found.ceiling)] == [of.value for of in alone]
    assert found.chance.p_value == permutation_null(code, z, key=1, n_permutations=19, config=SMALL).p_value == 0.05
    assert found.above_floor == paired_difference(*alone[:2], key=1)
    assert found.normalised == normalised_r2(alone[0], floor=alone[1], ceiling=alone[2], key=1)
    assert found.leakage.beyond == leakage(code, z, style, key=1, config=SMALL).beyond
    table = found.table.set_index("what")
    assert table.loc["score", ["value", "low", "high", "p_value"]].tolist() == [*_ends(alone[0]), 0.05]
    assert table.loc["ceiling", ["value", "low", "high"]].tolist() == _ends(alone[2])
    assert table.loc["normalised", "value"] == found.normalised.value
    assert table.loc["chance", "high"] == found.chance.upper
    bare = controlled_r2(code, z, key=1, n_permutations=19, config=SMALL)
    assert (bare.floor, bare.ceiling, bare.above_floor, bare.normalised, bare.leakage) == (None,) * 5
    assert bare.table["what"].tolist() == ["score", "chance"]


def _ends(score):
    return [score.value, score.low, score.high]


def test_normalised_r2_is_the_place_between_floor_and_ceiling():
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=(2, 800, 2))
    floor, score, ceiling = (kernel_r2(z + s * noise, z, key=1, config=SMALL) for s in (2.0, 0.7, 0.2))
    found = normalised_r2(score, floor=floor, ceiling=ceiling, key=0)
    expected = (score.value - floor.value) / (ceiling.value - floor.value)
    assert found.value == pytest.approx(expected)
    assert 0 < found.low < expected < found.high < 1
    assert normalised_r2(floor, floor=floor, ceiling=ceiling, key=0).value == 0
    undefined = normalised_r2(score, floor=ceiling, ceiling=floor, key=0)
    assert np.isnan(dataclasses.astuple(undefined)).all()
    with pytest.raises(ValueError, match="different splits"):
        normalised_r2(score, floor=kernel_r2(z, z, key=2, config=SMALL), ceiling=ceiling, key=0)


def test_r2_over_seeds_covers_the_mean_over_fits_and_samples():
    """Fits differ by their own noise level, all are scored on the same rows: the truth is the mean over both."""
    rng = np.random.default_rng(0)
    config = RegressionConfig(max_train=60, n_boot=60, bandwidths=(4.0,), ridges=(1e-1, 1.0))
    repeats, n_fits = 60, 4
    intervals = []
    for repeat in range(repeats):
        z = rng.normal(size=100)
        levels = rng.uniform(0.5, 1.0, size=n_fits)
        scores = [kernel_r2(z + level * rng.normal(size=100), z, key=repeat, config=config) for level in levels]
        intervals.append(r2_over_seeds(scores, key=repeat, n_boot=100))
    truth = np.mean([interval.value for interval in intervals])
    covered = sum(interval.low <= truth <= interval.high for interval in intervals)
    assert covered >= 51  # 60 at 95 %: fewer than 51 happen with probability 0.0005 (binomial)
    with pytest.raises(ValueError, match="at least 2"):
        r2_over_seeds(scores[:1], key=0)


def test_r2_over_seeds_with_other_rows_is_students_t():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 150))
    scores = [kernel_r2(row + rng.normal(size=150), row, key=i, config=SMALL) for i, row in enumerate(z)]
    values = np.array([score.value for score in scores])
    low, high = stats.t.interval(0.95, 4, values.mean(), values.std(ddof=1) / np.sqrt(5))
    assert dataclasses.astuple(r2_over_seeds(scores, key=0)) == pytest.approx((values.mean(), low, high))
