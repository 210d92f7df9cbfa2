"""Observed columns in units of a cell's variance, and the cells that a latent's noise reaches."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph

__all__ = ["LARGEST_COLUMNS", "cells_below", "check_columns", "unit_cells"]

LARGEST_COLUMNS = 2048
"""Observed columns up to which signals are computed: each mask takes a dense matrix of that size."""

_CONSTANT = 1e-12
"""A column that varies by less than this share of the largest variance is constant, up to rounding."""


def cells_below(graph: LatentGraph) -> Bool[np.ndarray, "n_latents n_observed"]:
    """Cells that descend from each latent."""
    return graph.arrays.reached(np.eye(graph.n_observed, dtype=bool))[: graph.n_latents]


def unit_cells(
    variances: Float[np.ndarray, " n_columns"], cells: Int[np.ndarray, " n_columns"]
) -> tuple[Bool[np.ndarray, " n_columns"], Float[np.ndarray, " n_columns"]]:
    """Units in which each cell has variance 1 and its columns equal shares of it.

    Args:
        variances: of each column.
        cells: the cell that each column belongs to.

    Returns:
        The columns that vary, and the units of these.
    """
    varies = variances > _CONSTANT * max(float(variances.max(initial=0.0)), 1e-300)
    number = np.bincount(cells[varies], minlength=int(cells.max(initial=0)) + 1)
    return varies, np.sqrt(variances[varies] * number[cells[varies]])


def check_columns(n: int) -> None:
    """Refuse graphs with so many observed columns that a dense matrix per mask would take too long.

    Raises:
        ValueError: more than the stated limit.
    """
    if n > LARGEST_COLUMNS:
        raise UsageError(
            f"has {n} observed columns, and signals are computed for at most {LARGEST_COLUMNS}, with a dense matrix "
            "per mask: use a smaller graph, smaller dims or fewer symbols",
            argument="graph",
        )
