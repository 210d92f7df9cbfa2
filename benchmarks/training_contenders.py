"""What benchmarks of training compare: steps of a transformer here, and of the same one in PyTorch; and their work.

Both sides read rows of the same table of random images in memory, draw their own random masks, and take AdamW steps
with a schedule and gradient clipping.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from rich.console import Console
from rich.table import Table
from torch_mae import TorchMAE, optimizer, train_step

from hlvm.graph import LatentGraph
from hlvm.mae import ArrayData, Member, TrainConfig, ViTConfig
from hlvm.mae.networks.networks import unflatten
from hlvm.mae.training.data import standardization
from hlvm.mae.training.groups import Prepared, group_members, prepare
from hlvm.mae.training.program import compile_program
from hlvm.masking import RandomMask

__all__ = [
    "SEED",
    "SMALL",
    "Ours",
    "Row",
    "Setting",
    "Theirs",
    "check_same",
    "compare_ensembles",
    "compare_steps",
    "forward_flops",
    "images",
    "peak_flops",
    "prepared",
    "print_rows",
]

SEED = 0
SMALL = ViTConfig(patch=1, width=64, depth=4, heads=4, decoder_width=32, decoder_depth=2, mlp_ratio=4)
_ROWS = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is trained.

    Attributes:
        config: the network; its patch is one cell.
        side: cells along a side of the images.
        cell: numbers per cell.
    """

    config: ViTConfig
    side: int
    cell: int

    def counts(self, ratio: float, unit: int = 1) -> tuple[int, int]:
        """Units along a side, and how many of all of them are visible."""
        along = self.side // unit
        return along, along**2 - round(ratio * along**2)


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


# ---------------------------------------------------------------------- both sides


def images(setting: Setting) -> ArrayData:
    """Random images, as rows of cells."""
    names = [f"x{i}" for i in range(setting.side**2)]
    dims = {"z": 1} | dict.fromkeys(names, setting.cell)
    graph = LatentGraph.from_edges([("z", name) for name in names], dims=dims, grid=(setting.side, setting.side))
    values = np.random.default_rng(0).normal(size=(_ROWS, len(names), setting.cell)).astype(np.float32)
    return ArrayData(graph=graph, parts=tuple(values[:, i] for i in range(len(names))))


def prepared(
    setting: Setting,
    data: ArrayData,
    ratio: float,
    train: TrainConfig,
    devices: Sequence[Any] | None = None,
    microbatch: int | None = None,
) -> Prepared:
    """One member, ready to run."""
    members = [Member(mask=RandomMask(ratio=ratio), network=setting.config)]
    (group,) = group_members(data.graph, members, train, devices, microbatch)
    key = jax.random.key(SEED)
    return prepare(key, data, group, members, train, *standardization(data, key))


class Ours:
    """Some steps of this package's training program, whose state goes on from call to call."""

    def __init__(self, one: Prepared) -> None:
        self.one = one
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

    def __init__(
        self,
        setting: Setting,
        data: ArrayData,
        ratio: float,
        train: TrainConfig,
        *,
        compiled: bool,
        seed: int = 0,
        unit: int = 1,
        device: str = "cpu",
        fused: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.setting, self.train, self.unit, self.device = setting, train, unit, device
        self.along, self.units_visible = setting.counts(ratio, unit)
        self.n_visible = self.units_visible * unit**2
        tokens = setting.side**2
        self.model = TorchMAE(setting.config, (setting.side, setting.side), setting.cell, fused=fused).to(device)
        self.adam, self.schedule = optimizer(self.model, train, fused=fused)
        loss_of: Any = torch.compile(self.model.loss) if compiled else self.model.loss
        self.loss_of = self._in_bfloat16(loss_of) if train.compute == "bfloat16" else loss_of
        self.table = torch.from_numpy(data.rows(np.arange(len(data)))).view(len(data), tokens, setting.cell).to(device)
        begin = time.perf_counter()
        self(1)
        self.compile_seconds = time.perf_counter() - begin if compiled else 0.0

    def _in_bfloat16(self, loss_of: Callable[..., Any]) -> Callable[..., Any]:
        def cast(*arguments: Any) -> Any:
            with torch.autocast(self.device, dtype=torch.bfloat16):
                return loss_of(*arguments)

        return cast

    def _hidden(self) -> Any:
        """Random masks of the batch, by unit."""
        along, unit, batch = self.along, self.unit, self.train.batch
        order = torch.rand(batch, along**2, device=self.device).argsort(dim=1)
        hidden = (order.argsort(dim=1) >= self.units_visible).view(batch, along, along)
        return hidden.repeat_interleave(unit, dim=1).repeat_interleave(unit, dim=2).reshape(batch, -1)

    def __call__(self, count: int) -> None:
        """Take some steps."""
        for _ in range(count):
            tokens = self.table[torch.randint(len(self.table), (self.train.batch,), device=self.device)]
            train_step(
                self.loss_of,
                self.model,
                self.adam,
                self.schedule,
                tokens,
                self._hidden(),
                self.n_visible,
                self.train.clip_norm,
            )
        if self.device == "cuda":
            torch.cuda.synchronize()


def check_same(setting: Setting, data: ArrayData, ratio: float, train: TrainConfig) -> None:
    """The same weights, images and masks give the same loss and gradient on both sides, in float32.

    Raises:
        RuntimeError: they do not.
    """
    one = prepared(setting, data, ratio, dataclasses.replace(train, compute="float32"))
    network, flat = one.program.network, one.state.params[0]
    n_tokens = setting.side**2
    tokens = data.rows(np.arange(8)).reshape(8, n_tokens, setting.cell)
    n_visible = setting.counts(ratio)[1]
    hidden = np.random.default_rng(1).random((8, n_tokens)).argsort(axis=1).argsort(axis=1) >= n_visible

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

    with jax.default_matmul_precision("highest"):  # or GPUs round the factors of products
        loss, gradient = jax.value_and_grad(loss_of)(flat)
    model, gradients = (TorchMAE(setting.config, (setting.side, setting.side), setting.cell) for _ in range(2))
    model.load_flax(unflatten(network, flat))
    gradients.load_flax(unflatten(network, gradient))  # a model whose weights are our gradients, to find them by name
    other = model.loss(torch.from_numpy(tokens), torch.from_numpy(hidden), n_visible)
    other.backward()
    pairs: Any = [(p.grad, q.detach()) for p, q in zip(model.parameters(), gradients.parameters(), strict=True)]
    largest = max(float(theirs.abs().max()) for theirs, _ in pairs)
    off = max(float((theirs - ours).abs().max()) for theirs, ours in pairs)
    if not np.isclose(float(loss), other.item(), rtol=1e-4) or off > 1e-3 * largest:
        raise RuntimeError(
            f"the two sides differ: loss {loss} and {other}; gradients by up to {off}, the largest is {largest}"
        )


def forward_flops(setting: Setting, ratio: float, batch: int) -> float:
    """Operations of the matrix products of one forward pass, two per multiplication and addition."""
    config, cell, tokens = setting.config, setting.cell, setting.side**2
    visible = setting.counts(ratio)[1]

    def blocks(depth: int, width: int, length: int) -> float:
        per_token = 4 * width**2 + 2 * config.mlp_ratio * width**2
        return 2.0 * depth * (length * per_token + 2 * length**2 * width)

    encoder = 2.0 * visible * cell * config.width + blocks(config.depth, config.width, visible + 1)
    decoder = 2.0 * (visible + 1) * config.width * config.decoder_width
    decoder += blocks(config.decoder_depth, config.decoder_width, tokens + 1)
    decoder += 2.0 * tokens * config.decoder_width * cell
    return batch * (encoder + decoder)


def peak_flops(side: int = 2048, *, dtype: str = "float32", device: str = "cpu") -> float:
    """Speed of a product of two square matrices, the best of both libraries and of ten tries."""
    a = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    ours, theirs = jnp.asarray(a, dtype), torch.from_numpy(a).to(device, getattr(torch, dtype))
    product = jax.jit(jnp.matmul)

    def in_torch() -> None:
        _ = theirs @ theirs
        if device == "cuda":
            torch.cuda.synchronize()

    taken = []
    for call in (lambda: jax.block_until_ready(product(ours, ours)), in_torch) * 6:
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return 2 * side**3 / min(taken[2:])


# ---------------------------------------------------------------------- measuring


def timed(call: Callable[[], Any], count: int = 1) -> tuple[float, float]:
    """Clock and processor time of a call, over ``count``."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def compare_steps(
    question: str,
    contenders: dict[str, Any],
    *,
    per_round: int,
    rounds: int,
    flops: float,
    peak: Callable[[], float],
) -> list[Row]:
    """Let contenders take turns, some steps at a time; the first one is what the others are compared with.

    Args:
        question: what is asked.
        contenders: name -> steps, called with their number.
        per_round: steps of a turn.
        rounds: turns of each.
        flops: operations of a step.
        peak: operations per second that the machine is capable of, worked out afterwards.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender(per_round)
    for _ in range(rounds):
        for name, contender in contenders.items():
            taken[name].append(timed(lambda contender=contender: contender(per_round), per_round))
    work = flops / peak()
    medians = {name: statistics.median(wall for wall, _ in times) for name, times in taken.items()}
    base = next(iter(medians.values()))
    return [
        Row(
            question=question,
            contender=name,
            seconds=[wall for wall, _ in times],
            cpu_seconds=[cpu for _, cpu in times],
            compile_seconds=contenders[name].compile_seconds,
            share_of_peak=work / medians[name],
            ratio=medians[name] / base,
        )
        for name, times in taken.items()
    ]


def compare_ensembles(
    question: str, ours: Callable[[], Any], arms: Sequence[Any], theirs: Callable[[Sequence[Any]], None]
) -> list[Row]:
    """Train an ensemble here, and its members one after the other in PyTorch: half of these before, half after.

    Compiling is included, and nothing compiled is taken from earlier runs. Each side runs once.

    Args:
        question: what is asked.
        ours: trains all members.
        arms: what members are made of.
        theirs: trains the members of some arms.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    before = timed(lambda: theirs(arms[::2]))
    here = timed(ours)
    after = timed(lambda: theirs(arms[1::2]))
    found = {
        "hlvm, all at once": here,
        "PyTorch, eager, one after the other": (before[0] + after[0], before[1] + after[1]),
    }
    return _once(question, found)


def _once(question: str, found: dict[str, tuple[float, float]]) -> list[Row]:
    """What ran once each, compiling included: name -> clock and processor time, compared with the first."""
    base = next(iter(found.values()))[0]
    return [
        Row(
            question=question,
            contender=name,
            seconds=[wall],
            cpu_seconds=[cpu],
            compile_seconds=0.0,
            share_of_peak=0.0,
            ratio=wall / base,
        )
        for name, (wall, cpu) in found.items()
    ]


# ---------------------------------------------------------------------- showing


def print_rows(rows: list[Row]) -> None:
    """A table per question."""
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
