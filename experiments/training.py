"""Training for experiments: states are kept under a name that follows from what is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jax
from jaxtyping import PRNGKeyArray

from hlvm import mae
from hlvm.mae import Checkpoints, Fit, Member, TrainConfig, TrainingData
from hlvm.mae.checkpoints import describe_run
from hlvm.mae.data import check_data

__all__ = ["train"]


def train(
    key: PRNGKeyArray,
    data: TrainingData,
    members: Sequence[Member],
    config: TrainConfig,
    states: Path | None,
    *,
    every: int = 1000,
) -> tuple[Fit, ...]:
    """Train an ensemble on all devices, or go on with it, or only read it if it was trained before.

    Args:
        key: as for :func:`hlvm.mae.fit_ensemble`, and so are the next three.
        data: training data.
        members: what to train.
        config: the optimisation.
        states: folder in which each ensemble has its own, named by a digest of all that it depends on; ``None`` keeps
            nothing.
        every: steps between two states.
    """
    devices = jax.devices() if len(jax.devices()) > 1 else None
    if states is None:
        return mae.fit_ensemble(key, data, members, config, devices=devices)
    what = json.dumps(describe_run(key, check_data(data), members, config), sort_keys=True)
    folder = states / hashlib.sha256(what.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder=folder, every=every, keep=1)
    return mae.fit_ensemble(key, data, members, config, checkpoints=checkpoints, devices=devices)
