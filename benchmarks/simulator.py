"""How fast a model is sampled: ratios against per-node loops in PyTorch and NumPy, measured in the same run.

python benchmarks/simulator.py [--out benchmarks/results/simulator.json] [--quick]

A quadtree of 256 leaves with 3-layer invertible mechanisms, whose widest variables have 8 dims, is sampled 100,000
times in chunks. All contenders use the same weights, and all turn the same noises into the same values before anything
is timed. The alternatives go through the variables one after the other, roots first, which is how such simulators are
usually written; each step is a matrix product over the chunk. They use one thread: the matrices are too small for
more, and waiting threads cost processor time. Time is processor time of all threads together; the clock's time stands
beside it.

This package is also measured with its output written over that of the chunk before (donated), and two parts of its
time are measured alone: drawing the noises, and drawing them with another generator.

PyTorch is needed for its part only: pip install torch
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
import numpy as np
from records import write_rows
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from hlvm import HierarchicalModel, LatentGraph
from hlvm.mechanisms import InvertibleMLP

SLOPE = 0.2
LAYERS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measured contender.

    Attributes:
        contender: who sampled.
        chunk: samples drawn at once.
        cpu_seconds: processor time of every round, for all samples.
        wall_seconds: clock time of every round.
        ratio: median processor time over that of this package with the chunk that suits it best.
    """

    contender: str
    chunk: int
    cpu_seconds: list[float]
    wall_seconds: list[float]
    ratio: float = float("nan")

    @property
    def median(self) -> float:
        """Median processor time."""
        return statistics.median(self.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class Node:
    """One variable for a per-node loop: its parent, where its noise is, its weights, shift and scale."""

    parent: int | None
    noise: slice
    weights: np.ndarray
    shift: np.ndarray
    scale: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="few samples and rounds, to try the script out")
    arguments = parser.parse_args()
    rows = run(n=4_000 if arguments.quick else 100_000, rounds=2 if arguments.quick else 4)
    show(rows)
    if arguments.out is not None:
        write_rows(arguments.out, rows, "jax", "numpy", "torch")


def run(*, n: int, rounds: int) -> list[Row]:
    graph = LatentGraph.quadtree(4, root_dim=4, noise_dim=1)
    model = HierarchicalModel.init(jax.random.key(0), graph, InvertibleMLP(layers=LAYERS, slope=SLOPE))
    nodes = nodes_of(model)
    check_same_values(model, nodes)
    contenders: dict[tuple[str, int], Callable[[int], Any]] = {}
    for chunk in (1_000, 4_000):
        contenders["hlvm", chunk] = by_hlvm(model, chunk)
        contenders["hlvm, output donated", chunk] = by_hlvm_donated(model, chunk)
        contenders["hlvm, noises alone", chunk] = noises_alone(model, chunk, "threefry2x32")
        contenders["hlvm, noises alone, rbg keys", chunk] = noises_alone(model, chunk, "rbg")
        contenders["NumPy, node by node", chunk] = by_numpy(nodes, chunk)
        torch_loop = by_torch(nodes, chunk)
        if torch_loop is not None:
            contenders["PyTorch, node by node", chunk] = torch_loop
    cpu: dict[tuple[str, int], list[float]] = {name: [] for name in contenders}
    wall: dict[tuple[str, int], list[float]] = {name: [] for name in contenders}
    with threadpool_limits(limits=1, user_api="blas"):
        for contender in contenders.values():
            contender(0)
        for _ in range(rounds):
            for (name, chunk), contender in contenders.items():
                begin, begin_cpu = time.perf_counter(), time.process_time()
                for i in range(max(1, n // chunk)):
                    contender(i)
                cpu[name, chunk].append(time.process_time() - begin_cpu)
                wall[name, chunk].append(time.perf_counter() - begin)
    base = min(statistics.median(taken) for (name, _), taken in cpu.items() if name == "hlvm")
    return [
        Row(
            contender=name,
            chunk=chunk,
            cpu_seconds=taken,
            wall_seconds=wall[name, chunk],
            ratio=statistics.median(taken) / base,
        )
        for (name, chunk), taken in cpu.items()
    ]


# ---------------------------------------------------------------------- contenders


def by_hlvm(model: HierarchicalModel, chunk: int) -> Callable[[int], Any]:
    key = jax.random.key(1)
    return lambda i: jax.block_until_ready(model.sample(jax.random.fold_in(key, i), chunk).values)


def by_hlvm_donated(model: HierarchicalModel, chunk: int) -> Callable[[int], Any]:
    key = jax.random.key(1)
    held = [model.sample(key, chunk)]
    draw = jax.jit(lambda key, old: model.sample(key, chunk), donate_argnums=1, keep_unused=True)

    def again(i: int) -> Any:
        held[0] = jax.block_until_ready(draw(jax.random.fold_in(key, i), held[0]))
        return held[0]

    return again


def noises_alone(model: HierarchicalModel, chunk: int, kind: str) -> Callable[[int], Any]:
    key = jax.random.key(1, impl=kind)
    size = model.layout.groups[-1].noises.stop
    draw = jax.jit(lambda key: jax.random.normal(key, (size, chunk)))
    return lambda i: jax.block_until_ready(draw(jax.random.fold_in(key, i)))


def by_numpy(nodes: list[Node], chunk: int) -> Callable[[int], Any]:
    random = np.random.default_rng(1)
    size = nodes_noise(nodes)

    def draw(_: int) -> list[np.ndarray]:
        return numpy_values(nodes, random.standard_normal((chunk, size), dtype=np.float32))

    return draw


def numpy_values(nodes: list[Node], noises: np.ndarray) -> list[np.ndarray]:
    values: list[np.ndarray] = []
    gain = np.float32((2 / (1 + SLOPE**2)) ** 0.5)
    for node in nodes:
        value = noises[:, node.noise]
        if node.parent is not None:
            value = np.concatenate([values[node.parent], value], axis=1)
            for layer in range(LAYERS):
                value = value @ node.weights[layer].T
                if layer < LAYERS - 1:
                    value = gain * np.maximum(value, np.float32(SLOPE) * value)
            value = (value - node.shift) / node.scale
        values.append(value)
    return values


def by_torch(nodes: list[Node], chunk: int) -> Callable[[int], Any] | None:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(1)
    size = nodes_noise(nodes)
    gain = (2 / (1 + SLOPE**2)) ** 0.5
    held = [
        (node.parent, node.noise, *(torch.from_numpy(a.copy()) for a in (node.weights, node.shift, node.scale)))
        for node in nodes
    ]

    @torch.no_grad()
    def draw(_: int) -> list[Any]:
        noises = torch.randn((chunk, size), generator=random)
        values: list[Any] = []
        for parent, place, weights, shift, scale in held:
            value = noises[:, place]
            if parent is not None:
                value = torch.cat([values[parent], value], dim=1)
                for layer in range(LAYERS):
                    value = value @ weights[layer].T
                    if layer < LAYERS - 1:
                        value = gain * torch.nn.functional.leaky_relu(value, SLOPE)
                value = (value - shift) / scale
            values.append(value)
        return values

    return draw


def nodes_of(model: HierarchicalModel) -> list[Node]:
    """The model as a list of variables, parents first."""
    graph = model.graph
    found: dict[int, Node] = {}
    shift, scale = np.asarray(model.shift), np.asarray(model.scale)
    for group, params in zip(model.layout.groups, model.params, strict=True):
        for i, node in enumerate(group.nodes):
            name = graph.nodes[node]
            rows = model.layout.value_slices[name]
            found[node] = Node(
                parent=graph.parent_indices[node][0] if graph.parent_indices[node] else None,
                noise=model.layout.noise_slices[name],
                weights=np.asarray(params["weights"][i]) if params else np.zeros((0, 0, 0), dtype=np.float32),
                shift=shift[rows],
                scale=scale[rows],
            )
    return [found[node] for node in range(len(graph.nodes))]


def nodes_noise(nodes: list[Node]) -> int:
    return max(node.noise.stop for node in nodes)


def check_same_values(model: HierarchicalModel, nodes: list[Node]) -> None:
    """The loops must compute what the package computes, or their times say nothing."""
    sample = model.sample(jax.random.key(2), 500)
    loop = numpy_values(nodes, np.asarray(sample.noises))
    for name, values in zip(model.graph.nodes, loop, strict=True):
        np.testing.assert_allclose(values, np.asarray(sample.variables[name]), rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------------- showing


def show(rows: list[Row]) -> None:
    table = Table(title="processor time for all samples", title_justify="left", width=110)
    for heading in ("contender", "chunk", "median s", "least s", "most s", "clock s", "ratio to hlvm"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for row in rows:
        numbers = (row.median, min(row.cpu_seconds), max(row.cpu_seconds), statistics.median(row.wall_seconds))
        table.add_row(row.contender, f"{row.chunk:,}", *(f"{number:.2f}" for number in numbers), f"{row.ratio:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
