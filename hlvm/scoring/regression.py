"""Held-out R² of regressing latents on a representation: how much of a latent can be read off it.

Rows are split at random by the key; features and targets are standardised with the training rows; bandwidth and
ridge are chosen by exact leave-one-out on the training rows; the test rows enter only the final score. Features
of the kernel regression are also softly bounded, so that heavy tails and single outlying rows do not decide a score.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from hlvm.scoring.config import RegressionConfig
from hlvm.scoring.inputs import matrix, paired_matrices, random_streams
from hlvm.scoring.intervals import Interval, percentile_limits, resampling_weights
from hlvm.scoring.ridge import Selected, fit_linear, fit_rbf, median_distance, soften
from hlvm.scoring.splitting import Split, Standardiser
from hlvm.scoring.threads import one_blas_thread

__all__ = [
    "KernelR2",
    "fit_kernel",
    "kernel_r2",
    "kernel_r2_many",
    "linear_r2",
    "paired_difference",
    "scorable",
    "sums_of_squares",
]


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
        kernel: ``"rbf"`` or ``"linear"``.
        bandwidth: chosen RBF length ℓ in ``exp(−‖x − y‖² / 2ℓ²)`` on standardised, softly bounded features
            (scikit-learn's gamma is ``1 / 2ℓ²``); NaN for the linear kernel and when ``ridge`` is infinite.
        ridge: chosen λ (scikit-learn's alpha); infinite when predicting the training mean was best.
        grid_edge: which of ``"bandwidth"``, ``"ridge"`` was chosen at an end of its grid, where a wider grid might do
            better. Empty when the optimum is inside, and for the infinite ridge. The largest finite ridge is no end.
        loo: leave-one-out R² on the training rows at the chosen pair, on which it was chosen; range up to 1.
        n_train: number of training rows.
        n_test: number of test rows.
        level: coverage of the interval.
        split: the rows of both parts.
        targets: standardised test targets, shape (n_test, d).
        residuals: ``targets`` minus predictions, shape (n_test, d).
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
    n_train: int
    n_test: int
    level: float
    split: Split = dataclasses.field(repr=False)
    targets: np.ndarray = dataclasses.field(repr=False)
    residuals: np.ndarray = dataclasses.field(repr=False)

    @property
    def interval(self) -> Interval:
        """The value with both ends."""
        return Interval(self.low, self.value, self.high)


def kernel_r2(
    representation: ArrayLike, latents: ArrayLike, *, key: Any, config: RegressionConfig | None = None
) -> KernelR2:
    """Held-out R² of RBF kernel ridge regression from a representation to latents.

    Near 1 means that the latents are a function of the representation that the regressor could learn from
    ``n_train`` rows. A low score has two possible reasons, no information or too few rows for a curved relation:
    compare with the score of something known to hold the latents (a ceiling).

    Args:
        representation: features, shape (n, p) or (n,).
        latents: targets, shape (n, d) or (n,), same rows.
        key: a JAX key or an int; the same key and number of rows give the same split.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        The score.

    Raises:
        ValueError: fewer than 10 rows, unequal numbers of rows, NaN or infinite values, no columns.

    References:
        docs/theory.md, section 6.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> latents = rng.normal(size=(300, 2))
        >>> score = kernel_r2(latents + np.tanh(latents), latents, key=0)
        >>> score.value > 0.97, score.n_train, score.n_test
        (True, 180, 120)
    """
    return kernel_r2_many(representation, {"latents": latents}, key=key, config=config)["latents"]


def kernel_r2_many(
    representation: ArrayLike,
    targets: Mapping[str, ArrayLike],
    *,
    key: Any,
    config: RegressionConfig | None = None,
) -> dict[str, KernelR2]:
    """Score many targets against one representation; each has its own bandwidth and ridge.

    All targets share every factorisation, so a hundred targets cost little more than one; each result equals what
    :func:`kernel_r2` gives for that target alone with the same key.

    Args:
        representation: features, shape (n, p) or (n,).
        targets: name → shape (n, d) or (n,), same rows; at least one.
        key: a JAX key or an int.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Name → score, in the order of ``targets``.

    Raises:
        ValueError: no targets, or an unfit array (see :func:`kernel_r2`).
    """
    config = config or RegressionConfig()

    return _score_targets(partial(fit_kernel, config=config), "rbf", representation, targets, key, config)


def linear_r2(
    representation: ArrayLike, latents: ArrayLike, *, key: Any, config: RegressionConfig | None = None
) -> KernelR2:
    """Held-out R² of linear ridge regression, on the same split as :func:`kernel_r2` with the same key.

    Args:
        representation: features, shape (n, p) or (n,).
        latents: targets, shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        The score, with ``kernel="linear"``.

    Raises:
        ValueError: an unfit array (see :func:`kernel_r2`).
    """
    config = config or RegressionConfig()

    def fit(train: np.ndarray, test: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[Selected, float]:
        return fit_linear(train, test, y, groups, ridges=config.linear_ridges), math.nan

    return _score_targets(fit, "linear", representation, {"latents": latents}, key, config)["latents"]


@one_blas_thread
def paired_difference(a: KernelR2, b: KernelR2, *, key: Any, n_boot: int = 2000) -> Interval:
    """How much better one representation predicts the same latents than another, on the same test rows.

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
    if not a.split.same_as(b.split):
        raise ValueError(
            "expected two scores on the same rows, got different splits: score both with the same key, rows and config"
        )
    if a.targets.shape != b.targets.shape or not np.allclose(a.targets, b.targets):
        raise ValueError("expected two scores of the same latents, got different targets: compare like with like")
    weights = resampling_weights(a.n_test, n_boot, random_streams(key).bootstrap)
    scored = np.isfinite(a.per_dim)
    draws = [_resampled_r2(score, weights, scored) for score in (a, b)]
    low, high = percentile_limits(draws[0] - draws[1], a.level)
    return Interval(float(low), a.value - b.value, float(high))


def fit_kernel(
    train: Float[np.ndarray, "n p"],
    test: Float[np.ndarray, "m p"],
    targets: Float[np.ndarray, "n D"],
    groups: Int[np.ndarray, " D"],
    *,
    config: RegressionConfig,
) -> tuple[Selected, float]:
    """Kernel ridge fits of standardised data, as the config says.

    Args:
        train: standardised training features.
        test: test features on the same scale.
        targets: standardised training targets.
        groups: to which group each target column belongs.
        config: grids and soft limit.

    Returns:
        The chosen fits, and the length that their bandwidths are multiples of.
    """
    train, test = soften(train, config.soft_limit), soften(test, config.soft_limit)
    unit = median_distance(train)
    fits = fit_rbf(train, test, targets, groups, bandwidths=config.bandwidths, ridges=config.ridges, unit=unit)
    return fits, unit


def sums_of_squares(
    residuals: Float[np.ndarray, "m D"], targets: Float[np.ndarray, "m D"], weights: Float[np.ndarray, "B m"]
) -> tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]]:
    """Weighted sums of squares, from which every R² here is made.

    Args:
        residuals: target minus prediction.
        targets: the targets.
        weights: how often each row counts; one set per row of ``weights``.

    Returns:
        SSE and SST (about the weighted mean) of each column under each set of weights.
    """
    squared_errors = weights @ residuals**2
    total = weights @ targets**2 - (weights @ targets) ** 2 / weights.sum(axis=1, keepdims=True)
    return squared_errors, np.maximum(total, 0.0)


def _resampled_sums(
    residuals: Float[np.ndarray, "m D"], targets: Float[np.ndarray, "m D"], weights: Float[np.ndarray, "B m"]
) -> tuple[Float[np.ndarray, "B D"], Float[np.ndarray, "B D"]]:
    """Sums of squares under bootstrap weights.

    SST about a resample's own mean is too small by ``(m − 1)/m`` on average; without the factor an interval around a
    score of 0 can miss its own value.
    """
    squared_errors, total = sums_of_squares(residuals, targets, weights)
    m = len(targets)
    return squared_errors, total * m / (m - 1)


@one_blas_thread
def _score_targets(
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], tuple[Selected, float]],
    kernel: str,
    representation: ArrayLike,
    targets: Mapping[str, ArrayLike],
    key: Any,
    config: RegressionConfig,
) -> dict[str, KernelR2]:
    """Split, standardise, fit all targets at once, and score each one."""
    if not targets:
        raise ValueError("targets: expected at least one, got none")
    features = matrix("representation", representation)
    arrays = [paired_matrices("representation", features, name, values)[1] for name, values in targets.items()]
    widths = [array.shape[1] for array in arrays]
    groups = np.repeat(np.arange(len(arrays)), widths)
    stacked = np.concatenate(arrays, axis=1)

    streams = random_streams(key)
    split = config.draw_split(len(features), streams.split)
    x = Standardiser.fit(features[split.train])
    y = Standardiser.fit(stacked[split.train])
    train_targets, test_targets = y.apply(stacked[split.train]), y.apply(stacked[split.test])
    selected, unit = fit(x.apply(features[split.train]), x.apply(features[split.test]), train_targets, groups)

    residuals = test_targets - selected.predictions
    weights = resampling_weights(len(split.test), config.n_boot, streams.bootstrap)
    scored = scorable(y.constant, test_targets)
    with np.errstate(invalid="ignore", divide="ignore"):
        sse, sst = sums_of_squares(residuals, test_targets, np.ones((1, len(split.test))))
        resampled = _resampled_sums(residuals, test_targets, weights)
        per_dim = np.where(scored, 1 - sse[0] / sst[0], np.nan)
        draws = np.where(scored & (resampled[1] > 0), 1 - resampled[0] / resampled[1], np.nan)
    per_dim_low, per_dim_high = percentile_limits(draws, config.level)

    results = {}
    for group, name in enumerate(targets):
        columns = np.flatnonzero(groups == group)
        kept = columns[scored[columns]]
        low, high = percentile_limits(_pooled(*resampled, kept), config.level)
        variance = float((train_targets[:, columns] ** 2).sum())
        bandwidth, ridge = float(selected.bandwidth[group]), float(selected.ridge[group])
        results[name] = KernelR2(
            value=float(_pooled(sse, sst, kept)[0]),
            low=float(low),
            high=float(high),
            per_dim=per_dim[columns],
            per_dim_low=per_dim_low[columns],
            per_dim_high=per_dim_high[columns],
            kernel=kernel,
            bandwidth=bandwidth * unit,
            ridge=ridge,
            grid_edge=_edges(kernel, bandwidth, ridge, config),
            loo=1 - float(selected.loo_error[group]) / variance if variance else math.nan,
            n_train=len(split.train),
            n_test=len(split.test),
            level=config.level,
            split=split,
            targets=test_targets[:, columns],
            residuals=residuals[:, columns],
        )
    return results


def scorable(constant_in_training: Bool[np.ndarray, " D"], test_targets: Float[np.ndarray, "m D"]) -> np.ndarray:
    """Which target columns vary in both parts, so that their R² is defined."""
    return ~constant_in_training & (test_targets.std(axis=0) > 1e-9 * np.abs(test_targets).max(axis=0))


def _pooled(sse: Float[np.ndarray, "B D"], sst: Float[np.ndarray, "B D"], kept: np.ndarray) -> Float[np.ndarray, " B"]:
    """Variance-weighted R² over the kept columns; NaN where they do not vary."""
    total = sst[:, kept].sum(axis=1)
    errors = sse[:, kept].sum(axis=1)
    return np.where(total > 0, 1 - errors / np.where(total > 0, total, 1.0), np.nan)


def _resampled_r2(score: KernelR2, weights: np.ndarray, scored: np.ndarray) -> Float[np.ndarray, " B"]:
    return _pooled(*_resampled_sums(score.residuals, score.targets, weights), np.flatnonzero(scored))


def _edges(kernel: str, bandwidth: float, ridge: float, config: RegressionConfig) -> tuple[str, ...]:
    """Names of the hyper-parameters that were chosen at an end of their grid."""
    if math.isinf(ridge):
        return ()
    ridges = config.ridges if kernel == "rbf" else config.linear_ridges
    edges = ["ridge"] if ridge == ridges[0] else []
    if bandwidth in (config.bandwidths[0], config.bandwidths[-1]):
        edges.insert(0, "bandwidth")
    return tuple(edges)
