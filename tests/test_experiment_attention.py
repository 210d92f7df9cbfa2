"""Scores of attention against other ways to get them, and the verdicts of the attention experiment."""

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from experiments.attention import AUC, CLASS, EQUAL, LAPTOP, LIFT, judge, predict
from experiments.attention_scores import (
    kinship,
    object_shares,
    place_auc,
    share_with_visible_kin,
    squared_distances,
    token_auc,
    token_lift,
)
from hlvm.images import SceneImages
from hlvm.masking import RandomMask

SCENES = SceneImages(size=32, patch=4, objects=(2, 2), coupling=0.9)


@pytest.fixture
def random_attention():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(64), size=(5, 64)), rng.random((5, 64)) < 0.5


def slots():
    """The number of the slot of each patch, by arithmetic."""
    row, column = np.divmod(np.arange(64), 8)
    return 2 * (row // 4) + column // 4


def test_kin_are_the_patches_of_the_same_slot():
    expected = (slots()[:, None] == slots()) & ~np.eye(64, dtype=bool)
    assert (kinship(SCENES.graph) == expected).all()


@pytest.mark.parametrize(("ratio", "unit"), [(0.1, 2), (0.75, 2), (0.9, 2), (0.75, 1), (0.75, 4)])
def test_share_with_visible_kin_is_that_of_random_masks(ratio, unit):
    graph = SCENES.graph
    masks = np.asarray(RandomMask(ratio=ratio, unit=unit).sample(jax.random.key(0), 4000, graph))
    seen = (~masks).astype(float) @ kinship(graph) > 0
    per_mask = (seen & masks).sum(axis=1) / masks.sum(axis=1)
    expected = share_with_visible_kin(graph, ratio, unit)
    assert per_mask.mean() == pytest.approx(expected, abs=5 * per_mask.std() / 4000**0.5 + 1e-9)


def test_prediction_counts_visible_kin():
    found = {(entry["ratio"], entry["unit"]): entry["share"] for entry in predict(LAPTOP)["visible kin"]}
    # 16 units, of which 4 are an object: 15 others hide the masked one's 3 kin with probability C(12, V) / C(15, V).
    assert found[(0.75, 2)] == pytest.approx(1 - 495 / 1365, abs=1e-5)
    assert found[(0.9, 2)] == pytest.approx(1 - 66 / 105, abs=1e-5)
    assert found[(0.75, 4)] == 0


def test_auc_is_that_of_scikit_learn(random_attention):
    weights, queries = random_attention
    kin = kinship(SCENES.graph)
    expected = [
        roc_auc_score(np.delete(kin[q], q), np.delete(weights[i, q], q))
        for i, q in zip(*np.nonzero(queries), strict=True)
    ]
    assert token_auc(weights, queries, kin) == pytest.approx(np.mean(expected))


def test_auc_at_equal_distance_ignores_nearness(random_attention):
    """Attention that only falls with distance prefers kin, but not at equal distance. Pairs by brute force."""
    weights, queries = random_attention
    kin, distances = kinship(SCENES.graph), squared_distances((8, 8))
    near = np.broadcast_to(np.exp(-distances), weights.shape)
    assert token_auc(near, queries, kin) > 0.85
    assert token_auc(near, queries, kin, distances) == 0.5
    expected, slot = [], slots()
    for i, q in zip(*np.nonzero(queries), strict=True):
        row, column = divmod(q, 8)
        apart = [(k // 8 - row) ** 2 + (k % 8 - column) ** 2 for k in range(64)]
        won = [
            weights[i, q, a] > weights[i, q, b]
            for a, b in itertools.permutations(range(64), 2)
            if a != q and b != q and slot[a] == slot[q] != slot[b] and apart[a] == apart[b]
        ]
        expected += [np.mean(won)] if won else []
    assert token_auc(weights, queries, kin, distances) == pytest.approx(np.mean(expected))


def test_lift_counts_mass_over_uniform():
    kin = kinship(SCENES.graph)
    queries = np.ones((1, 64), dtype=bool)
    assert token_lift(np.ones((1, 64, 64)), queries, kin) == pytest.approx(1.0)
    assert token_lift(np.where(kin, 1.0, 0.0)[None], queries, kin) == pytest.approx(63 / 15)


def test_place_auc_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    weights, shares = rng.random((3, 64)), rng.choice([0.0, 0.3, 0.7], size=(3, 64))
    expected = [roc_auc_score(s[s != 0.3] > 0.5, w[s != 0.3]) for w, s in zip(weights, shares, strict=True)]
    assert place_auc(weights, shares) == pytest.approx(np.mean(expected))


def test_object_shares_are_where_objects_are_put():
    """One disc in the middle of its slot covers about its area, and nothing outside."""
    scenes = SceneImages(size=32, patch=4, objects=(1, 1), coupling=0.9)
    do = {"shape": "circle", "position": (0.0, 0.0), "size": 0.5}
    sample = scenes.sample(jax.random.key(0), 2, do=do)
    shares = object_shares(scenes, {name: np.asarray(value) for name, value in sample.latents.items()})
    down, right = np.meshgrid(*[np.arange(32) - 15.5] * 2, indexing="ij")
    disc = np.hypot(down, right) < 0.5 * 0.82 * 16 + 0.5
    assert shares * 16 == pytest.approx(np.tile(disc.reshape(8, 4, 8, 4).sum(axis=(1, 3)).ravel(), (2, 1)), abs=2)
    assert (shares[:, [0, 7, 56, 63]] == 0).all()


# ---------------------------------------------------------------------- verdicts


def made_up(trained):
    """Records in which untrained networks score 0.5 and trained ones as a function says, the same for all seeds."""
    config = LAPTOP.fits
    pairs = {(ratio, config.unit) for ratio in config.ratios} | {(config.ratio, unit) for unit in config.units}
    rows = [
        {"ratio": ratio, "unit": unit, "seed": seed, "source": source, "block": config.depth, "score": score}
        | {"value": 0.5 if source == "untrained" else trained(score, ratio, unit, seed)}
        for ratio, unit in pairs
        for seed in range(config.replicates)
        for source in ("trained", "untrained")
        for score in (AUC, EQUAL, LIFT, CLASS)
    ]
    return pd.DataFrame(rows)


def verdicts(trained):
    return [claim.holds for claim in judge(made_up(trained), predict(LAPTOP))]


def test_judge_agrees_where_the_preference_falls_with_ratio_and_unit():
    assert verdicts(lambda score, ratio, unit, seed: 0.9 - 0.2 * ratio - 0.05 * unit) == [True] * 5


def test_judge_refutes_where_there_is_none():
    assert verdicts(lambda score, ratio, unit, seed: 0.4 + 0.05 * ratio + 0.01 * unit) == [False] * 5


def test_judge_leaves_open_what_seeds_do_not_decide():
    assert verdicts(lambda score, ratio, unit, seed: 0.5 + 1.0 * (-1) ** seed * unit * ratio) == [None] * 5
