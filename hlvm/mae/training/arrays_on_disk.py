"""Trees of arrays in folders of the Orbax format: written and read back, whatever characters the path has."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from hlvm._process.imports import keeping_log_handlers

__all__ = ["check_path", "read_arrays", "write_arrays"]

_PATTERN = frozenset("[]*?{}")
"""Characters with a meaning in the patterns that Orbax and TensorStore take paths for."""

_ONE_AT_A_TIME = threading.Lock()
"""Orbax numbers its operations by one counter of the process, so that those of several threads would be mixed up."""

_LONGEST = 300  # characters that they may say of what went wrong


def check_path(path: Path) -> None:
    """Check before any long work that arrays can be written below a path.

    Raises:
        ValueError: they cannot, because of characters in it.
    """
    if not _PATTERN & {*str(path.resolve())}:
        return
    if jax.process_count() > 1:
        raise ValueError(f"{path} has one of the characters {_shown()}: runs of several processes cannot write there")
    if _PATTERN & {*tempfile.gettempdir()}:
        raise ValueError(
            f"{path} and the folder of temporary files, {tempfile.gettempdir()}, have one of the characters "
            f"{_shown()}: choose another folder, or set TMPDIR"
        )


def write_arrays(folder: Path, arrays: Any) -> None:
    """Write a tree of arrays to a new folder, and in one process read it back; several processes write together.

    Raises:
        OSError: it cannot be written, or is not what was written when it is read.
    """
    check_path(folder)
    try:
        with _alone(), _plain(folder) as path, ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path, arrays)
            checkpointer.wait_until_finished()
            if jax.process_count() > 1:
                return
            written = jax.tree.map(np.asarray, arrays)
            found = checkpointer.restore(path, written)
    except Exception as error:  # of several libraries; a disk that is full, for one, is an error of none of Python's
        raise OSError(f"{folder.parent} cannot be written: {_reason(error)}") from error
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and a.tobytes() == np.asarray(b).tobytes(), written, found)
    if not all(jax.tree.leaves(same)):
        raise OSError(f"{folder.parent} cannot be written: other numbers are read back")


def read_arrays(folder: Path, like: Any = None) -> Any:
    """Read what :func:`write_arrays` wrote.

    Args:
        folder: the folder.
        like: a tree of arrays of the same types and shapes, on the devices where they are wanted; ``None`` for those
            of the file, in the memory of this machine.

    Raises:
        ValueError: the folder is damaged.
    """
    try:
        with _alone(), _plain(folder) as path, ocp.StandardCheckpointer() as checkpointer:
            if like is None:
                return checkpointer.restore(path)
            return checkpointer.restore(path, jax.tree.map(ocp.utils.to_shape_dtype_struct, like))
    except Exception as error:
        raise ValueError(f"{folder} is damaged: {_reason(error)}") from error


@contextmanager
def _alone() -> Iterator[None]:
    """Let no other thread use Orbax meanwhile."""
    with _ONE_AT_A_TIME, keeping_log_handlers():
        yield


@contextmanager
def _plain(folder: Path) -> Iterator[Path]:
    """A path that leads to the folder and has none of the characters."""
    path = folder.resolve()
    if not _PATTERN & {*str(path)}:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="hlvm-") as place:
        link = Path(place, "link")
        link.symlink_to(path.parent, target_is_directory=True)
        yield link / path.name


def _shown() -> str:
    return " ".join(sorted(_PATTERN))


def _reason(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST]
