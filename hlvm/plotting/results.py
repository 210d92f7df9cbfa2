"""Plots of what was measured: losses, and scores beside their controls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hlvm.plotting.labels import printable, printable_lines
from hlvm.plotting.styles import COLORS, height_look, ink_on, row_of_panels, style

__all__ = ["plot_losses", "plot_scores_by_height", "plot_scores_by_latent"]


_MOST_NAMED, _INCHES_PER_NAME = 24, 0.18
"""More curves than this are not told apart by one legend below."""


def plot_losses(
    panels: Mapping[str, Mapping[str, ArrayLike]],
    *,
    held_out: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]] | None = None,
    smooth: int = 25,
    y_label: str = "masked squared error / variance",
    names_below: bool = False,
    steps: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Training losses, averaged over windows of steps; 1 is the squared error of predicting the mean.

    Args:
        panels: panel title -> label -> losses, (steps,).
        held_out: panel title -> label -> steps, and the losses on rows held out after them; drawn as dots in the colour
            of the curve of that label.
        smooth: window in steps.
        y_label: what the losses are.
        names_below: one legend below all panels, a line per label, as long labels need; without it if they are many.
        steps: of losses that are means already, the step at the end of each; ``None`` for one loss per step.
        ax: axes to draw a single panel into; ``None`` for a new figure.

    Returns:
        The figure.

    Raises:
        ValueError: axes for several panels.
    """
    given = ax
    with style(given):
        figure, axes = row_of_panels(given, len(panels), 4.6 * len(panels), 4.2, sharey=True)
        cycle = [COLORS[c] for c in ("blue", "orange", "green", "vermilion", "purple", "sky", "grey")]
        cycle.append(ink_on(axes[0]))
        for ax, (panel, curves) in zip(axes, panels.items(), strict=True):
            for i, (label, losses) in enumerate(curves.items()):
                values = np.asarray(losses)
                window = max(1, min(smooth, len(values) // 4))
                means = values[: len(values) // window * window].reshape(-1, window).mean(axis=1)
                places = window * (np.arange(len(means)) + 0.5)
                if steps is not None:
                    places = np.asarray(steps)[window - 1 :: window][: len(means)]
                line = "-" if i < len(cycle) else "--"
                color = cycle[i % len(cycle)]
                ax.plot(places, means, line, color=color, lw=1.3, label=printable(label))
                if label in (held_out or {}).get(panel, {}):
                    ax.plot(*(held_out or {})[panel][label], ".", color=color, ms=5)
            ax.set_xlabel("step")
            ax.set_ylim(bottom=0)
            ax.set_title(printable_lines(panel))
            if not names_below:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize=8, ncols=2)
        axes[0].set_ylabel(printable(y_label))
        curves = [line for ax in axes for line in ax.get_lines() if not str(line.get_label()).startswith("_")]
        if names_below and len(curves) <= _MOST_NAMED and given is None:
            figure.set_figheight(figure.get_figheight() + _INCHES_PER_NAME * len(curves))
            figure.legend(handles=curves, loc="outside lower center", fontsize=8, frameon=False)
        elif names_below and len(curves) <= _MOST_NAMED:
            axes[0].legend(handles=curves, loc="upper center", bbox_to_anchor=(0.5, -0.15), fontsize=8)
        return figure


_CONTROLS = (("ceiling", "--", "ceiling (input itself)"), ("floor", ":", "floor (untrained)"))
_SCORES = {
    "kernel_r2": "held-out kernel R²",
    "linear_r2": "held-out linear R²",
    "mlp_r2": "held-out network R²",
    "cca": "held-out canonical correlation",
}


def _control_handles(given: Collection[str], color: str) -> list[Line2D]:
    """Legend entries of the controls that there are."""
    return [Line2D([], [], color=COLORS[color], ls=line, label=label) for key, line, label in _CONTROLS if key in given]


def plot_scores_by_height(
    table: pd.DataFrame,
    *,
    x: str,
    panel: str | None = None,
    score: str | None = None,
    part: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """A score against a setting, one line per latent height, with floor, ceiling and chance level where given.

    A point is the mean over the latents of its height and over fits; its bar reaches from the lowest to the highest end
    of the fits' intervals, each a mean over latents.

    Args:
        table: rows of :func:`hlvm.scoring.score_by_height`, and columns for ``x`` and ``panel``; or the tidy table of a
            study, as it is.
        x: the column with the setting, numbers; its name is written below.
        panel: the column with a panel's title, in order of occurrence; ``None`` draws one panel.
        score: which score of the table; ``None`` for the kernel R² where it has that, or else its first.
        part: of a study ``"noise"`` or ``"value"``; ``None`` for noise where the table has it.
        title: text above.
        ax: axes to draw a single panel into; ``None`` for a new figure.

    Returns:
        The figure.

    Raises:
        ValueError: a column or a score that the table lacks, or axes for several panels.
    """
    rows, score = _rows_of(table, score, part, x, *([] if panel is None else [panel]))
    titles = [""] if panel is None else list(dict.fromkeys(rows[panel]))
    heights = sorted(set(rows["height"]), reverse=True)
    given = ax
    with style(given):
        figure, axes = row_of_panels(given, len(titles), 2.2 + 3.0 * len(titles), 3.5, sharey=True)
        ink = ink_on(axes[0])
        for ax, name in zip(axes, titles, strict=True):
            own = rows if panel is None else rows[rows[panel] == name]
            levels = own.groupby(["control", "height"])["value"].mean()
            for height in heights:
                look = height_look(height, ink=ink)
                points = own[(own["control"] == "none") & (own["height"] == height)]
                of_fits = points.groupby([x, "fit"])[["value", "low", "high"]].mean()
                ends = of_fits.groupby(level=0).agg({"value": "mean", "low": "min", "high": "max"})
                errors = np.clip([ends["value"] - ends["low"], ends["high"] - ends["value"]], 0, None)
                ax.errorbar(ends.index, ends["value"], yerr=errors, ms=5, lw=1.5, capsize=2, **look)
                for control, dashes, _ in _CONTROLS:
                    if (control, height) in levels:
                        ax.axhline(levels[control, height], color=look["color"], lw=0.9, ls=dashes, alpha=0.8)
            if "chance" in levels:
                ax.axhline(levels["chance"].mean(), color=ink, lw=0.7)
            ax.set_xlabel(printable(x))
            _set_title(ax, str(name), title if given is not None else "")
            ax.set_ylim(-0.08, 1.05)
        axes[0].set_ylabel(_SCORES.get(score, score))
        controls = set(rows["control"])
        legend = [Line2D([], [], label=f"height {h}", **height_look(h, ink=ink)) for h in heights]
        legend += _control_handles(controls, "grey")
        if "chance" in controls:
            legend.append(Line2D([], [], color=ink, lw=0.7, label="chance (shuffled)"))
        axes[-1].legend(handles=legend, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        if given is None:
            figure.suptitle(printable_lines(title), fontsize=10.5)
        return figure


def plot_scores_by_latent(
    table: pd.DataFrame,
    *,
    panel: str = "fit",
    score: str | None = None,
    part: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """A score of every latent, with floor and ceiling where given; latents predicted to be in ``c`` are filled.

    The paler a bar is, the smaller is the share of masks for which its latent is in ``c``.

    Args:
        table: rows of :func:`hlvm.scoring.score_by_height`; of several rows for a latent in a panel the mean is drawn.
            Without a column ``predicted`` all bars are empty. Or ``table("latent")`` of a study, as it is: a fit is an
            arm.
        panel: the column with a panel's title, in order of occurrence.
        score: which score of the table; ``None`` for the kernel R² where it has that, or else its first.
        part: of a study ``"noise"`` or ``"value"``; ``None`` for noise where the table has it.
        title: text above.
        ax: axes to draw a single panel into; ``None`` for a new figure.

    Returns:
        The figure.

    Raises:
        ValueError: a column or a score that the table lacks, or axes for several panels.
    """
    rows, score = _rows_of(table, score, part, panel)
    numbers = ["value", "low", "high", *(["predicted"] if "predicted" in rows else [])]
    titles, given = list(dict.fromkeys(rows[panel])), ax
    with style(given):
        figure, axes = row_of_panels(given, len(titles), 1.6 + 2.3 * len(titles), 3.6, sharey=True)
        ink = ink_on(axes[0])
        for ax, name in zip(axes, titles, strict=True):
            means = rows[rows[panel] == name].groupby(["control", "latent"], sort=False)[numbers].mean()
            for x, (latent, row) in enumerate(means.loc["none"].iterrows()):
                share = min(row.get("predicted", 0.0), 1.0)
                color = COLORS["orange"] if share > 0 else COLORS["grey"]
                face = (color, share) if share > 0 else "white"
                ax.bar([x], [max(row["value"], 0.0)], color=[face], edgecolor=color, width=0.7)
                ax.plot([x, x], [row["low"], row["high"]], color=ink, lw=1.5)
                for control, dashes, _ in _CONTROLS:
                    if (control, latent) in means.index:
                        level = means.loc[(control, latent), "value"]
                        ax.plot([x - 0.42, x + 0.42], [level] * 2, color=COLORS["blue"], ls=dashes, lw=1.4)
            names = [printable(str(latent)) for latent in means.loc["none"].index]
            ax.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
            _set_title(ax, str(name).replace(", ", ",\n"), title if given is not None else "", fontsize=9)
            ax.set_ylim(-0.05, 1.05)
        axes[0].set_ylabel(_SCORES.get(score, score))
        handles = [
            Line2D([], [], ls="", marker="s", color=COLORS["orange"], label="in c (predicted)"),
            Line2D([], [], ls="", marker="s", markerfacecolor="white", color=COLORS["grey"], label="not in c"),
        ]
        handles = handles if "predicted" in rows else []
        handles += _control_handles(set(rows["control"]), "blue")
        if handles:
            axes[-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        if given is None:
            figure.suptitle(printable_lines(title), fontsize=10.5)
        return figure


def _set_title(ax: Axes, name: str, above: str, **look: Any) -> None:
    """Title of axes: the panel's name, below that of the figure where these are all it has. None leaves it as it is."""
    if lines := "\n".join(filter(None, (printable_lines(above), printable_lines(name)))):
        ax.set_title(lines, **look)


def _rows_of(table: Any, score: str | None, part: str | None, *more: str) -> tuple[Any, str]:
    """Rows of one score, and its name."""
    if "control" not in table and "arm" in table:
        table = _one_row_per_control(table, part)
    needed = ("fit", "latent", "height", "score", "control", "value", "low", "high", *more)
    lacking = [name for name in needed if name not in table]
    if lacking:
        raise ValueError(
            f"expected the rows of hlvm.scoring.score_by_height or the table of a study, with the columns "
            f"{', '.join(needed)}, got none named {', '.join(lacking)}"
        )
    known = list(dict.fromkeys(table["score"]))
    chosen = score or ("kernel_r2" if "kernel_r2" in known else next(iter(known), ""))
    if chosen not in known:
        raise ValueError(f"score must be one of the table's, {', '.join(sorted(known))}, got {chosen!r}")
    return table[table["score"] == chosen], chosen


def _one_row_per_control(table: Any, part: str | None) -> pd.DataFrame:
    """The tidy table of a study, in which controls are columns, in the form of :func:`hlvm.scoring.score_by_height`."""
    if "part" in table:
        parts = set(table["part"])
        part = part or ("noise" if "noise" in parts else "value")
        if part not in parts:
            raise ValueError(f"part must be one of the table's, {', '.join(sorted(parts))}, got {part!r}")
        table = table[table["part"] == part]
    if "share_in_c" in table:
        table = table.assign(predicted=table["share_in_c"])
    rows = [table.assign(fit=table["arm"], control="none")]
    for name in ("floor", "ceiling", "chance"):
        if name in table:
            level = table[name]
            rows.append(rows[0].assign(control=name, value=level, low=level, high=level))
    return pd.concat(rows, ignore_index=True)
