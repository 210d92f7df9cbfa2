"""A ridge reconstruction's use of each latent's noise under a mask: signal, relevance and readability.

Section 10 of ``docs/theory.md``. Let ``t`` be the masked and ``v`` the visible columns, ``K = (Σ_vv + τ I)⁻¹``, and
``C_u = L_u L_uᵀ`` the covariance that the noise of latent ``u`` is the cause of.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import threadpoolctl
from jaxtyping import Bool, Float, Int
from scipy.linalg import get_lapack_funcs

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
"""Numbers in the matrices of what is worked on together: 32 MiB."""

_NUMBERS_OF_MASKS = 2**17
"""Likewise for masks. Each reads the columns that any of them sees, so many masks together are for small matrices."""

_LARGE_RIDGE = 100.0
"""Ridges from which on ``Σ_vv K`` is multiplied out; below it is ``I - τK``, whose rounding grows with the ridge."""

_NO_VARIANCE = 1e-10
"""Without a ridge, directions of the visible part with less than this share of the largest variance are constant."""

_NOTHING = 1e-20
"""Reconstructions whose variance is below this are 0 up to rounding, in units of a cell's variance."""

_POTRF, _POTRI = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)

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
    value, *without = ridge_numbers((effects, *effects.without), targets, seen, ridge)
    error = jackknife_error(without)
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
    each: Sequence[NoiseEffects],
    targets: Bool[np.ndarray, "n_masks n_observed"],
    seen: Bool[np.ndarray, "n_masks n_observed"],
    ridge: float,
) -> Float[np.ndarray, "n_effects 3 n_masks n_latents"]:
    """Signals, relevances and readabilities; see :class:`MaskSignal`.

    Masks that occur several times are worked on once.

    Args:
        each: effects on the same columns, such as those of all draws and those without each group of them.
        targets: what is asked for.
        seen: what is visible.
        ridge: τ.

    Raises:
        ValueError: more observed columns than the stated limit.
    """
    cells = each[0].cells
    check_columns(len(cells))
    both, back = np.unique(np.concatenate([targets, seen], axis=1), axis=0, return_inverse=True)
    n_cells, size = targets.shape[1], max(1, len(cells)) ** 2
    n_masks = max(1, _NUMBERS_OF_MASKS // size)
    n_effects = max(1, _NUMBERS_AT_ONCE // (size * n_masks))
    found = np.zeros((len(each), 3, len(both), len(each[0].loadings)))
    for first in range(0, len(each), n_effects):
        some = _Stacked(each[first : first + n_effects], ridge)
        for begin in range(0, len(both), n_masks):
            masks = both[begin : begin + n_masks]
            numbers = some.of_masks(masks[:, :n_cells][:, cells], masks[:, n_cells:][:, cells])
            found[first : first + n_effects, :, begin : begin + n_masks] = numbers
    found[:, 0] /= n_cells
    return found[:, :, back.reshape(-1)]


class _Stacked:
    """Several effects on the same columns, worked on together: one axis for them, and one for masks.

    Args:
        each: the effects.
        ridge: τ.
    """

    def __init__(self, each: Sequence[NoiseEffects], ridge: float) -> None:
        self.ridge = ridge
        self.covariances, self.columns = [part.covariance for part in each], each[0].columns
        self.loadings = [_narrow(np.stack(parts)) for parts in zip(*(part.loadings for part in each), strict=True)]
        self.weights = [(loadings.mT @ loadings)[:, None] for loadings in self.loadings]
        # What is reconstructed of cells that do not depend on what is visible is rounding.
        self.floor = _NOTHING / (1 + ridge) ** 2 if math.isfinite(ridge) else _NOTHING

    def of_masks(self, target: Bool[np.ndarray, "m c"], seen: Bool[np.ndarray, "m c"]) -> Float[np.ndarray, "e 3 m n"]:
        """All of some masks; signals are sums over masked cells.

        A noise reaches few columns. So ``K L`` takes these columns of ``K`` alone, and ``KΣK`` is never made.
        """
        read, asked = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(target.any(axis=0))
        v, n_effects = len(read), len(self.covariances)
        sigma, across = (self._between(rows, read) for rows in (read, asked))
        applied = np.zeros((n_effects, len(seen), v + len(asked), v))
        inverse, weights = applied[:, :, :v], applied[:, :, v:]
        self._invert(sigma[:, 0], seen[:, read], inverse)
        np.matmul(across, inverse, out=weights)
        weights *= target[:, asked, None]
        told = weights @ sigma if self._is_large else across - self.ridge * weights  # Σ_tv K Σ_vv
        total = np.einsum("emtv,emtv->em", weights, told)
        share = np.where(total > self.floor, 1 / np.where(total > self.floor, total, 1.0), 0.0)
        found = np.zeros((n_effects, 3, len(seen), len(self.loadings)))
        for u, (columns, loadings) in enumerate(zip(self.columns, self.loadings, strict=True)):
            below, places = _common(columns, read)
            visible = loadings[:, None, below]
            both = applied[..., places] @ visible
            estimate, reconstructed = both[:, :, :v], both[:, :, v:]
            common = visible.mT @ estimate[:, :, places]
            if self._is_large:
                spread = estimate.mT @ (sigma @ estimate)
            else:
                spread = common - self.ridge * (estimate.mT @ estimate)
            masked = loadings.mT[:, None] @ (target[:, columns, None] * loadings[:, None])
            found[:, 0, :, u] = (masked * common).sum(axis=(2, 3))
            found[:, 1, :, u] = (reconstructed**2).sum(axis=(2, 3)) * share
            found[:, 2, :, u] = _readability(common, spread, self.weights[u])
        return found

    @property
    def _is_large(self) -> bool:
        """Tell whether ``I - τK``, which is ``Σ_vv K``, would cancel."""
        return self.ridge > _LARGE_RIDGE

    def _between(self, rows: Int[np.ndarray, " r"], read: Int[np.ndarray, " v"]) -> Float[np.ndarray, "e 1 r v"]:
        """Covariances of some columns with those that are read; taken one axis after the other, which is faster."""
        return np.stack([covariance.take(rows, 0).take(read, 1) for covariance in self.covariances])[:, None]

    def _invert(
        self, sigma: Float[np.ndarray, "e v v"], seen: Bool[np.ndarray, "m v"], out: Float[np.ndarray, "e m v v"]
    ) -> None:
        """``K`` for each mask, with zeros for what it does not see."""
        for place, row in enumerate(seen):
            own = np.flatnonzero(row)
            block = ... if len(own) == len(row) else np.ix_(own, own)
            for i, matrix in enumerate(sigma if len(own) else ()):
                out[i, place][block] = _inverse(matrix[block], self.ridge)


def _readability(
    common: Float[np.ndarray, "e m k k"], spread: Float[np.ndarray, "e m k k"], weights: Float[np.ndarray, "e 1 k k"]
) -> Float[np.ndarray, "e m"]:
    """Squared correlation of functions of a noise with their estimates, each function by what it does to the cells."""
    told, spent = (common * weights).sum(axis=(2, 3)), (spread * weights).sum(axis=(2, 3))
    varies = ~(spent <= 0)  # NaN where the noise is not known
    squared = np.where(varies, told**2 / np.where(varies, spent, 1.0), 0.0)
    caused = np.trace(weights, axis1=2, axis2=3)
    return squared / np.where(caused == 0, np.nan, caused)


def _narrow(loadings: Float[np.ndarray, "e b k"]) -> Float[np.ndarray, "e b l"]:
    """Loadings with no more columns than rows: only their product with themselves counts."""
    if loadings.shape[2] <= loadings.shape[1]:
        return loadings
    return np.asarray(np.linalg.qr(loadings.mT, mode="r")).mT


def _common(
    columns: Int[np.ndarray, " b"], read: Int[np.ndarray, " v"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"] | slice]:
    """Places of the columns that are read: in ``columns``, and in ``read``, which is sorted.

    Of columns that follow each other the latter is a slice, which copies nothing.
    """
    if len(columns) and columns[-1] - columns[0] == len(columns) - 1 and (columns[1:] > columns[:-1]).all():
        begin, end = read.searchsorted((columns[0], columns[-1] + 1)).tolist()
        return read[begin:end] - columns[0], slice(begin, end)
    places = np.full(max(columns.max(initial=0), read.max(initial=0)) + 1, -1)
    places[read] = np.arange(len(read))
    found = places[columns]
    return np.flatnonzero(found >= 0), found[found >= 0]


def _inverse(sigma: Float[np.ndarray, "v v"], ridge: float) -> Float[np.ndarray, "v v"]:
    """``K``; of an infinite ridge what τ times it tends to."""
    if math.isinf(ridge):
        return np.eye(len(sigma))
    if not ridge:
        return np.linalg.pinv(sigma, rcond=_NO_VARIANCE, hermitian=True)
    ridged = sigma + ridge * np.eye(len(sigma))
    factor, failed = _POTRF(ridged, lower=True)
    if failed:  # a covariance whose smallest eigenvalue is negative by rounding, and a tiny ridge
        return np.linalg.inv(ridged)
    lower = _POTRI(factor, lower=True)[0]  # above the diagonal it holds the factor's zeros
    inverse = lower + lower.T
    inverse.flat[:: len(sigma) + 1] /= 2
    return inverse
