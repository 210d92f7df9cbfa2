"""Writing files so that no crash, Ctrl-C, loss of power or second process leaves half of one behind."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = [
    "as_path",
    "atomic_folder",
    "atomic_path",
    "check_new_folder",
    "flush",
    "is_new_folder",
    "make_folder",
    "only_writer",
    "put_in_place",
    "write_text_atomically",
]

_UNFINISHED, _LOCK = ".hlvm-tmp", ".hlvm-lock"
"""Ends of the names of what is being written, and of lock files. A kill leaves them; the next call removes them."""


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path with a leading ``~`` read as the home folder, as shells read it.

    Raises:
        ValueError: there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from None


# ---------------------------------------------------------------------- all or nothing


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path; flush what is there to the disk and rename it on success, remove it otherwise.

    The temporary path is in a folder of its own beside ``path``, and has the same name there, because many writers
    choose their format by its suffix. What earlier calls left there that were killed is removed.

    Args:
        path: where the finished file shall be. Its parent folder must exist.

    Yields:
        A path to write to.

    Raises:
        FileNotFoundError: the parent folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    _remove_abandoned(path)
    folder, descriptor = _held_folder(path)
    temporary = folder / path.name
    try:
        yield temporary
        put_in_place(temporary, path)
    except OSError as error:
        if error.errno is not None and str(error.filename or temporary).startswith(str(temporary)):
            error.filename = str(path)  # the temporary name is gone when the message is read
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; flush all in it to the disk and rename it on success, remove it otherwise.

    Args:
        path: where the finished folder shall be. Missing parent folders are made.

    Yields:
        An empty folder to write to.

    Raises:
        FileExistsError: ``path`` exists already and is not an empty folder.
    """
    check_new_folder(path)
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.mkdir()
        yield temporary


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text to ``path``, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a file or folder when its contents are safe on the disk; the old one must be a file, or empty."""
    for folder, _, names in os.walk(temporary):
        for name in names:
            flush(Path(folder, name))
        flush(Path(folder))
    if not temporary.is_dir():
        flush(temporary)
    os.replace(temporary, path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Wait until the contents of a file, or the names in a folder, are on the disk."""
    if os.name == "nt":  # where neither folders nor files opened for reading can be flushed
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot flush folders
            raise
    finally:
        os.close(descriptor)


def _held_folder(path: Path) -> tuple[Path, int | None]:
    """A new folder beside ``path`` that nobody takes for abandoned while this process lives."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=_UNFINISHED, dir=path.parent))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        if fcntl is None:
            return folder, None
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if _lock(descriptor) is not False and folder.exists():
                return folder, descriptor
            os.close(descriptor)  # taken for abandoned in the moment before it was locked


def _remove_abandoned(path: Path) -> None:
    """Remove temporary folders of ``path`` whose process is dead: those that can be locked."""
    if fcntl is None:
        return
    for folder in path.parent.iterdir():
        if folder.name.startswith(f".{path.name}-") and _is_leftover(folder) and folder.is_dir():
            with suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                if _lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


# ---------------------------------------------------------------------- folders


def make_folder(folder: Path) -> tuple[Path, ...]:
    """Make a folder and those above it, for good.

    Returns:
        Those that were missing, the innermost first.
    """
    missing = tuple(one for one in (folder, *folder.parents) if not one.exists())
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        flush(one.parent)
    return missing


def check_new_folder(path: Path) -> None:
    """Make sure that a folder of results would not overwrite anything.

    Raises:
        FileExistsError: ``path`` exists already and is not an empty folder.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} exists already: choose another folder, or remove it first")


def is_new_folder(folder: Path, *empty: str) -> bool:
    """Tell whether a folder is missing or empty, but for what a kill may leave before its first file is written.

    Args:
        folder: the folder.
        empty: names of folders inside that may be there if the same is true of them.
    """
    if not folder.is_dir():
        return not folder.exists()
    return all(_is_leftover(path) or (path.name in empty and is_new_folder(path)) for path in folder.iterdir())


def _is_leftover(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith((_UNFINISHED, _LOCK))


# ---------------------------------------------------------------------- one writer at a time


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Be the only one who writes to a file or folder, until the end of the context or of the process.

    The lock is held on a hidden file beside it, which is removed at the end, and so are folders above it that were made
    for it and are empty. A lock file that a kill has left is locked by nobody. On Windows, and on network file systems
    without locks, nobody is kept out.

    Raises:
        ValueError: another process writes there, or another call in this one.
    """
    target = path.resolve()
    made = make_folder(target.parent)
    lock = target.with_name(f".{target.name}{_LOCK}")
    descriptor = None
    try:
        while descriptor is None:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
            if _lock(descriptor) is False:
                raise ValueError(f"another run is writing to {path}: wait until it ends, or choose another name")
            if not _is_open_at(descriptor, lock):  # removed by the one who held it until now
                os.close(descriptor)
                descriptor = None
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()
    finally:
        if descriptor is not None:
            os.close(descriptor)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool | None:
    """Lock an open file or folder until it is closed; ``False`` if it is locked, ``None`` where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # network file systems without locks
        return None
    return True
