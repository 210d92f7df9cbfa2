"""Claims about what one trained code holds: a block of latents, more than untrained, nothing beyond the content."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hlvm.claims.claim import ABOVE_ZERO, Claim, interval_claim
from hlvm.claims.stances import SILENT, Stance, yes
from hlvm.scoring import BlockVerdict, Interval, Verdict

__all__ = ["above_floor_claim", "block_claim", "hull", "no_leakage_claim"]

_EXPECTED = yes()
_HOLDS = {Verdict.IDENTIFIED: True, Verdict.NOT_IDENTIFIED: False, Verdict.INCONCLUSIVE: None}


def block_claim(
    text: str,
    measured: BlockVerdict,
    *,
    members: Mapping[str, Interval] | None = None,
    theory: Stance = SILENT,
    paper: Stance = SILENT,
) -> Claim:
    """A claim that a block of latents is identified.

    Args:
        text: what is claimed.
        measured: the verdict on the scores of the block. It decides, not the limits alone: a lost direction refutes the
            claim, and where exact codes would fail as well it is open.
        members: further scores by name, such as R² of single members of the block, shown beside.
        theory: what the theory says of the claim.
        paper: what the paper says of it.
    """
    scores = {f"R²({name})": score.interval for name, score in measured.directions.items()}
    return Claim(
        text=text,
        scores={**scores, **(members or {})},
        limits=dict.fromkeys(scores, (measured.threshold, math.inf)),
        theory=theory,
        paper=paper,
        holds=_HOLDS[measured.verdict],
        reason=measured.reason,
    )


def above_floor_claim(text: str, differences: Sequence[Interval], *, theory: Stance = _EXPECTED) -> Claim:
    """A claim that training brings out more of a latent than an untrained encoder of the same shape holds.

    Args:
        text: what is claimed.
        differences: trained minus untrained R² on the same test rows, one interval per training seed.
        theory: what the theory says of the claim.
    """
    scores = {f"R² − floor, range over {len(differences)} seeds": hull(differences)}
    return interval_claim(text, scores, ABOVE_ZERO, theory=theory)


def no_leakage_claim(
    text: str,
    excess: Interval,
    *,
    tolerance: float,
    scores: Mapping[str, Interval] | None = None,
    theory: Stance = _EXPECTED,
) -> Claim:
    """A claim that a code holds no more of a latent outside ``c`` than ``c`` itself does.

    A latent that depends on ``c`` can be read off a perfect code in part, so its plain R² says nothing about leakage.

    Args:
        text: what is claimed.
        excess: R² given the code minus R² given ``c``, on the same test rows.
        tolerance: an excess below this counts as none.
        scores: both R² values by name, shown beside.
        theory: what the theory says of the claim.
    """
    return interval_claim(text, {"R² − R² from c": excess}, (-math.inf, tolerance), shown=scores, theory=theory)


def hull(intervals: Sequence[Interval]) -> Interval:
    """Mean value between the least and the greatest end: the cautious summary where a few fits cannot be bootstrapped.

    Raises:
        ValueError: no intervals.
    """
    if not intervals:
        raise ValueError("hull needs at least one interval")
    return Interval(
        value=sum(i.value for i in intervals) / len(intervals),
        low=min(i.low for i in intervals),
        high=max(i.high for i in intervals),
    )
