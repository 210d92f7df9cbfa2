"""Groups of members, one after the other in this process or handed to Dask workers, each kept when it is done."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hlvm._files import make_folder
from hlvm._files.digests import read_json, write_json
from hlvm._numbers import UsageError
from hlvm.study import groups as study_groups

if TYPE_CHECKING:
    from experiments.experiment import Experiment, Record


class UnusableError(ValueError):
    """What was asked for cannot be done: a folder, a scheduler or a setting that does not fit."""


def run_groups(
    experiment: Experiment,
    config: Any,
    groups: Sequence[dict[str, Any]],
    *,
    folder: Path | None,
    states: Path | None,
    scheduler: str | None,
) -> list[list[Record]]:
    """Measure every group.

    Args:
        experiment: the question; with a scheduler its module ``experiments.NAME`` must be importable by the workers.
        config: its settings.
        groups: what is to be measured.
        folder: where the records of each group are kept when it is done; groups whose records are there are not
            measured again. ``None`` keeps nothing.
        states: folder for states of training.
        scheduler: see :func:`experiments.experiment.conduct`.

    Returns:
        The records of each group, in order.

    Raises:
        ValueError: two groups are the same.
        UnusableError: the scheduler cannot be reached, or Dask is not installed.
    """
    named = {_name(number, group): group for number, group in enumerate(groups)}
    if len({json.dumps(group, sort_keys=True) for group in groups}) < len(groups):
        raise ValueError(f"{experiment.name}: two groups are the same")
    found: dict[str, list[Record]] = {}
    if folder is not None:
        make_folder(folder)
        for name in named:
            if (folder / f"{name}.json").exists():
                with suppress(ValueError):  # one that is damaged is measured again
                    kept = read_json(folder / f"{name}.json")
                    found[name] = kept["records"] if isinstance(kept, dict) else kept  # a list by earlier versions
    console = Console()
    if found:
        console.print(f"{len(found)} of {len(groups)} groups were done before", highlight=False)

    def keep(name: str, records: list[Record]) -> None:
        if folder is not None:
            write_json(folder / f"{name}.json", {"records": records})
        found[name] = json.loads(json.dumps(records))

    def progress(name: str, seconds: float) -> None:
        label = ", ".join(f"{key} {value}" for key, value in named[name].items())
        console.print(f"group {len(found)} of {len(groups)} done in {seconds:.0f} s: {label}", highlight=False)

    if scheduler is None:
        measure = functools.partial(_measure, experiment, config)
        work = {name: (group, states) for name, group in named.items()}
    else:
        measure = functools.partial(_measure_by_name, experiment.measure.__module__, config)
        # One folder each: groups that train the same must not write to one place at the same time.
        work = {name: (group, None if states is None else states.absolute() / name) for name, group in named.items()}
    try:
        study_groups.run_groups(measure, work, keep, kept=set(found), scheduler=scheduler, progress=progress)
    except UsageError as error:
        if error.argument != "scheduler":
            raise
        raise UnusableError(error.told({"scheduler": "--scheduler"})) from None
    return [found[name] for name in named]


def _name(number: int, group: Mapping[str, Any]) -> str:
    """A file name that says which group it is, and changes when the group does."""
    digest = hashlib.sha256(json.dumps(group, sort_keys=True).encode()).hexdigest()[:8]
    return f"{number:03d}-{digest}"


def _measure(experiment: Experiment, config: Any, work: tuple[dict[str, Any], Path | None]) -> list[Record]:
    return experiment.measure(config, *work)


def _measure_by_name(module: str, config: Any, work: tuple[dict[str, Any], Path | None]) -> list[Record]:
    """Measure a group in a worker, which finds the experiment by the name of its module."""
    group, states = work
    try:
        if states is not None:
            states.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.getLogger(__name__).warning("states of training are not kept here: %s", error)
        states = None
    return _measure(importlib.import_module(module).EXPERIMENT, config, (group, states))
