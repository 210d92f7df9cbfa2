"""Reading data sets back: those of this package, and a user's own."""

from __future__ import annotations

import functools
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from hlvm.datasets.dataset import Dataset
from hlvm.datasets.source import PARTS
from hlvm.datasets.writing import FORMAT, FORMAT_VERSION, SUFFIXES
from hlvm.graph import LatentGraph

__all__ = ["load_dataset"]


def load_dataset(path: str | os.PathLike[str], *, graph: LatentGraph | None = None) -> Dataset:
    """Open a data set.

    An ``.npz`` file is read into memory. An HDF5 file stays where it is, and rows are read when they are asked for;
    close it when done, or use the data set in a ``with`` statement.

    Your own files work if they name their arrays in the same way: "images" of shape (n, height, width, channels),
    "latents/NAME" and "observed/NAME" of shape (n, dim) or (n,). "graph" (JSON text) may be missing.

    Args:
        path: a ``.npz``, ``.h5`` or ``.hdf5`` file.
        graph: the graph of data that has none inside; names and dims are checked against it.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, arrays that do not fit together or the graph, a graph although there is another
            one inside, or a file of a newer format.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"a data set is a file that ends in {', '.join(SUFFIXES)}, got {target.name!r}")
    if not target.exists():
        raise FileNotFoundError(f"there is no file {target}")
    close = None
    if target.suffix == ".npz":
        arrays, texts = _read_npz(target)
    else:
        arrays, texts, close = _open_hdf5(target)
    try:
        about = _parsed(texts, "about", target)
        if about.get("format", FORMAT) != FORMAT or about.get("version", 1) > FORMAT_VERSION:
            raise ValueError(
                f"{target} has the format {about.get('format')!r} {about.get('version')}, which is not known"
            )
        inside = _parsed(texts, "graph", target)
        own = LatentGraph.from_dict(inside) if inside else None
        if graph is not None and own is not None and graph != own:
            raise ValueError(f"{target} has a graph inside, and it is not the one given: leave graph out")
        return Dataset(
            images=arrays["images"].get(""),
            latents=arrays["latents"],
            observed=arrays["observed"],
            noise=arrays["noise"],
            graph=graph if own is None else own,
            about=about,
            _close=close,
            _reopen=functools.partial(load_dataset, target, graph=graph) if close else None,
        )
    except BaseException:
        if close is not None:
            close()
        raise


def _parsed(texts: Mapping[str, str], name: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(texts.get(name, "{}"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: {name!r} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: {name!r} must be a JSON object, got {type(found).__name__}")
    return found


def _read_npz(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    arrays: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    texts: dict[str, str] = {}
    try:
        with path.open("rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
            for entry in file.files:
                part, _, name = entry.partition("/")
                if entry in ("graph", "about"):
                    texts[entry] = str(file[entry])
                elif part in PARTS and bool(name) == (part != "images"):
                    arrays[part][name] = _as_rows(file[entry], part)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not an .npz file of arrays: {error}") from None
    return arrays, texts


def _open_hdf5(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str], Any]:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file: {error}") from None
    arrays: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    texts: dict[str, str] = {}
    for entry, values in file.items():
        if entry in ("graph", "about") and isinstance(values, h5py.Dataset):
            stored: Any = values[()]
            texts[entry] = stored.decode("utf-8") if isinstance(stored, bytes) else str(stored)
        elif entry == "images" and isinstance(values, h5py.Dataset):
            arrays[entry][""] = values
        elif entry in PARTS and isinstance(values, h5py.Group):
            for quoted, columns in values.items():
                name = str(columns.attrs.get("name", unquote(quoted)))
                arrays[entry][name] = columns if columns.ndim != 1 else columns[()][:, None]
    return arrays, texts, file.close


def _as_rows(values: np.ndarray, part: str) -> np.ndarray:
    return values[:, None] if part != "images" and values.ndim == 1 else values
