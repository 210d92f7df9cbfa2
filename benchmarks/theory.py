"""How fast the theory engine answers: ratios against named alternatives, measured in the same run.

python benchmarks/theory.py [--out benchmarks/results/theory.json] [--quick]

Every contender starts from the same input and all answers are compared before anything is timed. Contenders take turns,
and the table shows the median of the rounds with the least and the most. Time is processor time of this process (all
contenders run in one thread), which other work on the machine disturbs less than the clock's.

1. One mask on a quadtree with 65,536 leaves, general regime, from an array of parents to both least cuts: this package;
   SciPy's maximum flow on the tree, its moral graph, with its nodes split; the same on a lean network made for this
   question, with the leaves folded into their parents by hand; SciPy's maximum flow on the network for any DAG, which
   the package uses when the graph is no tree; and networkx on the lean network. Building the graph is part of the time
   on all sides. Only this package's answers have names, so it is timed with sets of positions, too. networkx takes few
   rounds; nothing is extrapolated.
2. 1,000 masks at 1,024 leaves at once against one at a time, both regimes.
3. Growth with leaves and with masks.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from records import write_rows
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from hlvm.graph import LatentGraph
from hlvm.theory import shared_information, shared_information_batch
from hlvm.theory.one_mask.flow_cut import flow_cut

ROOT_DIM, NOISE_DIM = 2, 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measured contender.

    Attributes:
        question: what was asked.
        contender: who answered.
        seconds: processor time of every round.
        ratio: median of this contender over the median of the first contender of the question.
    """

    question: str
    contender: str
    seconds: list[float]
    ratio: float

    @property
    def median(self) -> float:
        """Median of the rounds."""
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, to try the script out")
    arguments = parser.parse_args()
    rows = run(quick=arguments.quick)
    print_rows(rows)
    if arguments.out is not None:
        write_rows(arguments.out, rows, "numpy", "scipy", "networkx")


def run(*, quick: bool = False) -> list[Row]:
    rounds = 3 if quick else 9
    rows: list[Row] = []
    for kind in ("random", "half"):
        rows += one_mask(
            height=5 if quick else 8,
            rounds=rounds,
            contenders=(
                "hlvm",
                "hlvm, positions for names",
                "scipy",
                "scipy, leaves folded by hand",
                "hlvm by scipy, as on any DAG",
            ),
            kind=kind,
        )
    for height in (3, 4) if quick else (4, 6, 8):
        rows += one_mask(height=height, rounds=3, contenders=("hlvm", "scipy", "networkx"))
    for regime in ("invertible", "general"):
        rows += batch(height=3 if quick else 5, n_masks=100 if quick else 1000, regime=regime, rounds=rounds)
        rows += growth(regime=regime, rounds=rounds, heights=(3, 4) if quick else (4, 5, 6, 7, 8))
    return rows


# ---------------------------------------------------------------------- one mask


def one_mask(*, height: int, rounds: int, contenders: tuple[str, ...], kind: str = "random") -> list[Row]:
    """A mask of random leaves, three quarters of all, or of the left half of the image and one leaf."""
    graph = LatentGraph.quadtree(height)
    parents = np.asarray([above[0] if above else -1 for above in graph.parent_indices])
    if kind == "random":
        mask = np.random.default_rng(height).random(4**height) < 0.75
    else:
        mask = np.arange(4**height) % 2**height < 2 ** (height - 1)
        mask[-1] = True
    answers: dict[str, Callable[[np.ndarray, np.ndarray], tuple[Collection[Any], Collection[Any]]]] = {
        "hlvm": by_hlvm,
        "hlvm, positions for names": by_hlvm_without_names,
        "scipy": by_scipy,
        "scipy, leaves folded by hand": by_scipy_without_leaves,
        "hlvm by scipy, as on any DAG": by_scipy_on_any_dag,
        "networkx": by_networkx,
    }
    expected = tuple({int(name[2:]) for name in cut} for cut in by_hlvm(parents, mask))
    for name in contenders[1:]:
        if tuple(map(set, answers[name](parents, mask))) != expected:
            raise RuntimeError(f"{name} found another cut: the times would compare different answers")
    timed = {name: (lambda answer=answers[name]: answer(parents, mask)) for name in contenders}
    question = f"one {kind} mask, {4**height:,} leaves, from the parents array, general regime"
    return compare(question, timed, rounds)


def by_hlvm(parents: np.ndarray, mask: np.ndarray) -> tuple[Collection[Any], Collection[Any]]:
    graph = LatentGraph.from_parents(parents, root_dim=ROOT_DIM, noise_dim=NOISE_DIM)
    found = shared_information(graph, mask, regime="general")
    return found.near_masked, found.near_visible


def by_hlvm_without_names(parents: np.ndarray, mask: np.ndarray) -> tuple[Collection[Any], Collection[Any]]:
    """The same in what SciPy's side answers with: sets of positions. Writing names is a good part of the time."""
    graph = LatentGraph.from_parents(parents, root_dim=ROOT_DIM, noise_dim=NOISE_DIM)
    found = shared_information_batch(graph, mask[None], regime="general")
    return set(np.flatnonzero(found.members[0]).tolist()), set(np.flatnonzero(found.near_visible[0]).tolist())


def by_scipy_on_any_dag(parents: np.ndarray, mask: np.ndarray) -> tuple[Collection[Any], Collection[Any]]:
    """The package's way on graphs that are not trees: the moral graph of any DAG, with a hub for every family."""
    cuts = flow_cut(LatentGraph.from_parents(parents, root_dim=ROOT_DIM, noise_dim=NOISE_DIM), mask, ~mask)
    return np.flatnonzero(cuts[0]).tolist(), np.flatnonzero(cuts[1]).tolist()


def by_scipy(parents: np.ndarray, mask: np.ndarray) -> tuple[Collection[Any], Collection[Any]]:
    """Least cuts nearest the masked and the visible leaves. A tree is its own moral graph, so no hubs are needed."""
    return scipy_cuts(*split_network(parents, mask, keep_leaves=True))


def by_scipy_without_leaves(parents: np.ndarray, mask: np.ndarray) -> tuple[Collection[Any], Collection[Any]]:
    return scipy_cuts(*split_network(parents, mask, keep_leaves=False))


def scipy_cuts(
    begins: np.ndarray, ends: np.ndarray, capacities: np.ndarray, n_latents: int, size: int
) -> tuple[Collection[Any], Collection[Any]]:
    network = csr_array((capacities, (begins, ends)), shape=(size, size))
    source, sink = 2 * n_latents, 2 * n_latents + 1
    residual = csr_array(network - maximum_flow(network, source, sink).flow)
    residual.eliminate_zeros()
    before, after = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    before[breadth_first_order(residual, source, return_predecessors=False)] = True
    after[breadth_first_order(residual.T.tocsr(), sink, return_predecessors=False)] = True
    entrances, exits = slice(0, n_latents), slice(n_latents, 2 * n_latents)
    near_masked = np.flatnonzero(before[entrances] & ~before[exits])
    near_visible = np.flatnonzero(after[exits] & ~after[entrances])
    return set(near_masked.tolist()), set(near_visible.tolist())


def by_networkx(parents: np.ndarray, mask: np.ndarray) -> tuple[Collection[Any], Collection[Any]]:
    begins, ends, capacities, n_latents, _ = split_network(parents, mask, keep_leaves=False)
    network = nx.DiGraph()
    edges = zip(begins.tolist(), ends.tolist(), capacities.tolist(), strict=True)
    network.add_weighted_edges_from(edges, weight="capacity")
    source, sink = 2 * n_latents, 2 * n_latents + 1
    residual = nx.flow.preflow_push(network, source, sink)
    open_edges = nx.subgraph_view(
        residual, filter_edge=lambda u, v: residual[u][v]["flow"] < residual[u][v]["capacity"]
    )
    before, after = nx.descendants(open_edges, source), nx.ancestors(open_edges, sink)
    near_masked = {u for u in range(n_latents) if u in before and n_latents + u not in before}
    return near_masked, {u for u in range(n_latents) if n_latents + u in after and u not in after}


def split_network(
    parents: np.ndarray, mask: np.ndarray, *, keep_leaves: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int]:
    """Edges and capacities: each latent an entrance ``u`` and an exit ``n + u``, a source and a sink, the leaves."""
    n = len(parents) - len(mask)
    depth = np.zeros(len(parents), dtype=np.int32)
    level = parents >= 0
    above = parents.copy()
    while level.any():
        depth[level] += 1
        above = np.where(level, parents[above], -1)
        level = above >= 0
    latents = np.arange(n)
    inner, inner_parents = latents[parents[:n] >= 0], parents[:n][parents[:n] >= 0]
    masked, visible = (np.unique(parents[n:][side]) for side in (mask, ~mask))
    dims = (ROOT_DIM + NOISE_DIM * depth[:n]).astype(np.int32)
    unlimited = np.int32(min(dims[masked].sum(), dims[visible].sum()) + 1)
    source, sink = 2 * n, 2 * n + 1
    edges = [(latents, n + latents), (n + inner_parents, inner), (n + inner, inner_parents)]
    if keep_leaves:
        leaves = 2 * n + 2 + np.arange(len(mask))
        from_source, to_sink = leaves[mask], leaves[~mask]
        edges += [(from_source, parents[n:][mask]), (n + parents[n:][~mask], to_sink)]
    else:
        from_source, to_sink = masked, n + visible
    edges += [(np.full(len(from_source), source), from_source), (to_sink, np.full(len(to_sink), sink))]
    begins, ends = (np.concatenate(sides) for sides in zip(*edges, strict=True))
    free = np.full(len(begins) - n, unlimited, dtype=np.int32)
    return begins, ends, np.concatenate([dims, free]), n, 2 * n + 2 + (len(mask) if keep_leaves else 0)


# ---------------------------------------------------------------------- many masks


def batch(*, height: int, n_masks: int, regime: Any, rounds: int) -> list[Row]:
    graph = LatentGraph.quadtree(height)
    masks = np.random.default_rng(0).random((n_masks, 4**height)) < 0.75

    def together() -> np.ndarray:
        return shared_information_batch(graph, masks, regime=regime).members

    def one_at_a_time() -> list[frozenset[str]]:
        return [shared_information(graph, mask, regime=regime).members for mask in masks]

    for row, members in zip(together(), one_at_a_time(), strict=True):
        assert {graph.latents[i] for i in np.flatnonzero(row)} == members
    question = f"{n_masks:,} masks, {4**height:,} leaves, {regime} regime"
    return compare(question, {"hlvm batch": together, "hlvm one at a time": one_at_a_time}, max(3, rounds // 3))


def growth(*, regime: Any, rounds: int, heights: tuple[int, ...]) -> list[Row]:
    """A known graph: each size against the smallest."""
    rows: list[Row] = []
    by_leaves = {}
    for height in heights:
        graph = LatentGraph.quadtree(height)
        mask = np.random.default_rng(0).random(4**height) < 0.75
        shared_information(graph, mask, regime=regime)
        by_leaves[f"{4**height:,} leaves"] = lambda graph=graph, mask=mask: shared_information(
            graph, mask, regime=regime
        )
    rows += compare(f"growth with leaves, one mask, known graph, {regime} regime", by_leaves, rounds)
    graph = LatentGraph.quadtree(min(5, heights[-1]))
    by_masks = {}
    for n_masks in (1, 10, 100, 1000):
        masks = np.random.default_rng(0).random((n_masks, len(graph.observed))) < 0.75
        by_masks[f"{n_masks:,} masks"] = lambda masks=masks: shared_information_batch(graph, masks, regime=regime)
    rows += compare(f"growth with masks, {len(graph.observed):,} leaves, {regime} regime", by_masks, rounds)
    return rows


# ---------------------------------------------------------------------- measuring and showing


def compare(question: str, contenders: dict[str, Callable[[], Any]], rounds: int) -> list[Row]:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    for _ in range(rounds):
        for name, contender in contenders.items():
            begin = time.process_time()
            contender()
            seconds[name].append(time.process_time() - begin)
    base = statistics.median(next(iter(seconds.values())))
    return [
        Row(question=question, contender=name, seconds=taken, ratio=statistics.median(taken) / base)
        for name, taken in seconds.items()
    ]


def print_rows(rows: list[Row]) -> None:
    console = Console(width=110)
    for question in dict.fromkeys(row.question for row in rows):
        table = Table(title=question, title_justify="left", width=100)
        for heading in ("contender", "median ms", "least ms", "most ms", "rounds", "ratio to the first"):
            table.add_column(heading, justify="left" if heading == "contender" else "right")
        for row in (row for row in rows if row.question == question):
            numbers = [1e3 * number for number in (row.median, min(row.seconds), max(row.seconds))]
            shown = [f"{number:,.3f}" for number in numbers]
            table.add_row(row.contender, *shown, str(len(row.seconds)), f"{row.ratio:,.1f}")
        console.print(table)


if __name__ == "__main__":
    main()
