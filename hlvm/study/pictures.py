"""Pictures of samples, of what an encoder saw of them, and of reconstructions: of images, and of any other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from hlvm.graph import LatentGraph
from hlvm.mae.pixels import images_of_rows
from hlvm.plotting import MASKED_RGB

__all__ = ["Pictures", "pictures_of"]

_STRIP = 0.4
"""Height over width of data that has no grid."""


class Pictures(NamedTuple):
    """Pictures for :func:`hlvm.plotting.plot_reconstructions`.

    Attributes:
        samples: shape (n, h, w, 3), values in [0, 1].
        arms: name -> what was seen, and what was made of it or ``None``; shaped as ``samples``.
        proportion: height of a picture over its width; ``None`` for square pixels.
    """

    samples: Float[np.ndarray, "n h w 3"]
    arms: dict[str, tuple[np.ndarray, np.ndarray | None]]
    proportion: float | None


def pictures_of(graph: LatentGraph, pictures: Sequence[Mapping[str, Any]]) -> Pictures:
    """Turn rows of columns into pictures.

    Images are shown as they are. Of other data each number is a grey patch, from the lowest to the highest of the
    samples but for one in fifty at either end: cell by cell where the graph has a grid, side by side otherwise.

    Args:
        graph: the latent graph.
        pictures: as :class:`hlvm.study.StudyResult` has them, of the same samples; at least one.
    """
    rows = np.asarray(pictures[0]["rows"], float)
    shape = pictures[0].get("shape")
    n_cells = len(pictures[0]["masked"][0])
    sizes = _sizes(graph, rows.shape[1], n_cells)
    low, high = (0.0, 1.0) if shape else np.percentile(rows, [2, 98])

    def drawn(values: Float[np.ndarray, "n columns"], scaled: bool = True) -> Float[np.ndarray, "n h w 3"]:
        grey = (values - low) / max(high - low, 1e-12) if scaled else values
        if shape:
            found = np.asarray(images_of_rows(grey, graph, (int(shape[0]), int(shape[1]), int(shape[2]))))
            found = found if found.shape[3] == 3 else found.mean(axis=3, keepdims=True)
        else:
            found = _on_grid(grey, sizes, graph.grid or (1, n_cells))[..., None]
        return np.broadcast_to(found, (*found.shape[:3], 3))

    arms: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for one in pictures:
        hidden: Bool[np.ndarray, "n columns"] = np.repeat(np.asarray(one["masked"], bool), sizes, axis=1)
        seen = np.where(drawn(hidden.astype(float), scaled=False) > 0.5, MASKED_RGB, drawn(np.asarray(one["rows"])))
        made = np.asarray(one["reconstructed"], float)
        arms[one["arm"]] = (seen, drawn(made) if made.size else None)
    down, across = graph.grid or (_STRIP, 1)
    return Pictures(drawn(rows), arms, None if shape else down / across)


def _sizes(graph: LatentGraph, columns: int, n_cells: int) -> list[int]:
    """Columns of every observed variable; of images all have the same number of pixels."""
    dims = [graph.dims[graph.nodes.index(name)] for name in graph.observed]
    return dims if sum(dims) == columns and len(dims) == n_cells else [columns // n_cells] * n_cells


def _on_grid(
    values: Float[np.ndarray, "n columns"], sizes: Sequence[int], grid: tuple[int, int]
) -> Float[np.ndarray, "n h w"]:
    """Each cell as a block of its numbers, as square as it can be full; NaN where other cells have more numbers."""
    most = max(sizes)
    down = max(rows for rows in range(1, int(np.sqrt(most)) + 1) if most % rows == 0)
    across = most // down
    blocks = np.full((len(values), len(sizes), down * across), np.nan)
    start = 0
    for cell, size in enumerate(sizes):
        blocks[:, cell, :size] = values[:, start : start + size]
        start += size
    rows, columns = grid
    return (
        blocks.reshape(len(values), rows, columns, down, across)
        .transpose(0, 1, 3, 2, 4)
        .reshape(len(values), rows * down, columns * across)
    )
