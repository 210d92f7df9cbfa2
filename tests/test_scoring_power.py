"""Nothing is refuted that a regressor could not have found; p-values know ties and undefined scores."""

import math

import numpy as np
import pytest

from hlvm.scoring import Verdict, block_verdict, containment_verdict, kernel_r2, mcc, permutation_test
from hlvm.scoring.multiplicity import count_exceeding
from hlvm.scoring.regression.normal_scores import NormalScores, normal_scores
from hlvm.scoring.regression.rank_regression import best_of, rank_r2_many
from hlvm.scoring.verdicts import power
from hlvm.scoring.verdicts.power import exact_twin


def saturated(z, seed):
    return np.tanh(z @ np.random.default_rng(seed).normal(size=(z.shape[1],) * 2))


@pytest.mark.parametrize(("n", "d"), [(100, 3), (100, 8), (300, 6), (300, 12)])
def test_block_verdict_does_not_refute_exact_codes_with_few_rows(n, d):
    rng = np.random.default_rng(n + d)
    verdicts = []
    for seed in range(4):
        z = rng.normal(size=(n, d))
        found = block_verdict(saturated(z, seed), z, key=seed)
        verdicts.append(found.verdict)
        if found.power is not None:
            assert "an exact code as hard to read has R² =" in found.reason
            assert found.power.rows_needed >= n
    assert Verdict.NOT_IDENTIFIED not in verdicts


def test_block_verdict_refutes_what_is_lost_where_rows_allow():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 6))
    lost = block_verdict((z @ np.linalg.qr(rng.normal(size=(6, 6)))[0])[:, :-1], z, key=0)
    assert lost.verdict is Verdict.NOT_IDENTIFIED
    assert lost.power.enough
    assert block_verdict(rng.normal(size=(300, 6)), z, key=0).verdict is Verdict.NOT_IDENTIFIED


def test_block_verdict_of_heavy_tails_is_never_a_refutation_of_exact_codes():
    rng = np.random.default_rng(1)
    outcomes = []
    for seed in range(4):
        z = rng.standard_t(2, size=(300, 2))
        outcomes += [block_verdict(code, z, key=seed).verdict for code in (np.tanh(z @ [[1, 0.5], [0, 1]]), z[:, ::-1])]
    z = rng.standard_cauchy(size=(300, 3))
    outcomes.append(block_verdict(z @ np.linalg.qr(rng.normal(size=(3, 3)))[0], z, key=0).verdict)
    assert Verdict.NOT_IDENTIFIED not in outcomes
    assert block_verdict(rng.normal(size=(300, 2)), rng.standard_t(2, size=(300, 2)), key=0).verdict is not (
        Verdict.IDENTIFIED
    )


def test_block_verdict_of_a_rare_event_says_on_how_few_rows_it_rests():
    z = (np.arange(200) % 33 == 0).astype(float)
    found = block_verdict(z + 0.01 * np.random.default_rng(0).normal(size=200), z, key=0)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "rests on about" in found.reason
    assert found.forward.low > -10  # a resample without a case has no R², where rounding made one of −6e9


def test_containment_verdict_with_more_columns_than_rows_is_no_refutation():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(300, 2))
    wide = np.column_stack([z, rng.normal(size=(300, 510))])
    found = containment_verdict(wide, z, key=0)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.power is not None


def test_exact_twin_resembles_the_code_and_is_a_function_of_the_latents():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(500, 3))
    code = np.tanh(z @ rng.normal(size=(3, 3)))
    twin = exact_twin(code, z, np.random.default_rng(0))
    assert twin.shape == (500, 3)
    np.testing.assert_allclose(np.sort(twin, axis=0), np.sort(code, axis=0), atol=0.02)
    spectra = [np.linalg.eigvalsh(np.corrcoef(normal_scores(x), rowvar=False)) for x in (code, twin)]
    np.testing.assert_allclose(*spectra, atol=0.5)
    assert rank_r2_many(z, {"twin": twin}, key=0)["twin"].value > 0.9
    missing = exact_twin(np.zeros((500, 1)), z, np.random.default_rng(0))
    assert np.linalg.matrix_rank(missing) == 3


def test_normal_scores_are_monotone_and_undone():
    train = np.random.default_rng(4).standard_t(2, size=(50, 2))
    ranks = NormalScores.fit(train)
    np.testing.assert_allclose(ranks.invert(ranks.apply(train)), train)
    assert np.abs(ranks.apply(train)).max() < 3
    assert (np.argsort(ranks.apply(train), axis=0) == np.argsort(train, axis=0)).all()
    assert NormalScores.fit(np.ones((5, 1))).constant.tolist() == [True]


def test_rank_r2_many_reads_codes_that_saturate():
    z = np.random.default_rng(5).normal(size=(300, 6))
    code = saturated(z, 1)
    plain = kernel_r2(code, z, key=0)
    best = best_of([plain, rank_r2_many(code, {"z": z}, key=0)["z"]])
    assert best.kernel == "rbf of normal scores"
    assert best.value > plain.value + 0.1
    # held-out R² of what it says it predicts, in the units of the targets
    test = best.split.test
    standard = (z - z[best.split.train].mean(axis=0)) / z[best.split.train].std(axis=0)
    np.testing.assert_allclose(best.targets, standard[test], atol=1e-9)
    sse, sst = (best.residuals**2).sum(), ((best.targets - best.targets.mean(axis=0)) ** 2).sum()
    assert best.value == pytest.approx(1 - sse / sst)


def test_permutation_test_counts_ties_and_never_finds_nan_significant():
    a, b = np.zeros(57), np.zeros(57)
    a[3] = b[7] = 1
    assert permutation_test(mcc, a, b, key=0).p_value == 1.0
    z = np.random.default_rng(6).normal(size=(60, 2))
    assert math.isnan(permutation_test(lambda x, y: math.nan, z, z, key=0).p_value)
    sometimes = iter([math.nan] * 99 + [1.0])
    assert permutation_test(lambda x, y: next(sometimes), z, z, key=0).p_value == 1.0
    assert count_exceeding(np.array([0.1, 0.3 - 1e-16, np.nan, np.inf]), 0.3) == 3


def test_power_of_what_few_rows_do_not_show_is_none(monkeypatch):
    """A rare event that the first look at some rows misses is not one that the twins found there."""
    monkeypatch.setattr(power, "_FEW_ROWS", 24)
    z = np.zeros(200)
    z[::29] = 1
    found = block_verdict(np.random.default_rng(0).normal(size=200), z, key=0, min_test_rows=5)
    assert found.power is None or not math.isinf(found.power.r2)
    small = np.random.default_rng(1).normal(size=(2, 18, 8))
    assert block_verdict(*small, key=0, min_test_rows=2).verdict is not Verdict.IDENTIFIED
    content = np.random.default_rng(2).normal(size=(100, 2))
    assert block_verdict(content, content, others={}, key=0).leakage == {}
