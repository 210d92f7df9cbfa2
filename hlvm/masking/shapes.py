"""Strategies with a shape: rectangles and lattices on the grid, and whole subtrees of the graph."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, whole_number
from hlvm.graph import LatentGraph
from hlvm.masking.laws import Counted, LawfulMask, Listed
from hlvm.masking.masks import checked_ratio
from hlvm.masking.patches import Patches, blocks_along, checked_unit, normal_unit
from hlvm.masking.strategies import RandomMask

__all__ = ["BlockMask", "GridMask", "SubtreeMask", "unit_grid"]

_MASKS_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockMask:
    """Mask one rectangle of masking units, at a place chosen uniformly among those where it fits inside the grid.

    On a grid of ``R x C`` units the rectangle is ``h`` units tall and ``w`` wide, with the proportions of the grid and
    as close to the ratio as whole numbers allow after ``h`` is rounded: ``h = round(R * sqrt(ratio))``, then
    ``w = round(ratio * R * C / h)``, both rounded halves up and clipped to at least 1 and at most the grid; see
    :meth:`rectangle`. It does not wrap around, so units at the border are masked less often than those in the middle.

    Attributes:
        ratio: share of the grid that the rectangle covers, about; strictly between 0 and 1.
        unit: side of a square masking unit in cells, or its ``(rows, columns)``.

    Raises:
        ValueError: a ratio outside (0, 1), or a unit below 1.
    """

    ratio: float
    unit: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", checked_ratio(self.ratio))
        object.__setattr__(self, "unit", normal_unit(self.unit))

    def rectangle(self, graph: LatentGraph) -> tuple[int, int]:
        """Height and width of the rectangle in masking units.

        Raises:
            ValueError: the graph has no grid, the unit does not divide it, or the rectangle would fill it.
        """
        rows, columns = unit_grid(graph, self.unit)
        tall = min(max(math.floor(rows * math.sqrt(self.ratio) + 0.5), 1), rows)
        wide = min(max(math.floor(self.ratio * rows * columns / tall + 0.5), 1), columns)
        if (tall, wide) == (rows, columns):
            raise ValueError(
                f"ratio {self.ratio} of {rows} x {columns} units makes the rectangle as large as the grid: "
                "nothing would be visible; use a smaller ratio or a smaller unit"
            )
        return tall, wide

    def law(self, graph: LatentGraph) -> Listed:
        """All places of the rectangle, row by row.

        Raises:
            ValueError: as in :meth:`rectangle`.
        """
        lengths = self.rectangle(graph)
        inside = []
        for side, length in zip(unit_grid(graph, self.unit), lengths, strict=True):
            place, begin = np.arange(side), np.arange(side - length + 1)[:, None]
            inside.append((place >= begin) & (place < begin + length))
        return _listed(graph, self.unit, inside, lambda units: f"a rectangle of {lengths[0]} x {lengths[1]} {units}")

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks; works under jit with a traced key.

        Args:
            key: a JAX key or an int.
            n: number of masks.
            graph: the graph whose observed variables are masked; it has a grid.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked. Every row masks the same
            number of observed variables.

        Raises:
            ValueError: as in :meth:`rectangle`.
        """
        sides, lengths = unit_grid(graph, self.unit), self.rectangle(graph)
        inside = [
            _within(jax.random.randint(axis_key, (n, 1), 0, side - length + 1), length, side)
            for axis_key, side, length in zip(jax.random.split(checked_key(key)), sides, lengths, strict=True)
        ]
        return _to_cells(inside[0][:, :, None] & inside[1][:, None, :], self.unit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridMask:
    """Keep every k-th masking unit visible along rows and columns, and mask the rest; the lattice is shifted at random.

    A unit in row ``i`` and column ``j`` of units is visible if ``i % k_rows == a`` and ``j % k_columns == b``, with the
    shift ``(a, b)`` uniform over its ``k_rows * k_columns`` values. About one unit in ``k_rows * k_columns`` is
    visible, exactly one where ``keep_every`` divides the grid.

    Attributes:
        keep_every: ``k`` for both directions, or ``(k_rows, k_columns)``; at least 1, and not 1 for both.
        unit: side of a square masking unit in cells, or its ``(rows, columns)``.

    Raises:
        ValueError: ``keep_every`` or ``unit`` out of range.
    """

    keep_every: int | tuple[int, int]
    unit: int | tuple[int, int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", normal_unit(self.unit))
        if self._steps == (1, 1):
            raise UsageError(
                "must be at least 2 in one direction, got 1: it keeps every unit, so nothing would be masked",
                argument="keep_every",
            )

    @property
    def _steps(self) -> tuple[int, int]:
        return checked_unit(self.keep_every, "keep_every")

    def law(self, graph: LatentGraph) -> Listed:
        """All shifts of the lattice, row by row.

        Raises:
            ValueError: as in :meth:`grid_of_units`.
        """
        sides, (down, across) = self.grid_of_units(graph), self._steps
        kept = [
            np.arange(side) % step == np.arange(step)[:, None] for side, step in zip(sides, (down, across), strict=True)
        ]
        words = f"but 1 in {down} x {across}, on a lattice"
        return _listed(graph, self.unit, kept, lambda units: f"all {units} {words}", show=True)

    def grid_of_units(self, graph: LatentGraph) -> tuple[int, int]:
        """Rows and columns of masking units.

        Raises:
            ValueError: the graph has no grid, the unit does not divide it, or ``keep_every`` is larger than it.
        """
        sides = unit_grid(graph, self.unit)
        if any(step > side for side, step in zip(sides, self._steps, strict=True)):
            raise UsageError(
                f"must not be larger than the {sides[0]} x {sides[1]} grid of units, or some shifts leave nothing "
                f"visible, got {self.keep_every!r}: use a smaller step or a smaller unit",
                argument="keep_every",
            )
        return sides

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks; works under jit with a traced key.

        Args:
            key: a JAX key or an int.
            n: number of masks.
            graph: the graph whose observed variables are masked; it has a grid.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: the graph has no grid, the unit does not divide it, or ``keep_every`` is larger than it.
        """
        sides = self.grid_of_units(graph)
        kept = [
            jnp.arange(side)[None] % step == jax.random.randint(axis_key, (n, 1), 0, step)
            for axis_key, side, step in zip(jax.random.split(checked_key(key)), sides, self._steps, strict=True)
        ]
        return _to_cells(~(kept[0][:, :, None] & kept[1][:, None, :]), self.unit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubtreeMask(LawfulMask):
    """Mask a fixed share of the subtrees of a height, chosen uniformly at random.

    The masking units are the observed descendants of each latent of that height, which must partition the observed
    variables; see :meth:`~hlvm.masking.Patches.of_subtrees`. On one graph,
    ``RandomMask(ratio=..., patches=Patches.of_subtrees(graph, height))`` draws the same masks.

    Attributes:
        height: height of the latents; 0 masks observed variables one by one.
        ratio: share of the subtrees to mask, strictly between 0 and 1; see :func:`~hlvm.masking.count_masked`.

    Raises:
        ValueError: a ratio outside (0, 1).
    """

    height: int
    ratio: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "height", whole_number(self.height, "height", minimum=0))
        object.__setattr__(self, "ratio", checked_ratio(self.ratio))

    def law(self, graph: LatentGraph) -> Counted:
        """So many subtrees at random.

        Raises:
            ValueError: no latent has this height, subtrees overlap or leave observed variables out, or the ratio
                rounds to nothing masked or nothing visible.
        """
        return RandomMask(ratio=self.ratio, patches=Patches.of_subtrees(graph, self.height)).law(graph)


def unit_grid(graph: LatentGraph, unit: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of masking units on a grid, at least two units in all.

    Args:
        graph: a graph with a grid.
        unit: side of a square masking unit in cells, or its ``(rows, columns)``.

    Raises:
        ValueError: the graph has no grid, the unit does not divide it, or it is all of it.
    """
    if graph.grid is None:
        raise UsageError(
            "this strategy masks regions of a grid and this graph has none",
            remedies={
                "grid": "build the graph with grid=(rows, columns)",
                "strategy": "use RandomMask, BernoulliMask or SubtreeMask",
            },
        )
    rows, columns = blocks_along(graph.grid, unit)
    if rows * columns < 2:
        raise ValueError("a mask needs at least 2 masking units (one masked, one visible), got 1: use a smaller unit")
    return rows, columns


def _within(start: Int[Array, "n 1"], length: int, side: int) -> Bool[Array, "n side"]:
    """Which of ``side`` places lie in the stretch of a length that begins at ``start``."""
    place = jnp.arange(side)[None]
    return (place >= start) & (place < start + length)


def _to_cells(units: Bool[Array, "n rows columns"], unit: int | tuple[int, int]) -> Bool[Array, "n n_observed"]:
    """Give every cell, row by row, the value of its masking unit."""
    tall, wide = checked_unit(unit)
    return jnp.repeat(jnp.repeat(units, tall, axis=1), wide, axis=2).reshape(len(units), -1)


def _listed(
    graph: LatentGraph,
    unit: int | tuple[int, int],
    inside: list[Bool[np.ndarray, "n side"]],
    describe: Callable[[str], str],
    *,
    show: bool = False,
) -> Listed:
    """The law of masks that hide, or show, the units in some rows and some columns, for every choice of both."""
    patches = Patches.blocks(graph, unit)
    n_inside = [on_axis.sum(axis=1) for on_axis in inside]
    fewest, most = (math.prod(int(extreme(n)) for n in n_inside) * len(patches.groups[0]) for extreme in (min, max))
    n_masks = math.prod(map(len, inside))

    def parts() -> Iterator[Bool[np.ndarray, "n n_observed"]]:
        for begin in range(0, n_masks, _MASKS_AT_ONCE):
            first, second = np.divmod(np.arange(begin, min(begin + _MASKS_AT_ONCE, n_masks)), len(inside[1]))
            units = inside[0][first][:, :, None] & inside[1][second][:, None, :]
            tall, wide = checked_unit(unit)
            yield np.repeat(np.repeat(units ^ show, tall, axis=1), wide, axis=2).reshape(len(units), -1)

    return Listed(
        patches=patches,
        n_masks=n_masks,
        hidden=(graph.n_observed - most, graph.n_observed - fewest) if show else (fewest, most),
        description=describe(patches.name),
        parts=parts,
    )
