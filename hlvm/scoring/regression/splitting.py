"""Splitting rows into a training and a test part, and standardising by the training part alone."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Split", "Standardiser", "random_split"]

# A column that varies by less than this share of its largest value, in some of the rows, is constant there but for
# rounding of float32.
_CONSTANT = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows that a score was fitted on, and those it was measured on.

    Attributes:
        train: row numbers of the training part, shape (n_train,).
        test: row numbers of the test part, shape (n_test,); none of them is in ``train``.
        groups: group of each row of the array, shape (n,); no group has rows in both parts. ``None`` when every row is
            a sample of its own.
    """

    train: np.ndarray
    test: np.ndarray
    groups: np.ndarray | None = None

    @property
    def train_groups(self) -> np.ndarray | None:
        """Group of each training row."""
        return None if self.groups is None else self.groups[self.train]

    @property
    def test_groups(self) -> np.ndarray | None:
        """Group of each test row."""
        return None if self.groups is None else self.groups[self.test]

    def same_as(self, other: Split) -> bool:
        """Tell whether both parts hold the same rows in the same order."""
        return np.array_equal(self.train, other.train) and np.array_equal(self.test, other.test)


def random_split(
    n_rows: int,
    rng: np.random.Generator,
    *,
    test_fraction: float,
    max_train: int,
    max_test: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Split:
    """Draw disjoint training and test rows; rows beyond the two limits are left out.

    Args:
        n_rows: how many rows there are, at least 2.
        rng: where the order of the rows comes from.
        test_fraction: share of the rows for testing, strictly between 0 and 1; at least one row goes to each part.
        max_train: most training rows.
        max_test: most test rows.
        groups: 0, 1, ... of each row; whole groups are drawn. ``None`` for rows of their own.
    """
    if groups is None:
        order = rng.permutation(n_rows)
        n_test = min(max(round(test_fraction * n_rows), 1), n_rows - 1)
    else:
        sizes = np.bincount(groups)
        drawn = rng.permutation(len(sizes))
        place = np.empty_like(drawn)
        place[drawn] = np.arange(len(drawn))
        order = np.argsort(place[groups], kind="stable")
        ends = np.cumsum(sizes[drawn])[:-1]  # never all groups
        n_test = int(ends[np.argmin(np.abs(ends - test_fraction * n_rows))])
    train, test = order[n_test:], order[:n_test]
    if groups is not None:  # in random order again, so that a limit does not leave a few groups
        train, test = rng.permutation(train), rng.permutation(test)
    return Split(train=train[:max_train], test=test[:max_test], groups=groups)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Standardiser:
    """Centre and scale learned from training rows.

    Attributes:
        centre: training mean of each column, shape (p,).
        scale: training standard deviation of each column, shape (p,); 1 for a constant column.
        constant: whether each column is constant on the training rows, up to float32 rounding, shape (p,).
    """

    centre: np.ndarray
    scale: np.ndarray
    constant: np.ndarray

    @classmethod
    def fit(cls, train: Float[np.ndarray, "n p"]) -> Standardiser:
        """Learn centre and scale from the training rows, of columns without a large offset."""
        largest = np.abs(train).max(axis=0)
        unit = np.where(largest > 0, largest, 1.0)  # squares of very small or large numbers would vanish or overflow
        centre, scale = train.mean(axis=0), unit * (train / unit).std(axis=0)
        constant: Bool[np.ndarray, " p"] = scale <= _CONSTANT * largest
        return cls(centre=centre, scale=np.where(constant, 1.0, scale), constant=constant)

    def apply(self, rows: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "m p"]:
        """Standardise rows; a column that was constant in training becomes 0 everywhere."""
        return np.where(self.constant, 0.0, (rows - self.centre) / self.scale)
