"""The calibration experiment: its committed results are what it says, and it runs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from hlvm.scoring import Verdict
from hlvm.scoring.verdicts.judging import DIRECTION_LOST, REFUTABLE_SHARE

ROOT = Path(__file__).parent.parent
SCRIPT, RESULTS = ROOT / "experiments" / "calibration.py", ROOT / "experiments" / "results" / "calibration.json"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the experiments are not here")


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("calibration", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_committed_results_are_what_the_experiment_predicted(calibration):
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    found = calibration.summary(record)
    assert found == record["summary"]
    assert found["clear_cases"] >= 500
    assert found["right"] >= 0.95
    assert found["false_identified"] <= 0.01 * found["negative_cases"]
    assert all(0.035 <= share <= 0.065 for share in found["too_high_ranks"])
    assert all(abs(share - 0.95) <= 0.02 for share in found["coverage"])
    assert all(share >= 0.95 for share in found["coverage_of_training_means"])
    # The gap that the rule of the worst direction needs, and what it does where there is none.
    lost, exact = ([row for row in record["worst_direction"] if row["lost"] is lost] for lost in (True, False))
    large = [row["least"] for row in exact if row["share"] >= REFUTABLE_SHARE]
    small = [row["least"] for row in exact if row["share"] < REFUTABLE_SHARE]
    assert max(row["greatest"] for row in lost) < 0.05 < DIRECTION_LOST < 0.35 < min(large)
    assert min(small) < 0
    assert found["refuted_by_the_worst_direction"] == 0


@pytest.mark.parametrize(("name", "value"), [("rows", 0), ("dims", (2, 0)), ("rank_repeats", 1.5)])
def test_calibration_config_refuses_sizes_that_are_none(calibration, name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        calibration.Config(**{name: value})


@pytest.mark.slow
def test_calibration_runs_on_its_smallest_sizes(calibration):
    found = calibration.run(calibration.SMOKE)
    kinds = {row["code"]: row for row in found["verdicts"]}
    assert kinds["linear"][str(Verdict.IDENTIFIED)] == 1
    assert kinds["independent"][str(Verdict.NOT_IDENTIFIED)] == 1
    assert kinds["trace of style, style given"][str(Verdict.NOT_IDENTIFIED)] == 1
    json.dumps(found, allow_nan=False)


def test_calibration_of_rows_runs_and_its_committed_results_are_what_was_predicted():
    from experiments import calibration_rows

    found = calibration_rows.summary(calibration_rows.run(calibration_rows.SMOKE))
    assert found["few_rows_exact_refuted"] == found["other_latents_independent_identified"] == 0
    record = json.loads((RESULTS.parent / "calibration_rows.json").read_text(encoding="utf-8"))
    found = calibration_rows.summary(record)
    assert found == record["summary"]
    assert found["few_rows_exact_refuted"] <= 0.01 * found["few_rows_exact_cases"]
    assert found["few_rows_lost_identified"] == found["other_latents_independent_identified"] == 0
    assert found["other_latents_exact_refuted"] == 0
