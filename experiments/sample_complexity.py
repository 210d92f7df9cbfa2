"""How many samples does a masked autoencoder need to recover the symbols of a grammar, and on which scale?

Images of Random Hierarchy Models: n_c classes, v symbols, m synonyms, blocks of s cells, L levels. Supervised networks
need about n_c m^L labelled samples to learn the class (Cagnetta et al. 2024). Here nothing is labelled. Half of the
subtrees below the root are always hidden; a bottleneck is trained on P samples; then a kernel regression reads symbols
off its codes of strings that were not trained on. Recovery is R² on the scale from the untrained encoder (0) to the
best that any function of the visible part can do, which follows from the rules (1). P* is where it crosses one half.

Predicted before training: docs/experiments/sample_complexity.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from experiments.command import command
from experiments.drawing import draw_intervals, legend_below
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.sample_complexity_claims import LEVEL, SCALES, TARGETS, crossings, judge, recoveries
from experiments.training import train
from hlvm import mae
from hlvm.datasets import Dataset
from hlvm.images import GrammarImages
from hlvm.mae import BottleneckConfig, Fit, Member, TrainConfig
from hlvm.masking import FixedMask, Patches
from hlvm.plotting import COLORS, figure_with_panels
from hlvm.scoring import RegressionConfig, kernel_r2_many, means_over_seeds

FACTOR = 2.0
"""Largest ratio between the rescaled P* of any two grammars for a collapse."""

REGRESSION = RegressionConfig(max_train=800, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-3, 1e-2, 1e-1, 1.0), n_boot=1)
"""Intervals are over draws, so the scores need no bootstrap."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        grammars: synonyms m and levels L of each.
        n_symbols: v.
        n_classes: n_c.
        tuple_size: rows and columns of a block.
        samples: sizes of the training sets, increasing, each a divisor of the last; the smaller sets are parts of the
            larger ones. A grammar is given at most half as many samples as it has strings.
        draws: of rules, samples, initial parameters; at least 2.
        train: the optimisation, the same number of steps for all.
        code_dim: numbers in the code.
        width: hidden units of the perceptrons.
        depth: their hidden layers.
        rows: most strings for scoring, all different and none of them trained on: 60 % fit the regressions, 40 % test
            them.
        key: everything random follows from it.
    """

    grammars: tuple[tuple[int, int], ...] = ((4, 2), (8, 2), (2, 3), (3, 3))
    n_symbols: int = 8
    n_classes: int = 8
    tuple_size: tuple[int, int] = (2, 2)
    samples: tuple[int, ...] = tuple(2**power for power in range(6, 15))
    draws: int = 5
    train: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=1500, batch=128, weight_decay=1.0))
    code_dim: int = 16
    width: int = 128
    depth: int = 3
    rows: int = 1200
    key: int = 0

    def __post_init__(self) -> None:
        if self.draws < 2:
            raise ValueError(f"an interval over draws needs at least 2 of them, got draws={self.draws}")
        if len(self.grammars) < 2:
            raise ValueError(f"a spread over grammars needs at least 2 of them, got {self.grammars}")
        sizes = self.samples
        if not sizes or any(a >= b for a, b in itertools.pairwise(sizes)) or any(sizes[-1] % size for size in sizes):
            raise ValueError(
                f"samples must increase and divide the last of them, so that copies of a smaller set fill the room of "
                f"the largest: take powers of two, got {sizes}"
            )


SMOKE = Config(
    grammars=((4, 2), (2, 3)),
    samples=(32, 64),
    draws=2,
    train=TrainConfig(steps=3, batch=16, warmup=1),
    width=16,
    depth=1,
    rows=60,
)
LAPTOP = Config()
GPU = Config(
    grammars=((4, 2), (6, 2), (8, 2), (2, 3), (3, 3), (4, 3)),
    samples=tuple(2**power for power in range(6, 18)),
    draws=8,
    train=TrainConfig(steps=30_000, batch=512, weight_decay=1.0),
    width=512,
    rows=3000,
)


# ---------------------------------------------------------------------- grammars


def scale_of(n_classes: int, synonyms: int, levels: int) -> dict[str, int]:
    """What P* is divided by, for each of :data:`SCALES`."""
    return dict(zip(SCALES, (1, n_classes * synonyms**levels, n_classes * synonyms ** (2 * levels - 1)), strict=True))


def hidden_subtrees(grammar: GrammarImages) -> int:
    """How many of the subtrees below the root are hidden: half, rounded down."""
    return grammar.tuple_size // 2


def mask_of(grammar: GrammarImages) -> FixedMask:
    """Hides all cells below the first half of the root's children."""
    subtrees = Patches.of_subtrees(grammar.graph, grammar.n_levels - 1).groups
    return FixedMask(masked=tuple(cell for group in subtrees[: hidden_subtrees(grammar)] for cell in group))


def one_hot(values: Int[np.ndarray, "n columns"], n_values: int) -> Float[np.ndarray, "n columns_times_values"]:
    """Indicators, side by side."""
    return (values[..., None] == np.arange(n_values)).reshape(len(values), -1).astype(np.float64)


def ceilings(grammar: GrammarImages) -> dict[str, float]:
    """Largest R² of indicators of class, hidden and visible symbols that a function of the visible part can have.

    The visible cells tell the visible symbols right below the root, and no more about the rest. All rules of the root
    are equally likely.
    """
    table = np.asarray(grammar.rules[grammar.n_levels])
    tuples = table.reshape(-1, grammar.tuple_size)
    n_hidden = hidden_subtrees(grammar)
    _, cell = np.unique(tuples[:, n_hidden:], axis=0, return_inverse=True)
    contents = {
        "class": one_hot(np.repeat(np.arange(grammar.n_classes), grammar.n_synonyms)[:, None], grammar.n_classes),
        "hidden symbols": one_hot(tuples[:, :n_hidden], grammar.n_symbols),
    }
    found = {"visible symbols": 1.0}
    for name, values in contents.items():
        means = np.stack([values[cell == own].mean(axis=0) for own in cell])
        found[name] = float(means.var(axis=0).sum() / values.var(axis=0).sum())
    return found


def new_strings(drawn: Int[np.ndarray, "n rows columns"], known: Int[np.ndarray, "k rows columns"]) -> np.ndarray:
    """Positions of the strings that are not known, each string once, in the order drawn."""
    _, first = np.unique(drawn.reshape(len(drawn), -1), axis=0, return_index=True)
    there = {string.tobytes() for string in known}
    return np.asarray([place for place in np.sort(first) if drawn[place].tobytes() not in there])


# ---------------------------------------------------------------------- the experiment


def predict(config: Config) -> Prediction:
    """The scales of every grammar."""
    scales = {
        _name(synonyms, levels): scale_of(config.n_classes, synonyms, levels) for synonyms, levels in config.grammars
    }
    return {"scales": scales, "factor": FACTOR}


def _name(synonyms: int, levels: int) -> str:
    return f"m = {synonyms}, L = {levels}"


def groups(config: Config) -> list[Group]:
    """Every grammar of every draw."""
    return [
        {"synonyms": synonyms, "levels": levels, "draw": draw}
        for draw in range(config.draws)
        for synonyms, levels in config.grammars
    ]


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Draw a grammar, train on more and more of its strings, and read symbols off codes of others.

    Copies of a training set fill the room of the largest: all fits have data of one shape and so share one compiled
    program. A random row of the copies is a random row of the set.
    """
    key = jax.random.fold_in(jax.random.key(config.key), group["draw"])
    rules_key, train_key, test_key, fit_key = jax.random.split(key, 4)
    grammar = GrammarImages.init(
        rules_key,
        n_symbols=config.n_symbols,
        n_classes=config.n_classes,
        n_synonyms=group["synonyms"],
        n_levels=group["levels"],
        tuple_size=config.tuple_size,
        patch_pixels=1,
        style="one-hot",
    )
    sizes = [size for size in config.samples if size <= grammar.n_strings // 2]
    strings, others = grammar.derive(train_key, max(sizes)), grammar.derive(test_key, 4 * config.rows)
    unseen = new_strings(np.asarray(others.cells), np.asarray(strings.cells))[: config.rows]
    images, test_images = (np.asarray(grammar.render(cells)) for cells in (strings.cells, others.cells[unseen]))
    below = np.asarray(others.symbols[grammar.n_levels - 1]).reshape(len(others), -1)[unseen]
    n_hidden = hidden_subtrees(grammar)
    contents = {
        "class": one_hot(np.asarray(others.labels)[unseen, None], grammar.n_classes),
        "hidden symbols": one_hot(below[:, :n_hidden], grammar.n_symbols),
        "visible symbols": one_hot(below[:, n_hidden:], grammar.n_symbols),
    }
    mask = mask_of(grammar)
    member = Member(
        mask=mask, network=BottleneckConfig(code_dim=config.code_dim, width=config.width, depth=config.depth)
    )
    about = {"grammar": _name(group["synonyms"], group["levels"]), "seed": group["draw"]}

    def scored(fit: Fit, control: str, size: int) -> list[Record]:
        code = np.asarray(mae.encode(fit, test_images, mask))
        found = kernel_r2_many(code, contents, key=config.key, config=REGRESSION)
        row = {**about, "samples": size, "control": control}
        return [{**row, "score": name, "value": round(score.value, 5)} for name, score in found.items()]

    records: list[Record] = []
    for size in sizes:
        copies = np.tile(images[:size], (max(config.samples) // size, 1, 1, 1))
        data = Dataset.from_arrays(images=copies, graph=grammar.graph)
        (fit,) = train(fit_key, data, [member], config.train, states)
        if not records:
            records += scored(fit.untrained(), "untrained", 0)
        records += scored(fit, "code", size)
    row = {**about, "samples": 0, "control": "ceiling"}
    return records + [{**row, "score": name, "value": round(r2, 5)} for name, r2 in ceilings(grammar).items()]


# ---------------------------------------------------------------------- figures


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
                draw_intervals(axes, of["samples"] / scales[scale], of, name, color=COLORS[color], marker=marker)
            for height in (0.0, LEVEL, 1.0):
                axes.axhline(height, color=COLORS["grey"], linewidth=0.8, linestyle="--" if height == LEVEL else ":")
        row[0].set_ylabel(f"recovery of\n{target}")
    for axes, scale, label in zip(panels[-1], SCALES, _LABELS, strict=True):
        axes.set_xlabel(label)
        _powers_of_two(axes, [size / prediction["scales"][name][scale] for name, size in _sizes(found)])
    legend_below(figure, panels[0, 0], len(prediction["scales"]))
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


EXPERIMENT = Experiment(
    name="sample_complexity",
    title="Sample complexity",
    question="How many samples does a masked autoencoder need to recover the symbols of a grammar?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
