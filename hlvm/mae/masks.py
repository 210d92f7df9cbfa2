"""Mask strategies as arrays, so that ensemble members with different masks share one compiled program.

Four ways of drawing cover every strategy. *Counted*: a number of patches, fixed or uniform within a range that is
drawn once per step. *Chance*: a number of patches drawn for every sample. *Listed*: one mask of a list for every
sample, which includes fixed masks, and blocks and lattices, whose places are few enough to list. *Own*: any other
object with a ``sample`` method; its masks are drawn by the host ahead of every chunk of steps, so that it may use
anything, and all of them are checked.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from hlvm.graph import LatentGraph
from hlvm.mae.mask_strategies import MaskList, RatioRange
from hlvm.masking import (
    BernoulliMask,
    FixedMask,
    Listed,
    Patches,
    RandomMask,
    SubtreeMask,
    count_every_mask,
    count_masked,
    every_mask,
    log_binomial,
    masked_batch,
)

__all__ = ["Kind", "MaskArrays", "MaskPlan", "TrainingMask", "as_strategy", "draw_masks", "draw_own", "mask_plan"]

Kind = Literal["counted", "chance", "listed", "own"]

TrainingMask: TypeAlias = Any
"""What a masked autoencoder can be trained with: any strategy of :mod:`hlvm.masking`, :class:`~hlvm.mae.RatioRange`,
:class:`~hlvm.mae.MaskList`, an object of your own with a method ``sample(key, n, graph)``, or the answer of
:func:`hlvm.theory.design_mask`."""

_MOST_LISTED_CELLS = 50_000_000
"""Largest list of masks, in observed variables times masks, that blocks and lattices are turned into."""


class MaskArrays(NamedTuple):
    """One mask strategy; stack several of a kind along a leading axis to draw for several members.

    Attributes:
        patch_of_cell: for each observed variable, the patch it belongs to.
        n_patches: number of patches.
        counts: counted: fewest and most masked patches of a mask.
        logits: chance: log probability of every number of masked patches from 0 to ``cells``; else one 0.
        masks: listed: the masks, padded to a power of two; own: those of one chunk of steps, (steps, batch, cells);
            else none.
        n_listed: listed: number of masks before padding.
    """

    patch_of_cell: Shaped[Array | np.ndarray, "*members cells"]
    n_patches: Shaped[Array | np.ndarray, "*members"]
    counts: Shaped[Array | np.ndarray, "*members two"]
    logits: Shaped[Array | np.ndarray, "*members numbers"]
    masks: Shaped[Array | np.ndarray, "*members_and_rows cells"]
    n_listed: Shaped[Array | np.ndarray, "*members"]


class MaskPlan(NamedTuple):
    """How one strategy is drawn on one graph.

    Attributes:
        kind: which of the ways of drawing it is; static, so that members of different kinds have programs of their own.
        arrays: what the draw reads; for ``"own"`` without its masks.
        fewest: fewest observed variables that a mask hides.
        most: most observed variables that a mask hides.
    """

    kind: Kind
    arrays: MaskArrays
    fewest: int
    most: int


def as_strategy(mask: TrainingMask) -> Any:
    """The strategy itself; for a designed mask the fixed one.

    Raises:
        ValueError: neither.
    """
    if callable(getattr(mask, "sample", None)):
        return mask
    if isinstance(getattr(mask, "masked", None), tuple):
        return FixedMask(masked=mask.masked)
    raise ValueError(
        f"expected a mask strategy, an object with a method sample(key, n, graph), or a designed mask, got "
        f"{type(mask).__name__}: see hlvm.masking for the strategies, and MaskList.of for masks in an array"
    )


def mask_plan(graph: LatentGraph, mask: TrainingMask) -> MaskPlan:
    """Check a mask strategy against a graph and turn it into arrays.

    Raises:
        ValueError: the strategy does not fit the graph.
    """
    mask = as_strategy(mask)
    if isinstance(mask, SubtreeMask):
        mask = RandomMask(ratio=mask.ratio, patches=Patches.of_subtrees(graph, mask.height))
    if isinstance(mask, RandomMask | RatioRange):
        patches = mask.patches_of(graph)
        if isinstance(mask, RandomMask):
            low = high = count_masked(mask.ratio, len(patches))
        else:
            low, high = mask.counts(graph)
        sizes = sorted(map(len, patches.groups))
        arrays = _arrays(graph, patches)._replace(counts=np.array([low, high], np.int32))
        return MaskPlan("counted", arrays, sum(sizes[:low]), sum(sizes[::-1][:high]))
    if isinstance(mask, BernoulliMask):
        patches = RandomMask(ratio=mask.ratio, unit=mask.unit, patches=mask.patches).patches_of(graph)
        if len(patches) < 2:
            raise ValueError(f"a mask needs at least 2 patches, got {len(patches)}: use a smaller unit")
        smallest = min(map(len, patches.groups))
        arrays = _arrays(graph, patches)._replace(logits=_count_logits(len(patches), mask.ratio, graph.n_observed))
        return MaskPlan("chance", arrays, smallest, graph.n_observed - smallest)
    rows, patches = _listed(graph, mask)
    if rows is None:
        fewest, most = _own_counts(graph, mask)
        return MaskPlan("own", _arrays(graph, patches), fewest, most)
    hidden = rows.sum(axis=1)
    padded = np.zeros((1 << (len(rows) - 1).bit_length(), graph.n_observed), dtype=bool)
    padded[: len(rows)] = rows
    arrays = _arrays(graph, patches)._replace(masks=padded, n_listed=np.array(len(rows), np.int32))
    return MaskPlan("listed", arrays, int(hidden.min()), int(hidden.max()))


def draw_masks(
    kind: Kind, arrays: MaskArrays, key: PRNGKeyArray, n: int, step_of_chunk: Int[Array, ""] | int = 0
) -> Bool[Array, "n cells"]:
    """Draw the masks of one step; traced.

    Shapes depend on the number of observed variables alone. Patches beyond ``n_patches`` are never masked: noise puts
    them last, so what stands at the places of the real ones is a permutation of the real ones.

    Args:
        kind: the way of drawing.
        arrays: the strategy.
        key: a typed key; ``"own"`` does not read it.
        n: number of masks.
        step_of_chunk: which of the chunk's steps this is; only ``"own"`` reads it.

    Returns:
        Boolean array, True = masked.
    """
    if kind == "own":
        return jnp.asarray(arrays.masks)[step_of_chunk]
    if kind == "listed":
        masks = jnp.asarray(arrays.masks)
        if len(masks) == 1:
            return jnp.broadcast_to(masks[0], (n, masks.shape[1]))
        return masks[jax.random.randint(key, (n,), 0, arrays.n_listed)]
    n_cells = arrays.patch_of_cell.shape[-1]
    places = jax.random.uniform(key, (n * n_cells,)).reshape(n, n_cells)  # drawn flat: it compiles much faster
    order = jnp.argsort(jnp.where(jnp.arange(n_cells) < arrays.n_patches, places, 2.0), axis=1)
    count_key = jax.random.fold_in(key, 1)
    if kind == "counted":
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
            observed variables than its ``n_masked`` says.
    """
    rows = masked_batch(graph, strategy.sample(key, n, graph))
    if len(rows) != n:
        raise ValueError(f"{type(strategy).__name__}.sample was asked for {n} masks and drew {len(rows)}")
    hidden = rows.sum(axis=1)
    if hidden.min() < plan.fewest or hidden.max() > plan.most:
        raise ValueError(
            f"{type(strategy).__name__}.n_masked says that every mask hides {plan.fewest} observed variables, but a "
            f"mask hides {int(hidden.min() if hidden.min() < plan.fewest else hidden.max())}: leave n_masked away "
            f"where the number differs"
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


def _listed(graph: LatentGraph, mask: Any) -> tuple[np.ndarray | None, Patches]:
    """All masks of a strategy that has few, ``None`` for others; and its patches."""
    if isinstance(mask, MaskList):
        return mask.rows(graph), Patches.cells(graph)
    if not isinstance(mask, Listed):
        return None, Patches.cells(graph)
    unit = 1 if isinstance(mask, FixedMask) else mask.unit
    patches = RandomMask(ratio=0.5, unit=unit).patches_of(graph)
    if count_every_mask(mask, graph) * graph.n_observed > _MOST_LISTED_CELLS:
        return None, patches
    return np.concatenate(list(every_mask(mask, graph))), patches


def _own_counts(graph: LatentGraph, mask: Any) -> tuple[int, int]:
    """Fewest and most observed variables that a strategy of the user's own hides."""
    count = getattr(mask, "n_masked", None)
    if not callable(count):
        return 1, graph.n_observed - 1
    try:
        n_masked = int(count(graph))  # pyright: ignore[reportArgumentType]
    except ValueError:
        return 1, graph.n_observed - 1
    if not 0 < n_masked < graph.n_observed:
        raise ValueError(
            f"{type(mask).__name__}.n_masked must lie between 1 and {graph.n_observed - 1} of {graph.n_observed} "
            f"observed variables, got {n_masked}"
        )
    return n_masked, n_masked


def _count_logits(n_patches: int, ratio: float, n_cells: int) -> Shaped[np.ndarray, " numbers"]:
    """Log probabilities of 0 to ``n_cells`` masked patches: binomial without its two ends."""
    found = np.full(n_cells + 1, -np.inf)
    found[1:n_patches] = log_binomial(n_patches, ratio)[1:-1]
    return found.astype(np.float32)
