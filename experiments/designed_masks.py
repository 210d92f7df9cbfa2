"""Targets on a quadtree, the masks designed for them, and what masks and losses ask for, from the graph alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from hlvm.graph import LatentGraph
from hlvm.masking import FixedMask, MaskSampler
from hlvm.theory import DesignedMask, design_mask, design_strategy


def targets(graph: LatentGraph) -> dict[str, tuple[str, ...]]:
    """The root; the root and one latent right below it; the root and all latents right below it."""
    root, *below = [name for name in graph.latents if graph.height(name) >= graph.height(graph.latents[0]) - 1]
    return {"root": (root,), "one quarter": (root, below[1]), "all quarters": (root, *below)}


def dim_of(graph: LatentGraph, target: tuple[str, ...]) -> int:
    """Numbers in a target that is closed under parents: the noises of its latents."""
    return sum(graph.noise_dim(latent) for latent in target)


def designed(graph: LatentGraph, target: tuple[str, ...]) -> tuple[Any, str]:
    """A strategy whose every mask shares exactly the target, or else the smallest such mask; and what it is.

    Raises:
        ValueError: no mask shares exactly the target.
    """
    best = design_strategy(graph, target)[0]
    if best.probability == 1.0:
        return best.strategy, best.description
    found = design_mask(graph, target)
    if not isinstance(found, DesignedMask):
        raise ValueError(found.reason)
    return FixedMask(masked=found.masked), f"always the same {len(found.masked)} cells"


def shares(graph: LatentGraph, target: tuple[str, ...], strategy: MaskSampler) -> dict[str, float]:
    """How often masks share the target exactly, how often at least, and how many latents are missing or too many."""
    match = design_strategy(graph, target, candidates=[strategy])[0]
    return {"exactly": match.probability, "at least": match.contained, "missing": match.missing, "extra": match.extra}


def by_height(graph: LatentGraph, values: Mapping[str, float]) -> dict[int, float]:
    """Mean over the latents of each height."""
    heights = {graph.height(name) for name in graph.latents}
    return {h: float(np.mean([values[name] for name in graph.latents if graph.height(name) == h])) for h in heights}


def touching(masks: Bool[np.ndarray, "n cells"], grid: tuple[int, int]) -> Bool[np.ndarray, "n cells"]:
    """Cells of which at least one of the eight neighbours is visible, or that are visible themselves."""
    near = ndimage.binary_dilation(~masks.reshape(-1, *grid), np.ones((1, 3, 3)))
    return near.reshape(masks.shape)


def lowest_shared(graph: LatentGraph, masks: Bool[np.ndarray, "n cells"]) -> Float[np.ndarray, "n cells"]:
    """Height of every cell's lowest ancestor that has a visible descendant; infinite where there is none."""
    found = np.full(masks.shape, np.inf)
    for name in graph.latents:
        below = np.asarray([name in graph.ancestors(cell) for cell in graph.observed])
        hidden_below = np.asarray(masks[:, below].all(axis=1, keepdims=True))
        found = np.where(~hidden_below & below, np.minimum(found, graph.height(name)), found)
    return found
