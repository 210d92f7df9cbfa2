"""Numbers of directions that a code uses, from its singular values: effective rank and participation ratio."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from hlvm._numbers import as_numbers
from hlvm.scoring.correlation.whitening import rank_tolerance
from hlvm.scoring.inputs import matrix
from hlvm.scoring.intervals import Interval, jackknife, jackknife_blocks
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import check_groups

__all__ = ["Dimension", "directions", "effective_rank", "participation_ratio"]

_MOST_SHARE = 0.25
"""With 130 rows of a code of 37 directions the jackknife's 95 % intervals cover 83 %; with at most 20 directions in 100
rows, and 64 in 1,000, 93 to 98 %."""
_QUANTILES = 2_000  # at which the law of noise's variances is read; 2,000 give its entropy to four digits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """A number of directions that a code uses.

    Attributes:
        value: the estimate, corrected for the number of rows; between 1 and the number of columns, 0 for a constant
            code.
        low: lower end of its interval over rows, by the jackknife over blocks of them; NaN, of an effective rank, with
            fewer rows than four times ``plain``.
        high: upper end.
        plain: the same on these rows, uncorrected, as it is published; at most the smaller of ``n_rows`` and
            ``n_columns``.
        of_noise: ``plain`` of isotropic Gaussian noise of this shape: what so many rows show of a code that uses all
            directions alike. It falls short of ``n_columns`` more with fewer rows.
        rank: number of directions that are no rounding.
        n_rows: number of rows; groups count once.
        n_columns: number of columns.
    """

    value: float
    low: float
    high: float
    plain: float
    of_noise: float
    rank: int
    n_rows: int
    n_columns: int

    @property
    def interval(self) -> Interval:
        """The value with both ends."""
        return Interval(value=self.value, low=self.low, high=self.high)


@own_settings
def effective_rank(
    representation: ArrayLike,
    *,
    of: str = "singular values",
    centre: bool = True,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Dimension:
    """Effective rank of a code (RankMe): the exponential of the entropy of its singular values' shares.

    Shares are of their sum. It is 1 for a code along one direction, k for one of k directions of equal size, 0 for a
    constant one. RankMe takes the singular values themselves, so that small directions count for much: with variances
    1, 0.01, ..., 0.01 in 64 columns it is 53, and the effective rank of the variances is 9.7. Departures from the
    source: columns are centred, or a common offset would look like the only direction; no 10⁻⁷ is added to the shares,
    which changes the number by a factor of at most ``exp(1.7e-6 · columns)``.

    Few rows show less than there is: the singular values of a sample spread. ``value`` takes off the part of the bias
    that falls as 1/n, by the jackknife. With fewer rows than four times ``plain`` some of it is left, and there is no
    interval: compare ``plain`` with ``of_noise`` there.

    Args:
        representation: shape (n, p) or (n,).
        of: ``"singular values"``, or ``"variances"``, their squares (of the covariance), which noise in many columns
            raises less.
        centre: whether the mean is taken off first; ``False`` for the number as it is published.
        groups: a label per row: rows of a group (copies, sequences) are left out together. ``None`` for rows that are
            samples of their own.
        level: coverage of the interval, strictly between 0 and 1.

    Returns:
        The estimate with its interval, the uncorrected number, and that of noise.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), another ``of``, ``level`` out of range, or unfit
            groups.

    References:
        :cite:t:`garrido2023rankme`; effective rank is from :cite:t:`roy2007effective`.

    Example:
        >>> import numpy as np
        >>> z = np.random.default_rng(0).normal(size=(2000, 3))
        >>> found = effective_rank(z @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 3)))[0].T)
        >>> round(found.value, 1), found.rank, found.n_columns
        (3.0, 3, 8)
    """
    if of not in ("singular values", "variances"):
        raise ValueError(f'of: expected "singular values" or "variances", got {of!r}')

    def measured(variances: np.ndarray, squares: np.ndarray) -> float:
        del squares
        return directions(variances, of=of)

    found = _dimension(representation, measured, measured, groups, level, centre=centre)
    if found.plain > _MOST_SHARE * found.n_rows:  # beyond that the bias is no longer one that falls as 1/n
        found = dataclasses.replace(found, low=math.nan, high=math.nan)
    return found


@own_settings
def participation_ratio(
    representation: ArrayLike, *, groups: ArrayLike | None = None, level: float = 0.95
) -> Dimension:
    """Participation ratio of a code: ``(Σ λ)² / Σ λ²`` over the variances λ along its principal directions.

    1 for a code along one direction, k for one of k directions of equal variance, 0 for a constant one. Large
    directions count for most. The plain number has a large bias with few rows: isotropic noise of p columns shows
    ``1 / (1/p + 1/n)`` at most. ``value`` is the ratio of unbiased estimates of both terms, for any distribution of
    the rows, which is right to about a hundredth where the plain one is wrong by half. With ``groups`` it is corrected
    by the jackknife instead.

    Args:
        representation: shape (n, p) or (n,).
        groups: a label per row: rows of a group (copies, sequences) are left out together. ``None`` for rows that are
            samples of their own.
        level: coverage of the interval, strictly between 0 and 1.

    Returns:
        The estimate with its interval, the uncorrected number, and that of noise.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`), ``level`` out of range, or unfit groups.

    References:
        The unbiased estimates are from :cite:t:`himeno2014estimations`; :cite:t:`chun2025dimensionality` on the bias
        of the ratio.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(size=(60, 40)) * np.sqrt(np.linspace(0.2, 1.8, 40))
        >>> found = participation_ratio(noise)  # 31.1 in the population
        >>> 26 < found.value < 37, found.plain < 21
        (True, True)
    """
    own = None if groups is None else check_groups(groups, len(as_numbers("representation", representation)))
    corrected = _unbiased_ratio if own is None else _squared_ratio
    return _dimension(representation, _squared_ratio, corrected, own, level, centre=True)


def directions(variances: Float[np.ndarray, " k"], *, of: str = "variances") -> float:
    """Exponential of the entropy of shares; 0 where nothing varies."""
    sizes = np.maximum(variances, 0.0)
    sizes = np.sqrt(sizes) if of == "singular values" else sizes
    total = sizes.sum()
    if not total > 0:
        return 0.0
    shares = sizes[sizes > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _squared_ratio(variances: Float[np.ndarray, " k"], squares: Float[np.ndarray, " n"]) -> float:
    del squares
    below = float((variances**2).sum())
    return float(variances.sum() ** 2 / below) if below > 0 else 0.0


def _unbiased_ratio(variances: Float[np.ndarray, " k"], squares: Float[np.ndarray, " n"]) -> float:
    """Ratio of unbiased estimates of (tr Σ)² and tr Σ²; infinite where the second one is not above 0."""
    n = len(squares)
    trace, sizes, fourth = float(variances.sum()), float((variances**2).sum()), float((squares**2).sum()) / (n - 1)
    above = 2 * sizes + (n**2 - 3 * n + 1) * trace**2 - n * fourth
    below = (n - 1) * (n - 2) * sizes + trace**2 - n * fourth
    return above / below if below > 0 else math.inf


_Measure: TypeAlias = Callable[[np.ndarray, np.ndarray], float]
"""Of variances along principal directions, and the squared length of each centred row."""


def _dimension(
    representation: ArrayLike, plain: _Measure, better: _Measure, groups: Any, level: float, *, centre: bool
) -> Dimension:
    """A measure on all rows, without each block of them, and of noise.

    Args:
        representation: as the caller gave it.
        plain: the measure as it is published.
        better: the measure that is reported; if it is the same, it is corrected by the jackknife.
        groups: a label per row, or ``None``.
        level: of the interval.
        centre: whether the mean is taken off.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number strictly between 0 and 1, got {level}")
    rows = matrix("representation", representation)
    if not centre:  # as they were given, with whatever offset they have
        rows = as_numbers("representation", representation).astype(np.float64).reshape(len(rows), -1)
    together = None if groups is None else check_groups(groups, len(rows))
    n, p = rows.shape
    freedom = n - 1 if centre else n
    noise = plain(_variances_of_noise(freedom, p), np.zeros(0))
    independent = n if together is None else int(together.max()) + 1
    shape = {"of_noise": noise, "n_rows": independent, "n_columns": p}
    rows = rows - centre * rows.mean(axis=0)
    size = float(np.abs(rows).max())
    if not size > 0:
        return Dimension(value=0.0, low=0.0, high=0.0, plain=0.0, rank=0, **shape)
    rows = rows / size
    variances = np.linalg.svd(rows, compute_uv=False) ** 2 / freedom
    squares = (rows**2).sum(axis=1)
    left_out = _without_blocks(rows, jackknife_blocks(n, together), centre=centre)
    whole = better(variances, squares)
    value, half = jackknife(whole, np.asarray([better(*one) for one in left_out]), level)
    value = float(np.clip(value if better is plain or together is not None else whole, 1.0, p))
    low, high = np.clip([value - half, value + half], 1.0, p)
    return Dimension(
        value=value,
        low=float(low),
        high=float(high),
        plain=plain(variances, squares),
        rank=int((variances > rank_tolerance(representation) ** 2 * variances[0]).sum()),
        **shape,
    )


def _without_blocks(
    rows: Float[np.ndarray, "n p"], blocks: Int[np.ndarray, " n"], *, centre: bool
) -> list[tuple[Float[np.ndarray, " k"], Float[np.ndarray, " m"]]]:
    """Variances, and squared lengths, of the rows without each block, by the smaller matrix of inner products."""
    n, p = rows.shape
    wide = p > n
    gram = rows @ rows.T if wide else rows.T @ rows
    found = []
    for block in range(int(blocks.max()) + 1):
        kept = blocks != block
        left = int(kept.sum())
        rest = rows[kept]
        mean = centre * rest.mean(axis=0)
        squares = ((rest - mean) ** 2).sum(axis=1)
        if wide:
            inner = gram[np.ix_(kept, kept)]
            if centre:
                inner = inner - inner.mean(axis=0) - inner.mean(axis=1, keepdims=True) + inner.mean()
        else:
            out = rows[~kept]
            inner = gram - out.T @ out - left * np.outer(mean, mean)
        found.append((np.maximum(np.linalg.eigvalsh(inner), 0.0) / (left - centre), squares))
    return found


def _variances_of_noise(freedom: int, p: int) -> Float[np.ndarray, " k"]:
    """Sample variances of isotropic noise along its principal directions, by the law of Marchenko and Pastur.

    Returns:
        ``min(freedom, p)`` variances, in units of the noise's: quantiles of the law.
    """
    few, many = min(freedom, p), max(freedom, p)
    ratio = few / many
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    angle = (np.arange(_QUANTILES) + 0.5) * np.pi / _QUANTILES
    at = (low + high) / 2 - (high - low) / 2 * np.cos(angle)
    density = np.sin(angle) ** 2 / at  # of the angle: the square root and the substitution give one sine each
    reached = np.cumsum(density) - density / 2
    places = (np.arange(few) + 0.5) / few
    return np.interp(places, reached / density.sum(), at) * many / freedom
