"""Noises: the laws of the numbers that enter a model anew at each variable.

A noise belongs to a variable of a model, not to a mechanism: the same function can be driven by any noise. The
continuous ones have mean zero and, where a variance exists, variance one, so that a mechanism's noise scale means the
same for all of them. The discrete ones are whole numbers counted from zero, and are left as they are.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, positive

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Laplace", "Noise", "StudentT", "Uniform", "zipf"]

_HALF_WIDTH = math.sqrt(3)  # of a uniform law with variance one
_LAPLACE_SCALE = math.sqrt(0.5)  # of a Laplace law with variance one

_MOST_LOG = 690  # of a ratio between probabilities: 1e300, near the largest double


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise(abc.ABC):
    """A law of independent numbers.

    Subclasses are frozen dataclasses of plain numbers, so that they can be compared, hashed and saved.
    """

    @property
    def n_symbols(self) -> int | None:
        """For a discrete noise, how many values it has: 0, 1, and so on. ``None`` for a continuous one."""
        return None

    @property
    def discrete(self) -> bool:
        """Tell whether the values are whole numbers with probabilities, rather than real numbers with a density."""
        return self.n_symbols is not None

    @property
    def variance(self) -> float:
        """The variance; infinite where there is none."""
        return 1.0

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent draws."""

    @abc.abstractmethod
    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density of each number, or log probability when discrete; minus infinity off the support."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian(Noise):
    """The standard normal law."""

    def sample(self, key: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Standard normal draws."""
        return jax.random.normal(checked_key(key), shape)

    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density."""
        return -0.5 * values**2 - 0.5 * math.log(2 * math.pi)

    def cdf(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Distribution function."""
        return jax.scipy.special.ndtr(values)

    def quantile(self, probabilities: Float[Array, "..."]) -> Float[Array, "..."]:
        """Inverse of the distribution function."""
        return jax.scipy.special.ndtri(probabilities)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform(Noise):
    """Uniform on [-sqrt(3), sqrt(3)]."""

    def sample(self, key: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Uniform draws."""
        return jax.random.uniform(checked_key(key), shape, minval=-_HALF_WIDTH, maxval=_HALF_WIDTH)

    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density: constant inside."""
        return jnp.where(jnp.abs(values) <= _HALF_WIDTH, -math.log(2 * _HALF_WIDTH), -jnp.inf)

    def cdf(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Distribution function."""
        return jnp.clip((values + _HALF_WIDTH) / (2 * _HALF_WIDTH), 0.0, 1.0)

    def quantile(self, probabilities: Float[Array, "..."]) -> Float[Array, "..."]:
        """Inverse of the distribution function."""
        return _HALF_WIDTH * (2 * probabilities - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Laplace(Noise):
    """The Laplace law of variance one: scale ``sqrt(1/2)``."""

    def sample(self, key: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Laplace draws."""
        return _LAPLACE_SCALE * jax.random.laplace(checked_key(key), shape)

    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density."""
        return -jnp.abs(values) / _LAPLACE_SCALE - math.log(2 * _LAPLACE_SCALE)

    def cdf(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Distribution function."""
        tail = 0.5 * jnp.exp(-jnp.abs(values) / _LAPLACE_SCALE)
        return jnp.where(values < 0, tail, 1 - tail)

    def quantile(self, probabilities: Float[Array, "..."]) -> Float[Array, "..."]:
        """Inverse of the distribution function."""
        below = probabilities < 0.5
        tail = jnp.where(below, probabilities, 1 - probabilities)
        size = -_LAPLACE_SCALE * jnp.log(2 * tail)
        return jnp.where(below, -size, size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentT(Noise):
    """Student's t law, scaled to variance one when it has a variance.

    Attributes:
        df: degrees of freedom, positive. Above 2 the law is scaled by ``sqrt((df - 2) / df)``. At 2 or below there is
            no variance, and the plain t law is used; such a noise needs a model with ``standardize=False``.
    """

    df: float

    def __post_init__(self) -> None:
        if not 0 < self.df < math.inf:
            raise ValueError(f"StudentT needs finite, positive degrees of freedom, got df={self.df}")

    @property
    def scale(self) -> float:
        """Factor that brings a plain t number to scale."""
        return math.sqrt((self.df - 2) / self.df) if self.df > 2 else 1.0

    @property
    def variance(self) -> float:
        """One, or infinity for two degrees of freedom or fewer."""
        return 1.0 if self.df > 2 else math.inf

    def sample(self, key: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Scaled t draws."""
        return self.scale * jax.random.t(checked_key(key), self.df, shape)

    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log density."""
        half = (self.df + 1) / 2
        constant = math.lgamma(half) - math.lgamma(self.df / 2) - 0.5 * math.log(self.df * math.pi)
        return constant - math.log(self.scale) - half * jnp.log1p((values / self.scale) ** 2 / self.df)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bernoulli(Noise):
    """One with probability ``p``, else zero.

    Attributes:
        p: probability of a one, in (0, 1).
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise ValueError(f"Bernoulli needs a probability strictly between 0 and 1, got p={self.p}")

    @property
    def n_symbols(self) -> int:
        """Two."""
        return 2

    @property
    def variance(self) -> float:
        """``p (1 - p)``."""
        return self.p * (1 - self.p)

    def sample(self, key: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Zeros and ones as floats."""
        return jax.random.bernoulli(checked_key(key), self.p, shape).astype(jnp.float32)

    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log probability."""
        return jnp.select([values == 0, values == 1], [math.log1p(-self.p), math.log(self.p)], -jnp.inf)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Categorical(Noise):
    """Whole numbers 0 to ``n - 1``, equally likely or with given probabilities.

    Attributes:
        n: how many values; may be left out when ``probabilities`` are given.
        probabilities: positive numbers that sum to one; ``None``: equally likely.
    """

    n: int | None = None
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.probabilities is None:
            if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
                raise ValueError(f"Categorical needs n, a whole number from 1, or probabilities; got n={self.n!r}")
            return
        given = tuple(float(p) for p in self.probabilities)
        if not given or min(given) <= 0 or abs(math.fsum(given) - 1) > 1e-6:
            raise ValueError(f"Categorical needs positive probabilities that sum to one, got {given}")
        if self.n not in (None, len(given)):
            raise ValueError(f"Categorical got {len(given)} probabilities for n={self.n}: leave n out")
        object.__setattr__(self, "probabilities", given)
        object.__setattr__(self, "n", len(given))

    @property
    def n_symbols(self) -> int:
        """Number of values."""
        return self.n or 0

    @property
    def variance(self) -> float:
        """Variance of the whole numbers."""
        weights = self.probabilities or (1 / self.n_symbols,) * self.n_symbols
        mean = math.fsum(i * p for i, p in enumerate(weights))
        return math.fsum((i - mean) ** 2 * p for i, p in enumerate(weights))

    def sample(self, key: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Whole numbers as floats."""
        if self.probabilities is None:
            return jax.random.randint(checked_key(key), shape, 0, self.n_symbols).astype(jnp.float32)
        upper = jnp.cumsum(jnp.asarray(self.probabilities))[:-1]
        drawn = jnp.searchsorted(upper, jax.random.uniform(checked_key(key), shape), side="right")
        return drawn.astype(jnp.float32)

    def log_prob(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Log probability."""
        weights = self.probabilities or (1 / self.n_symbols,) * self.n_symbols
        known = (values == jnp.round(values)) & (values >= 0) & (values < self.n_symbols)
        index = jnp.where(known, values, 0).astype(jnp.int32)
        return jnp.where(known, jnp.log(jnp.asarray(weights))[index], -jnp.inf)


def zipf(n: int, exponent: float | int = 1.0) -> tuple[float, ...]:
    """Probabilities of Zipf's law: the k-th of n values, k from 1, has a probability in proportion to ``k**-exponent``.

    For :class:`Categorical`, and for the rules, classes and symbols of :class:`~hlvm.images.GrammarImages`.

    Args:
        n: number of values, at least 1.
        exponent: 0 gives the uniform law; a negative one turns the order around.

    Raises:
        ValueError: ``n`` below 1, or an exponent that is not finite or so large that probabilities vanish.

    References:
        :cite:t:`cagnetta2025powerlaw` give production rules such a law, with the exponent 1 + a.

    Example:
        >>> [round(p, 3) for p in zipf(4, 1)]
        [0.48, 0.24, 0.16, 0.12]
    """
    size = positive(n, "n")
    if not math.isfinite(exponent) or abs(exponent) * math.log(size) > _MOST_LOG:
        raise UsageError(
            f"must be finite and leave every one of {size} values a probability above 1e-300, got {exponent}",
            argument="exponent",
        )
    weights = [k**-exponent for k in range(1, size + 1)]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)
