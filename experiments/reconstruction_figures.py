"""Figures of the reconstruction experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.drawing import draw_over_seeds, legend_below, mark_units
from experiments.experiment import Frame, Prediction
from experiments.image_quality import METRICS
from hlvm.plotting import COLORS, figure_with_panels

_LOOKS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("trained", "whole image"): {"color": COLORS["blue"], "marker": "o", "label": "nothing masked"},
    ("trained", "visible part"): {
        "color": COLORS["orange"],
        "marker": "s",
        "label": "masked part, at ratio of training",
    },
    ("mean image", "whole image"): {"color": COLORS["black"], "linestyle": ":", "label": "mean image"},
    ("untrained", "whole image"): {"color": COLORS["grey"], "linestyle": "--", "marker": "x", "label": "untrained"},
}
_LABELS = {"MSE": "MSE (lower is better)", "PSNR": "PSNR (dB)", "SSIM": "SSIM", "FSIM": "FSIM"}
_ARROWS: Mapping[str, Mapping[str, tuple[tuple[float, float, int], ...]]] = {
    "ratio": {
        "MSE": ((0.75, 0.9, -1),),
        "PSNR": ((0.75, 0.9, 1),),
        "SSIM": ((0.1, 0.75, 1),),
        "FSIM": ((0.1, 0.75, 1),),
    },
    "unit": {"MSE": ((1, 4, 1),), "PSNR": ((1, 4, -1),), "SSIM": ((1, 4, 1),), "FSIM": ((1, 4, 1),)},
}
"""What the paper says of each metric: from, to, up or down."""


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Every metric over ratio and unit, beside the directions that the paper reports; and one image of every arm."""
    return {"metrics": _draw_metrics(records, prediction), "pictures": _draw_pictures(records, prediction)}


def _draw_pictures(records: Frame, prediction: Prediction) -> Figure:
    """One held-out image: what the encoder sees in training, what is made of it, and of the whole image."""
    rows = {"input": "masked", "visible part": "masked part\nreconstructed", "whole image": "nothing\nmasked"}
    pictures = records[records["score"] == "picture"]
    cells = list(dict.fromkeys(zip(pictures["ratio"], pictures["unit"], strict=True)))
    figure, panels = figure_with_panels(7.2, 3.1, len(rows), len(cells))
    for (seen, label), row in zip(rows.items(), panels, strict=True):
        row[0].set_ylabel(label, fontsize=8.5)
        for axes, (ratio, unit) in zip(row, cells, strict=True):
            found = pictures[
                (pictures["seen"] == seen) & np.isclose(pictures["ratio"], ratio) & (pictures["unit"] == unit)
            ]
            pixels = np.frombuffer(bytes.fromhex(found["pixels"].iloc[0]), np.uint8).reshape(prediction["shape"])
            axes.imshow(pixels.squeeze(), cmap="gray")
            axes.set(xticks=[], yticks=[])
            if seen == "input":
                axes.set_title(f"ratio {ratio:g}\nunit {unit}", fontsize=8.5)
    return figure


def _draw_metrics(records: Frame, prediction: Prediction) -> Figure:
    figure, panels = figure_with_panels(7.2, 4.6, 2, len(METRICS))
    series = {"ratio": ("unit", prediction["unit"]), "unit": ("ratio", prediction["ratio"])}
    for row, (over, (fixed, value)) in zip(panels, series.items(), strict=True):
        part = records[np.isclose(records[fixed], value)]
        for axes, metric in zip(row, METRICS, strict=True):
            _panel(axes, part[part["score"] == metric], over)
            axes.set(title=_LABELS[metric] if over == "ratio" else "")
            _arrows(axes, _ARROWS[over][metric], prediction[f"{over}s"])
            axes.set(xlabel="masking ratio" if over == "ratio" else "unit (patches)")
    panels[0, 0].plot([], [], color=COLORS["vermilion"], marker=">", markersize=5, label="paper, nothing masked")
    legend_below(figure, panels[0, 0], 3)
    return figure


def _panel(axes: Axes, records: Frame, over: str) -> None:
    for (source, seen), look in _LOOKS.items():
        part = records[(records["source"] == source) & (records["seen"] == seen)]
        draw_over_seeds(axes, part, over, **look)
    if over == "unit":
        mark_units(axes, sorted(records[over].unique()))


def _arrows(axes: Axes, arrows: tuple[tuple[float, float, int], ...], grid: list[float]) -> None:
    """The paper's directions, above the curves."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.22 * (high - low))
    for start, end, sign in arrows:
        if start not in grid or end not in grid:
            continue
        heights = (0.86, 0.96) if sign > 0 else (0.96, 0.86)
        axes.annotate(
            "",
            xy=(end, heights[1]),
            xytext=(start, heights[0]),
            xycoords=axes.get_xaxis_transform(),
            arrowprops={"arrowstyle": "-|>", "color": COLORS["vermilion"], "linewidth": 1.4},
        )
