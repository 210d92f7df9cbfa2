"""What random masks let a masked autoencoder identify, level by level (section 3 of ``docs/theory.md``).

Uniform and Bernoulli masks have a closed form in the invertible regime. Every other strategy, and the general regime,
are averaged over masks drawn at random.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast, get_args

import numpy as np
from jaxtyping import Array, Float, Int, Key

from hlvm._keys import checked_key
from hlvm._numbers import whole_number
from hlvm.graph import LatentGraph
from hlvm.masking import BernoulliMask, MaskSampler, Patches, RandomMask
from hlvm.masking.masks import checked_ratios
from hlvm.theory.membership import Strategy, probabilities
from hlvm.theory.sampled_profile import Mean, sampled_levels
from hlvm.theory.shared_information import Regime, check_regime

__all__ = ["LevelProfile", "level_profile"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LevelProfile:
    """Expected make-up of the shared information ``c`` by height, at each masking ratio.

    Expectations are over random masks. Heights without a latent do not occur. Standard errors are those of the mean
    over the masks drawn; closed forms have none, and 0 stands there. An error of 0 beside a share of 0 or 1 that was
    sampled says only that all masks drawn agreed.

    Attributes:
        strategy: "uniform", "bernoulli", or the object that drew the masks.
        regime: "invertible" or "general". In the general regime ``c`` is the least-dims separator nearest the masked
            part.
        n_masks: number of masks drawn at each ratio; 0 for a closed form.
        ratios: shape (n_ratios,), masking ratios, strictly between 0 and 1. For a strategy without a ratio of its own
            the mean share of observed variables that its masks hide.
        heights: shape (n_heights,), heights of latents, from 1 up.
        n_latents: shape (n_heights,), number of latents of each height.
        share: shape (n_ratios, n_heights), expected share of the latents of a height that are in ``c``, 0 to 1.
        standard_error: shape (n_ratios, n_heights), of ``share``, at least 0.
        frontier_share: shape (n_ratios, n_heights), expected share of the latents of a height that are in the frontier
            of ``c`` (members with no child in ``c``), 0 to ``share``.
        frontier_standard_error: shape (n_ratios, n_heights), of ``frontier_share``.
        count: shape (n_ratios, n_heights), expected number of members of a height, 0 to ``n_latents``.
        dim: shape (n_ratios, n_heights), expected dims of ``c`` at a height: in the invertible regime the
            intrinsic dims (noise dims) that enter there, in the general regime the members' dims.
        dim_standard_error: shape (n_ratios, n_heights), of ``dim``.
        total_dim: shape (n_ratios,), expected dims of ``c``.
        total_dim_standard_error: shape (n_ratios,), of ``total_dim``.
    """

    strategy: Strategy | MaskSampler
    regime: Regime
    n_masks: int
    ratios: Float[np.ndarray, " n_ratios"]
    heights: Int[np.ndarray, " n_heights"]
    n_latents: Int[np.ndarray, " n_heights"]
    share: Float[np.ndarray, "n_ratios n_heights"]
    standard_error: Float[np.ndarray, "n_ratios n_heights"]
    frontier_share: Float[np.ndarray, "n_ratios n_heights"]
    frontier_standard_error: Float[np.ndarray, "n_ratios n_heights"]
    count: Float[np.ndarray, "n_ratios n_heights"]
    dim: Float[np.ndarray, "n_ratios n_heights"]
    dim_standard_error: Float[np.ndarray, "n_ratios n_heights"]
    total_dim: Float[np.ndarray, " n_ratios"]
    total_dim_standard_error: Float[np.ndarray, " n_ratios"]

    @property
    def mean_height(self) -> Float[np.ndarray, " n_ratios"]:
        """Mean height of the members of ``c``, pooled over masks; NaN where ``c`` is always empty."""
        members = self.count.sum(axis=1)
        weighted = self.count @ self.heights
        return np.divide(weighted, members, out=np.full(len(members), np.nan), where=members > 0)


def level_profile(
    graph: LatentGraph,
    ratios: Sequence[float] | Float[Any, " n_ratios"] | None = None,
    *,
    patches: Patches | None = None,
    strategy: Strategy | MaskSampler = "uniform",
    regime: Regime = "invertible",
    key: Key[Array, ""] | None = None,
    n_masks: int = 1000,
) -> LevelProfile:
    """Expected share, number and dims of the latents of each height that a random mask identifies.

    Closed form for "uniform" and "bernoulli" in the invertible regime, else the average over masks drawn at random. The
    same key is used at every ratio, so that ratios are compared on paired draws.

    Args:
        graph: the generating graph.
        ratios: masking ratios, at least one. With an object as strategy that has a ``ratio`` (a dataclass field), one
            profile row per ratio, each from a copy of the object with that ratio; ``None`` takes the object as it is.
        patches: what is masked together; ``None`` masks observed variables one by one. An object as strategy has its
            own masking units.
        strategy: "uniform" or "bernoulli", as in :func:`membership_probability`, or any object with a method
            ``sample(key, n, graph)`` that draws masks, such as :class:`~hlvm.masking.BlockMask`.
        regime: "invertible" or "general", as in :func:`~hlvm.theory.shared_information`.
        key: a typed JAX key; needed where masks are drawn, not used in closed forms.
        n_masks: masks drawn at each ratio, at least 2; not used in closed forms.

    Returns:
        The profile, one row per ratio.

    Raises:
        ValueError: no ratios where they are needed, or ratios for a strategy that has none; no key where one is needed;
            patches beside an object as strategy; ``n_masks`` below 2; masks that leave one side empty; or as in
            :func:`membership_probability`.

    References:
        ``docs/theory.md``, section 3.

    Example:
        >>> level_profile(LatentGraph.tree(2, 2), [0.25, 0.5]).share.round(2).tolist()
        [[0.5, 1.0], [0.67, 1.0]]
    """
    check_regime(graph, regime)
    ratio_list = None if ratios is None else checked_ratios(ratios)
    present, level = np.unique(np.asarray(graph.heights)[: graph.n_latents], return_inverse=True)
    at_level = (level[:, None] == np.arange(len(present))).astype(np.float64)
    if isinstance(strategy, str):
        if strategy not in get_args(Strategy):
            raise ValueError(
                f'strategy must be "uniform" or "bernoulli", got {strategy!r}; or an object that draws masks, such as '
                "hlvm.masking.BlockMask"
            )
        if ratio_list is None:
            raise ValueError(f'ratios is missing: strategy="{strategy}" needs at least one masking ratio')
        if regime == "invertible":
            return _closed_form(graph, ratio_list, patches, strategy, present, at_level)
    samplers, scales = _samplers(graph, ratio_list, patches, strategy)
    if key is None:
        raise ValueError("this profile is averaged over masks drawn at random: give key=jax.random.key(...)")
    n_masks = whole_number(n_masks, "n_masks", minimum=2)  # for a standard error
    key = checked_key(key)
    rows = [
        sampled_levels(graph, sampler, regime=regime, key=key, n_masks=n_masks, at_level=at_level)
        for sampler in samplers
    ]
    share, frontier, dim, total = (
        Mean(*(scales.reshape(-1, *[1] * np.ndim(part[0])) * np.stack(part) for part in zip(*means, strict=True)))
        for means in zip(*(row[:4] for row in rows), strict=True)
    )
    n_latents = np.bincount(level)
    return LevelProfile(
        strategy=strategy,
        regime=regime,
        n_masks=n_masks,
        ratios=np.asarray([row.masked_share for row in rows] if ratio_list is None else ratio_list),
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


def _samplers(
    graph: LatentGraph, ratios: list[float] | None, patches: Patches | None, strategy: Any
) -> tuple[list[MaskSampler], Float[np.ndarray, " n_ratios"]]:
    """What draws the masks of each row, and the probability that a mask has two sides at all.

    It is 1 except for "bernoulli", whose expectations include the masks with an empty side; these share nothing.
    """
    if strategy == "uniform" and ratios is not None:
        return [RandomMask(ratio=ratio, patches=patches) for ratio in ratios], np.ones(len(ratios))
    if strategy == "bernoulli" and ratios is not None:
        n = graph.n_observed if patches is None else len(patches)
        r = np.asarray(ratios)
        return [BernoulliMask(ratio=ratio, patches=patches) for ratio in ratios], 1.0 - r**n - (1.0 - r) ** n
    if isinstance(strategy, type) or not callable(getattr(strategy, "sample", None)):
        raise ValueError(f"strategy must be a name or an object with a method sample(key, n, graph), got {strategy!r}")
    if patches is not None:
        raise ValueError(f"{type(strategy).__name__} has its own masking units: leave patches out")
    if ratios is None:
        return [cast("MaskSampler", strategy)], np.ones(1)
    fields = {field.name for field in dataclasses.fields(strategy)} if dataclasses.is_dataclass(strategy) else set()
    if "ratio" not in fields:
        raise ValueError(f"{type(strategy).__name__} has no ratio to set: leave ratios out, and it is used as it is")
    replace: Any = dataclasses.replace
    return [replace(strategy, ratio=ratio) for ratio in ratios], np.ones(len(ratios))


def _closed_form(
    graph: LatentGraph,
    ratios: list[float],
    patches: Patches | None,
    strategy: Strategy,
    heights: Int[np.ndarray, " n_heights"],
    at_level: Float[np.ndarray, "n_latents n_heights"],
) -> LevelProfile:
    probability, frontier = probabilities(graph, ratios, patches, strategy)
    noise_dims = np.asarray(graph.noise_dims, dtype=np.float64)[: graph.n_latents]
    n_latents = at_level.sum(axis=0).astype(np.int64)
    count = probability @ at_level
    dim = (probability * noise_dims) @ at_level
    none = np.zeros_like(count)
    return LevelProfile(
        strategy=strategy,
        regime="invertible",
        n_masks=0,
        ratios=np.asarray(ratios),
        heights=heights,
        n_latents=n_latents,
        share=count / n_latents,
        standard_error=none,
        frontier_share=frontier @ at_level / n_latents,
        frontier_standard_error=none,
        count=count,
        dim=dim,
        dim_standard_error=none,
        total_dim=dim.sum(axis=1),
        total_dim_standard_error=np.zeros(len(ratios)),
    )
