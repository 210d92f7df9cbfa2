"""Whitening: coordinates in which columns are uncorrelated and of equal size, and collinear columns count once."""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.linalg import get_lapack_funcs, solve_triangular

from hlvm._linalg import svd
from hlvm._numbers import as_numbers
from hlvm.scoring.regression.splitting import Standardiser

__all__ = ["Whitened", "rank_tolerance", "whiten"]

# Covariances square the condition number: with a reciprocal above this, what their Cholesky factor loses to rounding
# stays below 1e-9.
_WELL_CONDITIONED = 1e-6

_LEAST_TOLERANCE, _GREATEST_TOLERANCE = 1e-10, 0.05

_POTRF, _POCON = get_lapack_funcs(("potrf", "pocon"), dtype=np.float64)


class Whitened(NamedTuple):
    """Directions W for which the centred rows @ W have orthonormal columns.

    Attributes:
        directions: W, shape (p, r) for rank r, in the units of the rows.
        centre: mean of the rows, shape (p,).
        well_conditioned: whether W came from the covariance; if not, from QR and SVD.
    """

    directions: Float[np.ndarray, "p r"]
    centre: Float[np.ndarray, " p"]
    well_conditioned: bool

    @property
    def rank(self) -> int:
        """Number of directions kept."""
        return self.directions.shape[1]

    def basis(self, rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n r"]:
        """The rows in the new coordinates."""
        return (rows - self.centre) @ self.directions


def rank_tolerance(values: ArrayLike) -> float:
    """Share of the largest singular value below which a direction is rounding, by the precision of the numbers.

    Args:
        values: the array as the caller gave it, before any conversion.

    Returns:
        Eight steps of a floating type at the size of its columns, in units of their spread: about 1e-6 for float32
        columns of mean 0, more for columns beside an offset. At least 1e-10: float64 columns are whitened by numbers up
        to its inverse, and the rest of the precision is needed for the correlations. At most 0.05.
    """
    array = as_numbers("values", values)
    if array.dtype.kind in "iub":
        return _LEAST_TOLERANCE
    eps = float(ml_dtypes.finfo(array.dtype).eps)
    wide = array.reshape(len(array), -1).astype(np.promote_types(np.float64, array.dtype))
    unit = np.abs(wide).max(axis=0)
    scaled = wide / np.where(unit > 0, unit, 1)
    spread = scaled.std(axis=0)
    varying = spread > eps
    offset = float((np.abs(scaled.mean(axis=0))[varying] / spread[varying]).max(initial=0.0))
    return min(max(8 * eps * (1 + offset), _LEAST_TOLERANCE), _GREATEST_TOLERANCE)


def whiten(rows: Float[np.ndarray, "n p"], tolerance: float) -> Whitened:
    """Whiten by the Cholesky factor of the covariance, or, when that is ill-conditioned, by QR and SVD.

    Columns are standardised first, so that their units do not matter. The second route costs about four times as much
    and drops directions below the tolerance: collinear and constant columns and more columns than rows are fine.

    Args:
        rows: any real numbers.
        tolerance: share of the largest singular value below which a direction does not count.
    """
    standardiser = Standardiser.fit(rows)
    standard = standardiser.apply(rows)
    if rows.shape[1] < len(rows):
        gram = standard.T @ standard
        factor, failed = _POTRF(gram, lower=0, clean=1)
        if not failed:
            reciprocal, _ = _POCON(factor, float(np.abs(gram).sum(axis=0).max()), uplo="U")
            if reciprocal > _WELL_CONDITIONED:
                directions = solve_triangular(factor, np.eye(len(factor)))
                return Whitened(directions / standardiser.scale[:, None], standardiser.centre, True)
    triangular = np.linalg.qr(standard, mode="r")
    _, singular, right = svd(np.asarray(triangular))
    keep = singular > tolerance * max(singular[0], np.finfo(np.float64).tiny)
    directions = right[keep].T / singular[keep]
    directions[standardiser.constant] = 0.0
    return Whitened(directions / standardiser.scale[:, None], standardiser.centre, False)
