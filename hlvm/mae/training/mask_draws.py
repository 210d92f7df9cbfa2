"""Mask strategies as arrays, so that ensemble members with different masks share one compiled program.

The law of a strategy (:mod:`hlvm.masking.laws`) says how. *Counted*: a number of patches, fixed or drawn once per step
from a range. *Chance*: a number of patches drawn for every sample. *Listed*: one mask of a list for every sample.
*Sampled*, and lists that are too long: the host calls the strategy's ``sample`` ahead of every chunk of steps, so that
it may use anything, and all masks are checked.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from hlvm.graph import LatentGraph
from hlvm.masking import Chance, Counted, Law, Listed, Patches, Sampled, law_of
from hlvm.masking.masks import masked_batch

__all__ = ["MaskArrays", "MaskPlan", "TrainingMask", "draw_masks", "draw_own", "mask_plan"]

TrainingMask: TypeAlias = Any
"""A mask to train with: any strategy of :mod:`hlvm.masking`, an object of your own with a method
``sample(key, n, graph)``, or the answer of :func:`hlvm.theory.design_mask`."""

_MOST_LISTED_CELLS = 50_000_000
"""Largest list of masks, in observed variables times masks, that is held as an array."""


class MaskArrays(NamedTuple):
    """One mask strategy; stack several of a kind along a leading axis to draw for several members.

    Attributes:
        patch_of_cell: for each observed variable, the patch it belongs to.
        n_patches: number of patches.
        counts: counted: fewest and most masked patches of a mask.
        logits: chance: log probability of every number of masked patches from 0 to ``cells``; else one 0.
        masks: listed: the masks, padded to a power of two; sampled: those of one chunk of steps, (steps, batch,
            cells); else none.
        n_listed: listed: number of masks before padding.
    """

    patch_of_cell: Shaped[Array | np.ndarray, "*members cells"]
    n_patches: Shaped[Array | np.ndarray, "*members"]
    counts: Shaped[Array | np.ndarray, "*members two"]
    logits: Shaped[Array | np.ndarray, "*members numbers"]
    masks: Shaped[Array | np.ndarray, "*members_and_rows cells"]
    n_listed: Shaped[Array | np.ndarray, "*members"]


class MaskPlan(NamedTuple):
    """Draws of one strategy on one graph.

    Attributes:
        kind: the kind of its law; static, so that members of different kinds have programs of their own.
        arrays: what the draw reads; of a sampled law without its masks.
        fewest: fewest observed variables that a mask hides.
        most: most observed variables that a mask hides.
    """

    kind: type[Law]
    arrays: MaskArrays
    fewest: int
    most: int


def mask_plan(graph: LatentGraph, mask: TrainingMask) -> MaskPlan:
    """Check a mask strategy against a graph and turn it into arrays.

    Raises:
        ValueError: the strategy does not fit the graph.
    """
    law = law_of(mask, graph)
    arrays = _arrays(graph, law.patches)
    kind: type[Law] = Sampled
    if isinstance(law, Counted):
        kind, arrays = Counted, arrays._replace(counts=np.array([law.fewest, law.most], np.int32))
    elif isinstance(law, Chance):
        logits = np.full(graph.n_observed + 1, -np.inf)
        logits[1 : len(law.patches)] = law.count_logits
        kind, arrays = Chance, arrays._replace(logits=logits.astype(np.float32))
    elif isinstance(law, Listed) and law.n_masks * graph.n_observed <= _MOST_LISTED_CELLS:
        padded = np.zeros((1 << (law.n_masks - 1).bit_length(), graph.n_observed), dtype=bool)
        padded[: law.n_masks] = law.masks()
        kind, arrays = Listed, arrays._replace(masks=padded, n_listed=np.array(law.n_masks, np.int32))
    return MaskPlan(kind, arrays, *law.hidden)


def draw_masks(
    kind: type[Law], arrays: MaskArrays, key: PRNGKeyArray, n: int, step_of_chunk: Int[Array, ""] | int = 0
) -> Bool[Array, "n cells"]:
    """Draw the masks of one step; traced.

    Shapes depend on the number of observed variables alone. Patches beyond ``n_patches`` are never masked: noise puts
    them last, so what stands at the places of the real ones is a permutation of the real ones.

    Args:
        kind: the kind of the strategy's law.
        arrays: the strategy.
        key: a typed key; a sampled law does not read it.
        n: number of masks.
        step_of_chunk: the number of the step within its chunk; only a sampled law reads it.

    Returns:
        Boolean array, True = masked.
    """
    if kind is Sampled:
        return jnp.asarray(arrays.masks)[step_of_chunk]
    if kind is Listed:
        masks = jnp.asarray(arrays.masks)
        if len(masks) == 1:
            return jnp.broadcast_to(masks[0], (n, masks.shape[1]))
        return masks[jax.random.randint(key, (n,), 0, arrays.n_listed)]
    n_cells = arrays.patch_of_cell.shape[-1]
    places = jax.random.uniform(key, (n * n_cells,)).reshape(n, n_cells)  # drawn flat: it compiles much faster
    order = jnp.argsort(jnp.where(jnp.arange(n_cells) < arrays.n_patches, places, 2.0), axis=1)
    count_key = jax.random.fold_in(key, 1)
    if kind is Counted:
        count = jax.random.randint(count_key, (), arrays.counts[0], arrays.counts[1] + 1)
    else:
        count = jax.random.categorical(count_key, jnp.asarray(arrays.logits), shape=(n, 1))
    return (order < count)[:, arrays.patch_of_cell]


def draw_own(strategy: Any, graph: LatentGraph, key: PRNGKeyArray, n: int, plan: MaskPlan) -> np.ndarray:
    """Masks of a strategy of the user's own, drawn now and checked.

    Args:
        strategy: anything with a method ``sample(key, n, graph)``.
        graph: the graph whose observed variables are masked.
        key: a typed key; the masks must follow from it alone if training is to be repeatable.
        n: number of masks.
        plan: what :func:`mask_plan` found.

    Returns:
        Boolean array (n, cells), True = masked.

    Raises:
        ValueError: the strategy drew something else, or masks that hide nothing, everything, or another number of
            observed variables than its law says.
    """
    rows = masked_batch(graph, strategy.sample(key, n, graph))
    if len(rows) != n:
        raise ValueError(f"{type(strategy).__name__}.sample was asked for {n} masks and drew {len(rows)}")
    hidden = rows.sum(axis=1)
    if hidden.min() < plan.fewest or hidden.max() > plan.most:
        raise ValueError(
            f"{type(strategy).__name__}.law says that masks hide {plan.fewest} to {plan.most} observed variables, but "
            f"one hides {int(hidden.min() if hidden.min() < plan.fewest else hidden.max())}: mend it"
        )
    return rows


def _arrays(graph: LatentGraph, patches: Patches) -> MaskArrays:
    return MaskArrays(
        patch_of_cell=patches.index(graph).astype(np.int32),
        n_patches=np.array(len(patches), np.int32),
        counts=np.array([1, 1], np.int32),
        logits=np.zeros(1, np.float32),
        masks=np.zeros((0, graph.n_observed), dtype=bool),
        n_listed=np.array(0, np.int32),
    )
