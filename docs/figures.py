"""Figures of the theory page, of which the page on masks shows one as well, computed when the pages are built."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from hlvm import plotting, theory
from hlvm.graph import LatentGraph
from hlvm.masking import Patches, RandomMask

HEIGHT = 3
UNITS = {1: "unit: one cell", 2: "unit: 2 × 2 cells", 4: "unit: 4 × 4 cells"}
RATIOS = (1 / 64, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8, 63 / 64)
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
    profile = theory.level_profile(graph, [RandomMask(ratio=ratio) for ratio in ratios])
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
    """Expected share of each height, over ratio and masking unit; grey where a ratio is no whole number of units."""
    graph = LatentGraph.quadtree(HEIGHT)
    profiles = {}
    for unit, name in UNITS.items():
        n_units = len(Patches.blocks(graph, unit))
        usable = [RandomMask(ratio=ratio, unit=unit) for ratio in RATIOS if (ratio * n_units).is_integer()]
        profiles[name] = theory.level_profile(graph, usable)
    return plotting.plot_level_profile(profiles, panels="unit")
