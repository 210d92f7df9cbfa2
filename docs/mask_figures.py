"""Figures of the page on masks, computed by the engine when the pages are built."""

from pathlib import Path

import jax
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hlvm import plotting, theory
from hlvm.graph import LatentGraph
from hlvm.masking import BlockMask, GridMask, RandomMask

GRAPH = LatentGraph.quadtree(3)
N_CELLS = len(GRAPH.observed)
RATIOS = [m / N_CELLS for m in range(1, N_CELLS)]
RANDOM_STATE = 0


def draw_all(folder: Path) -> None:
    """Write every figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (
        ("mask_cell", lambda: identified(["x_0_0"])),
        ("mask_quarter", lambda: identified([name for name in GRAPH.observed if _place(name) < (4, 4)])),
        ("mask_random", lambda: identified(_random_mask(0.75))),
        ("mask_strategies", strategies),
        ("mask_nodes", nodes_and_information),
        ("mask_not_unique", not_unique),
        ("mask_designed", designed),
    ):
        plotting.save_figure(draw(), folder / f"{name}.svg")


class _Corner(tuple):
    """Row and column of a cell; below another one if both are."""

    def __lt__(self, other: object) -> bool:
        return isinstance(other, tuple) and all(a < b for a, b in zip(self, other, strict=True))


def _place(name: str) -> _Corner:
    return _Corner(map(int, name.split("_")[1:]))


def _random_mask(ratio: float) -> np.ndarray:
    return np.asarray(RandomMask(ratio=ratio).sample(jax.random.key(RANDOM_STATE), 1, GRAPH)[0])


def identified(masked: list[str] | np.ndarray) -> Figure:
    """A mask, and the latents it lets be identified, as maps."""
    shared = theory.shared_information(GRAPH, masked)
    n = len(shared.members)
    title = f"{n} {'latent is' if n == 1 else 'latents are'} shared, {shared.dim} numbers in all"
    return plotting.plot_grid(GRAPH, masked=masked, shared=shared, title=title)


def strategies() -> Figure:
    """Shares by height at about one masked half, for several ways to choose what is masked."""
    by_name = {
        "cells": RandomMask(ratio=0.5),
        "2 × 2 units": RandomMask(ratio=0.5, unit=2),
        "4 × 4 units": RandomMask(ratio=0.5, unit=4),
        "block of 6 × 5": BlockMask(ratio=0.5),
        "every other column": GridMask(keep_every=(1, 2)),
    }
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    width = 0.26
    shades = matplotlib.colormaps["viridis"]([0.8, 0.5, 0.15])
    profile = theory.level_profile(GRAPH, by_name.values())
    places = np.arange(len(by_name))
    for column, height in enumerate(profile.heights):
        x = places + width * (column - 1)
        axes.bar(x, profile.share[:, column], width, color=shades[column], label=f"height {height}")
    axes.set_xticks(range(len(by_name)), list(by_name), rotation=20, ha="right")
    axes.set(ylabel="expected share in $c$", ylim=(0, 1.05))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def nodes_and_information() -> Figure:
    """Mean height of four sets of latents that are easily taken for one another, and two counts of dims."""
    exact = theory.level_profile(GRAPH, [RandomMask(ratio=ratio) for ratio in RATIOS])
    counts = [1, 4, 8, 16, 24, 32, 40, 48, 56, 60, 63]
    drawn = [RandomMask(ratio=m / N_CELLS) for m in counts]
    cut = theory.level_profile(GRAPH, drawn, regime="general", key=jax.random.key(RANDOM_STATE), n_masks=1000)
    masked = np.arange(1, N_CELLS)
    figure = Figure(figsize=(9.0, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(masked, [_target_height(m) for m in masked], color="#0072b2", label="frontier for one masked cell")
    left.plot(masked, exact.mean_height, color="#e69f00", label="members of $c$")
    left.plot(counts, cut.mean_height, "o", color="0.3", markersize=4, label="least-dims cut")
    frontier = exact.frontier_share * exact.n_latents
    left.plot(masked, frontier @ exact.heights / frontier.sum(axis=1), color="#d55e00", label="frontier of $c$")
    left.set(ylabel="mean height", ylim=(0.9, 3.05))
    right.plot(counts, cut.total_dim, "o", color="0.3", markersize=4, label="least-dims cut: dims of its nodes")
    right.plot(masked, exact.total_dim, color="#e69f00", label="$c$: intrinsic dims")
    right.set(ylabel="expected dims", ylim=(0, None))
    for axes in (left, right):
        _finish(axes, f"masked cells of {N_CELLS}")
    return figure


def _target_height(n_masked: int) -> float:
    """Expected height of the nearest ancestor of one masked cell that has a visible leaf; docs/theory.md, section 2."""
    above = 0.0
    for leaves in (4, 16):
        steps = np.arange(1, leaves)
        above += float(np.prod(np.maximum(n_masked - steps, 0) / (N_CELLS - steps)))
    all_masked_below_root = 1.0 + above
    return all_masked_below_root


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5)


def not_unique() -> Figure:
    """The smallest graph whose least-dims separator is not unique."""
    graph = LatentGraph.from_edges([("z1", "z2"), ("z1", "x1"), ("z2", "x2")], dims=1)
    shared = theory.shared_information(graph, ["x1"], regime="general")
    return plotting.plot_graph(graph, masked=["x1"], shared=shared)


def designed() -> Figure:
    """The smallest mask that shares the root and one latent below it."""
    found = theory.design_mask(GRAPH, ["z3_0_0", "z2_0_1"])
    assert isinstance(found, theory.DesignedMask)
    return plotting.plot_grid(GRAPH, masked=found.masked, shared=theory.shared_information(GRAPH, found.masked))
