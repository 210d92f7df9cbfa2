"""Masked autoencoders on scenes over the paper's masking ratios and units, for all experiments that look at them.

The paper trains at ratios 0.1, 0.25, 0.5, 0.75 and 0.9 with a masking unit of twice its network's patch, and at ratio
0.75 with units of one, two and four patches. Here the network's patch is one cell of the scene's grid. Experiments that
are given the same ``--fits`` folder train each autoencoder once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from experiments.experiment import Group
from experiments.training import train
from hlvm.datasets import Dataset
from hlvm.images import SceneImages
from hlvm.mae import Fit, ImageData, TrainConfig, TrainingData, ViTConfig
from hlvm.masking import RandomMask
from hlvm.scoring import check_seeds
from hlvm.study import Study

_AT_ONCE = 32
"""Images drawn by one call."""

_LEAST_COUPLING = 0.5
"""Couplings of all generators but the first are drawn uniformly from here to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneFits:
    """What is trained.

    Attributes:
        size: pixels along each side of the image.
        patch: pixels along each side of the network's patch, which is one cell.
        objects: rows and columns of objects.
        coupling: how strongly shape and texture follow the class in the first generator, 0 to 1.
        context: how strongly layout and palette follow the class in the first generator, 0 to 1.
        ratios: masking ratios at ``unit``.
        unit: masking unit of the series of ratios, in cells.
        units: masking units at ``ratio``.
        ratio: masking ratio of the series of units.
        generators: laws of scenes, with couplings of their own, that each arm is trained on; each is a replicate, with
            a training seed of its own.
        seeds: of one generator, training seeds, which are the replicates then; else 1.
        images: training images of a generator, a multiple of 32, drawn once for all arms and seeds; ``None`` draws
            fresh ones for every step, which costs more than training where there is no accelerator.
        steps: training steps.
        batch: images per step.
        width: of the encoder; the decoder's is half of it.
        depth: of the encoder.
        key: everything random follows from it.
    """

    size: int = 32
    patch: int = 4
    objects: tuple[int, int] = (2, 2)
    coupling: float = 0.9
    context: float = 0.5
    ratios: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9)
    unit: int = 2
    units: tuple[int, ...] = (1, 2, 4)
    ratio: float = 0.75
    generators: int = 12
    seeds: int = 1
    images: int | None = 16_384
    steps: int = 1500
    batch: int = 32
    width: int = 64
    depth: int = 2
    key: int = 0

    def __post_init__(self) -> None:
        if self.generators > 1 and self.seeds > 1:
            raise ValueError(f"give several generators or several seeds, got {self.generators} and {self.seeds}")
        check_seeds(self.replicates)
        if self.ratio not in self.ratios or self.unit not in self.units:
            raise ValueError(
                f"the series share an arm: ratio {self.ratio} must be among ratios and unit {self.unit} among units, "
                f"got {self.ratios} and {self.units}"
            )
        if self.images is not None and (self.images < 1 or self.images % _AT_ONCE):
            raise ValueError(f"images must be None or a multiple of {_AT_ONCE}, got {self.images}")

    @property
    def replicates(self) -> int:
        """Number of independent numbers that an interval rests on; the column ``seed`` counts them."""
        return max(self.generators, self.seeds)

    def study(self) -> Study:
        """All arms on all generators, which train on fresh images here; see :func:`trained` for those drawn once."""
        return Study(
            [scene_model(self, generator) for generator in range(self.generators)],
            masks=[RandomMask(ratio=arm["ratio"], unit=arm["unit"]) for arm in arms(self)],
            networks=ViTConfig(
                width=self.width, depth=self.depth, decoder_width=max(32, self.width // 2), decoder_depth=1
            ),
            train=TrainConfig(steps=self.steps, batch=self.batch, warmup=min(200, self.steps // 2)),
            seeds=self.seeds,
        )


SMOKE = SceneFits(
    size=16,
    patch=4,
    objects=(1, 1),
    ratios=(0.25, 0.75),
    unit=1,
    units=(1, 2),
    generators=2,
    images=64,
    steps=3,
    batch=8,
)
LAPTOP = SceneFits()
SHORT = dataclasses.replace(LAPTOP, generators=1, seeds=4)
LONG = dataclasses.replace(SHORT, steps=10 * SHORT.steps)
GPU = SceneFits(size=64, patch=8, images=None, steps=30_000, batch=256, width=192, depth=6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Autoencoders, and the images they are tried on.

    Attributes:
        fits: what is trained.
        images: held-out images per replicate; every arm sees the same ones.
        key: images, and what else is random about the test, follow from it.
    """

    fits: SceneFits
    images: int = 128
    key: int = 1

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ValueError(f"images must be at least 1, got {self.images}")


def scene_model(config: SceneFits, replicate: int = 0) -> SceneImages:
    """The generator of a replicate; all have one graph, and what differs is how strongly factors follow the class."""
    coupling, context = config.coupling, config.context
    if replicate and config.generators > 1:
        key = jax.random.fold_in(_key_of(config, replicate), 2)
        coupling, context = jax.random.uniform(key, (2,), minval=_LEAST_COUPLING).tolist()
    return SceneImages(size=config.size, patch=config.patch, objects=config.objects, coupling=coupling, context=context)


def _key_of(config: SceneFits, replicate: int) -> PRNGKeyArray:
    key = jax.random.key(config.key)
    return jax.random.fold_in(key, replicate) if replicate and config.generators > 1 else key


def arms(config: SceneFits) -> list[Group]:
    """Every ratio and unit that is trained, as groups; the one that both series share comes once."""
    pairs = [(ratio, config.unit) for ratio in config.ratios] + [(config.ratio, unit) for unit in config.units]
    return [{"ratio": ratio, "unit": unit} for ratio, unit in dict.fromkeys(pairs)]


def groups(config: Any) -> list[Group]:
    """The arms of an experiment whose config has ``fits``."""
    return arms(config.fits)


def both_series(config: SceneFits) -> dict[str, Any]:
    """Ratios at one unit and units at one ratio, ready for JSON."""
    return {
        "ratios": sorted(config.ratios),
        "unit": config.unit,
        "units": sorted(config.units),
        "ratio": config.ratio,
    }


def label(group: Group) -> str:
    """An arm in words."""
    return f"ratio {group['ratio']:g}, unit {group['unit']}"


@functools.lru_cache(maxsize=12)  # one arm after the other is trained on all generators
def training_data(config: SceneFits, replicate: int = 0) -> TrainingData:
    """Images that every arm is trained on, in a replicate."""
    model = scene_model(config, replicate)
    if config.images is None:
        return ImageData(model)
    of_images = jax.random.split(jax.random.fold_in(_key_of(config, replicate), 1), config.images // _AT_ONCE)
    draw = jax.jit(lambda key: model.sample(key, _AT_ONCE).images)
    parts = [np.asarray(draw(key)) for key in of_images]
    return Dataset.from_arrays(images=np.concatenate(parts), graph=model.graph)


def trained(config: SceneFits, group: Group, states: Path | None) -> Iterator[Fit]:
    """Train one arm of the study, one autoencoder per replicate, whose number is the seed."""
    study = config.study()
    arm = study.arms[arms(config).index(group)]
    for generator in range(config.generators):
        # A seed of its own draws its own parameters, batches and masks.
        seeds = list(range(config.seeds)) if config.generators == 1 else [generator]
        # Images drawn once, and one key for all: as the committed results were trained.
        data, key = training_data(config, generator), jax.random.key(config.key)
        yield from train(key, data, [arm.member(seed) for seed in seeds], study.train, states)
