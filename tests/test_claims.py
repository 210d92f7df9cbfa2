"""Claims: three outcomes, what agrees with them, and what each builder decides."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hlvm.claims import (
    ABOVE_ZERO,
    BELOW_ZERO,
    SILENT,
    Claim,
    Stance,
    block_claim,
    equivalence_claim,
    every,
    hull,
    interval_claim,
    mean_claim,
    no,
    nothing,
    ordering_claim,
    rank_correlations,
    trend_claim,
    within,
    yes,
)
from hlvm.scoring import Interval, block_verdict, over_seeds

ABOVE, BELOW = Interval(value=0.2, low=0.1, high=0.3), Interval(value=-0.2, low=-0.3, high=-0.1)
OPEN = Interval(value=0.0, low=-0.1, high=0.1)
NEARLY = np.asarray([-0.001, 0.0, 0.001, 0.0005])


# ---------------------------------------------------------------------- outcomes and stances


def test_within_has_three_outcomes():
    interval = Interval(value=0.5, low=0.4, high=0.6)
    assert within(interval, 0.3, 0.7) is True
    assert within(interval, 0.7) is False
    assert within(interval, high=0.3) is False
    assert within(interval, 0.5) is None


def test_within_does_not_take_a_tie_for_a_difference():
    assert within(Interval(value=0.0, low=0.0, high=0.0), *ABOVE_ZERO) is False
    assert within(Interval(value=0.0, low=0.0, high=0.0), *BELOW_ZERO) is False
    assert within(Interval(value=0.1, low=0.0, high=0.2), *ABOVE_ZERO) is None


def test_within_leaves_what_is_not_known_open():
    assert within(Interval(value=math.nan, low=math.nan, high=math.nan), 0.0, 1.0) is None


def test_every_is_false_before_it_is_open():
    assert every([True, True]) is True
    assert every([True, None]) is None
    assert every([None, False]) is False


@pytest.mark.parametrize(
    ("stance", "agrees"), [(yes(), (True, False, None)), (no(), (False, True, None)), (nothing("x"), (None,) * 3)]
)
def test_stance_agrees_with_outcomes_that_are_known(stance, agrees):
    assert tuple(stance.agrees(holds) for holds in (True, False, None)) == agrees


def test_stance_shows_the_value_before_the_reason():
    assert str(yes("in c")) == "yes: in c"
    assert str(nothing("in c at every ratio")) == "nothing: in c at every ratio"
    assert str(no()) == "no"
    assert nothing() == SILENT


def test_stance_refuses_other_values():
    with pytest.raises(ValueError, match="perhaps"):
        Stance("perhaps")


# ---------------------------------------------------------------------- the claim


def test_claim_agrees_with_each_source_by_itself():
    claim = interval_claim("x", {"a": ABOVE}, theory=yes("so"), paper=no("not so"))
    assert (claim.holds, claim.theory_agrees, claim.paper_agrees) == (True, True, False)
    claim = interval_claim("x", {"a": BELOW}, theory=nothing("no reason for it"), paper=no())
    assert (claim.holds, claim.theory_agrees, claim.paper_agrees) == (False, None, True)


def test_claim_refuses_what_cannot_be_read():
    with pytest.raises(ValueError, match="at least one interval"):
        Claim(text="x", scores={}, holds=None)
    with pytest.raises(ValueError, match=r"must be those of a score \(a\).*got 'b'"):
        Claim(text="x", scores={"a": OPEN}, limits={"b": ABOVE_ZERO}, holds=None)
    with pytest.raises(ValueError, match="the lower one first"):
        Claim(text="x", scores={"a": OPEN}, limits={"a": (1.0, 0.0)}, holds=None)


def test_claim_never_holds_against_its_limits():
    with pytest.raises(ValueError, match="limits say holds=False, got holds=True"):
        Claim(text="x", scores={"a": BELOW}, limits={"a": ABOVE_ZERO}, holds=True, reason="because")
    with pytest.raises(ValueError, match="give the reason"):
        Claim(text="x", scores={"a": ABOVE}, limits={"a": ABOVE_ZERO}, holds=False)
    assert Claim(text="x", scores={"a": ABOVE}, limits={"a": ABOVE_ZERO}, holds=False, reason="lost").holds is False
    assert Claim(text="x", scores={"a": BELOW}, limits={"a": ABOVE_ZERO}, holds=None).holds is None


def test_claim_shows_more_digits_where_all_are_small():
    scores = {
        "wide: one": Interval(value=0.25, low=-0.5, high=1.0),
        "narrow": Interval(value=0.00034, low=0.00012, high=0.00056),
    }
    claim = Claim(text="x", scores={**scores, "none": Interval(value=1.0, low=1.0, high=1.0)}, holds=True)
    assert claim.measured == [
        ("wide: one", "0.250 [-0.500, 1.000]"),
        ("narrow", "0.00034 [0.00012, 0.00056]"),
        ("none", "1.000 [1.000, 1.000]"),
    ]
    assert claim.rows == [
        ("wide: one", "0.250", "−0.500", "1.000", "", ""),
        ("narrow", "0.00034", "0.00012", "0.00056", "", ""),
        ("none", "1.000", "1.000", "1.000", "", ""),
    ]
    assert Claim(text="x", scores={"a": BELOW}, limits={"a": (-1e-3, math.inf)}, holds=None).rows[0][4:] == (
        "−0.001",
        "",
    )


def test_claim_knows_what_comes_nearest_to_a_limit():
    scores = {
        "far": Interval(value=0.6, low=0.5, high=0.7),
        "beyond": BELOW,
        "near": Interval(value=0.1, low=0.01, high=0.2),
    }
    assert interval_claim("x", scores, shown={"aside": OPEN}).nearest == ["beyond", "near", "far"]


numbers = st.floats(-1e6, 1e6)


@given(
    ends=st.lists(numbers, min_size=3, max_size=3).map(sorted),
    limits=st.sampled_from([ABOVE_ZERO, BELOW_ZERO, (-0.5, 0.5), (0, 1)]),
    reason=st.text(),
)
def test_claim_reads_back_from_json(ends, limits, reason):
    low, value, high = ends
    scores = {"a": Interval(value=value, low=low, high=high)}
    claim = interval_claim(
        "x", scores, limits, shown={"b": OPEN}, theory=no(reason), paper=nothing(reason), reason=reason
    )
    described = json.loads(json.dumps(claim.to_dict(), allow_nan=False))
    assert described["scores"]["a"] == {"value": value, "low": low, "high": high}
    again = Claim.from_dict(described)
    assert again == claim
    assert again.nearest == ["a"]


@pytest.mark.parametrize(
    "change",
    [
        {"theory": {"says": "perhaps"}},
        {"scores": None},
        {"scores": {"a": [0.0, -0.1, 0.1]}},
        {"scores": {"a": {"value": 0.0, "low": -0.1}}},
        {"banana": 1},
        {"limits": {"z": [0, 1]}},
    ],
)
def test_claim_from_dict_refuses_what_it_did_not_write(change):
    described = interval_claim("x", {"a": OPEN}).to_dict()
    with pytest.raises(ValueError, match=r"expected a claim as Claim\.to_dict writes it"):
        Claim.from_dict(described | change)


# ---------------------------------------------------------------------- seeds


def test_mean_claim_rests_on_every_difference():
    up, down = np.asarray([0.2, 0.21, 0.19]), np.asarray([-0.2, -0.21, -0.19])
    claim = mean_claim("x", {"a": up, "b": up + 1}, shown={"level": down})
    assert claim.holds is True
    assert claim.scores == {"a": over_seeds(up), "b": over_seeds(up + 1), "level": over_seeds(down)}
    assert claim.limits == {"a": ABOVE_ZERO, "b": ABOVE_ZERO}
    assert mean_claim("x", {"a": up, "b": down}).holds is False
    assert mean_claim("x", {"a": up, "b": up * [1, -1, 0]}).holds is None
    assert mean_claim("x", {"a": up, "b": down}, {"a": ABOVE_ZERO, "b": BELOW_ZERO}).holds is True
    with pytest.raises(ValueError, match="at least 2"):
        mean_claim("x", {"a": [0.1]})


@pytest.mark.parametrize(
    ("limits", "low", "high", "holds"),
    [
        (ABOVE_ZERO, -0.01, 0.04, False),  # surely too small to count
        (ABOVE_ZERO, -0.01, 0.06, None),
        (ABOVE_ZERO, 0.01, 0.04, True),  # small, but surely there
        (BELOW_ZERO, -0.04, 0.01, False),
        (BELOW_ZERO, -0.06, 0.01, None),
        ((0.9, math.inf), 0.88, 0.94, False),
        ((-0.05, 0.05), -0.06, -0.01, None),  # limits on both sides are margins themselves
    ],
)
def test_interval_claim_counts_less_than_the_margin_as_none(limits, low, high, holds):
    claim = interval_claim(
        "a beats b", {"a − b": Interval(value=(low + high) / 2, low=low, high=high)}, limits, margin=0.05
    )
    assert claim.holds is holds
    assert claim.reason == ("smaller than 0.05" if holds is False else "")
    assert claim.too_small == (["a − b"] if holds is False else [])
    assert claim.margins == ({} if limits == (-0.05, 0.05) else {"a − b": 0.05})
    assert Claim.from_dict(claim.to_dict()) == claim


@pytest.mark.parametrize(
    ("limits", "margins"),
    [({"a": ABOVE_ZERO}, {"b": 0.1}), ({"a": (0.0, 1.0)}, {"a": 0.1}), ({"a": ABOVE_ZERO}, {"a": -1})],
)
def test_claim_refuses_margins_that_no_limit_has(limits, margins):
    scores = {"a": Interval(value=0.0, low=-1.0, high=1.0)}
    with pytest.raises(ValueError, match="margins must be at least 0 and finite, and belong to scores with one limit"):
        Claim(text="a beats b", scores=scores, limits=limits, margins=margins, holds=None)


def test_interval_claim_refuses_a_margin_below_zero():
    with pytest.raises(ValueError, match="margin must be at least 0 and finite"):
        interval_claim("a beats b", {"a − b": Interval(value=0.0, low=-1.0, high=1.0)}, margin=-0.1)


def test_margins_reach_orderings_and_trends():
    nearly_flat = {"a": [0.0, 0.1, 0.2], "b": [0.01, 0.1, 0.2], "c": [0.0, 0.11, 0.2]}
    assert ordering_claim("rises", nearly_flat).holds is None
    assert ordering_claim("rises", nearly_flat, margin=0.05).holds is False
    arms = np.arange(5)
    nearly_none = [
        next(p for p in itertools.permutations(arms) if np.square(p - arms).sum() == squares)
        for squares in (18, 20, 22)
    ]  # correlations of 0.1, 0 and -0.1
    assert trend_claim("follows", np.transpose(nearly_none), arms).holds is None
    assert trend_claim("follows", np.transpose(nearly_none), arms, margin=0.3).holds is False


def test_mean_claim_compares_levels_with_limits():
    values = np.asarray([0.93, 0.95, 0.94])
    assert mean_claim("x", {"a": values}, (0.9, math.inf)).holds is True
    assert mean_claim("x", {"a": values}, (-math.inf, 0.9)).holds is False
    assert mean_claim("x", {"a": values}, (0.94, math.inf)).holds is None


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.028, 0.03, 0.05, -0.05])
def test_equivalence_claim_is_two_one_sided_tests(shift):
    """Against SciPy's: both p-values are at most 2.5 % exactly where the claim holds."""
    values = NEARLY + shift
    p = [
        scipy.stats.ttest_1samp(values, end, alternative=side).pvalue
        for end, side in ((-0.03, "greater"), (0.03, "less"))
    ]
    claim = equivalence_claim("x", {"a": values}, 0.03)
    assert (claim.holds is True) == (max(p) < 0.025)
    assert (claim.holds is False) == (max(p) > 0.975)


def test_equivalence_claim_is_open_where_nothing_is_told_apart():
    assert equivalence_claim("x", {"a": [0.5, -0.5, 0.1]}, 0.03).holds is None
    with pytest.raises(ValueError, match="margin: expected a difference above 0"):
        equivalence_claim("x", {"a": NEARLY}, 0.0)


def test_ordering_claim_asks_every_step():
    values = {str(level): level + NEARLY * (1 + level) for level in range(3)}
    assert ordering_claim("x", values).holds is True
    assert list(ordering_claim("x", values).scores) == ["1 − 0", "2 − 1"]
    assert ordering_claim("x", values, falling=True).holds is False
    assert ordering_claim("x", dict(reversed(values.items())), falling=True).holds is True
    assert ordering_claim("x", values | {"3": values["2"]}).holds is False  # the same is not greater
    with pytest.raises(ValueError, match=r"at least two names, got a$"):
        ordering_claim("x", {"a": NEARLY})


def test_trend_claim_follows_ranks():
    rng = np.random.default_rng(0)
    predicted = rng.random(12)
    measured = predicted[:, None] ** 3 + 0.01 * rng.normal(size=(12, 4))
    claim = trend_claim("x", measured, predicted, theory=yes())
    assert claim.holds is claim.theory_agrees is True
    assert trend_claim("x", -measured, predicted).holds is False
    assert trend_claim("x", rng.normal(size=(12, 4)), predicted).holds is None


def test_rank_correlations_are_spearmans():
    rng = np.random.default_rng(1)
    measured, predicted = rng.normal(size=(2, 9, 3))
    expected = [scipy.stats.spearmanr(x, y)[0] for x, y in zip(measured.T, predicted.T, strict=True)]
    assert rank_correlations(measured, predicted) == pytest.approx(expected)
    assert rank_correlations(measured, predicted[:, 0])[0] == pytest.approx(expected[0])
    measured[:, 1] = 0.5
    assert rank_correlations(measured, predicted)[1] == 0


@pytest.mark.parametrize(
    ("measured", "predicted", "message"),
    [
        (np.ones((4, 2)), np.ones(2), r"got \(4, 2\) and \(2,\)"),
        (np.ones(4), np.ones(4), r"got \(4,\) and \(4,\)"),
        (np.ones((4, 2)), np.ones(4), "no trend to follow"),
    ],
)
def test_rank_correlations_refuse_what_does_not_go_together(measured, predicted, message):
    with pytest.raises(ValueError, match=message):
        rank_correlations(measured, predicted)


# ---------------------------------------------------------------------- one code


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: interval_claim("t", {"a": ABOVE}, {}), "expected at least one score, limits for each score"),
        (lambda: interval_claim("t", {}, shown={"a": ABOVE}), "expected at least one score, limits for each score"),
        (lambda: interval_claim("t", {"a": ABOVE}, {"b": ABOVE_ZERO}), r"scores \['a'\], limits of \['b'\]"),
        (lambda: interval_claim("t", {"a": ABOVE}, shown={"a": BELOW}), "other names for values that are only shown"),
        (lambda: ordering_claim("t", {"a": [1.0, 2.0], "b": [3.0]}), "equally many seeds, got {'a': \\(2,\\), 'b'"),
        (lambda: trend_claim("t", [[1.0, 2.0], [2.0, 3.0]], [0.0, 1.0]), "at least 3 of them, got 2"),
        (lambda: trend_claim("t", [[1.0, 2.0]] * 3, [0.0, 1.0, math.nan]), "expected finite numbers"),
        (lambda: Claim(text="t", scores={"a": ABOVE}, holds=None, theory="yes"), "give theory and paper as yes"),
    ],
)
def test_claims_refuse_what_would_decide_nothing(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_block_claim_holds_of_a_linear_code_and_shows_its_members():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(300, 2))
    measured = block_verdict(latents @ [[1.0, 1.0], [-1.0, 2.0]], latents, key=0)
    members = {"R²(ẑ → root)": Interval(value=0.9, low=0.8, high=0.95)}
    claim = block_claim("code = c", measured, members=members, theory=no("narrow"))
    assert (claim.holds, claim.theory_agrees, claim.reason) == (True, False, measured.reason)
    assert dict.fromkeys(claim.limits.values()) == {(0.9, math.inf): None}
    assert list(claim.limits) == ["R²(ẑ → c)", "R²(c → ẑ)"]
    assert ("R²(ẑ → root)", "0.900 [0.800, 0.950]") in claim.measured


def test_block_claim_fails_where_a_direction_is_lost_within_its_limits():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(600, 1)) * np.ones(4) + 0.2 * rng.normal(size=(600, 4))
    kept = np.linalg.svd(latents - latents.mean(axis=0), full_matrices=False)[0][:, :1]
    measured = block_verdict(kept + 1e-4 * rng.normal(size=kept.shape), latents, key=0)
    claim = block_claim("code = c", measured)
    assert [within(claim.scores[name], *ends) for name, ends in claim.limits.items()] == [True, True]
    assert claim.holds is False
    assert "lost" in claim.reason


def test_block_claim_is_open_where_rows_are_few():
    latents = np.random.default_rng(0).normal(size=(30, 2))
    assert block_claim("code = c", block_verdict(latents, latents, key=0)).holds is None


@pytest.mark.parametrize(
    ("differences", "holds"),
    [
        ([ABOVE, Interval(value=0.1, low=0.05, high=0.2)], True),
        ([ABOVE, OPEN], None),
        ([BELOW], False),
    ],
)
def test_interval_claim_of_a_hull_needs_every_seed(differences, holds):
    spanned = hull(differences)
    claim = interval_claim("root learned", {"R² − floor": spanned}, theory=yes())
    assert claim.holds is claim.theory_agrees is holds


def test_hull_spans_all_intervals():
    for some in itertools.permutations([ABOVE, Interval(value=0.4, low=0.0, high=0.5)]):
        assert dataclasses.astuple(hull(some)) == pytest.approx((0.3, 0.0, 0.5))
    with pytest.raises(ValueError, match="at least one"):
        hull([])
