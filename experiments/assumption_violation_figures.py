"""Figures of what is left outside of the assumptions of Theorem 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.drawing import draw_intervals
from experiments.experiment import Frame, Prediction
from hlvm.plotting import COLORS, figure_with_panels
from hlvm.scoring import means_over_seeds

Look = Mapping[str, Any]

_CODE: Look = {"color": COLORS["blue"], "marker": "o"}
_OTHER: Look = {"color": COLORS["vermilion"], "marker": "s"}
_BACK: Look = {"color": COLORS["green"], "marker": "^"}
_CLEAN: Look = {"color": COLORS["purple"], "marker": "v"}
_FLOOR: Look = {"color": COLORS["grey"], "marker": "P"}
_PREDICTED: dict[str, Any] = {"color": COLORS["black"], "linestyle": "--", "linewidth": 1.2}


def draw_violations(records: Frame, prediction: Prediction) -> Figure:
    """R² of the root over noise, fold, and the number of visible children, beside what was predicted."""
    figure, panels = figure_with_panels(7.2, 5.4, 2, 2, sharey=True)
    (linear, nonlinear), (fold, children) = panels

    def of(part: str, mechanism: str) -> Frame:
        return records[(records["part"] == part) & (records["mechanism"] == mechanism)]

    noises = [level for level, _ in prediction["noise"]]
    _points(linear, of("noise", "linear"), "code -> c", "code → root", _CODE)
    _points(linear, of("noise", "linear"), "untrained code -> c", "untrained code → root", _FLOOR)
    linear.plot(range(len(noises)), [np.mean(r2) for _, r2 in prediction["noise"]], **_PREDICTED, label="predicted")
    _ticks(linear, noises, "noise over signal")

    levels = [0.0, *noises]
    _points(nonlinear, of("noise", "mlp"), "c -> code", "root → code", _BACK)
    _points(nonlinear, of("noise", "mlp"), "code -> c", "", _CODE)
    _points(nonlinear, of("noise", "mlp"), "untrained code -> c", "", _FLOOR)
    _references(nonlinear, of("noise", "mlp"), "visible -> c", "visible part → root, with labels", "D")
    _ticks(nonlinear, levels, "noise over signal")

    curve = prediction["fold curve"]
    for part in ([p for p in curve if p[0] < 0.5], [p for p in curve if p[0] > 0.5]):
        fold.plot([level for level, _ in part], [r2 for _, r2 in part], **_PREDICTED)
    fold.plot(*zip(*[p for p in curve if p[0] == 0.5], strict=True), "_", color=COLORS["black"], markersize=11)
    _points(fold, of("fold", "mlp"), "code -> folded root", "code → folded root", _OTHER, to_scale=True)
    _points(fold, of("fold", "mlp"), "code -> c", "", _CODE, to_scale=True)
    _points(fold, of("fold", "mlp"), "untrained code -> c", "", _FLOOR, to_scale=True)
    _references(fold, of("fold", "mlp"), "conditional mean -> c", "mean of x_m given root → root", "x", to_scale=True)
    fold.set_xlabel("level of the fold, one-to-one below 0.5")

    visibles = [level for level, _ in prediction["children"]]
    _points(children, of("children", "mlp"), "code -> c", "code → root, nonlinear without noise", _CLEAN)
    _points(children, of("children", "linear"), "code -> c", "", _CODE)
    _points(children, of("children", "linear"), "untrained code -> c", "", _FLOOR)
    _references(children, of("children", "mlp"), "conditional mean -> c", "", "x")
    children.plot(range(len(visibles)), [np.mean(r2) for _, r2 in prediction["children"]], **_PREDICTED)
    _ticks(children, visibles, "visible children, of eight")
    titles = ("noise, linear", "noise, nonlinear", "fold, nonlinear", "missing children")
    for axes, title in zip(panels.flat, titles, strict=True):
        axes.set_title(title, fontsize=9.5)
        axes.set_ylim(-0.1, 1.05)
        axes.axhline(0, color=COLORS["pale"], linewidth=0.8, zorder=0)
    for axes in panels[:, 0]:
        axes.set_ylabel("R²")
    shown = {
        label: handle
        for axes in panels.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        if label
    }
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3, fontsize=8, handlelength=1.8)
    return figure


def draw_gap(records: Frame) -> Figure:
    """What is masked, and what either loss makes of it: one row per mechanism."""
    gap = records[records["part"] == "gap"]
    mechanisms = list(gap["mechanism"].unique())
    figure, panels = figure_with_panels(7.2, 2.1 * len(mechanisms), len(mechanisms), 4)
    for row, (axes, mechanism) in enumerate(zip(panels, mechanisms, strict=True)):
        own = gap[gap["mechanism"] == mechanism]
        points = own[own["score"].str.startswith("point ")]
        wide = points.pivot_table(index=["loss", "point"], columns="score", values="value")
        squared, energy = wide.loc["squared_error"], wide.loc["energy"]
        axes[0].scatter(
            squared["point x1"], squared["point x2"], c=squared["point c"], cmap="cividis", s=7, linewidths=0
        )
        axes[0].plot(0, 0, "+", color=COLORS["vermilion"], markersize=12, markeredgewidth=2)
        axes[0].set(xlim=(-3, 3), ylim=(-3, 3), ylabel=f"{mechanism}\n\nx, second number")
        for panel, table, look in ((axes[1], squared, _OTHER), (axes[2], energy, _CODE)):
            panel.scatter(table["point c"], table["point code"], s=7, color=look["color"], linewidths=0)
            panel.set(xlim=(-3, 3), ylim=(-3.2, 3.2))
        axes[1].set_ylabel("code, standardised")
        scores = own[own["score"] == "code -> c"]
        levels = sorted(scores["level"].unique())
        for loss, look, name in (("energy", _CODE, "energy score"), ("squared_error", _OTHER, "squared error")):
            _points(axes[3], own[own["loss"] == loss], "code -> c", name, look, linestyle="-")
            seeds = scores[scores["loss"] == loss]
            places = seeds["level"].map(levels.index) + 0.12
            axes[3].plot(
                places, seeds["value"], look["marker"], color=look["color"], markersize=3, markerfacecolor="none"
            )
        _points(axes[3], own, "untrained code -> c", "untrained", _FLOOR, linestyle="-")
        axes[3].set(ylim=(-0.3, 1.3), ylabel="R²(code → c)")
        _ticks(axes[3], levels, "numbers in the code" if row == len(mechanisms) - 1 else "")
    for panel, title in zip(
        panels[0], ("masked: colour is c,\n+ is the mean", "squared error", "energy score", "all widths"), strict=True
    ):
        panel.set_title(title)
    for panel, label in zip(panels[-1], ("x, first number", "true c", "true c"), strict=False):
        panel.set_xlabel(label)
    panels[0, 3].legend(fontsize=7, handlelength=1.4)
    return figure


def _points(
    axes: Axes, records: Frame, score: str, label: str, look: Look, *, to_scale: bool = False, linestyle: str = "none"
) -> None:
    """Means over seeds with intervals, at their levels or evenly spaced."""
    cells = means_over_seeds(records[records["score"] == score], ["level"]).sort_values("level")
    places = cells["level"] if to_scale else range(len(cells))
    draw_intervals(axes, places, cells, label, linestyle=linestyle, **{"linewidth": 0.9, **look})


def _references(axes: Axes, records: Frame, score: str, label: str, marker: str, *, to_scale: bool = False) -> None:
    """Numbers that stand once per level, without seeds, at the levels or evenly spaced."""
    rows = records[records["score"] == score].sort_values("level")
    places = rows["level"] if to_scale else range(len(rows))
    axes.plot(places, rows["value"], marker, color=COLORS["black"], markerfacecolor="none", markersize=6, label=label)


def _ticks(axes: Axes, levels: Sequence[float], label: str) -> None:
    axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    axes.set_xlabel(label)
