"""Held-out R² as a result: its value, its interval, and comparisons of scores on the same test rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm, t

from hlvm.scoring.inputs import random_streams
from hlvm.scoring.intervals import Interval, percentile_limits, resampling_weights
from hlvm.scoring.regression.splitting import Split
from hlvm.scoring.regression.threads import own_settings

__all__ = [
    "KernelR2",
    "normalised_r2",
    "paired_difference",
    "pooled",
    "r2_over_seeds",
    "resampled_sums",
    "scorable",
    "sums_of_groups",
    "sums_of_squares",
]

_ROUNDING = 1e-10  # share of a sum of squares that is left of it by rounding alone, when its mean is taken off


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class KernelR2:
    """Held-out R² of one target array, with its uncertainty and how it came about.

    R² is ``1 − SSE/SST``, both over the test rows, SST about the mean of the *test* rows (as scikit-learn's
    ``r2_score``); it is at most 1, about 0 for a representation that holds nothing, and can be below 0.

    Attributes:
        value: variance-weighted R² of the standardised target: ``1 − Σ_d SSE_d / Σ_d SST_d``. Columns count about
            equally whatever their units. NaN when no column can be scored.
        low: lower end of its percentile bootstrap interval over test rows.
        high: upper end.
        per_dim: R² of each target column, shape (d,). NaN for a column that is constant in the training or in the
            test part; such a column is left out of ``value``.
        per_dim_low: lower ends, shape (d,).
        per_dim_high: upper ends, shape (d,).
        kernel: the kernel's name (:data:`hlvm.scoring.regression.kernels.Kernel`), with ``" of normal scores"``
            where it is one of these, ``"linear"`` or ``"mlp"``.
        bandwidth: chosen length ℓ, as in ``exp(−‖x − y‖² / 2ℓ²)``, on standardised, softly bounded features
            (scikit-learn's gamma is ``1 / 2ℓ²``); NaN without one and when ``ridge`` is infinite.
        ridge: chosen λ (scikit-learn's alpha); infinite when predicting the training mean was best, NaN for a network.
        grid_edge: which of ``"bandwidth"``, ``"ridge"`` was chosen at an end of its grid, where a wider grid might do
            better. Empty when the optimum is inside, and for the infinite ridge. The largest finite ridge is no end.
        loo: leave-one-out R² at the chosen pair on the training rows on which it was chosen; NaN for a network.
        nystroem_error: mean over training rows of the part of ``k(x, x) = 1`` that the Nyström approximation misses,
            between 0 and 1; 0 for the exact kernel.
        n_train: number of training rows.
        n_test: number of test rows.
        n_independent: number of test rows that are samples of their own: groups of rows that belong together count
            once.
        level: coverage of the interval.
        split: the rows of both parts.
        targets: standardised test targets, shape (n_test, d).
        residuals: ``targets`` minus predictions, shape (n_test, d).
        loo_residuals: leave-one-out errors of the training rows that selection used, in the order of ``split.train``,
            shape (n_loo, d); no rows for a network.
    """

    value: float
    low: float
    high: float
    per_dim: np.ndarray
    per_dim_low: np.ndarray
    per_dim_high: np.ndarray
    kernel: str
    bandwidth: float
    ridge: float
    grid_edge: tuple[str, ...]
    loo: float
    nystroem_error: float
    n_train: int
    n_test: int
    n_independent: int
    level: float
    split: Split = dataclasses.field(repr=False)
    targets: np.ndarray = dataclasses.field(repr=False)
    residuals: np.ndarray = dataclasses.field(repr=False)
    loo_residuals: np.ndarray = dataclasses.field(repr=False)

    @property
    def interval(self) -> Interval:
        """The value with both ends."""
        return Interval(value=self.value, low=self.low, high=self.high)


@own_settings
def paired_difference(a: KernelR2, b: KernelR2, *, key: Any, n_boot: int = 2000) -> Interval:
    """Gain of one representation over another in predicting the same latents, on the same test rows.

    Both scores are resampled together, so what makes a test row hard for both cancels: the interval is often far
    shorter than the two intervals suggest.

    Args:
        a: score of the first representation.
        b: score of the second one, of the same latents with the same key.
        key: a JAX key or an int, for the resampling.
        n_boot: how many resamples, at least 1.

    Returns:
        ``a.value − b.value`` with its percentile interval at the level of ``a``.

    Raises:
        ValueError: the two were scored on different rows or targets.
    """
    _check_comparable(a, b)
    weights = resampling_weights(a.n_test, n_boot, random_streams(key).bootstrap, a.split.test_groups)
    scored = np.isfinite(a.per_dim)
    draws = [resampled_r2(score, weights, scored) for score in (a, b)]
    low, high = percentile_limits(draws[0] - draws[1], a.level)
    return Interval(value=a.value - b.value, low=float(low), high=float(high))


@own_settings
def normalised_r2(score: KernelR2, *, floor: KernelR2, ceiling: KernelR2, key: Any, n_boot: int = 2000) -> Interval:
    """Place of a score between its floor and its ceiling: 0 at the floor, 1 at the ceiling.

    All three are resampled on the same test rows. Below 0 training lost what an untrained encoder has; above 1 the
    representation is easier to read than what the ceiling was computed from.

    Args:
        score: of the representation.
        floor: of an untrained encoder of the same shape, or of anything else that counts as nothing.
        ceiling: of an input known to hold the latents.
        key: a JAX key or an int, for the resampling.
        n_boot: how many resamples, at least 1.

    Returns:
        ``(score − floor) / (ceiling − floor)`` with its percentile interval; all NaN when the ceiling is not above the
        floor beyond doubt (the interval of their difference reaches 0), since the ratio would be noise.

    Raises:
        ValueError: the three were scored on different rows or targets.
    """
    for control in (floor, ceiling):
        _check_comparable(score, control)
    weights = resampling_weights(score.n_test, n_boot, random_streams(key).bootstrap, score.split.test_groups)
    scored = np.isfinite(score.per_dim)
    of, low, high = (resampled_r2(each, weights, scored) for each in (score, floor, ceiling))
    least = percentile_limits(high - low, score.level)[0]
    if not least > 0:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = percentile_limits((of - low) / (high - low), score.level)
    value = (score.value - floor.value) / (ceiling.value - floor.value)
    return Interval(value=value, low=float(ends[0]), high=float(ends[1]))


@own_settings
def r2_over_seeds(scores: Sequence[KernelR2], *, key: Any, n_boot: int = 500) -> Interval:
    """Mean R² over independent fits, with an interval for another fit's worth of luck and another test sample.

    The unit of replication is the fit: rows of one fit share its weights. With a handful of fits a bootstrap over them
    is too short, so the fits enter by Student's t with ``K − 1`` degrees of freedom. When all fits were scored on the
    same test rows, the sampling of these rows is common to all of them and hidden from their spread: its variance, from
    a bootstrap of the rows for all fits together, is added.

    Args:
        scores: one per fit, of the same latents; at least 2.
        key: a JAX key or an int, for the resampling.
        n_boot: how many resamples of the rows.

    Returns:
        The mean with its interval at the level of the first score.

    Raises:
        ValueError: fewer than 2 scores, or one that is NaN.
    """
    values = np.asarray([score.value for score in scores])
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"scores: expected at least 2 of latents that vary, got values {values}: one per fit")
    tail = (1 + scores[0].level) / 2
    half = t.ppf(tail, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    first = scores[0]
    if all(first.split.same_as(other.split) and _same_targets(first, other) for other in scores[1:]):
        weights = resampling_weights(first.n_test, n_boot, random_streams(key).bootstrap, first.split.test_groups)
        scored = np.isfinite(first.per_dim)
        draws = np.mean([resampled_r2(score, weights, scored) for score in scores], axis=0)
        half = math.hypot(half, norm.ppf(tail) * float(np.nanstd(draws)))
    mean = float(values.mean())
    return Interval(value=mean, low=mean - float(half), high=mean + float(half))


def _same_targets(a: KernelR2, b: KernelR2) -> bool:
    return a.targets.shape == b.targets.shape and np.allclose(a.targets, b.targets)


def _check_comparable(a: KernelR2, b: KernelR2) -> None:
    if not a.split.same_as(b.split):
        raise ValueError(
            "expected two scores on the same rows, got different splits: score both with the same key, rows and config"
        )
    if not _same_targets(a, b):
        raise ValueError("expected two scores of the same latents, got different targets: compare like with like")


def sums_of_squares(
    residuals: Float[np.ndarray, "m D"], targets: Float[np.ndarray, "m D"], weights: Float[np.ndarray, "B m"]
) -> tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]]:
    """Weighted sums of squares, from which every R² here is made.

    Args:
        residuals: target minus prediction.
        targets: the targets.
        weights: how often each row counts; one set per row of ``weights``.

    Returns:
        SSE and SST (about the weighted mean) of each column under each set of weights. SST is 0 where the rows that
        count are equal but for rounding, as in resamples that miss every case of a rare event.
    """
    squared_errors, squares = weights @ residuals**2, weights @ targets**2
    total = squares - (weights @ targets) ** 2 / weights.sum(axis=1, keepdims=True)
    return squared_errors, np.where(total > _ROUNDING * squares, total, 0.0)


def resampled_sums(
    residuals: Float[np.ndarray, "m D"],
    targets: Float[np.ndarray, "m D"],
    weights: Float[np.ndarray, "B m"],
    groups: Int[np.ndarray, " m"] | None = None,
) -> tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]]:
    """Sums of squares under bootstrap weights.

    SST about a resample's own mean is too small, by ``(m − 1)/m`` on average for m independent rows; without the factor
    an interval around a score of 0 can miss its own value. With groups the mean varies by the sums of whole groups.

    Args:
        residuals: target minus prediction.
        targets: the targets.
        weights: of :func:`hlvm.scoring.intervals.resampling_weights`.
        groups: of the rows, as the weights were drawn; ``None`` for rows of their own.
    """
    squared_errors, total = sums_of_squares(residuals, targets, weights)
    m = len(targets)
    if groups is None:
        return squared_errors, total * m / (m - 1)
    centred = targets - targets.mean(axis=0)
    whole, lost = (centred**2).sum(axis=0), (sums_of_groups(centred, groups) ** 2).sum(axis=0) / m
    return squared_errors, total * np.where(lost < whole, whole / np.where(lost < whole, whole - lost, 1.0), 1.0)


def sums_of_groups(rows: Float[np.ndarray, "m D"], groups: Int[np.ndarray, " m"]) -> Float[np.ndarray, "g D"]:
    """Sums of the rows of each group."""
    numbered = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((numbered.max() + 1, rows.shape[1]))
    np.add.at(sums, numbered, rows)
    return sums


def scorable(constant_in_training: Bool[np.ndarray, " D"], test_targets: Float[np.ndarray, "m D"]) -> np.ndarray:
    """Target columns that vary in both parts, so that their R² is defined."""
    # Just above where sums_of_squares takes the variation for rounding.
    return ~constant_in_training & (test_targets.std(axis=0) > 1.1e-5 * np.abs(test_targets).max(axis=0))


def pooled(sse: Float[np.ndarray, "B D"], sst: Float[np.ndarray, "B D"], kept: np.ndarray) -> Float[np.ndarray, " B"]:
    """Variance-weighted R² over the kept columns; NaN where they do not vary."""
    total = sst[:, kept].sum(axis=1)
    errors = sse[:, kept].sum(axis=1)
    return np.where(total > 0, 1 - errors / np.where(total > 0, total, 1.0), np.nan)


def resampled_r2(score: KernelR2, weights: np.ndarray, scored: np.ndarray) -> Float[np.ndarray, " B"]:
    sums = resampled_sums(score.residuals, score.targets, weights, score.split.test_groups)
    return pooled(*sums, np.flatnonzero(scored))
