"""Random linear-Gaussian models, and their answers by dense linear algebra."""

import numpy as np


def parameters(graph, seed, *, low=0.5, high=2.0, quiet=()):
    """Random coefficients away from zero; no noise at the names in ``quiet``."""
    rng = np.random.default_rng(seed)
    coefficients, noise_scales, offsets = {}, {}, {}
    for name in graph.nodes:
        dim, parent_dim = graph.dim(name), sum(map(graph.dim, graph.parents(name)))
        if parent_dim:
            size = rng.uniform(low, high, (dim, parent_dim)) / np.sqrt(parent_dim)
            coefficients[name] = size * rng.choice([-1, 1], size.shape)
        noise_scales[name] = rng.uniform(low, high, dim) * (name not in quiet)
        offsets[name] = rng.normal(size=dim)
    return {"coefficients": coefficients, "noise_scales": noise_scales, "offsets": offsets}


def dense(graph, given):
    """Mean and covariance of all dims by solving v = B v + b + e for all variables at once, and slices by name."""
    ends = np.cumsum([0, *graph.dims])
    place = {name: np.arange(ends[i], ends[i + 1]) for i, name in enumerate(graph.nodes)}
    coefficients, noise = np.zeros((ends[-1], ends[-1])), np.zeros((ends[-1], ends[-1]))
    for name in graph.nodes:
        if graph.parents(name):
            above = np.concatenate([place[p] for p in graph.parents(name)])
            coefficients[np.ix_(place[name], above)] = given["coefficients"][name]
        scale = np.asarray(given["noise_scales"][name])
        factor = np.diag(scale) if scale.ndim == 1 else scale
        noise[np.ix_(place[name], place[name])] = factor @ factor.T
    effects = np.linalg.inv(np.eye(ends[-1]) - coefficients)
    mean = effects @ np.concatenate([given["offsets"][name] for name in graph.nodes])
    return mean, effects @ noise @ effects.T, place


def posterior(covariance, target, visible):
    """Regression coefficients and remaining covariance of the target given the visible columns."""
    weights = np.linalg.pinv(covariance[np.ix_(visible, visible)], hermitian=True, rcond=1e-11)
    weights = covariance[np.ix_(target, visible)] @ weights
    rest = covariance[np.ix_(target, target)] - weights @ covariance[np.ix_(visible, target)]
    return weights, rest
