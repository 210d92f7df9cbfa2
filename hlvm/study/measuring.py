"""One group of a study: the arms that one program trains, on one generator, from data to scores."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from hlvm import mae
from hlvm._files import make_folder
from hlvm.mae import Fit, Member, TrainConfig
from hlvm.mae.training.data import Source
from hlvm.mae.training.groups import shares
from hlvm.study.arms import Arm
from hlvm.study.batches import Stream, stream_of
from hlvm.study.design import Material, StudyDesign
from hlvm.study.scores import Record, Scorer

__all__ = [
    "TRAIN_STREAM",
    "Ensemble",
    "Group",
    "GroupResult",
    "Session",
    "group_name",
    "measure_group",
    "microbatch_of",
]

TRAIN_STREAM = 1
_PICTURE_STREAM = 5
_POINTS = 200
"""Most points of a loss curve that are kept."""
_IN_CACHE, _AT_ONCE = 16, 2048
"""Samples of a member that fit into a core's cache; and of all members into an accelerator's memory, reckoned only."""
_SHOWN = 4
"""Samples that a page shows."""


class Group(TypedDict):
    """Arms that are trained and scored together: independent of other groups, and not repeated on resume.

    Attributes:
        generator: number of the generator.
        arms: names of the arms, all of one program.
        seeds: seeds of every arm.
    """

    generator: int
    arms: list[str]
    seeds: list[int]


class Ensemble(NamedTuple):
    """The arguments of :func:`hlvm.mae.fit_ensemble` for one group.

    Attributes:
        key: everything random about the training follows from it.
        data: what is trained on.
        members: arm by arm, and of every arm seed by seed.
        config: the optimisation.
    """

    key: PRNGKeyArray
    data: Source
    members: list[Member]
    config: TrainConfig


class GroupResult(TypedDict):
    """The result of a group as it is kept, ready for JSON.

    Attributes:
        records: scores, see :data:`hlvm.study.scores.Record`, with ``arm`` and ``generator``.
        losses: per fit ``arm``, ``generator``, ``seed``, ``step`` and ``loss`` (lists), ``diverged``.
        pictures: samples, masks and reconstructions of the first seed of the first generator; empty elsewhere.
        seconds: spent on ``train`` (compiling included) and ``score``.
    """

    records: list[Record]
    losses: list[dict[str, Any]]
    pictures: list[dict[str, Any]]
    seconds: dict[str, float]


@dataclasses.dataclass(eq=False)
class Session:
    """A study under one key; what its groups share is made once, by whichever thread asks first.

    Attributes:
        study: what is compared.
        key: as the user gave it.
    """

    study: StudyDesign
    key: Any

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._materials: dict[int, Material] = {}
        self._scorers: dict[int, Scorer] = {}
        self._streams: dict[int, Stream] = {}

    def material(self, generator: int) -> Material:
        """Data of one generator.

        Raises:
            ValueError: see :meth:`hlvm.study.Study.material`.
        """
        with self._lock:
            if generator not in self._materials:
                self._materials[generator] = self.study.material(self.key, generator)
            return self._materials[generator]

    def scorer(self, generator: int) -> Scorer:
        """Scores of one generator's fits."""
        material = self.material(generator)
        with self._lock:
            if generator not in self._scorers:
                self._scorers[generator] = Scorer(
                    self.study.graph, material.truth, material.targets, self.study.score, self.key, material.key
                )
            return self._scorers[generator]

    def stream(self, generator: int) -> Stream:
        """Where the training of one generator takes its samples from."""
        material = self.material(generator)
        with self._lock:
            if generator not in self._streams:
                images = material.truth.images
                shape = None if images is None else (images.shape[1], images.shape[2], images.shape[3])
                key = jax.random.fold_in(material.key, TRAIN_STREAM)
                self._streams[generator] = stream_of(key, material.training, self.study.train, shape)
            return self._streams[generator]

    def ensemble(self, group: Group) -> Ensemble:
        """The ensemble of a group."""
        material, known = self.material(group["generator"]), {arm.name: arm for arm in self.study.arms}
        members = [known[name].member(seed) for name in group["arms"] for seed in group["seeds"]]
        return Ensemble(jax.random.fold_in(material.key, TRAIN_STREAM), material.training, members, self.study.train)

    def measure(
        self,
        group: Group,
        *,
        states: Path | None = None,
        fits_to: Path | None = None,
        save_every: int = 1000,
        devices: Sequence[Any] | None = None,
        on_progress: Callable[[mae.Progress], None] | None = None,
    ) -> GroupResult:
        """Train and score a group.

        Args:
            group: which.
            states: folder of its training states; ``None`` keeps none. Remove it only when the result is kept: a kill
                leaves half of it, from which nothing goes on.
            fits_to: folder to keep the fits in; ``None`` does not keep them.
            save_every: steps between two states.
            devices: that share the training; ``None`` for JAX's default device.
            on_progress: called between chunks of steps; what it raises ends the training.
        """
        began = time.perf_counter()
        material = self.material(group["generator"])
        known = {arm.name: arm for arm in self.study.arms}
        arms = [arm for name in group["arms"] for arm in [known[name]] for _ in group["seeds"]]
        fits = mae.fit_ensemble(
            *self.ensemble(group),
            on_progress=on_progress,
            checkpoints=None if states is None else mae.Checkpoints(folder=states, every=save_every, keep=1),
            devices=devices,
            microbatch=microbatch_of(self.ensemble(group).members, self.study.train.batch, devices),
            pad=self.study.pads(material.graph),
        )
        trained = time.perf_counter()
        scorer = self.scorer(group["generator"])
        names = [{"arm": arm.name, "generator": group["generator"]} for arm in arms]
        result = GroupResult(
            records=[name | record for name, fit in zip(names, fits, strict=True) for record in scorer.records(fit)],
            losses=[name | _curve(fit) for name, fit in zip(names, fits, strict=True)],
            pictures=[
                _picture(arm, fit, material)
                for arm, fit in zip(arms, fits, strict=True)
                if group["generator"] == 0 and fit.seed == 0 and not fit.diverged
            ],
            seconds={"train": trained - began, "score": time.perf_counter() - trained},
        )
        if fits_to is not None and not fits_to.exists():
            make_folder(fits_to.parent)
            mae.save_fits(fits_to, fits)
        return result


def microbatch_of(members: Sequence[Member], batch: int, devices: Sequence[Any] | None) -> int | None:
    """In what parts a device goes through its samples of a batch of transformers; ``None`` for all at once.

    Parts are powers of two that divide the samples. On a CPU small ones fit into a cache, which is faster.
    On an accelerator they are as large as its memory allows, since all
    members of a group take their steps together.

    Args:
        members: of the group.
        batch: samples per step.
        devices: that share the group, ``None`` for one.
    """
    transformers = sum(isinstance(member.network, mae.ViTConfig) for member in members)
    platform = (devices or jax.devices())[0].platform
    most = _IN_CACHE if platform == "cpu" else _AT_ONCE // max(transformers, 1)
    on_device = batch // shares(len(devices or [0]), len(members), batch)[1]
    if not transformers or on_device <= most:
        return None
    parts = [2**power for power in range(on_device.bit_length()) if on_device % 2**power == 0]
    return max((part for part in parts if part <= most), default=1)


def _curve(fit: Fit) -> dict[str, Any]:
    """Training losses, averaged over equal stretches of steps."""
    steps = len(fit.losses)
    ends = np.unique(np.linspace(0, steps, min(steps, _POINTS) + 1).round().astype(int))[1:]
    means = [float(part.mean()) for part in np.split(np.asarray(fit.losses, np.float64), ends[:-1])] if steps else []
    return {
        "seed": fit.seed,
        "step": ends.tolist(),
        "loss": [round(mean, 6) for mean in means],
        "diverged": fit.diverged,
    }


def _picture(arm: Arm, fit: Fit, material: Material) -> dict[str, Any]:
    """A few samples, what the encoder sees of them, and what it makes of the rest.

    Rows are those of the samples to score on, the same for all arms.
    """
    rows = material.truth.inputs[:_SHOWN]
    mask_key, noise_key = jax.random.split(jax.random.fold_in(material.key, _PICTURE_STREAM))
    masked = np.asarray(arm.member(0).mask.sample(mask_key, len(rows), material.graph))
    energy = fit.loss.score == "energy"
    made = mae.reconstruct(fit, rows, masked, key=noise_key if energy else None, draws=1 if energy else None)
    images = material.truth.images
    own_units = not (isinstance(fit.network, mae.ViTConfig) and fit.network.normalize_targets)
    return {
        "arm": arm.name,
        "shape": None if images is None else list(images.shape[1:]),
        "rows": rows.round(4).tolist(),
        "masked": masked.astype(int).tolist(),
        "reconstructed": np.asarray(made).reshape(rows.shape).round(4).tolist() if own_units else [],
    }


@functools.lru_cache(maxsize=1)
def _session(digest: str) -> list[Session]:
    """The place of a worker's session, by the digest of the study and its key."""
    del digest
    return []


def measure_group(
    group: Group, *, study: StudyDesign, key: Any, digest: str, states: str | None, fits_to: str | None, save_every: int
) -> GroupResult:
    """Measure a group in a worker, which keeps what the groups of a study share from one to the next.

    Args:
        group: which.
        study: what is compared.
        key: as the user gave it.
        digest: of study and key.
        states: folder of training states, in which each group has its own; ``None`` keeps none.
        fits_to: folder of fits, likewise.
        save_every: steps between two states.
    """
    place = _session(digest)
    if not place:
        place.append(Session(study, key))
    name = group_name(group)
    return place[0].measure(
        group,
        states=None if states is None else Path(states) / name,
        fits_to=None if fits_to is None else Path(fits_to) / name,
        save_every=save_every,
    )


def group_name(group: Group) -> str:
    """A file name that says which group it is, and changes when the group does."""
    digest = hashlib.sha256(json.dumps(group, sort_keys=True).encode()).hexdigest()[:10]
    return f"g{group['generator']}-{digest}"
