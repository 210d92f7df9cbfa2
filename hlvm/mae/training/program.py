"""The traced training program of members that share a network shape, and the state it carries from chunk to chunk."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key

from hlvm._process.promotion import usual_promotion
from hlvm.mae.config import TrainConfig
from hlvm.mae.networks.networks import Network, beyond, unflatten
from hlvm.mae.objectives.base import LossSum, Objective, Samples
from hlvm.mae.training.feeding import Feed
from hlvm.mae.training.mask_draws import MaskArrays, draw_masks
from hlvm.masking import Law

__all__ = [
    "CHUNK",
    "Arms",
    "Batch",
    "Program",
    "State",
    "compile_program",
    "draw_batch",
    "first_state",
    "in_parts",
    "loss_of_member",
    "run_chunk",
]

EXPLODED = 1e12
"""A loss above this, in units of the data's variance or standard deviation, is divergence."""

CHUNK = 100
"""Most steps of one call of the program; between calls there is progress to report, and the state can be saved."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """What makes a program: members that agree in all of this are trained together.

    Attributes:
        network: the network.
        objective: the static part of the loss.
        kind: the kind of law by which masks are drawn.
        n_listed: rows of the list of masks, 0 where there is none.
        chunk: most steps of one call.
        mesh: devices that members and batches are spread over, with the axes "members" and "batch"; ``None`` for one.
        parts: parts of a device's samples that it goes through one after the other, at least 1.
    """

    network: Network
    objective: Objective
    kind: type[Law]
    n_listed: int
    chunk: int = CHUNK
    mesh: Mesh | None = None
    parts: int = 1

    @property
    def platform(self) -> str:
        """Where it runs: "cpu", "gpu" or "tpu"."""
        return jax.default_backend() if self.mesh is None else self.mesh.devices.flat[0].platform

    def samples_at_once(self, batch: int) -> int:
        """Most samples of a batch that a device goes through at a time."""
        on_device = batch if self.mesh is None else batch // self.mesh.shape["batch"]
        return on_device // self.parts

    def spread(self, array: Array, *axes: str | None) -> Array:
        """Spread an array over the devices along these axes, one per dimension; traced."""
        if self.mesh is None:
            return array
        return jax.lax.with_sharding_constraint(array, NamedSharding(self.mesh, PartitionSpec(*axes)))


class Arms(NamedTuple):
    """What differs between the members of a program, stacked along the first axis.

    Attributes:
        masks: mask strategies.
        losses: what differs in their objectives.
        code_dims: code dims (1 for networks without a code).
        data_of: which of the feed's seeds each member reads.
        mask_keys: one key per member.
        noise_keys: one key per member, for the noise of stochastic decoders.
    """

    masks: MaskArrays
    losses: Any
    code_dims: Int[Array, " members"]
    data_of: Int[Array, " members"]
    mask_keys: Key[Array, " members"]
    noise_keys: Key[Array, " members"]


class State(NamedTuple):
    """What a training step changes: together with the step's number, all that a run needs to go on from here.

    Attributes:
        params: flat parameters of every member.
        optimizer: their optimiser states.
        steps_done: steps of each member before it diverged, if it did: a loss above :data:`EXPLODED`, or a loss or
            gradient that is not finite. It stays where it was.
        teacher: flat parameters of their teachers, of objectives that have one; else ``None``.
    """

    params: Float[Array, "members parameters"]
    optimizer: Any
    steps_done: Int[Array, " members"]
    teacher: Float[Array, "members parameters"] | None = None

    @property
    def weights(self) -> Weights:
        """Weights that losses are taken with."""
        return Weights(self.params, self.teacher)


class Weights(NamedTuple):
    """Flat parameters of students and teachers.

    Attributes:
        params: of the networks that are trained.
        teacher: of their teachers; ``None`` where there are none.
    """

    params: Float[Array, "*members parameters"]
    teacher: Float[Array, "*members parameters"] | None


def first_state(train: TrainConfig, params: Float[Array, "members parameters"], *, with_teacher: bool = False) -> State:
    """The state before the first step; teachers start as their students."""
    return State(
        params=params,
        optimizer=jax.vmap(_optimizer(train).init)(params),
        steps_done=jnp.zeros(len(params), jnp.int32),
        teacher=jnp.array(params) if with_teacher else None,  # a copy: both are donated
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
@usual_promotion
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
    optimizer, n = _optimizer(train), train.batch

    def body(i: Int[Array, ""], carry: tuple[State, Array]) -> tuple[State, Array]:
        state, losses = carry
        step = start + i
        values = program.spread(feed.batch(step, i, n, shift, scale, program.objective.labels), None, "batch", None)
        shared = len(values) == 1
        batch = jax.vmap(lambda arm: draw_batch(program, arm, step, i, n))(arms)
        gradients = functools.partial(_gradients, program, train, shared, (shift, scale))
        gradient_of = _over_devices(program, in_parts(gradients, program.parts, shared), shared)
        found = gradient_of(state.weights, arms.code_dims, values[0 if shared else arms.data_of], batch)
        kept = program.objective.teacher_rate(step, train.steps)
        state, loss = jax.vmap(functools.partial(_update, optimizer, step, kept))(state, *found)
        state = jax.tree.map(lambda leaf: program.spread(leaf, "members", *[None] * (leaf.ndim - 1)), state)
        return state, losses.at[i].set(loss)

    losses = jnp.zeros((program.chunk, len(arms.code_dims)))
    state, losses = jax.lax.fori_loop(0, count, body, (state, losses))
    return state, program.spread(losses, None, None)


_CPU_OPTIONS: dict[str, Any] = {
    # Matrix products from XLA's library of kernels, but not sums: those of short rows are slower there than XLA's own.
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    # Where cores have vectors this wide: the compiler avoids them unless told, and the products use them anyway.
    "xla_cpu_prefer_vector_width": 512,
}


def compile_program(lowered: Any, platform: str) -> Any:
    """Compile what :func:`run_chunk` was lowered to, with the options that make its steps faster where JAX has them."""
    if platform == "cpu":
        try:
            return lowered.compile(compiler_options=_CPU_OPTIONS)
        except jax.errors.JaxRuntimeError as error:
            if "xla_cpu" not in str(error):
                raise
    return lowered.compile()


class Batch(NamedTuple):
    """What is drawn for every member's step beside the values.

    Attributes:
        masked: the masks.
        weights: of every column of every sample.
        noise: that of stochastic decoders, and of other objectives what they draw.
        second: masks of the second view, of objectives with two.
    """

    masked: Bool[Array, "members n cells"]
    weights: Float[Array, "members n columns"]
    noise: Float[Array, "members draws n noise"]
    second: Bool[Array, "members n cells"] | None = None


def draw_batch(program: Program, arm: Arms, step: Int[Array, ""], i: Int[Array, ""], n: int) -> Batch:
    """What one member draws for a step; traced.

    Args:
        program: what the member shares with others.
        arm: the member.
        step: the number from which masks and noise follow.
        i: which of the batches of masks it is, where the host draws them.
        n: samples in the batch.
    """
    mask_key, noise_key = (jax.random.fold_in(key, step) for key in (arm.mask_keys, arm.noise_keys))
    objective, second = program.objective, None
    masked = draw_masks(program.kind, arm.masks, mask_key, objective.views * n, i)
    if objective.views == 2:
        masked, second = masked[:n], masked[n:]
    weights = objective.weights(arm.losses, arm.masks, masked)
    return Batch(masked, weights, objective.noise(program.network, noise_key, n), second)


def _gradients(
    program: Program,
    train: TrainConfig,
    shared: bool,
    units: tuple[Float[Array, " columns"], Float[Array, " columns"]],
    weights: Weights,
    code_dims: Int[Array, " members"],
    values: Float[Array, "*members n columns"],
    batch: Batch,
) -> tuple[LossSum, Float[Array, "members parameters"]]:
    """Loss of every member as a sum over the samples given, and the gradient of the sum."""

    def of_member(weights: Weights, code_dim: Array, values: Array, batch: Batch) -> tuple[LossSum, Array]:
        def loss_of(flat: Float[Array, " parameters"]) -> tuple[Array, LossSum]:
            found = loss_of_member(program, train, units, Weights(flat, weights.teacher), code_dim, values, batch)
            return found.loss, found

        (_, found), gradient = jax.value_and_grad(loss_of, has_aux=True)(weights.params)
        return found, gradient

    return jax.vmap(of_member, in_axes=(0, 0, None if shared else 0, 0))(weights, code_dims, values, batch)


def loss_of_member(
    program: Program,
    train: TrainConfig,
    units: tuple[Float[Array, " columns"], Float[Array, " columns"]],
    weights: Weights,
    code_dim: Int[Array, ""],
    values: Float[Array, "n columns"],
    batch: Batch,
) -> LossSum:
    """Loss of one member as a sum over the samples given; traced.

    Args:
        program: what the member shares with others.
        train: the optimisation.
        units: mean and standard deviation of every column.
        weights: its parameters, and those of its teacher.
        code_dim: numbers in its code.
        values: standardised values.
        batch: of this member.
    """
    network, noise, labels = program.network, batch.noise, None
    if program.objective.labels is not None:
        columns = len(program.objective.graph.arrays.cell_of_column)
        labels, values = values[:, columns:], values[:, :columns]
        units = (units[0][:columns], units[1][:columns])
    inputs = values
    params = unflatten(network, weights.params)
    teacher = None if weights.teacher is None else unflatten(network, weights.teacher)
    if train.compute == "bfloat16":  # the network's arithmetic; the loss itself is worked out in float32
        low = (params, teacher, inputs, noise)
        params, teacher, inputs, noise = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), low)
    head = None if program.objective.head(network) is None else beyond(network, weights.params)  # small: in float32
    samples = Samples(values, inputs, batch.masked, batch.weights, noise, code_dim, *units, batch.second, head, labels)
    return program.objective.loss(network, params, teacher, samples)


def in_parts(sums_of: Callable[..., Any], n_parts: int, shared: bool) -> Callable[..., Any]:
    """Let a device go through its samples part by part, and add the sums up.

    Args:
        sums_of: parameters, code dims, values and batch of all members -> arrays that are sums over samples.
        n_parts: a divisor of the samples.
        shared: whether all members have the same values.
    """
    if n_parts == 1:
        return sums_of

    def added_up(params: Any, code_dims: Array, values: Array, batch: Batch) -> Any:
        rows = batch.masked.shape[1] // n_parts

        def of_part(values: Array, masked: Array, weights: Array, noise: Array = batch.noise[:, :, :rows]) -> Any:
            return sums_of(params, code_dims, values, Batch(masked, weights, noise))

        # Objectives with a second view need the whole batch, and never come here.
        arrays, axes = (values, *batch[:3]), (0 if shared else 1, 1, 1, 2)
        # Optax cannot cut an array of no numbers, such as the noise of a decoder that reads none.
        n_cut = len(arrays) if batch.noise.size else len(arrays) - 1
        parts = optax.microbatching.microbatch(of_part, range(n_cut), rows, in_axes=axes[:n_cut])
        return parts(*arrays[:n_cut])

    return added_up


def _over_devices(program: Program, gradients: Callable[..., Any], shared: bool) -> Callable[..., Any]:
    """Let every device sum over its own samples, and add the sums up once.

    Left to the compiler, devices wait for each other at every array of parameters.
    """
    if program.mesh is None:
        return gradients
    members, samples = PartitionSpec("members"), PartitionSpec("members", "batch")
    second = samples if program.objective.views == 2 else None
    of_batch: tuple[Any, ...] = (samples, samples, PartitionSpec("members", None, "batch"), second)
    return jax.shard_map(
        lambda *arguments: jax.lax.psum(gradients(*arguments), "batch"),
        mesh=program.mesh,
        in_specs=(members, members, PartitionSpec("batch") if shared else samples, Batch(*of_batch)),
        out_specs=members,
        check_vma=False,  # or gradients are added up one parameter array at a time, before the sum here
    )


def _update(
    optimizer: optax.GradientTransformation,
    step: Int[Array, ""],
    kept: Float[Array, ""] | None,
    state: State,
    found: LossSum,
    gradient: Float[Array, " parameters"],
) -> tuple[State, Float[Array, ""]]:
    """One member after a step, or as it was if it has diverged; and its loss before."""
    loss, gradient = found.mean, gradient / found.divisor
    change, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
    params = jnp.asarray(optax.apply_updates(state.params, change))
    teacher = state.teacher
    if kept is not None and teacher is not None:
        teacher = kept * teacher + (1 - kept) * params
    stepped = State(params, optimizer_state, state.steps_done + 1, teacher)
    sound = (loss <= EXPLODED) & jnp.isfinite(gradient).all()  # a loss of NaN is not
    alive = sound & (state.steps_done == step)
    return jax.tree.map(lambda new, old: jnp.where(alive, new, old), stepped, state), loss
