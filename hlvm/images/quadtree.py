"""Quadtree fields: grey images whose latents own nested squares, invertible from pixels.

The root sets what the whole image has in common, each latent below it what one quarter of its parent's square has in
common, and every cell of the finest grid is drawn as a small block of pixels, one pixel per dim.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from hlvm._numbers import positive
from hlvm.graph import LatentGraph
from hlvm.images.base import ImageSample
from hlvm.mechanisms import InvertibleMLP, Mechanism
from hlvm.simulator import HierarchicalModel

__all__ = ["QuadtreeImages"]

_CONTRAST = 1.702
"""Slope at which the logistic function comes closest to the normal distribution function, so that standard normal
values become nearly uniform grey levels."""

_HEIGHTS = {8: 2, 16: 3, 32: 3, 64: 4}
"""Size in pixels -> levels below the root."""


@dataclasses.dataclass(frozen=True, eq=False)
class QuadtreeImages:
    """Grey toy images from a hierarchical model over a grid.

    Attributes:
        model: the generator; its graph has a grid and cells of equal dims.

    Raises:
        ValueError: the graph has no grid, or its cells differ in dims.

    Example:
        >>> images = QuadtreeImages.init(jax.random.key(0), height=2)
        >>> images.shape
        (8, 8, 1)
    """

    model: HierarchicalModel

    def __post_init__(self) -> None:
        graph = self.model.graph
        if graph.grid is None:
            raise ValueError("images need a graph whose observed variables form a grid: use LatentGraph.quadtree")
        if len({graph.dim(name) for name in graph.observed}) > 1:
            raise ValueError("images need cells of equal dims: every cell is drawn as a block of as many pixels")

    @classmethod
    def init(
        cls,
        key: Any,
        *,
        height: int,
        root_dim: int | None = None,
        noise_dim: int = 1,
        mechanism: Mechanism | None = None,
    ) -> QuadtreeImages:
        """Draw a quadtree image generator.

        Args:
            key: a JAX key or an int, for the mechanisms' parameters.
            height: levels below the root; the image has ``4**height`` cells.
            root_dim: dims of the root; ``None`` for the fewest with which cells, and so the image, are square.
            noise_dim: noise dims of every other variable.
            mechanism: the structural function everywhere; the default is :class:`~hlvm.mechanisms.InvertibleMLP`.

        Raises:
            ValueError: sizes out of range.
        """
        if root_dim is None:
            entered = positive(height, "height") * positive(noise_dim, "noise_dim")
            root_dim = (math.isqrt(entered) + 1) ** 2 - entered
        graph = LatentGraph.quadtree(height, root_dim=root_dim, noise_dim=noise_dim)
        return cls(HierarchicalModel.init(key, graph, mechanism or InvertibleMLP()))

    @classmethod
    def of_size(cls, key: Any, size: int, *, mechanism: Mechanism | None = None) -> QuadtreeImages:
        """Draw a generator of square images of a given size, with square cells of 2 × 2 or 4 × 4 pixels.

        The number of levels and the dims follow: root and noise dims are as equal as they can be.

        Args:
            key: a JAX key or an int, for the mechanisms' parameters.
            size: pixels along each side: 8, 16, 32 or 64.
            mechanism: as in :meth:`init`.

        Raises:
            ValueError: another size.

        Example:
            >>> QuadtreeImages.of_size(jax.random.key(0), 32).shape
            (32, 32, 1)
        """
        if size not in _HEIGHTS:
            raise ValueError(f"size must be one of {', '.join(map(str, _HEIGHTS))} pixels, got {size!r}")
        height = _HEIGHTS[size]
        pixels = (size // 2**height) ** 2
        noise_dim = pixels // (height + 1)
        return cls.init(
            key, height=height, root_dim=pixels - height * noise_dim, noise_dim=noise_dim, mechanism=mechanism
        )

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self.model.graph

    @property
    def cell_pixels(self) -> tuple[int, int]:
        """Pixel rows and columns of a cell: the most nearly square block with one pixel per dim."""
        dim = self.graph.dim(self.graph.observed[0])
        rows = max(r for r in range(1, int(dim**0.5) + 1) if dim % r == 0)
        return rows, dim // rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image height, width and channels."""
        rows, columns = self._grid
        tall, wide = self.cell_pixels
        return rows * tall, columns * wide, 1

    @property
    def _grid(self) -> tuple[int, int]:
        grid = self.graph.grid
        assert grid is not None  # for the type checker: checked when the images were made
        return grid

    @property
    def n_values(self) -> Mapping[str, int]:
        """No latent is a category."""
        return {}

    def sample(self, key: Any, n: int, *, do: Mapping[str, Any] | None = None) -> ImageSample:
        """Draw images together with every latent and noise behind them.

        For the observed values as well, draw a sample of :attr:`model` and :meth:`render` its ``observed_matrix``.

        Args:
            key: a JAX key or an int.
            n: number of images, at least 1.
            do: what is done to variables, see :meth:`HierarchicalModel.intervene
                <hlvm.simulator.HierarchicalModel.intervene>`: for example, latent -> the values it is set to, (dim,)
                or (n, dim).

        Returns:
            Images with values in (0, 1), their latents, and the noise of every variable.

        Raises:
            ValueError: ``n`` is below 1, or an unknown variable or values of another shape.
        """
        sample = (self.model.intervene(do) if do else self.model).sample(key, n)
        images = self.render(sample.observed_matrix)
        return ImageSample(images=images, latents=dict(sample.latents), graph=self.graph, noise=dict(sample.noise))

    def render(self, observed: Float[Array, "n columns"]) -> Float[Array, "n h w 1"]:
        """Images of observed values, given side by side as in ``Sample.observed_matrix``; values in [0, 1]."""
        return self.block(jax.nn.sigmoid(_CONTRAST * observed))

    def block(self, columns: Shaped[Array, "n columns"]) -> Shaped[Array, "n h w 1"]:
        """Place one number per observed column where its pixel is: values, masks or errors as pictures."""
        (rows, wide_cells), (tall, wide) = self._grid, self.cell_pixels
        if columns.ndim != 2 or columns.shape[1] != rows * wide_cells * tall * wide:
            raise ValueError(
                f"expected shape (n, {rows * wide_cells * tall * wide}), one column per observed dim, "
                f"got {columns.shape}"
            )
        blocks = columns.reshape(-1, rows, wide_cells, tall, wide)
        return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, *self.shape)

    def unrender(self, images: Float[Array | np.ndarray, "n h w 1"]) -> Float[Array, "n columns"]:
        """Observed values of images: the inverse of :meth:`render`.

        Raises:
            ValueError: images of another shape, or values outside (0, 1).
        """
        array = jnp.asarray(images)
        if array.shape[1:] != self.shape:
            raise ValueError(f"images must have shape (n, {', '.join(map(str, self.shape))}), got {array.shape}")
        if not bool(((array > 0) & (array < 1)).all()):
            raise ValueError("grey levels must lie strictly between 0 and 1")
        (rows, columns), (tall, wide) = self._grid, self.cell_pixels
        blocks = array.reshape(-1, rows, tall, columns, wide).transpose(0, 1, 3, 2, 4)
        return jax.scipy.special.logit(blocks.reshape(len(array), -1)) / _CONTRAST
