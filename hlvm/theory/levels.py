"""The graph as arrays, one level of equal height at a time, so that work is done for whole levels at once."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from hlvm.graph import LatentGraph

__all__ = ["Level", "levels", "reached"]


class Level(NamedTuple):
    """All latents of one height, with their children; positions refer to ``graph.nodes``.

    Attributes:
        parents: shape (n,), the latents of this height.
        children: shape (n_edges,), their children, parent after parent.
        starts: shape (n,), where each parent's children begin in ``children``.
        parent_of: shape (n_edges,), the parent of each entry of ``children``.
    """

    parents: Int[np.ndarray, " n"]
    children: Int[np.ndarray, " n_edges"]
    starts: Int[np.ndarray, " n"]
    parent_of: Int[np.ndarray, " n_edges"]

    def fold(self, operation: np.ufunc, at_children: Shaped[np.ndarray, "n_edges ..."]) -> Shaped[np.ndarray, "n ..."]:
        """Combine the values of each parent's children, one row per parent.

        Equal numbers of children, as in regular trees, allow a reduction several times as fast.
        """
        width, rest = divmod(len(self.children), len(self.parents))
        if rest == 0 and (self.starts == width * np.arange(len(self.parents))).all():
            return operation.reduce(at_children.reshape(len(self.parents), width, *at_children.shape[1:]), axis=1)
        return operation.reduceat(at_children, self.starts, axis=0)


@lru_cache(maxsize=16)
def levels(graph: LatentGraph) -> tuple[Level, ...]:
    """The latents of a graph by height, lowest first: every child of a level lies in an earlier one."""
    counts = np.fromiter(map(len, graph.child_indices), dtype=np.int64)
    children = np.fromiter(chain.from_iterable(graph.child_indices), dtype=np.int64)
    heights = np.asarray(graph.heights)
    parent_of = np.repeat(np.arange(len(counts)), counts)
    by_height = np.argsort(heights[parent_of], kind="stable")
    edges_up_to = np.cumsum(np.bincount(heights, weights=counts).astype(np.int64))
    found = []
    for height in range(1, len(edges_up_to)):
        edges = by_height[edges_up_to[height - 1] : edges_up_to[height]]
        parents, starts = np.unique(parent_of[edges], return_index=True)
        found.append(Level(parents, children[edges], starts, parent_of[edges]))
    return tuple(found)


def reached(graph: LatentGraph, at_observed: Shaped[np.ndarray, "n_observed ..."]) -> Shaped[np.ndarray, "n_nodes ..."]:
    """For every node, the bitwise OR of the values at the observed variables that it reaches.

    Args:
        graph: any graph.
        at_observed: bits per observed variable, of an integer or boolean type; more axes may follow.

    Returns:
        The same type, with one row per node of ``graph.nodes``; an observed variable reaches itself.
    """
    n_latents = len(graph.nodes) - len(at_observed)
    values = np.empty((len(graph.nodes), *at_observed.shape[1:]), dtype=at_observed.dtype)
    values[n_latents:] = at_observed
    for level in levels(graph):
        values[level.parents] = level.fold(np.bitwise_or, values[level.children])
    return values
