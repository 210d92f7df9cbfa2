"""Tables as the commands read them, and those in .parquet files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hlvm._numbers import as_numbers

__all__ = ["Named", "check_names", "read_parquet"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named:
    """Contents of a file, by name.

    Attributes:
        path: the file.
        arrays: name -> its numbers, one row per sample.
        left_out: name -> why something holds no numbers.
        is_table: whether the arrays are the columns of a table.
        unnamed: whether there are columns without a name.
        about: how the file was read, where several ways were possible.
    """

    path: Path
    arrays: Mapping[str, Any]
    left_out: Mapping[str, str]
    is_table: bool = False
    unnamed: bool = False
    about: str = ""


def read_parquet(path: Path) -> Named:
    """Read a ``.parquet`` file. The index of a frame of pandas is no column.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, damaged, has two columns of one name, or pyarrow is missing.
    """
    import pandas as pd

    with path.open("rb"):  # a missing file, a folder or a lack of permission are told by their own error
        pass
    try:
        frame = pd.read_parquet(path, page_checksum_verification=True)
    except ImportError:
        raise ValueError(f'{path}: reading .parquet needs pyarrow: pip install "hlvm[parquet]"') from None
    except Exception as error:  # damaged bytes make pyarrow raise all kinds of errors
        raise ValueError(f"{path} is not a .parquet file, or damaged: {' '.join(str(error).split())}") from None
    names = [str(name) for name in frame.columns]
    check_names(path, names)
    columns: dict[str, np.ndarray] = {}
    unfit = {str(name): "it is the index of the frame" for name in frame.index.names if name is not None}
    for place, name in enumerate(names):
        try:
            columns[name] = as_numbers("", frame.iloc[:, place])
        except ValueError as error:
            unfit[name] = str(error)
    return Named(path=path, arrays=columns, left_out=unfit, is_table=True)


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuse two columns of one name."""
    seen: set[str] = set()
    for place, name in enumerate(names):
        if name and name in seen:
            raise ValueError(f"{path} has two columns called {name!r}: rename column {place + 1}")
        seen.add(name)
