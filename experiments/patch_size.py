"""Does the masking unit set the lowest level that is recovered, and does a larger one bring out more of the highest?

``python -m experiments.patch_size --preset smoke|laptop|gpu --out DIR [--resume]``

A transformer is trained on a quadtree of latents with masking units of one to four cells along a side; its own patch
stays at one cell. Scores are those of ``masking_ratio``. Predictions, made before training:

1. A latent inside one unit is never in the shared information ``c``. So what enters at height 1 is found less with
   units of 2 x 2 cells than with single cells, and what enters at height 2 less with units of 4 x 4 than of 2 x 2.
2. It is the alignment with the latents that counts, not the area: strips of 1 x 4 cells cut through latents of height
   1, and strips of 2 x 8 through those of height 2, which squares of the same area do not.
3. One block of a quarter of the image, at steps of one, two or four cells: at steps of four it is a latent's whole
   subtree, and no latent of height 2 is in ``c``.
4. The root is in ``c`` with any unit, so theory expects no gain for it; the paper's table rises with the unit.
5. Over all arms, what a height gains by training rises and falls with its share in ``c``.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import scipy.stats
from matplotlib.figure import Figure

from experiments.command import command
from experiments.experiment import Experiment, Group, Prediction, Record, Results, conduct
from experiments.findings import Finding, Frame
from experiments.quadtree_fits import (
    QuadtreeFits,
    claim_of_differences,
    code_records,
    draw_over_seeds,
    held_out,
    per_seed,
    shares_in_c,
    strategy,
    trained,
)
from hlvm.plotting.style import figure_with_panels, height_look

__all__ = ["EXPERIMENT", "GPU", "LAPTOP", "SMOKE", "Config", "main", "rank_correlations", "run"]

_LABELS = {"uniform": "squares at random", "strip": "strips of equal area", "block": "one block"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        fits: sizes of training and scoring.
        units: sides of the masking unit in cells, increasing, each twice the one before; the first is 1.
        ratio: masking ratio of squares and strips.
        block_ratio: masking ratio of blocks, whose sides all units must divide.
        mechanisms: invertible first.
    """

    fits: QuadtreeFits = dataclasses.field(default_factory=QuadtreeFits)
    units: tuple[int, ...] = (1, 2, 4)
    ratio: float = 0.75
    block_ratio: float = 0.25
    mechanisms: tuple[str, ...] = ("invertible",)

    def __post_init__(self) -> None:
        if self.units != tuple(2**i for i in range(len(self.units))) or len(self.units) < 2:
            raise ValueError(f"units must be 1, 2, 4 and so on, at least two of them, got {self.units}")
        if len(self.units) > self.fits.height:
            raise ValueError(f"a unit of {self.units[-1]} cells leaves no unit visible: use a higher quadtree")

    @property
    def arms(self) -> list[tuple[str, float, int]]:
        """Strategy, ratio and unit of all arms."""
        squares = [("uniform", self.ratio, unit) for unit in self.units]
        strips = [("strip", self.ratio, unit) for unit in self.units[1:]]
        return squares + strips + [("block", self.block_ratio, unit) for unit in self.units]


_TINY = QuadtreeFits(height=2, width=16, depth=1, decoder_width=16, seeds=2, steps=8, batch=8, rows=160, per_height=2)
SMOKE = Config(fits=_TINY, units=(1, 2))
LAPTOP = Config()
GPU = Config(
    fits=QuadtreeFits(height=4, width=128, depth=6, decoder_width=64, seeds=10, steps=30_000, batch=256, per_height=16),
    units=(1, 2, 4, 8),
    mechanisms=("invertible", "noisy"),
)


def _predict(config: Config) -> Prediction:
    return {
        "share_in_c": [
            {"strategy": name, "ratio": ratio, "unit": unit, "height": height, "share": round(share, 5)}
            for name, ratio, unit in config.arms
            for height, share in enumerate(
                shares_in_c(config.fits.graph, strategy(config.fits, name, ratio, unit)), start=1
            )
        ],
        "units": list(config.units),
        "top": config.fits.height,
    }


def _groups(config: Config) -> list[Group]:
    kinds = (("uniform", "strip"), ("block",))
    return [{"mechanism": name, "strategies": list(kind)} for name in config.mechanisms for kind in kinds]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    mechanism = group["mechanism"]
    arms = [arm for arm in config.arms if arm[0] in group["strategies"]]
    found = trained(config.fits, mechanism, [strategy(config.fits, *arm) for arm in arms], states)
    sample = held_out(config.fits, mechanism)
    records: list[Record] = []
    for (name, ratio, unit), fits in zip(arms, found, strict=True):
        about = {"mechanism": mechanism, "strategy": name, "ratio": ratio, "unit": unit, "of": "trained"}
        records += [record for fit in fits for record in code_records(config.fits, fit, sample, 0.0, **about)]
    if "uniform" in group["strategies"]:
        about = {"mechanism": mechanism, "strategy": "uniform", "ratio": config.ratio, "unit": 1, "of": "untrained"}
        for fit in found[0]:
            records += code_records(config.fits, fit.untrained(), sample, 0.0, **about)
    return records


# ---------------------------------------------------------------------- verdicts


def rank_correlations(records: Frame, prediction: Prediction) -> Frame:
    """Spearman's correlation over arms of a height's share in ``c`` with what training gains of the noise there.

    Returns:
        Seed -> mean over the heights between cells and root.
    """
    noise = records[(records["part"] == "noise") & (records["mechanism"] == "invertible")]
    arms = ["strategy", "unit"]
    shares = pd.DataFrame(prediction["share_in_c"]).set_index(["height", *arms])["share"]
    scores: dict[int, list[float]] = {}
    for (seed, height), cell in noise.groupby(["seed", "height"]):
        if 0 < height < prediction["top"]:
            floor = cell[cell["of"] == "untrained"]["value"].item()
            gains = cell[cell["of"] == "trained"].set_index(arms)["value"] - floor
            found: Any = scipy.stats.spearmanr(shares.loc[height].loc[gains.index], gains)
            scores.setdefault(seed, []).append(float(found.statistic))
    return pd.Series({seed: sum(values) / len(values) for seed, values in scores.items()}, dtype=float)


def _judge(records: Frame, prediction: Prediction) -> list[Finding]:
    units, top = prediction["units"], prediction["top"]
    steps = list(itertools.pairwise(units))

    def of(unit: int, height: int, **where: Any) -> Frame:
        """Scores of the noise of a height; of the root's values, which are its noise."""
        about = {"mechanism": "invertible", "strategy": "uniform", "unit": unit, "height": height, "part": "noise"}
        return per_seed(records, **{**about, "of": "trained", **where})

    inside = {unit: level for level, unit in enumerate(units)}  # the height whose latents lie inside a unit
    last = units[-1]
    return [
        claim_of_differences(
            "a unit as large as the latents of a height brings out less of what enters there than one half as large",
            {f"height {inside[b]}, unit {a} − {b}": of(a, inside[b]) - of(b, inside[b]) for a, b in steps},
            theory="yes: a latent inside one unit is never in c",
        ),
        claim_of_differences(
            "strips that cut through the latents of a height bring out more of what enters there than squares",
            {f"height {inside[b]}, unit {b}": of(b, inside[b], strategy="strip") - of(b, inside[b]) for b in units[1:]},
            theory="yes: alignment counts, not area",
        ),
        claim_of_differences(
            f"blocks in steps of {last} cells bring out less of what enters at height {inside[last]} than at any place",
            {
                f"step 1 − {last}": of(1, inside[last], strategy="block") - of(last, inside[last], strategy="block"),
            },
            theory="yes: never in c",
        ),
        claim_of_differences(
            "the root is found better with larger units, squares at random",
            {f"unit {b} − {a}": of(b, top) - of(a, top) for a, b in steps},
            paper="yes: its table rises, though its text says that it falls at the largest",
            theory="no reason for it: in c with any unit",
        ),
        claim_of_differences(
            "what training gains at a height goes up and down with its share in c",
            {"rank correlation over arms": rank_correlations(records, prediction)},
            theory="yes",
        ),
        claim_of_differences(
            "untrained encoders hold less of the root than any trained one",
            {f"unit {unit}": of(unit, top) - of(1, top, of="untrained") for unit in units},
        ),
    ]


# ---------------------------------------------------------------------- figure


def _draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    figure, panels = figure_with_panels(7.0, 4.8, rows=2, columns=len(_LABELS), sharex=True, sharey=True)
    shares, top, units = pd.DataFrame(prediction["share_in_c"]), prediction["top"], prediction["units"]
    noise = records[(records["part"] == "noise") & (records["mechanism"] == "invertible")]
    for (predicted, measured), (name, label) in zip(panels.T, _LABELS.items(), strict=True):
        kinds = [name, "uniform"] if name == "strip" else [name]  # a strip of one cell is a square
        for height in range(top, -1, -1):
            look = height_look(height)
            words = "root" if height == top else "cells" if not height else f"height {height}"
            chosen: Frame = shares[shares["strategy"].isin(kinds) & (shares["height"] == height)]
            arm = noise[noise["strategy"].isin(kinds) & (noise["height"] == height) & (noise["of"] == "trained")]
            if name == "strip":
                chosen = chosen[(chosen["strategy"] == "strip") | (chosen["unit"] == 1)].sort_values("unit")
                arm = arm[(arm["strategy"] == "strip") | (arm["unit"] == 1)]
            predicted.plot(units, chosen["share"] if height else [0] * len(units), **look)
            draw_over_seeds(measured, arm, "unit", words, **look)
            floor = noise[(noise["of"] == "untrained") & (noise["height"] == height)]["value"].mean()
            measured.axhline(floor, color=look["color"], linewidth=0.9, linestyle=":")
        predicted.set(title=label, xscale="log", ylim=(-0.05, 1.05))
        measured.set_xticks(units, [f"{unit}" for unit in units])
        measured.set_xticks([], minor=True)
        measured.set_xlabel("step (cells)" if name == "block" else "unit (cells)")
    panels[0, 0].set_ylabel("predicted share in c")
    panels[1, 0].set_ylabel("R² of what enters")
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=top + 1)
    return {"patch_size": figure}


EXPERIMENT = Experiment(
    name="patch_size",
    title="Masking unit",
    question="Does the masking unit set the lowest level that is recovered, and does a larger one help the highest?",
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
    raise SystemExit(command("patch_size"))


if __name__ == "__main__":
    main()
