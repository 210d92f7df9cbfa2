"""A linear-Gaussian model, or what a model is to first order, as plain arrays for closed forms."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from hlvm._numbers import UsageError
from hlvm.mechanisms import Gaussian, LinearGaussian
from hlvm.simulator.forward import propagate
from hlvm.simulator.layout import take
from hlvm.simulator.parts import ModelParts

__all__ = ["linearised", "parameters"]


def parameters(model: ModelParts) -> dict[str, dict[str, np.ndarray]]:
    """See ``HierarchicalModel.linear_gaussian_parameters``."""
    _check(model)
    found: dict[str, dict[str, np.ndarray]] = {"coefficients": {}, "noise_scales": {}, "offsets": {}}
    shift, scale = (np.asarray(array, dtype=np.float64) for array in (model.shift, model.scale))
    noises = np.zeros(model.layout.n_noises), np.ones(model.layout.n_noises)
    if model.noise_shift is not None:
        noises = tuple(np.asarray(array, dtype=np.float64) for array in model.noise_shift)
    for group, params in zip(model.layout.groups, model.params, strict=True):
        shape = (len(group.nodes), group.dim)
        by_node, spread = shift[group.values].reshape(shape), scale[group.values].reshape(shape)
        loc, size = (array[group.noises].reshape(shape) for array in noises)
        own = np.asarray(params.get("scale", np.ones(shape)), dtype=np.float64)
        matrices = np.asarray(params.get("matrix", np.zeros(len(group.nodes))), dtype=np.float64)
        for i, node in enumerate(group.nodes):
            name = model.graph.nodes[node]
            if group.mechanism is not None:
                found["coefficients"][name] = matrices[i] / spread[i, :, None]
            found["noise_scales"][name] = own[i] * size[i] / spread[i]
            found["offsets"][name] = (own[i] * loc[i] - by_node[i]) / spread[i]
    return found


def linearised(model: ModelParts) -> dict[str, dict[str, np.ndarray]]:
    """See ``HierarchicalModel.linearised_parameters``."""
    _check_derivatives(model)
    found: dict[str, dict[str, np.ndarray]] = {"coefficients": {}, "noise_scales": {}, "offsets": {}}
    loc, size = jnp.zeros(model.layout.n_noises), np.ones(model.layout.n_noises)
    if model.noise_shift is not None:
        loc, size = model.noise_shift.loc, np.asarray(model.noise_shift.scale, dtype=np.float64)
    values, scale = propagate(model, loc[:, None])[:, 0], np.asarray(model.scale, dtype=np.float64)
    for group, params in zip(model.layout.groups, model.params, strict=True):
        k = len(group.nodes)
        noise, means = loc[group.noises].reshape(k, -1), np.asarray(values[group.values], np.float64).reshape(k, -1)
        parents = take(values, group.parent_rows)
        by_parents, by_noise = (
            np.zeros((k, group.dim, 0)),
            np.broadcast_to(np.eye(group.dim), (k, group.dim, group.dim)),
        )
        if group.mechanism is not None:
            of_both = jax.jacfwd(group.mechanism.apply, argnums=(1, 2))
            by_parents, by_noise = (np.asarray(part, np.float64) for part in jax.vmap(of_both)(params, parents, noise))
        spread = scale[group.values].reshape(k, -1, 1)
        for i, node in enumerate(group.nodes):
            name, law = model.graph.nodes[node], model.layout.noises[node]
            coefficients = by_parents[i] / spread[i]
            own = size[group.noises].reshape(k, -1)[i] * math.sqrt(law.variance)
            if group.mechanism is not None:
                found["coefficients"][name] = coefficients
            found["noise_scales"][name] = by_noise[i] * own / spread[i]
            found["offsets"][name] = means[i] - coefficients @ np.asarray(parents[i], np.float64)
    return found


def _check_derivatives(model: ModelParts) -> None:
    for node, (name, noise) in enumerate(zip(model.graph.nodes, model.layout.noises, strict=True)):
        if noise.discrete or model.layout.n_symbols_of(node) is not None:
            raise UsageError(f"variable {name!r} is made of symbols: there are no derivatives by them")
        if not math.isfinite(noise.variance):
            raise UsageError(f"the noise of {name!r} has no variance: the linear model about the mean has none either")
    _check_interventions(model)


def _check_interventions(model: ModelParts) -> None:
    if model.interventions:
        raise ValueError(f"variable {model.interventions[0]!r} was set by an intervention: it has no noise of its own")


def _check(model: ModelParts) -> None:
    for name, mechanism, noise in zip(model.graph.nodes, model.layout.mechanisms, model.layout.noises, strict=True):
        if not isinstance(mechanism, LinearGaussian | None):
            raise UsageError(
                f"variable {name!r} has the mechanism {type(mechanism).__name__}: closed forms need linear-Gaussian "
                f"mechanisms everywhere"
            )
        if noise != Gaussian():
            raise UsageError(f"variable {name!r} has the noise {noise}: closed forms need Gaussian noises everywhere")
    _check_interventions(model)
