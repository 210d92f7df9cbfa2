"""Verdicts on identifiability claims: identified, not identified, collapsed, or inconclusive; never only yes or no."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hlvm._numbers import UsageError, aligned, first_labelled
from hlvm.scoring.geometry.collapses import Collapse, collapse_of
from hlvm.scoring.inputs import paired_matrices
from hlvm.scoring.leakages import Leakage, sure_leakage_many
from hlvm.scoring.multiplicity import for_many_claims
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.normal_scores import normal_scores
from hlvm.scoring.regression.r2 import KernelR2
from hlvm.scoring.row_groups import own_labels, row_groups
from hlvm.scoring.verdicts.directions import WorstDirection
from hlvm.scoring.verdicts.judging import (
    FORWARD,
    REVERSE,
    Measured,
    Question,
    Verdict,
    decide,
    effective_rows,
    grounds,
    measure,
    measure_again,
    said_of,
)
from hlvm.scoring.verdicts.power import Power, power_of

__all__ = [
    "BlockVerdict",
    "Verdict",
    "block_verdict",
    "block_verdicts",
    "containment_verdict",
]

_TELLING_SHARE = 0.5
"""Of the least number of test rows: so many Gaussian rows must the variance of every column rest on."""


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
        power: what exact codes score with these rows; ``None`` unless the scores alone would refute the claim, or where
            all rows of the code are the same.
        collapse: how the code collapsed; ``None`` unless the verdict says so.
    """

    verdict: Verdict
    reason: str
    forward: KernelR2
    reverse: KernelR2 | None
    threshold: float
    worst: WorstDirection | None
    leakage: Mapping[str, Leakage]
    power: Power | None
    collapse: Collapse | None = None

    @property
    def directions(self) -> dict[str, KernelR2]:
        """The scores by direction, forward first."""
        return {FORWARD: self.forward} | ({} if self.reverse is None else {REVERSE: self.reverse})

    def _repr_html_(self) -> str:
        """A table for notebooks; ẑ is the representation, c the content."""
        from hlvm._html import block, table

        scores: dict[str, Any] = {f"kernel R², {name}": r2 for name, r2 in self.directions.items()}
        if self.worst is not None:
            scores[f"R² of the worst direction, {FORWARD}"] = self.worst.r2
        scores |= {f"more of {name} than c tells, R²": leak.larger for name, leak in self.leakage.items()}
        rows = [(name, float(r2.value), float(r2.low), float(r2.high)) for name, r2 in scores.items()]
        asked = f"R² of at least {self.threshold:g} is asked for."
        return block(
            f"{self.verdict}: {self.reason}", table(("score", "value", "low", "high"), rows), table((), [(asked,)])
        )


def block_verdict(
    representation: ArrayLike,
    content: ArrayLike,
    *,
    others: Mapping[str, ArrayLike] | ArrayLike | None = None,
    key: Any,
    threshold: float = 0.9,
    tolerance: float = 0.05,
    min_test_rows: int = 30,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Is the representation an invertible function of the content block, and of nothing else?

    Two regressions on held-out rows: forward, content from representation (nothing was lost); reverse,
    representation from content (nothing was added). A copy of the input passes forward only, a collapsed or too narrow
    code fails forward, noise fails both.

    R² weights by variance, so an average over twenty columns would hide a lost one, and a share of 1 % of the variance
    any lost direction. Both are looked for, in the content:

    * *identified*: the lower ends of both R² intervals reach ``threshold``, and that of the worst direction of the
      content (:class:`WorstDirection`) reaches 0.5 (or ``threshold``, if that is smaller).
    * *not identified*: the upper end of either R² is below ``threshold``, or that of a single column below 0.5 (or
      ``threshold``), or that of the worst among the directions with 0.5 % of the variance or more below 0.1. That holds
      for the best of three regressions, kernel, linear and kernel of normal scores, and exact codes that are as hard to
      read score enough there with these rows (:class:`Power`).
    * *collapsed*: all rows of the code are the same to rounding; or the claim is refuted by what the code lacks of the
      content, and the code varies along hardly more than one direction, where the content and the number of columns
      allow for more (:func:`hlvm.scoring.collapse`). A code that lacks one latent has not collapsed.
    * *inconclusive*: an interval straddles ``threshold``, the worst direction is neither found nor surely lost, there
      are too few test rows for an interval to mean anything, no latent varies, or exact codes would fail as well.

    Where few test rows make up most of a column's variance, all columns are judged by their normal scores.

    The threshold is a share of variance, a convention: exact identification is R² = 1 with infinitely many samples,
    and 0.9 leaves room for what a regressor cannot learn from ``max_train`` rows. For the same reason *not identified*
    says that this regressor did not find it with these rows; a ceiling (the score of an exact but curved code)
    tells how much that costs.

    The reverse direction is judged by variance alone: a trace of style of less than ``1 − threshold`` of the code's
    variance passes it. With ``others`` each of them must also be predicted no better from the code, alone or beside the
    content, than from the content (:func:`hlvm.scoring.leakage`): *not identified* when the lower end of either
    difference is above ``tolerance`` and above what exact codes show with these rows, *identified* only when the upper
    ends of both are below ``tolerance``.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that are claimed, shape (n, d) or (n,), same rows.
        others: latents that the representation must not hold beyond what the content tells: name -> shape (n, e) or
            (n,), or one array. R² averages over the columns of an array, so give each latent its own name. Their
            intervals hold jointly (Bonferroni).
        key: a JAX key or an int; both directions use the same split.
        threshold: R² to reach, strictly between 0 and 1.
        tolerance: R² of the others, beyond what the content tells, that counts as none; above 0.
        min_test_rows: fewer test rows than this are inconclusive; groups count once.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        The verdict with its scores.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), or ``threshold`` or ``tolerance`` out of range.

    References:
        Block-identification is Theorem 2 of :cite:t:`kong2023mae`; docs/theory.md, section 6.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(400, 2))
        >>> block_verdict(z @ [[1.0, 1.0], [-1.0, 2.0]], z, key=0).verdict.value
        'identified'
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a number above 0, got {tolerance}")
    found = _verdict(representation, content, key, threshold, min_test_rows, groups, config, two_way=True)
    if others is None:
        return found
    named = others if isinstance(others, Mapping) else {"others": others}
    if not named:
        return found
    joint = for_many_claims(config or RegressionConfig(), len(named))
    leaks = sure_leakage_many(representation, content, named, key=key, tolerance=tolerance, groups=groups, config=joint)
    verdict, reason = found.verdict, found.reason
    if found.forward.n_independent >= min_test_rows:
        verdict, reason = _after_leakage(verdict, reason, leaks, tolerance)
    return dataclasses.replace(found, verdict=verdict, reason=reason, leakage=leaks)


def containment_verdict(
    representation: ArrayLike,
    content: ArrayLike,
    *,
    key: Any,
    threshold: float = 0.9,
    min_test_rows: int = 30,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> BlockVerdict:
    """Does a representation, usually wider than the content, contain the content?

    The forward half of :func:`block_verdict`, with the same outcomes. It is a weak claim: a copy of the input
    passes, and an untrained wide encoder often does. Report it beside the score of an untrained encoder.

    Args:
        representation: shape (n, p) or (n,).
        content: the latents that are claimed, shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        threshold: R² to reach, strictly between 0 and 1.
        min_test_rows: fewer test rows than this are inconclusive; groups count once.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids of the regression; ``None`` for the defaults.

    Returns:
        The verdict; its ``reverse`` is ``None``.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), or ``threshold`` out of range.
    """
    return _verdict(representation, content, key, threshold, min_test_rows, groups, config, two_way=False)


def block_verdicts(
    representations: Mapping[str, ArrayLike],
    content: Mapping[str, ArrayLike],
    *,
    key: Any,
    threshold: float = 0.9,
    two_way: bool = True,
    min_test_rows: int = 30,
    groups: ArrayLike | None = None,
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
        min_test_rows: fewer test rows than this are inconclusive; groups count once.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
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
        name: _verdict(representations[name], latents, key, threshold, min_test_rows, groups, joint, two_way=two_way)
        for name, latents in content.items()
    }


def _verdict(
    representation: ArrayLike,
    content: ArrayLike,
    key: Any,
    threshold: float,
    min_test_rows: int,
    groups: ArrayLike | None,
    config: RegressionConfig | None,
    *,
    two_way: bool,
) -> BlockVerdict:
    if not 0 < threshold < 1:
        raise UsageError(f"must be a number strictly between 0 and 1, got {threshold}", argument="threshold")
    groups = aligned("representation", first_labelled(representation, content), "groups", groups)
    code, latents = paired_matrices("representation", representation, "content", content, truth=True)
    question = Question(
        code=code,
        latents=latents,
        source=latents,
        groups=own_labels(row_groups(code, latents, groups), len(code)),
        key=key,
        threshold=threshold,
        two_way=two_way,
        config=config or RegressionConfig(),
    )
    found, heavy = measure(question), ""
    least = _TELLING_SHARE * min_test_rows
    enough = found.forward.n_independent >= min_test_rows
    if enough and effective_rows(found.scores) < least:
        # The claim is up to invertible maps, so columns may be mapped one by one to where their variance is known.
        question = dataclasses.replace(question, code=normal_scores(code), latents=normal_scores(latents))
        found, heavy = measure(question), "of normal scores, since few rows make up most of the variance: "
    verdict, reason = decide(found, threshold, min_test_rows)
    telling = effective_rows(found.scores)
    if enough and telling < least:
        verdict = Verdict.INCONCLUSIVE
        reason = f"the variance of a column rests on about {telling:.0f} test rows: bring more rows of the rare values"
    power = fallen = None
    if np.ptp(latents, axis=0).any() and not np.ptp(code, axis=0).any():
        fallen = collapse_of(code, latents)
        return _outcome(Verdict.COLLAPSED, f"{fallen.reason}, while the content varies", found, threshold, None, fallen)
    if verdict is Verdict.NOT_IDENTIFIED:
        found = measure_again(question, found)
        verdict, reason = decide(found, threshold, min_test_rows)
    if verdict is Verdict.NOT_IDENTIFIED:
        against = grounds(found, threshold)
        power = power_of(question, against)
        if power.enough:
            reason = said_of(against[against.index(power.ground) :])
            fallen = collapse_of(code, latents) if power.ground.direction == FORWARD else None
            if fallen:
                verdict, reason = Verdict.COLLAPSED, f"{fallen.reason}; {reason}"
        else:
            verdict, reason = Verdict.INCONCLUSIVE, f"{reason}; but {_too_few(power, question)}"
    return _outcome(verdict, heavy + reason, found, threshold, power, fallen)


def _outcome(
    verdict: Verdict, reason: str, found: Measured, threshold: float, power: Power | None, fallen: Collapse | None
) -> BlockVerdict:
    return BlockVerdict(
        verdict=verdict,
        reason=reason,
        forward=found.forward,
        reverse=found.reverse,
        threshold=threshold,
        worst=found.worst,
        leakage={},
        power=power,
        collapse=fallen if verdict is Verdict.COLLAPSED else None,
    )


def _too_few(power: Power, question: Question) -> str:
    """Say that an exact code would have failed as well, and what would help."""
    said = f"an exact code as hard to read has R² = {power.r2:.3f} there with these {power.rows} rows"
    if power.rows_needed == math.inf:
        return f"{said}, and how many would do cannot be told: bring many more, or fewer columns"
    rows = round(power.rows_needed, 1 - len(str(int(power.rows_needed))))
    config = question.config
    capped = round((1 - config.test_fraction) * rows) > config.max_train
    return f"{said}: about {rows:,.0f} rows would do" + (", with max_train raised" if capped else "")


def _after_leakage(
    verdict: Verdict, reason: str, leaks: Mapping[str, Leakage], tolerance: float
) -> tuple[Verdict, str]:
    """The outcome after a look at the other latents."""
    if verdict.refutes:
        return verdict, reason
    leaky = [f"{name} by R² {leak.larger}" for name, leak in leaks.items() if leak.is_sure(tolerance)]
    if leaky:
        return Verdict.NOT_IDENTIFIED, f"the code tells more of other latents than the content does: {', '.join(leaky)}"
    # The R² of a constant is NaN: it cannot leak.
    unsure = {
        name: leak for name, leak in leaks.items() if not math.isnan(leak.from_code.value) and not leak.high < tolerance
    }
    if unsure and verdict is Verdict.IDENTIFIED:
        said = [
            f"the interval of the leakage holds {tolerance:g}"
            if leak.of_exact is None
            else f"the leakage is R² {leak.larger}, and up to {leak.of_exact:.3f} in exact codes with these rows"
            for leak in unsure.values()
        ]
        reasons = [f"{name} may be in the code: {what}" for name, what in zip(unsure, said, strict=True)]
        return Verdict.INCONCLUSIVE, "; ".join(reasons)
    return verdict, reason
