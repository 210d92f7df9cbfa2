"""Speed of the exact oracles: ratios against named alternatives, measured in the same run.

python benchmarks/oracle.py [--out benchmarks/results/oracle.json] [--figure FILE.png] [--quick]

1. Grammars of binary tuples: posterior of every latent and cell, and log-likelihood, of strings of which half the cells
   are visible. This package (all strings at once, float32); and the same recursion for one string after the other: in
   Python over the rules that there are, in Python over all triples of symbols, as the sums are written on paper, and
   with NumPy over dense tables of all triples. All answers are compared before anything is timed. Times are per string.
2. A linear-Gaussian tree with 65,536 leaves: loss of every cell for 1,000 masks; and one mask at a time.
3. Cost of grammars over levels and symbols, as a figure.

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

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.theory import GaussianOracle, GrammarOracle

SIZES = ((4, 4), (8, 6))
"""Symbols and levels. Every symbol has as many rules as there are symbols, so that every string can be written."""


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
    n = 2**13 if levels > 4 else 2**16
    cells, visible = strings_of(oracle, n)
    start = time.process_time()
    ours(oracle, cells, visible)
    compiling = time.process_time() - start
    tables = [np.asarray(grammar.rules[level]) for level in range(1, levels + 1)]
    dense = [dense_table(table, symbols) for table in tables]
    contenders: dict[str, tuple[int, Callable[[], Any]]] = {
        "this package": (n, lambda: ours(oracle, cells, visible)),
        **{
            name: (few, lambda call=call, few=few: [call(string) for string in cells[:few]])
            for name, few, call in (
                ("over rules in Python", 32, lambda string: over_rules(tables, symbols, string, visible)),
                ("over triples in Python", 8, lambda string: over_triples(dense, symbols, string, visible)),
                ("over triples with NumPy", 32, lambda string: over_tables(dense, symbols, string, visible)),
            )
        },
    }
    check(oracle, tables, dense, symbols, cells, visible)
    question = f"posterior of everything, {symbols} symbols, {levels} levels"
    print(f"{question}: {compiling:.1f} s to compile")
    return in_turns(question, contenders, rounds)


def strings_of(oracle: GrammarOracle, n: int) -> tuple[np.ndarray, np.ndarray]:
    cells = oracle.sample(1, n).cells
    return cells, np.arange(cells.shape[1]) % 2 == 0


def ours(oracle: GrammarOracle, cells: np.ndarray, visible: np.ndarray) -> Any:
    """Entropy, best guess and spread of every latent and cell, of posteriors that are not kept."""
    return oracle.log_loss(cells, visible)


def over_rules(
    tables: list[Any], symbols: int, cells: np.ndarray, visible: np.ndarray, chances: list[Any] | None = None
) -> Any:
    """Belief propagation for one string: messages up and down, one rule after the other."""
    tables = [table.tolist() if isinstance(table, np.ndarray) else table for table in tables]
    chances = chances or [[[1 / len(rules)] * len(rules) for rules in table] for table in tables]
    up = [
        [
            [float(seen is False or a == cell) for a in range(symbols)]
            for cell, seen in zip(cells.tolist(), visible.tolist(), strict=True)
        ]
    ]
    scale = 0.0
    for table, of_table in zip(tables, chances, strict=True):
        below, level = up[-1], []
        for node in range(len(below) // 2):
            left, right = below[2 * node], below[2 * node + 1]
            message = [
                sum(chance * left[b] * right[c] for chance, (b, c) in zip(weights, rules, strict=True))
                for weights, rules in zip(of_table, table, strict=True)
            ]
            total = sum(message)
            scale += float(np.log(total))
            level.append([value / total for value in message])
        up.append(level)
    down = [[1 / symbols] * symbols]
    marginals = []
    for place in range(len(tables), -1, -1):
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
    return scale + float(np.log(sum(up[-1][0]) / symbols)), marginals


def dense_table(table: np.ndarray, symbols: int) -> np.ndarray:
    """Probability of each pair of symbols given the symbol above."""
    found = np.zeros((len(table), symbols, symbols))
    for a, rules in enumerate(table):
        for b, c in rules:
            found[a, b, c] += 1 / len(rules)
    return found


def over_triples(tables: list[np.ndarray], symbols: int, cells: np.ndarray, visible: np.ndarray) -> Any:
    """Belief propagation for one string: the rules with probability zero are summed over as well."""
    everything = [[[(b, c) for b in range(symbols) for c in range(symbols)] for _ in range(symbols)] for _ in tables]
    chances = [table.reshape(len(table), -1).tolist() for table in tables]
    return over_rules(everything, symbols, cells, visible, chances)


def over_tables(tables: list[np.ndarray], symbols: int, cells: np.ndarray, visible: np.ndarray) -> Any:
    """Belief propagation for one string: messages up and down, one node after the other."""
    up = [[np.eye(symbols)[cell] if seen else np.ones(symbols) for cell, seen in zip(cells, visible, strict=True)]]
    scale = 0.0
    for table in tables:
        below, level = up[-1], []
        for node in range(len(below) // 2):
            message = np.einsum("abc,b,c->a", table, below[2 * node], below[2 * node + 1])
            total = message.sum()
            scale += np.log(total)
            level.append(message / total)
        up.append(level)
    down = [np.full(symbols, 1 / symbols)]
    marginals = []
    for place in range(len(tables), -1, -1):
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
    return scale + np.log(up[-1][0].sum() / symbols), marginals


def check(
    oracle: GrammarOracle,
    tables: list[np.ndarray],
    dense: list[np.ndarray],
    symbols: int,
    cells: np.ndarray,
    visible: np.ndarray,
) -> None:
    """Refuse to time answers that differ."""
    few = cells[:3]
    likelihood = oracle.log_likelihood(few, visible)
    losses = oracle.log_loss(few, visible)
    roots = oracle.posterior(few, visible, names=[oracle.graph.latents[0]])[oracle.graph.latents[0]]
    for i, string in enumerate(few):
        ways = ((over_rules, tables), (over_triples, dense), (over_tables, dense))
        for found in (way(of, symbols, string, visible) for way, of in ways):
            np.testing.assert_allclose(likelihood[i], found[0], rtol=1e-4)
            np.testing.assert_allclose(roots[i], found[1][0][0], atol=1e-4)
            leaves = np.array(found[1][-1])[np.arange(len(string)), string]
            np.testing.assert_allclose(losses[i], -np.log2(leaves), atol=2e-3)


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
        n = 2**10 if symbols * levels > 40 else 2**13
        cells, visible = strings_of(oracle, n)
        ours(oracle, cells, visible)
        contenders: dict[str, tuple[int, Callable[[], Any]]] = {
            "this package": (n, lambda o=oracle, c=cells, v=visible: ours(o, c, v))
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
        ax.set_yticks([1, 10, 100], ["1", "10", "100"])
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
