"""Figures of experiments on quadtrees: predicted shares of every height above, what is measured of it below."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.drawing import draw_over_seeds, legend_below
from experiments.experiment import Frame
from hlvm.plotting import Panels, height_look


def height_words(height: int, top: int) -> str:
    """Name of the variables of a height in figures."""
    return "root" if height == top else f"height {height}" if height else "cells"


def draw_heights(predicted: Axes, measured: Axes, shares: Frame, trained: Frame, untrained: Frame, x: str) -> None:
    """Draw a line for every height; cells are never in ``c``.

    Args:
        predicted: for the shares.
        measured: for the scores; those of untrained encoders are dotted.
        shares: ``height``, ``x`` and ``share`` of some arms.
        trained: scores of the same arms, with seeds.
        untrained: scores of encoders before training.
        x: the column that differs between arms.
    """
    top = int(trained["height"].max())
    places = sorted(shares[x].unique())
    for height in range(top, -1, -1):
        look, label = height_look(height), height_words(height, top)
        share = shares[shares["height"] == height].set_index(x)["share"].reindex(places, fill_value=0.0)
        predicted.plot(places, share, **look)
        draw_over_seeds(measured, trained[trained["height"] == height], x, label, **look)
        draw_floor(measured, untrained[untrained["height"] == height], look["color"])
    predicted.set_ylim(-0.05, 1.05)


def draw_floor(axes: Axes, untrained: Frame, color: str) -> None:
    """Draw what untrained encoders score as a dotted line."""
    axes.axhline(untrained["value"].mean(), color=color, linewidth=0.9, linestyle=":")


def label_rows(figure: Figure, panels: Panels, ncols: int) -> None:
    """Say what both rows show, and put the legend of the lower one below."""
    panels[0, 0].set_ylabel("predicted share in c")
    panels[1, 0].set_ylabel("R² of what enters")
    legend_below(figure, panels[1, 0], ncols)
