"""All masks of the strategies that draw from a short list: fixed masks, and every place of a rectangle or a lattice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from hlvm.graph import LatentGraph
from hlvm.masking.masks import masked_array
from hlvm.masking.patches import checked_unit
from hlvm.masking.spatial import BlockMask, GridMask, unit_grid
from hlvm.masking.strategies import FixedMask

__all__ = ["Listed", "count_every_mask", "every_mask"]

Listed: TypeAlias = FixedMask | BlockMask | GridMask
"""Strategies whose masks are few enough to go through."""

_MASKS_AT_ONCE = 1024


def count_every_mask(sampler: Listed, graph: LatentGraph) -> int:
    """Number of masks that :func:`every_mask` lists.

    Raises:
        ValueError: the strategy does not fit the graph.
    """
    if isinstance(sampler, FixedMask):
        masked_array(graph, sampler.masked)
        return 1
    if isinstance(sampler, BlockMask):
        lengths = sampler.rectangle(graph)
        return math.prod(n - length + 1 for n, length in zip(unit_grid(graph, sampler.unit), lengths, strict=True))
    sampler.grid_of_units(graph)
    return math.prod(checked_unit(sampler.keep_every, "keep_every"))


def every_mask(sampler: Listed, graph: LatentGraph) -> Iterator[Bool[np.ndarray, "n n_observed"]]:
    """All masks of a strategy, each once and each as likely as the others, some at a time.

    Args:
        sampler: the strategy.
        graph: the graph whose observed variables are masked.

    Yields:
        Boolean arrays over ``graph.observed``, True = masked; at most 1,024 masks each. Places come row by row.

    Raises:
        ValueError: the strategy does not fit the graph.
    """
    if isinstance(sampler, FixedMask):
        yield masked_array(graph, sampler.masked)[None]
        return
    places = [np.arange(side) for side in unit_grid(graph, sampler.unit)]
    if isinstance(sampler, BlockMask):
        lengths = sampler.rectangle(graph)
        inside = [
            (place >= begin) & (place < begin + length)
            for place, length in zip(places, lengths, strict=True)
            for begin in [np.arange(len(place) - length + 1)[:, None]]
        ]
    else:
        sampler.grid_of_units(graph)
        steps = checked_unit(sampler.keep_every, "keep_every")
        inside = [place % step == np.arange(step)[:, None] for place, step in zip(places, steps, strict=True)]
    tall, wide = checked_unit(sampler.unit)
    n_masks = len(inside[0]) * len(inside[1])
    for begin in range(0, n_masks, _MASKS_AT_ONCE):
        first, second = np.divmod(np.arange(begin, min(begin + _MASKS_AT_ONCE, n_masks)), len(inside[1]))
        units = inside[0][first][:, :, None] & inside[1][second][:, None, :]
        masked = units if isinstance(sampler, BlockMask) else ~units
        yield np.repeat(np.repeat(masked, tall, axis=1), wide, axis=2).reshape(len(masked), -1)
