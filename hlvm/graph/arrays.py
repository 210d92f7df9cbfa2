"""The structure of a latent graph as arrays, so that work is done for whole levels at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property, reduce
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from hlvm.graph.checks import LARGEST_DIM

__all__ = ["GraphArrays", "Level", "with_all_beyond"]

_WIDEST_FOLD = 16
"""Children per parent up to which they are combined one after the other, for all parents of a level at once."""

_ROUNDS = 64
"""Levels that heights are found by before one step per edge is quicker."""


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """All latents of one height, with their children; positions refer to ``graph.nodes``.

    Attributes:
        parents: shape (n,), the latents of this height.
        children: shape (n_edges,), their children, parent after parent.
        starts: shape (n,), where each parent's children begin in ``children``.
        width: number of children if all of them have equally many, else 0.
    """

    parents: Int[np.ndarray, " n"]
    children: Int[np.ndarray, " n_edges"]
    starts: Int[np.ndarray, " n"]
    width: int

    @cached_property
    def place(self) -> Int[np.ndarray, " n_edges"]:
        """For each entry of ``children``, the position of its parent in ``parents``."""
        if self.width:
            return np.repeat(np.arange(len(self.parents)), self.width)
        return np.repeat(np.arange(len(self.parents)), np.diff(self.starts, append=len(self.children)))

    def fold(self, operation: np.ufunc, at_children: Shaped[np.ndarray, "n_edges ..."]) -> Shaped[np.ndarray, "n ..."]:
        """Combine the values of each parent's children, one row per parent.

        Equal numbers of children, as in regular trees, allow a reduction several times as fast.
        """
        if not self.width:
            return operation.reduceat(at_children, self.starts, axis=0)
        by_parent = at_children.reshape(len(self.parents), self.width, *at_children.shape[1:])
        if self.width > _WIDEST_FOLD:
            return operation.reduce(by_parent, axis=1)
        return reduce(operation, (by_parent[:, i] for i in range(self.width)))


@dataclasses.dataclass(frozen=True, eq=False)
class GraphArrays:
    """The structure of a graph; positions refer to ``graph.nodes``. Treat the arrays as read-only.

    Attributes:
        n_nodes: number of variables.
        parents: shape (n_edges,), the parent of every edge; edges are sorted by child, each child's in order.
        children: shape (n_edges,), the child of every edge.
        dims: shape (n_nodes,).
        noise_dims: shape (n_nodes,).
    """

    n_nodes: int
    parents: Int[np.ndarray, " n_edges"]
    children: Int[np.ndarray, " n_edges"]
    dims: Int[np.ndarray, " n_nodes"]
    noise_dims: Int[np.ndarray, " n_nodes"]

    @classmethod
    def of(cls, parent_indices: Sequence[Sequence[int]], dims: Sequence[int], noise_dims: Sequence[int]) -> GraphArrays:
        """The arrays of a graph, from the positions of each node's parents, its dims and its noise dims.

        Raises:
            ValueError: parents that do not come before their children, observed variables that do not come last, a
                variable without edges, or dims out of range.
        """
        sizes = [len(part) for part in (parent_indices, dims, noise_dims)]
        if len(set(sizes)) > 1:
            raise ValueError(f"parent_indices, dims and noise_dims need one entry per variable, got {sizes} entries")
        counts = np.fromiter(map(len, parent_indices), dtype=np.int64, count=len(parent_indices))
        parents = np.fromiter(chain.from_iterable(parent_indices), dtype=np.int64, count=int(counts.sum()))
        children = np.repeat(np.arange(len(counts)), counts)
        _check_order(parents, children, len(counts))
        for numbers, least in ((dims, 1), (noise_dims, 0)):
            if not least <= min(numbers) <= max(numbers) <= LARGEST_DIM:
                raise ValueError(
                    f"dims lie between 1 and 2**53 - 1, noise dims from 0 on, got {min(numbers)}, {max(numbers)}"
                )
        own_dims, own_noise = (np.asarray(numbers, dtype=np.int64) for numbers in (dims, noise_dims))
        return cls(n_nodes=len(counts), parents=parents, children=children, dims=own_dims, noise_dims=own_noise)

    def __post_init__(self) -> None:
        for array in self._own:
            _protect(array)

    @property
    def _own(self) -> tuple[Int[np.ndarray, " _"], ...]:
        return self.parents, self.children, self.dims, self.noise_dims

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GraphArrays) and all(map(np.array_equal, self._own, other._own))

    def __hash__(self) -> int:
        return hash(tuple(array.tobytes() for array in self._own))

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphArrays, (self.n_nodes, *self._own)

    @cached_property
    def n_latents(self) -> int:
        """Number of latents: they come first, and the last of them has a child."""
        return int(self.parents.max()) + 1

    @cached_property
    def n_inner(self) -> int:
        """Number of edges between latents: they come first."""
        return int(np.searchsorted(self.children, self.n_latents))

    @cached_property
    def is_forest(self) -> bool:
        """Tell whether every node has at most one parent."""
        return bool((self.children[1:] != self.children[:-1]).all())

    @cached_property
    def is_root(self) -> Bool[np.ndarray, " n_nodes"]:
        """Nodes without a parent, as booleans."""
        found = np.ones(self.n_nodes, dtype=bool)
        found[self.children] = False
        return _protect(found)

    @cached_property
    def parent_tuples(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of its parents."""
        if self.is_forest and int(self.is_root.sum()) == 1:
            return ((), *zip(self.parents.tolist(), strict=True))
        return _tuples(self.parents, self.children, self.n_nodes)

    @cached_property
    def child_tuples(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of its children."""
        return _tuples(self.children[np.argsort(self.parents, kind="stable")], self.parents, self.n_nodes)

    def observed_below(self, node: int) -> Int[np.ndarray, " n_found"]:
        """Places, among the observed variables, of those below a node, increasing; one of them lies below itself."""
        found = {node}
        waiting = [node]
        while waiting:
            new = set(self.child_tuples[waiting.pop()]) - found
            found |= new
            waiting += new
        first = self.n_latents
        return np.asarray(sorted(below - first for below in found if below >= first), dtype=np.int64)

    @cached_property
    def implied_dims(self) -> Int[np.ndarray, " n_nodes"]:
        """For each node, the dim that an invertible mechanism implies: its parents' dims and its noise dim."""
        implied = self.noise_dims.copy()
        np.add.at(implied, self.children, self.dims[self.parents])
        return _protect(implied)

    @cached_property
    def first_other_dim(self) -> int | None:
        """The first node with another dim than an invertible mechanism implies; ``None`` if there is none."""
        other = np.flatnonzero(self.dims != self.implied_dims)
        return int(other[0]) if len(other) else None

    @cached_property
    def heights(self) -> Int[np.ndarray, " n_nodes"]:
        """For each node, the longest directed path down to an observed variable."""
        heights = np.zeros(self.n_nodes, dtype=np.int64)
        heights[: self.n_latents] = 1
        parents, children = self.parents[: self.n_inner], self.children[: self.n_inner]
        for height in range(1, _ROUNDS):
            higher = heights[children] == height
            parents, children = parents[higher], children[higher]
            if not len(parents):
                return _protect(heights)
            heights[parents] = height + 1
        found = heights.tolist()
        for parent, child in zip(self.parents[::-1].tolist(), self.children[::-1].tolist(), strict=True):
            found[parent] = max(found[parent], found[child] + 1)
        return _protect(np.asarray(found))

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The latents by height, lowest first: every child of a level lies in an earlier one or is observed."""
        return self._levels(self.parents, self.children)

    @cached_property
    def inner_levels(self) -> tuple[Level, ...]:
        """Like :attr:`levels`, with the children that are latents and the parents that have some."""
        return self._levels(self.parents[: self.n_inner], self.children[: self.n_inner])

    @cached_property
    def observed_parents(self) -> Int[np.ndarray, " n_observed"]:
        """The parent of each observed variable, in a graph where every node has at most one."""
        return self.parents[len(self.parents) - (self.n_nodes - self.n_latents) :]

    @cached_property
    def cell_of_column(self) -> Int[np.ndarray, " n_columns"]:
        """The observed variable of each column, where all of them stand side by side."""
        return _protect(np.repeat(np.arange(self.n_nodes - self.n_latents), self.dims[self.n_latents :]))

    @cached_property
    def observed_level(self) -> Level:
        """All latents with observed children, whatever their heights, with these children."""
        parents, children = self.parents[self.n_inner :], self.children[self.n_inner :]
        (level,) = _grouped(parents, children, np.zeros(self.n_latents, dtype=np.int64))
        return level

    def _levels(self, parents: Int[np.ndarray, " n"], children: Int[np.ndarray, " n"]) -> tuple[Level, ...]:
        return _grouped(parents, children, self.heights[: self.n_latents])

    def reached(self, at_observed: Shaped[np.ndarray, "n_observed ..."]) -> Shaped[np.ndarray, "n_nodes ..."]:
        """For every node, the bitwise OR of the values at the observed variables that it reaches.

        Args:
            at_observed: bits per observed variable, of an integer or boolean type; more axes may follow.

        Returns:
            The same type, with one row per node; an observed variable reaches itself.
        """
        values = np.empty((self.n_nodes, *at_observed.shape[1:]), dtype=at_observed.dtype)
        values[self.n_nodes - len(at_observed) :] = at_observed
        for level in self.levels:
            values[level.parents] = level.fold(np.bitwise_or, values[level.children])
        return values


def _protect(array: np.ndarray) -> np.ndarray:
    """Many parts of the package read these arrays: nobody may write into them."""
    array.flags.writeable = False
    return array


def _tuples(sorted_ends: np.ndarray, starts: np.ndarray, n_nodes: int) -> tuple[tuple[int, ...], ...]:
    """For each node, one end of the edges that have the node as their other end; ends sorted by node."""
    in_order = sorted_ends.tolist()
    stops = np.cumsum(np.bincount(starts, minlength=n_nodes)).tolist()
    return tuple(tuple(in_order[begin:end]) for begin, end in zip([0, *stops], stops, strict=False))


def with_all_beyond(starts: Iterable[int], neighbours: Sequence[Sequence[int]]) -> set[int]:
    """Some nodes and all that steps to neighbours (the parents of each, or its children) lead to from there."""
    found, waiting = set[int](), list(starts)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(neighbours[node])
    return found


def _check_order(parents: Int[np.ndarray, " n_edges"], children: Int[np.ndarray, " n_edges"], n_nodes: int) -> None:
    """Latents in topological order, then the observed variables, each with a parent."""
    if not len(parents):
        raise ValueError("a latent graph needs at least one edge from a latent to an observed variable")
    if parents.min() < 0 or (parents >= children).any():
        raise ValueError("every parent must come before its children: LatentGraph.from_edges finds such an order")
    n_latents = int(parents.max()) + 1
    if not np.bincount(parents).all():
        raise ValueError("variables with children (latents) must come before those without (observed variables)")
    if not np.bincount(children, minlength=n_nodes)[n_latents:].all():
        raise ValueError("a variable has neither parents nor children: connect it or leave it out")


def _grouped(
    parents: Int[np.ndarray, " n_edges"], children: Int[np.ndarray, " n_edges"], group_of: Int[np.ndarray, " n_latents"]
) -> tuple[Level, ...]:
    """The latents that are parents, by increasing group, with their children."""
    counts = np.bincount(parents, minlength=len(group_of))
    order = np.argsort(group_of, kind="stable")
    order = order[counts[order] > 0]
    rank = np.empty(len(group_of), dtype=np.int64)
    rank[order] = np.arange(len(order))
    children = children[np.argsort(rank[parents], kind="stable")]
    counts = counts[order]
    starts = np.concatenate([[0], np.cumsum(counts)])
    ends = np.cumsum(np.bincount(group_of[order]))
    return tuple(
        Level(
            parents=order[begin:end],
            children=children[starts[begin] : starts[end]],
            starts=starts[begin:end] - starts[begin],
            width=int(counts[begin]) if (counts[begin:end] == counts[begin]).all() else 0,
        )
        for begin, end in zip([0, *ends.tolist()], ends.tolist(), strict=False)
        if end > begin
    )
