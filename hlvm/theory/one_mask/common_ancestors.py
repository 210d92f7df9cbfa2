"""Invertible regime: the shared information is the common ancestors of the masked and the visible part.

Section 2 of ``docs/theory.md``. A latent is a common ancestor when it reaches a masked and a visible
observed variable, which one pass from the observed variables upwards tells, on any DAG.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt64

from hlvm.graph import LatentGraph

__all__ = ["common_ancestors", "common_ancestors_batch"]

_MASKED, _VISIBLE = np.uint8(1), np.uint8(2)


def common_ancestors(graph: LatentGraph, masked: Bool[np.ndarray, " n_observed"]) -> Bool[np.ndarray, " n_latents"]:
    """Latents of ``graph.latents`` with both a masked (True) and a visible descendant, for one mask."""
    sides = graph.arrays.reached(np.where(masked, _MASKED, _VISIBLE))
    return sides[: graph.n_latents] == _MASKED | _VISIBLE


def common_ancestors_batch(
    graph: LatentGraph, masks: Bool[np.ndarray, "n_masks n_observed"]
) -> Bool[np.ndarray, "n_masks n_latents"]:
    """Latents with both a masked and a visible descendant: one row per mask, one column per latent.

    Sixty-four masks share a machine word and masks lie side by side in memory, so that one operation
    on a level of the graph serves all masks.
    """
    bits = _packed(masks)
    n_latents = graph.n_latents
    common = graph.arrays.reached(bits)[:n_latents] & graph.arrays.reached(~bits)[:n_latents]
    return _unpacked(common, len(masks))


def _packed(masks: Bool[np.ndarray, "n_masks n"]) -> UInt64[np.ndarray, "n n_words"]:
    """Sixty-four masks to a word, eight to a byte of it; the last word is filled up with False."""
    n_masks, n = masks.shape
    n_bytes = -(-n_masks // 64) * 8
    packed = np.zeros((n_bytes, n), dtype=np.uint8)
    for place in reversed(range(8)):
        bits = masks.view(np.uint8)[place::8]
        packed += packed
        packed[: len(bits)] |= bits
    return np.ascontiguousarray(packed.T).view(np.uint64)


def _unpacked(packed: UInt64[np.ndarray, "n n_words"], n_masks: int) -> Bool[np.ndarray, "n_masks n"]:
    """Undo :func:`_packed`."""
    rows = np.ascontiguousarray(packed.view(np.uint8).T)[:, None, :]
    places = np.left_shift(np.uint8(1), np.arange(8, dtype=np.uint8))[:, None]
    return ((rows & places) != 0).reshape(-1, packed.shape[0])[:n_masks]
