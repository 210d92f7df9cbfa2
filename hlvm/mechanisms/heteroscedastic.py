"""Smooth functions whose noise has a size that depends on the parents."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm.mechanisms.base import NoisyMechanism, Params, positive_number, whole_fields
from hlvm.mechanisms.networks import draw_network, network

__all__ = ["Heteroscedastic"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heteroscedastic(NoisyMechanism):
    """``value = f(parents) + exp(s(parents)) * noise`` with smooth two-layer perceptrons ``f`` and ``s``.

    The log-scale ``s`` stays within ``spread`` of ``log(noise_scale)``.

    Attributes:
        hidden: hidden units of each perceptron, at least 1.
        noise_scale: geometric middle of the noise's standard deviation, positive.
        spread: bound on how far the log of that deviation moves, positive.
    """

    hidden: int = 16
    noise_scale: float = 0.3
    spread: float = 1.0

    def __post_init__(self) -> None:
        whole_fields(self, hidden=1)
        positive_number(self, "noise_scale")
        positive_number(self, "spread")

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Gaussian weights of both perceptrons."""
        keys = dict(zip(("mean", "log_scale"), jax.random.split(checked_key(key)), strict=True))
        return {
            f"{part}_{name}": array
            for part, own in keys.items()
            for name, array in draw_network(own, parent_dim, self.hidden, dim).items()
        }

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """A smooth function of the parents plus noise of a size that the parents set."""
        mean, log_scale = self._moments(params, parents)
        return mean + jnp.exp(log_scale) * noise

    def noise_of(
        self, params: Params, parents: Float[Array, " p"], value: Float[Array, " d"]
    ) -> tuple[Float[Array, " e"], Float[Array, ""]]:
        """The rest of the value when ``f`` is taken away, over the noise's size."""
        mean, log_scale = self._moments(params, parents)
        return (value - mean) * jnp.exp(-log_scale), log_scale.sum()

    def _moments(self, params: Params, parents: Float[Array, " p"]) -> tuple[Float[Array, " d"], Float[Array, " d"]]:
        """Conditional location and log-scale."""
        mean, log_scale = (
            network({name: params[f"{part}_{name}"] for name in ("inner", "bias", "outer")}, parents)
            for part in ("mean", "log_scale")
        )
        return mean, math.log(self.noise_scale) + self.spread * jnp.tanh(log_scale)
