"""The forest below a height: what of a tree remains when nothing above a height is shared."""

from __future__ import annotations

import numpy as np

from hlvm._numbers import whole_number
from hlvm.graph import LatentGraph
from hlvm.graph.arrays import GraphArrays
from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.posterior import Posterior

__all__ = ["cut_at"]


def cut_at(posterior: Posterior, height: int) -> Parameters:
    """The parameters of the forest whose roots are the highest nodes up to a height, each with its law.

    A graph's observed variables need parents. An observed variable whose parent lies above the cut gets a latent of its
    own with the law of that parent.

    Raises:
        ValueError: a graph that is no forest, or no whole number of at least 0.
    """
    old, graph = posterior.parameters, posterior.parameters.graph
    height = whole_number(height, "height", minimum=0)
    if not posterior.is_forest:
        child = next(i for i, above in enumerate(graph.parent_indices) if len(above) > 1)
        raise ValueError(
            f"only forests can be cut: {graph.nodes[child]!r} has {len(graph.parent_indices[child])} parents"
        )
    first, heights, is_root = graph.n_latents, graph.arrays.heights, graph.arrays.is_root
    if (heights <= height).all():
        return old
    parent = np.full(len(heights), -1)
    parent[graph.arrays.children] = graph.arrays.parents
    kept = np.flatnonzero(heights[:first] <= height)
    is_severed = ~is_root & (heights[parent] > height)
    alone = (first + np.flatnonzero(is_severed[first:])).tolist()
    # Where each node of the new graph comes from: latents that stay, a latent for each lone variable, what is observed.
    sources = [*kept.tolist(), *parent[alone].tolist(), *range(first, len(heights))]
    n_latents = len(kept) + len(alone)
    place = dict(zip(kept.tolist(), range(len(kept)), strict=True))
    lone = dict(zip(alone, range(len(kept), n_latents), strict=True))
    parents: list[tuple[int, ...]] = []
    coefficients, factors, offsets, noise_dims = [], [], [], []
    for i, node in enumerate(sources):
        if len(kept) <= i < n_latents or (i < len(kept) and is_severed[node]):
            above: tuple[int, ...] = ()
            parts = np.zeros((graph.dims[node], 0)), posterior.tree.prior_roots[node], old.means[node], graph.dims[node]
        else:
            above = () if is_root[node] else (lone[node] if node in lone else place[int(parent[node])],)
            parts = old.coefficients[node], old.factors[node], old.offsets[node], graph.noise_dims[node]
        parents.append(above)
        for part, found in zip(parts, (coefficients, factors, offsets, noise_dims), strict=True):
            found.append(part)
    names = [*graph.names_at(kept.tolist()), *_new_names(graph, alone, parent), *graph.observed]
    arrays = GraphArrays.of(parents, [graph.dims[node] for node in sources], noise_dims)
    return Parameters(
        graph=LatentGraph(tuple(names), arrays, graph.grid),
        coefficients=tuple(coefficients),
        factors=tuple(factors),
        offsets=tuple(offsets),
    )


def _new_names(graph: LatentGraph, alone: list[int], parent: np.ndarray) -> list[str]:
    """Names of the latents of single observed variables, such as "z1_0 of x_3", that no variable has."""
    found = []
    for node in alone:
        name = f"{graph.nodes[parent[node]]} of {graph.nodes[node]}"
        while name in graph.index:
            name += "'"
        found.append(name)
    return found
