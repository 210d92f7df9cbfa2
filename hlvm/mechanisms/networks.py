"""The small smooth networks inside the noisy mechanisms, and drawing many arrays at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.mechanisms.small_matrices import dot

__all__ = ["draw_gaussians", "draw_network", "network"]


def draw_gaussians(key: PRNGKeyArray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Standard normal arrays by name, cut from one flat draw, which compiles faster than one draw each."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    flat = jax.random.normal(key, (sum(sizes.values()),))
    found: dict[str, Array] = {}
    start = 0
    for name, shape in shapes.items():
        found[name] = flat[start : start + sizes[name]].reshape(shape)
        start += sizes[name]
    return found


def draw_network(key: PRNGKeyArray, inputs: int, hidden: int, outputs: int) -> dict[str, Array]:
    """Weights of :func:`network` that keep the variance of unit-variance inputs roughly at one."""
    drawn = draw_gaussians(key, {"inner": (hidden, inputs), "bias": (hidden,), "outer": (outputs, hidden)})
    return {
        "inner": 1.5 * drawn["inner"] / max(inputs, 1) ** 0.5,
        "bias": 0.5 * drawn["bias"],
        "outer": 1.5 * drawn["outer"] / hidden**0.5,
    }


def network(params: Mapping[str, Array], inputs: Float[Array, " p"]) -> Float[Array, " d"]:
    """A smooth two-layer perceptron: ``outer @ tanh(inner @ inputs + bias)``."""
    return dot(params["outer"], jnp.tanh(dot(params["inner"], inputs) + params["bias"]))
