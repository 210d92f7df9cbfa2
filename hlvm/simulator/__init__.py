"""Hierarchical latent variable models: a graph with a mechanism at every variable, ready to sample, invert and change.

Variables of the same depth that share a mechanism and dims are computed together: one batched call per such *level
group*, however many variables it holds.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.simulator.model import HierarchicalModel
from hlvm.simulator.sample import Sample

__all__ = ["HierarchicalModel", "Sample"]
