"""How exactly are latents and noises recovered from observed values? Largest errors of `HierarchicalModel.invert`.

Predicted: sampling in float32 rounds at every level, and the inverse multiplies that by its derivative. So errors are
largest where mechanisms are steep and few variables tell of a latent: the binary tree with the default slope, and most
of all a chain with a single observed variable.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from experiments.script import script
from hlvm.graph import LatentGraph
from hlvm.mechanisms import InvertibleMLP
from hlvm.simulator import HierarchicalModel

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        height: height of the graphs, at least 1.
        seeds: models of every kind but the quadtree, at least 1.
        rows: samples of every model, at least 1; a quarter for the quadtree.
    """

    height: int = 6
    seeds: int = 6
    rows: int = 64


SMOKE = Config(height=2, seeds=1, rows=8)


def cases(height: int) -> dict[str, tuple[LatentGraph, InvertibleMLP]]:
    """What is inverted, by name."""
    tree = LatentGraph.tree(2, height)
    return {
        "quadtree": (LatentGraph.quadtree(height), InvertibleMLP()),
        "binary tree, slope=0.4": (tree, InvertibleMLP(slope=0.4)),
        "binary tree, slope=0.3": (tree, InvertibleMLP(slope=0.3)),
        'binary tree, activation="smooth"': (tree, InvertibleMLP(activation="smooth")),
        "binary tree": (tree, InvertibleMLP()),
        "chain with one observed variable": (LatentGraph.tree(1, height), InvertibleMLP()),
    }


def run(config: Config) -> list[Record]:
    """Largest errors of every seed."""
    found = []
    for name, (graph, mechanism) in cases(config.height).items():
        large = name == "quadtree"
        errors = []
        for seed in range(1 if large else config.seeds):
            model = HierarchicalModel.init(jax.random.key(seed), graph, mechanism)
            drawn = model.sample(jax.random.key(100 + seed), max(1, config.rows // 4) if large else config.rows)
            back = model.invert(drawn)
            latents = max(np.abs(back.latents[z] - drawn.latents[z]).max() for z in graph.latents)
            errors.append((float(latents), float(np.abs(back.noises - drawn.noises).max())))
        found.append(
            {
                "case": name,
                "variables": len(graph.nodes),
                "latents": [latent for latent, _ in errors],
                "noises": [noise for _, noise in errors],
            }
        )
    return found


if __name__ == "__main__":
    script("inversion", __doc__, lambda config: {"records": run(config)}, smoke=SMOKE, laptop=Config())
