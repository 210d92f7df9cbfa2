"""Tokens: observed variables, cut into equal parts for a transformer."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph

__all__ = ["Tokens"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """Observed variables cut into tokens: squares of a grid row by row, or one variable each where there is no grid.

    Cells of fewer dims than the widest are padded with zeros, which :meth:`join` leaves out again.

    Attributes:
        cell_dims: dims of each cell, in the graph's order.
        grid: rows and columns of cells; ``None`` where the graph has no grid.
        patch: cells along each side of a token; 1 without a grid.
    """

    cell_dims: tuple[int, ...]
    grid: tuple[int, int] | None
    patch: int = 1

    @classmethod
    def of(cls, graph: LatentGraph, patch: int) -> Tokens:
        """Cut the observed variables of a graph.

        Raises:
            ValueError: the patch does not divide the grid, or is larger than one cell and there is no grid.
        """
        if graph.grid is None and patch > 1:
            raise UsageError(
                f"must be 1 for a graph without a grid, got {patch}",
                argument="patch",
                of="ViTConfig",
                remedies={"grid": "build it with grid=(rows, columns)"},
            )
        if graph.grid is not None and any(side % patch for side in graph.grid):
            raise UsageError(
                f"patch={patch} does not divide the {graph.grid[0]} x {graph.grid[1]} grid", of="ViTConfig"
            )
        return cls(cell_dims=tuple(graph.dim(name) for name in graph.observed), grid=graph.grid, patch=patch)

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of tokens; one column where there is no grid."""
        rows, columns = self.grid or (len(self.cell_dims), 1)
        return rows // self.patch, columns // self.patch

    @property
    def n_tokens(self) -> int:
        """Number of tokens of a sample."""
        return self.sides[0] * self.sides[1]

    @property
    def token_dim(self) -> int:
        """Numbers per token, with padding."""
        return self.patch**2 * self._widest

    @property
    def _widest(self) -> int:
        return max(self.cell_dims)

    @functools.cached_property
    def cells_of_token(self) -> np.ndarray:
        """Cells of each token, row by row: (tokens, patch * patch)."""
        (rows, columns), p = self.sides, self.patch
        cells = np.arange(len(self.cell_dims)).reshape(rows, p, columns, p)
        return cells.transpose(0, 2, 1, 3).reshape(-1, p * p)

    @functools.cached_property
    def own(self) -> np.ndarray | None:
        """The numbers of each token that belong to a cell, (tokens, token_dim); ``None`` where no cell is padded."""
        if min(self.cell_dims) == self._widest:
            return None
        dims = np.asarray(self.cell_dims)[self.cells_of_token]
        return (np.arange(self._widest) < dims[..., None]).reshape(self.n_tokens, self.token_dim)

    @functools.cached_property
    def _column_of_slot(self) -> np.ndarray:
        """The column that stands at each place of the padded cells side by side; the number of columns for padding."""
        dims = np.asarray(self.cell_dims)[:, None]
        within = np.arange(self._widest)
        columns = np.cumsum(dims, axis=0) - dims + within
        return np.where(within < dims, columns, dims.sum()).reshape(-1)

    def cut(self, values: Float[Array, "n columns"]) -> Float[Array, "n tokens dims"]:
        """Tokens of values that stand side by side, cell by cell."""
        if self.own is not None:
            values = jnp.take(values, self._column_of_slot, axis=1, mode="fill", fill_value=0.0)
        (rows, columns), p = self.sides, self.patch
        cells = values.reshape(len(values), rows, p, columns, p, self._widest)
        return cells.transpose(0, 1, 3, 2, 4, 5).reshape(len(values), self.n_tokens, self.token_dim)

    def join(self, tokens: Float[Array, "*draws tokens dims"]) -> Float[Array, "*draws columns"]:
        """Values side by side, cell by cell, without what stands in padding: the inverse of :meth:`cut`."""
        (rows, columns), p, lead = self.sides, self.patch, tokens.shape[:-2]
        cells = tokens.reshape(math.prod(lead), rows, columns, p, p, self._widest)
        values = cells.transpose(0, 1, 3, 2, 4, 5).reshape(*lead, self.n_tokens * self.token_dim)
        if self.own is None:
            return values
        slots = np.flatnonzero(self._column_of_slot < sum(self.cell_dims))
        return jnp.take(values, slots, axis=-1, mode="clip", unique_indices=True, indices_are_sorted=True)

    def normalized(self, tokens: Float[Array, "n tokens dims"]) -> Float[Array, "n tokens dims"]:
        """Tokens of mean 0 and variance 1 over their own numbers; what stands in padding means nothing."""
        own: Any = self.own
        centred = tokens - tokens.mean(axis=-1, keepdims=True, where=own)
        return centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True, where=own) + 1e-6)

    def hidden(self, masked: Bool[Array | np.ndarray, "n cells"]) -> Bool[Array | np.ndarray, "n tokens"]:
        """Which tokens a mask of whole tokens hides."""
        return masked[:, self.cells_of_token[:, 0]]

    def visible(self, masked: Bool[Array, "n cells"], n: int) -> tuple[Int[Array, "n v"], Bool[Array, "n v"]]:
        """Positions of ``n`` tokens, the visible ones first, row by row; and which of them are visible."""
        hidden = self.hidden(masked)
        places = jnp.argsort(hidden, axis=1, stable=True)[:, :n]
        return places, ~jnp.take_along_axis(hidden, places, axis=1)

    def check_whole(self, labels: Int[np.ndarray, "*rows cells"] | Bool[np.ndarray, "*rows cells"]) -> None:
        """Check that all cells of a token have the same label: its patch, or whether it is masked.

        Raises:
            ValueError: they differ.
        """
        in_token = labels[..., self.cells_of_token]
        if (in_token != in_token[..., :1]).any():
            raise ValueError(
                f"the mask cuts through the network's tokens of {self.patch} x {self.patch} cells: "
                f"use masking units made of whole tokens, or a smaller patch"
            )
