"""Claims about what one trained code holds, and the cautious interval of a few codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hlvm.claims.claim import Claim
from hlvm.claims.stances import SILENT, Stance
from hlvm.scoring import BlockVerdict, Interval, Verdict

__all__ = ["block_claim", "hull"]

_HOLDS = {
    Verdict.IDENTIFIED: True,
    Verdict.NOT_IDENTIFIED: False,
    Verdict.COLLAPSED: False,
    Verdict.INCONCLUSIVE: None,
}


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
            claim, so does a collapse, as the reason says, and where exact codes would fail as well it is open.
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
