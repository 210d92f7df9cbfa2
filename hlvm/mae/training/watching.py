"""Watching a run: event files for TensorBoard. Any other logger is a function of a :class:`~hlvm.mae.Progress`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from hlvm._files import as_path
from hlvm.mae.training.training import Progress

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes losses and speed into event files that TensorBoard reads; pass it as ``on_progress``.

    Every member is a run of its own, so that TensorBoard draws one curve per member. Use it as a context, which closes
    the files.

    Args:
        folder: where the event files go, one folder per member.
        names: names of the members, for the folders; ``None`` numbers them.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str] | None = None) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("event files need tensorboardX: pip install 'hlvm[tensorboard]'") from None
        self._new: Any = SummaryWriter
        self._folder = as_path(folder)
        self._names = names
        self._writers: dict[int, Any] = {}

    def __call__(self, progress: Progress) -> None:
        """Write the losses of the steps since the last report, and that on rows held out."""
        first = progress.step - len(progress.history) + 1
        for column, member in enumerate(progress.members):
            writer = self._writer(member)
            for row, losses in enumerate(progress.history):
                writer.add_scalar("loss", float(losses[column]), first + row)
            if progress.held_out is not None:
                writer.add_scalar("held-out loss", float(progress.held_out[column]), progress.step)
            writer.add_scalar("samples per second of the program", progress.samples_per_second, progress.step)
            writer.flush()

    def _writer(self, member: int) -> Any:
        if member not in self._writers:
            name = str(member) if self._names is None else self._names[member]
            self._writers[member] = self._new(str(self._folder / name))
        return self._writers[member]

    def close(self) -> None:
        """Close all files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
