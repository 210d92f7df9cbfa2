"""The calibration experiment: its committed results are what it says, and it runs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from hlvm.scoring import Verdict

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


def test_committed_results_support_what_the_page_on_scores_says(calibration):
    record = json.loads(RESULTS.read_text(encoding="utf-8"))
    found = calibration.summary(record)
    assert found == record["summary"]
    assert found["clear_cases"] >= 500
    assert found["right"] >= 0.95
    assert found["false_identified"] <= 0.01 * found["negative_cases"]
    assert all(0.035 <= share <= 0.065 for share in found["too_high_ranks"])
    page = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
    assert f"Of {found['clear_cases']} cases {found['right']:.1%} came out".replace("%", " %") in page
    assert f"none of the {found['negative_cases']} that were not identified" in page
    # The gap that the rule of the worst direction needs.
    lost, exact = ([row for row in record["worst_direction"] if row["lost"] is lost] for lost in (True, False))
    assert max(row["greatest"] for row in lost) < 0.1 < 0.4 < min(row["least"] for row in exact)


@pytest.mark.slow
def test_calibration_runs_on_its_smallest_sizes(calibration):
    found = calibration.run(calibration.SMOKE)
    kinds = {row["code"]: row for row in found["verdicts"]}
    assert kinds["linear"][str(Verdict.IDENTIFIED)] == 1
    assert kinds["independent"][str(Verdict.NOT_IDENTIFIED)] == 1
    json.dumps(found, allow_nan=False)
