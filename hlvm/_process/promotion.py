"""JAX's own rules of promotion, whatever the user's: some arrays here, and in Optax, are of unequal rank or dtype."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

__all__ = ["usual_promotion"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def usual_promotion(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function as with ``jax_numpy_dtype_promotion="standard"`` and ``jax_numpy_rank_promotion="allow"``."""

    @functools.wraps(function)
    def usual(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return usual
