"""Arrays in .npz and HDF5 files, read in one way by everything that reads them.

Names are those that were written: HDF5 cannot hold every name, so data sets keep some percent-encoded. Links are
followed. Whatever is no array of real numbers is left out, and said.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from hlvm._files.digests import array_in, check_members, with_digest
from hlvm._files.writing import atomic_path

__all__ = [
    "HDF5",
    "NO_ZEROS",
    "PARTS",
    "ArrayFile",
    "DamagedRowsError",
    "StoredArray",
    "is_real",
    "native",
    "npz_names",
    "open_array_file",
    "write_npz",
    "write_rows",
]

HDF5 = (".h5", ".hdf5")

PARTS = ("images", "latents", "observed", "noise")
"""Parts of a data set, in the order in which files hold them; what is below a part is named by a variable."""


def _nothing() -> None:
    pass


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """Contents of a file.

    Attributes:
        path: the file.
        arrays: name -> real numbers, in the byte order of this machine; those of an HDF5 file stay there.
        texts: name -> a single text.
        left_out: name -> why something else cannot be used.
        close: closes the file.
    """

    path: Path
    arrays: dict[str, Any]
    texts: dict[str, str]
    left_out: dict[str, str]
    close: Callable[[], None] = _nothing


def open_array_file(path: Path) -> ArrayFile:
    """Open a ``.npz``, ``.h5`` or ``.hdf5`` file.

    Raises:
        OSError: the file is missing, a folder, or must not be read.
        ValueError: it is not such a file, damaged, or being written; one line with the name of the file.
    """
    with path.open("rb"):  # a missing file, a folder or a lack of permission are told by their own error
        pass
    return _open_hdf5(path) if path.suffix in HDF5 else _read_npz(path)


def is_real(kind: np.dtype) -> bool:
    """Tell whether numbers of a type are real ones, such as those of bfloat16, whose kind NumPy does not know."""
    return kind.kind in "fiub" or (kind.names is None and kind.kind == "V" and np.can_cast(kind, np.float64))


def native(array: np.ndarray) -> np.ndarray:
    """The same numbers in the byte order of this machine."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _why_not(kind: np.dtype) -> str:
    what = {"O": "Python objects", "S": "text", "U": "text", "T": "text", "c": "complex numbers", "M": "dates"}
    return what.get(kind.kind, f"of type {kind}")


# ---------------------------------------------------------------------- .npz


def npz_names(path: Path) -> list[str]:
    """Names of what an ``.npz`` file holds, without reading it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file.
    """
    with path.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        except Exception as error:  # damaged bytes make zipfile raise all kinds of errors
            raise ValueError(f"{path} is not an .npz file of arrays: {_one_line(error)}") from None


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write an ``.npz`` file, all or nothing: arrays, and under "about" JSON text with a digest of itself.

    Of every array the archive has a check sum, and "about" its type and shape. The file is read back before it gets its
    name.

    Args:
        path: a path that ends in ``.npz``.
        arrays: name -> real numbers; no name is "about".
        about: what they are, of types that JSON knows.

    Raises:
        OSError: the file cannot be written, or other numbers are read back.
    """
    kinds = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    text = json.dumps(with_digest({**about, "arrays": kinds}))
    with atomic_path(path) as temporary:
        np.savez(temporary, about=np.array(text), **arrays)  # pyright: ignore[reportArgumentType]  # as in simulator/files.py
        found = _read_npz(temporary)
        same = found.arrays.keys() == arrays.keys() and found.texts == {"about": text}
        if not same or any(found.arrays[name].tobytes() != arrays[name].tobytes() for name in arrays):
            raise OSError(f"{path} cannot be written: other numbers are read back")


def _read_npz(path: Path) -> ArrayFile:
    arrays: dict[str, Any] = {}
    texts: dict[str, str] = {}
    left_out: dict[str, str] = {}
    entry = ""
    with path.open("rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                names = [entry.removesuffix(".npy") for entry in archive.namelist()]
                if len(set(names)) < len(names):
                    raise ValueError("two entries have one name")
                check_members(opened, archive)
                for entry, name in zip(archive.namelist(), names, strict=True):
                    if not entry.endswith(".npy"):
                        left_out[name] = "not an array"
                        continue
                    array = _entry_of(archive, entry)
                    if array is None:
                        left_out[name] = "Python objects"
                    elif array.ndim == 0 and array.dtype.kind in "UST":
                        texts[name] = str(array)
                    elif is_real(array.dtype):
                        arrays[name] = native(array)
                    else:
                        left_out[name] = _why_not(array.dtype)
        except Exception as error:  # damaged bytes make zipfile and NumPy raise all kinds of errors
            where = f" in {entry!r}" if entry else ""
            raise ValueError(f"{path} is not an .npz file of arrays: {_one_line(error)}{where}") from None
    return ArrayFile(path=path, arrays=arrays, texts=texts, left_out=left_out)


def _entry_of(archive: zipfile.ZipFile, entry: str) -> np.ndarray | None:
    """An array; ``None`` if it holds Python objects, which are never loaded."""
    with archive.open(entry) as stored:
        old = np.lib.format.read_magic(stored) == (1, 0)
        header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        if header(stored)[2].hasobject:
            return None
    return array_in(archive, entry, "it holds more numbers than its shape says")


# ---------------------------------------------------------------------- HDF5


def _open_hdf5(path: Path) -> ArrayFile:
    import h5py

    try:
        file = h5py.File(path, "r")
    except Exception as error:  # damaged bytes make h5py raise all kinds of errors
        raise ValueError(_not_opened(path, error)) from None
    arrays: dict[str, Any] = {}
    texts: dict[str, str] = {}
    left_out: dict[str, str] = {}
    try:
        for name, stored in _entries(file, "", ()):
            if name in arrays or name in texts or name in left_out:
                raise ValueError(f"two arrays are called {name!r}")
            if isinstance(stored, str):
                left_out[name] = stored
            elif stored.shape == () and h5py.check_string_dtype(stored.dtype):
                text = stored[()]
                texts[name] = text.decode("utf-8") if isinstance(text, bytes) else str(text)
            elif stored.shape is None or not is_real(stored.dtype):
                left_out[name] = "empty" if stored.shape is None else _why_not(stored.dtype)
            else:
                arrays[name] = StoredArray(stored, f"{path}: {name!r}")
    except Exception as error:  # as above
        file.close()
        raise ValueError(f"{path} is a damaged HDF5 file: {_one_line(error)}") from None
    return ArrayFile(path=path, arrays=arrays, texts=texts, left_out=left_out, close=file.close)


def _not_opened(path: Path, error: Exception) -> str:
    reason = _one_line(error)
    if getattr(error, "errno", None) in (errno.EAGAIN, errno.EACCES) or "unable to lock" in reason:
        return (
            f"{path} is locked: another process writes it, so wait until it is done; where the file system knows no "
            "locks, set HDF5_USE_FILE_LOCKING=FALSE"
        )
    if "already open for write" in reason:
        return f"{path} is being written, or was not closed by what wrote it: wait, or write it anew"
    return f"{path} is not an HDF5 file, or damaged: {reason}"


def _entries(group: Any, prefix: str, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Every data set below a group by its name, links followed; or why there is none."""
    import h5py

    for key in group:
        name = prefix + _name_of(key)
        try:
            found = group[key]
        except Exception:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.HardLink):
                raise
            yield name, f"a link to {link.path}, which is not there"
            continue
        if isinstance(found, h5py.Group):
            if found in (*above, group):
                yield name, "a link to a group that it is in"
            else:
                yield from _entries(found, f"{name}/", (*above, group))
        elif isinstance(found, h5py.Dataset):
            part = prefix.partition("/")[0]
            if part in PARTS and prefix:
                encoded = name.removeprefix(f"{part}/")
                stored = found.attrs.get("name", unquote(encoded))
                name = f"{part}/{stored.decode('utf-8') if isinstance(stored, bytes) else stored}"
            yield name, found


def _name_of(key: str | bytes) -> str:
    """A name as text; h5py gives bytes where it is not UTF-8."""
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key


NO_ZEROS = "no_zeros"
"""Attribute of HDF5 data sets of which pieces of zeros are not written: HDF5 reads zeros where nothing was.

A piece on the disk that is zero, with its check sum, is then damage. HDF5 does not see it: the check sum of zeros is
zero, and zeros are what a loss of power, or a bad block, leaves.
"""


class DamagedRowsError(ValueError):
    """Rows of a file cannot be read; the message names the file."""


class StoredArray:
    """An array in an HDF5 file, whose rows are read when asked for, in any order, as NumPy would give them.

    Args:
        stored: the data set.
        name: file and name, for error messages.
    """

    def __init__(self, stored: Any, name: str) -> None:
        self._stored, self._name = stored, name
        self._no_zeros = bool(stored.attrs.get(NO_ZEROS, False))
        self.shape: tuple[int, ...] = tuple(stored.shape)
        self.dtype: np.dtype = stored.dtype.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"StoredArray({self._name}, shape {self.shape}, {self.dtype})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        found = self._read(())
        return found if dtype is None else found.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        """Read what NumPy gives for this key: one of the rows, then one of the other axes."""
        keys = key if isinstance(key, tuple) else (key,)
        if all(_is_plain(one) for one in keys):
            return self._read(keys)
        if isinstance(keys[0], slice) or keys[0] is Ellipsis or keys[0] is None or self.ndim == 0:
            return self._read(())[key]
        rows = np.asarray(keys[0])
        if rows.ndim != 1 or rows.dtype.kind not in "iub" or not all(_is_plain(one) for one in keys[1:]):
            return self._read(())[key]
        if rows.dtype.kind == "b":
            if len(rows) != len(self):
                raise IndexError(
                    f"a boolean index needs one entry per row, got {len(rows)} for the {len(self)} rows of {self._name}"
                )
            rows = np.flatnonzero(rows)
        rows = np.where(rows < 0, rows + len(self), rows)
        wanted, back = np.unique(rows, return_inverse=True)  # HDF5 wants increasing positions, each once
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"{self._name} has rows 0 to {len(self) - 1}, and some of the given rows lie outside")
        if not len(wanted):
            return self._read((slice(0, 0), *keys[1:]))
        return self._read((wanted, *keys[1:]))[back]

    def _read(self, keys: tuple[Any, ...]) -> Any:
        try:
            found = self._stored[keys]
            if self._no_zeros:
                self._check_zeros(keys, found)
        except (IndexError, MemoryError):
            raise
        except Exception as error:
            open_still = bool(self._stored)
            why = f"is damaged: {_one_line(error)}" if open_still else "can no longer be read: the file was closed"
            raise DamagedRowsError(f"{self._name} {why}") from None
        return native(np.asarray(found)) if isinstance(found, np.ndarray) else found

    def _check_zeros(self, keys: tuple[Any, ...], found: Any) -> None:
        """Refuse rows of zeros that were not written as such: a piece that was lost, and zeroed with its check sum."""
        if not keys or keys[0] is Ellipsis:
            keys = (slice(None),) * (self.ndim - len(keys) + 1)
        rows = np.atleast_1d(np.arange(len(self))[keys[0]])
        if not rows.size:
            return
        zero = rows[~np.asarray(found).reshape(len(rows), -1).any(axis=1)]
        per_piece, *others = self._stored.chunks
        for piece in np.unique(zero // per_piece):
            at = (int(piece) * per_piece, *[0] * len(others))
            is_there = self._stored.id.get_chunk_info_by_coord(at).byte_offset is not None
            if is_there and not any(self._stored.id.read_direct_chunk(at)[1]):
                raise ValueError(f"the rows from {at[0]} on are zero now, but were not zero when they were written")


def write_rows(stored: Any, begin: int, rows: np.ndarray) -> None:
    """Write rows into an HDF5 data set with the attribute :data:`NO_ZEROS`: all but pieces of zeros."""
    per_piece, end = stored.chunks[0], begin + len(rows)
    for edge in range(begin - begin % per_piece, end, per_piece):
        first, last = max(edge, begin), min(edge + per_piece, end)
        part = np.ascontiguousarray(rows[first - begin : last - begin], dtype=stored.dtype)
        if part.view(np.uint8).any():
            stored[first:last] = part


def _is_plain(key: Any) -> bool:
    """Tell whether HDF5 takes this key as NumPy does."""
    if isinstance(key, slice):
        return key.step is None or (isinstance(key.step, int) and key.step > 0)
    return key is Ellipsis or (isinstance(key, int | np.integer) and not isinstance(key, bool | np.bool_))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
