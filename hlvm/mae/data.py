"""Where training data comes from: generators of values or of images, and data sets, of which rows may be held out."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from hlvm.datasets import Dataset
from hlvm.graph import LatentGraph
from hlvm.simulator import HierarchicalModel

__all__ = [
    "ArrayData",
    "Generator",
    "ImageData",
    "Images",
    "Source",
    "TrainingData",
    "check_data",
    "draw_rows",
    "graph_of_patches",
    "hold_out",
    "images_of_rows",
    "rows_of_images",
    "standardization",
]

_STANDARDIZE_SAMPLES = 4096
_STANDARDIZE_ROWS = 16_384
_IMAGES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ArrayData:
    """Observed values to train on, and the graph that they come from.

    Attributes:
        graph: the latent graph; its observed variables are the columns, side by side in the graph's order. For images
            they are the pixels of the patches, whatever dims the data set's own graph gives to a patch.
        parts: arrays of n rows each, in memory or in a file, that make up a row: a single image array
            (n, height, width, channels), or one (n, dim) per observed variable.
        about: what is known of where they come from, for the record.
        positions: which rows of the parts these are, increasing; ``None`` for all.
    """

    graph: LatentGraph
    parts: tuple[Any, ...]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    positions: Int[np.ndarray, " n"] | None = None

    @classmethod
    def of(cls, data: Dataset) -> ArrayData:
        """The images, or else the observed values, of a data set.

        Raises:
            ValueError: a data set without a graph, images that the graph's grid does not divide, or observed values
                missing.
        """
        if data.graph is None:
            raise ValueError("the data set has no graph: load it with load_dataset(path, graph=...)")
        graph = data.graph
        if data.images is not None:
            graph = graph_of_patches(graph, data.images.shape[1:])
            return cls(graph=graph, parts=(data.images,), about=dict(data.about))
        missing = [name for name in graph.observed if name not in data.observed]
        if missing:
            raise ValueError(f"the data set has neither images nor values of {missing[0]!r}: all observed are needed")
        return cls(graph=graph, parts=tuple(data.observed[name] for name in graph.observed), about=dict(data.about))

    def __len__(self) -> int:
        return len(self.parts[0]) if self.positions is None else len(self.positions)

    def __repr__(self) -> str:
        return f"ArrayData({len(self)} rows of {self.graph})"

    @property
    def n_columns(self) -> int:
        """Numbers per row."""
        return len(self.graph.arrays.cell_of_column)

    def rows(self, positions: Sequence[int] | Int[np.ndarray, " k"]) -> Float[np.ndarray, "k columns"]:
        """Some rows, in any order, with repetitions allowed: (k, total observed dims), float32.

        Images of whole numbers are taken as 0 to 255 and scaled to [0, 1].

        Raises:
            ValueError: a value is not finite.
        """
        wanted, back = np.unique(np.asarray(positions), return_inverse=True)  # files want increasing positions
        if self.positions is not None:
            wanted = self.positions[wanted]
        found = [np.asarray(part[wanted]) for part in self.parts]
        if found[0].ndim == 4:
            found = [np.asarray(rows_of_images(found[0], self.graph))]
        with np.errstate(over="ignore"):  # found below
            values = np.concatenate(found, axis=1, dtype=np.float32)
        finite = np.isfinite(values)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            name = self.graph.observed[self.graph.arrays.cell_of_column[column]]
            raise ValueError(
                f"row {wanted[row]} of the data has the value {values[row, column]} in {name!r}: training needs finite "
                f"numbers of single precision, so leave such rows out or fill the gaps in"
            )
        return values[back]


@runtime_checkable
class Images(Protocol):
    """A generator of images whose patches are the observed variables of a graph: see :mod:`hlvm.images`."""

    @property
    def graph(self) -> LatentGraph:
        """The latent graph; its grid is the grid of patches."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image height, width and channels."""
        ...

    def sample(self, key: PRNGKeyArray, n: int) -> Any:
        """Draw ``n`` images, (n, height, width, channels), as the attribute ``images`` of what is returned."""
        ...


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["images"])
@dataclasses.dataclass(frozen=True, repr=False)
class ImageData:
    """Fresh images for every step; what :func:`~hlvm.mae.fit` makes of an image model.

    Attributes:
        images: what draws them. It is part of the compiled program.

    Raises:
        ValueError: images that the graph's grid does not divide.
    """

    images: Images

    def __post_init__(self) -> None:
        graph_of_patches(self.images.graph, self.images.shape)

    def __repr__(self) -> str:
        return f"ImageData({self.images!r})"

    @functools.cached_property
    def graph(self) -> LatentGraph:
        """The latent graph; its observed variables are the pixels of the patches."""
        return graph_of_patches(self.images.graph, self.images.shape)


Generator: TypeAlias = HierarchicalModel | ImageData
"""What draws fresh samples for every step."""

Source: TypeAlias = Generator | ArrayData
"""Where training data comes from: a generator, or rows."""

TrainingData: TypeAlias = Source | Dataset | Images
"""What a masked autoencoder can be trained on: a generator of values or images, or a data set with its graph."""


def check_data(data: Any) -> Source:
    """Training data; a :class:`~hlvm.datasets.Dataset` is taken by its images or observed values.

    Raises:
        ValueError: something else, images that the graph's grid does not divide, or parts of rows that do not fit
            together or to the graph.
    """
    if isinstance(data, Dataset):
        data = ArrayData.of(data)
    if isinstance(data, ArrayData):
        return _checked_parts(data)
    if isinstance(data, HierarchicalModel | ImageData):
        return data
    if isinstance(data, Images):
        return ImageData(data)
    raise ValueError(
        f"expected a HierarchicalModel, an image model or a Dataset to train on, got {type(data).__name__}"
    )


def _checked_parts(data: ArrayData) -> ArrayData:
    if not data.parts:
        raise ValueError("there are no rows to train on: fits are saved without the rows of their data set")
    counts = {len(part) for part in data.parts}
    if len(counts) != 1:
        raise ValueError(f"the parts of a data set need equally many rows, got {sorted(counts)}")
    if {part.ndim for part in data.parts} != {2} and [part.ndim for part in data.parts] != [4]:
        raise ValueError(
            f"the parts of a data set are arrays (n, dim), or one of images (n, height, width, channels), got shapes "
            f"{[tuple(part.shape) for part in data.parts][:5]}"
        )
    if not len(data):
        raise ValueError("the data set has no rows to train on")
    n_columns = sum(math.prod(part.shape[1:]) for part in data.parts)
    if n_columns != data.n_columns:
        raise ValueError(f"the data set has {n_columns} numbers per row, and the graph {data.n_columns}")
    return data


def draw_rows(generator: Generator, key: PRNGKeyArray, n: int) -> Float[Array, "n columns"]:
    """``n`` fresh rows of observed values, side by side in the graph's order; traced."""
    if isinstance(generator, HierarchicalModel):
        return generator.sample(key, n).observed_matrix
    return jnp.asarray(rows_of_images(generator.images.sample(key, n).images, generator.graph))


def hold_out(data: Source, n: int, key: PRNGKeyArray) -> tuple[Source, ArrayData | None]:
    """Split ``n`` rows off a data set, at random.

    Args:
        data: where training data comes from.
        n: rows to hold out; with 0 nothing is done.
        key: a typed key that the choice follows from.

    Returns:
        What is left to train on, and the rows held out.

    Raises:
        ValueError: a generator, or too few rows.
    """
    if n == 0:
        return data, None
    if not isinstance(data, ArrayData):
        raise ValueError(
            f"TrainConfig: held_out={n} is for data sets: a generator draws fresh samples for every step, so that "
            f"its training loss is one of samples never seen; leave held_out at 0"
        )
    if n >= len(data):
        raise ValueError(f"TrainConfig: held_out={n} leaves none of the {len(data)} rows to train on: use fewer")
    words = np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist()
    order = np.random.default_rng([*words, len(data)]).permutation(len(data))
    of_parts = np.arange(len(data)) if data.positions is None else data.positions
    held, kept = (dataclasses.replace(data, positions=of_parts[np.sort(part)]) for part in np.split(order, [n]))
    return kept, held


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
    dims = graph.dims[: graph.n_latents] + ((height // rows) * (width // columns) * channels,) * graph.n_observed
    return graph if dims == graph.dims else dataclasses.replace(graph, dims=dims)


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


def images_of_rows(
    values: Float[Array | np.ndarray, "n columns"], graph: LatentGraph, shape: tuple[int, int, int]
) -> Float[Array | np.ndarray, "n h w c"]:
    """Images of a height, width and number of channels: the inverse of :func:`rows_of_images`."""
    rows, columns = graph.grid or (1, 1)
    height, width, channels = shape
    patches = values.reshape(len(values), rows, columns, height // rows, width // columns, channels)
    return patches.transpose(0, 1, 3, 2, 4, 5).reshape(len(values), height, width, channels)


def standardization(data: Source, key: PRNGKeyArray) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
    """Mean and standard deviation of every observed column; 1 for a constant column.

    Estimated from 4,096 samples of a generator, or from at most 16,384 rows of a data set, evenly spaced.
    """
    if isinstance(data, HierarchicalModel):
        return _of_generator(data, key)
    if isinstance(data, ImageData):
        return _of_images(data, key)
    rows = data.rows(np.linspace(0, len(data) - 1, min(len(data), _STANDARDIZE_ROWS)).astype(np.int64))
    spread = rows.std(axis=0, dtype=np.float64)
    return jnp.asarray(rows.mean(axis=0, dtype=np.float64), jnp.float32), jnp.asarray(
        np.where(spread > 0, spread, 1.0), jnp.float32
    )


@jax.jit
def _of_generator(
    model: HierarchicalModel, key: PRNGKeyArray
) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
    values = model.sample(key, _STANDARDIZE_SAMPLES).observed_matrix
    spread = values.std(axis=0)
    return values.mean(axis=0), jnp.where(spread > 0, spread, 1.0)


@jax.jit
def _of_images(data: ImageData, key: PRNGKeyArray) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
    """In parts, since images may be large."""

    def moments(part_key: PRNGKeyArray) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
        values = draw_rows(data, part_key, _IMAGES_AT_ONCE)
        return values.mean(axis=0), values.var(axis=0)

    means, variances = jax.lax.map(moments, jax.random.split(key, _STANDARDIZE_SAMPLES // _IMAGES_AT_ONCE))
    spread = jnp.sqrt(variances.mean(axis=0) + means.var(axis=0))
    return means.mean(axis=0), jnp.where(spread > 0, spread, 1.0)
