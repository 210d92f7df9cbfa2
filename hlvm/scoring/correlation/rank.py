"""Number of dimensions that two arrays share: tests of each canonical correlation, in the order of their size."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import chi2, kurtosis

from hlvm._linalg import svd
from hlvm.scoring.correlation.canonical import span
from hlvm.scoring.correlation.whitening import rank_tolerance
from hlvm.scoring.inputs import paired_matrices, random_streams
from hlvm.scoring.multiplicity import count_exceeding
from hlvm.scoring.regression.threads import own_settings
from hlvm.scoring.row_groups import group_counts, permuted, row_groups

__all__ = ["RankTest", "cca_rank"]

_ROUNDING = 1e-12
_HEAVY = 1.0  # of the excess kurtosis


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RankTest:
    """Number of canonical correlations beyond chance.

    Attributes:
        rank: number of leading p-values at most ``alpha``.
        p_values: entry k is that of "no more than k correlations are real", given those before it, shape (r,). Made
            non-decreasing, so that stopping at the first one above ``alpha`` keeps the chance of a rank that is too
            high at ``alpha``.
        correlations: in-sample canonical correlations, shape (r,), decreasing.
        alpha: level of the tests.
        method: ``"bartlett"`` or ``"permutation"``.
    """

    rank: int
    p_values: np.ndarray
    correlations: np.ndarray
    alpha: float
    method: str


@own_settings
def cca_rank(
    a: ArrayLike,
    b: ArrayLike,
    *,
    alpha: float = 0.05,
    method: str = "auto",
    key: Any = None,
    n_permutations: int = 999,
    groups: ArrayLike | None = None,
) -> RankTest:
    """Test one canonical correlation after the other: the rank of what two arrays share linearly.

    * ``"bartlett"``: ``−(n − 1 − k − (p + q + 1)/2 + Σ_{i≤k} ρ_i⁻²) Σ_{i>k} log(1 − ρ_i²)`` is about χ² with
      ``(p − k)(q − k)`` degrees of freedom, k being the number of correlations taken as real. For Gaussian arrays and
      ``n`` well above ``p + q``.
    * ``"permutation"``: the rows of one side's canonical variables are permuted, the first k of both sides left out.
      Permuting whole arrays, the simple way, is wrong beyond the first correlation: it compares the second one with a
      null in which the first is gone, too. Needs exchangeable rows only, or groups of rows of equal size.
    * ``"auto"``: Bartlett's test, or permutations where it would find too much: columns with heavy tails (an excess
      kurtosis above 1 that is no accident), such as t or rare binary ones, and rows in groups.

    Args:
        a: shape (n, p) or (n,).
        b: shape (n, q) or (n,), same rows.
        alpha: level, strictly between 0 and 1.
        method: ``"auto"``, ``"bartlett"`` or ``"permutation"``.
        key: a JAX key or an int; needed by permutations.
        n_permutations: how many, at least ``1 / alpha − 1``.
        groups: a label per row; groups change places as a whole. ``None`` to look for copies, see
            :func:`hlvm.scoring.row_groups.row_groups`.

    Returns:
        The rank with a p-value per dimension.

    Raises:
        ValueError: an unfit array (see :func:`hlvm.scoring.cca`); ``alpha``, ``method`` or ``n_permutations`` out of
            range; no key for permutations; or so many columns that some correlations are 1 for any arrays.

    References:
        :cite:t:`bartlett1941cca` and, for the correction by ρ⁻², :cite:t:`lawley1959cca`; :cite:t:`winkler2020cca`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shared, own = rng.normal(size=(2, 400, 2))
        >>> cca_rank(np.column_stack([shared, own]), shared + 0.5 * rng.normal(size=shared.shape)).rank
        2
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a number strictly between 0 and 1, got {alpha}")
    if method not in ("auto", "bartlett", "permutation"):
        raise ValueError(f'method: expected "auto", "bartlett" or "permutation", got {method!r}')
    first, second = paired_matrices("a", a, "b", b)
    together = row_groups(first, second, groups)
    if method == "auto":
        many = together is not None and (
            groups is not None or len(first) - group_counts(together, 0) > len(first) / 100
        )
        unfit = "rows in groups" if many else _heavy_tails(a=first, b=second)
        if unfit and key is None:
            raise ValueError(
                f"key: expected one, since Bartlett's test finds too much with {unfit}: pass a key for permutations, "
                'or method="bartlett" to use it all the same'
            )
        method = "permutation" if unfit else "bartlett"
    if method == "permutation" and (key is None or n_permutations < 1 / alpha - 1):
        raise ValueError(
            f"permutations need a key and at least 1/alpha − 1 = {1 / alpha - 1:g} of them, "
            f"got key {key} and n_permutations {n_permutations}"
        )
    bases = [span(array, rank_tolerance(given)) for array, given in ((first, a), (second, b))]
    n, p, q = len(first), bases[0].shape[1], bases[1].shape[1]
    if p + q >= n - 1:
        raise ValueError(
            f"expected more than p + q + 1 rows, got {n} rows for ranks {p} and {q}: correlations would be 1 for any "
            "arrays; bring more rows, or keep fewer principal components"
        )
    left, correlations, right = svd(bases[0].T @ bases[1], full_matrices=True)
    correlations = _as_correlations(correlations)
    if method == "bartlett":
        p_values = _bartlett(correlations, n, p, q)
    else:
        variables = bases[0] @ left, bases[1] @ right.T
        p_values = _by_permutation(*variables, correlations, random_streams(key).permutation, n_permutations, together)
    p_values = np.maximum.accumulate(p_values) if len(p_values) else p_values
    return RankTest(
        rank=int((p_values <= alpha).sum()), p_values=p_values, correlations=correlations, alpha=alpha, method=method
    )


def _heavy_tails(**arrays: np.ndarray) -> str:
    """Find which array has a column with heavier tails than the test allows for; empty if none has."""
    for name, rows in arrays.items():
        excess = kurtosis(rows[:, rows.std(axis=0) > 0], axis=0)
        # 4 standard errors of a Gaussian column: many columns are looked at.
        if (excess > _HEAVY + 4 * np.sqrt(24 / len(rows))).any():
            return f"heavy tails (excess kurtosis {excess.max():.1f} in {name})"
    return ""


def _bartlett(correlations: np.ndarray, n: int, p: int, q: int) -> np.ndarray:
    k = np.arange(len(correlations))
    with np.errstate(divide="ignore"):
        before = np.concatenate([[0.0], np.cumsum(1 / np.maximum(correlations, 1e-12) ** 2)[:-1]])
    return chi2.sf((n - 1 - k - (p + q + 1) / 2 + before) * _left_over(correlations), (p - k) * (q - k))


def _as_correlations(singular: np.ndarray) -> np.ndarray:
    """Singular values as correlations: what is 1 but for rounding is 1, so that equal ones compare as equal."""
    return np.where(singular > 1 - _ROUNDING, 1.0, singular)


def _left_over(correlations: np.ndarray) -> np.ndarray:
    """``−Σ_{i≥k} log(1 − ρ_i²)`` for every k; infinite where a correlation is 1."""
    with np.errstate(divide="ignore"):
        return -np.cumsum(np.log1p(-(correlations**2))[::-1])[::-1]


def _by_permutation(
    u: Float[np.ndarray, "n p"],
    v: Float[np.ndarray, "n q"],
    correlations: np.ndarray,
    rng: np.random.Generator,
    n_permutations: int,
    groups: Int[np.ndarray, " n"] | None,
) -> np.ndarray:
    """p-value of each step. Both sides hold all canonical variables, also those beyond the narrower side's count."""
    count = len(correlations)
    null = np.empty((n_permutations, count))
    for draw in range(n_permutations):
        inner = u[permuted(groups, len(u), rng, least=n_permutations)].T @ v
        # Columns stay orthonormal when some are dropped: the rest's correlations are singular values of a block.
        for k in range(count):
            singular = np.asarray(scipy.linalg.svdvals(inner[k:, k:], check_finite=False))
            null[draw, k] = _left_over(_as_correlations(singular))[0]
    exceeded = [count_exceeding(*pair) for pair in zip(null.T, _left_over(correlations), strict=True)]
    return (1 + np.asarray(exceeded)) / (1 + n_permutations)
