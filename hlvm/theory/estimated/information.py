"""A lower bound on the information that visible cells hold about latents of any kind, from draws.

Let ``q(u | x)`` be a predictive distribution and ``r(u)`` a distribution without the cells, both from draws that are
not among the K judged ones, and ``T(u, x) = log q(u | x) / r(u)``. Then the mean over the judged draws of

    log e^T(u_i, x_i) / (mean over j of e^T(u_j, x_i))

is at most ``I(u; x)`` in expectation, whatever ``q`` and ``r`` are, and at most log K. Of quantities ``q`` is a normal
distribution about the regression's prediction, of categories a regularised logistic regression.

The ratio of determinants, ``½ log2 det Σ_u / det Σ_rest``, is no such bound unless the latents are normal: it takes
their entropy for the largest that a covariance allows. Of a latent near -1 or 1 it says many bits where there is one.

References:
    The bound: van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding" (2018), arXiv
    1807.03748; Poole et al., "On variational bounds of mutual information", ICML 2019.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg
import scipy.special
from jaxtyping import Float, Int

from hlvm.theory.estimated.regression import Inputs, held_out_residuals

__all__ = ["information_bound", "most_categories", "most_quantities"]

_ROWS_PER_CATEGORY = 10
_ROWS_PER_QUANTITY = 4
"""Draws that are fitted on, or whose errors are measured, for each number that is."""

_PENALTIES = (1.0, 1e2, 1e4)
"""Inverse strengths of the logistic regression's penalty."""

_VALIDATED = 4
"""The last of so many parts of the fitted rows chooses the penalty."""

_DOUBT = 1e-3
"""Share of the distribution without the cells in that of categories with them, so that nothing is impossible."""

_LEAST_VARIANCE = 1e-9
"""Share of the latents' variance that is added to each, for relations without noise."""

_ROWS_AT_ONCE = 256


def most_categories(n_fitted: int) -> int:
    """Different values of all categories together that so many draws can tell apart."""
    return n_fitted // _ROWS_PER_CATEGORY


def most_quantities(n_held: int) -> int:
    """Numbers together whose covariance half of so many draws can tell."""
    return n_held // 2 // _ROWS_PER_QUANTITY


def information_bound(
    inputs: Inputs,
    cells: Int[np.ndarray, " k"],
    quantities: Float[np.ndarray, "n D"],
    labels: Int[np.ndarray, " n"],
) -> tuple[float, float]:
    """Bits that some cells tell at least, and the standard error.

    One half of the held-out draws says how large errors of quantities are, and the other is judged; then the other way.

    Args:
        inputs: what may be read, with the number of fitted rows.
        cells: positions of the cells that are read, at least one.
        quantities: latents that are quantities, side by side, centred on the fitted rows; may be empty.
        labels: of the latents that are categories, which joint value each draw has: 0, 1, ...; all 0 if there are none.
    """
    n = inputs.n_fitted
    held = quantities[n:]
    rest = held
    if quantities.shape[1]:
        rest = held_out_residuals(inputs, cells, quantities, np.zeros(quantities.shape[1], dtype=np.int64))
    told = _log_ratios(inputs, cells, labels)
    found = []
    for half in range(2):
        others, judged = np.arange(1 - half, len(held), 2), np.arange(half, len(held), 2)
        prior = _root(quantities[:n].T @ quantities[:n] / n, quantities[:n])
        spread = _root(rest[others].T @ rest[others] / len(others), quantities[:n])
        value = scipy.linalg.solve_triangular(spread, held[judged].T, lower=True).T
        mean = scipy.linalg.solve_triangular(spread, (held - rest)[judged].T, lower=True).T
        alone = (scipy.linalg.solve_triangular(prior, held[judged].T, lower=True) ** 2).sum(axis=0)
        found.append(_contrast(value, mean, alone, told[judged], labels[n:][judged]))
    value, error = np.mean(found, axis=0) / np.log(2)
    return float(value), float(error / np.sqrt(2))


def _root(covariance: np.ndarray, scale: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "D D"]:
    """Cholesky factor of a covariance, with a little of the latents' own variance added."""
    return np.linalg.cholesky(covariance + np.diag(_LEAST_VARIANCE * scale.var(axis=0)))


def _contrast(
    value: Float[np.ndarray, "K D"],
    mean: Float[np.ndarray, "K D"],
    alone: Float[np.ndarray, " K"],
    told: Float[np.ndarray, "K m"],
    labels: Int[np.ndarray, " K"],
) -> tuple[float, float]:
    """The bound in nats, and its standard error by what each draw adds as itself and among the others."""
    k = len(value)
    own, among = np.zeros(k), np.ones(k)
    for begin in range(0, k, _ROWS_AT_ONCE):
        rows = np.arange(begin, min(begin + _ROWS_AT_ONCE, k))
        squares = (mean[rows] ** 2).sum(axis=1)[:, None] - 2 * mean[rows] @ value.T + (value**2).sum(axis=1)
        each = 0.5 * (alone - squares) + told[rows][:, labels]
        total = scipy.special.logsumexp(each, axis=1)
        own[rows] = each[np.arange(len(rows)), rows] - total + np.log(k)
        among -= np.exp(each - np.asarray(total)[:, None]).sum(axis=0)
    return float(own.mean()), float((own + among).std(ddof=1) / np.sqrt(k))


def _log_ratios(
    inputs: Inputs, cells: Int[np.ndarray, " k"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n_held m"]:
    """``log q(label | cells) / r(label)`` of the held-out draws; 0 for a single label."""
    n, m = inputs.n_fitted, int(labels.max()) + 1
    counts = np.bincount(labels[:n], minlength=m) + 0.5
    prior = counts / counts.sum()
    if np.count_nonzero(np.bincount(labels[:n])) < 2:
        return np.zeros((len(labels) - n, m))
    from sklearn.exceptions import ConvergenceWarning  # slow to import
    from sklearn.linear_model import LogisticRegression

    features = inputs.features(cells)
    first = n - n // _VALIDATED

    def chances(penalty: float, end: int, rows: slice) -> np.ndarray:
        fit = LogisticRegression(C=penalty, max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a fit that stops early is a weaker bound, still one
            fit.fit(features[:end], labels[:end])
        found = np.zeros((len(features[rows]), m))
        found[:, fit.classes_] = fit.predict_proba(features[rows])
        return (1 - _DOUBT) * found + _DOUBT * prior

    def loss(penalty: float) -> float:
        found = chances(penalty, first, slice(first, n))
        return -float(np.log(found[np.arange(len(found)), labels[first:n]]).mean())

    best = _PENALTIES[0] if len(np.unique(labels[:first])) < 2 else min(_PENALTIES, key=loss)
    return np.log(chances(best, n, slice(n, None)) / prior)
