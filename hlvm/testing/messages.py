"""The message of a failed assertion: verdict, a small table, and the way to green."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hlvm._numbers import as_numbers
from hlvm.claims import Claim
from hlvm.scoring import (
    BlockVerdict,
    KernelR2,
    Leakage,
    RankTest,
    RegressionConfig,
    Verdict,
    kernel_r2,
    permutation_null,
)
from hlvm.scoring.verdicts.judging import FORWARD, REVERSE

__all__ = ["claim_failure", "claim_outcome", "leakage_failure", "outcome", "rank_failure", "verdict_failure"]

_CHANCE_PERMUTATIONS = 19  # for the mean and the scale of chance in a message; no p-value hangs on it
_CHANCE_TRAIN = 400  # chance hardly depends on the number of rows, the time to a failure message does


def verdict_failure(
    found: BlockVerdict,
    wanted: Verdict,
    representation: ArrayLike,
    latents: ArrayLike,
    controls: Mapping[str, ArrayLike],
    key: Any,
    config: RegressionConfig | None,
) -> str:
    """Message of an assertion about a block; scores of the latents by further inputs, ``controls``, stand beside."""
    small = dataclasses.replace(config or RegressionConfig(), max_train=_CHANCE_TRAIN)
    of_rows = found.forward.split.groups  # every control on the split of the verdict
    groups = np.arange(len(as_numbers("latents", latents))) if of_rows is None else of_rows
    claim = "two-way" if found.reverse is not None else "containment"
    rows = []
    for name, score in found.directions.items():
        pair = (latents, representation) if name == REVERSE else (representation, latents)
        chance = "–" if score.value != score.value else f"{_chance(*pair, key, groups, small):.3f}"
        others = [
            f"{kernel_r2(values, latents, key=key, groups=groups, config=config).value:.3f}" if name == FORWARD else "–"
            for values in controls.values()
        ]
        rows.append([name, f"{score.value:.3f}", _ends(score), f"{found.threshold:g}", chance, *others])
    header = ["direction", "R²", f"{found.forward.level:.0%} interval", "threshold", "chance", *controls]
    return "\n".join(
        [
            f"expected the latents to be {outcome(found, wanted)}, found {outcome(found, found.verdict)} ({claim}, "
            f"threshold {found.threshold:g})",
            f"because {found.reason}",
            "",
            *_table(header, rows),
            f"(ẑ: representation, c: latents; {found.forward.n_train} training and {found.forward.n_test} test rows)",
            "",
            f"to pass: {_way_to_pass(found, wanted)}",
        ]
    )


def outcome(found: BlockVerdict, verdict: Verdict) -> str:
    """A verdict in words: of a code that is asked to contain the latents only, it does not say "identified"."""
    return str(verdict).replace("identified", "contained") if found.reverse is None else str(verdict)


def leakage_failure(found: Leakage, tolerance: float) -> str:
    """Message of a failed :func:`hlvm.testing.assert_no_leakage`."""
    rows = [
        [name, f"{interval.value:.3f}", f"[{interval.low:.3f}, {interval.high:.3f}]"]
        for name, interval in (
            ("R²(ẑ → s)", found.from_code.interval),
            ("R²(c → s)", found.from_content.interval),
            ("R²(c, ẑ → s)", found.from_both.interval),
            ("ẑ more than c", found.excess),
            ("ẑ beside c", found.beyond),
        )
    ]
    sure = found.is_sure(tolerance)
    if sure:
        what = "more"
    elif found.of_exact is None:
        what = "too wide an interval to tell"
    else:
        what = f"no more than exact codes show with these rows (up to {found.of_exact:.3f})"
    return "\n".join(
        [
            f"expected the representation to hold no more of the style than the content does, {tolerance:g} at most, "
            f"found {what}",
            "",
            *_table(["score", "value", f"{found.from_code.level:.0%} interval"], rows),
            f"(ẑ: representation, c: content, s: style; {found.from_code.n_test} test rows)",
            "",
            f"to pass: the upper ends of the last two intervals must fall below {tolerance:g}"
            + ("" if sure else "; more rows make them shorter"),
        ]
    )


def rank_failure(found: RankTest, expected: int) -> str:
    """Message of a failed :func:`hlvm.testing.assert_rank`."""
    shown = min(len(found.p_values), max(found.rank, expected) + 2)
    rows = [[str(k + 1), f"{found.correlations[k]:.3f}", f"{found.p_values[k]:.3g}"] for k in range(shown)]
    if found.rank > expected:
        way = f"p-value {expected + 1} must be above {found.alpha:g}"
    else:
        way = f"the first {expected} p-values must be at most {found.alpha:g}; more rows help if they are there"
    return "\n".join(
        [
            f"expected the arrays to share {expected} dimensions, found {found.rank} ({found.method} test)",
            "",
            *_table(["dimension", "correlation", "p-value"], rows),
            "",
            f"to pass: {way}",
        ]
    )


def claim_outcome(claim: Claim) -> str:
    """Outcome of a claim, in words."""
    return {True: "holds", False: "does not hold", None: "is open"}[claim.holds]


def claim_failure(claim: Claim) -> str:
    """Message of a failed :func:`hlvm.testing.assert_claim`; scores that come nearest to their limits first."""
    measured = dict(claim.measured)
    names = [*claim.nearest, *(name for name in measured if name not in claim.limits)]
    rows = [[name, measured[name], _between(*claim.limits[name]) if name in claim.limits else "–"] for name in names]
    way = "every interval must lie within its limits" if claim.limits else "what decides must be measured"
    if claim.holds is None:
        way += "; the claim is open, more seeds or rows are needed to tell"
    return "\n".join(
        [
            f"expected that {claim.text}: this {claim_outcome(claim)}",
            *([f"because {claim.reason}"] if claim.reason else []),
            "",
            *_table(["score", "value [interval]", "limits"], rows),
            "",
            f"to pass: {way}",
        ]
    )


def _between(low: float, high: float) -> str:
    if math.isinf(high):
        return f"above {low:g}"
    return f"below {high:g}" if math.isinf(low) else f"between {low:g} and {high:g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in (header, *rows)
    ]


def _ends(score: KernelR2) -> str:
    return f"[{score.low:.3f}, {score.high:.3f}]"


def _chance(features: ArrayLike, targets: ArrayLike, key: Any, groups: ArrayLike, config: RegressionConfig) -> float:
    of = permutation_null(features, targets, key=key, n_permutations=_CHANCE_PERMUTATIONS, groups=groups, config=config)
    return of.chance


def _way_to_pass(found: BlockVerdict, wanted: Verdict) -> str:
    ends = "both intervals" if found.reverse is not None else "the interval"
    if wanted is Verdict.IDENTIFIED:
        rule = f"the lower end of {ends} must reach {found.threshold:g} and no column or direction may be lost"
        rule += ", nor any of the other latents leak" if found.leakage else ""
    else:
        which = "either interval" if found.reverse is not None else "the interval"
        rule = f"the upper end of {which} must fall below {found.threshold:g}, or a column or direction be lost"
    if found.verdict is Verdict.INCONCLUSIVE:
        return f"{rule}; the result is inconclusive, more rows are needed to tell"
    return rule
