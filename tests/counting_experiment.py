"""An experiment that computes next to nothing and notes every group that it measures, for tests of how groups run."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import jax
from matplotlib.figure import Figure
from noted_groups import die_once

from experiments.experiment import Experiment
from hlvm.claims import mean_claim, yes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Attributes: groups, seeds, a file that notes what is measured, and where the process dies, the first time."""

    n_groups: int = 4
    seeds: int = 3
    notes: str = ""
    dies_at: int = -1


def measure(config, group, states):
    with Path(config.notes).open("a") as file:
        file.write(f"{group['number']} {os.getpid()} {states}\n")
    if group["number"] == config.dies_at:
        die_once(Path(config.notes).with_name("died"))
    keys = jax.random.split(jax.random.key(group["number"]), config.seeds)
    return [
        {"number": group["number"], "seed": seed, "score": "draw", "value": float(jax.random.uniform(key))}
        for seed, key in enumerate(keys)
    ]


def judge(records, prediction):
    mean = records.groupby("seed")["value"].mean()
    limits = prediction["low"], prediction["high"]
    return [mean_claim("uniform", {"mean": mean}, limits, theory=yes("between 0 and 1"))]


def draw(records, prediction):
    figure = Figure()
    figure.add_subplot().plot(records["value"])
    return {"draws": figure}


EXPERIMENT = Experiment(
    name="counting",
    title="Counting",
    question="Is every group measured once?",
    presets={"smoke": Config(), "laptop": Config(), "gpu": Config()},
    predict=lambda config: {"low": 0.0, "high": 1.0},
    groups=lambda config: [{"number": number} for number in range(config.n_groups)],
    measure=measure,
    judge=judge,
    draw=draw,
)
