"""A ridge reconstruction's use of each latent's noise under a mask: signal, relevance and readability.

Section 10 of ``docs/theory.md``. Let ``t`` be the masked and ``v`` the visible columns, ``K = (Σ_vv + τ I)⁻¹``, and
``C_u = L_u L_uᵀ`` the covariance that the noise of latent ``u`` is the cause of.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import threadpoolctl
from jaxtyping import Bool, Float, Int

from hlvm._numbers import UsageError
from hlvm.theory.exact import oracle_of
from hlvm.theory.oracles import Answers, NoiseEffects, effects_of, three_states
from hlvm.theory.signal.cells import check_columns

__all__ = ["DEFAULT_RIDGE", "MaskSignal", "checked_ridge", "jackknife_error", "mask_signal", "ridge_numbers"]

DEFAULT_RIDGE = 3.0
"""Ridge τ, in units of a cell's variance.

It is the constant with which the passage to scores of section 10 was first written down, and was chosen on records of
one graph and two generators (binary quadtrees of 64 cells). It is kept, and not fitted again, because no derivation of
it holds for the networks of :mod:`hlvm.mae`. One does for a single linear map trained by plain gradient descent from
zero: after T steps of a small rate η on half the squared error, each direction of the visible part is learned as by a
ridge of 1/(ηT), or up to 1.30 times as much. But AdamW's steps do not shrink with the gradient, and encoder and decoder
multiply, so ηT is not the time of that flow.
"""

_NUMBERS_AT_ONCE = 2**22
"""Numbers in the matrices of the masks that are worked on together: 32 MiB."""

_NO_VARIANCE = 1e-10
"""Without a ridge, directions of the visible part with less than this share of the largest variance are constant."""

_NOTHING = 1e-20
"""Reconstructions whose variance is below this are 0 up to rounding, in units of a cell's variance."""

_on_one_thread = threadpoolctl.threadpool_limits.wrap(limits=1, user_api="blas")
"""Many matrices of moderate size: on a busy machine, threads that wait for each other cost ten times more."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MaskSignal:
    """Pull of each latent into a code under each mask.

    Each has values and errors of shape (n_masks, n_latents), in the order of ``graph.latents``.

    Attributes:
        signal: ``tr[C_tv K C_vt]``, what the masked cells owe to the latent's noise, divided by the number of all
            cells: in units of a cell's variance per cell of the image. Divided by the mask's masked share it is per
            masked cell.
        relevance: share of the variance of the ridge reconstruction of the masked cells, taken together, that is made
            of the latent's noise, 0 to 1; 0 where nothing is reconstructed. All latents and the noises of the observed
            variables add up to 1.
        readability: squared correlation of the latent's noise with its ridge estimate from what is visible, 0 to 1;
            0 where nothing of it is visible, NaN where it changes no cell. Of a noise of several numbers each counts by
            the variance that it causes in the cells.
        ridge: τ, in units of a cell's variance.
    """

    signal: Answers
    relevance: Answers
    readability: Answers
    ridge: float


def mask_signal(model: Any, masks: Any, *, visible: Any = None, ridge: float = DEFAULT_RIDGE) -> MaskSignal:
    """Signal, relevance and readability of every latent's noise, mask by mask.

    Args:
        model: a model with an exact oracle, or an oracle of any kind (see :func:`hlvm.theory.oracle_of`).
        masks: booleans (n_masks, n_observed), True = target.
        visible: booleans of the same shape or (n_observed,); ``None``: everything that is no target.
        ridge: τ, at least 0. 0 is the best linear reconstruction; with ``math.inf`` signals are ``‖C_tv‖²`` per cell,
            the limit of τ times the signal and the squared size of the first gradient.

    Returns:
        The numbers. Errors are those of an oracle's draws, by the jackknife, 0 where exact.

    Raises:
        ValueError: a model without an oracle, masks of another shape or type, a ridge below 0, or more than 2,048
            observed columns.

    Example:
        >>> from hlvm.graph import LatentGraph
        >>> from hlvm.theory import GaussianOracle
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
        >>> ones = {"x1": [[1.0]], "x2": [[1.0]]}
        >>> oracle = GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales={"z": 1, "x1": 1, "x2": 1})
        >>> found = mask_signal(oracle, np.array([[True, False]]), ridge=0)
        >>> [part.value.round(6).item() for part in (found.signal, found.relevance, found.readability)]
        [0.125, 0.5, 0.5]
    """
    ridge = checked_ridge(ridge)
    oracle = oracle_of(model)
    targets, seen = three_states(oracle.graph, masks, visible)
    effects = effects_of(oracle)
    value = ridge_numbers(effects, targets, seen, ridge)
    error = jackknife_error([ridge_numbers(part, targets, seen, ridge) for part in effects.without])
    errors = np.zeros_like(value) if error is None else error
    each = [Answers(value=v, error=e, how=effects.how, rows=effects.rows) for v, e in zip(value, errors, strict=True)]
    return MaskSignal(signal=each[0], relevance=each[1], readability=each[2], ridge=ridge)


def checked_ridge(ridge: Any) -> float:
    """A ridge as a float.

    Raises:
        ValueError: no number of at least 0.
    """
    try:
        found = float(ridge)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(ridge, bool) or not found >= 0:
        raise UsageError(
            f"must be a number of at least 0, in units of a cell's variance, got {ridge!r}", argument="ridge"
        )
    return found


def jackknife_error(without: list[np.ndarray] | np.ndarray) -> np.ndarray | None:
    """Standard error from the answers that leave out one group of draws each; ``None`` where there are none."""
    if not len(without):
        return None
    each = np.asarray(without)
    return np.sqrt((len(each) - 1) * each.var(axis=0))


@_on_one_thread
def ridge_numbers(
    effects: NoiseEffects,
    targets: Bool[np.ndarray, "n_masks n_observed"],
    seen: Bool[np.ndarray, "n_masks n_observed"],
    ridge: float,
) -> Float[np.ndarray, "3 n_masks n_latents"]:
    """Signals, relevances and readabilities; see :class:`MaskSignal`.

    Masks that occur several times are worked on once.

    Raises:
        ValueError: more observed columns than the stated limit.
    """
    check_columns(len(effects.cells))
    both, back = np.unique(np.concatenate([targets, seen], axis=1), axis=0, return_inverse=True)
    n_cells = targets.shape[1]
    step = max(1, _NUMBERS_AT_ONCE // max(1, len(effects.cells)) ** 2)
    parts = []
    for begin in range(0, len(both), step):
        some = both[begin : begin + step]
        parts.append(
            _of_masks(effects, some[:, :n_cells][:, effects.cells], some[:, n_cells:][:, effects.cells], ridge)
        )
    found = np.concatenate(parts, axis=1)[:, back.reshape(-1)]
    found[0] /= n_cells
    return found


def _of_masks(
    effects: NoiseEffects, target: Bool[np.ndarray, "m c"], seen: Bool[np.ndarray, "m c"], ridge: float
) -> Float[np.ndarray, "3 m n_latents"]:
    """All of some masks, one after the other in what takes longest; signals are sums over masked cells."""
    inverse, spread, asked = np.zeros((3, *target.shape, target.shape[1]))
    total = np.zeros(len(target))
    for place in range(len(target)):
        visible, hidden = np.flatnonzero(seen[place]), np.flatnonzero(target[place])
        sigma, own = effects.covariance[np.ix_(visible, visible)], np.ix_(visible, visible)
        inverse[place][own], spread[place][own] = _inverse(sigma, ridge)
        weights = effects.covariance[np.ix_(hidden, visible)] @ inverse[place][own]
        asked[place][own] = weights.T @ weights
        total[place] = (asked[place][own] * sigma).sum()
    # What is reconstructed of cells that do not depend on what is visible is rounding.
    floor = _NOTHING / (1 + ridge) ** 2 if math.isfinite(ridge) else _NOTHING
    share = np.where(total > floor, 1 / np.where(total > floor, total, 1.0), 0.0)
    found = np.zeros((3, len(target), len(effects.loadings)))
    for u, (columns, loadings) in enumerate(zip(effects.columns, effects.loadings, strict=True)):
        if loadings.shape[1] > loadings.shape[0]:  # only their product with themselves counts
            loadings = np.asarray(np.linalg.qr(loadings.T, mode="r")).T
        alone, common, estimate = (_between(loadings, columns, of) for of in (asked, inverse, spread))
        masked = loadings.T @ (target[:, columns, None] * loadings)
        found[0, :, u] = (masked * common).sum(axis=(1, 2))
        found[1, :, u] = np.trace(alone, axis1=1, axis2=2) * share
        weights = loadings.T @ loadings
        told, spent = (common * weights).sum(axis=(1, 2)), (estimate * weights).sum(axis=(1, 2))
        varies = ~(spent <= 0)  # NaN where the noise is not known
        squared = np.where(varies, told**2 / np.where(varies, spent, 1.0), 0.0)
        found[2, :, u] = squared / np.trace(weights) if weights.any() else np.nan
    return found


def _between(
    loadings: Float[np.ndarray, "b k"], columns: Int[np.ndarray, " b"], matrices: Float[np.ndarray, "m c c"]
) -> Float[np.ndarray, "m k k"]:
    """``Lᵀ A L`` of each matrix, with the columns that a noise reaches."""
    if not np.array_equal(columns, np.arange(matrices.shape[1])):
        matrices = matrices[:, columns[:, None], columns]
    return loadings.T @ (matrices @ loadings)


def _inverse(
    sigma: Float[np.ndarray, "v v"], ridge: float
) -> tuple[Float[np.ndarray, "v v"], Float[np.ndarray, "v v"]]:
    """``K`` and ``K Σ_vv K``; of an infinite ridge what τ times the one and τ² times the other tend to."""
    if math.isinf(ridge):
        return np.eye(len(sigma)), sigma
    if not ridge:
        inverse = np.linalg.pinv(sigma, rcond=_NO_VARIANCE, hermitian=True)
        return inverse, inverse
    inverse = np.linalg.inv(sigma + ridge * np.eye(len(sigma)))
    return inverse, inverse @ sigma @ inverse
