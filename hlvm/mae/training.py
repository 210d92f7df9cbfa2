"""Training one masked autoencoder, or many at once.

Members of an ensemble whose networks have the same shape run in one compiled program, vectorised over members; all
programs are compiled at the same time. Data is generated on the device, inside the program. Members with the same seed
see the same data, start from the same parameters and draw the same mask noise, so that arms of an ablation are paired.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from hlvm.mae.config import NetworkConfig, TrainConfig
from hlvm.mae.fit import Fit, seed_keys
from hlvm.mae.masks import MaskArrays, draw_fixed, draw_random, mask_arrays
from hlvm.mae.networks import Network, build_network, code_dim_of, init_flat, unflatten
from hlvm.masking import FixedMask, MaskStrategy
from hlvm.simulator import HierarchicalModel

__all__ = ["Member", "Progress", "fit", "fit_ensemble"]

_CHUNK = 100
_STANDARDIZE_SAMPLES = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One masked autoencoder of an ensemble.

    Attributes:
        mask: how it is masked while training.
        network: its architecture.
        seed: members with equal seeds are paired: same data, same initial parameters, same mask noise.
    """

    mask: MaskStrategy
    network: NetworkConfig
    seed: int = 0


class Progress(NamedTuple):
    """Where a running ensemble is.

    Attributes:
        group: number of the program that is running, from 0.
        n_groups: number of programs.
        members: positions of that program's members in the list given.
        step: steps done by this program.
        steps: steps in all.
        losses: loss of each of these members at the latest step, in units of the data's variance.
    """

    group: int
    n_groups: int
    members: tuple[int, ...]
    step: int
    steps: int
    losses: np.ndarray


def fit(
    key: PRNGKeyArray,
    model: HierarchicalModel,
    mask: MaskStrategy,
    config: NetworkConfig,
    train: TrainConfig,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Fit:
    """Train one masked autoencoder on data drawn from ``model``.

    Args:
        key: a typed key; everything random follows from it.
        model: the generator.
        mask: which observed variables are hidden from the encoder.
        config: the network.
        train: the optimisation.
        on_progress: called between chunks of steps.

    Returns:
        The trained autoencoder with its losses.

    Raises:
        ValueError: mask, network and graph do not fit together.
    """
    return fit_ensemble(key, model, [Member(mask=mask, network=config)], train, on_progress=on_progress)[0]


def fit_ensemble(
    key: PRNGKeyArray,
    model: HierarchicalModel,
    members: Sequence[Member],
    train: TrainConfig,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[Fit, ...]:
    """Train many masked autoencoders in as few compiled programs as there are network shapes.

    Every member ends as it would alone under the same key, up to rounding.

    Args:
        key: a typed key; everything random follows from it and the members' seeds.
        model: the generator.
        members: what to train.
        train: the optimisation, common to all.
        on_progress: called between chunks of steps.

    Returns:
        One fit per member, in the given order.

    Raises:
        ValueError: no members, or a mask, network and graph that do not fit together; before any training.
    """
    if not members:
        raise ValueError("fit_ensemble needs at least one member")
    groups = _group(model, members)
    standardize_key, members_key = jax.random.split(key)
    shift, scale = _standardization(model, standardize_key)
    prepared = [_prepare(members_key, model, g, [members[i] for i in g.members], train, shift, scale) for g in groups]
    fits: dict[int, Fit] = {}
    with _compiling([lowered for lowered, _ in prepared]) as programs:
        for number, (group, program, (_, arguments)) in enumerate(zip(groups, programs, prepared, strict=True)):

            def report(step: int, losses: np.ndarray, number: int = number, group: _Group = group) -> None:
                if on_progress is not None:
                    on_progress(Progress(number, len(groups), group.members, step, train.steps, losses))

            params, losses, steps_done = _run(program.result(), arguments, train, report)
            for row, index in enumerate(group.members):
                fits[index] = Fit(
                    model=model,
                    mask=members[index].mask,
                    config=members[index].network,
                    train=train,
                    seed=members[index].seed,
                    key=members_key,
                    params=params[row],
                    losses=losses[: steps_done[row], row],
                    diverged=bool(steps_done[row] < train.steps),
                    shift=shift,
                    scale=scale,
                )
    return tuple(fits[i] for i in range(len(members)))


# ---------------------------------------------------------------------- grouping


class _Group(NamedTuple):
    """Members that share a program: same network description, and all masks random or all fixed."""

    network: Network
    random: bool
    members: tuple[int, ...]


class _Arms(NamedTuple):
    """What differs between the members of a group, stacked along the first axis.

    Attributes:
        masks: mask strategies.
        code_dims: code dims (1 for networks without a code).
        data_of: row of ``data_keys`` that each member reads.
        mask_keys: one key per member.
    """

    masks: MaskArrays
    code_dims: Int[Array, " members"]
    data_of: Int[Array, " members"]
    mask_keys: Key[Array, " members"]


class _State(NamedTuple):
    """What a training step changes.

    Attributes:
        params: flat parameters of every member.
        optimizer: their optimiser states.
        steps_done: steps of each member with finite loss and gradient; a member that diverged stays where it was.
    """

    params: Float[Array, "members parameters"]
    optimizer: Any
    steps_done: Int[Array, " members"]


def _group(model: HierarchicalModel, members: Sequence[Member]) -> list[_Group]:
    found: dict[tuple[Network, bool], list[int]] = {}
    for index, member in enumerate(members):
        try:
            network = build_network(model.graph, member.mask, member.network)
        except ValueError as error:
            raise ValueError(f"member {index}: {error}" if len(members) > 1 else str(error)) from None
        found.setdefault((network, not isinstance(member.mask, FixedMask)), []).append(index)
    return [_Group(network, random, tuple(rows)) for (network, random), rows in found.items()]


def _prepare(
    key: PRNGKeyArray,
    model: HierarchicalModel,
    group: _Group,
    members: Sequence[Member],
    train: TrainConfig,
    shift: Float[Array, " columns"],
    scale: Float[Array, " columns"],
) -> tuple[Any, tuple[Any, ...]]:
    """The lowered program of a group, and the arguments of its first call."""
    seeds = list(dict.fromkeys(member.seed for member in members))
    keys = [seed_keys(key, seed) for seed in seeds]
    data_of = np.asarray([seeds.index(member.seed) for member in members], dtype=np.int32)
    arms = _Arms(
        masks=MaskArrays(
            *(jnp.stack(x) for x in zip(*(mask_arrays(model.graph, m.mask) for m in members), strict=True))
        ),
        code_dims=jnp.asarray([code_dim_of(m.network) for m in members], dtype=jnp.int32),
        data_of=jnp.asarray(data_of),
        mask_keys=jnp.stack([k.mask for k in keys])[data_of],
    )
    params = init_flat(group.network, jnp.stack([k.init for k in keys]))[data_of]
    state = _State(
        params=params,
        optimizer=jax.vmap(_optimizer(train).init)(params),
        steps_done=jnp.zeros(len(members), jnp.int32),
    )
    data_keys = jnp.stack([k.data for k in keys])
    arguments = (state, arms, data_keys, model, shift, scale)
    lowered = _run_chunk.lower(group.network, group.random, train, *arguments, jnp.int32(0), jnp.int32(0))
    return lowered, arguments


@contextmanager
def _compiling(lowered: Sequence[Any]) -> Iterator[list[Future[Any]]]:
    """Compile all programs, as many at a time as there are processors; a group trains while later ones compile.

    Leaving early (an error, Ctrl-C) drops those not begun.
    """
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        yield [pool.submit(program.compile) for program in lowered]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _run(
    program: Any, arguments: tuple[Any, ...], train: TrainConfig, report: Callable[[int, np.ndarray], None]
) -> tuple[Float[Array, "members parameters"], np.ndarray, np.ndarray]:
    """Run a compiled group chunk by chunk: parameters, losses (steps, members), and finite steps per member."""
    state, *fixed = arguments
    losses: list[np.ndarray] = []
    for start in range(0, train.steps, _CHUNK):
        count = min(_CHUNK, train.steps - start)
        state, chunk = program(state, *fixed, jnp.int32(start), jnp.int32(count))
        losses.append(np.asarray(chunk)[:count])
        report(start + count, losses[-1][-1])
    return state.params, np.concatenate(losses), np.asarray(state.steps_done)


# ---------------------------------------------------------------------- data scale and optimiser


@jax.jit
def _standardization(
    model: HierarchicalModel, key: PRNGKeyArray
) -> tuple[Float[Array, " columns"], Float[Array, " columns"]]:
    values = model.sample(key, _STANDARDIZE_SAMPLES).observed_matrix
    spread = values.std(axis=0)
    return values.mean(axis=0), jnp.where(spread > 0, spread, 1.0)


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


# ---------------------------------------------------------------------- the traced program


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _run_chunk(
    network: Network,
    random: bool,
    train: TrainConfig,
    state: _State,
    arms: _Arms,
    data_keys: Key[Array, " seeds"],
    model: HierarchicalModel,
    shift: Float[Array, " columns"],
    scale: Float[Array, " columns"],
    start: Int[Array, ""],
    count: Int[Array, ""],
) -> tuple[_State, Float[Array, "chunk members"]]:
    """``count`` steps of every member; losses of steps beyond ``count`` are zero."""
    optimizer = _optimizer(train)

    def data(step: Int[Array, ""]) -> Float[Array, "seeds batch columns"]:
        def one(key: PRNGKeyArray) -> Float[Array, "batch columns"]:
            return model.sample(jax.random.fold_in(key, step), train.batch).observed_matrix

        return (jax.vmap(one)(data_keys) - shift) / scale

    def update(state: _State, arm: _Arms, values: Float[Array, "batch columns"], step: Int[Array, ""]) -> Any:
        if random:
            masked = draw_random(jax.random.fold_in(arm.mask_keys, step), train.batch, arm.masks)
        else:
            masked = draw_fixed(train.batch, arm.masks)

        def loss_of(flat: Float[Array, " parameters"]) -> Array:
            return network.loss(unflatten(network, flat), values, masked, arm.code_dims)

        loss, gradient = jax.value_and_grad(loss_of)(state.params)
        change, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = jnp.asarray(optax.apply_updates(state.params, change))
        stepped = _State(params, optimizer_state, state.steps_done + 1)
        finite = jnp.isfinite(loss) & jnp.isfinite(gradient).all()
        alive = finite & (state.steps_done == step)
        return jax.tree.map(lambda new, old: jnp.where(alive, new, old), stepped, state), loss

    def body(i: Int[Array, ""], carry: tuple[_State, Array]) -> tuple[_State, Array]:
        state, losses = carry
        values = data(start + i)
        if len(data_keys) == 1:
            state, loss = jax.vmap(update, in_axes=(0, 0, None, None))(state, arms, values[0], start + i)
        else:
            state, loss = jax.vmap(update, in_axes=(0, 0, 0, None))(state, arms, values[arms.data_of], start + i)
        return state, losses.at[i].set(loss)

    losses = jnp.zeros((_CHUNK, len(arms.code_dims)))
    return jax.lax.fori_loop(0, count, body, (state, losses))
