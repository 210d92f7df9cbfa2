"""What random masks let a masked autoencoder identify, in closed form (section 3 of ``docs/theory.md``).

Everything here is for the invertible regime, where a latent is in ``c`` exactly if it reaches both a
masked and a visible patch. How likely that is depends only on the number of patches it reaches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Int, UInt64

from hlvm.graph import LatentGraph
from hlvm.masking import Patches, check_ratio, count_masked
from hlvm.theory.levels import reached
from hlvm.theory.shared_information import check_regime

__all__ = ["LevelProfile", "Strategy", "level_profile", "membership_probability", "patches_reached"]

Strategy: TypeAlias = Literal["uniform", "bernoulli"]
"""How patches are masked: a fixed number of them at random, or each on its own with the same probability."""

_BITS_AT_ONCE = 2**28
"""Nodes times patches worked on at once: 32 MiB of bits."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LevelProfile:
    """Expected make-up of the shared information ``c`` by height, at each masking ratio.

    Expectations are over random masks. Heights without a latent do not occur.

    Attributes:
        strategy: "uniform" or "bernoulli".
        ratios: shape (n_ratios,), masking ratios, strictly between 0 and 1.
        heights: shape (n_heights,), heights of latents, from 1 up.
        n_latents: shape (n_heights,), number of latents of each height.
        share: shape (n_ratios, n_heights), expected share of the latents of a height that are in
            ``c``, 0 to 1.
        count: shape (n_ratios, n_heights), expected number of them, 0 to ``n_latents``.
        dim: shape (n_ratios, n_heights), expected intrinsic dims of ``c`` that enter at a height.
        total_dim: shape (n_ratios,), expected intrinsic dimension of ``c``.
    """

    strategy: Strategy
    ratios: Float[np.ndarray, " n_ratios"]
    heights: Int[np.ndarray, " n_heights"]
    n_latents: Int[np.ndarray, " n_heights"]
    share: Float[np.ndarray, "n_ratios n_heights"]
    count: Float[np.ndarray, "n_ratios n_heights"]
    dim: Float[np.ndarray, "n_ratios n_heights"]
    total_dim: Float[np.ndarray, " n_ratios"]

    @property
    def mean_height(self) -> Float[np.ndarray, " n_ratios"]:
        """Mean height of the members of ``c``, pooled over masks; NaN where ``c`` is always empty."""
        members = self.count.sum(axis=1)
        weighted = self.count @ self.heights
        return np.divide(weighted, members, out=np.full(len(members), np.nan), where=members > 0)


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


def level_profile(
    graph: LatentGraph,
    ratios: Sequence[float] | Float[Any, " n_ratios"],
    *,
    patches: Patches | None = None,
    strategy: Strategy = "uniform",
) -> LevelProfile:
    """Expected share, number and dims of the latents of each height that a random mask identifies.

    Args:
        graph: the generating graph.
        ratios: masking ratios, at least one.
        patches: what is masked together; ``None`` masks observed variables one by one.
        strategy: "uniform" or "bernoulli", as in :func:`membership_probability`.

    Returns:
        The profile, one row per ratio.

    Raises:
        ValueError: no ratios, or as in :func:`membership_probability`.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> level_profile(LatentGraph.tree(2, 2), [0.25, 0.5]).share.round(2).tolist()
        [[0.5, 1.0], [0.67, 1.0]]
    """
    ratio_list = [float(ratio) for ratio in ratios]
    if not ratio_list:
        raise ValueError("ratios is empty: give at least one masking ratio between 0 and 1")
    reach, n_patches = _reach(graph, patches)
    probability = np.stack([_membership(reach, n_patches, ratio, strategy) for ratio in ratio_list])
    heights = np.asarray(graph.heights)[: len(graph.latents)]
    noise_dims = np.asarray(graph.noise_dims, dtype=np.float64)[: len(graph.latents)]
    present, level = np.unique(heights, return_inverse=True)
    at_level = (level[:, None] == np.arange(len(present))).astype(np.float64)
    n_latents = np.bincount(level)
    count = probability @ at_level
    dim = (probability * noise_dims) @ at_level
    return LevelProfile(
        strategy=strategy,
        ratios=np.asarray(ratio_list),
        heights=present,
        n_latents=n_latents,
        share=count / n_latents,
        count=count,
        dim=dim,
        total_dim=dim.sum(axis=1),
    )


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
    patch_of = (Patches.cells(graph) if patches is None else patches).index(graph)
    n_patches, n_latents = int(patch_of.max()) + 1, len(graph.latents)
    count = np.zeros(n_latents, dtype=np.int64)
    step = max(64, _BITS_AT_ONCE // len(graph.nodes) // 64 * 64)
    for begin in range(0, n_patches, step):
        bits = _patch_bits(patch_of - begin, min(step, n_patches - begin))
        count += np.bitwise_count(reached(graph, bits)[:n_latents]).sum(axis=1, dtype=np.int64)
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
    return patches_reached(graph, patches), len(graph.observed) if patches is None else len(patches)


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
        check_ratio(ratio)
        none_masked, none_visible = (1.0 - ratio) ** reach, ratio**reach
    both = np.clip(1.0 - none_masked - none_visible, 0.0, 1.0)
    return np.where(reach > 1, both, 0.0)


def _all_among(reach: Int[np.ndarray, " n_latents"], n: int, m: int) -> Float[np.ndarray, " n_latents"]:
    """Probability that ``k`` given patches all lie among ``m`` of ``n`` drawn at random, for ``k`` in ``reach``.

    This is ``C(n-k, m-k) / C(n, m)``, written as the product of ``(m-i) / (n-i)`` for ``i < k``. Its
    factors are at most 1, so nothing overflows and no large logarithms cancel.
    """
    i = np.arange(int(reach.max()))
    product = np.cumprod(np.maximum(m - i, 0) / (n - i))
    return product[reach - 1]
