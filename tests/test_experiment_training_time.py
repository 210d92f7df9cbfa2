"""Short and long training compared: pairs of seeds, arms, verdicts, and runs that cannot be compared."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from experiments import training_time
from experiments.experiment import load_results, named_experiment
from hlvm.plotting import style
from hlvm.scoring import Interval

RESULTS = Path(__file__).parent.parent / "experiments" / "results"
ERROR, GROWS, CLASS, PIXELS, LEADS, KIN, TRANSFER = range(7)


@pytest.fixture(scope="module")
def short():
    return {name: load_results(RESULTS / f"{name}_short") for name in training_time.NAMES}


@pytest.fixture
def long(short):
    """The short run's numbers, as if nothing came of longer training."""
    found = {}
    for name, results in short.items():
        config = copy.deepcopy(results.config)
        config["fits"]["steps"] *= 10
        found[name] = dataclasses.replace(results, config=config, records=results.records.copy())
    return found


def shift(results, by, **where):
    """Add a number to the trained values with these columns, and a little that differs between seeds."""
    records = results.records
    of_trained = records["code" if "code" in records else "source"] == "trained"
    chosen = np.logical_and.reduce([of_trained, *(records[name] == value for name, value in where.items())])
    assert chosen.any()
    records.loc[chosen, "value"] += by + 1e-6 * records.loc[chosen, "seed"]


def test_the_same_numbers_are_no_change(short, long):
    found = training_time.compare(short, long)
    intervals = [interval for i in (ERROR, CLASS, LEADS, KIN, TRANSFER) for interval in found[i].scores.values()]
    assert all(interval == Interval(value=0.0, low=0.0, high=0.0) for interval in intervals)


def test_error_must_fall_in_every_arm(short, long):
    shift(long["reconstruction"], -0.001, seen="visible part", score="MSE")
    claim = training_time.compare(short, long)[ERROR]
    assert claim.holds is claim.theory_agrees is True
    assert len(claim.scores) == 7
    assert all(interval.value == pytest.approx(-0.001, abs=1e-5) for interval in claim.scores.values())
    shift(long["reconstruction"], 0.002, seen="visible part", score="MSE", ratio=0.9)
    assert training_time.compare(short, long)[ERROR].holds is False


def test_whole_images_and_other_metrics_do_not_count(short, long):
    shift(long["reconstruction"], -0.001, seen="whole image", score="MSE")
    shift(long["reconstruction"], -0.001, seen="visible part", score="SSIM")
    assert all(interval.value == 0 for interval in training_time.compare(short, long)[ERROR].scores.values())


def test_the_low_flank_is_that_of_the_long_run(short, long):
    assert training_time.compare(short, long)[GROWS].holds is False  # as measured after 1,500 steps
    shift(long["reconstruction"], -0.01, seen="visible part", score="MSE", ratio=0.1)
    claim = training_time.compare(short, long)[GROWS]
    assert claim.holds is claim.theory_agrees is True
    assert claim.scores["difference, laptop"].value < 0 < claim.scores["difference, long"].value


def test_class_and_leads(short, long):
    shift(long["linear_separability"], 0.1, score="accuracy", latent="class", ratio=0.75, unit=2)
    found = training_time.compare(short, long)
    assert [found[i].holds for i in (CLASS, PIXELS, LEADS)] == [True, True, True]
    assert found[CLASS].scores["ratio 0.75, unit 2"].value == pytest.approx(0.1, abs=1e-5)
    shift(long["linear_separability"], 0.2, score="accuracy", latent="class", ratio=0.1)
    found = training_time.compare(short, long)
    assert [found[i].holds for i in (CLASS, PIXELS, LEADS)] == [True, True, False]


def test_kin_counts_in_the_last_block_and_where_it_may_be_visible(short, long):
    shift(long["attention"], 0.1, score="AUC", block=1)
    shift(long["attention"], 0.1, score="AUC", unit=4, block=2)
    claim = training_time.compare(short, long)[KIN]
    assert all(interval.value == 0 for interval in claim.scores.values())
    assert "ratio 0.75, unit 4" not in claim.scores
    shift(long["attention"], 0.1, score="AUC", block=2)
    assert training_time.compare(short, long)[KIN].holds is True


def test_transfer_needs_both(short, long):
    shift(long["transfer"], 0.1, task="layout")
    shift(long["transfer"], -0.1, task="class", shift="none")  # without a shift: not asked
    claim = training_time.compare(short, long)[TRANSFER]
    assert claim.scores["layout"].value == pytest.approx(0.1, abs=1e-5)
    assert claim.scores["class after a shift"].value == 0
    shift(long["transfer"], -0.05, task="class")
    assert training_time.compare(short, long)[TRANSFER].holds is False


@pytest.mark.parametrize("change", [("steps", 1500), ("steps", 750), ("width", 128)])
def test_runs_that_differ_otherwise_are_refused(short, long, change):
    name, value = change
    long["attention"].config["fits"][name] = value
    with pytest.raises(ValueError, match="attention: the two runs must differ in steps"):
        training_time.compare(short, long)


def test_claims_that_either_run_decided(short, long):
    first, second = short["transfer"], long["transfer"]
    undecided = [dataclasses.replace(claim, holds=None) for claim in second.claims]
    of_short = [claim.text for claim in first.claims if claim.holds is not None]
    pairs = training_time.decided(first, dataclasses.replace(second, claims=undecided))
    assert [pair[0].text for pair in pairs] == [pair[1].text for pair in pairs] == of_short
    assert 0 < len(of_short) < len(undecided)


def test_figure_shows_both_runs(short, long):
    with style():
        figure = training_time.draw(short, long)
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["1,500 steps", "15,000 steps"]
    assert len(figure.axes) == 8


@pytest.mark.parametrize("name", training_time.NAMES)
def test_long_is_short_with_ten_times_the_steps(name):
    short, longer = (
        json.loads(json.dumps(dataclasses.asdict(named_experiment(name).presets[preset])))
        for preset in ("short", "long")
    )
    assert longer["fits"].pop("steps") == 10 * short["fits"].pop("steps")
    assert longer == short
