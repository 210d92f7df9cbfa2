"""A linear-Gaussian model as plain arrays, for closed forms."""

from __future__ import annotations

import numpy as np

from hlvm._numbers import UsageError
from hlvm.mechanisms import Gaussian, LinearGaussian
from hlvm.simulator.parts import ModelParts

__all__ = ["parameters"]


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


def _check(model: ModelParts) -> None:
    for name, mechanism, noise in zip(model.graph.nodes, model.layout.mechanisms, model.layout.noises, strict=True):
        if not isinstance(mechanism, LinearGaussian | None):
            raise UsageError(
                f"variable {name!r} has the mechanism {type(mechanism).__name__}: closed forms need linear-Gaussian "
                f"mechanisms everywhere"
            )
        if noise != Gaussian():
            raise UsageError(f"variable {name!r} has the noise {noise}: closed forms need Gaussian noises everywhere")
    if model.interventions:
        raise ValueError(f"variable {model.interventions[0]!r} was set by an intervention: it has no noise of its own")
