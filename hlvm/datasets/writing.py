"""Writing data sets in chunks: in bounded memory, all or nothing, and to be taken up again after an interruption."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

import jax
import numpy as np

from hlvm._files import as_path, atomic_path, make_folder, only_writer, write_text_atomically
from hlvm._files.arrays import NO_ZEROS, write_rows
from hlvm._files.digests import parsed_json, read_npz, text_digest, with_digest
from hlvm._keys import checked_key
from hlvm._numbers import positive
from hlvm._version import __version__
from hlvm.datasets.source import Arrays, Source, drawn_arrays

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "SUFFIXES",
    "ImageType",
    "hdf5_name",
    "npz_name",
    "partial_folder",
    "write_dataset",
]

FORMAT = "hlvm.dataset"
FORMAT_VERSION = 1
SUFFIXES = (".npz", ".h5", ".hdf5")
_PIECE = 2**16  # bytes under one check sum in an HDF5 file; a row of it costs the reading of them all

ImageType: TypeAlias = Literal["float32", "uint8"]
"""Form in which images are kept: as they are, or as whole numbers from 0 to 255."""


def write_dataset(
    path: str | os.PathLike[str],
    source: Source,
    n: int,
    *,
    key: Any,
    chunk_size: int = 1024,
    image_type: ImageType = "float32",
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    note: Mapping[str, Any] | None = None,
) -> Path:
    """Draw samples and write them, with every latent and the graph, to one file.

    Chunks are drawn with ``jax.random.fold_in(key, i)`` and kept in the folder ``<path>.partial`` until all are there;
    then they are put together and the folder is removed. So the disk holds the data twice for a moment, memory never
    more than a chunk, and the first rows do not depend on ``n``.

    A file holds "images", "latents/NAME", "observed/NAME" and "noise/NAME" (those that the source draws), the graph as
    JSON text under "graph", and "about", JSON text on its making. In HDF5 files the characters of NAME that are not
    letters, digits, "_", ".", "-" or "~" are percent-encoded; the attribute "name" has the name itself. "about" has a
    digest of itself and of the graph and says which arrays there are; HDF5 files have check sums of every piece of 64
    KiB and of all that HDF5 itself notes (they need HDF5 1.10), .npz files of every array. So damage is an error when
    the damaged part is read. The finished file is read back before it gets its name.

    Args:
        path: a new file that ends in ``.npz``, ``.h5`` or ``.hdf5``.
        source: an image model, or a :class:`~hlvm.simulator.HierarchicalModel`.
        n: number of samples, at least 1.
        key: a JAX key or an int.
        chunk_size: samples drawn and kept in memory at once, at least 1.
        image_type: "uint8" takes a quarter of the room and rounds images to 256 levels.
        resume: take up an interrupted run. The first chunk is drawn again, and must be the one that is there.
        progress: called with the number of samples written so far and ``n``, after each chunk.
        note: what else to write under "about", of types that JSON knows.

    Returns:
        The path.

    Raises:
        ValueError: another suffix, a number below 1, another process that writes the same file, or, with ``resume``, an
            interrupted run that was drawn otherwise.
        FileExistsError: the file is there already; or, without ``resume``, an interrupted run is.
        FileNotFoundError: there is no such folder.

    Example:
        >>> import tempfile
        >>> from hlvm.datasets import load_dataset
        >>> from hlvm.images import QuadtreeImages
        >>> images = QuadtreeImages.init(jax.random.key(0), height=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_dataset(f"{folder}/quadtree.npz", images, 5, key=jax.random.key(1))
        ...     load_dataset(path)
        Dataset(5 rows, images (8, 8, 1), 5 latents, 0 observed)
    """
    target, key = as_path(path), checked_key(key)
    n, chunk_size = positive(n, "n"), positive(chunk_size, "chunk_size")
    if target.suffix not in SUFFIXES:
        raise ValueError(f"the name of a data set must end in {', '.join(SUFFIXES)}, got {target.name!r}")
    if image_type not in get_args(ImageType):
        raise ValueError(f'image_type must be "float32" or "uint8", got {image_type!r}')
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: make it first")
    size = min(n, chunk_size)
    about = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "n": n,
        "chunk_size": size,
        "image_type": image_type,
        "source": type(source).__name__,
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "key_type": str(jax.random.key_impl(key)),
        "hlvm": __version__,
        "jax": jax.__version__,
        "note": dict(note or {}),
    }

    def chunk(index: int) -> Arrays:
        return _kept(drawn_arrays(source.sample(jax.random.fold_in(key, index), size)), image_type)

    partial, graph = partial_folder(target), json.dumps(source.graph.to_dict())
    with only_writer(target):
        if target.exists():
            raise FileExistsError(f"{target} exists already: choose another name, or remove it first")
        _prepare(partial, about, graph, resume)
        try:
            for index in range(-(-n // size)):
                if index == 0 or not _chunk_path(partial, index).exists():
                    _write_chunk(_chunk_path(partial, index), chunk(index))
                if progress is not None:
                    progress(min((index + 1) * size, n), n)
        except BaseException:
            if not _chunk_path(partial, 0).exists():
                shutil.rmtree(partial, ignore_errors=True)
            raise
        with atomic_path(target) as temporary:
            _assemble(temporary, _Parts(partial, n, size), graph, about)
        shutil.rmtree(partial)
    return target


def partial_folder(path: Path) -> Path:
    """Folder of the chunks of a data set until all are there."""
    return path.with_name(path.name + ".partial")


def npz_name(part: str, name: str) -> str:
    """Name of an array in an ``.npz`` file."""
    return f"{part}/{name}" if name else part


def hdf5_name(part: str, name: str) -> str:
    """Name of an array in an HDF5 file, where "/" and "." have a meaning of their own."""
    return f"{part}/{quote(name, safe='').replace('.', '%2E')}" if name else part


# ---------------------------------------------------------------------- chunks


def _prepare(partial: Path, about: dict[str, Any], graph: str, resume: bool) -> None:
    """Make the folder of chunks, or check that the one that is there belongs to this run."""
    if not partial.exists():
        make_folder(partial)
        write_text_atomically(partial / "graph.json", graph)
        write_text_atomically(partial / "about.json", json.dumps(about))
        return
    if not resume:
        raise FileExistsError(
            f"{partial} holds an interrupted run: continue it with resume (--resume), or remove the folder"
        )
    if not (partial / "about.json").exists():  # interrupted before anything was drawn
        shutil.rmtree(partial)
        _prepare(partial, about, graph, resume)
        return
    begun = parsed_json((partial / "about.json").read_bytes(), str(partial / "about.json"))
    if not isinstance(begun, dict):
        raise ValueError(f"{partial / 'about.json'} is damaged: remove the folder {partial}")
    other = [name for name, value in about.items() if begun.get(name) != value]
    if other or (partial / "graph.json").read_bytes() != graph.encode():
        what = f"{other[0]} {begun.get(other[0])!r}, now {about[other[0]]!r}" if other else "another graph"
        raise ValueError(f"{partial} was started with {what}: use the same settings, or remove the folder")
    _remove_damaged(partial)


def _chunk_path(partial: Path, index: int) -> Path:
    return partial / f"chunk_{index:06d}.npz"


def _remove_damaged(partial: Path) -> None:
    """Remove damaged chunks, which are then drawn again; all of them if the first is, which vouches for the others."""
    for path in sorted(partial.glob("chunk_*.npz")):
        try:
            _read_chunk(path)
        except ValueError:
            path.unlink()
    if not _chunk_path(partial, 0).exists():
        for path in partial.glob("chunk_*.npz"):
            path.unlink()


def _write_chunk(path: Path, arrays: Arrays) -> None:
    """Write a chunk, or check that the one that is there is the same."""
    if path.exists():
        there = _read_chunk(path)
        if list(there) != list(arrays) or any(not np.array_equal(there[name], arrays[name]) for name in arrays):
            raise ValueError(
                f"{path.parent} was started with another generator: its first chunk differs from a new draw; "
                "use the same generator, or remove the folder"
            )
        return
    with atomic_path(path) as temporary:
        names = json.dumps([list(name) for name in arrays])
        numbered = {f"array_{i}": array for i, array in enumerate(arrays.values())}
        np.savez(
            temporary,
            names=np.array(names),
            **numbered,  # pyright: ignore[reportArgumentType]  # numpy's stub mixes them up with allow_pickle
        )


def _read_chunk(path: Path) -> Arrays:
    arrays = read_npz(path)
    try:
        names = [(part, name) for part, name in json.loads(str(arrays["names"]))]
        return {name: arrays[f"array_{i}"] for i, name in enumerate(names)}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None


def _kept(arrays: Arrays, image_type: ImageType) -> Arrays:
    if image_type == "uint8" and ("images", "") in arrays:
        arrays["images", ""] = np.round(np.clip(arrays["images", ""], 0, 1) * 255).astype(np.uint8)
    return arrays


class _Parts:
    """The arrays of all chunks, put together piece by piece."""

    def __init__(self, partial: Path, n: int, size: int) -> None:
        self.partial, self.n, self.size = partial, n, size
        first = _read_chunk(_chunk_path(partial, 0))
        self.names = list(first)
        self.shapes = {name: (n, *array.shape[1:]) for name, array in first.items()}
        self.types = {name: array.dtype for name, array in first.items()}

    def pieces(self, name: tuple[str, str]) -> Iterator[np.ndarray]:
        place = self.names.index(name)
        for begin in range(0, self.n, self.size):
            with np.load(_chunk_path(self.partial, begin // self.size)) as file:
                yield file[f"array_{place}"][: self.n - begin]


# ---------------------------------------------------------------------- putting them together


def _assemble(path: Path, parts: _Parts, graph: str, about: Mapping[str, Any]) -> None:
    """Write the file and read it back."""
    arrays = {npz_name(*name): [parts.types[name].str, list(parts.shapes[name])] for name in parts.names}
    known = with_digest({**about, "graph_digest": text_digest(graph), "arrays": arrays})
    texts = {"graph": graph, "about": json.dumps(known)}
    if path.suffix == ".npz":
        _assemble_npz(path, parts, texts)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    else:
        _assemble_hdf5(path, parts, texts)
        damaged = _damaged_in_hdf5(path, parts)
    if damaged:
        raise OSError(f"{path} cannot be written: other numbers are read back from {damaged}")


def _assemble_npz(path: Path, parts: _Parts, texts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, text in texts.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.array(text), allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())
        for name in parts.names:
            with archive.open(f"{npz_name(*name)}.npy", "w", force_zip64=True) as entry:
                header = {
                    "descr": np.lib.format.dtype_to_descr(parts.types[name]),
                    "fortran_order": False,
                    "shape": parts.shapes[name],
                }
                np.lib.format.write_array_header_2_0(entry, header)
                for piece in parts.pieces(name):
                    entry.write(np.ascontiguousarray(piece).tobytes())


def _assemble_hdf5(path: Path, parts: _Parts, texts: dict[str, str]) -> None:
    import h5py

    arrays = sum(math.prod(parts.shapes[name]) * parts.types[name].itemsize for name in parts.names)
    _check_room(path, arrays + sum(map(len, texts.values())) + _HDF5_PER_NAME * (len(parts.names) + 4))
    # The older form of HDF5 files, which h5py writes otherwise, has no check sums of names, types and shapes.
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, text in texts.items():
            file.create_dataset(name, data=text.encode(), dtype=_text_type(text))
        for part, name in parts.names:
            shape, kind = parts.shapes[part, name], parts.types[part, name]
            rows = max(1, min(parts.n, _PIECE // max(1, kind.itemsize * math.prod(shape[1:]))))
            chunks = {"chunks": (rows, *shape[1:]), "fletcher32": True} if math.prod(shape) else {}
            stored = file.create_dataset(hdf5_name(part, name), shape=shape, dtype=kind, **chunks)
            stored.attrs.create("name", name.encode(), dtype=_text_type(name))
            begin = 0
            if chunks:
                stored.attrs[NO_ZEROS] = True
            for piece in parts.pieces((part, name)):
                if chunks:
                    write_rows(stored, begin, piece)
                begin += len(piece)


def _text_type(text: str) -> Any:
    """Of one length: texts of any length are kept apart, where HDF5 may read damage without an end."""
    import h5py

    return h5py.string_dtype(length=max(1, len(text.encode())))


def _damaged_in_hdf5(path: Path, parts: _Parts) -> str | None:
    import h5py

    with h5py.File(path, "r") as file:
        for part, name in parts.names:
            begin = 0
            for piece in parts.pieces((part, name)):
                stored: Any = file[hdf5_name(part, name)]
                if stored[begin : begin + len(piece)].tobytes() != piece.tobytes():
                    return name or part
                begin += len(piece)
    return None


_HDF5_PER_NAME = 2048
"""Bytes that HDF5 takes for an array beside its values, rounded up."""


def _check_room(path: Path, size: int) -> None:
    """Ask the system for room for a file: where a write of HDF5 fails, it crashes at the end of the process."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
