"""Members of an ensemble, and which of them one program trains together."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, PRNGKeyArray

from hlvm._numbers import UsageError, positive, whole_number
from hlvm._process.promotion import usual_promotion
from hlvm.graph import LatentGraph
from hlvm.mae.config import NetworkConfig, ObjectiveConfig, TrainConfig
from hlvm.mae.networks.linear import LinearNetwork
from hlvm.mae.networks.networks import build_network, code_dim_of, fully_visible, padded_to_most
from hlvm.mae.objectives.base import first_parameters
from hlvm.mae.objectives.reconstruction import LossConfig
from hlvm.mae.result import seed_keys
from hlvm.mae.training.data import ArrayData, Source, some_rows
from hlvm.mae.training.feeding import Feed, Feeder, feeder
from hlvm.mae.training.held_out import HeldOutRows, held_out_losses, held_out_rows
from hlvm.mae.training.labels import label_units
from hlvm.mae.training.mask_draws import MaskArrays, MaskPlan, TrainingMask, draw_own, mask_plan
from hlvm.mae.training.placing import Tables, placed
from hlvm.mae.training.program import CHUNK, Arms, Program, State, first_state, run_chunk
from hlvm.mae.training.sizes import check_sizes
from hlvm.mae.training.units import Columns
from hlvm.masking import Sampled

__all__ = ["Group", "Member", "Prepared", "group_members", "padded_groups", "prepare", "shares"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """One masked autoencoder of an ensemble.

    Attributes:
        mask: how it is masked while training; see :data:`hlvm.mae.TrainingMask`.
        network: its architecture.
        seed: members with equal seeds are paired: same data, same initial parameters, same mask noise. From 0 to
            2**32 - 1.
        loss: what it makes small: one of :mod:`hlvm.mae.objectives`.
    """

    mask: TrainingMask
    network: NetworkConfig
    seed: int = 0
    loss: ObjectiveConfig = dataclasses.field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", whole_number(self.seed, "Member: seed", minimum=0))
        if self.seed > _LARGEST_SEED:
            raise ValueError(f"Member: seed must be at most 2**32 - 1, got {self.seed}")


_LARGEST_SEED = 2**32 - 1
_ROWS_STREAM = 2**32 - 1
"""Of rows that are only looked at before training."""


class MemberError(ValueError):
    """A member whose mask, network or loss does not fit the graph.

    Attributes:
        member: its position in the list given.
        why: what does not fit.
        alone: whether it is the only one, so that its position says nothing.
    """

    def __init__(self, member: int, why: ValueError, *, alone: bool) -> None:
        self.member, self.why, self.alone = member, why, alone
        super().__init__(str(why) if alone else f"member {member}: {why}")


class Group(NamedTuple):
    """Members that share a program, their positions in the list given, and how each is masked."""

    program: Program
    members: tuple[int, ...]
    plans: tuple[MaskPlan, ...]


def group_members(
    graph: LatentGraph,
    members: Sequence[Member],
    train: TrainConfig,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
    *,
    pad: bool = False,
) -> list[Group]:
    """Check all members and sort them into as few groups as there are programs; for ``pad`` see ``fit_ensemble``.

    Raises:
        ValueError: no members or no devices; or a mask, network, loss and graph that do not fit together; or devices of
            several processes that cannot share members and batches evenly; or a microbatch below 1, or that does not
            divide a device's part of a batch; what cannot fit into memory; or ``jax.disable_jit()`` is in force.
    """
    flags: Any = jax.config
    if flags.jax_disable_jit:
        raise ValueError(
            "training programs are compiled ahead of time, which jax.disable_jit() forbids: do not use it around fit, "
            "fit_ensemble and plan_ensemble (everything else runs under it)"
        )
    if not members:
        raise ValueError("an ensemble needs at least one member")
    if devices is not None and not len(devices):
        raise ValueError("devices is empty: give at least one, or None for JAX's default device")
    microbatch = None if microbatch is None else positive(microbatch, "microbatch")
    found: dict[Program, list[tuple[int, MaskPlan]]] = {}
    for index, member in enumerate(members):
        try:
            plan = mask_plan(graph, member.mask)
            network = build_network(graph, plan, member.network, member.loss)
            arrays, objective = member.loss.arrays(graph), member.loss.on(graph)
            objective.check_network(network)
            program = Program(network=network, objective=objective, kind=plan.kind, n_listed=len(plan.arrays.masks))
            objective.check_masks(member.mask, plan, arrays, batch=train.batch, steps=train.steps)
        except ValueError as error:
            raise MemberError(index, error, alone=len(members) == 1) from None
        found.setdefault(program, []).append((index, plan))
    groups = [Group(program, *zip(*rows, strict=True)) for program, rows in found.items()]
    groups = padded_groups(groups) if pad else groups
    groups = [group._replace(program=_placed_on(group, train.batch, devices, microbatch)) for group in groups]
    check_sizes(graph, [(group.program, group.members) for group in groups], train)
    return groups


def padded_groups(groups: Sequence[Group]) -> list[Group]:
    """Groups that differ only in the number of visible tokens as one, in the place of the first."""
    alike: dict[Program, list[Group]] = {}
    for group in groups:
        program = dataclasses.replace(group.program, network=fully_visible(group.program.network))
        alike.setdefault(program, []).append(group)
    found = []
    for several in alike.values():
        network = padded_to_most([group.program.network for group in several])
        rows = [row for group in several for row in zip(group.members, group.plans, strict=True)]
        rows.sort(key=operator.itemgetter(0))
        found.append(Group(dataclasses.replace(several[0].program, network=network), *zip(*rows, strict=True)))
    return found


def _placed_on(group: Group, batch: int, devices: Sequence[Any] | None, microbatch: int | None) -> Program:
    """A group's program spread over devices, each of which goes through its samples part by part."""
    whole = group.program.objective.needs_whole_batch
    # With nothing of a batch to share, devices share members alone.
    mesh = None if devices is None else _mesh(devices, len(group.members), 1 if whole else batch)
    samples = batch if mesh is None else batch // mesh.shape["batch"]
    at_once = samples if microbatch is None else min(microbatch, samples)
    if samples % at_once:
        raise UsageError(
            f"must divide the {samples} samples that each device has of the batches of member {group.members[0]}, got "
            f"{microbatch}",
            argument="microbatch",
        )
    if whole and at_once < samples:
        raise UsageError(
            f"must be None here: {type(group.program.objective).__name__} of member {group.members[0]} compares the "
            f"samples of a batch with each other, so that it needs all {samples} at once, got {microbatch}",
            argument="microbatch",
        )
    return dataclasses.replace(group.program, mesh=mesh, parts=samples // at_once)


def _mesh(devices: Sequence[Any], n_members: int, batch: int) -> Mesh | None:
    """As many devices as possible share the members, the others the batch of each member; ``None`` for JAX's first."""
    over_members, over_batch = shares(len(devices), n_members, batch)
    used = over_members * over_batch
    if used < len(devices) and len({device.process_index for device in devices}) > 1:
        raise ValueError(
            f"{len(devices)} devices of several processes cannot share {n_members} members and a batch of {batch} "
            f"evenly: use a batch that is a multiple of {len(devices) // math.gcd(len(devices), n_members)}, or fewer "
            f"devices"
        )
    if used == 1 and devices[0] == jax.devices()[0]:
        return None
    return Mesh(np.asarray(devices[:used]).reshape(over_members, over_batch), ("members", "batch"))


def shares(n_devices: int, n_members: int, batch: int) -> tuple[int, int]:
    """By how many devices members are shared, and by how many the batch of each: evenly, and as many as can be.

    Args:
        n_devices: at least 1.
        n_members: members of one program.
        batch: samples in a batch.
    """
    for used in range(n_devices, 1, -1):
        over_members = math.gcd(used, n_members)
        if batch % (used // over_members) == 0:
            return over_members, used // over_members
    return 1, 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A group ready to run.

    Attributes:
        group: the group; its program knows the steps of one call.
        state: before the first step.
        arms: what differs between members; masks drawn by the host are those of the first chunk.
        feeder: where its data comes from.
        members: its members.
        key: the key of the ensemble.
        train: the optimisation.
        held_out: rows that it is not trained on.
        held_out_positions: where they are in the data set.
        drawn: the latest masks that were drawn by the host, by the number of their chunk.
    """

    group: Group
    state: State
    arms: Arms
    feeder: Feeder
    members: tuple[Member, ...]
    key: PRNGKeyArray
    train: TrainConfig
    held_out: HeldOutRows | None = None
    held_out_positions: Int[np.ndarray, " rows"] | None = None
    drawn: dict[int, MaskArrays] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def program(self) -> Program:
        """What the group's members agree in."""
        return self.group.program

    def arguments(self, state: State, start: int) -> tuple[Any, ...]:
        """What the program takes for the steps from ``start`` on, on the devices that it runs on."""
        arms = self.arms
        if self.program.kind is Sampled:
            arms = arms._replace(masks=self._own_masks(arms.masks, start))
        feed = self.feeder.for_chunk(start)
        return (self._by_member(state), self._by_member(arms), *self._for_all(feed))

    def lower(self) -> Any:
        """The program, traced but not compiled."""
        arguments = self.arguments(self.state, 0)
        return run_chunk.lower(self.program, self.train, *arguments, jnp.int32(0), jnp.int32(0))

    @property
    def reports(self) -> int:
        """How often the loss on rows held out is taken."""
        return 0 if self.held_out is None else -(-self.train.steps // self.program.chunk)

    def held_out_losses(self, state: State) -> Float[Array, " members"]:
        """The loss on the rows held out.

        Raises:
            ValueError: a strategy of the user's own drew masks it must not.
        """
        rows, arms = self.held_out, self.arms
        if rows is None:
            raise ValueError("no rows are held out")
        if self.program.kind is Sampled:
            n_batches, batch = rows.counted.shape
            shape = (n_batches, self.program.objective.views * batch)
            masks = [self._draw(m, plan, self.train.steps, shape) for m, plan in self._planned]
            arms = arms._replace(masks=arms.masks._replace(masks=np.stack(masks)))
        if self.program.mesh is not None:
            rows = placed(rows, NamedSharding(self.program.mesh, PartitionSpec()))
        return held_out_losses(self.program, self.train, state.weights, self._by_member(arms), rows)

    @property
    def _planned(self) -> Iterable[tuple[Member, MaskPlan]]:
        return zip(self.members, self.group.plans, strict=True)

    def _by_member(self, tree: Any) -> Any:
        if self.program.mesh is None:
            return tree
        return placed(tree, NamedSharding(self.program.mesh, PartitionSpec("members")))

    def _for_all(self, feed: Feed) -> tuple[Feed, Float[Array, " columns"], Float[Array, " columns"]]:
        shared = (feed, *self.feeder.units)
        return (
            shared if self.program.mesh is None else placed(shared, NamedSharding(self.program.mesh, PartitionSpec()))
        )

    def _own_masks(self, masks: MaskArrays, start: int) -> MaskArrays:
        """Masks of the users' own strategies for one chunk; all of it, also where the run ends.

        Raises:
            ValueError: a strategy drew masks it must not.
        """
        number = start // self.program.chunk
        if number not in self.drawn:
            self.drawn.clear()
            shape = (self.program.chunk, self.program.objective.views * self.train.batch)
            rows = [self._draw(m, plan, number, shape) for m, plan in self._planned]
            self.drawn[number] = masks._replace(masks=np.stack(rows))
        return self.drawn[number]

    def _draw(self, member: Member, plan: MaskPlan, number: int, shape: tuple[int, int]) -> np.ndarray:
        """Masks of some batches; ``number`` says which of all that a member draws."""
        key = jax.random.fold_in(seed_keys(self.key, member.seed).mask, number)
        rows = draw_own(member.mask, self.feeder.data.graph, key, math.prod(shape), plan)
        network = self.program.network
        if not isinstance(network, LinearNetwork) and network.tokens is not None:
            network.tokens.check_whole(rows)
        return rows.reshape(*shape, -1)


@usual_promotion
def prepare(
    key: PRNGKeyArray,
    data: Source,
    group: Group,
    members: Sequence[Member],
    train: TrainConfig,
    shift: Columns,
    scale: Columns,
    held_out: ArrayData | None = None,
    tables: Tables | None = None,
) -> Prepared:
    """Initial parameters and everything that the members of one group read.

    Args:
        key: of the ensemble.
        data: the generator or data set.
        group: which of the members they are.
        members: all of the ensemble.
        train: the optimisation.
        shift: mean of every column.
        scale: standard deviation of every column.
        held_out: rows that nothing is trained on.
        tables: of this data, shared by all groups of an ensemble; ``None`` makes its own.

    Raises:
        ValueError: an objective that does not fit the data.
    """
    own = tuple(members[i] for i in group.members)
    seeds = list(dict.fromkeys(member.seed for member in own))
    keys = [seed_keys(key, seed) for seed in seeds]
    data_of = np.asarray([seeds.index(member.seed) for member in own], dtype=np.int32)
    arms = Arms(
        masks=MaskArrays(*(jnp.stack(x) for x in zip(*(plan.arrays for plan in group.plans), strict=True))),
        losses=jax.tree.map(lambda *arrays: jnp.stack(arrays), *(m.loss.arrays(data.graph) for m in own)),
        code_dims=jnp.asarray([code_dim_of(m.network) for m in own], dtype=jnp.int32),
        data_of=jnp.asarray(data_of),
        mask_keys=jnp.stack([k.mask for k in keys])[data_of],
        noise_keys=jnp.stack([k.noise for k in keys])[data_of],
    )
    objective = group.program.objective
    params = first_parameters(group.program.network, objective, jnp.stack([k.init for k in keys]))[data_of]
    table = (Tables(data, shift, scale) if tables is None else tables).on(group.program.mesh)
    seed_data = jnp.stack([k.data for k in keys])
    feeds = feeder(data, seed_data, batch=train.batch, chunk=CHUNK, shift=shift, scale=scale, table=table)
    if objective.reads_rows:
        objective.check_rows(some_rows(data, jax.random.fold_in(key, _ROWS_STREAM)))
    if objective.labels is not None:
        units = label_units(data, objective.labels, jax.random.fold_in(key, _ROWS_STREAM))
        feeds = dataclasses.replace(feeds, labels=units)
    program = dataclasses.replace(group.program, chunk=feeds.chunk)
    return Prepared(
        group=group._replace(program=program),
        state=first_state(train, params, with_teacher=objective.has_teacher),
        arms=arms,
        feeder=feeds,
        members=own,
        key=key,
        train=train,
        held_out=None if held_out is None else held_out_rows(held_out, train.batch, shift, scale),
        held_out_positions=None if held_out is None else held_out.positions,
    )
