"""Kernel and linear R² against scikit-learn, brute-force refitting and direct resampling."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from hlvm.scoring import (
    Interval,
    RegressionConfig,
    kernel_r2,
    kernel_r2_many,
    linear_r2,
    linear_r2_many,
    mlp_r2,
    paired_difference,
)
from hlvm.scoring.regression.kernels import KERNELS, kernel_matrix, soften
from hlvm.scoring.regression.nystroem import fit_nystroem
from hlvm.scoring.regression.ridge import Grid, Problem, fit_exact, fit_linear, kernel_loo
from hlvm.scoring.regression.splitting import Standardiser

SMALL = RegressionConfig(max_train=200, n_boot=200)
EXACT = 1e-8  # same float64 algebra in another order; the worst kernel here has condition number 2e8


def curved(n=500, d=2, seed=0):
    """Latents and an invertible, curved, noise-free code of them."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    mixed = z @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    return mixed + 0.5 * np.tanh(2 * mixed), z


def standardised(score, x, y):
    train, test = score.split.train, score.split.test
    fx, fy = Standardiser.fit(x[train]), Standardiser.fit(y[train])
    return fx.apply(x[train]), fx.apply(x[test]), fy.apply(y[train]), fy.apply(y[test])


@pytest.mark.parametrize(("noise", "limit"), [(0.0, math.inf), (0.5, math.inf), (0.5, 4.0)])
def test_kernel_r2_agrees_with_scikit_learn_at_the_chosen_pair(noise, limit):
    x, y = curved()
    x = x + noise * np.random.default_rng(9).normal(size=x.shape)
    score = kernel_r2(x, y, key=3, config=dataclasses.replace(SMALL, soft_limit=limit))
    x_train, x_test, y_train, y_test = standardised(score, x, y)
    x_train, x_test = soften(x_train, limit), soften(x_test, limit)
    oracle = KernelRidge(kernel="rbf", gamma=1 / (2 * score.bandwidth**2), alpha=score.ridge).fit(x_train, y_train)
    predicted = oracle.predict(x_test)
    np.testing.assert_allclose(score.targets - score.residuals, predicted, atol=EXACT)
    assert score.value == pytest.approx(r2_score(y_test, predicted, multioutput="variance_weighted"), abs=EXACT)
    np.testing.assert_allclose(score.per_dim, r2_score(y_test, predicted, multioutput="raw_values"), atol=EXACT)
    assert (score.n_train, score.n_test) == (200, 200)


def hard_input(kind):
    rng = np.random.default_rng(7)
    n = 14 if kind == "tiny" else 120
    x = rng.normal(size=(n, 200 if kind == "wide" else 5))
    if kind == "rank-deficient":
        x[:, 4] = x[:, 0] - 2 * x[:, 1]
    if kind == "ill-conditioned":
        u, _, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        x = u @ np.diag(np.geomspace(1, 1e-8, 5)) @ vt
    if kind == "duplicated rows":
        x = np.repeat(x[: n // 4], 4, axis=0)
    if kind == "constant column":
        x[:, 3] = 0.3
    standard = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    return x, np.column_stack([np.sin(standard[:, 0]), standard[:, 1]]) + 0.5 * rng.normal(size=(n, 2))


@pytest.mark.parametrize(
    "kind", ["rank-deficient", "ill-conditioned", "tiny", "duplicated rows", "constant column", "wide"]
)
def test_regressions_agree_with_scikit_learn_on_hard_input(kind):
    x, y = hard_input(kind)
    config = RegressionConfig(ridges=(1e-5, 1e-3, 1e-2, 1e-1, 1.0, 10.0), soft_limit=math.inf, n_boot=20)
    own = np.arange(len(x))  # equal rows are samples of their own here
    score = kernel_r2(x, y, key=3, groups=own, config=config)
    x_train, x_test, y_train, _ = standardised(score, x, y)
    if math.isfinite(score.ridge):
        oracle = KernelRidge(kernel="rbf", gamma=1 / (2 * score.bandwidth**2), alpha=score.ridge).fit(x_train, y_train)
        np.testing.assert_allclose(score.targets - score.residuals, oracle.predict(x_test), atol=EXACT)
        if kind in ("rank-deficient", "ill-conditioned", "constant column"):
            assert config.ridges[0] < score.ridge < config.ridges[-1], "an interior optimum"
    linear = linear_r2(x, y, key=3, groups=own, config=config)
    if math.isfinite(linear.ridge):
        oracle = Ridge(alpha=linear.ridge, fit_intercept=False, solver="svd").fit(x_train, y_train)
        np.testing.assert_allclose(linear.targets - linear.residuals, oracle.predict(x_test), atol=EXACT)


def test_linear_r2_many_equals_one_at_a_time():
    x, y = curved()
    together = linear_r2_many(x, {"all": y, "one": y[:, 0]}, key=3, config=SMALL)
    assert together["one"].value == pytest.approx(linear_r2(x, y[:, 0], key=3, config=SMALL).value, abs=EXACT)
    assert together["all"].value == pytest.approx(linear_r2(x, y, key=3, config=SMALL).value, abs=EXACT)


def test_linear_r2_agrees_with_scikit_learn_and_with_the_same_split():
    x, y = curved(d=3)
    score = linear_r2(x, y, key=3, config=SMALL)
    assert score.split.same_as(kernel_r2(x, y, key=3, config=SMALL).split)
    x_train, x_test, y_train, _ = standardised(score, x, y)
    oracle = Ridge(alpha=score.ridge, fit_intercept=False).fit(x_train, y_train)
    np.testing.assert_allclose(score.targets - score.residuals, oracle.predict(x_test), atol=EXACT)
    assert score.kernel == "linear"
    assert np.isnan(score.bandwidth)


@pytest.mark.parametrize("duplicated", [False, True])
def test_kernel_loo_equals_refitting_without_each_row(duplicated):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 3))
    if duplicated:
        x[20:], y[20:] = x[:20], y[:20]
    kernel = kernel_matrix(x, x, 1.3)
    coefficients, loo = kernel_loo(kernel, y, 0.01)
    np.testing.assert_allclose((kernel + 0.01 * np.eye(40)) @ coefficients, y, atol=EXACT)
    for i in range(40):
        rest = np.arange(40) != i
        oracle = KernelRidge(kernel="precomputed", alpha=0.01).fit(kernel[np.ix_(rest, rest)], y[rest])
        np.testing.assert_allclose(loo[i], y[i] - oracle.predict(kernel[i : i + 1, rest])[0], atol=EXACT)


@pytest.mark.parametrize("columns", [2, 60])
def test_fit_linear_selection_equals_refitting_without_each_row(columns):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, columns))
    y = x[:, :2] + rng.normal(size=(40, 2))
    ridges = (0.1, 1.0, 10.0, 100.0)
    selected = fit_linear(Problem(x, x[:5], y, np.array([0, 1])), ridges=ridges)
    errors = np.zeros((len(ridges) + 1, 2))
    errors[-1] = (y**2).sum(axis=0)  # the infinite ridge predicts the mean, 0
    for i in range(40):
        rest = np.arange(40) != i
        for k, ridge in enumerate(ridges):
            oracle = Ridge(alpha=ridge, fit_intercept=False).fit(x[rest], y[rest])
            errors[k] += (y[i] - oracle.predict(x[i : i + 1])[0]) ** 2
    np.testing.assert_allclose((selected.loo**2).sum(axis=0), errors.min(axis=0), rtol=EXACT)
    np.testing.assert_array_equal(selected.ridge, np.array([*ridges, np.inf])[errors.argmin(axis=0)])


def test_fit_exact_chooses_the_least_leave_one_out_error_of_each_group():
    x, y = curved(n=80)
    y = np.column_stack([y, np.random.default_rng(5).normal(size=80)])
    y -= y.mean(axis=0)
    bandwidths, ridges = (0.3, 1.0, 3.0), (1e-4, 1e-2, 1.0)
    selected = fit_exact(Problem(x, x, y, np.array([0, 0, 1])), Grid(bandwidths, ridges, 1.0))
    errors = {
        (b, r): (kernel_loo(kernel_matrix(x, x, b), y, r)[1] ** 2).sum(axis=0) @ [[1, 0], [1, 0], [0, 1]]
        for b in bandwidths
        for r in ridges
    }
    best = min(errors, key=lambda pair: errors[pair][0])
    assert (selected.bandwidth[0], selected.ridge[0]) == best
    assert selected.ridge[1] == np.inf  # noise: predicting the mean is best
    assert (selected.predictions[:, 2] == 0).all()


def test_kernel_r2_interval_equals_resampling_the_test_rows():
    x, y = curved()
    x = x + np.random.default_rng(1).normal(size=x.shape)
    config = dataclasses.replace(SMALL, n_boot=2000)
    score = kernel_r2(x, y, key=3, config=config)
    rng, predicted = np.random.default_rng(0), score.targets - score.residuals
    rows = rng.integers(0, score.n_test, size=(2000, score.n_test))
    draws = [r2_score(score.targets[i], predicted[i], multioutput="variance_weighted") for i in rows]
    # Two Monte Carlo quantiles of 2,000 draws each differ by about 6 % of the interval (3 standard errors).
    slack = 0.1 * (score.high - score.low)
    assert (score.low, score.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=slack)
    assert score.low < score.value < score.high
    assert ((score.per_dim_low < score.per_dim) & (score.per_dim < score.per_dim_high)).all()


def test_kernel_r2_many_equals_scoring_each_target_alone():
    x, y = curved()
    noise = np.random.default_rng(1).normal(size=(500, 3))
    targets = {"all": y, "one": y[:, 0], "noise": noise, "rough": np.sin(4 * y)}
    together = kernel_r2_many(x, targets, key=3, config=SMALL)
    assert list(together) == list(targets)
    for name, target in targets.items():
        alone = kernel_r2(x, target, key=3, config=SMALL)
        for field in ("value", "low", "high", "bandwidth", "ridge", "grid_edge", "loo"):
            found, expected = getattr(together[name], field), getattr(alone, field)
            assert (
                found == pytest.approx(expected, abs=EXACT, nan_ok=True) if field != "grid_edge" else found == expected
            )
    assert together["rough"].bandwidth < together["all"].bandwidth


def test_kernel_r2_selection_and_fit_do_not_see_the_test_rows():
    x, y = curved()
    score = kernel_r2(x, y, key=3, config=SMALL)
    other_x, other_y = x.copy(), y.copy()
    other_y[score.split.test] = 100 * np.random.default_rng(1).normal(size=(200, 2)) + 7
    other_x[score.split.test] *= 30
    changed = kernel_r2(other_x, other_y, key=3, config=SMALL)
    assert changed.split.same_as(score.split)
    assert (changed.bandwidth, changed.ridge, changed.loo) == (score.bandwidth, score.ridge, score.loo)
    assert changed.value < 0.1


def test_soften_is_bounded_increasing_and_nearly_the_identity_inside():
    x = np.linspace(-50, 50, 1001)[:, None]
    assert (np.abs(soften(x, 4.0)) < 4).all()
    assert (np.diff(soften(x, 4.0), axis=0) > 0).all()
    np.testing.assert_allclose(soften(x[499:502], 4.0), x[499:502], rtol=1e-3)
    np.testing.assert_array_equal(soften(x, math.inf), x)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_kernel_r2_finds_invertible_curved_maps_and_linear_r2_does_not(d):
    rng = np.random.default_rng(d)
    z = rng.normal(size=(900, d))
    code = (z @ np.linalg.qr(rng.normal(size=(d, d)))[0]) ** 3
    config = RegressionConfig(max_train=540, n_boot=100)
    assert kernel_r2(z, code, key=0, config=config).value > 0.95
    assert kernel_r2(*curved(900, d), key=0, config=config).low > 0.95
    assert linear_r2(z, z**2, key=0, config=config).value < 0.3


def test_kernel_r2_of_noise_is_about_zero_at_every_seed():
    scores = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scores.append(kernel_r2(rng.normal(size=(200, 3)), rng.normal(size=(200, 2)), key=seed, config=SMALL).value)
    assert -0.03 < np.mean(scores) <= 0.005
    assert max(scores) < 0.06


def test_kernel_r2_one_extrapolated_row_does_not_decide_the_score():
    z = np.random.default_rng(1).normal(size=(500, 2))
    score = kernel_r2(np.sinh(z), z, key=0, config=dataclasses.replace(SMALL, max_train=300))
    plain = dataclasses.replace(SMALL, max_train=300, soft_limit=math.inf)
    assert kernel_r2(np.sinh(z), z, key=0, config=plain).value < 0  # near interpolation, wild beyond the training rows
    assert score.value > 0.95


def test_kernel_r2_does_not_depend_on_units_or_order_of_columns():
    x, y = curved()
    score = kernel_r2(x, y, key=3, config=SMALL)
    other = kernel_r2(x[:, ::-1] * [1e-6, 1e5] + [3e-6, 3e5], y * [1e4, 1e-3] - 1, key=3, config=SMALL)
    assert other.value == pytest.approx(score.value, abs=1e-6)


def test_kernel_r2_constant_target_columns_are_nan_and_do_not_count():
    x, y = curved()
    score = kernel_r2(x, np.column_stack([np.full(500, 0.1), y]), key=3, config=SMALL)
    assert np.isnan(score.per_dim[0])
    assert np.isnan(score.per_dim_high[0])
    assert score.value == pytest.approx(kernel_r2(x, y, key=3, config=SMALL).value, abs=EXACT)
    nothing = kernel_r2(x, np.ones(500), key=3, config=SMALL)
    assert np.isnan([nothing.value, nothing.low, nothing.high, nothing.loo]).all()


def test_kernel_r2_target_constant_in_one_part_only_is_nan():
    x, y = curved(n=20)
    split = kernel_r2(x, y, key=0).split
    for part in (split.train, split.test):
        rare = np.zeros(20)
        rare[np.setdiff1d(np.arange(20), part)[0]] = 1.0
        assert np.isnan(kernel_r2(x, rare, key=0).value)


def test_kernel_r2_constant_representation_scores_zero():
    score = kernel_r2(np.ones((300, 3)), curved(300)[1], key=0)
    assert score.value == pytest.approx(0, abs=0.05)
    assert score.ridge == np.inf
    assert score.grid_edge == ()


@pytest.mark.parametrize("regress", [kernel_r2, linear_r2])
def test_regression_survives_collinear_duplicated_and_wide_input(regress):
    x, y = curved(n=120)
    noise = 1e-9 * np.random.default_rng(0).normal(size=(120, 500))
    plain = regress(x, y, key=0).value
    assert regress(np.column_stack([x, x, x @ [1, 1], np.ones(120)]), y, key=0).value > plain - 0.05
    tens = np.repeat(x[:12], 10, axis=0), np.repeat(y[:12], 10, axis=0)
    assert np.isfinite(regress(*tens, key=0, groups=np.arange(120)).value)
    assert np.isfinite(regress(np.column_stack([x, 1 + noise]), y, key=0).value)
    assert np.isfinite(regress(np.random.default_rng(1).normal(size=(120, 500)), y, key=0).value)


def test_kernel_r2_grid_edge_names_the_end_that_was_hit():
    x, y = curved()
    tight = dataclasses.replace(SMALL, bandwidths=(0.01, 0.02), ridges=(1e-6, 1e-2, 1.0))
    assert kernel_r2(x, y, key=3, config=tight).grid_edge[0] == "bandwidth"
    exact_and_linear = kernel_r2(x, x, key=3, config=dataclasses.replace(SMALL, soft_limit=math.inf))
    assert exact_and_linear.grid_edge == ("bandwidth", "ridge")
    wave = np.sin(4 * x).sum(axis=1) + 0.3 * np.random.default_rng(9).normal(size=500)
    roomy = dataclasses.replace(SMALL, bandwidths=(0.0625, 0.125, 0.25, 0.5, 1.0))
    assert kernel_r2(x, wave, key=3, config=roomy).grid_edge == ()


def test_paired_difference_is_sharper_than_the_two_intervals():
    x, y = curved(n=1000)
    rng = np.random.default_rng(9)
    common = rng.normal(size=x.shape)
    a = kernel_r2(x + 0.8 * common, y, key=3, config=SMALL)
    b = kernel_r2(x + 0.8 * common + 0.3 * rng.normal(size=x.shape), y, key=3, config=SMALL)
    found = paired_difference(a, b, key=5)
    assert found.value == pytest.approx(a.value - b.value)
    assert 0 < found.low < found.value < found.high
    assert found.high - found.low < 0.7 * np.hypot(a.high - a.low, b.high - b.low)
    assert paired_difference(a, a, key=5) == Interval(value=0.0, low=0.0, high=0.0)


def test_paired_difference_other_rows_or_targets_are_refused():
    x, y = curved()
    score = kernel_r2(x, y, key=3, config=SMALL)
    with pytest.raises(ValueError, match="different splits"):
        paired_difference(score, kernel_r2(x, y, key=4, config=SMALL), key=0)
    with pytest.raises(ValueError, match="different targets"):
        paired_difference(score, kernel_r2(x, y[:, ::-1], key=3, config=SMALL), key=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_fraction": 1.0}, "test_fraction: expected a number strictly between 0 and 1, got 1.0"),
        ({"level": 0.0}, "level"),
        ({"max_train": 2}, "max_train must be a whole number of at least 5, got 2"),
        ({"n_boot": 0}, "n_boot"),
        ({"soft_limit": 0.0}, "soft_limit"),
        ({"ridges": ()}, "ridges: expected increasing"),
        ({"ridges": (0.0, 1.0)}, "ridges"),
        ({"bandwidths": (1.0, 0.5)}, "bandwidths"),
        ({"landmarks": 6000}, "landmarks: expected at most max_exact"),
        ({"max_select": 1}, "max_select"),
    ],
)
def test_regression_config_bad_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RegressionConfig(**changes)


def test_kernel_r2_many_without_latents_is_refused():
    with pytest.raises(ValueError, match="latents: expected at least one"):
        kernel_r2_many(curved()[0], {}, key=0)


def test_kernel_r2_interval_holds_its_own_value_for_noise():
    rng = np.random.default_rng(5)
    for key in range(20):
        score = kernel_r2(rng.normal(size=(200, 2)), rng.normal(size=(200, 30)), key=key, config=SMALL)
        assert score.low <= score.value <= score.high


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_matrix_is_scikit_learns(kernel):
    from sklearn.gaussian_process.kernels import RBF, Matern

    a, b = np.random.default_rng(0).normal(size=(2, 30, 4))
    oracle = {
        "rbf": RBF(1.7),
        "laplace": Matern(1.7, nu=0.5),
        "matern32": Matern(1.7, nu=1.5),
        "matern52": Matern(1.7, nu=2.5),
    }[kernel]
    np.testing.assert_allclose(kernel_matrix(a, b, 1.7, kernel), oracle(a, b), atol=1e-12)
    np.testing.assert_allclose(np.diag(kernel_matrix(a, a, 1.7, kernel)), 1, atol=1e-6)


@pytest.mark.parametrize("kernel", ["laplace", "matern32", "matern52"])
def test_kernel_r2_agrees_with_scikit_learn_for_every_kernel(kernel):
    x, y = curved(n=300)
    x = x + 0.3 * np.random.default_rng(9).normal(size=x.shape)
    score = kernel_r2(x, y, key=3, config=dataclasses.replace(SMALL, kernel=kernel, soft_limit=math.inf))
    x_train, x_test, y_train, _ = standardised(score, x, y)
    oracle = KernelRidge(kernel="precomputed", alpha=score.ridge).fit(
        kernel_matrix(x_train, x_train, score.bandwidth, kernel), y_train
    )
    predicted = oracle.predict(kernel_matrix(x_test, x_train, score.bandwidth, kernel))
    np.testing.assert_allclose(score.targets - score.residuals, predicted, atol=EXACT)
    assert score.kernel == kernel
    assert score.nystroem_error == 0


def test_kernel_r2_chooses_as_leave_one_out_grid_search_of_scikit_learn():
    from sklearn.model_selection import GridSearchCV, LeaveOneOut

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=60)
    config = RegressionConfig(bandwidths=(0.5, 1.0), ridges=(1e-3, 1e-1, 10.0), soft_limit=math.inf, n_boot=5)
    score = kernel_r2(x, y, key=0, config=config)
    x_train, _, y_train, _ = standardised(score, x, y[:, None])
    unit = np.median(pdist(x_train))
    grid = {"gamma": [1 / (2 * (unit * b) ** 2) for b in config.bandwidths], "alpha": list(config.ridges)}
    search = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=LeaveOneOut(), scoring="neg_mean_squared_error")
    search.fit(x_train, y_train[:, 0])
    assert search.best_params_["alpha"] == score.ridge
    assert search.best_params_["gamma"] == pytest.approx(1 / (2 * score.bandwidth**2))
    assert config.ridges[0] < score.ridge < config.ridges[-1]


def test_fit_nystroem_with_every_row_a_landmark_is_exact():
    x, y = curved(n=150)
    x = x + 0.2 * np.random.default_rng(9).normal(size=x.shape)
    y = y - y.mean(axis=0)
    grid = Grid((1.0,), (1e-3, 1e-1, 10.0), 1.5)
    problem = Problem(x, x[:20], y, np.array([0, 1]))
    exact = fit_exact(problem, grid)
    found = fit_nystroem(problem, grid, n_landmarks=150, max_select=150)
    np.testing.assert_array_equal(found.ridge, exact.ridge)
    np.testing.assert_allclose(found.predictions, exact.predictions, atol=1e-6)  # the root of K loses half the digits
    np.testing.assert_allclose(found.loo, exact.loo, atol=1e-6)
    assert (found.missed < 1e-9).all()


def test_fit_nystroem_is_ridge_regression_on_scikit_learns_features():
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import Ridge as LinearRidge

    x, y = curved(n=400)
    y = y - y.mean(axis=0)
    grid = Grid((1.0,), (1e-2,), 1.5)
    found = fit_nystroem(Problem(x, x[:20], y, np.zeros(2, int)), grid, max_select=100, n_landmarks=40)
    # Fitted on the landmarks alone, scikit-learn has no others to choose from.
    features = Nystroem(gamma=1 / (2 * 1.5**2), n_components=40, random_state=0).fit(x[:40])
    phi = features.transform(x)
    oracle = LinearRidge(alpha=1e-2, fit_intercept=False).fit(phi, y)
    np.testing.assert_allclose(found.predictions, oracle.predict(phi[:20]), atol=1e-5)
    assert found.missed[0] == pytest.approx(1 - (phi**2).sum(axis=1).mean(), abs=1e-6)
    assert 0 < found.missed[0] < 0.2


def test_kernel_r2_beyond_max_exact_is_near_the_exact_score_and_says_what_it_missed():
    x, y = curved(n=2000)
    x = x + 0.3 * np.random.default_rng(9).normal(size=x.shape)
    exact = RegressionConfig(max_train=1200, n_boot=20)
    score = kernel_r2(x, y, key=0, config=exact)
    rough = dataclasses.replace(exact, max_exact=500, landmarks=100, max_select=300)
    approximate = kernel_r2(x, y, key=0, config=rough)
    assert approximate.value == pytest.approx(score.value, abs=0.01)
    assert approximate.split.same_as(score.split)
    assert 0 < approximate.nystroem_error < 0.05
    assert len(approximate.loo_residuals) == 1200


def test_kernel_r2_choosing_on_some_rows_fits_all_of_them():
    x, y = curved(n=900)
    config = RegressionConfig(max_train=500, max_select=200, n_boot=20)
    score = kernel_r2(x, y, key=0, config=config)
    x_train, x_test, y_train, _ = standardised(score, x, y)
    x_train, x_test = soften(x_train, 4.0), soften(x_test, 4.0)
    oracle = KernelRidge(kernel="rbf", gamma=1 / (2 * score.bandwidth**2), alpha=score.ridge).fit(x_train, y_train)
    np.testing.assert_allclose(score.targets - score.residuals, oracle.predict(x_test), atol=EXACT)
    few = kernel_r2(x, y, key=0, config=dataclasses.replace(config, max_train=200))
    # The unit of the bandwidth is a median over 500 rows, here over 200.
    assert (few.bandwidth, few.ridge) == (pytest.approx(score.bandwidth, rel=0.02), score.ridge)
    assert few.value < score.value


def test_mlp_r2_finds_curved_maps_and_nothing_in_noise():
    x, y = curved(n=900)
    score = mlp_r2(x, y, key=0)
    assert score.value > 0.9
    assert score.kernel == "mlp"
    assert score.grid_edge == ()
    assert score.split.same_as(kernel_r2(x, y, key=0).split)
    assert mlp_r2(x, y, key=0).value == score.value
    assert abs(mlp_r2(x, np.random.default_rng(5).normal(size=900), key=0).value) < 0.15
    for n in (12, 40, 60, 100):  # around its batch size, less the rows that stop it: no warning
        assert np.isfinite(mlp_r2(x[:n], y[:n], key=0).value)
