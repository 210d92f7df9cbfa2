"""Intervals over training seeds."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from hlvm.scoring import Interval, check_seeds, means_over_seeds, over_seeds


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
