"""Distance between the shapes of two codes of the same samples: what is left after the best rotation."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import norm

from hlvm._linalg import svd
from hlvm.scoring.correlation.canonical import halves_of
from hlvm.scoring.inputs import paired_matrices
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import row_groups

__all__ = ["ShapeDistance", "shape_distance"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeDistance:
    """Distance between two codes up to rotation, reflection, offset and size.

    Attributes:
        angle: the angular shape distance in radians, held out: 0 for codes that are rotated copies, about π/2 for
            independent ones, at most π.
        low: lower end of its interval over rows, by the infinitesimal jackknife; rotations are taken as given.
        high: upper end.
        in_sample: the same on the rows that the rotation was found on, as the literature reports it, from 0 to π/2. A
            metric: it is symmetric and keeps the triangle inequality. Too small with few rows: 0 for any two arrays
            of enough columns and equal singular values.
    """

    angle: float
    low: float
    high: float
    in_sample: float

    @property
    def similarity(self) -> float:
        """Cosine of ``angle``: 1 for rotated copies, about 0 for independent codes; more is better."""
        return math.cos(self.angle)

    @property
    def procrustes(self) -> float:
        """Procrustes distance at unit size, held out: ``√(2 − 2 cos angle)``, 0 to 2, about √2 by chance."""
        return 2 * math.sin(self.angle / 2)


@own_settings
def shape_distance(
    first: ArrayLike, second: ArrayLike, *, key: Any = None, groups: ArrayLike | None = None, level: float = 0.95
) -> ShapeDistance:
    """Procrustes and angular shape distance between two codes, with the rotation found on other rows.

    Both codes are centred. The rotation of one onto the other is found on half of the rows and measured on the other
    half, and the two cosines are averaged. In the sample itself a rotation of many columns fits whatever there is, so
    that few rows look equal. Held out, independent codes are about π/2 apart with any number of rows, and codes that
    are alike but not equal somewhat further than in the population, since a rotation from few rows is not the best
    one: the true distance lies between ``in_sample`` and ``angle`` on average. Columns of the narrower code are
    rotated into the space of the wider one.

    Units matter, as in the source: give columns at unit variance if they are of different kinds. No rotation undoes an
    invertible linear map: for codes up to these see :func:`hlvm.scoring.cca`.

    Args:
        first: shape (n, p) or (n,).
        second: shape (n, q) or (n,), same rows.
        key: a JAX key or an int, to draw the halves at random; ``None`` for even against odd rows.
        groups: a label per row, see :func:`hlvm.scoring.cca`; ``None`` to look for copies.
        level: coverage of the interval, strictly between 0 and 1.

    Returns:
        The distance held out and in sample. A constant code is π/2 away from every other one. For a null give
        ``lambda a, b: shape_distance(a, b).similarity`` to :func:`hlvm.scoring.permutation_test`.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), or ``level`` out of range.

    References:
        :cite:t:`williams2021shape`; on their bias with few rows, :cite:t:`pospisil2024shape`.

    Example:
        >>> import numpy as np
        >>> z, noise = np.random.default_rng(0).normal(size=(2, 40, 12))
        >>> turned = z @ np.linalg.qr(noise[:12])[0]
        >>> bool(shape_distance(z, turned).angle < 1e-6)
        True
        >>> found = shape_distance(z, noise)
        >>> found.in_sample < 1.25, abs(found.angle - np.pi / 2) < 0.3
        (True, True)
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level}")
    a, b = (_at_unit_size(rows) for rows in paired_matrices("first", first, "second", second))
    together = row_groups(a, b, groups)
    halves = halves_of(len(a), key, together)
    found = []
    for rows, other in zip(halves, halves[::-1], strict=True):
        left, _, right = svd(_centred(a[rows]).T @ _centred(b[rows]))
        labels = None if together is None else together[other]
        found.append(_cosine(_centred(a[other]), _centred(b[other]), left, right.T, labels))
    cosine = sum(value for value, _ in found) / 2
    # Both halves measure much the same: with independent codes their cosines are nearly equal.
    half = float(norm.ppf((1 + level) / 2)) * sum(math.sqrt(variance) for _, variance in found) / 2
    return ShapeDistance(
        angle=_angle(cosine),
        low=_angle(cosine + half),
        high=_angle(cosine - half),
        in_sample=_angle(float(svd(a.T @ b)[1].sum())),
    )


def _cosine(
    a: Float[np.ndarray, "n p"],
    b: Float[np.ndarray, "n q"],
    left: Float[np.ndarray, "p k"],
    right: Float[np.ndarray, "q k"],
    groups: Int[np.ndarray, " n"] | None,
) -> tuple[float, float]:
    """Cosine between two codes that were rotated, and its squared standard error.

    A row moves the ratio of sums ``Σ c / √(Σ a Σ b)`` by its own c, a and b. Rows of a group move it together.
    """
    products = ((a @ left) * (b @ right)).sum(axis=1)
    sizes = (a**2).sum(axis=1), (b**2).sum(axis=1)
    sums = [float(size.sum()) for size in sizes]
    if not min(sums) > 0:
        return 0.0, 0.0
    cosine = float(products.sum()) / math.sqrt(sums[0] * sums[1])
    influence = products / math.sqrt(sums[0] * sums[1]) - cosine / 2 * (sizes[0] / sums[0] + sizes[1] / sums[1])
    if groups is not None:
        influence = np.bincount(np.unique(groups, return_inverse=True)[1], weights=influence)
    return cosine, float((influence**2).sum())


def _angle(cosine: float) -> float:
    return math.acos(min(max(cosine, -1.0), 1.0))


def _centred(rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    return rows - rows.mean(axis=0)


def _at_unit_size(rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Centred, with a Frobenius norm of 1; a constant code is 0."""
    rows = _centred(rows)
    largest = float(np.abs(rows).max())
    if not largest > 0:
        return rows
    rows = rows / largest
    return rows / np.linalg.norm(rows)
