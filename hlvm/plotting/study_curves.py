"""Curves over masking ratio or masking unit, and rows of arms, with predictions, intervals and controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path

from hlvm.plotting.labels import printable, printable_lines, shortened
from hlvm.plotting.study_tables import Line, StudyTable
from hlvm.plotting.styles import COLORS, figure_with_panels, ground_of, ink_on, row_of_panels, set_title

__all__ = ["ALIKE_LABEL", "ALIKE_LOOK", "BEST_LABEL", "draw_alike", "draw_arms", "draw_curves"]

_WAVES = [[(-1.0, y - 0.25), (-0.4, y + 0.75), (0.4, y - 0.75), (1.0, y + 0.25)] for y in (-0.45, 0.45)]
ALIKE_MARKER = Path(np.concatenate(_WAVES), 2 * [Path.MOVETO, *3 * [Path.CURVE4]])
"""The sign "≈", in any font."""
ALIKE_LOOK: dict[str, Any] = {"marker": ALIKE_MARKER, "color": "black", "mfc": "none", "mew": 0.8}
ALIKE_LABEL = "neighbours that are\nnot told apart"
BEST_LABEL = "not told apart\nfrom the best"

_COLORS = ("blue", "vermilion", "green")
_MARKERS = "oD^"
_ACROSS = 4
_FONT = 8.0
_ASIDE = 0.02
_LIMITS = (-0.08, 1.06)
_ROOM = 2.6
"""Inches of the longest name of an arm."""


def draw_alike(ax: Axes, places: Sequence[tuple[float, float]], *, points: float) -> None:
    """Signs that two neighbours are not told apart, halfway between them."""
    x, y = np.asarray(places, float).T
    ax.plot(x, y, "o", color="white", mec="#555555", mew=0.4, ms=points, zorder=4, clip_on=False)
    ax.plot(x, y, ls="", zorder=5, clip_on=False, gid=ALIKE_LABEL, **ALIKE_LOOK, ms=0.6 * points)


def draw_curves(study: StudyTable, title: str, ax: Axes | None = None) -> Figure:
    """One panel per height or latent; a curve per strategy, network and loss."""
    over_ratio = len(study.ratios) > 1
    names = [printable(str(unit)) if unit != "" else "none" for unit in study.units]
    figure, axes, panels = _panels(ax, study, 2.6, 2.5)
    ink = ink_on(panels[0])
    predictions = list(dict.fromkeys(line.strategy for line in study.lines))
    any_alike = any_best = False
    for place, panel in zip(study.places, panels, strict=True):
        alike = study.alike(place)
        for number, line in enumerate(study.lines):
            color = COLORS[_COLORS[number]]
            columns = {
                name: study.cells(place, line, name)[0 if over_ratio else slice(None), slice(None) if over_ratio else 0]
                for name in (study.predicted, "value", "low", "high", "floor", "ceiling")
            }
            places = np.asarray(study.ratios) if over_ratio else np.arange(len(names), dtype=float)
            # Side by side, so that intervals of several lines can be told apart.
            x = places + _ASIDE * np.ptp(places) * (number - (len(study.lines) - 1) / 2)
            seen = ~np.isnan(columns["value"])
            value, low, high = (columns[name][seen] for name in ("value", "low", "high"))
            errors = np.clip([value - low, high - value], 0, None)
            panel.errorbar(
                x[seen], value, yerr=errors, color=color, marker=_MARKERS[number], ms=4.5, lw=1.5, capsize=2, zorder=3
            )
            for name, dashes in (("floor", ":"), ("ceiling", "--")):
                panel.plot(places, columns[name], color=color, lw=0.9, ls=dashes, alpha=0.8)
            if line == next(other for other in study.lines if other.strategy == line.strategy):
                shade = ink if len(predictions) == 1 else color
                panel.plot(
                    places, columns[study.predicted], "-s", color=shade, mfc=ground_of(panel), ms=5, lw=0.9, zorder=2.5
                )
            if alike is not None and seen.any():
                flat = [name for of in study.arms(place, line) for name in of if name]
                any_alike |= _join(panel, x[seen], value, flat, alike)
                any_best |= _ring(panel, x[seen], value, flat, alike)
        panel.set_title(printable_lines(place.title), fontsize=9.5)
        panel.set_ylim(*_LIMITS)
        if not over_ratio:
            panel.set_xticks(range(len(names)), [shortened(name, 0.7, _FONT) or "…" for name in names])
            panel.set_xlim(-0.4, len(names) - 0.6)
        panel.set_xlabel("masking ratio" if over_ratio else "masking unit")
    for row in axes:
        row[0].set_ylabel("share or score")
    handles = [
        Line2D([], [], color=ink, marker="s", mfc=ground_of(panels[0]), lw=0.9, label=f"predicted: {study.prediction}"),
        *_measured_handles(study.lines, study.scores),
        *_control_handles(study),
        *_mark_handles(any_alike, any_best, ink),
    ]
    _legend(figure, handles, title, ax)
    return figure


def draw_arms(study: StudyTable, title: str, ax: Axes | None = None) -> Figure:
    """One panel per height or latent, one row per arm: the prediction, what was measured, and its controls."""
    rows: Any = study.rows
    arms = list(dict.fromkeys(rows["arm"]))
    figure, axes, panels = _panels(ax, study, 2.3, 0.8 + 0.26 * len(arms), first=_ROOM)
    ink = ink_on(panels[0])
    any_best = False
    for place, panel in zip(study.places, panels, strict=True):
        alike = study.alike(place)
        for line in study.lines:
            of_line = study.of(place, line)
            y = np.array([arms.index(arm) for arm in of_line["arm"]], float)
            value, low, high = (of_line[name].to_numpy(float) for name in ("value", "low", "high"))
            for name, dashes in (("floor", ":"), ("ceiling", "--")):
                panel.vlines(of_line[name], y - 0.38, y + 0.38, color=COLORS["blue"], lw=1.1, ls=dashes)
            panel.plot(of_line[study.predicted], y, "s", color=ink, mfc=ground_of(panel), ms=6, zorder=2.5)
            errors = np.clip([value - low, high - value], 0, None)
            panel.errorbar(value, y, xerr=errors, fmt="o", color=COLORS["blue"], ms=4.5, lw=1.5, capsize=2, zorder=3)
            seen = ~np.isnan(value) & of_line["ratio"].notna().to_numpy()  # of encoders from outside nothing is told
            if alike is not None and seen.any():
                any_best |= _ring(panel, value[seen], y[seen], list(of_line["arm"][seen]), alike, by=value[seen])
        names = [shortened(printable(arm), _ROOM, _FONT) or "…" for arm in arms]
        panel.set_yticks(range(len(arms)), names, fontsize=_FONT)
        panel.set_ylim(len(arms) - 0.5, -0.5)
        panel.set_xlim(*_LIMITS)
        panel.set_title(printable_lines(place.title), fontsize=9.5)
        panel.set_xlabel("share or score")
    for row in axes:
        for panel in row[1:]:
            panel.set_yticklabels([])
    handles = [
        Line2D([], [], color=ink, ls="", marker="s", mfc=ground_of(panels[0]), label=f"predicted: {study.prediction}"),
        Line2D([], [], color=COLORS["blue"], marker="o", ms=4.5, label=f"measured: {study.scores}"),
        *_control_handles(study),
        *_mark_handles(False, any_best, ink),
    ]
    _legend(figure, handles, title, ax)
    return figure


def _panels(
    ax: Axes | None, study: StudyTable, wide: float, tall: float, first: float = 0.5
) -> tuple[Figure, Any, list[Axes]]:
    """Axes for every place, wrapped, and room for a legend at their right; those that are left over are not drawn."""
    if ax is not None:
        figure, panels = row_of_panels(ax, len(study.places), 0, 0)
        return figure, [panels], panels
    across = min(len(study.places), _ACROSS)
    down = -(-len(study.places) // across)
    figure, axes = figure_with_panels(first + wide * across + 2.1, tall * down + 0.4, down, across)
    for unused in list(axes.flat)[len(study.places) :]:
        unused.axis("off")
    return figure, axes, list(axes.flat)[: len(study.places)]


def _join(ax: Axes, x: Any, y: Any, arms: Sequence[str], alike: Any) -> bool:
    """Mark neighbours on a curve that are not told apart, and tell whether there are any."""
    found = [i for i in range(len(arms) - 1) if alike(arms[i], arms[i + 1])]
    if found:
        draw_alike(ax, [((x[i] + x[i + 1]) / 2, (y[i] + y[i + 1]) / 2) for i in found], points=9.0)
    return bool(found)


def _ring(ax: Axes, x: Any, y: Any, arms: Sequence[str], alike: Any, by: Any = None) -> bool:
    """Mark the best point and what is not told apart from it, and tell whether there is any such."""
    best = int(np.argmax(y if by is None else by))
    among = [i for i, arm in enumerate(arms) if i == best or alike(arm, arms[best])]
    if len(among) == 1:
        return False
    ax.plot(x[among], y[among], "o", color=ink_on(ax), mfc="none", ms=9.5, mew=0.9, zorder=3.5, gid=BEST_LABEL)
    return True


def _measured_handles(lines: Sequence[Line], scores: str) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=COLORS[_COLORS[i]],
            marker=_MARKERS[i],
            ms=4.5,
            label=f"measured: {scores}" + (f"\n{shortened(line.title, 1.8, _FONT) or '…'}" if line.title else ""),
        )
        for i, line in enumerate(lines)
    ]


def _control_handles(study: StudyTable) -> list[Line2D]:
    """Legend entries of the controls that there are; dashes as in the other figures of scores."""
    rows: Any = study.rows
    known = (("ceiling", "--", "ceiling (visible part)"), ("floor", ":", "floor (untrained)"))
    return [
        Line2D([], [], color=COLORS["blue"], lw=1.0, ls=dashes, label=label)
        for name, dashes, label in known
        if rows[name].notna().any()
    ]


def _mark_handles(any_alike: bool, any_best: bool, ink: str) -> list[Line2D]:
    handles = []
    if any_best:
        handles.append(Line2D([], [], ls="", marker="o", color=ink, mfc="none", ms=9, label=f"best, or {BEST_LABEL}"))
    if any_alike:
        look: dict[str, Any] = {**ALIKE_LOOK, "color": ink}
        handles.append(Line2D([], [], ls="", **look, ms=6, label=ALIKE_LABEL))
    return handles


def _legend(figure: Figure, handles: Sequence[Line2D], title: str, ax: Axes | None) -> None:
    if ax is not None:
        ax.legend(handles=list(handles), loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=_FONT)
        set_title(ax, title)
        return
    figure.legend(handles=list(handles), loc="outside right upper", fontsize=_FONT, frameon=False)
    if title:
        figure.suptitle(printable_lines(title), fontsize=10.5)
