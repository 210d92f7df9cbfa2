"""Intervals over training seeds: how far a mean would move had other seeds been drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike

from hlvm.scoring.intervals import Interval

__all__ = ["check_seeds", "means_over_seeds", "over_seeds"]


def check_seeds(seeds: int) -> None:
    """Refuse settings that leave no interval over seeds.

    Raises:
        ValueError: fewer than 2.
    """
    if seeds < 2:
        raise ValueError(f"an interval over seeds needs at least 2 of them, got seeds={seeds}")


def over_seeds(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean over training seeds with Student's interval; of paired differences, give the differences.

    :func:`r2_over_seeds` does so for scores whose test rows are at hand, and adds the luck of these rows.

    Args:
        values: one number per seed; at least 2.
        level: coverage, strictly between 0 and 1.

    Raises:
        ValueError: fewer than 2 values, one that is not finite, another shape, or another level.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level}")
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1:
        raise ValueError(f"values: expected one number per seed, shape (seeds,), got shape {numbers.shape}")
    check_seeds(len(numbers))
    if not np.isfinite(numbers).all():
        raise ValueError("an interval over seeds needs finite scores: a fit diverged, or a latent cannot be scored")
    half = scipy.stats.t.ppf(0.5 + level / 2, len(numbers) - 1) * numbers.std(ddof=1) / math.sqrt(len(numbers))
    mean = float(numbers.mean())
    return Interval(value=mean, low=mean - float(half), high=mean + float(half))


def means_over_seeds(records: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """Mean and interval over seeds of every cell of a table.

    Args:
        records: with a column ``seed``; several records of a seed in one cell are averaged first.
        by: columns that name a cell.
        value: column of the numbers.

    Returns:
        The columns ``by``, then ``value`` (the mean), ``low``, ``high`` and ``seeds``, how many there are.

    Raises:
        ValueError: a cell with fewer than 2 seeds, or a number that is not finite.
    """
    table: Any = records
    per_seed = table.groupby([*by, "seed"], sort=False, dropna=False)[value].mean().reset_index()
    rows: list[dict[str, Any]] = []
    for cell, values in per_seed.groupby(list(by), sort=False, dropna=False)[value]:
        names = dict(zip(by, cell if isinstance(cell, tuple) else (cell,), strict=True))
        rows.append(names | dataclasses.asdict(over_seeds(values.to_numpy())) | {"seeds": len(values)})
    return pd.DataFrame(rows)
