"""Masks in training: every strategy as the trainer draws it, against the strategy's own ``sample``."""

import dataclasses
import inspect
import json

import jax
import numpy as np
import pytest
from mae_cases import GRAPH, NETWORKS, OTHER_COUNTS, SAME_COUNT, SMALL_BOTTLENECK, SMALL_VIT, STRATEGIES, Rows, untyped
from scipy.stats import chisquare

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import Member, TrainConfig, ViTConfig
from hlvm.mae.networks.networks import build_network
from hlvm.mae.training.mask_draws import draw_masks, draw_own, mask_plan
from hlvm.masking import (
    BernoulliMask,
    BlockMask,
    FixedMask,
    GridMask,
    MaskList,
    Patches,
    RandomMask,
    RatioRange,
    Sampled,
    mask_from_dict,
    mask_to_dict,
)
from hlvm.masking.strategies import as_strategy
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

SHORT = TrainConfig(steps=3, batch=16, warmup=1)
IN_PROGRAM = {name: mask for name, mask in STRATEGIES.items() if not isinstance(mask, Rows)}


@pytest.fixture(scope="module")
def model() -> HierarchicalModel:
    return HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())


def _drawn(mask, n, seed=0):
    plan = mask_plan(GRAPH, mask)
    return np.asarray(draw_masks(plan.kind, plan.arrays, jax.random.key(seed), n))


def _distinct(rows):
    return {row.tobytes() for row in rows}


@pytest.mark.parametrize(("unit", "ratio", "n_masked"), [(1, 0.5, 8), (2, 0.25, 4), (1, 0.9, 14)])
def test_draw_masks_hides_whole_units_with_exact_counts(unit, ratio, n_masked):
    drawn = _drawn(RandomMask(ratio=ratio, unit=unit), 400)
    assert (drawn.sum(axis=1) == n_masked).all()
    for group in Patches.blocks(GRAPH, unit).groups:
        cells = drawn[:, [GRAPH.observed.index(name) for name in group]]
        assert (cells == cells[:, :1]).all()
    # Each unit is masked with probability n_masked / 16; 5 standard errors of a mean over 400 draws.
    share = n_masked / 16
    assert np.abs(drawn.mean(axis=0) - share).max() < 5 * (share * (1 - share) / 400) ** 0.5


def test_draw_masks_is_uniform_over_all_masks_of_a_count():
    drawn = _drawn(RandomMask(ratio=0.5, unit=2), 6000)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 6  # two of four units
    assert chisquare(counts).pvalue > 0.001  # seed fixed; false alarm in 1 seed of 1000


@pytest.mark.parametrize("mask", IN_PROGRAM.values(), ids=IN_PROGRAM)
def test_draw_masks_draws_only_what_the_strategy_draws(mask):
    drawn, plan = _drawn(mask, 300), mask_plan(GRAPH, mask)
    own = [np.asarray(as_strategy(mask).sample(jax.random.key(s), 40, GRAPH)) for s in range(20)]
    hidden = drawn.sum(axis=1)
    allowed = np.concatenate(own).sum(axis=1)
    assert hidden.min() >= plan.fewest >= 1
    assert hidden.max() <= plan.most <= 15
    assert allowed.min() >= plan.fewest
    assert allowed.max() <= plan.most
    if len(_distinct(np.concatenate(own))) < 40:  # few enough for every one to have been drawn
        assert _distinct(drawn) <= _distinct(np.concatenate(own))


@pytest.mark.parametrize(
    "mask", [BlockMask(ratio=0.3), BlockMask(ratio=0.25, unit=2), GridMask(keep_every=2)], ids=repr
)
def test_draw_masks_lists_all_blocks_and_lattices_with_equal_chance(mask):
    drawn = _drawn(mask, 4000)
    own = np.asarray(mask.sample(jax.random.key(1), 4000, GRAPH))
    assert _distinct(drawn) == _distinct(own)
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert chisquare(counts).pvalue > 0.001


def test_draw_masks_by_chance_has_the_binomial_law_without_its_ends():
    ratio = 0.3
    hidden = _drawn(BernoulliMask(ratio=ratio, unit=2), 6000).sum(axis=1) // 4
    weights = np.array([4 * ratio * (1 - ratio) ** 3, 6 * ratio**2 * (1 - ratio) ** 2, 4 * ratio**3 * (1 - ratio)])
    counts = np.bincount(hidden, minlength=5)
    assert counts[[0, 4]].sum() == 0
    assert chisquare(counts[1:4], weights / weights.sum() * 6000).pvalue > 0.001


def test_draw_masks_of_a_range_has_one_count_per_step_and_all_of_them_over_steps():
    mask = RatioRange(low=0.25, high=0.5)
    steps = [_drawn(mask, 8, seed).sum(axis=1) for seed in range(60)]
    assert all(len(set(step.tolist())) == 1 for step in steps)
    assert {int(step[0]) for step in steps} == {4, 5, 6, 7, 8}


def test_range_given_in_numbers_of_numpy_is_the_same_range():
    plain = RatioRange(low=0.25, high=0.5, unit=(2, 1))
    other = untyped(RatioRange, low=np.float32(0.25), high=np.float64(0.5), unit=[np.int64(2), 1])
    assert (other, hash(other)) == (plain, hash(plain))
    assert mask_to_dict(other) == mask_to_dict(plain)
    assert json.dumps(mask_to_dict(other))


@pytest.mark.parametrize("name", [name for name in IN_PROGRAM if name not in ("fixed", "designed")])
def test_draw_masks_differs_within_a_batch(name):
    assert len(_distinct(_drawn(STRATEGIES[name], 60))) > 1


def test_mask_list_holds_its_masks():
    rows = np.random.default_rng(0).random((20, 16)) < 0.5
    listed = MaskList.of(GRAPH, rows)
    assert len(listed) == 20
    np.testing.assert_array_equal(listed.rows(GRAPH), rows)
    assert listed == MaskList.of(GRAPH, rows.copy())
    assert hash(listed) != hash(MaskList.of(GRAPH, ~rows))
    assert _distinct(np.asarray(listed.sample(jax.random.key(0), 400, GRAPH))) == _distinct(rows)


# ---------------------------------------------------------------------- training with them


MIXED = [
    *(
        Member(mask=OTHER_COUNTS[name], network=NETWORKS["linear"], seed=1)
        for name in ("chance", "range", "list", "own")
    ),
    Member(mask=OTHER_COUNTS["chance"], network=SMALL_VIT),
]


@pytest.fixture(scope="module")
def mixed(model):
    return mae.fit_ensemble(jax.random.key(1), model, [*MIXED, *(dataclasses.replace(m, seed=2) for m in MIXED)], SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(MIXED)))
def test_ensemble_member_of_any_strategy_has_the_losses_of_its_solo_run(model, mixed, index):
    solo = mae.fit_ensemble(jax.random.key(1), model, [MIXED[index]], SHORT)[0]
    assert len(solo.losses) == SHORT.steps
    np.testing.assert_allclose(mixed[index].losses, solo.losses, rtol=2e-4)  # float32 sums in another order
    assert (mixed[index].losses != mixed[index + len(MIXED)].losses).all()  # another seed


@pytest.mark.slow
def test_padded_vit_has_the_losses_of_its_solo_run(model):
    members = [Member(mask=OTHER_COUNTS["chance"], network=SMALL_VIT, seed=seed) for seed in (0, 1)]
    both = mae.fit_ensemble(jax.random.key(1), model, members, SHORT)
    solo = mae.fit_ensemble(jax.random.key(1), model, members[1:], SHORT)[0]
    np.testing.assert_allclose(both[1].losses, solo.losses, rtol=2e-4)


@pytest.mark.parametrize("mask", STRATEGIES.values(), ids=STRATEGIES)
def test_strategies_are_written_and_read(mask):
    mask = as_strategy(mask)
    written = json.loads(json.dumps(mask_to_dict(mask)))
    assert mask_from_dict(written, {"Rows": Rows}) == mask


def test_own_strategy_is_saved_by_name(tmp_path, model):
    fit = mae.fit(jax.random.key(0), model, Rows(most=1), NETWORKS["linear"], SHORT)
    mae.save_fits(tmp_path / "fits", [fit])
    with pytest.raises(ValueError, match="a mask strategy 'Rows' of your own"):
        mae.load_fits(tmp_path / "fits")
    loaded = mae.load_fits(tmp_path / "fits", known={"Rows": Rows})[0]
    assert (loaded.mask, loaded.network, loaded.loss) == (Rows(most=1), fit.network, fit.loss)
    values = model.sample(jax.random.key(9), 4)
    codes = [np.asarray(mae.encode(f, values, ["x_0_0"])) for f in (fit, loaded)]
    np.testing.assert_array_equal(*codes)


def test_own_strategy_is_drawn_again_for_every_chunk(model):
    asked = []

    class Watched(Rows):
        def sample(self, key, n, graph):
            rows = super().sample(key, n, graph)
            asked.append(rows)
            return rows

    train = TrainConfig(steps=150, batch=4, warmup=1)
    fit = mae.fit(jax.random.key(0), model, Watched(), NETWORKS["linear"], train)
    assert [len(rows) for rows in asked] == [400, 400]  # 100 steps of 4 samples, twice
    assert (asked[0] != asked[1]).any()
    assert len(fit.losses) == 150


def _hiding(n, graph):
    return Sampled(patches=Patches.cells(graph), hidden=(n, n), description="of my own")


class Wrong:
    """A strategy that returns what it is told to."""

    def __init__(self, rows, **others):
        self.rows = rows
        self.__dict__.update(others)

    def sample(self, key, n, graph):
        return self.rows(n)


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (Wrong(lambda n: np.zeros((n, 16), dtype=bool)), "nothing is masked"),
        (Wrong(lambda n: np.ones((n, 16), dtype=bool)), "everything is masked"),
        (Wrong(lambda n: np.eye(16, dtype=bool)), "was asked for 1600 masks and drew 16"),
        (
            Wrong(lambda n: np.tile(np.eye(16, dtype=bool)[0], (n, 1)), law=lambda graph: _hiding(2, graph)),
            "hide 2 to 2 .* one hides 1",
        ),
    ],
)
def test_own_strategy_that_draws_wrong_masks_is_refused(model, mask, match):
    with pytest.raises(ValueError, match=match):
        mae.fit(jax.random.key(0), model, mask, SMALL_BOTTLENECK, SHORT)


def test_own_strategy_that_cuts_through_tokens_is_refused(model):
    with pytest.raises(ValueError, match="cuts through the network's tokens"):
        mae.fit(jax.random.key(0), model, Rows(most=1), dataclasses.replace(SMALL_VIT, patch=2), SHORT)


def test_own_strategy_with_a_count_gives_a_vit_without_padding():
    class Half(Rows):
        def law(self, graph):
            return _hiding(8, graph)

    plan = mask_plan(GRAPH, Half())
    network = build_network(GRAPH, plan, SMALL_VIT, mae.LossConfig())
    assert (network.n_visible, network.padded) == (8, False)
    rows = draw_own(SAME_COUNT["cells"], GRAPH, jax.random.key(0), 5, plan)
    assert rows.shape == (5, 16)


@pytest.mark.parametrize(
    ("name", "n_visible", "padded"),
    [("cells", 8, False), ("chance", 15, True), ("chance of units", 12, True), ("range", 13, True), ("list", 15, True)],
)
def test_vit_is_sized_for_the_most_tokens_a_mask_leaves_visible(name, n_visible, padded):
    network = build_network(GRAPH, mask_plan(GRAPH, STRATEGIES[name]), SMALL_VIT, mae.LossConfig())
    assert (network.n_visible, network.padded) == (n_visible, padded)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: RatioRange(low=0.5, high=0.2), "low must not be above the highest ratio, 0.2, got 0.5"),
        (lambda: RatioRange(low=0.0, high=0.2), "strictly between 0 and 1"),
        (lambda: mask_plan(GRAPH, RatioRange(low=0.01, high=0.5)), "nothing would be masked"),
        (lambda: MaskList.of(GRAPH, np.zeros((1, 16), dtype=bool)), "nothing is masked"),
        (lambda: MaskList(b"", 16), "a whole number of masks"),
        (lambda: mask_plan(LatentGraph.quadtree(1), OTHER_COUNTS["list"]), "of 16 observed variables"),
        (lambda: inspect.unwrap(mask_plan)(GRAPH, "cells"), "expected a mask strategy"),
        (lambda: mask_plan(GRAPH, FixedMask(masked=("nope",))), "not a variable"),
        (
            lambda: build_network(GRAPH, mask_plan(GRAPH, BlockMask(ratio=0.5)), ViTConfig(patch=4), mae.LossConfig()),
            "cuts through",
        ),
    ],
)
def test_masks_refuse_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()
