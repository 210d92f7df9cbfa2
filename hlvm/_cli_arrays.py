"""Arrays in files: .npy, .npz, .csv, .parquet and HDF5, as named tables of numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["load_columns", "load_named_arrays"]

_BETWEEN = "::"
_HDF5 = (".h5", ".hdf5")
_UNNAMED = "Unnamed: "  # what pandas calls a .csv column without a name
_FORMATS = f".npy, .npz, .csv, .parquet, {', '.join(_HDF5)}"


def load_columns(place: str) -> np.ndarray:
    """The numbers of a file, one row per sample.

    Args:
        place: a path; after ``::`` the names of arrays or columns to take, separated by commas. Without them the one
            array of the file, or all columns of a table.

    Returns:
        Shape (n, p) or (n,), of whatever type the file holds.

    Raises:
        ValueError: no such format, no such name, several arrays or a nameless column and no name, or text where numbers
            belong.
        OSError: the file cannot be read.
    """
    path, names = _split(place)
    arrays = load_named_arrays(path)
    if names is None:
        if len(arrays) > 1 and path.suffix in (".npz", *_HDF5):
            example = f"{path}{_BETWEEN}{next(iter(arrays))}"
            raise ValueError(f"{path} has several arrays: name those to take, as in {example}")
        names = list(arrays)
        if any(name.startswith(_UNNAMED) for name in names):
            named = ",".join(name for name in names if not name.startswith(_UNNAMED))
            raise ValueError(
                f"{path} has a column without a name, such as the row numbers that pandas writes: name the columns "
                f"to take, as in {path}{_BETWEEN}{named}"
            )
    unknown = [name for name in names if name not in arrays]
    if unknown:
        raise ValueError(f"{path} has no {', '.join(unknown)}: it has {', '.join(arrays)}")
    return _side_by_side(path, [arrays[name] for name in names])


def load_named_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array or column of a file by its name; that of a .npy file is its stem.

    Entries that are no numbers are left out of archives, and refused in tables.
    """
    readers: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
        ".npy": _npy,
        ".npz": _npz,
        ".csv": _csv,
        ".parquet": _parquet,
        **dict.fromkeys(_HDF5, _hdf5),
    }
    with path.open("rb"):  # a missing file, a folder or a lack of permission are told by their own error
        pass
    if path.suffix not in readers:
        raise ValueError(f"{path}: expected one of {_FORMATS}")
    return readers[path.suffix](path)


def _split(place: str) -> tuple[Path, list[str] | None]:
    path, found, names = place.partition(_BETWEEN)
    return Path(path), [name.strip() for name in names.split(",")] if found else None


def _side_by_side(path: Path, arrays: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np

    if len(arrays) == 1:
        return arrays[0]
    if len({len(array) for array in arrays if array.ndim}) != 1 or any(array.ndim not in (1, 2) for array in arrays):
        raise ValueError(f"{path}: expected arrays of one or two axes with equally many rows")
    return np.column_stack(list(arrays))


def _npy(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with path.open("rb") as file:
            return {path.stem: np.lib.format.read_array(file, allow_pickle=False)}
    except (ValueError, EOFError) as error:
        reason = "a .npz archive: call it so" if zipfile.is_zipfile(path) else error
        raise ValueError(f"{path} is not a .npy file of numbers: {reason}") from None


def _npz(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a .npz file of numbers: {error}") from None
    return _numbers_of(path, arrays)


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, entry: h5py.Group | h5py.Dataset | h5py.Datatype) -> None:
        if isinstance(entry, h5py.Dataset) and entry.ndim > 0 and entry.dtype.kind in "fiub":
            arrays[name] = entry[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file: {error}") from None
    return _numbers_of(path, arrays)


def _numbers_of(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    numbers = {name: array for name, array in arrays.items() if array.ndim and array.dtype.kind in "fiub"}
    if not numbers:
        raise ValueError(f"{path} has no array of real numbers")
    return numbers


def _csv(path: Path) -> dict[str, np.ndarray]:
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:  # includes text that is not UTF-8
        raise ValueError(f"{path} is not a .csv file: {error}") from None
    if len(table.columns) and all(_is_number(str(name)) for name in table.columns):
        table = pd.read_csv(path, header=None)  # no row of names
    return _columns_of(path, table)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path) -> dict[str, np.ndarray]:
    import pandas as pd

    try:
        return _columns_of(path, pd.read_parquet(path))
    except ImportError:
        raise ValueError(f'{path}: reading .parquet needs pyarrow: pip install "hlvm[parquet]"') from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a .parquet file of numbers: {error}") from None


def _columns_of(path: Path, table: pd.DataFrame) -> dict[str, np.ndarray]:
    arrays = {str(name): table[name].to_numpy() for name in table.columns}
    text = [name for name, array in arrays.items() if array.dtype.kind not in "fiub"]
    if text or not arrays:
        raise ValueError(f"{path}: expected columns of numbers, got {', '.join(text) or 'none'}")
    return arrays
