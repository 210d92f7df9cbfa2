"""Figures of the experiment on the masking ratio."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from experiments.drawing import draw_over_seeds
from experiments.experiment import Frame, Prediction
from experiments.quadtree_figures import draw_floor, draw_heights, label_rows
from experiments.quadtree_fits import COMPARED
from hlvm.plotting import COLORS, figure_with_panels


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Predicted and measured heights over the ratio, and the root by what could explain an optimum."""
    return {
        "masking_ratio": _draw_heights(records, prediction),
        "masking_ratio_causes": _draw_causes(records, prediction),
        "masking_ratio_mismatch": _draw_mismatch(records, prediction),
    }


def _draw_heights(records: Frame, prediction: Prediction) -> Figure:
    figure, panels = figure_with_panels(7.0, 5.0, rows=2, columns=len(COMPARED), sharex=True, sharey="row")
    long = prediction["steps"][1]
    shares = pd.DataFrame(prediction["share_in_c"]).query("strategy == 'uniform'")
    whole = records[(records["view"] == 0) & (records["strategy"] == "uniform") & (records["part"] == "noise")]
    for (predicted, measured), mechanism in zip(panels.T, COMPARED, strict=True):
        arm: Frame = whole[whole["mechanism"] == mechanism]
        trained = arm[(arm["of"] == "trained") & (arm["steps"] == long)]
        untrained = arm[arm["of"] == "untrained"]
        draw_heights(predicted, measured, shares[shares["mechanism"] == mechanism], trained, untrained, "ratio")
        predicted.set_title(mechanism)
        measured.set(xlabel="masking ratio", xlim=(0, 1), xticks=(0.25, 0.5, 0.75))
    label_rows(figure, panels, prediction["top"] + 1)
    return figure


def _draw_causes(records: Frame, prediction: Prediction) -> Figure:
    figure, panels = figure_with_panels(8.4, 3.0, columns=3, sharey=True)
    long = prediction["steps"][1]
    root = _of_root(records, prediction)
    main = root[(root["mechanism"] == "invertible") & (root["of"] == "trained")]
    looks = [
        {"color": COLORS[color], "marker": marker, "linestyle": line}
        for color, marker, line in zip(
            ("blue", "orange", "green", "vermilion"), "osD^", ("-", "--", "-.", ":"), strict=True
        )
    ]
    availability, training, linearity = panels.ravel()
    visible = root[(root["mechanism"] == "invertible") & (root["of"] == "visible") & (root["view"] > 0)]
    draw_over_seeds(availability, visible, "view", "visible cells themselves", **looks[3])
    full = main[main["steps"] == long]
    draw_over_seeds(availability, full[full["view"] == 0], "ratio", "codes of whole images", **looks[0])
    availability.set(title="availability")
    for steps, look in zip(prediction["steps"][::-1], looks, strict=False):
        chosen = main[(main["steps"] == steps) & (main["view"] == 0)]
        draw_over_seeds(training, chosen, "ratio", f"{steps} steps", **look)
    training.set(title="training time")
    at_end = root[(root["of"] == "trained") & (root["steps"] == long) & (root["view"] == 0)]
    for mechanism, look in zip(("invertible", "linear", "noisy"), looks, strict=False):
        draw_over_seeds(linearity, at_end[at_end["mechanism"] == mechanism], "ratio", mechanism, **look)
        untrained = root[(root["of"] == "untrained") & (root["mechanism"] == mechanism) & (root["view"] == 0)]
        draw_floor(linearity, untrained, look["color"])
    linearity.set(title="mechanisms")
    low, high = linearity.get_ylim()  # shared by all; room for legends above and below
    linearity.set(ylim=(low - 0.2 * (high - low), high + 0.15 * (high - low)))
    for axes in panels.ravel():
        axes.set(xlabel="masking ratio", xlim=(0, 1), xticks=(0.25, 0.5, 0.75))
        axes.legend(fontsize=8, loc="lower left")
    linearity.legend(fontsize=8, loc="upper center", ncols=2)
    panels[0, 0].set(ylabel="R² of the root")
    return figure


def _draw_mismatch(records: Frame, prediction: Prediction) -> Figure:
    """Codes of whole images and of masked ones, a panel for each; whole images are grey behind the others."""
    root = _of_root(records, prediction)
    full = root[(root["mechanism"] == "invertible") & (root["of"] == "trained")]
    full = full[full["steps"] == prediction["steps"][1]]
    views = sorted(full["view"].unique())
    figure, panels = figure_with_panels(8.4, 2.6, columns=len(views), sharey=True)
    whole = full[full["view"] == 0].groupby("ratio")["value"].mean()
    for axes, view in zip(panels.ravel(), views, strict=True):
        if view:
            axes.plot(whole.index, whole, color=COLORS["grey"], linewidth=0.9)
        draw_over_seeds(axes, full[full["view"] == view], "ratio", "", color=COLORS["blue"], marker="o")
        axes.set(
            title=f"masked at {view:g}" if view else "whole images",
            xlabel="masking ratio",
            xlim=(0, 1),
            xticks=(0.25, 0.5, 0.75),
        )
    panels[0, 0].set(ylabel="R² of the root")
    return figure


def _of_root(records: Frame, prediction: Prediction) -> Frame:
    """Scores of the root's values under masks of single cells."""
    root = records[(records["height"] == prediction["top"]) & (records["part"] == "value")]
    return root[root["strategy"] == "uniform"]
