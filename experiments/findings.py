"""Findings: a claim, what the paper and the theory say of it before training, and what was measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike

from hlvm.scoring import Interval

__all__ = ["Finding", "Frame", "check_seeds", "every", "means_over_seeds", "over_seeds", "within"]

Frame: TypeAlias = Any
"""A pandas DataFrame, or a part of one, where static types cannot follow what is selected and grouped."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One claim and its verdict.

    Attributes:
        claim: what is claimed, one sentence.
        paper: what the paper says of it, in a few words; empty where it says nothing.
        theory: what the theory predicts, in a few words; empty where it predicts nothing.
        scores: the intervals that the verdict rests on, by name.
        holds: whether the claim as worded was measured to hold; ``None`` when the intervals do not decide.
        paper_agrees: whether the measurement agrees with what the paper says; ``None`` when it does not decide or the
            paper says nothing.
        theory_agrees: the same for the theory.
        reason: what decided, one sentence.
    """

    claim: str
    paper: str = ""
    theory: str = ""
    scores: Mapping[str, Interval]
    holds: bool | None
    paper_agrees: bool | None = None
    theory_agrees: bool | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError(f"a finding rests on at least one interval: {self.claim!r} has none")
        for source, agrees in ((self.paper, self.paper_agrees), (self.theory, self.theory_agrees)):
            if not source and agrees is not None:
                raise ValueError(f"{self.claim!r}: nothing can agree with a source that says nothing")

    @property
    def measured(self) -> list[str]:
        """The scores as text, ``name: value [low, high]``, with more digits where all are small."""
        return [f"{name}: {_shown(interval)}" for name, interval in self.scores.items()]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description."""
        scores = {name: [float(end) for end in interval] for name, interval in self.scores.items()}
        return {**dataclasses.asdict(self), "scores": scores}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Finding:
        """The inverse of :meth:`to_dict`."""
        scores = {name: Interval(*ends) for name, ends in description["scores"].items()}
        return cls(**{**description, "scores": scores})


def _shown(interval: Interval) -> str:
    """Three decimals, five for what is small throughout, such as differences of squared errors of pixels."""
    decimals = 3 if max(map(abs, interval)) >= 0.01 else 5
    value, low, high = (f"{end:.{decimals}f}" for end in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def check_seeds(seeds: int) -> None:
    """Refuse settings that leave no interval over seeds.

    Raises:
        ValueError: fewer than 2.
    """
    if seeds < 2:
        raise ValueError(f"an interval over seeds needs at least 2 of them, got seeds={seeds}")


def over_seeds(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean over training seeds with Student's interval; of paired differences, give the differences.

    Args:
        values: one number per seed; at least 2.
        level: coverage, strictly between 0 and 1.

    Raises:
        ValueError: fewer than 2 values, or one that is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if len(numbers) < 2:
        raise ValueError(f"an interval over seeds needs at least 2 of them, got {len(numbers)}")
    if not np.isfinite(numbers).all():
        raise ValueError("an interval over seeds needs finite scores: a fit diverged, or a latent cannot be scored")
    half = scipy.stats.t.ppf(0.5 + level / 2, len(numbers) - 1) * numbers.std(ddof=1) / math.sqrt(len(numbers))
    mean = float(numbers.mean())
    return Interval(mean - float(half), mean, mean + float(half))


def means_over_seeds(records: Frame, by: Sequence[str], value: str = "value") -> Frame:
    """Mean and interval over seeds of every cell.

    Args:
        records: tidy records with a column ``seed``; several records of a seed in one cell are averaged first.
        by: columns that name a cell.
        value: column of the numbers.

    Returns:
        The columns ``by``, then ``mean``, ``low``, ``high`` and ``seeds``, how many there are.

    Raises:
        ValueError: a cell with fewer than 2 seeds, or a number that is not finite.
    """
    per_seed: Frame = records.groupby([*by, "seed"], sort=False, dropna=False)[value].mean().reset_index()
    rows: list[dict[str, Any]] = []
    for cell, values in per_seed.groupby(list(by), sort=False, dropna=False)[value]:
        interval = over_seeds(values.to_numpy())
        names = dict(zip(by, cell if isinstance(cell, tuple) else (cell,), strict=True))
        rows.append(names | {"mean": interval.value, "low": interval.low, "high": interval.high, "seeds": len(values)})
    return pd.DataFrame(rows)


def within(interval: Interval, low: float = -math.inf, high: float = math.inf) -> bool | None:
    """Whether a value lies between two limits: yes or no if its whole interval says so, else ``None``."""
    if low <= interval.low and interval.high <= high:
        return True
    if interval.high < low or interval.low > high:
        return False
    return None


def every(outcomes: Iterable[bool | None]) -> bool | None:
    """Whether all hold: no if one does not, ``None`` if some are open."""
    found = list(outcomes)
    if any(outcome is False for outcome in found):
        return False
    return None if any(outcome is None for outcome in found) else True
