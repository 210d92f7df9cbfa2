"""Smallest trek-separating sets: the rank that the graph alone gives to a covariance of two sets of variables.

A *trek* from ``a`` to ``b`` leads up from ``a`` against the edges to a top, and from there down along the edges to
``b``; either part may be empty. A pair of sets (up, down) *trek-separates* two sides when every trek between them meets
``up`` on its way up or ``down`` on its way down (its top belongs to both parts). For linear-Gaussian models with one
number per variable the covariance of the two sides has, for almost all coefficients, the rank ``|up| + |down|`` of the
smallest such pair (theorem 2.8 of :cite:t:`sullivant2010trek`).

For vector-valued variables the same holds with dims for numbers of variables, when coefficient matrices are full
generic ones. Replace each variable by its dims, every dim of a parent being a parent of every dim of a child. The dims
of a variable have the same parents and the same children, so the least cut of their graph, as a maximum flow, can be
shared out evenly among them, and equals the least cut in which variables are kept whole and cost their dim. A noise
that has fewer dims than its variable limits in addition how much can turn from up to down there: such a turn is cut at
the price of the noise's rank.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from hlvm.graph import LatentGraph
from hlvm.masking import masked_array
from hlvm.theory.one_mask.flow_cut import LARGEST_CAPACITY, reachable

__all__ = ["TrekSeparation", "trek_separating_set"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrekSeparation:
    """A least trek-separating set between the masked and the visible part; the one nearest the masked part.

    Attributes:
        dim: its size in dims: the generic rank of the covariance of the two parts.
        up: names cut on the way up from the masked part; masked variables and latents.
        down: names cut on the way down to the visible part; latents and visible variables.
        turns: names whose noise, of lower rank than their dim, is cut as the top of treks.
    """

    dim: int
    up: frozenset[str]
    down: frozenset[str]
    turns: frozenset[str]


def trek_separating_set(
    graph: LatentGraph,
    masked: Collection[str] | Bool[Any, " n_observed"],
    *,
    noise_ranks: Sequence[int] | None = None,
) -> TrekSeparation:
    """Smallest trek-separating set between the masked and the visible part, by one maximum flow.

    Args:
        graph: the generating graph; every dim of a variable depends on every dim of its parents.
        masked: names of the masked observed variables, or a boolean array over ``graph.observed`` with True =
            masked; the others are visible.
        noise_ranks: per node of ``graph.nodes``, how many independent noises enter there. ``None``: one per dim, as
            with :class:`~hlvm.mechanisms.LinearGaussian` mechanisms.

    Returns:
        The set and its size in dims.

    Raises:
        ValueError: ``masked`` is no mask of this graph, ``noise_ranks`` does not fit it, or its dims are too large for
            SciPy's 32-bit maximum flow.

    References:
        Theorem 2.8 of :cite:t:`sullivant2010trek`; the extension to vectors is argued at the top of this module.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2"), ("z", "x3")], dims=1)
        >>> trek_separating_set(graph, ["x1", "x2"]).dim
        1
    """
    mask = masked_array(graph, masked)
    ranks = np.asarray(graph.dims if noise_ranks is None else noise_ranks)
    if ranks.dtype.kind not in "iu" or ranks.shape != (len(graph.nodes),) or (ranks < 0).any():
        raise ValueError(f"noise_ranks must be one whole number of at least 0 for each of the {len(graph.nodes)} nodes")
    return _least_cut(graph, mask, ranks)


def _least_cut(graph: LatentGraph, mask: np.ndarray, ranks: np.ndarray) -> TrekSeparation:
    """The network has, per node, an entrance and an exit on the way up, and an entrance and an exit on the way down."""
    n, n_latents = len(graph.nodes), graph.n_latents
    masked, visible = n_latents + np.flatnonzero(mask), n_latents + np.flatnonzero(~mask)
    source, sink = 0, 1
    up_in, up_out, down_in, down_out = (2 + np.arange(n) + part * n for part in range(4))
    dims = graph.dims
    unlimited = min(sum(dims[i] for i in side.tolist()) for side in (masked, visible)) + 1
    if unlimited > LARGEST_CAPACITY:
        raise ValueError(
            f"each part holds {unlimited - 1} dims or more, too many for a 32-bit maximum flow: use smaller dims"
        )
    capacities = np.asarray([min(dim, unlimited) for dim in dims])
    turns = np.where(ranks >= np.asarray([min(dim, LARGEST_CAPACITY) for dim in dims]), unlimited, ranks)
    parents, children = graph.edge_indices
    edges = [
        (np.full(len(masked), source), up_in[masked], unlimited),
        (up_in, up_out, capacities),
        (up_out[children], up_in[parents], unlimited),
        (up_out, down_in, np.minimum(turns, unlimited)),
        (down_in, down_out, capacities),
        (down_out[parents], down_in[children], unlimited),
        (down_out[visible], np.full(len(visible), sink), unlimited),
    ]
    values = np.concatenate([np.broadcast_to(capacity, begins.shape) for begins, _, capacity in edges])
    begins, ends = (np.concatenate([edge[part] for edge in edges]) for part in (0, 1))
    network = csr_array((values.astype(np.int32), (begins, ends)), shape=(2 + 4 * n, 2 + 4 * n))
    network.eliminate_zeros()
    flow = maximum_flow(network, source, sink)
    residual = csr_array(network - flow.flow)
    residual.eliminate_zeros()
    before = reachable(residual, source)
    return TrekSeparation(
        dim=int(flow.flow_value),
        up=_names(graph, before[up_in] & ~before[up_out]),
        down=_names(graph, before[down_in] & ~before[down_out]),
        turns=_names(graph, before[up_out] & ~before[down_in] & (turns < unlimited) & (ranks > 0)),
    )


def _names(graph: LatentGraph, chosen: Bool[np.ndarray, " n_nodes"]) -> frozenset[str]:
    return frozenset(graph.nodes[node] for node in np.flatnonzero(chosen).tolist())
