"""Parts that figures of several experiments share: means with their intervals, axes of units, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.experiment import Frame
from hlvm.plotting import Panels
from hlvm.scoring import means_over_seeds


def draw_intervals(axes: Axes, places: Any, cells: Frame, label: str, *, across: bool = False, **look: Any) -> None:
    """Draw means with their intervals.

    Args:
        axes: where.
        places: a number for each cell.
        cells: as :func:`hlvm.scoring.means_over_seeds` gives them.
        label: for the legend.
        across: draw means over the horizontal axis, and places over the vertical one.
        **look: as for Matplotlib's ``errorbar``.
    """
    ends = [cells["value"] - cells["low"], cells["high"] - cells["value"]]
    drawn = (
        {"x": cells["value"], "y": places, "xerr": ends} if across else {"x": places, "y": cells["value"], "yerr": ends}
    )
    axes.errorbar(**drawn, label=label, **{"capsize": 2, "linewidth": 1.4, "markersize": 4.5, **look})


def draw_over_seeds(axes: Axes, records: Frame, x: str, label: str, **look: Any) -> None:
    """Draw a line of means over seeds with their intervals, over a column of the records."""
    cells = means_over_seeds(records, [x]).sort_values(x)
    draw_intervals(axes, cells[x], cells, label, **look)


def mark_units(axes: Axes, units: Sequence[int]) -> None:
    """Make the horizontal axis one of masking units, each twice the one before."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(units, labels=[f"{unit}" for unit in units])
    axes.minorticks_off()


def heat_map(axes: Axes, table: Frame, **look: Any) -> None:
    """Draw a table as colours with the numbers on them, white where it is dark.

    Args:
        axes: where; the columns are named below.
        table: numbers.
        **look: as for Matplotlib's ``imshow``.
    """
    image = axes.imshow(table.to_numpy(), aspect="auto", **look)
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        dark = np.dot(image.cmap(image.norm(value))[:3], (0.299, 0.587, 0.114)) < 0.5
        number = f"{value:.2f}".replace("-0.00", "0.00")
        axes.text(column, row, number, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(table.columns)), [f"{name:g}" for name in table.columns])


def legend_below(figure: Figure, axes: Axes, ncols: int) -> None:
    """Put the legend of some axes below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols)


def legends_beside(panels: Panels) -> None:
    """Put the legend of each row's first panel right of its last one."""
    for row in panels:
        handles, labels = row[0].get_legend_handles_labels()
        row[-1].legend(handles, labels, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
