"""Rank tests: against statsmodels, and of the right size at every step."""

import warnings

import numpy as np
import pytest
from scipy.stats import chi2

from hlvm.scoring import cca_rank


def shared(n, rho, p, q, rng):
    a, b = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    for i, r in enumerate(rho):
        b[:, i] = r * a[:, i] + np.sqrt(1 - r**2) * b[:, i]
    return a @ rng.normal(size=(p, p)), b @ rng.normal(size=(q, q))


def test_cca_rank_bartlett_is_the_chi_squared_form_of_the_wilks_lambda_of_statsmodels():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns about its own imports
        from statsmodels.multivariate.cancorr import CanCorr
    a, b = shared(300, [0.8, 0.4], 5, 3, np.random.default_rng(0))
    found = cca_rank(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wilks = CanCorr(b, a).corr_test().stats["Wilks' lambda"].to_numpy(dtype=float)
    np.testing.assert_allclose(np.cumprod((1 - found.correlations**2)[::-1])[::-1], wilks, rtol=1e-10)
    first = chi2.sf(-(300 - 1 - (5 + 3 + 1) / 2) * np.log(wilks[0]), 15)  # no correction at the first step
    assert found.p_values[0] == pytest.approx(first, rel=1e-8)
    assert found.rank == 2


@pytest.mark.parametrize("method", ["bartlett", "permutation"])
@pytest.mark.parametrize("rho", [[], [0.95], [0.95, 0.8]])
def test_cca_rank_is_too_high_no_more_often_than_alpha(method, rho):
    rng = np.random.default_rng(len(rho))
    repeats, n_permutations = (400, 0) if method == "bartlett" else (200, 39)
    ranks = np.array(
        [
            cca_rank(*shared(80, rho, 4, 3, rng), method=method, key=i, n_permutations=n_permutations or 39).rank
            for i in range(repeats)
        ]
    )
    assert (ranks >= len(rho)).mean() > 0.97  # these correlations are always seen with 80 rows
    # At 5 %, more than 9 % of 400 (11 % of 200) rejections happen with probability below 0.001 (binomial).
    assert (ranks > len(rho)).mean() <= (0.09 if method == "bartlett" else 0.11)


def test_cca_rank_permutation_is_stepwise():
    """The second p-value is uniform under a strong first correlation; permuting whole arrays makes it far too small."""
    rng = np.random.default_rng(0)
    second = [
        cca_rank(*shared(60, [0.95], 3, 3, rng), method="permutation", key=i, n_permutations=39).p_values[1]
        for i in range(100)
    ]
    assert 0.38 < np.mean(second) < 0.65  # 4 standard errors of a uniform mean; the running maximum only raises it


def test_cca_rank_counts_collinear_and_constant_columns_once():
    a, b = shared(200, [0.9], 2, 2, np.random.default_rng(1))
    found = cca_rank(np.column_stack([a, a @ [1, 1], np.ones(200)]), b)
    assert found.p_values.shape == (2,)
    assert found.rank == 1
    assert cca_rank(np.ones((50, 2)), b[:50]).rank == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.0}, "alpha: expected a number strictly between"),
        ({"method": "wilks"}, "method: expected"),
        ({"method": "permutation"}, "permutations need a key"),
        ({"method": "permutation", "key": 0, "n_permutations": 5}, "at least 1/alpha"),
        ({"b": np.random.default_rng(1).normal(size=(30, 27))}, "keep fewer principal components"),
    ],
)
def test_cca_rank_bad_input_is_refused(changes, message):
    arrays = {"a": np.random.default_rng(0).normal(size=(30, 3)), "b": np.random.default_rng(1).normal(size=(30, 2))}
    with pytest.raises(ValueError, match=message):
        cca_rank(**(arrays | changes))
