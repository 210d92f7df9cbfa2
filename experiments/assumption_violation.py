"""What is left of identification when mechanisms leave the invertible regime, and where squared error sees nothing?

Part one leaves the assumptions of Theorem 2 one at a time; ``c`` is the root, codes have as many numbers, half of the
observed variables are masked unless said otherwise. Part two keeps them and looks at what squared error cannot see.

Predicted before training: docs/experiments/assumption_violation.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from experiments.assumption_violation_claims import judge
from experiments.assumption_violation_figures import draw_gap, draw_violations
from experiments.command import command
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.training import LARGE, TINY, Bottlenecks, train
from experiments.violating_mechanisms import Folded, Hyperbolic, Noisy, best_r2_of_fold, fold
from hlvm import mae
from hlvm.graph import LatentGraph
from hlvm.mae import Fit
from hlvm.mae.objectives.reconstruction import Score
from hlvm.masking import masked_array
from hlvm.mechanisms import InvertibleMLP, LinearGaussian, Mechanism, Polar
from hlvm.scoring import RegressionConfig, kernel_r2, mlp_r2
from hlvm.simulator import HierarchicalModel, Sample
from hlvm.theory import GaussianOracle

BLIND: dict[str, Mechanism] = {"polar": Polar(), "hyperbolic": Hyperbolic()}
"""Mechanisms whose conditional mean says nothing, by name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Bottlenecks):
    """What is run.

    Attributes:
        noises: standard deviations of noise relative to signal, above 0.
        height: levels below the root in the part on noise.
        folds: levels of the fold, 0 to 1.
        children: how many of eight children are visible, 1 to 7.
        blind: mechanisms of part two, names in :data:`BLIND`.
        code_dims: numbers in the codes of part two, where ``d_c`` is 1.
        labels: rows of the regression with labels.
        draws: noises over which a conditional mean is taken.
        points: samples in the scatter plots.
    """

    noises: tuple[float, ...] = (0.5, 1.0, 2.0)
    height: int = 2
    folds: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    children: tuple[int, ...] = (1, 2, 4)
    blind: tuple[str, ...] = ("polar", "hyperbolic")
    code_dims: tuple[int, ...] = (1, 2, 4)
    labels: int = 12_000
    draws: int = 400
    points: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.code_dims, default=0) != 1 or max(self.code_dims) < 2:
            raise ValueError(f"code_dims must hold 1, which is d_c, and more than that, got {self.code_dims}")
        if not self.noises or min(self.noises) <= 0:
            raise ValueError(f"noises must be above 0, at least one of them, got {self.noises}")
        if not self.folds or not 0 <= min(self.folds) <= max(self.folds) <= 1:
            raise ValueError(f"folds must be from 0 to 1, at least one of them, got {self.folds}")
        if not self.children or not 1 <= min(self.children) <= max(self.children) <= 7:
            raise ValueError(f"children must be from 1 to 7, so that one of eight is masked, got {self.children}")


SMOKE = Config(
    noises=(0.5,),
    height=1,
    folds=(0.75,),
    children=(1, 7),
    blind=("polar",),
    code_dims=(1, 2),
    labels=120,
    draws=3,
    **TINY,
)
LAPTOP = Config(seeds=8)
GPU = Config(
    noises=(0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0),
    folds=tuple(np.linspace(0, 1, 11).round(2).tolist()),
    children=tuple(range(1, 8)),
    code_dims=(1, 2, 3, 4, 6, 8),
    labels=100_000,
    **LARGE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One generator and what is trained on it.

    Attributes:
        graph: its graph; the root is the only latent in ``c``.
        mechanism: of all its variables.
        arms: level as recorded -> masked variables, and numbers in the code.
    """

    graph: LatentGraph
    mechanism: Mechanism
    arms: dict[float, tuple[tuple[str, ...], int]]

    @property
    def root(self) -> str:
        """Name of the root."""
        return self.graph.latents[0]


def cases(config: Config, group: Group) -> list[Case]:
    """The generators of a group."""
    part, kind = group["part"], group["mechanism"]
    made: list[tuple[float, Mechanism]]
    if part == "noise":
        graph = LatentGraph.tree(4, config.height)
        half = graph.observed[: len(graph.observed) // 2]
        if kind == "linear":
            made = [(level, LinearGaussian(snr=level**-2)) for level in config.noises]
        else:
            made = [(level, Noisy(level=level)) for level in (0.0, *config.noises)]
        return [Case(graph=graph, mechanism=m, arms={level: (half, 2)}) for level, m in made]
    if part == "fold":
        graph = LatentGraph.tree(8, 1)
        made = [(level, Folded(level=level)) for level in config.folds]
        return [Case(graph=graph, mechanism=m, arms={level: (graph.observed[:4], 2)}) for level, m in made]
    if part == "children":
        graph = LatentGraph.tree(8, 1)
        mechanism = LinearGaussian(snr=1.0) if kind == "linear" else InvertibleMLP()
        return [
            Case(graph=graph, mechanism=mechanism, arms={float(n): (graph.observed[n:], 2) for n in config.children})
        ]
    graph = LatentGraph.tree(4, 1, root_dim=1)
    arms = {float(dim): (graph.observed[:2], dim) for dim in config.code_dims}
    return [Case(graph=graph, mechanism=BLIND[kind], arms=arms)]


# ---------------------------------------------------------------------- the experiment


def predict(config: Config) -> Prediction:
    """R² of the root, by level: of each generator from the oracle with linear mechanisms, and from the fold."""
    found: Prediction = {"threshold": 0.9, "tolerance": 0.05}
    for part in ("noise", "children"):
        found[part] = []
        for case in cases(config, {"part": part, "mechanism": "linear"}):
            oracles = [GaussianOracle(_model(config, case, seed)) for seed in range(config.seeds)]
            for level, (mask, _) in case.arms.items():
                found[part].append([level, [oracle.latent_r2(mask)[case.root] for oracle in oracles]])
    found["fold"] = [[level, best_r2_of_fold(level)] for level in config.folds]
    found["fold curve"] = [[level, best_r2_of_fold(level)] for level in np.linspace(0, 1, 41).round(3).tolist()]
    return found


def groups(config: Config) -> list[Group]:
    """One for each part and mechanism."""
    return [
        {"part": "noise", "mechanism": "linear"},
        {"part": "noise", "mechanism": "mlp"},
        {"part": "fold", "mechanism": "mlp"},
        {"part": "children", "mechanism": "linear"},
        {"part": "children", "mechanism": "mlp"},
        *({"part": "gap", "mechanism": name} for name in config.blind),
    ]


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Train and score every code of a group."""
    return [
        record
        for case in cases(config, group)
        for seed in range(config.seeds)
        for record in _measured(config, group, case, seed, states)
    ]


def _model(config: Config, case: Case, seed: int) -> HierarchicalModel:
    return HierarchicalModel.init(_keys(config, seed)["model"], case.graph, case.mechanism)


def _keys(config: Config, seed: int) -> dict[str, Any]:
    names = ("model", "fit", "sample", "labels", "draws")
    keys = jax.random.split(jax.random.key(config.key), len(names))
    return {name: jax.random.fold_in(key, seed) if seed else key for name, key in zip(names, keys, strict=True)}


def _measured(config: Config, group: Group, case: Case, seed: int, states: Path | None) -> list[Record]:
    model, keys, gap = _model(config, case, seed), _keys(config, seed), group["part"] == "gap"
    losses: tuple[Score, ...] = ("squared_error", "energy") if gap else ("squared_error",)
    runs: list[tuple[float, tuple[str, ...], int, Score]] = [
        (level, mask, dim, loss) for level, (mask, dim) in case.arms.items() for loss in losses
    ]
    members = [config.member(mask, dim, seed, loss) for _, mask, dim, loss in runs]
    fits = train(keys["fit"], model, members, config.optimisation, states)
    sample = model.sample(keys["sample"], config.rows)
    content = np.asarray(sample.latents[case.root])
    records: list[Record] = []
    for (level, mask, _, loss), fit in zip(runs, fits, strict=True):
        about = {**group, "loss": loss, "level": level, "seed": seed}
        scores = _scores(config, group, fit, level, mask, sample, content)
        records += [{**about, "score": name, "value": round(float(v), 5)} for name, v in scores.items()]
        if gap and level == 1 and seed == 0:
            records += _picture(config, about, _code(fit, sample), content, np.asarray(sample.observed["x_0"]))
    for level, (mask, _) in case.arms.items():
        about = {**group, "loss": "none", "level": level, "seed": seed}
        scores = _references(config, group, seed, model, level, mask, sample, content)
        records += [{**about, "score": name, "value": round(v, 5)} for name, v in scores.items()]
    return records


def _references(
    config: Config,
    group: Group,
    seed: int,
    model: HierarchicalModel,
    level: float,
    mask: Sequence[str],
    sample: Sample,
    content: np.ndarray,
) -> dict[str, float]:
    """What can be had of the root without a code: from labels, or from the conditional mean of what is masked."""
    root, keys = model.graph.latents[0], _keys(config, seed)
    found: dict[str, float] = {}
    if (group["part"], group["mechanism"]) == ("noise", "mlp"):
        known = model.sample(keys["labels"], config.labels)
        visible = np.concatenate([np.asarray(v) for name, v in known.observed.items() if name not in mask], axis=1)
        regression = RegressionConfig(max_train=config.labels, n_boot=1)
        found["visible -> c"] = mlp_r2(visible, known.latents[root], key=config.key, config=regression).value
    if group["mechanism"] == "mlp" and (group["part"] != "noise" or level == 0):
        mean = conditional_mean(model, content, mask, keys["draws"], config.draws)
        found["conditional mean -> c"] = _r2(config, mean, content)
    return found


def conditional_mean(
    model: HierarchicalModel, content: np.ndarray, masked: Sequence[str], key: PRNGKeyArray, draws: int
) -> np.ndarray:
    """Mean of what is masked given the root, over so many draws of everything else, (rows, masked columns)."""
    fixed = model.intervene({model.graph.latents[0]: content})
    total = 0.0
    for draw in range(draws):
        sample = fixed.sample(jax.random.fold_in(key, draw), len(content))
        total = total + np.concatenate([np.asarray(sample.observed[name]) for name in masked], axis=1)
    return np.asarray(total) / draws


def _code(fit: Fit, sample: Sample) -> np.ndarray:
    return np.asarray(mae.encode(fit, sample, fit.mask))


def _r2(config: Config, given: np.ndarray, wanted: np.ndarray) -> float:
    regression = RegressionConfig(
        max_train=config.max_train, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1e-1, 1.0), n_boot=1
    )
    return kernel_r2(given, wanted, key=config.key, config=regression).value


def _scores(
    config: Config, group: Group, fit: Fit, level: float, mask: Sequence[str], sample: Sample, content: np.ndarray
) -> dict[str, float]:
    """What the code holds of the root, and what of the masked part is reconstructed."""
    code = _code(fit, sample)
    found = {"code -> c": _r2(config, code, content)}
    if group["part"] == "gap" or (group["part"], group["mechanism"]) == ("noise", "mlp"):
        found["c -> code"] = _r2(config, content, code)
    if group["part"] == "gap":
        found["loss"] = float(fit.losses[-100:].mean())
    if group["part"] == "fold":
        found["code -> folded root"] = _r2(config, code, np.asarray(fold(content, level)))
    if not fit.loss.decoder_noise:  # squared error
        found["untrained code -> c"] = _r2(config, _code(fit.untrained(), sample), content)
        hidden = masked_array(sample.graph, mask)[sample.graph.arrays.cell_of_column]
        values, guess = (
            np.asarray(rows)[:, hidden] for rows in (sample.observed_matrix, mae.reconstruct(fit, sample, mask))
        )
        found["explained"] = float(1 - (((values - guess) ** 2).mean(axis=0) / values.var(axis=0)).mean())
    return found


def _picture(
    config: Config, about: Record, code: np.ndarray, content: np.ndarray, child: np.ndarray
) -> Sequence[Record]:
    """Some samples: the root, a masked child, and the code in standard deviations, turned to rise with the root."""
    numbers = (code[:, 0] - code[:, 0].mean()) / max(code[:, 0].std(), 1e-12)
    numbers = numbers * (1 if np.corrcoef(numbers, content[:, 0])[0, 1] >= 0 else -1)
    columns = {"c": content[:, 0], "x1": child[:, 0], "x2": child[:, 1], "code": numbers}
    return [
        {**about, "score": f"point {name}", "point": point, "value": round(float(values[point]), 3)}
        for name, values in columns.items()
        for point in range(min(config.points, len(values)))
    ]


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """What leaving the regime costs, beside the predictions; and what squared error sees."""
    return {"violations": draw_violations(records, prediction), "gap": draw_gap(records)}


EXPERIMENT = Experiment(
    name="assumption_violation",
    title="Leaving the assumptions",
    question="What is left of identification when mechanisms leave the invertible regime, and what does squared error "
    "not see?",
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
