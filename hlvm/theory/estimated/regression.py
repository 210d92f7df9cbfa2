"""Ridge regression on linear features and a kernel, for many targets at once; held-out errors.

An RBF kernel beside a linear one, on landmarks (Nyström): functions of the inputs that are linear cost nothing, curved
ones are found as far as the rows allow. One eigendecomposition per bandwidth serves all ridges and all targets. Each
target takes the bandwidth and the ridge, or the linear fit alone, or the mean, that generalised cross-validation on the
fitted rows prefers. With as many landmarks as rows this is kernel ridge regression, exactly.

References:
    Generalised cross-validation: Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good
    ridge parameter", Technometrics 21 (1979). Its factor of 1.4: Kim and Gu, "Smoothing spline Gaussian regression:
    more scalable computation via efficient approximation", Journal of the Royal Statistical Society B 66 (2004).
    Landmarks: :cite:t:`williams2001nystroem`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

__all__ = ["Inputs", "held_out_residuals"]

_LANDMARKS = 400
_LANDMARKS_PER_ROOT = 8
"""Landmarks: this times the root of the number of fitted rows, so that more rows find more curved functions, or 400."""

_BANDWIDTHS = (0.5, 1.5)
"""Multiples of the median distance."""

_RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of the kernel, which has 1 on its diagonal."""

_LINEAR_RIDGES = (1e-8, 1e-6, 1e-4, 1e-2, 1e-1, 1.0)
"""Of linear features, in units of the number of rows."""

_SOFT_LIMIT = 4.0
"""Standard deviations at which inputs of the kernel are softly bounded, so that no row lies far from all others."""

_MOST_FREEDOM = 0.5
"""Fits with more degrees of freedom per row are not trusted: cross-validation divides nothing by nothing there."""

_DEAR = 1.4
"""Degrees of freedom cost so much more than they should, so that the choice of a fit does not itself fit noise."""

_MEDIAN_ROWS = 500


class Inputs:
    """Columns that regressions may read, made ready for any choice of cells.

    Args:
        parts: of each cell, shape (n, r), centred and uncorrelated, largest variance first.
        n_fitted: the first so many rows are fitted on, the others are held out.
        most_linear: so many linear features at most; cells give up their last components first.
    """

    def __init__(self, parts: list[Float[np.ndarray, "n r"]], n_fitted: int, *, most_linear: int = 512) -> None:
        self.n_fitted, self._most_linear = n_fitted, most_linear
        self._columns = np.concatenate(parts, axis=1)
        self._cells = np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts])
        self._rank = np.concatenate([np.arange(part.shape[1]) for part in parts])
        spread = self._columns[:n_fitted].std(axis=0)
        bounded = _SOFT_LIMIT * np.where(spread > 0, spread, 1.0)
        self._soft = self._columns / np.sqrt(1 + (self._columns / bounded) ** 2)

    def of_cells(self, cells: Int[np.ndarray, " k"]) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n q"]]:
        """Columns of some cells: bounded ones for the kernel, and linear features."""
        chosen = np.isin(self._cells, cells)
        linear = chosen & (self._rank < max(1, self._most_linear // max(1, len(cells))))
        return self._soft[:, chosen], self._columns[:, linear]

    def features(self, cells: Int[np.ndarray, " k"]) -> Float[np.ndarray, "n r"]:
        """Features of some cells, for fits of other kinds: those of one kernel, and linear ones, centred."""
        soft, linear = self.of_cells(cells)
        found = np.concatenate([_features(next(_kernels(soft, self.n_fitted, (1.0,)))), linear], axis=1)
        return found - found[: self.n_fitted].mean(axis=0)


def held_out_residuals(
    inputs: Inputs,
    cells: Int[np.ndarray, " k"],
    targets: Float[np.ndarray, "n D"],
    groups: Int[np.ndarray, " D"],
) -> Float[np.ndarray, "n_held D"]:
    """Errors of the best fit of each group of targets on rows that it was not fitted on.

    Args:
        inputs: what may be read.
        cells: positions of the cells that are read.
        targets: shape (n, D), centred on the fitted rows.
        groups: the group of each target: 0, 1, ..., each at least once.
    """
    fitted, held = targets[: inputs.n_fitted], targets[inputs.n_fitted :]
    soft, linear = inputs.of_cells(cells)
    if not soft.shape[1]:
        return held
    best = _Best(fitted, held, groups)
    n, scale = len(fitted), np.sqrt(max(1, linear.shape[1]))
    best.offer(linear, [ridge * n for ridge in _LINEAR_RIDGES])
    for kernel in _kernels(soft, n, _BANDWIDTHS):
        best.offer(np.concatenate([_features(kernel), linear / scale], axis=1), _RIDGES)
    return held - best.predicted


class _Best:
    """The best fit of each group so far; it starts with predicting the mean of the fitted rows."""

    def __init__(self, fitted: np.ndarray, held: np.ndarray, groups: np.ndarray) -> None:
        self._targets, self._groups = fitted, groups
        self._squares = (fitted**2).sum(axis=0)
        self._error = self._sums(self._squares) / (1 - _DEAR / len(fitted)) ** 2
        self.predicted = np.zeros_like(held)

    def _sums(self, of_targets: np.ndarray) -> np.ndarray:
        return np.bincount(self._groups, weights=of_targets)

    def offer(self, features: np.ndarray, ridges: list[float] | tuple[float, ...]) -> None:
        n = len(self._targets)
        features = features - features[:n].mean(axis=0)
        strengths, directions = scipy.linalg.eigh(features[:n].T @ features[:n], check_finite=False, driver="evd")
        strengths = np.maximum(strengths, 0.0)
        told = directions.T @ (features[:n].T @ self._targets)
        errors = np.full((len(ridges), len(self._error)), np.inf)
        for place, ridge in enumerate(ridges):
            freedom = (1 + (strengths / (strengths + ridge)).sum()) / n
            if freedom <= _MOST_FREEDOM:
                explained = ((strengths + 2 * ridge) / (strengths + ridge) ** 2) @ told**2
                errors[place] = self._sums(self._squares - explained) / (1 - _DEAR * freedom) ** 2
        chosen = errors.argmin(axis=0)
        least = errors[chosen, np.arange(len(chosen))]
        better = least < self._error
        if not better.any():
            return
        self._error[better] = least[better]
        columns = better[self._groups]
        ridge = np.asarray(ridges)[chosen[self._groups[columns]]]
        weights = directions @ (told[:, columns] / (strengths[:, None] + ridge))
        self.predicted[:, columns] = features[n:] @ weights


def _kernels(
    soft: Float[np.ndarray, "n p"], n_fitted: int, bandwidths: tuple[float, ...]
) -> Iterator[Float[np.ndarray, "n m"]]:
    """Kernels between all rows and the landmarks, one after the other."""
    n_landmarks = min(n_fitted, max(_LANDMARKS, int(_LANDMARKS_PER_ROOT * np.sqrt(n_fitted))))
    squared = _squared_distances(soft, soft[:n_landmarks])
    unit = _median(squared[: min(n_fitted, _MEDIAN_ROWS)])
    for bandwidth in bandwidths:
        yield np.exp(squared * (-0.5 / (bandwidth * unit) ** 2))


def _features(kernel: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n r"]:
    """Features whose inner products are those of the kernel, as far as the landmarks, the first rows, tell."""
    strengths, directions = scipy.linalg.eigh(kernel[: kernel.shape[1]], check_finite=False, driver="evd")
    kept = strengths > 1e-12 * strengths[-1]
    return kernel @ (directions[:, kept] / np.sqrt(strengths[kept]))


def _squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    squared = rows @ others.T
    squared *= -2
    squared += (rows**2).sum(axis=1)[:, None]
    squared += (others**2).sum(axis=1)
    return np.maximum(squared, 0.0, out=squared)


def _median(squared: np.ndarray) -> float:
    """Median distance of different rows; 1 if all are equal."""
    different = squared[squared > 1e-12 * max(float(squared.max()), 1e-300)]
    return float(np.sqrt(np.median(different))) if different.size else 1.0
