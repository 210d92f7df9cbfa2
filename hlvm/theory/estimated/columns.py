"""Variables as uncorrelated columns: what regressions read and predict.

Quantities count in units of their standard deviation, categories as one-hot columns. Rotating the columns of one
variable changes no distance and no sum of squared errors, so each variable is held as its principal components. Of an
image patch few of them may be left.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from hlvm._linalg import svd

__all__ = ["Columns"]

_CONSTANT = 1e-6
"""A column that varies by less than this share of its largest value is constant but for rounding of float32."""

_NO_VARIANCE = 1e-12
"""Components with less than this share of the largest variance are rounding."""

_LEFT = 1e-3
"""Of a cell so large a share of the variance, in its last components, is not predicted and counts as not known."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """One variable in uncorrelated columns, largest variance first.

    Attributes:
        parts: shape (n, r), centred on the rows that regressions are fitted on.
        n_predicted: the first so many of them are worth predicting.
        basis: shape (r, d): the variable's own columns, centred, are ``parts @ basis``.
    """

    parts: Float[np.ndarray, "n r"]
    n_predicted: int
    basis: Float[np.ndarray, "r d"]

    @classmethod
    def of(
        cls, values: Float[np.ndarray, "n d"], n_fitted: int, *, is_category: bool, is_cell: bool = False
    ) -> Columns:
        """Standardise and rotate.

        Args:
            values: draws, row by row.
            n_fitted: regressions are fitted on the first so many.
            is_category: the numbers are categories; those with more than two values become one-hot.
            is_cell: each dim counts in units of its own variance, as in losses, and not of that of all dims together.
        """
        columns, dim_of = _one_hot(values) if is_category else (values, np.arange(values.shape[1]))
        centred = columns - columns[:n_fitted].mean(axis=0)
        variance = columns.var(axis=0)
        variance[np.sqrt(variance) <= _CONSTANT * np.abs(columns).max(axis=0)] = 0.0
        centred[:, variance == 0] = 0.0
        of_dim = np.bincount(dim_of, weights=variance, minlength=values.shape[1])
        unit = np.sqrt(of_dim[dim_of] if is_cell else np.full(len(variance), of_dim.sum()))
        unit[unit == 0] = 1.0
        parts, directions = _rotated(centred / unit)
        strengths = (parts**2).sum(axis=0)
        left = 1 - np.cumsum(strengths) / strengths.sum() if len(strengths) else strengths
        return cls(
            parts=parts,
            n_predicted=min(int((left > _LEFT).sum()) + 1, len(left)) if is_cell else len(left),
            basis=directions * unit,
        )

    @property
    def n_parts(self) -> int:
        """Number of columns; 0 for a constant."""
        return self.parts.shape[1]


def _one_hot(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of ones and zeros, and the dim that each belongs to; numbers of two values stay as they are."""
    columns, dim_of = [], []
    for dim, column in enumerate(values.T):
        different = np.unique(column)
        hot = column[:, None] if len(different) <= 2 else (column[:, None] == different).astype(np.float64)
        columns.append(hot)
        dim_of += [dim] * hot.shape[1]
    return np.concatenate(columns, axis=1), np.asarray(dim_of)


def _rotated(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components about zero, and their directions, (r, d)."""
    n, d = columns.shape
    if d == 1:
        return (columns, np.ones((1, 1))) if columns.any() else (columns[:, :0], np.zeros((0, 1)))
    if d <= n:
        strengths, directions = np.linalg.eigh(columns.T @ columns)
        strengths, directions = strengths[::-1], directions.T[::-1]
    else:
        _, roots, directions = svd(columns)
        strengths = roots**2
    kept = directions[strengths > _NO_VARIANCE * max(float(strengths[0]), 1e-300)]
    return columns @ kept.T, kept
