"""The data of ``hlvm study``: what a file holds, or what draws a new generator for every key."""

from __future__ import annotations

import dataclasses
from typing import Any

from hlvm.cli.families import FAMILIES, image_model, mechanism_of
from hlvm.cli.input import check_has_graph, load_source
from hlvm.graph import LatentGraph

__all__ = ["DrawnImages", "DrawnModels", "load_study_data"]

_NOTHING_TO_DRAW = ("shapes",)
"""Families that have no mechanisms and no rules: all of one size are the same."""


@dataclasses.dataclass(frozen=True)
class DrawnModels:
    """Models on one graph, with mechanisms drawn at random; called with a typed key.

    Attributes:
        structure: the graph.
        mechanism: a name after --mechanism.
    """

    structure: LatentGraph
    mechanism: str

    def __call__(self, key: Any) -> Any:
        """The model of a key."""
        from hlvm.simulator import HierarchicalModel

        return HierarchicalModel.init(key, self.structure, mechanism_of(self.mechanism))


@dataclasses.dataclass(frozen=True)
class DrawnImages:
    """Image models of one family, with mechanisms or rules drawn at random; called with a typed key.

    Attributes:
        family: its name.
    """

    family: str

    def __call__(self, key: Any) -> Any:
        """The image model of a key."""
        return image_model(self.family, key)


def load_study_data(place: str, *, seed: int, generators: int, mechanism: str | None) -> Any:
    """The data of a study.

    Args:
        place: as for :func:`hlvm.cli.input.load_source`.
        seed: of what a family draws by itself, where there is one generator.
        generators: how many are wanted.
        mechanism: a name after --mechanism, or ``None``.

    Returns:
        A data set, which is to be closed, a model, an image model, a graph, or a function of a key that makes a model
        or an image model.

    Raises:
        OSError: it cannot be read.
        ValueError: nothing of this; no graph or no latents inside; or it does not go with the mechanism or the number
            of generators.
    """
    if mechanism is not None and place in FAMILIES:
        raise ValueError(f"--mechanism goes with graphs, not with {place}: leave it out")
    if place in FAMILIES and generators > 1:
        if place in _NOTHING_TO_DRAW:
            raise ValueError(
                f"{place} draws nothing anew for each generator, so all {generators} generators would be the same: set "
                "generators = 1"
            )
        return DrawnImages(place)
    found = load_source(place, seed=seed)
    if isinstance(found, LatentGraph):
        return _of_graph(found, place, mechanism)
    if mechanism is not None:
        _close(found)
        raise ValueError(f"--mechanism goes with graphs, and {place} is data already: leave it out")
    check_has_graph(found, place)
    if not getattr(found, "latents", True):
        _close(found)
        raise ValueError(f"{place} has no latents to score: hlvm sample writes them with the data")
    return found


def _of_graph(graph: LatentGraph, place: str, mechanism: str | None) -> Any:
    if mechanism is not None:
        return DrawnModels(graph, mechanism)
    if (problem := graph.invertible_dims_error()) is not None:
        raise ValueError(f"{place} allows no invertible mechanisms ({problem}): choose another --mechanism")
    return graph


def _close(source: Any) -> None:
    if hasattr(source, "close"):
        source.close()
