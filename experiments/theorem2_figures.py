"""Figures of the test of Theorem 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.drawing import heat_map
from experiments.experiment import Frame, Prediction
from hlvm.plotting import COLORS, figure_with_panels
from hlvm.scoring import means_over_seeds

_ARMS = {
    "exact": ("o", "blue"),
    "too narrow": ("v", "vermilion"),
    "too wide": ("s", "green"),
    "wrong mask": ("X", "purple"),
    "untrained": ("P", "grey"),
}
"""Marker and colour of each."""


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Every code as a point between both ways, and the phase diagram."""
    return {"arms": _draw_arms(records, prediction), "phase": _draw_phase(records, prediction)}


def _draw_arms(records: Frame, prediction: Prediction) -> Figure:
    """One row of panels per graph, one column per arm: most points of two arms would lie on each other."""
    arms, threshold = records[records["part"] == "arms"], prediction["threshold"]
    names, mechanisms = list(prediction["graphs"]), list(arms["mechanism"].unique())
    figure, panels = figure_with_panels(
        0.6 + 1.5 * len(_ARMS), 0.6 + 1.5 * len(names), len(names), len(_ARMS), sharex=True, sharey=True
    )
    for row, graph in zip(panels, names, strict=True):
        for axes, (arm, (marker, colour)) in zip(row, _ARMS.items(), strict=True):
            axes.axvspan(threshold, 1.05, color=COLORS["pale"], alpha=0.6, linewidth=0)
            axes.axhspan(threshold, 1.05, color=COLORS["pale"], alpha=0.6, linewidth=0)
            of_arm = arms[(arms["graph"] == graph) & (arms["arm"] == arm)]
            for mechanism, rows in of_arm.groupby("mechanism", sort=False):
                points = rows.pivot(index="seed", columns="score", values="value")
                face = COLORS[colour] if mechanism == mechanisms[0] else "none"
                axes.scatter(
                    points["code -> c"], points["c -> code"], s=24, marker=marker, facecolors=face,
                    edgecolors=COLORS[colour], linewidths=0.9,
                )  # fmt: skip
            axes.set(xlim=(-0.15, 1.05), ylim=(-0.15, 1.05), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        row[0].set_ylabel(f"{graph}\nR²(c → code)")
    for axes, arm in zip(panels[0], _ARMS, strict=True):
        axes.set_title(arm)
    for axes in panels[-1]:
        axes.set_xlabel("R²(code → c)")
    for mechanism, face in zip(mechanisms, (COLORS["black"], "none", "none"), strict=False):
        panels[0][0].plot([], [], "D", color=COLORS["black"], markerfacecolor=face, markersize=4, label=mechanism)
    figure.legend(loc="outside lower center", ncols=len(mechanisms), columnspacing=1.0, handletextpad=0.2)
    return figure


def _draw_phase(records: Frame, prediction: Prediction) -> Figure:
    """R² of ``c`` from the code, and what the last number added to it."""
    phase, d_cs = records[records["part"] == "phase"], {m: a["d_c"] for m, a in prediction["phase"].items()}
    masks = sorted(d_cs, key=d_cs.__getitem__)
    means = means_over_seeds(phase[phase["score"] == "code -> c"], ["mask", "code_dim"])
    table: Frame = means.pivot(index="mask", columns="code_dim", values="value").loc[masks]
    added: Frame = table.diff(axis=1).iloc[:, 1:]
    figure, panels = figure_with_panels(7.2, 2.9, 1, 2, sharey=True)
    for axes, values, most, title, beyond in (
        (panels[0, 0], table, 1.0, "R²(code → c)", 0),
        (panels[0, 1], added, 0.1, "added by the last number", 1),
    ):
        _staircase(axes, values, most, [d_cs[mask] + beyond for mask in masks])
        axes.set(title=title, xlabel="numbers in the code")
    panels[0, 0].set_yticks(range(len(masks)), [f"{mask}, d_c = {d_cs[mask]}" for mask in masks])
    panels[0, 0].plot([], [], color=COLORS["vermilion"], linewidth=2.5, label="predicted boundary")
    figure.legend(loc="outside lower center")
    return figure


def _staircase(axes: Axes, table: Frame, most: float, least_dims: Sequence[int]) -> None:
    """Draw a staircase on the colours: what lies right of it has at least so many numbers in the code."""
    heat_map(axes, table, cmap="cividis", vmin=0, vmax=most)
    dims = list(table.columns)
    edges = [float(np.searchsorted(dims, d_c)) - 0.5 for d_c in least_dims]
    x = np.repeat(edges, 2)
    y = np.ravel([(row - 0.5, row + 0.5) for row in range(len(edges))])
    axes.plot(x, y, color=COLORS["vermilion"], linewidth=2.5)
