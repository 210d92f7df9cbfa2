"""Strategies with a shape: rectangles and lattices on the grid, and whole subtrees of the graph."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, whole_number
from hlvm.graph import LatentGraph
from hlvm.masking.laws import Counted, LawfulMask, Listed
from hlvm.masking.masks import checked_ratio
from hlvm.masking.patches import Patches, blocks_along, checked_unit, normal_unit
from hlvm.masking.strategies import RandomMask

__all__ = ["BlockMask", "GridMask", "SubtreeMask", "unit_grid"]

_MASKS_AT_ONCE = 1024


class _MaskOfRegions(LawfulMask):
    """Strategies that hide, or show, the units in some rows and some columns, at a place drawn along each axis."""

    unit: int | tuple[int, int]
    _shows: ClassVar[bool] = False

    @abstractmethod
    def _places(self, graph: LatentGraph) -> list[Bool[np.ndarray, "places side"]]:
        """Along each axis, which units are covered at each place."""

    @abstractmethod
    def _description(self, graph: LatentGraph, units: str) -> str:
        """The law in words; ``units`` is what several masking units are called."""

    def law(self, graph: LatentGraph) -> Listed:
        """The masks of all places, row by row.

        Raises:
            ValueError: as in :meth:`sample`.
        """
        covered, patches = self._places(graph), Patches.blocks(graph, self.unit)
        widths = [at_places.sum(axis=1) for at_places in covered]
        fewest, most = (math.prod(int(extreme(n)) for n in widths) * len(patches.groups[0]) for extreme in (min, max))
        n_masks = math.prod(map(len, covered))

        def parts() -> Iterator[Bool[np.ndarray, "n n_observed"]]:
            for begin in range(0, n_masks, _MASKS_AT_ONCE):
                first, second = np.divmod(np.arange(begin, min(begin + _MASKS_AT_ONCE, n_masks)), len(covered[1]))
                yield self._to_cells(covered[0][first], covered[1][second], np)

        return Listed(
            patches=patches,
            n_masks=n_masks,
            hidden=(graph.n_observed - most, graph.n_observed - fewest) if self._shows else (fewest, most),
            description=self._description(graph, patches.name),
            parts=parts,
        )

    def sample(self, key: Any, n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks; works under jit with a traced key.

        Args:
            key: a JAX key or an int.
            n: number of masks.
            graph: the graph whose observed variables are masked; it has a grid.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: the graph has no grid, the unit does not divide it, or the strategy does not fit the grid of
                units.
        """
        drawn = [
            jnp.asarray(at_places)[jax.random.randint(axis_key, (n, 1), 0, len(at_places))[:, 0]]
            for axis_key, at_places in zip(jax.random.split(checked_key(key)), self._places(graph), strict=True)
        ]
        return self._to_cells(drawn[0], drawn[1], jnp)

    def _to_cells(self, rows: Any, columns: Any, numpy: Any) -> Any:
        """Masks of cells, row by row, from the rows and the columns of units that are covered."""
        units = (rows[:, :, None] & columns[:, None, :]) ^ self._shows
        tall, wide = checked_unit(self.unit)
        return numpy.repeat(numpy.repeat(units, tall, axis=1), wide, axis=2).reshape(len(units), -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockMask(_MaskOfRegions):
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

    def _places(self, graph: LatentGraph) -> list[Bool[np.ndarray, "places side"]]:
        covered = []
        for side, length in zip(unit_grid(graph, self.unit), self.rectangle(graph), strict=True):
            place, begin = np.arange(side), np.arange(side - length + 1)[:, None]
            covered.append((place >= begin) & (place < begin + length))
        return covered

    def _description(self, graph: LatentGraph, units: str) -> str:
        tall, wide = self.rectangle(graph)
        return f"a rectangle of {tall} x {wide} {units}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridMask(_MaskOfRegions):
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

    _shows: ClassVar[bool] = True
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

    def _places(self, graph: LatentGraph) -> list[Bool[np.ndarray, "places side"]]:
        sides = self.grid_of_units(graph)
        return [
            np.arange(side) % step == np.arange(step)[:, None] for side, step in zip(sides, self._steps, strict=True)
        ]

    def _description(self, graph: LatentGraph, units: str) -> str:
        down, across = self._steps
        return f"all {units} but 1 in {down} x {across}, on a lattice"

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
