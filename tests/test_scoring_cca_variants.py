"""SVCCA, PWCCA and subspace angles against SciPy, scikit-learn's PCA and the formulas; CCA on hard input."""

import warnings

import numpy as np
import pytest
import scipy.linalg
from sklearn.decomposition import PCA

from hlvm.scoring import cca, pwcca, subspace_angles, svcca
from hlvm.scoring.correlation.whitening import whiten

RNG = np.random.default_rng(0)


def hard_input(kind):
    rng = np.random.default_rng(3)
    n = 12 if kind == "tiny" else 400
    a = rng.normal(size=(n, 5))
    b = np.column_stack([a[:, :2] + 0.5 * rng.normal(size=(n, 2)), rng.normal(size=(n, 2))])
    if kind == "rank-deficient":
        a[:, 4] = a[:, 0] - 2 * a[:, 1]
    if kind == "ill-conditioned":
        u, _, vt = np.linalg.svd(a - a.mean(axis=0), full_matrices=False)
        a = u @ np.diag(np.geomspace(1, 1e-8, 5)) @ vt
    if kind == "duplicated rows":
        a, b = np.repeat(a[:100], 4, axis=0), np.repeat(b[:100], 4, axis=0)
    if kind == "constant column":
        a[:, 3] = 0.3
    return a, b


# Condition number 1e8 leaves 16 − 8 digits of the smallest direction.
TOLERANCE = {"ill-conditioned": 1e-6}


@pytest.mark.parametrize(
    "kind", ["random", "rank-deficient", "ill-conditioned", "tiny", "duplicated rows", "constant column"]
)
def test_cca_in_sample_agrees_with_scipy_on_hard_input(kind):
    a, b = hard_input(kind)
    expected = np.cos(scipy.linalg.subspace_angles(_orth(a), _orth(b)))[::-1]
    found = cca(a, b, groups=np.arange(len(a)))
    np.testing.assert_allclose(found.in_sample, expected, atol=TOLERANCE.get(kind, 1e-9))
    np.testing.assert_allclose(subspace_angles(a, b), np.arccos(expected), atol=1e2 * TOLERANCE.get(kind, 1e-9))
    assert np.isfinite(found.correlations).all()


@pytest.mark.parametrize("kind", ["random", "ill-conditioned"])
def test_cca_in_sample_agrees_with_statsmodels_on_hard_input(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns about its own imports
        from statsmodels.multivariate.cancorr import CanCorr
    a, b = hard_input(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CanCorr(b, a, tolerance=1e-12).cancorr
    np.testing.assert_allclose(cca(a, b).in_sample, expected, atol=TOLERANCE.get(kind, 1e-9))


def _orth(rows):
    return scipy.linalg.orth(rows - rows.mean(axis=0), rcond=1e-11)


def test_whiten_takes_the_covariance_only_when_it_is_well_conditioned():
    for kind, expected in (("random", True), ("rank-deficient", False), ("ill-conditioned", False)):
        rows, _ = hard_input(kind)
        found = whiten(rows, 1e-10)
        assert found.well_conditioned is expected
        basis = found.basis(rows)
        np.testing.assert_allclose(basis.T @ basis, np.eye(found.rank), atol=1e-6)
    wide = whiten(RNG.normal(size=(20, 50)), 1e-10)
    assert wide.rank == 19


def test_cca_float32_rounding_is_no_direction_and_float64_has_finer_ones():
    a = RNG.normal(size=(200, 2))
    fine = np.column_stack([a, a[:, 0] + 1e-8 * RNG.normal(size=200)])
    assert cca(fine, a).rank_a == 3
    assert cca(fine.astype(np.float32), a).rank_a == 2


def test_subspace_angles_small_angles_are_accurate():
    x, y = np.linalg.qr(RNG.normal(size=(100, 2)) - 0)[0].T
    x, y = x - x.mean(), y - y.mean()
    y -= x * (x @ y) / (x @ x)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    np.testing.assert_allclose(subspace_angles(x, np.cos(1e-9) * x + np.sin(1e-9) * y), [1e-9], rtol=1e-5)
    np.testing.assert_allclose(subspace_angles(x, y), [np.pi / 2])
    assert subspace_angles(np.ones(20), RNG.normal(size=20)).shape == (0,)


@pytest.mark.parametrize("variance", [0.8, 0.99, 1.0])
def test_svcca_equals_cca_of_the_leading_components(variance):
    a = RNG.normal(size=(300, 6)) * np.geomspace(1, 0.01, 6)
    b = np.column_stack([a[:, 0] + RNG.normal(size=300), RNG.normal(size=(300, 2))])
    count = variance if variance < 1 else None
    reduced = [PCA(count, svd_solver="full").fit_transform(array) for array in (a, b)]
    found = svcca(a, b, variance=variance)
    np.testing.assert_allclose(found.in_sample, cca(*reduced).in_sample, atol=1e-9)
    assert (found.rank_a, found.rank_b) == (reduced[0].shape[1], reduced[1].shape[1])


def test_svcca_constant_arrays_and_bad_variance():
    assert svcca(np.full((20, 2), 0.1), RNG.normal(size=(20, 2))).mean == 0
    with pytest.raises(ValueError, match="variance: expected a share above 0"):
        svcca(RNG.normal(size=20), RNG.normal(size=20), variance=0.0)


def test_pwcca_weights_are_those_of_the_formula():
    a, b = hard_input("random")
    found = pwcca(a, b)
    from sklearn.cross_decomposition import CCA

    model = CCA(n_components=4, scale=False, max_iter=5000, tol=1e-12).fit(a, b)
    h = model.transform(a)
    h /= np.linalg.norm(h, axis=0)
    weights = np.abs(h.T @ (a - a.mean(axis=0))).sum(axis=1)
    expected = weights @ cca(a, b).in_sample / weights.sum()
    assert found.in_sample == pytest.approx(expected, abs=1e-4)  # scikit-learn iterates to its own tolerance
    assert found.value < found.in_sample
    assert pwcca(np.ones((20, 1)), b[:20]).value == 0


def test_cca_variants_of_independent_arrays_are_about_zero_held_out_only():
    a, b = RNG.normal(size=(2, 300, 40))
    for found in (svcca(a, b, key=0), cca(a, b, key=0)):
        assert abs(found.mean) < 0.05
        assert found.in_sample.mean() > 0.3
    weighted = pwcca(a, b, key=0)
    assert abs(weighted.value) < 0.05
    assert weighted.in_sample > 0.3
