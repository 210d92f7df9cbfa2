"""General regime on any DAG: least-dims separators as minimum cuts of the moral ancestral graph.

Section 2 of ``docs/theory.md``. A set of latents d-separates two sets of observed variables if and
only if it separates them in the moral graph of their ancestors (Lauritzen et al. 1990). The least
such set is a minimum node-weighted cut: each latent is split into an entrance and an exit joined by
an edge whose capacity is its dim, and every other edge has unlimited capacity.

A family, that is a node with its parents, is a clique of the moral graph. Instead of its many edges
the network has one hub that all of its members enter and leave.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from hlvm.graph import LatentGraph
from hlvm.theory.levels import reached

__all__ = ["flow_cut"]

_LARGEST_CAPACITY = 2**31 - 1
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
    before = _reachable(residual, network.SOURCE)
    not_after = ~_reachable(residual.T.tocsr(), network.SINK)
    return network.cut_latents(before), network.cut_latents(not_after)


class _Network:
    """The flow network; its nodes are a source, a sink and, per latent, an entrance, an exit and a hub."""

    SOURCE, SINK = 0, 1

    def __init__(self, graph: LatentGraph, sources: np.ndarray, sinks: np.ndarray) -> None:
        self.graph = graph
        self.n_latents = len(graph.latents)
        self.relevant = np.flatnonzero(reached(graph, sources | sinks)[: self.n_latents])
        self.source_parents = self._parents_of(sources)
        self.sink_parents = self._parents_of(sinks)

    def _parents_of(self, side: Bool[np.ndarray, " n_observed"]) -> list[int]:
        above = self.graph.parent_indices
        return sorted({parent for x in np.flatnonzero(side).tolist() for parent in above[self.n_latents + x]})

    def _entrance(self, latent: int) -> int:
        return 2 + latent

    def _exit(self, latent: int) -> int:
        return 2 + self.n_latents + latent

    def _hub(self, latent: int) -> int:
        return 2 + 2 * self.n_latents + latent

    def capacities(self) -> csr_array:
        unlimited = self._unlimited()
        dims = self.graph.dims
        limited = [(self._entrance(u), self._exit(u), min(dims[u], unlimited)) for u in self.relevant.tolist()]
        free = [(begin, end, unlimited) for begin, end in self._free_edges()]
        begins, ends, values = zip(*limited, *free, strict=True)
        n = 2 + 3 * self.n_latents
        return csr_array((np.asarray(values, dtype=np.int32), (begins, ends)), shape=(n, n))

    def _unlimited(self) -> int:
        """A capacity no minimum cut can use: more than the parents of the cheaper side cost."""
        dims = self.graph.dims
        enough = min(sum(dims[p] for p in side) for side in (self.source_parents, self.sink_parents)) + 1
        if enough > _LARGEST_CAPACITY:
            raise ValueError(
                f"separating these variables may take {enough - 1} dims, more than a 32-bit maximum flow can count: "
                "use smaller dims (a common factor does not change the separator)"
            )
        return enough

    def _free_edges(self) -> Iterable[tuple[int, int]]:
        for latent in self.relevant.tolist():
            above = self.graph.parent_indices[latent]
            if above:
                for member in (latent, *above):
                    yield self._exit(member), self._hub(latent)
                    yield self._hub(latent), self._entrance(member)
        for latent in self.source_parents:
            yield self.SOURCE, self._entrance(latent)
        for latent in self.sink_parents:
            yield self._exit(latent), self.SINK

    def cut_latents(self, source_side: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n_latents"]:
        """Latents whose entrance is on the source side while their exit is not."""
        entrances, exits, _ = source_side[2:].reshape(3, self.n_latents)
        members = np.zeros(self.n_latents, dtype=bool)
        members[self.relevant] = (entrances & ~exits)[self.relevant]
        return members


def _residual(capacities: csr_array, source: int, sink: int) -> csr_array:
    residual = csr_array(capacities - maximum_flow(capacities, source, sink).flow)
    residual.eliminate_zeros()
    return residual


def _reachable(residual: csr_array, start: int) -> Bool[np.ndarray, " n"]:
    order: Int[np.ndarray, " n_found"] = breadth_first_order(residual, start, return_predecessors=False)
    found = np.zeros(len(residual.indptr) - 1, dtype=bool)
    found[order] = True
    return found
