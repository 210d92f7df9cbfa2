"""Does a trained bottleneck identify what theory says, and what squared error cannot see?

Section 4 of docs/theory.md over several seeds: three masks of a quadtree, and the polar counter-example with its repair
by the energy score, also without a bottleneck. Predictions are written down before anything is trained.

    python -m experiments.identification --out runs/identification [--preset smoke|laptop]
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax
import numpy as np

from experiments.records import parsed_options, write_results
from hlvm import mae, scoring
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, Fit, LossConfig, Member, NetworkConfig, TrainConfig, ViTConfig
from hlvm.masking import FixedMask, Patches
from hlvm.mechanisms import InvertibleMLP, Polar
from hlvm.scoring import RegressionConfig, check_seeds
from hlvm.simulator import HierarchicalModel, Sample
from hlvm.theory import shared_information

Record = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        seeds: training seeds; at least 2, for an interval.
        quadtree: training on the quadtree.
        polar: training on the polar mechanism, for both losses.
        rows: held-out samples for scoring: 60 % fit the regressions, 40 % test them.
        max_train: most rows a regression is fitted on.
        key: everything random follows from it.
    """

    seeds: int = 5
    quadtree: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=3000, batch=512))
    polar: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=3000, batch=512))
    rows: int = 2500
    max_train: int = 1500
    key: int = 0

    def __post_init__(self) -> None:
        check_seeds(self.seeds)


SMOKE = Config(
    seeds=2,
    quadtree=TrainConfig(steps=3, batch=8, warmup=1),
    polar=TrainConfig(steps=3, batch=8, warmup=1),
    rows=100,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of member with what is predicted for it.

    Attributes:
        label: in words.
        mask: what is masked.
        network: the autoencoder; the code of one without a bottleneck is its class token.
        loss: the loss.
        predicted: scores -> the interval in which the mean over seeds must lie, for the prediction to hold.
    """

    label: str
    mask: FixedMask
    network: NetworkConfig
    loss: LossConfig
    predicted: dict[str, tuple[float, float]]


def quadtree_cases(graph: LatentGraph) -> list[Case]:
    """Two subtrees masked; one leaf masked with a code that is too narrow; the same with one of the right size."""
    halves = Patches.of_subtrees(graph, graph.height(graph.latents[0]) - 1).groups[:2]
    two, leaf = FixedMask(masked=halves[0] + halves[1]), FixedMask(masked=(graph.observed[0],))
    wide, narrow = (shared_information(graph, mask.masked).dim for mask in (leaf, two))
    plain = LossConfig()
    high, low = (0.95, 1.0), (-1.0, 0.9)
    return [
        Case(
            label="two subtrees",
            mask=two,
            network=BottleneckConfig(code_dim=narrow),
            loss=plain,
            predicted={"code -> c": high, "c -> code": high},
        ),
        Case(
            label="leaf, too narrow",
            mask=leaf,
            network=BottleneckConfig(code_dim=wide - 1),
            loss=plain,
            predicted={"code -> c": low},
        ),
        Case(
            label="leaf, exact",
            mask=leaf,
            network=BottleneckConfig(code_dim=wide),
            loss=plain,
            predicted={"code -> c": high, "c -> code": high},
        ),
    ]


def polar_graph() -> LatentGraph:
    """A root of one number with four children of two, on a grid of 2 x 2 for a transformer's positions."""
    names = [f"x{i}" for i in range(1, 5)]
    dims = {"c": 1} | dict.fromkeys(names, 2)
    return LatentGraph.from_edges([("c", name) for name in names], dims=dims, noise_dims=1, grid=(2, 2))


def polar_cases() -> list[Case]:
    """Three autoencoders, each with either loss: codes of one number by a perceptron and a transformer, and wide ones.

    A wide code has c before training, and nothing makes it drop the rest: it cannot be a function of c. The energy
    score needs c all the same, to the loss of the others, so the code should follow c more than with squared error.
    """
    none = {"gain over floor": (-1.0, 0.1)}
    both = {"code -> c": (0.98, 1.0), "c -> code": (0.98, 1.0)}
    contained = {"untrained code -> c": (0.98, 1.0), "code -> c": (0.98, 1.0)}
    networks: list[tuple[str, NetworkConfig, tuple[dict[str, tuple[float, float]], ...]]] = [
        ("", BottleneckConfig(code_dim=1), (none, both)),
        (", transformer", BottleneckConfig(code_dim=1, encoder=ViTConfig()), (none, both)),
        (
            ", no bottleneck",
            ViTConfig(),
            (
                {**contained, "c -> code": (-1.0, 0.4)},
                {**contained, "c -> code": (0.4, 0.95), "final loss": (0.589, 0.609)},
            ),
        ),
    ]
    losses = {"squared error": LossConfig(), "energy score": LossConfig(score="energy")}
    return [
        Case(
            label=f"polar, {score}{name}",
            mask=FixedMask(masked=("x1", "x2")),
            network=network,
            loss=loss,
            predicted=predicted,
        )
        for name, network, predictions in networks
        for (score, loss), predicted in zip(losses.items(), predictions, strict=True)
    ]


def run(config: Config) -> list[Record]:
    """Train, score every seed, and compare with the predictions.

    Returns:
        One record per case and score: the scores of all seeds, their mean with a 95 % interval (Student), what was
        predicted, and whether the mean lies there.
    """
    return run_quadtree(config) + run_polar(config)


def run_quadtree(config: Config) -> list[Record]:
    """The three masks of the quadtree."""
    model = HierarchicalModel.init(_keys(config)["model"], LatentGraph.quadtree(2), InvertibleMLP())
    return _run(config, model, quadtree_cases(model.graph), config.quadtree)


def run_polar(config: Config) -> list[Record]:
    """The counter-example, with either loss."""
    model = HierarchicalModel.init(_keys(config)["polar"], polar_graph(), Polar())
    return _run(config, model, polar_cases(), config.polar)


def _keys(config: Config) -> dict[str, jax.Array]:
    names = ("model", "polar", "fit", "sample")
    return dict(zip(names, jax.random.split(jax.random.key(config.key), len(names)), strict=True))


def _run(config: Config, model: HierarchicalModel, cases: list[Case], train: TrainConfig) -> list[Record]:
    members = [
        Member(mask=case.mask, network=case.network, seed=seed, loss=case.loss)
        for case in cases
        for seed in range(config.seeds)
    ]
    began = time.perf_counter()
    fits = mae.fit_ensemble(_keys(config)["fit"], model, members, train)
    print(f"{len(fits)} members trained in {time.perf_counter() - began:.0f} s", flush=True)
    sample = model.sample(_keys(config)["sample"], config.rows)
    records: list[Record] = []
    for number, case in enumerate(cases):
        of_case = fits[number * config.seeds : (number + 1) * config.seeds]
        compared = _compare(case, [_scores(fit, case, sample, config) for fit in of_case])
        print("\n".join(map(_line, compared)), flush=True)
        records += compared
    return records


def _scores(fit: Fit, case: Case, sample: Sample, config: Config) -> dict[str, float]:
    """Held-out R² of one fit, and of the same encoder before training."""
    graph = fit.model.graph
    members = sorted(shared_information(graph, case.mask.masked).members, key=graph.latents.index)
    latents = {name: np.asarray(sample.latents[name]) for name in members}
    targets = {"c": np.concatenate(list(latents.values()), axis=1), **latents}
    if "z1_0_0" in graph.latents and "z1_0_0" not in targets:
        targets["z1_0_0"] = np.asarray(sample.latents["z1_0_0"])  # not claimed
    settings = RegressionConfig(max_train=config.max_train)
    code = np.asarray(mae.encode(fit, sample, case.mask, pooling="class"))
    untrained = np.asarray(mae.encode(fit.untrained(), sample, case.mask, pooling="class"))
    forward = scoring.kernel_r2_many(code, targets, key=config.key, config=settings)
    found = {f"code -> {name}": score.value for name, score in forward.items()}
    found["c -> code"] = scoring.kernel_r2(targets["c"], code, key=config.key, config=settings).value
    found["untrained code -> c"] = scoring.kernel_r2(untrained, targets["c"], key=config.key, config=settings).value
    found["gain over floor"] = found["code -> c"] - found["untrained code -> c"]
    found["final loss"] = float(fit.losses[-100:].mean()) if len(fit.losses) else float("nan")
    return found


def _compare(case: Case, scores: list[dict[str, float]]) -> list[Record]:
    records: list[Record] = []
    for name in scores[0]:
        values = np.asarray([score[name] for score in scores])
        low, mean, high = scoring.over_seeds(values)
        predicted = case.predicted.get(name)
        records.append(
            {
                "case": case.label,
                "code_dim": _numbers(case.network),
                "score": name,
                "mean": mean,
                "low": low,
                "high": high,
                "seeds": values.tolist(),
                "predicted": predicted,
                "agrees": None if predicted is None else predicted[0] <= mean <= predicted[1],
            }
        )
    return records


def _numbers(network: NetworkConfig) -> int:
    return network.width if isinstance(network, ViTConfig) else network.code_dim


def _line(record: Record) -> str:
    agrees = {None: "", True: "as predicted", False: "NOT as predicted"}[record["agrees"]]
    seeds = " ".join(f"{value:.3f}" for value in record["seeds"])
    return (
        f"{record['case']:35} d={record['code_dim']} {record['score']:20} {record['mean']:.3f} "
        f"[{record['low']:.3f}, {record['high']:.3f}]  {seeds}  {agrees}"
    )


def main() -> None:
    """Run from the command line; writes records, settings and versions to one file."""
    options = parsed_options(__doc__)
    config = SMOKE if options.preset == "smoke" else Config()
    records = run(config)
    write_results(options.out / "identification.json", config, {"records": records}, "jax")


if __name__ == "__main__":
    main()
