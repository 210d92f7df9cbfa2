"""The figure of mask design: what codes hold of their targets, and what each arm of the transformer changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.experiment import Prediction
from experiments.findings import Frame, means_over_seeds
from experiments.mask_design_claims import ARMS, CLAIMS, DESIGNED, gains_over_middle, heights_at
from hlvm.plotting.style import COLORS, figure_with_panels, height_look


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """What codes of d_c numbers hold of their target, and what each arm of the transformer changes, by height."""
    figure, ((left, right),) = figure_with_panels(7.2, 3.3, 1, 2, width_ratios=(1, 1.25))
    _draw_targets(left, records, prediction)
    _draw_gains(right, records)
    return {"mask_design": figure}


def _draw_targets(axes: Any, records: Frame, prediction: Prediction) -> None:
    names = list(prediction["targets"])
    random = [arm for arm in next(iter(prediction["targets"].values()))["shares"] if arm.startswith("random ")]
    markers = dict(zip([DESIGNED, *random, "untrained"], "oDs^vP", strict=False))
    colors = [COLORS[name] for name in ("vermilion", "blue", "sky", "green", "purple", "orange")]
    cells = means_over_seeds(records[records["learner"] == "bottleneck"], ["target", "arm", "view", "score"])
    forward = cells[cells["score"] == "code -> c"].sort_values("mean").groupby(["target", "arm"]).last()
    floor = cells[(cells["score"] == "untrained code -> c") & (cells["arm"] == DESIGNED)].set_index("target")
    for number, (arm, marker) in enumerate(markers.items()):
        rows = floor.loc[names] if arm == "untrained" else forward.loc[[(name, arm) for name in names]]
        color = COLORS["grey"] if arm == "untrained" else colors[number]
        places = np.arange(len(names)) + 0.16 * (number - (len(markers) - 1) / 2)
        axes.errorbar(
            rows["mean"], places, xerr=(rows["mean"] - rows["low"], rows["high"] - rows["mean"]), fmt=marker,
            color=color, markersize=5, capsize=2, linewidth=1, label=arm,
        )  # fmt: skip
    axes.axvline(1.0, color=COLORS["black"], linewidth=0.8, linestyle=":", label="designed, predicted")
    labels = [f"{name}\nd_c = {prediction['targets'][name]['d_c']}" for name in names]
    axes.set_yticks(np.arange(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("R² of the target, given a code of d_c numbers")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.28), ncols=2, fontsize=8)


def _draw_gains(axes: Any, records: Frame) -> None:
    gains = gains_over_middle(records)
    arms = [arm for arm in ARMS if arm != "middle ratio"]
    heights = sorted(gains["height"].unique())
    cells = means_over_seeds(gains, ["arm", "height"], "gain").set_index(["arm", "height"])
    axes.axhline(0.0, color=COLORS["black"], linewidth=0.8)
    room = cells["high"].max() - cells["low"].min()
    levels = [cells["high"].max() + share * room for share in (0.1, 0.2)]
    for height in heights:
        looks = height_look(int(height))
        rows = cells.loc[[(arm, height) for arm in arms]]
        places = np.arange(len(arms)) + 0.2 * (heights.index(height) - (len(heights) - 1) / 2)
        axes.errorbar(
            places, rows["mean"], yerr=(rows["mean"] - rows["low"], rows["high"] - rows["mean"]), linestyle="none",
            capsize=2, markersize=5, linewidth=1, label=f"height {height}", **looks,
        )  # fmt: skip
        for claim in CLAIMS:
            if claim.than == "middle ratio" and height in heights_at(gains, claim.where):
                place = places[arms.index(claim.arm)]
                for level, sign in zip(levels, (claim.theory_sign, claim.paper_sign), strict=True):
                    axes.plot([place] * abs(sign), [level] * abs(sign), "^" if sign > 0 else "v", color=looks["color"])
    for source, level in zip(("theory", "paper"), levels, strict=True):
        axes.text(-0.75, level, source, va="center", fontsize=8)
    axes.set_xlim(-0.8, len(arms) - 0.5)
    axes.set_xticks(np.arange(len(arms)), [arm.replace(" ", "\n", 1) for arm in arms])
    axes.set_ylabel("R² of own noises,\nabove that at the middle ratio")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=len(heights), fontsize=8)
