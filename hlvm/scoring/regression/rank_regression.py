"""Regression by way of normal scores, and the choice of the best of several regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2
from hlvm.scoring.regression.scores import fit_kernel, score_targets

__all__ = ["best_of", "rank_r2_many"]


def rank_r2_many(
    representation: ArrayLike,
    targets: Mapping[str, ArrayLike],
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> dict[str, KernelR2]:
    """Kernel R² of many targets by way of normal scores: for columns that saturate or have heavy tails.

    Features and targets are replaced by their normal scores among the training rows
    (:class:`hlvm.scoring.regression.normal_scores.NormalScores`), and predictions mapped back: R² is that of the
    targets as they are.

    Args:
        representation: features, shape (n, p) or (n,).
        targets: name → shape (n, d) or (n,), same rows; at least one.
        key: a JAX key or an int.
        groups: a label per row, see :func:`kernel_r2`.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Name → score, with ``kernel="rbf of normal scores"`` or another kernel's name.

    Raises:
        ValueError: no targets, or an unfit array (see :func:`kernel_r2`).
    """
    config = config or RegressionConfig()
    fit = partial(fit_kernel, config=config)
    kernel = f"{config.kernel} of normal scores"
    return score_targets(fit, kernel, representation, targets, key, groups, config, by_ranks=True)


def best_of(scores: Sequence[KernelR2]) -> KernelR2:
    """The score whose regression has the least leave-one-out error on the training rows that all of them used."""
    rows = min(len(score.loo_residuals) for score in scores)
    return min(scores, key=lambda score: float((score.loo_residuals[:rows] ** 2).sum()))
