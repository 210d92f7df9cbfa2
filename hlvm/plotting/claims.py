"""Claims: what was predicted of each, the intervals that decide it, and how it came out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from hlvm.claims import Claim
from hlvm.plotting.labels import printable, printable_lines
from hlvm.plotting.styles import COLORS, ink_on, row_of_panels, style

__all__ = ["plot_claims"]

_MARKERS = "><osD^v"
"""Of the scores that decide, in the order of a claim's limits: of a block forward, then reverse."""
_ROW, _LINE, _BELOW = 0.44, 0.18, 0.6
"""Inches of a claim, of a line of the legend, and from axes of the user's down to it."""
_COLORS = {True: "green", False: "vermilion", None: "grey"}
_AGREES = {True: "as predicted", False: "against the theory", None: "open, or nothing predicted"}
_FOUND = {True: "holds", False: "does not hold", None: "open"}
_PREDICTED = {"facecolor": COLORS["sky"], "alpha": 0.3, "linewidth": 0.0}


def plot_claims(claims: Sequence[Claim], *, x_label: str = "", title: str = "", ax: Axes | None = None) -> Figure:
    """Draw the intervals that decide each claim over what was predicted, with its limits dashed.

    The ground is coloured where the theory says that intervals lie: between the limits of a claim that it says holds,
    beyond them of one that it says does not, where one interval is enough. Marks are hollow where a claim was found not
    to hold. Prediction and outcome stand in words at the right.

    Args:
        claims: with limits; colours of the intervals show whether a claim agrees with the theory.
        x_label: what the intervals are of.
        title: text above.
        ax: axes to draw into; ``None`` for a new figure.

    Returns:
        The figure.

    Raises:
        ValueError: a claim without limits: nothing says which of its scores decide.
    """
    without = [claim.text for claim in claims if not claim.limits]
    if without:
        raise ValueError(f"plot_claims draws intervals beside their limits; leave out {without[0]!r}, which has none")
    names = list(dict.fromkeys(name for claim in claims for name in claim.limits))
    markers = {name: _MARKERS[i % len(_MARKERS)] for i, name in enumerate(names)}
    with style(ax):
        own, (figure, (ax,)) = ax is None, row_of_panels(ax, 1, 9.2, 1.2 + _ROW * len(claims))
        for row, claim in enumerate(claims):
            _draw_intervals(ax, row, claim, markers)
        ends = ax.get_xlim()
        for row, claim in enumerate(claims):
            _draw_prediction(ax, row, claim, ends)
        ax.set_xlim(ends)
        ax.set_yticks(range(len(claims)), [printable_lines(claim.text) for claim in claims])
        ax.set_ylim(len(claims) - 0.5, -0.5)
        ax.set_xlabel(printable(x_label))
        if title:
            ax.set_title(printable_lines(title))
        right = ax.secondary_yaxis("right")
        right.set_yticks(
            range(len(claims)), [f"theory: {claim.theory.says}\n{_FOUND[claim.holds]}" for claim in claims]
        )
        right.tick_params(length=0)
        right.spines[:].set_visible(False)
        handles = _handles(claims, markers, ink_on(ax))
        if own:
            figure.set_figheight(figure.get_figheight() + _LINE * len(handles) / 2)
            figure.legend(handles=handles, loc="outside lower center", fontsize=8, ncols=2)
        else:
            below = -_BELOW / max(ax.get_position().height * figure.get_figheight(), _BELOW)
            ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, below), fontsize=8, ncols=2)
        return figure


def _draw_intervals(ax: Axes, row: int, claim: Claim, markers: dict[str, str]) -> None:
    color = COLORS[_COLORS[claim.theory_agrees]]
    look = {"mfc": ax.get_facecolor(), "mew": 1.4} if claim.holds is False else {}
    for i, (name, limits) in enumerate(claim.limits.items()):
        score, y = claim.scores[name], row + 0.24 * (i - (len(claim.limits) - 1) / 2)
        ax.plot([score.low, score.high], [y, y], color=color, lw=2)
        ax.plot([score.value], [y], markers[name], color=color, ms=6, **look)
        for limit in filter(math.isfinite, limits):
            ax.plot([limit, limit], [row - 0.5, row + 0.5], color=ink_on(ax), lw=0.8, ls="--")


def _draw_prediction(ax: Axes, row: int, claim: Claim, ends: tuple[float, float]) -> None:
    """Colour the ground where the theory says that the intervals lie, each in its part of the row."""
    holds = claim.theory.agrees(True)
    if holds is None:
        return
    part = 1.0 / len(claim.limits)
    for i, limits in enumerate(claim.limits.values()):
        low, high = (min(max(limit, ends[0]), ends[1]) for limit in limits)
        for left, right in [(low, high)] if holds else [(ends[0], low), (high, ends[1])]:
            if left < right:
                box = Rectangle((left, row - 0.5 + i * part), right - left, part, zorder=0, **_PREDICTED)
                ax.add_patch(box)


def _handles(claims: Sequence[Claim], markers: dict[str, str], ink: str) -> list[Artist]:
    """Legend entries: what colours say, and then what marks say."""
    handles: list[Artist] = [Patch(label="predicted to lie here", **_PREDICTED)]
    handles += [Line2D([], [], color=COLORS[_COLORS[k]], lw=2, label=label) for k, label in _AGREES.items()]
    handles.append(Line2D([], [], color=ink, lw=0.8, ls="--", label="limits"))
    if any(claim.holds is False for claim in claims):
        hollow = {"mfc": "none", "mew": 1.4, "color": COLORS["grey"]}
        handles.append(Line2D([], [], ls="", marker="o", label="hollow: does not hold", **hollow))
    if len(markers) <= len(_MARKERS):
        handles += [
            Line2D([], [], color=COLORS["grey"], ls="", marker=marker, label=printable(name))
            for name, marker in markers.items()
        ]
    return handles
