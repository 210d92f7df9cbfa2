"""Figures of the page on how much is known and asked for, drawn from what benchmarks/how_much.py found."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from figures import STYLE
from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "how_much.json"
ROWS = {
    "share": "share\n(probability)",
    "availability": "availability\n($R^2$)",
    "demand": "demand\n(of a cell's variance)",
}
LEAST_SHOWN = 5e-4


def draw_all(folder: Path) -> None:
    """Write the figures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    with matplotlib.rc_context(STYLE):
        for name, draw in (("how_much", quantities), ("density_evolution", patches)):
            draw(found).savefig(folder / f"{name}.svg", metadata={"Date": None})


def quantities(found: Mapping[str, Any]) -> Figure:
    """Share, availability and demand of each height over the masked share; a column for each generator."""
    columns = {f"grammar, {of['synonyms']} synonyms": of["rows"] for of in found["grammars"]}
    columns["noisy quadtree"] = found["quadtree"]
    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    panels = figure.subplots(len(ROWS), len(columns), sharex=True, sharey="row")
    top = max(row["height"] for rows in columns.values() for row in rows)
    shades = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.05, top))
    for place, (name, rows) in enumerate(columns.items()):
        panels[0, place].set_title(name, fontsize=10)
        for axes, quantity in zip(panels[:, place], ROWS, strict=True):
            _curves(axes, [row for row in rows if row["quantity"] == quantity and row["part"] != "noise"], shades)
        panels[-1, place].set_xlabel("masked share")
    for axes, label in zip(panels[:, 0], ROWS.values(), strict=True):
        axes.set_ylabel(label)
    for axes in panels[:2].flat:
        axes.set_ylim(-0.03, 1.03)
    panels[-1, 0].set(yscale="log", ylim=(LEAST_SHOWN, 1.1), xlim=(0, 1), xticks=(0, 0.5, 1))
    lines = [matplotlib.lines.Line2D([], [], color=shade, linewidth=2) for shade in shades]
    labels = [f"height {height}" for height in range(1, top + 1)]
    figure.legend(lines, labels, loc="outside lower center", ncols=top, frameon=False)
    return figure


def _curves(axes: Axes, rows: Sequence[Mapping[str, Any]], shades: Any) -> None:
    """One line for each height, with a band of two standard errors; of demands, a dot at the largest."""
    for height in sorted({row["height"] for row in rows}):
        own = [row for row in rows if row["height"] == height]
        ratio, value, error = (np.array([row[what] for row in own]) for what in ("ratio", "value", "error"))
        shade = shades[height - 1]
        axes.plot(ratio, value, color=shade, linewidth=2)
        axes.fill_between(ratio, np.maximum(value - 2 * error, 1e-9), value + 2 * error, color=shade, alpha=0.2, lw=0)
        if rows[0]["quantity"] == "demand":
            best = int(value.argmax())
            axes.plot(ratio[best], value[best], "o", color=shade, markeredgecolor="black", clip_on=False, zorder=3)


def patches(found: Mapping[str, Any]) -> Figure:
    """R² of the class over the masked share, a panel for each number of synonyms and a line for each height."""
    curves = found["density_evolution"]
    synonyms = list(dict.fromkeys(of["synonyms"] for of in curves))
    heights = sorted({of["patch_height"] for of in curves})
    shades = matplotlib.colormaps["plasma"](np.linspace(0.0, 0.8, len(heights)))
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    for axes, m in zip(figure.subplots(1, len(synonyms), sharey=True), synonyms, strict=True):
        for of in (of for of in curves if of["synonyms"] == m):
            shade = shades[heights.index(of["patch_height"])]
            r2, error = np.array(of["r2"]), np.array(of["error"])
            axes.plot(of["masked_shares"], r2, color=shade, linewidth=2, label=_cells(of["patch_height"]))
            axes.fill_between(of["masked_shares"], r2 - 2 * error, r2 + 2 * error, color=shade, alpha=0.2, lw=0)
        axes.set_title(f"{m} synonyms", fontsize=10)
        axes.set(xlabel="masked share", xlim=(0, 1), ylim=(-0.03, 1.03), xticks=(0, 0.5, 1))
    figure.axes[0].set_ylabel("$R^2$ of the class")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def _cells(height: int) -> str:
    return "single cells" if height == 0 else f"patches of {2**height} cells"
