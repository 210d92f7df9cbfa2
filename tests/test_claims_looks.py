"""Looks at a study in stages: their level against simulation, and claims decided at them."""

import numpy as np
import pytest
import scipy.stats

from hlvm.claims import ClaimConfig, Looks, drawn_claims

STUDIES = 100_000


def p_values(seeds, rng):
    """One-sided, of Student's test at every look, where nothing differs."""
    values = rng.normal(size=(STUDIES, seeds[-1]))
    tests = [scipy.stats.ttest_1samp(values[:, :n], 0.0, axis=1, alternative="greater").pvalue for n in seeds]
    return np.stack(tests, axis=1)


@pytest.mark.parametrize("seeds", [(4, 5), (2, 4, 8), (4, 8, 16), (6, 9, 12, 16, 24)])
def test_looks_tail_makes_the_chance_at_any_look_the_one_asked_for(seeds):
    """Four standard errors of the simulated chance, and half a percent of it for the integral."""
    simulated = p_values(seeds, np.random.default_rng(0)).min(axis=1)
    for error in (0.1, 0.025, 0.0025):
        found = (simulated <= Looks(seeds=seeds).tail(error)).mean()
        assert found == pytest.approx(error, abs=4 * (error / STUDIES) ** 0.5 + 0.005 * error)


def test_looks_chance_is_the_inverse_of_the_tail():
    looks = Looks(seeds=(4, 6, 12))
    for error in (0.2, 0.025, 1e-5):
        tail = looks.tail(error)
        assert error / 3 < tail < error
        assert looks.chance(tail) == pytest.approx(error, rel=1e-4)


def test_looks_at_far_tails_hardly_depend_on_each_other():
    """With few seeds a look errs by a small standard deviation, which the next look does not share."""
    looks = Looks(seeds=(4, 8, 16))
    assert looks.chance(1e-7) / 1e-7 == pytest.approx(3.0, abs=0.02)
    assert looks.chance(0.025) / 0.025 < 2.6


def test_looks_that_come_late_are_nearly_normal():
    """Two looks at z, with correlation √½: the chance of either is by the bivariate normal distribution."""
    bound = scipy.stats.norm.isf(0.02)
    both = scipy.stats.multivariate_normal.cdf([-bound, -bound], cov=[[1, 0.5**0.5], [0.5**0.5, 1]])
    assert Looks(seeds=(2000, 4000)).chance(0.02) == pytest.approx(0.04 - both, rel=0.01)


def test_looks_at_once_are_no_stricter():
    assert Looks(seeds=(8,)).tail(0.025) == 0.025


def test_looks_at_further_generators_are_those_at_further_seeds():
    generators = Looks(seeds=3, generators=(4, 8, 16))
    assert generators.units == (4, 8, 16)
    assert generators.tail(0.025) == Looks(seeds=(4, 8, 16)).tail(0.025)
    assert generators.designs == ((4, 3), (8, 3), (16, 3))


@pytest.mark.parametrize("looks", [Looks(seeds=(2, 4, 8), generators=3), Looks(seeds=(2, 4, 4), generators=(1, 1, 2))])
def test_looks_that_add_no_units_share_the_error(looks):
    assert looks.units is None
    assert looks.tail(0.03) == pytest.approx(0.01)
    assert looks.chance(0.01) == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 4}, "equally many of both if both are given, got seeds=4, generators=1"),
        ({"seeds": ()}, "needs seeds or generators at every look"),
        ({"seeds": (4, 8), "generators": (2, 3, 4)}, "equally many of both"),
        ({"seeds": (1, 4)}, "at least 2 seeds of a single generator"),
        ({"seeds": (0, 4)}, "seeds must be a whole number of at least 1, got 0"),
        ({"seeds": (4, 4)}, r"must add seeds or generators at every look, got \(\(1, 4\), \(1, 4\)\)"),
        ({"seeds": (4, 8), "generators": (3, 2)}, "must add seeds or generators"),
    ],
)
def test_looks_refuse(settings, message):
    with pytest.raises(ValueError, match=message):
        Looks(**settings)


# ---------------------------------------------------------------------- claims at looks

LOOKS = Looks(seeds=(4, 8))
PREDICTED = {"large": 0.4, "small": 0.4}
SEEDS = np.random.default_rng(1).normal(size=8)
MEASURED = {"large": 1.0 + 0.01 * SEEDS, "small": 0.1 + 0.1 * (SEEDS - SEEDS.mean())}
FIRST = drawn_claims(PREDICTED, {name: of[:4] for name, of in MEASURED.items()}, looks=LOOKS)


def test_drawn_claims_at_looks_have_the_level_of_a_look():
    (claim,) = drawn_claims({"a": 0.4}, {"a": MEASURED["small"][:4]}, looks=LOOKS).values()
    half = scipy.stats.t.isf(LOOKS.tail(0.025), 3) * scipy.stats.sem(MEASURED["small"][:4])
    assert claim.scores["a"].high - claim.scores["a"].value == pytest.approx(half)


def test_drawn_claims_keep_what_was_decided_before():
    assert [claim.holds for claim in FIRST.values()] == [True, None]
    second = drawn_claims(PREDICTED, {"small": MEASURED["small"]}, looks=LOOKS, before=FIRST)
    assert list(second) == list(PREDICTED)
    assert second["large"] == FIRST["large"]
    assert second["small"].holds is True


def test_drawn_claims_get_the_error_of_those_that_were_decided():
    """By Holm: the last claim of two is tested at the level of a single one."""
    second = drawn_claims(PREDICTED, {"small": 0.3 * MEASURED["small"]}, looks=LOOKS, before=FIRST)["small"]
    half = scipy.stats.t.isf(LOOKS.tail(0.025), 7) * scipy.stats.sem(0.3 * MEASURED["small"])
    assert second.holds is True
    assert second.scores["small"].high - second.scores["small"].value == pytest.approx(half)


def test_drawn_claims_decided_the_other_way_free_no_error():
    """A yes of one claim says nothing of the tests that claims do not hold."""
    predicted = {"wrong": -0.4, "small": 0.4}
    noisy = 0.1 + 5 * (MEASURED["small"] - 0.1)
    measured = {"wrong": MEASURED["large"], "small": noisy}
    first = drawn_claims(predicted, {name: of[:4] for name, of in measured.items()}, looks=LOOKS)
    assert [claim.holds for claim in first.values()] == [False, None]
    second = drawn_claims(predicted, {"small": noisy}, looks=LOOKS, before=first)["small"]
    half = scipy.stats.t.isf(LOOKS.tail(0.025 / 2), 7) * scipy.stats.sem(noisy)
    assert second.holds is None
    assert second.scores["small"].high - second.scores["small"].value == pytest.approx(half)


def test_drawn_claims_need_planned_numbers_of_seeds():
    with pytest.raises(ValueError, match=r"large has 1 generators of 6 seeds.*planned at .* \(\(1, 4\), \(1, 8\)\)"):
        drawn_claims(PREDICTED, {name: of[:6] for name, of in MEASURED.items()}, looks=LOOKS)
    with pytest.raises(ValueError, match="large has 2 generators of 3 and 4 seeds"):
        drawn_claims(
            PREDICTED, {name: [[1.0] * 3, [2.0] * 4] for name in PREDICTED}, looks=Looks(seeds=(2, 4), generators=2)
        )


@pytest.mark.parametrize("other", [({"large": 0.4}, None), (PREDICTED, ClaimConfig(margin=0.1))])
def test_drawn_claims_refuse_claims_of_another_family(other):
    predicted, config = other
    predicted = predicted | {"same": 0.0}
    with pytest.raises(ValueError, match="before must be the claims of the same prediction and margins, got large"):
        drawn_claims(predicted, MEASURED, config, looks=LOOKS, before=FIRST)
