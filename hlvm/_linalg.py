"""Linear algebra that LAPACK's fastest routines cannot always finish."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float

__all__ = ["svd"]


def svd(
    matrix: Float[np.ndarray, "m n"], *, full_matrices: bool = False
) -> tuple[Float[np.ndarray, "m j"], Float[np.ndarray, " k"], Float[np.ndarray, "l n"]]:
    """Singular value decomposition, ``matrix = left[:, :k] @ diag(s) @ right[:k]`` with ``k = min(m, n)``.

    LAPACK's divide and conquer (``gesdd``) gives up on some matrices with many equal singular values, such as parts of
    orthonormal ones. The slower ``gesvd`` finishes those.

    Raises:
        ValueError: a number that is not finite.
    """
    try:
        return np.linalg.svd(matrix, full_matrices=full_matrices)
    except np.linalg.LinAlgError:
        left, s, right = scipy.linalg.svd(matrix, full_matrices=full_matrices, lapack_driver="gesvd")
        return left, s, right
