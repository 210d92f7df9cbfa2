"""The permutation null: honest under independence, unmoved by the factorisation trick."""

import numpy as np
import pytest

from hlvm.scoring import RegressionConfig, kernel_r2, permutation_null
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
    with pytest.raises(ValueError, match="n_permutations: expected at least 1"):
        permutation_null(x, x, key=0, n_permutations=0)
