"""What an experiment is, and how one is carried out: predict, write that down, measure group by group, compare."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
from matplotlib.figure import Figure

from experiments.groups import UnusableError, run_groups
from experiments.registration import registered_in
from hlvm._files import is_new_folder, make_folder, only_writer, write_text_atomically
from hlvm._files.digests import check_digests, digest_of_file, read_json, write_json
from hlvm._process.provenance import environment
from hlvm.claims import Claim
from hlvm.plotting import save_figure, style

PRESETS = ("smoke", "laptop", "gpu")
"""Names of the presets: to see that it runs (a minute), two cores (half an hour), one GPU (the paper's grid)."""

FURTHER = ("short", "long")
"""Further presets of some experiments: several seeds of one generator, trained as on a laptop and for much longer."""

_DISTRIBUTIONS = ("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-learn")

Frame: TypeAlias = Any
"""A pandas DataFrame, or a part of one, where static types cannot follow what is selected and grouped."""

Record = dict[str, Any]
"""One measured number with everything that says what it is: numbers, strings and booleans."""

Group = Mapping[str, Any]
"""What is measured together, ready for JSON; the values name it."""

Prediction = dict[str, Any]
"""What the theory says before training, ready for JSON."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One question.

    ``judge`` and ``draw`` read nothing but records and prediction, so that verdicts and figures can be made again from
    files.

    Attributes:
        name: of its module in ``experiments``, whose ``EXPERIMENT`` it is.
        title: a few words.
        question: one sentence.
        presets: a config for each of :data:`PRESETS`, and for those of :data:`FURTHER` that there are: frozen
            dataclasses of plain values.
        predict: config -> prediction, from theory alone.
        groups: config -> what is measured together; independent of each other, and each in one go, so a group is what
            is handed to a worker and what is not repeated when a run goes on.
        measure: config, group, and a folder for states of training or ``None`` -> records.
        judge: all records and the prediction -> claims.
        draw: all records and the prediction -> figures by name.
        seeds_are_generators: whether every seed has a generator of its own; else the config says how many there are
            in ``fits.generators``, or the records in a column ``generator``, and there is one where neither does.
    """

    name: str
    title: str
    question: str
    presets: Mapping[str, Any]
    predict: Callable[[Any], Prediction]
    groups: Callable[[Any], Sequence[Group]]
    measure: Callable[[Any, Group, Path | None], list[Record]]
    judge: Callable[[Frame, Prediction], list[Claim]]
    draw: Callable[[Frame, Prediction], dict[str, Figure]]
    seeds_are_generators: bool = False

    def __post_init__(self) -> None:
        if tuple(self.presets) != (*PRESETS, *(name for name in FURTHER if name in self.presets)):
            raise ValueError(
                f"{self.name}: presets must be {', '.join(PRESETS)}, and may be {', '.join(FURTHER)}, "
                f"got {', '.join(self.presets)}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """What came out.

    Attributes:
        config: the settings, as a dictionary.
        prediction: made before training.
        records: tidy, one row per measured number.
        claims: what was claimed, and how it came out.
        environment: versions and machine.
        registered: the commit that held the prediction before anything was measured; ``None`` where none did.
    """

    config: dict[str, Any]
    prediction: Prediction
    records: Frame
    claims: list[Claim]
    environment: dict[str, Any]
    registered: str | None = None


def conduct(
    experiment: Experiment,
    config: Any,
    *,
    out: Path | None = None,
    resume: bool = False,
    scheduler: str | None = None,
    fits: Path | None = None,
) -> Results:
    """Carry out an experiment.

    Args:
        experiment: the question.
        config: its settings.
        out: folder for the prediction (written before anything is measured), the records of each group as it is done,
            and at the end ``records.csv``, ``results.json`` and the figures; ``None`` writes nothing.
        resume: resume the run whose folder this is: groups that are done are not done again, and training
            goes on from its last state, which is kept elsewhere with a scheduler than without.
        scheduler: ``None`` for this process, ``"local"`` for one Dask worker per core, or the address of a Dask
            scheduler.
        fits: folder where training states are kept for good, to be shared with experiments that train the same;
            ``None`` keeps them in ``out`` until all is done. Only one process at a time may use it, so it does not go
            with a scheduler.

    Raises:
        UnusableError: the folder is not empty and ``resume`` is not given, it belongs to other settings or is damaged,
            or another process writes to it; the scheduler cannot be reached, or is given with ``fits``.
    """
    if fits is not None and scheduler is not None:
        raise UnusableError("--fits is for one process at a time: leave it out with --scheduler")
    with ExitStack() as stack:
        if out is not None:
            try:
                stack.enter_context(only_writer(out))
            except ValueError as error:
                raise UnusableError(str(error)) from None
        return _conduct(experiment, config, out, resume=resume, scheduler=scheduler, fits=fits)


def _conduct(
    experiment: Experiment, config: Any, out: Path | None, *, resume: bool, scheduler: str | None, fits: Path | None
) -> Results:
    described = _jsonable({"experiment": experiment.name, "config": dataclasses.asdict(config)})
    if out is not None:
        _open(out, described, resume=resume)
    prediction, registered = _predicted(experiment, config, out)
    groups = [dict(group) for group in experiment.groups(config)]
    states = fits if fits is not None else None if out is None else out / "states"
    found = run_groups(
        experiment, config, groups, folder=None if out is None else out / "groups", states=states, scheduler=scheduler
    )
    records = pd.DataFrame([record for of_group in found for record in of_group])
    results = Results(
        config=described["config"],
        prediction=prediction,
        records=records,
        claims=experiment.judge(records, prediction),
        environment=environment(*_DISTRIBUTIONS),
        registered=registered,
    )
    if out is not None:
        _write_results(experiment, results, out)
        shutil.rmtree(out / "states", ignore_errors=True)
    return results


def _predicted(experiment: Experiment, config: Any, out: Path | None) -> tuple[Prediction, str | None]:
    """The prediction and the commit that held it, as they were when the folder was made."""
    if out is not None and (out / "groups").exists():  # something may have been measured: nothing is predicted anew
        with suppress(FileNotFoundError, ValueError):  # damaged
            kept = read_json(out / "registered.json")["commit"] if (out / "registered.json").exists() else None
            return read_json(out / "prediction.json"), kept
    prediction = _jsonable(experiment.predict(config))
    registered = registered_in(experiment.name, prediction)
    if out is not None:
        write_json(out / "prediction.json", prediction)
        if registered is not None:
            write_json(out / "registered.json", {"commit": registered})
    return prediction, registered


def named_experiment(name: str) -> Experiment:
    """The experiment of ``experiments/NAME.py``."""
    return importlib.import_module(f"experiments.{name}").EXPERIMENT


def over_generators(name: str, results: Results) -> bool:
    """Tell whether the intervals of an experiment's results are over generators, not over training seeds of one.

    Args:
        name: of the experiment.
        results: of a run, whatever its preset.
    """
    several = results.config.get("fits", {}).get("generators", 1) > 1
    return several or "generator" in results.records or named_experiment(name).seeds_are_generators


def load_results(folder: Path) -> Results:
    """Read ``records.csv`` and ``results.json``.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: one of them is damaged.
    """
    content = read_json(folder / "results.json")
    try:
        check_digests(folder, content.get("digests", {}))  # results of earlier versions have none
        return Results(
            config=content["config"],
            prediction=content["prediction"],
            records=pd.read_csv(folder / "records.csv"),
            claims=[Claim.from_dict(claim) for claim in content["claims"]],
            environment=content["environment"],
            registered=content.get("registered"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / 'results.json'} is damaged: {error!r}") from None


def _open(out: Path, described: dict[str, Any], *, resume: bool) -> None:
    """Make the folder, or check that what it holds is this run."""
    path = out / "config.json"
    if path.exists():
        if not resume:
            raise UnusableError(f"{out} holds a run already: resume it with --resume, or choose a new folder")
        try:
            known = read_json(path)
        except ValueError as error:
            raise UnusableError(f"{error}: choose a new folder, or remove this one") from None
        if known != described:
            settings = known.get("config", {}), described["config"]
            names = settings[0].keys() | settings[1].keys()
            other = sorted(name for name in names if settings[0].get(name) != settings[1].get(name))
            raise UnusableError(
                f"{out} holds a run of {known.get('experiment')} with other settings"
                f"{': ' + ', '.join(other) if other else ''}; resume it with the same settings, or choose a new folder"
            )
    elif not is_new_folder(out):
        raise UnusableError(f"{out} holds other files: choose a new folder")
    else:
        make_folder(out)
        write_json(path, described)


def _write_results(experiment: Experiment, results: Results, out: Path) -> None:
    write_text_atomically(out / "records.csv", results.records.to_csv(index=False, lineterminator="\n"))
    content = {
        "experiment": experiment.name,
        "config": results.config,
        "environment": results.environment,
        "prediction": results.prediction,
        "claims": [claim.to_dict() for claim in results.claims],
        **({"registered": results.registered} if results.registered else {}),
        "digests": {"records.csv": digest_of_file(out / "records.csv")},
    }
    write_json(out / "results.json", content)
    load_results(out)
    with style():
        for name, figure in experiment.draw(results.records, results.prediction).items():
            save_figure(figure, out / f"{name}.png")


def _jsonable(content: Any) -> Any:
    """What JSON makes of it, so that it compares equal to what is read back."""
    return json.loads(json.dumps(content))
