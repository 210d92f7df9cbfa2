"""Scores of the fits of a study: every latent from every representation, beside floor, ceiling and chance."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from hlvm._keys import key_or_seed
from hlvm._numbers import UsageError, positive
from hlvm.graph import LatentGraph
from hlvm.mae import Fit, encode
from hlvm.masking.strategies import as_strategy
from hlvm.scoring import RegressionConfig, kernel_r2_many, one_hot
from hlvm.scoring.geometry.collapses import directions_used, judged
from hlvm.scoring.inputs import matrix, random_streams
from hlvm.scoring.regression.accuracy import accuracy
from hlvm.scoring.row_groups import permuted, row_groups
from hlvm.study.truth import Truth

__all__ = ["ALL_SEEDS", "Part", "Record", "ScoreConfig", "Scorer", "Target", "targets_of"]

Record: TypeAlias = dict[str, Any]
"""One latent and part of one fit: names, ``value``, its controls ``floor``, ``ceiling`` and ``chance``, and whether the
fit's code has ``collapsed``: ``"none"``, ``"dimensional"`` or ``"total"``."""

Part: TypeAlias = Literal["value", "noise"]
ALL_SEEDS = -1
"""The seed in the records of an encoder that no seed changes."""
_VIEW_STREAM = 3

_REGRESSION = RegressionConfig(
    test_fraction=0.625, max_train=600, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-2, 1e-1, 1.0), n_boot=2
)
"""Scores of a study are many and compared with each other: few rows and a coarse grid. Intervals come from seeds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Settings of the scores.

    Attributes:
        representation: of transformers the mean over visible tokens, the class token, or all tokens side by side;
            ``"code"`` for networks that have a code of their own, whose code is taken whatever is said here.
        view: ``"whole"``: nothing is hidden when the samples are encoded. ``"masked"``: one mask per seed, drawn from
            the arm's own strategy.
        latents: names of the latents to score; ``None`` for all, or ``per_height`` of each height.
        per_height: most latents scored of each height, chosen at random once for all arms; ``None`` for all.
        parts: ``"value"`` and ``"noise"``: a latent's values, which hold its ancestors, and what enters there. Of data
            whose noise is not known only values are scored.
        observed: score the observed variables as well, whose height is 0.
        categories: latents of a data set whose values are categories; image models say so themselves. Of their values
            the accuracy is taken.
        rows: samples to score on, at least 40; ``None`` for 1,600, of a data set at most a quarter of its rows.
        intervals: whether intervals over seeds or generators are wanted; they need at least 2 of either.
        regression: sizes and grids of the regressions.

    Raises:
        ValueError: an unknown word, or a number out of its range.
    """

    representation: Literal["mean", "class", "tokens", "code"] = "mean"
    view: Literal["whole", "masked"] = "whole"
    latents: tuple[str, ...] | None = None
    per_height: int | None = 4
    parts: tuple[Part, ...] = ("value", "noise")
    observed: bool = False
    categories: tuple[str, ...] = ()
    rows: int | None = None
    intervals: bool = True
    regression: RegressionConfig = _REGRESSION

    def __post_init__(self) -> None:
        for name, options in (("representation", ("mean", "class", "tokens", "code")), ("view", ("whole", "masked"))):
            if getattr(self, name) not in options:
                problem = f"must be one of {', '.join(options)}, got {getattr(self, name)!r}"
                raise UsageError(problem, argument=name, of="ScoreConfig")
        for name in ("latents", "categories", "parts"):
            given = getattr(self, name)
            if given is not None:
                names = (given,) if isinstance(given, str) else tuple(given)
                object.__setattr__(self, name, names)
        if self.latents is not None and not self.latents:
            problem = "must name at least one, or be None for those of each height"
            raise UsageError(problem, argument="latents", of="ScoreConfig")
        if not self.parts or not set(self.parts) <= set(get_args(Part)):
            raise UsageError(
                f"must be some of {', '.join(get_args(Part))}, got {self.parts!r}", argument="parts", of="ScoreConfig"
            )
        if self.per_height is not None:
            object.__setattr__(self, "per_height", positive(self.per_height, "per_height", of="ScoreConfig"))
        if self.rows is not None:
            object.__setattr__(self, "rows", positive(self.rows, "rows", of="ScoreConfig"))
            if self.rows < _FEWEST_ROWS:
                problem = f"must be at least {_FEWEST_ROWS}, got {self.rows}"
                raise UsageError(problem, argument="rows", of="ScoreConfig")


_FEWEST_ROWS = 40
_LEARNED = 0.05
"""A code that reads a latent by this much better than before training has not collapsed, however few directions it
uses: it may be of few latents."""


class Target(NamedTuple):
    """A latent and part that is scored.

    Attributes:
        latent: its name.
        height: its height in the graph.
        part: ``"value"`` or ``"noise"``.
        columns: what the regression predicts, shape (n, d): of categories one column per category.
        labels: the categories, shape (n, dims), or ``None``.
    """

    latent: str
    height: int
    part: Part
    columns: Float[np.ndarray, "n d"]
    labels: Int[np.ndarray, "n dims"] | None

    @property
    def score(self) -> str:
        """The score: R², or the accuracy of categories."""
        return "R²" if self.labels is None else "accuracy"


def targets_of(truth: Truth, graph: LatentGraph, config: ScoreConfig, key: Any) -> list[Target]:
    """Choose what is scored: the same latents for all arms and seeds.

    Raises:
        ValueError: a latent that the graph or the data does not have, or nothing to score.
    """
    heights = dict(zip(graph.nodes, map(int, graph.heights), strict=True))
    known = set(graph.nodes if config.observed else graph.latents) & truth.values.keys()
    for what, names in (("latents", config.latents or ()), ("categories", config.categories)):
        unknown = [name for name in names if name not in truth.values or name not in graph.latents]
        if unknown:
            shown = ", ".join(map(str, graph.latents[:8])) + (", ..." if graph.n_latents > 8 else "")
            raise UsageError(
                f"must be latents of the data, got {unknown[0]!r}; known are {shown}", argument=what, of="ScoreConfig"
            )
    seed = key_or_seed(key)
    rng = np.random.default_rng(seed if isinstance(seed, int) else np.asarray(jax.random.key_data(seed)))
    order = [graph.nodes[i] for i in rng.permutation(len(graph.nodes))]
    found: list[Target] = []
    for height in sorted(set(heights.values())):
        chosen = [name for name in order if heights[name] == height and name in known]
        if config.latents is not None:
            chosen = [name for name in chosen if name in config.latents]
        elif config.per_height is not None:
            chosen = chosen[: config.per_height]
        for part in config.parts:
            arrays = truth.values if part == "value" else truth.noise
            for name in chosen:
                if name in arrays and arrays[name].size:
                    labels = part == "value" and name in truth.categories
                    found.append(_target(name, height, part, arrays[name], categories=labels))
    if not found:
        raise UsageError("leaves nothing to score: the data has no such part", argument="parts", of="ScoreConfig")
    return found


def _target(name: str, height: int, part: Part, values: np.ndarray, *, categories: bool) -> Target:
    if not categories:
        if not np.ptp(values, axis=0).any():
            what = f"latent {name!r}" if part == "value" else f"the noise of {name!r}"
            raise ValueError(f"{what} is the same in all samples to score on: leave {name!r} out of latents")
        return Target(name, height, part, np.asarray(values), None)
    labels = np.asarray(values).round().astype(np.int64)
    columns = [one_hot(column) for column in labels.T if len(np.unique(column)) > 1]
    if not columns:
        raise ValueError(f"latent {name!r} has one category only in the samples to score on: leave it out of latents")
    return Target(name, height, part, np.concatenate(columns, axis=1), labels)


class Scorer:
    """Scores fits of one generator; what arms share is computed once, also where several threads score.

    Args:
        graph: the graph of the training data.
        truth: samples to score on.
        targets: what is scored, in the order of all scores.
        config: how.
        key: as the user gave it: regressions of all arms and seeds share one split, which follows from it.
        generator_key: of the generator: masks of views follow from it.
    """

    def __init__(
        self,
        graph: LatentGraph,
        truth: Truth,
        targets: Sequence[Target],
        config: ScoreConfig,
        key: Any,
        generator_key: PRNGKeyArray,
    ) -> None:
        self._graph, self._truth, self.targets, self._config = graph, truth, targets, config
        self._key, self._view_key = key_or_seed(key), jax.random.fold_in(generator_key, _VIEW_STREAM)
        self._shared = _Once()
        self._order = permuted(None, len(truth.inputs), random_streams(self._key).permutation)
        self._asked = directions_used(np.concatenate([target.columns for target in targets], axis=1).astype(float))

    def records(self, fit: Fit) -> list[Record]:
        """Every target of one fit with its controls, from which names of the arm are missing.

        A fit that diverged has NaN as its values.
        """
        masked = self.view(fit.seed, fit.mask) if self._config.view == "masked" else None
        floors, untrained = self._shared.get(
            ("floor", fit.network, fit.loss, fit.seed, _bits(masked)), lambda: self._before(fit, masked)
        )
        collapsed = "none"
        if fit.diverged:
            values = chances = [math.nan] * len(self.targets)
        else:
            code = self._code(fit, masked)
            values, chances = self.scores(code, chance=True)
            collapsed = self._collapse(code, untrained, np.subtract(values, floors))
        return self._records(fit.seed, values, floors, chances, masked, collapsed)

    def records_of_code(
        self,
        seed: int,
        code: Float[np.ndarray, "n dims"],
        floor: Float[np.ndarray, "n floor_dims"] | None,
        masked: Bool[np.ndarray, " cells"] | None,
    ) -> list[Record]:
        """The same of an encoder from outside, of which only codes are known.

        Args:
            seed: its seed, or :data:`ALL_SEEDS`.
            code: of the samples to score on.
            floor: code of the same encoder before training; ``None`` leaves NaN as the floor.
            masked: what was hidden.
        """
        values, chances = self.scores(code, chance=True)
        floors = [math.nan] * len(values) if floor is None else self.scores(floor, chance=False)[0]
        untrained = None if floor is None else directions_used(matrix("the untrained code", floor))
        collapsed = self._collapse(code, untrained, np.subtract(values, chances if floor is None else floors))
        return self._records(seed, values, floors, chances, masked, collapsed)

    def _records(
        self,
        seed: int,
        values: Sequence[float],
        floors: Sequence[float],
        chances: Sequence[float],
        masked: Bool[np.ndarray, " cells"] | None,
        collapsed: str,
    ) -> list[Record]:
        ceilings = self._shared.get(("ceiling", _bits(masked)), lambda: self.visible_values(masked))
        return [
            {
                "seed": seed,
                "latent": target.latent,
                "height": target.height,
                "part": target.part,
                "score": target.score,
                "value": value,
                "floor": floor,
                "ceiling": ceiling,
                "chance": chance,
                "collapsed": collapsed,
            }
            for target, value, floor, ceiling, chance in zip(
                self.targets, values, floors, ceilings, chances, strict=True
            )
        ]

    def _before(self, fit: Fit, masked: Any) -> tuple[list[float], float]:
        """Scores of the fit's network before training, and the number of directions that its code uses."""
        code = self._code(fit.untrained(), masked)
        return self.scores(code, chance=False)[0], directions_used(matrix("the untrained code", code))

    def _collapse(self, code: np.ndarray, untrained: float | None, learned: np.ndarray) -> str:
        """The kind of collapse of a code, beside the untrained one if it is known, and the latents that are scored."""
        before = {} if untrained is None else {"the untrained code": untrained}
        references = before | {"the scored latents": self._asked}
        found = judged(directions_used(matrix("the code", code)), references, code.shape)
        return "none" if found.kind == "dimensional" and (learned > _LEARNED).any() else found.kind

    def view(self, seed: int, mask: Any) -> Bool[np.ndarray, " cells"]:
        """The mask of a view: drawn once for a seed and strategy, the same for all samples."""
        return np.asarray(as_strategy(mask).sample(jax.random.fold_in(self._view_key, seed), 1, self._graph)[0])

    def values(self, fit: Fit, masked: Bool[np.ndarray, " cells"] | None = None) -> list[float]:
        """Scores of all targets from the code of samples of which this is hidden; ``None`` for whole samples."""
        return self.scores(self._code(fit, masked), chance=False)[0]

    def visible_values(self, masked: Bool[np.ndarray, " cells"] | None = None) -> list[float]:
        """The same from what is visible itself."""
        return self.scores(self._truth.visible(self._graph, masked), chance=False)[0]

    def _code(self, fit: Fit, masked: Any) -> np.ndarray:
        pooling = self._config.representation
        code = encode(fit, self._truth.observed, masked, pooling="mean" if pooling == "code" else pooling)
        return np.asarray(code).reshape(len(code), -1)

    def scores(self, representation: np.ndarray, *, chance: bool) -> tuple[list[float], list[float]]:
        """Scores of all targets, and with ``chance`` those of the same targets with their rows in another order.

        Both come from the same factorisations.
        """
        columns = {str(i): target.columns for i, target in enumerate(self.targets)}
        groups = None
        if chance:
            columns |= {f"{i} by chance": target.columns[self._order] for i, target in enumerate(self.targets)}
            together = np.concatenate([target.columns for target in self.targets], axis=1)
            copies = row_groups(np.asarray(representation, np.float64), together.astype(np.float64))
            groups = np.arange(len(together)) if copies is None else copies
        found = kernel_r2_many(representation, columns, key=self._key, groups=groups, config=self._config.regression)

        def value(name: str, target: Target, labels: np.ndarray | None) -> float:
            score = found[name]
            return float(score.value) if labels is None else accuracy(score, labels)

        values = [value(str(i), target, target.labels) for i, target in enumerate(self.targets)]
        if not chance:
            return values, []
        return values, [
            value(f"{i} by chance", target, None if target.labels is None else target.labels[self._order])
            for i, target in enumerate(self.targets)
        ]


def _bits(masked: np.ndarray | None) -> bytes | None:
    return None if masked is None else np.packbits(masked).tobytes()


class _Once:
    """Values computed once each, by whichever thread asks first; the others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Any, threading.Lock] = {}
        self._found: dict[Any, Any] = {}

    def get(self, name: Any, compute: Callable[[], Any]) -> Any:
        with self._lock:
            own = self._locks.setdefault(name, threading.Lock())
        with own:
            if name not in self._found:
                self._found[name] = compute()
            return self._found[name]


def score_names(targets: Sequence[Target]) -> Mapping[int, tuple[str, ...]]:
    """Height -> latents that are scored there."""
    found: dict[int, dict[str, None]] = {}
    for target in targets:
        found.setdefault(target.height, {})[target.latent] = None
    return {height: tuple(names) for height, names in found.items()}
