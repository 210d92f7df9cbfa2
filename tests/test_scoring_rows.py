"""Rows that are not independent samples: copies, groups and series."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

from hlvm.scoring import (
    RegressionConfig,
    Verdict,
    block_verdict,
    cca,
    cca_rank,
    controlled_r2,
    dci,
    kernel_r2,
    leakage,
    linear_r2,
    permutation_null,
    permutation_test,
    score_by_height,
)
from hlvm.scoring.intervals import resampling_weights
from hlvm.scoring.regression.kernels import kernel_matrix
from hlvm.scoring.regression.r2 import resampled_r2
from hlvm.scoring.regression.ridge import Problem, fit_linear, kernel_loo, smoother_loo
from hlvm.scoring.row_groups import DependenceWarning, members, permuted, row_groups

SMALL = RegressionConfig(n_boot=100, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-2, 1.0))
GROUPS = np.repeat(np.arange(40), 5)
RNG = np.random.default_rng(0)


def views(seed, noise=0.0):
    """40 scenes, each seen five times, and a code that knows nothing of them."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=(40, 2)), 5, axis=0) + noise * rng.normal(size=(200, 2))


def ar(coefficient, seed, n=400):
    noise = np.random.default_rng(seed).normal(size=n)
    series = [noise[0]]
    for step in noise[1:]:
        series.append(coefficient * series[-1] + step)
    return np.asarray(series)


def test_copies_stay_on_one_side_and_noise_is_not_identified():
    code, latents = views(1), views(2)
    with pytest.warns(DependenceWarning, match="160 of 200 rows are copies"):
        found = kernel_r2(code, latents, key=0, config=SMALL)
    assert found.value < 0.2  # it is 0.99 where copies are on both sides
    assert not set(map(tuple, code[found.split.train])) & set(map(tuple, code[found.split.test]))
    assert found.n_independent * 5 == found.n_test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DependenceWarning)
        assert block_verdict(code, latents, key=0, config=SMALL, min_test_rows=10).verdict is not Verdict.IDENTIFIED
        assert permutation_null(code, latents, key=0, n_permutations=39, config=SMALL).p_value > 0.05


def test_groups_stay_together_in_every_split_and_bootstrap():
    code, latents = views(1, noise=0.05), views(2, noise=0.05)
    free = kernel_r2(code, latents, key=0, groups=np.arange(200), config=SMALL)
    kept = kernel_r2(code, latents, key=0, groups=[f"scene {g}" for g in GROUPS], config=SMALL)
    assert free.value > 0.6  # neighbours of the same scene on both sides
    assert kept.value < 0.2
    for split in (kept.split, linear_r2(code, latents, key=0, groups=GROUPS, config=SMALL).split):
        assert not set(GROUPS[split.train]) & set(GROUPS[split.test])
        assert len(split.train) + len(split.test) == 200
    free_null = permutation_test(lambda a, b: cca(a, b, groups=GROUPS).mean, code, latents, key=0, groups=GROUPS)
    assert free_null.p_value > 0.05
    assert abs(cca(code, latents, groups=GROUPS, key=0).mean) < 0.4 < cca(latents, latents, groups=GROUPS).mean
    assert dci(code, latents, key=0, groups=GROUPS, n_trees=10).informativeness < 0.3


def test_interval_of_groups_covers_their_luck_and_that_of_rows_does_not():
    """Each scene carries an error of its own: 60 scenes are 60 samples, however often they are seen."""
    rng = np.random.default_rng(3)
    z = np.repeat(rng.normal(size=(60, 1)), 5, axis=0) + 0.01 * rng.normal(size=(300, 1))
    code = z + np.repeat(rng.normal(size=(60, 1)), 5, axis=0)
    found = linear_r2(code, z, key=1, groups=np.repeat(np.arange(60), 5), config=SMALL)
    draws = resampled_r2(found, resampling_weights(found.n_test, 500, rng), np.ones(1, dtype=bool))
    of_rows = np.quantile(draws, 0.975) - np.quantile(draws, 0.025)
    assert found.high - found.low > 1.5 * of_rows


def test_kernel_loo_leaves_groups_out_as_refitting_does():
    x, y = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 3))
    labels = np.repeat(np.arange(10), [1, 1, 1, 2, 2, 3, 5, 5, 5, 5])
    kernel = kernel_matrix(x, x, 1.0)
    _, loo = kernel_loo(kernel, y, 0.1, members(labels))
    for label in range(10):
        out = labels == label
        alpha = np.linalg.solve(kernel[np.ix_(~out, ~out)] + 0.1 * np.eye((~out).sum()), y[~out])
        np.testing.assert_allclose(loo[out], y[out] - kernel[np.ix_(out, ~out)] @ alpha, atol=1e-9)


def test_smoother_loo_leaves_groups_out_as_refitting_does():
    x, y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 1))
    labels = np.repeat(np.arange(10), 3)
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    shrink = singular**2 / (singular**2 + 0.5)
    residual = y - left @ (shrink[:, None] * (left.T @ y))
    loo = smoother_loo(residual, left, shrink, members(labels))
    for label in range(10):
        out = labels == label
        weights = np.linalg.solve(x[~out].T @ x[~out] + 0.5 * np.eye(4), x[~out].T @ y[~out])
        np.testing.assert_allclose(loo[out], y[out] - x[out] @ weights, atol=1e-9)
    chosen = fit_linear(Problem(x, x, y, np.zeros(1, dtype=int), labels), ridges=(0.5,))
    assert chosen.loo.shape == y.shape


def test_permuted_moves_whole_groups_of_one_size():
    labels = np.repeat(np.arange(12), [2] * 6 + [1] * 6)
    order = permuted(labels, 18, np.random.default_rng(0), least=99)
    assert sorted(order) == list(range(18))
    sizes = np.bincount(labels)[labels]
    assert (sizes[order] == sizes).all()
    for rows in members(labels):
        assert len(set(labels[order[rows]])) == 1
    turned = permuted(np.repeat(np.arange(4), [1, 2, 3, 4]), 10, np.random.default_rng(0), least=99)
    assert sorted(turned) == list(range(10))
    assert ((np.diff(turned) % 10) == 1).all()  # no two of them have one size: neighbours stay neighbours


def test_categories_are_no_copies():
    labels = RNG.integers(0, 6, 300)
    code = np.eye(6)[labels]
    assert kernel_r2(code, labels, key=0, config=SMALL).value > 0.99


@pytest.mark.parametrize("coefficient", [0.9, 0.99])
def test_rows_of_a_series_warn_and_blocks_keep_the_size(coefficient):
    code, latents = ar(coefficient, 1), ar(coefficient, 2)
    with pytest.warns(DependenceWarning, match="neighbouring rows resemble each other in both"):
        kernel_r2(code, latents, key=0, config=SMALL)
    blocks = np.repeat(np.arange(10), 40)
    assert kernel_r2(code, latents, key=0, groups=blocks, config=SMALL).low < 0.1
    order = np.random.default_rng(0).permutation(400)
    assert row_groups(code[order, None], latents[order, None]) is None  # shuffled, as samples of their own would be


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.arange(5), "one label for each of the 200 rows, got shape"),
        (np.zeros(200), "at least 2 groups, got 1"),
        (np.where(np.arange(200) == 3, np.nan, 1.0), "got NaN"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        kernel_r2(RNG.normal(size=(200, 2)), RNG.normal(size=(200, 2)), key=0, groups=groups)


def test_cca_rank_takes_permutations_where_bartlett_finds_too_much():
    gauss, heavy = RNG.normal(size=(2, 200, 3)), np.random.default_rng(1).standard_t(2, size=(200, 3))
    assert cca_rank(*gauss).method == "bartlett"
    with pytest.raises(ValueError, match=r"key: expected one, since Bartlett's test finds too much with heavy tails"):
        cca_rank(heavy, gauss[0])
    assert cca_rank(heavy, gauss[0], key=0, n_permutations=99).method == "permutation"
    assert cca_rank(*gauss, key=0, groups=np.repeat(np.arange(50), 4), n_permutations=99).method == "permutation"


def test_frames_in_another_order_are_paired_by_label_in_every_composite():
    frame = pd.DataFrame(RNG.normal(size=(200, 2)))
    other = frame.sample(frac=1, random_state=0)
    found = controlled_r2(frame, other, floor=frame, ceiling=other, style=other[[0]], key=0, config=SMALL)
    assert min(found.score.value, found.floor.value, found.ceiling.value, found.leakage.from_code.value) > 0.98
    leak = leakage(frame, frame[[0]], other[[1]], key=0, config=SMALL)
    assert leak.beyond.low > 0.5
    table = score_by_height({"f": frame}, {"z": other}, heights={"z": 1}, chance=False, key=0, config=SMALL)
    assert table["value"].min() > 0.98
    labels = pd.Series(np.repeat(np.arange(40), 5))
    split = kernel_r2(frame, frame, key=0, groups=labels.sample(frac=1, random_state=1), config=SMALL).split
    np.testing.assert_array_equal(split.groups, labels)


def test_limits_of_rows_leave_many_groups():
    config = dataclasses.replace(SMALL, max_train=300, max_test=200)
    split = config.draw_split(5000, np.random.default_rng(0), np.repeat(np.arange(50), 100))
    assert len(set(split.train_groups)) > 25
    assert len(set(split.test_groups)) > 15


def test_a_single_test_group_has_no_interval():
    groups = np.repeat([0, 1], 100)
    z = RNG.normal(size=(200, 2))
    found = kernel_r2(z, z, key=0, groups=groups, config=SMALL)
    assert np.isnan([found.low, found.high]).all()
    assert np.isinf(linear_r2(RNG.normal(size=(200, 2)), z, key=0, groups=groups, config=SMALL).ridge)


@pytest.mark.parametrize("change", [lambda x: x + 1e6, lambda x: x / 2, lambda x: (x - x.mean()) / x.std()])
def test_categories_are_none_the_less_in_other_units(change):
    labels = np.random.default_rng(0).integers(0, 10, 300)
    assert kernel_r2(np.eye(10)[labels], change(labels.astype(float)), key=0, config=SMALL).value > 0.99


def test_smoother_loo_is_the_same_by_rows_and_by_features():
    x, y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2))
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    shrink = singular**2 / (singular**2 + 2.0)
    residual = y - left @ (shrink[:, None] * (left.T @ y))
    rows = np.arange(10)
    by_features = smoother_loo(residual, left, shrink, [rows])[rows]
    hat = (left[rows] * shrink) @ left[rows].T
    np.testing.assert_allclose(by_features, np.linalg.solve(np.eye(10) - hat, residual[rows]), atol=1e-9)
