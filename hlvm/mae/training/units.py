"""Units: every column is trained in standard deviations around its mean, and given back as it came.

Single precision holds seven digits. Where the mean of a column is many standard deviations away from zero they go to
the mean, so there it is taken off in double precision before anything is cast.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

__all__ = [
    "FAR",
    "Columns",
    "far_columns",
    "moments",
    "restored",
    "single",
    "standardized",
    "standardized_on_device",
    "step",
]

Columns: TypeAlias = Float[Array | np.ndarray, " columns"]
"""A number per column: in double precision for data sets, in single precision for generators."""

FAR = 1000.0
"""A column whose mean is more standard deviations than this away from zero is standardised in double precision. Nearer
ones lose at most 6e-5 standard deviations in single precision."""

_SMALL, _LARGE = 1e-30, 1e30
"""So is one whose standard deviation is outside of these, which single precision cannot divide by."""


def moments(
    numbers: Float[np.ndarray, "n columns"],
) -> tuple[Float[np.ndarray, " columns"], Float[np.ndarray, " columns"]]:
    """Mean and standard deviation of every column, in double precision; its value and 1 for a constant one."""
    rounded = numbers.astype(np.float32, copy=False)
    shift, scale = rounded.mean(axis=0, dtype=np.float64), rounded.std(axis=0, dtype=np.float64)
    if numbers.dtype != np.float32:
        moved = numbers - numbers[0]
        size = np.abs(moved).max(axis=0)
        moved /= np.where(size > 0, size, 1.0)
        mean, spread = numbers[0] + size * moved.mean(axis=0), size * moved.std(axis=0)
        far = far_columns(mean, spread)
        shift[far], scale[far] = mean[far], spread[far]
    return shift, np.where(scale > 0, scale, 1.0)


def far_columns(shift: Columns, scale: Columns) -> Bool[np.ndarray, " columns"]:
    """Find which columns are standardised in double precision."""
    mean, spread = np.abs(np.asarray(shift, np.float64)), np.asarray(scale, np.float64)
    return (mean > FAR * spread) | (spread < _SMALL) | (spread > _LARGE)


def single(columns: Columns) -> Float[Array, " columns"]:
    """Shift or scale for programs on devices."""
    return jnp.asarray(columns, jnp.float32)


def standardized(
    numbers: Shaped[Array | np.ndarray, "n columns"], shift: Columns, scale: Columns
) -> Float[np.ndarray, "n columns"]:
    """Rows in standard deviations from the mean, in single precision, on the host.

    Args:
        numbers: rows in the precision that they came in.
        shift: mean of every column.
        scale: standard deviation of every column.
    """
    far = far_columns(shift, scale)
    if not far.any():
        return (np.asarray(numbers, np.float32) - np.float32(shift)) / np.float32(scale)
    near, host = ~far, np.asarray(numbers)
    found = np.empty(host.shape, np.float32)
    found[:, near] = (host[:, near].astype(np.float32) - np.float32(shift[near])) / np.float32(scale[near])
    found[:, far] = (host[:, far].astype(np.float64) - np.asarray(shift)[far]) / np.asarray(scale)[far]
    return found


def standardized_on_device(numbers: Shaped[Array | np.ndarray, "n columns"], shift: Columns, scale: Columns) -> Array:
    """The same on JAX's device, whose quotients may differ in their last bit from those of the host."""
    if far_columns(shift, scale).any():
        return jnp.asarray(standardized(numbers, shift, scale))
    return (jnp.asarray(numbers, jnp.float32) - single(shift)) / single(scale)


def restored(
    values: Float[Array, "*draws n columns"], shift: Columns, scale: Columns
) -> Float[Array | np.ndarray, "*draws n columns"]:
    """The inverse of :func:`standardized`; in double precision, on the host, if a column needs it."""
    if not far_columns(shift, scale).any():
        return values * single(scale) + single(shift)
    return np.asarray(values, np.float64) * np.asarray(scale) + np.asarray(shift)


def step(dtype: Any, size: float) -> float:
    """Measure how far the numbers of a dtype lie apart around a size; 0 for whole numbers."""
    if np.dtype(dtype).kind in "iub" or not size:
        return 0.0
    return float(jnp.finfo(dtype).eps) * 2.0 ** math.floor(math.log2(size))
