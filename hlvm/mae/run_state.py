"""The state of a run on disk, so that it can be killed at any moment and go on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Float

from hlvm._files import write_text_atomically
from hlvm.mae.program import State

__all__ = ["Checkpoints", "GroupState", "RunFolder"]

_FORMAT, _FORMAT_VERSION = "hlvm.run", 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often the state of a run is kept.

    A folder belongs to one run: what was asked for is written into it, and a run with anything else is refused there.
    If the folder holds a state of the same run, the run goes on from it, and ends bit for bit as if it had never been
    stopped, on equally many devices. A state is written under another name and renamed when it is complete.

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
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Checkpoints: {name} must be a whole number of at least 1, got {value!r}")


class GroupState(NamedTuple):
    """What is kept of one group: its state, the step it has reached, and the losses up to there.

    Attributes:
        state: what the next step reads.
        losses: shape (steps, members); zeros from ``step`` on.
        step: steps done.
    """

    state: State
    losses: Float[np.ndarray, "steps members"]
    step: int


class RunFolder:
    """The folder of one run: what it is, and the states of its groups."""

    def __init__(self, checkpoints: Checkpoints, what: Mapping[str, Any]) -> None:
        """Open the folder, and check that what it holds is this run.

        Args:
            checkpoints: which folder.
            what: everything that the result depends on, ready for JSON.

        Raises:
            ValueError: the folder holds another run, or something else.
        """
        self.checkpoints = checkpoints
        self.folder = Path(checkpoints.folder).absolute()
        described = json.loads(json.dumps({"format": _FORMAT, "version": _FORMAT_VERSION, **what}))
        path = self.folder / "run.json"
        if path.exists():
            self._check_same(path, described)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise ValueError(f"{self.folder} holds other files: choose a new folder for the states of this run")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text_atomically(path, json.dumps(described, indent=1) + "\n")

    def _check_same(self, path: Path, described: dict[str, Any]) -> None:
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        other = sorted(name for name in known.keys() | described.keys() if known.get(name) != described.get(name))
        if other:
            raise ValueError(
                f"{self.folder} holds the states of another run, which differs in {', '.join(other)}: go on with "
                "exactly what that run was started with, or choose a new folder"
            )

    def group(self, number: int) -> GroupFolder:
        """The states of one group."""
        return GroupFolder(self.folder / "states" / str(number), self.checkpoints)


class GroupFolder:
    """The states of one group; use it as a context."""

    def __init__(self, folder: Path, checkpoints: Checkpoints) -> None:
        self.every = checkpoints.every
        options = ocp.CheckpointManagerOptions(
            max_to_keep=checkpoints.keep, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder, options=options)
        self._saved = self._manager.latest_step() or 0

    def __enter__(self) -> GroupFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def latest(self, first: State, steps: int, n_members: int) -> GroupState:
        """The newest complete state, or that before the first step.

        Args:
            first: the state before the first step, on the devices that the run uses.
            steps: steps of the whole run.
            n_members: members of the group.
        """
        losses = np.zeros((steps, n_members), np.float32)
        step = self._manager.latest_step()
        if step is None:
            return GroupState(first, losses, 0)
        like = {"state": first._asdict(), "losses": losses}
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        found = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        return GroupState(State(**found["state"]), np.array(found["losses"]), step)

    def keep(self, reached: GroupState) -> None:
        """Keep a state if it is due: ``every`` steps after the last one, or at the end."""
        if reached.step - self._saved < self.every and reached.step < len(reached.losses):
            return
        item = {"state": reached.state._asdict(), "losses": reached.losses}
        self._manager.save(reached.step, args=ocp.args.StandardSave(item), force=True)
        self._saved = reached.step
