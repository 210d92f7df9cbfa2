"""Intervals over training seeds."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.formula.api as smf

from hlvm.scoring import Interval, check_seeds, means_over_seeds, over_generators, over_seeds


def test_over_seeds_is_students_interval():
    values = np.asarray([0.1, 0.4, 0.35, 0.9])
    low, high = scipy.stats.t.interval(0.95, 3, loc=values.mean(), scale=scipy.stats.sem(values))
    assert dataclasses.astuple(over_seeds(values)) == pytest.approx((values.mean(), low, high))


def test_interval_is_no_sequence_of_numbers():
    """Nothing can take its ends for one another unseen."""
    interval: Any = Interval(value=0.5, low=0.25, high=0.75)
    assert str(interval) == "0.500 [0.250, 0.750]"
    assert list(dataclasses.asdict(interval)) == ["value", "low", "high"]
    with pytest.raises(TypeError, match="not iterable"):
        tuple(interval)
    with pytest.raises(TypeError, match="not subscriptable"):
        interval[0]
    with pytest.raises(TypeError, match="positional"):
        Interval(0.25, 0.5, 0.75)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("values", "message"),
    [([1.0], "at least 2 of them, got seeds=1"), ([1.0, np.nan], "finite"), ([[1.0, 2.0]] * 2, r"shape \(2, 2\)")],
)
def test_over_seeds_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(values)


def test_over_seeds_refuses_levels_in_percent():
    with pytest.raises(ValueError, match="strictly between 0 and 1, got 95"):
        over_seeds([1.0, 2.0], level=95.0)


def test_check_seeds_refuses_one():
    check_seeds(2)
    with pytest.raises(ValueError, match="at least 2 of them, got seeds=1"):
        check_seeds(1)


def test_means_over_seeds_averages_within_a_seed_first():
    records = pd.DataFrame({"ratio": [0.5, 0.5, 0.5, 0.5], "seed": [0, 0, 0, 1], "value": [1.0, 1.0, 1.0, 3.0]})
    (row,) = means_over_seeds(records, ["ratio"]).to_dict("records")
    assert row == {"ratio": 0.5, **dataclasses.asdict(over_seeds([1.0, 3.0])), "seeds": 2}
    assert row["value"] == 2.0


# ---------------------------------------------------------------------- seeds within generators

NESTED = np.random.default_rng(0).normal(size=(6, 4)) + np.random.default_rng(1).normal(size=(6, 1))


def test_over_generators_is_students_interval_over_their_means():
    means = NESTED.mean(1)
    low, high = scipy.stats.t.interval(0.9, 5, loc=means.mean(), scale=scipy.stats.sem(means))
    found = over_generators(NESTED, level=0.9)
    assert dataclasses.astuple(found.interval) == pytest.approx((means.mean(), low, high))
    assert found.standard_error == pytest.approx(scipy.stats.sem(means))
    assert (found.generators, found.seeds, found.units) == (6, (4,) * 6, 6)


def test_over_generators_has_the_variances_of_a_mixed_model():
    """In a balanced design whose variance between is above 0, REML estimates what the analysis of variance does."""
    frame = pd.DataFrame({"y": NESTED.ravel(), "generator": np.repeat(range(6), 4)})
    fitted: Any = smf.mixedlm("y ~ 1", frame, groups="generator").fit(reml=True)
    found = over_generators(NESTED)
    assert found.var_between == pytest.approx(float(fitted.cov_re.iloc[0, 0]), rel=1e-3)
    assert found.var_within == pytest.approx(fitted.scale, rel=1e-3)
    assert found.standard_error == pytest.approx(fitted.bse["Intercept"], rel=1e-3)


def test_over_generators_of_one_generator_speaks_of_its_seeds():
    values = [0.1, 0.4, 0.35, 0.9]
    found = over_generators(values)
    assert found == over_generators([values])
    assert found.interval == over_seeds(values)
    assert (found.generators, found.units, found.var_between) == (1, 4, None)
    assert found.var_within == pytest.approx(np.var(values, ddof=1))


def test_over_generators_of_one_seed_each_cannot_tell_the_variances_apart():
    found = over_generators([[0.1], [0.4], [0.35]])
    assert found.var_within is None
    assert found.var_between == pytest.approx(np.var([0.1, 0.4, 0.35], ddof=1))


def test_over_generators_without_variance_between_reports_none():
    found = over_generators([[0.0, 1.0], [0.1, 0.9]])
    assert found.var_between == 0.0
    assert found.var_within is not None


@pytest.mark.slow
def test_over_generators_covers_in_unequal_designs():
    """2,000 studies: a coverage of .95 has a standard error of .005, so three of them are allowed."""
    rng = np.random.default_rng(2)
    counts, between, within = (2, 3, 5, 8, 12), 0.5, 2.0
    found = [
        over_generators([rng.normal(rng.normal(0, between**0.5), within**0.5, n) for n in counts]).interval
        for _ in range(2000)
    ]
    assert np.mean([one.low < 0 < one.high for one in found]) == pytest.approx(0.95, abs=0.015)


def test_over_generators_estimates_both_variances_in_unequal_designs():
    """One large study: standard errors are about 3 % of the variance between and 1 % of that within."""
    rng = np.random.default_rng(3)
    counts = np.resize([4, 8, 12, 24], 3000)
    found = over_generators([rng.normal(rng.normal(0, 1.0), 2.0, n) for n in counts])
    assert found.var_between == pytest.approx(1.0, rel=0.12)
    assert found.var_within == pytest.approx(4.0, rel=0.04)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0]], "at least 2 of them, got seeds=1"),
        ([1.0], "at least 2 of them, got seeds=1"),
        ([[1.0, np.nan], [1.0, 2.0]], "finite"),
        ([[1.0, 2.0], []], r"got one of shape \(0,\)"),
        (np.zeros((2, 2, 2)), r"got one of shape \(2, 2\)"),
        (np.asarray(3.0), "numbers by generator and seed, got array"),
        ([], "numbers by generator and seed"),
    ],
)
def test_over_generators_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        over_generators(values)
