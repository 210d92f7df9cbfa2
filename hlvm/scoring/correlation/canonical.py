"""Canonical correlation analysis: which linear combinations of two arrays agree, on samples not used to find them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from hlvm._linalg import svd
from hlvm.scoring.correlation.whitening import Whitened, rank_tolerance, whiten
from hlvm.scoring.inputs import MIN_ROWS, paired_matrices, random_streams
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import row_groups

__all__ = ["CCA", "Canonical", "canonical", "cca", "cca_many", "halves_of", "span", "summary", "transfer"]

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


def cca(a: ArrayLike, b: ArrayLike, *, key: Any = None, groups: ArrayLike | None = None) -> CCA:
    """Canonical correlations between two arrays, held out and in sample.

    The rows are cut in two halves; the canonical pairs of each half are measured on the other and the two
    correlations averaged. Columns are standardised and whitened by the Cholesky factor of their covariance, or, when
    that is ill-conditioned, by QR and SVD with a rank tolerance: collinear and constant columns and more columns than
    rows are fine.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.
        key: a JAX key or an int, to draw the halves at random. ``None``: even against odd rows, which needs no
            randomness but assumes that neighbouring rows are independent samples.
        groups: a label per row; rows that belong together (copies, sequences, views of one scene) are never on both
            sides of the halves. ``None`` to look for copies, see :func:`hlvm.scoring.row_groups.row_groups`.

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
    return cca_many(a, {"b": b}, key=key, groups=groups)["b"]


@own_settings
def cca_many(
    a: ArrayLike, others: Mapping[str, ArrayLike], *, key: Any = None, groups: ArrayLike | None = None
) -> dict[str, CCA]:
    """Canonical correlations of one array with each of several; the first array is whitened once.

    Args:
        a: shape (n, p) or (n,).
        others: name -> array of shape (n, q) or (n,), same rows.
        key: as for :func:`cca`.
        groups: as for :func:`cca`.

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
    together = row_groups(first, np.concatenate(list(arrays.values()), axis=1), groups)
    halves = halves_of(len(first), key, together)
    tolerance = rank_tolerance(a)
    white = whiten(first, tolerance)
    white_halves = [whiten(first[rows], tolerance) for rows in halves]
    results: dict[str, CCA] = {}
    for name, second in arrays.items():
        tolerance = rank_tolerance(others[name])
        white_second = whiten(second, tolerance)
        whole = canonical(first, second, white, white_second)
        count = len(whole.correlations)
        held_out = []
        for white_half, rows, other in zip(white_halves, halves, halves[::-1], strict=True):
            found = canonical(first[rows], second[rows], white_half, whiten(second[rows], tolerance))
            labels = None if together is None else together[other]
            held_out.append(transfer(found, first[other], second[other], count, labels))
        results[name] = summary(
            held_out, whole.correlations, (white.rank, white_second.rank), min(first.shape[1], second.shape[1])
        )
    return results


def halves_of(n_rows: int, key: Any, groups: Int[np.ndarray, " n"] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the rows, or of their groups: at random, or even and odd ones without a key."""
    count = n_rows if groups is None else int(groups.max()) + 1
    order = np.arange(count) if key is None else random_streams(key).split.permutation(count)
    if groups is None:
        return order[::2], order[1::2]
    order = np.concatenate([order[::2], order[1::2]])
    ends = np.cumsum(np.bincount(groups)[order])[:-1]
    cut = int(np.argmin(np.abs(ends - n_rows / 2))) + 1
    first = np.isin(groups, order[:cut])
    halves = np.flatnonzero(first), np.flatnonzero(~first)
    if min(map(len, halves)) < MIN_ROWS // 2:
        raise ValueError(
            "groups: one group holds nearly all rows, so no half is left to measure on: split it into smaller groups"
        )
    return halves


def summary(
    held_out: Sequence[tuple[np.ndarray, float]], in_sample: np.ndarray, ranks: tuple[int, int], width: int
) -> CCA:
    """Average of the halves, with its interval."""
    correlations = np.mean([values for values, _ in held_out], axis=0)
    mean = float(correlations.sum() / width)
    margin = _NORMAL_95 * math.sqrt(sum(variance for _, variance in held_out)) / len(held_out) / width
    return CCA(
        correlations=correlations,
        mean=mean,
        low=max(mean - margin, -1.0),
        high=min(mean + margin, 1.0),
        in_sample=in_sample,
        rank_a=ranks[0],
        rank_b=ranks[1],
    )


class Canonical(NamedTuple):
    """In-sample correlations and the directions (columns) that give the canonical variables of each side."""

    correlations: Float[np.ndarray, " r"]
    directions_a: Float[np.ndarray, "p r"]
    directions_b: Float[np.ndarray, "q r"]


def canonical(
    a: Float[np.ndarray, "n p"], b: Float[np.ndarray, "n q"], white_a: Whitened, white_b: Whitened
) -> Canonical:
    """Canonical pairs of two arrays that were whitened."""
    if white_a.well_conditioned and white_b.well_conditioned:
        cross = (a - white_a.centre).T @ (b - white_b.centre)
        inner = white_a.directions.T @ cross @ white_b.directions
    else:
        inner = _orthonormal(white_a.basis(a)).T @ _orthonormal(white_b.basis(b))
    left, singular, right = svd(inner)
    return Canonical(np.clip(singular, 0.0, 1.0), white_a.directions @ left, white_b.directions @ right.T)


def _orthonormal(basis: Float[np.ndarray, "n r"]) -> Float[np.ndarray, "n r"]:
    """Columns that are orthonormal up to rounding of ill-conditioned directions, made so to machine precision."""
    q, r = np.linalg.qr(basis)
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


def span(array: Float[np.ndarray, "n p"], tolerance: float) -> Float[np.ndarray, "n r"]:
    """An orthonormal basis of what the centred columns span; directions below the tolerance count as rounding."""
    return _orthonormal(whiten(array, tolerance).basis(array))


def transfer(
    found: Canonical,
    a: Float[np.ndarray, "n p"],
    b: Float[np.ndarray, "n q"],
    count: int,
    groups: Int[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, " count"], float]:
    """Correlations, on other rows, of canonical pairs that were found; pairs that were not found count as 0.

    Returns:
        The correlations, and the squared standard error of their sum by the infinitesimal jackknife: a row with
        standardised values (u, v) moves a correlation r by ``(u v − r (u² + v²) / 2) / n``. Rows of a group move it
        together.
    """
    u = _unit_variance((a - a.mean(axis=0)) @ found.directions_a)[:, :count]
    v = _unit_variance((b - b.mean(axis=0)) @ found.directions_b)[:, :count]
    correlations = (u * v).mean(axis=0)
    influence = (u * v - correlations * (u**2 + v**2) / 2).sum(axis=1)
    if groups is not None:
        influence = np.bincount(np.unique(groups, return_inverse=True)[1], weights=influence)
    if len(influence) < 2:
        influence = np.full(1, np.nan)  # one sample says nothing of its own luck
    return np.pad(correlations, (0, count - len(correlations))), float(influence.var() * len(influence) / len(u) ** 2)


def _unit_variance(centred: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Columns of mean 0 and unit variance; constant columns become zeros."""
    centred = centred - centred.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 0, spread, np.inf)
