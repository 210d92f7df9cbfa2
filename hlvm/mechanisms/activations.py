"""Increasing activations with a closed-form inverse, for networks that are bijections."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["LeakyReLU", "SmoothLeakyReLU"]

_SQUARED_BEND = 3 - 2 * 1.3545308064813157
"""``E (sqrt(x^2 + 1) - 1)^2`` for standard normal x; the second number is ``E sqrt(x^2 + 1)``."""


@dataclasses.dataclass(frozen=True)
class LeakyReLU:
    """``gain * max(x, slope * x)``, scaled so that it keeps the mean square of symmetric input.

    Attributes:
        slope: slope for negative input before the gain, in (0, 1].
    """

    slope: float

    @property
    def gain(self) -> float:
        """Slope for positive input."""
        return (2 / (1 + self.slope**2)) ** 0.5

    def apply(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The activation of each number."""
        return self.gain * jnp.where(x > 0, x, self.slope * x)

    def invert(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Exact inverse."""
        return jnp.where(y > 0, y, y / self.slope) / self.gain

    def log_slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log of the derivative at ``x``."""
        return math.log(self.gain) + jnp.where(x > 0, 0.0, math.log(self.slope))


@dataclasses.dataclass(frozen=True)
class SmoothLeakyReLU:
    """``gain * (a x + b (sqrt(x^2 + 1) - 1))`` with ``a = (1 + slope) / 2`` and ``b = (1 - slope) / 2``.

    Its slope rises smoothly from ``slope`` to one, times the gain, which keeps the mean square of standard normal
    input. It is analytic, so a network of it is smooth both ways; its inverse solves a quadratic equation.

    Attributes:
        slope: slope far to the left before the gain, in (0, 1].
    """

    slope: float

    @property
    def gain(self) -> float:
        """Slope far to the right."""
        a, b = self._parts
        return (a**2 + _SQUARED_BEND * b**2) ** -0.5

    def apply(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The activation of each number."""
        a, b = self._parts
        return self.gain * (a * x + b * (jnp.sqrt(x**2 + 1) - 1))

    def invert(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Exact inverse."""
        a, b = self._parts
        y = y / self.gain + b
        return (a * y - b * jnp.sqrt(y**2 + self.slope)) / self.slope

    def log_slope(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log of the derivative at ``x``."""
        a, b = self._parts
        return jnp.log(self.gain * (a + b * x / jnp.sqrt(x**2 + 1)))

    @property
    def _parts(self) -> tuple[float, float]:
        return (1 + self.slope) / 2, (1 - self.slope) / 2
