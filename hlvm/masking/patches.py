"""Patches: which observed variables are masked together (the masking unit)."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int

from hlvm._numbers import UsageError, positive
from hlvm.graph import LatentGraph
from hlvm.masking.masks import check_observed_names

__all__ = ["Patches", "blocks_along", "checked_unit", "normal_unit", "patch_index"]


_OTHER_GROUPS = {"height": "choose another height", "groups": "list the groups yourself"}


@dataclasses.dataclass(frozen=True)
class Patches:
    """A partition of the observed variables into groups that are masked together.

    Build one with :meth:`cells`, :meth:`blocks` or :meth:`of_subtrees`, or list the groups yourself.

    Attributes:
        groups: the names in each patch. Every patch has at least one name, and no name is in two.
        name: what to call several of them in descriptions; not compared, and not kept in files.

    Raises:
        ValueError: no patches, an empty patch, something that is not a name, or a name listed twice.

    Example:
        >>> patches = Patches.blocks(LatentGraph.quadtree(2), 2)
        >>> len(patches), patches.groups[1]
        (4, ('x_0_2', 'x_0_3', 'x_1_2', 'x_1_3'))
    """

    groups: tuple[tuple[str, ...], ...]
    name: str = dataclasses.field(default="patches", compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.groups, str) or any(isinstance(group, str) for group in self.groups):
            raise ValueError(
                'patches are groups of names such as (("x1", "x2"), ("x3",)), got a string where a group goes'
            )
        object.__setattr__(self, "groups", tuple(map(tuple, self.groups)))
        if not self.groups:
            raise ValueError("patches need at least one group of observed variables")
        seen: set[str] = set()
        for group in self.groups:
            if not group:
                raise ValueError("a patch is empty: give every patch at least one observed variable")
            for name in group:
                if not isinstance(name, str):
                    raise ValueError(f"a patch lists names of observed variables, got {name!r}")
                if name in seen:
                    raise ValueError(f"{name!r} is listed twice: put every observed variable in exactly one patch")
                seen.add(name)

    def __len__(self) -> int:
        return len(self.groups)

    def __repr__(self) -> str:
        size = f"all of size {self.size}" if self.size else "of different sizes"
        return f"Patches({len(self)} patches, {size})"

    @property
    def size(self) -> int | None:
        """Observed variables per patch when all patches have equally many, else ``None``."""
        sizes = set(map(len, self.groups))
        return sizes.pop() if len(sizes) == 1 else None

    @classmethod
    def cells(cls, graph: LatentGraph) -> Patches:
        """Make every observed variable a patch of its own."""
        return cls(tuple((name,) for name in graph.observed), "cells" if graph.grid else "observed variables")

    @classmethod
    def blocks(cls, graph: LatentGraph, unit: int | tuple[int, int]) -> Patches:
        """Cut the grid of observed variables into equal blocks, row by row.

        Args:
            graph: a graph whose observed variables form a grid (``graph.grid`` is set). Blocks of one cell need none.
            unit: side of a block in cells, or ``(rows, columns)`` of a block.

        Returns:
            One patch per block; the cells of a patch are listed row by row.

        Raises:
            ValueError: the graph has no grid, or blocks of this size do not fill the grid exactly.
        """
        tall, wide = checked_unit(unit)
        if (tall, wide) == (1, 1):
            return cls.cells(graph)
        if graph.grid is None:
            raise UsageError(
                f"blocks of {tall} x {wide} need a grid and this graph has none",
                remedies={
                    "grid": "build the graph with grid=(rows, columns)",
                    "subtrees": "use Patches.of_subtrees",
                    "groups": "list the groups yourself",
                },
            )
        down, across = blocks_along(graph.grid, unit)
        cells = np.arange(down * tall * across * wide).reshape(down, tall, across, wide)
        in_block = cells.transpose(0, 2, 1, 3).reshape(-1, tall * wide).tolist()
        groups = tuple(tuple(graph.observed[cell] for cell in block) for block in in_block)
        return cls(groups, f"units of {tall} x {wide} cells")

    @classmethod
    def of_subtrees(cls, graph: LatentGraph, height: int) -> Patches:
        """Make one patch of the observed descendants of each latent at a given height.

        Args:
            graph: a graph in which those descendants partition the observed variables.
            height: height of the latents; 0 gives :meth:`cells`.

        Returns:
            One patch per latent of that height, in the order of ``graph.latents``.

        Raises:
            ValueError: no latent has this height, two of them share an observed descendant, or an
                observed variable is below none of them.
        """
        if height == 0:
            return cls.cells(graph)
        top = max(graph.heights)
        if height not in range(1, top + 1):
            raise UsageError(f"must be a whole number from 0 to {top}, got {height!r}", argument="height")
        owner: dict[str, str] = {}
        groups: list[tuple[str, ...]] = []
        for latent, latent_height in zip(graph.latents, graph.heights, strict=False):
            if latent_height != height:
                continue
            group = tuple(graph.observed[x] for x in graph.arrays.observed_below(graph.index[latent]).tolist())
            for name in group:
                if owner.setdefault(name, latent) != latent:
                    raise UsageError(
                        f"{name!r} is below both {owner[name]!r} and {latent!r}: subtrees of height {height} overlap",
                        remedies=_OTHER_GROUPS,
                    )
            groups.append(group)
        missing = next((name for name in graph.observed if name not in owner), None)
        if missing is not None:
            raise UsageError(f"{missing!r} is below no latent of height {height}", remedies=_OTHER_GROUPS)
        return cls(tuple(groups), f"subtrees of height {height}")

    def index(self, graph: LatentGraph) -> Int[np.ndarray, " n_observed"]:
        """Patch of each observed variable, as a position in :attr:`groups`.

        Args:
            graph: the graph whose observed variables these patches partition.

        Returns:
            Int array of shape (n_observed,), in the order of ``graph.observed``; values 0 to
            ``len(self) - 1``.

        Raises:
            ValueError: a patch lists a latent or an unknown name, or an observed variable is in no
                patch.
        """
        patch_of = {name: patch for patch, group in enumerate(self.groups) for name in group}
        try:
            index = np.fromiter((patch_of[name] for name in graph.observed), dtype=np.int64)
        except KeyError as missing:
            raise ValueError(
                f"observed variable {missing.args[0]!r} is in no patch: put every observed variable in exactly one"
            ) from None
        if len(patch_of) > len(index):
            check_observed_names(graph, patch_of, "patches")
        return index


def patch_index(graph: LatentGraph, patches: Patches | None) -> Int[np.ndarray, " n_observed"]:
    """Patch of each observed variable; ``None`` makes every observed variable a patch.

    Raises:
        ValueError: not patches, or patches that do not fit the graph.
    """
    if patches is None:
        return np.arange(graph.n_observed)
    if not isinstance(patches, Patches):
        raise ValueError(
            f"patches must be Patches, such as Patches.blocks(graph, 2) or Patches(groups), got {patches!r}"
        )
    return patches.index(graph)


def normal_unit(unit: int | tuple[int, int]) -> int | tuple[int, int]:
    """A masking unit as given, in whole numbers of Python, after :func:`checked_unit`."""
    rows, columns = checked_unit(unit)
    return (rows, columns) if isinstance(unit, tuple | list) else rows


def checked_unit(unit: int | tuple[int, int], what: str = "unit") -> tuple[int, int]:
    """Both lengths of a unit along the grid, given as one whole number of at least 1, or two; others are refused."""
    sides = unit if isinstance(unit, tuple | list) else (unit, unit)
    try:
        rows, columns = (positive(side, what) for side in sides)
    except ValueError:
        raise UsageError(
            f"must be a whole number of at least 1, or two of them (rows, columns), got {unit!r}", argument=what
        ) from None
    return rows, columns


def blocks_along(grid: tuple[int, int], unit: int | tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of blocks, which must fill a grid exactly."""
    (rows, columns), (tall, wide) = grid, checked_unit(unit)
    if rows % tall or columns % wide:
        raise ValueError(
            f"blocks of {tall} x {wide} do not fill the {rows} x {columns} grid: choose a unit whose sides "
            f"divide it ({_divisors(rows)} for rows, {_divisors(columns)} for columns)"
        )
    return rows // tall, columns // wide


def _divisors(number: int) -> str:
    return ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)
