"""Effects of each latent's noise on the cells, from draws: a linear regression of each cell on the noises above it.

It is the linear part of the first-order effect, ``E[x | noise] - E[x]``; categories count as one-hot columns, so for
them nothing is left out. What noises do only together, as where one multiplies another, belongs to none of them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.theory.estimated.columns import Columns
from hlvm.theory.oracles import NoiseEffects
from hlvm.theory.signal.cells import cells_below, check_columns

__all__ = ["effects_on_draws"]

_GROUPS = 10
"""Groups of draws for the jackknife."""

_MOST_REGRESSORS = 0.25
"""Regressors per draw: with more, effects would be those of chance."""

_SAME = 1e-10


def effects_on_draws(graph: LatentGraph, cells: list[Columns], noises: list[Columns | None], n: int) -> NoiseEffects:
    """Covariance of the cells over draws, and the linear effect of each latent's noise on the cells below it.

    Args:
        graph: the latent graph.
        cells: columns of each observed variable; those that are not worth predicting are left out.
        noises: columns of each latent's noise, ``None`` where it is unknown or constant.
        n: number of draws.

    Raises:
        ValueError: no noise is known, more columns than the stated limit, or too few draws for the noises.
    """
    if not any(noises):
        raise UsageError(
            "lacks the latents' noises, without which there are no effects of them: give noise= to "
            "EstimatedOracle.from_arrays, or a model whose samples hold it",
            argument="oracle",
        )
    sizes = [columns.n_predicted for columns in cells]
    check_columns(sum(sizes))
    of_cell = np.repeat(np.arange(len(cells)), sizes)
    parts = [columns.parts[:, :size] for columns, size in zip(cells, sizes, strict=True)]
    values = np.concatenate(
        # in units in which the whole cell has variance 1
        [
            part / np.sqrt(max(columns.parts.var(axis=0).sum(), 1e-300))
            for part, columns in zip(parts, cells, strict=True)
        ],
        axis=1,
    )
    known = [np.zeros((n, 0)) if columns is None else columns.parts for columns in noises]
    scales = [np.sqrt(part.var(axis=0)) for part in known]
    entering = np.concatenate([part / scale for part, scale in zip(known, scales, strict=True)], axis=1)
    of_latent = np.repeat(np.arange(len(noises)), [part.shape[1] for part in known])
    kept = np.bincount(of_cell, weights=values.var(axis=0), minlength=len(cells))
    plan = _Plan(graph, of_cell, of_latent, kept, [columns is None for columns in noises], scales)
    plan.check(n)
    both = np.concatenate([entering, values], axis=1)
    groups = np.array_split(both - both.mean(axis=0), _GROUPS)
    sums, products = np.stack([group.sum(axis=0) for group in groups]), np.stack([g.T @ g for g in groups])
    lengths = np.array([len(group) for group in groups])

    def of(chosen: Int[np.ndarray, " g"], without: tuple[NoiseEffects, ...] = ()) -> NoiseEffects:
        mean = sums[chosen].sum(axis=0) / lengths[chosen].sum()
        moments = products[chosen].sum(axis=0) / lengths[chosen].sum() - np.outer(mean, mean)
        return plan.effects(moments, n, without)

    every = np.arange(_GROUPS)
    return of(every, tuple(of(every[every != left_out]) for left_out in every))


class _Plan:
    """Regressions of cells on the noises of their ancestors.

    Args:
        graph: the latent graph.
        of_cell: the cell of each column.
        of_latent: the latent of each part of a noise.
        kept: variance of each cell's columns, in units of that of the whole cell: a little less than 1.
        unknown: whether a latent's noise is not known.
        scales: standard deviations of the parts of each latent's noise.
    """

    def __init__(
        self,
        graph: LatentGraph,
        of_cell: Int[np.ndarray, " c"],
        of_latent: Int[np.ndarray, " k"],
        kept: Float[np.ndarray, " n_cells"],
        unknown: list[bool],
        scales: list[np.ndarray],
    ) -> None:
        below = cells_below(graph)
        self.of_cell, self.of_latent, self.kept = of_cell, of_latent, kept
        self.unknown, self.scales = unknown, scales
        self.below = [np.flatnonzero(cells[of_cell]) for cells in below]
        # Cells with the same ancestors are regressed together.
        above, group = np.unique(below.T, axis=0, return_inverse=True)
        self.together = [
            (np.flatnonzero(ancestors[of_latent]), np.flatnonzero((group.reshape(-1) == place)[of_cell]))
            for place, ancestors in enumerate(above)
        ]

    def check(self, n: int) -> None:
        """Refuse regressions that would fit chance."""
        most = max(len(regressors) for regressors, _ in self.together)
        if most > _MOST_REGRESSORS * n:
            raise UsageError(
                f"must be at least {int(most / _MOST_REGRESSORS)} for a regression on {most} noises, got {n}",
                argument="rows",
            )

    def effects(self, moments: Float[np.ndarray, "p p"], rows: int, without: tuple[NoiseEffects, ...]) -> NoiseEffects:
        """Regressions from the second moments of noises and cells."""
        k = len(self.of_latent)
        found = np.zeros((len(self.of_cell), k))
        for regressors, columns in self.together:
            inverse = np.linalg.pinv(moments[np.ix_(regressors, regressors)], rcond=_SAME, hermitian=True)
            found[np.ix_(columns, regressors)] = (inverse @ moments[np.ix_(regressors, k + columns)]).T
        # Units are those of the same draws, so that their chance is part of the error.
        variances = np.diagonal(moments)
        of_cells = np.bincount(self.of_cell, weights=variances[k:], minlength=len(self.kept))
        units = np.sqrt(of_cells / np.where(self.kept > 0, self.kept, 1.0))[self.of_cell]
        found *= np.sqrt(variances[:k]) / units[:, None]
        return NoiseEffects(
            cells=self.of_cell,
            covariance=moments[k:, k:] / np.outer(units, units),
            columns=tuple(self.below),
            loadings=tuple(
                np.full((len(below), 1), np.nan) if self.unknown[u] else found[np.ix_(below, self.of_latent == u)]
                for u, below in enumerate(self.below)
            ),
            scales=tuple(np.ones(1) if self.unknown[u] else scale for u, scale in enumerate(self.scales)),
            how="estimated",
            rows=rows,
            without=without,
        )
