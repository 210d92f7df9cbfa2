"""Shared information ``c(m)``: the latents that carry everything the visible part tells about the masked part.

Section 2 of ``docs/theory.md``. The two regimes answer different questions and never mix: "invertible"
assumes that every ancestor is a function of its descendants, "general" assumes d-separation only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from itertools import compress
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Bool, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.graph.arrays import with_all_beyond
from hlvm.masking import masked_array
from hlvm.masking.masks import masked_batch
from hlvm.theory.one_mask.common_ancestors import common_ancestors, common_ancestors_batch
from hlvm.theory.one_mask.flow_cut import flow_cut
from hlvm.theory.one_mask.target_cut import target_cuts
from hlvm.theory.one_mask.tree_cut import tree_cuts

__all__ = [
    "Regime",
    "SharedInformation",
    "SharedInformationBatch",
    "check_regime",
    "shared_information",
    "shared_information_batch",
    "target_ancestors",
]

Regime: TypeAlias = Literal["invertible", "general"]
"""Assumption on the mechanisms: invertible ones, or nothing beyond the graph."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedInformation:
    """The latents shared by the masked and the visible part under one mask.

    Attributes:
        regime: "invertible" or "general".
        members: names of the latents in ``c``. In the general regime, when several least-dims
            separators exist, these are ``near_masked``: the definition asks the masked part's own
            noise to be independent of ``c`` and lets the visible part's depend on it, so the masked
            remainder is kept as small as possible.
        frontier: members with no child among the members. In the invertible regime every other member
            is a function of them.
        dim: intrinsic dimension of ``c``, at least 0. Invertible: the sum of the members' noise dims,
            since their dims count shared ancestors more than once. General: the sum of their dims.
        unique: whether no other separating set has as few dims. Always true in the invertible regime,
            where every separating set determines ``c``.
        near_masked: the least-dims separator nearest the masked part.
        near_visible: the least-dims separator nearest the visible part; equal to ``near_masked``
            exactly if ``unique``.
    """

    regime: Regime
    members: frozenset[str]
    frontier: frozenset[str]
    dim: int
    unique: bool
    near_masked: frozenset[str]
    near_visible: frozenset[str]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SharedInformationBatch:
    """The latents shared by the masked and the visible part under each of many masks.

    Attributes:
        regime: "invertible" or "general".
        members: shape (n_masks, n_latents), over ``graph.latents``; True = in ``c`` (in the general
            regime the least-dims separator nearest the masked part).
        dim: shape (n_masks,), intrinsic dimension of ``c``, as in :class:`SharedInformation`.
        unique: shape (n_masks,), whether no other set does the same with as few dims.
        near_visible: shape (n_masks, n_latents), the least-dims separator nearest the visible part.
    """

    regime: Regime
    members: Bool[np.ndarray, "n_masks n_latents"]
    dim: Int[np.ndarray, " n_masks"]
    unique: Bool[np.ndarray, " n_masks"]
    near_visible: Bool[np.ndarray, "n_masks n_latents"]


def check_regime(graph: LatentGraph, regime: str) -> None:
    """Check that a regime is known and, if it is the invertible one, that the graph's dims allow it.

    Raises:
        ValueError: no graph, an unknown regime, or dims that no invertible mechanism can have.
    """
    if not isinstance(graph, LatentGraph):
        raise ValueError(f"graph must be a LatentGraph, such as LatentGraph.load(path), got {graph!r}")
    if regime not in get_args(Regime):
        raise ValueError(f'regime must be "invertible" or "general", got {regime!r}')
    if regime == "invertible" and (problem := graph.invertible_dims_error()) is not None:
        raise UsageError(
            f"these dims do not allow the invertible regime ({problem})",
            remedies={
                "regime": 'use regime="general"',
                "dims": "build the graph with dims=None, which takes the dims that invertible mechanisms imply",
            },
        )


def shared_information(
    graph: LatentGraph, masked: Collection[str] | Bool[Any, " n_observed"], *, regime: Regime = "invertible"
) -> SharedInformation:
    """Latents that carry everything the visible part tells about the masked part.

    Linear time in the invertible regime and on trees; one maximum flow otherwise.

    Args:
        graph: the generating graph.
        masked: names of the masked observed variables, or a boolean array over ``graph.observed`` with
            True = masked; the others are visible.
        regime: "invertible" (every ancestor is a function of its descendants) or "general"
            (d-separation only).

    Returns:
        Members, frontier, intrinsic dimension, and whether the set is unique. Empty when the two sides
        share no ancestor.

    Raises:
        ValueError: ``masked`` holds an unknown name or a latent, is empty, or leaves nothing visible;
            an unknown regime; or dims that no invertible mechanism can have.

    References:
        Theorem 1 of :cite:t:`kong2023mae`; the closed forms are derived in ``docs/theory.md``, section 2.

    Example:
        >>> graph = LatentGraph.tree(2, 2)
        >>> sorted(shared_information(graph, ["x_0"]).members), shared_information(graph, ["x_0", "x_1"]).dim
        (['z1_0', 'z2_0'], 2)
    """
    check_regime(graph, regime)
    mask = masked_array(graph, masked)
    if regime == "invertible":
        near_masked = near_visible = common_ancestors(graph, mask)
        sizes = graph.arrays.noise_dims[: graph.n_latents]
    else:
        near_masked, near_visible = (cuts[0] for cuts in _least_cuts(graph, mask[None], ~mask[None]))
        sizes = graph.arrays.dims[: graph.n_latents]
    members = np.flatnonzero(near_masked)
    names = graph.names_at(members.tolist())
    shared = frozenset(names)
    lowest = _frontier(graph, near_masked)[members]
    unique = bool((near_masked == near_visible).all())
    return SharedInformation(
        regime=regime,
        members=shared,
        frontier=shared if lowest.all() else frozenset(compress(names, lowest.tolist())),
        dim=sum(sizes[members].tolist()),
        unique=unique,
        near_masked=shared,
        near_visible=shared if unique else _names(graph, near_visible),
    )


def shared_information_batch(
    graph: LatentGraph, masks: Bool[Any, "n_masks n_observed"], *, regime: Regime = "invertible"
) -> SharedInformationBatch:
    """Shared information for many masks at once.

    All masks are worked on together, except in the general regime on a graph with multi-parent nodes,
    which takes one maximum flow per mask.

    Args:
        graph: the generating graph.
        masks: one mask per row over ``graph.observed``, True = masked.
        regime: as in :func:`shared_information`.

    Returns:
        Members, intrinsic dimension and uniqueness, one row per mask.

    Raises:
        ValueError: masks of another shape or type, a mask that masks nothing or everything, an unknown
            regime, or dims that no invertible mechanism can have.
    """
    check_regime(graph, regime)
    checked = masked_batch(graph, masks)
    if regime == "invertible":
        near_masked = near_visible = common_ancestors_batch(graph, checked)
        sizes = graph.arrays.noise_dims[: graph.n_latents]
    else:
        near_masked, near_visible = _least_cuts(graph, checked, ~checked)
        sizes = graph.arrays.dims[: graph.n_latents]
    return SharedInformationBatch(
        regime=regime,
        members=near_masked,
        dim=_total(near_masked, sizes),
        unique=(near_masked == near_visible).all(axis=1),
        near_visible=near_visible,
    )


def target_ancestors(
    graph: LatentGraph, masked: Collection[str] | Bool[Any, " n_observed"], *, regime: Regime = "invertible"
) -> dict[str, frozenset[str]]:
    """For each masked variable, the lowest latents it shares with the visible part.

    The other masked variables are left out of account: they are neither targets nor seen.

    Args:
        graph: the generating graph.
        masked: names of the masked observed variables, or a boolean array over ``graph.observed`` with
            True = masked; the others are visible.
        regime: "invertible": the frontier of the common ancestors of the target and the visible part;
            on a tree that is the target's nearest ancestor with a visible descendant. "general": the
            least-dims separator of the two; among several the one nearest the visible part, because
            the one nearest the target is often just its parent, whatever is masked.

    Returns:
        Masked name to names of latents, in the order of ``graph.observed``; an empty set when the
        target shares nothing with the visible part.

    Raises:
        ValueError: as in :func:`shared_information`.

    Example:
        >>> target_ancestors(LatentGraph.tree(2, 2), ["x_0", "x_1", "x_2"])["x_0"]
        frozenset({'z2_0'})
    """
    check_regime(graph, regime)
    mask = masked_array(graph, masked)
    if regime == "invertible":
        return _target_frontiers(graph, mask)
    names_of: dict[frozenset[int], frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for target, cut in target_cuts(graph, mask).items():
        if cut not in names_of:
            names_of[cut] = frozenset(graph.names_at(cut))
        found[graph.nodes[target]] = names_of[cut]
    return found


def _target_frontiers(graph: LatentGraph, mask: Bool[np.ndarray, " n_observed"]) -> dict[str, frozenset[str]]:
    has_visible = graph.arrays.reached(~mask).tolist()
    by_parents: dict[tuple[int, ...], frozenset[str]] = {}
    found: dict[str, frozenset[str]] = {}
    for target in np.flatnonzero(mask).tolist():
        above = graph.parent_indices[graph.n_latents + target]
        if above not in by_parents:
            common = [u for u in with_all_beyond(above, graph.parent_indices) if has_visible[u]]
            higher = {parent for member in common for parent in graph.parent_indices[member]}
            by_parents[above] = frozenset(graph.nodes[u] for u in common if u not in higher)
        found[graph.observed[target]] = by_parents[above]
    return found


def _least_cuts(
    graph: LatentGraph,
    sources: Bool[np.ndarray, "n_pairs n_observed"],
    sinks: Bool[np.ndarray, "n_pairs n_observed"],
) -> tuple[Bool[np.ndarray, "n_pairs n_latents"], Bool[np.ndarray, "n_pairs n_latents"]]:
    """Per pair, the least-dims separators nearest the sources and nearest the sinks."""
    if graph.arrays.is_forest:
        return tree_cuts(graph, sources, sinks)
    cuts = np.empty((2, len(sources), graph.n_latents), dtype=bool)
    for pair, sides in enumerate(zip(sources, sinks, strict=True)):
        cuts[:, pair] = flow_cut(graph, *sides)
    return cuts[0], cuts[1]


def _frontier(graph: LatentGraph, members: Bool[np.ndarray, " n_latents"]) -> Bool[np.ndarray, " n_latents"]:
    """Members that are no parent of another member."""
    inner = slice(graph.arrays.n_inner)
    parents, children = graph.arrays.parents[inner], graph.arrays.children[inner]
    found = members.copy()
    found[parents[members[children]]] = False
    return found


def _total(
    members: Bool[np.ndarray, "n_masks n_latents"], sizes: Int[np.ndarray, " n_latents"]
) -> Int[np.ndarray, " n_masks"]:
    """Sum of the members' sizes; a matrix product in float64 is fast, and exact up to 2**53."""
    return (members.astype(np.float64) @ sizes.astype(np.float64)).round().astype(np.int64)


def _names(graph: LatentGraph, latents: Bool[np.ndarray, " n_latents"]) -> frozenset[str]:
    return frozenset(graph.names_at(np.flatnonzero(latents).tolist()))
