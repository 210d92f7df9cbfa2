"""Is the highest latent recovered best at a masking ratio in the middle, and if so, why?

``python -m experiments.masking_ratio --preset smoke|laptop|gpu --out DIR [--resume]``

A transformer is trained on a quadtree of latents at several masking ratios. The score is the R² of kernel regression
from the mean token, of the values of variables and of the noise that enters at each height. Predictions, made before
training:

1. In the invertible regime the root is in the shared information ``c`` at every ratio, so theory sees no optimum. The
   paper does: its tables are best at 0.75.
2. Lower latents are in ``c`` most often at a ratio of 1/2, cells never. So what enters at height 1 should be best at
   1/2; the paper's words (extreme ratios give low-level representations) say that it gains towards both ends.
3. Availability is no reason for an optimum here: one visible cell determines the root, at any ratio.
4. If the mismatch between training on masked and scoring on whole images were the reason, an encoder would be at least
   as good as others on images masked as in its own training.
5. If too short training were the reason, differences between ratios would shrink as training goes on.
6. With linear mechanisms, all else equal, the ratio should hardly matter for the root.
7. Masks of the whole subtrees of the root's children never have one of these children in ``c``, uniform ones nearly
   always: less of what enters there should be found.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from experiments.command import command
from experiments.experiment import Experiment, Group, Prediction, Record, Results, conduct
from experiments.findings import Finding, Frame
from experiments.quadtree_fits import (
    QuadtreeFits,
    available,
    claim_of_differences,
    code_records,
    draw_over_seeds,
    held_out,
    input_records,
    per_seed,
    separated_at,
    shares_in_c,
    strategy,
    trained,
)
from hlvm.plotting.style import COLORS, figure_with_panels, height_look

__all__ = ["EXPERIMENT", "GPU", "LAPTOP", "SMOKE", "Config", "main", "run"]

_TOLERANCE = 0.03
"""Differences of R² up to this count as none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        fits: sizes of training and scoring.
        ratios: masking ratios of the invertible regime, uniform masks.
        middle: the ratio where the paper's tables are best; among ``ratios``.
        ends: the two ratios that it is compared with, or twice the same one; among ``ratios``.
        half: the ratio at which lower latents are in ``c`` most often; among ``ratios``.
        shorter: training is repeated this many times shorter at ``middle`` and ``ends``.
        strategies: other strategies, in the invertible regime.
        strategy_ratios: their ratios; among ``ratios``.
        views: masking ratios at which images are encoded for scoring, 0 for whole images. The invertible regime has
            all of them, the other arms the first.
    """

    fits: QuadtreeFits = dataclasses.field(default_factory=QuadtreeFits)
    ratios: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    middle: float = 0.75
    ends: tuple[float, float] = (0.1, 0.95)
    half: float = 0.5
    shorter: int = 4
    strategies: tuple[str, ...] = ("block", "subtree")
    strategy_ratios: tuple[float, ...] = (0.25, 0.75)
    views: tuple[float, ...] = (0.0, 0.1, 0.75, 0.95)

    def __post_init__(self) -> None:
        missing = {self.middle, self.half, *self.ends, *self.strategy_ratios} - set(self.ratios)
        if missing:
            raise ValueError(f"ratios must hold middle, half, ends and strategy_ratios; {sorted(missing)} are missing")
        if self.views[0] != 0 or not {self.middle, *self.ends} <= set(self.views):
            raise ValueError(f"views must begin with 0 and hold middle and ends, got {self.views}")

    @property
    def few(self) -> tuple[float, ...]:
        """Ratios of all arms but the first."""
        return tuple(dict.fromkeys((self.ends[0], self.middle, self.ends[1])))


_TINY = QuadtreeFits(height=2, width=16, depth=1, decoder_width=16, seeds=2, steps=8, batch=8, rows=160, per_height=2)
SMOKE = Config(
    fits=_TINY,
    ratios=(0.25, 0.75),
    ends=(0.25, 0.25),
    half=0.25,
    views=(0.0, 0.25, 0.75),
    strategy_ratios=(0.75,),
)
LAPTOP = Config()
GPU = Config(
    fits=QuadtreeFits(
        width=128, depth=6, decoder_width=64, seeds=10, steps=30_000, batch=256, rows=1600, per_height=16
    ),
    ratios=(0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95),
    strategy_ratios=(0.25, 0.5, 0.75),
)

# ---------------------------------------------------------------------- theory


def _predict(config: Config) -> Prediction:
    graph, top = config.fits.graph, config.fits.height
    arms = [("uniform", ratio) for ratio in config.ratios]
    arms += list(itertools.product(config.strategies, config.strategy_ratios))
    heights = range(1, top + 1)
    return {
        "share_in_c": [
            {"strategy": name, "ratio": ratio, "height": height, "share": round(share, 5)}
            for name, ratio in arms
            for height, share in zip(heights, shares_in_c(graph, strategy(config.fits, name, ratio)), strict=True)
        ],
        "uniform": [
            {
                "ratio": ratio,
                "height": height,
                "available": round(available(4**top, 4**height, ratio), 5),
                "separated_at": round(separated_at(height, top, ratio), 5),
            }
            for ratio in config.ratios
            for height in heights
        ],
        "middle": config.middle,
        "ends": list(config.ends),
        "steps": [config.fits.steps // config.shorter, config.fits.steps],
        "half": config.half,
        "strategy_ratio": config.strategy_ratios[-1],
        "top": top,
    }


# ---------------------------------------------------------------------- measurement


def _groups(config: Config) -> list[Group]:
    steps = config.fits.steps
    arms = [("invertible", ratio, steps) for ratio in config.ratios]
    arms += [("invertible", ratio, steps // config.shorter) for ratio in config.few]
    arms += [(mechanism, ratio, steps) for mechanism in ("linear", "noisy") for ratio in config.few]
    return [{"mechanism": mechanism, "ratio": ratio, "steps": n} for mechanism, ratio, n in arms]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    mechanism, ratio, steps = group["mechanism"], group["ratio"], group["steps"]
    main = mechanism == "invertible" and steps == config.fits.steps
    names = ["uniform"]
    if main and ratio in config.strategy_ratios:
        names += config.strategies
    arms = trained(config.fits, mechanism, [strategy(config.fits, name, ratio) for name in names], states, steps=steps)
    sample = held_out(config.fits, mechanism)
    records: list[Record] = []
    for name, fits in zip(names, arms, strict=True):
        about = {**group, "strategy": name, "of": "trained"}
        views = config.views if main and name == "uniform" else config.views[:1]
        records += [r for fit in fits for view in views for r in code_records(config.fits, fit, sample, view, **about)]
    if ratio == config.middle and steps == config.fits.steps:
        about = {"mechanism": mechanism, "ratio": ratio, "steps": 0, "strategy": "uniform"}
        for fit, view in itertools.product(arms[0], config.views):
            records += code_records(config.fits, fit.untrained(), sample, view, **about, of="untrained")
            if view or fit.seed == 0:
                records += input_records(config.fits, fit.seed, sample, view, **about, of="visible")
    return records


# ---------------------------------------------------------------------- verdicts


def _judge(records: Frame, prediction: Prediction) -> list[Finding]:
    middle, half, ends = prediction["middle"], prediction["half"], prediction["ends"]
    top, (short, long), ratio = prediction["top"], prediction["steps"], prediction["strategy_ratio"]
    low, high = ends

    def of(ratio: float, *, height: int | None = None, **where: Any) -> Frame:
        """Scores of the root, or of the noise of a height, where nothing else is said after all steps, whole images."""
        about = {"mechanism": "invertible", "strategy": "uniform", "steps": long, "of": "trained", "view": 0.0}
        part = {"height": top, "part": "value"} if height is None else {"height": height, "part": "noise"}
        return per_seed(records, **{**about, **part, "ratio": ratio, **where})

    def lead(end: float, **where: Any) -> Frame:
        return of(middle, **where) - of(end, **where)

    def leads(**where: Any) -> dict[str, Frame]:
        return {f"{middle} − {end}": lead(end, **where) for end in ends}

    visible = {view: of(middle, of="visible", steps=0, view=view) for view in (middle, high)}
    floor = {height: of(middle, of="untrained", steps=0, height=height) for height in (1, 0)}
    found = [
        claim_of_differences(
            f"{mechanism} mechanisms: the root is found better at ratio {middle} than at {low} and at {high}",
            leads(mechanism=mechanism),
            paper="yes: its tables are best at 0.75",
            theory=theory,
        )
        for mechanism, theory in (("invertible", "no reason for it: in c at every ratio"), ("noisy", ""))
    ]
    found.append(
        claim_of_differences(
            f"availability explains the fall from {middle} to {high}: visible cells lose as much of the root as codes",
            {"cells − codes": visible[middle] - visible[high] - lead(high)},
            theory="no: one visible cell determines the root",
        )
    )
    found += [
        claim_of_differences(
            f"mismatch explains the lead of {middle} over {end}: on images masked at {end} it is at most {_TOLERANCE}",
            {f"{middle} − {end}": lead(end, view=end)},
            low=-math.inf,
            high=_TOLERANCE,
        )
        for end in ends
    ]
    found += [
        claim_of_differences(
            f"training time explains the lead of {middle} over {end}: it shrinks from {short} to {long} steps",
            {f"{short} − {long} steps": lead(end, steps=short) - lead(end)},
        )
        for end in ends
    ]
    found.append(
        claim_of_differences(
            f"linear mechanisms: the ratio changes the root's score by at most {_TOLERANCE}",
            leads(mechanism="linear"),
            low=-_TOLERANCE,
            high=_TOLERANCE,
            theory="yes",
        )
    )
    found += [
        claim_of_differences(
            f"nonlinearity enlarges the lead of {middle} over {end}",
            {"invertible − linear": lead(end) - lead(end, mechanism="linear")},
            theory="yes",
        )
        for end in ends
    ]
    return [
        *found,
        claim_of_differences(
            f"what enters at height 1 is found better at ratio {half} than at {low} and at {high}",
            {f"{half} − {end}": of(half, height=1) - of(end, height=1) for end in ends},
            theory="yes: in c most often there",
        ),
        claim_of_differences(
            f"ratio {high} brings out more of what enters at heights 1 and 0 than {middle}",
            {f"height {height}": -lead(high, height=height) for height in (1, 0)},
            paper="yes: extreme ratios give low levels",
            theory="no: in c less often",
        ),
        claim_of_differences(
            f"training at {middle} throws away what enters at heights 1 and 0: untrained encoders hold more",
            {f"height {height}": floor[height] - of(middle, height=height) for height in (1, 0)},
        ),
        claim_of_differences(
            f"ratio {ratio}: masks of the root's subtrees bring out less of what enters just below the root",
            {"uniform − subtree": of(ratio, height=top - 1) - of(ratio, height=top - 1, strategy="subtree")},
            theory="yes: never in c",
        ),
        claim_of_differences(
            f"ratio {ratio}: masks of the root's subtrees bring out more of the root than uniform ones",
            {"subtree − uniform": of(ratio, strategy="subtree") - of(ratio)},
            paper="yes: random masks are a poor tool",
        ),
        claim_of_differences(
            f"ratio {ratio}: blocks bring out more of the root than uniform masks",
            {"block − uniform": of(ratio, strategy="block") - of(ratio)},
        ),
    ]


# ---------------------------------------------------------------------- figures


def _draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    return {
        "masking_ratio": _draw_heights(records, prediction),
        "masking_ratio_causes": _draw_causes(records, prediction),
    }


def _draw_heights(records: Frame, prediction: Prediction) -> Figure:
    figure, panels = figure_with_panels(7.0, 3.0, columns=3, sharey=True)
    top, long = prediction["top"], prediction["steps"][1]
    share = pd.DataFrame(prediction["share_in_c"]).query("strategy == 'uniform'")
    for height in range(top, 0, -1):
        of_height = share[share["height"] == height]
        panels[0, 0].plot(of_height["ratio"], of_height["share"], label=f"height {height}", **height_look(height))
    panels[0, 0].plot(sorted(share["ratio"].unique()), [0] * share["ratio"].nunique(), **height_look(0))
    panels[0, 0].set(title="predicted", ylabel="share in c", ylim=(-0.05, 1.05))
    whole = records[(records["view"] == 0) & (records["strategy"] == "uniform") & (records["part"] == "noise")]
    for axes, mechanism in zip(panels[0, 1:], ("invertible", "noisy"), strict=True):
        arm = whole[whole["mechanism"] == mechanism]
        for height in range(top, -1, -1):
            of_height = arm[arm["height"] == height]
            trained_ones = of_height[(of_height["of"] == "trained") & (of_height["steps"] == long)]
            label = "root" if height == top else "cells" if not height else f"height {height}"
            draw_over_seeds(axes, trained_ones, "ratio", label, **height_look(height))
            floor = of_height[of_height["of"] == "untrained"]["value"].mean()
            axes.axhline(floor, color=height_look(height)["color"], linewidth=0.9, linestyle=":")
        axes.set(title=f"measured, {mechanism}")
    panels[0, 1].set(ylabel="R² of what enters at a height")
    for axes in panels[0]:
        axes.set(xlabel="masking ratio", xlim=(0, 1))
    handles, labels = panels[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=top + 1)
    return figure


def _draw_causes(records: Frame, prediction: Prediction) -> Figure:
    figure, panels = figure_with_panels(7.0, 5.4, rows=2, columns=2, sharey=True)
    long = prediction["steps"][1]
    root = records[(records["height"] == prediction["top"]) & (records["part"] == "value")]
    root = root[root["strategy"] == "uniform"]
    main = root[(root["mechanism"] == "invertible") & (root["of"] == "trained")]
    looks = [
        {"color": COLORS[color], "marker": marker, "linestyle": line}
        for color, marker, line in zip(
            ("blue", "orange", "green", "vermilion"), "osD^", ("-", "--", "-.", ":"), strict=True
        )
    ]
    availability, mismatch, training, linearity = panels.ravel()
    visible = root[(root["mechanism"] == "invertible") & (root["of"] == "visible") & (root["view"] > 0)]
    draw_over_seeds(availability, visible, "view", "visible cells themselves", **looks[3])
    full = main[main["steps"] == long]
    draw_over_seeds(availability, full[full["view"] == 0], "ratio", "codes of whole images", **looks[0])
    availability.set(title="availability")
    for view, look in zip(sorted(full["view"].unique()), looks, strict=False):
        label = f"images masked at {view:g}" if view else "whole images"
        draw_over_seeds(mismatch, full[full["view"] == view], "ratio", label, **look)
    mismatch.set(title="mismatch")
    for steps, look in zip(prediction["steps"][::-1], looks, strict=False):
        chosen = main[(main["steps"] == steps) & (main["view"] == 0)]
        draw_over_seeds(training, chosen, "ratio", f"{steps} steps", **look)
    training.set(title="training time")
    at_end = root[(root["of"] == "trained") & (root["steps"] == long) & (root["view"] == 0)]
    for mechanism, look in zip(("invertible", "linear", "noisy"), looks, strict=False):
        draw_over_seeds(linearity, at_end[at_end["mechanism"] == mechanism], "ratio", mechanism, **look)
        untrained = root[(root["of"] == "untrained") & (root["mechanism"] == mechanism) & (root["view"] == 0)]
        linearity.axhline(untrained["value"].mean(), color=look["color"], linewidth=0.9, linestyle=":")
    linearity.set(title="mechanisms")
    low, high = linearity.get_ylim()  # shared by all; room for legends above and below
    linearity.set(ylim=(low - 0.2 * (high - low), high + 0.15 * (high - low)))
    for axes in panels.ravel():
        axes.set(xlabel="masking ratio", xlim=(0, 1))
        axes.legend(fontsize=8, loc="lower left")
    linearity.legend(fontsize=8, loc="upper center", ncols=3)
    for axes in panels[:, 0]:
        axes.set(ylabel="R² of the root")
    return figure


EXPERIMENT = Experiment(
    name="masking_ratio",
    title="Masking ratio",
    question="Is the highest latent recovered best at a masking ratio in the middle, and if so, why?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=_predict,
    groups=_groups,
    measure=_measure,
    judge=_judge,
    draw=_draw,
)


def run(config: Config = LAPTOP, **where: Any) -> Results:
    """Carry it out; ``where`` as for :func:`experiments.experiment.conduct`."""
    return conduct(EXPERIMENT, config, **where)


def main() -> None:
    """Run the command line."""
    raise SystemExit(command("masking_ratio"))


if __name__ == "__main__":
    main()
