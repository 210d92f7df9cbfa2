"""What was measured: losses, scores beside their controls, and claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hlvm.claims import Claim
from hlvm.plotting.letters import printable, printable_lines
from hlvm.plotting.style import COLORS, figure_with_panels, height_look, style

__all__ = ["plot_claims", "plot_losses", "plot_scores_by_height", "plot_scores_by_latent"]


_MOST_NAMED, _INCHES_PER_NAME = 24, 0.18
"""More curves than this are not told apart by one legend below."""


def plot_losses(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    held_out: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]] | None = None,
    smooth: int = 25,
    y_label: str = "masked squared error / variance",
    names_below: bool = False,
) -> Figure:
    """Training losses, averaged over windows of steps; 1 is the squared error of predicting the mean.

    Args:
        panels: panel title -> label -> losses, (steps,).
        held_out: panel title -> label -> steps, and the losses on rows held out after them; drawn as dots in the colour
            of the curve of that label.
        smooth: window in steps.
        y_label: what the losses are.
        names_below: one legend below all panels, a line per label, as long labels need; without it if they are many.
    """
    cycle = [COLORS[c] for c in ("blue", "orange", "green", "vermilion", "purple", "sky", "grey", "black")]
    with style([*panels, *(label for curves in panels.values() for label in curves)]):
        figure, axes = figure_with_panels(4.6 * len(panels), 4.2, 1, len(panels), sharey=True)
        for ax, (panel, curves) in zip(axes[0], panels.items(), strict=True):
            for i, (label, losses) in enumerate(curves.items()):
                values = np.asarray(losses)
                window = max(1, min(smooth, len(values) // 4))
                means = values[: len(values) // window * window].reshape(-1, window).mean(axis=1)
                steps = window * (np.arange(len(means)) + 0.5)
                line = "-" if i < len(cycle) else "--"
                color = cycle[i % len(cycle)]
                ax.plot(steps, means, line, color=color, lw=1.3, label=printable(label))
                if label in (held_out or {}).get(panel, {}):
                    ax.plot(*(held_out or {})[panel][label], ".", color=color, ms=5)
            ax.set_xlabel("step")
            ax.set_ylim(bottom=0)
            ax.set_title(printable_lines(panel))
            if not names_below:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize=8, ncols=2)
        axes[0, 0].set_ylabel(printable(y_label))
        curves = [line for ax in axes[0] for line in ax.get_lines() if not line.get_label().startswith("_")]
        if names_below and len(curves) <= _MOST_NAMED:
            figure.set_figheight(figure.get_figheight() + _INCHES_PER_NAME * len(curves))
            figure.legend(handles=curves, loc="outside lower center", fontsize=8, frameon=False)
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
    with style([title, x_label, *panels]):
        figure, axes = figure_with_panels(2.2 + 3.0 * len(panels), 3.5, 1, len(panels), sharey=True)
        for ax, (panel, lines) in zip(axes[0], panels.items(), strict=True):
            for height, points in sorted(lines.items(), reverse=True):
                look = height_look(height)
                x, value, low, high = (np.array(part) for part in zip(*points, strict=True))
                errors = np.clip([value - low, high - value], 0, None)
                ax.errorbar(x, value, yerr=errors, ms=5, lw=1.5, capsize=2, **look)
                for level, dashes in ((floors[height], ":"), (ceilings[height], "--")):
                    ax.axhline(level, color=look["color"], lw=0.9, ls=dashes, alpha=0.8)
            ax.axhline(float(np.mean(list(chance.values()))), color=COLORS["black"], lw=0.7)
            ax.set_xlabel(printable(x_label))
            ax.set_title(printable_lines(panel))
            ax.set_ylim(-0.08, 1.05)
        axes[0, 0].set_ylabel("held-out kernel R²")
        heights = sorted({h for lines in panels.values() for h in lines}, reverse=True)
        legend = [Line2D([], [], label=f"height {h}", **height_look(h)) for h in heights]
        legend += [
            Line2D([], [], color=COLORS["grey"], ls="--", label="ceiling (whole input)"),
            Line2D([], [], color=COLORS["grey"], ls=":", label="floor (untrained)"),
            Line2D([], [], color=COLORS["black"], lw=0.7, label="chance (shuffled)"),
        ]
        axes[0, -1].legend(handles=legend, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        figure.suptitle(printable_lines(title), fontsize=10.5)
        return figure


def plot_scores_by_latent(panels: Mapping[str, pd.DataFrame], *, title: str = "") -> Figure:
    """R² of every latent, one panel per autoencoder, with floor and ceiling; latents in ``c`` are filled.

    Args:
        panels: panel title -> rows of :func:`hlvm.scoring.score_table` with a column ``predicted_in_c``.
        title: text above.
    """
    with style([title, *panels, *(str(name) for rows in panels.values() for name in rows["latent"])]):
        figure, axes = figure_with_panels(1.6 + 2.3 * len(panels), 3.6, 1, len(panels), sharey=True)
        for ax, (panel, rows) in zip(axes[0], panels.items(), strict=True):
            for x, row in enumerate(rows.to_dict("records")):
                inside = row["predicted_in_c"] > 0
                color = COLORS["orange"] if inside else COLORS["grey"]
                ax.bar([x], [max(row["r2"], 0.0)], color=color if inside else "white", edgecolor=color, width=0.7)
                ax.plot([x, x], [row["r2_low"], row["r2_high"]], color=COLORS["black"], lw=1.5)
                for column, dashes in (("floor_r2", ":"), ("ceiling_r2", "--")):
                    ax.plot([x - 0.42, x + 0.42], [row[column]] * 2, color=COLORS["blue"], ls=dashes, lw=1.4)
            ax.set_xticks(
                range(len(rows)), [printable(str(name)) for name in rows["latent"]], rotation=60, ha="right", fontsize=8
            )
            ax.set_title(printable_lines(panel.replace(", ", ",\n")), fontsize=9)
            ax.set_ylim(-0.05, 1.05)
        axes[0, 0].set_ylabel("held-out kernel R²")
        handles = [
            Line2D([], [], ls="", marker="s", color=COLORS["orange"], label="in c (predicted)"),
            Line2D([], [], ls="", marker="s", markerfacecolor="white", color=COLORS["grey"], label="not in c"),
            Line2D([], [], color=COLORS["blue"], ls="--", label="ceiling (visible part)"),
            Line2D([], [], color=COLORS["blue"], ls=":", label="floor (untrained)"),
        ]
        axes[0, -1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        figure.suptitle(printable_lines(title), fontsize=10.5)
        return figure


_MARKERS = "><osD^v"
"""Of the scores that decide, in the order of a claim's limits: of a block forward, then reverse."""


def plot_claims(claims: Sequence[Claim], *, x_label: str = "", title: str = "") -> Figure:
    """The intervals that decide each claim, with its limits dashed.

    Args:
        claims: with limits; colours show whether a claim agrees with the theory.
        x_label: what the intervals are of.
        title: text above.

    Raises:
        ValueError: a claim without limits: nothing says which of its scores decide.
    """
    without = [claim.text for claim in claims if not claim.limits]
    if without:
        raise ValueError(f"plot_claims draws intervals beside their limits; leave out {without[0]!r}, which has none")
    colors = {True: "green", False: "vermilion", None: "grey"}
    marks = {True: "as predicted", False: "against the theory", None: "open, or nothing predicted"}
    markers = {name: None for claim in claims for name in claim.limits}
    markers = {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(markers)}
    with style([title, x_label, *markers, *(claim.text for claim in claims)]):
        figure, axes = figure_with_panels(9.2, 1.0 + 0.44 * len(claims))
        ax = axes[0, 0]
        for row, claim in enumerate(claims):
            color = COLORS[colors[claim.theory_agrees]]
            places = row + 0.24 * (np.arange(len(claim.limits)) - (len(claim.limits) - 1) / 2)
            for y, (name, limits) in zip(places, claim.limits.items(), strict=True):
                low, value, high = claim.scores[name]
                ax.plot([low, high], [y, y], color=color, lw=2)
                ax.plot([value], [y], markers[name], color=color, ms=6)
                for limit in filter(math.isfinite, limits):
                    ax.plot([limit, limit], [row - 0.5, row + 0.5], color=COLORS["black"], lw=0.8, ls="--")
        ax.set_yticks(range(len(claims)), [printable_lines(claim.text) for claim in claims])
        ax.set_ylim(len(claims) - 0.5, -0.5)
        ax.set_xlabel(printable(x_label))
        ax.set_title(printable_lines(title))
        handles = [Line2D([], [], color=COLORS[colors[k]], lw=2, label=label) for k, label in marks.items()]
        handles.append(Line2D([], [], color=COLORS["black"], lw=0.8, ls="--", label="limits"))
        if len(markers) <= len(_MARKERS):
            handles += [
                Line2D([], [], color=COLORS["grey"], ls="", marker=marker, label=printable(name))
                for name, marker in markers.items()
            ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        return figure
