"""The part of a sample that a reconstruction is judged by: interiors, heights, and masks to try it on."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped

from hlvm.graph import LatentGraph
from hlvm.mae.training.mask_draws import MaskArrays, MaskPlan, draw_masks, draw_own
from hlvm.masking import Counted, Listed, Sampled
from hlvm.masking.strategies import as_strategy

__all__ = ["TRIAL_DRAWS", "counts_ranged", "in_touching_patch", "lowest_shared", "trial_masks"]

_TRIAL_MASKS = 2000
TRIAL_DRAWS = 20
"""Draws that trial masks of random strategies come from."""


def in_touching_patch(
    graph: LatentGraph, neighbours: int, masks: MaskArrays, masked: Bool[Array, "n cells"]
) -> Bool[Array, "n cells"]:
    """Cells whose patch has a cell beside a visible cell (of another patch)."""
    rows, columns = graph.grid or (0, 0)
    visible = ~masked.reshape(-1, rows, columns)
    tall = _with_neighbours(visible, 1)
    near = _with_neighbours(tall, 2) if neighbours == 8 else tall | _with_neighbours(visible, 2)
    patch_of_cell = jnp.asarray(masks.patch_of_cell)
    touching = jnp.zeros(masked.shape, bool).at[:, patch_of_cell].max(near.reshape(masked.shape))
    return touching[:, patch_of_cell]


def _with_neighbours(flags: Bool[Array, "n rows columns"], axis: int) -> Bool[Array, "n rows columns"]:
    """Flags, or those of a neighbour along one axis."""
    nothing = jnp.zeros_like(jax.lax.slice_in_dim(flags, 0, 1, axis=axis))
    size = flags.shape[axis]
    after = jnp.concatenate([jax.lax.slice_in_dim(flags, 1, size, axis=axis), nothing], axis=axis)
    before = jnp.concatenate([nothing, jax.lax.slice_in_dim(flags, 0, size - 1, axis=axis)], axis=axis)
    return flags | before | after


@functools.lru_cache(maxsize=8)
def _descents(graph: LatentGraph) -> tuple[np.ndarray, ...]:
    """For every height from 1 up, which observed variables (columns) each latent of that height (rows) reaches."""
    reach = graph.arrays.reached(np.eye(graph.n_observed, dtype=bool)).astype(np.float32)
    heights = graph.arrays.heights
    return tuple(reach[heights == height] for height in range(1, heights.max() + 1))


def lowest_shared(graph: LatentGraph, masked: Bool[Array, "n cells"]) -> Shaped[Array, "n cells"]:
    """Height of every variable's lowest ancestor with a visible descendant; one above the top if there is none."""
    visible = (~masked).astype(jnp.float32)
    heights = jnp.full(masked.shape, max(graph.heights) + 1)
    for height, reach in reversed(list(enumerate(_descents(graph), start=1))):
        seen = (visible @ reach.T > 0).astype(jnp.float32)
        heights = jnp.where(seen @ reach > 0, height, heights)
    return heights


def trial_masks(graph: LatentGraph, mask: object, plan: MaskPlan) -> Bool[Array, "n cells"]:
    """Masks to try a loss on: all of a list; of others 2,000 are drawn, of a strategy whose ratio varies 100 a draw."""
    if plan.kind is Listed:
        return jnp.asarray(plan.arrays.masks)[: int(plan.arrays.n_listed)]
    if plan.kind is Sampled:
        return jnp.asarray(draw_own(as_strategy(mask), graph, jax.random.key(0), _TRIAL_MASKS, plan))
    keys = jax.random.split(jax.random.key(0), TRIAL_DRAWS)  # a range of ratios has one ratio per draw
    n = _TRIAL_MASKS // TRIAL_DRAWS
    return jnp.concatenate([draw_masks(plan.kind, plan.arrays, key, n) for key in keys])


def counts_ranged(plan: MaskPlan) -> bool:
    """Tell whether the number of masked patches varies from step to step."""
    return plan.kind is Counted and bool(plan.arrays.counts[0] != plan.arrays.counts[1])
