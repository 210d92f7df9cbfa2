"""Families of generators on which the signal law is tested: none of them was among the records it was fitted on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Key

from hlvm import HierarchicalModel, LatentGraph
from hlvm.graph import overlapping_fields
from hlvm.images import GrammarImages, SceneImages
from hlvm.masking import BlockMask, MaskSampler, RandomMask, SubtreeMask
from hlvm.mechanisms import AdditiveNoiseMLP, InvertibleMLP, Laplace
from hlvm.study.scores import Part
from hlvm.theory import Regime

_LEAST_COUPLING = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """Generators of one kind, and how their samples are masked.

    Attributes:
        title: a few words.
        make: typed key -> generator; all of a family have the same graph.
        masks: name -> strategy, in words such as "1/2" or "1/2, units of 4".
        part: what is scored of a latent: what enters there, or its values where they are categories.
        top: the highest latent, whose share in ``c`` does not tell these masks apart.
        latents: latents that are scored and told apart by name; empty for four of each height, told apart by height.
        high_level: levels that the paper would call high.
        regime: what theory may assume of shares.
        grammar: whether it is a grammar, where the ladder says how the best ratio depends on synonyms.
    """

    title: str
    make: Callable[[Key[Array, ""]], Any]
    masks: dict[str, MaskSampler]
    part: Part = "noise"
    top: str
    latents: tuple[str, ...] = ()
    high_level: tuple[str, ...]
    regime: Regime = "invertible"
    grammar: bool = False

    @functools.cached_property
    def graph(self) -> LatentGraph:
        """The graph of all its generators, none of which is made where it is known before."""
        known = getattr(self.make, "keywords", {}).get("graph")
        return self.make(jax.random.key(0)).graph if known is None else known

    def level(self, latent: str) -> str:
        """The name under which scores of a latent are averaged: its own, or that of its height."""
        return latent if self.latents else f"height {self.graph.height(latent)}"

    @property
    def levels(self) -> dict[str, list[int]]:
        """Level -> positions of its latents among ``graph.latents``."""
        found: dict[str, list[int]] = {}
        for position, name in enumerate(self.graph.latents):
            if not self.latents or name in self.latents:
                found.setdefault(self.level(name), []).append(position)
        return found


def _model(graph: LatentGraph, mechanism: Any, **options: Any) -> Callable[[Key[Array, ""]], HierarchicalModel]:
    return functools.partial(HierarchicalModel.init, graph=graph, mechanism=mechanism, **options)


def _scenes(key: Key[Array, ""]) -> SceneImages:
    coupling, context = jax.random.uniform(key, (2,), minval=_LEAST_COUPLING).tolist()
    return SceneImages(size=16, patch=4, objects=(1, 1), coupling=coupling, context=context)


def _grammar(n_synonyms: int) -> Family:
    unit = (1, 2)
    return Family(
        title=f"grammars, {n_synonyms} synonyms",
        make=functools.partial(
            GrammarImages.init,
            n_symbols=16,
            n_classes=16,
            n_synonyms=n_synonyms,
            n_levels=3,
            tuple_size=2,
            patch_pixels=1,
            style="one-hot",
        ),
        masks={
            "1/8": RandomMask(ratio=1 / 8),
            "1/2": RandomMask(ratio=1 / 2),
            "3/4": RandomMask(ratio=3 / 4),
            "7/8": RandomMask(ratio=7 / 8),
            "1/2, units of 2": RandomMask(ratio=1 / 2, unit=unit),
            "3/4, units of 2": RandomMask(ratio=3 / 4, unit=unit),
        },
        part="value",
        top="height 3",
        high_level=("height 3",),
        regime="general",
        grammar=True,
    )


FAMILIES = {
    "binary": Family(
        title="binary trees of height 5",
        make=_model(LatentGraph.tree(2, 5), InvertibleMLP()),
        masks={
            "1/8": RandomMask(ratio=1 / 8),
            "1/2": RandomMask(ratio=1 / 2),
            "3/4": RandomMask(ratio=3 / 4),
            "15/16": RandomMask(ratio=15 / 16),
            "1/2, subtrees of 4": SubtreeMask(height=2, ratio=1 / 2),
            "3/4, subtrees of 4": SubtreeMask(height=2, ratio=3 / 4),
        },
        top="height 5",
        high_level=("height 5",),
    ),
    "ternary": Family(
        title="ternary trees of height 3",
        make=_model(LatentGraph.tree(3, 3), InvertibleMLP()),
        masks={
            "1/9": RandomMask(ratio=3 / 27),
            "14/27": RandomMask(ratio=14 / 27),
            "20/27": RandomMask(ratio=20 / 27),
            "25/27": RandomMask(ratio=25 / 27),
            "1/3, subtrees of 3": SubtreeMask(height=1, ratio=9 / 27),
            "7/9, subtrees of 3": SubtreeMask(height=1, ratio=21 / 27),
        },
        top="height 3",
        high_level=("height 3",),
    ),
    "laplace": Family(
        title="quadtrees with Laplace noise",
        make=_model(LatentGraph.quadtree(3), InvertibleMLP(), noise=Laplace()),
        masks={
            "1/8": RandomMask(ratio=1 / 8),
            "1/2": RandomMask(ratio=1 / 2),
            "3/4": RandomMask(ratio=3 / 4),
            "15/16": RandomMask(ratio=15 / 16),
            "3/4, units of 2 × 2": RandomMask(ratio=3 / 4, unit=2),
            "3/4, units of 4 × 4": RandomMask(ratio=3 / 4, unit=4),
        },
        top="height 3",
        high_level=("height 3",),
    ),
    "fields": Family(
        title="overlapping fields",
        make=_model(overlapping_fields(7, size=3, stride=2, height=2, dims=1), AdditiveNoiseMLP(noise_scale=0.5)),
        masks={
            "6/49": RandomMask(ratio=6 / 49),
            "24/49": RandomMask(ratio=24 / 49),
            "37/49": RandomMask(ratio=37 / 49),
            "46/49": RandomMask(ratio=46 / 49),
            "1/4, one block": BlockMask(ratio=1 / 4),
            "1/2, one block": BlockMask(ratio=1 / 2),
        },
        top="height 2",
        high_level=("height 2",),
        regime="general",
    ),
    "scenes": Family(
        title="scenes",
        make=_scenes,
        masks={
            "1/8": RandomMask(ratio=1 / 8),
            "1/2": RandomMask(ratio=1 / 2),
            "3/4": RandomMask(ratio=3 / 4),
            "15/16": RandomMask(ratio=15 / 16),
            "1/2, units of 2 × 2": RandomMask(ratio=1 / 2, unit=2),
            "3/4, units of 2 × 2": RandomMask(ratio=3 / 4, unit=2),
        },
        part="value",
        top="class",
        high_level=("class", "layout", "shape_0"),
        latents=("class", "layout", "shape_0", "texture_0"),
        regime="general",
    ),
    "grammar_2": _grammar(2),
    "grammar_4": _grammar(4),
    "grammar_8": _grammar(8),
}
"""By name, in the order of all tables."""
