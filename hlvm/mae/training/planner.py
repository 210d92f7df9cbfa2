"""What training an ensemble will take, before it starts: programs, parameters, memory, arithmetic and time."""

from __future__ import annotations

import dataclasses
import statistics
import time
import timeit
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hlvm._keys import checked_key
from hlvm._process.memory import check_fits
from hlvm.mae.config import TrainConfig
from hlvm.mae.networks.networks import unrolled
from hlvm.mae.training.data import TrainingData, check_data, hold_out, standardization
from hlvm.mae.training.groups import Member, Prepared, Tables, group_members, prepare
from hlvm.mae.training.program import compile_program
from hlvm.mae.training.sizes import step_bytes

__all__ = ["Plan", "ProgramPlan", "plan_ensemble"]

_SHARE_OF_PEAK = 0.3
"""Share of the device's matrix-product speed that rough estimates of time assume."""

_PEAK_SIDE = {"cpu": 1024}
_TIMED_STEPS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramPlan:
    """One program of an ensemble.

    Attributes:
        members: positions of its members in the list given.
        network: the network that they share.
        parameters: parameters of each member.
        state_bytes: memory of parameters and optimiser states of all members.
        working_bytes: further memory while a step runs; the least that it can be unless the program was compiled.
        flops_per_step: arithmetic operations of one step of all members, as XLA counts them before it optimises;
            ``None`` where the backend does not say.
        seconds_per_step: measured, or estimated roughly; ``None`` where neither is possible.
        compile_seconds: measured; ``None`` unless the program was compiled.
    """

    members: tuple[int, ...]
    network: Any
    parameters: int
    state_bytes: int
    working_bytes: int
    flops_per_step: float | None
    seconds_per_step: float | None
    compile_seconds: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What training an ensemble will take; ``str(plan)`` is readable.

    Attributes:
        programs: one per group of members that train together; each is compiled once.
        steps: steps of every member.
        measured: whether times were measured on compiled programs, rather than estimated.
    """

    programs: tuple[ProgramPlan, ...]
    steps: int
    measured: bool

    @property
    def bytes(self) -> int:
        """Memory of the largest program; programs run one after the other."""
        return max(p.state_bytes + p.working_bytes for p in self.programs)

    @property
    def seconds(self) -> float | None:
        """Training time of all programs, without compiling; ``None`` if some program's is not known."""
        each = [p.seconds_per_step for p in self.programs]
        return None if None in each else self.steps * sum(s for s in each if s is not None)

    def __str__(self) -> str:
        n = sum(len(p.members) for p in self.programs)
        kind = "measured" if self.measured else f"rough, at {_SHARE_OF_PEAK:.0%} of this device's matrix-product speed"
        members, programs = _counted(n, "member"), _counted(len(self.programs), "program")
        lines = [f"{members} in {programs}, each compiled once; {self.steps} steps; times {kind}"]
        for number, p in enumerate(self.programs):
            memory = p.state_bytes + p.working_bytes
            at_least = "" if p.compile_seconds is not None else "at least "
            duration = "" if p.seconds_per_step is None else f", {_clock(self.steps * p.seconds_per_step)}"
            compiled = "" if p.compile_seconds is None else f", compiled in {p.compile_seconds:.1f} s"
            lines.append(
                f"program {number + 1}: {_counted(len(p.members), 'member')} of {p.parameters:,} parameters, {at_least}"
                f"{memory / 2**20:,.1f} MiB{duration}{compiled}"
            )
        if self.seconds is not None:
            lines.append(f"in all about {_clock(self.seconds)} of training, compiling left out")
        return "\n".join(lines)


def plan_ensemble(
    key: Any,
    data: TrainingData,
    members: Sequence[Member],
    train: TrainConfig,
    *,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
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
        measure: compile every program and time a few steps, which takes the time of compiling. Otherwise times follow
            from a count of arithmetic operations and a short measurement of this device's matrix products; they are
            good to a factor of two or three.

    Returns:
        The plan.

    Raises:
        ValueError: as :func:`~hlvm.mae.fit_ensemble`.
    """
    key = checked_key(key)
    data = check_data(data)
    groups = group_members(data.graph, members, train, devices, microbatch)
    data, _ = hold_out(data, train.held_out, key)
    shift, scale = standardization(data, key)
    tables = Tables(data, shift, scale)
    prepared = [prepare(key, data, group, members, train, shift, scale, tables=tables) for group in groups]
    speed = None if measure else _SHARE_OF_PEAK * _matrix_flops()
    return Plan(programs=tuple(_plan(one, speed) for one in prepared), steps=train.steps, measured=measure)


def _plan(one: Prepared, speed: float | None) -> ProgramPlan:
    lowered = one.lower()
    flops = _whole_step(one, lowered).get("flops")
    flops = float(flops) if flops and flops > 0 else None
    working = step_bytes(one.program, one.feeder.data.graph, len(one.members), one.train.batch)
    compile_seconds = None
    n_devices = 1 if one.program.mesh is None else one.program.mesh.size
    per_step = None if flops is None or speed is None else flops / (speed * n_devices)
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(one.state))
    parameters = one.state.params.shape[1]
    if speed is None:
        begin = time.perf_counter()
        compiled = compile_program(lowered, one.program.platform)
        compile_seconds = time.perf_counter() - begin
        analysis = compiled.memory_analysis()
        working = working if analysis is None else int(analysis.temp_size_in_bytes)
        check_fits(working, "a step", "use a smaller batch or microbatch, or a smaller network", jax.devices()[0])
        per_step = _timed(compiled, one)
    return ProgramPlan(
        members=one.group.members,
        network=one.program.network,
        parameters=parameters,
        state_bytes=state_bytes,
        working_bytes=working,
        flops_per_step=flops,
        seconds_per_step=per_step,
        compile_seconds=compile_seconds,
    )


def _whole_step(one: Prepared, lowered: Any) -> dict[str, float]:
    """What a step costs; of blocks in a loop and of a batch in parts only one on one device would be counted."""
    program = dataclasses.replace(one.program, parts=1, mesh=None, network=unrolled(one.program.network))
    if program != one.program:
        lowered = dataclasses.replace(one, group=one.group._replace(program=program)).lower()
    return lowered.cost_analysis() or {}


def _timed(program: Any, one: Prepared) -> float:
    """Seconds per step, after one call that warms up."""
    state, seconds = one.state, 0.0
    for count in (1, _TIMED_STEPS):
        arguments = one.arguments(state, 0)
        begin = time.perf_counter()
        state, losses = program(*arguments, jnp.int32(0), jnp.int32(count))
        jax.block_until_ready(losses)
        seconds = time.perf_counter() - begin
    return seconds / _TIMED_STEPS


def _matrix_flops() -> float:
    """Operations per second of a large matrix product in float32."""
    side = _PEAK_SIDE.get(jax.default_backend(), 4096)
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(side, side)), jnp.float32)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready(product(matrix, matrix))
    taken = timeit.repeat(lambda: jax.block_until_ready(product(matrix, matrix)), number=1, repeat=5)
    return 2 * side**3 / statistics.median(taken)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
