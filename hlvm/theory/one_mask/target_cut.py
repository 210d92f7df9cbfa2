"""General regime, one target at a time: its least-dims separator from the visible part, for all targets together.

On a forest the flow out of a target can take, at every latent that it meets, at most that latent's dim. What can pass
through a latent towards visible variables, away from where the flow came from, needs one pass up and one pass down;
the separator nearest the visible part cuts a latent exactly if more could pass beyond it than its dim. No separator has
more dims than the first latent on the way, so all of them are short, and the whole takes linear time for small dims.

On other graphs it takes one maximum flow per set of parents.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from hlvm.graph import LatentGraph
from hlvm.theory.one_mask.flow_cut import flow_cut

__all__ = ["target_cuts"]

Cut: TypeAlias = tuple[int, ...]
"""Positions of latents."""


def target_cuts(graph: LatentGraph, mask: Bool[np.ndarray, " n_observed"]) -> dict[int, frozenset[int]]:
    """Least-dims separators of single masked variables from the visible part, those nearest the visible part.

    The other masked variables are neither targets nor seen, so a separator depends on a target's parents alone.

    Args:
        graph: any graph.
        mask: over ``graph.observed``, True = masked; neither side empty.

    Returns:
        For each masked variable, as a position in ``graph.nodes``, the positions of the latents in its separator;
        empty where the two share nothing.

    Raises:
        ValueError: on a graph that is no forest, dims too large for SciPy's 32-bit maximum flow.
    """
    targets = (graph.n_latents + np.flatnonzero(mask)).tolist()
    if graph.arrays.is_forest:
        parents = {target: graph.parent_indices[target][0] for target in targets}
        separators = _forest_cuts(graph, mask, set(parents.values()))
        return {target: separators[parent] for target, parent in parents.items()}
    by_parents: dict[tuple[int, ...], frozenset[int]] = {}
    for target in targets:
        above = tuple(sorted(graph.parent_indices[target]))
        if above not in by_parents:
            alone = np.zeros_like(mask)
            alone[target - graph.n_latents] = True
            _, near_visible = flow_cut(graph, alone, ~mask)
            by_parents[above] = frozenset(np.flatnonzero(near_visible).tolist())
    return {target: by_parents[tuple(sorted(graph.parent_indices[target]))] for target in targets}


def _forest_cuts(
    graph: LatentGraph, mask: Bool[np.ndarray, " n_observed"], starts: set[int]
) -> dict[int, frozenset[int]]:
    """Least cuts between each of some latents and the visible variables, nearest to these; a latent may cut itself."""
    n, dims = graph.n_latents, graph.dims
    everything = sum(dims[:n]) + 1
    parent_of = [above[0] if above else -1 for above in graph.parent_indices[:n]]
    visible_children = np.zeros(n, dtype=np.int64)
    np.add.at(visible_children, graph.arrays.observed_parents[~mask], 1)
    from_children = [everything if seen else 0 for seen in visible_children.tolist()]
    cuts_of_children: list[list[int]] = [[] for _ in range(n)]  # children through which something can pass

    down: list[int] = [0] * n  # what can pass from a latent to visible variables below it
    cut_down: list[Cut] = [()] * n
    for u in range(n - 1, -1, -1):
        beyond = from_children[u]
        down[u] = min(beyond, dims[u])
        cut_down[u] = (u,) if beyond > dims[u] else _joined(cut_down, cuts_of_children[u])
        if parent_of[u] >= 0 and down[u]:
            from_children[parent_of[u]] += down[u]
            cuts_of_children[parent_of[u]].append(u)

    up: list[int] = [0] * n  # what can pass from a latent through its parent
    cut_up: list[Cut] = [()] * n
    for u in range(n):
        parent = parent_of[u]
        if parent < 0:
            continue
        beyond = from_children[parent] - down[u] + up[parent]
        up[u] = min(beyond, dims[parent])
        if beyond > dims[parent]:
            cut_up[u] = (parent,)
        elif beyond:
            cut_up[u] = _joined(cut_down, [v for v in cuts_of_children[parent] if v != u]) + cut_up[parent]

    found: dict[int, frozenset[int]] = {}
    for u in starts:
        beyond = from_children[u] + up[u]
        found[u] = frozenset((u,) if beyond > dims[u] else _joined(cut_down, cuts_of_children[u]) + cut_up[u])
    return found


def _joined(cuts: list[Cut], latents: list[int]) -> Cut:
    return tuple(member for latent in latents for member in cuts[latent])
