"""Invertible multi-layer perceptrons."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm.mechanisms.activations import LeakyReLU, SmoothLeakyReLU
from hlvm.mechanisms.base import Mechanism, Params, invertible_noise_size, whole_fields
from hlvm.mechanisms.small_matrices import dot, random_rotations

__all__ = ["InvertibleMLP"]

_ACTIVATIONS = {"leaky_relu": LeakyReLU, "smooth": SmoothLeakyReLU}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertibleMLP(Mechanism):
    """A square multi-layer perceptron with an exact inverse and an exact log-determinant.

    ``value = W_L a(... a(W_1 [parents, noise]))`` with an increasing activation ``a`` that keeps the mean square of its
    input, and weights ``W`` that are orthogonal or have a bounded condition number.

    Attributes:
        layers: number of weight matrices, at least 1 (1: linear).
        slope: slope of the activation for negative input relative to that for positive input, in (0, 1].
        activation: "leaky_relu", smooth almost everywhere; or "smooth", analytic everywhere, which is
            ``a x + b (sqrt(x^2 + 1) - 1)`` with ``a = (1 + slope) / 2`` and ``b = (1 - slope) / 2``. Either is scaled.
        weights: "orthogonal": uniform over the orthogonal group. "bounded": random rotations around singular values
            that are log-uniform over a range of ratio ``condition``, scaled to mean square one.
        condition: bound on the condition number of every weight matrix when ``weights="bounded"``, at least 1.
    """

    invertible: ClassVar[bool] = True
    layers: int = 3
    slope: float = 0.2
    activation: Literal["leaky_relu", "smooth"] = "leaky_relu"
    weights: Literal["orthogonal", "bounded"] = "orthogonal"
    condition: float = 4.0

    def __post_init__(self) -> None:
        whole_fields(self, layers=1)
        if not 0 < self.slope <= 1:
            raise ValueError(f"InvertibleMLP needs a slope in (0, 1] to be invertible, got slope={self.slope}")
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f'InvertibleMLP: activation is "leaky_relu" or "smooth", got {self.activation!r}')
        if self.weights not in ("orthogonal", "bounded"):
            raise ValueError(f'InvertibleMLP: weights are "orthogonal" or "bounded", got {self.weights!r}')
        if not 1 <= self.condition < math.inf:
            raise ValueError(f"InvertibleMLP needs a finite condition of at least 1, got condition={self.condition}")

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The graph's noise dim; the variable's dim must be what a bijection implies."""
        return invertible_noise_size(parent_dim, noise_dim, dim)

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Random weights; bounded ones come with their inverses and the logs of their singular values."""
        key = checked_key(key)
        if self.weights == "orthogonal":
            return {"weights": random_rotations(key, self.layers, dim)}
        keys = dict(zip(("rotations", "singular"), jax.random.split(key), strict=True))
        left, right = random_rotations(keys["rotations"], 2 * self.layers, dim).reshape(2, self.layers, dim, dim)
        half = math.log(self.condition) / 2
        drawn = jax.random.uniform(keys["singular"], (self.layers, dim), minval=-half, maxval=half)
        logs = drawn - 0.5 * jnp.log(jnp.exp(2 * drawn).mean(axis=1, keepdims=True))
        singular = jnp.exp(logs)
        return {
            "weights": dot(left * singular[:, None, :], right),
            "inverses": dot(right.mT / singular[:, None, :], left.mT),
            "log_singular": logs,
        }

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """Mix parents and noise through the layers."""
        return self._forward(params, jnp.concatenate([parents, noise]))[0]

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Parents' values followed by the noise: the inverse of :meth:`apply`.

        Weights drawn in float32 are orthogonal to about 1e-7 only, so each layer's solution is refined once with its
        residual. What is left is rounding in the precision of ``value``.
        """
        for layer in reversed(range(self.layers)):
            if layer < self.layers - 1:
                value = self._activation.invert(value)
            weights = params["weights"][layer]
            inverse = params["inverses"][layer] if "inverses" in params else weights.T
            rough = dot(inverse, value)
            value = rough + dot(inverse, value - dot(weights, rough))
        return value

    def log_det(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, ""]:
        """Sum of the logs of the activations' slopes, and of the singular values of bounded weights."""
        of_slopes = self._forward(params, jnp.concatenate([parents, noise]))[1]
        return of_slopes + params["log_singular"].sum() if "log_singular" in params else of_slopes

    @property
    def _activation(self) -> LeakyReLU | SmoothLeakyReLU:
        return _ACTIVATIONS[self.activation](self.slope)

    def _forward(self, params: Params, value: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """The value, and the sum of the logs of all slopes on the way."""
        log_slopes = jnp.zeros((), value.dtype)
        for layer in range(self.layers):
            value = dot(params["weights"][layer], value)
            if layer < self.layers - 1:
                log_slopes = log_slopes + self._activation.log_slope(value).sum()
                value = self._activation.apply(value)
        return value, log_slopes
