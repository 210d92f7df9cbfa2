"""How likely a random mask identifies a latent, in closed form (section 3 of ``docs/theory.md``).

Everything here is for the invertible regime, where a latent is in ``c`` exactly if it reaches both a masked and a
visible patch. How likely that is depends only on the number of patches it reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int, UInt64

from hlvm.graph import LatentGraph
from hlvm.masking import Patches, checked_ratio, count_masked
from hlvm.masking.patches import patch_index
from hlvm.theory.frontier import child_groups, frontier_bernoulli, frontier_uniform
from hlvm.theory.shared_information import check_regime

__all__ = ["Strategy", "frontier_probability", "membership_probability", "patches_reached", "probabilities"]

Strategy: TypeAlias = Literal["uniform", "bernoulli"]
"""How patches are masked: a fixed number of them at random, or each on its own with the same probability."""

_BITS_AT_ONCE = 2**28
"""Nodes times patches worked on at once: 32 MiB of bits."""


def membership_probability(
    graph: LatentGraph, ratio: float, *, patches: Patches | None = None, strategy: Strategy = "uniform"
) -> dict[str, float]:
    """Probability that each latent is in the shared information of a random mask.

    With ``N`` patches of which a latent reaches ``k``, and ``M`` of them masked, it is
    ``1 - C(N-k, M) / C(N, M) - C(N-k, N-M) / C(N, N-M)`` for uniform masks, and
    ``1 - (1-r)**k - r**k`` for Bernoulli masks. Exact for any DAG in the invertible regime.

    Args:
        graph: the generating graph.
        ratio: share of the patches that is masked, strictly between 0 and 1.
        patches: what is masked together; ``None`` masks observed variables one by one.
        strategy: "uniform" masks exactly ``count_masked(ratio, N)`` patches, "bernoulli" masks each
            patch independently with probability ``ratio`` (masks that leave one side empty included:
            nothing is shared under them).

    Returns:
        Name of each latent to its probability, in the order of ``graph.latents``. A latent inside one
        patch has exactly 0.

    Raises:
        ValueError: a ratio outside (0, 1) or one that rounds to nothing masked or nothing visible,
            patches that do not fit the graph, an unknown strategy, or dims that no invertible
            mechanism can have.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> membership_probability(LatentGraph.tree(2, 2), 0.5)["z2_0"]
        1.0
    """
    reach, n_patches = _reach(graph, patches)
    values = _membership(reach, n_patches, ratio, strategy)
    return dict(zip(graph.latents, values.tolist(), strict=True))


def frontier_probability(
    graph: LatentGraph, ratio: float, *, patches: Patches | None = None, strategy: Strategy = "uniform"
) -> dict[str, float]:
    """Probability that each latent is in the frontier of the shared information of a random mask.

    The frontier are the members of ``c`` with no child in ``c``; every other member is a function of them.
    Exact for any DAG in the invertible regime; the formula is derived in :mod:`hlvm.theory.frontier`.

    Args:
        graph: the generating graph.
        ratio: share of the patches that is masked, strictly between 0 and 1.
        patches: what is masked together; ``None`` masks observed variables one by one.
        strategy: "uniform" or "bernoulli", as in :func:`membership_probability`.

    Returns:
        Name of each latent to its probability, in the order of ``graph.latents``; at most its
        :func:`membership_probability`.

    Raises:
        ValueError: as in :func:`membership_probability`.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> found = frontier_probability(LatentGraph.tree(2, 2), 0.5)
        >>> round(found["z2_0"], 3), round(found["z1_0"], 3)
        (0.333, 0.667)
    """
    _, values = probabilities(graph, [ratio], patches, strategy)
    return dict(zip(graph.latents, values[0].tolist(), strict=True))


def probabilities(
    graph: LatentGraph, ratios: Sequence[float], patches: Patches | None, strategy: Strategy
) -> tuple[Float[np.ndarray, "n_ratios n_latents"], Float[np.ndarray, "n_ratios n_latents"]]:
    """:func:`membership_probability` and :func:`frontier_probability` at several ratios, over ``graph.latents``.

    Raises:
        ValueError: as there.
    """
    reach, n_patches = _reach(graph, patches)
    members = np.stack([_membership(reach, n_patches, ratio, strategy) for ratio in ratios])
    return members, _frontier(graph, patches, reach, n_patches, ratios, strategy)


def patches_reached(graph: LatentGraph, patches: Patches | None = None) -> Int[np.ndarray, " n_latents"]:
    """Number of patches that each latent has a descendant in.

    Args:
        graph: any graph.
        patches: what is masked together; ``None`` makes every observed variable a patch.

    Returns:
        One count per latent of ``graph.latents``, from 1 to the number of patches.

    Raises:
        ValueError: the patches do not fit the graph.
    """
    patch_of = patch_index(graph, patches)
    n_patches, n_latents = int(patch_of.max()) + 1, graph.n_latents
    count = np.zeros(n_latents, dtype=np.int64)
    step = max(64, _BITS_AT_ONCE // len(graph.nodes) // 64 * 64)
    for begin in range(0, n_patches, step):
        bits = _patch_bits(patch_of - begin, min(step, n_patches - begin))
        count += np.bitwise_count(graph.arrays.reached(bits)[:n_latents]).sum(axis=1, dtype=np.int64)
    return count


def _patch_bits(patch_of: Int[np.ndarray, " n_observed"], width: int) -> UInt64[np.ndarray, "n_observed n_words"]:
    """One bit per patch from 0 to ``width - 1``, set where an observed variable is in it."""
    bits = np.zeros((len(patch_of), -(-width // 64)), dtype=np.uint64)
    here = np.flatnonzero((patch_of >= 0) & (patch_of < width))
    word, place = np.divmod(patch_of[here], 64)
    bits[here, word] = np.left_shift(np.uint64(1), place.astype(np.uint64))
    return bits


def _reach(graph: LatentGraph, patches: Patches | None) -> tuple[Int[np.ndarray, " n_latents"], int]:
    check_regime(graph, "invertible")
    reach = patches_reached(graph, patches)
    return reach, graph.n_observed if patches is None else len(patches)


def _membership(
    reach: Int[np.ndarray, " n_latents"], n_patches: int, ratio: float, strategy: str
) -> Float[np.ndarray, " n_latents"]:
    if strategy not in get_args(Strategy):
        raise ValueError(f'strategy must be "uniform" or "bernoulli", got {strategy!r}')
    if strategy == "uniform":
        n_masked = count_masked(ratio, n_patches)
        none_masked = _all_among(reach, n_patches, n_patches - n_masked)
        none_visible = _all_among(reach, n_patches, n_masked)
    else:
        r = min(checked_ratio(ratio), 1.0 - ratio)  # which side is called masked makes no difference
        return np.where(reach > 1, np.maximum(-np.expm1(reach * np.log1p(-r)) - r**reach, 0.0), 0.0)
    both = np.clip(1.0 - none_masked - none_visible, 0.0, 1.0)
    return np.where(reach > 1, both, 0.0)


def _frontier(
    graph: LatentGraph,
    patches: Patches | None,
    reach: Int[np.ndarray, " n_latents"],
    n_patches: int,
    ratios: Sequence[float],
    strategy: str,
) -> Float[np.ndarray, "n_ratios n_latents"]:
    patch_of = patch_index(graph, patches)
    groups = child_groups(graph, reach, patch_of)
    found = np.empty((len(ratios), len(groups)))
    for row, ratio in enumerate(ratios):
        if strategy == "uniform":
            n_masked = count_masked(ratio, n_patches)
            values = {kind: frontier_uniform(kind, n_patches, n_masked) for kind in set(groups)}
        else:
            values = {kind: frontier_bernoulli(kind, ratio) for kind in set(groups)}
        found[row] = [values[kind] for kind in groups]
    return found


def _all_among(reach: Int[np.ndarray, " n_latents"], n: int, m: int) -> Float[np.ndarray, " n_latents"]:
    """Probability that ``k`` given patches all lie among ``m`` of ``n`` drawn at random, for ``k`` in ``reach``.

    This is ``C(n-k, m-k) / C(n, m)``, written as the product of ``(m-i) / (n-i)`` for ``i < k``. Its
    factors are at most 1, so nothing overflows and no large logarithms cancel.
    """
    i = np.arange(int(reach.max()))
    product = np.cumprod(np.maximum(m - i, 0) / (n - i))
    return product[reach - 1]
