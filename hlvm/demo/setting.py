"""What the demo runs, and what the theory predicts for it before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

from hlvm._keys import checked_key
from hlvm._numbers import positive
from hlvm.graph import LatentGraph
from hlvm.images import SceneImages
from hlvm.mae import Fit, TrainConfig, ViTConfig
from hlvm.masking import FixedMask, Patches, RandomMask, count_masked
from hlvm.scoring import check_seeds
from hlvm.simulator import HierarchicalModel
from hlvm.study import ScoreConfig, Study
from hlvm.theory import SharedInformation, shared_information

__all__ = ["DemoConfig", "Frame", "MaskCase", "by_case", "mask_cases", "study_of"]


Frame: TypeAlias = Any
"""A pandas DataFrame where static types cannot follow its group-bys."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What the demo runs.

    Attributes:
        key: a JAX key or an int; everything random follows from it.
        scenes: what draws the scenes.
        scene_images: scenes to train on, drawn once. At least 1.
        scene_ratio: masking ratio on scenes.
        scene_network: architecture of the transformer that is trained on scenes.
        scene_train: its training.
        height: levels of the quadtree below its root; ``4**height`` cells. At least 2.
        bottleneck: training of the bottleneck autoencoders.
        vit: training of the vision transformers.
        network: their architecture.
        ratios: masking ratios of the vision transformers.
        units: masking units of the vision transformers, sides in cells.
        vit_seeds: seeds per ratio and unit, at least 2.
        score_rows: held-out samples for scoring: 60 % fit the regressions, 40 % test them.
        threshold: R² that "identified" asks for, both ways.
    """

    key: Any = 0
    scenes: SceneImages = dataclasses.field(default_factory=lambda: SceneImages(size=16, patch=4, objects=(1, 1)))
    scene_images: int = 4096
    scene_ratio: float = 0.5
    scene_network: ViTConfig = dataclasses.field(default_factory=lambda: ViTConfig(width=64, decoder_width=64))
    scene_train: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=1000, batch=64, warmup=50))
    height: int = 2
    bottleneck: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=3000, batch=256))
    vit: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=400, batch=64, warmup=50))
    network: ViTConfig = dataclasses.field(default_factory=ViTConfig)
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75)
    units: tuple[int, ...] = (1, 2)
    vit_seeds: int = 4
    score_rows: int = 2500
    threshold: float = 0.95

    def __post_init__(self) -> None:
        if not isinstance(self.height, int) or self.height < 2:
            raise ValueError(f"the demo needs a quadtree of height 2 or more, got {self.height}")
        positive(self.scene_images, "scene_images")
        count_masked(self.scene_ratio, len(self.scenes.graph.observed))
        if not self.ratios or not self.units:
            raise ValueError("the demo needs at least one ratio and one unit of the vision transformers")
        check_seeds(self.vit_seeds)
        side = 2**self.height
        for unit in self.units:
            if unit < 1 or side % unit or unit == side:
                raise ValueError(f"unit {unit} must divide the grid's side {side} and be smaller than it")
            for ratio in self.ratios:
                count_masked(ratio, (side // unit) ** 2)
        if self.score_rows < 80:
            raise ValueError(f"the demo needs at least 80 rows to score, got score_rows={self.score_rows}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie strictly between 0 and 1, got {self.threshold}")
        checked_key(self.key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskCase:
    """A fixed mask with what the theory says about it.

    Attributes:
        label: in words.
        mask: the masked variables.
        shared: its shared information, computed before any training.
        code_dims: code dims to train with it.
    """

    label: str
    mask: FixedMask
    shared: SharedInformation
    code_dims: tuple[int, ...]


def mask_cases(graph: LatentGraph) -> tuple[MaskCase, ...]:
    """The three masks of the demo, each with its shared information; one of them also with a code too narrow."""
    root = graph.latents[0]
    halves = Patches.of_subtrees(graph, graph.height(root) - 1).groups[:2]
    first = graph.observed[0]
    masks = {
        "two of four subtrees masked": tuple(name for group in halves for name in group),
        "one leaf masked": (first,),
        "one leaf visible": tuple(name for name in graph.observed if name != first),
    }
    cases: list[MaskCase] = []
    for label, masked in masks.items():
        shared = shared_information(graph, masked)
        narrow = (shared.dim - 1,) if label == "one leaf masked" else ()
        cases.append(
            MaskCase(label=label, mask=FixedMask(masked=masked), shared=shared, code_dims=(shared.dim, *narrow))
        )
    return tuple(cases)


def study_of(model: HierarchicalModel, config: DemoConfig) -> Study:
    """Vision transformers under random masks: what enters at every latent, from the mean token of whole images."""
    return Study(
        model,
        masks=[RandomMask(ratio=ratio, unit=unit) for unit in config.units for ratio in config.ratios],
        networks=config.network,
        train=config.vit,
        seeds=config.vit_seeds,
        score=ScoreConfig(per_height=None, parts=("noise",), rows=config.score_rows),
    )


def by_case(cases: Sequence[MaskCase], fits: Sequence[Fit]) -> list[tuple[MaskCase, Fit]]:
    """Each bottleneck autoencoder with the mask it was trained on."""
    expanded = [case for case in cases for _ in case.code_dims]
    return list(zip(expanded, fits, strict=True))
