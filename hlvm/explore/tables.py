"""Tables for the explorer: availability, demand and signal by height, over ratios and units, from an exact oracle."""

from __future__ import annotations

import dataclasses
from typing import Any

from hlvm.explore.units import units_of
from hlvm.graph import LatentGraph
from hlvm.masking import RandomMask
from hlvm.theory import mask_profile, oracle_of
from hlvm.theory.random_masks.quantities import Quantity

__all__ = ["Tables", "tabulate"]

_RATIOS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 15 / 16)
_MOST_COLUMNS = 600
"""Observed numbers up to which signals are tabulated: each mask takes a dense factor of their covariance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables:
    """Availability, demand and signal of every height.

    Attributes:
        units: key of a unit -> quantity -> number of masked units -> one pair of mean and standard error per height,
            ``None`` where a height has no such number.
        n_masks: masks drawn for each row; where all there are were gone through, errors are 0.
        missing: reasons why something is not tabulated.
    """

    units: dict[str, dict[str, dict[int, list[tuple[float, float] | None]]]]
    n_masks: int
    missing: tuple[str, ...]


def tabulate(model: Any, *, key: Any = 0, n_masks: int = 64) -> Tables:
    """Ask the exact oracle of a model about random masks of every unit.

    Args:
        model: a graph or a model.
        key: a JAX key or an int.
        n_masks: masks drawn for each ratio and unit, at least 2.

    Returns:
        The tables; without units, and with the reason, where the model has no exact oracle.
    """
    if isinstance(model, LatentGraph):
        return _without("a graph alone does not say how much can be known: open the explorer on a model")
    try:
        oracle = oracle_of(model)
    except ValueError as error:
        return _without(" ".join(str(error).split()))
    graph, missing = oracle.graph, []
    quantities: list[Quantity] = ["availability", "demand", "signal"]
    columns = sum(graph.dims[graph.n_latents :])
    if columns > _MOST_COLUMNS:
        quantities.remove("signal")
        missing.append(f"signal takes long for {columns} observed numbers: hlvm.theory.mask_profile computes it")
    heights = sorted(set(graph.heights) - {0})
    units: dict[str, dict[str, dict[int, list[tuple[float, float] | None]]]] = {}
    for name, patches in units_of(graph).items():
        counts = sorted({min(max(round(ratio * len(patches)), 1), len(patches) - 1) for ratio in _RATIOS})
        strategies = {str(m): RandomMask(ratio=m / len(patches), patches=patches) for m in counts}
        table: Any = mask_profile(oracle, strategies, quantities, key=key, n_masks=n_masks).table
        table = table[(table["latent"] == "") & (table["part"] != "noise")]
        units[name] = {
            quantity: {m: _by_height(table, quantity, str(m), heights) for m in counts} for quantity in quantities
        }
    return Tables(units=units, n_masks=n_masks, missing=tuple(missing))


def _without(reason: str) -> Tables:
    return Tables(units={}, n_masks=0, missing=(reason,))


def _by_height(table: Any, quantity: str, strategy: str, heights: list[int]) -> list[tuple[float, float] | None]:
    rows = table[(table["quantity"] == quantity) & (table["strategy"] == strategy)].set_index("height")
    found: list[tuple[float, float] | None] = []
    for height in heights:
        if height not in rows.index or rows.loc[height].isna().any():
            found.append(None)
        else:
            value, error = (float(f"{rows.loc[height, column]:.5g}") for column in ("value", "error"))
            found.append((value, error))
    return found
