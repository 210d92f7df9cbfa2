"""Held-out R² of regressing latents on a representation: how much of a latent can be read off it.

Rows are split at random by the key; features and targets are standardised with the training rows; bandwidth and
ridge are chosen by exact leave-one-out on the training rows; the test rows enter only the final score. Features
of the kernel regression are also softly bounded, so that heavy tails and single outlying rows do not decide a score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hlvm._numbers import aligned
from hlvm.scoring.inputs import matrix, paired_matrices, random_streams
from hlvm.scoring.intervals import percentile_limits, resampling_weights
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.kernels import median_distance, soften
from hlvm.scoring.regression.mlp import fit_mlp
from hlvm.scoring.regression.normal_scores import NormalScores
from hlvm.scoring.regression.nystroem import fit_nystroem
from hlvm.scoring.regression.r2 import KernelR2, pooled, resampled_sums, scorable, sums_of_squares
from hlvm.scoring.regression.ridge import Grid, Problem, Selected, fit_exact, fit_linear
from hlvm.scoring.regression.splitting import Standardiser
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import group_counts, row_groups

__all__ = [
    "fit_kernel",
    "kernel_r2",
    "kernel_r2_many",
    "linear_r2",
    "linear_r2_many",
    "mlp_r2",
    "score_targets",
]


def kernel_r2(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> KernelR2:
    """Held-out R² of kernel ridge regression from a representation to latents.

    Near 1 means that the latents are a function of the representation that the regressor could learn from
    ``n_train`` rows. A low score has two possible reasons, no information or too few rows for a curved relation:
    compare with the score of something known to hold the latents (a ceiling).

    Args:
        representation: features, shape (n, p) or (n,).
        latents: targets, shape (n, d) or (n,), same rows.
        key: a JAX key or an int; the same key and number of rows give the same split.
        groups: a label per row; rows that belong together (copies, sequences, views of one scene) are never on both
            sides of the split. ``None`` to look for copies, see :func:`hlvm.scoring.row_groups.row_groups`.
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
    return kernel_r2_many(representation, {"latents": latents}, key=key, groups=groups, config=config)["latents"]


def kernel_r2_many(
    representation: ArrayLike,
    latents: Mapping[str, ArrayLike],
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> dict[str, KernelR2]:
    """Score many latents against one representation; each has its own bandwidth and ridge.

    All latents share every factorisation, so a hundred of them cost little more than one; each result equals what
    :func:`kernel_r2` gives for that latent alone with the same key.

    Args:
        representation: features, shape (n, p) or (n,).
        latents: name → shape (n, d) or (n,), same rows; at least one.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Name → score, in the order of ``latents``.

    Raises:
        ValueError: no latents, or an unfit array (see :func:`kernel_r2`).
    """
    config = config or RegressionConfig()
    fit = partial(fit_kernel, config=config)
    return score_targets(fit, config.kernel, representation, latents, key, groups, config)


def linear_r2(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> KernelR2:
    """Held-out R² of linear ridge regression, on the same split as :func:`kernel_r2` with the same key.

    Args:
        representation: features, shape (n, p) or (n,).
        latents: targets, shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        The score, with ``kernel="linear"``.

    Raises:
        ValueError: an unfit array (see :func:`kernel_r2`).
    """
    return linear_r2_many(representation, {"latents": latents}, key=key, groups=groups, config=config)["latents"]


def linear_r2_many(
    representation: ArrayLike,
    latents: Mapping[str, ArrayLike],
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> dict[str, KernelR2]:
    """Linear R² of many latents, each with its own ridge, by one factorisation; as :func:`kernel_r2_many`.

    Args:
        representation: features, shape (n, p) or (n,).
        latents: name → shape (n, d) or (n,), same rows; at least one.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids; ``None`` for the defaults.

    Returns:
        Name → score, with ``kernel="linear"``.

    Raises:
        ValueError: no latents, or an unfit array (see :func:`kernel_r2`).
    """
    config = config or RegressionConfig()
    fit = partial(fit_linear, ridges=config.linear_ridges)
    return score_targets(fit, "linear", representation, latents, key, groups, config)


def mlp_r2(
    representation: ArrayLike,
    latents: ArrayLike,
    *,
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> KernelR2:
    """Held-out R² of a small neural network, on the same split as :func:`kernel_r2` with the same key.

    scikit-learn's ``MLPRegressor`` with two layers of 64 units, stopped early on a tenth of the training rows. It uses
    all training rows, so it can read more than a kernel off many rows, and often less off few.

    Args:
        representation: features, shape (n, p) or (n,).
        latents: targets, shape (n, d) or (n,), same rows.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes; ``None`` for the defaults.

    Returns:
        The score, with ``kernel="mlp"``; ``bandwidth``, ``ridge`` and ``loo`` are NaN.

    Raises:
        ValueError: an unfit array (see :func:`kernel_r2`).
    """
    fit = partial(fit_mlp, seed=int(random_streams(key).network.integers(2**31)))
    config = config or RegressionConfig()
    return score_targets(fit, "mlp", representation, {"latents": latents}, key, groups, config)["latents"]


def fit_kernel(problem: Problem, *, config: RegressionConfig) -> Selected:
    """Kernel ridge fits as the config says."""
    train, test = (soften(rows, config.soft_limit) for rows in (problem.train, problem.test))
    unit = median_distance(train)
    fit = fit_exact
    if len(train) > config.max_exact:
        fit = partial(fit_nystroem, n_landmarks=config.landmarks)
    grid = Grid(config.bandwidths, config.ridges, unit, config.kernel)
    return fit(problem._replace(train=train, test=test), grid, max_select=config.max_select)._replace(unit=unit)


@own_settings
def score_targets(
    fit: Callable[[Problem], Selected],
    kernel: str,
    representation: ArrayLike,
    targets: Mapping[str, ArrayLike],
    key: Any,
    given_groups: ArrayLike | None,
    config: RegressionConfig,
    *,
    by_ranks: bool = False,
) -> dict[str, KernelR2]:
    """Split, standardise, fit all targets at once, and score each one.

    Args:
        fit: the regression.
        kernel: what to call it in the result.
        representation: features.
        targets: name → targets.
        key: a JAX key or an int.
        given_groups: a label per row, or ``None`` to look for copies.
        config: sizes.
        by_ranks: whether to fit normal scores of features and targets, and map predictions back.
    """
    if not targets:
        raise ValueError("latents: expected at least one, got none")
    features = matrix("representation", representation)
    arrays = []
    for name, values in targets.items():
        values = aligned("representation", representation, name, values)
        arrays.append(paired_matrices("representation", features, name, values)[1])
    widths = [array.shape[1] for array in arrays]
    groups = np.repeat(np.arange(len(arrays)), widths)
    stacked = np.concatenate(arrays, axis=1)

    streams = random_streams(key)
    given_groups = aligned("representation", representation, "groups", given_groups)
    split = config.draw_split(len(features), streams.split, row_groups(features, stacked, given_groups))
    x = (NormalScores if by_ranks else Standardiser).fit(features[split.train])
    y = Standardiser.fit(stacked[split.train])
    train_targets, test_targets = y.apply(stacked[split.train]), y.apply(stacked[split.test])
    ranks = NormalScores.fit(train_targets) if by_ranks else None
    fitted_targets = train_targets if ranks is None else ranks.apply(train_targets)
    train_x, test_x = x.apply(features[split.train]), x.apply(features[split.test])
    selected = fit(Problem(train_x, test_x, fitted_targets, groups, split.train_groups))
    if ranks is not None:
        selected = _out_of_ranks(selected, ranks, train_targets)

    residuals = test_targets - selected.predictions
    weights = resampling_weights(len(split.test), config.n_boot, streams.bootstrap, split.test_groups)
    independent = group_counts(split.test_groups, len(split.test))
    scored = scorable(y.constant, test_targets)
    with np.errstate(invalid="ignore", divide="ignore"):
        sse, sst = sums_of_squares(residuals, test_targets, np.ones((1, len(split.test))))
        resampled = resampled_sums(residuals, test_targets, weights, split.test_groups)
        per_dim = np.where(scored, 1 - sse[0] / sst[0], np.nan)
        draws = np.where(scored & (resampled[1] > 0), 1 - resampled[0] / resampled[1], np.nan)
    per_dim_low, per_dim_high = percentile_limits(draws, config.level)

    results = {}
    for group, name in enumerate(targets):
        columns = np.flatnonzero(groups == group)
        kept = columns[scored[columns]]
        low, high = percentile_limits(pooled(*resampled, kept), config.level)
        loo, seen = selected.loo[:, columns], train_targets[: len(selected.loo), columns]
        variance = float((seen**2).sum())
        bandwidth, ridge = float(selected.bandwidth[group]), float(selected.ridge[group])
        results[name] = KernelR2(
            value=float(pooled(sse, sst, kept)[0]),
            low=float(low),
            high=float(high),
            per_dim=per_dim[columns],
            per_dim_low=per_dim_low[columns],
            per_dim_high=per_dim_high[columns],
            kernel=kernel,
            bandwidth=bandwidth * selected.unit,
            ridge=ridge,
            grid_edge=_edges(kernel, bandwidth, ridge, config),
            loo=1 - float((loo**2).sum()) / variance if variance else math.nan,
            nystroem_error=float(selected.missed[group]),
            n_train=len(split.train),
            n_test=len(split.test),
            n_independent=independent,
            level=config.level,
            split=split,
            targets=test_targets[:, columns],
            residuals=residuals[:, columns],
            loo_residuals=loo,
        )
    return results


def _out_of_ranks(selected: Selected, ranks: NormalScores, train_targets: np.ndarray) -> Selected:
    """Predictions and leave-one-out errors of normal scores, as those of the targets themselves."""
    seen = train_targets[: len(selected.loo)]
    return selected._replace(
        predictions=ranks.invert(selected.predictions), loo=seen - ranks.invert(ranks.apply(seen) - selected.loo)
    )


def _edges(kernel: str, bandwidth: float, ridge: float, config: RegressionConfig) -> tuple[str, ...]:
    """Names of the hyper-parameters that were chosen at an end of their grid."""
    if not math.isfinite(ridge):
        return ()
    ridges = config.linear_ridges if kernel == "linear" else config.ridges
    edges = ["ridge"] if ridge == ridges[0] else []
    if bandwidth in (config.bandwidths[0], config.bandwidths[-1]):
        edges.insert(0, "bandwidth")
    return tuple(edges)
