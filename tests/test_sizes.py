"""Settings that cannot fit into memory are refused from their sizes alone, with the numbers."""

import math

import jax
import pytest

from hlvm import HierarchicalModel, LatentGraph
from hlvm._process import memory
from hlvm.mae import (
    BottleneckConfig,
    LinearConfig,
    LossConfig,
    Member,
    TrainConfig,
    ViTConfig,
    fit_ensemble,
    plan_ensemble,
)
from hlvm.mae.networks.networks import build_network
from hlvm.mae.training.mask_draws import mask_plan
from hlvm.mae.training.sizes import least_parameters
from hlvm.masking import RandomMask
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import checks

KEY = jax.random.key(0)
GRAPH = LatentGraph.quadtree(2)
MASK = RandomMask(ratio=0.5)


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Of 16 GiB, whatever it has."""
    monkeypatch.setattr(memory, "free_memory", lambda device=None: 2**34)


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(KEY, GRAPH, LinearGaussian())


@pytest.mark.parametrize(
    "config",
    [
        LinearConfig(code_dim=64),
        BottleneckConfig(code_dim=8, width=512, depth=3),
        BottleneckConfig(code_dim=8, width=256, encoder=ViTConfig(width=128, depth=6)),
        ViTConfig(width=128, depth=6, decoder_width=64, decoder_depth=2, mlp_ratio=4),
    ],
)
def test_least_parameters_are_nearly_all(config):
    network = build_network(GRAPH, mask_plan(GRAPH, MASK), config, LossConfig())
    shapes = jax.eval_shape(network.init, KEY)
    made = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert 0.95 * made < least_parameters(network) < made


@pytest.mark.parametrize(
    ("network", "train", "message"),
    [
        (
            {"width": 10**8},
            {},
            r"training 27,200,000,000 parameters .* at least 4.*GiB .*, but only 16\.0 GiB are free: use a",
        ),
        ({"depth": 10**9}, {}, "at least .* TiB of memory, .* use a smaller network"),
        ({"code_dim": 10**8}, {}, "at least .* GiB of memory, .* use a smaller network"),
        ({"encoder": ViTConfig(width=10**8)}, {}, "at least .* EiB of memory"),
        ({}, {"batch": 10**8}, "on batches of 100,000,000 takes at least .* GiB of memory, .* use a smaller batch"),
        ({}, {"steps": 10**10}, "keeping the losses of 10,000,000,000 steps takes at least .* take fewer steps"),
    ],
)
def test_training_and_plans_refuse_what_cannot_fit(model, network, train, message):
    members = [Member(mask=MASK, network=BottleneckConfig(**{"code_dim": 2, "width": 8, "depth": 1} | network))]
    for call in (fit_ensemble, plan_ensemble):
        with pytest.raises(ValueError, match=message):
            call(KEY, model, members, TrainConfig(**{"steps": 200, "batch": 8} | train))


def test_members_that_fit_one_by_one_are_refused_together(model):
    members = [Member(mask=MASK, network=BottleneckConfig(code_dim=2, width=8000), seed=seed) for seed in range(20)]
    with pytest.raises(ValueError, match=r"training 20 members of up to .* parameters"):
        fit_ensemble(KEY, model, members, TrainConfig(steps=200, batch=8))


@pytest.mark.parametrize(
    ("noise_dims", "message"),
    [
        (10**9, "a model of 8,000,000,000 numbers per sample, of which 4,096 are drawn for its scales, takes at least"),
        (
            20_000,
            "a model of 9,600,000,000 parameters or more takes at least 38.* GiB of memory, but only 16.0 GiB are free",
        ),
    ],
)
def test_init_refuses_models_that_cannot_fit(noise_dims, message):
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], noise_dims=noise_dims)
    with pytest.raises(ValueError, match=message):
        HierarchicalModel.init(KEY, graph, InvertibleMLP())


def test_sample_refuses_what_cannot_fit(model):
    with pytest.raises(ValueError, match=r"a draw of 1,000,000,000 samples of \d+ numbers takes at least"):
        model.sample(KEY, 10**9)


def test_free_memory_is_known(monkeypatch):
    monkeypatch.undo()
    assert (memory.free_memory() or 0) > 2**20


def test_deep_models_are_announced(monkeypatch):
    """A second of compiling per level goes without a word otherwise."""
    monkeypatch.setattr(checks, "_DEEP", 2)
    chain = LatentGraph.from_edges([("z0", "z1"), ("z1", "x1"), ("z1", "x2")], dims=1)
    with pytest.warns(UserWarning, match="a model of 3 levels: each is compiled on its own"):
        HierarchicalModel.init(KEY, chain, LinearGaussian())
