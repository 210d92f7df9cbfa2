"""The direction of a block that a representation holds least of.

R² over a block weights directions by their variance, so a block can score 0.99 while one of its directions is lost
altogether. Here the block is rotated to its principal axes, each axis is predicted on its own and brought to unit
variance, and the direction with the largest leave-one-out error on the training rows is measured on the test rows.
Choosing and measuring use different rows, so the measurement is not biased by the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hlvm.scoring.intervals import Interval, percentile_limits
from hlvm.scoring.regression.r2 import KernelR2, pooled, resampled_sums, sums_of_squares
from hlvm.scoring.regression.rank_regression import best_of
from hlvm.scoring.regression.splitting import Split, Standardiser

__all__ = ["LEAST_SHARE", "Axes", "WorstDirection", "principal_axes", "worst_direction"]

LEAST_SHARE = 1e-4
"""Principal axes with less than this share of the mean variance of the standardised columns are not judged."""


class WorstDirection(NamedTuple):
    """The direction of a block with the largest relative error.

    Attributes:
        weights: the direction as weights of the block's standardised columns, shape (d,), of unit length.
        share: its share of the variance of the standardised block, from 0 to 1.
        r2: held-out R² of the block along it, by the best of the regressions that were tried, with its interval.
    """

    weights: Float[np.ndarray, " d"]
    share: float
    r2: Interval


class Axes(NamedTuple):
    """Principal axes of a block, from its training rows.

    Attributes:
        values: rows along each axis, shape (n, k).
        vectors: the axes as weights of the standardised columns, shape (d, k).
        variances: variance along each, shape (k,).
    """

    values: Float[np.ndarray, "n k"]
    vectors: Float[np.ndarray, "d k"]
    variances: Float[np.ndarray, " k"]

    @property
    def targets(self) -> dict[str, Float[np.ndarray, " n"]]:
        """One regression target per axis."""
        return {f"axis {k}": column for k, column in enumerate(self.values.T)}


def principal_axes(block: Float[np.ndarray, "n d"], split: Split) -> Axes:
    """Principal axes of a block, by the standardised training rows of a split, without those of hardly any variance."""
    standardiser = Standardiser.fit(block[split.train])
    standard = standardiser.apply(block)
    train = standard[split.train]
    variances, vectors = np.linalg.eigh(train.T @ train / len(train))
    varying = max(int((~standardiser.constant).sum()), 1)
    keep = variances > LEAST_SHARE * variances.sum() / varying if variances.sum() > 0 else np.zeros(0, dtype=int)
    return Axes(standard @ vectors[:, keep], vectors[:, keep], variances[keep])


def worst_direction(
    axes: Axes,
    tables: Sequence[Mapping[str, KernelR2]],
    weights: Float[np.ndarray, "n_boot n_test"],
    *,
    least_share: float = 0.0,
) -> WorstDirection | None:
    """Find and measure it.

    Args:
        axes: of the block.
        tables: scores of :attr:`Axes.targets` by each of several regressions, all on the split of the axes. An axis
            takes the regression with the least leave-one-out error.
        weights: bootstrap weights of the test rows.
        least_share: axes with a smaller share of the variance are left out.

    Returns:
        The direction; ``None`` when the block has none that varies in both parts.
    """
    total = axes.variances.sum()
    large = axes.variances >= least_share * total
    best = []
    for name in np.asarray(list(axes.targets))[large]:
        scores = [table[name] for table in tables]
        if np.isnan(scores[0].value):
            return None
        best.append(best_of(scores))
    if not best:
        return None
    rows = min(len(score.loo_residuals) for score in best)
    errors = np.concatenate([score.loo_residuals[:rows] for score in best], axis=1)
    _, vectors = np.linalg.eigh(errors.T @ errors)
    direction = vectors[:, -1]
    residuals = np.concatenate([score.residuals for score in best], axis=1) @ direction
    targets = np.concatenate([score.targets for score in best], axis=1) @ direction
    sse, sst = sums_of_squares(residuals[:, None], targets[:, None], np.ones((1, len(targets))))
    only = np.zeros(1, dtype=int)
    value = float(pooled(sse, sst, only)[0])
    draws = pooled(*resampled_sums(residuals[:, None], targets[:, None], weights, best[0].split.test_groups), only)
    low, high = percentile_limits(draws, best[0].level)
    along = axes.vectors[:, large] @ (direction / np.sqrt(axes.variances[large]))
    size = float(np.linalg.norm(along))
    # The whitened direction has variance 1; along the unit vector it is 1 / size².
    r2 = Interval(value=value, low=float(low), high=float(high))
    return WorstDirection(along / size, float(1 / size**2 / total), r2)
