"""Transformers on graphs without a grid, and on cells of unequal dims: padding, learned positions, masks, training."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mae_cases import SMALL_BOTTLENECK, SMALL_VIT

from hlvm import HierarchicalModel, LatentGraph, mae
from hlvm.mae import Checkpoints, LossConfig, Member, TrainConfig, ViTConfig
from hlvm.mae.encoding import Pooling
from hlvm.mae.networks.blocks import sine_cosine_positions
from hlvm.mae.networks.networks import build_network, init_flat, unflatten
from hlvm.mae.networks.tokens import Tokens
from hlvm.mae.training.mask_draws import mask_plan
from hlvm.mae.training.sizes import least_parameters
from hlvm.masking import BernoulliMask, FixedMask, MaskList, RandomMask, SubtreeMask
from hlvm.mechanisms import LinearGaussian
from hlvm.theory import GaussianOracle

KEY = jax.random.key(0)
PARENTS = {"a": "m", "b": "m", "c": "n", "d": "n"}
PARENTS |= {"x0": "ab", "x1": "a", "x2": "ab", "x3": "cd", "x4": "c", "x5": "dc"}
DIMS = {"x0": 1, "x1": 3, "x2": 2, "x3": 1, "x4": 2, "x5": 1}
GRAPH = LatentGraph.from_edges(
    [("top", "m"), ("top", "n"), *((latent, name) for name, above in PARENTS.items() for latent in above)],
    dims={"top": 1, "m": 1, "n": 2, "a": 2, "b": 1, "c": 2, "d": 1} | DIMS,
)
TINY = dataclasses.replace(SMALL_VIT, depth=1)
HALF = RandomMask(ratio=0.5)
SHORT = TrainConfig(steps=3, batch=8, warmup=1)


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(KEY, GRAPH, LinearGaussian(snr=8.0))


def _network(config=TINY, graph=GRAPH, mask: Any = HALF):
    return build_network(graph, mask_plan(graph, mask), config, LossConfig())


def _params(network):
    return unflatten(network, init_flat(network, jax.random.split(jax.random.key(3), 1))[0])


def _hidden(*names):
    return jnp.asarray([[name in names for name in GRAPH.observed]])


# ---------------------------------------------------------------------- tokens


def test_cut_pads_unequal_cells_with_zeros_and_join_leaves_padding_out():
    tokens = Tokens.of(GRAPH, 1)
    values = jnp.arange(1.0, 11.0)[None]
    expected = [[1, 0, 0], [2, 3, 4], [5, 6, 0], [7, 0, 0], [8, 9, 0], [10, 0, 0]]
    np.testing.assert_array_equal(tokens.cut(values)[0], expected)
    own = np.asarray(expected) > 0
    np.testing.assert_array_equal(tokens.own, own)
    spoilt = jnp.where(own, tokens.cut(values), jnp.nan)
    np.testing.assert_array_equal(tokens.join(jnp.stack([spoilt, spoilt])), jnp.stack([values, values]))


def test_cut_pads_cells_inside_the_tokens_of_a_grid():
    tokens = Tokens(cell_dims=(1, 2, 1, 1, 2, 1, 1, 1), grid=(2, 4), patch=2)
    values = jnp.arange(1.0, 11.0)[None]
    cut = tokens.cut(values)
    # The first token has the cells 0, 1, 4 and 5 of the two rows of four.
    np.testing.assert_array_equal(cut[0], [[1, 0, 2, 3, 6, 7, 8, 0], [4, 0, 5, 0, 9, 0, 10, 0]])
    np.testing.assert_array_equal(tokens.join(cut), values)


def test_normalized_tokens_have_unit_variance_over_their_own_numbers():
    tokens = Tokens(cell_dims=(2, 4, 3), grid=None)
    values = 3 + jax.random.normal(KEY, (5, 9))
    whole = tokens.join(tokens.normalized(tokens.cut(values)))
    for columns in (slice(0, 2), slice(2, 6), slice(6, 9)):
        own = np.asarray(whole[:, columns])
        np.testing.assert_allclose(own.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose((own**2).mean(axis=1), 1, rtol=1e-2)


# ---------------------------------------------------------------------- what is read and compared


@pytest.mark.parametrize(
    "masked",
    [
        pytest.param(("x1", "x4"), id="widest hidden", marks=pytest.mark.slow),
        pytest.param(("x0", "x2"), id="widest seen"),
    ],
)
def test_padding_carries_no_information_and_is_not_in_the_loss(masked):
    """Weights of the third number of tokens get a gradient from the only variable that has one, and from no padding."""
    network, hidden = _network(), _hidden(*masked)
    params, values = _params(network), jax.random.normal(jax.random.key(5), (1, 10))

    def loss(params):
        guess = network.reconstruct(params, values, hidden, jnp.asarray(1), jnp.zeros((1, 1, 0)))[0]
        return (((guess - values) ** 2) * hidden[:, GRAPH.arrays.cell_of_column]).sum()

    slopes = jax.grad(loss)(params)["params"]
    into, out = slopes["encoder"]["embed"]["kernel"], slopes["to_token"]["bias"]
    np.testing.assert_array_equal(into[2] != 0, "x1" not in masked)
    np.testing.assert_array_equal(out[2] != 0, "x1" in masked)
    assert (np.asarray(into[0]) != 0).any()
    assert out[0] != 0


@pytest.mark.parametrize(
    "config",
    [TINY, pytest.param(dataclasses.replace(SMALL_BOTTLENECK, encoder=TINY), marks=pytest.mark.slow)],
    ids=["vit", "bottleneck with a transformer"],
)
def test_masked_values_reach_neither_codes_nor_reconstructions(config):
    network = dataclasses.replace(_network(config, mask=BernoulliMask(ratio=0.5)), padded=True)
    params, hidden = _params(network), jnp.concatenate([_hidden("x1", "x4"), _hidden("x0", "x2", "x3")])
    columns = np.asarray(hidden)[:, GRAPH.arrays.cell_of_column]

    def found(values):
        guess = network.reconstruct(params, values, hidden, jnp.asarray(3), jnp.zeros((1, 2, 0)))[0]
        return jnp.concatenate([guess, network.encode(params, values, hidden, jnp.asarray(3)).reshape(2, -1)], axis=1)

    values = jax.random.normal(jax.random.key(5), (2, 10))
    first, hidden_changed, seen_changed = map(jax.jit(found), (values, values + 5.0 * columns, values + 5.0 * ~columns))
    np.testing.assert_array_equal(first, hidden_changed)
    assert (first != seen_changed).any(axis=1).all()


@pytest.mark.slow
def test_network_without_a_grid_differs_from_that_of_a_grid_by_positions_alone():
    graph = LatentGraph.quadtree(1)
    gridless = dataclasses.replace(graph, grid=None)
    on_grid, free = _network(graph=graph), _network(graph=gridless)
    params, learned = _params(on_grid)["params"], _params(free)["params"]
    encoder = dict(learned["encoder"])
    positions = encoder.pop("positions"), learned.pop("decoder_positions")
    assert [p["embedding"].shape for p in positions] == [(4, 8), (4, 8)]
    for ours, theirs in zip(*map(jax.tree.leaves, (params, learned | {"encoder": encoder})), strict=True):
        np.testing.assert_array_equal(ours, theirs)  # paired: one key starts both alike
    fixed = {"embedding": jnp.asarray(sine_cosine_positions(2, 2, 8))}
    same = params | {"encoder": params["encoder"] | {"positions": fixed}, "decoder_positions": fixed}
    values, hidden = jax.random.normal(KEY, (3, 12)), jnp.asarray([[True, False, False, True]] * 3)
    inputs = values, hidden, jnp.asarray(1), jnp.zeros((1, 3, 0))
    expected = on_grid.reconstruct({"params": params}, *inputs)
    np.testing.assert_allclose(free.reconstruct({"params": same}, *inputs), expected, atol=1e-6)
    # Positions are parameters: those of what is seen, and in the decoder all.
    slopes = jax.grad(lambda p: (free.reconstruct({"params": p}, *inputs) ** 2).sum())(same)
    of_encoder, of_decoder = slopes["encoder"]["positions"]["embedding"], slopes["decoder_positions"]["embedding"]
    np.testing.assert_array_equal((of_encoder != 0).any(axis=1), [False, True, True, False])
    assert (of_decoder != 0).any(axis=1).all()


# ---------------------------------------------------------------------- training


STRATEGIES = {
    "random": HALF,
    "chance": BernoulliMask(ratio=0.5),
    "fixed": FixedMask(masked=("x1", "x4")),
    "list": MaskList.of(GRAPH, np.asarray([[True, False] * 3, [False, True] * 3])),
    "subtrees": SubtreeMask(height=2, ratio=0.5),
}


@pytest.mark.slow
def test_every_strategy_without_a_grid_trains_and_is_planned(model):
    members = [Member(mask=mask, network=TINY) for mask in STRATEGIES.values()]
    plan = mae.plan_ensemble(KEY, model, members, SHORT)
    assert sorted(i for program in plan.programs for i in program.members) == list(range(len(members)))
    fits = mae.fit_ensemble(KEY, model, members, SHORT)
    for fit in fits:
        assert np.isfinite(fit.losses).all()
        assert (fit.params != fit.untrained().params).any()


@pytest.mark.slow
def test_encode_and_reconstruct_without_a_grid(model, tmp_path):
    fit = mae.fit(jax.random.key(1), model, HALF, TINY, SHORT)
    sample = model.sample(jax.random.key(2), 5)
    shapes: dict[Pooling, tuple[int, ...]] = {"mean": (5, 8), "class": (5, 8), "tokens": (5, 5, 8)}
    for pooling, shape in shapes.items():
        assert mae.encode(fit, sample, ["x1", "x4"], pooling=pooling).shape == shape
    found = mae.attention(fit, sample, ["x1", "x4"])
    np.testing.assert_array_equal(found.places, [[0, 2, 3, 5]] * 5)
    guess, truth = np.asarray(mae.reconstruct(fit, sample, ["x1", "x4"])), np.asarray(sample.observed_matrix)
    hidden = np.isin(np.asarray(GRAPH.observed), ["x1", "x4"])[GRAPH.arrays.cell_of_column]
    np.testing.assert_allclose(guess[:, ~hidden], truth[:, ~hidden], atol=1e-5)
    assert (np.abs(guess - truth)[:, hidden] > 1e-3).all()
    mae.save_fits(tmp_path / "fits", [fit])
    (loaded,) = mae.load_fits(tmp_path / "fits")
    assert loaded.network == TINY
    np.testing.assert_array_equal(mae.reconstruct(loaded, sample, ["x1", "x4"]), guess)


class StopEarlyError(Exception):
    """Raised by a callback in the middle of a run."""


@pytest.mark.slow
def test_stopped_run_without_a_grid_resumes_bit_for_bit(model, tmp_path):
    train = TrainConfig(steps=150, batch=4, warmup=1)
    checkpoints = Checkpoints(folder=tmp_path / "run", every=100)

    def stop(progress):
        if progress.step == 100:
            raise StopEarlyError

    with pytest.raises(StopEarlyError):
        mae.fit(KEY, model, HALF, TINY, train, checkpoints=checkpoints, on_progress=stop)
    again = []
    resumed = mae.fit(
        KEY, model, HALF, TINY, train, checkpoints=checkpoints, on_progress=lambda p: again.append(p.step)
    )
    assert again == [150]
    np.testing.assert_array_equal(resumed.params, mae.fit(KEY, model, HALF, TINY, train).params)


@pytest.mark.slow
def test_transformer_without_a_grid_learns_most_of_what_can_be_told(model):
    """The mean predictor has a loss of 1; below the loss of Bayes' rule nothing can get."""
    train = TrainConfig(steps=800, batch=128, learning_rate=4e-3)
    fit = mae.fit(jax.random.key(1), model, HALF, ViTConfig(width=16, decoder_width=16, depth=1), train)
    oracle, masks = GaussianOracle(model), np.asarray(HALF.sample(KEY, 300, GRAPH))
    errors = [oracle.bayes_loss(mask) for mask in masks]
    bayes = sum((e.mse / e.variance).sum() for e in errors) / sum(len(e.variance) for e in errors)
    reached = fit.losses[-100:].mean()
    assert bayes < 0.6  # there is something to tell
    assert 0.97 * bayes < reached < bayes + 0.2 * (1 - bayes)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 1500])
def test_one_level_of_few_or_many_leaves_trains(n):
    graph = LatentGraph.from_edges(
        [("z", f"x{i}") for i in range(n)], dims={f"x{i}": 1 + i % 2 for i in range(n)} | {"z": 1}
    )
    wide = HierarchicalModel.init(KEY, graph, LinearGaussian())
    config = ViTConfig(width=4, heads=1, depth=1, decoder_width=4)
    fit = mae.fit(KEY, wide, RandomMask(ratio=0.5), config, TrainConfig(steps=2, batch=2, warmup=1))
    assert np.isfinite(fit.losses).all()
    assert mae.reconstruct(fit, wide.sample(KEY, 1), graph.observed[: n // 2]).shape == (1, n + n // 2)


# ---------------------------------------------------------------------- refused


def test_patches_of_several_cells_need_a_grid(model):
    with pytest.raises(
        ValueError, match=r"ViTConfig: patch must be 1 for a graph without a grid, got 2: build it with"
    ):
        mae.fit(KEY, model, HALF, dataclasses.replace(TINY, patch=2), SHORT)


def test_normalized_targets_need_two_numbers_in_every_token(model):
    with pytest.raises(ValueError, match="normalize_targets needs tokens of at least 2 numbers, some have 1: leave it"):
        mae.fit(KEY, model, HALF, dataclasses.replace(TINY, normalize_targets=True), SHORT)


def test_units_of_several_cells_need_a_grid_for_transformers_too(model):
    with pytest.raises(ValueError, match="need a grid and this graph has none"):
        mae.fit(KEY, model, RandomMask(ratio=0.5, unit=2), TINY, SHORT)


@pytest.mark.parametrize("config", [TINY, dataclasses.replace(SMALL_BOTTLENECK, encoder=TINY)])
def test_parameters_without_a_grid_are_all_counted(config):
    """Learned positions are many where the observed variables are."""
    graph = LatentGraph.from_edges([("z", f"x{i}") for i in range(500)], dims=1)
    network = _network(config, graph)
    made = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(network.init, KEY)))
    assert 0.85 * made < least_parameters(network) < made
