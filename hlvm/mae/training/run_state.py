"""The state of a run on disk, so that it can be killed at any moment and go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from hlvm._files import as_path, is_new_folder, make_folder, only_writer, put_in_place
from hlvm._files.digests import check_digests, digests_of, read_json, write_json
from hlvm._numbers import positive
from hlvm._process.provenance import versions
from hlvm.mae.training.arrays_on_disk import check_path, read_arrays, write_arrays
from hlvm.mae.training.program import State

__all__ = ["Checkpoints", "GroupFolder", "GroupState", "RunFolder", "devices_of_run", "run_folder"]

_FORMAT, _FORMAT_VERSION = "hlvm.run", 2
_ENVIRONMENTS, _DIGESTS = "environments", "digests"
_RUN, _ARRAYS, _DESCRIPTION = "run.json", "default", "state.json"
_OF_EARLIER_VERSIONS = "_CHECKPOINT_METADATA"
_FLAGS = ("jax_threefry_partitionable", "jax_default_prng_impl", "jax_enable_x64", "jax_default_matmul_precision")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often the state of a run is kept.

    A folder belongs to one run: what was asked for is written into it, and a run with anything else is refused there.
    If the folder holds a state of the same run, the run goes on from it, and ends bit for bit as if it had never been
    stopped, with the same JAX and microbatch on equally many devices of the same kind; otherwise it goes on with a
    warning, and ends alike up to rounding. A state is written under another name and renamed when it is complete, has
    been read back and is safe on the disk; one that is damaged later is named in a warning, and the run goes on from
    the one before. Only one process, or several that train together, can write to a folder at a time.
    Ctrl-C is held back until the running steps are done, whose state is then kept; a second one is not.

    Attributes:
        folder: made if it is not there; a leading ``~`` is the home folder.
        every: steps between two states, at least 1; states are kept between calls of the program, so after a multiple
            of 100 steps in most cases.
        keep: how many states are kept, at least 1.
    """

    folder: str | os.PathLike[str]
    every: int = 1000
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("every", "keep"):
            object.__setattr__(self, name, positive(getattr(self, name), f"Checkpoints: {name}"))


class GroupState(NamedTuple):
    """What is kept of one group: its state, the step it has reached, and the losses up to there.

    Attributes:
        state: what the next step reads.
        losses: shape (steps, members); zeros from ``step`` on.
        held_out: losses on rows held out, shape (reports, members); zeros from ``step`` on.
        step: steps done.
    """

    state: State
    losses: Float[np.ndarray, "steps members"]
    held_out: Float[np.ndarray, "reports members"]
    step: int


class RunFolder:
    """The folder of one run: what it is, and the states of its groups. Use it inside :func:`run_folder`."""

    def __init__(
        self, checkpoints: Checkpoints, what: Mapping[str, Any], n_devices: int = 1, parts: Sequence[int] = (1,)
    ) -> None:
        """Check that what the folder holds, if there is one, is this run; nothing is written before :meth:`open`.

        What the last bits depend on beside the number of devices and of parts is looked up. Several processes do it
        together.

        Args:
            checkpoints: which folder.
            what: everything that the result depends on, ready for JSON.
            n_devices: devices that share the work.
            parts: parts of its samples of a batch that each of them goes through, for every group.

        Raises:
            ValueError: the folder holds another run, or something else, or its description is damaged.
        """
        self.checkpoints = checkpoints
        self.folder = as_path(checkpoints.folder).absolute()
        self._described = json.loads(json.dumps({"format": _FORMAT, "version": _FORMAT_VERSION, **what}))
        self._path = self.folder / _RUN
        self._here = _environment(n_devices, parts)
        self._before: list[dict[str, Any]] = []
        if self._path.exists():
            self._before = self._check_same(self._path, self._described)
        elif not is_new_folder(self.folder):
            raise ValueError(f"{self.folder} holds other files: choose a new folder for the states of this run")
        _wait_for_all("run folder read")

    def open(self) -> None:
        """Make the folder and record what runs here; of several processes the first one writes, after all have read."""
        make_folder(self.folder)
        if self._before:
            _warn_of_changes(self.folder, self._before[-1], self._here)
        if self._here not in self._before[-1:] and jax.process_index() == 0:
            recorded = {**self._described, _ENVIRONMENTS: [*self._before, self._here]}
            write_json(self._path, recorded)
        _wait_for_all("run folder written")

    def _check_same(self, path: Path, described: dict[str, Any]) -> list[dict[str, Any]]:
        """Check that the folder holds the run described; what it was run with until now."""
        try:
            known = read_json(path)
            if not isinstance(known, dict):
                raise ValueError(f"{path} is damaged: it is not a description")
        except ValueError as error:
            raise ValueError(
                f"{error}; without it nobody knows which run the states belong to: remove the folder {self.folder} to "
                f"start again"
            ) from None
        environments = known.pop(_ENVIRONMENTS, [])
        other = sorted(name for name in known.keys() | described.keys() if known.get(name) != described.get(name))
        if other:
            raise ValueError(
                f"{self.folder} holds the states of another run, which differs in {', '.join(other)}: use the "
                "settings of that run, or choose a new folder"
            )
        return environments

    def group(self, number: int) -> GroupFolder:
        """The states of one group."""
        return GroupFolder(self.folder, number, self.checkpoints)


class GroupFolder:
    """The states of one group, each in a folder named by its step."""

    def __init__(self, run: Path, number: int, checkpoints: Checkpoints) -> None:
        self.folder = run / "states" / str(number)
        self._run, self._every, self._keep = run, checkpoints.every, checkpoints.keep
        self._saved = 0

    def latest(self, first: State, steps: int, n_members: int, reports: int) -> GroupState:
        """The newest state that is whole, or that before the first step.

        Args:
            first: the state before the first step, on the devices that the run uses.
            steps: steps of the whole run.
            n_members: members of the group.
            reports: how often the loss on rows held out is taken.

        Raises:
            ValueError: there are states, and all of them are damaged.

        Warns:
            UserWarning: the newest state is damaged.
        """
        losses, held_out = (np.zeros((n, n_members), np.float32) for n in (steps, reports))
        broken: list[str] = []
        for step in self._steps():
            try:
                self._check(step)
                found = read_arrays(self.folder / str(step) / _ARRAYS, _item(first, losses, held_out))
            except ValueError as error:
                broken.append(str(error))
                continue
            if broken:
                warnings.warn(f"{'; '.join(broken)}: the run resumes from step {step}", stacklevel=5)
            self._saved = step
            held_out = np.array(found["held_out"]) if reports else held_out
            return GroupState(State(**found["state"]), np.array(found["losses"]), held_out, step)
        if broken:
            raise ValueError(f"{'; '.join(broken)}: no state is complete; remove the folder {self._run} to start again")
        return GroupState(first, losses, held_out, 0)

    def keep(self, reached: GroupState, *, now: bool = False) -> None:
        """Keep a state if it is due: ``every`` steps after the last one, at the end, or ``now``.

        Raises:
            OSError: it cannot be written, or the folder of the run is gone.
        """
        due = reached.step - self._saved >= self._every or reached.step == len(reached.losses)
        if reached.step == self._saved or not (due or now):
            return
        if not (self._run / _RUN).exists():
            raise FileNotFoundError(f"{self._run} was removed during the run: nothing is kept")
        temporary = self.folder / f".{reached.step}.hlvm-tmp"
        try:
            if jax.process_index() == 0:
                make_folder(self.folder)
                for left in [*self.folder.glob(".*.hlvm-tmp"), *self.folder.glob("*.orbax-checkpoint-tmp*")]:
                    shutil.rmtree(left)  # by a kill
                temporary.mkdir()
            _wait_for_all("state begun")
            write_arrays(temporary / _ARRAYS, _item(reached.state, reached.losses, reached.held_out))
            _wait_for_all("state written")
            if jax.process_index() == 0:
                write_json(temporary / _DESCRIPTION, {_DIGESTS: digests_of(temporary)})
                self._remove([step for step in self._steps() if step >= reached.step])  # they are damaged
                put_in_place(temporary, self.folder / str(reached.step))
                self._remove(self._steps()[self._keep :])
            _wait_for_all("state kept")
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._saved = reached.step

    def _steps(self) -> list[int]:
        """Steps of which there is a state, the newest first."""
        if not self.folder.exists():
            return []
        return sorted((int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()), reverse=True)

    def _remove(self, steps: Sequence[int]) -> None:
        for step in steps:
            shutil.rmtree(self.folder / str(step))

    def _check(self, step: int) -> None:
        """Check that a state is as it was written, as far as its version says; of several processes the first reads."""
        folder, fault = self.folder / str(step), ""
        if jax.process_index() == 0:
            try:
                if (folder / _DESCRIPTION).exists() or not (folder / _OF_EARLIER_VERSIONS).exists():
                    check_digests(folder, read_json(folder / _DESCRIPTION)[_DIGESTS])
            except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
                fault = str(error) if isinstance(error, ValueError) else f"{folder} is damaged"
        if _in_first_process(bool(fault)):
            raise ValueError(fault or f"{folder} is damaged")


@contextmanager
def run_folder(
    checkpoints: Checkpoints, what: Mapping[str, Any], n_devices: int = 1, parts: Sequence[int] = (1,)
) -> Iterator[RunFolder]:
    """The folder of a run, for nobody else as long as the context lasts; for arguments see :class:`RunFolder`.

    Raises:
        ValueError: another run writes to the folder; its path has characters that states cannot be kept under; or as
            for :class:`RunFolder`.
    """
    folder = as_path(checkpoints.folder).absolute()
    check_path(folder)
    with ExitStack() as stack:
        fault: Exception | None = None
        if jax.process_index() == 0:
            try:
                stack.enter_context(only_writer(folder))
            except (ValueError, OSError) as error:
                fault = error
        if _in_first_process(fault is not None):
            raise fault or ValueError(f"{folder} cannot be written to by the first process")
        yield RunFolder(checkpoints, what, n_devices, parts)


def devices_of_run(folder: str | os.PathLike[str]) -> int | None:
    """Number of devices a run was last trained on; ``None`` if there is no run, or a damaged one.

    Args:
        folder: of its states.
    """
    try:
        found = read_json(as_path(folder) / _RUN)[_ENVIRONMENTS][-1]["n_devices"]
    except (ValueError, OSError, LookupError, TypeError):
        return None  # whoever opens the folder says what is wrong with it
    return found if isinstance(found, int) and found > 0 else None


def _in_first_process(value: bool) -> bool:
    """Tell what the first of all processes says."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def _wait_for_all(what: str) -> None:
    """Wait until all processes have come here."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(f"hlvm: {what}")


def _item(state: State, losses: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """What is written; empty arrays cannot be."""
    kept = {name: part for name, part in state._asdict().items() if part is not None}
    return {"state": kept, "losses": losses} | ({"held_out": held_out} if held_out.size else {})


def _environment(n_devices: int, parts: Sequence[int]) -> dict[str, Any]:
    """What the last bits of a result depend on beside what was asked for."""
    device = jax.devices()[0]
    return {
        **{name: found for name, found in versions("jax", "jaxlib").items() if name != "python"},
        **{name: getattr(jax.config, name) for name in _FLAGS},
        "device": f"{device.platform}: {device.device_kind}",
        "n_devices": n_devices,
        "parts": [*parts],
    }


def _warn_of_changes(folder: Path, before: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    # Earlier versions did not note flags.
    changed = [name for name in here if (name in before or name not in _FLAGS) and before.get(name) != here[name]]
    if changed:
        changes = "; ".join(f"{name} {before.get(name)} before and {here[name]} now" for name in changed)
        ends = (
            "it draws other random numbers from here on, and does not end as if it had never been stopped"
            if "jax_threefry_partitionable" in changed
            else "it ends as if it had never been stopped up to rounding, not bit for bit"
        )
        warnings.warn(f"the run in {folder} resumes with {changes}: {ends}", stacklevel=5)
