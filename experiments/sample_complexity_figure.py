"""The figure of the sample complexity: recovery over the number of samples, as it is and divided by each scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.experiment import Prediction
from experiments.findings import Frame, means_over_seeds
from experiments.sample_complexity_claims import LEVEL, SCALES, TARGETS, crossings, recoveries
from hlvm.plotting.style import COLORS, figure_with_panels

_LOOKS = tuple(zip(("blue", "vermilion", "green", "purple", "orange", "black"), "osD^vP", strict=True))
_LABELS = ("training samples P", "P / (n_c m^L)\nsupervised scale", "P / (n_c m^(2L-1))\npredicted scale")


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Recovery over the number of samples; where a scale is right, the curves of its column fall upon each other.

    The band is as wide as a collapse allows, in the middle between the smallest and the largest P*.
    """
    figure, panels = figure_with_panels(7.2, 4.4, len(TARGETS), len(SCALES), sharex="col", sharey=True)
    found = recoveries(records)
    for row, target in zip(panels, TARGETS, strict=True):
        own = found[found["score"] == target]
        cells = means_over_seeds(own, ["grammar", "samples"], "recovery").sort_values("samples")
        places = _known_places(records, target)
        for axes, scale in zip(row, SCALES, strict=True):
            rescaled = {name: place - math.log2(prediction["scales"][name][scale]) for name, place in places.items()}
            if rescaled:
                middle = (min(rescaled.values()) + max(rescaled.values())) / 2
                half = math.log2(prediction["factor"]) / 2
                axes.axvspan(2 ** (middle - half), 2 ** (middle + half), color=COLORS["pale"], linewidth=0)
            for (name, scales), (color, marker) in zip(prediction["scales"].items(), _LOOKS, strict=False):
                of = cells[cells["grammar"] == name]
                axes.errorbar(
                    of["samples"] / scales[scale], of["mean"], yerr=(of["mean"] - of["low"], of["high"] - of["mean"]),
                    color=COLORS[color], marker=marker, markersize=4, linewidth=1, capsize=2, label=name,
                )  # fmt: skip
            for height in (0.0, LEVEL, 1.0):
                axes.axhline(height, color=COLORS["grey"], linewidth=0.8, linestyle="--" if height == LEVEL else ":")
        row[0].set_ylabel(f"recovery of\n{target}")
    for axes, scale, label in zip(panels[-1], SCALES, _LABELS, strict=True):
        axes.set_xlabel(label)
        _powers_of_two(axes, [size / prediction["scales"][name][scale] for name, size in _sizes(found)])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return {"sample_complexity": figure}


def _known_places(records: Frame, target: str) -> dict[str, float]:
    """Mean of log2 P* over draws, for grammars where it is known in all."""
    low, high = crossings(records, target)
    return {name: low[name].mean() for name in low.columns if np.isfinite([low[name], high[name]]).all()}


def _sizes(found: Frame) -> list[tuple[str, int]]:
    return list(found[["grammar", "samples"]].drop_duplicates().itertuples(index=False, name=None))


def _powers_of_two(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers at some powers of two; formulas are not drawn in this style."""
    axes.set_xscale("log", base=2)
    lowest, highest = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    powers = range(lowest, highest + 1, max(1, (highest - lowest) // 3))
    axes.set_xticks([2.0**power for power in powers], [f"{2**p}" if p >= 0 else f"1/{2**-p}" for p in powers])
    axes.minorticks_off()
