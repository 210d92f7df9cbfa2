"""Semirings: what the dynamic programme of a discrete tree adds up, so that a new question is a new semiring.

The programme knows two operations. Independent parts are combined by adding their elements. Alternatives are combined
by ``plus``. The gradient of the result with respect to the weights of the alternatives is an answer too: their
posterior probabilities under :class:`LogSum`, the best ones under :class:`LogMax`, random ones under :class:`Sampling`.

References:
    Semirings: :cite:t:`goodman1999semiring`; gradients as posteriors: :cite:t:`eisner2016backprop`, and of samples and
    maxima: :cite:t:`rush2020torchstruct`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Entropy", "LogMax", "LogSum", "Sampling", "Semiring", "log_sum"]


class Semiring(Protocol):
    """A way to combine alternatives. Elements are pytrees of arrays of equal shape; combining parts is adding them."""

    def lift(self, logs: Float[Array, "..."]) -> Any:
        """The element of alternatives with these logarithms of weights."""
        ...

    def plus(self, element: Any, place: int) -> Any:
        """Combine alternatives along axis 2 of 4.

        Args:
            element: leaves of shape (nodes, cases, alternatives, batch). Of the cases, one at most is on the way of any
                one outcome.
            place: a number of its own for each step of the programme.
        """
        ...


@dataclasses.dataclass(frozen=True)
class LogSum:
    """Sums of weights, in logarithms: likelihoods; the gradient is the posterior.

    Attributes:
        plain: groups of nodes below which weights are added up as they are; see :meth:`DynamicProgramme.plain`.
    """

    plain: frozenset[int] = frozenset()

    def lift(self, logs: Float[Array, "..."]) -> Any:
        """The logarithms themselves."""
        return logs

    def plus(self, element: Any, place: int) -> Any:
        """Logarithm of the sum of exponentials."""
        del place
        return log_sum(element, 2)


@dataclasses.dataclass(frozen=True)
class LogMax:
    """Largest weights, in logarithms; the gradient is 1 at the alternatives of the best outcome."""

    def lift(self, logs: Float[Array, "..."]) -> Any:
        """The logarithms themselves."""
        return logs

    def plus(self, element: Any, place: int) -> Any:
        """The largest; of several the first is taken."""
        del place
        return _chosen(element, element, element.max(axis=2))


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Sums of weights whose gradient is 1 at the alternatives of one outcome, drawn from the posterior.

    Attributes:
        noise: place -> Gumbel noise of shape (nodes, alternatives, batch); see :meth:`DynamicProgramme.places`.
    """

    noise: Mapping[int, Float[Array, "k a b"]]

    def lift(self, logs: Float[Array, "..."]) -> Any:
        """The logarithms themselves."""
        return logs

    def plus(self, element: Any, place: int) -> Any:
        """As :class:`LogSum`, with one alternative drawn in proportion to its weight."""
        # One draw serves all cases: only one of them is on the way.
        return _chosen(element, element + self.noise[place][:, None], log_sum(element, 2))


@dataclasses.dataclass(frozen=True)
class Entropy:
    """Pairs: logarithm of a sum of weights, and entropy (nats) of the outcome given that it is among them."""

    def lift(self, logs: Float[Array, "..."]) -> Any:
        """A single outcome has no entropy."""
        return logs, jnp.zeros_like(logs)

    def plus(self, element: Any, place: int) -> Any:
        """Chain rule: entropy of the alternative, and the mean of the entropies within."""
        del place
        logs, within = element
        total = log_sum(logs, 2)
        known = total > -jnp.inf
        shifted = logs - jnp.where(known, total, 0.0)[:, :, None]
        share = jnp.exp(shifted)
        # 0 log 0 = 0, and what cannot happen may have any entropy within.
        terms = jnp.where(share > 0, share * (within - jnp.where(share > 0, shifted, 0.0)), 0.0)
        return total, jnp.where(known, terms.sum(axis=2), 0.0)


def log_sum(logs: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Logarithm of a sum of exponentials; minus infinity, with gradient 0, where all are minus infinity."""
    top = jax.lax.stop_gradient(logs.max(axis=axis, keepdims=True))
    top = jnp.where(top > -jnp.inf, top, 0.0)
    total = jnp.exp(logs - top).sum(axis=axis)
    some = total > 0
    return jnp.where(some, jnp.log(jnp.where(some, total, 1.0)), -jnp.inf) + jnp.squeeze(top, axis)


@jax.custom_vjp
def _chosen(
    logs: Float[Array, "k c a b"], scores: Float[Array, "k c a b"], total: Float[Array, "k c b"]
) -> Float[Array, "k c b"]:
    """``total``, with a gradient that goes to the alternative of the highest score alone."""
    del logs, scores
    return total


def _forward(logs: Any, scores: Any, total: Any) -> Any:
    best = jnp.argmax(scores, axis=2)
    return total, (jax.nn.one_hot(best, logs.shape[2], axis=2, dtype=logs.dtype), total)


def _backward(kept: Any, towards: Any) -> Any:
    one_hot, total = kept
    return towards[:, :, None] * one_hot, jnp.zeros_like(one_hot), jnp.zeros_like(total)


_chosen.defvjp(_forward, _backward)
