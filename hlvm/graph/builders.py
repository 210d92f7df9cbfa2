"""Parts of graphs: from edges, from an array of parents, and of regular trees.

Each function does the work of the class method of ``LatentGraph`` with its name, which tells what the arguments mean.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import mul
from typing import Any, TypeAlias

import numpy as np

from hlvm._numbers import positive, whole_number
from hlvm.graph.arrays import GraphArrays
from hlvm.graph.checks import (
    Grid,
    checked_dim,
    checked_edges,
    checked_grid,
    checked_observed,
    per_node,
    placed_cells,
    topological_order,
)

__all__ = ["NumberedNames", "Parts", "from_edges", "from_parents", "grid_names", "quadtree", "tree"]

Parts: TypeAlias = tuple[Sequence[str], GraphArrays, tuple[int, int] | None]
"""Names, arrays and grid: what ``LatentGraph`` is made from."""

_MOST_VARIABLES = 2**24
"""Variables of a tree whose names, parents and dims still fit in a few gigabytes."""


@dataclasses.dataclass(frozen=True)
class NumberedNames(Sequence[str]):
    """Latents ``z_0``, ``z_1``, ..., then observed variables ``x_0``, ``x_1``, ..., written when they are asked for.

    100,000 names take longer to write than most questions about a graph of this size take to answer.
    """

    n_latents: int
    n_nodes: int

    def __len__(self) -> int:
        return self.n_nodes

    def __getitem__(self, position: Any) -> Any:
        places = range(self.n_nodes)[position]
        return self.at([places])[0] if isinstance(places, int) else tuple(self.at(places))

    def __iter__(self) -> Iterator[str]:
        return iter(self.at(range(self.n_nodes)))

    def at(self, positions: Iterable[int]) -> list[str]:
        """The names at these positions, which are not negative."""
        n = self.n_latents
        return [f"z_{i}" if i < n else f"x_{i - n}" for i in positions]


def from_edges(
    edges: Iterable[tuple[str, str]],
    *,
    noise_dims: int | Mapping[str, int],
    dims: int | Mapping[str, int] | None,
    observed: Sequence[str] | None,
    grid: Grid | None,
) -> Parts:
    """See ``LatentGraph.from_edges``."""
    edge_list = checked_edges(edges)
    order: dict[str, None] = {}
    parents: dict[str, list[str]] = {}
    children: dict[str, list[str]] = {}
    for parent, child in edge_list:
        order.setdefault(parent)
        order.setdefault(child)
        parents.setdefault(child, []).append(parent)
        children.setdefault(parent, []).append(child)
    sinks = [name for name in order if name not in children]
    sinks = checked_observed(sinks, observed, order, children)
    size, sinks = placed_cells(grid, sinks, in_this_order=observed is not None)
    names = topological_order(order, parents, children, sinks)
    position = dict(zip(names, range(len(names)), strict=True))
    parent_indices = tuple(tuple(position[p] for p in parents.get(name, ())) for name in names)
    noise = per_node(noise_dims, names, "noise_dims", minimum=0)
    if dims is None:
        sizes: list[int] = []
        for name, above, own in zip(names, parent_indices, noise, strict=True):
            if not above and own < 1:
                raise ValueError(f"the root {name!r} has noise_dims=0: a root is its own noise, so give it at least 1")
            sizes.append(checked_dim(own + sum(sizes[p] for p in above), repr(name)))
    else:
        sizes = per_node(dims, names, "dims", minimum=1)
        noise = [size if not above else own for size, own, above in zip(sizes, noise, parent_indices, strict=True)]
    return tuple(names), GraphArrays.of(parent_indices, sizes, noise), size


def from_parents(
    parents: Any, *, names: Sequence[str] | None, root_dim: int, noise_dim: int, grid: Grid | None
) -> Parts:
    """See ``LatentGraph.from_parents``."""
    above = np.asarray(parents)
    if above.ndim != 1 or above.dtype.kind not in "iu" or not len(above):
        raise ValueError(
            f"parents must be one whole number per node, got an array of shape {above.shape} and type {above.dtype}"
        )
    above = above.astype(np.int64)
    positions = np.arange(len(above))
    in_order = above < positions
    if not in_order.all() or above.min() < -1:
        wrong = np.flatnonzero(~in_order | (above < -1))
        raise ValueError(
            f"the parent of node {wrong[0]} is {above[wrong[0]]}: expected -1 for a root, or the position of an "
            "earlier node (list parents before their children)"
        )
    n_latents = int(above.max()) + 1
    has_children = np.zeros(len(above) + 1, dtype=bool)
    has_children[above] = True  # roots mark the last entry
    if not has_children[:n_latents].all():
        raise ValueError(
            f"node {np.flatnonzero(~has_children)[0]} has no children but comes before a node that has some: "
            "list the leaves (observed variables) last"
        )
    bare = np.flatnonzero(above[n_latents:] < 0)
    if len(bare):
        raise ValueError(f"node {n_latents + bare[0]} has neither parent nor children: connect it or leave it out")
    arrays = _forest(above, positions, n_latents, root_dim, noise_dim)
    if names is None:
        return NumberedNames(n_latents, len(above)), arrays, checked_grid(grid, len(above) - n_latents)
    given = _checked_names(names, len(above))
    size, _ = placed_cells(grid, given[n_latents:], in_this_order=True)
    return tuple(given), arrays, size


def _forest(above: np.ndarray, nodes: np.ndarray, n_latents: int, root_dim: int, noise_dim: int) -> GraphArrays:
    """The arrays of trees, from the position of each node's parent, with the dims of invertible mechanisms."""
    root_dim, noise_dim = positive(root_dim, "root_dim"), whole_number(noise_dim, "noise_dim", minimum=0)
    depth = _depths(above[:n_latents])
    checked_dim(root_dim + (int(depth.max()) + 1) * noise_dim, "a leaf of this tree")
    dims = np.empty(len(above), dtype=np.int64)
    dims[:n_latents] = depth
    np.take(depth, above[n_latents:], out=dims[n_latents:])
    dims[n_latents:] += 1
    dims *= noise_dim
    dims += root_dim
    roots = np.flatnonzero(above[:n_latents] < 0)
    noise_dims = np.full(len(above), noise_dim)
    noise_dims[roots] = root_dim
    parents, children = (ends[1:] if len(roots) == 1 else np.delete(ends, roots) for ends in (above, nodes))
    return GraphArrays(n_nodes=len(above), parents=parents, children=children, dims=dims, noise_dims=noise_dims)


def _checked_names(names: Sequence[str], n: int) -> list[str]:
    given = [names] if isinstance(names, str) else list(names)
    if len(given) != n:
        raise ValueError(f"names lists {len(given)} names for {n} nodes: give one for each")
    odd = next((name for name in given if not isinstance(name, str) or not name), None)
    if odd is not None:
        raise ValueError(f"a variable's name is a non-empty string, got {odd!r}")
    if len(set(given)) != n:
        seen: set[str] = set()
        repeated = next(name for name in given if name in seen or seen.add(name))
        raise ValueError(f"names lists {repeated!r} twice: every variable needs its own name")
    return given


def _depths(parents: np.ndarray) -> np.ndarray:
    """Edges between each node and its root, by doubling the distance looked up in each round."""
    jump = np.where(parents < 0, np.arange(len(parents)), parents)
    depth = (parents >= 0).astype(np.int64)
    while True:
        further = depth[jump]
        if not further.any():
            return depth
        depth += further
        jump = jump[jump]


def tree(branching: int | Sequence[int], height: int | None, *, root_dim: int, noise_dim: int) -> Parts:
    """See ``LatentGraph.tree``."""
    if isinstance(branching, str) or not isinstance(branching, Sequence):
        count = positive(branching, "branching")
        if height is None:
            raise ValueError("tree(branching, height): give the height when branching is one number")
        per_level = [count] * positive(height, "height")
    else:
        per_level = [positive(count, "branching") for count in branching]
        if height is not None and height != len(per_level):
            raise ValueError(
                f"height={height} but branching lists {len(per_level)} levels: leave height out, or make them agree"
            )
    if not per_level:
        raise ValueError("a tree needs at least one level below the root: height must be at least 1")
    _check_size(accumulate(per_level, mul, initial=1))
    levels = [[f"z{len(per_level)}_0"]]
    parent_of: list[np.ndarray] = []
    for depth, count in enumerate(per_level, start=1):
        below, width = len(per_level) - depth, len(levels[-1]) * count
        prefix = f"z{below}_" if below else "x_"
        parent_of.append(np.arange(width) // count)
        levels.append([f"{prefix}{i}" for i in range(width)])
    return _from_levels(levels, parent_of, root_dim=root_dim, noise_dim=noise_dim)


def quadtree(height: int, *, root_dim: int, noise_dim: int) -> Parts:
    """See ``LatentGraph.quadtree``."""
    height = positive(height, "height")
    _check_size(4**depth for depth in range(min(height, 64) + 1))
    levels = [[f"z{height}_0_0"]]
    parent_of: list[np.ndarray] = []
    for depth in range(1, height + 1):
        side, below = 2**depth, height - depth
        prefix = f"z{below}_" if below else "x_"
        half = np.arange(side) // 2
        parent_of.append((half[:, None] * (side // 2) + half).reshape(-1))
        levels.append(grid_names(prefix, side, side))
    return _from_levels(levels, parent_of, root_dim=root_dim, noise_dim=noise_dim, grid=(2**height, 2**height))


def _check_size(widths: Iterable[int]) -> None:
    total = 0
    for width in widths:
        total += width
        if total > _MOST_VARIABLES:
            raise ValueError(
                f"this tree would have more than {_MOST_VARIABLES:,} variables: use a lower height, or "
                "LatentGraph.from_parents, which needs less memory"
            )


def grid_names(prefix: str, rows: int, columns: int) -> list[str]:
    """``{prefix}{row}_{column}`` for every cell of a grid, row by row."""
    ends = [str(column) for column in range(columns)]
    return [begin + end for begin in [f"{prefix}{row}_" for row in range(rows)] for end in ends]


def _from_levels(
    levels: list[list[str]],
    parent_of: list[np.ndarray],
    *,
    root_dim: int,
    noise_dim: int,
    grid: tuple[int, int] | None = None,
) -> Parts:
    """Assemble a tree from its levels; ``parent_of`` has, per level but the first, positions in the level above."""
    starts = np.cumsum([0, *map(len, levels)])
    above = np.concatenate([[-1], *(parents + start for parents, start in zip(parent_of, starts, strict=False))])
    return (
        tuple(chain.from_iterable(levels)),
        _forest(above, np.arange(len(above)), int(starts[-2]), root_dim, noise_dim),
        grid,
    )
