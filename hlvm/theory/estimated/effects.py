"""Effects of each latent's noise on the cells, from draws: regressions of cells on functions of the noises above them.

It is the first-order effect, ``E[x | noise] - E[x]``, the first part of an analysis of variance. Of each number of a
noise the functions are itself and steps between its eighths, or its values where they are few. What numbers do only
together, as where one multiplies another, belongs to none of them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.theory.estimated.columns import Columns
from hlvm.theory.estimated.draws import Draws
from hlvm.theory.oracles import NoiseEffects
from hlvm.theory.signal.cells import cells_below, check_columns

__all__ = ["effects_on_draws"]

_GROUPS = 10
"""Groups of draws for the jackknife."""

_MOST_REGRESSORS = 0.25
"""Regressors per draw: with more, effects would be those of chance."""

_STEPS = 8
"""Bins of each number of a noise, of equal numbers of draws."""

_SAME = 1e-10
"""Functions with less than this share of the largest variance follow from the others."""


def effects_on_draws(draws: Draws, cells: list[Columns]) -> NoiseEffects:
    """Covariance of the cells over draws, and the first-order effect of each latent's noise on the cells below it.

    Args:
        draws: noises of latents may be missing.
        cells: columns of each observed variable; those that are not worth predicting are left out.

    Raises:
        ValueError: no noise is known, more columns than the stated limit, or too few draws for the noises.
    """
    graph, n = draws.graph, draws.n
    if not draws.noise:
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
    unknown = [name not in draws.noise for name in graph.latents]
    known = [_functions(draws.noise[name]) if name in draws.noise else np.zeros((n, 0)) for name in graph.latents]
    entering = np.concatenate(known, axis=1)
    of_latent = np.repeat(np.arange(len(known)), [part.shape[1] for part in known])
    kept = np.bincount(of_cell, weights=values.var(axis=0), minlength=len(cells))
    plan = _Plan(graph, of_cell, of_latent, kept, unknown)
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
        of_latent: the latent of each function of a noise.
        kept: variance of each cell's columns, in units of that of the whole cell: a little less than 1.
        unknown: whether a latent's noise is not known.
    """

    def __init__(
        self,
        graph: LatentGraph,
        of_cell: Int[np.ndarray, " c"],
        of_latent: Int[np.ndarray, " k"],
        kept: Float[np.ndarray, " n_cells"],
        unknown: list[bool],
    ) -> None:
        below = cells_below(graph)
        self.of_cell, self.of_latent, self.kept = of_cell, of_latent, kept
        self.unknown = unknown
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
                f"must be at least {int(most / _MOST_REGRESSORS)} for a regression on {most} functions of noises, "
                f"got {n}",
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
        found /= units[:, None]
        return NoiseEffects(
            cells=self.of_cell,
            covariance=moments[k:, k:] / np.outer(units, units),
            columns=tuple(self.below),
            loadings=tuple(self._loadings(u, found, moments) for u in range(len(self.below))),
            how="estimated",
            rows=rows,
            without=without,
        )

    def _loadings(
        self, u: int, found: Float[np.ndarray, "c k"], moments: Float[np.ndarray, "p p"]
    ) -> Float[np.ndarray, "n_below k_u"]:
        """Effects of uncorrelated functions of one latent's noise, of variance 1 each."""
        if self.unknown[u]:
            return np.full((len(self.below[u]), 1), np.nan)
        own = np.flatnonzero(self.of_latent == u)
        strengths, directions = np.linalg.eigh(moments[np.ix_(own, own)])
        return found[np.ix_(self.below[u], own)] @ (directions * np.sqrt(np.maximum(strengths, 0.0)))


def _functions(noise: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n k"]:
    """Functions of each number of a noise, uncorrelated and of variance 1; none of one that is constant."""
    found = [noise[:, :0]]
    for column in noise.T:
        different = np.unique(column)
        if len(different) <= _STEPS:
            functions = (column[:, None] == different).astype(np.float64)
        else:
            edges = np.quantile(column, np.arange(1, _STEPS) / _STEPS)
            steps = np.searchsorted(edges, column)[:, None] == np.arange(_STEPS)
            spread = column.std()
            functions = np.concatenate([(column[:, None] - column.mean()) / spread, steps.astype(np.float64)], axis=1)
        functions -= functions.mean(axis=0)
        strengths, directions = np.linalg.eigh(functions.T @ functions / len(functions))
        kept = strengths > _SAME * max(float(strengths[-1]), 1e-300)
        found.append(functions @ (directions[:, kept] / np.sqrt(strengths[kept])))
    return np.concatenate(found, axis=1)
