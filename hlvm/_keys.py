"""The one check of a JAX key that a user passes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

__all__ = ["checked_key"]

_LONGEST = 80
"""Longer things are named by their type."""


def checked_key(key: Any) -> Key[Array, ""]:
    """A typed JAX key, traced or not; one that came as numbers (``jax.random.PRNGKey``) becomes typed.

    Raises:
        ValueError: it is something else, or a batch of keys.
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and shape is not None:
        if jnp.issubdtype(dtype, jax.dtypes.prng_key):
            if shape == ():
                return key
            raise ValueError(f"key must be a single key, got a batch of shape {shape}: pass one of them")
        if dtype == jnp.uint32 and shape == jax.random.key_data(jax.random.key(0)).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
    shown = repr(key)
    shown = (
        shown if len(shown) <= _LONGEST else f"{type(key).__name__} of shape {shape}" if shape else type(key).__name__
    )
    raise ValueError(f"key must be a typed JAX key such as jax.random.key(0), got {shown}")
