"""Figures. Nothing is computed here: every function draws what it is given.

One style throughout: the colour-blind-safe palette of Okabe and Ito, direct labels where possible, sizes for print.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hlvm._files import atomic_path
from hlvm.graph import LatentGraph
from hlvm.theory import SharedInformation

__all__ = [
    "COLORS",
    "MASKED_RGB",
    "plot_claims",
    "plot_graph",
    "plot_images",
    "plot_level_profile",
    "plot_losses",
    "plot_scores_by_height",
    "plot_scores_by_latent",
    "save_figure",
    "style",
]

COLORS: Mapping[str, str] = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "black": "#000000",
    "grey": "#9A9A9A",
    "pale": "#D9D9D9",
}

MASKED_RGB = (0.337, 0.706, 0.914)
"""Colour of masked cells in pictures: the palette's sky blue, which grey images do not contain."""

_HEIGHT_COLORS = ("grey", "green", "blue", "vermilion", "purple", "orange", "sky", "black")
_MARKERS = "osD^vPX*"


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib settings of all figures."""
    settings: Any = {
        "figure.dpi": 110,
        "savefig.dpi": 160,
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "legend.frameon": False,
        "svg.fonttype": "none",
    }
    with mpl.rc_context(settings):
        yield


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, all or nothing; the suffix chooses the format.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, bbox_inches="tight", facecolor="white")


def _new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


# ---------------------------------------------------------------------- graphs


def plot_graph(
    graph: LatentGraph,
    *,
    masked: Sequence[str] = (),
    shared: SharedInformation | None = None,
    title: str = "",
) -> Figure:
    """The graph by height, with masked and visible variables and the shared information coloured.

    Args:
        graph: what to draw. Names are written while they fit.
        masked: masked observed variables; with none given, observed variables are drawn alike.
        shared: what the mask identifies; its frontier gets a heavy outline.
        title: text above.

    Returns:
        The figure.
    """
    with style():
        figure, axes = _new_figure(min(11.0, 2.2 + 0.42 * len(graph.observed)), 1.1 + 0.9 * max(graph.heights))
        ax = axes[0, 0]
        places = _graph_places(graph)
        lines = [(places[p], places[c]) for p, c in graph.edges]
        ax.add_collection(LineCollection(lines, colors=COLORS["pale"], linewidths=1.0, zorder=1))
        size = float(np.clip(2600 / max(len(graph.observed), 4), 12, 330))
        for name, (x, y) in places.items():
            fill, edge, weight, marker = _node_look(graph, name, set(masked), shared)
            ax.scatter([x], [y], s=size, c=fill, edgecolors=edge, linewidths=weight, marker=marker, zorder=2)
        if len(graph.nodes) <= 40:
            for name in graph.latents:
                x, y = places[name]
                ax.annotate(name, (x, y), (0, 8 + size**0.5 / 4), textcoords="offset points", ha="center", fontsize=7)
        ax.set_title(title)
        ax.set_xlim(-0.8, len(graph.observed) - 0.2)
        ax.set_ylim(-0.5, max(graph.heights) + 0.6)
        ax.set_yticks(range(max(graph.heights) + 1))
        ax.set_ylabel("height")
        ax.set_xticks([])
        ax.spines["bottom"].set_visible(False)
        if masked or shared is not None:
            ax.legend(handles=_graph_legend(), loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        return figure


def _graph_places(graph: LatentGraph) -> dict[str, tuple[float, float]]:
    """Observed variables side by side in family order; each latent above the middle of those below it."""
    order: dict[str, int] = {}
    stack = [name for name in reversed(graph.nodes) if not graph.parents(name)]
    seen: set[str] = set()
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        below = graph.children(name)
        if not below:
            order[name] = len(order)
        stack.extend(reversed(below))
    x: dict[str, float] = {name: float(place) for name, place in order.items()}
    for name in reversed(graph.latents):
        x[name] = float(np.mean([x[child] for child in graph.children(name)]))
    _spread(graph, x)
    return {name: (x[name], float(graph.height(name))) for name in graph.nodes}


def _spread(graph: LatentGraph, x: dict[str, float]) -> None:
    """Move latents of equal height apart where they would cover each other."""
    by_height: dict[int, list[str]] = {}
    for name in graph.latents:
        by_height.setdefault(graph.height(name), []).append(name)
    for names in by_height.values():
        ordered = sorted(names, key=lambda name: x[name])
        gap = min(0.8, len(graph.observed) / (len(ordered) + 1))
        before = sum(x[name] for name in ordered)
        for left, right in pairwise(ordered):
            x[right] = max(x[right], x[left] + gap)
        shift = (sum(x[name] for name in ordered) - before) / len(ordered)
        for name in ordered:
            x[name] -= shift


def _node_look(
    graph: LatentGraph, name: str, masked: set[str], shared: SharedInformation | None
) -> tuple[str, str, float, str]:
    """Fill, outline, outline width and marker of a node."""
    if not graph.children(name):
        if not masked:
            return COLORS["sky"], "white", 0.5, "s"
        return (COLORS["black"] if name in masked else COLORS["sky"]), "white", 0.5, "s"
    if shared is not None and name in shared.members:
        return COLORS["orange"], COLORS["vermilion"] if name in shared.frontier else "white", 2.0, "o"
    return COLORS["pale"], COLORS["grey"], 0.8, "o"


def _graph_legend() -> list[Line2D]:
    def mark(marker: str, fill: str, edge: str, label: str) -> Line2D:
        return Line2D([], [], ls="", marker=marker, markerfacecolor=fill, markeredgecolor=edge, ms=7, label=label)

    return [
        mark("o", COLORS["orange"], COLORS["vermilion"], "in c, frontier"),
        mark("o", COLORS["orange"], "white", "in c"),
        mark("o", COLORS["pale"], COLORS["grey"], "latent, not in c"),
        mark("s", COLORS["black"], "white", "masked"),
        mark("s", COLORS["sky"], "white", "visible"),
    ]


# ---------------------------------------------------------------------- images and profiles


def plot_images(images: ArrayLike, *, columns: int = 8, title: str = "") -> Figure:
    """A contact sheet.

    Args:
        images: (n, H, W, C) with values in [0, 1]; C is 1 or 3.
        columns: images per row.
        title: text above.
    """
    array = np.asarray(images)
    n, height, width, channels = array.shape
    rows, gap = -(-n // columns), max(1, height // 8)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for i, picture in enumerate(array):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    with style():
        figure, axes = _new_figure(columns * 0.95, rows * 0.95 + 0.4)
        axes[0, 0].imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes[0, 0].axis("off")
        axes[0, 0].set_title(title)
        return figure


def plot_level_profile(
    share: ArrayLike, *, ratios: Sequence[float], units: Sequence[str], heights: Sequence[int], title: str = ""
) -> Figure:
    """Heat maps of the share of latents in ``c``: one panel per height, masking unit against ratio.

    Args:
        share: expected shares in [0, 1], shape (units, ratios, heights).
        ratios: masking ratios.
        units: labels of the masking units.
        heights: heights, drawn highest first.
        title: text above.
    """
    values = np.asarray(share)
    with style():
        figure, axes = _new_figure(2.1 + 2.4 * len(heights), 1.1 + 0.5 * len(units), 1, len(heights), sharey=True)
        image = None
        for ax, column in zip(axes[0], np.argsort(heights)[::-1], strict=True):
            image = ax.imshow(values[:, :, column], vmin=0, vmax=1, cmap="cividis", aspect="auto")
            for (row, col), value in np.ndenumerate(values[:, :, column]):
                shade = "white" if value < 0.6 else "black"
                ax.text(col, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=shade)
            ax.set_xticks(range(len(ratios)), [f"{r:g}" for r in ratios])
            ax.set_yticks(range(len(units)), units)
            ax.set_xlabel("masking ratio")
            ax.set_title(f"height {heights[column]}")
        axes[0, 0].set_ylabel("masking unit")
        figure.colorbar(image, ax=axes, label="share of latents in c", shrink=0.9)  # pyright: ignore[reportArgumentType]
        figure.suptitle(title, fontsize=10.5)
        return figure


# ---------------------------------------------------------------------- results


def plot_losses(panels: Mapping[str, Mapping[str, ArrayLike]], *, smooth: int = 25) -> Figure:
    """Training losses, averaged over windows of steps; 1 is the loss of predicting the mean.

    Args:
        panels: panel title -> label -> losses, (steps,).
        smooth: window in steps.
    """
    cycle = [COLORS[c] for c in ("blue", "orange", "green", "vermilion", "purple", "sky", "grey", "black")]
    with style():
        figure, axes = _new_figure(4.6 * len(panels), 4.2, 1, len(panels), sharey=True)
        for ax, (panel, curves) in zip(axes[0], panels.items(), strict=True):
            for i, (label, losses) in enumerate(curves.items()):
                values = np.asarray(losses)
                window = max(1, min(smooth, len(values) // 4))
                means = values[: len(values) // window * window].reshape(-1, window).mean(axis=1)
                steps = window * (np.arange(len(means)) + 0.5)
                line = "-" if i < len(cycle) else "--"
                ax.plot(steps, means, line, color=cycle[i % len(cycle)], lw=1.3, label=label)
            ax.set_xlabel("step")
            ax.set_ylim(bottom=0)
            ax.set_title(panel)
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize=8, ncols=2)
        axes[0, 0].set_ylabel("masked squared error / variance")
        return figure


def plot_scores_by_height(
    panels: Mapping[str, Mapping[int, Sequence[tuple[float, float, float, float]]]],
    *,
    floors: Mapping[int, float],
    ceilings: Mapping[int, float],
    chance: Mapping[int, float],
    x_label: str,
    title: str = "",
) -> Figure:
    """R² against a setting, one line per latent height, with its floor, ceiling and chance level.

    Args:
        panels: panel title -> height -> points ``(x, value, low, high)``.
        floors: height -> R² of the untrained encoder.
        ceilings: height -> R² given the whole input.
        chance: height -> R² of shuffled rows.
        x_label: what x is.
        title: text above.
    """
    with style():
        figure, axes = _new_figure(2.2 + 3.0 * len(panels), 3.5, 1, len(panels), sharey=True)
        for ax, (panel, lines) in zip(axes[0], panels.items(), strict=True):
            for height, points in sorted(lines.items(), reverse=True):
                look = _height_look(height)
                x, value, low, high = (np.array(part) for part in zip(*points, strict=True))
                errors = np.clip([value - low, high - value], 0, None)
                ax.errorbar(x, value, yerr=errors, ms=5, lw=1.5, capsize=2, **look)
                for level, dashes in ((floors[height], ":"), (ceilings[height], "--")):
                    ax.axhline(level, color=look["color"], lw=0.9, ls=dashes, alpha=0.8)
            ax.axhline(float(np.mean(list(chance.values()))), color=COLORS["black"], lw=0.7)
            ax.set_xlabel(x_label)
            ax.set_title(panel)
            ax.set_ylim(-0.08, 1.05)
        axes[0, 0].set_ylabel("held-out kernel R²")
        heights = sorted({h for lines in panels.values() for h in lines}, reverse=True)
        legend = [
            Line2D(
                [],
                [],
                color=COLORS[_HEIGHT_COLORS[h % len(_HEIGHT_COLORS)]],
                marker=_MARKERS[h % len(_MARKERS)],
                label=f"height {h}",
            )
            for h in heights
        ]
        legend += [
            Line2D([], [], color=COLORS["grey"], ls="--", label="ceiling (whole input)"),
            Line2D([], [], color=COLORS["grey"], ls=":", label="floor (untrained)"),
            Line2D([], [], color=COLORS["black"], lw=0.7, label="chance (shuffled)"),
        ]
        axes[0, -1].legend(handles=legend, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        figure.suptitle(title, fontsize=10.5)
        return figure


def _height_look(height: int) -> dict[str, Any]:
    """Colour and marker of a latent height, the same in every figure."""
    return {"color": COLORS[_HEIGHT_COLORS[height % len(_HEIGHT_COLORS)]], "marker": _MARKERS[height % len(_MARKERS)]}


def plot_scores_by_latent(panels: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """R² of every latent, one panel per autoencoder, with floor and ceiling; latents in ``c`` are filled.

    Args:
        panels: panel title -> rows of :func:`hlvm.scoring.score_table` with a column ``predicted_in_c``.
        title: text above.
    """
    with style():
        figure, axes = _new_figure(1.6 + 2.3 * len(panels), 3.6, 1, len(panels), sharey=True)
        for ax, (panel, rows) in zip(axes[0], panels.items(), strict=True):
            for x, row in enumerate(rows.to_dict("records")):
                inside = row["predicted_in_c"] > 0
                color = COLORS["orange"] if inside else COLORS["grey"]
                ax.bar([x], [max(row["r2"], 0.0)], color=color if inside else "white", edgecolor=color, width=0.7)
                ax.plot([x, x], [row["r2_low"], row["r2_high"]], color=COLORS["black"], lw=1.5)
                for column, dashes in (("floor_r2", ":"), ("ceiling_r2", "--")):
                    ax.plot([x - 0.42, x + 0.42], [row[column]] * 2, color=COLORS["blue"], ls=dashes, lw=1.4)
            ax.set_xticks(range(len(rows)), rows["latent"], rotation=60, ha="right", fontsize=8)
            ax.set_title(panel.replace(", ", ",\n"), fontsize=9)
            ax.set_ylim(-0.05, 1.05)
        axes[0, 0].set_ylabel("held-out kernel R²")
        handles = [
            Line2D([], [], ls="", marker="s", color=COLORS["orange"], label="in c (predicted)"),
            Line2D([], [], ls="", marker="s", markerfacecolor="white", color=COLORS["grey"], label="not in c"),
            Line2D([], [], color=COLORS["blue"], ls="--", label="ceiling (visible part)"),
            Line2D([], [], color=COLORS["blue"], ls=":", label="floor (untrained)"),
        ]
        axes[0, -1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        figure.suptitle(title, fontsize=10.5)
        return figure


def plot_claims(
    rows: Sequence[tuple[str, Sequence[tuple[float, float, float]], bool | None]],
    *,
    threshold: float,
    title: str = "",
) -> Figure:
    """Intervals of every claim's scores against the threshold.

    Args:
        rows: ``(label, intervals, agrees)``; an interval is ``(low, value, high)``, forward first, then reverse;
            ``agrees`` is ``None`` when inconclusive.
        threshold: drawn as a line.
        title: text above.
    """
    marks = {True: ("green", "agrees"), False: ("vermilion", "against the theory"), None: ("grey", "inconclusive")}
    with style():
        figure, axes = _new_figure(9.2, 1.0 + 0.44 * len(rows))
        ax = axes[0, 0]
        for row, (_, intervals, agrees) in enumerate(rows):
            color = COLORS[marks[agrees][0]]
            for i, (low, value, high) in enumerate(intervals):
                y = row + (0.12 if i else -0.12) * (len(intervals) > 1)
                ax.plot([low, high], [y, y], color=color, lw=2)
                ax.plot([value], [y], "<" if i else ">", color=color, ms=6)
        ax.axvline(threshold, color=COLORS["black"], lw=0.8, ls="--")
        ax.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        ax.invert_yaxis()
        ax.set_xlabel("held-out kernel R²")
        ax.set_xlim(-0.05, 1.03)
        ax.set_title(title)
        handles = [Line2D([], [], color=COLORS[c], lw=2, label=label) for c, label in marks.values()]
        handles += [
            Line2D([], [], color=COLORS["grey"], ls="", marker=">", label="code → latents"),
            Line2D([], [], color=COLORS["grey"], ls="", marker="<", label="latents → code"),
            Line2D([], [], color=COLORS["black"], lw=0.8, ls="--", label=f"threshold {threshold:g}"),
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        return figure
