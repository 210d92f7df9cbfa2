"""Smooth functions with additive noise."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm.mechanisms.base import NoisyMechanism, Params, whole_fields
from hlvm.mechanisms.networks import network

__all__ = ["AdditiveNoiseMLP"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdditiveNoiseMLP(NoisyMechanism):
    """``value = f(parents) + noise_scale * noise`` with a smooth two-layer perceptron ``f``.

    Attributes:
        hidden: hidden units of ``f``, at least 1.
        noise_scale: standard deviation of the noise relative to ``f``, at least 0; a model that standardises its
            values rescales both. At 0 the value has no density given its parents.
    """

    hidden: int = 16
    noise_scale: float = 0.3

    def __post_init__(self) -> None:
        whole_fields(self, hidden=1)
        if not 0 <= self.noise_scale < float("inf"):
            raise ValueError(f"AdditiveNoiseMLP needs a finite noise_scale of at least 0, got {self.noise_scale}")

    @property
    def explicit_noise(self) -> bool:
        """Unless there is no noise."""
        return self.noise_scale > 0

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Gaussian weights that keep the variance of unit-variance parents roughly at one."""
        keys = dict(zip(("inner", "bias", "outer"), jax.random.split(checked_key(key), 3), strict=True))
        return {
            "inner": 1.5 * jax.random.normal(keys["inner"], (self.hidden, parent_dim)) / parent_dim**0.5,
            "bias": 0.5 * jax.random.normal(keys["bias"], (self.hidden,)),
            "outer": 1.5 * jax.random.normal(keys["outer"], (dim, self.hidden)) / self.hidden**0.5,
        }

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """A smooth function of the parents plus independent noise."""
        return network(params, parents) + self.noise_scale * noise

    def noise_of(
        self, params: Params, parents: Float[Array, " p"], value: Float[Array, " d"]
    ) -> tuple[Float[Array, " e"], Float[Array, ""]]:
        """The rest of the value when ``f`` is taken away, over the noise scale.

        Raises:
            NotImplementedError: the noise scale is 0.
        """
        if not self.noise_scale:
            raise NotImplementedError("with noise_scale=0 the value is a function of its parents and has no density")
        numbers = (value - network(params, parents)) / self.noise_scale
        return numbers, jnp.asarray(value.shape[0] * math.log(self.noise_scale), value.dtype)
