"""Speed of this machine at compiling, multiplying and moving numbers: what plans scale their counts by.

Three short measurements, of which the best of a few turns counts, since other work on the machine only slows them.
On a CPU they are in seconds of processor time, which other work leaves alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from hlvm.mae.training.program import compile_program

__all__ = ["Cost", "Speed", "clocked", "machine_speed", "operations"]

_TURNS = 4
_Made = TypeVar("_Made")


class Cost(NamedTuple):
    """Time that a piece of work takes.

    Attributes:
        seconds: by the clock, on an otherwise idle machine if estimated.
        cpu_seconds: of all processors together.
    """

    seconds: float
    cpu_seconds: float

    def times(self, number: int | float) -> Cost:
        """So many of it, one after the other."""
        return Cost(self.seconds * number, self.cpu_seconds * number)


class Speed(NamedTuple):
    """Speed of the default device; on a CPU, of one core.

    Attributes:
        compiling: processor seconds per operation of a small program before XLA optimises it.
        arithmetic: operations per second in a matrix product in float32.
        memory: bytes per second that a sum of two arrays reads and writes.
    """

    compiling: float
    arithmetic: float
    memory: float


def clocked(work: Callable[[], _Made]) -> tuple[_Made, Cost]:
    """Do some work; what it makes, and its time."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, Cost(time.perf_counter() - begin, time.process_time() - begin_cpu)


def operations(lowered: Any) -> int:
    """Operations of a program that was traced, each function of it counted once: what compile time grows with."""
    return lowered.as_text().count(" = ")


def machine_speed() -> Speed:
    """Measure this machine, in about a second of processor time."""
    on_cpu = jax.default_backend() == "cpu"
    side, length = (512, 2**18) if on_cpu else (4096, 2**26)
    matrix, row = jnp.full((side, side), 0.5), jnp.ones(length)
    product = jax.jit(lambda a: jax.lax.fori_loop(0, 4, lambda _, b: a @ b * 1e-3, a))
    total = jax.jit(lambda a: jax.lax.fori_loop(0, 16, lambda _, b: a + b, a))
    clock = time.process_time if on_cpu else time.perf_counter
    return Speed(
        compiling=_best(_compile_small, time.process_time),
        arithmetic=8 * side**3 / _best(lambda: jax.block_until_ready(product(matrix)), clock),
        memory=16 * 3 * 4 * length / _best(lambda: jax.block_until_ready(total(row)), clock),
    )


def _best(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Seconds of the quickest of some turns; of ``work`` that says how many parts it has, per part."""
    work()
    found = []
    for _ in range(_TURNS):
        begin = clock()
        parts = work()
        found.append((clock() - begin) / (parts if isinstance(parts, int) else 1))
    return max(min(found), 1e-9)


def _compile_small() -> int:
    """Compile the gradient of a small perceptron in a loop; its number of operations."""

    def loss(params: list[Any], rows: Any) -> Any:
        for weight, bias in params:
            rows = jnp.tanh(rows @ weight + bias)
        return (rows**2).mean()

    def steps(params: list[Any], rows: Any) -> Any:
        return jax.lax.fori_loop(
            0, 3, lambda _, p: jax.tree.map(lambda a, b: a - b, p, jax.grad(loss)(p, rows)), params
        )

    lowered = jax.jit(steps).lower([(jnp.ones((16, 16)), jnp.ones(16))] * 4, jnp.ones((8, 16)))
    compile_program(lowered, jax.default_backend())
    return operations(lowered)
