"""Strategies to try on a graph when none are given."""

from __future__ import annotations

from collections.abc import Sequence

from hlvm.graph import LatentGraph
from hlvm.masking import BernoulliMask, BlockMask, GridMask, MaskSampler, Patches, RandomMask, SubtreeMask, count_masked
from hlvm.masking.patches import checked_unit
from hlvm.masking.shapes import unit_grid

__all__ = ["DEFAULT_RATIOS", "default_candidates", "usable_ratios"]

DEFAULT_RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Ratios of the candidates that are tried when none are given; beside them, masks of a single patch."""

DEFAULT_STEPS = (2, 3, 4, (1, 2), (2, 1))
"""``keep_every`` of the lattices that are tried when no candidates are given."""


def default_candidates(graph: LatentGraph) -> tuple[MaskSampler, ...]:
    """Strategies to try on a graph: masking units times strategies times ratios.

    The units are single observed variables; on a grid all square units that divide it; and the subtrees of each height
    that partition the observed variables otherwise than these units do. For each of them: a single patch,
    and :data:`DEFAULT_RATIOS` of the patches, at random; each patch with these probabilities; and on a grid rectangles
    of these ratios, and the lattices of :data:`DEFAULT_STEPS`. What does not fit is left out, and so is a number of
    patches or a rectangle that another candidate has already.

    Raises:
        ValueError: there is only one observed variable.
    """
    if graph.n_observed < 2:
        raise ValueError("a mask needs at least 2 patches (one masked, one visible), this graph has 1 variable to mask")
    found: list[MaskSampler] = []
    seen: set[frozenset[frozenset[str]]] = set()
    for unit in _square_units(graph):
        patches = Patches.blocks(graph, unit)
        seen.add(frozenset(map(frozenset, patches.groups)))
        found += [RandomMask(ratio=ratio, unit=unit) for ratio in usable_ratios(len(patches))]
        if len(patches) > 2:
            found += [BernoulliMask(ratio=ratio, unit=unit) for ratio in DEFAULT_RATIOS]
        found += _shapes(graph, unit)
    for height in range(1, max(graph.heights) + 1):
        try:
            patches = Patches.of_subtrees(graph, height)
        except ValueError:
            continue
        groups = frozenset(map(frozenset, patches.groups))
        if len(patches) > 1 and groups not in seen:
            seen.add(groups)
            found += [SubtreeMask(height=height, ratio=ratio) for ratio in usable_ratios(len(patches))]
            if len(patches) > 2:
                found += [BernoulliMask(ratio=ratio, patches=patches) for ratio in DEFAULT_RATIOS]
    return tuple(found)


def _square_units(graph: LatentGraph) -> list[int]:
    if graph.grid is None:
        return [1]
    rows, columns = graph.grid
    sides = range(1, min(rows, columns) + 1)
    return [s for s in sides if rows % s == columns % s == 0 and (rows // s) * (columns // s) > 1]


def usable_ratios(n_patches: int) -> list[float]:
    """One ratio for each number of masked patches."""
    found = {1: 1 / n_patches}
    for ratio in DEFAULT_RATIOS:
        try:
            found.setdefault(count_masked(ratio, n_patches), ratio)
        except ValueError:
            continue
    return list(found.values())


def _shapes(graph: LatentGraph, unit: int) -> Sequence[MaskSampler]:
    """Rectangles and lattices of this unit; rectangles of one unit are masks of a single patch."""
    if graph.grid is None:
        return []
    sides = unit_grid(graph, unit)
    rectangles: dict[tuple[int, int], MaskSampler] = {(1, 1): BlockMask(ratio=0.5)}
    for ratio in DEFAULT_RATIOS:
        block = BlockMask(ratio=ratio, unit=unit)
        try:
            rectangles.setdefault(block.rectangle(graph), block)
        except ValueError:
            continue
    steps = [step for step in DEFAULT_STEPS if all(k <= n for k, n in zip(checked_unit(step), sides, strict=True))]
    return [*list(rectangles.values())[1:], *(GridMask(keep_every=step, unit=unit) for step in steps)]
