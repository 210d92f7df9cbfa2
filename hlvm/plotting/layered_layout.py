"""Places for the variables of a small graph: one row per height, few crossings, parents over their children.

The method of Sugiyama, Tagawa and Toda: long edges are led through the rows between by bends, rows are ordered by the
mean place of their neighbours (barycentres) while that removes crossings, then every row takes the places nearest to
its neighbours' that keep its order and distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import isotonic_regression

from hlvm.graph import LatentGraph

__all__ = ["Layout", "layered_layout"]

_SWEEPS = 24
_BEND = 0.4
"""Distance kept by a bend, as a share of the distance between two variables."""


class Layout(NamedTuple):
    """Places of the variables and edges of a graph.

    Attributes:
        x: place along its row of each variable, in the order of ``graph.nodes``; neighbours are at least 1 apart and
            the leftmost is at 0.
        lines: one line of shape (n_points, 2) per edge, in the order of ``graph.edges``: ``(x, height)`` from parent
            to child, bent where the edge passes other rows.
        crossings: number of crossings between neighbouring rows.
    """

    x: Float[np.ndarray, " n_nodes"]
    lines: list[Float[np.ndarray, "n_points 2"]]
    crossings: int


class _Rows(NamedTuple):
    """The graph with its bends. Items are variables (below ``n_nodes``) and bends; steps join neighbouring rows."""

    rows: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]
    routes: list[list[int]]
    n_nodes: int


def layered_layout(graph: LatentGraph) -> Layout:
    """Places of all variables and lines of all edges, for graphs of some dozens of variables."""
    items = _with_bends(graph)
    crossings = _order(items)
    x = _places(items)
    x -= x[: items.n_nodes].min()
    height = np.empty(len(x))
    for level, row in enumerate(items.rows):
        height[row] = level
    lines = [np.column_stack([x[route], height[route]]) for route in items.routes]
    return Layout(x[: items.n_nodes], lines, crossings)


def _with_bends(graph: LatentGraph) -> _Rows:
    """Rows in the order of a walk from the roots down; edges of one parent share their bends."""
    n = len(graph.nodes)
    heights = list(graph.heights)
    rows: list[list[int]] = [[] for _ in range(max(heights) + 1)]
    for node in _walk(graph):
        rows[heights[node]].append(node)
    above: list[list[int]] = [[] for _ in range(n)]
    below: list[list[int]] = [[] for _ in range(n)]
    routes: list[list[int]] = []
    bends: dict[tuple[int, int], int] = {}
    for parent, child in graph.edge_indices.T.tolist():
        route = [parent]
        for level in range(heights[parent] - 1, heights[child], -1):
            if (parent, level) not in bends:
                bends[parent, level] = len(above)
                rows[level].append(len(above))
                above.append([])
                below.append([])
            route.append(bends[parent, level])
        route.append(child)
        routes.append(route)
        for upper, lower in pairwise(route):
            if lower not in below[upper]:
                below[upper].append(lower)
                above[lower].append(upper)
    return _Rows(rows, above, below, routes, n)


def _walk(graph: LatentGraph) -> list[int]:
    """All variables, family after family."""
    stack = [i for i in reversed(range(len(graph.nodes))) if not graph.parent_indices[i]]
    found: dict[int, None] = {}
    while stack:
        node = stack.pop()
        if node not in found:
            found[node] = None
            stack.extend(reversed(graph.child_indices[node]))
    return list(found)


# ---------------------------------------------------------------------- order within rows


def _order(items: _Rows) -> int:
    """Reorder the rows in place; the number of crossings left."""
    rank = np.zeros(len(items.above))

    def number(row: list[int]) -> None:
        rank[row] = np.arange(len(row)) - (len(row) - 1) / 2

    for row in items.rows:
        number(row)
    best, fewest = [list(row) for row in items.rows], None
    for sweep in range(_SWEEPS):
        upward = sweep % 2 == 0
        for row in items.rows if upward else reversed(items.rows):
            neighbours = items.below if upward else items.above
            row.sort(key=lambda i: float(np.mean(rank[neighbours[i]])) if neighbours[i] else rank[i])
            number(row)
        found = sum(_crossings(row, items.below, rank) for row in items.rows)
        if fewest is None or found < fewest:
            best, fewest = [list(row) for row in items.rows], found
        if fewest == 0:
            break
    items.rows[:] = best
    return int(fewest or 0)


def _crossings(row: Sequence[int], below: Sequence[Sequence[int]], rank: np.ndarray) -> int:
    """Pairs of steps down from one row that cross."""
    steps = [(upper, rank[lower]) for upper, item in enumerate(row) for lower in below[item]]
    if len(steps) < 2:
        return 0
    up, down = np.array(steps).T
    return int(((up[:, None] < up) & (down[:, None] > down)).sum())


# ---------------------------------------------------------------------- places


def _places(items: _Rows) -> Float[np.ndarray, " n_items"]:
    x = np.zeros(len(items.above))
    offsets = [_offsets(row, items.n_nodes) for row in items.rows]
    widest = max(range(len(items.rows)), key=lambda level: offsets[level][-1])
    for row, offset in zip(items.rows, offsets, strict=True):
        x[row] = offset - offset[-1] / 2
    up, down = range(widest + 1, len(items.rows)), range(widest - 1, -1, -1)
    for _ in range(_SWEEPS):
        for level in up:
            _settle(items.rows[level], offsets[level], items.below, x)
        for level in down:
            _settle(items.rows[level], offsets[level], items.above, x)
        # The other way round the neighbours on both sides count, so that rows far from the widest one pull as well.
        both = [[*a, *b] for a, b in zip(items.above, items.below, strict=True)]
        for level in [*reversed(down), *reversed(up), widest]:
            _settle(items.rows[level], offsets[level], both, x)
    for level in up:
        _settle(items.rows[level], offsets[level], items.below, x)
    return x


def _offsets(row: Sequence[int], n_nodes: int) -> Float[np.ndarray, " n"]:
    """Places of a row packed as tightly as allowed."""
    half = [0.5 if item < n_nodes else _BEND / 2 for item in row]
    return np.concatenate([[0.0], np.cumsum([a + b for a, b in pairwise(half)])])


def _settle(row: list[int], offset: np.ndarray, neighbours: Sequence[Sequence[int]], x: np.ndarray) -> None:
    """Move a row as near to the mean places of its neighbours as its order and distances allow."""
    wanted = [float(np.mean(x[neighbours[item]])) if neighbours[item] else x[item] for item in row]
    x[row] = isotonic_regression(np.array(wanted) - offset).x + offset
