"""Canonical correlation analysis: which linear combinations of two arrays agree, on samples not used to find them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.splitting import Standardiser
from hlvm.scoring.threads import one_blas_thread

__all__ = ["CCA", "cca", "cca_many"]

# Directions with a smaller share of the largest singular value are rounding of float32 input.
_RANK_TOLERANCE = 1e-6

_NORMAL_95 = 1.959964


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CCA:
    """Canonical correlations of two arrays.

    Attributes:
        correlations: held-out correlation of each canonical pair, shape (r,) with ``r = min(rank a, rank b)``, in the
            order in which the pairs were found; between −1 and 1, around 0 for independent arrays, not sorted.
        mean: sum of ``correlations`` over ``min(p, q)``, the number of columns of the narrower array; between −1 and 1.
            A direction that a collapsed or constant column lacks counts as 0.
        low: lower end of the 95 % interval of ``mean`` over samples, by the infinitesimal jackknife on the held-out
            rows. The directions are taken as given, so it covers sampling of test rows only.
        high: upper end.
        in_sample: canonical correlations on all rows, shape (r,), decreasing, between 0 and 1. Optimistic: exactly 1
            for any two arrays once ``p + q ≥ n``.
        rank_a: numerical rank of the first array after centring.
        rank_b: numerical rank of the second one.
    """

    correlations: np.ndarray
    mean: float
    low: float
    high: float
    in_sample: np.ndarray
    rank_a: int
    rank_b: int


def cca(a: ArrayLike, b: ArrayLike, *, key: Any = None) -> CCA:
    """Canonical correlations between two arrays, held out and in sample.

    The rows are cut in two halves; the canonical pairs of each half are measured on the other and the two
    correlations averaged. Columns are standardised and whitened by QR and SVD with a rank tolerance, so
    collinear and constant columns and more columns than rows are fine.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.
        key: a JAX key or an int, to draw the halves at random. ``None``: even against odd rows, which needs no
            randomness but assumes that neighbouring rows are independent samples.

    Returns:
        The correlations.

    Raises:
        ValueError: fewer than 10 rows, unequal numbers of rows, NaN or infinite values, no columns.

    References:
        :cite:t:`bjorck1973angles` for the QR and SVD route.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(500, 2))
        >>> cca(z @ [[1.0, 2.0], [0.5, -1.0]], z).correlations.round(3)
        array([1., 1.])
    """
    return cca_many(a, {"b": b}, key=key)["b"]


@one_blas_thread
def cca_many(a: ArrayLike, others: Mapping[str, ArrayLike], *, key: Any = None) -> dict[str, CCA]:
    """Canonical correlations of one array with each of several; the first array is whitened once.

    Args:
        a: shape (n, p) or (n,).
        others: name -> array of shape (n, q) or (n,), same rows.
        key: as for :func:`cca`.

    Returns:
        Name -> what :func:`cca` gives for that pair.

    Raises:
        ValueError: as :func:`cca`.
    """
    arrays: dict[str, np.ndarray] = {}
    first = np.empty((0, 0))
    for name, values in others.items():
        first, arrays[name] = paired_matrices("a", a, name, values)
    if not arrays:
        raise ValueError("others: expected at least one array, got none")
    n = len(first)
    order = np.arange(n) if key is None else random_streams(key).split.permutation(n)
    halves = order[::2], order[1::2]
    whole_basis = _whiten(first)
    half_bases = [_whiten(first[rows]) for rows in halves]
    results: dict[str, CCA] = {}
    for name, second in arrays.items():
        whole = _canonical(whole_basis, _whiten(second))
        count = len(whole.correlations)
        held_out = [
            _transfer(_canonical(basis, _whiten(second[rows])), first[other], second[other], count)
            for basis, rows, other in zip(half_bases, halves, halves[::-1], strict=True)
        ]
        correlations = np.mean([values for values, _ in held_out], axis=0)
        width = min(first.shape[1], second.shape[1])
        mean = float(correlations.sum() / width)
        margin = _NORMAL_95 * math.sqrt(sum(variance for _, variance in held_out)) / len(held_out) / width
        results[name] = CCA(
            correlations=correlations,
            mean=mean,
            low=max(mean - margin, -1.0),
            high=min(mean + margin, 1.0),
            in_sample=whole.correlations,
            rank_a=whole.rank_a,
            rank_b=whole.rank_b,
        )
    return results


class _Canonical(NamedTuple):
    """In-sample correlations and the directions (columns) that give the canonical variables of each side."""

    correlations: Float[np.ndarray, " r"]
    directions_a: Float[np.ndarray, "p r"]
    directions_b: Float[np.ndarray, "q r"]
    rank_a: int
    rank_b: int


def _canonical(a: _Whitened, b: _Whitened) -> _Canonical:
    left, singular, right = np.linalg.svd(a.basis.T @ b.basis, full_matrices=False)
    return _Canonical(
        correlations=np.clip(singular, 0.0, 1.0),
        directions_a=a.directions @ left,
        directions_b=b.directions @ right.T,
        rank_a=a.directions.shape[1],
        rank_b=b.directions.shape[1],
    )


class _Whitened(NamedTuple):
    """Orthonormal basis of centred columns, and the directions W with ``standardised columns @ W = basis``."""

    basis: Float[np.ndarray, "n r"]
    directions: Float[np.ndarray, "p r"]


def _whiten(rows: Float[np.ndarray, "n p"]) -> _Whitened:
    standardiser = Standardiser.fit(rows)
    orthogonal, triangular = np.linalg.qr(standardiser.apply(rows))
    left, singular, right = np.linalg.svd(triangular, full_matrices=False)
    keep = singular > _RANK_TOLERANCE * max(singular[0], np.finfo(np.float64).tiny)
    directions = right[keep].T / singular[keep]
    return _Whitened(orthogonal @ left[:, keep], directions / standardiser.scale[:, None])


def _transfer(
    found: _Canonical, a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "n q"], count: int
) -> tuple[Float[np.ndarray, " count"], float]:
    """Correlations, on other rows, of canonical pairs that were found; pairs that were not found count as 0.

    Returns:
        The correlations, and the squared standard error of their sum by the infinitesimal jackknife: a row with
        standardised values (u, v) moves a correlation r by ``(u v − r (u² + v²) / 2) / n``.
    """
    u = _unit_variance(a @ found.directions_a)[:, :count]
    v = _unit_variance(b @ found.directions_b)[:, :count]
    correlations = (u * v).mean(axis=0)
    influence = (u * v - correlations * (u**2 + v**2) / 2).sum(axis=1)
    return np.pad(correlations, (0, count - len(correlations))), float(influence.var() / len(u))


def _unit_variance(rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Centred columns of unit variance; constant columns become zeros."""
    centred = rows - rows.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, np.inf)
