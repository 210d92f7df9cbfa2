"""The loss on rows that are kept out of training: the same rows, masks and noise at every report."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm.mae.config import TrainConfig
from hlvm.mae.data import ArrayData
from hlvm.mae.losses import column_weights, draw_noise, training_loss
from hlvm.mae.masks import draw_masks
from hlvm.mae.networks import unflatten
from hlvm.mae.program import Arms, Program

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
    """

    values: Float[Array, "batches batch columns"]
    counted: Bool[Array, "batches batch"]


def held_out_rows(
    data: ArrayData, batch: int, shift: Float[Array, " columns"], scale: Float[Array, " columns"]
) -> HeldOutRows:
    """All rows in batches."""
    n_batches = -(-len(data) // batch)
    batch = min(batch, len(data))
    positions = np.arange(n_batches * batch).reshape(n_batches, batch)
    rows = data.rows(np.minimum(positions, len(data) - 1).reshape(-1))
    values = (jnp.asarray(rows) - shift) / scale
    return HeldOutRows(values.reshape(n_batches, batch, -1), jnp.asarray(positions < len(data)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def held_out_losses(
    program: Program, train: TrainConfig, params: Float[Array, "members parameters"], arms: Arms, rows: HeldOutRows
) -> Float[Array, " members"]:
    """Loss of every member, averaged over the rows that it can be taken of.

    Masks and noise are those of steps after the last, so they are nowhere trained on. ``arms`` hold one batch of masks
    per batch of rows where the host draws them.
    """
    batch = rows.values.shape[1]

    def of_member(flat: Float[Array, " parameters"], arm: Arms) -> Array:
        params = unflatten(program.network, flat)

        def of_batch(number: Int[Array, ""]) -> tuple[Array, Array]:
            step = train.steps + number
            mask_key, noise_key = (jax.random.fold_in(key, step) for key in (arm.mask_keys, arm.noise_keys))
            masked = draw_masks(program.kind, arm.masks, mask_key, batch, number)
            weights = column_weights(program.objective, arm.losses, arm.masks, masked)
            weights = weights * rows.counted[number][:, None]
            values, objective = rows.values[number], program.objective
            loss = training_loss(
                program.network,
                objective,
                params,
                values,
                masked,
                weights,
                draw_noise(program.network, objective, noise_key, batch),
                arm.code_dims,
                train.compute,
            )
            return loss.mean, (weights.sum(axis=-1) > 0).sum()

        losses, counts = jax.lax.map(of_batch, jnp.arange(len(rows.values)))
        return (losses * counts).sum() / jnp.maximum(counts.sum(), 1)

    return jax.vmap(of_member)(params, arms)
