"""MCC, DCI, SAP, MIG, CKA and mutual information against libraries, formulas and their own nulls."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.feature_selection import mutual_info_regression, r_regression
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import KBinsDiscretizer

from hlvm.scoring import cka, dci, mcc, mig, mutual_information, permutation_test, sap

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(300, 3))
NOISE = RNG.normal(size=(300, 3))
MIXED = Z @ RNG.normal(size=(3, 3)) + 0.5 * NOISE
ALIGNED = np.column_stack([Z[:, 1] ** 3, -Z[:, 2], 2 * Z[:, 0]])


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_mcc_equals_the_best_of_all_permutations(method):
    correlation = np.array(
        [[np.corrcoef(a, b)[0, 1] if method == "pearson" else spearmanr(a, b)[0] for b in Z.T] for a in MIXED.T]
    )
    best = max(np.abs(correlation[list(order), range(3)]).mean() for order in itertools.permutations(range(3)))
    assert mcc(MIXED, Z, method=method) == pytest.approx(best, abs=1e-12)


def test_mcc_ranks_see_through_monotone_maps_and_constants_count_as_zero():
    assert mcc(ALIGNED, Z, method="spearman") == pytest.approx(1)
    assert mcc(ALIGNED, Z) < 0.95
    assert mcc(np.column_stack([Z[:, :2], np.ones(300)]), Z) == pytest.approx(2 / 3)


def test_mcc_unequal_columns_and_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="expected as many columns in both arrays, got 2 and 3"):
        mcc(Z[:, :2], Z)
    with pytest.raises(ValueError, match="method"):
        mcc(Z, Z, method="kendall")


def test_sap_equals_linear_regressions_on_single_coordinates():
    scores = np.array([[LinearRegression().fit(a[:, None], b).score(a[:, None], b) for b in Z.T] for a in MIXED.T])
    ordered = np.sort(scores, axis=0)
    assert sap(MIXED, Z) == pytest.approx((ordered[-1] - ordered[-2]).mean(), abs=1e-12)
    np.testing.assert_allclose(scores[:, 0], r_regression(MIXED, Z[:, 0]) ** 2)
    with pytest.raises(ValueError, match="at least 2 columns"):
        sap(Z[:, 0], Z)


def test_mig_equals_binned_entropies():
    def entropy(*columns):
        _, counts = np.unique(np.column_stack(columns), axis=0, return_counts=True)
        return -(counts / 300 * np.log(counts / 300)).sum()

    binned = [
        KBinsDiscretizer(20, encode="ordinal", strategy="uniform").fit_transform(array).astype(int)
        for array in (MIXED, Z)
    ]
    shares = np.array(
        [[(entropy(a) + entropy(b) - entropy(a, b)) / entropy(b) for b in binned[1].T] for a in binned[0].T]
    )
    ordered = np.sort(shares, axis=0)
    assert mig(MIXED, Z) == pytest.approx((ordered[-1] - ordered[-2]).mean(), abs=1e-10)
    assert mig(MIXED, np.ones(300)) == 0
    with pytest.raises(ValueError, match="bins"):
        mig(MIXED, Z, bins=1)


def test_dci_tells_aligned_from_mixed_from_noise():
    aligned, mixed, noise = (dci(code, Z, key=0, n_trees=20) for code in (ALIGNED, MIXED, NOISE))
    assert aligned.disentanglement > 0.9
    assert aligned.completeness > 0.9
    assert aligned.informativeness > 0.9
    assert aligned.importance.argmax(axis=0).tolist() == [2, 0, 1]
    np.testing.assert_allclose(aligned.importance.sum(axis=0), 1)
    assert mixed.disentanglement < 0.6
    assert noise.informativeness < 0.1
    assert noise.disentanglement < 0.2
    for latents in (np.full(40, 0.1), np.full((40, 2), 1e6 + 0.3)):  # their mean is off by rounding
        assert dci(NOISE[:40], latents, key=0, n_trees=3).informativeness == 0
    huge = dci(1e140 * ALIGNED, 1e140 * Z, key=0, n_trees=20)  # beyond float32, which the trees compare in
    assert huge.informativeness == pytest.approx(aligned.informativeness, abs=0.01)
    constant = dci(np.ones((40, 2)), Z[:40], key=0, n_trees=3)
    assert (constant.disentanglement, constant.completeness, constant.informativeness) == (0, 0, 0)


@pytest.mark.parametrize("shape", [(60, 4, 3), (15, 40, 30)])
def test_cka_equals_the_kernel_formulas(shape):
    n, p, q = shape
    a, b = RNG.normal(size=(n, p)), RNG.normal(size=(n, q))
    b[:, 0] += a[:, 0]
    centre = np.eye(n) - 1 / n

    def plain(x, y):
        return np.trace(x @ x.T @ centre @ y @ y.T @ centre)

    def unbiased(x, y):
        k, l = x @ x.T * (1 - np.eye(n)), y @ y.T * (1 - np.eye(n))  # noqa: E741
        one = np.ones(n)
        rest = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ l @ one
        return (np.trace(k @ l) + rest) / (n * (n - 3))

    for debiased, hsic in ((False, plain), (True, unbiased)):
        expected = hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b))
        assert cka(a, b, debiased=debiased) == pytest.approx(expected, abs=1e-9)


def test_cka_wide_noise_is_near_one_only_without_the_correction():
    a, b = RNG.normal(size=(2, 50, 500))
    assert cka(a, b, debiased=False) > 0.85
    assert abs(cka(a, b)) < 0.05
    assert cka(a, 3 * a @ np.linalg.qr(RNG.normal(size=(500, 500)))[0] + 1) == pytest.approx(1)
    assert cka(np.ones((50, 2)), b) == 0


def test_mutual_information_is_scikit_learns_and_near_the_gaussian_value():
    rho = 0.8
    a = RNG.normal(size=2000)
    b = rho * a + np.sqrt(1 - rho**2) * RNG.normal(size=2000)
    found = mutual_information(np.column_stack([a, RNG.normal(size=2000)]), b, key=0)
    assert found.shape == (2, 1)
    assert found[0, 0] == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.08)
    assert found[1, 0] < 0.05
    expected = mutual_info_regression(a[:, None], b, n_neighbors=3, random_state=1)[0]
    assert found[0, 0] == pytest.approx(expected, abs=0.01)  # other tie-breaking noise and order of rows
    with pytest.raises(ValueError, match="neighbours"):
        mutual_information(Z, Z, key=0, neighbours=0)


SCORES = {
    "mcc": mcc,
    "sap": sap,
    "mig": mig,
    "cka": cka,
    "dci": lambda a, b: dci(a, b, key=0, n_trees=3).informativeness,
    "mi": lambda a, b: float(mutual_information(a, b, key=0).mean()),
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_permutation_test_tells_every_score_from_its_null(score):
    signal = permutation_test(score, ALIGNED[:120], Z[:120], key=0, n_permutations=19)
    assert signal.p_value == 0.05
    assert signal.observed == pytest.approx(score(ALIGNED[:120], Z[:120]))
    noise = permutation_test(score, NOISE[:120], Z[:120], key=1, n_permutations=19)
    assert noise.p_value > 0.05


def test_permutation_test_p_values_are_uniform_under_independence():
    p_values = [
        permutation_test(mcc, *np.random.default_rng(s).normal(size=(2, 30, 4)), key=s, n_permutations=19).p_value
        for s in range(120)
    ]
    # 120 tests at 10 %: more than 23 or fewer than 3 rejections happen with probability below 0.002 (binomial).
    assert 3 <= np.sum(np.array(p_values) <= 0.1) <= 23
