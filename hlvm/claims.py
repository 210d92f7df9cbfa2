"""Claims: what the theory predicted, what was measured, and whether the two agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hlvm.scoring import BlockVerdict, Interval, Verdict

__all__ = ["SHORTFALL", "Claim", "above_floor_claim", "block_claim", "hull", "never_contained_claim"]

ABOVE_FLOOR = "above floor"
NOT_ABOVE_FLOOR = "not above floor"

SHORTFALL = "R²(ẑ → ε) − R²(c → ε)"
"""Name of the score that compares how well code and content predict the content's noises."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One prediction beside its measurement.

    Attributes:
        text: what is claimed, in words.
        predicted: the outcome the theory predicts, made before training.
        scores: intervals the verdict rests on, by name.
        verdict: the measured outcome; ``"inconclusive"`` when the intervals do not decide.
        reason: why, in words.
    """

    text: str
    predicted: str
    scores: dict[str, Interval]
    verdict: str
    reason: str

    @property
    def agrees(self) -> bool | None:
        """Whether prediction and measurement agree; ``None`` when the measurement is inconclusive."""
        return None if self.verdict == Verdict.INCONCLUSIVE else self.verdict == self.predicted

    @property
    def measured(self) -> str:
        """The scores as text, one per line."""
        return "\n".join(f"{name}: {interval}" for name, interval in self.scores.items())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description."""
        scores = {name: interval._asdict() for name, interval in self.scores.items()}
        return {**dataclasses.asdict(self), "scores": scores, "agrees": self.agrees}


def block_claim(text: str, predicted: Verdict, measured: BlockVerdict) -> Claim:
    """A claim about a block of latents: identified or not.

    Args:
        text: what is claimed.
        predicted: what the theory says.
        measured: the verdict on the scores.
    """
    scores = {f"R²({name})": score.interval for name, score in measured.directions.items()}
    if measured.shortfall is not None:
        scores[SHORTFALL] = measured.shortfall
    return Claim(
        text=text, predicted=str(predicted), scores=scores, verdict=str(measured.verdict), reason=measured.reason
    )


def above_floor_claim(text: str, differences: Sequence[Interval]) -> Claim:
    """A claim that training brings out more of a latent than an untrained encoder of the same shape holds.

    Args:
        text: what is claimed.
        differences: trained minus untrained R² on the same test rows, one interval per training seed.
    """
    interval = hull(differences)
    verdict = ABOVE_FLOOR if interval.low > 0 else NOT_ABOVE_FLOOR if interval.high < 0 else str(Verdict.INCONCLUSIVE)
    return Claim(
        text=text,
        predicted=ABOVE_FLOOR,
        scores={"R² − floor": interval},
        verdict=verdict,
        reason=f"difference to the untrained encoder {interval} over {len(differences)} seeds",
    )


def never_contained_claim(text: str, scores: Sequence[Interval], *, threshold: float) -> Claim:
    """A claim that none of several latents is contained in a representation.

    Args:
        text: what is claimed.
        scores: R² of each latent in each fit.
        threshold: R² that containment would need.
    """
    interval = hull(scores)
    verdict = Verdict.INCONCLUSIVE
    if interval.high < threshold:
        verdict = Verdict.NOT_IDENTIFIED
    elif max(score.low for score in scores) >= threshold:
        verdict = Verdict.IDENTIFIED
    return Claim(
        text=text,
        predicted=str(Verdict.NOT_IDENTIFIED),
        scores={"R²": interval},
        verdict=str(verdict),
        reason=f"R² {interval} over {len(scores)} scores, threshold {threshold:g}",
    )


def hull(intervals: Sequence[Interval]) -> Interval:
    """Mean value between the least and the greatest end: the cautious summary where a few fits cannot be bootstrapped.

    Raises:
        ValueError: no intervals.
    """
    if not intervals:
        raise ValueError("hull needs at least one interval")
    return Interval(
        low=min(i.low for i in intervals),
        value=sum(i.value for i in intervals) / len(intervals),
        high=max(i.high for i in intervals),
    )
