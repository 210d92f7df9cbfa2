"""Images as rows of numbers: the pixels of their patches are the observed variables."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Array, Float, Shaped

from hlvm.graph import LatentGraph

__all__ = ["check_pixels", "graph_of_patches", "images_of_rows", "rows_of_images"]

_ROUNDING = 1e-3


def graph_of_patches(graph: LatentGraph, shape: tuple[int, ...]) -> LatentGraph:
    """The graph whose observed variables are the pixels of patches.

    A graph may count a patch as something else: a symbol of a grammar is one number, and many pixels.

    Args:
        graph: a graph whose grid is the grid of patches.
        shape: height, width and channels of an image.

    Raises:
        ValueError: the graph has no grid, or the patches do not fill the image.
    """
    height, width, channels = shape
    if graph.grid is None:
        raise ValueError("images need a graph with a grid: build it with grid=(rows, columns)")
    rows, columns = graph.grid
    if height % rows or width % columns:
        raise ValueError(f"a {rows} x {columns} grid of patches does not fill images of {height} x {width} pixels")
    dims = graph.arrays.dims.copy()
    dims[graph.n_latents :] = (height // rows) * (width // columns) * channels
    same = bool((dims == graph.arrays.dims).all())
    return graph if same else dataclasses.replace(graph, arrays=dataclasses.replace(graph.arrays, dims=dims))


def rows_of_images(
    images: Shaped[Array | np.ndarray, "n h w c"], graph: LatentGraph
) -> Float[Array | np.ndarray, "n columns"]:
    """Pixels patch by patch, row by row of the grid; NumPy or JAX.

    Whole numbers are taken as 0 to 255 and scaled to [0, 1].
    """
    if images.dtype.kind in "iu":
        images = images / np.float32(255)
    rows, columns = graph.grid or (1, 1)
    n, height, width, channels = images.shape
    patches = images.reshape(n, rows, height // rows, columns, width // columns, channels)
    return patches.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * width * channels)


def check_pixels(images: Shaped[np.ndarray, "n h w c"]) -> None:
    """Refuse images in other units than [0, 1], which are those that whole numbers from 0 to 255 become.

    Raises:
        ValueError: some values lie elsewhere.
    """
    whole = images.dtype.kind in "iu"
    low, high = (0, 255) if whole else (-_ROUNDING, 1 + _ROUNDING)
    if images.size and (images.min() < low or images.max() > high):
        kind, wanted = ("whole numbers", "0 to 255") if whole else ("floats", "0 to 1")
        raise ValueError(
            f"images of {kind} hold values from {wanted}, these go from {images.min():g} to {images.max():g}: scale "
            f"them, or give them as uint8; training standardises every pixel by itself"
        )


def images_of_rows(
    values: Float[Array | np.ndarray, "n columns"], graph: LatentGraph, shape: tuple[int, int, int]
) -> Float[Array | np.ndarray, "n h w c"]:
    """Images of a height, width and number of channels: the inverse of :func:`rows_of_images`."""
    rows, columns = graph.grid or (1, 1)
    height, width, channels = shape
    patches = values.reshape(len(values), rows, columns, height // rows, width // columns, channels)
    return patches.transpose(0, 1, 3, 2, 4, 5).reshape(len(values), height, width, channels)
