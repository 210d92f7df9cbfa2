"""Latents that are no plain numbers, as columns whose R² means something: angles and categories."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._numbers import as_numbers

__all__ = ["circular", "one_hot"]


def circular(angles: ArrayLike, *, period: float | int = 2 * math.pi) -> Float[np.ndarray, "n columns"]:
    """Cosine and sine of angles, or of anything else that starts anew after a period, such as the hour of a day.

    An angle as a number jumps where it starts anew, and no regression from an exact code follows the jump: such a code
    can be called inconclusive, or worse. Its cosine and sine have no jump and say the same.

    Args:
        angles: shape (n,) or (n, d).
        period: after which they start anew, above 0.

    Returns:
        Shape (n, 2 d): the cosines of all columns, then their sines.

    Raises:
        ValueError: no numbers (see :func:`hlvm.scoring.kernel_r2`), or a period that is not above 0.

    Example:
        >>> circular([0, 90, 180], period=360).round(3).tolist()
        [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
    """
    if not period > 0:
        raise ValueError(f"period: expected a number above 0, got {period}")
    values = as_numbers("angles", angles).astype(np.float64)
    turned = values.reshape(len(values), -1) * (2 * math.pi / period)
    return np.concatenate([np.cos(turned), np.sin(turned)], axis=1)


def one_hot(labels: Any) -> Float[np.ndarray, "n categories"]:
    """One column per category, 1 in its rows and 0 elsewhere.

    A label as a number says that the second category lies between the first and the third. One-hot columns do not. They
    add up to 1, so a mean over canonical correlations counts one direction that is not there.

    Args:
        labels: shape (n,); whole numbers, text or anything else that can be sorted.

    Returns:
        Shape (n, k), the categories in sorted order.

    Raises:
        ValueError: more than one axis, or a single category.

    Example:
        >>> one_hot(["b", "a", "b"]).tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    values = np.asarray(labels)
    if values.ndim != 1:
        raise ValueError(f"labels: expected one axis, got shape {values.shape}")
    known, numbered = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)
    if len(known) < 2:
        raise ValueError("labels: expected at least 2 categories, got 1: nothing varies")
    return np.eye(len(known))[numbered]
