"""Figures of the experiment on ratio, unit and strategy."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from experiments.experiment import Prediction
from experiments.findings import Frame
from experiments.quadtree_fits import COMPARED, draw_over_seeds, height_words
from hlvm.plotting.style import COLORS, figure_with_panels

_LINES = {"uniform": "-", "block": "--"}


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """One figure for each kind of mechanism."""
    return {f"masking_grid_{mechanism}": _draw(mechanism, records, prediction) for mechanism in COMPARED}


def _draw(mechanism: str, records: Frame, prediction: Prediction) -> Figure:
    """Predicted shares above, what is found of each height below, over the ratio."""
    top = prediction["top"]
    shares = pd.DataFrame(prediction["share_in_c"])
    shares = shares[shares["mechanism"] == mechanism]
    noise = records[(records["part"] == "noise") & (records["mechanism"] == mechanism)]
    trained_ones, untrained = noise[noise["of"] == "trained"], noise[noise["of"] == "untrained"]
    figure, panels = figure_with_panels(7.0, 4.8, rows=2, columns=top, sharex=True)
    for height, (predicted, measured) in enumerate(panels.T, start=1):
        for name, line in _LINES.items():
            for index, unit in enumerate(prediction["units"]):
                look = _look(index) | {"linestyle": line}
                if name == "block":
                    look["markerfacecolor"] = "white"
                arm, share = (
                    table[(table["height"] == height) & (table["strategy"] == name) & (table["unit"] == unit)]
                    for table in (trained_ones, shares)
                )
                if len(arm):
                    predicted.plot(share["ratio"], share["share"], **look)
                    draw_over_seeds(measured, arm, "ratio", _label(name, unit), **look)
        floor = untrained[untrained["height"] == height]["value"].mean()
        measured.axhline(floor, color=COLORS["black"], linewidth=0.9, linestyle=":")
        predicted.set(title=height_words(height, top), ylim=(-0.05, 1.05))
        measured.set(xlabel="masking ratio", xlim=(0, 1))
    panels[0, 0].set_ylabel("predicted share in c")
    panels[1, 0].set_ylabel("R² of what enters")
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _look(index: int) -> dict[str, Any]:
    colors, markers = ("green", "blue", "vermilion", "purple"), "osD^"
    return {"color": COLORS[colors[index % len(colors)]], "marker": markers[index % len(markers)]}


def _label(name: str, unit: int) -> str:
    size = f"{unit} × {unit}" if unit > 1 else "single cells"
    return f"{size}, at random" if name == "uniform" else f"{size}, one block"
