"""The grid's arms against masks that are enumerated, verdicts on made-up records."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest

from experiments import masking_grid
from experiments.masking_grid import LAPTOP, Config
from experiments.quadtree_fits import COMPARED, QuadtreeFits, shares_by_arm, strategy
from hlvm.claims import nothing
from hlvm.masking import SubtreeMask

PREDICTION = masking_grid.EXPERIMENT.predict(LAPTOP)
SHARE = shares_by_arm(PREDICTION)


@pytest.mark.parametrize("arm", LAPTOP.arms)
def test_masks_hide_what_the_ratio_says(arm):
    name, ratio, unit = arm
    masks = np.asarray(strategy(LAPTOP.fits, *arm).sample(jax.random.key(0), 50, LAPTOP.fits.graph))
    assert abs(masks.mean(axis=1) - ratio).max() <= (0 if name == "uniform" else 1 / 16)
    grid = masks.reshape(-1, 8 // unit, unit, 8 // unit, unit)
    assert (grid.all(axis=(2, 4)) == grid.any(axis=(2, 4))).all()


@pytest.mark.parametrize("height", [1, 2])
def test_larger_units_at_random_are_subtrees_at_random(height):
    config = QuadtreeFits(height=2) if height == 1 else QuadtreeFits()

    def drawn(sampler):
        masks = np.asarray(sampler.sample(jax.random.key(1), 400, config.graph))
        return {tuple(mask) for mask in masks}

    units = drawn(strategy(config, "uniform", 0.5, 2**height))
    assert units == drawn(SubtreeMask(height=height, ratio=0.5))
    assert len(units) == 6


def made_up(value, noise=1e-4):
    rng = np.random.default_rng(0)
    records = []
    for mechanism, height, part, seed in itertools.product(COMPARED, range(4), ("value", "noise"), range(4)):
        arms = [*((*arm, "trained") for arm in LAPTOP.arms), ("uniform", LAPTOP.middle, 1, "untrained")]
        for name, ratio, unit, of in arms:
            cell = {"mechanism": mechanism, "strategy": name, "ratio": ratio, "unit": unit, "of": of, "height": height}
            about = {"part": part, "seed": seed, "value": value(cell) + noise * rng.normal()}
            records.append(cell | about)
    return pd.DataFrame(records)


def as_shared(cell):
    if cell["of"] == "untrained" or not cell["height"]:
        return 0.1
    return 0.2 + 0.5 * SHARE[tuple(cell[key] for key in ("mechanism", "height", "strategy", "ratio", "unit"))]


def test_where_codes_hold_what_is_shared_every_claim_of_theory_agrees():
    found = masking_grid.EXPERIMENT.judge(made_up(as_shared), PREDICTION)
    decided = [claim for claim in found if claim.theory.says == "yes"]
    assert len(decided) > 15
    assert all(claim.theory_agrees for claim in decided)
    unexplained = [claim for claim in found if claim.theory.says == "nothing"]
    assert ["the root is found better" in claim.text for claim in unexplained] == [True] * 4
    lowest = [claim for claim in found if "height 1 is found better" in claim.text]
    assert [(claim.holds, claim.paper_agrees) for claim in lowest] == [(True, False)] * 2


def test_where_codes_hold_the_opposite_every_claim_of_theory_fails():
    found = masking_grid.EXPERIMENT.judge(made_up(lambda cell: 1 - as_shared(cell)), PREDICTION)
    of_shares = [f for f in found if f.theory.says == "yes" and "as much of the root" not in f.text]
    assert [claim.theory_agrees for claim in of_shares].count(True) == 0
    assert [claim.holds for claim in found if "often" in claim.text].count(False) > 5


def test_where_all_arms_are_the_same_nothing_holds():
    found = masking_grid.EXPERIMENT.judge(made_up(lambda cell: 0.5, noise=0.0), PREDICTION)
    (as_much,) = [claim for claim in found if "as much of the root" in claim.text]
    assert as_much.text.startswith("invertible")
    assert as_much.holds
    assert {claim.holds for claim in found if claim is not as_much} == {False}


def test_optimum_of_the_root_in_the_middle_is_the_papers():
    def value(cell):
        return 0.5 + 0.3 * (cell["ratio"] == LAPTOP.middle and cell["height"] == 3)

    found = masking_grid.EXPERIMENT.judge(made_up(value), PREDICTION)
    of_root = [claim for claim in found if "the root is found better" in claim.text]
    assert [claim.paper_agrees for claim in of_root] == [True] * 4
    assert "invertible" in of_root[0].text
    assert of_root[0].theory == nothing("in c with probability 1.00 against 1.00, 1.00 against 1.00")
    assert of_root[0].theory_agrees is None


def test_what_is_compared_with_what():
    """Differences are those of the records, arm by arm."""
    rng = np.random.default_rng(1)
    scores = {
        (mechanism, height, *arm): rng.random() for mechanism in COMPARED for height in range(4) for arm in LAPTOP.arms
    }

    def value(cell):
        arm = tuple(cell[key] for key in ("mechanism", "height", "strategy", "ratio", "unit"))
        return scores[arm] if cell["of"] == "trained" else 0.0

    found = masking_grid.EXPERIMENT.judge(made_up(value, noise=0.0), PREDICTION)
    (pairs,) = [f for f in found if f.text.startswith("noisy") and "that which has the root in c" in f.text]
    of_root = SHARE["noisy", 3]
    signed = [
        np.sign(of_root["block", ratio, unit] - of_root["uniform", ratio, unit])
        * (scores["noisy", 3, "block", ratio, unit] - scores["noisy", 3, "uniform", ratio, unit])
        for name, ratio, unit in LAPTOP.arms
        if name == "block" and abs(of_root["block", ratio, unit] - of_root["uniform", ratio, unit]) > 0.05
    ]
    ((name, interval),) = pairs.scores.items()
    assert name == f"{len(signed)} pairs"
    assert interval.value == pytest.approx(np.mean(signed))
    (often,) = [f for f in found if f.text.startswith("invertible") and "more of what enters at height 2" in f.text]
    of_height = SHARE["invertible", 2]
    expected = [
        np.mean([scores["invertible", 2, *arm] for arm in LAPTOP.arms if chosen(of_height[arm])])
        for chosen in (lambda share: share >= 0.5, lambda share: share <= 0.05)
    ]
    assert next(iter(often.scores.values())).value == pytest.approx(expected[0] - expected[1])


def test_every_figure_is_drawn():
    assert list(masking_grid.EXPERIMENT.draw(made_up(as_shared), PREDICTION)) == [
        "masking_grid_invertible",
        "masking_grid_noisy",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratios": (0.75, 0.25)}, "must increase"),
        ({"ratios": (0.25, 0.5)}, "between the ends"),
        ({"ratios": (0.25, 0.75)}, "between the ends"),
        ({"ratios": (0.1, 0.75, 0.9)}, "ratio 0.1 is no whole number of units of 1 x 1 on 8 x 8 cells"),
        ({"ratios": (1 / 32, 3 / 4, 31 / 32)}, "ratio 0.03125 is no whole number of units of 2 x 2"),
        ({"units": (2, 4)}, "must be 1, 2, 4"),
        ({"units": (1, 4)}, "must be 1, 2, 4"),
        ({"units": (1, 2, 4, 8)}, "largest below 8"),
    ],
)
def test_config_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)
