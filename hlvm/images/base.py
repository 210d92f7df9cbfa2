"""Base of all families of toy images: a graph whose observed variables are patches; images with their latents."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.simulator.layout import Leaf
from hlvm.simulator.sample import side_by_side

__all__ = ["ImageModel", "ImageSample", "Images", "latents_of_patches"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["images", "latents", "noise"], meta_fields=["graph"])
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageSample:
    """Images with every latent behind them.

    Attributes:
        images: shape (n, height, width, channels), values in [0, 1].
        latents: name of each latent of the graph -> its values, (n, dim). Categories are whole numbers.
        graph: the graph that was sampled; its observed variables are the patches of the image, row by row.
        noise: name of each variable -> the noise that entered there, (n, noise size), as in
            :attr:`hlvm.simulator.Sample.noise`. Of scenes for latents only; empty where there is none of its own, as in
            grammars, whose latents hold their noise, and where images were not drawn.
    """

    images: Leaf
    latents: Mapping[str, Leaf]
    graph: LatentGraph
    noise: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return self.images.shape[0]

    def latent_matrix(self, names: Sequence[str] | None = None) -> Float[Array, "n dims"]:
        """Latents side by side, for scoring; ``None`` takes all, in the graph's order.

        Raises:
            ValueError: an unknown name, or none.
        """
        return side_by_side(self.latents, names)

    def __repr__(self) -> str:
        return f"ImageSample(images {self.images.shape} of {self.graph})"


@runtime_checkable
class Images(Protocol):
    """A generator of images whose patches are the observed variables of a graph."""

    @property
    def graph(self) -> LatentGraph:
        """The latent graph; its grid is the grid of patches, and an edge says that a latent can change a patch."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image height, width and channels; height and width are multiples of the grid's sides."""
        ...

    def sample(self, key: PRNGKeyArray, n: int) -> Any:
        """Draw ``n`` images, (n, height, width, channels), as the attribute ``images`` of what is returned."""
        ...


class ImageModel(Images, Protocol):
    """A generator of toy images whose latents are known."""

    @property
    def n_values(self) -> Mapping[str, int | tuple[int, ...]]:
        """Latent -> number of categories of its dims, one for all or one each.

        Categories are whole numbers from 0 up. Latents with other values do not occur.
        """
        ...

    def sample(self, key: Any, n: int, *, do: Mapping[str, Any] | None = None) -> ImageSample:
        """Draw ``n`` independent images with their latents.

        Args:
            key: a JAX key or an int.
            n: number of images, at least 1.
            do: latent -> the values it is set to, (dim,) or (n, dim); the latents below it follow.
        """
        ...


def latents_of_patches(graph: LatentGraph) -> dict[str, frozenset[str]]:
    """For each patch, the latents that can change it.

    Args:
        graph: the graph of an image model.

    Returns:
        Name of each observed variable to the names of its ancestors.
    """
    return {name: graph.ancestors(name) for name in graph.observed}
