"""Claims about differences between training seeds: paired differences, orderings, equivalence and trends.

Numbers come one per training seed, in the same order everywhere, or as (generators, seeds). The unit of replication is
the generator where there are several, else the seed, and intervals are Student's
(:func:`hlvm.scoring.over_generators`).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm.claims.claim import ABOVE_ZERO, BELOW_ZERO, Claim, Limits, interval_claim
from hlvm.claims.stances import SILENT, Stance
from hlvm.scoring import over_generators

__all__ = ["equivalence_claim", "mean_claim", "ordering_claim", "rank_correlations", "trend_claim"]

_FEWEST_ARMS = 3


def mean_claim(
    text: str,
    values: Mapping[str, ArrayLike],
    limits: Limits | Mapping[str, Limits] = ABOVE_ZERO,
    *,
    margin: float | Mapping[str, float] = 0.0,
    shown: Mapping[str, ArrayLike] | None = None,
    level: float = 0.95,
    theory: Stance = SILENT,
    paper: Stance = SILENT,
    reason: str = "",
) -> Claim:
    """A claim that means over seeds, such as those of paired differences, lie within limits.

    Args:
        text: one sentence.
        values: name -> one number per seed, at least 2, or shape (generators, seeds).
        limits: of all means, or of each by its name; above zero where nothing else is said.
        margin: the largest difference that counts as none, see :func:`interval_claim`.
        shown: name -> the same, of what is shown beside and does not decide.
        level: coverage of each interval, strictly between 0 and 1.
        theory: what the theory says of the claim.
        paper: what the paper says of it.
        reason: for the record.

    Raises:
        ValueError: fewer than 2 seeds of a single generator, or a number that is not finite.

    Example:
        >>> from hlvm.claims import yes
        >>> claim = mean_claim("a beats b", {"a − b": [0.2, 0.3, 0.25]}, theory=yes("a sees more"))
        >>> claim.holds, claim.theory_agrees
        (True, True)
    """
    scores, beside = (
        {name: over_generators(of, level=level).interval for name, of in parts.items()}
        for parts in (values, shown or {})
    )
    return interval_claim(text, scores, limits, margin=margin, shown=beside, theory=theory, paper=paper, reason=reason)


def equivalence_claim(
    text: str,
    differences: Mapping[str, ArrayLike],
    margin: float,
    *,
    shown: Mapping[str, ArrayLike] | None = None,
    level: float = 0.95,
    theory: Stance = SILENT,
    paper: Stance = SILENT,
) -> Claim:
    """A claim that differences are smaller than a margin, by two one-sided tests.

    A difference is above ``-margin`` and below ``margin`` if each of two one-sided tests says so. Both do at a level of
    2.5 % where the 95 % interval lies inside the margin, so the claim errs in at most 2.5 % of cases. That nothing is
    told apart is no equivalence: then the claim is open.

    Args:
        text: one sentence.
        differences: name -> one difference per seed, at least 2, or shape (generators, seeds).
        margin: largest difference that counts as none, above 0.
        shown: as for :func:`mean_claim`.
        level: as for :func:`mean_claim`.
        theory: what the theory says of the claim.
        paper: what the paper says of it.

    Raises:
        ValueError: a margin that is not above 0; otherwise as for :func:`mean_claim`.
    """
    if not margin > 0:
        raise ValueError(f"margin: expected a difference above 0 that counts as none, got {margin}")
    limits = (-margin, margin)
    return mean_claim(text, differences, limits, shown=shown, level=level, theory=theory, paper=paper)


def ordering_claim(
    text: str,
    values: Mapping[str, ArrayLike],
    *,
    falling: bool = False,
    margin: float = 0.0,
    theory: Stance = SILENT,
    paper: Stance = SILENT,
) -> Claim:
    """A claim that each of several numbers is greater than the one before, paired by seed.

    Args:
        text: one sentence.
        values: name -> one number per seed, in the order that is claimed; at least two names.
        falling: claim that each is less than the one before.
        margin: the largest difference that counts as none, see :func:`interval_claim`.
        theory: what the theory says of the claim.
        paper: what the paper says of it.

    Raises:
        ValueError: fewer than two names, or other numbers of seeds; otherwise as for :func:`mean_claim`.
    """
    if len(values) < 2:
        raise ValueError(f"values: an ordering needs at least two names, got {', '.join(values) or 'none'}")
    shapes = {name: np.shape(of) for name, of in values.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"values: numbers are paired by seed, so all need equally many seeds, got {shapes}")
    steps = {
        f"{name} − {before}": np.asarray(values[name]) - np.asarray(values[before])
        for before, name in itertools.pairwise(values)
    }
    limits = BELOW_ZERO if falling else ABOVE_ZERO
    return mean_claim(text, steps, limits, margin=margin, theory=theory, paper=paper)


def trend_claim(
    text: str,
    measured: ArrayLike,
    predicted: ArrayLike,
    *,
    margin: float = 0.0,
    theory: Stance = SILENT,
    paper: Stance = SILENT,
) -> Claim:
    """A claim that what is measured goes up and down with what is predicted, over arms: their rank correlation.

    Args:
        text: one sentence.
        measured: shape (arms, seeds).
        predicted: shape (arms,), or (arms, seeds) where it depends on the seed.
        margin: the largest correlation that counts as none, see :func:`interval_claim`.
        theory: what the theory says of the claim.
        paper: what the paper says of it.

    Raises:
        ValueError: as for :func:`rank_correlations` and :func:`mean_claim`.
    """
    correlations = rank_correlations(measured, predicted)
    return mean_claim(text, {"rank correlation over arms": correlations}, margin=margin, theory=theory, paper=paper)


def rank_correlations(measured: ArrayLike, predicted: ArrayLike) -> Float[np.ndarray, " seeds"]:
    """Spearman's correlation over arms, of every seed.

    Args:
        measured: shape (arms, seeds).
        predicted: shape (arms,), or (arms, seeds).

    Returns:
        One correlation per seed, from -1 to 1; 0 where either is the same in all arms of a seed.

    Raises:
        ValueError: shapes that do not go together, fewer than 3 arms, which agree by luck half of the time, or a
            prediction that is the same for all arms and seeds or not finite.
    """
    found, said = (np.asarray(values, dtype=np.float64) for values in (measured, predicted))
    if found.ndim != 2 or said.shape not in (found.shape, found.shape[:1]):
        raise ValueError(
            f"expected measured of shape (arms, seeds) and predicted of shape (arms,) or (arms, seeds), got "
            f"{found.shape} and {said.shape}"
        )
    if found.shape[0] < _FEWEST_ARMS:
        raise ValueError(f"a trend over arms needs at least {_FEWEST_ARMS} of them, got {found.shape[0]}")
    if not np.isfinite(said).all():
        raise ValueError("predicted: expected finite numbers")
    if (said == said.flat[0]).all():
        raise ValueError("predicted: the same for all arms, so there is no trend to follow: leave the claim out")
    of_seeds = np.broadcast_to(said.reshape(len(said), -1), found.shape)
    return np.asarray([_rank_correlation(x, y) for x, y in zip(of_seeds.T, found.T, strict=True)])


def _rank_correlation(x: Float[np.ndarray, " arms"], y: Float[np.ndarray, " arms"]) -> float:
    rank: Any = scipy.stats.spearmanr
    return 0.0 if (x == x[0]).all() or (y == y[0]).all() else float(rank(x, y).statistic)
