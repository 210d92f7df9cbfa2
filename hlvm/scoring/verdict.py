"""Verdicts on identifiability claims: identified, not identified, or inconclusive; never only two outcomes."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hlvm.scoring.config import RegressionConfig
from hlvm.scoring.inputs import paired_matrices
from hlvm.scoring.regression import KernelR2, kernel_r2

__all__ = ["FORWARD", "LOST", "REVERSE", "BlockVerdict", "Verdict", "block_verdict", "containment_verdict"]

FORWARD = "ẑ → c"
"""Name of the direction from the representation to the content."""

REVERSE = "c → ẑ"
"""Name of the direction from the content to the representation."""

LOST = 0.5
"""A single column whose R² is surely below this is lost, however good the average over many columns."""


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
    """

    verdict: Verdict
    reason: str
    forward: KernelR2
    reverse: KernelR2 | None
    threshold: float

    @property
    def directions(self) -> dict[str, KernelR2]:
        """The scores by direction, forward first."""
        return {FORWARD: self.forward} | ({} if self.reverse is None else {REVERSE: self.reverse})


def block_verdict(
    representation: ArrayLike,
    content: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    min_test_rows: int = 30,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Is the representation an invertible function of the content block, and of nothing else?

    Two regressions on held-out rows: forward, content from representation (nothing was lost); reverse,
    representation from content (nothing was added). A copy of the input passes forward only, a constant or too narrow
    code fails forward, noise fails both.

    * *identified*: the lower ends of both R² intervals reach ``threshold``.
    * *not identified*: the upper end of either one is below ``threshold``, or a single column is lost: the upper end
      of its own R² is below 0.5 (or below ``threshold``, if that is smaller). An average over twenty columns
      would hide one.
    * *inconclusive*: an interval straddles ``threshold``, there are too few test rows for an interval to mean
      anything, or nothing varies.

    The threshold is a share of variance, a convention: exact identification is R² = 1 with infinitely many samples,
    and 0.9 leaves room for what a regressor cannot learn from ``max_train`` rows. For the same reason *not identified*
    says that this regressor did not find it with these rows; a ceiling (the score of an exact but curved code)
    tells how much that costs. A mixture of many columns that lacks one *direction* loses only its share of
    variance: with d columns, ask for a threshold above ``1 − 1/d``.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that are claimed, shape (n, d) or (n,), same rows.
        key: a JAX key or an int; both directions use the same split.
        threshold: R² to reach, strictly between 0 and 1.
        min_test_rows: fewer test rows than this are inconclusive.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict with its scores.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), or ``threshold`` out of range.

    References:
        Block-identification is Theorem 2 of :cite:t:`kong2023mae`; docs/theory.md, section 6.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(400, 2))
        >>> block_verdict(z @ [[1.0, 1.0], [-1.0, 2.0]], z, key=0).verdict.value
        'identified'
    """
    return _verdict(representation, content, key, threshold, min_test_rows, config, two_way=True)


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
    forward = kernel_r2(code, latents, key=key, config=config)
    reverse = kernel_r2(latents, code, key=key, config=config) if two_way else None
    scores = {FORWARD: forward} | ({} if reverse is None else {REVERSE: reverse})
    verdict, reason = _decide(scores, threshold, min_test_rows)
    return BlockVerdict(verdict=verdict, reason=reason, forward=forward, reverse=reverse, threshold=threshold)


def _decide(scores: dict[str, KernelR2], threshold: float, min_test_rows: int) -> tuple[Verdict, str]:
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

    open_ones = [name for name, score in scores.items() if score.low < threshold]
    if open_ones:
        return (
            Verdict.INCONCLUSIVE,
            f"{' and '.join(said[name] for name in open_ones)}: the interval holds {threshold:g}",
        )
    return Verdict.IDENTIFIED, f"{' and '.join(said.values())}: at least {threshold:g}"
