"""Structural functions: how a variable arises from its parents and its own noise.

A mechanism is a small frozen description with three pure functions, written for *one* sample of *one* variable; the
simulator batches them over samples and over the variables of a level. Roots need no mechanism: a root is its own noise.

Two regimes are kept apart (section 1 of ``docs/theory.md``): in an *invertible* mechanism
``(parents, noise) <-> value`` is a bijection; in a *noisy* one the parents are only partly recoverable from the value.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

__all__ = ["AdditiveNoiseMLP", "InvertibleMLP", "LinearGaussian", "Mechanism", "Params"]

Params = dict[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mechanism(abc.ABC):
    """What the simulator needs to know of a structural function ``v = g(Pa(v), noise)``.

    Subclasses are frozen dataclasses of plain numbers and strings, so that they can be compared, hashed and saved.

    Attributes:
        invertible: whether ``(parents, noise) <-> value`` is a bijection.
    """

    invertible: ClassVar[bool]

    @abc.abstractmethod
    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """How many standard normal numbers one call consumes.

        Args:
            parent_dim: total dims of the parents.
            noise_dim: the graph's noise dim at this variable.
            dim: dim of the variable.

        Raises:
            ValueError: no function of this kind has these dims.
        """

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Draw the parameters for one variable: a dictionary of arrays."""

    @abc.abstractmethod
    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """The variable's value for one sample.

        Args:
            params: what :meth:`init` returned.
            parents: the parents' values, concatenated in the graph's order.
            noise: standard normal numbers.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertibleMLP(Mechanism):
    """A square multi-layer perceptron with orthogonal weights: smooth almost everywhere, with an exact inverse.

    ``value = W_L a(... a(W_1 [parents, noise]))`` with orthogonal ``W`` and a leaky ReLU ``a`` scaled so that it keeps
    the mean square of symmetric input.

    Attributes:
        layers: number of weight matrices, at least 1 (1: linear).
        slope: slope of the leaky ReLU for negative input, in (0, 1].
    """

    invertible: ClassVar[bool] = True
    layers: int = 3
    slope: float = 0.2

    def __post_init__(self) -> None:
        if not isinstance(self.layers, int) or self.layers < 1:
            raise ValueError(f"InvertibleMLP needs at least one layer, got layers={self.layers!r}")
        if not 0 < self.slope <= 1:
            raise ValueError(f"InvertibleMLP needs a slope in (0, 1] to be invertible, got slope={self.slope}")

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The graph's noise dim; the variable's dim must be what a bijection implies."""
        if dim != parent_dim + noise_dim:
            raise ValueError(
                f"an invertible mechanism needs dim = parents' dims + noise dim = {parent_dim} + {noise_dim}, "
                f"but the graph gives dim {dim}: leave the graph's dims=None, or use a mechanism that is not invertible"
            )
        return noise_dim

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Random rotations, uniform over the orthogonal group: Q of Gaussian matrices whose R has a positive diagonal.

        Drawn flat and reshaped, which compiles much faster than a draw with four axes.
        """
        gaussian = jax.random.normal(key, (self.layers * dim * dim,)).reshape(self.layers, dim, dim)
        q, r = jnp.linalg.qr(gaussian)
        return {"weights": q * jnp.sign(jnp.diagonal(r, axis1=-2, axis2=-1))[..., None, :]}

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """Mix parents and noise through the layers."""
        value = jnp.concatenate([parents, noise])
        for layer in range(self.layers):
            value = params["weights"][layer] @ value
            if layer < self.layers - 1:
                value = self._gain * jnp.where(value > 0, value, self.slope * value)
        return value

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Parents' values followed by the noise: the exact inverse of :meth:`apply`."""
        for layer in reversed(range(self.layers)):
            if layer < self.layers - 1:
                value = jnp.where(value > 0, value, value / self.slope) / self._gain
            value = params["weights"][layer].T @ value
        return value

    @property
    def _gain(self) -> float:
        return (2 / (1 + self.slope**2)) ** 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearGaussian(Mechanism):
    """``value = signal * A parents + scale * noise`` with Gaussian noise in every dim.

    ``A`` has rows of unit length, so that for uncorrelated parents of unit variance signal and noise have the
    variances whose ratio is ``snr``, and the value has unit variance.

    Attributes:
        snr: signal-to-noise ratio, variance explained by the parents over variance of the noise; positive.
    """

    invertible: ClassVar[bool] = False
    snr: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.snr < float("inf"):
            raise ValueError(f"LinearGaussian needs a finite, positive signal-to-noise ratio, got snr={self.snr}")

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """One noise number per dim, whatever the graph's noise dim is."""
        return dim

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Random directions for the rows of ``A``; ``matrix`` and ``scale`` already hold the two factors."""
        rows = jax.random.normal(key, (dim, parent_dim))
        rows = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
        signal, scale = (self.snr / (1 + self.snr)) ** 0.5, (1 / (1 + self.snr)) ** 0.5
        return {"matrix": signal * rows, "scale": jnp.full((dim,), scale)}

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """A linear map of the parents plus independent noise."""
        return params["matrix"] @ parents + params["scale"] * noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdditiveNoiseMLP(Mechanism):
    """``value = f(parents) + noise_scale * noise`` with a smooth two-layer perceptron ``f``.

    Attributes:
        hidden: hidden units of ``f``, at least 1.
        noise_scale: standard deviation of the noise relative to ``f``, at least 0; a model that standardises its
            values rescales both.
    """

    invertible: ClassVar[bool] = False
    hidden: int = 16
    noise_scale: float = 0.3

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, int) or self.hidden < 1:
            raise ValueError(f"AdditiveNoiseMLP needs at least one hidden unit, got hidden={self.hidden!r}")
        if not 0 <= self.noise_scale < float("inf"):
            raise ValueError(f"AdditiveNoiseMLP needs a finite noise_scale of at least 0, got {self.noise_scale}")

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """One noise number per dim, whatever the graph's noise dim is."""
        return dim

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Gaussian weights that keep the variance of unit-variance parents roughly at one."""
        keys = dict(zip(("inner", "bias", "outer"), jax.random.split(key, 3), strict=True))
        return {
            "inner": 1.5 * jax.random.normal(keys["inner"], (self.hidden, parent_dim)) / parent_dim**0.5,
            "bias": 0.5 * jax.random.normal(keys["bias"], (self.hidden,)),
            "outer": 1.5 * jax.random.normal(keys["outer"], (dim, self.hidden)) / self.hidden**0.5,
        }

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, " d"]:
        """A smooth function of the parents plus independent noise."""
        return params["outer"] @ jnp.tanh(params["inner"] @ parents + params["bias"]) + self.noise_scale * noise


_BUILT_IN: dict[str, type[Mechanism]] = {cls.__name__: cls for cls in (AdditiveNoiseMLP, InvertibleMLP, LinearGaussian)}


def mechanism_to_dict(mechanism: Mechanism) -> dict[str, Any]:
    """A JSON-ready description: the class name and the fields."""
    return {"kind": type(mechanism).__name__, **dataclasses.asdict(mechanism)}


def mechanism_from_dict(data: dict[str, Any], known: dict[str, type[Mechanism]] | None = None) -> Mechanism:
    """Rebuild a mechanism from :func:`mechanism_to_dict`.

    Args:
        data: the description.
        known: further mechanism classes by name, for those a user wrote.

    Raises:
        ValueError: the kind is unknown, or the fields do not fit it.
    """
    classes = {**_BUILT_IN, **(known or {})}
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind not in classes:
        raise ValueError(f"unknown mechanism {kind!r}; known: {sorted(classes)} (pass your own classes as `known`)")
    try:
        return classes[kind](**fields)
    except TypeError as error:
        raise ValueError(f"mechanism {kind}: {error}") from None
