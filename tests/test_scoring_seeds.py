"""Intervals over training seeds."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from hlvm.scoring import check_seeds, means_over_seeds, over_seeds


def test_over_seeds_is_students_interval():
    values = np.asarray([0.1, 0.4, 0.35, 0.9])
    low, high = scipy.stats.t.interval(0.95, 3, loc=values.mean(), scale=scipy.stats.sem(values))
    assert over_seeds(values) == pytest.approx((low, values.mean(), high))


@pytest.mark.parametrize(("values", "message"), [([1.0], "at least 2 of them, got seeds=1"), ([1.0, np.nan], "finite")])
def test_over_seeds_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(values)


def test_check_seeds_refuses_one():
    check_seeds(2)
    with pytest.raises(ValueError, match="at least 2 of them, got seeds=1"):
        check_seeds(1)


def test_means_over_seeds_averages_within_a_seed_first():
    records = pd.DataFrame({"ratio": [0.5, 0.5, 0.5, 0.5], "seed": [0, 0, 0, 1], "value": [1.0, 1.0, 1.0, 3.0]})
    (row,) = means_over_seeds(records, ["ratio"]).to_dict("records")
    assert (row["ratio"], row["mean"], row["seeds"]) == (0.5, 2.0, 2)
    assert (row["low"], row["high"]) == pytest.approx(over_seeds([1.0, 3.0])[::2])
