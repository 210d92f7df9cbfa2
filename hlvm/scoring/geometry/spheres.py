"""Alignment and uniformity: how codes lie on the unit sphere, and how near the codes of two views of a sample are."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import hyp0f1

from hlvm._numbers import as_numbers
from hlvm.scoring.inputs import matrix, paired_matrices
from hlvm.scoring.intervals import jackknife, jackknife_blocks
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import check_groups

__all__ = ["Alignment", "Uniformity", "alignment", "uniformity"]

_MOST_PAIRS = 2_000_000
_LARGEST_T = 100.0  # beyond it the potential of opposite rows vanishes in float64
_ROUNDING = 1e-12  # of the largest row: a shorter one has no direction


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alignment:
    """Mean distance on the sphere between the codes of two views, a power of it.

    Attributes:
        value: 0 for equal codes, at most 2 to that power.
        low: lower end of its interval over samples.
        high: upper end.
        chance: the mean over views of different samples, which is what pairing at random gives.
    """

    value: float
    low: float
    high: float
    chance: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniformity:
    """Logarithm of the mean Gaussian potential of pairs of codes on the sphere: the lower, the more evenly they lie.

    Attributes:
        value: in nats: 0 where all rows are the same.
        low: lower end of its interval over rows.
        high: upper end.
        of_uniform: the least that is possible in this number of columns: that of rows spread evenly over the sphere.
    """

    value: float
    low: float
    high: float
    of_uniform: float


@own_settings
def alignment(
    first: ArrayLike,
    second: ArrayLike,
    *,
    power: float = 2.0,
    centre: bool = True,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Alignment:
    """Alignment: mean distance, to a power, between the codes of two views of each sample, at unit length.

    Low alignment alone says nothing: a collapsed code has 0. Read it beside ``chance`` and :func:`uniformity`.

    Args:
        first: codes of one view, such as under one mask, shape (n, p) or (n,).
        second: codes of another view of the same samples, same shape.
        power: of the distance, above 0.
        centre: whether each view's mean is taken off first; ``False`` for the number as it is published, which is for
            networks that normalise their codes about a fixed origin. A common offset brings all rows together.
        groups: a label per row: rows of a group are left out together. ``None`` for samples of their own.
        level: coverage of the interval, strictly between 0 and 1.

    Returns:
        The mean, its interval by the jackknife, and chance. All 0 for a constant code.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), another number of columns in the second, ``power`` or
            ``level`` out of range, or unfit groups.

    References:
        :cite:t:`wang2020uniformity`.

    Example:
        >>> import numpy as np
        >>> z, noise = np.random.default_rng(0).normal(size=(2, 500, 8))
        >>> found = alignment(z, z + 0.1 * noise)
        >>> found.value < 0.02, 1.9 < found.chance < 2.1
        (True, True)
    """
    if not (power > 0 and math.isfinite(power)):
        raise ValueError(f"power: expected a number above 0, got {power}")
    a, b = paired_matrices("first", first, "second", second)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected two views of one code, got {a.shape[1]} columns in first and {b.shape[1]} in second: "
            "compare different codes by shape_distance or cca"
        )
    if not centre:
        a, b = (_as_given(name, values) for name, values in (("first", first), ("second", second)))
    a, b = (_on_sphere(rows, centre=centre) for rows in (a, b))
    blocks = _blocks(len(a), groups, level)
    near = ((a - b) ** 2).sum(axis=1) ** (power / 2)
    count = np.bincount(blocks)
    sums = np.bincount(blocks, weights=near)
    _, half = jackknife(float(near.mean()), (sums.sum() - sums) / (count.sum() - count), level)
    total = sum(float((_squared_distances(part, b) ** (power / 2)).sum()) for part in _parts(a))
    chance = (total - float(near.sum())) / (len(a) * (len(a) - 1))
    value = float(near.mean())
    return Alignment(value=value, low=max(value - half, 0.0), high=value + half, chance=max(chance, 0.0))


@own_settings
def uniformity(
    representation: ArrayLike,
    *,
    t: float = 2.0,
    centre: bool = True,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Uniformity:
    """Uniformity: ``log E exp(−t ‖x − y‖²)`` over pairs of different rows, at unit length.

    The mean over pairs of different rows has no bias, its logarithm one of about minus half of its relative variance,
    which the jackknife takes off. Rows that the mean of few was taken off lie further apart than in the population, by
    about 1/n in their cosines, which is put back. Pairs of a row with itself, which some programs count, raise it by
    about ``log(1 + exp(−of_uniform) / n)``.

    Args:
        representation: codes, shape (n, p) or (n,).
        t: of the potential, above 0 and at most 100.
        centre: whether the mean is taken off first; ``False`` for the number as it is published, see
            :func:`alignment`.
        groups: a label per row: pairs within a group are left out. ``None`` for rows that are samples of their own.
        level: coverage of the interval, strictly between 0 and 1.

    Returns:
        The estimate with its interval, and the value of rows spread evenly over the sphere: it falls with the number of
        columns, so two codes of different width cannot be compared without it.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), ``t`` or ``level`` out of range, or unfit groups.

    References:
        :cite:t:`wang2020uniformity`.

    Example:
        >>> import numpy as np
        >>> found = uniformity(np.random.default_rng(0).normal(size=(500, 8)))
        >>> found.low < found.of_uniform < found.high, uniformity(np.ones((20, 8))).value
        (True, 0.0)
    """
    if not 0 < t <= _LARGEST_T:
        raise ValueError(f"t: expected a number above 0 and at most {_LARGEST_T:g}, got {t}")
    rows = matrix("representation", representation)
    rows = _on_sphere(rows if centre else _as_given("representation", representation), centre=centre)
    n, p = rows.shape
    blocks = _blocks(n, groups, level)
    labels = np.arange(n) if groups is None else check_groups(groups, n)
    labels = np.arange(n) if labels is None else labels
    n_blocks = int(blocks.max()) + 1
    sums, counts = np.zeros((n_blocks, n_blocks)), np.zeros((n_blocks, n_blocks))
    onto = np.eye(n_blocks)[blocks]
    nearer = 2 * centre / (n - 1)
    for at in _parts(np.arange(n)):
        apart = labels[at, None] != labels[None]
        potential = np.exp(-t * np.maximum(_squared_distances(rows[at], rows) - nearer, 0.0))
        sums += onto[at].T @ (potential * apart) @ onto
        counts += onto[at].T @ apart @ onto
    whole = math.log(sums.sum() / counts.sum())
    kept = [np.ix_(rest, rest) for rest in np.eye(n_blocks) == 0]
    left_out = [math.log(sums[rest].sum() / counts[rest].sum()) for rest in kept]
    value, half = jackknife(whole, np.asarray(left_out), level)
    ends = np.minimum([value, value - half, value + half], 0.0).tolist()
    return Uniformity(value=ends[0], low=ends[1], high=ends[2], of_uniform=_of_uniform(t, p))


def _of_uniform(t: float, p: int) -> float:
    """The value of rows spread evenly over the sphere of p columns: ``log 0F1(p/2; t²) − 2t``."""
    return math.log(float(hyp0f1(p / 2, t**2))) - 2 * t


def _as_given(name: str, values: ArrayLike) -> Float[np.ndarray, "n p"]:
    """Rows with whatever offset they have, which :func:`hlvm.scoring.inputs.matrix` takes off where it is large."""
    array = as_numbers(name, values).astype(np.float64)
    return array.reshape(len(array), -1)


def _on_sphere(rows: Float[np.ndarray, "n p"], *, centre: bool) -> Float[np.ndarray, "n p"]:
    """Rows of unit length; those without a direction are 0."""
    rows = rows - centre * rows.mean(axis=0)
    rows = rows / max(float(np.abs(rows).max()), np.finfo(np.float64).tiny)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > _ROUNDING * lengths.max(), rows / np.where(lengths > 0, lengths, 1.0), 0.0)


def _squared_distances(a: Float[np.ndarray, "m p"], b: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "m n"]:
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0.0)


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    """Rows, or their numbers, in parts whose distances to all of them fit into memory."""
    return np.array_split(rows, max(len(rows) ** 2 // _MOST_PAIRS, 1))


def _blocks(n: int, groups: ArrayLike | None, level: float) -> Int[np.ndarray, " n"]:
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level}")
    return jackknife_blocks(n, None if groups is None else check_groups(groups, n))
