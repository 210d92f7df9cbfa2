"""Figures of the signal law: forecast against measured, and rank correlations beside those of rival forecasts."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from experiments.drawing import draw_intervals
from experiments.experiment import Frame, Prediction
from experiments.signal_claims import RIVALS, measured_gains, over_generators_of, ranks
from experiments.signal_law import SignalLaw
from hlvm.plotting import COLORS, figure_with_panels
from hlvm.scoring import means_over_seeds

_COLORS = ("blue", "sky", "green", "purple", "black", "vermilion", "orange", "grey")
_MARKS = "os^DvPX*"


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Both figures."""
    table = measured_gains(records, prediction)
    return {"forecast": _draw_forecasts(table, prediction), "rivals": _draw_rivals(table, prediction)}


def _draw_forecasts(table: Frame, prediction: Prediction) -> Figure:
    """Measured over forecast gain of every arm and level, a panel for each network and length."""
    law = SignalLaw(**prediction["law"])
    means = over_generators_of(table)
    networks, steps = list(means["network"].unique()), prediction["steps"]
    figure, panels = figure_with_panels(7.4, 6.4, rows=len(networks), columns=len(steps), sharex=True, sharey=True)
    line = np.linspace(0, 1, 201)
    for row, network in zip(panels, networks, strict=True):
        for axes, length in zip(row, steps, strict=True):
            axes.plot(line, line, color=COLORS["grey"], linewidth=0.8, zorder=0)
            if network == "transformer":
                axes.fill_between(line, *law.interval(line), color="0.9", linewidth=0, zorder=-1)
            for place, (family, title) in enumerate(prediction["titles"].items()):
                of = means[(means["network"] == network) & (means["steps"] == length) & (means["family"] == family)]
                top = of["level"] == prediction["top"][family]
                look = {"color": COLORS[_COLORS[place]], "marker": _MARKS[place], "linestyle": "", "markersize": 4.5}
                axes.plot(of[top]["forecast"], of[top]["gain"], label=title, **look)
                axes.plot(of[~top]["forecast"], of[~top]["gain"], **look, markerfacecolor="white")
            axes.set(title=f"{network}, {length} steps", xlim=(-0.02, 1), ylim=(-0.1, 1.02))
    for axes in panels[-1]:
        axes.set_xlabel("forecast gain")
    for row in panels:
        row[0].set_ylabel("measured gain")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _draw_rivals(table: Frame, prediction: Prediction) -> Figure:
    """Mean rank correlation of each forecast over families, with intervals, short and long training.

    Of families of which all forecasts say something.
    """
    table = table.dropna(subset=list(RIVALS))
    forecasts = {"forecast": "the law", **RIVALS}
    scopes = ("the highest latent", "all levels")
    figure, panels = figure_with_panels(7.4, 3.4, rows=1, columns=2, sharex=True, sharey=True)
    for axes, scope in zip(panels[0], scopes, strict=True):
        for shift, length, color in zip((-0.15, 0.15), prediction["steps"], ("sky", "vermilion"), strict=True):
            for place, column in enumerate(forecasts):
                found = ranks(table, prediction, scope, column)
                of = found[found["steps"] == length].groupby("family", sort=False)["rank"].mean()
                if len(of) < 2:
                    continue
                rows = of.reset_index().assign(forecast=column, seed=range(len(of)), value=of.to_numpy())
                cells = means_over_seeds(rows, ["forecast"])
                label = f"{length} steps" if place == 0 else "_"
                look = {"color": COLORS[color], "marker": "o", "linestyle": ""}
                draw_intervals(axes, np.array([place + shift]), cells, label, across=True, **look)
        axes.axvline(0, color="0.7", linewidth=0.8, zorder=0)
        axes.set(title=scope, xlabel="rank correlation with gains", xlim=(-1, 1))
        axes.set_yticks(range(len(forecasts)), list(forecasts.values()))
    panels[0][0].invert_yaxis()
    handles, labels = panels[0][1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
