"""Level profiles: how much of each level random masks let a masked autoencoder identify (theory.md, section 3).

Counted patches and patches by chance have a closed form in the invertible regime. Lists of masks are gone through.
Everything else is averaged over masks drawn at random.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hlvm.graph import LatentGraph
from hlvm.masking import Chance, Counted, MaskSampler, Patches
from hlvm.theory.one_mask.shared_information import Regime, check_regime
from hlvm.theory.random_masks.averages import Draws, Levels, Mean, asked, averaged_levels
from hlvm.theory.random_masks.membership import Membership

__all__ = ["LevelProfile", "level_profile"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LevelProfile:
    """Expected make-up of the shared information ``c`` by height, one row per strategy.

    Expectations are over random masks. Heights without a latent do not occur. Standard errors are those of the mean
    over the masks drawn; where a row is exact, 0 stands there. An error of 0 beside a share of 0 or 1 that was
    sampled says only that all masks drawn agreed.

    Attributes:
        strategies: what draws the masks of each row.
        regime: "invertible" or "general". In the general regime ``c`` is the least-dims separator nearest the masked
            part.
        n_masks: number of masks drawn in each row that is not exact; 0 if all rows are exact.
        masked_share: shape (n_rows,), expected share of the observed variables that is masked, strictly between 0 and
            1: the masking ratio after rounding.
        heights: shape (n_heights,), heights of latents, from 1 up.
        n_latents: shape (n_heights,), number of latents of each height.
        share: shape (n_rows, n_heights), expected share of the latents of a height that are in ``c``, 0 to 1.
        standard_error: shape (n_rows, n_heights), of ``share``, at least 0.
        frontier_share: shape (n_rows, n_heights), expected share of the latents of a height that are in the frontier
            of ``c`` (members with no child in ``c``), 0 to ``share``.
        frontier_standard_error: shape (n_rows, n_heights), of ``frontier_share``.
        count: shape (n_rows, n_heights), expected number of members of a height, 0 to ``n_latents``.
        dim: shape (n_rows, n_heights), expected dims of ``c`` at a height: in the invertible regime the
            intrinsic dims (noise dims) that enter there, in the general regime the members' dims.
        dim_standard_error: shape (n_rows, n_heights), of ``dim``.
        total_dim: shape (n_rows,), expected dims of ``c``.
        total_dim_standard_error: shape (n_rows,), of ``total_dim``.
    """

    strategies: tuple[MaskSampler, ...]
    regime: Regime
    n_masks: int
    masked_share: Float[np.ndarray, " n_rows"]
    heights: Int[np.ndarray, " n_heights"]
    n_latents: Int[np.ndarray, " n_heights"]
    share: Float[np.ndarray, "n_rows n_heights"]
    standard_error: Float[np.ndarray, "n_rows n_heights"]
    frontier_share: Float[np.ndarray, "n_rows n_heights"]
    frontier_standard_error: Float[np.ndarray, "n_rows n_heights"]
    count: Float[np.ndarray, "n_rows n_heights"]
    dim: Float[np.ndarray, "n_rows n_heights"]
    dim_standard_error: Float[np.ndarray, "n_rows n_heights"]
    total_dim: Float[np.ndarray, " n_rows"]
    total_dim_standard_error: Float[np.ndarray, " n_rows"]

    @property
    def mean_height(self) -> Float[np.ndarray, " n_rows"]:
        """Mean height of the members of ``c``, pooled over masks; NaN where ``c`` is always empty."""
        members = self.count.sum(axis=1)
        weighted = self.count @ self.heights
        return np.divide(weighted, members, out=np.full(len(members), np.nan), where=members > 0)


def level_profile(
    graph: LatentGraph,
    strategies: Iterable[MaskSampler],
    *,
    regime: Regime = "invertible",
    key: Any = None,
    n_masks: int = 1000,
) -> LevelProfile:
    """Expected share, number and dims of the latents of each height that a random mask identifies.

    Exact wherever the law of a strategy and the regime allow: in the invertible regime a closed form for counted
    patches and for patches by chance, and the mean over all masks of a list; in the general regime the mean over lists
    of at most ``n_masks`` masks. Everything else is the average over masks drawn at random. The same key is used for
    every row, so that ratios are compared on paired draws.

    Args:
        graph: the generating graph.
        strategies: what draws the masks, one row each: strategies of :mod:`hlvm.masking`, and any objects with a method
            ``sample(key, n, graph)``.
        regime: "invertible" or "general", as in :func:`~hlvm.theory.shared_information`.
        key: a JAX key or an int; needed only where masks are drawn.
        n_masks: masks drawn for each row that is not exact, at least 2.

    Returns:
        The profile, one row per strategy.

    Raises:
        ValueError: no list of strategies, an empty one, or a strategy that does not fit the graph; no key where one is
            needed; ``n_masks`` below 2; wrong masks drawn; or dims that no invertible mechanism can have.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> from hlvm.masking import RandomMask
        >>> masks = [RandomMask(ratio=ratio) for ratio in (0.25, 0.5)]
        >>> level_profile(LatentGraph.tree(2, 2), masks).share.round(2).tolist()
        [[0.5, 1.0], [0.67, 1.0]]
    """
    check_regime(graph, regime)
    draws, rows = Draws.checked(key, n_masks), asked(graph, strategies, "strategies")
    present, level = np.unique(np.asarray(graph.heights)[: graph.n_latents], return_inverse=True)
    at_level = (level[:, None] == np.arange(len(present))).astype(np.float64)
    memberships: dict[Patches, Membership] = {}
    found: list[Levels] = []
    for row in rows:
        law = row.law
        if regime == "invertible" and isinstance(law, Counted | Chance):
            if law.patches not in memberships:
                memberships[law.patches] = Membership(graph, law.patches)
            found.append(_closed_form(graph, memberships[law.patches], law, at_level))
        else:
            found.append(averaged_levels(graph, row, draws, regime=regime, at_level=at_level))
    share, frontier, dim, total = (
        Mean(*(np.stack(part) for part in zip(*means, strict=True)))
        for means in zip(*(levels[:4] for levels in found), strict=True)
    )
    n_latents = np.bincount(level)
    return LevelProfile(
        strategies=tuple(row.strategy for row in rows),
        regime=regime,
        n_masks=max(levels.n_masks for levels in found),
        masked_share=np.asarray([levels.masked_share for levels in found]),
        heights=present,
        n_latents=n_latents,
        share=share.value,
        standard_error=share.error,
        frontier_share=frontier.value,
        frontier_standard_error=frontier.error,
        count=share.value * n_latents,
        dim=dim.value,
        dim_standard_error=dim.error,
        total_dim=total.value,
        total_dim_standard_error=total.error,
    )


def _closed_form(
    graph: LatentGraph,
    membership: Membership,
    law: Counted | Chance,
    at_level: Float[np.ndarray, "n_latents n_heights"],
) -> Levels:
    probability = membership.members(law)
    dim = (probability * np.asarray(graph.noise_dims, dtype=np.float64)[: graph.n_latents]) @ at_level
    n_latents = at_level.sum(axis=0)
    return Levels(
        share=Mean.exactly(probability @ at_level / n_latents),
        frontier_share=Mean.exactly(membership.frontier(law) @ at_level / n_latents),
        dim=Mean.exactly(dim),
        total_dim=Mean.exactly(dim.sum()),
        masked_share=law.masked_share,
        n_masks=0,
    )
