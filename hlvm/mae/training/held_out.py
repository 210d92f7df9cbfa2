"""The loss on rows that are kept out of training: the same rows, masks and noise at every report."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm.mae.config import TrainConfig
from hlvm.mae.training.data import ArrayData
from hlvm.mae.training.program import Arms, Program, Weights, draw_batch, in_parts, loss_of_member
from hlvm.mae.training.units import Columns, single, standardized_on_device

__all__ = ["HeldOut", "HeldOutRows", "held_out_losses", "held_out_rows"]


class HeldOut(NamedTuple):
    """What one member made of the rows that it was not trained on.

    Attributes:
        rows: their positions in the data set, increasing.
        steps: after how many steps the loss was taken.
        losses: the loss then, with the definition and in the units of the training loss.
    """

    rows: Int[np.ndarray, " rows"]
    steps: Int[np.ndarray, " reports"]
    losses: Float[np.ndarray, " reports"]


class HeldOutRows(NamedTuple):
    """Rows held out, in batches; the last one is filled up with rows that do not count.

    Attributes:
        values: standardised values.
        counted: which rows count.
        shift: mean of every column.
        scale: standard deviation of every column.
    """

    values: Float[Array, "batches batch columns"]
    counted: Bool[Array, "batches batch"]
    shift: Float[Array, " columns"]
    scale: Float[Array, " columns"]


def held_out_rows(data: ArrayData, batch: int, shift: Columns, scale: Columns) -> HeldOutRows:
    """All rows in batches."""
    n_batches = -(-len(data) // batch)
    batch = min(batch, len(data))
    positions = np.arange(n_batches * batch).reshape(n_batches, batch)
    rows = data.numbers(np.minimum(positions, len(data) - 1).reshape(-1))
    values = standardized_on_device(rows, shift, scale)
    counted = jnp.asarray(positions < len(data))
    return HeldOutRows(values.reshape(n_batches, batch, -1), counted, single(shift), single(scale))


@functools.partial(jax.jit, static_argnums=(0, 1))
def held_out_losses(
    program: Program, train: TrainConfig, weights: Weights, arms: Arms, rows: HeldOutRows
) -> Float[Array, " members"]:
    """Loss of every member, averaged over the rows that it can be taken of.

    Masks and noise are those of steps after the last, so they are nowhere trained on. ``arms`` hold one batch of masks
    per batch of rows where the host draws them. A device goes through as many rows at a time as in training.
    """
    batch = rows.values.shape[1]
    at_once = min(batch, program.samples_at_once(train.batch))
    n_parts = -(-batch // at_once)
    missing = n_parts * at_once - batch
    units = (rows.shift, rows.scale)
    of_part = jax.vmap(functools.partial(loss_of_member, program, train, units), in_axes=(0, 0, None, 0))

    def filled(array: Array, axis: int, **how: Any) -> Array:
        return jnp.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)], **how)

    def of_batch(number: Int[Array, ""]) -> tuple[Array, Array]:
        drawn = jax.vmap(lambda arm: draw_batch(program, arm, train.steps + number, number, batch))(arms)
        counting = drawn.weights * rows.counted[number][:, None]
        counts = (counting.sum(axis=-1) > 0).sum(axis=-1)
        # A second view is never in parts, so that nothing is missing there.
        drawn = drawn._replace(
            masked=filled(drawn.masked, 1, mode="edge"), weights=filled(counting, 1), noise=filled(drawn.noise, 2)
        )
        values = filled(rows.values[number], 0, mode="edge")
        sums = in_parts(of_part, n_parts, shared=True)(weights, arms.code_dims, values, drawn)
        return jax.vmap(lambda of_member: of_member.mean)(sums), counts

    losses, counts = jax.lax.map(of_batch, jnp.arange(len(rows.values)))
    return (losses * counts).sum(axis=0) / jnp.maximum(counts.sum(axis=0), 1)
