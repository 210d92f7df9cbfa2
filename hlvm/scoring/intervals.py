"""Bootstrap intervals: how far a score would move had other samples been drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import t

from hlvm._numbers import positive
from hlvm.scoring.inputs import random_streams

__all__ = [
    "Interval",
    "bootstrap_mean",
    "jackknife",
    "jackknife_blocks",
    "percentile_limits",
    "resampling_weights",
]

_BLOCKS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with the ends of its interval.

    It is no sequence, so its numbers cannot be taken for one another. :func:`dataclasses.asdict` gives them by name, as
    columns of tables have them, and :func:`dataclasses.astuple` in the same order.

    Attributes:
        value: the estimate from all the data.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def resampling_weights(
    n_rows: int, n_boot: int, rng: np.random.Generator, groups: Int[np.ndarray, " n_rows"] | None = None
) -> Float[np.ndarray, "n_boot n_rows"]:
    """Counts of each row in each bootstrap resample, so that a resampled sum is one matrix product.

    Args:
        n_rows: how many rows there are.
        n_boot: how many resamples, at least 1.
        rng: where the draws come from.
        groups: of the rows; whole groups are drawn. ``None`` for rows of their own.

    Returns:
        Counts as floats; each row of the result sums to ``n_rows``, or is made of as many groups as there are. NaN for
        a single group.
    """
    if groups is not None:
        known, numbered = np.unique(groups, return_inverse=True)
        if len(known) < 2:  # one sample says nothing of its own luck
            return np.full((n_boot, n_rows), np.nan)
        return resampling_weights(len(known), n_boot, rng)[:, numbered]
    drawn = rng.integers(0, n_rows, size=(positive(n_boot, "n_boot"), n_rows))
    drawn += n_rows * np.arange(n_boot)[:, None]  # one stretch of bins per resample
    return np.bincount(drawn.ravel(), minlength=n_boot * n_rows).reshape(n_boot, n_rows).astype(np.float64)


def percentile_limits(
    draws: Float[np.ndarray, "n_boot ..."], level: float
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """The ends of the percentile interval, along the first axis.

    Args:
        draws: the statistic on each resample. NaN marks a resample on which it is undefined; it is ignored.
        level: coverage, strictly between 0 and 1.

    Returns:
        Lower and upper ends; NaN where no resample gave a number.
    """
    tails = [(1 - level) / 2, (1 + level) / 2]
    undefined = np.isnan(draws)
    if not undefined.any():
        low, high = np.quantile(draws, tails, axis=0)
        return np.asarray(low), np.asarray(high)
    nowhere = undefined.all(axis=0)
    low, high = np.nanquantile(np.where(nowhere, 0.0, draws), tails, axis=0)
    return np.where(nowhere, np.nan, low), np.where(nowhere, np.nan, high)


def jackknife_blocks(n_rows: int, groups: Int[np.ndarray, " n_rows"] | None = None) -> Int[np.ndarray, " n_rows"]:
    """Number of the block of each row: 20 blocks of about equally many rows, or groups, or fewer blocks of one each.

    Args:
        n_rows: how many rows there are.
        groups: of the rows; whole groups go to a block. ``None`` for rows of their own.
    """
    numbered = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    return numbered % min(_BLOCKS, int(numbered.max()) + 1)


def jackknife(whole: float, left_out: Float[np.ndarray, " blocks"], level: float) -> tuple[float, float]:
    """Correct a statistic for the part of its bias that falls as one over the rows, and find its interval.

    Args:
        whole: the statistic on all rows.
        left_out: the statistic without each of the blocks of :func:`jackknife_blocks`, at least 2.
        level: coverage, strictly between 0 and 1.

    Returns:
        The corrected statistic, and half of the length of its interval by Student's t.
    """
    blocks = len(left_out)
    corrected = whole - (blocks - 1) * (float(left_out.mean()) - whole)
    error = np.sqrt((blocks - 1) * left_out.var())
    return corrected, float(t.ppf((1 + level) / 2, blocks - 1) * error)


def bootstrap_mean(values: ArrayLike, *, key: Any, level: float = 0.95, n_boot: int = 2000) -> Interval:
    """Mean of independent values, for example one score per training seed, with a percentile interval.

    With a handful of values the interval is too short (about 85 % instead of 95 % for five); it is
    still the honest unit when the values are seeds, since test rows of one fit say nothing about other fits.

    Args:
        values: shape (n,), at least 2 finite numbers.
        key: a JAX key or an int.
        level: coverage, strictly between 0 and 1.
        n_boot: how many resamples.

    Returns:
        The mean and its interval.

    Raises:
        ValueError: fewer than 2 values, more than one axis, or a value that is not finite.

    Example:
        >>> bootstrap_mean([0.9, 0.8, 1.0], key=0).value.__round__(3)
        0.9
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all():
        raise ValueError(f"values: expected at least 2 finite numbers in one axis, got {array}: one number per seed")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level}")
    weights = resampling_weights(len(array), n_boot, random_streams(key).bootstrap)
    low, high = percentile_limits(weights @ array / len(array), level)
    return Interval(value=float(array.mean()), low=float(low), high=float(high))
