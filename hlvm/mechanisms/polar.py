"""The polar mechanism: invertible, and invisible to squared error."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.mechanisms.base import Mechanism, Params
from hlvm.mechanisms.noises import Gaussian, Laplace, Noise, Uniform

__all__ = ["Polar"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polar(Mechanism):
    """``(c, noise) -> exp(c / 2) (cos 2 pi U, sin 2 pi U)`` with ``U`` the distribution function of the noise.

    Smooth and invertible almost everywhere, yet ``E[value | c] = 0`` for every ``c``: the conditional mean, which is
    all that squared error can learn, says nothing about the parent. Parents and noise are taken in pairs: with ``k``
    parent numbers and ``k`` noise numbers the value is the ``k`` points' first coordinates, then their second ones.

    It is made for one level of a hierarchy. Two on top of each other take an exponential of an exponential, which has
    no variance if what enters at the top is unbounded; a few more overflow.

    Attributes:
        noise: the noise it is made for, :class:`Gaussian`, :class:`Uniform` or :class:`Laplace`.

    References:
        Ours: the counter-example in section 4 of ``docs/theory.md``.
    """

    invertible: ClassVar[bool] = True
    noise: Noise = dataclasses.field(default_factory=Gaussian)

    def __post_init__(self) -> None:
        if not isinstance(self.noise, Gaussian | Uniform | Laplace):
            raise ValueError(f"Polar needs the noise Gaussian(), Uniform() or Laplace(), got {self.noise!r}")

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """One noise number per parent number."""
        if noise_dim != parent_dim or dim != 2 * parent_dim:
            raise ValueError(
                f"Polar turns k parent numbers and k noise numbers into 2 k numbers, but the graph gives {parent_dim} "
                f"parent numbers, noise dim {noise_dim} and dim {dim}: set noise_dims to the parents' dims here"
            )
        return noise_dim

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """It has no parameters."""
        return {}

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """Points at radius ``exp(c / 2)`` and angle ``2 pi U(noise)``.

        All three laws are symmetric. The angle is measured from the nearer end of its range, with the distribution
        function of ``-|noise|``, so that large noises keep their digits.
        """
        radius = jnp.exp(parents / 2)
        angle = 2 * math.pi * self._law.cdf(-jnp.abs(noise))
        return jnp.concatenate([radius * jnp.cos(angle), -jnp.sign(noise) * radius * jnp.sin(angle)])

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Log of the squared radius, and the noise whose angle this is."""
        first, second = jnp.split(value, 2)
        below = jnp.abs(jnp.arctan2(second, first)) / (2 * math.pi)
        return jnp.concatenate([jnp.log(first**2 + second**2), jnp.sign(second) * self._law.quantile(below)])

    def log_det(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, ""]:
        """``log pi + c + log density(noise)`` for every pair."""
        return (math.log(math.pi) + parents + self._law.log_prob(noise)).sum()

    @property
    def default_noise(self) -> Noise:
        """The noise it is made for."""
        return self.noise

    def check_inputs(self, noise: Noise, n_symbols: tuple[int | None, ...]) -> None:
        """Refuse another noise, with which the angle would not be uniform."""
        if noise != self.noise:
            raise ValueError(
                f"Polar is made for {self.noise}, but the model's noise here is {noise}: use Polar(noise={noise})"
            )

    @property
    def _law(self) -> Gaussian | Uniform | Laplace:
        assert isinstance(self.noise, Gaussian | Uniform | Laplace)  # for the type checker: checked when it was made
        return self.noise
