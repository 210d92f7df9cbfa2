"""The assertions: green on one outcome only, and red with a table."""

import re

import numpy as np
import pytest

from hlvm.claims import equivalence_claim, mean_claim
from hlvm.graph import LatentGraph
from hlvm.scoring import RegressionConfig, Verdict
from hlvm.testing import (
    assert_claim,
    assert_contains,
    assert_identified,
    assert_no_leakage,
    assert_not_identified,
    assert_rank,
    assert_shared_information,
    score_against_theory,
)
from hlvm.testing.recording import take
from hlvm.theory import shared_information

CONFIG = RegressionConfig(max_train=250, n_boot=200, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0))
RNG = np.random.default_rng(0)
Z, NOISE = RNG.normal(size=(600, 2)), RNG.normal(size=(600, 2))
CODE = Z[:, ::-1] + 0.5 * np.tanh(2 * Z[:, ::-1])
COPY = np.column_stack([CODE, NOISE])


def test_assert_identified_passes_on_a_curved_code():
    assert assert_identified(CODE, Z, key=0, config=CONFIG).verdict is Verdict.IDENTIFIED


def test_assert_not_identified_passes_on_noise_and_on_a_copy():
    assert_not_identified(NOISE, Z, key=0, config=CONFIG)
    assert_not_identified(COPY, Z, key=0, config=CONFIG)


def test_assert_contains_accepts_a_copy():
    assert assert_contains(COPY, Z, key=0, config=CONFIG).reverse is None
    with pytest.raises(AssertionError, match="expected the latents to be not contained, found contained"):
        assert_not_identified(COPY, Z, key=0, two_way=False, config=CONFIG)
    with pytest.raises(
        AssertionError, match=r"latents to be contained, found not contained \(containment, threshold 0\.9\)"
    ):
        assert_contains(NOISE, Z, key=0, config=CONFIG)


def test_assert_identified_failure_shows_scores_intervals_threshold_and_chance():
    with pytest.raises(AssertionError, match="expected the latents to be identified, found not identified") as caught:
        assert_identified(COPY, Z, key=0, threshold=0.85, config=CONFIG)
    message = str(caught.value)
    number = r"-?\d\.\d{3}"
    for direction in ("ẑ → c", "c → ẑ"):
        assert re.search(
            rf"^{direction}\s+{number}\s+\[{number}, {number}\]\s+0\.85\s+-?0\.0\d\d$", message, flags=re.MULTILINE
        ), message
    assert "95% interval" in message
    assert "250 training and 240 test rows" in message
    assert "to pass: the lower end of both intervals must reach 0.85" in message


def test_assert_not_identified_failure_says_what_would_pass():
    with pytest.raises(AssertionError, match=r"to pass: the upper end of either interval must fall below 0\.9"):
        assert_not_identified(CODE, Z, key=0, config=CONFIG)
    with pytest.raises(AssertionError, match=r"to pass: the upper end of the interval must fall below 0\.9"):
        assert_not_identified(CODE, Z, key=0, two_way=False, config=CONFIG)


@pytest.mark.parametrize("check", [assert_identified, assert_not_identified])
def test_assertions_fail_on_inconclusive(check):
    with pytest.raises(AssertionError, match=r"(?s)found inconclusive.*too few.*more rows are needed"):
        check(CODE[:20], Z[:20], key=0)


def test_assert_identified_constant_latents_fail_with_a_table():
    with pytest.raises(AssertionError, match=r"(?s)found inconclusive.*nan.*–"):
        assert_identified(CODE, np.ones(600), key=0, config=CONFIG)


def test_assertions_pass_bad_input_on_as_value_errors():
    with pytest.raises(ValueError, match="NaN"):
        assert_identified(np.full((600, 2), np.nan), Z, key=0)


def test_assert_identified_failure_shows_floor_and_ceiling_when_given():
    with pytest.raises(AssertionError) as caught:
        assert_identified(NOISE, Z, key=0, floor=NOISE[:, :1], ceiling=COPY, config=CONFIG)
    lines = str(caught.value).splitlines()
    header = next(line for line in lines if line.startswith("direction"))
    forward = next(line for line in lines if line.startswith("ẑ → c"))
    assert header.split()[-2:] == ["floor", "ceiling"]
    floor, ceiling = map(float, forward.split()[-2:])
    assert floor < 0.1
    assert ceiling > 0.9


def test_assert_identified_with_others_fails_on_a_trace_of_style():
    trace = CODE + 0.15 * CODE.std() * NOISE
    assert_identified(CODE, Z, key=0, others={"noise": NOISE}, config=CONFIG)
    with pytest.raises(
        AssertionError, match=r"(?s)more of other latents.*noise by R².*nor any of the other latents leak"
    ):
        assert_identified(trace, Z, key=0, others={"noise": NOISE}, config=CONFIG)


def test_assert_no_leakage_allows_what_the_content_tells():
    style = 0.8 * Z[:, :1] + 0.6 * NOISE[:, :1]
    found = assert_no_leakage(CODE, Z, style, key=0, config=CONFIG)
    assert found.from_code.value > 0.4
    with pytest.raises(AssertionError, match=r"(?s)found more.*R²\(c, ẑ → s\).*to pass: the upper ends"):
        assert_no_leakage(np.column_stack([CODE, style]), Z, style, key=0, config=CONFIG)
    with pytest.raises(AssertionError, match=r"(?s)too wide an interval.*more rows"):
        assert_no_leakage(CODE[:60], Z[:60], style[:60], key=0, tolerance=1e-3, config=CONFIG)
    with pytest.raises(ValueError, match="tolerance"):
        assert_no_leakage(CODE, Z, style, key=0, tolerance=0.0)


@pytest.mark.parametrize("method", ["bartlett", "permutation"])
def test_assert_rank_passes_on_the_rank_and_fails_with_p_values(method):
    options = {"method": method, "key": 0, "n_permutations": 199}
    shared = np.column_stack([Z, NOISE]) @ RNG.normal(size=(4, 5))
    assert_rank(shared, Z, 2, **options)
    assert_rank(NOISE, Z, 0, **options)
    with pytest.raises(AssertionError, match=r"(?s)share 1 dimensions, found 2.*p-value 2 must be above 0\.01"):
        assert_rank(shared, Z, 1, **options)
    with pytest.raises(AssertionError, match="the first 1 p-values must be at most"):
        assert_rank(NOISE, Z, 1, **options)
    with pytest.raises(ValueError, match="at least 0"):
        assert_rank(NOISE, Z, -1)


def test_assert_claim_passes_on_a_claim_that_holds():
    claim = mean_claim("a beats b", {"a − b": [0.2, 0.3, 0.25]}, shown={"b": [0.1, 0.2, 0.1]})
    assert assert_claim(claim) is claim


def test_assert_claim_failure_shows_intervals_beside_limits():
    differences = {"first": [0.5, 0.6, 0.55], "second": [-0.2, -0.3, -0.25]}
    with pytest.raises(AssertionError, match="expected that a beats b: this does not hold") as caught:
        assert_claim(mean_claim("a beats b", differences, shown={"b": [0.1, 0.2, 0.15]}, reason="seeds say so"))
    lines = str(caught.value).splitlines()
    assert lines[1] == "because seeds say so"
    assert [line.split()[0] for line in lines[4:7]] == ["second", "first", "b"]
    assert re.search(r"second +-0\.250 \[-0\.\d+, -0\.\d+\] +above 0$", lines[4])
    assert lines[6].endswith("–")


def test_assert_claim_fails_on_an_open_claim():
    with pytest.raises(
        AssertionError, match=r"(?s)this is open.*between -0\.1 and 0\.1.*more seeds or rows are needed"
    ):
        assert_claim(equivalence_claim("a is b", {"a − b": [0.2, -0.3, 0.25]}, 0.1))
    with pytest.raises(AssertionError, match=r"below 0\.2\n"):
        assert_claim(mean_claim("a is small", {"a": [0.2, -0.3, 0.25]}, (-np.inf, 0.2)))


def test_assert_claim_is_recorded():
    take()
    with pytest.raises(AssertionError, match="this is open"):
        assert_claim(mean_claim("a beats b", {"a − b": [0.2, -0.3, 0.25]}))
    (line,) = take()
    assert line.startswith("is open: a beats b: a − b = 0.050 [")


TREE = LatentGraph.tree(2, 2)


def test_assert_shared_information_names_what_differs():
    assert assert_shared_information(TREE, ["x_0"], {"z2_0", "z1_0"}).unique
    with pytest.raises(AssertionError, match=r"share \{z1_0, z1_1\}, found \{z2_0, z1_0\}") as caught:
        assert_shared_information(TREE, ["x_0"], {"z1_0", "z1_1"})
    assert "missing: {z1_1}\ntoo much: {z2_0}\nfrontier: {z1_0}" in str(caught.value)
    with pytest.raises(ValueError, match="x_1 are not latents"):
        assert_shared_information(TREE, ["x_0"], {"x_1"})


def test_score_against_theory_joins_prediction_and_measurement():
    members = shared_information(TREE, TREE.observed[:1]).members
    latents = {name: RNG.normal(size=300) for name in TREE.latents}
    code = np.column_stack([latents[name] for name in members])
    table = score_against_theory(
        {"exact": code}, latents, TREE, TREE.observed[:1], of="noise", scores=("kernel_r2",), key=0, config=CONFIG
    ).query("control == 'none'")
    assert set(table["of"]) == {"noise"}
    assert set(table["latent"]) == set(TREE.latents)
    assert (table["value"] > 0.9).tolist() == (table["predicted"] == 1).tolist()
    assert dict(zip(table["latent"], table["height"], strict=True)) == {
        name: height for name, height in zip(TREE.nodes, TREE.heights, strict=True) if name in latents
    }
    with pytest.raises(ValueError, match="nowhere are not latents of the graph"):
        score_against_theory({"a": code}, {"nowhere": code}, TREE, TREE.observed[:1], of="value", key=0)
