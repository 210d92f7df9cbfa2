"""Effects of each latent's noise on the observed columns of a linear-Gaussian model."""

from __future__ import annotations

import numpy as np

from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.oracles import How, NoiseEffects
from hlvm.theory.signal.cells import cells_below, check_columns, unit_cells

__all__ = ["effects_of_noises"]


def effects_of_noises(parameters: Parameters, how: How = "exact") -> NoiseEffects:
    """The covariance of the observed columns, and the effect of each latent's noise on them.

    The model is linear, so its columns are sums of what each noise does to them.

    Raises:
        ValueError: larger than a stated limit.
    """
    graph = parameters.graph
    first, all_cells = graph.n_latents, graph.arrays.cell_of_column
    check_columns(len(all_cells))
    nodes = list(range(first, len(graph.nodes)))
    effects, covariance = parameters.observed_effects(nodes), parameters.covariance(nodes)
    varies, units = unit_cells(np.diagonal(covariance), all_cells)
    cells, effects = all_cells[varies], effects[varies] / units[:, None]
    below = cells_below(graph)
    ends = np.cumsum([0, *(factor.shape[1] for factor in parameters.factors[:first])]).tolist()
    columns = tuple(np.flatnonzero(below[u, cells]) for u in range(first))
    return NoiseEffects(
        cells=cells,
        covariance=covariance[np.ix_(varies, varies)] / np.outer(units, units),
        columns=columns,
        loadings=tuple(effects[own, ends[u] : ends[u + 1]] for u, own in enumerate(columns)),
        how=how,
    )
