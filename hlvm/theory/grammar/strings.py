"""Strings and masks as they are given, checked; and the strings that averages run over."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.core
import numpy as np
from jaxtyping import Bool, Float, Int

from hlvm.graph import LatentGraph
from hlvm.masking.masks import check_observed_names, checked_names
from hlvm.theory.oracles import How

__all__ = ["Drawn", "Pairs", "Strings", "all_strings", "checked_cells", "pairs"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Strings times masks.

    Attributes:
        cells: shape (n_strings, n_observed).
        visible: shape (n_masks, n_observed).
        shape: of the results: (n_strings,) for one mask given as one, else (n_strings, n_masks).
    """

    cells: Int[np.ndarray, "n n_observed"]
    visible: Bool[np.ndarray, "m n_observed"]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.cells) * len(self.visible)

    def strings(self, places: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """The strings of some pairs; masks come one after the other within a string."""
        return places // len(self.visible)

    def rows(self, places: Int[np.ndarray, " k"]) -> tuple[Any, Any]:
        """Cells of some pairs, and what is visible of them; pairs last."""
        return self.cells[self.strings(places)].T, self.visible[places % len(self.visible)].T


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Drawn(Pairs):
    """Strings of their own for each mask, equally many: mask after mask."""

    shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.cells)

    def strings(self, places: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Each pair has its own string."""
        return places

    def rows(self, places: Int[np.ndarray, " k"]) -> tuple[Any, Any]:
        """Cells of some pairs, and what is visible of them; pairs last."""
        return self.cells[places].T, self.visible[places // (len(self.cells) // len(self.visible))].T


def pairs(graph: LatentGraph, n_symbols: Int[np.ndarray, " n"], cells: Any, visible: Any) -> Pairs:
    """Check strings and what is visible of them.

    Args:
        graph: of the tree.
        n_symbols: of each observed variable.
        cells: whole numbers, shape (n_strings, n_observed), or (n_strings, rows, columns) on a grid.
        visible: booleans (n_observed,) or (n_masks, n_observed), True = visible; or names; ``None``: all.

    Raises:
        ValueError: another shape or type, or a visible symbol out of range.
    """
    seen, single = _visible(graph, visible)
    array = checked_cells(graph, n_symbols, cells, np.asarray(seen.any(axis=0)))
    return Pairs(cells=array, visible=seen, shape=(len(array),) if single else (len(array), len(seen)))


def checked_cells(
    graph: LatentGraph, n_symbols: Int[np.ndarray, " n"], cells: Any, read: Bool[np.ndarray, " n"]
) -> Any:
    """Strings of shape (n, n_observed); symbols are checked where they are read."""
    traced = isinstance(cells, jax.core.Tracer)
    array = cells if traced else np.asarray(cells)
    n = graph.n_observed
    if graph.grid is not None and array.shape[1:] == graph.grid:
        array = array.reshape(len(array), n)
    if array.ndim != 2 or array.shape[1] != n or array.dtype.kind not in "iu":
        on_grid = f" or (n, {graph.grid[0]}, {graph.grid[1]})" if graph.grid else ""
        raise ValueError(
            f"cells must be whole numbers of shape (n, {n}){on_grid}, got shape {array.shape} and type {array.dtype}"
        )
    if not traced:
        fits = array.size == 0 or 0 <= array.min() <= array.max() < n_symbols.min()
        wrong = None if fits else ((array < 0) | (array >= n_symbols)) & read
        if wrong is not None and wrong.any():
            row, column = (int(place) for place in np.argwhere(wrong)[0])
            raise ValueError(
                f"symbols of {graph.observed[column]!r} are 0 to {n_symbols[column] - 1}, got {array[row, column]} in "
                f"string {row}: mask it if it is unknown"
            )
        array = array.astype(np.int32, copy=False)
    return array


def _visible(graph: LatentGraph, visible: Any) -> tuple[Bool[np.ndarray, "m n"], bool]:
    if visible is None:
        return np.ones((1, graph.n_observed), dtype=bool), True
    if getattr(visible, "dtype", None) is None or visible.dtype.kind in "UO":
        names = checked_names(visible)
        check_observed_names(graph, names, "visible")
        return np.isin(np.array(graph.observed), names)[None], True
    array = np.asarray(visible)
    if array.dtype != bool or array.ndim not in (1, 2) or array.shape[-1] != graph.n_observed:
        raise ValueError(
            f"visible must be names, or booleans of shape ({graph.n_observed},) or (n_masks, {graph.n_observed}), got "
            f"shape {array.shape} and type {array.dtype}"
        )
    return np.atleast_2d(array), array.ndim == 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Strings:
    """Strings that an average runs over.

    Attributes:
        cells: shape (n, n_observed).
        weights: shape (n,), that sum to one.
        how: "exact" for all strings with their probabilities, "estimated" for draws.
    """

    cells: Int[np.ndarray, "n n_observed"]
    weights: Float[np.ndarray, " n"]
    how: How

    @property
    def rows(self) -> int:
        """Number of draws; 0 if the strings are all there are."""
        return len(self.cells) if self.how == "estimated" else 0

    def mean(self, values: Float[np.ndarray, "n ..."]) -> tuple[np.ndarray, np.ndarray]:
        """Mean over the strings, and its standard error: 0 if exact, NaN from one draw."""
        mean = np.tensordot(self.weights, values, axes=1)
        if self.how == "exact":
            return mean, np.zeros_like(mean)
        if len(values) < 2:
            return mean, np.full_like(mean, np.nan)
        return mean, values.std(axis=0, ddof=1) / np.sqrt(len(values))


def all_strings(n_symbols: Int[np.ndarray, " n_observed"]) -> Int[np.ndarray, "n n_observed"]:
    """All grids of symbols, whether or not they belong to the grammar."""
    grids = np.indices(tuple(n_symbols.tolist()), dtype=np.int32)
    return grids.reshape(len(n_symbols), -1).T
