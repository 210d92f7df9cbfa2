"""Ground of the committed results: the same training as ever, and the same numbers at the smallest size.

``python -m tests.test_experiments_pinned`` writes both anew. Do that only together with new committed results, or where
a change of numbers is meant and announced.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import experiments.training
from experiments import NAMES
from experiments.experiment import named_experiment
from hlvm.mae.files import describe_run

ROOT = Path(__file__).parent.parent
PINNED = Path(__file__).parent / "pinned"


class DescribedError(Exception):
    """Takes the place of training."""


def trainings(name, preset, monkeypatch):
    """A digest of key, members and settings of the first training in every group of a preset."""

    def describe(key, data, members, config, **_):
        data = experiments.training.check_data(data)
        what = {part: value for part, value in describe_run(key, data, members, config).items() if part != "data"}
        raise DescribedError(hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16])

    monkeypatch.setattr(experiments.training.mae, "fit_ensemble", describe)
    experiment = named_experiment(name)
    config, found = experiment.presets[preset], []
    for group in experiment.groups(config):
        with pytest.raises(DescribedError) as described:
            experiment.measure(config, group, None)
        found.append(str(described.value))
    return found


CASES = [(name, preset) for name in NAMES for preset in named_experiment(name).presets if preset != "gpu"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), CASES)
def test_training_of_committed_results_is_as_pinned(name, preset, monkeypatch):
    pinned = json.loads((PINNED / "trainings.json").read_text())
    assert trainings(name, preset, monkeypatch) == pinned[name][preset]


def smoke_records(name, folder):
    """Those of the smoke preset, run as a user does."""
    line = [sys.executable, "-m", f"experiments.{name}", "--preset", "smoke", "--out", str(folder / name)]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    return pd.read_csv(folder / name / "records.csv")


MEASURED = ["value", "x", "y"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_smoke_records_are_as_pinned(name, tmp_path):
    """To rounding: processors differ in it, and training makes that larger. Places in a map are left out."""
    found, pinned = smoke_records(name, tmp_path), pd.read_csv(PINNED / f"{name}.csv")
    measured = [column for column in MEASURED if column in pinned]
    pd.testing.assert_frame_equal(found.drop(columns=measured), pinned.drop(columns=measured))
    np.testing.assert_allclose(found["value"], pinned["value"], rtol=0.02, atol=0.02)


def main():
    """Write what is pinned anew, from this code."""
    PINNED.mkdir(exist_ok=True)
    found = {}
    for name, preset in CASES:
        with pytest.MonkeyPatch.context() as monkeypatch:
            found.setdefault(name, {})[preset] = trainings(name, preset, monkeypatch)
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            smoke_records(name, Path(folder)).to_csv(PINNED / f"{name}.csv", index=False, lineterminator="\n")
    (PINNED / "trainings.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
