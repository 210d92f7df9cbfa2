"""Simulate hierarchical latent variable models and check what a masked autoencoder recovers of them.

``import hlvm`` is cheap: everything but :class:`LatentGraph` is imported when it is first used, for example
``hlvm.HierarchicalModel``, ``hlvm.mae.fit`` or ``hlvm.scoring.kernel_r2``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm import (
        claims,
        datasets,
        graph,
        images,
        mae,
        masking,
        mechanisms,
        plotting,
        scoring,
        simulator,
        testing,
        theory,
    )
    from hlvm.simulator import HierarchicalModel, Sample

__all__ = [
    "HierarchicalModel",
    "LatentGraph",
    "Sample",
    "__version__",
    "claims",
    "datasets",
    "graph",
    "images",
    "mae",
    "masking",
    "mechanisms",
    "plotting",
    "scoring",
    "simulator",
    "testing",
    "theory",
]

__version__ = "0.1.0"

_FROM_SIMULATOR = ("HierarchicalModel", "Sample")


def __getattr__(name: str) -> Any:
    """Import a public module, or a class of the simulator, on first use."""
    if name in _FROM_SIMULATOR:
        return getattr(importlib.import_module("hlvm.simulator"), name)
    if name in __all__:
        return importlib.import_module(f"hlvm.{name}")
    raise AttributeError(f"module 'hlvm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
