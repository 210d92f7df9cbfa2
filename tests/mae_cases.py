"""Mask strategies and networks that several tests of masked autoencoders share; the graph is a quadtree of 4 x 4."""

import dataclasses
import inspect

import jax
import numpy as np

from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, LinearConfig, ViTConfig
from hlvm.masking import (
    BernoulliMask,
    BlockMask,
    FixedMask,
    GridMask,
    MaskList,
    RandomMask,
    RatioRange,
    SubtreeMask,
)
from hlvm.theory import design_mask

GRAPH = LatentGraph.quadtree(2)
SMALL_VIT = ViTConfig(width=8, depth=2, heads=2, decoder_width=8)
SMALL_BOTTLENECK = BottleneckConfig(code_dim=3, width=16)


@dataclasses.dataclass(frozen=True)
class Rows:
    """A strategy of a user's own, in NumPy: hides one or two whole rows of the grid."""

    most: int = 2

    def sample(self, key, n, graph):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        rows, columns = graph.grid
        hidden = np.zeros((n, rows, columns), dtype=bool)
        for mask in hidden:
            mask[rng.choice(rows, size=rng.integers(1, self.most + 1), replace=False)] = True
        return hidden.reshape(n, -1)


SAME_COUNT = {
    "cells": RandomMask(ratio=0.5),
    "blocks": RandomMask(ratio=0.5, unit=2),
    "strips": RandomMask(ratio=0.5, unit=(1, 4)),
    "rectangle of units": BlockMask(ratio=0.5, unit=2),
    "lattice": GridMask(keep_every=(1, 2)),
    "subtrees": SubtreeMask(height=1, ratio=0.5),
    "fixed": FixedMask(masked=("x_0_0", "x_1_2", "x_1_3", "x_2_0", "x_2_1", "x_3_0", "x_3_1", "x_3_3")),
}
"""All of these hide 8 of the 16 cells."""

OTHER_COUNTS = {
    "rectangle": BlockMask(ratio=0.5),
    "chance": BernoulliMask(ratio=0.4),
    "chance of units": BernoulliMask(ratio=0.4, unit=2),
    "range": RatioRange(low=0.2, high=0.9),
    "range of units": RatioRange(low=0.25, high=0.75, unit=2),
    "list": MaskList.of(GRAPH, np.tri(15, 16, dtype=bool)),
    "designed": design_mask(GRAPH, ["z2_0_0", "z1_0_0"]),
    "own": Rows(),
}

STRATEGIES = SAME_COUNT | OTHER_COUNTS

NETWORKS = {
    "linear": LinearConfig(code_dim=3),
    "bottleneck": SMALL_BOTTLENECK,
    "bottleneck with a transformer": dataclasses.replace(SMALL_BOTTLENECK, encoder=SMALL_VIT),
    "vit": SMALL_VIT,
}


def untyped(cls, **fields):
    """Make a settings object without the type checks of tests, as users make it."""
    made = object.__new__(cls)
    inspect.unwrap(cls.__init__)(made, **fields)
    return made
