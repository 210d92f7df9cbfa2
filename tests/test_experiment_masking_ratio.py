"""Predictions of the experiment on masking ratios against counting, scores against known codes, verdicts on records."""

import functools
import itertools

import numpy as np
import pandas as pd
import pytest

from experiments import masking_ratio
from experiments.masking_ratio import LAPTOP, SMOKE
from experiments.quadtree_fits import (
    QuadtreeFits,
    available,
    input_records,
    per_seed,
    separated_at,
    share_stance,
)
from experiments.quadtree_fits import _by_height as by_height
from hlvm.claims import SILENT, yes
from hlvm.graph import LatentGraph
from hlvm.masking import RandomMask
from hlvm.study.measuring import Session

JUDGE = masking_ratio.EXPERIMENT.judge
PREDICTION = masking_ratio.EXPERIMENT.predict(LAPTOP)


# ---------------------------------------------------------------------- predictions


@pytest.mark.parametrize("n_masked", [2, 13, 15])
def test_availability_and_separators_equal_counts_over_all_masks(n_masked):
    graph = LatentGraph.quadtree(2)
    below = {name: {x for x in graph.observed if name in graph.ancestors([x])} for name in graph.latents}
    with_visible, separators, n_masks = 0, {1: 0, 2: 0}, 0
    for masked in itertools.combinations(graph.observed, n_masked):
        visible = set(graph.observed) - set(masked)
        n_masks += 1
        with_visible += bool(below["z1_0_0"] & visible)
        for cell in masked:
            above = [name for name in graph.ancestors([cell]) if below[name] & visible]
            separators[min(graph.height(name) for name in above)] += 1
    assert available(16, 4, n_masked / 16) == pytest.approx(with_visible / n_masks)
    for height, count in separators.items():
        assert separated_at(height, 2, n_masked / 16) == pytest.approx(count / (n_masks * n_masked))


def shares(mechanism, strategy):
    table = pd.DataFrame(PREDICTION["share_in_c"])
    chosen = table[(table["mechanism"] == mechanism) & (table["strategy"] == strategy)]
    return chosen.set_index(["height", "ratio"])["share"]


def test_prediction_sees_no_optimum_for_the_root_and_one_in_the_middle_for_height_1():
    share = shares("invertible", "uniform")
    assert (share.loc[3] == 1).all()
    assert share.loc[1].idxmax() == 0.5
    subtree = shares("invertible", "subtree")
    assert set(subtree[subtree > 0].index.get_level_values("height")) == {3}


def test_prediction_with_noise_sees_the_root_where_it_is_the_smallest_separator():
    share = shares("noisy", "uniform").loc[3]
    assert share.idxmax() == 0.5
    assert (share.drop(0.5) < 0.02).all()
    assert (shares("noisy", "subtree").loc[3] == 1).all()


# ---------------------------------------------------------------------- scores


@functools.cache
def linear_session(per_height):
    config = QuadtreeFits(height=2, rows=800, per_height=per_height)
    return Session(config.study("linear", [("uniform", 0.5, 1)]), config.key)


def test_code_that_is_the_root_holds_the_root_and_nothing_new_below():
    session = linear_session(2)
    root, scorer = session.material(0).truth.values["z2_0_0"], session.scorer(0)
    scores = pd.DataFrame(by_height(scorer, scorer.scores(root, chance=False)[0]))
    scores = scores.set_index(["part", "height"])["value"]
    assert scores["value", 2] > 0.98
    assert scores["noise", 2] > 0.98
    assert abs(scores["noise", 1]) < 0.05
    assert 0.4 < scores["value", 1] < 0.9  # 2 of its 3 dims come from the root


def test_visible_cells_hold_what_they_descend_from():
    records = pd.DataFrame(input_records(linear_session(4).scorer(0), 0, 0.9))
    assert set(records["view"]) == {0.9}
    scores = records.set_index(["part", "height"])["value"]
    assert scores["value", 2] > 0.95  # any one cell determines the root
    assert scores["noise", 0] < 0.3  # 2 of 16 cells are visible


def test_views_are_drawn_once_for_a_seed_and_ratio():
    scorer, mask = linear_session(4).scorer(0), RandomMask(ratio=0.75)
    first = scorer.view(0, mask)
    assert first.sum() == 12
    assert (scorer.view(0, mask) == first).all()
    assert (scorer.view(1, mask) != first).any()


# ---------------------------------------------------------------------- verdicts


def made_up(value, noise=1e-4, seeds=4):
    """Records of all arms: ``value(cell)`` and a little that differs from seed to seed."""
    rng = np.random.default_rng(0)
    records = []
    for group in masking_ratio.EXPERIMENT.groups(LAPTOP):
        full = group["mechanism"] in ("invertible", "noisy") and group["steps"] == LAPTOP.fits.steps
        main = full and group["mechanism"] == "invertible"
        cells = [
            {**group, "strategy": "uniform", "of": "trained", "view": v} for v in (LAPTOP.views if main else (0.0,))
        ]
        if full and group["ratio"] in LAPTOP.strategy_ratios:
            cells += [{**group, "strategy": name, "of": "trained", "view": 0.0} for name in LAPTOP.strategies]
        if group["ratio"] == LAPTOP.middle and group["steps"] == LAPTOP.fits.steps:
            of = ("untrained", "visible")
            cells += [
                {**group, "steps": 0, "strategy": "uniform", "of": o, "view": v} for o in of for v in LAPTOP.views
            ]
        for cell, height, part in itertools.product(cells, range(4), ("value", "noise")):
            here = {**cell, "height": height, "part": part}
            records += [here | {"seed": s, "value": value(here) + noise * rng.normal()} for s in range(seeds)]
    return pd.DataFrame(records)


def verdicts(records):
    found = JUDGE(records, PREDICTION)
    return {claim.text: claim for claim in found}, [claim.holds for claim in found]


def test_judge_of_scores_that_do_not_depend_on_anything():
    found, _ = verdicts(made_up(lambda cell: 0.5))
    optimum = found["invertible mechanisms: the root is found better at ratio 0.75 than at 0.1 and at 0.95"]
    assert (optimum.holds, optimum.paper_agrees, optimum.theory_agrees) == (False, False, None)
    assert optimum.reason == "smaller than 0.03"
    flat = found["linear mechanisms: the ratio changes the root's score by at most 0.03"]
    assert (flat.holds, flat.theory_agrees) == (True, True)
    assert all(f.holds for claim, f in found.items() if claim.startswith("mismatch"))


def test_judge_of_an_optimum_that_is_due_to_mismatch():
    """Each encoder is good at images masked as in its own training; whole images suit the one of the middle ratio."""

    def value(cell):
        if cell["of"] != "trained" or cell["mechanism"] != "invertible":
            return 0.5
        best = cell["view"] or LAPTOP.middle
        return 0.9 - 0.3 * abs(cell["ratio"] - best)

    found, _ = verdicts(made_up(value))
    optimum = found["invertible mechanisms: the root is found better at ratio 0.75 than at 0.1 and at 0.95"]
    assert (optimum.holds, optimum.paper_agrees, optimum.theory_agrees) == (True, True, None)
    assert all(f.holds is True for claim, f in found.items() if claim.startswith(("mismatch", "nonlinearity")))
    availability = next(f for claim, f in found.items() if claim.startswith("availability"))
    assert (availability.holds, availability.theory_agrees) == (False, True)


def test_judge_of_an_optimum_that_goes_away_with_training_and_one_that_stays():
    def value(cell, late):
        lead = 0.3 if cell["steps"] < LAPTOP.fits.steps else late
        return 0.5 + (lead if cell["ratio"] == LAPTOP.middle and cell["of"] == "trained" else 0.0)

    def times(late):
        found, _ = verdicts(made_up(lambda cell: value(cell, late)))
        return [f.holds for claim, f in found.items() if claim.startswith("training time")]

    assert times(0.1) == [True, True]
    assert times(0.4) == [False, False]


def test_judge_of_noisy_mechanisms_that_do_as_theory_says():
    """What is found follows the shares in c of the general regime."""
    table = pd.DataFrame(PREDICTION["share_in_c"]).set_index(["mechanism", "strategy", "ratio", "height"])["share"]

    def value(cell):
        known = cell["mechanism"] == "noisy" and cell["of"] == "trained" and cell["height"] > 0
        return 0.3 + 0.5 * (table.at["noisy", cell["strategy"], cell["ratio"], cell["height"]] if known else 0.0)

    found = [f for claim, f in verdicts(made_up(value))[0].items() if claim.startswith("noisy") and f.theory != SILENT]
    assert [f.holds for f in found] == [True] * 4
    assert all(f.theory_agrees for f in found)
    assert "0.33 against 0.00" in found[0].theory.reason
    found = [f for claim, f in verdicts(made_up(lambda c: 1 - value(c)))[0].items() if claim.startswith("noisy")]
    assert [f.holds for f in found if f.theory != SILENT] == [False] * 4


def test_no_verdict_where_seeds_disagree():
    _, holds = verdicts(made_up(lambda cell: 0.5, noise=0.2))
    assert holds.count(None) > 0.7 * len(holds)


def test_shares_that_hardly_differ_say_nothing():
    assert share_stance([(0.9, 0.1), (0.5, 0.2)]) == yes("in c with probability 0.90 against 0.10, 0.50 against 0.20")
    assert share_stance([(0.9, 0.1), (0.5, 0.46)]).says == "nothing"


def test_a_cell_must_be_named_in_full():
    records = made_up(lambda cell: 0.5)
    with pytest.raises(ValueError, match="one record per seed"):
        per_seed(records, ratio=0.75)
    with pytest.raises(ValueError, match="got 0"):
        per_seed(records, ratio=0.33)


def test_every_figure_is_drawn():
    figures = masking_ratio.EXPERIMENT.draw(made_up(lambda cell: 0.5), PREDICTION)
    assert list(figures) == ["masking_ratio", "masking_ratio_causes", "masking_ratio_mismatch"]


def test_settings_must_hold_what_is_compared():
    with pytest.raises(ValueError, match="are missing"):
        masking_ratio.Config(ratios=(0.1, 0.75))
    with pytest.raises(ValueError, match="views must begin with 0"):
        masking_ratio.Config(views=(0.1, 0.75, 0.95))
    assert masking_ratio.LAPTOP.few == (0.1, 0.75, 0.95)
    assert SMOKE.few == (0.5,)  # all of them are the same
