"""Figures of the experiment on the masking unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.experiment import Prediction
from experiments.findings import Frame
from experiments.quadtree_fits import draw_over_seeds, height_words
from hlvm.plotting.style import figure_with_panels, height_look

_LABELS = {"uniform": "squares at random", "strip": "strips of equal area", "block": "one block"}


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Over the unit at one ratio, and over ratio and unit."""
    noise = records[records["part"] == "noise"]
    shares: Frame = pd.DataFrame(prediction["share_in_c"])

    def of(mechanism: str) -> tuple[Frame, Frame]:
        return tuple(table[table["mechanism"] == mechanism] for table in (noise, shares))

    figures = {
        "patch_size": _draw_units(*of("invertible"), prediction),
        "patch_size_grid": _draw_grid(*of("invertible"), prediction),
    }
    if "noisy" in set(noise["mechanism"]):
        figures["patch_size_noisy"] = _draw_units(*of("noisy"), prediction)
    return figures


def _draw_units(noise: Frame, shares: Frame, prediction: Prediction) -> Figure:
    """Predicted shares and scores over the unit, at one ratio."""
    labels = {name: label for name, label in _LABELS.items() if name in set(shares["strategy"])}
    width = 7.0 if len(labels) == len(_LABELS) else 5.4
    figure, panels = figure_with_panels(width, 4.8, rows=2, columns=len(labels), sharex=True, sharey=True)
    top, units = prediction["top"], prediction["units"]
    for (predicted, measured), (name, label) in zip(panels.T, labels.items(), strict=True):
        of_shares, of_noise = (_units_of(table, name, prediction["ratio"]) for table in (shares, noise))
        for height in range(top, -1, -1):
            look = height_look(height)
            chosen = of_shares[of_shares["height"] == height].sort_values("unit")
            arm = of_noise[(of_noise["height"] == height) & (of_noise["of"] == "trained")]
            predicted.plot(units, chosen["share"] if height else [0] * len(units), **look)
            draw_over_seeds(measured, arm, "unit", height_words(height, top), **look)
            floor = noise[(noise["of"] == "untrained") & (noise["height"] == height)]["value"].mean()
            measured.axhline(floor, color=look["color"], linewidth=0.9, linestyle=":")
        predicted.set(title=label, xscale="log", ylim=(-0.05, 1.05))
        measured.set_xticks(units, [f"{unit}" for unit in units])
        measured.set_xticks([], minor=True)
        measured.set_xlabel("step (cells)" if name == "block" else "unit (cells)")
    panels[0, 0].set_ylabel("predicted share in c")
    panels[1, 0].set_ylabel("R² of what enters")
    handles, names = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=top + 1)
    return figure


def _units_of(table: Frame, name: str, ratio: float) -> Frame:
    """One strategy's rows at the ratio that is compared; a strip of one cell is a square."""
    if name == "block":
        return table[table["strategy"] == "block"]
    at_ratio = table[table["ratio"] == ratio]
    if name == "uniform":
        return at_ratio[at_ratio["strategy"] == "uniform"]
    return at_ratio[(at_ratio["strategy"] == "strip") | ((at_ratio["strategy"] == "uniform") & (at_ratio["unit"] == 1))]


def _draw_grid(noise: Frame, shares: Frame, prediction: Prediction) -> Figure:
    """Squares over ratio and unit: predicted shares above, what training gains below."""
    shares, squares = (table[table["strategy"] == "uniform"] for table in (shares, noise))
    top = prediction["top"]
    heights = range(1, top + 1)
    figure, panels = figure_with_panels(7.0, 4.4, rows=2, columns=len(heights), sharex=True, sharey=True)
    floors: Frame = squares[squares["of"] == "untrained"].groupby("height")["value"].mean()
    means: Frame = squares[squares["of"] == "trained"].groupby(["height", "unit", "ratio"])["value"].mean()
    gains: Frame = means - floors.reindex(means.index.get_level_values("height")).to_numpy()
    most = max(0.05, float(gains.abs().max()))
    for column, height in zip(panels.T, heights, strict=True):
        share = shares[shares["height"] == height].set_index(["unit", "ratio"])["share"].unstack()
        _draw_cells(
            column[0], share, f"{height_words(height, top)}: share in c", {"cmap": "Blues", "vmin": 0, "vmax": 1}
        )
        _draw_cells(
            column[1], gains.loc[height].unstack(), "gain in R²", {"cmap": "PuOr_r", "vmin": -most, "vmax": most}
        )
        column[1].set_xlabel("masking ratio")
    for axes in panels[:, 0]:
        axes.set_ylabel("unit (cells)")
    return figure


def _draw_cells(axes: Axes, table: Frame, title: str, look: dict[str, Any]) -> None:
    axes.imshow(table.to_numpy(), origin="lower", aspect="auto", **look)
    strongest = max(abs(look["vmin"]), abs(look["vmax"]))
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        dark = abs(value) > 0.6 * strongest
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(table.columns)), [f"{ratio:g}" for ratio in table.columns])
    axes.set_yticks(range(len(table.index)), [f"{unit}" for unit in table.index])
    axes.set_title(title, fontsize=9)
