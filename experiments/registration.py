"""Predictions that are committed before anything is measured, and the commit that says so.

``python -m experiments.registration NAME`` writes the prediction of an experiment's preset ``laptop`` to
``experiments/registered/NAME.json``. Commit it, then run the experiment: its results name that commit.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlvm._files.digests import read_json, write_json

if TYPE_CHECKING:
    from experiments.experiment import Prediction

FOLDER = Path(__file__).parent / "registered"


def registered_in(name: str, prediction: Prediction, folder: Path = FOLDER) -> str | None:
    """The commit in which this prediction was registered, its numbers to one in a thousand or to a millionth.

    Args:
        name: of the experiment.
        prediction: what is about to be tested.
        folder: of registered predictions.

    Returns:
        The hash; ``None`` where another prediction was registered or none, where the file is not committed as it is,
        or where there is no Git.
    """
    path = folder / f"{name}.json"
    try:
        known = read_json(path).get("prediction")
        if not same_prediction(known, json.loads(json.dumps(prediction))) or _git(folder, "status", path):
            return None
        return _git(folder, "log", path) or None
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def same_prediction(one: Any, other: Any) -> bool:
    """Tell whether two predictions are the same up to what machines differ in."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_prediction(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_prediction, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)
    return one == other


_COMMANDS = {"status": ("status", "--porcelain", "--"), "log": ("log", "-n", "1", "--format=%H", "--")}


def _git(folder: Path, what: str, path: Path) -> str:
    line = ["git", *_COMMANDS[what], str(path.absolute())]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def register(name: str, prediction: Prediction, folder: Path = FOLDER) -> Path:
    """Write a prediction to where :func:`registered_in` finds it.

    Raises:
        FileExistsError: another one is registered: a prediction is not changed once it is.
    """
    path = folder / f"{name}.json"
    content: dict[str, Any] = {"experiment": name, "prediction": json.loads(json.dumps(prediction))}
    if path.exists() and read_json(path) != content:
        raise FileExistsError(f"{path} holds another prediction: one that is registered is not changed")
    folder.mkdir(exist_ok=True)
    write_json(path, content)
    return path


def main() -> None:
    """Register the prediction of the experiment that the command line names."""
    from experiments.experiment import named_experiment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", metavar="NAME")
    experiment = named_experiment(parser.parse_args().name)
    print(register(experiment.name, experiment.predict(experiment.presets["laptop"])))


if __name__ == "__main__":
    main()
