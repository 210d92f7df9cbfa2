"""A trained masked autoencoder, with everything that made it."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.mae.config import NetworkConfig, ObjectiveConfig, TrainConfig
from hlvm.mae.networks.networks import Network, build_network
from hlvm.mae.objectives.base import first_parameters
from hlvm.mae.objectives.reconstruction import LossConfig
from hlvm.mae.training.data import Source
from hlvm.mae.training.held_out import HeldOut
from hlvm.mae.training.mask_draws import TrainingMask, mask_plan
from hlvm.mae.training.units import Columns

__all__ = ["DivergenceWarning", "Fit", "SeedKeys", "seed_keys"]


class DivergenceWarning(UserWarning):
    """Some members of an ensemble diverged, and stopped before the others."""


class SeedKeys(NamedTuple):
    """The named keys of one seed.

    Attributes:
        init: for initial parameters.
        data: for training data; folded with the step.
        mask: for random masks; folded with the step.
        noise: for the noise of stochastic decoders; folded with the step.
    """

    init: PRNGKeyArray
    data: PRNGKeyArray
    mask: PRNGKeyArray
    noise: PRNGKeyArray


def seed_keys(key: PRNGKeyArray, seed: int) -> SeedKeys:
    """Keys of one seed under the key of an ensemble."""
    return SeedKeys(*jax.random.split(jax.random.fold_in(key, seed), 4))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Fit:
    """A masked autoencoder with its parameters and everything that made it.

    Attributes:
        model: the generator it was trained on, or the rows of the data set.
        mask: how it was masked while training.
        network: its architecture.
        train: its optimisation.
        loss: what it made small.
        seed: its seed within the ensemble.
        key: the key of the ensemble.
        params: flat parameters, (parameters,).
        losses: training loss of every step taken, (steps,) at the end of training, empty before, shorter when training
            diverged; in the units that ``loss.units`` says.
        diverged: whether training stopped because loss or gradient were no longer finite, or the loss was above 1e12;
            ``params`` are those before that step.
        shift: mean of every observed column, (columns,); in double precision for data sets.
        scale: standard deviation of every observed column, (columns,); in double precision for data sets.
        held_out: the loss on rows kept out of training; ``None`` where there were none.
        teacher: flat parameters of its teacher, of objectives that have one; ``None`` elsewhere. Codes are those of the
            student; ``dataclasses.replace(fit, params=fit.teacher)`` gives those of the teacher.
    """

    model: Source
    mask: TrainingMask
    network: NetworkConfig
    train: TrainConfig
    seed: int
    key: PRNGKeyArray
    params: Float[Array, " parameters"]
    losses: np.ndarray
    diverged: bool
    shift: Columns
    scale: Columns
    loss: ObjectiveConfig = dataclasses.field(default_factory=LossConfig)
    held_out: HeldOut | None = None
    teacher: Float[Array, " parameters"] | None = None

    def __repr__(self) -> str:
        ended = ", diverged" if self.diverged else ""
        made_small = self.loss.score if isinstance(self.loss, LossConfig) else self.loss.kind
        return f"Fit({self.network}, {self.mask}, {made_small}, seed={self.seed}, {len(self.losses)} steps{ended})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from hlvm._html import block, table

        rows: list[tuple[str, object]] = [("network", self.network), ("mask", self.mask), ("loss", self.loss)]
        rows += [("steps", len(self.losses))]
        rows += [("last loss", float(self.losses[-1]))] if len(self.losses) else []
        if self.held_out is not None and len(self.held_out.losses):
            rows.append(("last loss held out", float(self.held_out.losses[-1])))
        ended = " (diverged)" if self.diverged else "" if len(self.losses) else " (untrained)"
        return block(f"Fit, seed {self.seed}{ended}", table((), rows))

    @functools.cached_property
    def built(self) -> Network:
        """The network as it is built from its architecture, sized for the training masks."""
        graph = self.model.graph
        return build_network(graph, mask_plan(graph, self.mask), self.network, self.loss)

    def untrained(self) -> Fit:
        """The same autoencoder before its first step: the floor of every score."""
        objective = self.loss.on(self.model.graph)
        flat = first_parameters(self.built, objective, seed_keys(self.key, self.seed).init[None])[0]
        return dataclasses.replace(self, params=flat, losses=np.zeros(0), diverged=False, held_out=None, teacher=None)
