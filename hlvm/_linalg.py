"""Linear algebra that LAPACK's fastest routines cannot always finish."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float

__all__ = ["svd"]


def svd(
    matrix: Float[np.ndarray, "*stack m n"], *, full_matrices: bool = False
) -> tuple[Float[np.ndarray, "*stack m j"], Float[np.ndarray, "*stack k"], Float[np.ndarray, "*stack l n"]]:
    """Singular value decomposition, ``matrix = left[:, :k] @ diag(s) @ right[:k]`` with ``k = min(m, n)``.

    LAPACK's divide and conquer (``gesdd``) gives up on some matrices with many equal singular values, such as parts of
    orthonormal ones. The slower ``gesvd`` finishes those. Of a stack all are then done by it.

    Raises:
        ValueError: a number that is not finite.
    """
    if not np.isfinite(matrix).all():
        raise ValueError("a matrix to decompose must not contain infs or NaNs")
    try:
        return np.linalg.svd(matrix, full_matrices=full_matrices)
    except np.linalg.LinAlgError:
        *stack, rows, columns = matrix.shape
        each = [
            scipy.linalg.svd(one, full_matrices=full_matrices, lapack_driver="gesvd")
            for one in matrix.reshape(-1, rows, columns)
        ]
        left, s, right = (np.stack(parts).reshape(*stack, *parts[0].shape) for parts in zip(*each, strict=True))
        return left, s, right
