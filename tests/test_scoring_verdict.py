"""Verdicts: what must pass, what must not, and what nobody can tell."""

import warnings

import numpy as np
import pytest
import scipy.linalg

from hlvm.scoring import RegressionConfig, Verdict, block_verdict, block_verdicts, containment_verdict, holm
from hlvm.scoring.multiplicity import for_many_claims

SMALL = RegressionConfig(max_train=300, n_boot=200, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))
RNG = np.random.default_rng(0)
CONTENT, STYLE = RNG.normal(size=(800, 2)), RNG.normal(size=(800, 4))
COPY = np.column_stack([CONTENT, STYLE]) @ np.linalg.qr(RNG.normal(size=(6, 6)))[0]
CODE = np.sinh(CONTENT @ [[1.0, 0.5], [-0.5, 1.0]])
NOISE = RNG.normal(size=(800, 2))


@pytest.mark.parametrize(
    ("representation", "two_way", "one_way"),
    [
        (CODE, Verdict.IDENTIFIED, Verdict.IDENTIFIED),
        (np.column_stack([CODE, CODE[:, 0]]), Verdict.IDENTIFIED, Verdict.IDENTIFIED),
        (COPY, Verdict.NOT_IDENTIFIED, Verdict.IDENTIFIED),
        (NOISE, Verdict.NOT_IDENTIFIED, Verdict.NOT_IDENTIFIED),
        (CODE[:, :1], Verdict.NOT_IDENTIFIED, Verdict.NOT_IDENTIFIED),
        (CONTENT**2, Verdict.NOT_IDENTIFIED, Verdict.NOT_IDENTIFIED),
        (np.column_stack([CONTENT, STYLE[:, 0]]), Verdict.NOT_IDENTIFIED, Verdict.IDENTIFIED),
    ],
    ids=["code", "redundant", "copy", "noise", "narrow", "not invertible", "one style column"],
)
def test_verdict_on_known_representations(representation, two_way, one_way):
    block = block_verdict(representation, CONTENT, key=0, config=SMALL)
    assert block.verdict is two_way, block.reason
    contained = containment_verdict(representation, CONTENT, key=0, config=SMALL)
    assert contained.verdict is one_way, contained.reason
    assert contained.reverse is None
    assert contained.forward.value == block.forward.value
    assert f"{block.forward.value:.3f}" in block.reason or f"{block.reverse.value:.3f}" in block.reason


@pytest.mark.parametrize("seed", range(10))
def test_block_verdict_never_identifies_noise_or_copies(seed):
    rng = np.random.default_rng(seed)
    content, style = rng.normal(size=(300, 2)), rng.normal(size=(300, 3))
    copy = np.tanh(np.column_stack([content, style]) @ rng.normal(size=(5, 8)))
    config = RegressionConfig(max_train=150, n_boot=100, bandwidths=(0.5, 1.0, 2.0))
    assert block_verdict(style, content, key=seed, config=config).verdict is Verdict.NOT_IDENTIFIED
    assert block_verdict(copy, content, key=seed, config=config).verdict is Verdict.NOT_IDENTIFIED


@pytest.mark.parametrize("n", [10, 30, 70])
def test_block_verdict_few_rows_are_inconclusive(n):
    for representation in (CONTENT, NOISE):
        found = block_verdict(representation[:n], CONTENT[:n], key=0)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "test rows are too few" in found.reason


def test_block_verdict_interval_over_the_threshold_is_inconclusive():
    noisy = CONTENT + 0.33 * NOISE  # population R² is 1 / (1 + 0.33²) = 0.902
    found = block_verdict(noisy, CONTENT, key=0, threshold=0.9, config=SMALL)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the interval holds 0.9" in found.reason
    assert block_verdict(noisy, CONTENT, key=0, threshold=0.97, config=SMALL).verdict is Verdict.NOT_IDENTIFIED
    assert block_verdict(noisy, CONTENT, key=0, threshold=0.8, config=SMALL).verdict is Verdict.IDENTIFIED


def test_block_verdict_one_lost_column_of_many_is_not_identified():
    rng = np.random.default_rng(1)
    content = rng.normal(size=(800, 20))
    code = content.copy()
    code[:, 13] = rng.normal(size=800)
    found = containment_verdict(code, content, key=0, config=SMALL)
    assert found.forward.low > 0.9
    assert found.verdict is Verdict.NOT_IDENTIFIED
    assert "target column 13 is lost" in found.reason


def test_block_verdict_constant_columns():
    one_dead = np.column_stack([CODE, np.full(800, 0.7)])
    assert block_verdict(one_dead, CONTENT, key=0, config=SMALL).verdict is Verdict.IDENTIFIED
    dead = block_verdict(np.ones((800, 2)), CONTENT, key=0, config=SMALL)
    assert dead.verdict is Verdict.COLLAPSED
    assert containment_verdict(np.ones((800, 2)), CONTENT, key=0, config=SMALL).verdict is Verdict.COLLAPSED
    empty = containment_verdict(CODE, np.ones(800), key=0, config=SMALL)
    assert empty.verdict is Verdict.INCONCLUSIVE
    assert "every target column is constant" in empty.reason


@pytest.mark.parametrize("threshold", [0.0, 1.0, -2.0, float("nan")])
def test_block_verdict_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold must be a number strictly between 0 and 1"):
        block_verdict(CODE, CONTENT, key=0, threshold=threshold)


def test_verdict_members_are_their_own_text():
    assert [str(v) for v in Verdict] == ["identified", "not identified", "inconclusive", "collapsed"]
    assert [v.refutes for v in Verdict] == [False, True, False, True]


def test_block_verdict_calls_a_constant_code_collapsed():
    found = block_verdict(np.ones((800, 2)), CONTENT, key=0, config=SMALL)
    assert found.verdict == Verdict.COLLAPSED
    assert found.collapse.kind == "total"
    assert found.reason == "all 800 rows of the code are the same, while the content varies"
    assert found.forward.value < 0.01
    assert np.isnan(found.reverse.value)


def lost_direction(n, d, share, seed):
    """Content of which one direction has a small share of the variance, and a curved code of all the others."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    scales = np.ones(d)
    scales[-1] = np.sqrt(share)
    own = rng.normal(size=(n, d)) * scales
    curved = own + 0.4 * np.tanh(2 * own)
    return own @ rotation.T, curved[:, :-1], curved @ np.linalg.qr(rng.normal(size=(d, d)))[0]


@pytest.mark.parametrize(("d", "share"), [(2, 0.01), (3, 0.02), (6, 0.03), (16, 1.0)])
def test_block_verdict_a_lost_direction_of_small_variance_is_not_identified(d, share):
    content, without, exact = lost_direction(800, d, share, seed=d)
    found = block_verdict(without, content, key=0, config=SMALL)
    assert found.verdict is Verdict.NOT_IDENTIFIED
    if share < 1 and d > 2:
        assert found.forward.low > 0.9, "the average hides it"
        assert "it is lost" in found.reason
        assert 0 < found.worst.share < 0.05
        standard = content / content.std(axis=0)
        along = (standard - standard.mean(axis=0)) @ found.worst.weights
        assert along.var() / standard.var(axis=0).sum() == pytest.approx(found.worst.share, rel=0.2)
    assert block_verdict(exact, content, key=0, config=SMALL).verdict is Verdict.IDENTIFIED


def kinked(z, seed):
    """Invertible, and hard to read where a direction is small."""
    rng = np.random.default_rng(seed)
    for _ in range(2):
        z = z @ np.linalg.qr(rng.normal(size=(z.shape[1],) * 2))[0]
        z = np.where(z > 0, z, 0.3 * z)
    return z


@pytest.mark.parametrize("seed", [0, 1])
def test_block_verdict_refutes_no_exact_code_for_a_direction_too_small_to_be_found(seed):
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(600, 8)) * np.append(np.ones(7), np.sqrt(0.003))
    content = own @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    for code in (kinked(own, seed), kinked(own[:, :7], seed)):  # exact, and without the direction: nobody can tell
        found = block_verdict(code, content, key=0, config=SMALL)
        assert found.forward.low > 0.9
        assert found.worst.share < 0.005
        assert found.worst.r2.value < 0.2
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "it may be lost, or need more rows" in found.reason


def test_block_verdict_a_small_direction_does_not_hide_a_lost_large_one():
    content, _, _ = lost_direction(800, 8, 0.003, seed=1)
    standard = content - content.mean(axis=0)
    axes = np.linalg.svd(standard, full_matrices=False)[2]
    code = standard @ axes[1:7].T  # without the first axis and the last
    found = containment_verdict(code, content, key=0, threshold=0.8, config=SMALL)
    assert found.verdict is Verdict.NOT_IDENTIFIED
    assert found.worst.share > 0.05


def test_block_verdict_with_others_refutes_a_trace_of_style():
    rng = np.random.default_rng(1)
    content, own = rng.normal(size=(2, 800, 2))
    style = 0.6 * content + 0.8 * own
    mixed = content @ [[1.0, 0.5], [-0.5, 1.0]]
    exact = mixed + 0.5 * np.tanh(2 * mixed)
    trace = exact + 0.15 * exact.std() * own
    others = {"style": style[:, 0], "second": style[:, 1], "constant": np.ones(800)}
    clean = block_verdict(exact, content, others=others, key=0, config=SMALL)
    assert clean.verdict is Verdict.IDENTIFIED
    assert list(clean.leakage) == ["style", "second", "constant"]
    assert clean.leakage["style"].from_code.value > 0.25  # style depends on content: not a leak
    assert clean.leakage["style"].beyond.high < 0.05
    assert clean.leakage["style"].from_code.level == pytest.approx(1 - 0.05 / 3)
    assert block_verdict(trace, content, key=0, config=SMALL).verdict is Verdict.IDENTIFIED  # the average hides it
    leaky = block_verdict(trace, content, others=others, key=0, config=SMALL)
    assert leaky.verdict is Verdict.NOT_IDENTIFIED
    assert "the code tells more of other latents than the content does: style by R² 0." in leaky.reason
    assert block_verdict(trace, content, others=style, key=0, config=SMALL).verdict is Verdict.NOT_IDENTIFIED
    unsure = block_verdict(exact, content, others=style, tolerance=1e-4, key=0, config=SMALL)
    assert unsure.verdict is Verdict.INCONCLUSIVE
    assert "the interval of the leakage holds 0.0001" in unsure.reason
    assert block_verdict(trace[:60], content[:60], others=style[:60], key=0).verdict is Verdict.INCONCLUSIVE
    with pytest.raises(ValueError, match="tolerance: expected a number above 0"):
        block_verdict(exact, content, others=style, tolerance=0.0, key=0)


def test_block_verdict_others_that_are_hard_to_read_off_the_content_are_not_in_the_code():
    """Content exp(u) and code u: the code is exact, and few rows read a style off it far better than off exp(u)."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        code, own = rng.normal(size=(150, 6)), rng.normal(size=150)
        style = code[:, 0] + 0.3 * own
        found = block_verdict(code, np.exp(code), others=style, key=seed, config=SMALL)
        assert found.verdict is not Verdict.NOT_IDENTIFIED
        leaky = np.column_stack([code[:, 0] + 0.3 * own, code[:, 1:]])
        found = block_verdict(leaky, code, others={"own": own}, key=seed, config=SMALL)
        assert found.verdict is Verdict.NOT_IDENTIFIED
        assert "other latents than the content does: own by R² " in found.reason
        assert found.leakage["own"].of_exact < found.leakage["own"].larger.low


def test_block_verdict_worst_direction_is_measured_on_other_rows_than_it_was_found_on():
    """The worst of eight equal directions on the rows that are scored would be far below what each of them has."""
    rng = np.random.default_rng(0)
    values, chosen_on_test = [], []
    for seed in range(20):
        content = rng.normal(size=(300, 8))
        code = content + rng.normal(size=content.shape)  # every direction has R² 1/2
        found = containment_verdict(code, content, key=seed, config=SMALL)
        values.append(found.worst.r2.value)
        residuals, targets = (rows - rows.mean(axis=0) for rows in (found.forward.residuals, found.forward.targets))
        chosen_on_test.append(1 - scipy.linalg.eigh(residuals.T @ residuals, targets.T @ targets)[0].max())
    assert 0.4 < np.mean(values) <= 0.5  # 180 training rows find a little less than the 0.5 that is there
    assert np.mean(chosen_on_test) < 0.25


def test_block_verdicts_intervals_are_wider_and_names_must_agree():
    content = {f"claim {i}": CONTENT for i in range(4)}
    codes = {name: CONTENT + 0.3 * RNG.normal(size=CONTENT.shape) for name in content}
    found = block_verdicts(codes, content, key=0, config=SMALL)
    alone = block_verdict(codes["claim 2"], CONTENT, key=0, config=SMALL)
    joint = found["claim 2"].forward
    assert list(found) == list(content)
    assert joint.level == pytest.approx(1 - 0.05 / 4)
    assert joint.value == alone.forward.value
    assert joint.low < alone.forward.low < alone.forward.high < joint.high
    with pytest.raises(ValueError, match="expected the same claims in both"):
        block_verdicts({"a": CODE}, {"b": CONTENT}, key=0)


def test_holm_agrees_with_statsmodels():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels warns about its own imports
        from statsmodels.stats.multitest import multipletests
    p = np.random.default_rng(0).random(15) ** 3
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm([0.5, 1.5])


def test_for_many_claims_keeps_resamples_enough_for_its_ends():
    config = for_many_claims(RegressionConfig(n_boot=100), 20)
    assert config.level == pytest.approx(0.9975)
    assert config.n_boot * (1 - config.level) / 2 >= 5
