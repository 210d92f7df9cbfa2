"""Intervals over training seeds and generators: how far a mean would move had others been drawn."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm.scoring.intervals import Interval

__all__ = ["RandomEffects", "check_seeds", "means_over_seeds", "over_generators", "over_seeds"]

_NOT_FINITE = "an interval over seeds needs finite scores: a fit diverged, or a latent cannot be scored"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomEffects:
    """A mean over training seeds within generators, with its interval and what it varies with.

    Attributes:
        interval: the mean, every generator counting the same, and its ends. With one generator it says how far other
            seeds would move the mean, and nothing of other generators.
        standard_error: of the mean.
        var_between: variance between generators, at least 0, without what seeds add to their means. With one seed each
            the two cannot be told apart, and all counts as between. ``None`` with one generator.
        var_within: variance between seeds of one generator, the same in all; ``None`` with one seed each.
        seeds: how many seeds each generator has.
    """

    interval: Interval
    standard_error: float
    var_between: float | None
    var_within: float | None
    seeds: tuple[int, ...]

    @property
    def generators(self) -> int:
        """Number of generators; an interval over one speaks of that one only."""
        return len(self.seeds)

    @property
    def units(self) -> int:
        """Number of independent values that the interval rests on: generators, or the seeds of a single one."""
        return self.generators if self.generators > 1 else self.seeds[0]


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
        raise ValueError(_NOT_FINITE)
    half = _student(level, len(numbers) - 1) * numbers.std(ddof=1) / math.sqrt(len(numbers))
    mean = float(numbers.mean())
    return Interval(value=mean, low=mean - float(half), high=mean + float(half))


@functools.lru_cache(maxsize=256)
def _student(level: float, freedom: int) -> Any:
    """Student's quantile; most of the time that an interval takes."""
    return scipy.stats.t.ppf(0.5 + level / 2, freedom)


def over_generators(values: ArrayLike | Sequence[ArrayLike], *, level: float = 0.95) -> RandomEffects:
    """Mean over training seeds within generators, with Student's interval; of paired differences, give the differences.

    The unit is the generator where there are several: the interval is Student's over their means, so it covers
    generators that were not drawn. It is exact when all have equally many seeds, and close to it otherwise, as their
    means then differ in precision. With one generator the unit is the seed.

    The variances are those of a one-way analysis: within, pooled over generators; between, the variance of their means
    less what seeds add to it, and 0 where that is negative.

    Args:
        values: shape (generators, seeds), or one array of seeds per generator, of any lengths, or one axis: the seeds
            of one generator. A row is one generator, also if it is the only one.
        level: coverage, strictly between 0 and 1.

    Raises:
        ValueError: a single number, one that is not finite, a generator without seeds, more axes, or another level.

    Example:
        >>> found = over_generators([[0.10, 0.14], [0.20, 0.24], [0.15, 0.19]])
        >>> found.interval.value.__round__(3), found.var_within.__round__(5), found.var_between.__round__(5)
        (0.17, 0.0008, 0.0021)
    """
    rows = _of_generators(values)
    counts = np.asarray([len(row) for row in rows])
    beyond = counts.sum() - len(rows)  # degrees of freedom within
    squares = sum(float(((row - row.mean()) ** 2).sum()) for row in rows)
    within = squares / int(beyond) if beyond else None
    if len(rows) == 1:
        units, between = rows[0], None
    else:
        units = np.asarray([row.mean() for row in rows])
        between = max(float(units.var(ddof=1) - (within or 0.0) * (1 / counts).mean()), 0.0)
    return RandomEffects(
        interval=over_seeds(units, level=level),
        standard_error=float(units.std(ddof=1)) / math.sqrt(len(units)),
        var_between=between,
        var_within=within,
        seeds=tuple(int(count) for count in counts),
    )


def _of_generators(values: ArrayLike | Sequence[ArrayLike]) -> list[Float[np.ndarray, " seeds"]]:
    """One axis per generator."""
    listed: Any = values
    if not (np.iterable(values) and len(listed)):
        raise ValueError(f"values: expected numbers by generator and seed, got {values!r}")
    rows = [np.asarray(row, dtype=np.float64) for row in (listed if np.ndim(listed[0]) else [listed])]
    for row in rows:
        if row.ndim != 1 or not len(row):
            raise ValueError(
                f"values: expected shape (generators, seeds) or an array of seeds per generator, got one of shape "
                f"{row.shape} for a generator"
            )
        if not np.isfinite(row).all():
            raise ValueError(_NOT_FINITE)
    return rows


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
