"""Dependence of whole arrays or single columns without a regression: CKA and mutual information."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.regression.splitting import Standardiser
from hlvm.scoring.regression.threads import own_settings

__all__ = ["cka", "mutual_information"]


@own_settings
def cka(a: ArrayLike, b: ArrayLike, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment: how alike the inner products between samples are in two arrays.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.
        debiased: the unbiased estimate of each HSIC, about 0 for independent arrays of any width (it can be negative).
            The plain one, as first published, tends to 1 for noise as the columns outnumber the rows.

    Returns:
        At most 1; 1 for arrays equal up to rotation and scale. 0 when either is constant. Units matter. Not invariant
        to invertible linear maps, so a linear code that identifies a block can score below 1.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`kornblith2019cka`; the unbiased estimate is from :cite:t:`song2012hsic`.
    """
    first, second = paired_matrices("a", a, "b", b)
    first, second = (_scaled(array) for array in (first, second))
    hsic = _hsic_unbiased if debiased else _cross
    both, own_a, own_b = hsic(first, second), hsic(first, first), hsic(second, second)
    if min(own_a, own_b) <= 0:
        return 0.0
    return float(both / np.sqrt(own_a * own_b))


def _scaled(rows: np.ndarray) -> np.ndarray:
    """Centred, with squared norm n: CKA does not change, and no product over- or underflows."""
    centred = rows - rows.mean(axis=0)
    size = np.abs(centred).max()
    if size <= 1e-9 * np.abs(rows).max():
        return np.zeros_like(rows)
    centred = centred / size
    return centred * np.sqrt(len(rows)) / np.linalg.norm(centred)


def _cross(a: np.ndarray, b: np.ndarray) -> float:
    """tr(K L) for K = a aᵀ and L = b bᵀ, by the smaller of the two ways to multiply."""
    if a.shape[1] * b.shape[1] <= len(a) ** 2:
        return float(((a.T @ b) ** 2).sum())
    return float(((a @ a.T) * (b @ b.T)).sum())


def _hsic_unbiased(a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "n q"]) -> float:
    """Equation 5 of Song et al. for linear kernels, from features: no n × n matrix unless the arrays are wider."""
    n = len(a)
    norms_a, norms_b = (a**2).sum(axis=1), (b**2).sum(axis=1)
    rows_a, rows_b = (array @ array.sum(axis=0) for array in (a, b))
    rows_a, rows_b = rows_a - norms_a, rows_b - norms_b  # row sums of the kernels without their diagonals
    trace = _cross(a, b) - float(norms_a @ norms_b)
    total = rows_a.sum() * rows_b.sum() / ((n - 1) * (n - 2))
    return float(trace + total - 2 * (rows_a @ rows_b) / (n - 2)) / (n * (n - 3))


@own_settings
def mutual_information(
    representation: ArrayLike, latents: ArrayLike, *, key: Any, neighbours: int = 3, max_rows: int = 4000
) -> Float[np.ndarray, "p d"]:
    """Mutual information of every coordinate with every latent, by scikit-learn's nearest-neighbour estimator.

    Args:
        representation: shape (n, p) or (n,).
        latents: shape (n, d) or (n,), same rows.
        key: a JAX key or an int: draws the rows, and the tiny noise that breaks ties.
        neighbours: of the estimator; more are smoother and more biased.
        max_rows: most rows to use.

    Returns:
        In nats, at least 0: negative estimates are cut, so noise scores slightly above 0 on average.

    Raises:
        ValueError: ``neighbours`` out of range, or an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`kraskov2004mi`.
    """
    from sklearn.feature_selection import mutual_info_regression

    code, truth = paired_matrices("representation", representation, "latents", latents)
    if not 1 <= neighbours < len(code):
        raise ValueError(f"neighbours: expected 1 to {len(code) - 1}, got {neighbours}")
    streams = random_streams(key)
    rows = streams.split.permutation(len(code))[:max_rows]
    seeds = streams.network.integers(2**31, size=truth.shape[1])
    # scikit-learn divides by the spread, but adds noise in units of the values themselves.
    code, truth = (Standardiser.fit(array[rows]).apply(array[rows]) for array in (code, truth))
    return np.stack(
        [
            mutual_info_regression(code, column, n_neighbors=neighbours, random_state=int(seed))
            for column, seed in zip(truth.T, seeds, strict=True)
        ],
        axis=1,
    )
