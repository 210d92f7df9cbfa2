"""Simulate hierarchical latent variable models and check what a masked autoencoder recovers of them.

``import hlvm`` is cheap: everything is imported when it is first used, for example ``hlvm.LatentGraph``,
``hlvm.mae.fit`` or ``hlvm.scoring.kernel_r2``.
"""

from __future__ import annotations

import importlib

from hlvm._version import __version__

TYPE_CHECKING = False  # the command wants to answer Ctrl-C before anything is imported, even typing
if TYPE_CHECKING:
    from typing import Any

    from hlvm import (
        claims,
        cli,
        datasets,
        demo,
        encoders,
        explore,
        graph,
        images,
        mae,
        masking,
        mechanisms,
        plotting,
        report,
        scoring,
        simulator,
        study,
        testing,
        theory,
    )
    from hlvm.graph import LatentGraph
    from hlvm.simulator import HierarchicalModel, Sample

__all__ = [
    "HierarchicalModel",
    "LatentGraph",
    "Sample",
    "__version__",
    "claims",
    "cli",
    "datasets",
    "demo",
    "encoders",
    "explore",
    "graph",
    "images",
    "mae",
    "masking",
    "mechanisms",
    "plotting",
    "report",
    "scoring",
    "simulator",
    "study",
    "testing",
    "theory",
]

_CLASSES = {"HierarchicalModel": "simulator", "LatentGraph": "graph", "Sample": "simulator"}


def __getattr__(name: str) -> Any:
    """Import a public module or class on first use."""
    if name in _CLASSES:
        return getattr(importlib.import_module(f"hlvm.{_CLASSES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"hlvm.{name}")
    raise AttributeError(f"module 'hlvm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
