"""Advice on masks as a picture: what candidates ask for over the masking ratio, and against what can be known."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hlvm.plotting.labels import printable, printable_lines, shortened
from hlvm.plotting.styles import COLORS, figure_with_panels, style
from hlvm.theory import Advice

__all__ = ["plot_advice"]

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
_FONT = 8.0
_STAR, _POINT, _RING = 9.0, 4.5, 10.0


def plot_advice(advice: Advice, *, title: str = "") -> Figure:
    """Draw how much candidates ask for a target, over the masking ratio and against how much of it can be known.

    Left, one line per kind of masks and masking unit. Right, the same candidates as a trade-off; a line joins those
    that no other one beats in both. Error bars are two standard errors to either side; there are none where numbers are
    exact. The candidate that asks most is ringed, thinly also those that are not told apart from it.

    Args:
        advice: what :func:`hlvm.theory.advise` found.
        title: text above; by default, what the target is.

    Returns:
        The figure, unknown to pyplot.

    Raises:
        ValueError: no advice.
    """
    if not isinstance(advice, Advice):
        raise ValueError(f"expected an Advice, got {type(advice).__name__}: call hlvm.theory.advise")
    table: Any = advice.table
    colors = {unit: COLORS[_UNIT_COLORS[i % len(_UNIT_COLORS)]] for i, unit in enumerate(_units(table))}
    with style():
        figure, axes = figure_with_panels(9.2, 3.7, 1, 2, sharey=True)
        over_ratio, trade_off = axes[0]
        handles: list[Line2D] = []
        for (kind, unit), rows in table.groupby(["kind", "unit"], sort=False):
            of, look = rows.sort_values("masked_share", kind="stable"), _LOOKS.get(kind, _OTHER)
            size = _STAR if kind == "designed" else _POINT
            drawn = {"color": colors[unit], "marker": look["marker"], "ms": size, "lw": 1.3, "zorder": 3}
            _points(over_ratio, of["masked_share"], of, ls=look["ls"], **drawn)
            _points(trade_off, of["availability"], of, xerr=2 * of["availability_error"], ls="", **drawn)
            words = unit if unit.startswith(kind) else f"{kind}, {unit}"
            name = shortened(printable(words), 2.4, _FONT) or "…"
            handles.append(
                Line2D([], [], color=colors[unit], marker=look["marker"], ms=size, ls=look["ls"], label=name)
            )
        front = advice.front.sort_values("availability")
        trade_off.plot(front["availability"], front["demand"], color=COLORS["grey"], lw=1.0, zorder=1)
        if len(front) > 1:
            handles.append(Line2D([], [], color=COLORS["grey"], lw=1.0, label="not beaten in both"))
        handles += _rings([(over_ratio, "masked_share"), (trade_off, "availability")], table)
        over_ratio.axhline(0.0, color=COLORS["pale"], lw=0.8, zorder=0)
        trade_off.axhline(0.0, color=COLORS["pale"], lw=0.8, zorder=0)
        over_ratio.set_xlim(0, 1)
        over_ratio.set_xlabel("masking ratio")
        over_ratio.set_ylabel("demand: taken off the loss\nper masked cell, in its variance")
        trade_off.set_xlabel("availability: R² of the target's values\nfrom what is visible")
        figure.legend(handles=handles, loc="outside right upper", fontsize=_FONT)
        figure.suptitle(printable_lines(title or f"masks for {advice.subject}"), fontsize=10.5)
    return figure


def _units(table: Any) -> list[str]:
    """Masking units, those of single cells first as they come."""
    return sorted(dict.fromkeys(table["unit"]), key=lambda unit: (unit.startswith("unit"), unit))


def _points(ax: Axes, x: Any, rows: Any, *, xerr: Any = None, **look: Any) -> None:
    """Points with bars of two standard errors where there are errors."""
    yerr = 2 * rows["demand_error"].to_numpy()
    given = {"yerr": yerr if yerr.any() else None, "xerr": xerr if xerr is not None and np.any(xerr) else None}
    ax.errorbar(x, rows["demand"], **given, elinewidth=0.9, capsize=2, **look)


def _rings(places: list[tuple[Axes, str]], table: Any) -> list[Line2D]:
    """Ring the first candidate, and thinly those that are not told apart from it; the entries of the legend."""
    looks = [("asks most", table.iloc[:1], 1.6)]
    alike = table.iloc[1:][table["tie"].iloc[1:]]
    if len(alike):
        looks.append(("not told apart from it", alike, 0.7))
    handles = []
    for label, rows, wide in looks:
        ring = {"ls": "", "marker": "o", "mfc": "none", "mec": "black", "mew": wide}
        for ax, x in places:
            ax.plot(rows[x], rows["demand"], ms=_RING, zorder=4, clip_on=False, **ring)
        handles.append(Line2D([], [], ms=_RING - 1.5, label=label, **ring))
    return handles
