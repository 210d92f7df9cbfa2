"""How fast masked autoencoders are trained: ratios against the same network in PyTorch, measured in the same run.

python benchmarks/training.py [--out benchmarks/results/training.json] [--quick] [--one-device | --sweep STEPS]
                              [--microbatch N]

The network has an encoder of width 64 and depth 4, a decoder of width 32 and depth 2, 8 tokens by 8 of 4 x 4 pixels of
three colours. Both sides start from the same weights and are shown to compute the same loss before anything is timed.
Both read rows of the same table of random images in memory, draw their own random masks and take AdamW steps with a
schedule and gradient clipping. Contenders take turns, a few steps at a time, and the table shows the median of the
rounds with the least and the most. PyTorch runs eager, with attention written out, and compiled (torch.compile, where
there is a C++ compiler); compile times stand beside.

Here every core is a device, the devices share the batch, and each goes through its samples 16 at a time, which is what
docs/mae.md advises for a CPU. --one-device measures the default instead, one device with as many threads as there are
cores and whole batches, which needs a process of its own. --microbatch N goes through N samples at a time, or through
whole batches for 0, whichever way devices are made. With either option PyTorch is not compiled.

The share of peak is the arithmetic of the network's matrix products (three times the forward pass) over the speed of a
product of two square matrices of 2048 rows, measured in the same run.

--sweep asks another question instead: 4 ratios x 4 seeds for so many steps each, compiling included; here all members
at once, every core a device of its own, in PyTorch one member after the other, each with all cores.

PyTorch is needed: pip install torch
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from records import write_rows
from rich.console import Console
from rich.table import Table
from torch_mae import TorchMAE, optimizer, train_step

from hlvm.graph import LatentGraph
from hlvm.mae import ArrayData, LossConfig, Member, TrainConfig, ViTConfig, fit_ensemble, one_device_per_core
from hlvm.mae.data import standardization
from hlvm.mae.groups import Prepared, group_members, prepare
from hlvm.mae.networks import unflatten
from hlvm.mae.program import compile_program
from hlvm.masking import RandomMask

CONFIG = ViTConfig(patch=1, width=64, depth=4, heads=4, decoder_width=32, decoder_depth=2, mlp_ratio=4)
SIDE, CELL, ROWS = 8, 48, 4096
RATIOS = (0.25, 0.5, 0.75, 0.9)
SEED = 0
MICROBATCH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measured contender.

    Attributes:
        question: what was asked.
        contender: who answered.
        seconds: clock time per step of every round, or of the whole sweep.
        cpu_seconds: processor time of all threads, likewise.
        compile_seconds: before the first step; not part of ``seconds``, except in the sweep.
        share_of_peak: share of the speed of a large matrix product; 0 where it was not worked out.
        ratio: median clock time over that of this package.
    """

    question: str
    contender: str
    seconds: list[float]
    cpu_seconds: list[float]
    compile_seconds: float
    share_of_peak: float
    ratio: float

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="few settings and rounds, to try the script out")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--one-device", action="store_true", help="one device for all cores instead of one per core")
    either.add_argument("--sweep", type=int, default=0, metavar="STEPS", help="steps of every member of the sweep")
    parser.add_argument("--microbatch", type=int, metavar="N", help="samples at a time, 0 for whole batches")
    arguments = parser.parse_args()
    if arguments.sweep:
        rows = sweep(arguments.sweep)
        print_rows(rows)
    else:
        devices = None if arguments.one_device else one_device_per_core()
        microbatch = arguments.microbatch
        if microbatch is None:
            microbatch = 0 if arguments.one_device else MICROBATCH
        advised = devices is not None and microbatch == MICROBATCH
        rows = all_steps(devices, microbatch, quick=arguments.quick, compiled=advised and not arguments.quick)
    if arguments.out is not None:
        write_rows(arguments.out, rows, "jax", "torch")


def all_steps(devices: Sequence[Any] | None, microbatch: int, *, quick: bool, compiled: bool) -> list[Row]:
    rows: list[Row] = []
    for batch in (64,) if quick else (64, 256):
        for ratio in (0.75,) if quick else RATIOS:
            rounds = 3 if quick else 7
            found = steps(devices, microbatch, batch=batch, ratio=ratio, rounds=rounds, compiled=compiled)
            print_rows(found)
            rows += found
    return rows


# ---------------------------------------------------------------------- both sides


def images() -> ArrayData:
    """Random images of 32 x 32 pixels and three colours, as rows of patches."""
    names = [f"x{i}" for i in range(SIDE * SIDE)]
    dims = {"z": 1} | dict.fromkeys(names, CELL)
    graph = LatentGraph.from_edges([("z", name) for name in names], dims=dims, grid=(SIDE, SIDE))
    values = np.random.default_rng(0).normal(size=(ROWS, SIDE * SIDE, CELL)).astype(np.float32)
    return ArrayData(graph=graph, parts=tuple(values[:, i] for i in range(SIDE * SIDE)))


def prepared(
    data: ArrayData, ratio: float, train: TrainConfig, devices: Sequence[Any] | None = None, microbatch: int = 0
) -> Prepared:
    members = [Member(mask=RandomMask(ratio=ratio), network=CONFIG)]
    (group,) = group_members(data.graph, members, train, devices, microbatch or None)
    key = jax.random.key(SEED)
    return prepare(key, data, group, members, train, *standardization(data, key))


class Ours:
    """Some steps of this package's training program, whose state goes on from call to call."""

    def __init__(
        self, data: ArrayData, ratio: float, train: TrainConfig, devices: Sequence[Any] | None, microbatch: int
    ) -> None:
        self.one = prepared(data, ratio, train, devices, microbatch)
        begin = time.perf_counter()
        self.program = compile_program(self.one.lower(), self.one.program.platform)
        self.compile_seconds = time.perf_counter() - begin
        self.state, self.step = self.one.state, 0

    @property
    def devices(self) -> str:
        """How many share a batch, and how much of it each has at a time; not all that there are may share it evenly."""
        program = self.one.program
        count = "one device" if program.mesh is None else f"{program.mesh.size} devices"
        return f"{count}, {program.samples_at_once(self.one.train.batch)} samples at a time"

    def __call__(self, count: int) -> None:
        """Take some steps."""
        arguments = self.one.arguments(self.state, 0)
        self.state, losses = self.program(*arguments, jnp.int32(self.step), jnp.int32(count))
        self.step += count
        jax.block_until_ready(losses)


class Theirs:
    """Some steps in PyTorch."""

    def __init__(self, data: ArrayData, ratio: float, train: TrainConfig, *, compiled: bool, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.train, self.n_visible = train, SIDE * SIDE - round(ratio * SIDE * SIDE)
        self.model = TorchMAE(CONFIG, (SIDE, SIDE), CELL)
        self.adam, self.schedule = optimizer(self.model, train)
        self.loss_of: Any = torch.compile(self.model.loss) if compiled else self.model.loss
        self.table = torch.from_numpy(data.rows(np.arange(len(data)))).view(len(data), SIDE * SIDE, CELL)
        begin = time.perf_counter()
        self(1)
        self.compile_seconds = time.perf_counter() - begin if compiled else 0.0

    def __call__(self, count: int) -> None:
        """Take some steps."""
        for _ in range(count):
            tokens = self.table[torch.randint(len(self.table), (self.train.batch,))]
            order = torch.rand(len(tokens), SIDE * SIDE).argsort(dim=1)
            hidden = order.argsort(dim=1) >= self.n_visible
            train_step(
                self.loss_of,
                self.model,
                self.adam,
                self.schedule,
                tokens,
                hidden,
                self.n_visible,
                self.train.clip_norm,
            )


def check_same(data: ArrayData, ratio: float, train: TrainConfig) -> None:
    """The same weights, images and masks give the same loss and gradient on both sides."""
    one = prepared(data, ratio, train)
    network, flat = one.program.network, one.state.params[0]
    tokens = data.rows(np.arange(8)).reshape(8, SIDE * SIDE, CELL)
    n_visible = SIDE * SIDE - round(ratio * SIDE * SIDE)
    hidden = np.random.default_rng(1).random((8, SIDE * SIDE)).argsort(axis=1).argsort(axis=1) >= n_visible

    def loss_of(flat: Any) -> Any:
        guess = network.reconstruct(
            unflatten(network, flat),
            jnp.asarray(tokens.reshape(8, -1)),
            jnp.asarray(hidden),
            jnp.int32(1),
            jnp.zeros((1, 8, 0)),
        )
        error = ((guess[0].reshape(tokens.shape) - tokens) ** 2).mean(axis=-1)
        return (error * hidden).sum() / hidden.sum()

    loss, gradient = jax.value_and_grad(loss_of)(flat)
    model = TorchMAE(CONFIG, (SIDE, SIDE), CELL)
    model.load_flax(unflatten(network, flat))
    other = model.loss(torch.from_numpy(tokens), torch.from_numpy(hidden), n_visible)
    other.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    if not np.allclose([float(loss), float(jnp.linalg.norm(gradient))], [other.item(), norm.item()], rtol=1e-4):
        raise RuntimeError(f"the two sides differ: loss {loss} and {other}, gradient norms differ or not")


def forward_flops(ratio: float, batch: int) -> float:
    """Operations of the matrix products of one forward pass, two per multiplication and addition."""
    tokens = SIDE * SIDE
    visible = tokens - round(ratio * tokens)

    def blocks(depth: int, width: int, length: int) -> float:
        per_token = 4 * width**2 + 2 * CONFIG.mlp_ratio * width**2
        return 2.0 * depth * (length * per_token + 2 * length**2 * width)

    encoder = 2.0 * visible * CELL * CONFIG.width + blocks(CONFIG.depth, CONFIG.width, visible + 1)
    decoder = 2.0 * (visible + 1) * CONFIG.width * CONFIG.decoder_width
    decoder += (
        blocks(CONFIG.decoder_depth, CONFIG.decoder_width, tokens + 1) + 2.0 * tokens * CONFIG.decoder_width * CELL
    )
    return batch * (encoder + decoder)


def peak_flops() -> float:
    """Speed of a product of two matrices of 2048 rows, the best of both libraries and of ten tries."""
    side = 2048
    a = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    ours, theirs, product = jnp.asarray(a), torch.from_numpy(a), jax.jit(jnp.matmul)
    jax.block_until_ready(product(ours, ours))
    taken = []
    for _ in range(5):
        for call in (lambda: jax.block_until_ready(product(ours, ours)), lambda: theirs @ theirs):
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
    return 2 * side**3 / min(taken)


# ---------------------------------------------------------------------- the questions


def steps(
    devices: Sequence[Any] | None, microbatch: int, *, batch: int, ratio: float, rounds: int, compiled: bool
) -> list[Row]:
    data, train = images(), TrainConfig(steps=10_000, batch=batch)
    check_same(data, ratio, train)
    this = Ours(data, ratio, train, devices, microbatch)
    ours = f"hlvm, {this.devices}"
    contenders: dict[str, Any] = {ours: this}
    contenders["PyTorch, eager"] = Theirs(data, ratio, train, compiled=False)
    if compiled:
        try:
            contenders["PyTorch, compiled"] = Theirs(data, ratio, train, compiled=True)
        except Exception as error:
            print(f"torch.compile does not work here and is left out: {str(error).splitlines()[0]}")
    per_round = max(2, 640 // batch)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender(per_round)
    for _ in range(rounds):
        for name, contender in contenders.items():
            taken[name].append(_timed(lambda contender=contender: contender(per_round), per_round))
    work = 3 * forward_flops(ratio, batch) / peak_flops()
    base = statistics.median(wall for wall, _ in taken[ours])
    return [
        Row(
            question=f"one step, batch {batch}, ratio {ratio:g}",
            contender=name,
            seconds=[wall for wall, _ in times],
            cpu_seconds=[cpu for _, cpu in times],
            compile_seconds=contenders[name].compile_seconds,
            share_of_peak=work / statistics.median(wall for wall, _ in times),
            ratio=statistics.median(wall for wall, _ in times) / base,
        )
        for name, times in taken.items()
    ]


def sweep(n_steps: int) -> list[Row]:
    """Four ratios and four seeds, from nothing to trained; half of the other side's runs before, half after."""
    devices = one_device_per_core()
    data, train = images(), TrainConfig(steps=n_steps, batch=64, warmup=min(100, n_steps // 2))

    def ours() -> None:
        members = [
            Member(mask=RandomMask(ratio=ratio), network=CONFIG, seed=seed, loss=LossConfig())
            for ratio in RATIOS
            for seed in range(4)
        ]
        fit_ensemble(jax.random.key(SEED), data, members, train, devices=devices)

    def theirs(ratios: Sequence[float]) -> None:
        for ratio in ratios:
            for seed in range(4):
                Theirs(data, ratio, train, compiled=False, seed=seed)(n_steps - 1)

    jax.config.update("jax_enable_compilation_cache", False)
    before = _timed(lambda: theirs(RATIOS[::2]))
    found = {"hlvm, all at once": _timed(ours)}
    after = _timed(lambda: theirs(RATIOS[1::2]))
    found["PyTorch, eager, one after the other"] = (before[0] + after[0], before[1] + after[1])
    base = found["hlvm, all at once"][0]
    return [
        Row(
            question=f"4 ratios x 4 seeds x {n_steps} steps, batch 64, compiling included",
            contender=name,
            seconds=[wall],
            cpu_seconds=[cpu],
            compile_seconds=0.0,
            share_of_peak=0.0,
            ratio=wall / base,
        )
        for name, (wall, cpu) in found.items()
    ]


def _timed(call: Callable[[], None], count: int = 1) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


# ---------------------------------------------------------------------- showing


def print_rows(rows: list[Row]) -> None:
    console = Console(width=120)
    for question in dict.fromkeys(row.question for row in rows):
        table = Table(title=question, title_justify="left", width=112)
        for heading in ("contender", "median ms", "least", "most", "processor ms", "compile s", "of peak", "ratio"):
            table.add_column(heading, justify="left" if heading == "contender" else "right")
        for row in (row for row in rows if row.question == question):
            times = [row.median, min(row.seconds), max(row.seconds), statistics.median(row.cpu_seconds)]
            shown = [f"{1e3 * number:,.1f}" for number in times]
            table.add_row(
                row.contender, *shown, f"{row.compile_seconds:.1f}", f"{row.share_of_peak:.0%}", f"{row.ratio:,.2f}"
            )
        console.print(table)


if __name__ == "__main__":
    main()
