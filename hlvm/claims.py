"""Claims: what the theory predicted, what was measured, and whether the two agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from hlvm.scoring import BlockVerdict, Interval, Verdict

__all__ = ["Claim", "above_floor_claim", "block_claim", "hull", "no_leakage_claim"]

ABOVE_FLOOR = "above floor"
NOT_ABOVE_FLOOR = "not above floor"
NO_LEAKAGE = "nothing beyond c"
LEAKAGE = "more than c"
_OUTCOMES = (
    (str(Verdict.IDENTIFIED), str(Verdict.NOT_IDENTIFIED)),
    (ABOVE_FLOOR, NOT_ABOVE_FLOOR),
    (NO_LEAKAGE, LEAKAGE),
)
"""Predictions that can be made, and measured if the intervals decide."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One prediction beside its measurement.

    Attributes:
        text: what is claimed, in words.
        predicted: the outcome the theory predicts, made before training.
        scores: intervals the verdict rests on, by name.
        verdict: the measured outcome; ``"inconclusive"`` when the intervals do not decide.
        reason: why, in words.

    Raises:
        ValueError: a prediction that no measurement could come out as, or another kind of verdict.
    """

    text: str
    predicted: str
    scores: dict[str, Interval]
    verdict: str
    reason: str

    def __post_init__(self) -> None:
        kinds = [outcomes for outcomes in _OUTCOMES if self.predicted in outcomes]
        if not kinds:
            words = ", ".join(repr(word) for outcomes in _OUTCOMES for word in outcomes)
            raise ValueError(f"predicted must be one of {words}, got {str(self.predicted)!r}")
        if self.verdict not in (*kinds[0], Verdict.INCONCLUSIVE):
            raise ValueError(
                f"verdict must be {' or '.join(map(repr, kinds[0]))} or 'inconclusive' where {str(self.predicted)!r} "
                f"was predicted, got {str(self.verdict)!r}"
            )

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


def block_claim(
    text: str, predicted: Verdict, measured: BlockVerdict, *, members: Mapping[str, Interval] | None = None
) -> Claim:
    """A claim about a block of latents: identified or not.

    Args:
        text: what is claimed.
        predicted: what the theory says.
        measured: the verdict on the scores of the block.
        members: further scores by name, such as R² of single members of the block, shown beside; the verdict is about
            the block.

    Raises:
        ValueError: ``predicted`` is neither "identified" nor "not identified".
    """
    scores = {f"R²({name})": score.interval for name, score in measured.directions.items()}
    scores |= members or {}
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
        scores={f"R² − floor, range over {len(differences)} seeds": interval},
        verdict=verdict,
        reason=f"difference to the untrained encoder {interval} over {len(differences)} seeds",
    )


def no_leakage_claim(text: str, excess: Interval, *, tolerance: float, scores: Mapping[str, Interval]) -> Claim:
    """A claim that a code holds no more of a latent outside ``c`` than ``c`` itself does.

    A latent that depends on ``c`` can be read off a perfect code in part, so its plain R² says nothing about leakage.

    Args:
        text: what is claimed.
        excess: R² given the code minus R² given ``c``, on the same test rows.
        tolerance: an excess up to this still counts as none.
        scores: both R² values by name, for the record.
    """
    verdict = str(Verdict.INCONCLUSIVE)
    if excess.high < tolerance:
        verdict = NO_LEAKAGE
    elif excess.low > tolerance:
        verdict = LEAKAGE
    return Claim(
        text=text,
        predicted=NO_LEAKAGE,
        scores={"R² − R² from c": excess, **scores},
        verdict=verdict,
        reason=f"R² exceeds what c itself gives by {excess}, tolerance {tolerance:g}",
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
