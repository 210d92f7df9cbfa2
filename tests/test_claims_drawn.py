"""Claims drawn from a prediction: what is claimed, and how a family of claims is decided."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from hlvm.claims import (
    ABOVE_ZERO,
    BELOW_ZERO,
    Claim,
    ClaimConfig,
    drawn_claims,
    drawn_limits,
    equivalence_claim,
    mean_claim,
)
from hlvm.scoring import Interval, over_generators, over_seeds


def seeds_around(mean, sd, n=4, seed=0):
    """Differences with exactly this mean and standard deviation."""
    numbers = np.random.default_rng(seed).normal(size=n)
    return mean + sd * (numbers - numbers.mean()) / numbers.std(ddof=1)


# ---------------------------------------------------------------------- what is claimed


def test_drawn_limits_have_a_direction_beyond_the_margin_of_the_prediction():
    config = ClaimConfig(apart=0.1, margin=0.02)
    limits = drawn_limits({"up": 0.11, "down": -0.11, "same": -0.1, "silent": None}, config)
    assert limits == {"up": ABOVE_ZERO, "down": BELOW_ZERO, "same": (-0.02, 0.02)}


def test_drawn_limits_refuse_what_is_not_finite():
    with pytest.raises(ValueError, match="a − b must be finite, or None where nothing is said, got nan"):
        drawn_limits({"a − b": np.nan})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"apart": -0.1}, "apart must be at least 0, got -0.1"),
        ({"margin": 0.0}, "margin must be above 0, got 0.0"),
        ({"error": 0.5}, "error must be between 0 and 0.5, such as 0.025, got 0.5"),
        ({"margin": np.nan}, "margin must be above 0, got nan"),
    ],
)
def test_claim_config_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        ClaimConfig(**settings)


# ---------------------------------------------------------------------- a single claim


@pytest.mark.parametrize("mean", [0.1, -0.1, 0.0])
@pytest.mark.parametrize("sd", [0.005, 0.5])
def test_drawn_claims_of_one_difference_are_decided_by_its_95_percent_interval(mean, sd):
    values = seeds_around(mean, sd)
    (direction,) = drawn_claims({"a − b": 1.0}, {"a − b": values}).values()
    (same,) = drawn_claims({"a − b": 0.0}, {"a − b": values}).values()
    (interval,) = direction.scores.values()
    expected = over_seeds(values)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert direction.limits == {"a − b": ABOVE_ZERO}
    assert same.limits == {"a − b": (-0.03, 0.03)}
    if sd == 0.5:
        assert direction.holds is same.holds is None
    else:
        assert direction.holds is (mean > 0)
        assert same.holds is equivalence_claim("x", {"a": values}, 0.03).holds is (mean == 0)
    assert direction.theory_agrees is direction.holds


def test_drawn_claims_of_a_direction_are_refuted_by_a_difference_that_does_not_count():
    """Plain difference claims stay open here, as zero lies inside of the interval."""
    values = seeds_around(0.001, 0.005)
    (claim,) = drawn_claims({"a − b": 0.3}, {"a − b": values}).values()
    assert mean_claim("x", {"a": values}).holds is None
    assert claim.holds is False
    assert claim.theory_agrees is False
    (mirrored,) = drawn_claims({"a − b": -0.3}, {"a − b": -values}).values()
    assert mirrored.holds is False


def test_drawn_claims_prefer_a_small_difference_that_is_sure():
    """Above zero and below the margin: the direction is as predicted."""
    (claim,) = drawn_claims({"a − b": 0.3}, {"a − b": seeds_around(0.01, 0.002)}).values()
    assert claim.holds is True


def test_drawn_claims_take_arms_that_are_the_same_for_equivalent():
    claims = drawn_claims({"a − b": 0.3, "b − c": 0.0}, {"a − b": np.zeros(3), "b − c": np.zeros(3)})
    assert [claim.holds for claim in claims.values()] == [False, True]


def test_drawn_claims_over_generators_rest_on_the_generators():
    values = np.random.default_rng(0).normal(0.5, 0.1, size=(5, 3))
    (claim,) = drawn_claims({"a − b": 0.3}, {"a − b": values}).values()
    expected = over_generators(values).interval
    assert (claim.scores["a − b"].low, claim.scores["a − b"].high) == pytest.approx((expected.low, expected.high))


def test_drawn_claims_use_the_words_given():
    (claim,) = drawn_claims({"a − b": 0.3}, {"a − b": [0.1, 0.2]}, texts={"a − b": "a beats b"}).values()
    assert claim.text == "a beats b"
    assert Claim.from_dict(claim.to_dict()) == claim


def test_drawn_claims_need_what_was_measured():
    with pytest.raises(ValueError, match="differences lack b − c, which the prediction covers"):
        drawn_claims({"a − b": 0.1, "b − c": 0.0, "silent": None}, {"a − b": [0.1, 0.2]})


def test_drawn_claims_of_a_silent_theory_are_none():
    assert drawn_claims({"a − b": None}, {}) == {}


# ---------------------------------------------------------------------- a family


def family(seed, claims=8, n=6):
    rng = np.random.default_rng(seed)
    truth = rng.choice([0.0, 0.02, 0.05, 0.2], size=claims)
    predicted = {f"d{i}": float(rng.choice([0.3, -0.3, 0.0])) for i in range(claims)}
    return predicted, {name: rng.normal(mean, 0.03, n) for name, mean in zip(predicted, truth, strict=True)}


@pytest.mark.parametrize("seed", range(20))
def test_drawn_claims_are_those_that_holm_rejects(seed):
    """Tests of SciPy and statsmodels, adjusted by statsmodels."""
    predicted, measured = family(seed)
    hold, fail = [], []
    for name, said in predicted.items():
        sample = measured[name]

        def p(bound, alternative, sample=sample):
            return scipy.stats.ttest_1samp(sample, bound, alternative=alternative).pvalue

        if said == 0:
            hold.append(DescrStatsW(sample).ttost_mean(-0.03, 0.03)[0])
            fail.append(min(2 * min(p(-0.03, "less"), p(0.03, "greater")), 1))
        else:
            towards, back = ("greater", "less") if said > 0 else ("less", "greater")
            hold.append(p(0, towards))
            fail.append(p(np.sign(said) * 0.03, back))
    holds, fails = (multipletests(of, alpha=0.025, method="holm")[0] for of in (hold, fail))
    expected = [True if yes else False if no else None for yes, no in zip(holds, fails, strict=True)]
    assert [claim.holds for claim in drawn_claims(predicted, measured).values()] == expected


def test_drawn_claims_by_holm_meet_every_outcome():
    """The twenty families above are not all alike."""
    outcomes = [claim.holds for seed in range(20) for claim in drawn_claims(*family(seed)).values()]
    assert {outcomes.count(outcome) > 10 for outcome in (True, False, None)} == {True}


def test_drawn_claims_of_a_large_family_have_wider_intervals():
    values = seeds_around(0.1, 0.5)
    alone, crowded = (
        drawn_claims(dict.fromkeys(names, 1.0), dict.fromkeys(names, values))["0"] for names in ("0", "0123456789")
    )
    width = [of.scores["0"].high - of.scores["0"].low for of in (alone, crowded)]
    half = [scipy.stats.t.isf(0.025 / claims, 3) for claims in (1, 10)]
    assert width[1] / width[0] == pytest.approx(half[1] / half[0])
    assert isinstance(crowded.scores["0"], Interval)
