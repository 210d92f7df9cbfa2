"""Beliefs: how much of the exact posterior over a symbol is in a code, beside how much of the symbol itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, as_numbers, first_labelled
from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.intervals import Interval, percentile_limits, resampling_weights
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2, pooled, resampled_sums, sums_of_squares
from hlvm.scoring.regression.scores import kernel_r2_many, linear_r2_many
from hlvm.scoring.regression.splitting import Standardiser
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import own_labels, row_groups

__all__ = ["BeliefR2", "belief_r2"]

_SCORES = {"linear_r2": linear_r2_many, "kernel_r2": kernel_r2_many}
_SUM = 1e-3  # posteriors of float32 oracles sum to 1 within this


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BeliefR2:
    """R² of a code for the belief about a symbol, and for the symbol.

    Attributes:
        belief: R² of the posterior probabilities given the code: 1 for a code that holds the belief.
        symbol: R² of the symbol's one-hot columns given the code, on the same split.
        ceiling: R² of the one-hot columns when the posterior itself is the prediction: no function of what the oracle
            saw is expected to do better, with its interval over the same test rows.
    """

    belief: KernelR2
    symbol: KernelR2
    ceiling: Interval


@own_settings
def belief_r2(
    representation: ArrayLike,
    posterior: ArrayLike,
    symbols: ArrayLike,
    *,
    score: str = "linear_r2",
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> BeliefR2:
    """Regress the exact posterior over a symbol on a code, and the symbol itself.

    A network that sees a part of the sample cannot know a symbol better than the posterior given that part. So the
    symbol's R² has a ceiling below 1, which says nothing of the network; that of the posterior has not. A code with
    belief R² near 1 does what the oracle does, even where the symbol's R² is low. One with a high symbol R² and a low
    belief R² is sure of what cannot be known, on these rows.

    Args:
        representation: a layer's code of what is visible, shape (n, p) or (n,).
        posterior: probability of each of k symbols given the same part of the same samples, shape (n, k), each row
            non-negative and of sum 1: such as one variable of :class:`hlvm.theory.GrammarOracle`'s posterior.
        symbols: the true symbols, as whole numbers from 0 to k − 1, shape (n,).
        score: ``"linear_r2"``, as usual for beliefs, or ``"kernel_r2"``.
        key: a JAX key or an int.
        groups: a label per row, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        All three; NaN where nothing varies: a posterior that is the same for all rows is no belief to find.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.kernel_r2`), rows that are no probabilities, symbols that
            are none of the k, or another ``score``.

    References:
        Beliefs in the residual stream of transformers: :cite:t:`shai2024belief`.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> sure = rng.uniform(size=600)
        >>> posterior = np.column_stack([sure, 1 - sure])
        >>> symbols = (rng.uniform(size=600) > sure).astype(int)
        >>> found = belief_r2(np.column_stack([sure, rng.normal(size=600)]), posterior, symbols, key=0)
        >>> found.belief.value > 0.99, 0.25 < found.symbol.value < 0.42, 0.25 < found.ceiling.value < 0.42
        (True, True, True)
    """
    if score not in _SCORES:
        raise ValueError(f"score: expected one of {', '.join(_SCORES)}, got {score!r}")
    like = first_labelled(representation, posterior, symbols)
    representation, posterior, symbols, groups = (
        aligned("representation", like, name, values)
        for name, values in (
            ("representation", representation),
            ("posterior", posterior),
            ("symbols", symbols),
            ("groups", groups),
        )
    )
    code, _ = paired_matrices("representation", representation, "posterior", posterior)
    chances = _probabilities(posterior)
    shown = _one_hot(symbols, chances)
    config = config or RegressionConfig()
    together = own_labels(row_groups(code, chances, groups), len(code))
    targets = {"belief": chances, "symbol": shown}
    found = _SCORES[score](code, targets, key=key, groups=together, config=config)
    symbol = found["symbol"]
    return BeliefR2(belief=found["belief"], symbol=symbol, ceiling=_ceiling(symbol, chances, shown, key, config))


def _ceiling(
    symbol: KernelR2,
    chances: Float[np.ndarray, "n k"],
    shown: Float[np.ndarray, "n k"],
    key: Any,
    config: RegressionConfig,
) -> Interval:
    """R² of one-hot columns that are predicted by probabilities, in the units and on the rows of their regression."""
    split = symbol.split
    scale = Standardiser.fit(shown[split.train]).scale
    residuals = (shown - chances)[split.test] / scale
    kept = np.flatnonzero(~np.isnan(symbol.per_dim))
    everything = np.ones((1, len(residuals)))
    value = float(pooled(*sums_of_squares(residuals, symbol.targets, everything), kept)[0])
    weights = resampling_weights(len(residuals), config.n_boot, random_streams(key).bootstrap, split.test_groups)
    draws = pooled(*resampled_sums(residuals, symbol.targets, weights, split.test_groups), kept)
    low, high = percentile_limits(draws, config.level)
    return Interval(value=value, low=float(low), high=float(high))


def _probabilities(posterior: ArrayLike) -> Float[np.ndarray, "n k"]:
    chances = as_numbers("posterior", posterior).astype(np.float64)
    if chances.ndim != 2 or chances.shape[1] < 2:
        raise ValueError(
            f"posterior: expected shape (n, symbols) with at least 2 symbols, got {chances.shape}: give one variable's"
        )
    sums = chances.sum(axis=1)
    wrong = (chances < -_SUM).any(axis=1) | (np.abs(sums - 1) > _SUM)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"posterior: expected probabilities of sum 1 in each row, got a least one of {chances[row].min():g} and a "
            f"sum of {sums[row]:g} in row {row}: give probabilities, not logarithms"
        )
    return chances


def _one_hot(symbols: ArrayLike, chances: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    labels = as_numbers("symbols", symbols)
    n, k = chances.shape
    if labels.shape not in ((n,), (n, 1)):
        raise ValueError(f"symbols: expected one for each of the {n} rows, got shape {labels.shape}")
    labels = labels.reshape(n)
    whole = np.isfinite(labels) & (labels == np.round(labels)) & (labels >= 0) & (labels < k)
    if not whole.all():
        raise ValueError(
            f"symbols: expected whole numbers from 0 to {k - 1}, the columns of the posterior, got {labels[~whole][0]}"
        )
    return np.eye(k)[labels.astype(np.int64)]
