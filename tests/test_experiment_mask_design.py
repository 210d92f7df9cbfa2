"""Mask design: what masks and losses ask for against counting and brute force, verdicts on made-up records."""

import itertools
import math

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.designed_masks import designed, dim_of, lowest_shared, shares, targets, touching
from experiments.mask_design import SMOKE, predict
from experiments.mask_design_claims import ARMS, judge
from hlvm.graph import LatentGraph
from hlvm.masking import FixedMask, RandomMask
from hlvm.theory import shared_information

GRAPH = LatentGraph.quadtree(2)


def test_designed_masks_share_exactly_their_target():
    for target in targets(GRAPH).values():
        strategy, _ = designed(GRAPH, target)
        masks = strategy.sample(jax.random.key(0), 5, GRAPH)
        for mask in np.asarray(masks):
            found = shared_information(GRAPH, mask)
            assert (found.members, found.dim) == (frozenset(target), dim_of(GRAPH, target))


def test_one_quarter_is_a_fixed_mask_of_one_child():
    strategy, words = designed(LatentGraph.quadtree(3), targets(LatentGraph.quadtree(3))["one quarter"])
    assert isinstance(strategy, FixedMask)
    assert words == "always the same 4 cells"


def test_a_target_that_leaves_out_a_parent_is_refused():
    with pytest.raises(ValueError, match="must come along"):
        designed(GRAPH, ("z1_0_0",))


def test_shares_of_random_masks_are_those_of_counting():
    whole = 2 * math.comb(12, 8) / math.comb(16, 8)  # a latent of height 1 is all masked or all visible
    found = shares(GRAPH, ("z2_0_0",), RandomMask(ratio=0.5))
    assert found["extra"] == pytest.approx(4 * (1 - whole))
    assert found["at least"] == 1.0


def test_touching_and_lowest_shared_are_those_of_brute_force():
    masks = np.asarray(RandomMask(ratio=0.6).sample(jax.random.key(1), 20, GRAPH))
    near, heights = touching(masks, (4, 4)), lowest_shared(GRAPH, masks)
    for row, (i, j) in itertools.product(range(20), itertools.product(range(4), repeat=2)):
        visible = ~masks[row].reshape(4, 4)
        around = [visible[a, b] for a in (i - 1, i, i + 1) for b in (j - 1, j, j + 1) if 0 <= a < 4 and 0 <= b < 4]
        assert near[row, 4 * i + j] == any(around)
        siblings = visible[i // 2 * 2 : i // 2 * 2 + 2, j // 2 * 2 : j // 2 * 2 + 2]
        assert heights[row, 4 * i + j] == (1 if siblings.any() else 2)


def test_prediction():
    found = predict(SMOKE)
    assert [about["d_c"] for about in found["targets"].values()] == [2, 3, 6]
    assert all(about["shares"]["designed"]["exactly"] == 1.0 for about in found["targets"].values())
    alone = math.comb(12, 8) / math.comb(15, 11)  # of the 15 others 11 are masked, among them all siblings
    assert found["cells_that_need_the_lowest"]["middle ratio"] == pytest.approx(1 - alone, abs=0.03)
    assert found["cells_that_need_the_lowest"]["interior loss"] == 0.0
    assert 0 < found["cells_that_count"]["interior loss"] < 0.5


# ---------------------------------------------------------------------- verdicts

PREDICTION = {"targets": {"root": {"d_c": 2, "shares": {"designed": {"extra": 0.0}, "random 0.5": {"extra": 3.7}}}}}


def made_up(own, random, gains, spread=0.01):
    """Records of 4 seeds: R² of the designed and the random arm, and of the transformer's arms by height."""
    rows = []
    for seed, shift in enumerate(spread * np.asarray([-1.0, 0.3, -0.3, 1.0])):
        bottleneck = {"learner": "bottleneck", "target": "root", "seed": seed}
        for arm, view, value in (
            ("designed", "as trained", own), ("random 0.5", "as trained", random), ("random 0.5", "whole image", 0.0),
        ):  # fmt: skip
            for score in ("code -> c", "c -> code", "untrained code -> c"):
                rows.append(bottleneck | {"arm": arm, "view": view, "score": score, "value": value + shift})
        for arm, height in itertools.product(ARMS, (1, 2, 3)):
            value = 0.5 + gains.get((arm, height), 0.0) + shift * ARMS.index(arm)
            transformer = {"learner": "vit", "arm": arm, "height": height, "seed": seed, "view": "whole image"}
            rows.append(transformer | {"score": "code -> noise", "value": value})
            rows.append(transformer | {"score": "code -> latent", "value": 0.0})
            rows.append(transformer | {"score": "code -> noise", "view": "as trained", "value": 0.0})
    return pd.DataFrame(rows)


def test_judge_where_all_is_as_theory_says():
    gains = {("interior loss", 2): 0.2, ("interior loss", 3): 0.2, ("interior loss", 1): -0.2}
    gains |= {("very high ratio", 1): -0.3, ("low ratio", 1): 0.3}
    gains |= {("designed", 2): 0.2, ("designed", 3): 0.2, ("designed", 1): -0.2}
    claims = judge(made_up(0.97, 0.4, gains), PREDICTION)
    assert [f.holds for f in claims] == [True, True, True, True, False, True, True, True]
    assert all(f.theory_agrees for f in claims if f.theory.says != "nothing")
    assert [f.paper_agrees for f in claims if f.paper.says != "nothing"] == [True, True, True, False, True]
    assert claims[1].scores["designed - random"].value == pytest.approx(0.57)
    assert "random 0.5, as trained" in claims[1].scores
    assert claims[5].scores["height 1, low ratio - very high ratio"].value == pytest.approx(0.6)


def test_judge_where_nothing_is():
    gains = {("very high ratio", 1): 0.3, ("interior loss", 2): -0.2, ("designed", 3): -0.2}
    gains |= {("interior loss", 1): 0.2, ("designed", 1): 0.2}
    claims = judge(made_up(0.5, 0.8, gains), PREDICTION)
    assert [f.holds for f in claims] == [False, False, False, False, True, False, False, False]
    assert not any(f.theory_agrees for f in claims if f.theory.says != "nothing")
    assert claims[4].paper_agrees is True


def test_judge_is_open_where_seeds_disagree():
    claims = judge(made_up(0.9, 0.9, {}, spread=0.2), PREDICTION)
    assert [f.holds for f in claims[2:]] == [None] * 6
    assert claims[0].holds is None
    assert all(f.theory_agrees is None and f.paper_agrees is None for f in claims[2:])
