"""Shape bias: images whose cues conflict, decisions, and what the verdicts rest on."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.scene_comparisons import comparisons, series_of
from experiments.scene_fits import SMOKE, arms, scene_model
from experiments.scene_probes import label_of
from experiments.shape_bias import LAPTOP, consistent_scenes, cue_conflict, decisions, judge
from hlvm.claims import SILENT

PREDICTION = {
    "shares": [
        {**arm, "latent": latent, "share": share}
        for arm in arms(LAPTOP.fits)
        for latent, share in (("shape", 0.9), ("texture", 0.88))
    ],
    "comparisons": comparisons(LAPTOP.fits),
    "series": series_of(LAPTOP.fits),
}


def test_decisions_against_counts_by_hand():
    assert decisions(np.asarray([0, 1, 2, 3]), np.asarray([0, 1, 5, 6]), np.asarray([1, 2, 2, 7])) == (0.5, 0.25)


def test_conflicting_images_have_the_shape_of_one_class_and_the_texture_of_another():
    scenes = consistent_scenes(SMOKE)
    conflict, of_shape, of_texture = cue_conflict(scenes, jax.random.key(0), 400)
    assert (of_shape != of_texture).all()
    classes = [name.split("-") for name in scenes.factors["class"].categories]
    for factor, of_class, part in (("shape", of_shape, 0), ("texture", of_texture, 1)):
        names = [scenes.factors[factor].categories[kind] for kind in label_of(conflict, factor)]
        assert names == [classes[number][part] for number in of_class]
    pairs = set(zip(of_shape.tolist(), of_texture.tolist(), strict=True))
    assert len(pairs) == 56  # all ordered pairs of eight classes


def test_consistent_scenes_show_the_class_by_shape_and_texture_only():
    scenes = consistent_scenes(SMOKE)
    sample = scenes.sample(jax.random.key(1), 300)
    kinds = np.stack([label_of(sample, name) for name in ("class", "shape", "texture")], axis=1)
    assert len(np.unique(kinds, axis=0)) == 8
    assert scenes.factors["palette"].parents == scenes.factors["layout"].parents == ()
    assert scenes.shape == scene_model(SMOKE).shape


def records_of(bias, ahead=1.0, untrained=0.1):
    rows = []
    codes = [("trained", *arm, value) for arm, value in bias.items()] + [("untrained", None, None, untrained)]
    for (code, ratio, unit, value), seed in itertools.product(codes, range(4)):
        own = 0.01 * seed + 0.001 * (seed % 2) * (unit or 0)
        scores = {
            "shape bias": value + own,
            "accuracy of shape": 0.5 + ahead * value / 2,
            "accuracy of texture": 0.5 - ahead * value / 2,
        }
        row = {"code": code, "ratio": ratio, "unit": unit, "seed": seed}
        rows += [{**row, "score": score, "value": number} for score, number in scores.items()]
    return pd.DataFrame(rows)


LIKE_THE_PAPER = {
    (0.1, 2): 0.13, (0.25, 2): 0.25, (0.5, 2): 0.24, (0.75, 2): 0.26, (0.9, 2): 0.2, (0.75, 1): 0.27, (0.75, 4): 0.25
}  # fmt: skip


def test_verdicts_on_records_like_the_paper_s():
    low, high, unit_2, unit_4, below, raised, follows = judge(records_of(LIKE_THE_PAPER), PREDICTION)
    assert (low.holds, low.paper_agrees, low.theory_agrees) == (True, True, False)
    assert (high.holds, high.paper_agrees, high.theory_agrees) == (True, True, False)
    assert (unit_2.holds, unit_2.paper, unit_2.theory_agrees) == (False, SILENT, True)
    assert (unit_4.theory_agrees, "0.02" in unit_4.theory.reason) == (True, True)
    assert (below.holds, below.paper_agrees) == (True, True)
    assert raised.scores["difference"].value == pytest.approx(0.16, abs=0.01)
    assert (raised.holds, follows.holds) == (True, True)


def test_verdicts_on_records_that_contradict():
    shapes_first = {arm: 0.9 - value for arm, value in LIKE_THE_PAPER.items()}
    low, high, *_, below, raised, follows = judge(records_of(shapes_first, ahead=-1.0, untrained=0.9), PREDICTION)
    assert (low.holds, high.holds, below.holds, raised.holds, follows.holds) == (False,) * 5
