"""Verdicts on identifiability claims: identified, not identified, or inconclusive; never only two outcomes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hlvm.scoring.config import RegressionConfig
from hlvm.scoring.controls import Leakage, leakage_many
from hlvm.scoring.directions import WorstDirection, principal_axes, worst_direction
from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.intervals import resampling_weights
from hlvm.scoring.multiplicity import for_many_claims
from hlvm.scoring.r2 import KernelR2
from hlvm.scoring.regression import kernel_r2, kernel_r2_many, linear_r2_many

__all__ = [
    "FORWARD",
    "LOST",
    "REVERSE",
    "BlockVerdict",
    "Verdict",
    "block_verdict",
    "block_verdicts",
    "containment_verdict",
]

FORWARD = "ẑ → c"
"""Name of the direction from the representation to the content."""

REVERSE = "c → ẑ"
"""Name of the direction from the content to the representation."""

LOST = 0.5
"""A single column whose R² is surely below this is lost, however good the average over many columns."""

DIRECTION_LOST = 0.1
"""A direction is lost when its R² is surely below this. With 360 training rows directions that were lost had at most
0.04, and those of :data:`REFUTABLE_SHARE` or more at least 0.36 in exact codes of up to 12 dims
(experiments/calibration.py)."""

REFUTABLE_SHARE = 0.005
"""Only directions with this share of the content's variance are called lost. A regressor finds a smaller one late in an
exact but curved code, and from few rows not at all, so that nobody can tell it from a lost one: with 360 training rows
it explained −0.03 to 0.03 of a direction of 0.1 % of the variance of 8 dims (experiments/calibration.py)."""


class Verdict(StrEnum):
    """Outcome of a claim; each member is its own text."""

    IDENTIFIED = "identified"
    NOT_IDENTIFIED = "not identified"
    INCONCLUSIVE = "inconclusive"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BlockVerdict:
    """Outcome of a claim, with the scores it rests on.

    Attributes:
        verdict: the outcome.
        reason: why, in words.
        forward: score of the content given the representation.
        reverse: score of the representation given the content; ``None`` for containment, which does not ask for it.
        threshold: the R² that the claim asks for.
        worst: the direction of the content that the representation holds least of; ``None`` when nothing varies.
        leakage: of each of the other latents that the claim excludes; empty when none were given.
    """

    verdict: Verdict
    reason: str
    forward: KernelR2
    reverse: KernelR2 | None
    threshold: float
    worst: WorstDirection | None
    leakage: Mapping[str, Leakage]

    @property
    def directions(self) -> dict[str, KernelR2]:
        """The scores by direction, forward first."""
        return {FORWARD: self.forward} | ({} if self.reverse is None else {REVERSE: self.reverse})


def block_verdict(
    representation: ArrayLike,
    content: ArrayLike,
    *,
    others: Mapping[str, ArrayLike] | ArrayLike | None = None,
    key: Any,
    threshold: float = 0.9,
    tolerance: float = 0.05,
    min_test_rows: int = 30,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Is the representation an invertible function of the content block, and of nothing else?

    Two regressions on held-out rows: forward, content from representation (nothing was lost); reverse,
    representation from content (nothing was added). A copy of the input passes forward only, a constant or too narrow
    code fails forward, noise fails both.

    R² weights by variance, so an average over twenty columns would hide a lost one, and a share of 1 % of the variance
    any lost direction. Both are looked for, in the content:

    * *identified*: the lower ends of both R² intervals reach ``threshold``, and that of the worst direction of the
      content (:class:`WorstDirection`) reaches 0.5 (or ``threshold``, if that is smaller).
    * *not identified*: the upper end of either R² is below ``threshold``, or that of a single column below 0.5 (or
      ``threshold``), or that of the worst among the directions with 0.5 % of the variance or more below 0.1.
    * *inconclusive*: an interval straddles ``threshold``, the worst direction is neither found nor surely lost, there
      are too few test rows for an interval to mean anything, or nothing varies.

    The threshold is a share of variance, a convention: exact identification is R² = 1 with infinitely many samples,
    and 0.9 leaves room for what a regressor cannot learn from ``max_train`` rows. For the same reason *not identified*
    says that this regressor did not find it with these rows; a ceiling (the score of an exact but curved code)
    tells how much that costs.

    The reverse direction is judged by variance alone: a trace of style of less than ``1 − threshold`` of the code's
    variance passes it. With ``others`` each of them must also be predicted no better from the code, alone or beside the
    content, than from the content (:func:`hlvm.scoring.leakage`): *not identified* when the lower end of either
    difference is above ``tolerance``, *identified* only when the upper ends of both are below it.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that are claimed, shape (n, d) or (n,), same rows.
        others: latents that the representation must not hold beyond what the content tells: name -> shape (n, e) or
            (n,), or one array. R² averages over the columns of an array, so give each latent its own name. Their
            intervals hold jointly (Bonferroni).
        key: a JAX key or an int; both directions use the same split.
        threshold: R² to reach, strictly between 0 and 1.
        tolerance: R² of the others, beyond what the content tells, that counts as none; above 0.
        min_test_rows: fewer test rows than this are inconclusive.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict with its scores.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), or ``threshold`` or ``tolerance`` out of range.

    References:
        Block-identification is Theorem 2 of :cite:t:`kong2023mae`; docs/theory.md, section 6.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(400, 2))
        >>> block_verdict(z @ [[1.0, 1.0], [-1.0, 2.0]], z, key=0).verdict.value
        'identified'
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a number above 0, got {tolerance}")
    found = _verdict(representation, content, key, threshold, min_test_rows, config, two_way=True)
    if others is None:
        return found
    named = others if isinstance(others, Mapping) else {"others": others}
    joint = for_many_claims(config or RegressionConfig(), len(named))
    leaks = leakage_many(representation, content, named, key=key, config=joint)
    verdict, reason = found.verdict, found.reason
    if found.forward.n_test >= min_test_rows:
        verdict, reason = _after_leakage(verdict, reason, leaks, tolerance)
    return dataclasses.replace(found, verdict=verdict, reason=reason, leakage=leaks)


def containment_verdict(
    representation: ArrayLike,
    content: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    min_test_rows: int = 30,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Does a representation, usually wider than the content, contain the content?

    The forward half of :func:`block_verdict`, with the same three outcomes. It is a weak claim: a copy of the input
    passes, and an untrained wide encoder often does. Report it beside the score of an untrained encoder.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that are claimed, shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        threshold: R² to reach, strictly between 0 and 1.
        min_test_rows: fewer test rows than this are inconclusive.
        config: sizes and grids of the regression; ``None`` for the defaults.

    Returns:
        The verdict; its ``reverse`` is ``None``.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), or ``threshold`` out of range.
    """
    return _verdict(representation, content, key, threshold, min_test_rows, config, two_way=False)


def block_verdicts(
    representations: Mapping[str, ArrayLike],
    content: Mapping[str, ArrayLike],
    *,
    key: Any,
    threshold: float = 0.9,
    two_way: bool = True,
    min_test_rows: int = 30,
    config: RegressionConfig | None = None,
) -> dict[str, BlockVerdict]:
    """Many claims at once, each with an interval wide enough for all of them to hold together.

    With twenty 95 % intervals one is expected to miss; here all hold at once with the configured level (Bonferroni).

    Args:
        representations: claim -> code, shape (n, p) or (n,).
        content: claim -> the latents that are claimed, same names and rows.
        key: a JAX key or an int.
        threshold: R² to reach, strictly between 0 and 1.
        two_way: as :func:`block_verdict`, or, if not, as :func:`containment_verdict`.
        min_test_rows: fewer test rows than this are inconclusive.
        config: for a single claim; its ``level`` is the joint one.

    Returns:
        Claim -> verdict, in the order of ``content``.

    Raises:
        ValueError: no claims, different names in the two, or an unfit array (see :func:`hlvm.scoring.kernel_r2`).
    """
    if not content or set(content) != set(representations):
        raise ValueError(
            f"expected the same claims in both, at least one, got {sorted(representations)} and {sorted(content)}"
        )
    joint = for_many_claims(config or RegressionConfig(), len(content))
    return {
        name: _verdict(representations[name], latents, key, threshold, min_test_rows, joint, two_way=two_way)
        for name, latents in content.items()
    }


def _verdict(
    representation: ArrayLike,
    content: ArrayLike,
    key: Any,
    threshold: float,
    min_test_rows: int,
    config: RegressionConfig | None,
    *,
    two_way: bool,
) -> BlockVerdict:
    if not 0 < threshold < 1:
        raise ValueError(f"threshold: expected a number strictly between 0 and 1, got {threshold}")
    code, latents = paired_matrices("representation", representation, "content", content)
    if config is None:
        config = RegressionConfig()
    streams = random_streams(key)
    axes = principal_axes(latents, config.draw_split(len(latents), streams.split))
    forward_scores = kernel_r2_many(code, {"content": latents, **axes.targets}, key=key, config=config)
    forward = forward_scores["content"]
    worst = None
    if axes.targets:
        linear = linear_r2_many(code, axes.targets, key=key, config=config)
        weights = resampling_weights(forward.n_test, config.n_boot, streams.bootstrap)
        worst = worst_direction(axes, forward_scores, linear, weights)
        large = worst_direction(axes, forward_scores, linear, weights, least_share=REFUTABLE_SHARE)
        if large is not None and _is_lost(large, threshold):
            worst = large
    reverse = kernel_r2(latents, code, key=key, config=config) if two_way else None
    scores = {FORWARD: forward} | ({} if reverse is None else {REVERSE: reverse})
    verdict, reason = _decide(scores, worst, threshold, min_test_rows)
    return BlockVerdict(
        verdict=verdict, reason=reason, forward=forward, reverse=reverse, threshold=threshold, worst=worst, leakage={}
    )


def _is_lost(direction: WorstDirection, threshold: float) -> bool:
    return direction.share >= REFUTABLE_SHARE and direction.r2.high < min(DIRECTION_LOST, threshold)


def _decide(
    scores: dict[str, KernelR2], worst: WorstDirection | None, threshold: float, min_test_rows: int
) -> tuple[Verdict, str]:
    """The rule of :func:`block_verdict`."""
    n_test = next(iter(scores.values())).n_test
    if n_test < min_test_rows:
        return (
            Verdict.INCONCLUSIVE,
            f"{n_test} test rows are too few for an interval: at least {min_test_rows} are needed",
        )

    said = {name: f"R²({name}) = {score.interval}" for name, score in scores.items()}
    failed = [name for name, score in scores.items() if score.high < threshold]  # a NaN is not below anything
    unscored = [name for name, score in scores.items() if np.isnan(score.value)]
    # A constant representation of latents that vary is refuted; of constant latents nothing can be said.
    if unscored and FORWARD not in failed:
        return Verdict.INCONCLUSIVE, f"nothing to predict in {' and '.join(unscored)}: every target column is constant"
    if failed:
        return Verdict.NOT_IDENTIFIED, f"{' and '.join(said[name] for name in failed)}: below {threshold:g}"

    for name, score in scores.items():
        lost = np.flatnonzero(score.per_dim_high < min(LOST, threshold))
        if len(lost):
            column = int(lost[0])
            return Verdict.NOT_IDENTIFIED, (
                f"{said[name]} on average, but target column {column} is lost: R² = {score.per_dim[column]:.3f}"
            )

    where = ""
    if worst is not None:
        where = f"the content's direction of {worst.share:.2g} of its variance has R² = {worst.r2}"
        if _is_lost(worst, threshold):
            return Verdict.NOT_IDENTIFIED, f"{said[FORWARD]} on average, but {where}: it is lost"

    open_ones = [name for name, score in scores.items() if score.low < threshold]
    if open_ones:
        return (
            Verdict.INCONCLUSIVE,
            f"{' and '.join(said[name] for name in open_ones)}: the interval holds {threshold:g}",
        )
    if worst is not None and not worst.r2.low >= min(LOST, threshold):
        return Verdict.INCONCLUSIVE, f"{where}: it may be lost, or need more rows to be found"
    return Verdict.IDENTIFIED, f"{' and '.join(said.values())}: at least {threshold:g}"


def _after_leakage(
    verdict: Verdict, reason: str, leaks: Mapping[str, Leakage], tolerance: float
) -> tuple[Verdict, str]:
    """The outcome after a look at the other latents."""
    if verdict is Verdict.NOT_IDENTIFIED:
        return verdict, reason
    larger = {name: max(leak.excess, leak.beyond, key=lambda interval: interval.low) for name, leak in leaks.items()}
    leaky = [f"{name} by R² {interval}" for name, interval in larger.items() if interval.low > tolerance]
    if leaky:
        return Verdict.NOT_IDENTIFIED, f"the code tells more of other latents than the content does: {', '.join(leaky)}"
    # The R² of a constant is NaN: it cannot leak.
    unsure = [
        name
        for name, leak in leaks.items()
        if not math.isnan(leak.from_code.value) and not max(leak.excess.high, leak.beyond.high) < tolerance
    ]
    if unsure and verdict is Verdict.IDENTIFIED:
        return (
            Verdict.INCONCLUSIVE,
            f"{', '.join(unsure)} may be in the code: the interval of the leakage holds {tolerance:g}",
        )
    return verdict, reason
