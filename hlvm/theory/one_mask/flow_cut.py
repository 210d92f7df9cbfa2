"""General regime on any DAG: least-dims separators as minimum cuts of the moral ancestral graph.

Section 2 of ``docs/theory.md``. A set of latents d-separates two sets of observed variables if and
only if it separates them in the moral graph of their ancestors (Lauritzen et al. 1990). The least
such set is a minimum node-weighted cut: each latent is split into an entrance and an exit joined by
an edge whose capacity is its dim, and every other edge has unlimited capacity.

A family, that is a node with its parents, is a clique of the moral graph. Where there are several
parents the network has, instead of its many edges, one hub that all of its members enter and leave.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from hlvm.graph import LatentGraph
from hlvm.graph.arrays import GraphArrays

__all__ = ["LARGEST_CAPACITY", "flow_cut", "reachable"]

LARGEST_CAPACITY = 2**31 - 1
"""SciPy's maximum flow computes with 32-bit integers."""


def flow_cut(
    graph: LatentGraph, sources: Bool[np.ndarray, " n_observed"], sinks: Bool[np.ndarray, " n_observed"]
) -> tuple[Bool[np.ndarray, " n_latents"], Bool[np.ndarray, " n_latents"]]:
    """Least-dims separators of two sets of observed variables.

    Args:
        graph: any graph.
        sources: one set of observed variables, not empty.
        sinks: the other set, not empty and disjoint from it. Observed variables in neither set are
            left out of account.

    Returns:
        Two boolean arrays over ``graph.latents``: the least-dims separator nearest the sources and the
        one nearest the sinks. They are equal if it is unique.

    Raises:
        ValueError: the dims are too large for SciPy's 32-bit maximum flow.
    """
    network = _Network(graph, sources, sinks)
    residual = _residual(network.capacities(), network.SOURCE, network.SINK)
    before = reachable(residual, network.SOURCE)
    not_after = ~reachable(residual.T.tocsr(), network.SINK)
    return network.cut_latents(before), network.cut_latents(not_after)


class _Network:
    """The flow network; its nodes are a source, a sink and, per latent, an entrance, an exit and a hub."""

    SOURCE, SINK = 0, 1

    def __init__(
        self,
        graph: LatentGraph,
        sources: Bool[np.ndarray, " n_observed"],
        sinks: Bool[np.ndarray, " n_observed"],
    ) -> None:
        arrays = graph.arrays
        self.n_latents = n = arrays.n_latents
        self.dims = arrays.dims[:n]
        self.relevant = arrays.reached(sources | sinks)[:n]
        inner = arrays.children < n
        inner[inner] = self.relevant[arrays.children[inner]]
        self.parents, self.children = arrays.parents[inner], arrays.children[inner]
        self.source_parents, self.sink_parents = (self._parents_of(arrays, side) for side in (sources, sinks))

    @staticmethod
    def _parents_of(arrays: GraphArrays, side: Bool[np.ndarray, " n_observed"]) -> Int[np.ndarray, " n_parents"]:
        everywhere = np.concatenate([np.zeros(arrays.n_latents, dtype=bool), side])
        return np.unique(arrays.parents[everywhere[arrays.children]])

    def capacities(self) -> csr_array:
        n = self.n_latents
        unlimited = self._unlimited()
        entrances, exits, hubs = 2 + np.arange(3 * n).reshape(3, n)
        in_relevant = np.flatnonzero(self.relevant)
        pairs = [(entrances[in_relevant], exits[in_relevant]), *self._free_edges(entrances, exits, hubs)]
        begins, ends = (np.concatenate(sides) for sides in zip(*pairs, strict=True))
        values = np.full(len(begins), unlimited, dtype=np.int32)
        values[: len(in_relevant)] = np.minimum(self.dims[in_relevant], unlimited)
        return csr_array((values, (begins, ends)), shape=(2 + 3 * n, 2 + 3 * n))

    def _unlimited(self) -> int:
        """A capacity no minimum cut can use: more than the parents of the cheaper side cost."""
        enough = min(sum(self.dims[side].tolist()) for side in (self.source_parents, self.sink_parents)) + 1
        if enough > LARGEST_CAPACITY:
            raise ValueError(
                f"separating these variables may take {enough - 1} dims, more than a 32-bit maximum flow can count: "
                "use smaller dims (a common factor does not change the separator)"
            )
        return enough

    def _free_edges(
        self,
        entrances: Int[np.ndarray, " n_latents"],
        exits: Int[np.ndarray, " n_latents"],
        hubs: Int[np.ndarray, " n_latents"],
    ) -> list[tuple[Int[np.ndarray, " n_edges"], Int[np.ndarray, " n_edges"]]]:
        n_parents = np.bincount(self.children, minlength=self.n_latents)
        alone = n_parents[self.children] == 1
        parent, child = self.parents[alone], self.children[alone]
        with_hub = np.flatnonzero(n_parents > 1)
        member = np.concatenate([self.parents[~alone], with_hub])
        hub = hubs[np.concatenate([self.children[~alone], with_hub])]
        return [
            (exits[parent], entrances[child]),
            (exits[child], entrances[parent]),
            (exits[member], hub),
            (hub, entrances[member]),
            (np.full(len(self.source_parents), self.SOURCE), entrances[self.source_parents]),
            (exits[self.sink_parents], np.full(len(self.sink_parents), self.SINK)),
        ]

    def cut_latents(self, source_side: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n_latents"]:
        """Latents whose entrance is on the source side while their exit is not."""
        entrances, exits, _ = source_side[2:].reshape(3, self.n_latents)
        return entrances & ~exits & self.relevant


def _residual(capacities: csr_array, source: int, sink: int) -> csr_array:
    residual = csr_array(capacities - maximum_flow(capacities, source, sink).flow)
    residual.eliminate_zeros()
    return residual


def reachable(residual: csr_array, start: int) -> Bool[np.ndarray, " n"]:
    """Nodes of a residual network that can be reached from one."""
    order: Int[np.ndarray, " n_found"] = breadth_first_order(residual, start, return_predecessors=False)
    found = np.zeros(len(residual.indptr) - 1, dtype=bool)
    found[order] = True
    return found
