"""CCA against statsmodels and closed forms."""

import warnings

import numpy as np
import pytest
import scipy.linalg

from hlvm.scoring import cca, cca_many

RNG = np.random.default_rng(0)


def correlated(n, rho, extra=0, seed=0):
    """Two arrays whose population canonical correlations are ``rho`` (and 0 for the extra columns)."""
    rng = np.random.default_rng(seed)
    rho = np.asarray(rho)
    a = rng.normal(size=(n, len(rho)))
    b = rho * a + np.sqrt(1 - rho**2) * rng.normal(size=a.shape)
    mix_a, mix_b = (rng.normal(size=(len(rho) + extra,) * 2) for _ in range(2))
    pad_a, pad_b = (rng.normal(size=(n, extra)) for _ in range(2))
    return np.column_stack([a, pad_a]) @ mix_a, np.column_stack([b, pad_b]) @ mix_b


def test_cca_in_sample_agrees_with_statsmodels():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns about its own imports
        from statsmodels.multivariate.cancorr import CanCorr
    a, b = correlated(300, [0.9, 0.5], extra=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CanCorr(b[:, :3], a).cancorr
    np.testing.assert_allclose(cca(a, b[:, :3]).in_sample, expected, atol=1e-10)


def awkward_inputs():
    rng = np.random.default_rng(5)
    base = rng.normal(size=(60, 4))
    a, b = base @ rng.normal(size=(4, 5)) + 0.5 * rng.normal(size=(60, 5)), base[:, :3] + rng.normal(size=(60, 3))
    u, _, v = np.linalg.svd(a, full_matrices=False)
    return {
        "random": (a, b),
        "rank-deficient": (a[:, [0, 1, 0, 2, 1]] * [1, 2, 3, 4, 5], b),
        "condition 1e8": (u * np.geomspace(1, 1e-8, 5) @ v, b),
        "ten rows": (a[:10], b[:10]),
        "constant column": (np.c_[a, np.ones(60)], b),
        "duplicated rows": (np.r_[a, a], np.r_[b, b]),
        "more columns than rows": (rng.normal(size=(20, 30)), b[:20]),
        "both wide": (rng.normal(size=(12, 30)), rng.normal(size=(12, 20))),
    }


@pytest.mark.parametrize("name", awkward_inputs())
def test_cca_in_sample_agrees_with_the_angles_between_subspaces_of_scipy(name):
    arrays = awkward_inputs()[name]
    spaces = (scipy.linalg.orth(x - x.mean(axis=0), rcond=1e-10) for x in arrays)
    expected = np.sort(np.cos(scipy.linalg.subspace_angles(*spaces)))[::-1]
    found = cca(*arrays, groups=np.arange(len(arrays[0]))).in_sample
    np.testing.assert_allclose(found[: len(expected)], expected, atol=1e-9)
    np.testing.assert_allclose(found[len(expected) :], 0, atol=1e-9)


@pytest.mark.parametrize("key", [None, 0])
def test_cca_held_out_is_near_the_population_and_in_sample_is_not(key):
    a, b = correlated(1000, [0.95, 0.6], extra=6)
    found = cca(a, b, key=key)
    np.testing.assert_allclose(found.correlations[:2], [0.95, 0.6], atol=0.06)
    np.testing.assert_allclose(found.correlations[2:], 0, atol=0.15)  # 4 standard errors of 500 rows
    assert (found.in_sample > found.correlations - 0.02).all()
    assert found.mean == pytest.approx(found.correlations.mean())


def test_cca_of_noise_is_zero_held_out_and_one_in_sample_when_columns_exceed_rows():
    a, b = RNG.normal(size=(40, 30)), RNG.normal(size=(40, 25))
    found = cca(a, b)
    np.testing.assert_allclose(found.in_sample[:16], 1)
    assert abs(found.mean) < 0.15
    wide = cca(RNG.normal(size=(40, 100)), b)
    assert wide.rank_a == 39
    assert np.isfinite(wide.correlations).all()


def test_cca_is_invariant_to_invertible_linear_maps():
    a, b = correlated(200, [0.9, 0.5])
    other = cca(a @ [[1e3, 2.0], [0.0, 1e-2]] + 5, b @ [[1.0, 1.0], [1.0, -1.0]])
    np.testing.assert_allclose(other.correlations, cca(a, b).correlations, atol=1e-8)


def test_cca_rank_deficient_and_constant_columns_count_as_missing():
    a, b = correlated(300, [0.999, 0.999])
    collapsed = np.column_stack([a[:, 0], 2 * a[:, 0], np.full(300, 0.3)])
    found = cca(collapsed, b)
    assert (found.rank_a, found.rank_b) == (1, 2)
    assert found.correlations.shape == (1,)
    assert found.mean == pytest.approx(found.correlations[0] / 2)
    assert 0.45 < found.mean < 0.5
    same = cca(np.column_stack([a, a @ [1, 1], np.ones(300)]), b)
    np.testing.assert_allclose(same.correlations, cca(a, b).correlations, atol=1e-8)


def test_cca_constant_arrays_have_no_correlation():
    found = cca(np.ones((20, 2)), RNG.normal(size=(20, 2)))
    assert found.correlations.shape == (0,)
    assert found.mean == 0
    assert found.rank_a == 0


def test_cca_column_constant_in_one_half_gives_no_nan():
    a = RNG.normal(size=(40, 2))
    a[::2, 1] = 3.0
    found = cca(a, RNG.normal(size=(40, 3)))
    assert found.correlations.shape == (2,)
    assert np.isfinite(found.correlations).all()


def test_cca_duplicated_rows_and_one_column_are_fine():
    x = RNG.normal(size=15)
    found = cca(np.repeat(x, 4), -np.repeat(x, 4), groups=np.repeat(np.arange(15), 4))
    np.testing.assert_allclose(found.correlations, [1.0])


def test_cca_interval_agrees_with_the_bootstrap_of_held_out_rows():
    a, b = correlated(400, [0.8, 0.3], extra=1)
    found = cca(a, b)
    halves = np.arange(400)[::2], np.arange(400)[1::2]
    rng = np.random.default_rng(1)
    draws = np.zeros(400)
    for fit_on, test_on in (halves, halves[::-1]):
        directions = _directions(a[fit_on], b[fit_on])
        for i in range(len(draws)):
            rows = rng.choice(test_on, len(test_on))
            u, v = a[rows] @ directions[0], b[rows] @ directions[1]
            draws[i] += sum(np.corrcoef(u[:, j], v[:, j])[0, 1] for j in range(3)) / 6
    assert found.low < found.mean < found.high
    # 400 draws know a standard deviation to 3.5 %; the jackknife is first order.
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * draws.std(), rel=0.12)


def _directions(a, b):
    """Canonical directions by the generalised eigenproblem, another route than the one under test."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    values, left = np.linalg.eig(np.linalg.solve(a.T @ a, a.T @ b) @ np.linalg.solve(b.T @ b, b.T @ a))
    left = left[:, np.argsort(-values.real)].real
    return left, np.linalg.solve(b.T @ b, b.T @ a @ left)


def test_cca_many_equals_one_at_a_time():
    a, b = correlated(120, [0.9, 0.4])
    both = cca_many(a, {"b": b, "first": b[:, 0]}, key=3)
    for name, other in {"b": b, "first": b[:, 0]}.items():
        alone = cca(a, other, key=3)
        assert both[name].correlations.tolist() == alone.correlations.tolist()
        assert (both[name].low, both[name].high) == (alone.low, alone.high)
    with pytest.raises(ValueError, match="at least one array"):
        cca_many(a, {})
