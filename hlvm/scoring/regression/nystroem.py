"""Kernel ridge regression on many rows: the Nyström approximation, in memory that does not grow with n².

With landmarks L among the training rows, ``φ(x) = K_LL^{-1/2} k(L, x)`` gives ``φ(x)·φ(y) ≈ k(x, y)``, exact when all
training rows are landmarks. Ridge regression on φ is kernel ridge with the approximate kernel and the same λ. Rows
are handled in blocks, and only m × m matrices are kept for m landmarks.

References:
    :cite:t:`williams2001nystroem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hlvm.scoring.regression.kernels import Kernel, kernel_matrix
from hlvm.scoring.regression.ridge import Best, Grid, Problem, Selected, blocks, select_exact, smoother_loo
from hlvm.scoring.row_groups import members

__all__ = ["fit_nystroem"]

_RANK = 1e-12  # eigenvalues of K_LL below this share of the largest are rounding


class _Features(NamedTuple):
    """φ: landmarks, and the map from kernel values to features."""

    landmarks: Float[np.ndarray, "m p"]
    root: Float[np.ndarray, "m r"]
    length: float
    kernel: Kernel

    @classmethod
    def of(cls, landmarks: np.ndarray, length: float, kernel: Kernel) -> _Features:
        values, vectors = np.linalg.eigh(kernel_matrix(landmarks, landmarks, length, kernel))
        keep = values > _RANK * values[-1]
        return cls(landmarks, vectors[:, keep] / np.sqrt(values[keep]), length, kernel)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        return kernel_matrix(rows, self.landmarks, self.length, self.kernel) @ self.root


def fit_nystroem(problem: Problem, grid: Grid, *, n_landmarks: int, max_select: int) -> Selected:
    """Kernel ridge with an approximate kernel.

    The bandwidth of each group is chosen by exact leave-one-out, with the exact kernel, on the first ``max_select``
    rows; then its ridge by leave-one-out with the approximate kernel on all of them.

    Args:
        problem: the data, rows in random order.
        grid: what to choose from.
        n_landmarks: so many of the first training rows are landmarks.
        max_select: rows on which the bandwidth is chosen.
    """
    _, test, targets, groups, _ = problem
    first = select_exact(problem.head(max_select), grid)
    best = Best(targets, groups, 0)
    predictions = np.zeros((len(test), targets.shape[1]))
    missed = np.zeros(len(first.ridge))
    for bandwidth in np.unique(first.bandwidth[np.isfinite(first.ridge)]):
        chosen = np.flatnonzero(first.bandwidth == bandwidth)
        columns = np.flatnonzero(np.isin(groups, chosen))
        features = _Features.of(problem.train[:n_landmarks], bandwidth * grid.unit, grid.kernel)
        _, renumbered = np.unique(groups[columns], return_inverse=True)
        own = problem._replace(targets=targets[:, columns], groups=renumbered)
        part, missed[chosen] = _ridge_on(features, own, grid.ridges)
        best.loo[:, columns] = part.loo
        best.ridge[chosen] = part.ridge
        best.bandwidth[chosen] = np.where(np.isfinite(part.ridge), bandwidth, np.nan)
        for block in blocks(len(test)):
            predictions[block, columns] = features.apply(test[block]) @ part.coefficients
    return best.selected(predictions, missed)


def _ridge_on(features: _Features, problem: Problem, ridges: Sequence[float]) -> tuple[Best, float]:
    """Ridge regression on φ with exact leave-one-out, in two passes over the rows, and the diagonal that φ misses."""
    train, _, targets, groups, together = problem
    if together is not None:  # rows of one label one after the other, so that no block cuts through them
        order = np.argsort(together, kind="stable")
        if (order[1:] < order[:-1]).any():
            ordered = problem._replace(train=train[order], targets=targets[order], together=together[order])
            best, missed = _ridge_on(features, ordered, ridges)
            best.loo[order] = best.loo.copy()
            return best, missed
    width = features.root.shape[1]
    gram, moments, diagonal = np.zeros((width, width)), np.zeros((width, targets.shape[1])), 0.0
    for block in blocks(len(train)):
        phi = features.apply(train[block])
        gram += phi.T @ phi
        moments += phi.T @ targets[block]
        diagonal += float((phi**2).sum())
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ moments
    shrinks = np.stack([1 / (values + ridge) for ridge in ridges], axis=1)
    residuals = [np.empty_like(targets) for _ in ridges]
    for block in blocks(len(train), together):
        phi = features.apply(train[block]) @ vectors
        parts = members(None if together is None else together[block])
        for k, residual in enumerate(residuals):
            fitted = phi @ (shrinks[:, k, None] * rotated)
            residual[block] = smoother_loo(targets[block] - fitted, phi, shrinks[:, k], parts)
    best = Best(targets, groups, width)
    for k, ridge in enumerate(ridges):
        best.offer(vectors @ (shrinks[:, k, None] * rotated), residuals[k], bandwidth=np.nan, ridge=ridge)
    return best, max(1 - diagonal / len(train), 0.0)
