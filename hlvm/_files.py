"""Writing files so that a crash or Ctrl-C never leaves half of one behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["atomic_folder", "atomic_path", "check_new_folder", "is_new_folder", "write_text_atomically"]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it otherwise.

    The temporary name keeps the suffix, because many writers choose their format by it.

    Args:
        path: where the finished file shall be. Its parent folder must exist.

    Yields:
        A path to write to.

    Raises:
        FileNotFoundError: the parent folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success, remove it otherwise.

    Args:
        path: where the finished folder shall be. Missing parent folders are made.

    Yields:
        An empty folder to write to.

    Raises:
        FileExistsError: ``path`` exists already and is not an empty folder.
    """
    check_new_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_new_folder(path: Path) -> None:
    """Make sure that a folder of results would not overwrite anything.

    Raises:
        FileExistsError: ``path`` exists already and is not an empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} exists already: choose another folder, or remove it first")


def is_new_folder(folder: Path, first: str) -> bool:
    """Whether a folder is missing or empty, but for what a stop left of writing its first file.

    Args:
        folder: the folder.
        first: name of the file that is written first.
    """
    stem, suffix = os.path.splitext(first)
    return not folder.exists() or all(
        path.name.startswith(f".{stem}-") and path.suffix == suffix for path in folder.iterdir()
    )


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to ``path``, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    # Python can only read it by setting it, and another thread could make a file just then; Linux tells it as well.
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    current = os.umask(0)
    os.umask(current)
    return current
