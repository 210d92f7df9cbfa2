"""Probability that a latent is in the frontier of the shared information under random masks, in closed form.

Invertible regime; section 3 of ``docs/theory.md``. A latent is in the frontier if it is shared and none of its children
is: both sides occur below it, but only one below each child. Children that reach a common patch are then on the same
side. So join overlapping children into groups of ``g_1, ..., g_j`` patches, ``k`` in all, which share no patch. The
latent is in the frontier exactly if every group lies on one side and not all on the same. With ``a_s`` the number of
ways to choose groups of ``s`` patches in all, that is the coefficient of ``x**s`` in the product of ``1 + x**g_i``, the
probability is

    sum over s from 1 to k-1 of  a_s C(N-k, M-s) / C(N, M)

for ``M`` of ``N`` patches masked at random, and the product of ``r**g_i + (1-r)**g_i``, less ``r**k + (1-r)**k``, when
each patch is masked with probability ``r``. Given that both sides are non-empty, the latter is divided by the
probability of that, ``1 - r**N - (1-r)**N``. Exact for any graph.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from hlvm.graph import LatentGraph
from hlvm.masking.laws import log_choose

__all__ = ["Groups", "child_groups", "frontier_bernoulli", "frontier_uniform"]

Groups: TypeAlias = tuple[tuple[int, int], ...]
"""Groups of children that share no patch: pairs of a number of patches and how many groups have it, sorted."""


def child_groups(
    graph: LatentGraph, reach: Int[np.ndarray, " n_latents"], patch_of: Int[np.ndarray, " n_observed"]
) -> list[Groups]:
    """For each latent, the sizes of the groups that its children form.

    Args:
        graph: any graph.
        reach: number of patches that each latent reaches.
        patch_of: patch of each observed variable.
    """
    at_nodes = np.concatenate([reach, np.ones(len(patch_of), dtype=reach.dtype)])
    overlap = np.zeros(len(reach), dtype=bool)
    for level in graph.arrays.levels:
        overlap[level.parents] = level.fold(np.add, at_nodes[level.children]) > reach[level.parents]
    overlap &= reach > 1
    patches_below = _patch_bits(graph, patch_of) if overlap.any() else []
    found: list[Groups] = []
    for latent, below in enumerate(graph.child_indices[: len(reach)]):
        if reach[latent] == 1:
            sizes = [1]
        elif overlap[latent]:
            sizes = _joined([patches_below[child] for child in below])
        else:
            sizes = at_nodes[list(below)].tolist()
        found.append(tuple(sorted(Counter(sizes).items())))
    return found


def _patch_bits(graph: LatentGraph, patch_of: Int[np.ndarray, " n_observed"]) -> list[int]:
    """The patches below each node, as the bits of a whole number."""
    bits = [0] * graph.n_latents + [1 << patch for patch in patch_of.tolist()]
    for node in range(len(graph.nodes) - 1, -1, -1):
        for parent in graph.parent_indices[node]:
            bits[parent] |= bits[node]
    return bits


def _joined(sets: list[int]) -> list[int]:
    """Sizes of the unions of sets that overlap, directly or through others."""
    groups: list[int] = []
    for bits in sets:
        apart = []
        for group in groups:
            if group & bits:
                bits |= group
            else:
                apart.append(group)
        groups = [*apart, bits]
    return [group.bit_count() for group in groups]


def frontier_bernoulli(groups: Groups, ratio: float) -> float:
    """Probability to be in the frontier when each patch is masked with probability ``ratio``, empty sides included."""
    if not _several(groups):
        return 0.0
    r = min(ratio, 1.0 - ratio)  # which side is called masked makes no difference
    k = sum(size * count for size, count in groups)
    odds = r / (1.0 - r)
    each_whole = sum(count * np.log1p(odds**size) for size, count in groups)  # less k log(1 - r)
    return float(np.clip(np.exp(k * np.log1p(-r)) * (np.expm1(each_whole) - odds**k), 0.0, 1.0))


def frontier_uniform(groups: Groups, n_patches: int, n_masked: int) -> float:
    """Probability to be in the frontier when ``n_masked`` of ``n_patches`` patches are masked at random.

    The numbers of ways are weighed by ``r**s (1-r)**(k-s)`` with ``r`` the share of masked patches, which makes them
    probabilities: nothing overflows. Relative accuracy is about 1e-9 at 50,000 patches.
    """
    if not _several(groups):
        return 0.0
    ratio = n_masked / n_patches
    ways = np.ones(1)
    for size, count in groups:
        chosen = np.arange(count + 1)
        spread = np.zeros(size * count + 1)
        logarithm = size * (chosen * np.log(ratio) + (count - chosen) * np.log1p(-ratio))
        spread[::size] = np.exp(log_choose(count, chosen) + logarithm)
        ways = np.convolve(ways, spread)
    k = len(ways) - 1
    masked = np.arange(max(1, n_masked - (n_patches - k)), min(k - 1, n_masked) + 1)
    others = log_choose(n_patches - k, n_masked - masked) - log_choose(n_patches, np.asarray(n_masked))
    weight = np.exp(others - masked * np.log(ratio) - (k - masked) * np.log1p(-ratio))
    return float(np.clip(ways[masked] @ weight, 0.0, 1.0))


def _several(groups: Groups) -> bool:
    return sum(count for _, count in groups) > 1
