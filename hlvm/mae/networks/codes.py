"""Narrow codes, and masks over columns: what the networks with a bottleneck have in common."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Scalar

__all__ = ["CODE_BLOCK", "cut_code", "hidden_columns", "padded_code_dim"]

CODE_BLOCK = 8
"""Codes are stored padded with zeros to a multiple of this, so that members of an ensemble whose codes differ a little
in size share one program, and a member starts from the same parameters alone as in an ensemble."""


def padded_code_dim(code_dim: int) -> int:
    """The smallest multiple of :data:`CODE_BLOCK` that holds the code."""
    return -(-code_dim // CODE_BLOCK) * CODE_BLOCK


def cut_code(code: Float[Array, "n code"], code_dim: Scalar) -> Float[Array, "n code"]:
    """The code with exact zeros beyond its first ``code_dim`` numbers."""
    return jnp.where(jnp.arange(code.shape[1]) < code_dim, code, 0.0)


def hidden_columns(masked: Bool[Array, "n cells"], cell_dims: tuple[int, ...]) -> Bool[Array, "n columns"]:
    """Which columns a mask over observed variables of these dims hides."""
    return masked[:, np.repeat(np.arange(len(cell_dims)), cell_dims)]
