"""Invertible coupling layers."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm.mechanisms.base import Mechanism, Params, invertible_noise_size, positive_number, whole_fields
from hlvm.mechanisms.networks import draw_gaussians
from hlvm.mechanisms.small_matrices import dot

__all__ = ["Coupling"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coupling(Mechanism):
    """Affine coupling layers: one half of the numbers scales and shifts the other half, then the halves swap.

    Parents and noise are shuffled once by a random permutation and cut in two. Each layer computes
    ``b -> b * exp(s(a)) + t(a)`` with ``s`` and ``t`` from a small network of the other half ``a`` and
    ``|s| <= bound``. It is smooth both ways; inverse and determinant need no inverse of the networks. A value of one
    number has no other half: ``s`` and ``t`` are then random constants, and the mechanism is affine.

    Attributes:
        layers: number of layers, at least 1; from 2 on every number is transformed.
        hidden: hidden units of each layer's network, at least 1.
        bound: bound on the log-scales, positive.

    References:
        :cite:t:`dinh2017realnvp`. Theirs is a trained flow with batch normalisation; here the networks are random, with
        one tanh layer, and the log-scales are bounded by a second tanh.
    """

    invertible: ClassVar[bool] = True
    layers: int = 4
    hidden: int = 16
    bound: float = 0.5

    def __post_init__(self) -> None:
        whole_fields(self, layers=1, hidden=1)
        positive_number(self, "bound")

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The graph's noise dim; the variable's dim must be what a bijection implies."""
        return invertible_noise_size(parent_dim, noise_dim, dim)

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Gaussian weights, and the permutation with its inverse."""
        keys = dict(zip(("order", "networks"), jax.random.split(checked_key(key)), strict=True))
        sizes = dim // 2, dim - dim // 2
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            given, changed = sizes[layer % 2], sizes[(layer + 1) % 2]
            shapes |= {
                f"inner_{layer}": (self.hidden, given),
                f"bias_{layer}": (self.hidden,),
                f"outer_{layer}": (2 * changed, self.hidden),
            }
        spreads = {"inner": max(dim // 2, 1) ** -0.5, "bias": 0.5, "outer": self.hidden**-0.5}
        drawn = draw_gaussians(keys["networks"], shapes)
        params = {name: spreads[name.split("_")[0]] * array for name, array in drawn.items()}
        # The ranks of uniform numbers by comparing all pairs: sorting them would take longer to compile.
        uniform, places = jax.random.uniform(keys["order"], (dim,)), jnp.arange(dim)
        order = (uniform[:, None] > uniform[None, :]).sum(axis=1)
        back = jnp.where(order[None, :] == places[:, None], places, 0).sum(axis=1)
        return {**params, "order": order, "back": back}

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """Pass parents and noise through the layers."""
        return self._forward(params, parents, noise)[0]

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Parents' values followed by the noise: the exact inverse of :meth:`apply`."""
        halves = self._halves(value)
        for layer in reversed(range(self.layers)):
            log_scale, shift = self._network(params, layer, halves[layer % 2])
            changed = (layer + 1) % 2
            halves[changed] = (halves[changed] - shift) * jnp.exp(-log_scale)
        return jnp.concatenate(halves)[params["back"]]

    def log_det(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, ""]:
        """Sum of all log-scales."""
        return self._forward(params, parents, noise)[1]

    @staticmethod
    def _halves(value: Float[Array, " d"]) -> list[Array]:
        """The two halves; even layers read the first and change the second, odd layers the other way round."""
        return [value[: value.shape[0] // 2], value[value.shape[0] // 2 :]]

    def _network(self, params: Params, layer: int, given: Float[Array, " a"]) -> tuple[Array, Array]:
        """Log-scale and shift of the half that a layer changes."""
        hidden = jnp.tanh(dot(params[f"inner_{layer}"], given) + params[f"bias_{layer}"])
        log_scale, shift = jnp.split(dot(params[f"outer_{layer}"], hidden), 2)
        return self.bound * jnp.tanh(log_scale), shift

    def _forward(
        self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]
    ) -> tuple[Float[Array, " d"], Float[Array, ""]]:
        """The value, and the sum of the log-scales."""
        halves = self._halves(jnp.concatenate([parents, noise])[params["order"]])
        total = jnp.zeros((), halves[1].dtype)
        for layer in range(self.layers):
            log_scale, shift = self._network(params, layer, halves[layer % 2])
            changed = (layer + 1) % 2
            halves[changed] = halves[changed] * jnp.exp(log_scale) + shift
            total = total + log_scale.sum()
        return jnp.concatenate(halves), total
