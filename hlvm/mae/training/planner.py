"""The plan of an ensemble before it is trained: programs, parameters, memory, arithmetic and time.

Time is counted from the call to its end: preparing data and parameters, tracing and compiling every program, steps, and
losses on rows held out. Preparing and tracing are done here as in training, so their time is known. Compiling is
estimated from the number of operations of a program, steps from the arithmetic and the memory traffic that XLA counts;
the speed of this machine in each is measured. Or both are measured, on the compiled programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from hlvm._keys import checked_key
from hlvm._process.memory import check_fits
from hlvm._process.provenance import available_cores
from hlvm.graph import LatentGraph
from hlvm.mae.config import TrainConfig
from hlvm.mae.networks.networks import unrolled
from hlvm.mae.training.data import TrainingData, check_data, hold_out, standardization
from hlvm.mae.training.groups import Group, Member, Prepared, group_members, padded_groups, prepare
from hlvm.mae.training.placing import Tables
from hlvm.mae.training.program import Program, compile_program
from hlvm.mae.training.sizes import step_bytes, step_flops
from hlvm.mae.training.speed import Cost, Speed, clocked, machine_speed, operations

__all__ = ["Plan", "ProgramPlan", "plan_ensemble", "worth_padding", "worth_sharing"]

_TIMED_STEPS = 3

# Ratios of whole programs to the small pieces that are measured: fitted by hand on two cores of one machine, so good to
# a factor of about two elsewhere.
_COMPILING = 1.3
_TRAFFIC = 0.6
_THREADS = 0.85
"""Share of the cores that one device with a thread per core makes use of."""
_TOO_SHORT = 5e-3
"""Processor seconds of a step below which threads do not share it."""
_WAIT = 2e-4
"""Seconds that devices wait for each other at every step."""
_CORE_SPEED = 2e10
"""Operations per processor second of whole steps, roughly, on cores of today."""
_PROGRAM = 11.0
"""Processor seconds to trace and compile a program: a fifth of those of five (benchmarks/results/programs.json)."""
_HELD_OUT = 0.4
"""Compiling the loss on rows held out, over compiling steps."""
_ENCODER = 0.12
"""Compiling an encoder, over compiling steps."""
_FORWARD = 1 / 3
"""Work of a loss or a code, over that of a step, per row."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramPlan:
    """One program of an ensemble.

    Attributes:
        members: positions of its members in the list given.
        network: the network that they share.
        devices: devices that share it.
        parameters: parameters of each member.
        state_bytes: memory of parameters and optimiser states of all members.
        working_bytes: further memory while a step runs; the least that it can be unless the program was compiled.
        flops_per_step: arithmetic operations of one step of all members, as XLA counts them before it optimises;
            ``None`` where the backend does not say.
        tracing: time to trace it; measured.
        compiling: time to compile it, and the loss on rows held out if there are any; measured or estimated.
        step: time of a step of all members; measured or estimated. ``None`` where the backend counts nothing.
        reporting: time of all losses on rows held out; estimated from the step.
    """

    members: tuple[int, ...]
    network: Any
    devices: int
    parameters: int
    state_bytes: int
    working_bytes: int
    flops_per_step: float | None
    tracing: Cost
    compiling: Cost
    step: Cost | None
    reporting: Cost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of an ensemble; ``str(plan)`` is readable.

    Attributes:
        programs: one per group of members that train together; each is compiled once.
        steps: steps of every member.
        batch: samples per step.
        times: whether compiling and steps were measured on compiled programs or estimated.
        preparing: time for the data's mean and standard deviation and the first parameters; measured.
        further: other work that the time of the whole counts, by name; see :meth:`plus`.
    """

    programs: tuple[ProgramPlan, ...]
    steps: int
    batch: int
    times: Literal["measured", "estimated"]
    preparing: Cost
    further: tuple[tuple[str, Cost], ...] = ()

    @property
    def bytes(self) -> int:
        """Memory of the largest program; programs run one after the other."""
        return max(p.state_bytes + p.working_bytes for p in self.programs)

    @property
    def devices(self) -> int:
        """Most devices that share a program."""
        return max(p.devices for p in self.programs)

    @property
    def compiling(self) -> Cost:
        """All programs, as if compiled one after the other."""
        return _total([p.compiling for p in self.programs])

    @property
    def training(self) -> Cost | None:
        """All steps and losses on rows held out, without compiling; ``None`` if some program's are not known."""
        each = [_training(p, self.steps) for p in self.programs]
        return None if None in each else _total([cost for cost in each if cost is not None])

    @property
    def seconds(self) -> float | None:
        """Time by the clock from the call to the end, further work included; ``None`` if not known.

        As many programs as there are cores compile at a time, and a group trains while later ones compile.
        """
        if self.training is None or self.cpu_seconds is None:
            return None
        begin = self.preparing.seconds + sum(p.tracing.seconds for p in self.programs)
        free, trained = [begin] * available_cores(), begin
        for p in self.programs:
            compiled = min(free) + p.compiling.seconds
            free[free.index(min(free))] = compiled
            training = _training(p, self.steps)
            trained = max(trained, compiled) + (0.0 if training is None else training.seconds)
        further = _total([cost for _, cost in self.further])
        of_training = (self.cpu_seconds - further.cpu_seconds) / available_cores()
        return max(trained, of_training) + further.seconds

    @property
    def cpu_seconds(self) -> float | None:
        """Time of all processors together, further work included; ``None`` if not known."""
        if self.training is None:
            return None
        tracing = [p.tracing for p in self.programs]
        parts = [self.preparing, *tracing, self.compiling, self.training, *(cost for _, cost in self.further)]
        return _total(parts).cpu_seconds

    def plus(self, name: str, cost: Cost) -> Plan:
        """The plan with other work after training, such as scores.

        Where the same work is done many times, :func:`clocked` takes the time of it once, on arrays of the right shape.

        Args:
            name: of the work, for the table.
            cost: its time.
        """
        return dataclasses.replace(self, further=(*self.further, (name, cost)))

    def encoding(self, rows: int) -> Cost:
        """Time that :func:`~hlvm.mae.encode` takes for all members, one after the other; estimated from training.

        Args:
            rows: rows that each member encodes.
        """
        found = []
        for p in self.programs:
            found.append(p.compiling.times(_ENCODER))
            if p.step is not None:
                found.append(p.step.times(_FORWARD * rows / self.batch))
        return _total(found)

    def __str__(self) -> str:
        n = sum(len(p.members) for p in self.programs)
        members, programs = _counted(n, "member"), _counted(len(self.programs), "program")
        lines = [f"{members} in {programs}, each compiled once; {self.steps} steps; times {self.times}"]
        for number, p in enumerate(self.programs):
            memory = p.state_bytes + p.working_bytes
            at_least = "" if self.times == "measured" else "at least "
            training = _training(p, self.steps)
            duration = "" if training is None else f", trained in {_clock(training.seconds)}"
            lines.append(
                f"program {number + 1}: {_counted(len(p.members), 'member')} of {p.parameters:,} parameters on "
                f"{_counted(p.devices, 'device')}, {at_least}{memory / 2**20:,.1f} MiB, compiled in "
                f"{_clock(p.compiling.seconds)}{duration}"
            )
        lines += [f"{name}: {_clock(cost.seconds)}" for name, cost in self.further]
        if self.seconds is not None and self.cpu_seconds is not None:
            lines.append(
                f"in all about {_clock(self.seconds)}, {_clock(self.cpu_seconds)} of processor time; of this "
                f"{_clock(self.compiling.cpu_seconds)} for compiling, which a cache of compiled programs may save"
            )
        return "\n".join(lines)


def _training(program: ProgramPlan, steps: int) -> Cost | None:
    return None if program.step is None else _total([program.step.times(steps), program.reporting])


def _total(costs: Sequence[Cost]) -> Cost:
    return Cost(sum(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs))


def plan_ensemble(
    key: Any,
    data: TrainingData,
    members: Sequence[Member],
    train: TrainConfig,
    *,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
    pad: bool = False,
    measure: bool = False,
) -> Plan:
    """Say what :func:`~hlvm.mae.fit_ensemble` will take, without training.

    Args:
        key: as for :func:`~hlvm.mae.fit_ensemble`; memory and time do not depend on it.
        data: as for :func:`~hlvm.mae.fit_ensemble`.
        members: what to train.
        train: the optimisation.
        devices: devices that share the work.
        microbatch: as for :func:`~hlvm.mae.fit`.
        pad: as for :func:`~hlvm.mae.fit_ensemble`.
        measure: compile every program and time a few steps, which takes the time of compiling, less only where a cache
            of compiled programs is kept. Otherwise these times are estimated, to a factor of about two on a CPU that
            does nothing else.

    Returns:
        The plan.

    Raises:
        ValueError: as :func:`~hlvm.mae.fit_ensemble`.
    """
    key = checked_key(key)
    data = check_data(data)
    groups = group_members(data.graph, members, train, devices, microbatch, pad=pad)
    standardize_key, members_key = jax.random.split(key)
    data, held_out = hold_out(data, train.held_out, members_key)
    (shift, scale), preparing = clocked(lambda: standardization(data, standardize_key))
    tables = Tables(data, shift, scale)
    prepared, parameters = clocked(
        lambda: [prepare(members_key, data, one, members, train, shift, scale, held_out, tables) for one in groups]
    )
    speed = None if measure else machine_speed()
    return Plan(
        programs=tuple(_plan(one, speed) for one in prepared),
        steps=train.steps,
        batch=train.batch,
        times="measured" if measure else "estimated",
        preparing=_total([preparing, parameters]),
    )


def worth_padding(graph: LatentGraph, members: Sequence[Member], train: TrainConfig, *, seeds: int = 1) -> bool:
    """Say whether ``pad`` of :func:`~hlvm.mae.fit_ensemble` saves processor time, from sizes alone.

    The same members and steps have the same answer everywhere, so that a run that goes on on another machine is the
    same run. Steps count at the speed of a CPU: on an accelerator padding may pay for more steps than this says.

    Args:
        graph: of the data.
        members: what to train.
        train: the optimisation.
        seeds: how often each of the members is trained.

    Returns:
        Whether compiling fewer programs saves more than longer steps take; ``False`` where nothing can be padded.

    Raises:
        ValueError: as :func:`~hlvm.mae.fit_ensemble`.
    """
    own = group_members(graph, members, train)
    padded = padded_groups(own)
    saved = _PROGRAM * (1 + _HELD_OUT if train.held_out else 1) * (len(own) - len(padded))
    of_own, of_padded = (sum(_seconds(group, train) for group in groups) for groups in (own, padded))
    return seeds * train.steps * (of_padded - of_own) < saved


def worth_sharing(
    data: TrainingData, members: Sequence[Member], train: TrainConfig, devices: Sequence[Any], *, pad: bool = False
) -> Sequence[Any] | None:
    """Say whether cores as devices should share a run, without tracing anything.

    Args:
        data: as for :func:`plan_ensemble`.
        members: what to train.
        train: the optimisation.
        devices: that could share it.
        pad: as for :func:`~hlvm.mae.fit_ensemble`.

    Returns:
        ``devices``, or ``None`` where one of them is faster: steps are so short that waiting costs more than sharing
        saves, or neither members nor batches can be shared. Accelerators are taken as they come.

    Raises:
        ValueError: as :func:`~hlvm.mae.fit_ensemble`.
    """
    shared = alone = 0.0
    for group in group_members(check_data(data).graph, members, train, devices, pad=pad):
        seconds = _seconds(group, train)
        n_devices = 1 if group.program.mesh is None else group.program.mesh.size
        shared += _estimated(seconds, group.program, n_devices).seconds
        alone += seconds
    return devices if devices[0].platform != "cpu" or shared < alone else None


def _seconds(group: Group, train: TrainConfig) -> float:
    """Processor seconds of a step of a group, roughly."""
    return step_flops(group.program.network, len(group.members), train.batch) / _CORE_SPEED


def _plan(one: Prepared, speed: Speed | None) -> ProgramPlan:
    lowered, tracing = clocked(one.lower)
    counted = _whole_step(one, lowered)
    flops, traffic = (counted.get(name) or None for name in ("flops", "bytes accessed"))
    working = step_bytes(one.program, one.feeder.data.graph, len(one.members), one.train.batch)
    mesh = one.program.mesh
    n_devices = 1 if mesh is None else mesh.size
    step: Cost | None = None
    if speed is None:
        compiled, compiling = clocked(lambda: compile_program(lowered, one.program.platform))
        analysis = compiled.memory_analysis()
        working = working if analysis is None else int(analysis.temp_size_in_bytes)
        device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
        check_fits(working, "a step", "use a smaller batch or microbatch, or a smaller network", device)
        step = _timed(compiled, one)
    else:
        seconds = _COMPILING * speed.compiling * operations(lowered)
        compiling = Cost(seconds, seconds)
        if flops is not None and traffic is not None:
            step = _estimated(flops / speed.arithmetic + traffic / (_TRAFFIC * speed.memory), one.program, n_devices)
    reporting = Cost(0.0, 0.0)
    if one.held_out is not None:
        compiling = compiling.times(1 + _HELD_OUT)
        if step is not None:
            reporting = step.times(_FORWARD * one.reports * one.held_out.counted.size / one.train.batch)
    return ProgramPlan(
        members=one.group.members,
        network=one.program.network,
        devices=n_devices,
        parameters=one.state.params.shape[1],
        state_bytes=sum(leaf.nbytes for leaf in jax.tree.leaves(one.state)),
        working_bytes=working,
        flops_per_step=flops,
        tracing=tracing,
        compiling=compiling,
        step=step,
        reporting=reporting,
    )


def _estimated(seconds: float, program: Program, n_devices: int) -> Cost:
    """Cost of a step that keeps one device busy for so long; of a CPU one core."""
    if program.platform != "cpu":
        clock = seconds / n_devices
        return Cost(clock, clock)  # the host waits for it
    cores = available_cores()
    if n_devices > 1:
        return Cost(seconds / min(n_devices, cores) + _WAIT, seconds + n_devices * _WAIT)
    one_thread = seconds < _TOO_SHORT or len(jax.devices("cpu")) > 1  # devices of cores have a thread each
    return Cost(seconds if one_thread else seconds / max(1.0, _THREADS * cores), seconds)


def _whole_step(one: Prepared, lowered: Any) -> dict[str, float]:
    """What a step costs; of blocks in a loop and of a batch in parts only one on one device would be counted."""
    program = dataclasses.replace(one.program, parts=1, mesh=None, network=unrolled(one.program.network))
    if program != one.program:
        lowered = dataclasses.replace(one, group=one.group._replace(program=program)).lower()
    return lowered.cost_analysis() or {}


def _timed(program: Any, one: Prepared) -> Cost:
    """A step, after one call that warms up."""
    state, cost = one.state, Cost(0.0, 0.0)
    for count in (1, _TIMED_STEPS):
        arguments = one.arguments(state, 0)
        (state, _), cost = clocked(
            lambda a=arguments, n=count: jax.block_until_ready(program(*a, jnp.int32(0), jnp.int32(n)))
        )
    return cost.times(1 / _TIMED_STEPS)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
