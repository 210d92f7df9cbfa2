"""What was measured: losses, scores beside their controls, and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

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
    with style():
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
