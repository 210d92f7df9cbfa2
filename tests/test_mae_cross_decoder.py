"""The cross decoder: against a plain one, its share of hidden tokens, what it leaves as ever, and what it refuses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from objective_cases import assert_same_loss_and_gradient, one_hot_data, samples_of

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, LossConfig, Member, TrainConfig, ViTConfig
from hlvm.mae.config import network_to_dict
from hlvm.mae.files import network_from_dict
from hlvm.mae.objectives import IJEPA, CrossEntropy
from hlvm.mae.training.groups import group_members
from hlvm.masking import BernoulliMask, RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

LEAVES = LatentGraph.from_edges([("z", f"x{i}") for i in range(6)], dims={"z": 2, **{f"x{i}": 2 for i in range(6)}})
CROSS = ViTConfig(width=8, depth=1, heads=2, decoder_width=8, decoder_depth=2, decoder="cross")
HALF = dataclasses.replace(CROSS, decoded_share=0.5)
ROWS = np.random.default_rng(0).normal(size=(5, 12))
SHORT = TrainConfig(steps=3, batch=8, warmup=1)


def norm(x, p):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def plain_reconstruction(params, codes, place):
    """The answer at one place of one sample, from the codes of its class token and visible tokens."""
    p = params["params"]
    context = dense(codes, p["decoder_embed"])
    x = p["mask_token"][0, 0] + p["decoder_positions"]["embedding"][place]
    for i in range(CROSS.decoder_depth):
        block = p[f"cross_block_{i}"]
        query = (
            jnp.einsum("w,whd->hd", norm(x, block["norm_tokens"]), block["query"]["kernel"]) + block["query"]["bias"]
        )
        both = jnp.einsum("cw,whd->chd", norm(context, block["norm_context"]), block["key_value"]["kernel"])
        key, value = jnp.split(both + block["key_value"]["bias"], 2, axis=-1)
        weights = jax.nn.softmax(jnp.einsum("hd,chd->hc", query, key) / query.shape[-1] ** 0.5, axis=-1)
        mixed = jnp.einsum("hc,chd->hd", weights, value)
        x = x + jnp.einsum("hd,hdw->w", mixed, block["mix"]["kernel"]) + block["mix"]["bias"]
        grown = jax.nn.gelu(dense(norm(x, block["norm_mixed"]), block["grow"]), approximate=True)
        x = x + dense(grown, block["shrink"])
    return dense(norm(x, p["decoder_norm"]), p["to_token"])


@pytest.mark.parametrize(
    ("config", "mask"),
    [
        pytest.param(HALF, BernoulliMask(ratio=0.5), id="half-several", marks=pytest.mark.slow),
        pytest.param(HALF, RandomMask(ratio=0.5), id="half-one count", marks=pytest.mark.slow),
        pytest.param(CROSS, BernoulliMask(ratio=0.5), id="all-several", marks=pytest.mark.slow),
        pytest.param(CROSS, RandomMask(ratio=0.5), id="all-one count", marks=pytest.mark.slow),
    ],
)
def test_cross_decoder_is_a_plain_one_with_its_gradient(config, mask):
    case = samples_of(LEAVES, mask, config, LossConfig(), ROWS)
    masked = np.asarray(case.samples.masked)
    noise = np.asarray(case.samples.noise)[0]
    chosen = []
    for row, hidden in enumerate(masked):
        places = np.flatnonzero(hidden)
        if config is HALF:
            places = places[np.argsort(noise[row, places])][: int(np.ceil(len(places) / 2))]
        chosen.append(places)

    def plain(params):
        codes = case.network.encode(params, case.samples.inputs, case.samples.masked, case.samples.code_dim)
        total = 0.0
        for row, places in enumerate(chosen):
            seen = codes[row, : 1 + (~masked[row]).sum()]
            for place in places:
                said = plain_reconstruction(params, seen, place)
                total += ((said - case.samples.values[row, 2 * place : 2 * place + 2]) ** 2).sum()
        return total / (2 * sum(map(len, chosen)))

    assert_same_loss_and_gradient(case, plain)


def test_a_share_decodes_fewer_tokens_and_says_the_same_of_them():
    whole, half = (samples_of(LEAVES, RandomMask(ratio=0.7), config, LossConfig(), ROWS) for config in (CROSS, HALF))
    given = half.samples.inputs, half.samples.masked, half.samples.code_dim
    places, counted = half.network.decoded(half.samples.masked, half.samples.noise)
    assert places.shape == (5, 2)
    assert (np.asarray(counted).sum(axis=1) == 2).all()  # half of four, of six
    partly = np.asarray(half.network.reconstruct(half.params, *given, half.samples.noise))[0].reshape(5, 6, 2)
    fully = np.asarray(whole.network.reconstruct(half.params, *given, whole.samples.noise))[0].reshape(5, 6, 2)
    np.testing.assert_allclose(partly[np.asarray(counted)], fully[np.asarray(counted)], rtol=1e-5)
    assert (partly[~np.asarray(counted)] == 0).all()


@pytest.mark.slow
def test_members_with_cross_decoders_train_in_parts_are_padded_and_kept(tmp_path):
    model = HierarchicalModel.init(jax.random.key(0), LEAVES, LinearGaussian())
    members = [Member(mask=RandomMask(ratio=ratio), network=HALF) for ratio in (0.34, 0.67)]
    alone = mae.fit_ensemble(0, model, members, SHORT)
    padded = mae.fit_ensemble(0, model, members, SHORT, pad=True)
    parts = mae.fit_ensemble(0, model, members, SHORT, microbatch=4)
    assert len(group_members(LEAVES, members, SHORT, pad=True)) == 1
    for one, other, third in zip(alone, padded, parts, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=2e-4)
        np.testing.assert_allclose(one.losses, third.losses, rtol=2e-4)
    sample = model.sample(1, 4)
    found = np.asarray(mae.reconstruct(alone[0], sample, ["x0", "x1", "x2", "x3"]))  # all of them, without a key
    assert (np.abs(found[:, :8] - np.asarray(sample.observed_matrix)[:, :8]) > 1e-4).all()
    mae.save_fits(tmp_path / "fits", alone)
    again = mae.load_fits(tmp_path / "fits")[0]
    assert again.network == HALF
    np.testing.assert_array_equal(mae.reconstruct(again, sample, ["x0", "x1", "x2", "x3"]), found)


@pytest.mark.parametrize(
    "loss",
    [pytest.param(CrossEntropy(), id="cross-entropy"), pytest.param(IJEPA(), id="ijepa")],
)
@pytest.mark.slow
def test_cross_decoder_serves_other_objectives(loss):
    fit = mae.fit(0, one_hot_data(40), RandomMask(ratio=0.5), CROSS, SHORT, loss=loss)
    assert np.isfinite(fit.losses).all()


def test_networks_are_described_as_before_the_cross_decoder():
    fields = {"patch", "width", "depth", "heads", "decoder_width", "decoder_depth", "mlp_ratio", "normalize_targets"}
    assert network_to_dict(ViTConfig()).keys() == {"kind"} | fields
    nested = network_to_dict(BottleneckConfig(code_dim=2, encoder=ViTConfig()))
    assert nested["encoder"].keys() == fields
    for config in (ViTConfig(), CROSS, HALF, BottleneckConfig(code_dim=2, encoder=ViTConfig())):
        assert network_from_dict(json.loads(json.dumps(network_to_dict(config)))) == config
    assert network_to_dict(HALF)["decoded_share"] == 0.5
    with pytest.raises(ValueError, match="network: expected one of LinearConfig, BottleneckConfig, ViTConfig"):
        network_to_dict(TrainConfig())


@pytest.mark.parametrize(
    ("config", "loss", "match"),
    [
        (CROSS, LossConfig(score="energy"), 'decoder must be "full" for the energy score'),
        (CROSS, LossConfig(region="all"), 'decoder must be "full" for losses of the region "all"'),
        (HALF, CrossEntropy(), "decoded_share must be 1 here"),
        (HALF, IJEPA(), "decoded_share must be 1 here"),
    ],
)
def test_cross_decoder_refuses_losses_that_do_not_fit(config, loss, match):
    with pytest.raises(ValueError, match=match):
        mae.fit(0, one_hot_data(40), RandomMask(ratio=0.5), config, SHORT, loss=loss)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ViTConfig(decoded_share=0.5), "decoded_share must be 1 for the full decoder"),
        (lambda: ViTConfig(decoder="cross", decoded_share=0.0), "decoded_share must be a finite number, above 0"),
        (lambda: BottleneckConfig(code_dim=2, encoder=CROSS), "decoder is for ViTConfig on its own"),
    ],
)
def test_decoder_settings_refuse_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()
