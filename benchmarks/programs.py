"""One program per number of visible tokens, or one for all, whose shorter lists of tokens are padded.

Members of five ratios on 8 x 8 cells. Padding saves compiling four programs, and lets every member take steps as long
as those at the least ratio. Both sides compile, then take turns at some steps; processor time is compared, which other
work on the machine leaves alone. From it follows after how many steps the programs of their own are cheaper.

Run: python benchmarks/programs.py [--seeds 3] [--out FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from records import write_rows

from hlvm import HierarchicalModel, LatentGraph
from hlvm.mae import Member, TrainConfig, ViTConfig
from hlvm.mae.training.data import standardization
from hlvm.mae.training.groups import Prepared, group_members, prepare
from hlvm.mae.training.program import State, compile_program
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian

_RATIOS = (0.1, 0.25, 0.5, 0.75, 0.9)
_STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One side.

    Attributes:
        programs: how many it compiles.
        compile_seconds: processor time of tracing and compiling all of them.
        step_seconds: processor time of one step of all members, in each turn.
    """

    programs: int
    compile_seconds: float
    step_seconds: list[float]

    @property
    def median(self) -> float:
        """The middle turn."""
        return statistics.median(self.step_seconds)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="padded programs against programs of their own")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = HierarchicalModel.init(jax.random.key(1), LatentGraph.quadtree(3), LinearGaussian())
    train = TrainConfig(steps=400, batch=options.batch)
    members = [
        Member(mask=RandomMask(ratio=r), network=ViTConfig(), seed=s) for r in _RATIOS for s in range(options.seeds)
    ]
    shift, scale = standardization(model, jax.random.key(0))
    sides = []
    for padded in (False, True):
        groups = group_members(model.graph, members, train, pad=padded)
        prepared = [prepare(jax.random.key(0), model, group, members, train, shift, scale) for group in groups]
        begin = time.process_time()
        programs = [compile_program(one.lower(), "cpu") for one in prepared]
        compiling = time.process_time() - begin
        sides.append((compiling, [_steps(one, program) for one, program in zip(prepared, programs, strict=True)]))
    turns: list[list[float]] = [[], []]
    for turn in range(options.turns + 1):
        for side in (0, 1) if turn % 2 else (1, 0):
            begin = time.process_time()
            for steps in sides[side][1]:
                steps()
            turns[side].append((time.process_time() - begin) / _STEPS)
    rows = [
        Row(programs=len(runs), compile_seconds=compiling, step_seconds=taken[1:])  # the first turn warms up
        for (compiling, runs), taken in zip(sides, turns, strict=True)
    ]
    for row in rows:
        print(f"{row.programs} programs: compiled in {row.compile_seconds:.1f} s, {1e3 * row.median:.0f} ms per step")
    exact, one = rows
    saved, dearer = exact.compile_seconds - one.compile_seconds, one.median - exact.median
    print(f"a padded step takes {one.median / exact.median:.2f} times as long")
    print(f"padding pays below {saved / dearer:.0f} steps")
    if options.out is not None:
        write_rows(options.out, rows, "jax")


def _steps(one: Prepared, program: Any) -> Callable[[], None]:
    """A function that takes some steps more."""
    state = one.state

    def take() -> None:
        nonlocal state
        found, losses = program(*one.arguments(state, 0), jnp.int32(0), jnp.int32(_STEPS))
        state = State(*found)
        jax.block_until_ready(losses)

    return take


if __name__ == "__main__":
    main()
