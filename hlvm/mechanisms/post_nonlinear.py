"""Additive noise seen through a monotone distortion."""

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

__all__ = ["PostNonlinear"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PostNonlinear(NoisyMechanism):
    """``value = h(f(parents) + noise_scale * noise)`` with a smooth perceptron ``f`` and an increasing ``h`` per dim.

    ``h(u) = sinh(tail * arcsinh(u) - skew)``: ``skew`` bends it to one side, ``tail`` above one makes large values
    larger, below one smaller. It is smooth both ways.

    Attributes:
        hidden: hidden units of ``f``, at least 1.
        noise_scale: standard deviation of the noise relative to ``f``, positive.
        tail: each dim's tail is log-uniform in [1 / tail, tail]; at least 1.
        skew: each dim's skew is uniform in [-skew, skew]; at least 0.

    References:
        The model is that of :cite:t:`zhang2009postnonlinear`, the form of ``h`` the sinh-arcsinh transformation of
        :cite:t:`jones2009sinh`.
    """

    hidden: int = 16
    noise_scale: float = 0.3
    tail: float = 1.5
    skew: float = 0.5

    def __post_init__(self) -> None:
        whole_fields(self, hidden=1)
        positive_number(self, "noise_scale")
        if not 1 <= self.tail < math.inf:
            raise ValueError(f"PostNonlinear needs a finite tail of at least 1, got tail={self.tail}")
        if not 0 <= self.skew < math.inf:
            raise ValueError(f"PostNonlinear needs a finite skew of at least 0, got skew={self.skew}")

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Gaussian weights of ``f``; tails and skews."""
        keys = dict(zip(("network", "distortion"), jax.random.split(checked_key(key)), strict=True))
        tail, skew = jax.random.uniform(keys["distortion"], (2 * dim,), minval=-1.0).reshape(2, dim)
        return {
            **draw_network(keys["network"], parent_dim, self.hidden, dim),
            "tail": jnp.exp(math.log(self.tail) * tail),
            "skew": self.skew * skew,
        }

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """A distorted sum of a function of the parents and noise."""
        inner = network(params, parents) + self.noise_scale * noise
        return jnp.sinh(params["tail"] * jnp.arcsinh(inner) - params["skew"])

    def noise_of(
        self, params: Params, parents: Float[Array, " p"], value: Float[Array, " d"]
    ) -> tuple[Float[Array, " e"], Float[Array, ""]]:
        """Undo ``h``, then take ``f`` away."""
        bent = jnp.arcsinh(value)  # tail * arcsinh(inner) - skew
        inner = jnp.sinh((bent + params["skew"]) / params["tail"])
        log_slope = jnp.log(params["tail"]) + 0.5 * jnp.log1p(value**2) - 0.5 * jnp.log1p(inner**2)
        numbers = (inner - network(params, parents)) / self.noise_scale
        return numbers, (log_slope + math.log(self.noise_scale)).sum()
