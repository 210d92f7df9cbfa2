"""Does the masking unit set the lowest level that is recovered, and does a larger one bring out more of the highest?

``python -m experiments.patch_size --preset smoke|laptop|gpu --out DIR [--resume]``

A transformer is trained on a quadtree of latents with masking units of one to four cells along a side, at several
ratios; its own patch stays at one cell. Scores are those of ``masking_ratio``. Predictions, made before training,
of units at one ratio; only the last is of all ratios:

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

import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.axes import Axes
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
        ratios: masking ratios of squares.
        ratio: the one at which units are compared, and that of strips; among ``ratios``.
        block_ratio: masking ratio of blocks, whose sides all units must divide.
        mechanisms: invertible first.
    """

    fits: QuadtreeFits = dataclasses.field(default_factory=QuadtreeFits)
    units: tuple[int, ...] = (1, 2, 4)
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
    ratio: float = 0.75
    block_ratio: float = 0.25
    mechanisms: tuple[str, ...] = ("invertible",)

    def __post_init__(self) -> None:
        if self.units != tuple(2**i for i in range(len(self.units))) or len(self.units) < 2:
            raise ValueError(f"units must be 1, 2, 4 and so on, at least two of them, got {self.units}")
        if len(self.units) > self.fits.height:
            raise ValueError(f"a unit of {self.units[-1]} cells leaves no unit visible: use a higher quadtree")
        if self.ratio not in self.ratios:
            raise ValueError(f"ratio must be among ratios, got {self.ratio} and {self.ratios}")
        largest = 4**self.fits.height // self.units[-1] ** 2
        impossible = [ratio for ratio in self.ratios if not 0 < round(ratio * largest) < largest]
        if impossible:
            raise ValueError(f"ratios {impossible} hide none or all of the {largest} units of {self.units[-1]} cells")

    @property
    def arms(self) -> list[tuple[str, float, int]]:
        """Strategy, ratio and unit of all arms."""
        squares = [("uniform", ratio, unit) for ratio in self.ratios for unit in self.units]
        strips = [("strip", self.ratio, unit) for unit in self.units[1:]]
        return squares + strips + [("block", self.block_ratio, unit) for unit in self.units]


_TINY = QuadtreeFits(height=2, width=16, depth=1, decoder_width=16, seeds=2, steps=8, batch=8, rows=160, per_height=2)
SMOKE = Config(fits=_TINY, units=(1, 2), ratios=(0.5, 0.75))
LAPTOP = Config(fits=QuadtreeFits(steps=2000))
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
        "ratio": config.ratio,
        "top": config.fits.height,
    }


def _groups(config: Config) -> list[Group]:
    kinds = dict.fromkeys((name, ratio) for name, ratio, _ in config.arms if name != "strip")
    return [
        {"mechanism": mechanism, "strategy": name, "ratio": ratio}
        for mechanism in config.mechanisms
        for name, ratio in kinds
    ]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    mechanism, main = group["mechanism"], group["strategy"] == "uniform" and group["ratio"] == config.ratio
    names = ("uniform", "strip") if main else (group["strategy"],)
    arms = [arm for arm in config.arms if arm[0] in names and arm[1] == group["ratio"]]
    found = trained(config.fits, mechanism, [strategy(config.fits, *arm) for arm in arms], states)
    sample = held_out(config.fits, mechanism)
    records: list[Record] = []
    for (name, ratio, unit), fits in zip(arms, found, strict=True):
        about = {"mechanism": mechanism, "strategy": name, "ratio": ratio, "unit": unit, "of": "trained"}
        records += [record for fit in fits for record in code_records(config.fits, fit, sample, 0.0, **about)]
    if main:
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
    arms = ["strategy", "ratio", "unit"]
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
    units, top, ratio = prediction["units"], prediction["top"], prediction["ratio"]
    steps = list(itertools.pairwise(units))

    def of(unit: int, height: int, **where: Any) -> Frame:
        """Scores of the noise of a height; of the root's values, which are its noise."""
        about = {"mechanism": "invertible", "strategy": "uniform", "unit": unit, "height": height, "part": "noise"}
        at = {} if where.get("strategy") == "block" else {"ratio": ratio}  # blocks have one ratio of their own
        return per_seed(records, **{**about, "of": "trained", **at, **where})

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
            f"untrained encoders hold less of the root than those trained with squares at ratio {ratio:g}",
            {f"unit {unit}": of(unit, top) - of(1, top, of="untrained") for unit in units},
        ),
    ]


# ---------------------------------------------------------------------- figure


def _draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    noise = records[(records["part"] == "noise") & (records["mechanism"] == "invertible")]
    return {"patch_size": _draw_units(noise, prediction), "patch_size_grid": _draw_grid(noise, prediction)}


def _draw_units(noise: Frame, prediction: Prediction) -> Figure:
    """Predicted shares and scores over the unit, at one ratio."""
    figure, panels = figure_with_panels(7.0, 4.8, rows=2, columns=len(_LABELS), sharex=True, sharey=True)
    shares, top, units = pd.DataFrame(prediction["share_in_c"]), prediction["top"], prediction["units"]
    for (predicted, measured), (name, label) in zip(panels.T, _LABELS.items(), strict=True):
        of_shares, of_noise = (_units_of(table, name, prediction["ratio"]) for table in (shares, noise))
        for height in range(top, -1, -1):
            look = height_look(height)
            words = "root" if height == top else "cells" if not height else f"height {height}"
            chosen = of_shares[of_shares["height"] == height].sort_values("unit")
            arm = of_noise[(of_noise["height"] == height) & (of_noise["of"] == "trained")]
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
    return figure


def _units_of(table: Frame, name: str, ratio: float) -> Frame:
    """One strategy's rows at the ratio that is compared; a strip of one cell is a square."""
    if name == "block":
        return table[table["strategy"] == "block"]
    at_ratio = table[table["ratio"] == ratio]
    if name == "uniform":
        return at_ratio[at_ratio["strategy"] == "uniform"]
    return at_ratio[(at_ratio["strategy"] == "strip") | ((at_ratio["strategy"] == "uniform") & (at_ratio["unit"] == 1))]


def _draw_grid(noise: Frame, prediction: Prediction) -> Figure:
    """Squares over ratio and unit: predicted shares above, what training gains below."""
    predicted: Frame = pd.DataFrame(prediction["share_in_c"])
    shares, squares = (table[table["strategy"] == "uniform"] for table in (predicted, noise))
    top = prediction["top"]
    heights = range(1, top + 1)
    figure, panels = figure_with_panels(7.0, 4.4, rows=2, columns=len(heights), sharex=True, sharey=True)
    floors: Frame = squares[squares["of"] == "untrained"].groupby("height")["value"].mean()
    means: Frame = squares[squares["of"] == "trained"].groupby(["height", "unit", "ratio"])["value"].mean()
    gains: Frame = means - floors.reindex(means.index.get_level_values("height")).to_numpy()
    most = max(0.05, float(gains.abs().max()))
    for column, height in zip(panels.T, heights, strict=True):
        share = shares[shares["height"] == height].set_index(["unit", "ratio"])["share"].unstack()
        words = "root" if height == top else f"height {height}"
        _draw_cells(column[0], share, f"{words}: share in c", {"cmap": "Blues", "vmin": 0, "vmax": 1})
        _draw_cells(
            column[1], gains.loc[height].unstack(), "gain in R²", {"cmap": "PuOr_r", "vmin": -most, "vmax": most}
        )
        column[1].set_xlabel("masking ratio")
    for axes in panels[:, 0]:
        axes.set_ylabel("unit (cells)")
    return figure


def _draw_cells(axes: Axes, table: Frame, title: str, look: dict[str, Any]) -> None:
    axes.imshow(table.to_numpy(), origin="lower", aspect="auto", **look)
    strongest = max(abs(look["vmin"]), abs(look["vmax"]))
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        dark = abs(value) > 0.6 * strongest
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axes.set_xticks(range(len(table.columns)), [f"{ratio:g}" for ratio in table.columns])
    axes.set_yticks(range(len(table.index)), [f"{unit}" for unit in table.index])
    axes.set_title(title, fontsize=9)


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
