"""Where over ratio, unit and strategy is each height of latents found best, and does it follow what is shared?

``masking_ratio`` varies the ratio and ``patch_size`` the unit; this is their product: every ratio with every unit that
can hide exactly so much, drawn at random or as one block, with invertible and with noisy mechanisms. On a quadtree
squares of 2 x 2 cells are the cells below the latents of height 1, squares of 4 x 4 those of height 2: larger units at
random are whole subtrees at random. Scores are those of ``masking_ratio``, of whole images.

Predicted before training: docs/experiments/masking_grid.md.
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
from experiments.drawing import draw_over_seeds
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.quadtree_figures import draw_floor, height_words
from experiments.quadtree_fits import (
    COMPARED,
    MARGIN,
    RANK_MARGIN,
    SHARES_APART,
    TINY,
    Arm,
    QuadtreeFits,
    code_records,
    gains_by_training,
    share_stance,
    share_table,
    shares_by_arm,
    telling_heights,
    trained,
)
from hlvm.claims import Claim, equivalence_claim, mean_claim, no, trend_claim, yes
from hlvm.masking import BlockMask
from hlvm.plotting import COLORS, figure_with_panels

_STRATEGIES = ("uniform", "block")

_OFTEN, _HARDLY_EVER = 0.5, 0.05
"""A height is often in ``c`` from the first share on, and hardly ever up to the second."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        fits: sizes of training and scoring.
        ratios: masking ratios, increasing. Single cells must hide each exactly; larger units those they can.
        middle: the ratio where the paper's tables are best; among ``ratios``, between the first and the last. The two
            smallest units, and all up to a quarter of the grid's side, must hide these three exactly.
        units: sides of the masking unit in cells: 1, 2, 4 and so on, at least two of them.
    """

    fits: QuadtreeFits = dataclasses.field(default_factory=QuadtreeFits)
    ratios: tuple[float, ...] = (1 / 16, 1 / 4, 1 / 2, 3 / 4, 7 / 8, 15 / 16)
    middle: float = 3 / 4
    units: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        side = 2**self.fits.height
        if list(self.ratios) != sorted(set(self.ratios)) or self.middle not in self.ratios[1:-1]:
            raise ValueError(f"ratios must increase, with middle={self.middle} between the ends, got {self.ratios}")
        if self.units != tuple(2**i for i in range(len(self.units))) or not 1 < len(self.units) <= self.fits.height:
            raise ValueError(
                f"units must be 1, 2, 4 and so on, at least two of them, the largest below {side}, got {self.units}"
            )
        compared = itertools.product((self.ratios[0], self.middle, self.ratios[-1]), self._compared)
        for ratio, unit in [*((ratio, 1) for ratio in self.ratios), *compared]:
            if not self._hides("uniform", ratio, unit):
                raise ValueError(
                    f"ratio {ratio:g} is no whole number of units of {unit} x {unit} on {side} x {side} cells, or all "
                    "or none of them: use other ratios, fewer units or a higher quadtree"
                )

    @property
    def _compared(self) -> tuple[int, ...]:
        """Units with which ratios are compared."""
        return self.units[: max(2, self.fits.height - 1)]

    @property
    def arms(self) -> list[Arm]:
        """Strategy, ratio and unit of all arms, with every kind of mechanism."""
        product = itertools.product(_STRATEGIES, self.ratios, self.units)
        return [(name, ratio, unit) for name, ratio, unit in product if self._hides(name, ratio, unit)]

    def _hides(self, name: str, ratio: float, unit: int) -> bool:
        """Whether units can hide so much: exactly, or as one rectangle of several units to within 1/16."""
        n_units = (2**self.fits.height // unit) ** 2
        hidden = ratio * n_units
        if name == "uniform":
            return hidden == round(hidden) and 0 < hidden < n_units
        try:
            tall, wide = BlockMask(ratio=ratio, unit=unit).rectangle(self.fits.graph)
        except ValueError:  # as large as the grid
            return False
        return tall * wide > 1 and abs(tall * wide / n_units - ratio) <= 1 / 16


SMOKE = Config(fits=TINY, ratios=(0.25, 0.5, 0.75), middle=0.5, units=(1, 2))
LAPTOP = Config(fits=QuadtreeFits(steps=1200, generators=1, seeds=4))  # as it was run
GPU = Config(
    fits=QuadtreeFits(
        height=4, width=128, depth=6, decoder_width=64, generators=8, steps=10_000, batch=256, per_height=16
    ),
    ratios=(1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 15 / 16),
    units=(1, 2, 4, 8),
)


def _predict(config: Config) -> Prediction:
    return {
        "share_in_c": share_table(config.fits, dict.fromkeys(COMPARED, config.arms)),
        "middle": config.middle,
        "ends": [config.ratios[0], config.ratios[-1]],
        "units": list(config.units),
        "top": config.fits.height,
    }


def _groups(config: Config) -> list[Group]:
    return [{"mechanism": mechanism, "ratio": ratio} for mechanism in COMPARED for ratio in config.ratios]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    mechanism, ratio = group["mechanism"], group["ratio"]
    arms = [arm for arm in config.arms if arm[1] == ratio]
    records: list[Record] = []
    for _, scorer, (name, _, unit), fit in trained(config.fits, mechanism, arms, states):
        about = {**group, "strategy": name, "unit": unit}
        records += code_records(scorer, fit, **about, of="trained")
        if (name, ratio, unit) == ("uniform", config.middle, 1):
            records += code_records(scorer, fit.untrained(), **about, of="untrained")
    return records


# ---------------------------------------------------------------------- verdicts


def _judge(records: Frame, prediction: Prediction) -> list[Claim]:
    shares = shares_by_arm(prediction)
    return [
        claim
        for mechanism in COMPARED
        for claim in _judge_mechanism(
            gains_by_training(records, mechanism), shares.loc[mechanism], prediction, f"{mechanism} mechanisms: "
        )
    ]


def _judge_mechanism(gains: Frame, share: Frame, prediction: Prediction, begin: str) -> list[Claim]:
    """Claims about one kind of mechanism.

    Args:
        gains: (height, strategy, ratio, unit) -> one column per seed.
        share: of the same arms.
        prediction: as written down.
        begin: first words of every claim.
    """
    top, units = prediction["top"], prediction["units"]
    heights = range(1, top + 1)
    # Of lower heights with the largest units that do not hide their latents whole, where shares have an optimum.
    claims = [_optimum(gains, share, prediction, top, unit, begin) for unit in units[:2]]
    claims += [_optimum(gains, share, prediction, h, unit, begin) for h, unit in zip(heights[:-1], units, strict=False)]
    for height in heights:
        what, of_height, of_share = _what(height, top), gains.loc[height], share.loc[height]

        def lead(pairs: _Pairs, of_height: Frame = of_height) -> Frame:
            """Of the first arms over the second, mean over pairs."""
            one, other = (of_height.loc[list(arms)] for arms in zip(*pairs, strict=True))
            return one.mean() - other.mean()

        often, hardly = of_share[of_share >= _OFTEN].index, of_share[of_share <= _HARDLY_EVER].index
        if len(often) and len(hardly):
            difference = of_height.loc[often].mean() - of_height.loc[hardly].mean()
            claims.append(
                mean_claim(
                    f"{begin}more of {what} is gained where it is often in c than where it hardly ever is",
                    {f"{len(often)} arms − {len(hardly)} arms": difference},
                    theory=yes(),
                    margin=MARGIN,
                )
            )
        alike, pairs = _block_pairs(of_share)
        if height == top and alike and not pairs:
            claims.append(
                equivalence_claim(
                    f"{begin}one block brings out as much of {what} as squares at random, same ratio and unit, to "
                    f"within {MARGIN}",
                    {f"{len(alike)} pairs, block − squares": lead(alike)},
                    MARGIN,
                    theory=yes("in c as often"),
                )
            )
        if pairs:
            claims.append(
                mean_claim(
                    f"{begin}of squares at random and one block, same ratio and unit, that which has {what} in c more "
                    "often brings out more of it",
                    {f"{len(pairs)} pairs": lead(pairs)},
                    theory=yes(),
                    margin=MARGIN,
                )
            )
    return claims + [
        trend_claim(
            f"{begin}over the grid, what is gained of {_what(height, top)} goes up and down with its share in c",
            *pair,
            theory=yes(),
            margin=RANK_MARGIN,
        )
        for height, pair in telling_heights(gains, share).items()
    ]


def _optimum(gains: Frame, share: Frame, prediction: Prediction, height: int, unit: int, begin: str) -> Claim:
    """The claim that a height is found better at the ratio in the middle than at both ends, with one unit."""
    middle, ends, top = prediction["middle"], prediction["ends"], prediction["top"]

    def of(table: Frame, ratio: float) -> Any:
        return table.loc[(height, "uniform", ratio, unit)]

    return mean_claim(
        f"{begin}with units of {unit} × {unit}, {_what(height, top)} is found better at ratio {middle:g} than at "
        f"{ends[0]:g} and at {ends[1]:g}",
        {f"{middle:g} − {end:g}": of(gains, middle) - of(gains, end) for end in ends},
        paper=yes("its tables are best at 0.75") if height == top else no("extreme ratios give low levels"),
        theory=share_stance([(of(share, middle), of(share, end)) for end in ends]),
        margin=MARGIN,
    )


_Pairs = list[tuple[Arm, Arm]]


def _block_pairs(share: Frame) -> tuple[_Pairs, _Pairs]:
    """Arms of the same ratio and unit, one block and squares at random.

    Returns:
        Pairs whose shares are alike, the block first; and those whose shares differ, the greater share first.
    """
    alike, unlike = [], []
    for name, ratio, unit in share.index:
        block, squares = (name, ratio, unit), ("uniform", ratio, unit)
        if name != "block" or squares not in share.index:
            continue
        if abs(share[block] - share[squares]) <= SHARES_APART:
            alike.append((block, squares))
        else:
            unlike.append((block, squares) if share[block] > share[squares] else (squares, block))
    return alike, unlike


def _what(height: int, top: int) -> str:
    return "the root" if height == top else f"what enters at height {height}"


# ---------------------------------------------------------------------- figures

_LINES = {"uniform": "-", "block": "--"}


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """One figure for each kind of mechanism."""
    return {f"masking_grid_{mechanism}": _draw(mechanism, records, prediction) for mechanism in COMPARED}


def _draw(mechanism: str, records: Frame, prediction: Prediction) -> Figure:
    """Predicted shares above, what is found of each height below, over the ratio, a row of panels for each unit."""
    top = prediction["top"]
    shares = pd.DataFrame(prediction["share_in_c"])
    shares = shares[shares["mechanism"] == mechanism]
    noise = records[(records["part"] == "noise") & (records["mechanism"] == mechanism)]
    trained_ones, untrained = noise[noise["of"] == "trained"], noise[noise["of"] == "untrained"]
    units = prediction["units"]
    figure, panels = figure_with_panels(7.0, 2.2 * (1 + len(units)), rows=1 + len(units), columns=top, sharex=True)
    for height, (predicted, *below) in enumerate(panels.T, start=1):
        for name, line in _LINES.items():
            for index, (unit, measured) in enumerate(zip(units, below, strict=True)):
                look = _look(index) | {"linestyle": line}
                if name == "block":
                    look["markerfacecolor"] = "white"
                arm, share = (
                    table[(table["height"] == height) & (table["strategy"] == name) & (table["unit"] == unit)]
                    for table in (trained_ones, shares)
                )
                if len(arm):
                    predicted.plot(share["ratio"], share["share"], **look)
                    draw_over_seeds(measured, arm, "ratio", _label(name, unit), **look)
        ends = np.array([measured.get_ylim() for measured in below])  # of one height one scale
        for measured in below:
            draw_floor(measured, untrained[untrained["height"] == height], COLORS["black"])
            measured.set(ylim=(ends[:, 0].min(), ends[:, 1].max()))
        predicted.set(title=height_words(height, top), ylim=(-0.05, 1.05))
        below[-1].set(xlabel="masking ratio", xlim=(0, 1), xticks=(0.25, 0.5, 0.75))
    panels[0, 0].set_ylabel("predicted share in c")
    for row, unit in zip(panels[1:], units, strict=True):
        row[0].set_ylabel(f"R², {_label('uniform', unit).partition(',')[0]}")
    handles = [of for row in panels[1:] for of in zip(*row[0].get_legend_handles_labels(), strict=True)]
    figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=3)
    return figure


def _look(index: int) -> dict[str, Any]:
    colors, markers = ("green", "blue", "vermilion", "purple"), "osD^"
    return {"color": COLORS[colors[index % len(colors)]], "marker": markers[index % len(markers)]}


def _label(name: str, unit: int) -> str:
    size = f"{unit} × {unit}" if unit > 1 else "single cells"
    return f"{size}, at random" if name == "uniform" else f"{size}, one block"


EXPERIMENT = Experiment(
    name="masking_grid",
    title="Ratio, unit and strategy",
    question="Where over ratio, unit and strategy is each height found best, and does that follow what is shared?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=_predict,
    groups=_groups,
    measure=_measure,
    judge=_judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
