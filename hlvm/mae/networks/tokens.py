"""How a grid of observed variables is cut into tokens."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph

__all__ = ["TokenGrid"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenGrid:
    """A grid of cells of equal dims, cut into square tokens row by row.

    Attributes:
        grid: rows and columns of cells.
        cell_dim: dims of each cell.
        patch: cells along each side of a token.
    """

    grid: tuple[int, int]
    cell_dim: int
    patch: int

    @classmethod
    def of(cls, graph: LatentGraph, patch: int) -> TokenGrid:
        """Cut the observed variables of a graph.

        Raises:
            ValueError: the graph has no grid, its cells differ in dims, or the patch does not divide the grid.
        """
        dims = {graph.dim(name) for name in graph.observed}
        if graph.grid is None:
            raise UsageError(
                "a ViT needs a graph with a grid",
                remedies={"grid": "build it with grid=(rows, columns)", "bottleneck": "use BottleneckConfig"},
            )
        if len(dims) > 1:
            raise UsageError(
                "a ViT needs observed variables of equal dims", remedies={"bottleneck": "use BottleneckConfig"}
            )
        if any(side % patch for side in graph.grid):
            raise UsageError(
                f"patch={patch} does not divide the {graph.grid[0]} x {graph.grid[1]} grid", of="ViTConfig"
            )
        return cls(grid=graph.grid, cell_dim=dims.pop(), patch=patch)

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.grid[0] // self.patch, self.grid[1] // self.patch

    @property
    def n_tokens(self) -> int:
        """Number of tokens in the whole image."""
        return self.sides[0] * self.sides[1]

    @property
    def token_dim(self) -> int:
        """Numbers per token."""
        return self.patch**2 * self.cell_dim

    @functools.cached_property
    def cells_of_token(self) -> np.ndarray:
        """Cells of each token, row by row: (tokens, patch * patch)."""
        p = self.patch
        cells = np.arange(self.grid[0] * self.grid[1]).reshape(self.sides[0], p, self.sides[1], p)
        return cells.transpose(0, 2, 1, 3).reshape(-1, p * p)

    def cut(self, values: Float[Array, "n columns"]) -> Float[Array, "n tokens dims"]:
        """Tokens of values that stand side by side, cell by cell."""
        (rows, columns), p = self.sides, self.patch
        cells = values.reshape(len(values), rows, p, columns, p, self.cell_dim)
        return cells.transpose(0, 1, 3, 2, 4, 5).reshape(len(values), self.n_tokens, self.token_dim)

    def join(self, tokens: Float[Array, "*draws tokens dims"]) -> Float[Array, "*draws columns"]:
        """Values side by side, cell by cell: the inverse of :meth:`cut`."""
        (rows, columns), p, lead = self.sides, self.patch, tokens.shape[:-2]
        cells = tokens.reshape(math.prod(lead), rows, columns, p, p, self.cell_dim)
        return cells.transpose(0, 1, 3, 2, 4, 5).reshape(*lead, self.n_tokens * self.token_dim)

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
