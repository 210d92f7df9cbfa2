"""Linear separability: what counts as pure, and what the verdicts rest on."""

import itertools

import numpy as np
import pandas as pd
import pytest

from experiments.linear_separability import LAPTOP, judge, purity
from experiments.scene_comparisons import comparisons, series_of
from experiments.scene_fits import arms
from hlvm.claims import SILENT

PREDICTION = {
    "shares": [
        {**arm, "latent": latent, "share": {1: 0.0, 2: 0.1, 4: 1.0}[arm["unit"]]}
        for arm in arms(LAPTOP.fits)
        for latent in ("class", "shape", "texture")
    ],
    "comparisons": comparisons(LAPTOP.fits),
    "series": series_of(LAPTOP.fits),
    "chance": 0.125,
}
LIKE_THE_PAPER = {(0.1, 2): 0.47, (0.25, 2): 0.54, (0.5, 2): 0.6, (0.75, 2): 0.68, (0.9, 2): 0.63, (0.75, 1): 0.62}


def records_of(accuracies, floor=0.4):
    """Records of four seeds with a little of each seed's own, the same in all arms, and purity as accuracy."""
    rows = []
    codes = [("trained", *arm, value) for arm, value in accuracies.items()]
    codes += [(code, None, None, floor) for code in ("untrained", "pixels")]
    for (code, ratio, unit, value), seed in itertools.product(codes, range(4)):
        for latent in ("class", "shape", "texture"):
            own = 0.02 * seed + 0.001 * (seed % 2) * (unit or 0)
            row = {"code": code, "ratio": ratio, "unit": unit, "seed": seed, "latent": latent, "value": value + own}
            rows.append({**row, "score": "accuracy"})
            rows.append({**row, "score": "purity in the map", "latent": "class"})
    return pd.DataFrame(rows)


def test_purity_is_the_share_of_neighbours_with_the_same_label():
    places = np.asarray([[0.0], [1.0], [2.1], [10.0], [11.0], [12.1]])
    assert purity(places, [0, 0, 0, 1, 1, 1], 2) == 1
    assert purity(places, [0, 0, 1, 1, 1, 1], 2) == pytest.approx((0.5 + 0.5 + 0 + 1 + 1 + 1) / 6)


def test_verdicts_on_records_like_the_paper_s():
    claims = judge(records_of(LIKE_THE_PAPER | {(0.75, 4): 0.73}), PREDICTION)
    of_class = claims[:4]
    assert [claim.holds for claim in of_class] == [True] * 4
    assert [claim.paper_agrees for claim in of_class] == [True] * 4
    assert [claim.theory.says for claim in of_class[:2]] == ["nothing"] * 2
    assert [claim.theory_agrees for claim in of_class[2:]] == [True, True]
    assert of_class[1].scores["difference"].value == pytest.approx(0.05)
    assert [claim.paper for claim in claims[4:12]] == [SILENT] * 8
    untrained, pixels = claims[12:]
    assert (untrained.holds, pixels.holds) == (True, True)


def test_verdicts_on_records_that_contradict():
    claims = judge(records_of(LIKE_THE_PAPER | {(0.75, 4): 0.5}, floor=0.9), PREDICTION)
    assert [claim.holds for claim in claims[:4]] == [True, True, True, False]
    assert (claims[3].paper_agrees, claims[3].theory_agrees) == (False, False)
    assert (claims[12].holds, claims[13].holds) == (False, False)
