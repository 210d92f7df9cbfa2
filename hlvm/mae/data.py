"""Where training data comes from: a generator inside the program, a table on the device, or rows streamed to it.

Rows are taken without replacement within an epoch, in an order that follows from the seed and the epoch alone, so that
a run can go on from any step. The order is drawn by the host; a table stays on the device and only the positions of
the next steps travel, a longer data set is read from its file chunk by chunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from hlvm.datasets import Dataset
from hlvm.graph import LatentGraph
from hlvm.simulator import HierarchicalModel

__all__ = ["ArrayData", "Feed", "Feeder", "Source", "TrainingData", "check_data", "feeder", "standardization"]

_STANDARDIZE_SAMPLES = 4096
_STANDARDIZE_ROWS = 16_384
_TABLE_BYTES = 2**30
"""Largest data set that is kept on the device."""

_STREAM_BYTES = 2**28
"""Largest part of a longer one that is sent there at once."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ArrayData:
    """Observed values to train on, and the graph that they come from.

    Attributes:
        graph: the latent graph; its observed variables are the columns, side by side in the graph's order.
        parts: arrays of n rows each, in memory or in a file, that make up a row: a single image array
            (n, height, width, channels), or one (n, dim) per observed variable.
        about: what is known of where they come from, for the record.
    """

    graph: LatentGraph
    parts: tuple[Any, ...]
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, data: Dataset) -> ArrayData:
        """The images, or else the observed values, of a data set.

        Raises:
            ValueError: a data set without a graph, images whose patches do not have the dims of the graph's observed
                variables, or observed values missing.
        """
        if data.graph is None:
            raise ValueError("the data set has no graph: load it with load_dataset(path, graph=...)")
        graph = data.graph
        if data.images is not None:
            _check_patches(graph, data.images.shape[1:])
            return cls(graph=graph, parts=(data.images,), about=dict(data.about))
        missing = [name for name in graph.observed if name not in data.observed]
        if missing:
            raise ValueError(f"the data set has neither images nor values of {missing[0]!r}: all observed are needed")
        return cls(graph=graph, parts=tuple(data.observed[name] for name in graph.observed), about=dict(data.about))

    def __len__(self) -> int:
        return len(self.parts[0])

    def __repr__(self) -> str:
        return f"ArrayData({len(self)} rows of {self.graph})"

    @property
    def n_columns(self) -> int:
        """Numbers per row."""
        return sum(self.graph.dim(name) for name in self.graph.observed)

    def rows(self, positions: Sequence[int] | Int[np.ndarray, " k"]) -> Float[np.ndarray, "k columns"]:
        """Some rows, in any order, with repetitions allowed: (k, total observed dims), float32.

        Images of whole numbers are taken as 0 to 255 and scaled to [0, 1].
        """
        wanted, back = np.unique(np.asarray(positions), return_inverse=True)  # files want increasing positions
        found = [np.asarray(part[wanted]) for part in self.parts]
        if found[0].ndim == 4:
            images = found[0] / np.float32(255) if found[0].dtype.kind in "iu" else found[0]
            found = [_cut(images, self.graph)]
        return np.concatenate(found, axis=1, dtype=np.float32)[back]


Source: TypeAlias = HierarchicalModel | ArrayData
"""Where training data comes from: a generator, or rows."""

TrainingData: TypeAlias = Source | Dataset
"""What a masked autoencoder can be trained on: a generator, or a data set with its graph."""


def check_data(data: Any) -> Source:
    """Training data; a :class:`~hlvm.datasets.Dataset` is taken by its images or observed values.

    Raises:
        ValueError: something else.
    """
    if isinstance(data, Dataset):
        return ArrayData.of(data)
    if not isinstance(data, HierarchicalModel | ArrayData):
        raise ValueError(
            f"expected a HierarchicalModel or a Dataset to train on, got {type(data).__name__}: image models are "
            "trained on their model (QuadtreeImages.model), or on a data set that write_dataset makes of them"
        )
    return data


def _check_patches(graph: LatentGraph, shape: tuple[int, ...]) -> None:
    height, width, channels = shape
    if graph.grid is None:
        raise ValueError("images need a graph with a grid: build it with grid=(rows, columns)")
    rows, columns = graph.grid
    dims = {graph.dim(name) for name in graph.observed}
    if height % rows or width % columns or dims != {(height // rows) * (width // columns) * channels}:
        raise ValueError(
            f"images of {height} x {width} pixels and {channels} channels on a {rows} x {columns} grid need observed "
            f"variables of {height * width * channels / (rows * columns):g} dims, the graph's have {sorted(dims)}"
        )


def _cut(images: Float[np.ndarray, "n h w c"], graph: LatentGraph) -> Float[np.ndarray, "n columns"]:
    """Pixels patch by patch, row by row of the grid."""
    rows, columns = graph.grid or (1, 1)
    n, height, width, channels = images.shape
    patches = images.reshape(n, rows, height // rows, columns, width // columns, channels)
    return patches.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1)


class Feed(NamedTuple):
    """What the training program reads data from. What is ``None`` is static: it makes a program of its own.

    Attributes:
        keys: one per seed, to draw fresh samples with.
        model: what draws them.
        table: all rows, standardised.
        positions: rows of the table for the steps of a chunk, (seeds, chunk, batch).
        values: standardised rows for the steps of a chunk, (seeds, chunk, batch, columns).
    """

    keys: Key[Array, " seeds"] | None = None
    model: HierarchicalModel | None = None
    table: Float[Array, "n columns"] | None = None
    positions: Int[Array, "seeds chunk batch"] | None = None
    values: Float[Array, "seeds chunk batch columns"] | None = None

    def batch(
        self, step: Int[Array, ""], i: Int[Array, ""], n: int, shift: Array, scale: Array
    ) -> Float[Array, "seeds batch columns"]:
        """The batches of one step, the ``i``-th of its chunk; traced."""
        if self.model is not None and self.keys is not None:
            model = self.model

            def one(key: PRNGKeyArray) -> Float[Array, "batch columns"]:
                return model.sample(jax.random.fold_in(key, step), n).observed_matrix

            return (jax.vmap(one)(self.keys) - shift) / scale
        if self.table is not None and self.positions is not None:
            return self.table[jax.lax.dynamic_index_in_dim(self.positions, i, axis=1, keepdims=False)]
        if self.values is None:
            raise ValueError("this feed is empty")
        return jax.lax.dynamic_index_in_dim(self.values, i, axis=1, keepdims=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Feeder:
    """Makes the feeds of one group of members.

    Attributes:
        data: where rows come from.
        keys: one per seed.
        batch: rows per step.
        chunk: steps per call of the program.
        shift: mean of every column.
        scale: standard deviation of every column.
        table: the rows on the device, if they are kept there.
    """

    data: Source
    keys: Key[Array, " seeds"]
    batch: int
    chunk: int
    shift: Float[Array, " columns"]
    scale: Float[Array, " columns"]
    table: Float[Array, "n columns"] | None = None

    def for_chunk(self, start: int) -> Feed:
        """What ``chunk`` steps from ``start`` on read; steps beyond the end of a run are drawn like the others."""
        if isinstance(self.data, HierarchicalModel):
            return Feed(keys=self.keys, model=self.data)
        size = self.chunk * self.batch
        orders = [_positions(key, len(self.data), start * self.batch, size) for key in self.keys]
        if self.table is not None:
            positions = np.stack(orders).reshape(len(orders), self.chunk, self.batch)
            return Feed(table=self.table, positions=jnp.asarray(positions, jnp.int32))
        rows = np.stack([self.data.rows(order) for order in orders])
        values = (rows - np.asarray(self.shift)) / np.asarray(self.scale)
        return Feed(values=jnp.asarray(values.reshape(len(orders), self.chunk, self.batch, -1), jnp.float32))


def feeder(
    data: Source,
    keys: Key[Array, " seeds"],
    *,
    batch: int,
    chunk: int,
    shift: Float[Array, " columns"],
    scale: Float[Array, " columns"],
) -> Feeder:
    """The feeder of some seeds; ``chunk`` is the most steps of a call, fewer where rows are streamed and wide."""
    made = Feeder(data=data, keys=keys, batch=batch, chunk=chunk, shift=shift, scale=scale)
    if isinstance(data, HierarchicalModel):
        return made
    if 4 * len(data) * data.n_columns <= _TABLE_BYTES:
        table = (jnp.asarray(data.rows(np.arange(len(data)))) - shift) / scale
        return dataclasses.replace(made, table=table)
    per_step = 4 * len(keys) * batch * data.n_columns
    return dataclasses.replace(made, chunk=max(1, min(chunk, _STREAM_BYTES // per_step)))


def _positions(key: PRNGKeyArray, n: int, start: int, size: int) -> Int[np.ndarray, " size"]:
    """Rows ``start`` to ``start + size`` of all epochs laid end to end, each in its own random order."""
    words = np.asarray(jax.random.key_data(key)).astype(np.uint32).tolist()
    found = []
    epoch, offset = divmod(start, n)
    while size > 0:
        order = np.random.default_rng([*words, epoch]).permutation(n)[offset : offset + size]
        found.append(order)
        size -= len(order)
        epoch, offset = epoch + 1, 0
    return np.concatenate(found)


def standardization(data: Source, key: PRNGKeyArray) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
    """Mean and standard deviation of every observed column; 1 for a constant column.

    Estimated from 4,096 samples of a generator, or from at most 16,384 rows of a data set, evenly spaced.
    """
    if isinstance(data, HierarchicalModel):
        return _of_generator(data, key)
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
