"""The simulator again, one variable after the other in float64 NumPy: the oracle of its tests. And a graph for them."""

import jax
import numpy as np

from hlvm.graph import LatentGraph
from hlvm.mechanisms import (
    AdditiveNoiseMLP,
    Categorical,
    Heteroscedastic,
    InvertibleMLP,
    Laplace,
    LinearGaussian,
    PostNonlinear,
    StudentT,
    Uniform,
)

FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}  # a float32 program against a float64 loop, a few levels deep
KEY_MODEL, KEY_DATA = jax.random.split(jax.random.key(7))

DIAMOND = LatentGraph.from_edges(
    [("a", "m"), ("b", "m"), ("m", "x"), ("b", "x"), ("m", "y"), ("a", "z"), ("b", "z")],
    noise_dims={"a": 2, "b": 1, "m": 1, "x": 2, "y": 0, "z": 1},
)
"""Two roots, a latent and two observed variables with two parents each."""

MIXED = {
    "m": InvertibleMLP(),
    "x": LinearGaussian(snr=2.0),
    "y": AdditiveNoiseMLP(hidden=5),
    "z": InvertibleMLP(layers=2),
}

NOISES = {"a": Uniform(), "b": Categorical(n=3), "x": Laplace(), "z": StudentT(df=6.0)}
"""Laws of the noises of some variables, roots among them."""


def own_parameters(model, name):
    """A variable's parameters, shift and scale as float64 arrays."""
    node = model.graph.index[name]
    group, params = next((g, p) for g, p in zip(model.layout.groups, model.params, strict=True) if node in g.nodes)
    row = group.nodes.index(node)
    place = model.layout.value_slices[name]
    return (
        {key: np.asarray(value[row], dtype=np.float64) for key, value in params.items()},
        np.asarray(model.shift[place], dtype=np.float64),
        np.asarray(model.scale[place], dtype=np.float64),
    )


def network(params, parents, prefix=""):
    """The two-layer perceptron of the noisy mechanisms."""
    hidden = np.tanh(parents @ params[f"{prefix}inner"].T + params[f"{prefix}bias"])
    return hidden @ params[f"{prefix}outer"].T


def plain_function(mechanism, params, parents, noise):
    """A mechanism for all samples at once."""
    match mechanism:
        case InvertibleMLP(layers=layers, slope=slope, activation="leaky_relu"):
            value = np.concatenate([parents, noise], axis=1)
            for layer in range(layers):
                value = value @ params["weights"][layer].T
                if layer < layers - 1:
                    value = np.sqrt(2 / (1 + slope**2)) * np.where(value > 0, value, slope * value)
            return value
        case LinearGaussian():
            return parents @ params["matrix"].T + noise * params["scale"]
        case AdditiveNoiseMLP(noise_scale=noise_scale):
            return network(params, parents) + noise_scale * noise
        case Heteroscedastic(noise_scale=noise_scale, spread=spread):
            log_scale = np.log(noise_scale) + spread * np.tanh(network(params, parents, "log_scale_"))
            return network(params, parents, "mean_") + np.exp(log_scale) * noise
        case PostNonlinear(noise_scale=noise_scale):
            inner = network(params, parents) + noise_scale * noise
            return np.sinh(params["tail"] * np.arcsinh(inner) - params["skew"])


def plain_values(model, noise, do=None):
    """Every variable from its parents and the given noise, unless ``do`` says what it is or how it arises."""
    values = {}
    for name, mechanism in zip(model.graph.nodes, model.layout.mechanisms, strict=True):
        own = np.asarray(noise[name], dtype=np.float64)
        parents = {parent: values[parent] for parent in model.graph.parents(name)}
        if name in (do or {}):
            given = do[name]
            found = given(parents, own) if callable(given) else np.asarray(given, dtype=np.float64)
            values[name] = np.broadcast_to(found, (len(own), model.graph.dim(name)))
            continue
        params, shift, scale = own_parameters(model, name)
        joined = np.concatenate(list(parents.values()), axis=1) if parents else None
        raw = own if joined is None else plain_function(mechanism, params, joined, own)
        values[name] = (raw - shift) / scale
    return values
