"""Input of the scores: arrays of any framework as float64 matrices, keys as NumPy generators."""

from __future__ import annotations

import sys
import warnings
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._keys import key_or_seed
from hlvm._numbers import aligned, as_numbers

__all__ = [
    "MIN_ROWS",
    "PrecisionWarning",
    "Streams",
    "matrix",
    "paired_matrices",
    "random_streams",
    "steps_of",
    "warn_caller",
]

MIN_ROWS = 10
"""Fewer samples than this are refused: neither part of a split would mean anything."""

_SMALLEST, _LARGEST = 1e-100, 1e100  # squares of numbers between them, summed over many rows, stay within float64

_LARGE_OFFSET = 1e3

_ROUNDING_STEPS = 4
"""A column whose standard deviation is this many steps of its type or fewer is rounding. With five steps rounding is
0.3 % of the variance, which no verdict depends on."""


class Streams(NamedTuple):
    """Independent random generators, one per use, so that adding draws to one leaves the others alone.

    Attributes:
        split: draws the training and test rows.
        bootstrap: draws the resampled rows.
        permutation: draws the permutations of a null.
        network: seeds a regressor that starts from random weights.
    """

    split: np.random.Generator
    bootstrap: np.random.Generator
    permutation: np.random.Generator
    network: np.random.Generator


def random_streams(key: Any) -> Streams:
    """Turn one key into the generators that the scores use.

    Args:
        key: a JAX key or an int. An int seeds NumPy's own generator, so that its streams are not those of the JAX key.

    Returns:
        The generators. The same key always gives the same streams.

    Raises:
        ValueError: ``key`` is a batch of keys, negative, or something else.
    """
    single = key_or_seed(key)
    seed = single if isinstance(single, int) else np.asarray(jax.random.key_data(single))
    return Streams(*np.random.default_rng(seed).spawn(len(Streams._fields)))


class PrecisionWarning(UserWarning):
    """A column varies by no more than the rounding of its type: it is scored as a constant."""


def matrix(name: str, values: ArrayLike, *, truth: bool = False) -> Float[np.ndarray, "n p"]:
    """Check an array of samples and return it as a float64 matrix whose columns have no large offset.

    No score depends on the place of the origin. So a large offset is taken out first, before a cast or a product can
    lose the digits that are left beside it. Whole numbers of 64 bits are centred in extended precision.

    Args:
        name: what to call the array in error messages.
        values: shape (n, p), or (n,) for one column; real numbers, of NumPy, JAX, PyTorch, pandas, Arrow or in lists.
        truth: whether the columns are known to vary, as latents are. If so, a column of mere rounding is refused.

    Returns:
        Shape (n, p), float64. Columns whose mean is above 1,000 of their standard deviations have mean 0 instead; those
        that vary by rounding only are 0. Numbers whose squares could leave the range of float64 are multiplied by one
        power of two.

    Raises:
        ValueError: not real numbers (see :func:`hlvm._numbers.as_numbers`), not one or two axes, fewer than 10 rows, no
            column, NaN or infinite values, or a column of the truth that its type cannot tell from a constant.

    Warns:
        PrecisionWarning: a column of something else that its type cannot tell from a constant.
    """
    array = as_numbers(name, values)
    given = array.shape
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name}: expected shape (rows, columns) or (rows,), got {given}: flatten everything after the first axis"
        )
    if array.ndim == 1:
        array = array[:, None]
    if len(array) < MIN_ROWS or array.shape[1] == 0:
        raise ValueError(
            f"{name}: expected at least {MIN_ROWS} rows and 1 column, got shape {given}: bring more samples"
        )
    steps = steps_of(array)
    # Longdouble holds whole numbers of 64 bits exactly; of these float64 keeps 53.
    exact = np.longdouble if array.dtype.itemsize > 4 and array.dtype.kind in "iu" else np.float64
    wide = array.astype(np.longdouble if array.dtype == np.longdouble else exact)
    finite = np.isfinite(wide)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise ValueError(
            f"{name}: expected finite numbers, got {int((~finite).sum())} NaN or infinite values, "
            f"the first in row {row}: drop those rows from both arrays"
        )
    wide, steps = _in_range(wide, steps)
    centre = wide.mean(axis=0)
    rows = (wide - centre).astype(np.float64)
    near = np.abs(centre) <= _LARGE_OFFSET * rows.std(axis=0)
    rows[:, near] = wide[:, near]  # the usual case, to the bit as it was given
    rounding = (rows.std(axis=0) <= _ROUNDING_STEPS * steps) | (wide.max(axis=0) == wide.min(axis=0))
    rows[:, rounding] = 0.0
    unsure = np.flatnonzero(rounding & (wide.max(axis=0) > wide.min(axis=0)))
    if len(unsure):
        said = (
            f"{name}: column {int(unsure[0])} varies by no more than the rounding of {array.dtype} at numbers of its "
            f"size ({len(unsure)} such columns): if an offset hides its values, subtract it before the cast to "
            f"{array.dtype}"
        )
        if truth:
            raise ValueError(f"{said}; if it is a constant, leave it out")
        warn_caller(f"{said}; it is scored as a constant", PrecisionWarning)
    return rows


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn in the name of the line outside of this package that called it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("hlvm."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level - 1)


def steps_of(array: np.ndarray) -> Float[np.ndarray, " p"]:
    """The distance of neighbouring numbers of an array's type, at the size of each column's largest one."""
    if array.dtype.kind in "iub":
        return np.zeros(array.shape[1])
    about = ml_dtypes.finfo(array.dtype) if array.dtype.kind == "V" else np.finfo(array.dtype)
    largest = np.abs(array.astype(np.promote_types(np.float64, array.dtype))).max(axis=0)
    return np.maximum(largest * float(about.eps), float(about.smallest_subnormal)).astype(np.float64)


def _in_range(array: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array, multiplied by a power of two if squares of its numbers would overflow or vanish."""
    largest = np.abs(array).max()
    if largest == 0 or _SMALLEST < largest < _LARGEST:
        return array, steps
    power = -int(np.frexp(largest)[1])
    return np.ldexp(array, power), np.ldexp(steps, power)


def paired_matrices(
    first_name: str, first: ArrayLike, second_name: str, second: ArrayLike, *, truth: bool = False
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n q"]]:
    """Check two arrays whose rows belong to the same samples.

    Args:
        first_name: what to call the first array in error messages.
        first: shape (n, p) or (n,).
        second_name: what to call the second array.
        second: shape (n, q) or (n,).
        truth: whether the columns of the second array are known to vary, see :func:`matrix`.

    Returns:
        Both as float64 matrices. Two frames of pandas are paired by the labels of their rows, in the first one's order.

    Raises:
        ValueError: either array is unfit (see :func:`matrix`), their numbers of rows differ, or both are frames of
            pandas with other labels.
    """
    second = aligned(first_name, first, second_name, second)
    a, b = matrix(first_name, first), matrix(second_name, second, truth=truth)
    if len(a) != len(b):
        raise ValueError(
            f"expected one row per sample in both arrays, got {len(a)} rows in {first_name} and {len(b)} in "
            f"{second_name}: score both on the same samples in the same order"
        )
    return a, b
