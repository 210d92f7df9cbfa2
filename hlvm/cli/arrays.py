"""Arrays in files: .npy, .npz, .csv, .parquet and HDF5, as named tables of numbers."""

from __future__ import annotations

import csv
import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hlvm._files.arrays import HDF5, open_array_file
from hlvm.cli.input_tables import Named, read_parquet

if TYPE_CHECKING:
    from hlvm.cli.csv_tables import CsvFormat

__all__ = ["Columns", "columns_of", "load_named_arrays", "side_by_side"]

_BETWEEN = "::"
_FORMATS = f".npy, .npz, .csv, .parquet, {', '.join(HDF5)}"
_NO_NUMBERS = ("graph", "about")  # texts in every file that hlvm sample writes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """The numbers of a file, and what a user should know of how it was read.

    Attributes:
        values: shape (n, p) or (n,), of whatever type the file holds.
        about: sentences; empty where there was nothing to decide and nothing left out.
    """

    values: np.ndarray
    about: tuple[str, ...] = ()


def columns_of(place: str, given: CsvFormat | None = None) -> Columns:
    """The numbers of a file, one row per sample.

    Args:
        place: a path; after ``::`` the names of arrays or columns to take, separated by commas. A name that holds a
            comma stands in double quotes. Without names the one array of the file, or all columns of a table.
        given: how .csv files are written, as far as it is known.

    Returns:
        The numbers, with what was decided and left out.

    Raises:
        ValueError: no such format, a file that is damaged or can be read in several ways, no such name, several arrays
            or a nameless column and no name, or text where numbers belong.
        OSError: the file cannot be read.
    """
    path, wanted = _split(place)
    found = _load(path, given)
    names = list(found.arrays) if wanted is None else _names(wanted, found)
    if wanted is None:
        _check_clear(found)
    left_out = {name: why for name, why in found.left_out.items() if wanted is None and name not in _NO_NUMBERS}
    about = (found.about, f"{path}: left out {_reasons(left_out)}" if left_out else "")
    values = side_by_side(path, {name: found.arrays[name] for name in names})
    return Columns(values=values, about=tuple(filter(None, about)))


def load_named_arrays(place: str, given: CsvFormat | None = None) -> tuple[dict[str, np.ndarray], dict[str, str], str]:
    """Arrays or columns of a file by name: those named after ``::``, or all. That of a .npy file has its stem.

    Returns:
        The arrays, why everything else is left out, and how the file was read, if there was anything to decide.

    Raises:
        ValueError: no such format, a file that is damaged, can be read in several ways or holds no numbers, or no array
            of such a name.
        OSError: the file cannot be read.
    """
    path, wanted = _split(place)
    found = _load(path, given)
    names = list(found.arrays) if wanted is None else _names(wanted, found)
    left_out = found.left_out if wanted is None else {}
    return {name: found.arrays[name] for name in names}, dict(left_out), found.about


# ---------------------------------------------------------------------- names


def _split(place: str) -> tuple[Path, str | None]:
    path, found, names = place.partition(_BETWEEN)
    if found and not names.strip():
        raise ValueError(f'{place}: expected names after "{_BETWEEN}", got none: give some, or leave it out')
    return Path(path), names if found else None


def _names(text: str, found: Named) -> list[str]:
    """The arrays that a user names."""
    try:
        listed = next(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"{found.path}: {text!r} is not a list of names: {error}") from None
    if text in found.arrays and text not in listed:
        listed = [text]  # one name with a comma or quotes in it
    names = [name if name in found.arrays else name.strip() for name in listed]
    for name in names:
        if name not in found.arrays:
            if name in found.left_out:
                raise ValueError(f"{found.path}: {name} holds no numbers: {found.left_out[name]}")
            raise ValueError(f"{found.path} has no {name or 'array without a name'}: it has {', '.join(found.arrays)}")
    return names


def _check_clear(found: Named) -> None:
    """Refuse a file that leaves open which of its arrays are meant."""
    path, names = found.path, [name for name in found.arrays if name]
    example = f"{path}{_BETWEEN}{','.join(map(_quoted, names))}"
    if found.is_table:
        if found.left_out and any(why != "it is the index of the frame" for why in found.left_out.values()):
            raise ValueError(
                f"{path}: expected columns of numbers, got {_reasons(found.left_out)}"
                + (f": name the columns to take, as in {example}" if names else "")
            )
        if found.unnamed:
            raise ValueError(
                f"{path} has a column without a name, such as the row numbers that pandas writes: name the columns to "
                f"take, as in {example}"
            )
    elif len(names) > 1:
        raise ValueError(f"{path} has several arrays: name those to take, as in {path}{_BETWEEN}{_quoted(names[0])}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(mark in name for mark in ',"') or name != name.strip() else name


def _reasons(left_out: Mapping[str, str]) -> str:
    return ", ".join(f"{name or 'a column without a name'} ({why})" for name, why in left_out.items())


def side_by_side(path: Path, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Arrays of a file as one.

    Raises:
        ValueError: they have other than one or two axes, or different numbers of rows.
    """
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if any(array.ndim not in (1, 2) for array in arrays.values()) or len({len(a) for a in arrays.values()}) != 1:
        listed = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:6])
        raise ValueError(f"{path}: expected arrays of one or two axes with equally many rows, got {listed}")
    return np.column_stack(list(arrays.values()))


# ---------------------------------------------------------------------- formats


def _load(path: Path, given: CsvFormat | None) -> Named:
    path.stat()  # a missing file is told by its own error
    if path.is_dir():
        raise IsADirectoryError(f"{path}: Is a directory")
    if path.suffix not in (".npy", ".npz", ".csv", ".parquet", *HDF5):
        raise ValueError(f"{path}: its name must end in one of {_FORMATS}")
    if path.suffix == ".npy":
        found = Named(path=path, arrays={path.stem: _npy(path)}, left_out={})
    elif path.suffix in (".csv", ".parquet"):
        found = _table(path, given)
    else:
        found = _archive(path)
    if not found.arrays:
        raise ValueError(f"{path} has no array of real numbers: it has {_reasons(found.left_out) or 'nothing'}")
    return found


def _npy(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            more = file.read(1)
    except OSError:
        raise
    except Exception as error:  # damaged bytes make NumPy raise all kinds of errors
        reason = "a .npz archive: call it so" if zipfile.is_zipfile(path) else " ".join(str(error).split())
        raise ValueError(f"{path} is not a .npy file of numbers: {reason}") from None
    if more:
        raise ValueError(f"{path} is damaged: it holds more numbers than its shape {array.shape} says")
    return array


def _table(path: Path, given: CsvFormat | None) -> Named:
    from hlvm.cli.csv_tables import CsvFormat, read_csv

    found = read_parquet(path) if path.suffix == ".parquet" else read_csv(path, given or CsvFormat())
    if not found.arrays:
        raise ValueError(f"{path}: expected columns of numbers, got {_reasons(found.left_out) or 'none'}")
    return found


def _archive(path: Path) -> Named:
    opened = open_array_file(path)
    try:
        arrays = {name: array[:] for name, array in opened.arrays.items() if array.ndim}
    finally:
        opened.close()
    left_out = dict(opened.left_out) | dict.fromkeys(opened.texts, "text")
    left_out |= {name: "a single number" for name in opened.arrays if name not in arrays}
    return Named(path=path, arrays=arrays, left_out=left_out)
