"""Transfer: what each shift changes, the counting task, and what the verdicts rest on."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.scene_comparisons import comparisons, series_of
from experiments.scene_fits import arms, scene_model
from experiments.transfer import LAPTOP, RETAINED, SHIFTED, SHIFTS, judge, scenes_with_stars

SCENES = scene_model(LAPTOP.fits)
PREDICTION = {
    "shares": [
        {**arm, "latent": latent, "share": {1: 0.0, 2: 0.1, 4: 1.0}[arm["unit"]]}
        for arm in arms(LAPTOP.fits)
        for latent in ("class", "layout", "shape")
    ],
    "comparisons": comparisons(LAPTOP.fits),
    "series": series_of(LAPTOP.fits),
    "chance": 0.125,
}


def test_the_paper_s_means_and_shares():
    assert SHIFTED["ratio"][0.1] == pytest.approx((34.72 + 9.42 + 14.63 + 2.00 + 7.25) / 5, abs=0.01)
    assert SHIFTED["unit"][4] == pytest.approx((61.35 + 19.03 + 27.84 + 12.69 + 28.30) / 5, abs=0.01)
    assert RETAINED["ratio"][0.75] == pytest.approx(23.39 / 67.41, abs=0.001)
    assert RETAINED["unit"][4] == pytest.approx(29.84 / 73.31, abs=0.001)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_changes_its_latents_and_keeps_class_shapes_and_layout(name):
    """The same noises with and without it; what follows from a shifted latent may change as well."""
    key = jax.random.key(0)
    noises = SCENES.noises(key, 200)
    before, after = SCENES.latents(noises), SCENES.latents(noises, shift=SHIFTS[name])
    changed = {latent.split("_")[0] for latent in before if (before[latent] != after[latent]).any()}
    followers = {"texture": {"frequency", "orientation"}}.get(name, set())
    assert changed == set(SHIFTS[name]) | followers
    assert not changed & {"class", "layout", "shape", "size"}


def test_shifted_frequencies_and_light_lie_outside_what_probes_were_trained_on():
    noises = SCENES.noises(jax.random.key(0), 500)
    before = SCENES.latents(noises)
    coarse = SCENES.latents(noises, shift=SHIFTS["frequency"])
    assert coarse["frequency_0"].max() < before["frequency_0"].min()
    below = SCENES.latents(noises, shift=SHIFTS["lighting"])
    assert below["lighting"][:, 0].min() > before["lighting"][:, 0].max()


def test_stars_are_counted():
    sample, counts = scenes_with_stars(SCENES, jax.random.key(0), 1000)
    star = SCENES.factors["shape"].categories.index("star")
    shapes = np.stack([np.asarray(sample.latents[f"shape_{i}"])[:, 0] for i in range(4)], axis=1)
    assert ((shapes == star).sum(axis=1) == counts).all()
    assert np.bincount(counts, minlength=5).min() > 150  # 200 each
    of_one = (shapes == star)[counts == 1].mean(axis=0)
    assert np.abs(of_one - 0.25).max() < 0.1
    layouts, classes = (np.asarray(sample.latents[name])[:, 0] for name in ("layout", "class"))
    table = np.histogram2d(layouts, classes, bins=(5, 8))[0]
    assert 8 < table.min() <= table.max() < 45  # 25 each


def records_of(plain, kept, second):
    """Accuracies by arm: without a shift, after one, and of the second tasks."""
    rows = []
    codes = [("trained", *arm) for arm in plain] + [("untrained", None, None), ("pixels", None, None)]
    for (code, ratio, unit), seed in itertools.product(codes, range(4)):
        own = 0.01 * seed + 0.001 * (seed % 2) * (unit or 0)
        arm = (ratio, unit) if code == "trained" else (0.1, 2)
        values = {("class", "none"): plain[arm], ("layout", "none"): second[arm], ("count", "none"): second[arm]}
        values |= {("class", shift): 0.125 + kept[arm] * (plain[arm] - 0.125) + own for shift in SHIFTS}
        row = {"code": code, "ratio": ratio, "unit": unit, "seed": seed, "score": "accuracy"}
        rows += [
            {**row, "task": task, "shift": shift, "value": value + 0.0001 * seed * (ratio or 1)}
            for (task, shift), value in values.items()
        ]
    return pd.DataFrame(rows)


PLAIN = {
    (0.1, 2): 0.47,
    (0.25, 2): 0.54,
    (0.5, 2): 0.6,
    (0.75, 2): 0.68,
    (0.9, 2): 0.63,
    (0.75, 1): 0.6,
    (0.75, 4): 0.7,
}
KEPT = {arm: value - 0.1 for arm, value in PLAIN.items()}


def test_verdicts_on_records_like_the_paper_s():
    claims = judge(records_of(PLAIN, KEPT, PLAIN), PREDICTION)
    assert [claim.holds for claim in claims] == [True] * 14
    assert [claim.paper_agrees for claim in claims[:12]] == [True] * 12
    assert claims[0].theory_agrees is None
    assert claims[3].theory_agrees is True
    after = 0.125 + KEPT[0.75, 2] * (PLAIN[0.75, 2] - 0.125) + 0.015
    assert claims[0].scores["ratio 0.75, unit 2"].value == pytest.approx(after, abs=0.003)
    retained = claims[4].scores["ratio 0.75, unit 2"].value
    assert retained == pytest.approx(KEPT[0.75, 2], abs=0.04)


def test_verdicts_on_records_that_contradict():
    upside_down = {arm: 1 - value for arm, value in PLAIN.items()}
    claims = judge(records_of(upside_down, dict.fromkeys(PLAIN, 0.5), upside_down), PREDICTION)
    assert [claim.holds for claim in claims[:4]] == [False] * 4
    assert [claim.holds for claim in claims[8:14]] == [False] * 6
