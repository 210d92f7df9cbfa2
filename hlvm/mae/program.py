"""The traced training program of members that share a network shape, and the state it carries from chunk to chunk."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from hlvm.mae.config import TrainConfig
from hlvm.mae.feeding import Feed
from hlvm.mae.losses import LossArrays, Objective, column_weights, training_loss
from hlvm.mae.masks import Kind, MaskArrays, draw_masks
from hlvm.mae.networks import Network, unflatten

__all__ = ["CHUNK", "Arms", "Program", "State", "first_state", "run_chunk"]

CHUNK = 100
"""Most steps of one call of the program; between calls there is progress to report, and the state can be saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What makes a program: members that agree in all of this are trained together.

    Attributes:
        network: the network.
        objective: the static part of the loss.
        kind: how masks are drawn.
        n_listed: rows of the list of masks, 0 where there is none.
        chunk: most steps of one call.
        mesh: devices that members and batches are spread over, with the axes "members" and "batch"; ``None`` for one.
    """

    network: Network
    objective: Objective
    kind: Kind
    n_listed: int
    chunk: int = CHUNK
    mesh: Mesh | None = None

    def spread(self, array: Array, *axes: str | None) -> Array:
        """Spread an array over the devices along these axes, one per dimension; traced."""
        if self.mesh is None:
            return array
        return jax.lax.with_sharding_constraint(array, NamedSharding(self.mesh, PartitionSpec(*axes)))


class Arms(NamedTuple):
    """What differs between the members of a program, stacked along the first axis.

    Attributes:
        masks: mask strategies.
        losses: weights of the losses.
        code_dims: code dims (1 for networks without a code).
        data_of: which of the feed's seeds each member reads.
        mask_keys: one key per member.
        noise_keys: one key per member, for the noise of stochastic decoders.
    """

    masks: MaskArrays
    losses: LossArrays
    code_dims: Int[Array, " members"]
    data_of: Int[Array, " members"]
    mask_keys: Key[Array, " members"]
    noise_keys: Key[Array, " members"]


class State(NamedTuple):
    """What a training step changes: together with the step's number, all that a run needs to go on from here.

    Attributes:
        params: flat parameters of every member.
        optimizer: their optimiser states.
        steps_done: steps of each member with finite loss and gradient; a member that diverged stays where it was.
    """

    params: Float[Array, "members parameters"]
    optimizer: Any
    steps_done: Int[Array, " members"]


def first_state(train: TrainConfig, params: Float[Array, "members parameters"]) -> State:
    """The state before the first step."""
    return State(
        params=params,
        optimizer=jax.vmap(_optimizer(train).init)(params),
        steps_done=jnp.zeros(len(params), jnp.int32),
    )


def _optimizer(train: TrainConfig) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if train.warmup else train.learning_rate,
        peak_value=train.learning_rate,
        warmup_steps=train.warmup,
        decay_steps=train.steps,
    )
    return optax.chain(
        optax.clip_by_global_norm(train.clip_norm), optax.adamw(schedule, weight_decay=train.weight_decay)
    )


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def run_chunk(
    program: Program,
    train: TrainConfig,
    state: State,
    arms: Arms,
    feed: Feed,
    shift: Float[Array, " columns"],
    scale: Float[Array, " columns"],
    start: Int[Array, ""],
    count: Int[Array, ""],
) -> tuple[State, Float[Array, "chunk members"]]:
    """``count`` steps of every member; losses of steps beyond ``count`` are zero.

    Everything random follows from the keys and the step's number, so a run that goes on from a saved state ends as one
    that never stopped.
    """
    optimizer, network = _optimizer(train), program.network

    def update(
        state: State, arm: Arms, values: Float[Array, "batch columns"], step: Int[Array, ""], i: Int[Array, ""]
    ) -> Any:
        mask_key, noise_key = (jax.random.fold_in(key, step) for key in (arm.mask_keys, arm.noise_keys))
        masked = draw_masks(program.kind, arm.masks, mask_key, train.batch, i)
        weights = column_weights(program.objective, arm.losses, arm.masks, masked)

        def loss_of(flat: Float[Array, " parameters"]) -> Array:
            params = unflatten(network, flat)
            return training_loss(
                network, program.objective, params, values, masked, weights, arm.code_dims, noise_key, train.compute
            )

        loss, gradient = jax.value_and_grad(loss_of)(state.params)
        change, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = jnp.asarray(optax.apply_updates(state.params, change))
        stepped = State(params, optimizer_state, state.steps_done + 1)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
        alive = finite & (state.steps_done == step)
        return jax.tree.map(lambda new, old: jnp.where(alive, new, old), stepped, state), loss

    def body(i: Int[Array, ""], carry: tuple[State, Array]) -> tuple[State, Array]:
        state, losses = carry
        values = program.spread(feed.batch(start + i, i, train.batch, shift, scale), None, "batch", None)
        if len(values) == 1:
            state, loss = jax.vmap(update, in_axes=(0, 0, None, None, None))(state, arms, values[0], start + i, i)
        else:
            state, loss = jax.vmap(update, in_axes=(0, 0, 0, None, None))(
                state, arms, values[arms.data_of], start + i, i
            )
        state = jax.tree.map(lambda leaf: program.spread(leaf, "members", *[None] * (leaf.ndim - 1)), state)
        return state, losses.at[i].set(loss)

    losses = jnp.zeros((program.chunk, len(arms.code_dims)))
    state, losses = jax.lax.fori_loop(0, count, body, (state, losses))
    return state, program.spread(losses, None, None)
