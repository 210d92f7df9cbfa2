"""Scores of single coordinates that the field compares with: MCC, DCI, SAP and MIG.

They ask whether each latent has a coordinate of its own. Block-identification, which the theory of this package is
about, asks less: any invertible map within a block is allowed. So a low value here refutes nothing, and several of
them are well above 0 for noise: report each beside :func:`hlvm.scoring.permutation_test` of the same score.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.regression.splitting import Standardiser, random_split
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import row_groups

__all__ = ["DCI", "dci", "mcc", "mig", "sap"]


@own_settings
def mcc(representation: ArrayLike, latents: ArrayLike, *, method: str = "pearson") -> float:
    """Mean absolute correlation of the latents with their coordinates, under the best one-to-one matching.

    Args:
        representation: shape (n, d) or (n,); as many columns as ``latents``.
        latents: shape (n, d) or (n,), same rows.
        method: correlation of values (``"pearson"``) or of ranks (``"spearman"``).

    Returns:
        Between 0 and 1, in sample. A constant column correlates with nothing (0). For noise well above 0: the matching
        picks the largest of many.

    Raises:
        ValueError: unequal numbers of columns, an unknown method, or an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`hyvarinen2016tcl`.
    """
    code, truth = paired_matrices("representation", representation, "latents", latents)
    if code.shape[1] != truth.shape[1]:
        raise ValueError(
            f"expected as many columns in both arrays, got {code.shape[1]} and {truth.shape[1]}: MCC matches one to "
            "one; for blocks use block_verdict or cca"
        )
    if method not in ("pearson", "spearman"):
        raise ValueError(f'method: expected "pearson" or "spearman", got {method!r}')
    if method == "spearman":
        code, truth = rankdata(code, axis=0), rankdata(truth, axis=0)
    correlations = np.abs(_correlations(code, truth))
    return float(correlations[linear_sum_assignment(correlations, maximize=True)].mean())


def _correlations(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "p q"]:
    standard = [Standardiser.fit(array).apply(array) for array in (a, b)]
    return np.clip(standard[0].T @ standard[1] / len(a), -1.0, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DCI:
    """Disentanglement, completeness and informativeness.

    Attributes:
        disentanglement: does each coordinate serve one latent? From 0 to 1; weighted by the coordinates' importance.
        completeness: is each latent served by one coordinate? From 0 to 1; mean over latents.
        informativeness: held-out R² of each latent, clipped at 0, averaged; from 0 to 1.
        importance: share of each coordinate (rows) in predicting each latent (columns), shape (p, d); columns sum to 1,
            or to 0 when nothing was found.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: np.ndarray


@own_settings
def dci(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    n_trees: int = 50,
    max_rows: int = 4000,
    groups: ArrayLike | None = None,
) -> DCI:
    """DCI of continuous latents: one random forest per latent, importances by impurity, R² on a held-out quarter.

    Args:
        representation: shape (n, p) or (n,).
        latents: shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        n_trees: trees in each forest.
        max_rows: most rows to use.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.

    Returns:
        The three scores. With p or d of 1 the matching entropy is 0 and its score 1: nothing can be shared.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`eastwood2018dci`. Their informativeness is an error; here it is R², so that more is better, and no
        prediction of a continuous latent is ever compared with ``==``.
    """
    from sklearn.ensemble import RandomForestRegressor

    code, truth = paired_matrices("representation", representation, "latents", latents)
    streams = random_streams(key)
    together = row_groups(code, truth, groups)
    split = random_split(
        len(code), streams.split, test_fraction=0.25, max_train=max_rows, max_test=max_rows, groups=together
    )
    # Trees do not care for units, but compare in float32; a latent that is constant but for rounding becomes 0.
    code, truth = (Standardiser.fit(array[split.train]).apply(array) for array in (code, truth))
    importance = np.zeros((code.shape[1], truth.shape[1]))
    explained = np.zeros(truth.shape[1])
    for column, seed in enumerate(streams.network.integers(2**31, size=truth.shape[1])):
        forest = RandomForestRegressor(n_trees, min_samples_leaf=3, random_state=int(seed))
        train, test = truth[split.train, column], truth[split.test, column]
        forest.fit(code[split.train], train)
        importance[:, column] = forest.feature_importances_
        total = ((test - test.mean()) ** 2).sum()
        if total > 0:
            explained[column] = max(1 - ((test - forest.predict(code[split.test])) ** 2).sum() / total, 0.0)
    weights = importance.sum(axis=1)
    disentangled = 1 - _entropy(importance, axis=1)
    complete = 1 - _entropy(importance, axis=0)
    return DCI(
        disentanglement=float(disentangled @ weights / weights.sum()) if weights.sum() > 0 else 0.0,
        completeness=float(complete.mean()),
        informativeness=float(explained.mean()),
        importance=importance,
    )


def _entropy(shares: Float[np.ndarray, "p d"], *, axis: int) -> np.ndarray:
    """Entropy along an axis in units of its largest possible value; 1 where all shares are 0."""
    count, totals = shares.shape[axis], shares.sum(axis=axis, keepdims=True)
    if count == 1:
        return np.where(totals.squeeze(axis) > 0, 0.0, 1.0)
    p = np.where(totals > 0, shares / np.where(totals > 0, totals, 1.0), 1 / count)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=axis) / np.log(count)


@own_settings
def sap(representation: ArrayLike, latents: ArrayLike) -> float:
    """Separated attribute predictability: how far the best coordinate of each latent is ahead of the second best.

    Args:
        representation: shape (n, p), at least 2 columns.
        latents: shape (n, d) or (n,), same rows.

    Returns:
        Mean over latents of the gap between the two largest R² of a linear regression on one coordinate (the squared
        correlation), from 0 to 1, in sample.

    Raises:
        ValueError: a single coordinate, or an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`kumar2018sap`.
    """
    code, truth = _at_least_two(representation, latents)
    return float(_gaps(_correlations(code, truth) ** 2).mean())


@own_settings
def mig(representation: ArrayLike, latents: ArrayLike, *, bins: int = 20) -> float:
    """Mutual information gap: as :func:`sap`, with mutual information in units of the latent's entropy.

    Both sides are cut into ``bins`` intervals of equal width, as is usual for continuous latents. The value depends on
    the bins, and with few rows per cell the information itself is biased upwards (not its gap).

    Args:
        representation: shape (n, p), at least 2 columns.
        latents: shape (n, d) or (n,), same rows.
        bins: intervals per column, at least 2.

    Returns:
        Mean over latents that vary, from 0 to 1, in sample; 0 when none does.

    Raises:
        ValueError: a single coordinate, ``bins`` < 2, or an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`chen2018mig`.
    """
    if bins < 2:
        raise ValueError(f"bins: expected at least 2, got {bins}")
    from sklearn.metrics import mutual_info_score

    code, truth = (_binned(array, bins) for array in _at_least_two(representation, latents))
    varying = [column for column in truth.T if column.min() < column.max()]
    if not varying:
        return 0.0
    shares = np.empty((code.shape[1], len(varying)))
    for j, column in enumerate(varying):
        entropy = mutual_info_score(column, column)
        shares[:, j] = [mutual_info_score(coordinate, column) / entropy for coordinate in code.T]
    return float(_gaps(shares).mean())


def _at_least_two(representation: ArrayLike, latents: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    code, truth = paired_matrices("representation", representation, "latents", latents)
    if code.shape[1] < 2:
        raise ValueError("representation: expected at least 2 columns, got 1: a gap needs a second coordinate")
    return code, truth


def _gaps(scores: Float[np.ndarray, "p d"]) -> Float[np.ndarray, " d"]:
    ordered = np.sort(scores, axis=0)
    return ordered[-1] - ordered[-2]


def _binned(array: Float[np.ndarray, "n p"], bins: int) -> np.ndarray:
    low, spread = array.min(axis=0), np.ptp(array, axis=0)
    return np.minimum((array - low) / np.where(spread > 0, spread, 1.0) * bins, bins - 1).astype(np.int64)
