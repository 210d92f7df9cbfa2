"""Training one masked autoencoder, or many at once.

Members of an ensemble whose networks have the same shape run in one compiled program, vectorised over members; all
programs are compiled at the same time. Data is generated on the device, inside the program. Members with the same seed
see the same data, start from the same parameters and draw the same mask noise, so that arms of an ablation are paired.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.mae.config import LossConfig, NetworkConfig, TrainConfig
from hlvm.mae.fit import Fit, seed_keys
from hlvm.mae.linear import LinearNetwork
from hlvm.mae.losses import LossArrays, check_region, loss_arrays, objective
from hlvm.mae.masks import MaskArrays, MaskPlan, TrainingMask, as_strategy, draw_own, mask_plan
from hlvm.mae.networks import build_network, code_dim_of, init_flat
from hlvm.mae.program import CHUNK, Arms, Program, State, first_state, run_chunk, standardization
from hlvm.simulator import HierarchicalModel

__all__ = ["Member", "Progress", "fit", "fit_ensemble"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One masked autoencoder of an ensemble.

    Attributes:
        mask: how it is masked while training; see :data:`hlvm.mae.TrainingMask`.
        network: its architecture.
        seed: members with equal seeds are paired: same data, same initial parameters, same mask noise.
        loss: what it makes small.
    """

    mask: TrainingMask
    network: NetworkConfig
    seed: int = 0
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)


class Progress(NamedTuple):
    """Where a running ensemble is.

    Attributes:
        group: number of the program that is running, from 0.
        n_groups: number of programs.
        members: positions of that program's members in the list given.
        step: steps done by this program.
        steps: steps in all.
        losses: loss of each of these members at the latest step; see :class:`LossConfig` for the units.
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
    mask: TrainingMask,
    config: NetworkConfig,
    train: TrainConfig,
    *,
    loss: LossConfig | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Fit:
    """Train one masked autoencoder on data drawn from ``model``.

    Args:
        key: a typed key; everything random follows from it.
        model: the generator.
        mask: which observed variables are hidden from the encoder; see :data:`hlvm.mae.TrainingMask`.
        config: the network.
        train: the optimisation.
        loss: what is made small; ``None`` for the squared error of the masked part.
        on_progress: called between chunks of steps.

    Returns:
        The trained autoencoder with its losses.

    Raises:
        ValueError: mask, network, loss and graph do not fit together.
    """
    member = Member(mask=mask, network=config, loss=loss or LossConfig())
    return fit_ensemble(key, model, [member], train, on_progress=on_progress)[0]


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
        ValueError: no members, or a mask, network, loss and graph that do not fit together, before any training; or
            a strategy of your own that draws masks it must not.
    """
    if not members:
        raise ValueError("fit_ensemble needs at least one member")
    groups = _group(model, members, train)
    standardize_key, members_key = jax.random.split(key)
    shift, scale = standardization(model, standardize_key)
    own = [_OwnMasks(model.graph, members_key, [members[i] for i in g.members], g, train.batch) for g in groups]
    prepared = [_prepare(members_key, model, masks, train, shift, scale) for masks in own]
    fits: dict[int, Fit] = {}
    with _compiling([lowered for lowered, _ in prepared]) as programs:
        for number, (group, program, (_, arguments)) in enumerate(zip(groups, programs, prepared, strict=True)):

            def report(step: int, losses: np.ndarray, number: int = number, group: _Group = group) -> None:
                if on_progress is not None:
                    on_progress(Progress(number, len(groups), group.members, step, train.steps, losses))

            params, losses, steps_done = _run(program.result(), arguments, own[number], train, report)
            for row, index in enumerate(group.members):
                fits[index] = Fit(
                    model=model,
                    mask=as_strategy(members[index].mask),
                    config=members[index].network,
                    train=train,
                    loss=members[index].loss,
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
    """Members that share a program, their positions, and how each is masked."""

    program: Program
    members: tuple[int, ...]
    plans: tuple[MaskPlan, ...]


def _group(model: HierarchicalModel, members: Sequence[Member], train: TrainConfig) -> list[_Group]:
    found: dict[Program, list[tuple[int, MaskPlan]]] = {}
    graph = model.graph
    for index, member in enumerate(members):
        try:
            plan = mask_plan(graph, member.mask)
            network = build_network(graph, plan, member.network, member.loss)
            loss_arrays(graph, member.loss)
            program = Program(
                network=network,
                objective=objective(graph, member.loss),
                kind=plan.kind,
                n_listed=len(plan.arrays.masks),
            )
            check_region(graph, member.mask, plan, member.loss, batch=train.batch, steps=train.steps)
        except ValueError as error:
            raise ValueError(f"member {index}: {error}" if len(members) > 1 else str(error)) from None
        found.setdefault(program, []).append((index, plan))
    return [_Group(program, *zip(*rows, strict=True)) for program, rows in found.items()]


def _prepare(
    key: PRNGKeyArray,
    model: HierarchicalModel,
    own: _OwnMasks,
    train: TrainConfig,
    shift: Float[Array, " columns"],
    scale: Float[Array, " columns"],
) -> tuple[Any, tuple[Any, ...]]:
    """The lowered program of a group, and the arguments of its first call."""
    group, members = own.group, own.members
    seeds = list(dict.fromkeys(member.seed for member in members))
    keys = [seed_keys(key, seed) for seed in seeds]
    data_of = np.asarray([seeds.index(member.seed) for member in members], dtype=np.int32)
    masks = MaskArrays(*(jnp.stack(x) for x in zip(*(plan.arrays for plan in group.plans), strict=True)))
    arms = Arms(
        masks=own.for_chunk(masks, 0),
        losses=LossArrays(
            *(jnp.stack(x) for x in zip(*(loss_arrays(model.graph, m.loss) for m in members), strict=True))
        ),
        code_dims=jnp.asarray([code_dim_of(m.network) for m in members], dtype=jnp.int32),
        data_of=jnp.asarray(data_of),
        mask_keys=jnp.stack([k.mask for k in keys])[data_of],
        noise_keys=jnp.stack([k.noise for k in keys])[data_of],
    )
    params = init_flat(group.program.network, jnp.stack([k.init for k in keys]))[data_of]
    data_keys = jnp.stack([k.data for k in keys])
    arguments = (first_state(train, params), arms, data_keys, model, shift, scale)
    return run_chunk.lower(group.program, train, *arguments, jnp.int32(0), jnp.int32(0)), arguments


# ---------------------------------------------------------------------- running


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


@dataclasses.dataclass(frozen=True)
class _OwnMasks:
    """Masks of strategies that are drawn by the host, one chunk of steps at a time."""

    graph: LatentGraph
    key: PRNGKeyArray
    members: Sequence[Member]
    group: _Group
    batch: int

    def for_chunk(self, masks: MaskArrays, number: int) -> MaskArrays:
        """The members' masks, where they are drawn here with those of one chunk; all of it, also where the run ends.

        Raises:
            ValueError: a strategy drew masks it must not.
        """
        if self.group.program.kind != "own":
            return masks
        drawn = [self._draw(m, plan, number) for m, plan in zip(self.members, self.group.plans, strict=True)]
        return masks._replace(masks=np.stack(drawn))

    def _draw(self, member: Member, plan: MaskPlan, number: int) -> np.ndarray:
        key = jax.random.fold_in(seed_keys(self.key, member.seed).mask, number)
        rows = draw_own(member.mask, self.graph, key, CHUNK * self.batch, plan)
        network = self.group.program.network
        if not isinstance(network, LinearNetwork) and network.tokens is not None:
            network.tokens.check_whole(rows)
        return rows.reshape(CHUNK, self.batch, -1)


def _run(
    program: Any,
    arguments: tuple[Any, ...],
    masks: _OwnMasks,
    train: TrainConfig,
    report: Callable[[int, np.ndarray], None],
) -> tuple[Float[Array, "members parameters"], np.ndarray, np.ndarray]:
    """Run a compiled group chunk by chunk: parameters, losses (steps, members), and finite steps per member."""
    state: State = arguments[0]
    arms: Arms = arguments[1]
    losses: list[np.ndarray] = []
    for start in range(0, train.steps, CHUNK):
        count = min(CHUNK, train.steps - start)
        if start:
            arms = arms._replace(masks=masks.for_chunk(arms.masks, start // CHUNK))
        state, chunk = program(state, arms, *arguments[2:], jnp.int32(start), jnp.int32(count))
        losses.append(np.asarray(chunk)[:count])
        report(start + count, losses[-1][-1])
    return state.params, np.concatenate(losses), np.asarray(state.steps_done)
