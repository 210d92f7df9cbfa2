"""The state of a run on disk, so that it can be killed at any moment and go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Float

from hlvm._environment import versions
from hlvm._files import is_new_folder, write_text_atomically
from hlvm._graph_checks import positive
from hlvm.mae.program import State

__all__ = ["Checkpoints", "GroupState", "RunFolder"]

_FORMAT, _FORMAT_VERSION = "hlvm.run", 2
_ENVIRONMENTS = "environments"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often the state of a run is kept.

    A folder belongs to one run: what was asked for is written into it, and a run with anything else is refused there.
    If the folder holds a state of the same run, the run goes on from it, and ends bit for bit as if it had never been
    stopped, with the same JAX and microbatch on equally many devices of the same kind; otherwise it goes on with a
    warning, and ends alike up to rounding. A state is written under another name and renamed when it is complete.
    Ctrl-C is held back until the running steps are done, whose state is then kept; a second one is not.

    Attributes:
        folder: made if it is not there.
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
    """The folder of one run: what it is, and the states of its groups."""

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
            ValueError: the folder holds another run, or something else.
        """
        self.checkpoints = checkpoints
        self.folder = Path(checkpoints.folder).absolute()
        self._described = json.loads(json.dumps({"format": _FORMAT, "version": _FORMAT_VERSION, **what}))
        self._path = self.folder / "run.json"
        self._here = _environment(n_devices, parts)
        self._before: list[dict[str, Any]] = []
        if self._path.exists():
            self._before = self._check_same(self._path, self._described)
        elif not is_new_folder(self.folder, self._path.name):
            raise ValueError(f"{self.folder} holds other files: choose a new folder for the states of this run")
        _wait_for_all("run folder read")

    def open(self) -> None:
        """Make the folder and record what runs here; of several processes the first one writes, after all have read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._before:
            _warn_of_changes(self.folder, self._before[-1], self._here)
        if self._here not in self._before[-1:] and jax.process_index() == 0:
            recorded = {**self._described, _ENVIRONMENTS: [*self._before, self._here]}
            write_text_atomically(self._path, json.dumps(recorded, indent=1) + "\n")
        _wait_for_all("run folder written")

    def _check_same(self, path: Path, described: dict[str, Any]) -> list[dict[str, Any]]:
        """Check that the folder holds the run described; what it was run with until now."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        environments = known.pop(_ENVIRONMENTS, [])
        other = sorted(name for name in known.keys() | described.keys() if known.get(name) != described.get(name))
        if other:
            raise ValueError(
                f"{self.folder} holds the states of another run, which differs in {', '.join(other)}: go on with "
                "exactly what that run was started with, or choose a new folder"
            )
        return environments

    def group(self, number: int) -> GroupFolder:
        """The states of one group."""
        return GroupFolder(self.folder / "states" / str(number), self.checkpoints)


class GroupFolder:
    """The states of one group; use it as a context."""

    def __init__(self, folder: Path, checkpoints: Checkpoints) -> None:
        self.folder, self.every = folder, checkpoints.every
        options = ocp.CheckpointManagerOptions(
            max_to_keep=checkpoints.keep, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder, options=options)
        self._saved = self._manager.latest_step() or 0

    def __enter__(self) -> GroupFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def latest(self, first: State, steps: int, n_members: int, reports: int) -> GroupState:
        """The newest complete state, or that before the first step.

        Args:
            first: the state before the first step, on the devices that the run uses.
            steps: steps of the whole run.
            n_members: members of the group.
            reports: how often the loss on rows held out is taken.
        """
        losses, held_out = (np.zeros((n, n_members), np.float32) for n in (steps, reports))
        step = self._manager.latest_step()
        if step is None:
            return GroupState(first, losses, held_out, 0)
        like = _item(first, losses, held_out)
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        found = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        held_out = np.array(found["held_out"]) if reports else held_out
        return GroupState(State(**found["state"]), np.array(found["losses"]), held_out, step)

    def keep(self, reached: GroupState, *, now: bool = False) -> None:
        """Keep a state if it is due: ``every`` steps after the last one, at the end, or ``now``."""
        due = reached.step - self._saved >= self.every or reached.step == len(reached.losses)
        if reached.step == self._saved or not (due or now):
            return
        run = self.folder.parents[1]
        if not (run / "run.json").exists():  # or it would be made anew, with states that nobody could go on from
            raise FileNotFoundError(f"{run} is gone: somebody has removed it while the run was going on")
        item = _item(reached.state, reached.losses, reached.held_out)
        self._manager.save(reached.step, args=ocp.args.StandardSave(item), force=True)
        self._saved = reached.step


def _wait_for_all(what: str) -> None:
    """Wait until all processes have come here."""
    if jax.process_count() == 1:
        return
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(f"hlvm: {what}")


def _item(state: State, losses: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    """What is written; empty arrays cannot be."""
    return {"state": state._asdict(), "losses": losses} | ({"held_out": held_out} if held_out.size else {})


def _environment(n_devices: int, parts: Sequence[int]) -> dict[str, Any]:
    """What the last bits of a result depend on beside what was asked for."""
    device = jax.devices()[0]
    return {
        **{name: found for name, found in versions("jax", "jaxlib").items() if name != "python"},
        "device": f"{device.platform}: {device.device_kind}",
        "n_devices": n_devices,
        "parts": [*parts],
    }


def _warn_of_changes(folder: Path, before: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    changed = [name for name in here if before.get(name) != here[name]]
    if changed:
        changes = "; ".join(f"{name} {before.get(name)} before and {here[name]} now" for name in changed)
        warnings.warn(
            f"the run in {folder} goes on with {changes}: it ends as if it had never been stopped up to rounding, not "
            f"bit for bit",
            stacklevel=2,
        )
