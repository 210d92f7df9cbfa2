"""The probability that a random mask identifies a latent (section 3 of ``docs/theory.md``).

Everything here is for the invertible regime, where a latent is in ``c`` exactly if it reaches both a masked and a
visible patch. For counted patches and for patches by chance the probability has a closed form: it depends only on the
number of patches that the latent reaches. Other laws are averaged over masks.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt64

from hlvm.graph import LatentGraph
from hlvm.masking import Chance, Counted, MaskSampler, Patches, law_of
from hlvm.masking.patches import patch_index
from hlvm.masking.strategies import as_strategy
from hlvm.theory.one_mask.shared_information import Regime, check_regime
from hlvm.theory.random_masks.averages import Asked, Draws, masks_of, shared_by
from hlvm.theory.random_masks.frontier import Groups, child_groups, frontier_bernoulli, frontier_uniform

__all__ = ["Membership", "frontier_probability", "membership_probability", "patches_reached"]

_BITS_AT_ONCE = 2**28
"""Nodes times patches worked on at once: 32 MiB of bits."""


def membership_probability(
    graph: LatentGraph,
    strategy: MaskSampler,
    *,
    regime: Regime = "invertible",
    key: Any = None,
    n_masks: int = 1000,
) -> dict[str, float]:
    """Probability that each latent is in the shared information of a random mask.

    With ``N`` patches of which a latent reaches ``k``, and ``M`` of them masked at random, it is
    ``1 - C(N-k, M) / C(N, M) - C(N-k, N-M) / C(N, N-M)``, averaged over ``M`` where that is random. If each patch is
    masked by chance, given that both sides are non-empty, it is
    ``(1 - (1-r)**k - r**k) / (1 - (1-r)**N - r**N)``. Both are exact for any DAG in the invertible regime, and so is
    the mean over a list of masks. For other laws masks are drawn, and the standard error of a probability ``p`` is
    ``sqrt(p * (1 - p) / n_masks)``.

    Args:
        graph: the generating graph.
        strategy: what draws the masks, such as :class:`~hlvm.masking.RandomMask`.
        regime: "invertible" or "general", as in :func:`~hlvm.theory.shared_information`. In the general regime only
            lists of at most ``n_masks`` masks are exact.
        key: a JAX key or an int; needed only where masks are drawn.
        n_masks: masks drawn, at least 2; not used where the answer is exact.

    Returns:
        Name of each latent to its probability, in the order of ``graph.latents``. A latent inside one
        patch has exactly 0.

    Raises:
        ValueError: no strategy, or one that does not fit the graph; no key where masks have to be drawn; wrong masks
            drawn; or dims that no invertible mechanism can have.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> from hlvm.masking import RandomMask
        >>> membership_probability(LatentGraph.tree(2, 2), RandomMask(ratio=0.5))["z2_0"]
        1.0
    """
    return _probability(graph, strategy, key, n_masks, regime, frontier=False)


def frontier_probability(
    graph: LatentGraph, strategy: MaskSampler, *, key: Any = None, n_masks: int = 1000
) -> dict[str, float]:
    """Probability that each latent is in the frontier of the shared information of a random mask.

    The frontier are the members of ``c`` with no child in ``c``; every other member is a function of them.
    Exact where :func:`membership_probability` is; the formula is derived in :mod:`hlvm.theory.random_masks.frontier`.

    Args:
        graph: the generating graph.
        strategy: what draws the masks.
        key: as in :func:`membership_probability`.
        n_masks: as in :func:`membership_probability`.

    Returns:
        Name of each latent to its probability, in the order of ``graph.latents``; at most its
        :func:`membership_probability`.

    Raises:
        ValueError: as in :func:`membership_probability`.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> from hlvm.masking import RandomMask
        >>> found = frontier_probability(LatentGraph.tree(2, 2), RandomMask(ratio=0.5))
        >>> round(found["z2_0"], 3), round(found["z1_0"], 3)
        (0.333, 0.667)
    """
    return _probability(graph, strategy, key, n_masks, "invertible", frontier=True)


def _probability(
    graph: LatentGraph, strategy: MaskSampler, key: Any, n_masks: int, regime: Regime, *, frontier: bool
) -> dict[str, float]:
    check_regime(graph, regime)
    draws, law = Draws.checked(key, n_masks), law_of(strategy, graph)
    if isinstance(law, Counted | Chance) and regime == "invertible":
        membership = Membership(graph, law.patches)
        values = membership.frontier(law) if frontier else membership.members(law)
    else:
        parts, _ = masks_of(graph, Asked(as_strategy(strategy), law), draws, regime)
        values = np.concatenate([shared_by(graph, masks, regime)[frontier] for masks in parts]).mean(axis=0)
    return dict(zip(graph.latents, values.tolist(), strict=True))


class Membership:
    """Closed forms for the masks of one partition into patches, over ``graph.latents``."""

    def __init__(self, graph: LatentGraph, patches: Patches) -> None:
        self.graph = graph
        self.patches = patches

    @cached_property
    def reach(self) -> Int[np.ndarray, " n_latents"]:
        """Number of patches below each latent."""
        return patches_reached(self.graph, self.patches)

    @cached_property
    def _groups(self) -> list[Groups]:
        return child_groups(self.graph, self.reach, self.patches.index(self.graph))

    def members(self, law: Counted | Chance) -> Float[np.ndarray, " n_latents"]:
        """Probability of each latent to be shared."""
        if isinstance(law, Counted):
            return 1.0 - self.one_sided(law)
        found = _both_sides(self.reach, law.ratio) / _both_sides(np.asarray(len(self.patches)), law.ratio)
        return np.where(self.reach > 1, np.clip(found, 0.0, 1.0), 0.0)

    def one_sided(self, law: Counted | Chance) -> Float[np.ndarray, " n_latents"]:
        """Probability of each latent not to be shared; it keeps its digits where it is small."""
        n, k = len(self.patches), self.reach
        if isinstance(law, Counted):
            # Many latents reach equally many patches, and a range has many counts.
            few, which = np.unique(k, return_inverse=True)
            total = sum((_all_among(few, n, n - m) + _all_among(few, n, m) for m in law.counts), np.zeros(len(few)))
            found = (total / len(law.counts))[which]
        else:
            r = min(law.ratio, 1 - law.ratio)  # which side is called masked makes no difference
            shown, all_shown = k * np.log1p(-r), n * np.log1p(-r)
            found = np.exp(shown) * -np.expm1(all_shown - shown) + r**k - r**n
            found = found / _both_sides(np.asarray(n), r)
        return np.where(k == 1, 1.0, np.clip(found, 0.0, 1.0))

    def frontier(self, law: Counted | Chance) -> Float[np.ndarray, " n_latents"]:
        """Probability of each latent to be in the frontier."""
        n, kinds = len(self.patches), set(self._groups)
        if isinstance(law, Counted):
            value = {kind: np.mean([frontier_uniform(kind, n, m) for m in law.counts]) for kind in kinds}
        else:
            two_sides = _both_sides(np.asarray(n), law.ratio)
            value = {kind: min(1.0, frontier_bernoulli(kind, law.ratio) / two_sides) for kind in kinds}
        return np.asarray([value[kind] for kind in self._groups])


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


def _both_sides(k: Int[np.ndarray, "*shape"], ratio: float) -> Float[np.ndarray, "*shape"]:
    """Probability that of ``k`` patches, each masked by itself, some are masked and some are not.

    ``1 - (1-r)**k - r**k`` is about ``k r``: written as it stands, it would lose its digits at tiny ratios.
    """
    r = min(ratio, 1.0 - ratio)  # which side is called masked makes no difference
    return -np.expm1(k * np.log1p(-r)) - r**k


def _all_among(reach: Int[np.ndarray, " n_latents"], n: int, m: int) -> Float[np.ndarray, " n_latents"]:
    """Probability that ``k`` given patches all lie among ``m`` of ``n`` drawn at random, for ``k`` in ``reach``.

    This is ``C(n-k, m-k) / C(n, m)``, written as the product of ``(m-i) / (n-i)`` for ``i < k``. Its
    factors are at most 1, so nothing overflows and no large logarithms cancel.
    """
    i = np.arange(int(reach.max()))
    product = np.cumprod(np.maximum(m - i, 0) / (n - i))
    return product[reach - 1]
