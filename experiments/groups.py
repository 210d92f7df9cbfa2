"""Groups of members, one after the other in this process or handed to Dask workers, each kept when it is done."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from rich.console import Console

from hlvm._files import make_folder
from hlvm._files.digests import read_json, write_json
from hlvm._process.provenance import available_cores
from hlvm.mae import environment_of_cores

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
    names = [_name(number, group) for number, group in enumerate(groups)]
    if len({json.dumps(group, sort_keys=True) for group in groups}) < len(groups):
        raise ValueError(f"{experiment.name}: two groups are the same")
    found: dict[int, list[Record]] = {}
    if folder is not None:
        make_folder(folder)
        for number, name in enumerate(names):
            if (folder / f"{name}.json").exists():
                with suppress(ValueError):  # one that is damaged is measured again
                    kept = read_json(folder / f"{name}.json")
                    found[number] = kept["records"] if isinstance(kept, dict) else kept  # a list by earlier versions
    left = [number for number in range(len(groups)) if number not in found]
    console = Console()
    if found:
        console.print(f"{len(found)} of {len(groups)} groups were done before", highlight=False)

    def done(number: int, records: list[Record], seconds: float) -> None:
        found[number] = json.loads(json.dumps(records))
        if folder is not None:
            write_json(folder / f"{names[number]}.json", {"records": records})
        label = ", ".join(f"{key} {value}" for key, value in groups[number].items())
        console.print(f"group {len(found)} of {len(groups)} done in {seconds:.0f} s: {label}", highlight=False)

    if scheduler is None:
        for number in left:
            if folder is not None and not folder.exists():
                raise UnusableError(f"{folder} was removed while the run went on: nothing of it is kept")
            done(number, *_timed(experiment, config, groups[number], states))
    elif left:
        _run_on_dask(experiment, config, groups, left, states, scheduler, done)
    return [found[number] for number in range(len(groups))]


def _name(number: int, group: Mapping[str, Any]) -> str:
    """A file name that says which group it is, and changes when the group does."""
    digest = hashlib.sha256(json.dumps(group, sort_keys=True).encode()).hexdigest()[:8]
    return f"{number:03d}-{digest}"


def _timed(experiment: Experiment, config: Any, group: Any, states: Path | None) -> tuple[list[Record], float]:
    began = time.perf_counter()
    return experiment.measure(config, group, states), time.perf_counter() - began


# ---------------------------------------------------------------------- Dask


def _measured_by_name(
    module: str, config: Any, group: Any, states: str | None, *, shares_terminal: bool = False
) -> tuple[list[Record], float]:
    """Measure a group in a worker, which finds the experiment by the name of its module.

    Where it writes to the terminal of the process that handed the group out, which says in one line why a group
    failed, what threads and logs of libraries say of that is left out.
    """
    if shares_terminal:
        logging.getLogger("absl").addFilter(_without_traceback)
        sys.excepthook = threading.excepthook = sys.unraisablehook = _say_nothing
    experiment = importlib.import_module(module).EXPERIMENT
    folder = None if states is None else Path(states)
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.getLogger(__name__).warning("states of training are not kept here: %s", error)
        folder = None
    return _timed(experiment, config, group, folder)


def _without_traceback(record: logging.LogRecord) -> bool:
    return not record.exc_info


def _say_nothing(*_: Any) -> None:
    pass


def _run_on_dask(
    experiment: Experiment,
    config: Any,
    groups: Sequence[dict[str, Any]],
    left: Sequence[int],
    states: Path | None,
    scheduler: str,
    done: Any,
) -> None:
    """Hand groups to workers; a group whose worker dies is given to another one, the others are not done again."""
    module = experiment.measure.__module__
    with _client(scheduler) as client:
        from distributed import as_completed

        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        resources = {"GPU": 1} if any("GPU" in worker.get("resources", {}) for worker in workers) else None
        futures = {
            client.submit(
                _measured_by_name,
                module,
                config,
                groups[number],
                # One folder each: groups that train the same must not write to one place at the same time.
                None if states is None else str(states.absolute() / _name(number, groups[number])),
                shares_terminal=scheduler == "local",
                pure=False,
                resources=resources,
            ): number
            for number in left
        }
        try:
            for future in as_completed(list(futures)):
                done(futures[future], *future.result())
        finally:
            client.cancel(list(futures))


def _variables_of_workers() -> dict[str, str]:
    """Environment that workers of this machine, one per core, are started with.

    Each computes with the flags, and on as many devices, as one process alone would: a program for another number of
    devices adds up in another order, so that records would not be the same to the bit. Linear algebra takes one thread,
    or there would be as many for each worker as there are cores; nor do they share a GPU.
    """
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # silence_logs does not reach loggers where the root logger has a handler; what fails is said by who asked for it.
    quiet = {"DASK_LOGGING__DISTRIBUTED": "critical"}
    return {"JAX_PLATFORMS": "cpu", **environment_of_cores(available_cores()), **one_thread, **quiet}


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """A Dask client: of workers on this machine, or of a scheduler that runs already."""
    try:
        from distributed import Client, LocalCluster
        from distributed.utils import LoopRunner
    except ImportError:
        raise UnusableError("--scheduler needs Dask: pip install 'hlvm[dask]'") from None
    if scheduler == "local":
        logging.getLogger("distributed").setLevel(logging.WARNING)
        # Ctrl-C in a terminal reaches the workers too. It is for this process to stop them: what starts them, and
        # therefore they, never get it. The tracker would unblock it when it is started.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            runner = LoopRunner()
            runner.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        with (
            # Dask has a setting for them, but prefers what the environment says, and leaves there what it adds itself.
            patch.dict(os.environ, _variables_of_workers()),
            LocalCluster(
                n_workers=available_cores(),
                threads_per_worker=1,
                memory_limit=None,  # or workers are killed at a core's share of the memory, whatever is free
                # Without a dashboard its address would still be served, at a port that another cluster may have.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.WARNING,
                loop=runner.loop,
            ) as cluster,
            Client(cluster) as client,
        ):
            try:
                yield client
            finally:  # of workers that take their time to stop nobody needs to know
                logging.getLogger("distributed").setLevel(logging.ERROR)
        return
    if not scheduler.startswith(("tcp://", "tls://", "ucx://", "ws://", "wss://")):
        raise UnusableError(f"the scheduler is local or an address such as tcp://host:8786, got {scheduler!r}")
    try:
        client = Client(scheduler, timeout=30)
    except OSError as error:
        raise UnusableError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    with client:
        yield client
