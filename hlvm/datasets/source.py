"""Sources that data can be drawn from, and the named arrays of one draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from jaxtyping import PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.images.base import ImageSample
from hlvm.simulator import Sample

__all__ = ["Arrays", "Source", "drawn_arrays"]

Arrays: TypeAlias = dict[tuple[str, str], np.ndarray]
"""Arrays of one draw by part and name, such as ``("latents", "z1_0")``; images have the name ``""``."""


class Source(Protocol):
    """Anything to draw from: an image model, or a :class:`~hlvm.simulator.HierarchicalModel`."""

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        ...

    def sample(self, key: PRNGKeyArray, n: int) -> Any:
        """Draw ``n`` samples: an :class:`~hlvm.images.ImageSample` or a :class:`~hlvm.simulator.Sample`."""
        ...


def drawn_arrays(drawn: Any) -> Arrays:
    """The named NumPy arrays of one draw, the first axis of each being the samples.

    Raises:
        ValueError: neither an image sample nor a sample of a hierarchical model.
    """
    if isinstance(drawn, ImageSample):
        parts: dict[str, Mapping[str, Any]] = {
            "images": {"": drawn.images},
            "latents": drawn.latents,
            "noise": drawn.noise,
        }
    elif isinstance(drawn, Sample):
        parts = {"latents": drawn.latents, "observed": drawn.observed, "noise": drawn.noise}
    else:
        raise ValueError(
            f"the source drew a {type(drawn).__name__}: expected an hlvm.images.ImageSample or an hlvm.simulator.Sample"
        )
    return {(part, name): np.array(values) for part, named in parts.items() for name, values in named.items()}
