"""Base of all mechanisms: their offer to the simulator."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm._numbers import whole_number
from hlvm.mechanisms.noises import Gaussian, Noise
from hlvm.mechanisms.small_matrices import log_abs_det

__all__ = ["Mechanism", "NoisyMechanism", "Params", "invertible_noise_size", "positive_number", "whole_fields"]

Params = dict[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mechanism(abc.ABC):
    """Everything the simulator needs to know of a structural function ``v = g(Pa(v), noise)``.

    Subclasses are frozen dataclasses of plain numbers and strings, so that they can be compared, hashed and saved. All
    functions are written for *one* sample of *one* variable. Only the first three have to be written; an invertible
    mechanism adds :meth:`invert`, one whose value has a density given its parents adds :meth:`noise_of`.

    Attributes:
        invertible: whether ``(parents, noise) <-> value`` is a bijection.
    """

    invertible: ClassVar[bool]

    # ------------------------------------------------------------------ to be written

    @abc.abstractmethod
    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """Number of noise numbers that one call consumes.

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
            noise: the noise numbers that enter here.
        """

    # ------------------------------------------------------------------ for some mechanisms

    @property
    def explicit_noise(self) -> bool:
        """Whether, with the parents given, ``noise <-> value`` is a bijection, and :meth:`noise_of` is its inverse.

        The value then has a density given its parents.
        """
        return False

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, " d"]:
        """Parents' values followed by the noise: the inverse of :meth:`apply`.

        Raises:
            NotImplementedError: this mechanism is not invertible.
        """
        raise NotImplementedError(f"{type(self).__name__} is not invertible")

    def log_det(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, ""]:
        """``log |det|`` of the derivative of the value by parents and noise, for an invertible mechanism.

        This default differentiates :meth:`apply`; subclasses have closed forms.
        """
        at = parents.shape[0]

        def of_inputs(inputs: Array) -> Array:
            return self.apply(params, inputs[:at], inputs[at:])

        return log_abs_det(jax.jacfwd(of_inputs)(jnp.concatenate([parents, noise])))

    def noise_of(
        self, params: Params, parents: Float[Array, " p"], value: Float[Array, " d"]
    ) -> tuple[Float[Array, " e"], Float[Array, ""]]:
        """The noise that gives this value with these parents, for a mechanism with ``explicit_noise``.

        Returns:
            The noise, and ``log |det|`` of the derivative of the value by the noise there; plus infinity for a value
            that no noise gives.

        Raises:
            NotImplementedError: the value has no density given its parents.
        """
        raise NotImplementedError(f"the value of {type(self).__name__} has no density given its parents")

    # ------------------------------------------------------------------ how it fits into a model

    @property
    def default_noise(self) -> Noise:
        """The noise a model uses here unless it is told otherwise."""
        return Gaussian()

    @property
    def n_symbols(self) -> int | None:
        """For values that are symbols, how many there are: whole numbers from zero, never standardised."""
        return None

    @property
    def key_scope(self) -> Literal["variable", "siblings", "level"]:
        """Variables that draw their parameters from one and the same key.

        "variable": each from its own. "siblings": those with the same parents. "level": those of the same depth.
        """
        return "variable"

    def check_inputs(self, noise: Noise, n_symbols: tuple[int | None, ...]) -> None:  # noqa: B027  # most accept all
        """Refuse a noise or parents that this mechanism cannot work with.

        Args:
            noise: the law of this variable's noise.
            n_symbols: for each number of the parents, how many symbols it can be; ``None`` for a real number.

        Raises:
            ValueError: they do not fit.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoisyMechanism(Mechanism):
    """A mechanism in each of whose dims one noise number enters, which can be computed from value and parents."""

    invertible: ClassVar[bool] = False

    @property
    def explicit_noise(self) -> bool:
        """The noise can be computed from value and parents."""
        return True

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """One noise number per dim, whatever the graph's noise dim is."""
        return dim


def invertible_noise_size(parent_dim: int, noise_dim: int, dim: int) -> int:
    """The graph's noise dim; refused where the variable's dim is not what a bijection implies."""
    if dim != parent_dim + noise_dim:
        raise ValueError(
            f"an invertible mechanism needs dim = parents' dims + noise dim = {parent_dim} + {noise_dim}, "
            f"but the graph gives dim {dim}: leave the graph's dims=None, or use a mechanism that is not invertible"
        )
    return noise_dim


def positive_number(owner: Any, field: str) -> None:
    """Refuse a field that is not a finite, positive number."""
    value = getattr(owner, field)
    if not 0 < value < float("inf"):
        raise ValueError(f"{type(owner).__name__} needs a finite, positive {field}, got {value}")


def whole_fields(owner: Any, **least: int) -> None:
    """Keep fields as ``int``; refuse one that is not a whole number of at least so much."""
    for field, minimum in least.items():
        checked = whole_number(getattr(owner, field), field, minimum=minimum, of=type(owner).__name__)
        object.__setattr__(owner, field, checked)
