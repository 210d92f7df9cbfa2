"""p-values: from draws under a null hypothesis, and how to keep the chance of any false claim among many."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hlvm.scoring.regression.config import RegressionConfig

__all__ = ["count_exceeding", "for_many_claims", "holm"]

_DRAWS_IN_A_TAIL = 5  # fewer resamples beyond its end, and an interval's end is mostly luck


_TIE = 1e-9  # statistics that are equal in exact arithmetic differ by this share at most


def count_exceeding(null: Float[np.ndarray, " k"], observed: float) -> float:
    """Count the draws under a null hypothesis that are at least as large as what was observed.

    Args:
        null: statistics under the null hypothesis. NaN counts as large: what is undefined must not make anything
            significant.
        observed: the statistic of the data.

    Returns:
        The number; draws that are smaller by rounding only count. NaN when ``observed`` is.
    """
    if math.isnan(observed):
        return math.nan
    finite = np.abs(np.append(null, observed))
    finite = finite[np.isfinite(finite)]
    slack = _TIE * float(finite.max(initial=0.0)) if math.isfinite(observed) else 0.0
    return float((~(null < observed - slack)).sum())


def holm(p_values: Sequence[float] | Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """Adjust p-values so that rejecting those at most α keeps the chance of any false rejection at α.

    Args:
        p_values: one per test, any dependence among them; each from 0 to 1.

    Returns:
        Adjusted values in the same order, at least as large.

    Raises:
        ValueError: a value outside 0 to 1, or not one axis.

    References:
        :cite:t:`holm1979multiple`.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values: expected numbers from 0 to 1 in one axis, got {values}")
    order = np.argsort(values)
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def for_many_claims(config: RegressionConfig, n_claims: int) -> RegressionConfig:
    """Widen the intervals so that all of them hold at once with the configured coverage (Bonferroni).

    Args:
        config: for a single claim.
        n_claims: how many there are, at least 1.

    Returns:
        The same with ``level = 1 − (1 − level) / n_claims``, and bootstrap resamples enough for such an interval's
        ends.
    """
    level = 1 - (1 - config.level) / n_claims
    n_boot = max(config.n_boot, math.ceil(2 * _DRAWS_IN_A_TAIL / (1 - level)))
    return dataclasses.replace(config, level=level, n_boot=n_boot)
