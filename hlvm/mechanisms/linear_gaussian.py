"""Linear functions with independent noise."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm.mechanisms.base import NoisyMechanism, Params
from hlvm.mechanisms.small_matrices import dot

__all__ = ["LinearGaussian"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearGaussian(NoisyMechanism):
    """``value = signal * A parents + scale * noise`` with noise in every dim, Gaussian unless the model says otherwise.

    ``A`` has rows of unit length, so that for uncorrelated parents of unit variance signal and noise have the
    variances whose ratio is ``snr``, and the value has unit variance.

    Attributes:
        snr: signal-to-noise ratio, variance explained by the parents over variance of the noise; positive.
    """

    snr: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.snr < float("inf"):
            raise ValueError(f"LinearGaussian needs a finite, positive signal-to-noise ratio, got snr={self.snr}")

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Random directions for the rows of ``A``; ``matrix`` and ``scale`` already hold the two factors."""
        rows = jax.random.normal(checked_key(key), (dim, parent_dim))
        rows = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
        signal, scale = (self.snr / (1 + self.snr)) ** 0.5, (1 / (1 + self.snr)) ** 0.5
        return {"matrix": signal * rows, "scale": jnp.full((dim,), scale)}

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """A linear map of the parents plus independent noise."""
        return dot(params["matrix"], parents) + params["scale"] * noise

    def noise_of(
        self, params: Params, parents: Float[Array, " p"], value: Float[Array, " d"]
    ) -> tuple[Float[Array, " e"], Float[Array, ""]]:
        """The rest of the value when the parents' part is taken away."""
        return (value - dot(params["matrix"], parents)) / params["scale"], jnp.log(params["scale"]).sum()
