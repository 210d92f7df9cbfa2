"""Level profiles from masks drawn at random: for strategies without a closed form, and for the general regime."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from scipy.sparse import csr_array

from hlvm.graph import LatentGraph
from hlvm.masking import MaskSampler
from hlvm.theory.shared_information import Regime, shared_information_batch

__all__ = ["Mean", "SampledLevels", "sampled_levels"]

_CELLS_AT_ONCE = 2**24
"""Nodes times masks worked on at once."""


class Mean(NamedTuple):
    """Means over masks and their standard errors, both of the same shape.

    Attributes:
        value: the means.
        error: standard deviation over masks, divided by the square root of their number.
    """

    value: Float[np.ndarray, "*shape"]
    error: Float[np.ndarray, "*shape"]


class SampledLevels(NamedTuple):
    """What one strategy's masks share, by height.

    Attributes:
        share: shape (n_heights,), share of the latents of a height that are in ``c``.
        frontier_share: shape (n_heights,), share of them that are in the frontier.
        dim: shape (n_heights,), dims of ``c`` at a height.
        total_dim: shape (), dims of ``c``.
        masked_share: mean share of the observed variables that are masked.
    """

    share: Mean
    frontier_share: Mean
    dim: Mean
    total_dim: Mean
    masked_share: float


def sampled_levels(
    graph: LatentGraph,
    sampler: MaskSampler,
    *,
    regime: Regime,
    key: Key[Array, ""],
    n_masks: int,
    at_level: Float[np.ndarray, "n_latents n_heights"],
) -> SampledLevels:
    """Draw masks and average what they share, by height.

    Args:
        graph: the generating graph.
        sampler: what draws the masks.
        regime: "invertible" or "general"; see :func:`~hlvm.theory.shared_information_batch`.
        key: a typed JAX key.
        n_masks: number of masks, at least 2.
        at_level: one column per height, 1 where the latent has it.

    Returns:
        Means with standard errors.

    Raises:
        ValueError: masks of another shape or type, or a mask that masks nothing or everything.
    """
    n_latents = graph.n_latents
    sizes = np.asarray(graph.noise_dims if regime == "invertible" else graph.dims, dtype=np.float64)[:n_latents]
    per_level = at_level / at_level.sum(axis=0)
    parents = _parents(graph)
    shares, frontier_shares, dims, masked = [], [], [], []
    step = max(1, _CELLS_AT_ONCE // len(graph.nodes))
    for begin in range(0, n_masks, step):
        n = min(step, n_masks - begin)
        drawn = sampler.sample(jax.random.fold_in(key, begin), n, graph)
        masks, members = _members(graph, np.asarray(drawn), regime)
        if len(masks) != n:
            raise ValueError(f"{type(sampler).__name__}.sample(key, {n}, graph) drew {len(masks)} masks, expected {n}")
        inside = members.astype(np.float64)
        frontier = inside * ((inside @ parents) == 0)
        shares.append(inside @ per_level)
        frontier_shares.append(frontier @ per_level)
        dims.append((inside * sizes) @ at_level)
        masked.append(masks.mean(axis=1))
    dim = np.concatenate(dims)
    return SampledLevels(
        share=_mean(np.concatenate(shares)),
        frontier_share=_mean(np.concatenate(frontier_shares)),
        dim=_mean(dim),
        total_dim=_mean(dim.sum(axis=1)),
        masked_share=float(np.concatenate(masked).mean()),
    )


def _members(
    graph: LatentGraph, masks: np.ndarray, regime: Regime
) -> tuple[Bool[np.ndarray, "n n_observed"], Bool[np.ndarray, "n n_latents"]]:
    """Members of ``c`` under each mask; a mask that occurs several times is worked on once in the general regime."""
    if regime == "invertible" or masks.dtype != np.bool_ or masks.ndim != 2:
        return masks, shared_information_batch(graph, masks, regime=regime).members
    _, first, back = np.unique(np.packbits(masks, axis=1), axis=0, return_index=True, return_inverse=True)
    return masks, shared_information_batch(graph, masks[first], regime=regime).members[back.reshape(-1)]


def _parents(graph: LatentGraph) -> Any:
    """Sparse matrix with a 1 in row ``child`` and column ``parent`` for every edge between latents."""
    n = graph.n_latents
    pairs = [(child, parent) for child in range(n) for parent in graph.parent_indices[child]]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return csr_array((np.ones(len(pairs)), (rows, columns)), shape=(n, n))


def _mean(per_mask: Float[np.ndarray, "n_masks ..."]) -> Mean:
    error = per_mask.std(axis=0, ddof=1) / np.sqrt(len(per_mask))
    return Mean(per_mask.mean(axis=0), np.asarray(error))
