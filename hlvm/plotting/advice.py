"""Advice on masks as a picture: what candidates ask for over the masking ratio, and against what can be known."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hlvm.plotting.labels import printable, printable_lines, shortened
from hlvm.plotting.styles import COLORS, figure_with_panels, ink_on, set_title, style
from hlvm.theory import Advice

__all__ = ["AdvicePanel", "plot_advice"]

AdvicePanel: TypeAlias = Literal["ratio", "availability"]
"""Along the axis of a panel of advice: the masking ratio, or how much of the target can be known."""

_UNIT_COLORS = ("blue", "vermilion", "green", "purple", "orange", "sky", "black")
_LOOKS = {
    "random": {"marker": "o", "ls": "-"},
    "block": {"marker": "s", "ls": "--"},
    "subtree": {"marker": "^", "ls": "-"},
    "grid": {"marker": "D", "ls": ":"},
    "bernoulli": {"marker": "v", "ls": "-."},
    "ratio_range": {"marker": "<", "ls": ""},
    "fixed": {"marker": "X", "ls": ""},
    "list": {"marker": "h", "ls": ""},
    "designed": {"marker": "*", "ls": ""},
}
_OTHER = {"marker": "P", "ls": ":"}
_COLUMNS = {"ratio": "masked_share", "availability": "availability"}
_LABELS = {"ratio": "masking ratio", "availability": "availability: R² of the target's values\nfrom what is visible"}
_FONT = 8.0
_STAR, _POINT, _RING = 9.0, 4.5, 10.0


def plot_advice(advice: Advice, *, panel: AdvicePanel | None = None, title: str = "", ax: Axes | None = None) -> Figure:
    """Draw how much candidates ask for a target, over the masking ratio and against how much of it can be known.

    Left, one line per kind of masks and masking unit. Right, the same candidates as a trade-off; a line joins those
    that no other one beats in both. Error bars are two standard errors to either side; there are none where numbers are
    exact. The candidate that asks most is ringed, thinly also those that are not told apart from it.

    Args:
        advice: what :func:`hlvm.theory.advise` found.
        panel: draw only the left panel (``"ratio"``) or the right one (``"availability"``); ``None`` draws both, and
            into axes that are given the left one.
        title: text above; by default, what the target is.
        ax: axes to draw one panel into; ``None`` for a new figure, unknown to pyplot.

    Returns:
        The figure.

    Raises:
        ValueError: no advice, or an unknown panel.
    """
    if not isinstance(advice, Advice):
        raise ValueError(f"expected an Advice, got {type(advice).__name__}: call hlvm.theory.advise")
    if panel is not None and panel not in get_args(AdvicePanel):
        raise ValueError(f'panel must be "ratio", "availability" or None, got {panel!r}')
    panels = [panel] if panel else ["ratio"] if ax is not None else list(get_args(AdvicePanel))
    with style(ax):
        if ax is not None:
            figure, drawn = ax.figure.figure, dict(zip(panels, [ax], strict=True))
        else:
            figure, axes = figure_with_panels(3.2 + 3.0 * len(panels), 3.7, 1, len(panels), sharey=True)
            drawn = dict(zip(panels, axes[0], strict=True))
        handles = _draw_panels(drawn, advice, ink_on(next(iter(drawn.values()))))
        words = title or f"masks for {advice.subject}"
        if ax is None:
            figure.legend(handles=handles, loc="outside right upper", fontsize=_FONT)
            figure.suptitle(printable_lines(words), fontsize=10.5)
        else:
            ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=_FONT)
            set_title(ax, words)
    return figure


def _draw_panels(panels: dict[str, Axes], advice: Advice, ink: str) -> list[Line2D]:
    """Draw the candidates into the panels; the entries of the legend."""
    table: Any = advice.table
    units = _units(table)
    names = [*_UNIT_COLORS[:-1], ink]
    colors = {unit: COLORS.get(names[i % len(names)], ink) for i, unit in enumerate(units)}
    handles: list[Line2D] = []
    for (kind, unit), rows in table.groupby(["kind", "unit"], sort=False):
        of, look = rows.sort_values("masked_share", kind="stable"), _LOOKS.get(kind, _OTHER)
        size = _STAR if kind == "designed" else _POINT
        drawn = {"color": colors[unit], "marker": look["marker"], "ms": size, "lw": 1.3, "zorder": 3}
        if "ratio" in panels:
            _points(panels["ratio"], of["masked_share"], of, ls=look["ls"], **drawn)
        if "availability" in panels:
            _points(panels["availability"], of["availability"], of, xerr=2 * of["availability_error"], ls="", **drawn)
        words = unit if unit.startswith(kind) else f"{kind}, {unit}"
        name = shortened(printable(words), 2.4, _FONT) or "…"
        handles.append(Line2D([], [], color=colors[unit], marker=look["marker"], ms=size, ls=look["ls"], label=name))
    front = advice.front.sort_values("availability")
    if "availability" in panels:
        panels["availability"].plot(front["availability"], front["demand"], color=COLORS["grey"], lw=1.0, zorder=1)
        if len(front) > 1:
            handles.append(Line2D([], [], color=COLORS["grey"], lw=1.0, label="not beaten in both"))
    handles += _rings([(ax, _COLUMNS[name]) for name, ax in panels.items()], table, ink)
    for name, ax in panels.items():
        ax.axhline(0.0, color=COLORS["pale"], lw=0.8, zorder=0)
        ax.set_xlabel(_LABELS[name])
    if "ratio" in panels:
        panels["ratio"].set_xlim(0, 1)
    next(iter(panels.values())).set_ylabel("demand: taken off the loss\nper masked cell, in its variance")
    return handles


def _units(table: Any) -> list[str]:
    """Masking units, those of single cells first as they come."""
    return sorted(dict.fromkeys(table["unit"]), key=lambda unit: (unit.startswith("unit"), unit))


def _points(ax: Axes, x: Any, rows: Any, *, xerr: Any = None, **look: Any) -> None:
    """Points with bars of two standard errors where there are errors."""
    yerr = 2 * rows["demand_error"].to_numpy()
    given = {"yerr": yerr if yerr.any() else None, "xerr": xerr if xerr is not None and np.any(xerr) else None}
    ax.errorbar(x, rows["demand"], **given, elinewidth=0.9, capsize=2, **look)


def _rings(places: list[tuple[Axes, str]], table: Any, ink: str) -> list[Line2D]:
    """Ring the first candidate, and thinly those that are not told apart from it; the entries of the legend."""
    looks = [("asks most", table.iloc[:1], 1.6)]
    alike = table.iloc[1:][table["tie"].iloc[1:]]
    if len(alike):
        looks.append(("not told apart from it", alike, 0.7))
    handles = []
    for label, rows, wide in looks:
        ring = {"ls": "", "marker": "o", "mfc": "none", "mec": ink, "mew": wide}
        for ax, x in places:
            ax.plot(rows[x], rows["demand"], ms=_RING, zorder=4, clip_on=False, **ring)
        handles.append(Line2D([], [], ms=_RING - 1.5, label=label, **ring))
    return handles
