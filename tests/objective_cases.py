"""Shared by tests of objectives: the samples that a loss reads, and its comparison with a plain implementation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hlvm.datasets import Dataset
from hlvm.graph import LatentGraph
from hlvm.mae import LossConfig, ViTConfig
from hlvm.mae.networks.networks import beyond, build_network, code_dim_of, unflatten
from hlvm.mae.objectives import IJEPA, CrossEntropy, Data2Vec, SIGReg, Supervised, UniformMAE, VICReg
from hlvm.mae.objectives.base import Samples, first_parameters
from hlvm.mae.training.mask_draws import draw_masks, mask_plan
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel

RTOL = 1e-5
"""Of losses and gradients, relative to the largest number of a gradient: single precision."""


class Case(NamedTuple):
    """One member's loss, ready to be taken."""

    config: Any
    network: Any
    objective: Any
    params: Any
    samples: Samples


def samples_of(graph, mask, config, loss, rows, units=None, seed=0):
    """A network at its first parameters, and rows under a strategy's masks, standardised."""
    shift = rows.mean(axis=0) if units is None else units[0]
    spread = np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1.0) if units is None else units[1]
    plan = mask_plan(graph, mask)
    network, objective = build_network(graph, plan, config, loss), loss.on(graph)
    objective.check_network(network)
    values = jnp.asarray((rows - shift) / spread, jnp.float32)
    masks = draw_masks(plan.kind, plan.arrays, jax.random.key(seed + 1), objective.views * len(rows))
    second = masks[len(rows) :] if objective.views == 2 else None
    masked = masks[: len(rows)]
    samples = Samples(
        values=values,
        inputs=values,
        masked=masked,
        weights=objective.weights(loss.arrays(graph), plan.arrays, masked),
        noise=objective.noise(network, jax.random.key(seed + 2), len(rows)),
        code_dim=jnp.asarray(code_dim_of(config)),
        shift=jnp.asarray(shift, jnp.float32),
        scale=jnp.asarray(spread, jnp.float32),
        second=second,
    )
    flat = first_parameters(network, objective, jax.random.key(seed)[None])[0]
    if objective.head(network) is not None:
        samples = samples._replace(head=beyond(network, flat))
    params = unflatten(network, flat)
    return Case(config, network, objective, params, samples)


def assert_same_loss_and_gradient(case, plain, teacher=None):
    """The objective's mean loss and its gradient are those of a plain function of the parameters."""

    def own(params):
        return case.objective.loss(case.network, params, teacher, case.samples).mean

    found, slope = jax.jit(jax.value_and_grad(own))(case.params)
    expected, expected_slope = jax.jit(jax.value_and_grad(plain))(case.params)
    np.testing.assert_allclose(found, expected, rtol=RTOL)
    a, b = ravel_pytree(slope)[0], ravel_pytree(expected_slope)[0]
    assert np.abs(b).max() > 1e-3  # there is a gradient
    np.testing.assert_allclose(a, b, atol=RTOL * np.abs(b).max())


SMALL = ViTConfig(width=8, depth=2, heads=2, decoder_width=8)
OBJECTIVES = {
    "reconstruction": LossConfig(),
    "cross-entropy": CrossEntropy(),
    "ijepa": IJEPA(ema_start=0.5),
    "data2vec": Data2Vec(ema_start=0.5),
    "ijepa, vicreg": IJEPA(ema_start=0.5, regularizer=VICReg(head_width=6), regularizer_weight=0.1),
    "data2vec, sigreg": Data2Vec(ema_start=0.5, regularizer=SIGReg(slices=8, head_layers=0)),
    "vicreg": VICReg(head_width=6),
    "sigreg": SIGReg(slices=8, head_layers=0),
    "uniform mae": UniformMAE(),
}
"""Every kind of objective, on small networks, and two that are regularised."""


def one_hot_data(n):
    """Rows of four cells of three symbols below two latents below a root; noise makes cells differ."""
    graph = LatentGraph.from_edges(
        [("r", "u"), ("r", "v"), *(("u" if i < 3 else "v", f"x{i}") for i in range(1, 5))], dims=3
    )
    rng = np.random.default_rng(0)
    root = rng.integers(3, size=n)
    cells = {f"x{i}": np.eye(3)[np.where(rng.random(n) < 0.3, rng.integers(3, size=n), root)] for i in range(1, 5)}
    return Dataset.from_arrays(observed=cells, graph=graph)


DEVICE_CASES = {
    **OBJECTIVES,
    "energy": LossConfig(score="energy"),
    "supervised": Supervised(head_width=6),
}
"""Every kind of objective, with latents as targets and a decoder that reads noise."""


def device_data(loss):
    """Data that an objective can be trained on, and how many rows to hold out: a generator where it needs latents."""
    if isinstance(loss, Supervised):
        return HierarchicalModel.init(jax.random.key(1), LatentGraph.tree(2, 2), LinearGaussian()), 0
    return one_hot_data(60), 12
