"""The one check of a key that a user passes: a JAX key, or an int that stands for one."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from hlvm._numbers import UsageError

__all__ = ["checked_key", "key_or_seed"]

_LONGEST = 80
"""Longer things are named by their type."""

_SEEDS = 2**32
"""JAX drops what a larger int has beyond 32 bits, so two ints would be one key."""


def checked_key(key: Any) -> Key[Array, ""]:
    """A typed JAX key, traced or not; an int ``k`` becomes ``jax.random.key(k)``, a key in numbers becomes typed.

    Raises:
        ValueError: it is something else; see :func:`key_or_seed`.
    """
    single = key_or_seed(key)
    return jax.random.key(single) if isinstance(single, int) else single


def key_or_seed(key: Any) -> Key[Array, ""] | int:
    """A typed JAX key or an int, as it was given; one that came as numbers (``jax.random.PRNGKey``) becomes typed.

    Raises:
        ValueError: it is something else, a batch of keys, or an int that does not fit into 32 bits.
    """
    if isinstance(key, jax.Array | np.ndarray):
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        batch = key.shape if typed else key.shape[:-1]
        if isinstance(key, jax.Array) and typed and not batch:
            return key
        if typed or _holds_keys(key):
            if batch:
                raise UsageError(
                    f"must be a single key, got a batch of shape {batch}: pass one of them", argument="key"
                )
            return jax.random.wrap_key_data(jnp.asarray(key))
    try:
        seed = -1 if isinstance(key, bool) or getattr(key, "dtype", None) == np.bool_ else operator.index(key)
    except TypeError:
        seed = -1
    if 0 <= seed < _SEEDS:
        return seed
    shown, shape = repr(key), getattr(key, "shape", ())
    if len(shown) > _LONGEST:
        shown = f"{type(key).__name__} of shape {shape}" if shape else type(key).__name__
    raise UsageError(
        f"must be a typed JAX key such as jax.random.key(0), or a whole number from 0 to {_SEEDS - 1}, got {shown}",
        argument="key",
    )


def _holds_keys(array: jax.Array | np.ndarray) -> bool:
    """Tell whether an array is one key in numbers or a batch of them."""
    return array.dtype == np.uint32 and array.shape[-1:] == jax.eval_shape(jax.random.PRNGKey, 0).shape
