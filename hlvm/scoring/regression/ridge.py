"""Ridge regression with exact leave-one-out errors, shared by all targets of one set of features.

For a linear smoother with fixed features, ``ŷ = H y``, the error on row i of a fit without row i is
``(y_i − ŷ_i) / (1 − H_ii)``: one factorisation scores all n leave-one-out fits. Rows that belong together are left out
together, by the same formula with blocks instead of entries. In the kernel form
``α = (K + λI)⁻¹ y`` the same number is ``α_i / [(K + λI)⁻¹]_ii``. Both hold for features and targets that are
standardised once, with all training rows.

References:
    :cite:t:`allen1974press` for the leave-one-out formula; :cite:t:`saunders1998dual` for kernel ridge.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import get_lapack_funcs

from hlvm._linalg import svd
from hlvm.scoring.regression.kernels import Kernel, kernel_matrix, kernel_of, squared_distances
from hlvm.scoring.row_groups import members

__all__ = [
    "BLOCK",
    "Best",
    "Grid",
    "Problem",
    "Selected",
    "blocks",
    "fit_exact",
    "fit_linear",
    "kernel_loo",
    "select_exact",
    "smoother_loo",
]

BLOCK = 4096
"""Rows handled at a time where a kernel with many rows would not fit into memory."""

_TIE = 1e-9
"""Errors that differ by less differ by rounding: where all rows are left out together, every fit predicts the mean."""

_POTRF, _POTRS, _TRTRI = get_lapack_funcs(("potrf", "potrs", "trtri"), dtype=np.float64)


class Problem(NamedTuple):
    """Standardised data of a regression.

    Attributes:
        train: training features.
        test: test features on the same scale.
        targets: training targets (mean 0).
        groups: to which group each target column belongs: 0, 1, ..., G−1, each at least once.
        together: label of each training row; rows of one label are left out together. ``None`` for one row at a time.
    """

    train: Float[np.ndarray, "n p"]
    test: Float[np.ndarray, "m p"]
    targets: Float[np.ndarray, "n D"]
    groups: Int[np.ndarray, " D"]
    together: Int[np.ndarray, " n"] | None = None

    def head(self, count: int) -> Problem:
        """The same with the first training rows only."""
        together = None if self.together is None else self.together[:count]
        return self._replace(train=self.train[:count], targets=self.targets[:count], together=together)


class Grid(NamedTuple):
    """Choices of leave-one-out.

    Attributes:
        bandwidths: multiples of ``unit`` to try.
        ridges: values of λ > 0 to try, besides the infinite one.
        unit: length that the bandwidths are multiples of, see :func:`hlvm.scoring.regression.kernels.median_distance`.
        kernel: which one.
    """

    bandwidths: Sequence[float]
    ridges: Sequence[float]
    unit: float
    kernel: Kernel = "rbf"


class Selected(NamedTuple):
    """The fits that leave-one-out chose, one per group of target columns.

    Attributes:
        predictions: of the test rows, shape (n_test, D), in units of the standardised targets.
        loo: leave-one-out errors, target minus prediction, of the first ``n_loo`` training rows (those that selection
            used), shape (n_loo, D). No rows where selection uses none.
        bandwidth: chosen multiple of the median distance, shape (G,); NaN when ``ridge`` is infinite or the
            kernel is linear.
        ridge: chosen λ, shape (G,); infinite when predicting the training mean was best.
        missed: mean over training rows of the kernel's diagonal that a Nyström approximation misses, shape (G,), from
            0 (exact) to 1.
        unit: length that the bandwidths are multiples of; NaN where there is none.
    """

    predictions: Float[np.ndarray, "n_test D"]
    loo: Float[np.ndarray, "n_loo D"]
    bandwidth: Float[np.ndarray, " G"]
    ridge: Float[np.ndarray, " G"]
    missed: Float[np.ndarray, " G"]
    unit: float = math.nan


class Best:
    """The best fit of each group so far. It starts at the infinite ridge: predict the training mean, which is 0.

    Attributes:
        error: sum of the squared leave-one-out errors of each group, shape (G,).
        loo: these errors, shape (n, D).
        bandwidth: of the best fit, shape (G,).
        ridge: of the best fit, shape (G,).
        coefficients: of the best fit, shape (n_coefficients, D).
    """

    def __init__(self, targets: Float[np.ndarray, "n D"], groups: Int[np.ndarray, " D"], n_coefficients: int):
        self._groups = groups
        self.error = self._sums(targets)
        self.loo = targets.copy()
        self.bandwidth = np.full(len(self.error), np.nan)
        self.ridge = np.full(len(self.error), np.inf)
        self.coefficients = np.zeros((n_coefficients, targets.shape[1]))

    def offer(self, coefficients: np.ndarray, loo: np.ndarray, *, bandwidth: float, ridge: float) -> None:
        """Take this fit for the groups whose leave-one-out error it lowers."""
        error = self._sums(loo)
        better = error < self.error * (1 - _TIE)
        if not better.any():
            return
        self.error[better] = error[better]
        self.bandwidth[better], self.ridge[better] = bandwidth, ridge
        columns = better[self._groups]
        self.loo[:, columns] = loo[:, columns]
        self.coefficients[:, columns] = coefficients[:, columns]

    def columns_of(self, bandwidth: float) -> np.ndarray:
        """Target columns that have this bandwidth and a finite ridge."""
        return ((self.bandwidth == bandwidth) & np.isfinite(self.ridge))[self._groups]

    def selected(self, predictions: np.ndarray, missed: np.ndarray | None = None) -> Selected:
        """The choices, with predictions made from them."""
        missed = np.zeros(len(self.error)) if missed is None else missed
        return Selected(predictions, self.loo, self.bandwidth, self.ridge, missed)

    def _sums(self, errors: np.ndarray) -> np.ndarray:
        return np.bincount(self._groups, weights=(errors**2).sum(axis=0), minlength=int(self._groups.max()) + 1)


def fit_exact(problem: Problem, grid: Grid, *, max_select: int | None = None) -> Selected:
    """Kernel ridge; bandwidth and ridge chosen for each group of columns by exact leave-one-out.

    One Cholesky factor per pair serves all columns; below about 8 ridges per bandwidth that is cheaper than one
    eigendecomposition per bandwidth, and more accurate.

    Args:
        problem: the data.
        grid: what to choose from.
        max_select: choose on the first so many training rows, and fit the chosen pairs on all; ``None`` for all.
    """
    train, test = problem.train, problem.test
    n_select = min(len(train), max_select or len(train))
    best = select_exact(problem.head(n_select), grid)
    if n_select < len(train):
        best.coefficients = _refitted(best, problem, grid)
    predictions = np.zeros((len(test), problem.targets.shape[1]))
    for bandwidth in np.unique(best.bandwidth[np.isfinite(best.ridge)]):
        columns = best.columns_of(bandwidth)
        for block in blocks(len(test)):
            cross = kernel_matrix(test[block], train, bandwidth * grid.unit, grid.kernel)
            predictions[block, columns] = cross @ best.coefficients[:, columns]
    return best.selected(predictions)


def select_exact(problem: Problem, grid: Grid) -> Best:
    """The selection of :func:`fit_exact`, on all training rows."""
    best = Best(problem.targets, problem.groups, len(problem.train))
    parts = members(problem.together)
    squared = squared_distances(problem.train, problem.train)
    for bandwidth in grid.bandwidths:
        values = kernel_of(squared, bandwidth * grid.unit, grid.kernel)
        for ridge in grid.ridges:
            solved = kernel_loo(values, problem.targets, ridge, parts)
            if solved is not None:
                best.offer(*solved, bandwidth=bandwidth, ridge=ridge)
    return best


def _refitted(best: Best, problem: Problem, grid: Grid) -> np.ndarray:
    """Coefficients of the chosen pairs on all training rows."""
    train, targets = problem.train, problem.targets
    coefficients = np.zeros((len(train), targets.shape[1]))
    finite = np.isfinite(best.ridge)
    squared = squared_distances(train, train)
    for bandwidth, ridge in sorted(set(zip(best.bandwidth[finite], best.ridge[finite], strict=True))):
        columns = ((best.bandwidth == bandwidth) & (best.ridge == ridge))[problem.groups]
        shifted = kernel_of(squared, bandwidth * grid.unit, grid.kernel).T
        shifted[np.diag_indices_from(shifted)] += ridge
        factor, failed = _POTRF(shifted, lower=1, clean=0, overwrite_a=1)
        if failed:  # more rows can make a tiny ridge vanish in rounding; the next one of the grid is a factor off
            raise ValueError(f"ridges: {ridge:g} is too small for {len(train)} rows: leave it out of the grid")
        coefficients[:, columns] = _POTRS(factor, targets[:, columns], lower=1)[0]
    return coefficients


def blocks(n_rows: int, together: Int[np.ndarray, " n"] | None = None) -> Iterator[slice]:
    """Slices of about :data:`BLOCK` rows that do not cut through rows of one label."""
    starts = np.arange(0, n_rows, BLOCK)
    if together is not None:
        first = np.flatnonzero(np.append(True, np.diff(together) != 0))
        starts = np.unique(first[np.searchsorted(first, starts, side="right") - 1])
    return (slice(int(a), int(b)) for a, b in itertools.pairwise(np.append(starts, n_rows)))


def kernel_loo(
    kernel: Float[np.ndarray, "n n"],
    targets: Float[np.ndarray, "n D"],
    ridge: float,
    parts: Sequence[np.ndarray] = (),
) -> tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "n D"]] | None:
    """Solve one kernel ridge regression, with its exact leave-one-out errors.

    Args:
        kernel: symmetric, positive semi-definite.
        targets: one column per target.
        ridge: λ > 0.
        parts: row numbers of each set of rows that is left out together.

    Returns:
        Dual coefficients ``α = (K + λI)⁻¹ y`` and leave-one-out errors ``α_i / [(K + λI)⁻¹]_ii`` (of a set G of rows:
        ``[(K + λI)⁻¹]_GG⁻¹ α_G``), or ``None`` when rounding leaves ``K + λI`` not positive definite (λ too small for
        this kernel).
    """
    shifted = kernel.T.copy(order="F")  # symmetric: the transpose is the same matrix, already in LAPACK's order
    shifted[np.diag_indices_from(shifted)] += ridge
    factor, failed = _POTRF(shifted, lower=1, clean=1, overwrite_a=1)
    if failed:
        return None
    coefficients, _ = _POTRS(factor, targets, lower=1)
    inverse_factor, failed = _TRTRI(factor, lower=1, overwrite_c=1)
    if failed:
        return None
    inverse_diagonal = np.einsum("ki,ki->i", inverse_factor, inverse_factor)
    errors = coefficients / inverse_diagonal[:, None]
    for rows in parts:
        of_rows = inverse_factor[:, rows]
        errors[rows] = np.linalg.solve(of_rows.T @ of_rows, coefficients[rows])
    return coefficients, errors


def smoother_loo(
    residual: Float[np.ndarray, "n D"],
    left: Float[np.ndarray, "n r"],
    shrink: Float[np.ndarray, " r"],
    parts: Sequence[np.ndarray] = (),
) -> Float[np.ndarray, "n D"]:
    """Leave-one-out errors of the smoother ``H = left · diag(shrink) · leftᵀ``.

    Args:
        residual: ``y − H y``.
        left: features of each row.
        shrink: weight of each feature.
        parts: row numbers of each set G of rows that is left out together: its errors are ``(I − H_GG)⁻¹ residual_G``.
    """
    least = np.finfo(np.float64).eps  # with p ≥ n the leverage tends to 1 as λ → 0: rounding must not flip the sign
    errors = residual / np.maximum(1 - (left**2) @ shrink, least)[:, None]
    root = np.sqrt(shrink)
    for rows in parts:
        scaled = left[rows] * root  # H_GG is scaled @ scaled.T; the smaller of the two matrices is inverted
        if len(rows) <= len(shrink):
            kept = np.eye(len(rows)) * (1 + least) - scaled @ scaled.T
            errors[rows] = np.linalg.lstsq(kept, residual[rows])[0]
        else:
            kept = np.eye(len(shrink)) * (1 + least) - scaled.T @ scaled
            errors[rows] = residual[rows] + scaled @ np.linalg.lstsq(kept, scaled.T @ residual[rows])[0]
    return errors


def fit_linear(problem: Problem, *, ridges: Sequence[float]) -> Selected:
    """Linear ridge; the ridge chosen for each group of columns by exact leave-one-out. One SVD serves everything.

    Args:
        problem: the data.
        ridges: values of λ > 0 to try, besides the infinite one.
    """
    targets = problem.targets
    parts = members(problem.together)
    left, singular, right = svd(problem.train)
    rotated = left.T @ targets
    best = Best(targets, problem.groups, problem.train.shape[1])
    for ridge in ridges:
        shrink = singular**2 / (singular**2 + ridge)
        residual = targets - left @ (shrink[:, None] * rotated)
        weights = right.T @ ((singular / (singular**2 + ridge))[:, None] * rotated)
        best.offer(weights, smoother_loo(residual, left, shrink, parts), bandwidth=np.nan, ridge=ridge)
    return best.selected(problem.test @ best.coefficients)
