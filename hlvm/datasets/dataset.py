"""A data set in memory or in a file: images or observed values, the latents behind them, and the graph."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from hlvm._files.arrays import PARTS
from hlvm._numbers import aligned, as_numbers, positive
from hlvm.graph import LatentGraph

__all__ = ["Dataset"]

Columns = Mapping[str, Any]
"""Name of a variable -> its values, (n, dim): NumPy arrays, or arrays in a file."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dataset:
    """Rows of images or observed values with the latents behind them.

    Make one with :meth:`from_arrays` or :func:`~hlvm.datasets.load_dataset`. ``dataset[i]`` is one row as a dictionary
    and ``len(dataset)`` the number of rows, which is what a PyTorch ``DataLoader`` asks for; PyTorch itself is not
    needed here.

    Attributes:
        images: shape (n, height, width, channels), or ``None``.
        latents: name of each latent -> its values, (n, dim).
        observed: name of each observed variable -> its values, (n, dim); may be empty.
        noise: name of each variable -> the noise that entered there, (n, noise size); may be empty.
        graph: the graph, or ``None`` if it is not known.
        about: what the file says of its own making; empty if nothing.
        left_out: what else the file holds, by name, and why it is not used.
    """

    images: Any | None
    latents: Columns
    observed: Columns
    noise: Columns
    graph: LatentGraph | None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    _close: Callable[[], None] | None = None
    _reopen: Callable[[], Dataset] | None = None

    def __post_init__(self) -> None:
        rows = {f"{part} {name!r}" if name else part: len(values) for part, name, values in self._all()}
        if not rows:
            raise ValueError("a data set needs images, latents or observed values: all of them are missing")
        if len(set(rows.values())) > 1:
            few, many = min(rows, key=rows.__getitem__), max(rows, key=rows.__getitem__)
            raise ValueError(
                f"every array needs one row per sample, but {few} has {rows[few]} rows and {many} has {rows[many]}"
            )
        if self.images is not None and len(self.images.shape) != 4:
            raise ValueError(f"images must have shape (n, height, width, channels), got {tuple(self.images.shape)}")
        for part, name, values in self._all():
            if part != "images" and len(values.shape) != 2:
                raise ValueError(f"{part} {name!r} must have shape (n, dim), got {tuple(values.shape)}")
        if self.graph is not None:
            self._check_names(self.graph)

    def _check_names(self, graph: LatentGraph) -> None:
        for part, known in (("latents", graph.latents), ("observed", graph.observed), ("noise", graph.nodes)):
            unknown = set(getattr(self, part)) - set(known)
            if unknown:
                raise ValueError(
                    f"{part} holds {min(unknown)!r}, which the graph does not have there; known: "
                    f"{', '.join(map(repr, known[:6]))}{', ...' if len(known) > 6 else ''}"
                )
            for name, values in getattr(self, part).items():
                if part != "noise" and values.shape[1] != graph.dim(name):
                    raise ValueError(
                        f"{part} {name!r} has {values.shape[1]} columns, but dim {graph.dim(name)} in the graph"
                    )

    @classmethod
    def from_arrays(
        cls,
        *,
        images: Shaped[np.ndarray, "n height width channels"] | None = None,
        latents: Mapping[str, Shaped[np.ndarray, "n dim"]] | None = None,
        observed: Mapping[str, Shaped[np.ndarray, "n dim"]] | None = None,
        graph: LatentGraph | None = None,
    ) -> Dataset:
        """Your own data, checked.

        Args:
            images: shape (n, height, width, channels).
            latents: name -> values, (n, dim) or (n,); also frames and series of pandas, of one index.
            observed: name -> values, likewise. Cells of a grid are found by their names, whatever their order here.
            graph: the graph that they come from; with one, names and dims are checked.

        Raises:
            ValueError: nothing given, masked values, anything but real numbers, frames whose indexes differ, arrays
                with different numbers of rows, other shapes, or names or dims that the graph does not have.
        """
        latents, observed = _of_same_labels({"latents": latents or {}, "observed": observed or {}})
        return cls(
            images=None if images is None else as_numbers("images", images),
            latents=_as_columns("latents", latents),
            observed=_as_columns("observed", observed),
            noise={},
            graph=graph,
        )

    def __len__(self) -> int:
        return len(next(values for _, _, values in self._all()))

    def __repr__(self) -> str:
        shown = "no images" if self.images is None else f"images {tuple(self.images.shape[1:])}"
        others = [*list(self.left_out)[:3], *(["..."] if len(self.left_out) > 3 else [])]
        left_out = f"; left out: {', '.join(others)}" if others else ""
        return (
            f"Dataset({len(self)} rows, {shown}, {len(self.latents)} latents, {len(self.observed)} observed{left_out})"
        )

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One row: "images" (if there are any), and "latents" and "observed" by name."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        position = row % len(self)
        return _first(self.rows([position]))

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows at once: a PyTorch ``DataLoader`` reads a whole batch through this."""
        together = self.rows(rows)
        return [_first(together, i) for i in range(len(rows))]

    def rows(self, rows: Sequence[int] | slice) -> dict[str, Any]:
        """Some rows as one batch.

        Args:
            rows: positions in any order, those from the end below 0; or True and False for every row; or a slice.

        Returns:
            "images" (if there are any) of shape (k, height, width, channels), "latents" and "observed" (if there are
            any) as dictionaries from names to arrays (k, dim).

        Raises:
            IndexError: a row that is not there.
            ValueError: something else than positions, or True and False for another number of rows.
        """
        wanted = rows if isinstance(rows, slice) else _positions(rows, len(self))
        found: dict[str, Any] = {}
        if self.images is not None:
            found["images"] = np.asarray(self.images[wanted])
        for part in ("latents", "observed"):
            columns = getattr(self, part)
            if columns:
                found[part] = {name: np.asarray(values[wanted]) for name, values in columns.items()}
        return found

    def batches(
        self, batch_size: int, *, seed: int | None = None, epochs: int = 1, drop_last: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Go through the rows in batches, for any trainer that takes NumPy arrays.

        Args:
            batch_size: rows per batch, at least 1.
            seed: shuffles the rows, differently in every epoch; ``None`` keeps their order.
            epochs: how often to go through all rows, at least 1.
            drop_last: leave out the last batch of an epoch if it is smaller.

        Returns:
            An iterator of batches as from :meth:`rows`.

        Raises:
            ValueError: a number below 1.
        """
        size, n_epochs = positive(batch_size, "batch_size"), positive(epochs, "epochs")
        return self._batches(size, None if seed is None else np.random.default_rng(seed), n_epochs, drop_last)

    def _batches(
        self, size: int, shuffle: np.random.Generator | None, epochs: int, drop_last: bool
    ) -> Iterator[dict[str, Any]]:
        n = len(self)
        for _ in range(epochs):
            order = None if shuffle is None else shuffle.permutation(n)
            for begin in range(0, n - size + 1 if drop_last else n, size):
                yield self.rows(slice(begin, begin + size) if order is None else order[begin : begin + size].tolist())

    def latent_matrix(self, names: Sequence[str] | None = None) -> Float[np.ndarray, "n dims"]:
        """Latents side by side, for scoring.

        Args:
            names: which latents, in this order; ``None`` takes all.

        Raises:
            ValueError: an unknown name, or no latents at all.
        """
        wanted = list(self.latents) if names is None else list(names)
        unknown = [name for name in wanted if name not in self.latents]
        if unknown or not wanted:
            raise ValueError(
                f"{unknown[0]!r} is not a latent of this data set" if unknown else "this data set has no latents"
            )
        return np.concatenate([np.asarray(self.latents[name][:]) for name in wanted], axis=1)

    def _all(self) -> Iterator[tuple[str, str, Any]]:
        for part in PARTS:
            values = getattr(self, part)
            if part == "images":
                if values is not None:
                    yield part, "", values
            else:
                yield from ((part, name, columns) for name, columns in values.items())

    # ------------------------------------------------------------------ files

    def close(self) -> None:
        """Close the file behind this data set; nothing happens if there is none."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        """Worker processes of a loader open the file again."""
        if self._reopen is not None:
            return self._reopen, ()
        fields = [field.name for field in dataclasses.fields(self) if not field.name.startswith("_")]
        values = {name: getattr(self, name) for name in fields}
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
        return functools.partial(Dataset, **plain), ()


def _of_same_labels(parts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Frames among the arrays in the row order of the first one."""
    labelled = ((f"{part} {name!r}", given) for part, of in parts.items() for name, given in of.items())
    first_name, first = next(((name, given) for name, given in labelled if hasattr(given, "iloc")), ("", None))
    return [
        {name: aligned(first_name, first, f"{part} {name!r}", given) for name, given in of.items()}
        for part, of in parts.items()
    ]


def _as_columns(part: str, values: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    arrays = {name: as_numbers(f"{part} {name!r}", array) for name, array in (values or {}).items()}
    return {name: array[:, None] if array.ndim == 1 else array for name, array in arrays.items()}


def _positions(rows: Sequence[int], n: int) -> np.ndarray:
    found = np.asarray(rows)
    if found.ndim == 1 and not found.size:
        return np.empty(0, dtype=np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iub" or (found.dtype.kind == "b" and len(found) != n):
        raise ValueError(
            f"rows are a list of positions, or True and False for each of the {n} rows, got {found.dtype} of shape "
            f"{found.shape}"
        )
    if found.dtype.kind == "b":
        return np.flatnonzero(found)
    outside = (found < -n) | (found >= n)
    if outside.any():
        raise IndexError(f"row {found[outside][0]} of {n}")
    return np.where(found < 0, found + n, found)


def _first(batch: Mapping[str, Any], place: int = 0) -> dict[str, Any]:
    return {
        part: {name: array[place] for name, array in values.items()} if isinstance(values, Mapping) else values[place]
        for part, values in batch.items()
    }
