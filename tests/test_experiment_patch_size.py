"""Predictions of the experiment on masking units against enumerated masks, verdicts on made-up records."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from experiments import patch_size
from experiments.patch_size import LAPTOP, SMOKE, Config, mean_rank_correlations
from experiments.quadtree_fits import QuadtreeFits, shares_in_c, strategy
from hlvm.claims import nothing
from hlvm.masking import Patches
from hlvm.theory import shared_information

PREDICTION = patch_size.EXPERIMENT.predict(LAPTOP)


@pytest.mark.parametrize(("name", "sides"), [("uniform", (2, 2)), ("strip", (1, 4))])
def test_shares_equal_those_over_all_masks(name, sides):
    config = QuadtreeFits(height=2)
    graph = config.graph
    units = Patches.blocks(graph, sides).groups
    counts = np.zeros(2)
    masks = list(itertools.combinations(units, 2))
    for masked in masks:
        members = shared_information(graph, [cell for unit in masked for cell in unit]).members
        counts += [sum(graph.height(member) == height for member in members) for height in (1, 2)]
    expected = counts / len(masks) / [4, 1]
    assert shares_in_c(graph, strategy(config, name, 0.5, 2)) == pytest.approx(expected.tolist())


def test_prediction_says_which_levels_a_unit_hides():
    share = shares()
    share = share[[strategy == "block" or ratio == LAPTOP.ratio for strategy, ratio, _, _ in share.index]].droplevel(1)
    assert share["uniform", 2, 1] == share["uniform", 4, 2] == share["block", 4, 2] == 0
    for shown in (("uniform", 1, 1), ("strip", 2, 1), ("strip", 4, 2), ("block", 1, 2)):
        assert share[shown] > 0.3
    assert (share.xs(3, level="height") == 1).all()


def made_up(value, noise=1e-4, mechanisms=("invertible",)):
    rng = np.random.default_rng(0)
    cells = []
    for mechanism in mechanisms:
        arms = [*((*arm, "trained") for arm in LAPTOP.arms(mechanism)), ("uniform", LAPTOP.ratio, 1, "untrained")]
        cells += [
            dict(zip(("strategy", "ratio", "unit", "of", "mechanism"), (*a, mechanism), strict=True)) for a in arms
        ]
    records = []
    for cell, height, part in itertools.product(cells, range(4), ("value", "noise")):
        here = {**cell, "height": height, "part": part}
        records += [here | {"seed": s, "value": value(here) + noise * rng.normal()} for s in range(4)]
    return pd.DataFrame(records)


def shares(mechanism="invertible"):
    table = pd.DataFrame(PREDICTION["share_in_c"])
    table = table[table["mechanism"] == mechanism]
    return table.set_index(["strategy", "ratio", "unit", "height"])["share"]


def test_judge_where_codes_hold_what_theory_says():
    share = shares()

    def value(cell):
        if cell["of"] == "untrained" or not cell["height"]:
            return 0.1
        return 0.2 + 0.5 * share[cell["strategy"], cell["ratio"], cell["unit"], cell["height"]]

    found = patch_size.EXPERIMENT.judge(made_up(value), PREDICTION)
    assert [claim.theory_agrees for claim in found[:3]] == [True] * 3
    assert found[3].holds is False  # the root's share is the same with all units
    assert found[4].theory_agrees is True
    assert found[5].holds is True


def test_prediction_with_noise_has_the_height_whose_children_are_the_units():
    share = shares("noisy").sort_index()["uniform", LAPTOP.ratio]
    assert [share[unit].idxmax() for unit in (1, 2, 4)] == [1, 2, 3]


def test_judge_of_noisy_mechanisms():
    share, both = {m: shares(m) for m in ("invertible", "noisy")}, ("invertible", "noisy")

    def value(cell):
        if cell["of"] == "untrained" or not cell["height"]:
            return 0.1
        arm = cell["strategy"], cell["ratio"], cell["unit"], cell["height"]
        return 0.2 + 0.5 * share[cell["mechanism"]][arm]

    found = [f for f in patch_size.EXPERIMENT.judge(made_up(value, mechanisms=both), PREDICTION) if "noisy" in f.text]
    assert [claim.theory_agrees for claim in found] == [True] * 4
    assert [claim.paper_agrees for claim in found] == [None, None, True, None]
    flipped = made_up(lambda cell: 1 - value(cell), mechanisms=both)
    found = [f for f in patch_size.EXPERIMENT.judge(flipped, PREDICTION) if "noisy" in f.text]
    assert [claim.holds for claim in found[:3]] == [False] * 3


def test_judge_where_codes_hold_the_opposite():
    found = patch_size.EXPERIMENT.judge(made_up(lambda cell: 0.1 * cell["unit"]), PREDICTION)
    assert (found[0].holds, found[0].theory_agrees) == (False, False)
    assert (found[2].holds, found[2].theory_agrees) == (False, False)
    assert (found[3].holds, found[3].paper_agrees, found[3].theory_agrees) == (True, True, None)
    assert found[3].theory == nothing("in c with any unit")


def test_mean_rank_correlations_are_spearmans():
    records = made_up(lambda cell: 0.0, noise=1.0)
    of_seed = records[(records["seed"] == 2) & (records["part"] == "noise") & (records["of"] == "trained")]
    share, expected = shares(), []
    for height in (1, 2):
        cell = of_seed[of_seed["height"] == height]
        x = [share[row.strategy, row.ratio, row.unit, height] for row in cell.itertuples()]
        expected.append(scipy.stats.spearmanr(x, cell["value"])[0])
    assert mean_rank_correlations(records, PREDICTION)[2] == pytest.approx(np.mean(expected))


def test_equal_gains_follow_nothing():
    assert (mean_rank_correlations(made_up(lambda cell: 0.1, noise=0.0), PREDICTION) == 0).all()


def test_no_correlation_where_shares_are_the_same_in_all_arms():
    rows = [row | {"share": 0.5} for row in PREDICTION["share_in_c"]]
    records = made_up(lambda cell: 0.0, noise=1.0, mechanisms=("invertible", "noisy"))
    assert not len(mean_rank_correlations(records, PREDICTION | {"share_in_c": rows}, "noisy"))
    table = pd.DataFrame(PREDICTION["share_in_c"])
    table.loc[table["mechanism"] == "noisy", "share"] = 0.5
    found = patch_size.EXPERIMENT.judge(records, PREDICTION | {"share_in_c": table.to_dict("records")})
    assert [claim.text for claim in found if "up and down" in claim.text] == [found[4].text]


def test_every_figure_is_drawn():
    figures = patch_size.EXPERIMENT.draw(made_up(lambda cell: 0.5), PREDICTION)
    assert list(figures) == ["patch_size", "patch_size_grid"]
    figures = patch_size.EXPERIMENT.draw(made_up(lambda cell: 0.5, mechanisms=("invertible", "noisy")), PREDICTION)
    assert list(figures) == ["patch_size", "patch_size_grid", "patch_size_noisy"]


def test_units_must_double_and_fit():
    with pytest.raises(ValueError, match="1, 2, 4"):
        Config(units=(1, 3))
    with pytest.raises(ValueError, match="among ratios"):
        Config(ratio=0.6)
    with pytest.raises(ValueError, match="noisy_ratios must hold"):
        Config(noisy_ratios=(0.5,))
    with pytest.raises(ValueError, match="none or all of the 4 units"):
        Config(ratios=(0.1, 0.75))
    with pytest.raises(ValueError, match="higher quadtree"):
        Config(fits=SMOKE.fits, units=(1, 2, 4))
