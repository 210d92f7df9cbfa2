"""Pictures of a study: what was predicted above what was measured, over masking ratio and masking unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.patheffects as effects
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hlvm.plotting.heat_maps import FONT, LINE, draw_cells, draw_key, thinned
from hlvm.plotting.labels import printable, shortened, text_width
from hlvm.plotting.study_curves import ALIKE_LABEL, ALIKE_LOOK, BEST_LABEL, draw_alike, draw_arms, draw_curves
from hlvm.plotting.study_tables import Line, Place, StudyLayout, StudyTable, read_study_table
from hlvm.plotting.styles import axes_in_inches, row_of_panels, style, titled_sheet

__all__ = ["plot_study"]

_GAP, _HEAD, _ROW_HEAD, _FOOT, _BAR = 0.2, 0.24, 0.26, 0.55, 2.05
_WIDEST = 12.0
_LONGEST_SCORE = 0.6
"""Inches; a longer name does not stand beside the colour bar."""
_LEAST_TALL = 2.6
"""Inches of the colour bar and the legend below it."""


def plot_study(
    table: pd.DataFrame,
    *,
    part: str | None = None,
    told_apart: pd.DataFrame | None = None,
    layout: StudyLayout | None = None,
    strategy: str | None = None,
    network: str | None = None,
    loss: str | None = None,
    predicted: str = "share_in_c",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw what was predicted above what was measured, for every masking ratio and masking unit of a study.

    Heat maps have one column per height, the highest first, and one row of maps for the prediction of each strategy
    above one for every network and loss. Colours are the same throughout, 0 to 1; a measured score below 0 has the
    colour of 0. What a study lacks is grey. Where one of ratio and unit has a single value, curves are drawn over the
    other instead; arms that ratio and unit do not tell apart, such as fixed masks, have a row each. Encoders from
    outside, which have no mask, are drawn by ``layout="arms"`` only.

    Differences that were not told apart are marked: ``≈`` stands between neighbours, and the cells that the best one of
    its map (outlined) is not told apart from have a dashed outline. Pairs that ``told_apart`` lacks count as not told
    apart; panels in which it has no pair at all have no marks.

    Args:
        table: ``StudyResult.table("height")`` as it is; or ``table("latent")``, with a panel per latent.
        part: ``"noise"``, what enters at a latent, or ``"value"``; ``None`` for noise where the table has it.
        told_apart: :attr:`hlvm.study.StudyResult.told_apart`: one row per pair of arms that was compared, with columns
            ``first`` and ``second`` (arms), ``height``, ``latent`` (may be missing), ``part``,
            ``score`` and ``apart``.
        layout: ``"maps"``, ``"curves"`` or ``"arms"``; ``None`` for what fits.
        strategy: draw this one only.
        network: draw this one only.
        loss: draw this one only.
        predicted: column of the prediction.
        title: text above.
        ax: axes to draw a single panel into: the curves or arms of a table with one height, or one latent; ``None`` for
            a new figure, unknown to pyplot.

    Returns:
        The figure.

    Raises:
        ValueError: columns that are lacking; a name that the table does not have; more strategies, networks, losses
            or latents than one figure shows; or axes for several panels.
    """
    study = read_study_table(
        table,
        part=part,
        layout=layout,
        predicted=predicted,
        told_apart=told_apart,
        chosen={"strategy": strategy, "network": network, "loss": loss},
    )
    with style(ax):
        if study.layout == "maps":
            if ax is not None:
                row_of_panels(ax, len(_rows(study)) * len(study.places), 0, 0)
            return _draw_maps(study, title)
        return draw_curves(study, title, ax) if study.layout == "curves" else draw_arms(study, title, ax)


class _Row(NamedTuple):
    """One row of heat maps: of a prediction, or what was measured."""

    line: Line
    column: str
    title: str


def _rows(study: StudyTable) -> list[_Row]:
    """The prediction of every strategy, and below it what was measured under it."""
    rows: list[_Row] = []
    strategies = list(dict.fromkeys(line.strategy for line in study.lines))
    for strategy in strategies:
        own = [line for line in study.lines if line.strategy == strategy]
        name = f", {printable(strategy)}" if len(strategies) > 1 else ""
        rows.append(_Row(own[0], study.predicted, f"predicted{name}: {study.prediction}"))
        for line in own:
            name = f", {line.title}" if line.title else ""
            rows.append(_Row(line, "value", f"measured{name}: {study.scores}"))
    return rows


def _draw_maps(study: StudyTable, title: str) -> Figure:
    units = [shortened(printable(str(unit)), 1.8, FONT) or "…" if unit != "" else "none" for unit in study.units]
    ratios = [f"{ratio:.3g}" for ratio in study.ratios]
    rows = _rows(study)
    left = max(text_width(name, FONT) for name in units) + 0.45
    heading = max(text_width(place.title, FONT + 1) for place in study.places) + 0.1
    wide = max(float(np.clip(0.46 * len(ratios), 0.9, 4.6)), min(heading, 2.5))
    tall = float(np.clip(0.36 * len(units), 0.45, 4.5))
    across = max(1, min(len(study.places), int((_WIDEST - left - _BAR + _GAP) // (wide + _GAP))))
    chunks = [study.places[i : i + across] for i in range(0, len(study.places), across)]
    pitch = _ROW_HEAD + tall
    of_chunk = _HEAD + len(rows) * pitch + _FOOT
    high = max(len(chunks) * of_chunk, _LEAST_TALL)
    all_wide = left + across * (wide + _GAP) - _GAP + _BAR
    figure, top = titled_sheet(all_wide, high, title)
    sheet_wide, sheet_tall = figure.get_size_inches()
    exact, measured, marks = [], [], _Marks()
    for number, chunk in enumerate(chunks):
        upper = top - number * of_chunk - _HEAD
        for i, row in enumerate(rows):
            base = upper - i * pitch - _ROW_HEAD
            text = shortened(row.title, all_wide - left - _BAR + 1.2, FONT) or "…"
            figure.text((0.1 + left) / sheet_wide, (base + 0.06) / sheet_tall, text, fontsize=FONT, style="italic")
            for column, place in enumerate(chunk):
                ax = axes_in_inches(figure, 0.1 + left + column * (wide + _GAP), base - tall, wide, tall)
                cells = study.cells(place, row.line, row.column)
                is_prediction = row.column == study.predicted
                (exact if is_prediction else measured).append(cells)
                draw_cells(ax, cells, (wide, tall), exact=is_prediction)
                if not is_prediction:
                    marks.draw(ax, study, place, row.line, cells, (wide, tall))
                lowest = i == len(rows) - 1
                at, shown = thinned(ratios, wide, [text_width(text, FONT) + 0.08 for text in ratios])
                ax.set_xticks(at, shown if lowest else [""] * len(at), fontsize=FONT)
                at, shown = thinned(units, tall, [LINE] * len(units))
                ax.set_yticks(at, shown if column == 0 else [""] * len(at), fontsize=FONT)
                if lowest:
                    ax.set_xlabel("masking ratio", fontsize=FONT + 1)
                if i == 0:
                    place_title = shortened(place.title, wide, FONT + 1)
                    centre = 0.1 + left + column * (wide + _GAP) + wide / 2
                    figure.text(
                        centre / sheet_wide, (upper + 0.05) / sheet_tall, place_title, ha="center", fontsize=FONT + 1
                    )
        middle = (upper - len(rows) * pitch / 2) / sheet_tall
        figure.text(0.1 / sheet_wide, middle, "masking unit", rotation=90, va="center", fontsize=FONT + 1)
    scores = study.scores if text_width(study.scores, FONT) < _LONGEST_SCORE else "score"
    prediction = shortened(study.prediction, _LONGEST_SCORE, FONT) or "…"
    label = f"{prediction} (predicted)\n{scores} (measured)"
    key = all_wide - _BAR + 0.35
    draw_key(figure, exact, key, top - _HEAD, label, others=measured, handles=marks.handles())
    return figure


class _Marks:
    """Marks of what is not told apart, and the legend entries of those that were drawn."""

    def __init__(self) -> None:
        self._drawn: set[str] = set()

    def draw(
        self, ax: Axes, study: StudyTable, place: Place, line: Line, cells: Any, size: tuple[float, float]
    ) -> None:
        """Mark the cells of one map of measured values."""
        alike, arms = study.alike(place), study.arms(place, line)
        if alike is None or np.isnan(cells).all():
            return
        down, across = divmod(int(np.nanargmax(cells)), cells.shape[1])
        best = arms[down][across]
        joints = []
        for (row, column), value in np.ndenumerate(cells):
            if np.isnan(value):
                continue
            own = arms[row][column]
            if own == best:
                self._outline(ax, row, column, "-", "best of its map")
            elif alike(own, best):
                self._outline(ax, row, column, (0, (2.5, 1.5)), BEST_LABEL)
            for y, x in ((row + 1, column), (row, column + 1)):
                other = arms[y][x] if y < len(arms) and x < len(arms[0]) else ""
                if other and alike(own, other):
                    joints.append(((column + x) / 2, (row + y) / 2))
        if joints:
            self._drawn.add(ALIKE_LABEL)
            room = min(size[0] / cells.shape[1], size[1] / cells.shape[0])
            draw_alike(ax, joints, points=float(np.clip(72 * room * 0.4, 4.0, 9.0)))

    def _outline(self, ax: Axes, row: int, column: int, dashes: Any, label: str) -> None:
        self._drawn.add(label)
        box = Rectangle((column - 0.44, row - 0.43), 0.88, 0.86, fill=False, ls=dashes, lw=1.0, ec="black", zorder=3)
        box.set_path_effects([effects.withStroke(linewidth=2.4, foreground="white")])
        box.set_gid(label)
        ax.add_patch(box)

    def handles(self) -> Sequence[Artist]:
        """Legend entries."""
        entries: list[tuple[str, Artist]] = [
            ("best of its map", Rectangle((0, 0), 1, 1, fill=False, ec="black", lw=1.2, label="best of its map")),
            (BEST_LABEL, Rectangle((0, 0), 1, 1, fill=False, ec="black", lw=1.2, ls=(0, (2.5, 1.5)), label=BEST_LABEL)),
            (
                ALIKE_LABEL,
                Line2D([], [], ls="", **ALIKE_LOOK, ms=6, label=ALIKE_LABEL),
            ),
        ]
        return [handle for label, handle in entries if label in self._drawn]
