"""Scores that a verdict rests on, and its rule: scores in both directions, the worst direction, outcomes."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hlvm.scoring.inputs import random_streams
from hlvm.scoring.intervals import resampling_weights
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2, sums_of_groups
from hlvm.scoring.regression.rank_regression import best_of, rank_r2_many
from hlvm.scoring.regression.scores import kernel_r2_many, linear_r2_many
from hlvm.scoring.row_groups import check_groups
from hlvm.scoring.verdicts.directions import WorstDirection, principal_axes, worst_direction

__all__ = [
    "DIRECTION_LOST",
    "FORWARD",
    "LOST",
    "REFUTABLE_SHARE",
    "REVERSE",
    "Ground",
    "Measured",
    "Question",
    "Verdict",
    "decide",
    "effective_rows",
    "grounds",
    "measure",
    "measure_again",
    "said_of",
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
    COLLAPSED = "collapsed"

    @property
    def refutes(self) -> bool:
        """Tell whether the claim is refuted: a collapsed code does not identify either."""
        return self in (Verdict.NOT_IDENTIFIED, Verdict.COLLAPSED)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A claim about two arrays, and how it is judged.

    Attributes:
        code: the representation, shape (n, p).
        latents: the content, shape (n, d), same rows.
        source: the content as it was given, which exact codes would be made from; differs from ``latents`` where these
            are normal scores.
        groups: of the rows, see :func:`hlvm.scoring.row_groups.row_groups`; a label of its own for rows of their own.
        key: a JAX key or an int.
        threshold: the R² that the claim asks for.
        two_way: whether the code must also be a function of the content.
        config: sizes and grids of the regressions.
    """

    code: Float[np.ndarray, "n p"]
    latents: Float[np.ndarray, "n d"]
    source: Float[np.ndarray, "n d"]
    groups: Int[np.ndarray, " n"]
    key: Any
    threshold: float
    two_way: bool
    config: RegressionConfig


class Measured(NamedTuple):
    """Scores of a question.

    Attributes:
        forward: of the content given the representation.
        reverse: of the representation given the content; ``None`` for containment.
        worst: the direction of the content that the representation holds least of, or the large one where that is lost;
            ``None`` when nothing varies.
        large: the same among those with :data:`REFUTABLE_SHARE` of the variance or more.
        tables: scores of the content (``"content"``) and its axes by each regression that was tried.
    """

    forward: KernelR2
    reverse: KernelR2 | None
    worst: WorstDirection | None
    large: WorstDirection | None
    tables: tuple[dict[str, KernelR2], ...]

    @property
    def scores(self) -> dict[str, KernelR2]:
        """The scores by direction, forward first."""
        return {FORWARD: self.forward} | ({} if self.reverse is None else {REVERSE: self.reverse})


def measure(question: Question) -> Measured:
    """Score both directions by kernel regression, and the axes of the content by kernel and linear regression."""
    axes = _axes(question)
    how = {"key": question.key, "groups": question.groups, "config": question.config}
    targets = {"content": question.latents, **axes.targets}
    tables = (
        kernel_r2_many(question.code, targets, **how),
        linear_r2_many(question.code, targets, **how),
    )
    reverse = kernel_r2_many(question.latents, {"code": question.code}, **how)["code"] if question.two_way else None
    return Measured(tables[0]["content"], reverse, *_worst(question, axes, tables), tables)


def measure_again(question: Question, first: Measured) -> Measured:
    """Score by the best of kernel, linear and kernel regression of normal scores, chosen by leave-one-out.

    A direction whose score reaches the threshold already keeps it.
    """
    axes = _axes(question)
    how = {"key": question.key, "groups": question.groups, "config": question.config}
    tables = (*first.tables, rank_r2_many(question.code, {"content": question.latents, **axes.targets}, **how))
    forward, reverse = first.forward, first.reverse
    if reverse is not None and not reverse.low >= question.threshold:
        others = (score(question.latents, {"code": question.code}, **how)["code"] for score in _OTHERS)
        reverse = best_of([reverse, *others])
    if not forward.low >= question.threshold:
        forward = best_of([table["content"] for table in tables])
    return Measured(forward, reverse, *_worst(question, axes, tables), tables)


_OTHERS = (linear_r2_many, rank_r2_many)


def _axes(question: Question) -> Any:
    rng = random_streams(question.key).split
    groups = check_groups(question.groups, len(question.latents))
    return principal_axes(question.latents, question.config.draw_split(len(question.latents), rng, groups))


def _worst(
    question: Question, axes: Any, tables: tuple[dict[str, KernelR2], ...]
) -> tuple[WorstDirection | None, WorstDirection | None]:
    if not axes.targets:
        return None, None
    first = tables[0]["content"]
    rng = random_streams(question.key).bootstrap
    weights = resampling_weights(first.n_test, question.config.n_boot, rng, first.split.test_groups)
    worst = worst_direction(axes, tables, weights)
    large = worst_direction(axes, tables, weights, least_share=REFUTABLE_SHARE)
    return (large if large is not None and _is_lost(large, question.threshold) else worst), large


def _is_lost(direction: WorstDirection, threshold: float) -> bool:
    return direction.share >= REFUTABLE_SHARE and direction.r2.high < min(DIRECTION_LOST, threshold)


def effective_rows(scores: dict[str, KernelR2]) -> float:
    """Number of Gaussian rows that would tell as much of a variance as the test rows do, for the worst column.

    ``3 (Σ t²)² / Σ t⁴`` for centred targets t: the number of rows for Gaussian ones, a handful where a few rows of a
    heavy-tailed column, or a few cases of a rare event, make up all the variance. Groups of rows count as one each.
    """
    least = np.inf
    for score in scores.values():
        squares = (score.targets - score.targets.mean(axis=0)) ** 2
        of_gaussian = 3.0
        if score.split.test_groups is not None:
            squares, of_gaussian = sums_of_groups(squares, score.split.test_groups), 1.0
        fourth = (squares**2).sum(axis=0)
        varying = fourth > 0
        counts = of_gaussian * squares.sum(axis=0)[varying] ** 2 / fourth[varying]
        least = min(least, counts.min(initial=np.inf))
    return float(least)


class Ground(NamedTuple):
    """One number that refutes a claim.

    Attributes:
        direction: :data:`FORWARD` or :data:`REVERSE`.
        of: ``"all"`` for the R² of all columns, ``"column"`` for that of the column that is lost, ``"worst"`` for that
            of the worst direction of the content.
        reason: why it refutes.
        column: number of the column that is lost.
    """

    direction: str
    of: str
    reason: str
    column: int = -1

    def asks(self, threshold: float) -> float:
        """The R² that a code must have here."""
        return threshold if self.of == "all" else min(LOST, threshold)

    def value(self, measured: Measured) -> float:
        """The R² that a code has here; NaN where nothing was measured.

        Of single columns the least one counts, whichever it is: codes are hard to read in different columns. But a
        column of the content that was lost must have been measured.
        """
        score = measured.scores[self.direction]
        if self.of == "all":
            return score.value
        if self.of == "column":
            if self.direction == FORWARD and np.isnan(score.per_dim[self.column]):
                return np.nan
            known = score.per_dim[~np.isnan(score.per_dim)]
            return float(known.min()) if len(known) else np.nan
        return np.nan if measured.large is None else measured.large.r2.value


def grounds(measured: Measured, threshold: float) -> list[Ground]:
    """Everything that refutes the claim, if its interval is to be trusted; nothing for a claim that stands."""
    found = []
    for name, score in measured.scores.items():
        if score.high < threshold:  # a NaN is not below anything
            found.append(Ground(name, "all", f"R²({name}) = {score.interval}: below {threshold:g}"))
    for name, score in measured.scores.items():
        lost = np.flatnonzero(score.per_dim_high < min(LOST, threshold))
        if len(lost):
            column = int(lost[0])
            said = f"target column {column} is lost: R² = {score.per_dim[column]:.3f}"
            found.append(Ground(name, "column", f"R²({name}) = {score.interval} on average, but {said}", column))
    worst = measured.worst
    if worst is not None and _is_lost(worst, threshold):
        said = f"R²({FORWARD}) = {measured.forward.interval} on average, but {_where(worst)}: it is lost"
        found.append(Ground(FORWARD, "worst", said))
    return found


def _where(worst: WorstDirection) -> str:
    return f"the content's direction of {worst.share:.2g} of its variance has R² = {worst.r2}"


def decide(measured: Measured, threshold: float, min_test_rows: int) -> tuple[Verdict, str]:
    """The rule of :func:`hlvm.scoring.block_verdict`, but for its power: the outcome, and why."""
    scores, worst = measured.scores, measured.worst
    n_test = measured.forward.n_independent
    if n_test < min_test_rows:
        return (
            Verdict.INCONCLUSIVE,
            f"{n_test} test rows are too few for an interval: at least {min_test_rows} are needed",
        )
    against = grounds(measured, threshold)
    unscored = [name for name, score in scores.items() if np.isnan(score.value)]
    # A constant representation of latents that vary is refuted; of constant latents nothing can be said.
    if unscored and not any(ground.direction == FORWARD and ground.of == "all" for ground in against):
        return Verdict.INCONCLUSIVE, f"nothing to predict in {' and '.join(unscored)}: every target column is constant"
    if against:
        return Verdict.NOT_IDENTIFIED, said_of(against)
    open_ones = [f"R²({name}) = {score.interval}" for name, score in scores.items() if score.low < threshold]
    if open_ones:
        return Verdict.INCONCLUSIVE, f"{' and '.join(open_ones)}: the interval holds {threshold:g}"
    if worst is not None and not worst.r2.low >= min(LOST, threshold):
        return Verdict.INCONCLUSIVE, f"{_where(worst)}: it may be lost, or need more rows to be found"
    said = " and ".join(f"R²({name}) = {score.interval}" for name, score in scores.items())
    return Verdict.IDENTIFIED, f"{said}: at least {threshold:g}"


def said_of(against: list[Ground]) -> str:
    """The reasons of the first grounds that are of one kind."""
    return " and ".join(ground.reason for ground in against if ground.of == against[0].of)
