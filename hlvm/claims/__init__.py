"""Claims: what was said before measuring, margins fixed beforehand, intervals, and how it came out.

A :class:`Claim` holds, fails or is open. What theory and paper say of it is a value, :func:`yes`, :func:`no` or
:func:`nothing`, with a reason beside it, so that agreement follows from the outcome. Builders decide claims about
differences between training seeds (:func:`mean_claim` and its relatives) and about what one code holds
(:func:`block_claim`); :func:`interval_claim` decides any other claim whose scores have limits. :func:`drawn_claims`
draws the claims from a prediction and decides them as one family, at once or at several :class:`Looks`;
:func:`power_table` says beforehand which seeds and generators it takes.

    >>> claim = equivalence_claim("the unit does not matter", {"unit 2 − 1": [0.01, -0.02, 0.0]}, 0.05, theory=yes())
    >>> claim.holds, claim.theory_agrees, claim.paper_agrees
    (True, True, None)
"""

from hlvm.claims.claim import ABOVE_ZERO, BELOW_ZERO, Claim, Limits, every, interval_claim, within
from hlvm.claims.differences import (
    equivalence_claim,
    mean_claim,
    ordering_claim,
    rank_correlations,
    trend_claim,
)
from hlvm.claims.drawn import ClaimConfig, drawn_claims, drawn_limits
from hlvm.claims.identification import block_claim, hull
from hlvm.claims.looks import Looks
from hlvm.claims.power import DecisionPower, decision_power, power_table, replicates_needed
from hlvm.claims.stances import SILENT, Says, Stance, no, nothing, yes

__all__ = [
    "ABOVE_ZERO",
    "BELOW_ZERO",
    "SILENT",
    "Claim",
    "ClaimConfig",
    "DecisionPower",
    "Limits",
    "Looks",
    "Says",
    "Stance",
    "block_claim",
    "decision_power",
    "drawn_claims",
    "drawn_limits",
    "equivalence_claim",
    "every",
    "hull",
    "interval_claim",
    "mean_claim",
    "no",
    "nothing",
    "ordering_claim",
    "power_table",
    "rank_correlations",
    "replicates_needed",
    "trend_claim",
    "within",
    "yes",
]
