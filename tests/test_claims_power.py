"""Power: chances of outcomes against SciPy, statsmodels and the claims themselves, and the smallest designs."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.stats.power import TTestPower

from hlvm.claims import (
    ABOVE_ZERO,
    BELOW_ZERO,
    Claim,
    ClaimConfig,
    Looks,
    decision_power,
    drawn_claims,
    mean_claim,
    power_table,
    replicates_needed,
)
from hlvm.scoring import Interval

SAME = (-0.03, 0.03)


@pytest.mark.parametrize("seeds", [2, 4, 8, 32])
@pytest.mark.parametrize("difference", [0.0, 0.02, 0.1])
def test_decision_power_of_a_direction_is_that_of_a_t_test(seeds, difference):
    found = decision_power(ABOVE_ZERO, difference, var_within=0.05**2, seeds=seeds)
    effect = difference / 0.05
    bound = scipy.stats.t.isf(0.025, seeds - 1)
    assert found.holds == pytest.approx(scipy.stats.nct.sf(bound, seeds - 1, effect * seeds**0.5), abs=1e-5)
    assert found.holds == pytest.approx(TTestPower().power(effect, seeds, 0.025, alternative="larger"), abs=1e-5)


@pytest.mark.parametrize("limits", [ABOVE_ZERO, SAME])
@pytest.mark.parametrize("difference", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("design", [(1, 4), (1, 12), (4, 3)])
def test_decision_power_is_how_often_claims_are_decided(limits, difference, design):
    """Outcomes of 4,000 simulated claims; four standard errors."""
    generators, seeds = design
    rng = np.random.default_rng(0)
    between, within, studies = 0.01, 0.03, 4000
    shift = rng.normal(0, between, (studies, generators, 1)) if generators > 1 else 0.0
    values = difference + shift + rng.normal(0, within, (studies, generators, seeds))
    units = values.mean(2) if generators > 1 else values[:, 0]
    error = units.std(1, ddof=1) / units.shape[1] ** 0.5
    half, against = (scipy.stats.t.isf(tail, units.shape[1] - 1) * error for tail in (0.025, 0.0125))
    mean = units.mean(1)
    if limits == SAME:
        holds, fails = abs(mean) + half < 0.03, abs(mean) - against >= 0.03
    else:
        holds = mean - half > 0
        fails = ~holds & (mean + half < 0.03)
    found = decision_power(
        limits, difference, var_within=within**2, var_between=between**2, seeds=seeds, generators=generators
    )
    slack = 4 * 0.5 / studies**0.5
    assert found.holds == pytest.approx(holds.mean(), abs=slack)
    assert found.fails == pytest.approx(fails.mean(), abs=slack)
    assert found.half_width == pytest.approx(half.mean(), rel=0.03)
    # These are the outcomes of the claims.
    said = drawn_claims({"d": 0.0 if limits == SAME else 1.0}, {"d": values[0]})["d"].holds
    assert said is (True if holds[0] else False if fails[0] else None)


def test_decision_power_below_zero_mirrors_that_above():
    up, down = (
        decision_power(limits, sign * 0.04, var_within=0.05**2, seeds=5)
        for limits, sign in ((ABOVE_ZERO, 1), (BELOW_ZERO, -1))
    )
    assert up == down


def test_decision_power_without_variance_is_a_step():
    assert decision_power(ABOVE_ZERO, 0.1, var_within=0.0, seeds=2).holds == 1.0
    assert decision_power(SAME, 0.1, var_within=0.0, seeds=2).fails == 1.0
    assert decision_power(SAME, 0.01, var_within=0.0, seeds=2).holds == 1.0


def test_decision_power_of_one_generator_says_nothing_of_others():
    one = decision_power(ABOVE_ZERO, 0.1, var_within=0.01, var_between=100.0, seeds=4)
    assert one == decision_power(ABOVE_ZERO, 0.1, var_within=0.01, seeds=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 1}, "seeds must be at least 2 for an interval over one generator"),
        ({"var_within": -1.0}, "var_within must be finite and at least 0"),
        ({"difference": math.nan}, "difference must be finite"),
        ({"generators": 0}, "generators must be a whole number of at least 1"),
    ],
)
def test_decision_power_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        decision_power(**{"limits": ABOVE_ZERO, "difference": 0.1, "var_within": 0.01, "seeds": 4} | settings)


# ---------------------------------------------------------------------- tables

LIMITS = {"up": ABOVE_ZERO, "same": SAME}
PILOT = {
    "up": np.random.default_rng(0).normal(0.05, 0.05, (6, 4)),
    "same": np.random.default_rng(1).normal(0.0, 0.02, (6, 4)) + np.random.default_rng(2).normal(0, 0.02, (6, 1)),
}


def decided(row, limits, **design):
    planned = {"seeds": row.seeds, "generators": row.generators} | design
    truth = {"var_within": row.var_within, "var_between": row.var_between}
    return decision_power(limits, row.difference, **truth, **planned, tail=0.025 / 2).decided


@pytest.mark.parametrize("which", ["seeds", "generators"])
def test_power_table_has_the_smallest_designs(which):
    found = []
    for row in power_table(LIMITS, PILOT, seeds=2).itertuples():
        needed = getattr(row, f"{which}_needed")
        chances = [
            decided(row, LIMITS[row.claim], **{which: n})
            for n in range(2 if which == "generators" else 1, 1025 if needed is pd.NA else needed + 1)
        ]
        assert max(chances[:-1]) < 0.8
        assert (chances[-1] < 0.8) is (needed is pd.NA)
        assert row.decided == pytest.approx(decided(row, LIMITS[row.claim]))
        found.append(needed is pd.NA)
    assert found == [False, which == "seeds"]  # generators differ by more than the margin, so seeds do not help


def test_power_table_agrees_with_statsmodels_on_seeds():
    values = PILOT["up"][0]
    (row,) = power_table({"up": ABOVE_ZERO}, {"up": values}, ClaimConfig(margin=1e-6)).itertuples()
    exact = TTestPower().solve_power(values.mean() / values.std(ddof=1), alpha=0.025, power=0.8, alternative="larger")
    assert row.seeds_needed == math.ceil(exact)


def test_power_table_after_one_generator_says_nothing_of_others():
    table = power_table({"up": ABOVE_ZERO}, {"up": PILOT["up"][0]})
    assert table["generators_needed"].isna().all()
    assert table["var_between"].isna().all()
    with pytest.raises(ValueError, match=r"generators must be 1, because a pilot of one generator.*got 3"):
        power_table({"up": ABOVE_ZERO}, {"up": PILOT["up"][0]}, generators=3)


def test_power_table_leaves_out_what_no_design_decides():
    """Exactly at the margin nothing but an error decides; and more seeds do not help against generators that differ."""
    at_margin = np.asarray([0.02, 0.04, 0.01, 0.05])
    (row,) = power_table({"same": SAME}, {"same": at_margin}, most=64).itertuples()
    assert row.seeds_needed is pd.NA
    differ = np.asarray([[-0.2, -0.21], [0.3, 0.31], [0.05, 0.06]])
    table = power_table({"up": ABOVE_ZERO}, {"up": differ})
    assert table["seeds_needed"].isna().all()
    assert table["generators_needed"].notna().all()


def test_power_table_is_stricter_for_looks_and_larger_families():
    alone, staged = (
        power_table({"up": ABOVE_ZERO}, PILOT, looks=of) for of in (None, Looks(generators=(2, 4, 6), seeds=4))
    )
    family = power_table(LIMITS, PILOT)
    widths = [table["half_width"].iloc[0] for table in (alone, family, staged)]
    tails = [0.025, 0.025 / 2, Looks(seeds=(2, 4, 6)).tail(0.025)]
    assert np.divide(widths, widths[0]) == pytest.approx(scipy.stats.t.isf(tails, 5) / scipy.stats.t.isf(0.025, 5))


def test_power_table_of_no_claims_is_empty():
    assert power_table({}, {}).empty


def test_power_table_refuses():
    with pytest.raises(ValueError, match="pilot lacks up, same"):
        power_table(LIMITS, {})
    with pytest.raises(ValueError, match="power must be between 0 and 1, got 80"):
        power_table(LIMITS, PILOT, power=80)


@pytest.mark.parametrize(
    ("mean", "limits", "margin", "holds"),
    [
        (0.04, ABOVE_ZERO, 0.03, True),
        (0.005, ABOVE_ZERO, 0.03, False),  # too small to count
        (0.93, (-math.inf, 0.95), 0.0, True),
        (0.02, (-0.05, 0.05), 0.0, True),
        (0.29, (0.1, 0.2), 0.0, False),
    ],
)
def test_replicates_needed_decide_as_often_as_asked(mean, limits, margin, holds):
    """So many simulated claims, and fewer with half as many replicates."""
    pilot = mean + 0.05 * scipy.stats.zscore(np.arange(5.0), ddof=1)
    claim = mean_claim("x", {"score": pilot}, limits, margin=margin)
    needed = replicates_needed(claim, 5)
    assert needed is not None
    rng = np.random.default_rng(0)
    decided = []
    for number in (needed, needed // 2):
        draws = mean + 0.05 * rng.normal(size=(2000, number))
        half = scipy.stats.t.isf(0.025, number - 1) * draws.std(1, ddof=1) / number**0.5
        middle = draws.mean(1)
        inside = (middle - half > limits[0]) & (middle + half < limits[1])
        outside = (middle + half < limits[0] + margin) | (middle - half > limits[1] - margin)
        decided.append(float((inside if holds else outside & ~inside).mean()))
    assert 0.77 < decided[0] < 0.95  # whole numbers; refuting equivalence is planned with caution
    assert decided[1] < 0.75


def test_replicates_needed_is_for_the_score_that_takes_most_or_the_one_that_refutes_first():
    easy, hard, against = (0.1 + 0.05 * scipy.stats.zscore(np.arange(4.0), ddof=1) * k for k in (1, 4, 1))
    alone = {name: replicates_needed(mean_claim("x", {"a": of}), 4) for name, of in (("easy", easy), ("hard", hard))}
    assert alone["easy"] < alone["hard"]
    assert replicates_needed(mean_claim("x", {"a": easy, "b": hard}), 4) == alone["hard"]
    assert replicates_needed(mean_claim("x", {"a": hard, "b": -against}), 4) == alone["easy"]
    nowhere = mean_claim("x", {"a": 0.1 * scipy.stats.zscore(np.arange(4.0))})
    assert replicates_needed(nowhere, 4, most=1000) is None


def test_replicates_needed_refuses():
    claim = mean_claim("x", {"a": [0.1, 0.2, 0.3]})
    with pytest.raises(ValueError, match="replicates must be at least 2, got 1"):
        replicates_needed(claim, 1)
    with pytest.raises(ValueError, match="power must be between 0 and 1"):
        replicates_needed(claim, 3, power=1.0)
    no_limits = Claim(text="x", scores={"a": Interval(value=0.0, low=-1.0, high=1.0)}, holds=None)
    with pytest.raises(ValueError, match="'x' has no limits that decide"):
        replicates_needed(no_limits, 3)
