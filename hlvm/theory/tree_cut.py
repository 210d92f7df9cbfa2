"""General regime on trees: least-dims separators by a three-state dynamic program.

Section 2 of ``docs/theory.md``. Every node is on the source side, on the sink side, or in the cut; a
child may not be on the other side than its parent; latents in the cut cost their dim. One pass up
and one pass down the tree solve it for many pairs of sides at once.

Among the least-dims cuts the one nearest the sources is found by a second-rate cost that counts what
lies beyond it: 2 for a latent on the source side, 1 for a latent in the cut, 0 on the sink side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from hlvm.graph import LatentGraph
from hlvm.theory.levels import levels

__all__ = ["is_forest", "tree_cuts"]

_SOURCE, _SINK, _CUT = np.int8(0), np.int8(1), np.int8(2)
_CELLS_AT_ONCE = 2**18
"""Nodes times pairs worked on at once, so that the tables stay in the processor's cache."""


class _Costs(NamedTuple):
    """Least cost of the subtree below each node, given the node's state; shape (n_nodes, n_pairs) each."""

    source: Int[np.ndarray, "n_nodes n_pairs"]
    sink: Int[np.ndarray, "n_nodes n_pairs"]
    cut: Int[np.ndarray, "n_nodes n_pairs"]


def is_forest(graph: LatentGraph) -> bool:
    """Whether every node has at most one parent."""
    return all(len(above) <= 1 for above in graph.parent_indices)


def tree_cuts(
    graph: LatentGraph,
    sources: Bool[np.ndarray, "n_pairs n_observed"],
    sinks: Bool[np.ndarray, "n_pairs n_observed"],
) -> tuple[Bool[np.ndarray, "n_pairs n_latents"], Bool[np.ndarray, "n_pairs n_latents"]]:
    """Least-dims separators of many pairs of observed sets, in linear time each.

    Args:
        graph: a graph in which every node has at most one parent.
        sources: one set of observed variables per row.
        sinks: the sets to separate them from, disjoint from ``sources`` row by row. Observed variables
            in neither set are left out of account.

    Returns:
        Two boolean arrays over ``graph.latents``: per pair, the least-dims separator nearest the
        sources and the one nearest the sinks. They are equal where it is unique.

    Raises:
        ValueError: the dims are too large for exact arithmetic on 64-bit integers.
    """
    near_sources = np.empty((len(sources), len(graph.latents)), dtype=bool)
    near_sinks = np.empty_like(near_sources)
    step = max(1, _CELLS_AT_ONCE // len(graph.nodes))
    for begin in range(0, len(sources), step):
        rows = slice(begin, begin + step)
        source_columns, sink_columns = (np.ascontiguousarray(side[rows].T) for side in (sources, sinks))
        near_sources[rows] = _cuts_nearest_sources(graph, source_columns, sink_columns).T
        near_sinks[rows] = _cuts_nearest_sources(graph, sink_columns, source_columns).T
    return near_sources, near_sinks


def _cuts_nearest_sources(
    graph: LatentGraph,
    sources: Bool[np.ndarray, "n_observed n_pairs"],
    sinks: Bool[np.ndarray, "n_observed n_pairs"],
) -> Bool[np.ndarray, "n_latents n_pairs"]:
    n_latents = len(graph.latents)
    cut_costs, never = _cut_costs(graph)
    costs = _costs_upwards(graph, sources, sinks, cut_costs, never)
    return _states_downwards(graph, costs, never)[:n_latents] == _CUT


def _cut_costs(graph: LatentGraph) -> tuple[Int[np.ndarray, " n_latents"], int]:
    """Cost of cutting each latent, and a cost above that of any complete labelling.

    One dim outweighs the second-rate costs of all latents together.
    """
    dims = graph.dims[: len(graph.latents)]
    one_dim = 2 * len(dims) + 1
    never = sum(dims) * one_dim + one_dim
    if never * len(graph.nodes) >= 2**63:
        raise ValueError(
            f"the latents' dims add up to {sum(dims)}, too many for exact 64-bit arithmetic on "
            f"{len(graph.nodes)} nodes: use smaller dims (a common factor does not change the separator)"
        )
    return np.asarray(dims, dtype=np.int64) * one_dim + 1, never


def _costs_upwards(
    graph: LatentGraph,
    sources: Bool[np.ndarray, "n_observed n_pairs"],
    sinks: Bool[np.ndarray, "n_observed n_pairs"],
    cut_costs: Int[np.ndarray, " n_latents"],
    never: int,
) -> _Costs:
    n_latents = len(cut_costs)
    costs = _Costs(*(np.empty((len(graph.nodes), sources.shape[1]), dtype=np.int64) for _ in range(3)))
    costs.source[n_latents:] = np.where(sinks, never, 0)
    costs.sink[n_latents:] = np.where(sources, never, 0)
    costs.cut[n_latents:] = never
    for level in levels(graph):
        source, sink, cut = (table[level.children] for table in costs)
        source_or_cut, sink_or_cut = np.minimum(source, cut), np.minimum(sink, cut)
        costs.source[level.parents] = 2 + level.fold(np.add, source_or_cut)
        costs.sink[level.parents] = level.fold(np.add, sink_or_cut)
        costs.cut[level.parents] = cut_costs[level.parents, None] + level.fold(np.add, np.minimum(source_or_cut, sink))
    return costs


def _states_downwards(graph: LatentGraph, costs: _Costs, never: int) -> np.ndarray:
    """The cheapest state of every node, roots first."""
    states = np.empty(costs.cut.shape, dtype=np.int8)
    roots = [node for node, above in enumerate(graph.parent_indices) if not above]
    states[roots] = _cheapest(costs.source[roots], costs.sink[roots], costs.cut[roots])
    for level in reversed(levels(graph)):
        above = states[level.parent_of]
        states[level.children] = _cheapest(
            np.where(above == _SINK, never, costs.source[level.children]),
            np.where(above == _SOURCE, never, costs.sink[level.children]),
            costs.cut[level.children],
        )
    return states


def _cheapest(source: np.ndarray, sink: np.ndarray, cut: np.ndarray) -> np.ndarray:
    side = np.where(source < sink, _SOURCE, _SINK)
    return np.where(cut < np.minimum(source, sink), _CUT, side)
