"""A small chain through the whole package; test_strict_flags.py runs it under flags of JAX and NumPy.

It prints a digest of every number that came out, one line per part. With ``--raise`` NumPy raises on all that it can.
"""

import hashlib
import logging
import sys
import tempfile

import jax
import numpy as np

from hlvm import HierarchicalModel, LatentGraph, scoring, theory
from hlvm.images import QuadtreeImages, SceneImages
from hlvm.mae import (
    BottleneckConfig,
    LinearConfig,
    LossConfig,
    TrainConfig,
    ViTConfig,
    encode,
    fit,
    load_fits,
    reconstruct,
    save_fits,
)
from hlvm.masking import BernoulliMask, BlockMask, FixedMask, GridMask, Patches, RandomMask, RatioRange, SubtreeMask
from hlvm.mechanisms import Coupling, InvertibleMLP, LinearGaussian, check_mechanism

GRAPH = LatentGraph.quadtree(2)
FEW = TrainConfig(steps=3, batch=8, warmup=1)
SMALL = ViTConfig(width=8, depth=1, heads=2, decoder_width=8)


def key():
    """The same numbers each time, as a key that nothing has used."""
    return jax.random.key(0)


def simulate():
    model = HierarchicalModel.init(key(), GRAPH, LinearGaussian())
    sample = model.sample(key(), 30)
    forced = model.intervene({"z1_0_0": 1.0}).sample(key(), 5)
    yield from (sample.values, forced.values)


def invert():
    graph = LatentGraph.from_edges([("z", "y"), ("z", "x1"), ("y", "x2"), ("y", "x3")], noise_dims=1)
    for mechanism in (InvertibleMLP(), Coupling()):
        model = HierarchicalModel.init(key(), graph, mechanism)
        sample = model.sample(key(), 10)
        yield model.invert(sample.observed).values
        yield str(check_mechanism(mechanism, key(), parent_dim=1, noise_dim=1, dim=2, samples=4))


def masks():
    for strategy in (
        RandomMask(ratio=0.5, unit=2),
        BlockMask(ratio=0.5),
        BernoulliMask(ratio=0.4),
        GridMask(keep_every=(1, 2)),
        SubtreeMask(height=1, ratio=0.5),
    ):
        yield strategy.sample(key(), 5, GRAPH)


def predict():
    masked = GRAPH.observed[:4]
    yield sorted(theory.shared_information(GRAPH, masked).members)
    yield theory.level_profile(GRAPH, [RandomMask(ratio=0.5)]).share
    patches = Patches.blocks(GRAPH, 2)
    yield theory.level_profile(GRAPH, [RandomMask(ratio=0.5, patches=patches)]).share
    yield str(theory.design_mask(GRAPH, ["z1_0_0"]))
    oracle = theory.GaussianOracle(HierarchicalModel.init(key(), GRAPH, LinearGaussian()))
    yield str(oracle.latent_r2(masked))
    yield oracle.canonical_correlations(masked)


def draw():
    yield QuadtreeImages.init(key(), height=2, root_dim=4, noise_dim=4).sample(key(), 3).images
    yield SceneImages().sample(key(), 3).images


def train(network, strategy, **options):
    model = HierarchicalModel.init(key(), GRAPH, LinearGaussian())
    found = fit(key(), model, strategy, network, FEW, **options)
    sample = model.sample(key(), 6)
    yield from (found.losses, encode(found, sample, ["x_0_0"]), reconstruct(found, sample, ["x_0_0"]))
    with tempfile.TemporaryDirectory() as folder:
        save_fits(f"{folder}/fits", [found])
        yield load_fits(f"{folder}/fits")[0].losses


def bottleneck():
    yield from train(BottleneckConfig(code_dim=2, width=4, depth=1), FixedMask(masked=GRAPH.observed[:3]))


def linear():
    yield from train(LinearConfig(code_dim=2), RandomMask(ratio=0.5))


def vit():
    yield from train(SMALL, RatioRange(low=0.25, high=0.75), loss=LossConfig())


def score():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(90, 2))
    small = scoring.RegressionConfig(max_train=50)
    for code in (np.tanh(z), np.ones((90, 2)), np.c_[z[:, 0], np.zeros(90)]):
        yield str(scoring.block_verdict(code, z, others={"o": rng.normal(size=(90, 1))}, key=0, config=small))
        yield scoring.cca(code, z, key=0).mean
        yield scoring.mlp_r2(code, z, key=0).value
        yield [scoring.mcc(code, z), scoring.sap(code, z), scoring.mig(code, z), scoring.cka(code, z)]
        yield scoring.permutation_test(scoring.mcc, code, z, key=0, n_permutations=9).p_value
        yield scoring.cca_rank(code, z).rank
        yield scoring.mutual_information(code, z, key=0)


PARTS = (simulate, invert, masks, predict, draw, bottleneck, linear, vit, score)


def digest(found):
    text = found if isinstance(found, str) else str((np.asarray(found).dtype, np.asarray(found).tolist()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


if __name__ == "__main__":
    if "--raise" in sys.argv:
        np.seterr(all="raise")
    for part in PARTS:
        print(part.__name__, *map(digest, part()), flush=True)
    print("handlers of the root logger:", logging.root.handlers)
