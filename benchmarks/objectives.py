"""Objectives of training on one generator: what of c each finds, whether its code collapses, and what a step costs.

python benchmarks/objectives.py [--out benchmarks/results/objectives.json] [--only NAME ...] [--quick]

Eight blocks of 2 x 2 cells of four symbols lie below two latents, and masks hide half of the blocks, so that c holds
both. ``t`` moves the mean of every cell, up or down by its place. ``s`` moves no mean: it says whether the four cells
of a block agree, so that only the joint law of the cells of a hidden block depends on it. Symbols are one-hot, so that
every objective can be trained.

PREDICTED was written before anything was trained. ASKED says what the best value of an objective depends on, as
:func:`hlvm.theory.check_assumptions` has it (whose words stand in the results): all of c, the part that moves means, or
nothing. For latent targets theory says neither, and no guess is made. What is asked for should be read from the code
better than before training by more than MARGIN of R²; what is not asked for should not. The second is no theorem: a
code may hold more than its objective asks for.

R² is that of kernel regression on samples of which nothing is hidden. Its interval is over seeds, of the differences to
the same network before training. Objectives take turns at their steps while they train. A step's cost is its processor
time, which other work on the machine leaves alone, over that of squared error in the same turn: the median of the
turns, with the least and the most.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import comb
from scipy.stats import norm

from hlvm import HierarchicalModel, LatentGraph
from hlvm._files.digests import write_json
from hlvm._process.provenance import environment
from hlvm.mae import Fit, LossConfig, Member, TrainConfig, ViTConfig, encode
from hlvm.mae.objectives import IJEPA, CrossEntropy, Data2Vec, SIGReg, Supervised, UniformMAE, VICReg
from hlvm.mae.training.data import standardization
from hlvm.mae.training.groups import Prepared, group_members, prepare
from hlvm.mae.training.program import State, compile_program
from hlvm.masking import RandomMask
from hlvm.mechanisms import mechanism_from_function
from hlvm.scoring import collapse, effective_rank, kernel_r2_many, over_seeds
from hlvm.study import ScoreConfig
from hlvm.theory import check_assumptions, shared_information

KEY, SEEDS, ROWS = 0, 3, 1600
TRAIN = TrainConfig(steps=1000, batch=64)
NETWORK = ViTConfig(patch=2, width=32, depth=2, decoder_width=32)
MASK = RandomMask(ratio=0.5, unit=2)
SLOPE, MARGIN = 1.5, 0.05
BLOCKS, SIDE = (2, 4), 2
STEPS_PER_TURN = 50

Asked: TypeAlias = Literal["c", "means", "nothing", "unknown"]

OBJECTIVES: dict[str, Any] = {
    "reconstruction": LossConfig(),
    "energy": LossConfig(score="energy"),
    "cross_entropy": CrossEntropy(),
    "uniform_mae": UniformMAE(),
    "ijepa": IJEPA(),
    "data2vec": Data2Vec(),
    "vicreg": VICReg(),
    "sigreg": SIGReg(),
    "supervised": Supervised(latents=("t", "s")),
    "supervised, shuffled": Supervised(latents=("t", "s"), shuffled=True),
    "ijepa, gradient not stopped": IJEPA(stop_gradient=False, ema_start=0.0, ema_end=0.0),
    "vicreg, agreement alone": VICReg(variance=0.0, covariance=0.0),
}
ASKED: dict[str, Asked] = {
    "reconstruction": "means",
    "energy": "c",
    "cross_entropy": "means",
    "uniform_mae": "means",
    "ijepa": "unknown",
    "data2vec": "unknown",
    "vicreg": "c",
    "sigreg": "c",
    "supervised": "c",
    "supervised, shuffled": "nothing",
    "ijepa, gradient not stopped": "nothing",
    "vicreg, agreement alone": "nothing",
}
"""Marginal laws of one-hot cells are their means, so cross-entropy asks for what squared error does."""

COLLAPSES: dict[str, bool | None] = {
    **dict.fromkeys(OBJECTIVES, False),
    **dict.fromkeys(("ijepa", "data2vec", "supervised, shuffled"), None),
    **dict.fromkeys(("ijepa, gradient not stopped", "vicreg, agreement alone"), True),
}
"""True where most fits should collapse; ``None`` where nothing is predicted."""

PREDICTED: dict[str, dict[str, bool | None]] = {
    name: {
        "t": {"c": True, "means": True, "nothing": False, "unknown": None}[asked],
        "s": {"c": True, "means": False, "nothing": False, "unknown": None}[asked],
        "collapses": COLLAPSES[name],
    }
    for name, asked in ASKED.items()
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Objectives: what each finds, and what a step costs.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", choices=tuple(OBJECTIVES), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="few steps and seeds, to see that it runs")
    options = parser.parse_args()
    began = time.process_time()
    model, names = blocks_of_cells(), list(dict.fromkeys(["reconstruction", *(options.only or OBJECTIVES)]))
    masked = np.asarray(MASK.sample(jax.random.key(KEY), 1, model.graph)[0])
    shared = shared_information(model.graph, masked, regime="general")
    train = TrainConfig(steps=2 * STEPS_PER_TURN, batch=16, warmup=2) if options.quick else TRAIN
    seeds = 2 if options.quick else SEEDS
    rows = [{"objective": name, **predicted(model.graph, name)} for name in names]
    fits, seconds = trained(model, names, train, seeds)
    for row, found, cost in zip(rows, measured(model, fits), costs(seconds), strict=True):
        row |= found | cost
    about = {
        "shared": sorted(shared.members),
        "most_known": most_known(),
        "processor_seconds": time.process_time() - began,
    }
    show(rows, about)
    if options.out is not None:
        used = environment("jax", "jaxlib", "flax", "optax", "numpy", "scipy")
        settings = {"steps": train.steps, "batch": train.batch, "seeds": seeds, "margin": MARGIN, "rows": ROWS}
        write_json(options.out, {"environment": used, "settings": settings, **about, "rows": rows})


# ---------------------------------------------------------------------- the generator


def blocks_of_cells() -> HierarchicalModel:
    """Two latents above eight blocks of 2 x 2 cells, each a symbol in four columns, one of which is 1."""
    rows, columns = BLOCKS
    blocks = [f"b_{i}_{j}" for i in range(rows) for j in range(columns)]
    edges = [(latent, block) for latent in ("t", "s") for block in blocks]
    cells = [(i, j) for i in range(rows * SIDE) for j in range(columns * SIDE)]
    edges += [(f"b_{i // SIDE}_{j // SIDE}", f"x_{i}_{j}") for i, j in cells]
    dims = {"t": 1, "s": 1, **dict.fromkeys(blocks, 4), **{f"x_{i}_{j}": 4 for i, j in cells}}
    graph = LatentGraph.from_edges(edges, dims=dims, grid=(rows * SIDE, columns * SIDE))
    ways = [mechanism_from_function(symbols(sign), noise_size=6) for sign in (1.0, -1.0)]
    draw = {block: ways[number % 2] for number, block in enumerate(blocks)}
    show_one = [mechanism_from_function(symbol_at(place), noise_size=0) for place in range(SIDE**2)]
    draw |= {f"x_{i}_{j}": show_one[i % SIDE * SIDE + j % SIDE] for i, j in cells}
    return HierarchicalModel.init(jax.random.key(KEY), graph, draw, standardize=False)


def symbols(sign: float) -> Callable[[Any, Any], Any]:
    """Symbols of a block, 2 * pair + member: pairs follow ``t``, members agree or form a chequerboard as ``s`` says."""
    ways, board = sign * np.array([1.0, 1.0, -1.0, -1.0]), np.array([0.0, 1.0, 1.0, 0.0])

    def apply(parents: Any, noise: Any) -> Any:
        t, s = parents
        pair = noise[:4] < SLOPE * t * ways
        first, differ = noise[4] < 0, noise[5] > SLOPE * s
        return 2.0 * pair + jnp.abs(first - board * differ)

    return apply


def symbol_at(place: int) -> Callable[[Any, Any], Any]:
    """One cell of a block, one-hot."""

    def apply(parents: Any, noise: Any) -> Any:
        del noise
        return jax.nn.one_hot(parents[place].astype(jnp.int32), 4)

    return apply


def most_known() -> dict[str, float]:
    """R² of each latent given all cells, exactly: its posterior depends on a number of cells or blocks alone."""
    grid = np.linspace(-8, 8, 4001)
    weights = norm.pdf(grid) / norm.pdf(grid).sum()
    found = {}
    for name, trials in (("t", BLOCKS[0] * BLOCKS[1] * SIDE**2), ("s", BLOCKS[0] * BLOCKS[1])):
        counts = np.arange(trials + 1)[:, None]
        likelihood = np.exp(counts * norm.logcdf(SLOPE * grid) + (trials - counts) * norm.logcdf(-SLOPE * grid))
        joint = comb(trials, counts) * likelihood * weights
        found[name] = float(((joint @ grid) ** 2 / joint.sum(axis=1)).sum())
    return found


# ---------------------------------------------------------------------- predicted and measured


def predicted(graph: LatentGraph, name: str) -> dict[str, Any]:
    """The prediction for one objective, with the words of the theory's findings."""
    loss = OBJECTIVES[name]
    kind: Any = "energy" if getattr(loss, "score", "") == "energy" else loss.kind
    known = {finding.assumption for finding in check_assumptions(graph).findings} - {"mean-injectivity"}
    findings = [one for one in check_assumptions(graph, objective=kind).findings if one.assumption not in known]
    said = [{"assumption": one.assumption, "status": one.status, "message": one.message} for one in findings]
    return {"kind": kind, "asked": ASKED[name], "predicted": PREDICTED[name], "theory": said}


def trained(
    model: HierarchicalModel, names: list[str], train: TrainConfig, seeds: int
) -> tuple[dict[str, list[Fit]], dict[str, list[float]]]:
    """Fits of every objective from the same data, first parameters and masks; and times of a step, in each turn.

    All programs are compiled first. Then they take turns at some steps, in an order that goes to and fro.
    """
    members = [
        Member(mask=MASK, network=NETWORK, loss=OBJECTIVES[name], seed=seed) for name in names for seed in range(seeds)
    ]
    standardize_key, key = jax.random.split(jax.random.key(KEY))
    shift, scale = standardization(model, standardize_key)
    runs: dict[str, Run] = {}
    for group in group_members(model.graph, members, train):
        one = prepare(key, model, group, members, train, shift, scale)
        program = compile_program(one.lower(), jax.devices()[0].platform)
        runs[names[group.members[0] // seeds]] = Run(one, program, train)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn, start in enumerate(range(0, train.steps, STEPS_PER_TURN)):
        for name in names if turn % 2 else names[::-1]:
            begin = time.process_time()
            runs[name].take(start)
            seconds[name].append((time.process_time() - begin) / min(STEPS_PER_TURN, train.steps - start))
    return {name: runs[name].fits() for name in names}, seconds


class Run:
    """The seeds of one objective in training."""

    def __init__(self, one: Prepared, program: Any, train: TrainConfig) -> None:
        self._one, self._program, self._state = one, program, one.state
        self._losses = np.zeros((train.steps, len(one.members)), np.float32)

    def take(self, start: int) -> None:
        """Take the steps of a turn."""
        count = min(STEPS_PER_TURN, len(self._losses) - start)
        found, losses = self._program(*self._one.arguments(self._state, start), jnp.int32(start), jnp.int32(count))
        self._losses[start : start + count] = np.asarray(losses)[:count]
        self._state = State(*found)

    def fits(self) -> list[Fit]:
        """The autoencoders as they are now."""
        one, done = self._one, np.asarray(self._state.steps_done)
        return [
            Fit(
                model=one.feeder.data,
                mask=member.mask,
                network=member.network,
                train=one.train,
                loss=member.loss,
                seed=member.seed,
                key=one.key,
                params=self._state.params[row],
                losses=self._losses[: done[row], row],
                diverged=bool(done[row] < len(self._losses)),
                shift=one.feeder.shift,
                scale=one.feeder.scale,
            )
            for row, member in enumerate(one.members)
        ]


def measured(model: HierarchicalModel, of_names: Mapping[str, list[Fit]]) -> list[dict[str, Any]]:
    """Scores of the codes of each objective."""
    sample = model.sample(jax.random.key(KEY + 1), ROWS)
    content = {name: np.asarray(sample.latents[name]) for name in ("t", "s")}
    floors: dict[int, Floor] = {}
    found = []
    for fits in of_names.values():
        each = []
        for fit in fits:
            if fit.seed not in floors:  # paired: all objectives begin with the same network
                floors[fit.seed] = floor_of(fit, sample, content)
            each.append(of_fit(fit, sample, content, floors[fit.seed]))
        found.append({"latents": {name: summary([one[name] for one in each]) for name in content}, "fits": each})
    return found


class Floor(NamedTuple):
    """The code of a network before training, and its scores."""

    code: np.ndarray
    scores: dict[str, float]
    rank: float


def floor_of(fit: Fit, sample: Any, content: Mapping[str, np.ndarray]) -> Floor:
    """Scores before training."""
    code = np.asarray(encode(fit.untrained(), sample, None))
    return Floor(code, scores_of(code, content), effective_rank(code).plain)


def scores_of(code: np.ndarray, content: Mapping[str, np.ndarray]) -> dict[str, float]:
    """R² of each latent."""
    found = kernel_r2_many(code, content, key=KEY, config=ScoreConfig().regression)
    return {name: score.value for name, score in found.items()}


def of_fit(fit: Fit, sample: Any, content: Mapping[str, np.ndarray], floor: Floor) -> dict[str, Any]:
    """Scores of one fit beside those before training, and the shape of its code."""
    code = np.asarray(encode(fit, sample, None))
    values = scores_of(code, content)
    fallen = collapse(code, np.concatenate(list(content.values()), axis=1), untrained=floor.code)
    return {
        **{name: {"value": values[name], "floor": floor.scores[name]} for name in content},
        "collapse": fallen.kind,
        "directions": fallen.used,
        "effective_rank": effective_rank(code).plain,
        "effective_rank_untrained": floor.rank,
        "diverged": fit.diverged,
        "last_loss": float(fit.losses[-100:].mean()),
    }


def summary(of_fits: list[dict[str, float]]) -> dict[str, Any]:
    """Means over seeds, the interval of what training added, and whether that is more than the margin."""
    added = over_seeds([one["value"] - one["floor"] for one in of_fits])
    learned = True if added.low > MARGIN else False if added.high < MARGIN else None
    means = {name: statistics.fmean(one[name] for one in of_fits) for name in ("value", "floor")}
    return {**means, "added": added.value, "low": added.low, "high": added.high, "learned": learned}


def costs(seconds: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """Time of a step over that of squared error in the same turn; the first turn warms up."""
    ours = seconds["reconstruction"][1:]
    found = []
    for of in seconds.values():
        ratios = [a / b for a, b in zip(of[1:], ours, strict=True)]
        cost = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        found.append({"step_seconds": statistics.median(of[1:]), "cost": cost})
    return found


# ---------------------------------------------------------------------- shown


def show(rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Print what was predicted beside what was measured; ! marks what contradicts it."""
    most = ", ".join(f"{name} {value:.2f}" for name, value in about["most_known"].items())
    table = Table(title=f"c holds {', '.join(about['shared'])}; R² that is possible: {most}")
    for heading in ("objective", "asked", "t", "s", "collapsed", "effective rank", "cost"):
        table.add_column(heading)
    for row in rows:
        cells = []
        for name in ("t", "s"):
            of, expected = row["latents"][name], row["predicted"][name]
            verdict = {True: "learned", False: "not learned", None: "open"}[of["learned"]]
            wrong = " !" if None not in (expected, of["learned"]) and expected != of["learned"] else ""
            cells.append(f"{of['value']:.2f} from {of['floor']:.2f}, {verdict}{wrong}")
        fallen = [fit["collapse"] != "none" for fit in row["fits"]]
        expected = row["predicted"]["collapses"]
        wrong = " !" if expected is not None and expected != (2 * sum(fallen) > len(fallen)) else ""
        ranks = [fit["effective_rank"] for fit in row["fits"]]
        cost = row["cost"]
        table.add_row(
            row["objective"],
            row["asked"],
            *cells,
            f"{sum(fallen)} of {len(fallen)}{wrong}",
            f"{statistics.fmean(ranks):.1f}",
            f"{cost['median']:.2f} ({cost['least']:.2f} to {cost['most']:.2f})",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
