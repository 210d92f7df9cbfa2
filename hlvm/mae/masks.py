"""Mask strategies as arrays, so that ensemble members with different masks share one compiled program."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray, Shaped

from hlvm.graph import LatentGraph
from hlvm.masking import FixedMask, MaskStrategy, RandomMask, count_masked, masked_array

__all__ = ["MaskArrays", "draw_fixed", "draw_random", "mask_arrays"]


class MaskArrays(NamedTuple):
    """One mask strategy; stack several along a leading axis to draw for several members.

    Attributes:
        patch_of_cell: for each observed variable, the patch it belongs to.
        n_patches: number of patches.
        n_masked: patches to mask.
        fixed: True where a fixed mask hides the variable; all False for random masks.
    """

    patch_of_cell: Shaped[Array | np.ndarray, "*members cells"]
    n_patches: Shaped[Array | np.ndarray, "*members"]
    n_masked: Shaped[Array | np.ndarray, "*members"]
    fixed: Shaped[Array | np.ndarray, "*members cells"]


def mask_arrays(graph: LatentGraph, mask: MaskStrategy) -> MaskArrays:
    """Check a mask strategy against a graph and turn it into arrays.

    Raises:
        ValueError: the strategy does not fit the graph.
    """
    n_cells = len(graph.observed)
    if isinstance(mask, FixedMask):
        nothing = np.zeros(n_cells, dtype=np.int32)
        return MaskArrays(nothing, np.array(1, np.int32), np.array(1, np.int32), masked_array(graph, mask.masked))
    if not isinstance(mask, RandomMask):
        raise ValueError(f"masked autoencoders are trained with RandomMask or FixedMask, got {type(mask).__name__}")
    patches = mask.patches_of(graph)
    return MaskArrays(
        patch_of_cell=patches.index(graph).astype(np.int32),
        n_patches=np.array(len(patches), np.int32),
        n_masked=np.array(count_masked(mask.ratio, len(patches)), np.int32),
        fixed=np.zeros(n_cells, dtype=bool),
    )


def draw_random(key: PRNGKeyArray, n: int, arrays: MaskArrays) -> Bool[Array, "n cells"]:
    """Draw random masks with exactly ``n_masked`` masked patches in every row.

    The patch structure is traced: shapes depend on the number of observed variables alone. Patches beyond
    ``n_patches`` are ranked last, so they are never masked.
    """
    n_cells = arrays.patch_of_cell.shape[-1]
    noise = jax.random.uniform(key, (n * n_cells,)).reshape(n, n_cells)  # drawn flat: it compiles much faster
    noise = jnp.where(jnp.arange(n_cells) < arrays.n_patches, noise, 2.0)
    rank = jnp.argsort(jnp.argsort(noise, axis=1), axis=1)
    return (rank < arrays.n_masked)[:, arrays.patch_of_cell]


def draw_fixed(n: int, arrays: MaskArrays) -> Bool[Array, "n cells"]:
    """Repeat a fixed mask."""
    return jnp.broadcast_to(arrays.fixed, (n, arrays.fixed.shape[-1]))
