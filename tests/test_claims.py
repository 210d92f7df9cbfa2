"""Claims: what makes a prediction and a measurement agree."""

import numpy as np
import pytest

from hlvm.claims import Claim, above_floor_claim, block_claim, hull, no_leakage_claim
from hlvm.scoring import Interval, Verdict, block_verdict


def test_block_claim_agrees_with_a_linear_code_and_not_with_its_refutation():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(300, 2))
    measured = block_verdict(latents @ [[1.0, 1.0], [-1.0, 2.0]], latents, key=0)
    assert block_claim("code = c", Verdict.IDENTIFIED, measured).agrees is True
    refuted = block_claim("code = c", Verdict.NOT_IDENTIFIED, measured)
    assert refuted.agrees is False
    assert refuted.measured.count("\n") == 1  # both directions
    shown = block_claim("code = c", Verdict.IDENTIFIED, measured, members={"R²(ẑ → root)": Interval(0.8, 0.9, 0.95)})
    assert "R²(ẑ → root): 0.900 [0.800, 0.950]" in shown.measured
    assert refuted.to_dict()["scores"]["R²(ẑ → c)"]["value"] > 0.99


@pytest.mark.parametrize(
    ("differences", "verdict", "agrees"),
    [
        ([(0.1, 0.2, 0.3), (0.05, 0.1, 0.2)], "above floor", True),
        ([(0.1, 0.2, 0.3), (-0.05, 0.1, 0.2)], "inconclusive", None),
        ([(-0.3, -0.2, -0.1)], "not above floor", False),
    ],
)
def test_above_floor_claim_needs_every_seed(differences, verdict, agrees):
    claim = above_floor_claim("root learned", [Interval(*d) for d in differences])
    assert (claim.verdict, claim.agrees) == (verdict, agrees)


@pytest.mark.parametrize(
    ("excess", "verdict", "agrees"),
    [
        ((-0.02, 0.0, 0.03), "nothing beyond c", True),
        ((0.02, 0.05, 0.08), "inconclusive", None),
        ((0.1, 0.2, 0.3), "more than c", False),
    ],
)
def test_no_leakage_claim_compares_with_the_content_itself(excess, verdict, agrees):
    claim = no_leakage_claim("t", Interval(*excess), tolerance=0.05, scores={"R²(ẑ → s)": Interval(0.5, 0.6, 0.7)})
    assert (claim.verdict, claim.agrees) == (verdict, agrees)
    assert "R²(ẑ → s)" in claim.measured


@pytest.mark.parametrize(
    ("predicted", "verdict", "message"),
    [
        ("banana", "identified", "predicted must be one of 'identified', 'not identified', .*, got 'banana'"),
        (Verdict.INCONCLUSIVE, "identified", "predicted must be one of .*, got 'inconclusive'"),
        ("above floor", "identified", "verdict must be 'above floor' or 'not above floor' or 'inconclusive' where"),
    ],
)
def test_claim_refuses_what_cannot_come_out(predicted, verdict, message):
    with pytest.raises(ValueError, match=message):
        Claim(text="t", predicted=predicted, scores={}, verdict=verdict, reason="r")


def test_hull_spans_all_intervals():
    assert hull([Interval(0.1, 0.2, 0.3), Interval(0.0, 0.4, 0.5)]) == pytest.approx((0.0, 0.3, 0.5))
    with pytest.raises(ValueError, match="at least one"):
        hull([])
