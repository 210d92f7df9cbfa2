"""Mechanisms that leave the invertible regime by degrees, and one more that squared error cannot see."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.mechanisms import InvertibleMLP, Mechanism, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noisy(Mechanism):
    """``InvertibleMLP(parents, noise) + level * noise'``: invertible at level 0 only.

    Attributes:
        level: standard deviation of the added noise; that of the value without it is about 1. At least 0.
    """

    invertible: ClassVar[bool] = False
    level: float

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The noise inside, then one number per dim."""
        return InvertibleMLP().noise_size(parent_dim, noise_dim, dim) + dim

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """The weights inside."""
        return InvertibleMLP().init(key, parent_dim, noise_size - dim, dim)

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """The invertible value plus noise."""
        dim = params["weights"].shape[-1]
        return InvertibleMLP().apply(params, parents, noise[:-dim]) + self.level * noise[-dim:]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folded(Mechanism):
    """``InvertibleMLP(fold(parents), noise)``: the parents are bent towards their absolute values first.

    Attributes:
        level: see :func:`fold`; the mechanism is invertible below 1/2 only.
    """

    invertible: ClassVar[bool] = False
    level: float

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The graph's noise dim."""
        return InvertibleMLP().noise_size(parent_dim, noise_dim, dim)

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """The weights inside."""
        return InvertibleMLP().init(key, parent_dim, noise_size, dim)

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """The invertible value of folded parents."""
        return InvertibleMLP().apply(params, fold(parents, self.level), noise)


def fold(values: Any, level: float) -> Any:
    """``(1 - level) u + level |u|`` of each number: ``u`` at level 0, its positive part at 1/2, ``|u|`` at 1."""
    return (1 - level) * values + level * abs(values)


def best_r2_of_fold(level: float) -> float:
    """R² of the best guess of a standard normal number from its :func:`fold`, by numerical integration.

    Up to 1/2 exclusive the number is a function of its fold. Beyond, a fold ``v`` comes from ``v`` or from ``-v / s``
    with ``s = 2 level - 1``, and the best guess weighs them by their densities. At 1/2 all that is left of a negative
    number is its sign.

    Args:
        level: 0 to 1.
    """
    if level < 0.5:
        return 1.0
    slope = 2 * level - 1
    if slope == 0:
        return 0.5 + 1 / math.pi  # E[u^2; u > 0] + P(u < 0) E[u | u < 0]^2
    v = np.linspace(0, 12, 240_001)[1:]
    weights = np.exp(-(v**2) / 2), np.exp(-((v / slope) ** 2) / 2) / slope
    guess = v * (weights[0] - weights[1] / slope) / np.maximum(weights[0] + weights[1], 1e-300)
    density = (weights[0] + weights[1]) / math.sqrt(2 * math.pi)
    return float(np.trapezoid(guess**2 * density, v))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperbolic(Mechanism):
    """``(c, noise) -> (noise e^{c/2}, noise e^{-c/2})``: points on a line through 0 whose slope tells the parent.

    Smooth, and invertible where the noise is not 0; yet ``E[value | c] = 0`` for every ``c``. As with
    :class:`~hlvm.mechanisms.Polar`, ``k`` parent numbers and ``k`` noise numbers become ``k`` first coordinates, then
    ``k`` second ones. Where Polar hides the parent in the radius, this one hides it in the direction.
    """

    invertible: ClassVar[bool] = True

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """One noise number per parent number."""
        if noise_dim != parent_dim or dim != 2 * parent_dim:
            raise ValueError(
                f"Hyperbolic turns k parent numbers and k noise numbers into 2 k numbers, but the graph gives "
                f"{parent_dim} parent numbers, noise dim {noise_dim} and dim {dim}: set noise_dims to the parents' dims"
            )
        return noise_dim

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """It has no parameters."""
        return {}

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """Points on lines."""
        return jnp.concatenate([noise * jnp.exp(parents / 2), noise * jnp.exp(-parents / 2)])

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """The log of the ratio of the coordinates, and their geometric mean with its sign."""
        first, second = jnp.split(value, 2)
        return jnp.concatenate([jnp.log(first / second), jnp.sign(first) * jnp.sqrt(first * second)])
