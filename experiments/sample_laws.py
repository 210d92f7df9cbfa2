"""Strings that a masked autoencoder needs to find the symbols of a grammar: whose law do they follow?

Strings of Random Hierarchy Models: v symbols, as many classes, m synonyms, pairs of symbols, L levels. Transformers are
trained on P strings, half of whose lowest pairs are hidden, to give the hidden cells (squared error, cross-entropy) or
a teacher's codes of them (data2vec). Then a linear regression reads the symbols right below the class off the codes of
strings that were not trained on. P* is where this crosses the middle between the untrained encoder and the truth. The
exponents with which P* grows with m and with L are compared with those of every law of ``hlvm.theory.SAMPLE_LAWS``.

Predicted before training: docs/experiments/sample_laws.md.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from experiments.command import command
from experiments.experiment import Experiment, Group, Prediction, Record
from experiments.sample_laws_claims import judge
from experiments.sample_laws_figures import draw
from experiments.training import train
from hlvm import mae
from hlvm.datasets import Dataset
from hlvm.images import GrammarImages
from hlvm.mae import Fit, LossConfig, Member, TrainConfig, ViTConfig
from hlvm.mae.config import ObjectiveConfig
from hlvm.mae.objectives import CrossEntropy, Data2Vec
from hlvm.masking import Patches, RandomMask
from hlvm.scoring import RegressionConfig, check_seeds, linear_r2
from hlvm.theory import SAMPLE_LAWS, GrammarSizes, expected_samples

OBJECTIVES: Mapping[str, ObjectiveConfig] = {
    "squared error": LossConfig(),
    "cross-entropy": CrossEntropy(),
    "data2vec": Data2Vec(),
}
"""Objectives that are trained, by name."""

MARGIN, OCTAVES = 0.5, 1.0
"""Exponents that differ by less count as the same, which is half of what tells two laws apart; and so do numbers of
samples that differ by fewer octaves."""

_PAIR = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run.

    Attributes:
        synonyms: numbers m, increasing, of grammars with the first of ``levels``; at least 2.
        levels: numbers L, increasing, of grammars with the first of ``synonyms``; at least 2.
        n_symbols: v, which is the number of classes as well.
        samples: sizes of the training sets, increasing, each a divisor of the last; the smaller sets are parts of the
            larger ones. Strings are drawn with replacement, and a grammar is given at most as many as it has, so that
            a third of them at least are left to be scored on.
        draws: of rules, samples, and the training seed; at least 2.
        train: the optimisation, the same for all.
        width: of encoder and decoder.
        depth: blocks of the encoder.
        rows: most strings for scoring, all different and none of them trained on: 60 % fit the regressions, 40 % test
            them.
        key: everything random follows from it.
    """

    synonyms: tuple[int, ...] = (2, 3, 4)
    levels: tuple[int, ...] = (3, 4, 5)
    n_symbols: int = 16
    samples: tuple[int, ...] = tuple(2**power for power in range(6, 16))
    draws: int = 5
    train: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=2000, batch=128))
    width: int = 32
    depth: int = 3
    rows: int = 2000
    key: int = 0

    def __post_init__(self) -> None:
        check_seeds(self.draws)
        for name, least in (("synonyms", 2), ("levels", 2), ("samples", 1)):
            values = getattr(self, name)
            if len(values) < least or any(a >= b for a, b in itertools.pairwise(values)):
                raise ValueError(f"{name} must be at least {least} numbers that increase, got {values}")
        if any(self.samples[-1] % size for size in self.samples):
            raise ValueError(
                f"samples must divide the last of them, so that copies of a smaller set fill the room of the largest: "
                f"take powers of two, got {self.samples}"
            )

    @property
    def axes(self) -> dict[str, list[tuple[int, int]]]:
        """Synonyms and levels of the grammars along each axis: those that differ in m alone, and in L alone."""
        return {
            "m": [(synonyms, self.levels[0]) for synonyms in self.synonyms],
            "L": [(self.synonyms[0], levels) for levels in self.levels],
        }


SMOKE = Config(
    synonyms=(2, 3),
    levels=(2, 3),
    n_symbols=8,
    samples=(16,),
    draws=2,
    train=TrainConfig(steps=3, batch=8, warmup=1),
    width=8,
    depth=2,
    rows=24,  # as many are left of every grammar, so that all are encoded by one program
)
LAPTOP = Config()
GPU = Config(
    synonyms=(2, 3, 4, 6),
    levels=(3, 4, 5, 6),
    n_symbols=32,
    samples=tuple(2**power for power in range(6, 21)),
    draws=10,
    train=TrainConfig(steps=50_000, batch=512),
    width=128,
    depth=6,
    rows=4000,
)


# ---------------------------------------------------------------------- forecasts


def _name(synonyms: int, levels: int) -> str:
    return f"m = {synonyms}, L = {levels}"


def predict(config: Config) -> Prediction:
    """The number of samples of every law and grammar, and the exponents that follow."""
    samples = {
        _name(synonyms, levels): {
            law: expected_samples(
                GrammarSizes(
                    n_symbols=config.n_symbols,
                    n_classes=config.n_symbols,
                    n_synonyms=synonyms,
                    n_levels=levels,
                    tuple_size=_PAIR,
                ),
                levels,
                law,
            )
            for law in SAMPLE_LAWS
        }
        for synonyms, levels in dict.fromkeys(itertools.chain(*config.axes.values()))
    }
    log_m = np.log2(config.synonyms)
    axes = {
        "m": {"grammars": [_name(*own) for own in config.axes["m"]], "x": log_m.tolist()},
        # One level more is to count as one factor of m.
        "L": {
            "grammars": [_name(*own) for own in config.axes["L"]],
            "x": [float(levels * log_m[0]) for levels in config.levels],
        },
    }
    return {
        "samples": samples,
        "axes": axes,
        "exponents": {
            law: {
                axis: round(_slope(of["x"], np.log2([samples[name][law] for name in of["grammars"]])), 5)
                for axis, of in axes.items()
            }
            for law in SAMPLE_LAWS
        },
        # The registry counts height by height; L is the height of the class.
        "formulas": {name: law.formula.split(";")[0].replace("h", "L") for name, law in SAMPLE_LAWS.items()},
        "objectives": list(OBJECTIVES),
        "deepest": axes["L"]["grammars"][-1],
        "margin": MARGIN,
        "octaves": OCTAVES,
    }


def _slope(x: Sequence[float], y: Any) -> float:
    return float(np.polyfit(x, y, 1)[0])


# ---------------------------------------------------------------------- measurement


def groups(config: Config) -> list[Group]:
    """Every grammar of every draw."""
    grammars = dict.fromkeys(itertools.chain(*config.axes.values()))
    return [
        {"synonyms": synonyms, "levels": levels, "draw": draw}
        for draw in range(config.draws)
        for synonyms, levels in grammars
    ]


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Draw a grammar, and look for the number of samples at which each objective finds its symbols.

    Copies of a training set fill the room of the largest: all fits have data of one shape and so share one compiled
    program. A random row of the copies is a random row of the set.
    """
    rules_key, train_key, test_key, fit_key = jax.random.split(
        jax.random.fold_in(jax.random.key(config.key), group["draw"]), 4
    )
    grammar = GrammarImages.init(
        rules_key,
        n_symbols=config.n_symbols,
        n_classes=config.n_symbols,
        n_synonyms=group["synonyms"],
        n_levels=group["levels"],
        tuple_size=_PAIR,
        patch_pixels=1,
        style="one-hot",
    )
    sizes = [size for size in config.samples if size <= grammar.n_strings]
    strings, others = grammar.derive(train_key, max(sizes)), grammar.derive(test_key, 4 * config.rows)
    unseen = new_strings(np.asarray(others.cells), np.asarray(strings.cells))[: config.rows]
    images, test_images = (np.asarray(grammar.render(cells)) for cells in (strings.cells, others.cells[unseen]))
    symbols = {
        height: np.asarray(others.symbols[height]).reshape(len(others), -1)[unseen]
        for height in range(1, grammar.n_levels)
    }
    about = {"grammar": _name(group["synonyms"], group["levels"]), "levels": group["levels"], "seed": group["draw"]}
    network = ViTConfig(width=config.width, depth=config.depth, decoder_width=config.width)
    records: list[Record] = []
    for objective, loss in OBJECTIVES.items():
        member = Member(mask=mask_of(grammar), network=network, loss=loss, seed=group["draw"])

        def scored(fit: Fit, size: int, objective: str = objective) -> dict[int, float]:
            found = read_symbols(fit, test_images, symbols, config)
            row = {**about, "objective": objective, "samples": size}
            records.extend(row | {"height": height, "value": round(value, 5)} for height, value in found.items())
            return found

        floor: dict[int, float] = {}

        def reached(size: int, member: Member = member, floor: dict[int, float] = floor) -> bool:
            copies = np.tile(images[:size], (max(config.samples) // size, 1, 1, 1))
            data = Dataset.from_arrays(images=copies, graph=grammar.graph)
            (fit,) = train(fit_key, data, [member], config.train, states)
            if not floor:
                floor.update(scored(fit.untrained(), 0))
            top = grammar.n_levels - 1
            return scored(fit, size)[top] >= (floor[top] + 1) / 2

        bisect(sizes, reached)
    return records


def mask_of(grammar: GrammarImages) -> RandomMask:
    """Hides half of the lowest pairs."""
    return RandomMask(ratio=0.5, patches=Patches.of_subtrees(grammar.graph, 1))


def bisect(sizes: Sequence[int], reached: Callable[[int], bool]) -> None:
    """Ask about sizes until the first that reaches is known, and that the one before does not.

    Args:
        sizes: increasing.
        reached: tells whether a size reaches; taken to be so for all after one that does.
    """
    low, high = -1, len(sizes)
    while high - low > 1:
        middle = (low + high) // 2
        if reached(sizes[middle]):
            high = middle
        else:
            low = middle


def read_symbols(
    fit: Fit, images: np.ndarray, symbols: Mapping[int, Int[np.ndarray, "n nodes"]], config: Config
) -> dict[int, float]:
    """R² of linear regression of symbols, one-hot, from the mean token of the cells below.

    Args:
        fit: the autoencoder; it sees whole strings.
        images: of the strings.
        symbols: height -> symbols of its nodes, from left to right.
        config: sizes.

    Returns:
        Height -> mean over its first and last node.
    """
    tokens = np.asarray(mae.encode(fit, images, None, pooling="tokens"))[:, 1:]
    regression = RegressionConfig(max_train=config.rows, n_boot=1)  # intervals are over draws
    found: dict[int, float] = {}
    for height, of_nodes in symbols.items():
        n_nodes = of_nodes.shape[1]
        below = tokens.reshape(len(tokens), n_nodes, -1, tokens.shape[-1]).mean(axis=2)
        scores = [
            linear_r2(
                below[:, node], np.eye(config.n_symbols)[of_nodes[:, node]], key=config.key, config=regression
            ).value
            for node in dict.fromkeys((0, n_nodes - 1))
        ]
        found[height] = float(np.mean(scores))
    return found


def new_strings(drawn: Int[np.ndarray, "n rows columns"], known: Int[np.ndarray, "k rows columns"]) -> np.ndarray:
    """Positions of the strings that are not known, each string once, in the order drawn."""
    _, first = np.unique(drawn.reshape(len(drawn), -1), axis=0, return_index=True)
    there = {string.tobytes() for string in known}
    return np.asarray([place for place in np.sort(first) if drawn[place].tobytes() not in there])


EXPERIMENT = Experiment(
    name="sample_laws",
    title="Sample laws",
    question="How many samples does a masked autoencoder need to find the symbols of a grammar, and by whose law?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
