"""Heat maps of numbers between 0 and 1: cells, labels that have room, and the colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from hlvm.plotting.labels import text_width
from hlvm.plotting.styles import axes_in_inches

__all__ = ["FONT", "LINE", "draw_cells", "draw_key", "key_colors", "key_entries", "thinned"]

FONT = 8.0
"""Font size of names and numbers, in points."""
LINE = FONT * 1.3 / 72
"""Inches of a line of such text."""

_COLORS = "cividis"
_MISSING = "#E3E3E3"
_ZERO: dict[str, Any] = {"facecolor": "white", "edgecolor": "#A8A8A8", "hatch": "//////", "linewidth": 0.0}


def thinned(labels: Sequence[str], room: float, needed: Sequence[float]) -> tuple[list[int], list[str]]:
    """Every so manyth label, so that each has its inches.

    Returns:
        Their positions, and the labels.
    """
    step = max(1, int(np.ceil(max(needed) * len(labels) / room)))
    at = list(range(0, len(labels), step))
    return at, [labels[i] for i in at]


def draw_cells(
    ax: Axes, cells: Float[np.ndarray, "rows columns"], size: tuple[float, float], *, exact: bool = True
) -> None:
    """Draw the cells of a map, each with its number where there is room; those that are NaN stay grey.

    Args:
        ax: where.
        cells: numbers; colours go from 0 to 1.
        size: width and height of the map in inches.
        exact: 0 and 1 mean that exactly, as in predictions: zeros are hatched, and small numbers not written as 0.
    """
    colors = mpl.colormaps[_COLORS].with_extremes(bad=_MISSING)
    zero = (cells == 0) & exact
    ax.imshow(np.ma.masked_invalid(cells), vmin=0, vmax=1, cmap=colors, aspect="auto", interpolation="nearest")
    if zero.any():
        boxes = [Rectangle((c - 0.5, r - 0.5), 1, 1) for r, c in np.argwhere(zero).tolist()]
        ax.add_collection(PatchCollection(boxes, label="exactly 0", **_ZERO))
    room = (size[0] / cells.shape[1], size[1] / cells.shape[0])
    if room[0] > text_width("0.00", FONT - 0.5) + 0.04 and room[1] > LINE:
        for (row, column), value in np.ndenumerate(cells):
            text = "" if np.isnan(value) else _number(float(value)) if exact else f"{value:.2f}".replace("-", "−")
            back = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none"} if zero[row, column] else None
            shade = "black" if back or value > 0.48 else "white"
            ax.text(column, row, text, ha="center", va="center", fontsize=FONT - 0.5, color=shade, bbox=back)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=2)


def _number(value: float) -> str:
    """A share in at most four letters that is only written as 0 or 1 if it is that."""
    if value in (0, 1):
        return f"{value:.0f}"
    return "<.01" if value < 0.01 else ">.99" if value > 0.99 else f"{value:.2f}"


def draw_key(
    figure: Figure,
    exact: Sequence[Float[np.ndarray, "rows columns"]],
    left: float,
    top: float,
    label: str,
    *,
    others: Sequence[Float[np.ndarray, "rows columns"]] = (),
    handles: Sequence[Artist] = (),
) -> None:
    """Colour bar, and below it what is not on it.

    Args:
        figure: where.
        exact: maps that were drawn with ``exact``.
        left: inches from the left.
        top: inches from the bottom.
        label: what is drawn.
        others: further maps.
        handles: further entries of the legend.
    """
    bar = axes_in_inches(figure, left, top - 1.1, 0.14, 1.1)
    figure.colorbar(key_colors(), cax=bar, ticks=[0, 0.5, 1])
    bar.set_ylabel(label, fontsize=FONT)
    bar.tick_params(labelsize=FONT)
    entries = [*key_entries(exact, others), *handles]
    if entries:
        wide, tall = figure.get_size_inches()
        place = (left / wide, (top - 1.2) / tall)
        figure.legend(handles=entries, loc="upper left", bbox_to_anchor=place, fontsize=FONT, borderpad=0.1)


def key_colors() -> ScalarMappable:
    """The colours of all maps, from 0 to 1."""
    return ScalarMappable(Normalize(0, 1), mpl.colormaps[_COLORS])


def key_entries(
    exact: Sequence[Float[np.ndarray, "rows columns"]], others: Sequence[Float[np.ndarray, "rows columns"]] = ()
) -> list[Artist]:
    """Legend entries of cells that no colour of the bar stands for, where maps have such."""
    entries: list[Artist] = []
    if any((cells == 0).any() for cells in exact):
        entries.append(Patch(label="exactly 0", **_ZERO))
    if any(np.isnan(cells).any() for cells in (*exact, *others)):
        entries.append(Patch(facecolor=_MISSING, label="no value"))
    return entries
