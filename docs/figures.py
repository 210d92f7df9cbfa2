"""Figures of the theory page, computed by the package when the pages are built."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import hlvm.theory as theory
from hlvm.graph import LatentGraph
from hlvm.masking import Patches

HEIGHT = 3
UNITS = {1: "one cell", 2: "2 × 2 cells", 4: "4 × 4 cells"}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.bbox": "tight",
    "svg.fonttype": "path",
    "svg.hashsalt": "hlvm",
}


def draw_all(folder: Path) -> None:
    """Write every figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, draw in (("membership", membership), ("level_profile", level_profile)):
            draw().savefig(folder / f"{name}.svg", metadata={"Date": None})


def membership() -> Figure:
    """How likely a latent is in the shared information, over the masking ratio."""
    graph = LatentGraph.quadtree(HEIGHT)
    n_cells = len(graph.observed)
    ratios = [m / n_cells for m in range(1, n_cells)]
    profile = theory.level_profile(graph, ratios)
    figure = Figure(figsize=(6.2, 3.4))
    axes = figure.add_subplot()
    shades = matplotlib.colormaps["viridis"]([0.8, 0.5, 0.15])
    for column, height in reversed(list(enumerate(profile.heights.tolist()))):
        axes.plot(ratios, profile.share[:, column], color=shades[column], linewidth=2, label=f"$k$ = {4**height}")
    axes.plot(ratios, [0] * len(ratios), color="0.5", linewidth=2, linestyle=":", label="$k$ = 1")
    axes.set(xlabel="masking ratio", ylabel="probability of being in $c$", xlim=(0, 1), ylim=(-0.03, 1.03))
    axes.legend(title="patches reached", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def level_profile() -> Figure:
    """Expected share of each height, over ratio and masking unit."""
    graph = LatentGraph.quadtree(HEIGHT)
    figure = Figure(figsize=(9.0, 2.9), layout="constrained")
    panels = figure.subplots(1, len(UNITS), sharey=True, width_ratios=(9, 9, 4))
    image = None
    for axes, (unit, label) in zip(panels, UNITS.items(), strict=True):
        image = _heat_map(axes, graph, unit)
        axes.set_title(f"unit: {label}", fontsize=10)
        axes.set_xlabel("masked units")
    panels[0].set_ylabel("height of the latent")
    figure.colorbar(image, ax=panels, label="expected share in $c$", shrink=0.9)
    return figure


def _heat_map(axes: Axes, graph: LatentGraph, unit: int):
    patches = Patches.blocks(graph, unit)
    n = len(patches)
    counts = sorted({min(max(round(n * i / 8), 1), n - 1) for i in range(9)})
    profile = theory.level_profile(graph, [m / n for m in counts], patches=patches)
    image = axes.imshow(profile.share.T, origin="lower", aspect="auto", cmap="viridis", vmin=0, vmax=1)
    for row in range(len(profile.heights)):
        for column in range(len(counts)):
            share = profile.share[column, row]
            shown = f"{share:.0f}" if share in (0, 1) else ">.99" if share > 0.99 else f"{share:.2f}".removeprefix("0")
            axes.text(
                column, row, shown, ha="center", va="center", fontsize=7.5, color=("black" if share > 0.6 else "white")
            )
    axes.set_xticks(range(len(counts)), [f"{m}/{n}" for m in counts], rotation=60, fontsize=8)
    axes.set_yticks(range(len(profile.heights)), profile.heights.tolist())
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image
