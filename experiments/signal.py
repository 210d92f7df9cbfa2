"""Does the signal law forecast what training finds first, on families of generators that it was not fitted on?

The law (``experiments/signal_law.py``) was found on transformers that learn one quadtree. Its constants are frozen.
Here it forecasts eight other families, several generators each, two networks and two lengths of training that are a
factor of 8 apart; beside it stand the share in ``c``, what can be known, what is asked for, signal alone, and what the
paper says. Transformers are those of the records. Of bottlenecks, on which nothing was fitted, only the order counts.

Forecasts and criteria, written down before training: docs/experiments/signal.md.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from experiments.command import command
from experiments.experiment import Experiment, Group, Prediction, Record
from experiments.signal_claims import judge
from experiments.signal_families import FAMILIES, Family
from experiments.signal_figures import draw
from experiments.signal_law import SignalLaw, drawn_masks, effects_without_errors, load_law
from experiments.training import train
from hlvm import HierarchicalModel
from hlvm._keys import checked_key
from hlvm.mae import BottleneckConfig, Fit, NetworkConfig, TrainConfig, ViTConfig
from hlvm.scoring import check_seeds
from hlvm.study import ScoreConfig, Study
from hlvm.study.measuring import Group as StudyGroup
from hlvm.study.measuring import Session
from hlvm.study.scores import Scorer
from hlvm.study.truth import generator_key, source_of
from hlvm.theory import estimated_oracle, mask_profile, membership_probability, oracle_of
from hlvm.theory.signal.ridge import ridge_numbers

_PAPERS_BEST = 0.75


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        families: names of :data:`~experiments.signal_families.FAMILIES`, at least 2.
        generators: of each family, at least 2.
        seeds: training seeds of each arm.
        steps: two lengths of training, the shorter first.
        batch: samples per step.
        learning_rate: peak learning rate.
        width: of the transformer's encoder and decoder.
        depth: of its encoder.
        code_dim: numbers in the bottleneck's code.
        rows: held-out samples that scores are taken on.
        oracle_rows: draws from which effects of noises are estimated, where there is no closed form.
        n_masks: masks drawn of each strategy for the rival forecasts.
        key: everything random follows from it.
    """

    families: tuple[str, ...] = tuple(FAMILIES)
    generators: int = 3
    seeds: int = 3
    steps: tuple[int, int] = (300, 2400)
    batch: int = 32
    learning_rate: float = 2e-3
    width: int = 32
    depth: int = 2
    code_dim: int = 8
    rows: int = 1200
    oracle_rows: int = 6000
    n_masks: int = 64
    key: int = 0

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        check_seeds(self.generators)
        unknown = [name for name in self.families if name not in FAMILIES]
        if unknown or len(self.families) < 2:
            raise ValueError(f"families must be at least 2 of {', '.join(FAMILIES)}, got {', '.join(self.families)}")
        if not 0 < self.steps[0] < self.steps[1]:
            raise ValueError(f"steps must be two numbers, the smaller first, got {self.steps}")

    @property
    def networks(self) -> dict[str, NetworkConfig]:
        """Networks by name."""
        return {
            "transformer": ViTConfig(width=self.width, depth=self.depth, decoder_width=self.width),
            "bottleneck": BottleneckConfig(code_dim=self.code_dim, width=2 * self.width),
        }

    def study(self, family: Family, network: str, steps: int) -> Study:
        """All arms of a family."""
        return Study(
            family.make,
            masks=list(family.masks.values()),
            networks=self.networks[network],
            train=TrainConfig(
                steps=steps, batch=self.batch, learning_rate=self.learning_rate, warmup=min(100, steps // 4)
            ),
            seeds=self.seeds,
            generators=self.generators,
            score=ScoreConfig(latents=family.latents or None, parts=(family.part,), rows=self.rows),
            regime=family.regime,
        )


SMOKE = Config(
    families=("ternary", "grammar_2"),
    generators=2,
    seeds=2,
    steps=(2, 4),
    batch=8,
    width=16,
    depth=1,
    rows=160,
    oracle_rows=1000,
    n_masks=4,
)
LAPTOP = Config()
GPU = Config(generators=8, seeds=4, steps=(1000, 8000), batch=128, width=64, depth=4, rows=4000, oracle_rows=20_000)


# ---------------------------------------------------------------------- forecasts


def _predict(config: Config) -> Prediction:
    law = load_law()
    with threadpoolctl.threadpool_limits(1):
        rows = [row for name in config.families for row in _forecasts(config, name, law)]
    return {
        "law": dataclasses.asdict(law),
        "steps": list(config.steps),
        "top": {name: FAMILIES[name].top for name in config.families},
        "titles": {name: FAMILIES[name].title for name in config.families},
        "grammars": [name for name in config.families if FAMILIES[name].grammar],
        "forecasts": rows,
    }


def _forecasts(config: Config, name: str, law: SignalLaw) -> list[dict[str, Any]]:
    """Pull and rival forecasts of every generator, arm and level of a family."""
    family = FAMILIES[name]
    graph, levels = family.graph, family.levels
    masks = {arm: drawn_masks(strategy, graph) for arm, strategy in family.masks.items()}
    shares = {
        arm: membership_probability(graph, strategy, regime=family.regime, key=0, n_masks=1000)
        for arm, strategy in family.masks.items()
    }
    rows = []
    for generator in range(config.generators):
        model = source_of(family.make, generator_key(checked_key(config.key), generator))
        # Grammars have closed forms. Elsewhere effects come from draws, and other quantities from the linear model.
        drawn_oracle = oracle_of(model) if family.grammar else estimated_oracle(model, rows=config.oracle_rows, key=1)
        effects = effects_without_errors(drawn_oracle)
        known = _quantities(config, family, model)
        for arm, drawn in masks.items():
            pull = law.pull(effects, drawn)
            signal = ridge_numbers([effects], drawn, ~drawn, law.ridge)[0, 0].mean(axis=0)
            masked = float(drawn.mean())
            for level, members in levels.items():
                names = [graph.latents[position] for position in members]
                rows.append(
                    {
                        "family": name,
                        "generator": generator,
                        "arm": arm,
                        "level": level,
                        "pull": _rounded(pull[members].mean()),
                        "share": _rounded(np.mean([shares[arm][latent] for latent in names])),
                        "signal": _rounded(signal[members].mean()),
                        "paper": _rounded((1 if level in family.high_level else -1) * -abs(masked - _PAPERS_BEST)),
                        **{
                            quantity: _rounded(table[arm][level]) if table else None
                            for quantity, table in known.items()
                        },
                    }
                )
    return rows


def _quantities(config: Config, family: Family, model: Any) -> dict[str, dict[str, dict[str, float]]]:
    """Availability and demand: arm -> level -> number; empty where there is neither a closed form nor a linear one."""
    found: dict[str, dict[str, dict[str, float]]] = {"availability": {}, "demand": {}}
    if not family.grammar and not isinstance(model, HierarchicalModel):
        return found
    oracle = oracle_of(model) if family.grammar else estimated_oracle(model, method="linearised")
    profile = mask_profile(oracle, family.masks, ("availability", "demand"), key=config.key, n_masks=config.n_masks)
    for quantity, part in (("availability", family.part), ("demand", "")):
        table = profile.of_heights(quantity, part)
        found[quantity] = {
            arm: {f"height {height}": float(table.loc[arm, height]) for height in table.columns if height}
            for arm in family.masks
        }
    return found


def _rounded(number: Any) -> float | None:
    """Five digits; ``None`` where it is not known. What is 0 is so up to rounding only, which orders such numbers."""
    return float(f"{number:.4e}") if math.isfinite(number) else None


# ---------------------------------------------------------------------- measuring


def _groups(config: Config) -> list[Group]:
    return [
        {"family": family, "network": network, "steps": steps, "generator": generator}
        for steps in config.steps
        for network in config.networks
        for family in config.families
        for generator in range(config.generators)
    ]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    family = FAMILIES[group["family"]]
    study = config.study(family, group["network"], group["steps"])
    session = Session(study, config.key)
    of = StudyGroup(
        generator=group["generator"], arms=[arm.name for arm in study.arms], seeds=list(range(config.seeds))
    )
    pad = study.pads(session.material(group["generator"]).graph)
    fits = train(*session.ensemble(of), states, pad=pad)
    scorer = session.scorer(group["generator"])
    levels = [family.level(target.latent) for target in scorer.targets]
    floors = {fit.seed: scorer.values(fit.untrained()) for fit in fits[: config.seeds]}
    records: list[Record] = []
    for arm, fit in zip([arm for arm in family.masks for _ in range(config.seeds)], fits, strict=True):
        numbers = np.array([_values(scorer, fit), floors[fit.seed]])
        for level in dict.fromkeys(levels):
            value, floor = numbers[:, [name == level for name in levels]].mean(axis=1).round(5).tolist()
            about = {**group, "arm": arm, "seed": fit.seed, "level": level}
            records.append({**about, "value": value, "floor": floor})
    return records


def _values(scorer: Scorer, fit: Fit) -> list[float]:
    """Scores of a fit; NaN of one that diverged, which is then no part of any mean."""
    return [math.nan] * len(scorer.targets) if fit.diverged else scorer.values(fit)


EXPERIMENT = Experiment(
    name="signal",
    title="What training finds first",
    question="Does the signal law forecast what training gains, on generators it was not fitted on?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=_predict,
    groups=_groups,
    measure=_measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
