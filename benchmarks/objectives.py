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
the same network before training. A step's cost is its time over that of squared error: one core, one seed, contenders
taking turns, the median of the turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

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
from hlvm.mae import Fit, LossConfig, Member, TrainConfig, ViTConfig, encode, fastest_devices, fit_ensemble
from hlvm.mae.objectives import IJEPA, CrossEntropy, Data2Vec, SIGReg, Supervised, UniformMAE, VICReg
from hlvm.mae.training.data import standardization
from hlvm.mae.training.groups import group_members, prepare
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
TURNS, STEPS_PER_TURN = 7, 20

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
"""Whether most fits should collapse; ``None`` where nothing is predicted."""

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
    began = time.perf_counter()
    devices = fastest_devices()
    model, names = blocks_of_cells(), options.only or list(OBJECTIVES)
    masked = np.asarray(MASK.sample(jax.random.key(KEY), 1, model.graph)[0])
    shared = shared_information(model.graph, masked, regime="general")
    train = TrainConfig(steps=20, batch=32, warmup=2) if options.quick else TRAIN
    seeds = 2 if options.quick else SEEDS
    rows = [{"objective": name, **predicted(model.graph, name)} for name in names]
    for row, found in zip(rows, measured(model, names, train, seeds, devices), strict=True):
        row |= found
    seconds = time.perf_counter() - began
    for row, cost in zip(rows, costs(model, names, turns=2 if options.quick else TURNS), strict=True):
        row |= cost
    about = {"shared": sorted(shared.members), "most_known": most_known(), "seconds_without_costs": seconds}
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


def measured(
    model: HierarchicalModel, names: list[str], train: TrainConfig, seeds: int, devices: Any
) -> list[dict[str, Any]]:
    """What the codes of each objective hold, from the same data, first parameters and masks."""
    members = [
        Member(mask=MASK, network=NETWORK, loss=OBJECTIVES[name], seed=seed) for name in names for seed in range(seeds)
    ]
    fits = fit_ensemble(jax.random.key(KEY), model, members, train, devices=devices)
    sample = model.sample(jax.random.key(KEY + 1), ROWS)
    content = {name: np.asarray(sample.latents[name]) for name in ("t", "s")}
    found = []
    for number in range(len(names)):
        each = [of_fit(fit, sample, content) for fit in fits[number * seeds : (number + 1) * seeds]]
        found.append({"latents": {name: summary([one[name] for one in each]) for name in content}, "fits": each})
    return found


def of_fit(fit: Fit, sample: Any, content: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Scores of one fit, before training and after, and the shape of its code."""
    before, after = (np.asarray(encode(one, sample, None)) for one in (fit.untrained(), fit))
    regression = ScoreConfig().regression
    floors, values = (kernel_r2_many(code, content, key=KEY, config=regression) for code in (before, after))
    fallen = collapse(after, np.concatenate(list(content.values()), axis=1), untrained=before)
    return {
        **{name: {"value": values[name].value, "floor": floors[name].value} for name in content},
        "collapse": fallen.kind,
        "directions": fallen.used,
        "effective_rank": effective_rank(after).plain,
        "effective_rank_untrained": effective_rank(before).plain,
        "diverged": fit.diverged,
        "last_loss": float(fit.losses[-100:].mean()),
    }


def summary(of_fits: list[dict[str, float]]) -> dict[str, Any]:
    """Means over seeds, the interval of what training added, and whether that is more than the margin."""
    added = over_seeds([one["value"] - one["floor"] for one in of_fits])
    learned = True if added.low > MARGIN else False if added.high < MARGIN else None
    means = {name: statistics.fmean(one[name] for one in of_fits) for name in ("value", "floor")}
    return {**means, "added": added.value, "low": added.low, "high": added.high, "learned": learned}


def costs(model: HierarchicalModel, names: list[str], *, turns: int) -> list[dict[str, Any]]:
    """Time of a step of one member over that of squared error, in turns."""
    steps = {name: stepper(model, OBJECTIVES[name]) for name in dict.fromkeys(["reconstruction", *names])}
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + 1):
        order = list(steps) if turn % 2 else list(steps)[::-1]
        taken = {}
        for name in order:
            begin = time.process_time()
            steps[name]()
            taken[name] = (time.process_time() - begin) / STEPS_PER_TURN
        if turn:  # the first one warms up
            for name, of_step in taken.items():
                seconds[name].append(of_step)
                ratios[name].append(of_step / taken["reconstruction"])
    return [
        {
            "step_seconds": statistics.median(seconds[name]),
            "cost": {
                "median": statistics.median(ratios[name]),
                "least": min(ratios[name]),
                "most": max(ratios[name]),
            },
        }
        for name in names
    ]


def stepper(model: HierarchicalModel, loss: Any) -> Callable[[], None]:
    """A function that takes some steps more."""
    members = [Member(mask=MASK, network=NETWORK, loss=loss)]
    shift, scale = standardization(model, jax.random.key(KEY))
    (group,) = group_members(model.graph, members, TRAIN)
    one = prepare(jax.random.key(KEY), model, group, members, TRAIN, shift, scale)
    program, state = compile_program(one.lower(), jax.devices()[0].platform), one.state

    def take() -> None:
        nonlocal state
        found, losses = program(*one.arguments(state, 0), jnp.int32(0), jnp.int32(STEPS_PER_TURN))
        state = State(*found)
        jax.block_until_ready(losses)

    return take


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
