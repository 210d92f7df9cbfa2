"""Does a code of exactly ``d_c`` numbers identify the shared information, and no other code?

Theorem 2 of the paper, and Theorem D of docs/theory.md, on three graphs (a binary tree, a quadtree, latents with two
parents each) with invertible mechanisms. Every seed has a generator, a training and samples of its own. Every code is
compared with ``c``, the values of the frontier latents of the mask's shared information, by held-out kernel R² both
ways.

Predicted before training: docs/experiments/theorem2.md.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from experiments.command import command
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.theorem2_cases import GRAPHS, MASKS, MECHANISMS, PHASE_MASKS, Arm, arms_of_graph
from experiments.theorem2_figures import draw
from experiments.training import LARGE, TINY, Bottlenecks, train
from hlvm import mae
from hlvm.claims import Claim, equivalence_claim, mean_claim, yes
from hlvm.graph import LatentGraph
from hlvm.mae import ArrayData, Fit
from hlvm.scoring import RegressionConfig, Verdict, block_verdict, kernel_r2
from hlvm.simulator import HierarchicalModel, Sample
from hlvm.theory import shared_information

THRESHOLD = 0.9
"""R² that counts as "a function of"."""

TOLERANCE = 0.05
"""R² that codes of the same information may differ by, and relative losses that count as equal."""

PLATEAU = 0.03
"""R² that numbers beyond ``d_c`` may add."""

DROP = 0.1
"""R² of the worst direction that one number too few costs at least."""

_READERS = ("c itself", "c itself, too narrow")
"""Networks whose input is ``c``, with codes of ``d_c`` and ``d_c - 1`` numbers."""


Seeds: TypeAlias = dict[str, np.ndarray]
"""Name -> one number per seed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Bottlenecks):
    """Settings; generators and samples have the seeds of training.

    Attributes:
        graphs: names in :data:`GRAPHS`.
        mechanisms: names in :data:`MECHANISMS`; the first one is that of the phase diagram.
        phase_masks: names in :data:`PHASE_MASKS`.
        code_dims: numbers in the codes of the phase diagram.
        pairs: rows that networks whose input is ``c`` itself are trained on.
    """

    graphs: tuple[str, ...] = tuple(GRAPHS)
    mechanisms: tuple[str, ...] = ("mlp", "coupling")
    phase_masks: tuple[str, ...] = tuple(PHASE_MASKS)
    code_dims: tuple[int, ...] = tuple(range(1, 9))
    steps: int = 4000
    pairs: int = 100_000
    key: int = 1


SMOKE = Config(
    graphs=("two parents",),
    mechanisms=("mlp",),
    phase_masks=("half", "quarter"),
    code_dims=(1, 2, 3),
    pairs=200,
    **TINY,
)
LAPTOP = Config(seeds=16)
GPU = Config(mechanisms=tuple(MECHANISMS), pairs=1_000_000, **LARGE)


# ---------------------------------------------------------------------- the experiment


def predict(config: Config) -> Prediction:
    """``d_c`` and the members of ``c`` for every mask, and what counts as "a function of"."""
    described = {name: [_described(name, mask) for mask in MASKS[name]] for name in config.graphs}
    phase = {name: _described("tree", PHASE_MASKS[name]) for name in config.phase_masks}
    limits = {"threshold": THRESHOLD, "tolerance": TOLERANCE, "plateau": PLATEAU, "drop": DROP}
    return {**limits, "graphs": described, "phase": phase}


def _described(graph: str, masked: Sequence[str]) -> dict[str, Any]:
    shared = shared_information(GRAPHS[graph](), masked)
    return {"masked": list(masked), "members": sorted(shared.members), "d_c": shared.dim}


def groups(config: Config) -> list[Group]:
    """One per graph and mechanism, and one per mask of the phase diagram."""
    arms: list[Group] = [{"part": "arms", "graph": g, "mechanism": m} for g in config.graphs for m in config.mechanisms]
    phase = {"part": "phase", "graph": "tree", "mechanism": config.mechanisms[0]}
    return arms + [{**phase, "mask": mask} for mask in config.phase_masks]


def _arms(config: Config, group: Group) -> list[Arm]:
    if group["part"] == "arms":
        return arms_of_graph(group["graph"])
    mask = PHASE_MASKS[group["mask"]]
    return [Arm(label=group["mask"], masked=mask, judged=mask, code_dim=dim) for dim in config.code_dims]


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Train all codes of a group, those of a seed together, and score each."""
    return [record for seed in range(config.seeds) for record in _measure_seed(config, group, seed, states)]


def _measure_seed(config: Config, group: Group, seed: int, states: Path | None) -> list[Record]:
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.key), seed), 5)
    model = HierarchicalModel.init(keys[0], GRAPHS[group["graph"]](), MECHANISMS[group["mechanism"]])
    arms = _arms(config, group)
    members = [config.member(arm.masked, arm.code_dim, seed) for arm in arms]
    fits = train(keys[1], model, members, config.optimisation, states)
    sample = model.sample(keys[2], config.rows)
    scoring = RegressionConfig(
        max_train=config.max_train, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0), n_boot=200
    )
    records: list[Record] = []

    def add(label: str, code_dim: int, scores: dict[str, float]) -> None:
        about = {**group, "arm": label, "code_dim": code_dim, "seed": seed}
        records.extend({**about, "score": name, "value": round(float(v), 5)} for name, v in scores.items())

    two_ways = functools.partial(two_way, key=config.key, config=scoring)

    for arm, fit in zip(arms, fits, strict=True):
        content, own = (_content(sample, mask) for mask in (arm.judged, arm.masked))
        code = np.asarray(mae.encode(fit, sample, fit.mask))
        found = two_ways(code, content) | {"loss": _last_losses(fit)}
        if arm.judged != arm.masked:
            found["code -> own c"] = kernel_r2(code, own, key=config.key, config=scoring).value
            found["own c -> c"] = kernel_r2(own, content, key=config.key, config=scoring).value
        add(arm.label, arm.code_dim, found)
        if arm.label == "exact":
            add("untrained", arm.code_dim, two_ways(np.asarray(mae.encode(fit.untrained(), sample, fit.mask)), content))
            visible = np.concatenate([v for name, v in sample.observed.items() if name not in arm.masked], axis=1)
            add("visible part", visible.shape[1], two_ways(visible, content))
    (judged,) = {arm.judged for arm in arms}
    pairs = _pairs(model.sample(keys[3], config.pairs), judged)
    d_c = shared_information(model.graph, judged).dim
    dims = (d_c, d_c - 1)
    readers = train(keys[4], pairs, [config.member(judged, dim, seed) for dim in dims], config.optimisation, states)
    for label, dim, fit in zip(_READERS, dims, readers, strict=True):
        add(label, dim, {"loss": _last_losses(fit)})
    return records


def _pairs(sample: Sample, masked: Sequence[str]) -> ArrayData:
    """``c`` as one visible variable, beside the masked ones: what a network that knows ``c`` is trained on."""
    content = _content(sample, masked)
    dims = {"root": 1, "c": content.shape[1]} | {name: sample.graph.dim(name) for name in masked}
    graph = LatentGraph.from_edges([("root", name) for name in ("c", *masked)], dims=dims)
    return ArrayData(graph=graph, parts=(content, *(np.asarray(sample.observed[name]) for name in masked)))


def _last_losses(fit: Fit) -> float:
    """Mean training loss of the last tenth of the steps."""
    return float(fit.losses[-max(1, len(fit.losses) // 10) :].mean())


def _content(sample: Sample, masked: Sequence[str]) -> np.ndarray:
    """Values of the frontier latents side by side, of which all of ``c`` is a function."""
    shared = shared_information(sample.graph, masked)
    return np.concatenate([np.asarray(sample.latents[name]) for name in sorted(shared.frontier)], axis=1)


def two_way(code: np.ndarray, content: np.ndarray, key: int, config: RegressionConfig) -> dict[str, float]:
    """R² both ways, that of the direction of ``c`` which the code holds least of, and the verdict (1, 0 or -1)."""
    found = block_verdict(code, content, key=key, threshold=THRESHOLD, config=config)
    outcome = -1 if found.verdict.refutes else int(found.verdict is Verdict.IDENTIFIED)
    assert found.reverse is not None  # for the type checker: both ways were asked for
    return {
        "code -> c": found.forward.value,
        "c -> code": found.reverse.value,
        "worst direction": np.nan if found.worst is None else found.worst.r2.value,
        "verdict": outcome,
    }


# ---------------------------------------------------------------------- verdicts


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """Compare every code with what was predicted of it."""
    enough, tolerance = prediction["threshold"], prediction["tolerance"]
    plateau, drop = prediction["plateau"], prediction["drop"]
    arms = records[records["part"] == "arms"]
    seeds = {
        cell: rows.sort_values("seed")["value"].to_numpy()
        for cell, rows in arms.groupby(["graph", "mechanism", "arm", "score"], sort=False)
    }
    settings = list(dict.fromkeys((g, m) for g, m, *_ in seeds))

    def of(arm: str, *scores: str) -> Seeds:
        return {
            f"{g}, {m}, {score.replace('->', '→')}": seeds[g, m, arm, score] for g, m in settings for score in scores
        }

    def apart(arm: str, other: str, score: str, of_other: str | None = None) -> Seeds:
        """What an arm has more than another, seed by seed."""
        return {f"{g}, {m}": seeds[g, m, arm, score] - seeds[g, m, other, of_other or score] for g, m in settings}

    phase = records[records["part"] == "phase"]
    d_cs = {mask: about["d_c"] for mask, about in prediction["phase"].items()}
    cells = {
        cell: rows.sort_values("seed")["value"].to_numpy()
        for cell, rows in phase.groupby(["mask", "code_dim", "arm", "score"], sort=False)
    }

    def at(score: str, chosen: Callable[[int], bool], less: int | None = None) -> Seeds:
        """Scores of codes whose numbers beyond ``d_c`` are among those chosen; less those of another such code."""
        found = {}
        for (mask, dim, arm, name), values in cells.items():
            if arm == mask and name == score and chosen(dim - d_cs[mask]):
                other = 0.0 if less is None else cells[mask, d_cs[mask] + less, mask, score]
                found[f"{mask} (d_c = {d_cs[mask]}), {dim} numbers"] = values - other
        return found

    losses = {f"{g}, {m}": [seeds[g, m, arm, "loss"] for arm in ("exact", *_READERS)] for g, m in settings} | {
        f"phase diagram, {mask}": [
            cells[mask, dim, arm, "loss"] for dim, arm in zip((d_c, d_c, d_c - 1), (mask, *_READERS), strict=True)
        ]
        for mask, d_c in d_cs.items()
    }
    reached = {name: code / known - 1 for name, (code, known, _) in losses.items()}
    missed = {name: short / known - 1 for name, (_, known, short) in losses.items()}
    is_function, boundary = (enough, math.inf), yes("d_c is the boundary")
    return [
        mean_claim(
            "A code of exactly d_c numbers is an invertible function of c: R² ≥ 0.9 both ways.",
            of("exact", "code -> c", "c -> code"),
            is_function,
            theory=yes("identified (Theorem D)"),
            paper=yes("identified (Theorem 2)"),
        ),
        mean_claim(
            "Training does it: R²(code → c) gains at least 0.1 over the untrained encoder.",
            apart("exact", "untrained", "code -> c"),
            (0.1, math.inf),
            theory=yes("an untrained code of d_c numbers is no function of c"),
        ),
        mean_claim(
            f"One number fewer loses a direction of c: the R² of the worst direction falls by at least {drop}.",
            apart("exact", "too narrow", "worst direction"),
            (drop, math.inf),
            theory=yes("fewer than d_c numbers cannot"),
        ),
        equivalence_claim(
            f"Two numbers more give no more of c: R²(code → c) changes by at most {plateau}.",
            apart("too wide", "exact", "code -> c"),
            plateau,
            theory=yes("both contain c"),
        ),
        mean_claim(
            "A code of d_c + 2 numbers is no function of c: R²(c → code) < 0.9.",
            of("too wide", "c -> code"),
            (-math.inf, enough),
        ),
        mean_claim(
            "A code trained under another mask does not hold c: R²(code → c) < 0.9.",
            of("wrong mask", "code -> c"),
            (-math.inf, enough),
            theory=yes("it is a function of that mask's c'"),
        ),
        equivalence_claim(
            "Of c it tells what the other mask's c' tells: R²(code → c) − R²(c' → c) within 0.05.",
            apart("wrong mask", "wrong mask", "code -> c", "own c -> c"),
            tolerance,
            theory=yes("equal"),
        ),
        mean_claim(
            "Phase diagram: the last number before d_c adds to R²(code → c).",
            at("code -> c", lambda more: more == 0, less=-1),
            theory=boundary,
        ),
        mean_claim(
            f"Phase diagram: numbers beyond d_c add at most {plateau} to R²(code → c).",
            at("code -> c", lambda more: more > 0, less=0),
            (-math.inf, plateau),
            theory=boundary,
        ),
        mean_claim(
            "Phase diagram: a code of at most d_c numbers is a function of c: R²(c → code) ≥ 0.9.",
            at("c -> code", lambda more: more <= 0),
            is_function,
            theory=yes("the best code for any decoder depends on c alone"),
        ),
        mean_claim(
            "Squared error sees all of c: c itself, squeezed into d_c − 1 numbers, loses more (relative).",
            missed,
            theory=yes("mean-injective"),
        ),
        mean_claim(
            f"Training reaches the optimum: a code of d_c numbers loses at most {tolerance:.0%} more than c itself.",
            reached,
            (-math.inf, tolerance),
        ),
    ]


EXPERIMENT = Experiment(
    name="theorem2",
    title="Theorem 2: identified, too narrow, too wide, wrong mask",
    question="Does a code of exactly d_c numbers identify the shared information, and no other code?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
    seeds_are_generators=True,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
