"""Networks: padding changes nothing, attention is attention, codes have the size asked for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mae_cases import GRAPH, NETWORKS, SMALL_BOTTLENECK, SMALL_VIT

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, Fit, LinearConfig, LossConfig, TrainConfig, ViTConfig
from hlvm.mae.networks.networks import build_network, init_flat, unflatten
from hlvm.mae.networks.vit import Block, sine_cosine_positions
from hlvm.mae.result import seed_keys
from hlvm.mae.training.mask_draws import mask_plan
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

MASK = RandomMask(ratio=0.5)


@pytest.fixture(scope="module")
def model() -> HierarchicalModel:
    return HierarchicalModel.init(jax.random.key(0), GRAPH, LinearGaussian())


def _untrained(model, config, mask=MASK, loss=None):
    """A fit before its first step, made without training."""
    key = jax.random.key(7)
    fit = Fit(
        model=model,
        mask=mask,
        network=config,
        train=TrainConfig(steps=2, warmup=1),
        loss=loss or LossConfig(),
        seed=0,
        key=key,
        params=jnp.zeros(0),
        losses=np.zeros(0),
        diverged=False,
        shift=jnp.full(model.sample(key, 1).observed_matrix.shape[1], 0.5),
        scale=jnp.full(model.sample(key, 1).observed_matrix.shape[1], 2.0),
    )
    return fit.untrained()


UNEVEN = np.array([[True] * n + [False] * (16 - n) for n in (3, 13)])


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "class"])
def test_encode_of_rows_with_different_counts_equals_one_by_one(model, pooling):
    fit, values = _untrained(model, SMALL_VIT), np.asarray(model.sample(jax.random.key(1), 2).observed_matrix)
    together = mae.encode(fit, values, UNEVEN, pooling=pooling)
    for i in range(2):
        alone = mae.encode(fit, values[i : i + 1], UNEVEN[i], pooling=pooling)[0]
        np.testing.assert_allclose(together[i], alone, atol=1e-5)


@pytest.mark.parametrize("name", ["vit", pytest.param("bottleneck with a transformer", marks=pytest.mark.slow)])
def test_reconstruct_of_rows_with_different_counts_equals_one_by_one(model, name):
    fit, values = _untrained(model, NETWORKS[name]), np.asarray(model.sample(jax.random.key(1), 2).observed_matrix)
    together = mae.reconstruct(fit, values, UNEVEN)
    for i in range(2):
        np.testing.assert_allclose(together[i], mae.reconstruct(fit, values[i : i + 1], UNEVEN[i])[0], atol=1e-4)
    with pytest.raises(ValueError, match="different numbers of tokens visible"):
        mae.attention(fit, values, UNEVEN)


def test_attention_is_what_the_blocks_mix_values_with(model):
    fit, sample = _untrained(model, SMALL_VIT), model.sample(jax.random.key(1), 4)
    masked = ["x_0_0", "x_3_3"]
    found = mae.attention(fit, sample, masked)
    assert found.weights.shape == (4, 2, 2, 15, 15)  # samples, blocks, heads, class token and 14 visible ones
    assert found.places.shape == (4, 14)
    assert set(np.asarray(found.places[0]).tolist()) == set(range(1, 15))
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1.0, atol=1e-5)
    # The first block alone, on the embedded tokens in the order of ``places``.
    params = unflatten(fit.built, fit.params)["params"]["encoder"]
    block = Block(width=8, heads=2, mlp_ratio=2, keep_attention=True)
    first = jax.tree.map(lambda leaf: leaf[0], params["encoder_blocks"])
    values = (np.asarray(sample.observed_matrix) - 0.5) / 2.0
    seen = jnp.asarray(values.reshape(4, 16, 4))[:, np.asarray(found.places[0])]
    embedded = seen @ params["embed"]["kernel"] + params["embed"]["bias"]
    embedded = embedded + sine_cosine_positions(4, 4, 8)[np.asarray(found.places[0])]
    tokens = jnp.concatenate([jnp.broadcast_to(params["class_token"], (4, 1, 8)), embedded], axis=1)
    _, expected = block.apply({"params": first}, tokens)
    np.testing.assert_allclose(found.weights[:, 0], expected, atol=1e-5)
    with_bottleneck = _untrained(model, NETWORKS["bottleneck with a transformer"])
    assert mae.attention(with_bottleneck, sample, masked).weights.shape == (4, 2, 2, 15, 15)
    for config in (SMALL_BOTTLENECK, LinearConfig(code_dim=2)):
        with pytest.raises(ValueError, match="only transformers attend"):
            mae.attention(_untrained(model, config), sample, masked)


def test_encode_layers_are_what_each_block_makes_of_the_one_before(model):
    fit, sample = _untrained(model, SMALL_VIT), model.sample(jax.random.key(1), 4)
    masked = ["x_0_0", "x_3_3"]
    found = mae.encode_layers(fit, sample, masked)
    assert list(found) == ["embedding", "block 1", "block 2", "code"]
    assert {tokens.shape for tokens in found.values()} == {(4, 15, 8)}
    np.testing.assert_array_equal(found["code"], mae.encode(fit, sample, masked, pooling="tokens"))
    params = unflatten(fit.built, fit.params)["params"]["encoder"]
    block = Block(width=8, heads=2, mlp_ratio=2)
    np.testing.assert_allclose(found["embedding"][:, 0], np.broadcast_to(params["class_token"][0], (4, 8)), atol=1e-6)
    for k in range(2):
        own = jax.tree.map(lambda leaf, k=k: leaf[k], params["encoder_blocks"])
        before = found["embedding"] if k == 0 else found[f"block {k}"]
        np.testing.assert_allclose(found[f"block {k + 1}"], block.apply({"params": own}, before)[0], atol=1e-5)
    centred = found["block 2"] - found["block 2"].mean(axis=-1, keepdims=True)
    normed = centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(
        found["code"], normed * params["encoder_norm"]["scale"] + params["encoder_norm"]["bias"], atol=1e-4
    )


def test_encode_layers_of_other_networks(model):
    sample = model.sample(jax.random.key(1), 4)
    found = mae.encode_layers(_untrained(model, NETWORKS["bottleneck with a transformer"]), sample, ["x_0_0"])
    assert [tokens.shape for tokens in found.values()] == [(4, 16, 8)] * 3 + [(4, 3)]
    with pytest.raises(ValueError, match="only transformers have layers of tokens"):
        mae.encode_layers(_untrained(model, SMALL_BOTTLENECK), sample, ["x_0_0"])
    with pytest.raises(ValueError, match="different numbers of tokens visible"):
        mae.encode_layers(_untrained(model, SMALL_VIT), np.asarray(sample.observed_matrix)[:2], UNEVEN)


def test_padded_tokens_are_not_attended_to():
    tokens = jax.random.normal(jax.random.key(0), (2, 5, 8))
    present = jnp.asarray([[True, True, True, False, False], [True] * 5])
    block = Block(width=8, heads=2, mlp_ratio=1, keep_attention=True)
    params = block.init(jax.random.key(1), tokens)
    _, weights = block.apply(params, tokens, present)
    assert (weights[0, :, :, 3:] == 0).all()
    changed = tokens.at[0, 3:].add(5.0)
    np.testing.assert_array_equal(
        block.apply(params, changed, present)[0][0, :3], block.apply(params, tokens, present)[0][0, :3]
    )


@pytest.mark.parametrize("name", ["linear", "bottleneck", "bottleneck with a transformer"])
def test_codes_have_exactly_the_dims_asked_for(model, name):
    for code_dim in (3, 6) if "transformer" in name else (3, 8, 9):
        config = dataclasses.replace(NETWORKS[name], code_dim=code_dim)
        code = mae.encode(_untrained(model, config), model.sample(jax.random.key(1), 20), ["x_0_0"])
        assert code.shape == (20, code_dim)
        assert np.linalg.matrix_rank(np.asarray(code) - np.asarray(code).mean(axis=0)) == code_dim


def test_linear_network_is_linear(model):
    fit = _untrained(model, LinearConfig(code_dim=4), FixedMask(masked=("x_0_0", "x_1_1")))
    one, other = (model.sample(jax.random.key(s), 3).observed_matrix for s in (1, 2))
    masked = ["x_0_0", "x_1_1"]
    mixed = mae.reconstruct(fit, 0.3 * one + 0.7 * other, masked)
    np.testing.assert_allclose(
        mixed, 0.3 * mae.reconstruct(fit, one, masked) + 0.7 * mae.reconstruct(fit, other, masked), atol=1e-5
    )


@pytest.mark.slow
def test_vit_takes_an_oblong_grid_of_cells_of_one_number():
    names = [f"x{i}" for i in range(24)]
    graph = LatentGraph.from_edges([("z", name) for name in names], dims=1, grid=(4, 6))
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())
    fit = _untrained(
        model, ViTConfig(patch=2, width=8, heads=2, depth=1, decoder_width=8), RandomMask(ratio=0.5, unit=2)
    )
    sample = model.sample(jax.random.key(1), 2)
    assert mae.encode(fit, sample, None, pooling="tokens").shape == (2, 7, 8)
    assert mae.reconstruct(fit, sample, RandomMask(ratio=0.5, unit=2).sample(jax.random.key(2), 2, graph)).shape == (
        2,
        24,
    )


def test_init_flat_is_flax_init_whatever_is_visible(model):
    key = jax.random.key(4)
    flats = []
    for ratio in (0.25, 0.75):
        network = build_network(GRAPH, mask_plan(GRAPH, RandomMask(ratio=ratio)), SMALL_VIT, LossConfig())
        flats.append(init_flat(network, key[None])[0])
    np.testing.assert_array_equal(flats[0], flats[1])
    several = init_flat(network, jnp.stack([jax.random.key(5), key]))
    np.testing.assert_array_equal(several[1], flats[0])
    trees = (unflatten(network, flats[0]), jax.jit(network.init)(key))
    for ours, theirs in zip(*map(jax.tree.leaves, trees), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)  # rounding: compiled otherwise


@pytest.mark.slow
def test_energy_networks_start_from_the_encoder_of_their_twins(model):
    """Arms that differ in the loss alone are paired as far as they can be."""
    plan = mask_plan(GRAPH, MASK)
    sizes = {}
    for score in ("squared_error", "energy"):
        network = build_network(GRAPH, plan, SMALL_VIT, LossConfig(score=score, noise_dim=3))
        flat = init_flat(network, seed_keys(jax.random.key(0), 0).init[None])[0]
        sizes[score] = flat.size
        encoder = unflatten(network, flat)["params"]["encoder"]
        kernel = np.asarray(encoder["embed"]["kernel"])
        sizes[score, "kernel"] = kernel
    assert sizes["energy"] - sizes["squared_error"] == 3 * 8 + 8
    np.testing.assert_array_equal(sizes["energy", "kernel"], sizes["squared_error", "kernel"])


def test_bottleneck_refuses_encoders_that_cannot_serve():
    with pytest.raises(ValueError, match="use a width of at least 9"):
        BottleneckConfig(code_dim=7, encoder=SMALL_VIT)
    with pytest.raises(ValueError, match="normalize_targets is for ViTConfig on its own"):
        BottleneckConfig(code_dim=1, encoder=ViTConfig(normalize_targets=True))
