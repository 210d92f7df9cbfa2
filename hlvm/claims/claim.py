"""The claim: text, intervals, margins fixed beforehand, what theory and paper say, and the outcome."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

from hlvm.claims.stances import SILENT, Stance
from hlvm.scoring import Interval

__all__ = ["ABOVE_ZERO", "BELOW_ZERO", "Claim", "Limits", "every", "interval_claim", "within"]

Limits: TypeAlias = tuple[float, float]
"""Two numbers that an interval must lie between, touching neither; infinite where there is no limit."""

ABOVE_ZERO: Limits = (0.0, math.inf)
BELOW_ZERO: Limits = (-math.inf, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, the stances on it from before it was measured, and how it came out.

    Attributes:
        text: what is claimed, one sentence.
        scores: every interval that is shown, by name; at least one.
        limits: name of a score that decides -> the limits between which it must lie for the claim to hold, fixed before
            measuring.
        margins: name of a score with one limit -> the largest difference that counts as none, at least 0. A score that
            surely passes its limit by less refutes the claim, unless it surely passes.
        theory: what the theory says of the claim.
        paper: what the paper says of it.
        holds: whether it was measured to hold; ``None`` when that is open. Usually it follows from scores and limits,
            see :func:`interval_claim`. A claim that needs more than its limits say may fall short of them.
        reason: what decided, one sentence; empty where limits did.

    Raises:
        ValueError: no scores; limits of a score that is not there, or in the wrong order; margins of a score without a
            limit, below 0 or not finite; a claim that holds against its limits, or that fails within them for no
            reason.
    """

    COLUMNS: ClassVar = ("score", "value", "low", "high", "more than", "less than")
    """Titles of what :attr:`rows` holds."""

    text: str
    scores: Mapping[str, Interval]
    limits: Mapping[str, Limits] = dataclasses.field(default_factory=dict)
    margins: Mapping[str, float] = dataclasses.field(default_factory=dict)
    theory: Stance = SILENT
    paper: Stance = SILENT
    holds: bool | None
    reason: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.theory, Stance) and isinstance(self.paper, Stance)):
            raise ValueError(f"{self.text!r}: give theory and paper as yes(...), no(...) or nothing(...)")
        if not self.scores:
            raise ValueError(f"a claim rests on at least one interval, {self.text!r} has none: give its scores")
        for name, (low, high) in self.limits.items():
            if name not in self.scores or not low < high:
                raise ValueError(
                    f"{self.text!r}: limits must be those of a score ({', '.join(self.scores)}), the lower one first, "
                    f"got {name!r}: ({low}, {high})"
                )
        for name, size in self.margins.items():
            if name not in self.limits or not _is_open(self.limits[name]) or not _is_margin(size):
                raise ValueError(
                    f"{self.text!r}: margins must be at least 0 and finite, and belong to scores with one limit, got "
                    f"{size} of {name!r}"
                )
        by_limits = _by_limits(self.scores, self.limits) if self.limits else None
        opposite = None not in (by_limits, self.holds) and self.holds != by_limits
        if opposite and (self.holds or not self.reason):
            raise ValueError(
                f"{self.text!r}: its limits say holds={by_limits}, got holds={self.holds}: "
                f"{'leave limits out that do not decide' if self.holds else 'give the reason'}"
            )

    @property
    def theory_agrees(self) -> bool | None:
        """Tell whether the outcome agrees with the theory; ``None`` when it is open or the theory says nothing."""
        return self.theory.agrees(self.holds)

    @property
    def paper_agrees(self) -> bool | None:
        """The same of the paper."""
        return self.paper.agrees(self.holds)

    @property
    def too_small(self) -> list[str]:
        """Names of the scores that refute the claim by nothing but a difference that is surely too small to count."""
        return _too_small(self.scores, self.limits, self.margins)

    @property
    def measured(self) -> list[tuple[str, str]]:
        """The scores as pairs of name and text, ``value [low, high]``, with more digits where all are small."""
        return [(name, _shown(interval)) for name, interval in self.scores.items()]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The scores for tables, one number in a cell: name, value, low, high, and the limits, empty without one."""
        return [
            (name, *_numbers(interval), *map(_limit, self.limits.get(name, (-math.inf, math.inf))))
            for name, interval in self.scores.items()
        ]

    @property
    def nearest(self) -> list[str]:
        """Names of the scores that decide, that which comes nearest to a limit (or is furthest beyond) first."""

        def room(name: str) -> float:
            low, high = self.limits[name]
            return min(self.scores[name].low - low, high - self.scores[name].high)

        return sorted(self.limits, key=room)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from hlvm._html import agreement, block, table

        outcome = {True: "holds", False: "does not hold", None: "open"}[self.holds]
        said = [("theory", f"{self.theory}{agreement(self.theory_agrees)}")]
        said += [("paper", f"{self.paper}{agreement(self.paper_agrees)}")]
        said += [("reason", self.reason)] if self.reason else []
        return block(f"{self.text}: {outcome}", table(self.COLUMNS, self.rows), table((), said))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description; scores are mappings, limits are pairs with ``None`` where they are infinite."""
        return {
            **dataclasses.asdict(self),
            "limits": {
                name: [float(end) if math.isfinite(end) else None for end in ends] for name, ends in self.limits.items()
            },
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Claim:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: what :meth:`to_dict` does not write.
        """
        try:
            return cls(
                **{
                    **description,
                    "scores": {name: Interval(**ends) for name, ends in description["scores"].items()},
                    "limits": {
                        name: (-math.inf if low is None else low, math.inf if high is None else high)
                        for name, (low, high) in description["limits"].items()
                    },
                    **{source: Stance(**description[source]) for source in ("theory", "paper")},
                }
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"expected a claim as Claim.to_dict writes it: {error!r}") from None


def interval_claim(
    text: str,
    scores: Mapping[str, Interval],
    limits: Limits | Mapping[str, Limits] = ABOVE_ZERO,
    *,
    margin: float | Mapping[str, float] = 0.0,
    shown: Mapping[str, Interval] | None = None,
    theory: Stance = SILENT,
    paper: Stance = SILENT,
    reason: str = "",
) -> Claim:
    """A claim that intervals lie within limits: it holds if all surely do, and not if one surely does not.

    Args:
        text: one sentence.
        scores: the intervals that decide, by name.
        limits: of all of them, or of each by its name.
        margin: the largest difference that counts as none, at least 0, of all scores or of each by its name. Where
            limits are open to one side, a score that surely passes its limit by less refutes the claim, too, unless it
            surely passes.
        shown: further intervals, which do not decide.
        theory: what the theory says of the claim.
        paper: what the paper says of it.
        reason: for the record.

    Raises:
        ValueError: no scores, limits that are not those of the scores, a name in both ``scores`` and ``shown``, or a
            margin below 0 or not finite.

    Example:
        >>> gain = Interval(value=0.01, low=-0.01, high=0.03)
        >>> [interval_claim("a beats b", {"a − b": gain}, margin=margin).holds for margin in (0.0, 0.05)]
        [None, False]
    """
    of_each = dict(limits) if isinstance(limits, Mapping) else dict.fromkeys(scores, limits)
    if not scores or of_each.keys() != scores.keys() or not scores.keys().isdisjoint(shown or {}):
        raise ValueError(
            f"{text!r}: expected at least one score, limits for each score, and other names for values that are only "
            f"shown, got scores {sorted(scores)}, limits of {sorted(of_each)}, shown {sorted(shown or {})}"
        )
    margins = dict(margin) if isinstance(margin, Mapping) else dict.fromkeys(scores, margin)
    if margins.keys() != scores.keys() or not all(map(_is_margin, margins.values())):
        raise ValueError(
            f"{text!r}: margin must be at least 0 and finite, one number or one of each score, got {margin}"
        )
    margins = {name: size for name, size in margins.items() if size and _is_open(of_each[name])}
    holds = _by_limits(scores, of_each)
    small = _too_small(scores, of_each, margins)
    if small:
        holds, reason = False, "; ".join(filter(None, (f"smaller than {margins[small[0]]:g}", reason)))
    return Claim(
        text=text,
        scores={**scores, **(shown or {})},
        limits=of_each,
        margins=margins,
        theory=theory,
        paper=paper,
        holds=holds,
        reason=reason,
    )


def _is_margin(size: float) -> bool:
    return 0 <= size < math.inf


def _is_open(limits: Limits) -> bool:
    return math.isfinite(limits[0]) != math.isfinite(limits[1])


def _too_small(scores: Mapping[str, Interval], limits: Mapping[str, Limits], margins: Mapping[str, float]) -> list[str]:
    """Names of scores that surely pass their limit by less than its margin, if they pass; none where limits decide."""
    if not margins or _by_limits(scores, limits) is not None:
        return []
    ends = {name: limits[name] for name in margins}
    return [
        name
        for name, (low, high) in ends.items()
        if (scores[name].high < low + margins[name] if math.isfinite(low) else scores[name].low > high - margins[name])
    ]


def within(interval: Interval, low: float = -math.inf, high: float = math.inf) -> bool | None:
    """Tell whether a value lies between two limits: yes or no if its whole interval says so, else ``None``.

    A value that is known to be the limit itself does not lie within: two numbers that are the same are no difference.
    """
    if interval.low > low and interval.high < high:
        return True
    if interval.high <= low or interval.low >= high:
        return False
    return None


def every(outcomes: Iterable[bool | None]) -> bool | None:
    """Tell whether all hold: no if one does not, ``None`` if some are open."""
    found = list(outcomes)
    if any(outcome is False for outcome in found):
        return False
    return None if any(outcome is None for outcome in found) else True


def _by_limits(scores: Mapping[str, Interval], limits: Mapping[str, Limits]) -> bool | None:
    return every(within(scores[name], *ends) for name, ends in limits.items())


def _shown(interval: Interval) -> str:
    value, low, high = _decimals(interval)
    return f"{value} [{low}, {high}]"


def _numbers(interval: Interval) -> tuple[str, str, str]:
    value, low, high = (text.replace("-", "\N{MINUS SIGN}") for text in _decimals(interval))
    return value, low, high


def _decimals(interval: Interval) -> tuple[str, str, str]:
    """Three decimals, five for what is small throughout, such as differences of squared errors of pixels."""
    ends = (interval.value, interval.low, interval.high)
    decimals = 3 if max(map(abs, ends)) >= 0.01 else 5
    value, low, high = (f"{number:.{decimals}f}" for number in ends)
    return value, low, high


def _limit(end: float) -> str:
    return f"{end:g}".replace("-", "\N{MINUS SIGN}") if math.isfinite(end) else ""
