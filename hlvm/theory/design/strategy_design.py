"""Strategy design: which random masks share exactly a given set of latents, and how often?

The inverse problem of :mod:`hlvm.theory.design.mask_design` for masks drawn at random. A mask shares exactly the
target if it keeps the *parts* of that theorem whole and splits the sets of parts below the frontier of the target. It
shares the target at least if it splits the sets of patches below the lowest latents of the target. Both are counted in
:mod:`hlvm.theory.design.splitting_count`, for any number of masked patches, as long as few sets overlap: never on
forests whose patches are single observed variables or whole subtrees, since what is below one latent is then not below
another. How many latents are missing or too many follows from the probability of each of them, on any graph. Strategies
with a list of masks, such as rectangles, are gone through. The rest is sampled.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import beta

from hlvm.graph import LatentGraph
from hlvm.masking import MaskSampler, Patches
from hlvm.theory.design.candidates import default_candidates
from hlvm.theory.design.mask_design import Impossible, checked_target
from hlvm.theory.design.target_view import Target, TargetView
from hlvm.theory.one_mask.shared_information import check_regime, shared_information_batch
from hlvm.theory.random_masks.averages import Asked, Draws, asked, can_be_listed, masks_of

__all__ = ["StrategyMatch", "design_strategy"]

_CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategyMatch:
    """Success of the masks of one strategy at sharing a target.

    Standard errors are those of a mean over masks drawn at random. They are 0 where the number is exact, and where all
    masks drawn agreed.

    Attributes:
        strategy: what draws the masks.
        description: the strategy on this graph, in words.
        probability: that a mask shares exactly the target, 0 to 1.
        standard_error: of ``probability``.
        upper_bound: 95% upper confidence bound of ``probability`` (Clopper and Pearson): about 3 over the number of
            masks drawn if none of them shared exactly the target. Equal to ``probability`` where that is exact.
        log_probability: natural logarithm of ``probability``, also where that is too small for a floating-point number;
            ``-inf`` where it is 0.
        exact: whether ``probability`` is exact rather than an estimate.
        contained: probability that a mask shares at least the target, from ``probability`` to 1.
        contained_error: standard error of ``contained``.
        missing: expected number of latents of the target that are not shared, 0 to the size of the target.
        missing_error: standard error of ``missing``.
        extra: expected number of latents that are shared besides, at least 0.
        extra_error: standard error of ``extra``.
        never: latents of the target that no mask of the strategy shares. For strategies that are sampled only those of
            which this follows from the patches.
        always: latents outside the target that every mask of the strategy shares; likewise.
        n_masks: number of masks drawn; 0 if everything is exact.
        impossible: the proof, if no mask of these patches shares exactly the target. ``None`` beside an exact
            ``probability`` of 0: other masks of the patches share it, but none that this strategy draws (or, where
            latents of the target overlap much, no proof was found within seconds).
    """

    strategy: MaskSampler
    description: str
    probability: float
    standard_error: float
    upper_bound: float
    log_probability: float
    exact: bool
    contained: float
    contained_error: float
    missing: float
    missing_error: float
    extra: float
    extra_error: float
    never: frozenset[str]
    always: frozenset[str]
    n_masks: int
    impossible: Impossible | None


def design_strategy(
    graph: LatentGraph,
    target: Collection[str],
    *,
    candidates: Iterable[MaskSampler] | None = None,
    n_masks: int = 1000,
    key: Any = None,
) -> tuple[StrategyMatch, ...]:
    """Rank masking strategies by how often their masks share exactly the target, in the invertible regime.

    Exact, without drawing masks, for counted patches and for patches by chance (:class:`~hlvm.masking.RandomMask`,
    :class:`~hlvm.masking.RatioRange`, :class:`~hlvm.masking.SubtreeMask`, :class:`~hlvm.masking.BernoulliMask`) on
    forests whose patches are single observed variables or whole subtrees, and on other graphs as long as few latents of
    the target overlap (up to 18 parts of patches at a time); and for lists of masks (:class:`~hlvm.masking.BlockMask`,
    :class:`~hlvm.masking.GridMask`, :class:`~hlvm.masking.FixedMask`, :class:`~hlvm.masking.MaskList`), unless they are
    very long. Everything else is estimated from masks drawn at random, the same key for every candidate. A
    target that no mask of a candidate's patches shares is reported with the proof.

    Since a mask and its complement share the same, ratios ``r`` and ``1 - r`` of patches at random come out equal.

    Args:
        graph: the generating graph.
        target: names of the latents to share; may be empty (share nothing).
        candidates: the strategies, objects that draw masks. ``None`` tries every unit: single observed variables; on a
            grid all squares that divide it; and the subtrees of each height that partition the observed variables
            otherwise. For each unit: one patch at random, and ratios 0.1, 0.25, 0.5, 0.75 and 0.9 of them; each patch
            with these probabilities; and on a grid rectangles of these ratios, and lattices that keep every 2nd, 3rd
            or 4th patch in both directions, or every 2nd in one. What does not fit is left out, and so is what draws
            the same patches as another candidate.
        n_masks: masks drawn for each candidate that is sampled, at least 2.
        key: a JAX key or an int; needed only where masks are drawn.

    Returns:
        One match per candidate: the highest probability to share exactly the target first, then the highest to share at
        least the target, then the fewest missing and extra latents, then in the order of the candidates. An estimate of
        0 ranks as 0.

    Raises:
        ValueError: a target that is not a collection of names of latents; no candidates, something that draws no masks,
            or does not fit the graph; no key where masks have to be drawn; ``n_masks`` below 2; wrong masks drawn; or
            dims that no invertible mechanism can have.

    References:
        ``docs/theory.md``, section 3; the counting is explained at the top of this module's source. The confidence
        bound: Clopper and Pearson, Biometrika 26 (1934).

    Example:
        >>> tree = LatentGraph.tree(2, 2)
        >>> best = design_strategy(tree, ["z2_0"])[0]
        >>> best.description, best.probability
        ('1 of 2 subtrees of height 1 at random', 1.0)
    """
    check_regime(graph, "invertible")
    draws = Draws.checked(key, n_masks)
    wanted = np.zeros(len(graph.latents), dtype=bool)
    wanted[list(checked_target(graph, target))] = True
    tried = asked(graph, default_candidates(graph) if candidates is None else candidates, "candidates")
    whole = Target(graph, wanted)
    views: dict[Patches, TargetView] = {}
    for of in tried:
        patches = of.law.patches
        if patches not in views:
            views[patches] = TargetView(whole, patches)
        if draws.key is None and views[patches].must_be_sampled(of.law):
            masks_of(graph, of, draws)  # which refuses, before anything else is computed
    return tuple(sorted((_match(views[of.law.patches], of, draws) for of in tried), key=_rank))


def _rank(match: StrategyMatch) -> tuple[float, float, float]:
    """Best first; ties up to rounding keep their order."""
    return -round(match.log_probability, 9), -round(match.contained, 9), round(match.missing + match.extra, 9)


# ---------------------------------------------------------------------- averages over masks


@dataclasses.dataclass(frozen=True)
class _Averages:
    """Comparison of shared latents with the target: per mask, and the latents that no mask and that all masks share."""

    exact: Bool[np.ndarray, " n_masks"]
    contained: Bool[np.ndarray, " n_masks"]
    missing: Int[np.ndarray, " n_masks"]
    extra: Int[np.ndarray, " n_masks"]
    never: Bool[np.ndarray, " n_latents"]
    always: Bool[np.ndarray, " n_latents"]


class _Number(NamedTuple):
    value: float
    error: float


def _match(view: TargetView, of: Asked, draws: Draws) -> StrategyMatch:
    """Put together what is known exactly and what is averaged over masks."""
    law = of.law
    log_known, contained_known, one_sided = view.log_probability(law), view.log_contained(law), view.one_sided(law)
    never, always = view.never_and_always(law)
    averages, listed, n_drawn = None, can_be_listed(view.graph, law), 0
    if listed or (draws.key is not None and (log_known is None or contained_known is None)):
        masks, n_drawn = masks_of(view.graph, of, draws)
        averages = _average(view.target, masks)
    if averages is not None and listed:
        never, always = averages.never, averages.always

    def number(known: float | None, name: str) -> _Number:
        if known is not None or averages is None:
            return _Number(math.nan if known is None else known, 0.0)
        per_mask = getattr(averages, name).astype(np.float64)
        return _Number(float(per_mask.mean()), 0.0 if listed else _standard_error(per_mask))

    wanted = view.target.wanted
    probability = number(None if log_known is None else math.exp(log_known), "exact")
    contained = number(None if contained_known is None else math.exp(contained_known), "contained")
    missing = number(None if one_sided is None else float(one_sided[wanted].sum()), "missing")
    extra = number(None if one_sided is None else float((1.0 - one_sided[~wanted]).sum()), "extra")
    exact = listed or log_known is not None
    log_probability = log_known
    if log_probability is None:
        log_probability = math.log(probability.value) if probability.value else -math.inf
    return StrategyMatch(
        strategy=of.strategy,
        description=law.description,
        probability=probability.value,
        standard_error=probability.error,
        upper_bound=probability.value if exact or averages is None else _upper_bound(averages.exact),
        log_probability=log_probability,
        exact=exact,
        contained=contained.value,
        contained_error=contained.error,
        missing=missing.value,
        missing_error=missing.error,
        extra=extra.value,
        extra_error=extra.error,
        never=_names(view.graph, wanted & never),
        always=_names(view.graph, ~wanted & always),
        n_masks=n_drawn,
        impossible=view.impossible if exact and log_probability == -math.inf else None,
    )


def _average(target: Target, batches: Iterable[Bool[np.ndarray, "n n_observed"]]) -> _Averages:
    lacking, surplus = [], []
    ever, always = np.zeros_like(target.wanted), np.ones_like(target.wanted)
    for masks in batches:
        members = shared_information_batch(target.graph, masks).members
        lacking.append((~members[:, target.wanted]).sum(axis=1))
        surplus.append(members[:, ~target.wanted].sum(axis=1))
        ever |= members.any(axis=0)
        always &= members.all(axis=0)
    missing, extra = np.concatenate(lacking), np.concatenate(surplus)
    return _Averages((missing == 0) & (extra == 0), missing == 0, missing, extra, ~ever, always)


def _standard_error(per_mask: Float[np.ndarray, " n_masks"]) -> float:
    return float(per_mask.std(ddof=1) / math.sqrt(len(per_mask)))


def _upper_bound(exact: Bool[np.ndarray, " n_masks"]) -> float:
    n, hits = len(exact), int(exact.sum())
    return 1.0 if hits == n else float(beta.ppf(_CONFIDENCE, hits + 1, n - hits))


def _names(graph: LatentGraph, latents: Bool[np.ndarray, " n_latents"]) -> frozenset[str]:
    return frozenset(graph.latents[u] for u in np.flatnonzero(latents).tolist())
