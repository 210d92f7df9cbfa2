"""Figure of sample laws: how many samples each objective needs, over synonyms and over levels, and what laws say."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.drawing import legend_below
from experiments.experiment import Frame, Prediction
from experiments.sample_laws_claims import Bounds, crossings
from hlvm.plotting import COLORS, figure_with_panels
from hlvm.scoring import over_seeds

_LOOKS = (("blue", "o"), ("vermilion", "s"), ("green", "D"))
_LINES = (":", "-", "--", "-.")


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """P* of every objective with intervals over draws; grey: the laws, as they are, without a prefactor.

    Where a draw does not cross the threshold within the sizes, a triangle stands at the mean of the bounds and points
    to where P* lies.
    """
    figure, panels = figure_with_panels(7.2, 3.6, rows=1, columns=2, sharey=True)
    places = crossings(records)
    for axes, (axis, of) in zip(panels[0], prediction["axes"].items(), strict=True):
        for line, law in zip(_LINES, prediction["formulas"], strict=True):
            said = [prediction["samples"][name][law] for name in of["grammars"]]
            axes.plot(of["x"], said, line, color=COLORS["grey"], label=prediction["formulas"][law], linewidth=1.2)
        for number, (objective, (color, marker)) in enumerate(zip(prediction["objectives"], _LOOKS, strict=True)):
            own = [places[objective, name] for name in of["grammars"]]
            shift = 0.02 * (number - 1) * (of["x"][-1] - of["x"][0])
            _draw_places(axes, np.asarray(of["x"]) + shift, own, objective, COLORS[color], marker)
        varied, fixed = (0, 1) if axis == "m" else (1, 0)
        parts = [name.split(", ") for name in of["grammars"]]
        axes.set_xticks(of["x"], [part[varied] for part in parts])
        axes.set_title(f"{'synonyms' if axis == 'm' else 'levels'}, {parts[0][fixed]}")
    _powers_of_two(panels[0, 0])
    panels[0, 0].set_ylabel("samples")
    legend_below(figure, panels[0, 0], 4)
    return {"sample_laws": figure}


def _draw_places(axes: Axes, x: np.ndarray, places: list[Bounds], label: str, color: str, marker: str) -> None:
    shown = False
    for place, bounds in zip(x, places, strict=True):
        if bounds.known:
            found = over_seeds(bounds.low)
            ends = 2.0 ** np.asarray([[found.low], [found.value], [found.high]])
            look = {"color": color, "marker": marker, "capsize": 2, "markersize": 4.5}
            name = None if shown else label
            axes.errorbar([place], ends[1], yerr=[ends[1] - ends[0], ends[2] - ends[1]], label=name, **look)
            shown = True
            continue
        late = bool(np.isinf(bounds.high).any())
        finite = np.where(np.isfinite(bounds.low), bounds.low, bounds.high)
        axes.plot([place], [2.0 ** finite.mean()], "^" if late else "v", color=color, markersize=6, fillstyle="none")
    if not shown:
        axes.plot([], [], color=color, marker=marker, linestyle="none", label=label)


def _powers_of_two(axes: Axes) -> None:
    """A logarithmic vertical axis with plain numbers at some powers of two; formulas are not drawn in this style."""
    axes.set_yscale("log", base=2)
    lowest, highest = (math.ceil(math.log2(end)) for end in axes.get_ylim())
    powers = range(lowest, highest, max(1, (highest - lowest) // 6))
    axes.set_yticks(
        [2.0**power for power in powers], [f"{2**power:,}" if power >= 0 else f"1/{2**-power:,}" for power in powers]
    )
    axes.minorticks_off()
