"""Mechanisms from a user's own functions; made by ``Mechanism.from_function``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.mechanisms.base import Mechanism, Params, invertible_noise_size

__all__ = ["FunctionMechanism", "InvertibleFunctionMechanism"]

_Initialize = Callable[[PRNGKeyArray, int, int, int], Params]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FunctionMechanism(Mechanism):
    """A user's function; see :meth:`Mechanism.from_function`.

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
        """What the user said, or the graph's noise dim."""
        return noise_dim if self.size is None else self.size

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """What the user's function draws, or nothing."""
        return {} if self.initialize is None else self.initialize(key, parent_dim, noise_size, dim)

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, "..."]:
        """The user's function."""
        return self.function(parents, noise) if self.initialize is None else self.function(params, parents, noise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvertibleFunctionMechanism(Mechanism):
    """A user's function with its inverse; see :meth:`Mechanism.from_function`.

    Attributes:
        function: ``(parents, noise) -> value``, with the parameters first if there is an ``initialize``.
        inverse: ``value -> (parents, noise)`` joined, with the parameters first if there is an ``initialize``.
        initialize: draws the parameters; ``None``: there are none.
        size: noise numbers it consumes; ``None``: the graph's noise dim.
        name: the name in saved models.
    """

    invertible: ClassVar[bool] = True
    function: Callable[..., Array]
    inverse: Callable[..., Array]
    initialize: _Initialize | None = None
    size: int | None = None
    name: str | None = None

    def noise_size(self, parent_dim: int, noise_dim: int, dim: int) -> int:
        """What the user said, or the graph's noise dim; the variable's dim must be what a bijection implies."""
        return invertible_noise_size(parent_dim, noise_dim if self.size is None else self.size, dim)

    def init(self, key: PRNGKeyArray, parent_dim: int, noise_size: int, dim: int) -> Params:
        """What the user's function draws, or nothing."""
        return {} if self.initialize is None else self.initialize(key, parent_dim, noise_size, dim)

    def apply(self, params: Params, parents: Float[Array, " p"], noise: Float[Array, " e"]) -> Float[Array, "..."]:
        """The user's function."""
        return self.function(parents, noise) if self.initialize is None else self.function(params, parents, noise)

    def invert(self, params: Params, value: Float[Array, " d"]) -> Float[Array, "..."]:
        """The user's inverse."""
        return self.inverse(value) if self.initialize is None else self.inverse(params, value)
