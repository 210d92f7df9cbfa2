"""Ridge regression with exact leave-one-out errors, shared by all targets of one set of features.

For a linear smoother with fixed features, ``ŷ = H y``, the error on row i of a fit without row i is
``(y_i − ŷ_i) / (1 − H_ii)``: one factorisation scores all n leave-one-out fits. In the kernel form
``α = (K + λI)⁻¹ y`` the same number is ``α_i / [(K + λI)⁻¹]_ii``. Both hold for features and targets that are
standardised once, with all training rows.

References:
    :cite:t:`allen1974press` for the leave-one-out formula; :cite:t:`saunders1998dual` for kernel ridge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import get_lapack_funcs

__all__ = ["Selected", "fit_linear", "fit_rbf", "kernel_loo", "median_distance", "rbf", "soften"]

_MEDIAN_ROWS = 500  # the median distance of 500 rows is known to about 1 %
_BLOCK = 4096  # test rows predicted at a time, to bound memory
_POTRF, _POTRS, _TRTRI = get_lapack_funcs(("potrf", "potrs", "trtri"), dtype=np.float64)


class Selected(NamedTuple):
    """The fits that leave-one-out chose, one per group of target columns.

    Attributes:
        predictions: of the test rows, shape (n_test, D), in units of the standardised targets.
        loo_error: sum over a group's columns and the training rows of the squared leave-one-out errors, shape (G,).
        bandwidth: chosen multiple of the median distance, shape (G,); NaN when ``ridge`` is infinite or the
            kernel is linear.
        ridge: chosen λ, shape (G,); infinite when predicting the training mean was best.
    """

    predictions: Float[np.ndarray, "n_test D"]
    loo_error: Float[np.ndarray, " G"]
    bandwidth: Float[np.ndarray, " G"]
    ridge: Float[np.ndarray, " G"]


class _Best:
    """The best fit of each group so far. It starts at the infinite ridge: predict the training mean, which is 0."""

    def __init__(self, targets: Float[np.ndarray, "n D"], groups: Int[np.ndarray, " D"], n_coefficients: int):
        self._groups = groups
        n_groups = int(groups.max()) + 1
        self.loo_error = np.bincount(groups, weights=(targets**2).sum(axis=0), minlength=n_groups)
        self.bandwidth = np.full(n_groups, np.nan)
        self.ridge = np.full(n_groups, np.inf)
        self.coefficients = np.zeros((n_coefficients, targets.shape[1]))

    def offer(self, coefficients: np.ndarray, loo: np.ndarray, *, bandwidth: float, ridge: float) -> None:
        """Take this fit for the groups whose leave-one-out error it lowers."""
        error = np.bincount(self._groups, weights=(loo**2).sum(axis=0), minlength=len(self.ridge))
        better = error < self.loo_error
        if not better.any():
            return
        self.loo_error[better] = error[better]
        self.bandwidth[better], self.ridge[better] = bandwidth, ridge
        columns = better[self._groups]
        self.coefficients[:, columns] = coefficients[:, columns]

    def selected(self, predictions: np.ndarray) -> Selected:
        return Selected(predictions, self.loo_error, self.bandwidth, self.ridge)


def fit_rbf(
    train: Float[np.ndarray, "n p"],
    test: Float[np.ndarray, "m p"],
    targets: Float[np.ndarray, "n D"],
    groups: Int[np.ndarray, " D"],
    *,
    bandwidths: Sequence[float],
    ridges: Sequence[float],
    unit: float,
) -> Selected:
    """RBF kernel ridge; bandwidth and ridge chosen for each group of columns by exact leave-one-out.

    One Cholesky factor per pair serves all columns; below about 8 ridges per bandwidth that is cheaper than one
    eigendecomposition per bandwidth, and more accurate.

    Args:
        train: standardised training features.
        test: test features on the same scale.
        targets: standardised training targets (mean 0).
        groups: to which group each target column belongs: 0, 1, ..., G−1, each at least once.
        bandwidths: multiples of ``unit`` to try.
        ridges: values of λ to try, besides the infinite one.
        unit: length that the bandwidths are multiples of, see :func:`median_distance`.

    Returns:
        The chosen fits, with their predictions for the test rows.
    """
    best = _Best(targets, groups, len(train))
    squared = _squared_distances(train, train)
    for bandwidth in bandwidths:
        kernel = _rbf_of(squared, bandwidth * unit)
        for ridge in ridges:
            solved = kernel_loo(kernel, targets, ridge)
            if solved is not None:
                best.offer(*solved, bandwidth=bandwidth, ridge=ridge)
    predictions = np.zeros((len(test), targets.shape[1]))
    for bandwidth in np.unique(best.bandwidth[np.isfinite(best.ridge)]):
        columns = (best.bandwidth == bandwidth)[groups]
        for start in range(0, len(test), _BLOCK):
            block = slice(start, start + _BLOCK)
            kernel = rbf(test[block], train, bandwidth * unit)
            predictions[block, columns] = kernel @ best.coefficients[:, columns]
    return best.selected(predictions)


def kernel_loo(
    kernel: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n D"], ridge: float
) -> tuple[Float[np.ndarray, "n D"], Float[np.ndarray, "n D"]] | None:
    """Solve one kernel ridge regression, with its exact leave-one-out errors.

    Args:
        kernel: symmetric, positive semi-definite.
        targets: one column per target.
        ridge: λ > 0.

    Returns:
        Dual coefficients ``α = (K + λI)⁻¹ y`` and leave-one-out errors ``α_i / [(K + λI)⁻¹]_ii``, or ``None`` when
        rounding leaves ``K + λI`` not positive definite (λ too small for this kernel).
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
    return coefficients, coefficients / inverse_diagonal[:, None]


def fit_linear(
    train: Float[np.ndarray, "n p"],
    test: Float[np.ndarray, "m p"],
    targets: Float[np.ndarray, "n D"],
    groups: Int[np.ndarray, " D"],
    *,
    ridges: Sequence[float],
) -> Selected:
    """Linear ridge; the ridge chosen for each group of columns by exact leave-one-out. One SVD serves everything.

    Args:
        train: standardised training features.
        test: test features on the same scale.
        targets: standardised training targets (mean 0).
        groups: to which group each target column belongs.
        ridges: values of λ > 0 to try, besides the infinite one.

    Returns:
        The chosen fits, with their predictions for the test rows.
    """
    left, singular, right = np.linalg.svd(train, full_matrices=False)
    rotated = left.T @ targets
    best = _Best(targets, groups, train.shape[1])
    for ridge in ridges:
        shrink = singular**2 / (singular**2 + ridge)
        residual = targets - left @ (shrink[:, None] * rotated)
        leverage = np.einsum("ik,k,ik->i", left, shrink, left)
        weights = right.T @ ((singular / (singular**2 + ridge))[:, None] * rotated)
        # With p ≥ n the leverage tends to 1 as λ → 0; the floor keeps rounding from flipping the sign.
        loo = residual / np.maximum(1 - leverage, np.finfo(np.float64).eps)[:, None]
        best.offer(weights, loo, bandwidth=np.nan, ridge=ridge)
    return best.selected(test @ best.coefficients)


def rbf(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "m p"], length: float) -> Float[np.ndarray, "n m"]:
    """RBF kernel ``exp(−‖a_i − b_j‖² / (2 length²))``."""
    return _rbf_of(_squared_distances(a, b), length)


def soften(rows: Float[np.ndarray, "n p"], limit: float) -> Float[np.ndarray, "n p"]:
    """Bound each column softly, ``x / √(1 + (x / limit)²)``: one-to-one, so nothing is lost, and never beyond ±limit.

    Without it a test row far outside the training rows makes a nearly interpolating fit extrapolate wildly, and
    a heavy-tailed column squeezes most rows into a corner of the kernel's reach.

    Args:
        rows: standardised features.
        limit: bound in training standard deviations; infinite for no change.

    Returns:
        The bounded features.
    """
    return rows / np.sqrt(1 + (rows / limit) ** 2)


def median_distance(rows: Float[np.ndarray, "n p"]) -> float:
    """Median distance between distinct rows (of the first 500): the usual unit of a bandwidth.

    Args:
        rows: in random order.

    Returns:
        The median over the pairs that differ, so that many duplicated rows do not make it 0; 1 when all rows are equal.
    """
    some = rows[:_MEDIAN_ROWS]
    squared = _squared_distances(some, some)[np.triu_indices(len(some), k=1)]
    # Rounding in the squared distances is of this order; what lies below is a duplicate.
    distinct = squared > 1e-12 * max(float((some**2).sum(axis=1).max()), np.finfo(np.float64).tiny)
    return float(np.sqrt(np.median(squared[distinct]))) if distinct.any() else 1.0


def _squared_distances(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "n m"]:
    squared = a @ b.T
    squared *= -2
    squared += (a**2).sum(axis=1)[:, None]
    squared += (b**2).sum(axis=1)
    return np.maximum(squared, 0.0, out=squared)


def _rbf_of(squared: Float[np.ndarray, "n m"], length: float) -> Float[np.ndarray, "n m"]:
    kernel = squared * (-0.5 / length**2)
    return np.exp(kernel, out=kernel)
