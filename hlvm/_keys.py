"""The one check of a JAX key that a user passes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

__all__ = ["checked_key"]


def checked_key(key: Any) -> Key[Array, ""]:
    """A typed JAX key, traced or not.

    Raises:
        ValueError: it is something else, an old-style key of plain numbers, or a batch of keys.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return key
        raise ValueError(f"key must be a single key, got a batch of shape {key.shape}: pass one of them")
    raise ValueError(f"key must be a typed JAX key such as jax.random.key(0), got {key!r}")
