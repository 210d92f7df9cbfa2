"""Speed of the exact oracles: ratios against named alternatives, measured in the same run.

python benchmarks/oracle.py [--out benchmarks/results/oracle.json] [--figure FILE.png] [--quick]

1. Grammars of binary tuples, of whose strings half the cells are visible: what each cell's own symbol costs, and the
   posterior of every latent and cell. This package (all strings at once, float32); and the same recursion for one
   string after the other: in Python over the rules that there are, in Python over all triples of symbols, as the sums
   are written on paper and in published code, and with NumPy over dense tables of all triples. Each is asked for the
   same numbers. All answers are compared before anything is timed. Times are per string.
2. A linear-Gaussian tree with 65,536 leaves: loss of every cell for 1,000 masks; and one mask at a time.
3. Cost of grammars over levels and symbols, as a figure.

What bounds the first: 64 rules at each of 63 nodes are 4,032 products on the way up and 8,064 on the way down for a
string of 6 levels and 8 symbols, each of two numbers that are read, mostly from the first-level cache. On the machine
of the committed results the loops over them alone take 0.9 us at best, the whole compiled programme 1.3 to 1.5 us, and
a C loop over 16 strings in vector registers (gcc -O3 -march=native, rules as tables) 1.5 us. These were trials, which
this script does not repeat. A thousandth of the time over rules in Python is 1.6 us. So a thousand times is about what
a core can do against that contender, and it is not reached on a busy machine. The published code sums over all triples,
which takes Python four times as long.

One core: JAX is told to use one, and the process may run on one. Time is processor time of this process, which other
work on the machine disturbs less than the clock's. Contenders take turns; the table shows medians with the least and
the most. Compiling is told apart.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_threads] = "1"

import argparse
import dataclasses
import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
from records import write_rows
from rich.console import Console
from rich.table import Table

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.theory import GaussianOracle, GrammarOracle

SIZES = ((4, 4), (8, 6))
"""Symbols and levels. Every symbol has as many rules as there are symbols, so that every string can be written."""


Marginals: TypeAlias = list[list[Any]]
"""Probabilities of symbols of each node, level by level."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measured contender.

    Attributes:
        question: what was asked.
        contender: who answered.
        seconds: processor time of every round, per string or mask.
        ratio: median of this contender over the median of the first of the question.
        strings: strings or masks in a round.
    """

    question: str
    contender: str
    seconds: list[float]
    ratio: float
    strings: int

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--figure", type=Path, help="draw cost over levels and symbols into this file")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, to try the script out")
    arguments = parser.parse_args()
    if jax.default_backend() == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rounds = 2 if arguments.quick else 7
    rows = [row for symbols, levels in SIZES for row in grammar_rows(symbols, levels, rounds)]
    rows += gaussian_rows(12 if arguments.quick else 16, 50 if arguments.quick else 1000, 2 if arguments.quick else 3)
    growth = growth_rows(rounds, quick=arguments.quick)
    print_rows(rows + growth)
    if arguments.figure is not None:
        draw(growth, arguments.figure)
    if arguments.out is not None:
        write_rows(arguments.out, rows + growth, "numpy", "jax", "jaxlib")


# ---------------------------------------------------------------------- grammars


def grammar_of(symbols: int, levels: int) -> GrammarImages:
    return GrammarImages.init(
        0,
        n_symbols=symbols,
        n_classes=symbols,
        n_synonyms=symbols,
        n_levels=levels,
        tuple_size=2,
        patch_pixels=1,
        style="one-hot",
    )


def grammar_rows(symbols: int, levels: int, rounds: int) -> list[Row]:
    grammar = grammar_of(symbols, levels)
    oracle = GrammarOracle(grammar)
    n = 2**15 if levels > 4 else 2**16
    cells, visible = strings_of(oracle, n)
    rules = [np.asarray(grammar.rules[level]) for level in range(1, levels + 1)]
    dense = [dense_table(table, symbols) for table in rules]
    pairs = list(itertools.product(range(symbols), repeat=2))
    ways: dict[str, tuple[int, Callable[..., Marginals]]] = {
        "over rules in Python": (
            32,
            functools.partial(
                in_python,
                [table.tolist() for table in rules],
                [[[1 / len(of_one)] * len(of_one) for of_one in table] for table in rules],
            ),
        ),
        "over triples in Python": (
            8,
            functools.partial(
                in_python,
                [[pairs] * symbols] * levels,
                [table.reshape(symbols, -1).tolist() for table in dense],
            ),
        ),
        "over triples with NumPy": (32, functools.partial(with_numpy, dense)),
    }
    check(oracle, [way for _, way in ways.values()], cells, visible)
    rows = []
    questions = (
        ("loss of every cell", losses_of, lambda way, string: losses(way(string, visible, False), string)),
        ("posterior of everything", posteriors_of, lambda way, string: way(string, visible, True)),
    )
    for asked, ours, theirs in questions:
        question = f"{asked}, {symbols} symbols, {levels} levels"
        start = time.process_time()
        ours(oracle, cells, visible)
        print(f"{question}: {time.process_time() - start:.1f} s to compile, and answer once")
        contenders: dict[str, tuple[int, Callable[[], Any]]] = {
            "this package": (n, lambda ours=ours: ours(oracle, cells, visible)),
            **{
                name: (few, lambda way=way, few=few, theirs=theirs: [theirs(way, string) for string in cells[:few]])
                for name, (few, way) in ways.items()
            },
        }
        rows += in_turns(question, contenders, rounds)
    return rows


def strings_of(oracle: GrammarOracle, n: int) -> tuple[np.ndarray, np.ndarray]:
    cells = oracle.sample(1, n).cells
    return cells, np.arange(cells.shape[1]) % 2 == 0


def losses_of(oracle: GrammarOracle, cells: np.ndarray, visible: np.ndarray) -> Any:
    return oracle.log_loss(cells, visible)


def posteriors_of(oracle: GrammarOracle, cells: np.ndarray, visible: np.ndarray) -> Any:
    return oracle.posterior(cells, visible, names=oracle.graph.nodes)


def losses(marginals: Marginals, cells: np.ndarray) -> list[float]:
    return [-math.log2(law[symbol]) for law, symbol in zip(marginals[-1], cells.tolist(), strict=True)]


def in_python(
    tables: list[Any], chances: list[Any], cells: np.ndarray, visible: np.ndarray, of_latents: bool
) -> Marginals:
    """Belief propagation for one string: messages up and down, one rule after the other; root first, cells last."""
    symbols = len(tables[0])
    up = [
        [
            [float(seen is False or a == cell) for a in range(symbols)]
            for cell, seen in zip(cells.tolist(), visible.tolist(), strict=True)
        ]
    ]
    for table, of_table in zip(tables, chances, strict=True):
        below, level = up[-1], []
        for node in range(len(below) // 2):
            left, right = below[2 * node], below[2 * node + 1]
            message = [
                sum(chance * left[b] * right[c] for chance, (b, c) in zip(weights, rules, strict=True))
                for weights, rules in zip(of_table, table, strict=True)
            ]
            total = sum(message)
            level.append([value / total for value in message])
        up.append(level)
    down = [[1 / symbols] * symbols]
    marginals = []
    for place in range(len(tables), -1, -1):
        if of_latents or place == 0:
            level = []
            for above, own in zip(down, up[place], strict=True):
                both = [a * b for a, b in zip(above, own, strict=True)]
                total = sum(both)
                level.append([value / total for value in both])
            marginals.append(level)
        if place == 0:
            break
        lower = []
        for node, above in enumerate(down):
            left, right = up[place - 1][2 * node], up[place - 1][2 * node + 1]
            to_left, to_right = [0.0] * symbols, [0.0] * symbols
            for a, rules in enumerate(tables[place - 1]):
                for chance, (b, c) in zip(chances[place - 1][a], rules, strict=True):
                    weight = above[a] * chance
                    to_left[b] += weight * right[c]
                    to_right[c] += weight * left[b]
            lower += [to_left, to_right]
        down = lower
    return marginals


def dense_table(table: np.ndarray, symbols: int) -> np.ndarray:
    """Probability of each pair of symbols given the symbol above."""
    found = np.zeros((len(table), symbols, symbols))
    for a, rules in enumerate(table):
        for b, c in rules:
            found[a, b, c] += 1 / len(rules)
    return found


def with_numpy(tables: list[np.ndarray], cells: np.ndarray, visible: np.ndarray, of_latents: bool) -> Marginals:
    """Belief propagation for one string: messages up and down, one node after the other."""
    symbols = len(tables[0])
    up = [[np.eye(symbols)[cell] if seen else np.ones(symbols) for cell, seen in zip(cells, visible, strict=True)]]
    for table in tables:
        below, level = up[-1], []
        for node in range(len(below) // 2):
            message = np.einsum("abc,b,c->a", table, below[2 * node], below[2 * node + 1])
            level.append(message / message.sum())
        up.append(level)
    down = [np.full(symbols, 1 / symbols)]
    marginals = []
    for place in range(len(tables), -1, -1):
        if of_latents or place == 0:
            both = [above * own for above, own in zip(down, up[place], strict=True)]
            marginals.append([one / one.sum() for one in both])
        if place == 0:
            break
        lower = []
        for node, above in enumerate(down):
            left, right = up[place - 1][2 * node], up[place - 1][2 * node + 1]
            lower.append(np.einsum("abc,a,c->b", tables[place - 1], above, right))
            lower.append(np.einsum("abc,a,b->c", tables[place - 1], above, left))
        down = lower
    return marginals


def check(oracle: GrammarOracle, ways: list[Callable[..., Marginals]], cells: np.ndarray, visible: np.ndarray) -> None:
    """Refuse to time answers that differ."""
    few = cells[:3]
    loss, posterior = losses_of(oracle, few, visible), posteriors_of(oracle, few, visible)
    by_height = [
        [name for name, height in zip(oracle.graph.nodes, oracle.graph.heights, strict=True) if height == h]
        for h in sorted(set(oracle.graph.heights), reverse=True)
    ]
    for i, string in enumerate(few):
        for way in ways:
            np.testing.assert_allclose(loss[i], losses(way(string, visible, False), string), atol=2e-3)
            for names, level in zip(by_height, way(string, visible, True), strict=True):
                np.testing.assert_allclose([posterior[name][i] for name in names], level, atol=1e-4)


# ---------------------------------------------------------------------- linear-Gaussian trees


def gaussian_rows(height: int, n_masks: int, rounds: int) -> list[Row]:
    graph = LatentGraph.from_parents(
        np.concatenate([[-1], (np.arange(1, 2 ** (height + 1) - 1) - 1) // 2]), root_dim=1, noise_dim=1
    )
    graph = dataclasses.replace(
        graph, arrays=dataclasses.replace(graph.arrays, dims=np.ones(graph.arrays.n_nodes, int))
    )
    names = graph.nodes
    coefficients = {name: np.array([[0.9]]) for name in names[1:]}
    oracle = GaussianOracle.from_parameters(graph, coefficients=coefficients, noise_scales=dict.fromkeys(names, 0.5))
    masks = np.random.default_rng(0).random((n_masks, graph.n_observed)) < 0.5
    one = masks[0]
    np.testing.assert_allclose(
        oracle.relative_loss_batch(masks[:2]).value[0][one],
        oracle.bayes_loss(one).mse / oracle.bayes_loss(one).variance,
    )
    contenders: dict[str, tuple[int, Callable[[], Any]]] = {
        "all masks at once": (n_masks, lambda: oracle.relative_loss_batch(masks)),
        "one mask at a time": (3, lambda: [oracle.bayes_loss(mask) for mask in masks[:3]]),
    }
    return in_turns(f"loss, linear-Gaussian tree of {graph.n_observed:,} leaves", contenders, rounds)


# ---------------------------------------------------------------------- growth


def growth_rows(rounds: int, *, quick: bool) -> list[Row]:
    sizes = [(v, levels) for v in (4, 8, 16) for levels in (2, 3, 4, 5, 6)]
    rows = []
    for symbols, levels in sizes[:3] if quick else sizes:
        oracle = GrammarOracle(grammar_of(symbols, levels))
        n = 2**13
        cells, visible = strings_of(oracle, n)
        posteriors_of(oracle, cells, visible)
        contenders: dict[str, tuple[int, Callable[[], Any]]] = {
            "this package": (n, lambda o=oracle, c=cells, v=visible: posteriors_of(o, c, v))
        }
        rows += in_turns(f"growth, {symbols} symbols, {levels} levels", contenders, rounds)
    return rows


def draw(rows: list[Row], path: Path) -> None:
    from hlvm.plotting import save_figure
    from hlvm.plotting.styles import COLORS, figure_with_panels, style

    with style():
        figure, axes, *_ = figure_with_panels(4.6, 3.2, 1, 1)
        ax = axes.flat[0]
        for symbols, color, marker in ((4, "blue", "o"), (8, "vermilion", "D"), (16, "green", "^")):
            own = [row for row in rows if row.question.startswith(f"growth, {symbols} symbols")]
            levels = [int(row.question.split()[3]) for row in own]
            ax.plot(
                levels,
                [1e6 * row.median for row in own],
                marker=marker,
                color=COLORS[color],
                label=f"{symbols} symbols",
            )
        ax.set_yscale("log")
        ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        ax.minorticks_off()
        ax.set_xticks(range(2, 7))
        ax.set_xlabel("levels of pairs")
        ax.set_ylabel("µs of one core per string")
        ax.legend(frameon=False, fontsize=8)
        save_figure(figure, path)


# ---------------------------------------------------------------------- measuring


def in_turns(question: str, contenders: dict[str, tuple[int, Callable[[], Any]]], rounds: int) -> list[Row]:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (n, call) in contenders.items():
            start = time.process_time()
            call()
            seconds[name].append((time.process_time() - start) / n)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    first = next(iter(medians.values()))
    return [
        Row(question=question, contender=name, seconds=each, ratio=medians[name] / first, strings=contenders[name][0])
        for name, each in seconds.items()
    ]


def print_rows(rows: list[Row]) -> None:
    table = Table("question", "contender", "µs per string or mask", "least to most", "ratio")
    for row in rows:
        least, most = 1e6 * min(row.seconds), 1e6 * max(row.seconds)
        table.add_row(
            row.question, row.contender, f"{1e6 * row.median:,.1f}", f"{least:,.1f} – {most:,.1f}", f"{row.ratio:,.1f}"
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
