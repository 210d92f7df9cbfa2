"""Scores of attention against what is known: which patches share the latents of an object, and where objects show."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from hlvm.graph import LatentGraph
from hlvm.images import SceneImages, latents_of_patches
from hlvm.masking import Patches, count_masked


def kinship(graph: LatentGraph) -> Bool[np.ndarray, "cells cells"]:
    """Which patches have a common ancestor beside those that all patches have; none is kin to itself."""
    reach = latents_of_patches(graph)
    everywhere = frozenset.intersection(*reach.values())
    own = [reach[name] - everywhere for name in graph.observed]
    return np.asarray([[i != j and bool(a & b) for j, b in enumerate(own)] for i, a in enumerate(own)])


def squared_distances(grid: tuple[int, int]) -> Float[np.ndarray, "cells cells"]:
    """Squared distances between cells of a grid, whose sides have length 1."""
    places = np.stack(np.divmod(np.arange(grid[0] * grid[1]), grid[1]), axis=1)
    return ((places[:, None] - places[None]) ** 2).sum(axis=2).astype(np.float64)


def share_with_visible_kin(graph: LatentGraph, ratio: float, unit: int) -> float:
    """Probability that a masked patch has a visible one that is kin to it, when units are masked at random.

    Of ``N`` units ``V`` stay visible. A patch with kin in ``k`` units other than its own has none visible with
    probability ``C(N-1-k, V) / C(N-1, V)``, given that its own is masked.
    """
    patches = Patches.blocks(graph, unit)
    unit_of, n = patches.index(graph), len(patches)
    visible = n - count_masked(ratio, n)
    kin = kinship(graph)
    unseen = []
    for cell in range(graph.n_observed):
        units = set(unit_of[kin[cell]].tolist()) - {int(unit_of[cell])}
        unseen.append(math.comb(n - 1 - len(units), visible) / math.comb(n - 1, visible))
    return 1.0 - float(np.mean(unseen))


def object_shares(model: SceneImages, latents: dict[str, np.ndarray]) -> Float[np.ndarray, "n cells"]:
    """Share of each patch that objects cover: the pixels that differ between black and white objects."""
    black, white = dict(latents), dict(latents)
    for factor in ("colour", "accent"):
        for name in model.latents_of_factors[factor]:
            black[name] = np.zeros_like(latents[name])
            white[name] = np.zeros_like(latents[name])
            white[name][:, 0] = 1.0
    covered = np.abs(np.asarray(model.render(white)) - np.asarray(model.render(black))).max(axis=3) > 0.02
    (rows, columns), n = model.graph.grid or (1, 1), len(covered)
    blocks = covered.reshape(n, rows, model.size // rows, columns, model.size // columns)
    return blocks.mean(axis=(2, 4)).reshape(n, rows * columns)


def token_lift(
    weights: Float[np.ndarray, "n cells cells"],
    queries: Bool[np.ndarray, "n cells"],
    kin: Bool[np.ndarray, "cells cells"],
) -> float:
    """Attention on kin over what uniform attention to the other patches would put there; mean over queries.

    Args:
        weights: attention of each patch (row) to each (column), any scale per row.
        queries: which patches ask.
        kin: from :func:`kinship`.

    Raises:
        ValueError: no query has both kin and others.
    """
    others = weights * (1.0 - np.eye(len(kin)))
    mass = (others * kin).sum(axis=2) / others.sum(axis=2)
    uniform = kin.sum(axis=1) / (len(kin) - 1)
    return _mean(mass / np.maximum(uniform, 1e-12), queries & (kin.any(axis=1) & (uniform < 1)))


def token_auc(
    weights: Float[np.ndarray, "n cells cells"],
    queries: Bool[np.ndarray, "n cells"],
    kin: Bool[np.ndarray, "cells cells"],
    distances: Float[np.ndarray, "cells cells"] | None = None,
) -> float:
    """How often a patch attends more to kin than to a stranger; mean over queries, 0.5 is chance.

    Args:
        weights: attention of each patch (row) to each (column).
        queries: which patches ask.
        kin: from :func:`kinship`.
        distances: compare only patches that are equally far from the one that asks; ``None`` compares all.

    Raises:
        ValueError: no query has a pair to compare.
    """
    won, asked = np.zeros(queries.shape), np.zeros(queries.shape, dtype=bool)
    for query in range(len(kin)):
        near = np.flatnonzero(kin[query])
        far = np.flatnonzero(~kin[query] & (np.arange(len(kin)) != query))
        pairs = np.ones((len(near), len(far)), dtype=bool)
        if distances is not None:
            pairs = distances[query][near][:, None] == distances[query][far][None]
        first, second = np.nonzero(pairs)
        if len(first):
            a, b = weights[:, query, near[first]], weights[:, query, far[second]]
            won[:, query] = ((a > b) + 0.5 * (a == b)).mean(axis=1)
            asked[:, query] = queries[:, query]
    return _mean(won, asked)


def place_auc(weights: Float[np.ndarray, "n cells"], shares: Float[np.ndarray, "n cells"]) -> float:
    """How often a patch that is at least half object gets more attention than one without; mean over images.

    Raises:
        ValueError: no image has both.
    """
    scores = []
    for row, share in zip(weights, shares, strict=True):
        a, b = row[share >= 0.5][:, None], row[share == 0][None]
        if a.size and b.size:
            scores.append(((a > b) + 0.5 * (a == b)).mean())
    if not scores:
        raise ValueError("no image has both patches that are half object and patches without: use other sizes")
    return float(np.mean(scores))


def _mean(values: Float[np.ndarray, "n cells"], asked: Bool[np.ndarray, "n cells"]) -> float:
    if not asked.any():
        raise ValueError("no query has both kin and strangers to compare: use scenes of at least two objects")
    return float(values[asked].mean())
