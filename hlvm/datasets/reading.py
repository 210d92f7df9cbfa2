"""Reading data sets back: those of this package, and a user's own."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hlvm._files import as_path
from hlvm._files.arrays import HDF5, PARTS, ArrayFile, DamagedRowsError, open_array_file
from hlvm._files.digests import parsed_json, text_digest
from hlvm.datasets.dataset import Dataset
from hlvm.datasets.writing import FORMAT, FORMAT_VERSION, SUFFIXES
from hlvm.graph import LatentGraph

__all__ = ["load_dataset"]

_TEXTS = ("graph", "about")


def load_dataset(path: str | os.PathLike[str], *, graph: LatentGraph | None = None) -> Dataset:
    """Open a data set.

    An ``.npz`` file is read into memory. An HDF5 file stays where it is, and rows are read when they are asked for;
    close it when done, or use the data set in a ``with`` statement.

    Your own files work if they name their arrays in the same way: "images" of shape (n, height, width, channels),
    "latents/NAME" and "observed/NAME" of shape (n, dim) or (n,). "graph" (JSON text) may be missing. Everything else in
    a file is left out, and named in ``left_out`` of the data set.

    Args:
        path: a ``.npz``, ``.h5`` or ``.hdf5`` file.
        graph: the graph of data that has none inside; names and dims are checked against it.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, a damaged one, or one that another process writes; a variable that holds no real
            numbers; arrays that do not fit together or the graph; a graph although there is another one inside; or a
            file of a newer format. The message names the file. Damaged rows of HDF5 files are refused when they are
            read.
    """
    target = as_path(path)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"the name of a data set must end in {', '.join(SUFFIXES)}, got {target.name!r}")
    if not target.exists():
        raise FileNotFoundError(f"there is no file {target}")
    opened = open_array_file(target)
    try:
        return _as_dataset(opened, graph)
    except BaseException as error:
        opened.close()
        if isinstance(error, ValueError) and not isinstance(error, DamagedRowsError):
            raise ValueError(f"{target}: {error}") from None
        raise


def _as_dataset(opened: ArrayFile, graph: LatentGraph | None) -> Dataset:
    about = _parsed(opened, "about")
    if about.get("format", FORMAT) != FORMAT or about.get("version", 1) not in range(1, FORMAT_VERSION + 1):
        raise ValueError(f"its format {about.get('format')!r} {about.get('version')} is unknown")
    _check_whole(opened, about)
    inside = _parsed(opened, "graph")
    own = LatentGraph.from_dict(inside) if inside else None
    if graph is not None and own is not None and graph != own:
        raise ValueError("its own graph differs from the given one: leave graph out")
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    left_out = {name: why for name, why in opened.left_out.items() if name not in _TEXTS}
    left_out |= {name: "text" for name in opened.texts if name not in _TEXTS}
    for entry, values in opened.arrays.items():
        part, name = _place(entry)
        if part:
            parts[part][name] = _as_rows(entry, values, part)
        else:
            left_out[entry] = "not images, latents/NAME, observed/NAME or noise/NAME"
    unfit = next((name for name in left_out if _place(name)[0]), None)
    if unfit is not None:
        raise ValueError(f"{unfit!r} must hold real numbers, and is {left_out[unfit]}")
    if not any(parts.values()):
        raise ValueError(
            "a data set needs images, latents or observed values: all of them are missing; it has "
            + (", ".join(map(repr, left_out)) or "nothing")
        )
    return Dataset(
        images=parts["images"].get(""),
        latents=parts["latents"],
        observed=parts["observed"],
        noise=parts["noise"],
        graph=graph if own is None else own,
        about=about,
        left_out=left_out,
        _close=opened.close,
        _reopen=functools.partial(load_dataset, opened.path, graph=graph) if opened.path.suffix in HDF5 else None,
    )


def _place(entry: str) -> tuple[str, str]:
    """Part and variable of an entry; empty if it is none of a data set."""
    part, _, name = entry.partition("/")
    return (part, name) if part in PARTS and bool(name) == (part != "images") else ("", "")


def _parsed(opened: ArrayFile, name: str) -> dict[str, Any]:
    if name in opened.arrays or name in opened.left_out:
        raise ValueError(f"{name!r} must be JSON text")
    found = parsed_json(opened.texts.get(name, "{}"), repr(name))
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} must be a JSON object, got {type(found).__name__}")
    return found


def _check_whole(opened: ArrayFile, about: dict[str, Any]) -> None:
    """Check that graph and arrays are those that were written; take what only this check needs out of ``about``.

    Data of earlier versions, and a user's own, does not say what was written.
    """
    graph, written = about.pop("graph_digest", None), about.pop("arrays", None)
    if graph not in (None, text_digest(opened.texts.get("graph", ""))):
        raise ValueError("it is damaged: its graph is not what its digest says")
    if not isinstance(written, Mapping):
        return
    found = {name: [np.dtype(values.dtype).str, list(values.shape)] for name, values in opened.arrays.items()}
    other = sorted(name for name in found.keys() | written.keys() if found.get(name) != written.get(name))
    if other:
        raise ValueError(f"it is damaged: {other[0]!r} is missing, or not of the type and shape that were written")


def _as_rows(entry: str, values: Any, part: str) -> Any:
    if values.ndim == 0:
        raise ValueError(f"{entry!r} is a single number: expected one row per sample")
    return values[:][:, None] if part != "images" and values.ndim == 1 else values
