"""What was measured: losses, scores beside their controls, and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hlvm.plotting.labels import printable, printable_lines
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
    with style():
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


_CONTROLS = (("ceiling", "--", "ceiling (input itself)"), ("floor", ":", "floor (untrained)"))
_SCORES = {
    "kernel_r2": "held-out kernel R²",
    "linear_r2": "held-out linear R²",
    "mlp_r2": "held-out network R²",
    "cca": "held-out canonical correlation",
}


def plot_scores_by_height(
    table: pd.DataFrame, *, x: str, panel: str | None = None, score: str = "kernel_r2", title: str = ""
) -> Figure:
    """A score against a setting, one line per latent height, with floor, ceiling and chance level where given.

    A point is the mean over the latents of its height and over fits; its bar reaches from the lowest to the highest end
    of the fits' intervals, each a mean over latents.

    Args:
        table: rows of :func:`hlvm.scoring.score_by_height`, and columns for ``x`` and ``panel``.
        x: the column with the setting, numbers; its name is written below.
        panel: the column with a panel's title, in order of occurrence; ``None`` draws one panel.
        score: which score of the table.
        title: text above.

    Raises:
        ValueError: a column or a score that the table lacks.
    """
    rows = _rows_of(table, score, x, *([] if panel is None else [panel]))
    titles = [""] if panel is None else list(dict.fromkeys(rows[panel]))
    heights = sorted(set(rows["height"]), reverse=True)
    with style():
        figure, axes = figure_with_panels(2.2 + 3.0 * len(titles), 3.5, 1, len(titles), sharey=True)
        for ax, name in zip(axes[0], titles, strict=True):
            part = rows if panel is None else rows[rows[panel] == name]
            levels = part.groupby(["control", "height"])["value"].mean()
            for height in heights:
                look = height_look(height)
                points = part[(part["control"] == "none") & (part["height"] == height)]
                of_fits = points.groupby([x, "fit"])[["value", "low", "high"]].mean()
                ends = of_fits.groupby(level=0).agg({"value": "mean", "low": "min", "high": "max"})
                errors = np.clip([ends["value"] - ends["low"], ends["high"] - ends["value"]], 0, None)
                ax.errorbar(ends.index, ends["value"], yerr=errors, ms=5, lw=1.5, capsize=2, **look)
                for control, dashes, _ in _CONTROLS:
                    if (control, height) in levels:
                        ax.axhline(levels[control, height], color=look["color"], lw=0.9, ls=dashes, alpha=0.8)
            if "chance" in levels:
                ax.axhline(levels["chance"].mean(), color=COLORS["black"], lw=0.7)
            ax.set_xlabel(printable(x))
            ax.set_title(printable_lines(str(name)))
            ax.set_ylim(-0.08, 1.05)
        axes[0, 0].set_ylabel(_SCORES.get(score, score))
        given = set(rows["control"])
        legend = [Line2D([], [], label=f"height {h}", **height_look(h)) for h in heights]
        legend += [
            Line2D([], [], color=COLORS["grey"], ls=dashes, label=label)
            for control, dashes, label in _CONTROLS
            if control in given
        ]
        if "chance" in given:
            legend.append(Line2D([], [], color=COLORS["black"], lw=0.7, label="chance (shuffled)"))
        axes[0, -1].legend(handles=legend, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        figure.suptitle(printable_lines(title), fontsize=10.5)
        return figure


def plot_scores_by_latent(
    table: pd.DataFrame, *, panel: str = "fit", score: str = "kernel_r2", title: str = ""
) -> Figure:
    """A score of every latent, with floor and ceiling where given; latents predicted to be in ``c`` are filled.

    Args:
        table: rows of :func:`hlvm.scoring.score_by_height`; of several rows for a latent in a panel the mean is drawn.
            Without a column ``predicted`` all bars are empty.
        panel: the column with a panel's title, in order of occurrence.
        score: which score of the table.
        title: text above.

    Raises:
        ValueError: a column or a score that the table lacks.
    """
    rows = _rows_of(table, score, panel)
    numbers = ["value", "low", "high", *(["predicted"] if "predicted" in rows else [])]
    titles = list(dict.fromkeys(rows[panel]))
    with style():
        figure, axes = figure_with_panels(1.6 + 2.3 * len(titles), 3.6, 1, len(titles), sharey=True)
        for ax, name in zip(axes[0], titles, strict=True):
            means = rows[rows[panel] == name].groupby(["control", "latent"], sort=False)[numbers].mean()
            for x, (latent, row) in enumerate(means.loc["none"].iterrows()):
                inside = row.get("predicted", 0) > 0
                color = COLORS["orange"] if inside else COLORS["grey"]
                ax.bar([x], [max(row["value"], 0.0)], color=color if inside else "white", edgecolor=color, width=0.7)
                ax.plot([x, x], [row["low"], row["high"]], color=COLORS["black"], lw=1.5)
                for control, dashes, _ in _CONTROLS:
                    if (control, latent) in means.index:
                        level = means.loc[(control, latent), "value"]
                        ax.plot([x - 0.42, x + 0.42], [level] * 2, color=COLORS["blue"], ls=dashes, lw=1.4)
            names = [printable(str(latent)) for latent in means.loc["none"].index]
            ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
            ax.set_title(printable_lines(str(name).replace(", ", ",\n")), fontsize=9)
            ax.set_ylim(-0.05, 1.05)
        axes[0, 0].set_ylabel(_SCORES.get(score, score))
        handles = [
            Line2D([], [], ls="", marker="s", color=COLORS["orange"], label="in c (predicted)"),
            Line2D([], [], ls="", marker="s", markerfacecolor="white", color=COLORS["grey"], label="not in c"),
        ]
        handles = handles if "predicted" in rows else []
        handles += [
            Line2D([], [], color=COLORS["blue"], ls=dashes, label=label)
            for control, dashes, label in _CONTROLS
            if control in set(rows["control"])
        ]
        if handles:
            axes[0, -1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        figure.suptitle(printable_lines(title), fontsize=10.5)
        return figure


def _rows_of(table: pd.DataFrame, score: str, *more: str) -> Any:
    needed = ("fit", "latent", "height", "score", "control", "value", "low", "high", *more)
    lacking = [name for name in needed if name not in table]
    if lacking:
        raise ValueError(
            f"expected the rows of hlvm.scoring.score_by_height with the columns {', '.join(needed)}, got none named "
            f"{', '.join(lacking)}"
        )
    if score not in set(table["score"]):
        raise ValueError(f"score must be one of the table's, {', '.join(sorted(set(table['score'])))}, got {score!r}")
    return table[table["score"] == score]


class ClaimLike(Protocol):
    """A prediction beside its measurement, such as :class:`hlvm.claims.Claim`."""

    @property
    def text(self) -> str:
        """Text of the claim."""
        ...

    @property
    def scores(self) -> Mapping[str, tuple[float, float, float]]:
        """Intervals ``(low, value, high)`` by name."""
        ...

    @property
    def agrees(self) -> bool | None:
        """Tell whether prediction and measurement agree; ``None`` when the measurement is inconclusive."""
        ...


_DIRECTIONS = ("R²(ẑ → c)", "R²(c → ẑ)")
"""The scores of a claim about a block that a threshold applies to."""


def _of_claim(claim: ClaimLike) -> tuple[str, list[tuple[float, float, float]], bool | None]:
    intervals = [claim.scores[name] for name in _DIRECTIONS if name in claim.scores]
    if not intervals:
        raise ValueError(
            f"plot_claims draws R² against a threshold; the claim {claim.text!r} has {', '.join(claim.scores)}: leave "
            "it out, or give (label, intervals, agrees)"
        )
    return claim.text, intervals, claim.agrees


def plot_claims(
    rows: Sequence[ClaimLike | tuple[str, Sequence[tuple[float, float, float]], bool | None]],
    *,
    threshold: float,
    title: str = "",
) -> Figure:
    """Intervals of every claim's scores against the threshold.

    Args:
        rows: ``(label, intervals, agrees)``; an interval is ``(low, value, high)``, forward first, then reverse;
            ``agrees`` is ``None`` when inconclusive. Or claims about blocks, see :func:`hlvm.claims.block_claim`.
        threshold: drawn as a line.
        title: text above.

    Raises:
        ValueError: a claim that is not about a block.
    """
    marks = {True: ("green", "agrees"), False: ("vermilion", "against the theory"), None: ("grey", "inconclusive")}
    unpacked = [row if isinstance(row, tuple) else _of_claim(row) for row in rows]
    with style():
        figure, axes = figure_with_panels(9.2, 1.0 + 0.44 * len(rows))
        ax = axes[0, 0]
        for row, (_, intervals, agrees) in enumerate(unpacked):
            color = COLORS[marks[agrees][0]]
            for i, (low, value, high) in enumerate(intervals):
                y = row + (0.12 if i else -0.12) * (len(intervals) > 1)
                ax.plot([low, high], [y, y], color=color, lw=2)
                ax.plot([value], [y], "<" if i else ">", color=color, ms=6)
        ax.axvline(threshold, color=COLORS["black"], lw=0.8, ls="--")
        ax.set_yticks(range(len(rows)), [printable_lines(label) for label, _, _ in unpacked])
        ax.invert_yaxis()
        ax.set_xlabel("held-out kernel R²")
        ax.set_xlim(-0.05, 1.03)
        ax.set_title(printable_lines(title))
        handles = [Line2D([], [], color=COLORS[c], lw=2, label=label) for c, label in marks.values()]
        handles += [
            Line2D([], [], color=COLORS["grey"], ls="", marker=">", label="code → latents"),
            Line2D([], [], color=COLORS["grey"], ls="", marker="<", label="latents → code"),
            Line2D([], [], color=COLORS["black"], lw=0.8, ls="--", label=f"threshold {threshold:g}"),
        ]
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        return figure
