"""Does the masking unit set the lowest level that is recovered, and does a larger one bring out more of the highest?

A transformer is trained on a quadtree of latents with masking units of one to four cells along a side, at several
ratios; its own patch stays at one cell. Scores are those of ``masking_ratio``.

Predicted before training: docs/experiments/patch_size.md.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.command import command
from experiments.drawing import heat_map, mark_units
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.quadtree_figures import draw_heights, height_words, label_rows
from experiments.quadtree_fits import (
    COMPARED,
    MARGIN,
    RANK_MARGIN,
    TINY,
    Arm,
    QuadtreeFits,
    code_records,
    gains_by_training,
    per_seed,
    share_stance,
    share_table,
    shares_by_arm,
    telling_heights,
    trained,
)
from hlvm.claims import SILENT, Claim, mean_claim, nothing, ordering_claim, rank_correlations, yes
from hlvm.plotting import figure_with_panels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        fits: sizes of training and scoring.
        units: sides of the masking unit in cells, increasing, each twice the one before; the first is 1.
        ratios: masking ratios of squares.
        ratio: the one at which units are compared, and that of strips; among ``ratios``.
        block_ratio: masking ratio of blocks, whose sides all units must divide.
        noisy_ratios: ratios of squares with noisy mechanisms, none or such that ``ratio`` is among them; with strips.
    """

    fits: QuadtreeFits = dataclasses.field(default_factory=QuadtreeFits)
    units: tuple[int, ...] = (1, 2, 4)
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
    ratio: float = 0.75
    block_ratio: float = 0.25
    noisy_ratios: tuple[float, ...] = (0.75,)

    def __post_init__(self) -> None:
        if self.units != tuple(2**i for i in range(len(self.units))) or len(self.units) < 2:
            raise ValueError(f"units must be 1, 2, 4 and so on, at least two of them, got {self.units}")
        if len(self.units) > self.fits.height:
            raise ValueError(f"a unit of {self.units[-1]} cells leaves no unit visible: use a higher quadtree")
        if self.ratio not in self.ratios:
            raise ValueError(f"ratio must be among ratios, got {self.ratio} and {self.ratios}")
        if self.noisy_ratios and not {self.ratio} <= set(self.noisy_ratios) <= set(self.ratios):
            raise ValueError(f"noisy_ratios must hold ratio={self.ratio} and be among ratios, got {self.noisy_ratios}")
        largest = 4**self.fits.height // self.units[-1] ** 2
        impossible = [ratio for ratio in self.ratios if not 0 < round(ratio * largest) < largest]
        if impossible:
            raise ValueError(f"ratios {impossible} hide none or all of the {largest} units of {self.units[-1]} cells")

    def arms(self, mechanism: str = "invertible") -> list[Arm]:
        """Strategy, ratio and unit of all arms."""
        noisy = mechanism == "noisy"
        squares = [
            ("uniform", ratio, unit) for ratio in (self.noisy_ratios if noisy else self.ratios) for unit in self.units
        ]
        if noisy and not squares:
            return []
        strips = [("strip", self.ratio, unit) for unit in self.units[1:]]
        return squares + strips + ([] if noisy else [("block", self.block_ratio, unit) for unit in self.units])


SMOKE = Config(fits=TINY, units=(1, 2), ratios=(0.5, 0.75))
LAPTOP = Config(fits=QuadtreeFits(steps=2000))
GPU = Config(
    fits=QuadtreeFits(
        height=4, width=128, depth=6, decoder_width=64, generators=10, steps=30_000, batch=256, per_height=16
    ),
    units=(1, 2, 4, 8),
    noisy_ratios=(0.25, 0.5, 0.75),
)


def _predict(config: Config) -> Prediction:
    return {
        "share_in_c": share_table(config.fits, {mechanism: config.arms(mechanism) for mechanism in COMPARED}),
        "units": list(config.units),
        "ratio": config.ratio,
        "top": config.fits.height,
    }


def _groups(config: Config) -> list[Group]:
    return [
        {"mechanism": mechanism, "strategy": name, "ratio": ratio}
        for mechanism in COMPARED
        for name, ratio in dict.fromkeys(arm[:2] for arm in config.arms(mechanism))
        if name != "strip"
    ]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    mechanism, main = group["mechanism"], group["strategy"] == "uniform" and group["ratio"] == config.ratio
    names = ("uniform", "strip") if main else (group["strategy"],)
    arms = [arm for arm in config.arms(mechanism) if arm[0] in names and arm[1] == group["ratio"]]
    records: list[Record] = []
    for _, scorer, arm, fit in trained(config.fits, mechanism, arms, states):
        name, ratio, unit = arm
        about = {"mechanism": mechanism, "strategy": name, "ratio": ratio, "unit": unit}
        records += code_records(scorer, fit, **about, of="trained")
        if main and arm == arms[0]:
            records += code_records(scorer, fit.untrained(), **about, of="untrained")
    return records


# ---------------------------------------------------------------------- verdicts


def mean_rank_correlations(records: Frame, prediction: Prediction, mechanism: str = "invertible") -> np.ndarray:
    """Spearman's correlation over arms of a height's share in ``c`` with what training gains of the noise there.

    Returns:
        Of every seed the mean over the heights between cells and root whose share differs; empty if there are none.
    """
    found = telling_heights(gains_by_training(records, mechanism), shares_by_arm(prediction).loc[mechanism])
    between = [rank_correlations(*pair) for height, pair in found.items() if 0 < height < prediction["top"]]
    return np.mean(between, axis=0) if between else np.zeros(0)


def _of(records: Frame, prediction: Prediction, unit: int, height: int, **where: Any) -> Frame:
    """Scores of the noise of a height; of the root's values, which are its noise."""
    about = {"mechanism": "invertible", "strategy": "uniform", "unit": unit, "height": height, "part": "noise"}
    at = {} if where.get("strategy") == "block" else {"ratio": prediction["ratio"]}  # blocks have a ratio of their own
    return per_seed(records, **{**about, "of": "trained", **at, **where})


def _inside(records: Frame, prediction: Prediction, mechanism: str) -> dict[str, Frame]:
    """What is lost of a height when its latents come to lie inside one unit."""
    return {
        f"height {height}, unit {a} − {b}": _of(records, prediction, a, height, mechanism=mechanism)
        - _of(records, prediction, b, height, mechanism=mechanism)
        for height, (a, b) in enumerate(itertools.pairwise(prediction["units"]), start=1)
    }


_INSIDE = yes("a latent inside one unit is never in c")
_RISES = yes("its table rises, though its text says that it falls at the largest")


def _judge(records: Frame, prediction: Prediction) -> list[Claim]:
    units, top, ratio = prediction["units"], prediction["top"], prediction["ratio"]

    def of(unit: int, height: int, **where: Any) -> Frame:
        return _of(records, prediction, unit, height, **where)

    inside = {unit: level for level, unit in enumerate(units)}  # the height whose latents lie inside a unit
    last = units[-1]
    claims = [
        mean_claim(
            "a unit as large as the latents of a height brings out less of what enters there than one half as large",
            _inside(records, prediction, "invertible"),
            theory=_INSIDE,
            margin=MARGIN,
        ),
        mean_claim(
            "strips that cut through the latents of a height bring out more of what enters there than squares",
            {f"height {inside[b]}, unit {b}": of(b, inside[b], strategy="strip") - of(b, inside[b]) for b in units[1:]},
            theory=yes("alignment counts, not area"),
            margin=MARGIN,
        ),
        mean_claim(
            f"blocks in steps of {last} cells bring out less of what enters at height {inside[last]} than at any place",
            {f"step 1 − {last}": of(1, inside[last], strategy="block") - of(last, inside[last], strategy="block")},
            theory=yes("never in c"),
            margin=MARGIN,
        ),
        ordering_claim(
            "the root is found better with larger units, squares at random",
            {f"unit {unit}": of(unit, top) for unit in units},
            paper=_RISES,
            theory=nothing("in c with any unit"),
            margin=MARGIN,
        ),
        _trend("", mean_rank_correlations(records, prediction)),
        mean_claim(
            f"untrained encoders hold less of the root than those trained with squares at ratio {ratio:g}",
            {f"unit {unit}": of(unit, top) - of(1, top, of="untrained") for unit in units},
            margin=MARGIN,
        ),
    ]
    return claims + (_judge_noisy(records, prediction) if "noisy" in set(records["mechanism"]) else [])


def _judge_noisy(records: Frame, prediction: Prediction) -> list[Claim]:
    share = shares_by_arm(prediction).xs(
        ("noisy", "uniform", prediction["ratio"]), level=("mechanism", "strategy", "ratio")
    )
    claims = [
        mean_claim(
            "noisy mechanisms: a unit as large as the latents of a height brings out less of what enters there",
            _inside(records, prediction, "noisy"),
            theory=_INSIDE,
            margin=MARGIN,
        )
    ]
    for height, (small, unit) in enumerate(itertools.pairwise(prediction["units"]), start=2):
        is_root = height == prediction["top"]
        what = "the root" if is_root else f"what enters at height {height}"
        large_one, small_one = (_of(records, prediction, u, height, mechanism="noisy") for u in (unit, small))
        claims.append(
            mean_claim(
                f"noisy mechanisms: {what} is found better with units as large as its children than with smaller ones",
                {f"height {height}, unit {unit} − {small}": large_one - small_one},
                paper=_RISES if is_root else SILENT,
                theory=share_stance([(share[height, unit], share[height, small])]),
                margin=MARGIN,
            )
        )
    correlations = mean_rank_correlations(records, prediction, "noisy")
    return claims + ([_trend("noisy mechanisms: ", correlations)] if len(correlations) else [])


def _trend(begin: str, correlations: np.ndarray) -> Claim:
    return mean_claim(
        f"{begin}what training gains at a height goes up and down with its share in c",
        {"rank correlation over arms": correlations},
        theory=yes(),
        margin=RANK_MARGIN,
    )


# ---------------------------------------------------------------------- figures

_LABELS = {"uniform": "squares at random", "strip": "strips of equal area", "block": "one block"}


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Over the unit at one ratio, and over ratio and unit."""
    noise = records[records["part"] == "noise"]
    shares: Frame = pd.DataFrame(prediction["share_in_c"])

    def of(mechanism: str) -> tuple[Frame, Frame]:
        return tuple(table[table["mechanism"] == mechanism] for table in (noise, shares))

    figures = {
        "patch_size": _draw_units(*of("invertible"), prediction),
        "patch_size_grid": _draw_grid(*of("invertible"), prediction),
    }
    if "noisy" in set(noise["mechanism"]):
        figures["patch_size_noisy"] = _draw_units(*of("noisy"), prediction)
    return figures


def _draw_units(noise: Frame, shares: Frame, prediction: Prediction) -> Figure:
    """Predicted shares and scores over the unit, at one ratio."""
    labels = {name: label for name, label in _LABELS.items() if name in set(shares["strategy"])}
    width = 7.0 if len(labels) == len(_LABELS) else 5.4
    figure, panels = figure_with_panels(width, 4.8, rows=2, columns=len(labels), sharex=True, sharey=True)
    for (predicted, measured), (name, label) in zip(panels.T, labels.items(), strict=True):
        of_shares, of_noise = (_units_of(table, name, prediction["ratio"]) for table in (shares, noise))
        trained = of_noise[of_noise["of"] == "trained"]
        draw_heights(predicted, measured, of_shares, trained, noise[noise["of"] == "untrained"], "unit")
        predicted.set_title(label)
        mark_units(measured, prediction["units"])
        measured.set_xlabel("step (cells)" if name == "block" else "unit (cells)")
    label_rows(figure, panels, prediction["top"] + 1)
    return figure


def _units_of(table: Frame, name: str, ratio: float) -> Frame:
    """One strategy's rows at the ratio that is compared; a strip of one cell is a square."""
    if name == "block":
        return table[table["strategy"] == "block"]
    at_ratio = table[table["ratio"] == ratio]
    if name == "uniform":
        return at_ratio[at_ratio["strategy"] == "uniform"]
    return at_ratio[(at_ratio["strategy"] == "strip") | ((at_ratio["strategy"] == "uniform") & (at_ratio["unit"] == 1))]


def _draw_grid(noise: Frame, shares: Frame, prediction: Prediction) -> Figure:
    """Squares over ratio and unit: predicted shares above, what training gains below."""
    shares, squares = (table[table["strategy"] == "uniform"] for table in (shares, noise))
    top = prediction["top"]
    heights = range(1, top + 1)
    figure, panels = figure_with_panels(7.0, 4.4, rows=2, columns=len(heights), sharex=True, sharey=True)
    floors: Frame = squares[squares["of"] == "untrained"].groupby("height")["value"].mean()
    means: Frame = squares[squares["of"] == "trained"].groupby(["height", "unit", "ratio"])["value"].mean()
    gains: Frame = means - floors.reindex(means.index.get_level_values("height")).to_numpy()
    most = max(0.05, float(gains.abs().max()))
    for column, height in zip(panels.T, heights, strict=True):
        share = shares[shares["height"] == height].set_index(["unit", "ratio"])["share"].unstack()
        heat_map(column[0], share, origin="lower", cmap="Blues", vmin=0, vmax=1)
        heat_map(column[1], gains.loc[height].unstack(), origin="lower", cmap="PuOr_r", vmin=-most, vmax=most)
        column[0].set_title(f"{height_words(height, top)}: share in c")
        column[1].set_title("gain in R²")
        column[1].set_xlabel("masking ratio")
    for axes in panels[:, 0]:
        axes.set_ylabel("unit (cells)")
        axes.set_yticks(range(len(prediction["units"])), prediction["units"])
    return figure


EXPERIMENT = Experiment(
    name="patch_size",
    title="Masking unit",
    question="Does the masking unit set the lowest level that is recovered, and does a larger one help the highest?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=_predict,
    groups=_groups,
    measure=_measure,
    judge=_judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
