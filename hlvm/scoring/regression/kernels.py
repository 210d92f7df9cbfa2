"""Kernels of standardised features: distances, their unit, and a soft bound for outlying rows."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

__all__ = ["KERNELS", "Kernel", "kernel_matrix", "kernel_of", "median_distance", "soften", "squared_distances"]

Kernel = Literal["rbf", "laplace", "matern32", "matern52"]
"""With r = ‖x − y‖ / ℓ: ``"rbf"`` is exp(−r²/2), ``"laplace"`` exp(−r) (Matérn 1/2, of the Euclidean distance;
scikit-learn's ``laplacian_kernel`` takes the sum of absolute differences instead), ``"matern32"``
(1 + √3 r) exp(−√3 r), ``"matern52"`` (1 + √5 r + 5r²/3) exp(−√5 r)."""

KERNELS: tuple[Kernel, ...] = get_args(Kernel)
"""Every kernel."""

_MEDIAN_ROWS = 500  # the median distance of 500 rows is known to about 1 %


def kernel_matrix(
    a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "m p"], length: float, kernel: Kernel = "rbf"
) -> Float[np.ndarray, "n m"]:
    """Kernel between the rows of two arrays on one scale: from 0 to 1, which equal rows have. ``length`` is ℓ > 0."""
    return kernel_of(squared_distances(a, b), length, kernel)


def kernel_of(squared: Float[np.ndarray, "n m"], length: float, kernel: Kernel) -> Float[np.ndarray, "n m"]:
    """Kernel of squared distances; see :data:`Kernel` for the formulas."""
    if kernel == "rbf":
        values = squared * (-0.5 / length**2)
        return np.exp(values, out=values)
    scaled = np.sqrt(squared)
    scaled *= {"laplace": 1.0, "matern32": 3**0.5, "matern52": 5**0.5}[kernel] / length
    values = np.exp(-scaled)
    if kernel == "matern32":
        values *= 1 + scaled
    elif kernel == "matern52":
        values *= 1 + scaled + scaled**2 / 3
    return values


def squared_distances(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "n m"]:
    """Squared Euclidean distances between rows, never below 0."""
    squared = a @ b.T
    squared *= -2
    squared += (a**2).sum(axis=1)[:, None]
    squared += (b**2).sum(axis=1)
    return np.maximum(squared, 0.0, out=squared)


def soften(rows: Float[np.ndarray, "n p"], limit: float) -> Float[np.ndarray, "n p"]:
    """Bound each column softly, ``x / √(1 + (x / limit)²)``: one-to-one, so nothing is lost, and never beyond ±limit.

    Without it a test row far outside the training rows makes a nearly interpolating fit extrapolate wildly, and
    a heavy-tailed column squeezes most rows into a corner of the kernel's reach. The limit counts training standard
    deviations; infinite for no change.
    """
    return rows / np.sqrt(1 + (rows / limit) ** 2)


def median_distance(rows: Float[np.ndarray, "n p"]) -> float:
    """Median distance between distinct rows (of the first 500, in random order): the usual unit of a bandwidth.

    Pairs of equal rows do not count, so that many of them do not make it 0; it is 1 when all rows are equal.
    """
    some = rows[:_MEDIAN_ROWS]
    squared = squared_distances(some, some)[np.triu_indices(len(some), k=1)]
    # Rounding in the squared distances is of this order; what lies below is a duplicate.
    distinct = squared > 1e-12 * max(float((some**2).sum(axis=1).max()), np.finfo(np.float64).tiny)
    return float(np.sqrt(np.median(squared[distinct]))) if distinct.any() else 1.0
