"""Where training data comes from: generators of values or of images, and data sets, of which rows may be held out."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from hlvm._numbers import UsageError, as_numbers
from hlvm.datasets import Dataset
from hlvm.datasets.opening import open_data
from hlvm.graph import LatentGraph
from hlvm.images import ImageSample
from hlvm.images.base import Images
from hlvm.mae.pixels import check_pixels, graph_of_patches, rows_of_images
from hlvm.mae.training import units
from hlvm.mae.training.units import Columns
from hlvm.simulator import HierarchicalModel, Sample

__all__ = [
    "ArrayData",
    "Generator",
    "ImageData",
    "Images",
    "Source",
    "TrainingData",
    "as_source",
    "check_data",
    "draw_rows",
    "hold_out",
    "some_rows",
    "standardization",
]

_STANDARDIZE_SAMPLES = 4096
_STANDARDIZE_ROWS = 16_384
_IMAGES_AT_ONCE = 256
_FEWEST_STEPS = 32
"""A column of floats whose values span fewer steps of its dtype, and are not all equal, has lost most of them: those of
a normal law with a standard deviation of four steps."""


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
    def of(cls, data: Dataset | Sample | ImageSample, graph: LatentGraph | None = None) -> ArrayData:
        """The images, or else the observed values, of a data set or a sample.

        Args:
            data: the data set or the sample.
            graph: the graph of a data set that has none.

        Raises:
            ValueError: a data set without a graph, images that the graph's grid does not divide, or observed values
                missing.
        """
        if isinstance(data, Sample):
            return cls(graph=data.graph, parts=tuple(data.observed[name] for name in data.graph.observed))
        if isinstance(data, ImageSample):
            return cls(graph=graph_of_patches(data.graph, data.images.shape[1:]), parts=(data.images,))
        graph = graph if data.graph is None else data.graph
        if graph is None:
            raise ValueError(
                "the data set has no graph, which says what can be masked: give graph= to Dataset.from_arrays or "
                "load_dataset"
            )
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
            ValueError: as :meth:`numbers`.
        """
        return self.numbers(positions).astype(np.float32, copy=False)

    def numbers(self, positions: Sequence[int] | Int[np.ndarray, " k"]) -> Float[np.ndarray, "k columns"]:
        """Some rows in the precision that they came in: float32, or float64 where that would round them.

        Raises:
            ValueError: a value that is no finite number of single precision, or an image outside of [0, 1].
        """
        wanted, back = np.unique(np.asarray(positions), return_inverse=True)  # files want increasing positions
        if self.positions is not None:
            wanted = self.positions[wanted]
        found = [as_numbers(name, part[wanted]) for name, part in zip(self.names, self.parts, strict=True)]
        if found[0].ndim == 4:
            check_pixels(found[0])
            found = [np.asarray(rows_of_images(found[0], self.graph))]
        exact = all(np.can_cast(part.dtype, np.float32) for part in found)
        values = np.concatenate(found, axis=1, dtype=np.float32 if exact else np.float64)
        refused = ~(np.abs(values) <= np.finfo(np.float32).max)  # which numbers that are none are not
        if refused.any():
            row, column = np.argwhere(refused)[0]
            raise ValueError(
                f"row {wanted[row]} of the data has the value {values[row, column]} in {self.name_of(int(column))!r}: "
                f"training needs finite numbers of single precision, so leave such rows out or fill the gaps in"
            )
        return values[back]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        if len(self.parts) == 1 and getattr(self.parts[0], "ndim", 0) == 4:
            return ("images",)
        known = len(self.parts) == len(self.graph.observed)
        return tuple(f"observed {self.graph.observed[i]!r}" if known else f"part {i}" for i in range(len(self.parts)))

    def name_of(self, column: int) -> str:
        """The observed variable that a column belongs to."""
        return self.graph.observed[self.graph.arrays.cell_of_column[column]]


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

TrainingData: TypeAlias = Source | Dataset | Sample | ImageSample | Images | str | os.PathLike[str]
"""Things that a masked autoencoder can be trained on: a generator of values or images, or rows with their graph; or the
path of a saved model, of the folder of an image model, or of a data set."""


def as_source(data: Any, graph: LatentGraph | None = None) -> Any:
    """The generator or the rows that data stands for, whatever its kind; what is none of these is given back as it is.

    Args:
        data: a model, an image model, a data set, a sample, or the path of one.
        graph: the graph of a data set that has none.

    Raises:
        OSError: a path that cannot be read.
        ValueError: a path to something else, rows without a graph or without values, or images that the graph's grid
            does not divide.
    """
    if isinstance(data, str | os.PathLike):
        data = open_data(data)
    if isinstance(data, Sample | ImageSample | Dataset):
        return ArrayData.of(data, graph)
    if isinstance(data, HierarchicalModel | ImageData) or not isinstance(data, Images):
        return data
    return ImageData(data)


def check_data(data: Any) -> Source:
    """Training data; a data set or an image sample is taken by its images or observed values.

    Raises:
        OSError: a path that cannot be read.
        ValueError: something else, arrays without a graph, images that the graph's grid does not divide, parts of rows
            that do not fit together or to the graph, or that are no real numbers.
    """
    data = as_source(data)
    if isinstance(data, ArrayData):
        return _checked_parts(data)
    if isinstance(data, HierarchicalModel | ImageData):
        return data
    if hasattr(data, "__array__") or isinstance(data, Mapping | list | tuple):
        raise ValueError(
            f"a {type(data).__name__} has no graph, which says what can be masked: give it with a graph to "
            f"Dataset.from_arrays(images=... or observed=..., graph=...)"
        )
    raise ValueError(
        f"expected a HierarchicalModel, an image model, a Dataset, a sample or the path of one to train on, got "
        f"{type(data).__name__}"
    )


def _checked_parts(data: ArrayData) -> ArrayData:
    if not data.parts:
        raise ValueError("there are no rows to train on: fits are saved without the rows of their data set")
    parts = tuple(
        part if _in_a_file(part) else as_numbers(name, part) for name, part in zip(data.names, data.parts, strict=True)
    )
    counts = {len(part) for part in parts}
    if len(counts) != 1:
        raise ValueError(f"the parts of a data set need equally many rows, got {sorted(counts)}")
    if {part.ndim for part in parts} != {2} and [part.ndim for part in parts] != [4]:
        raise ValueError(
            f"the parts of a data set are arrays (n, dim), or one of images (n, height, width, channels), got shapes "
            f"{[tuple(part.shape) for part in parts][:5]}"
        )
    if not len(data):
        raise ValueError("the data set has no rows to train on")
    n_columns = sum(math.prod(part.shape[1:]) for part in parts)
    if n_columns != data.n_columns:
        raise ValueError(f"the data set has {n_columns} numbers per row, and the graph {data.n_columns}")
    return dataclasses.replace(data, parts=parts)


def _in_a_file(part: Any) -> bool:
    """Tell whether rows are read when they are asked for, as from arrays of HDF5 or Zarr."""
    return hasattr(part, "chunks")


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
        raise UsageError(
            f"held_out={n} is for data sets: a generator draws fresh samples for every step, so its training loss is "
            "already a held-out loss; leave held_out at 0",
            of="TrainConfig",
        )
    if n >= len(data):
        raise UsageError(f"held_out={n} leaves none of the {len(data)} rows to train on: use fewer", of="TrainConfig")
    words = np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist()
    order = np.random.default_rng([*words, len(data)]).permutation(len(data))
    of_parts = np.arange(len(data)) if data.positions is None else data.positions
    held, kept = (dataclasses.replace(data, positions=of_parts[np.sort(part)]) for part in np.split(order, [n]))
    return kept, held


def standardization(data: Source, key: PRNGKeyArray) -> tuple[Columns, Columns]:
    """Mean and standard deviation of every observed column; 1 for a constant column.

    Estimated from 4,096 samples of a generator, or from at most 16,384 rows of a data set, evenly spaced, in double
    precision.

    Raises:
        ValueError: values of a data set so far from zero that their dtype cannot tell them apart.
    """
    if isinstance(data, HierarchicalModel):
        return _of_generator(data, key)
    if isinstance(data, ImageData):
        return _of_images(data, key)
    rows = some_rows(data, key)
    shift, scale = units.moments(rows)
    _check_steps(data, rows, shift, scale)
    return shift, scale


def some_rows(data: Source, key: PRNGKeyArray) -> Float[np.ndarray, "k columns"]:
    """Rows of observed values as they come: 256 of a generator, at most 16,384 of a data set, evenly spaced.

    Args:
        data: where training data comes from.
        key: a typed key, for generators.
    """
    if isinstance(data, ArrayData):
        return data.numbers(np.linspace(0, len(data) - 1, min(len(data), _STANDARDIZE_ROWS)).astype(np.int64))
    return np.asarray(draw_rows(data, key, _IMAGES_AT_ONCE))


def _check_steps(data: ArrayData, rows: np.ndarray, shift: np.ndarray, scale: np.ndarray) -> None:
    """Refuse columns that lost their values to an offset. Pixels have none: they lie between 0 and 1."""
    if data.parts[0].ndim == 4:
        return
    dtypes = [part.dtype for part in data.parts for _ in range(part.shape[1])]
    span = rows.max(axis=0) - rows.min(axis=0)
    steps = np.asarray([units.step(*column) for column in zip(dtypes, np.abs(rows).max(axis=0).tolist(), strict=True)])
    lost = (span > 0) & (span < _FEWEST_STEPS * steps)
    if lost.any():
        column = int(np.flatnonzero(lost)[0])
        raise ValueError(
            f"the values of {data.name_of(column)!r} lie {abs(shift[column]) / scale[column]:.0e} standard deviations "
            f"from zero, where {dtypes[column]} cannot tell most of them apart: subtract the offset before the "
            f"conversion to {dtypes[column]}"
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
