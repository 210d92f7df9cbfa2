"""What a masking strategy draws on a graph, as far as it is known: which law, over which patches, and in words.

Strategies of :mod:`hlvm.masking` have a known law: a fixed number of patches, each patch by chance, or one of a list of
masks. Any other object that draws masks is asked for some.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

from hlvm.graph import LatentGraph
from hlvm.masking import (
    BernoulliMask,
    BlockMask,
    FixedMask,
    GridMask,
    Listed,
    MaskSampler,
    Patches,
    RandomMask,
    SubtreeMask,
    count_every_mask,
    count_masked,
    unit_grid,
)
from hlvm.masking.patches import checked_unit

__all__ = ["DEFAULT_RATIOS", "MaskLaw", "default_candidates", "law_of"]

DEFAULT_RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Ratios of the candidates that are tried when none are given; beside them, masks of a single patch."""

DEFAULT_STEPS = (2, 3, 4, (1, 2), (2, 1))
"""``keep_every`` of the lattices that are tried when no candidates are given."""

_CELLS_LISTED = 2**30
"""Masks times observed variables up to which all masks of a strategy are gone through."""

_LONGEST_NAME = 80

Kind: TypeAlias = Literal["uniform", "bernoulli", "listed", "unknown"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MaskLaw:
    """The law of the masks that a strategy draws.

    Attributes:
        kind: "uniform": ``n_masked`` of the patches at random; "bernoulli": each patch with probability ``ratio``,
            given that both sides are non-empty; "listed": one of ``n_listed`` masks, see
            :func:`hlvm.masking.every_mask`;
            "unknown": it has to be sampled.
        sampler: the strategy.
        patches: what it masks together, as far as is known; single observed variables otherwise.
        description: the law in words.
        n_masked: number of masked patches; 0 unless uniform.
        ratio: share of the patches that is masked, or their probability to be masked; 0 for other laws.
        n_listed: number of masks; 0 unless listed.
    """

    kind: Kind
    sampler: MaskSampler
    patches: Patches
    description: str
    n_masked: int = 0
    ratio: float = 0.0
    n_listed: int = 0


def law_of(graph: LatentGraph, sampler: Any) -> MaskLaw:
    """The law of a strategy on a graph.

    Raises:
        ValueError: it draws no masks, or does not fit the graph.
    """
    match sampler:
        case SubtreeMask():
            patches = Patches.of_subtrees(graph, sampler.height)
            unit = f"subtrees of height {sampler.height}" if sampler.height else _units(graph, 1)
            return _uniform(graph, sampler, patches, unit)
        case RandomMask():
            return _uniform(graph, sampler, sampler.patches_of(graph), _units(graph, sampler.unit, sampler.patches))
        case BernoulliMask():
            patches = RandomMask(ratio=0.5, unit=sampler.unit, patches=sampler.patches).patches_of(graph)
            _check_fits(graph, patches)
            return MaskLaw(
                kind="bernoulli",
                sampler=sampler,
                patches=patches,
                description=f"each of {len(patches)} {_units(graph, sampler.unit, sampler.patches)} with probability "
                f"{sampler.ratio:g}",
                ratio=sampler.ratio,
            )
        case BlockMask():
            tall, wide = sampler.rectangle(graph)
            text = f"a rectangle of {tall} x {wide} {_units(graph, sampler.unit)}"
            return _listed(graph, sampler, _blocks(graph, sampler.unit), text)
        case GridMask():
            rows, columns = checked_unit(sampler.keep_every, "keep_every")
            sampler.grid_of_units(graph)
            text = f"all {_units(graph, sampler.unit)} but 1 in {rows} x {columns}, on a lattice"
            return _listed(graph, sampler, _blocks(graph, sampler.unit), text)
        case FixedMask():
            named = ", ".join(sampler.masked[:5])
            more = f" and {len(sampler.masked) - 5} more" if len(sampler.masked) > 5 else ""
            return _listed(graph, sampler, Patches.cells(graph), f"always {named}{more}")
    if isinstance(sampler, type) or not callable(getattr(sampler, "sample", None)):
        raise ValueError(
            "a candidate is an object that draws masks, such as hlvm.masking.RandomMask(ratio=0.5), or any with a "
            f"method sample(key, n, graph), got {sampler!r}"
        )
    words = type(sampler).__name__ if type(sampler).__repr__ is object.__repr__ else repr(sampler)
    words = words if len(words) <= _LONGEST_NAME else words[: _LONGEST_NAME - 3] + "..."
    return MaskLaw(kind="unknown", sampler=sampler, patches=Patches.cells(graph), description=words)


def _uniform(graph: LatentGraph, sampler: RandomMask | SubtreeMask, patches: Patches, unit: str) -> MaskLaw:
    _check_fits(graph, patches)
    n_masked = count_masked(sampler.ratio, len(patches))
    text = f"{n_masked} of {len(patches)} {unit} at random"
    return MaskLaw(
        kind="uniform", sampler=sampler, patches=patches, description=text, n_masked=n_masked, ratio=sampler.ratio
    )


def _listed(graph: LatentGraph, sampler: Listed, patches: Patches, description: str) -> MaskLaw:
    n_listed = count_every_mask(sampler, graph)
    few = n_listed * len(graph.observed) <= _CELLS_LISTED
    return MaskLaw(
        kind="listed" if few else "unknown",
        sampler=sampler,
        patches=patches,
        description=description,
        n_listed=n_listed if few else 0,
    )


def _check_fits(graph: LatentGraph, patches: Patches) -> None:
    patches.index(graph)
    if len(patches) < 2:
        raise ValueError(
            f"a mask needs at least 2 patches (one masked, one visible), got {len(patches)}: use a smaller unit"
        )


def _units(graph: LatentGraph, unit: int | tuple[int, int], patches: Patches | None = None) -> str:
    if patches is not None and len(patches) < len(graph.observed):
        height = _subtree_height(graph, patches)
        return f"subtrees of height {height}" if height else "patches"
    tall, wide = checked_unit(unit)
    if (tall, wide) != (1, 1):
        return f"units of {tall} x {wide} cells"
    return "cells" if graph.grid else "observed variables"


@lru_cache(maxsize=16)
def _subtree_height(graph: LatentGraph, patches: Patches) -> int | None:
    """The lowest height whose subtrees these patches are."""
    latents_at = np.bincount(np.asarray(graph.heights)[: len(graph.latents)])
    groups = set(map(frozenset, patches.groups))
    for height in np.flatnonzero(latents_at == len(patches)).tolist():
        try:
            found = Patches.of_subtrees(graph, height)
        except ValueError:
            continue
        if set(map(frozenset, found.groups)) == groups:
            return height
    return None


def _blocks(graph: LatentGraph, unit: int | tuple[int, int]) -> Patches:
    return RandomMask(ratio=0.5, unit=unit).patches_of(graph)


# ---------------------------------------------------------------------- default candidates


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
    _check_fits(graph, Patches.cells(graph))
    found: list[MaskSampler] = []
    seen: set[frozenset[frozenset[str]]] = set()
    for unit in _square_units(graph):
        patches = RandomMask(ratio=0.5, unit=unit).patches_of(graph)
        seen.add(frozenset(map(frozenset, patches.groups)))
        found += [RandomMask(ratio=ratio, unit=unit) for ratio in _usable_ratios(len(patches))]
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
            found += [SubtreeMask(height=height, ratio=ratio) for ratio in _usable_ratios(len(patches))]
            if len(patches) > 2:
                found += [BernoulliMask(ratio=ratio, patches=patches) for ratio in DEFAULT_RATIOS]
    return tuple(found)


def _square_units(graph: LatentGraph) -> list[int]:
    if graph.grid is None:
        return [1]
    rows, columns = graph.grid
    sides = range(1, min(rows, columns) + 1)
    return [s for s in sides if rows % s == columns % s == 0 and (rows // s) * (columns // s) > 1]


def _usable_ratios(n_patches: int) -> list[float]:
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
        sampler = BlockMask(ratio=ratio, unit=unit)
        try:
            rectangles.setdefault(sampler.rectangle(graph), sampler)
        except ValueError:
            continue
    steps = [step for step in DEFAULT_STEPS if all(k <= n for k, n in zip(checked_unit(step), sides, strict=True))]
    return [*list(rectangles.values())[1:], *(GridMask(keep_every=step, unit=unit) for step in steps)]
