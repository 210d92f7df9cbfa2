"""Latents that objectives find: data2vec on a quadtree."""

import jax
import numpy as np
import pytest

from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import TrainConfig, ViTConfig
from hlvm.mae.objectives import Data2Vec
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.scoring import collapse, kernel_r2
from hlvm.simulator import HierarchicalModel

pytestmark = pytest.mark.slow
MASK = RandomMask(ratio=0.5)


def test_data2vec_finds_latents_of_a_quadtree_and_does_not_collapse():
    """Beside the same transformer before training."""
    graph = LatentGraph.quadtree(2)
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())
    train = TrainConfig(steps=1000, batch=64)
    network = ViTConfig(width=16, depth=2, heads=2, decoder_width=16)
    fit = mae.fit(0, model, MASK, network, train, loss=Data2Vec())
    sample = model.sample(jax.random.key(1), 2000)
    code, before = (np.asarray(mae.encode(one, sample, None)) for one in (fit, fit.untrained()))
    latents = np.concatenate([sample.latents[name] for name in graph.latents if graph.height(name) > 1], axis=1)
    assert not collapse(code, latents, untrained=before)
    found, floor = (kernel_r2(rows, sample.latents["z2_0_0"], key=0) for rows in (code, before))
    assert found.interval.low > floor.interval.high
