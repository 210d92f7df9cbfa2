"""Relatives of CCA that are common for comparing networks: SVCCA, PWCCA and angles between subspaces."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._linalg import svd
from hlvm.scoring.correlation.canonical import CCA, Canonical, canonical, halves_of, span, summary, transfer
from hlvm.scoring.correlation.whitening import Whitened, rank_tolerance, whiten
from hlvm.scoring.inputs import paired_matrices
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import row_groups

__all__ = ["PWCCA", "pwcca", "subspace_angles", "svcca"]


class PWCCA(NamedTuple):
    """Projection-weighted CCA on rows that were not used to find the directions, and on those that were.

    Attributes:
        value: on the other half of the rows, averaged over both halves; the number to report.
        in_sample: on all rows, as the literature reports it; optimistic.
    """

    value: float
    in_sample: float


@own_settings
def svcca(
    a: ArrayLike, b: ArrayLike, *, variance: float = 0.99, key: Any = None, groups: ArrayLike | None = None
) -> CCA:
    """CCA between the leading principal components of two arrays.

    Dropping directions of small variance before CCA keeps it from finding agreement in noise. Columns are centred
    but not standardised, as in the source: units matter.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.
        variance: share of the variance of each side to keep by the fewest components, above 0 and at most 1.
        key: draws the halves; ``None`` for even against odd rows.
        groups: a label per row, see :func:`hlvm.scoring.cca`; ``None`` to look for copies.

    Returns:
        As :func:`hlvm.scoring.cca`; the mean is over the number of components of the narrower side (on all rows), and
        ``rank_a``, ``rank_b`` are the numbers of components.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), or ``variance`` out of range.

    References:
        :cite:t:`raghu2017svcca`.
    """
    if not 0 < variance <= 1:
        raise ValueError(f"variance: expected a share above 0 and at most 1, got {variance}")
    first, second = paired_matrices("a", a, "b", b)
    floors = rank_tolerance(a), rank_tolerance(b)

    def found(rows: np.ndarray) -> tuple[Canonical, tuple[int, int]]:
        whites = [_leading(array[rows], variance, floor) for array, floor in zip((first, second), floors, strict=True)]
        pair = canonical(first[rows], second[rows], *whites)
        return pair, (whites[0].rank, whites[1].rank)

    whole, ranks = found(np.arange(len(first)))
    count = len(whole.correlations)
    together = row_groups(first, second, groups)
    halves = halves_of(len(first), key, together)
    held_out = [
        transfer(found(rows)[0], first[other], second[other], count, None if together is None else together[other])
        for rows, other in zip(halves, halves[::-1], strict=True)
    ]
    return summary(held_out, whole.correlations, ranks, max(count, 1))


def _leading(rows: Float[np.ndarray, "n p"], variance: float, tolerance: float) -> Whitened:
    centre = rows.mean(axis=0)
    _, singular, right = svd(np.asarray(np.linalg.qr(rows - centre, mode="r")))
    # What remains of a constant column after centring is rounding of its value.
    least = max(tolerance * singular[0], 1e-12 * float(np.abs(rows).max()) * np.sqrt(len(rows)))
    real = int((singular > least).sum())
    share = np.cumsum(singular[:real] ** 2) / max(float((singular[:real] ** 2).sum()), np.finfo(np.float64).tiny)
    count = min(int(np.searchsorted(share, variance * (1 - 1e-12))) + 1, real)
    return Whitened(right[:count].T / singular[:count], centre, well_conditioned=False)


@own_settings
def pwcca(a: ArrayLike, b: ArrayLike, *, key: Any = None, groups: ArrayLike | None = None) -> PWCCA:
    """Mean canonical correlation, weighted by how much of the first array each canonical variable accounts for.

    The weight of pair i is ``Σ_j |⟨h_i, a_j⟩|`` over the columns ``a_j`` of the centred first array, with ``h_i`` its
    i-th canonical variable of unit length, on the rows that the pair was found on. Not symmetric.

    Args:
        a: shape (n, p) or (n,); gives the weights.
        b: shape (n, q) or (n,), same rows.
        key: draws the halves; ``None`` for even against odd rows.
        groups: a label per row, see :func:`hlvm.scoring.cca`; ``None`` to look for copies.

    Returns:
        Held out and in sample; 0 when either array is constant.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`morcos2018pwcca`.
    """
    first, second = paired_matrices("a", a, "b", b)
    tolerances = rank_tolerance(a), rank_tolerance(b)

    def found(rows: np.ndarray) -> tuple[Canonical, np.ndarray]:
        whites = [whiten(array[rows], least) for array, least in zip((first, second), tolerances, strict=True)]
        pair = canonical(first[rows], second[rows], *whites)
        centred = first[rows] - first[rows].mean(axis=0)
        return pair, np.abs((centred @ pair.directions_a).T @ centred).sum(axis=1)

    whole, weights = found(np.arange(len(first)))
    halves = halves_of(len(first), key, row_groups(first, second, groups))
    values = []
    for rows, other in zip(halves, halves[::-1], strict=True):
        pair, half_weights = found(rows)
        correlations, _ = transfer(pair, first[other], second[other], len(pair.correlations))
        values.append(_weighted(correlations, half_weights))
    return PWCCA(float(np.mean(values)), _weighted(whole.correlations, weights))


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum()) if weights.sum() > 0 else 0.0


@own_settings
def subspace_angles(a: ArrayLike, b: ArrayLike) -> Float[np.ndarray, " r"]:
    """Principal angles between the spaces that the centred columns of two arrays span over the samples.

    Their cosines are the in-sample canonical correlations; small angles are more accurate than their cosines. In
    sample: with ``p + q ≥ n`` some are 0 whatever the arrays are.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.

    Returns:
        Angles in radians, increasing, from 0 to π/2, one per dimension of the smaller space; none for a constant array.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`).

    References:
        :cite:t:`bjorck1973angles`.
    """
    first, second = paired_matrices("a", a, "b", b)
    bases = [span(array, rank_tolerance(given)) for array, given in ((first, a), (second, b))]
    if min(basis.shape[1] for basis in bases) == 0:
        return np.zeros(0)
    return scipy.linalg.subspace_angles(*bases)[::-1]
