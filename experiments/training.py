"""Training for experiments: states are kept under a name that follows from what is trained."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from hlvm import mae
from hlvm.mae import BottleneckConfig, Checkpoints, Fit, LossConfig, Member, TrainConfig, TrainingData, ViTConfig
from hlvm.mae.files import describe_run
from hlvm.mae.objectives.reconstruction import Score
from hlvm.mae.training.data import check_data
from hlvm.mae.training.groups import shares
from hlvm.masking import FixedMask
from hlvm.scoring import check_seeds

_AT_ONCE = 2048
"""Most samples, of all members, that are in an accelerator's memory at once; reckoned, not tried on one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bottlenecks:
    """Bottlenecks of perceptrons under fixed masks, and how their codes are scored.

    Attributes:
        seeds: training seeds; at least 2.
        steps: training steps.
        batch: samples per step.
        width: hidden units of the perceptrons.
        rows: held-out samples for scoring, 40 % of them to test on.
        max_train: most rows a regression is fitted on.
        key: everything random follows from it.
    """

    seeds: int = 5
    steps: int = 2000
    batch: int = 256
    width: int = 64
    rows: int = 1600
    max_train: int = 800
    key: int = 0

    def __post_init__(self) -> None:
        check_seeds(self.seeds)

    @property
    def optimisation(self) -> TrainConfig:
        """The optimisation."""
        return TrainConfig(steps=self.steps, batch=self.batch, warmup=min(100, self.steps // 2))

    def member(self, masked: Sequence[str], code_dim: int, seed: int, score: Score = "squared_error") -> Member:
        """One of them: what is masked, the numbers in its code, its seed, and what its loss is made of."""
        return Member(
            mask=FixedMask(masked=tuple(masked)),
            network=BottleneckConfig(code_dim=code_dim, width=self.width),
            seed=seed,
            loss=LossConfig(score=score),
        )


TINY: dict[str, Any] = {"seeds": 2, "steps": 20, "batch": 32, "width": 16, "rows": 120}
LARGE: dict[str, Any] = {
    "seeds": 10,
    "steps": 20_000,
    "batch": 1024,
    "width": 256,
    "rows": 6000,
    "max_train": 3000,
}


def train(
    key: PRNGKeyArray,
    data: TrainingData,
    members: Sequence[Member],
    config: TrainConfig,
    states: Path | None,
    *,
    pad: bool = False,
) -> tuple[Fit, ...]:
    """Train an ensemble on all devices, or go on with it, or only read it if it was trained before.

    Args:
        key: as for :func:`hlvm.mae.fit_ensemble`, and so are the next three.
        data: training data.
        members: what to train.
        config: the optimisation.
        states: folder in which each ensemble has its own, named by a digest of all that it depends on; ``None`` keeps
            nothing.
        pad: as for :func:`hlvm.mae.fit_ensemble`.
    """
    devices = jax.devices() if len(jax.devices()) > 1 else None
    where: dict[str, Any] = {"devices": devices, "microbatch": microbatch(members, config.batch), "pad": pad}
    if states is None:
        return mae.fit_ensemble(key, data, members, config, **where)
    what = json.dumps(describe_run(key, check_data(data), members, config, pad=pad), sort_keys=True)
    folder = states / hashlib.sha256(what.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder=folder, every=1000, keep=1)
    return mae.fit_ensemble(key, data, members, config, checkpoints=checkpoints, **where)


def microbatch(members: Sequence[Member], batch: int) -> int | None:
    """In what parts an accelerator goes through a batch of transformers; ``None`` for all at once.

    Members of one program take their steps together, so that tens of them, with batches of hundreds, are more than its
    memory holds. Parts are powers of two. On CPUs, where batches and ensembles are small, there are none.
    """
    transformers = sum(isinstance(member.network, ViTConfig) for member in members)
    if jax.default_backend() == "cpu" or transformers * batch <= _AT_ONCE:
        return None
    on_device = batch // shares(len(jax.devices()), len(members), batch)[1]
    parts = [2**power for power in range(on_device.bit_length()) if on_device % 2**power == 0]
    return max((part for part in parts if transformers * part <= _AT_ONCE), default=1)
