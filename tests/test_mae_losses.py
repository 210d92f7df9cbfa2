"""Losses: against plain loops, closed forms, and what they must not depend on."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mae_cases import GRAPH, SMALL_BOTTLENECK, SMALL_VIT, STRATEGIES
from scipy.stats import norm

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import LinearConfig, LossConfig, Member, TrainConfig, ViTConfig
from hlvm.mae.networks.networks import build_network
from hlvm.mae.objectives.reconstruction import energy_score, squared_error
from hlvm.mae.result import seed_keys
from hlvm.mae.training.mask_draws import draw_masks, mask_plan
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel

SHORT = TrainConfig(steps=6, batch=32, warmup=2)
GRAPH3 = LatentGraph.quadtree(3)


@pytest.fixture(scope="module")
def model() -> HierarchicalModel:
    return HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())


def test_cell_of_column_counts_the_dims_of_every_observed_variable():
    graph = LatentGraph.from_edges([("z", x) for x in "abc"], dims={"z": 1, "a": 2, "b": 1, "c": 3})
    assert [graph.observed[cell] for cell in graph.arrays.cell_of_column] == list("aabccc")


def _weights(graph, loss, mask, masked):
    plan = mask_plan(graph, mask)
    found = loss.on(graph).weights(loss.arrays(graph), plan.arrays, jnp.asarray(masked))
    dim = graph.dim(graph.observed[0])
    cells = np.asarray(found).reshape(len(masked), -1, dim)
    assert (cells == cells[:, :, :1]).all()  # the dims of a variable count alike
    return cells[:, :, 0]


# ---------------------------------------------------------------------- scores


def test_squared_error_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    guess, target, weights = rng.normal(size=(3, 5, 7))
    weights = np.where(weights > 0, weights, 0)
    expected = np.average((guess - target) ** 2, weights=weights)
    assert squared_error(*map(jnp.asarray, (guess, target, weights))).mean == pytest.approx(expected, rel=1e-5)
    assert squared_error(jnp.ones((2, 2)), jnp.zeros((2, 2)), jnp.zeros((2, 2))).mean == 0


def test_energy_score_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    guesses, target, weights = rng.normal(size=(2, 5, 7)), rng.normal(size=(5, 7)), rng.random((5, 7))
    weights[1] = 0  # this sample does not count
    scores = []
    for row in (0, 2, 3, 4):
        norms = [
            np.sqrt(np.average(difference[row] ** 2, weights=weights[row]))
            for difference in (guesses[0] - target, guesses[1] - target, guesses[0] - guesses[1])
        ]
        scores.append((norms[0] + norms[1] - norms[2]) / 2)
    found = energy_score(jnp.asarray(guesses), jnp.asarray(target), jnp.asarray(weights)).mean
    assert found == pytest.approx(np.mean(scores), rel=1e-5)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_energy_score_of_one_column_is_the_continuous_ranked_probability_score(spread):
    """Closed form for a normal forecast; it is least where the forecast has the truth's spread."""
    n = 200_000
    draws = jax.random.normal(jax.random.key(0), (3, n, 1))
    found = energy_score(spread * draws[:2], draws[2], jnp.ones((n, 1))).mean
    z = np.asarray(draws[2, :, 0]) / spread
    crps = spread * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert found == pytest.approx(crps.mean(), abs=0.01)  # 5 standard errors of the estimate
    assert found > 1 / np.sqrt(np.pi) * 0.99  # E|y - y'| / 2 of two standard normal numbers, the least there can be


def test_energy_score_has_a_finite_gradient_where_draws_agree():
    ones = jnp.ones((2, 3, 4))
    slope = jax.grad(lambda guesses: energy_score(guesses, ones[0], ones[0]).mean)(ones)
    assert jnp.isfinite(slope).all()


def test_normalised_targets_have_mean_0_and_variance_1_in_every_token():
    network = build_network(
        GRAPH, mask_plan(GRAPH, RandomMask(ratio=0.5, unit=2)), ViTConfig(patch=2, normalize_targets=True), LossConfig()
    )
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(4, 64)).astype(np.float32)
    found = np.asarray(network.targets(jnp.asarray(values)))
    first = np.arange(64).reshape(4, 4, 4)[:2, :2].ravel()  # the columns of the first token
    token = values[:, first]
    expected = (token - token.mean(axis=1, keepdims=True)) / token.std(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:, first], expected, atol=1e-4)


# ---------------------------------------------------------------------- regions and weights


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("unit", [1, 2, (1, 2)], ids=str)
def test_interior_leaves_out_units_that_touch_a_visible_one(unit, neighbours):
    mask = RandomMask(ratio=0.7, unit=unit)
    masked = np.asarray(mask.sample(jax.random.key(1), 40, GRAPH3))
    found = _weights(GRAPH3, LossConfig(region="interior", neighbours=neighbours), mask, masked) > 0
    tall, wide = (unit, unit) if isinstance(unit, int) else unit
    for row, counted in zip(masked.reshape(-1, 8, 8), found.reshape(-1, 8, 8), strict=True):
        units = row[::tall, ::wide]
        for i, j in np.ndindex(units.shape):
            around = [
                units[i + down, j + right]
                for down, right in itertools.product((-1, 0, 1), repeat=2)
                if (neighbours == 8 or not (down and right))
                and 0 <= i + down < units.shape[0]
                and 0 <= j + right < units.shape[1]
            ]
            block = counted[i * tall : (i + 1) * tall, j * wide : (j + 1) * wide]
            assert (block == all(around)).all()
    assert 0 < found.sum() < masked.sum()


def test_height_weights_go_by_the_lowest_ancestor_with_a_visible_descendant():
    by_height = (0.5, 2.0, 7.0)
    mask = RandomMask(ratio=0.8, unit=2)
    masked = np.asarray(mask.sample(jax.random.key(1), 20, GRAPH3))
    found = _weights(GRAPH3, LossConfig(height_weights=by_height), mask, masked)
    below = {
        latent: [i for i, name in enumerate(GRAPH3.observed) if latent in GRAPH3.ancestors(name)]
        for latent in GRAPH3.latents
    }
    for row, weights in zip(masked, found, strict=True):
        for cell, name in enumerate(GRAPH3.observed):
            if not row[cell]:
                assert weights[cell] == 0
                continue
            seen = [a for a in GRAPH3.ancestors(name) if not row[below[a]].all()]
            assert weights[cell] == by_height[min(GRAPH3.height(a) for a in seen) - 1]
    assert set(np.unique(found)) == {0.0, 2.0, 7.0}  # whole units of four are hidden: never the lowest latent


def test_height_weights_are_0_where_no_ancestor_has_a_visible_descendant():
    graph = LatentGraph.from_edges([("a", "x1"), ("a", "x2"), ("b", "x3"), ("b", "x4")], dims=1)
    found = _weights(
        graph, LossConfig(height_weights=(1.0,)), FixedMask(masked=("x1", "x3", "x4")), np.array([[1, 0, 1, 1]], bool)
    )
    assert found.tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_region_all_counts_visible_variables_too_and_weights_multiply():
    mask = STRATEGIES["cells"]
    masked = np.asarray(mask.sample(jax.random.key(1), 3, GRAPH))
    by_cell = tuple(map(float, range(16)))
    assert (_weights(GRAPH, LossConfig(region="all"), mask, masked) == 1).all()
    np.testing.assert_array_equal(
        _weights(GRAPH, LossConfig(weights=by_cell), mask, masked), masked * np.arange(16, dtype=np.float32)
    )


@pytest.mark.parametrize(
    ("mask", "loss", "match"),
    [
        (RandomMask(ratio=0.1), LossConfig(region="interior"), "no mask leaves anything to learn from"),
        (FixedMask(masked=("x_0_0", "x_2_2")), LossConfig(region="interior"), "no mask leaves anything"),
        (RandomMask(ratio=0.4), LossConfig(region="interior"), "of the masks leave anything to learn from"),
        (FixedMask(masked=("x_0_0",)), LossConfig(weights=(0.0, *[1.0] * 15)), "no mask leaves anything"),
        (RandomMask(ratio=0.5), LossConfig(weights=(1.0, 2.0)), "weights must have 16 numbers"),
        (RandomMask(ratio=0.5), LossConfig(height_weights=(1.0,)), "height_weights must have 2 numbers"),
    ],
)
def test_losses_that_leave_nothing_are_refused_before_training(model, mask, loss, match):
    train = TrainConfig(steps=2000, batch=4)
    with pytest.raises(ValueError, match=match):
        mae.fit(jax.random.key(0), model, mask, SMALL_BOTTLENECK, train, loss=loss)


def test_interior_accepts_masks_with_an_interior():
    plan = mask_plan(GRAPH, RandomMask(ratio=0.9))
    loss = LossConfig(region="interior")
    loss.on(GRAPH).check_masks(RandomMask(ratio=0.9), plan, loss.arrays(GRAPH), batch=64, steps=1000)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LossConfig(weights=(-1.0, 1.0)), "weights must be finite numbers of at least 0"),
        (lambda: LossConfig(height_weights=(0.0,)), "not all 0"),
        (lambda: LossConfig(noise_dim=0), "noise_dim must be a whole number"),
    ],
)
def test_loss_config_refuses_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_losses_refuse_what_does_not_fit(model):
    energy = LossConfig(score="energy")
    mask = RandomMask(ratio=0.5)
    with pytest.raises(ValueError, match="needs a decoder that reads noise"):
        mae.fit(jax.random.key(0), model, mask, LinearConfig(code_dim=1), SHORT, loss=energy)
    scalar = HierarchicalModel.init(
        jax.random.key(0), LatentGraph.quadtree(1, root_dim=1, noise_dim=0), InvertibleMLP()
    )
    with pytest.raises(ValueError, match="normalize_targets needs tokens of at least 2"):
        mae.fit(jax.random.key(0), scalar, mask, ViTConfig(normalize_targets=True), SHORT)
    no_grid = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(3, 1), InvertibleMLP())
    with pytest.raises(ValueError, match="has no grid"):
        mae.fit(jax.random.key(0), no_grid, mask, SMALL_BOTTLENECK, SHORT, loss=LossConfig(region="interior"))


# ---------------------------------------------------------------------- training with them


LOSSES = {
    "energy": LossConfig(score="energy", noise_dim=4),
    "interior": LossConfig(region="interior"),
    "cells": LossConfig(weights=tuple(float(i % 3) for i in range(16))),
}
MEMBERS = [
    *(Member(mask=RandomMask(ratio=0.75), network=SMALL_BOTTLENECK, loss=loss) for loss in LOSSES.values()),
    Member(mask=RandomMask(ratio=0.75), network=SMALL_VIT, loss=LOSSES["energy"]),
]


@pytest.fixture(scope="module")
def trained(model):
    return mae.fit_ensemble(jax.random.key(1), model, MEMBERS, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(MEMBERS)))
def test_ensemble_member_of_any_loss_has_the_losses_of_its_solo_run(model, index):
    others = [dataclasses.replace(member, seed=1) for member in MEMBERS]
    together = mae.fit_ensemble(jax.random.key(1), model, [*others, MEMBERS[index]], SHORT)
    solo = mae.fit_ensemble(jax.random.key(1), model, [MEMBERS[index]], SHORT)[0]
    np.testing.assert_allclose(together[-1].losses, solo.losses, rtol=2e-4)  # float32 sums in another order
    assert (together[index].losses != together[-1].losses).all()


def test_losses_are_kept_in_files(tmp_path, trained):
    mae.save_fits(tmp_path / "fits", trained)
    assert [fit.loss for fit in mae.load_fits(tmp_path / "fits")] == [member.loss for member in MEMBERS]


def test_first_loss_follows_from_the_definition(model, trained):
    """Squared error weighted by cell, computed again from the initial parameters with NumPy."""
    index = list(LOSSES).index("cells")
    fit = trained[index].untrained()
    keys = seed_keys(fit.key, 0)
    plan = mask_plan(GRAPH, fit.mask)
    masked = np.asarray(draw_masks(plan.kind, plan.arrays, jax.random.fold_in(keys.mask, 0), 32))
    sample = model.sample(jax.random.fold_in(keys.data, 0), 32)
    guess = np.asarray(mae.reconstruct(fit, sample, masked))
    error = ((guess - np.asarray(sample.observed_matrix)) / np.asarray(fit.scale)) ** 2
    weights = np.repeat(masked * np.asarray(LOSSES["cells"].weights), 4, axis=1)
    assert trained[index].losses[0] == pytest.approx(np.average(error, weights=weights), rel=1e-4)


def test_reconstructions_of_an_energy_fit_are_draws(model, trained):
    sample = model.sample(jax.random.key(5), 3)
    values = np.asarray(sample.observed_matrix)
    for fit in (trained[0], trained[3]):
        draws = np.asarray(mae.reconstruct(fit, sample, ["x_0_0"], key=jax.random.key(0), draws=5))
        assert draws.shape == (5, 3, 64)
        np.testing.assert_allclose(draws[:, :, 4:], np.broadcast_to(values[:, 4:], (5, 3, 60)), atol=1e-5)
        assert (np.ptp(draws[:, :, :4], axis=0) > 1e-4).all()
        mean = np.asarray(mae.reconstruct(fit, sample, ["x_0_0"], key=jax.random.key(0)))
        many = np.asarray(mae.reconstruct(fit, sample, ["x_0_0"], key=jax.random.key(0), draws=64))
        np.testing.assert_allclose(mean, many.mean(axis=0), atol=1e-5)
        with pytest.raises(ValueError, match="give a key"):
            mae.reconstruct(fit, sample, ["x_0_0"])
        with pytest.raises(ValueError, match="draws must be"):
            mae.reconstruct(fit, sample, ["x_0_0"], key=jax.random.key(0), draws=0)
    with pytest.raises(ValueError, match="draws are for"):
        mae.reconstruct(trained[1], sample, ["x_0_0"], draws=3)


def test_on_holds_what_is_static_of_a_loss():
    """Members that differ in the values of weights alone share a program."""
    first, second = (LossConfig(weights=tuple(map(float, range(s, s + 16)))).on(GRAPH) for s in (0, 1))
    assert first == second
    assert LossConfig(height_weights=(1.0, 2.0)).on(GRAPH) != first
