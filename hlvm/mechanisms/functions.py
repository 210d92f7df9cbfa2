"""Mechanisms from a user's own functions; made by :func:`mechanism_from_function`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from jaxtyping import Array, Float, PRNGKeyArray

from hlvm._keys import checked_key
from hlvm.mechanisms.base import Mechanism, Params, invertible_noise_size

__all__ = ["FunctionMechanism", "InvertibleFunctionMechanism", "mechanism_from_function"]

_Initialize = Callable[[PRNGKeyArray, int, int, int], Params]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FunctionMechanism(Mechanism):
    """A user's function; see :func:`mechanism_from_function`.

    Attributes:
        function: ``(parents, noise) -> value``, with the parameters first if there is an ``initialize``.
        initialize: draws the parameters; ``None``: there are none.
        size: noise numbers it consumes; ``None``: the graph's noise dim.
        name: the name in saved models.
    """

    invertible: ClassVar[bool] = False
    function: Callable[..., Array]
    initialize: _Initialize | None = None
    size: int | None = None
    name: str | None = None

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The user's number, or the graph's noise dim."""
        return noise_dim if self.size is None else self.size

    def init(self, key: Any, parent_dim: int, noise_size: int, dim: int) -> Params:
        """Parameters that the user's function draws, or none."""
        return {} if self.initialize is None else self.initialize(checked_key(key), parent_dim, noise_size, dim)

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, "..."]:
        """The user's function."""
        return self.function(parents, noise) if self.initialize is None else self.function(params, parents, noise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertibleFunctionMechanism(FunctionMechanism):
    """A user's function with its inverse; see :func:`mechanism_from_function`.

    Attributes:
        inverse: ``value -> (parents, noise)`` joined, with the parameters first if there is an ``initialize``.
    """

    invertible: ClassVar[bool] = True
    inverse: Callable[..., Array]

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """The user's number, or the graph's noise dim; the variable's dim must be what a bijection implies."""
        return invertible_noise_size(parent_dim, super().noise_size(parent_dim, noise_dim, dim), dim)

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, "..."]:
        """The user's inverse."""
        return self.inverse(value) if self.initialize is None else self.inverse(params, value)


def mechanism_from_function(
    apply: Callable[..., Array],
    invert: Callable[..., Array] | None = None,
    *,
    init: _Initialize | None = None,
    noise_size: int | None = None,
    name: str | None = None,
) -> FunctionMechanism:
    """A mechanism from one function, or from two when it is invertible.

    Args:
        apply: ``apply(parents, noise) -> value`` for one sample, arrays of one axis. With ``init`` it gets the
            parameters first: ``apply(params, parents, noise)``.
        invert: ``invert(value)``, or ``invert(params, value)`` with ``init``: the parents followed by the noise.
            Having it makes the mechanism invertible.
        init: ``init(key, parent_dim, noise_size, dim)``, a dictionary of arrays, one draw for every variable.
        noise_size: noise numbers that one call consumes; ``None``: the graph's noise dim.
        name: a name by which saved models find it again; see ``known`` of ``HierarchicalModel.load``.

    Returns:
        The mechanism. :func:`~hlvm.mechanisms.check_mechanism` tests it numerically.

    Example:
        >>> import jax.numpy as jnp
        >>> product = mechanism_from_function(lambda parents, noise: parents[:1] * parents[1:] + noise)
        >>> product.invertible
        False
    """
    if invert is None:
        return FunctionMechanism(function=apply, initialize=init, size=noise_size, name=name)
    return InvertibleFunctionMechanism(function=apply, inverse=invert, initialize=init, size=noise_size, name=name)
