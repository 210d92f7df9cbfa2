"""General regime on trees: least-dims separators by a three-state dynamic program.

Section 2 of ``docs/theory.md``. Every latent is on the source side, on the sink side, or in the cut; a child may not
be on the other side than its parent; latents in the cut cost their dim. One pass up the tree finds the least cost of
each subtree for each state of its top, one pass down the states that each latent has in *some* cut of least cost, both
for many pairs of sides at once. That is enough: cuts of least cost are closed under moving every latent to the one
further towards the sinks of its two states, so in the cut nearest the sources each latent has the state nearest the
sinks among those found.

The masks lie side by side in memory, and observed variables are folded into their parents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from hlvm.graph import LatentGraph
from hlvm.graph.arrays import GraphArrays

__all__ = ["tree_cuts"]

_CELLS_AT_ONCE = 2**17
"""Latents times pairs worked on at once, so that the tables stay in the processor's cache."""


class _States(NamedTuple):
    """One table per state of a latent, rows in the order of ``graph.latents``: costs, or whether a least cut has it."""

    source: Shaped[np.ndarray, "n_latents ..."]
    sink: Shaped[np.ndarray, "n_latents ..."]
    cut: Shaped[np.ndarray, "n_latents ..."]


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
    arrays = graph.arrays
    costs_of_cutting, never = _costs_of_cutting(arrays)
    near_sources = np.empty((len(sources), arrays.n_latents), dtype=bool)
    near_sinks = np.empty_like(near_sources)
    step = max(1, _CELLS_AT_ONCE // arrays.n_latents)
    for begin in range(0, len(sources), step):
        rows = slice(begin, begin + step) if step > 1 else begin  # a single pair goes without its axis: much faster
        costs = _costs_upwards(arrays, sources[rows].T, sinks[rows].T, costs_of_cutting, never)
        possible = _states_downwards(arrays, costs)
        near_sources[rows] = (possible.cut & ~possible.sink).T
        near_sinks[rows] = (possible.cut & ~possible.source).T
    return near_sources, near_sinks


def _costs_of_cutting(arrays: GraphArrays) -> tuple[Int[np.ndarray, " n_latents"], np.integer]:
    """Cost of cutting each latent, and a cost above that of any complete labelling."""
    dims = arrays.dims[: arrays.n_latents]
    never = sum(dims.tolist()) + 1
    largest = never * arrays.n_nodes  # every node may add its share
    if largest >= 2**63:
        raise ValueError(
            f"the latents' dims add up to {never - 1}, too many for exact 64-bit arithmetic on {arrays.n_nodes} nodes: "
            "use smaller dims (a common factor does not change the separator)"
        )
    kind = np.int32 if largest < 2**31 else np.int64
    return dims.astype(kind), kind(never)


def _costs_upwards(
    arrays: GraphArrays,
    sources: Bool[np.ndarray, "n_observed ..."],
    sinks: Bool[np.ndarray, "n_observed ..."],
    costs_of_cutting: Int[np.ndarray, " n_latents"],
    never: np.integer,
) -> _States:
    """Least cost of the subtree below each latent, given the latent's state."""
    n = arrays.n_latents
    costs = _States(*(np.zeros((n, *sources.shape[1:]), dtype=costs_of_cutting.dtype) for _ in range(3)))
    costs.source[...] = _above_any(arrays, sinks) * never
    costs.sink[...] = _above_any(arrays, sources) * never
    costs.cut[...] = costs_of_cutting.reshape(n, *(1 for _ in sources.shape[1:]))
    for level in arrays.inner_levels:
        source, sink, cut = (table[level.children] for table in costs)
        source_or_cut, sink_or_cut = np.minimum(source, cut), np.minimum(sink, cut)
        costs.source[level.parents] += level.fold(np.add, source_or_cut)
        costs.sink[level.parents] += level.fold(np.add, sink_or_cut)
        costs.cut[level.parents] += level.fold(np.add, np.minimum(source_or_cut, sink))
    return costs


def _above_any(arrays: GraphArrays, side: Bool[np.ndarray, "n_observed ..."]) -> Bool[np.ndarray, "n_latents ..."]:
    """Latents that have a child among the observed variables of one side."""
    found = np.zeros((arrays.n_latents, *side.shape[1:]), dtype=bool)
    if side.ndim == 1:
        found[arrays.observed_parents[side]] = True
        return found
    level = arrays.observed_level
    found[level.parents] = level.fold(np.logical_or, side[level.children - arrays.n_latents])
    return found


def _states_downwards(arrays: GraphArrays, costs: _States) -> _States:
    """Tell whether some cut of least cost has each latent in each state, roots first."""
    possible = _States(*(np.empty(costs.cut.shape, dtype=bool) for _ in range(3)))
    roots = np.flatnonzero(arrays.is_root)
    at_roots = _States(*(table[roots] for table in costs))
    least = np.minimum(np.minimum(at_roots.source, at_roots.sink), at_roots.cut)
    for state, cost in zip(possible, at_roots, strict=True):
        state[roots] = cost == least
    for level in reversed(arrays.inner_levels):
        above = _States(*(table[level.parents][level.place] for table in possible))
        source, sink, cut = (table[level.children] for table in costs)
        beside_source, beside_sink = np.minimum(source, cut), np.minimum(sink, cut)
        beside_cut = np.minimum(beside_source, sink)
        possible.source[level.children] = (above.source & (source == beside_source)) | (
            above.cut & (source == beside_cut)
        )
        possible.sink[level.children] = (above.sink & (sink == beside_sink)) | (above.cut & (sink == beside_cut))
        possible.cut[level.children] = (
            (above.source & (cut == beside_source))
            | (above.sink & (cut == beside_sink))
            | (above.cut & (cut == beside_cut))
        )
    return possible
