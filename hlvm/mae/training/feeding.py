"""How data reaches the training program: drawn inside it, from a table on the device, or streamed to it.

Rows are taken without replacement within an epoch, in an order that follows from the seed and the epoch alone, so that
a run can go on from any step. The order is drawn by the host; a table stays on the device and only the positions of
the next steps travel, a longer data set is read from its file chunk by chunk.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from hlvm.mae.training.data import ArrayData, Generator, Source, draw_rows
from hlvm.mae.training.labels import Labels, draw_labels
from hlvm.mae.training.units import Columns, single, standardized, standardized_on_device

__all__ = ["Feed", "Feeder", "feeder", "table_of"]

_TABLE_BYTES = 2**30
"""Most memory of a device, or of the machine for devices that share it, that a data set is kept in."""

_STREAM_BYTES = 2**28
"""Largest part of a longer one that is sent there at once, and most bytes of rows in the steps of a call."""


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
    model: Generator | None = None
    table: Float[Array, "n columns"] | None = None
    positions: Int[Array, "seeds chunk batch"] | None = None
    values: Float[Array, "seeds chunk batch columns"] | None = None

    def batch(
        self, step: Int[Array, ""], i: Int[Array, ""], n: int, shift: Array, scale: Array, labels: Labels | None = None
    ) -> Float[Array, "seeds batch columns"]:
        """The batches of one step, the ``i``-th of its chunk, with labels beside the values if any; traced."""
        if self.model is not None and self.keys is not None:
            model = self.model

            def one(key: PRNGKeyArray) -> Float[Array, "batch columns"]:
                own = jax.random.fold_in(key, step)
                rows = draw_rows(model, own, n)
                return rows if labels is None else jnp.concatenate([rows, draw_labels(model, own, n, labels)], axis=1)

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
        labels: mean and standard deviation of latents that are drawn with the values; ``None`` for none.
    """

    data: Source
    keys: Key[Array, " seeds"]
    batch: int
    chunk: int
    shift: Columns
    scale: Columns
    table: Float[Array, "n columns"] | None = None
    labels: tuple[Float[np.ndarray, " numbers"], Float[np.ndarray, " numbers"]] | None = None

    @property
    def units(self) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
        """Mean and standard deviation of all that is fed."""
        shift, scale = single(self.shift), single(self.scale)
        if self.labels is None:
            return shift, scale
        return jnp.concatenate([shift, self.labels[0]]), jnp.concatenate([scale, self.labels[1]])

    def for_chunk(self, start: int) -> Feed:
        """What ``chunk`` steps from ``start`` on read; steps beyond the end of a run are drawn like the others."""
        if not isinstance(self.data, ArrayData):
            return Feed(keys=self.keys, model=self.data)
        size = self.chunk * self.batch
        orders = [_positions(key, len(self.data), start * self.batch, size) for key in self.keys]
        if self.table is not None:
            positions = np.stack(orders).reshape(len(orders), self.chunk, self.batch)
            return Feed(table=self.table, positions=jnp.asarray(positions, jnp.int32))
        rows = [standardized(self.data.numbers(order), self.shift, self.scale) for order in orders]
        return Feed(values=jnp.asarray(np.stack(rows).reshape(len(orders), self.chunk, self.batch, -1)))


def feeder(
    data: Source,
    keys: Key[Array, " seeds"],
    *,
    batch: int,
    chunk: int,
    shift: Columns,
    scale: Columns,
    table: Float[Array, "n columns"] | None = None,
) -> Feeder:
    """The feeder of some seeds; ``chunk`` is the most steps of a call, fewer where rows are wide.

    Whether there is a table depends on the devices. The steps of a call do not: what is drawn and reported by call must
    be the same when a run goes on with others.
    """
    made = Feeder(data=data, keys=keys, batch=batch, chunk=chunk, shift=shift, scale=scale, table=table)
    if not isinstance(data, ArrayData):
        return made
    per_step = 4 * len(keys) * batch * data.n_columns
    return dataclasses.replace(made, chunk=max(1, min(chunk, _STREAM_BYTES // per_step)))


def table_of(data: Source, shift: Columns, scale: Columns, copies: int) -> Float[Array, "n columns"] | None:
    """All rows, standardised, for a device to keep; ``None`` for a generator, and for rows that are too many.

    Args:
        data: where rows come from.
        shift: mean of every column.
        scale: standard deviation of every column.
        copies: how often one memory will hold them.
    """
    if not isinstance(data, ArrayData) or 4 * len(data) * data.n_columns * copies > _TABLE_BYTES:
        return None
    return standardized_on_device(data.numbers(np.arange(len(data))), shift, scale)


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
