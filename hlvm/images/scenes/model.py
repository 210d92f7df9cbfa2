"""Scenes of textured shapes: colour images in which every factor, from the class down to the light, is known.

A class sets which shapes and textures there are, and, less strictly, their layout and palette. These set sizes, places
and colours. Together with textures' phases and the light they set the pixels. Every factor can be swapped between
images, frozen or shifted, and everything else stays exactly as it was.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hlvm._keys import checked_key
from hlvm._process.promotion import usual_promotion
from hlvm.graph import LatentGraph
from hlvm.images.base import ImageSample
from hlvm.images.scenes.factors import HIGH_LEVEL, LOW_LEVEL, SURFACE, SceneFactor, SceneFields, scene_factors
from hlvm.images.scenes.latents import (
    Changes,
    check_range,
    checked_values,
    draw_values,
    expand,
    latent_names,
    parse_changes,
    stacked,
    unstacked,
)
from hlvm.images.scenes.render import draw_scenes, reached_pixels
from hlvm.images.scenes.shapes import SHAPES
from hlvm.images.scenes.textures import TEXTURES

__all__ = ["SceneFactor", "SceneImages"]

_MOST_CLASSES = len(SHAPES) * len(TEXTURES)
_SMALLEST_SLOT = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneImages(SceneFields):
    """Images of textured shapes on a coloured ground, one object in each slot of a grid.

    Nothing is random but the latents: :meth:`render` is a pure function that can be differentiated, compiled and
    mapped. An edge from a latent to a patch is there exactly if some values allowed differ in that latent only and in
    a pixel of that patch. So an object's latents reach the patches its slot overlaps, background and light all of them,
    and class, layout and palette reach patches through their children only.

    **Assumptions of the theory.** The graph has no cycle, its sinks are the patches, and noises are independent. The
    invertible regime does *not* hold: patches add no noise, categories are many-to-one, and many latents cannot be read
    off the pixels (the phase of a solid object, the rotation of a ring in one colour). Dims are therefore explicit, and
    predictions need ``regime="general"``. :attr:`invertible` is ``False``.

    Attributes:
        size: side of the image in pixels, 16 to 256.
        patch: side of a patch in pixels; divides ``size`` and is smaller.
        objects: rows and columns of slots; both divide ``size``, and slots are at least 8 pixels wide.
        n_classes: number of classes, 2 to 64. Each has its own pair of shape and texture.
        coupling: probability with which an object's shape, and independently its texture, follow the class; otherwise
            they are any of all. 1 makes them functions of the class, 0 independent of it (then no edges are there).
        context: the same for layout and palette.
        colour: three channels if true, one if false.
        high_level: factors that say what is where, a scene's shape cues.
        low_level: factors that say what surfaces and light look like, its texture cues. The class is in neither.

    Raises:
        ValueError: a size, number or probability out of range, or sides that do not divide.

    Example:
        >>> scenes = SceneImages(size=32, objects=(2, 2))
        >>> sample = scenes.sample(jax.random.key(0), 4, do={"shape": "star"})
        >>> sample.images.shape, sample.latents["shape_3"].shape
        ((4, 32, 32, 3), (4, 1))
    """

    high_level: ClassVar[tuple[str, ...]] = HIGH_LEVEL
    low_level: ClassVar[tuple[str, ...]] = LOW_LEVEL

    def __post_init__(self) -> None:
        _check_whole("size", self.size, 16, 256)
        _check_whole("patch", self.patch, 1, self.size // 2)
        if self.size % self.patch:
            raise ValueError(f"patch={self.patch} must divide size={self.size}: patches tile the image")
        if not isinstance(self.objects, tuple) or len(self.objects) != 2:
            raise ValueError(f"objects is a tuple of rows and columns of slots, such as (2, 2), got {self.objects!r}")
        for side, count in zip(("rows", "columns"), self.objects, strict=True):
            _check_whole(f"{side} of objects", count, 1, self.size // _SMALLEST_SLOT)
            if self.size % count:
                raise ValueError(f"{count} {side} of objects must divide size={self.size}: slots are whole pixels wide")
        _check_whole("n_classes", self.n_classes, 2, _MOST_CLASSES)
        for name, share in (("coupling", self.coupling), ("context", self.context)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a probability from 0 to 1, got {share!r}")
        if not self.coupling and not self.context:
            raise ValueError("coupling and context are both 0, so the class would show nowhere: make one positive")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image height, width and channels."""
        return self.size, self.size, 3 if self.colour else 1

    @property
    def invertible(self) -> bool:
        """``False``: latents cannot be read off the pixels without loss."""
        return False

    @property
    def n_values(self) -> Mapping[str, int]:
        """Latent -> number of categories, for the latents that are categories."""
        return {name: len(factor.categories) for name, factor in self._factor_of.items() if factor.categories}

    @functools.cached_property
    def factors(self) -> Mapping[str, SceneFactor]:
        """Name of each factor -> its range or categories, dims and parents; parents first."""
        return scene_factors(self.objects, self.n_classes, self.coupling, self.context, self.colour)

    @functools.cached_property
    def latents_of_factors(self) -> Mapping[str, tuple[str, ...]]:
        """Name of each factor -> names of its latents, one per object or one in all."""
        count = self.objects[0] * self.objects[1]
        return {name: tuple(latent_names(factor, count)) for name, factor in self.factors.items()}

    @functools.cached_property
    def _factor_of(self) -> Mapping[str, SceneFactor]:
        return {latent: self.factors[name] for name, latents in self.latents_of_factors.items() for latent in latents}

    @functools.cached_property
    def _canvas(self) -> SceneImages:
        """The scenes that are drawn alike, whatever their classes and patches: they share one compiled program."""
        return SceneImages(size=self.size, patch=1, objects=self.objects, colour=self.colour)

    @property
    def graph(self) -> LatentGraph:
        """The latent graph; patches are named ``x_{row}_{column}``."""
        return self._graph

    @functools.cached_property
    def _graph(self) -> LatentGraph:
        edges: list[tuple[str, str]] = []
        for name, latents in self.latents_of_factors.items():
            for parent in self.factors[name].parents:
                above = self.latents_of_factors[parent]
                own = above if len(above) == len(latents) else above * len(latents)
                edges += zip(own, latents, strict=True)
        side = self.size // self.patch
        patches = [f"x_{row}_{column}" for row in range(side) for column in range(side)]
        for latent in self._factor_of:
            edges += [(latent, patches[i]) for i in self._patches_of(latent)]
        pixels = self.patch**2 * self.shape[2]
        dims = {latent: factor.dim for latent, factor in self._factor_of.items()}
        return LatentGraph.from_edges(
            edges,
            dims=dims | dict.fromkeys(patches, pixels),
            noise_dims=dims | dict.fromkeys(patches, 0),
            observed=patches,
            grid=(side, side),
        ).reordered([*self._factor_of, *patches])

    def _patches_of(self, latent: str) -> np.ndarray:
        """Numbers of the patches with an edge from a latent."""
        side = self.size // self.patch
        name = self._factor_of[latent].name
        if name in ("class", "layout", "palette"):
            return np.arange(0)
        if not self.factors[name].per_object:
            return np.arange(side**2)
        by_surface, by_outline = reached_pixels(self)
        reached = np.zeros((self.size, self.size), dtype=bool)
        tall, wide = by_surface.shape
        row, column = divmod(self.latents_of_factors[name].index(latent), self.objects[1])
        reached[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide] = (
            by_surface if name in SURFACE else by_outline
        )
        blocks = reached.reshape(side, self.patch, side, self.patch)
        return np.flatnonzero(blocks.any(axis=(1, 3)))

    # ------------------------------------------------------------------ from noise to latents to images

    def noises(self, key: Any, n: int) -> Float[Array, "n noise"]:
        """Draw the noise of all latents: uniform numbers in [0, 1), a column for each dim in the graph's order.

        Raises:
            ValueError: ``n`` is below 1.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"the number of images must be a whole number of at least 1, got n={n!r}")
        width = sum(factor.dim for factor in self._factor_of.values())
        return jax.random.uniform(checked_key(key), (int(n) * width,)).reshape(int(n), width)

    def latents(
        self,
        noises: Float[Array | np.ndarray, "n noise"],
        *,
        do: Mapping[str, Any] | None = None,
        shift: Mapping[str, Any] | None = None,
        freeze: Collection[str] = (),
    ) -> dict[str, Float[Array, "n _"]]:
        """Latents from their noises: each a function of its parents and its own noise.

        The same noises with another ``do`` give exact counterfactuals.

        Args:
            noises: from :meth:`noises`.
            do: latent or factor -> the values it is set to; latents below it follow. One value for all rows or one per
                row, as numbers or as the name of a category. A factor such as "shape" means that of every object.
            shift: latent or factor -> what to draw it from instead. Categories: one probability each, or a mapping from
                names to probabilities. Numbers: a range ``(low, high)``, or one per dim with ``None`` where the prior
                stays; values are then uniform in the range and no longer depend on the parents. Or a function of the
                values, (n, dim) to (n, dim), which must be pure; each new function is compiled anew.
            freeze: latents or factors that take the first row's value in every row; latents below them follow.

        Returns:
            Name of each latent -> (n, dim), in the graph's order.

        Raises:
            ValueError: an unknown name, a latent named twice, values of another shape or outside their range.
        """
        return unstacked(self.factors, self._drawn(noises, do, shift, freeze))

    def _drawn(self, noises: Array | np.ndarray, do: Any, shift: Any, freeze: Collection[str]) -> dict[str, Array]:
        width = sum(factor.dim for factor in self._factor_of.values())
        if noises.ndim != 2 or noises.shape[1] != width or not len(noises):
            raise ValueError(f"noises of these scenes have the shape (n, {width}), got {noises.shape}: use noises()")
        changes = parse_changes(self._factor_of, self.latents_of_factors, len(noises), do, shift, freeze)
        values = _values(self, jnp.asarray(noises), changes)
        for latent, _ in changes.functions:
            factor = self._factor_of[latent]
            column = self.latents_of_factors[factor.name].index(latent)
            check_range(factor, values[factor.name][:, column], f"shift of {latent!r}")
        return values

    def render(self, latents: Mapping[str, Float[Array | np.ndarray, "n _"]]) -> Float[Array, "n h w c"]:
        """Draw images of latents.

        Args:
            latents: name of each latent -> its values, (n, dim).

        Returns:
            Images with values in [0, 1].

        Raises:
            ValueError: names missing or unknown, another shape, or values outside their range (not checked inside
                compiled functions).
        """
        return _render(self._canvas, _stacked(self, checked_values(self._factor_of, latents)))

    def sample(
        self,
        key: Any,
        n: int,
        *,
        do: Mapping[str, Any] | None = None,
        shift: Mapping[str, Any] | None = None,
        freeze: Collection[str] = (),
    ) -> ImageSample:
        """Draw images with their latents and noises; the arguments are those of :meth:`noises` and :meth:`latents`.

        The same key with another ``do`` gives exact counterfactuals, because noises depend on the key alone.

        Raises:
            ValueError: as in :meth:`latents`, or ``n`` is below 1.
        """
        noises = self.noises(key, n)
        values = self._drawn(noises, do, shift, freeze)
        dims = [factor.dim for factor in self._factor_of.values()]
        starts = np.cumsum([0, *dims[:-1]])
        return ImageSample(
            images=_render(self._canvas, values),
            latents=unstacked(self.factors, values),
            graph=self.graph,
            noise={
                latent: jax.lax.dynamic_slice_in_dim(noises, start, dim, axis=1)
                for latent, start, dim in zip(self._factor_of, starts, dims, strict=True)
            },
        )

    def swap(self, a: ImageSample, b: ImageSample, names: Collection[str]) -> ImageSample:
        """Images with some latents of ``b`` and all others of ``a``, row by row.

        Only the named latents change, not those below them: with :attr:`low_level` shapes, places and sizes stay those
        of ``a`` while textures, colours and light become those of ``b``: a cue conflict. The class stays that of ``a``.

        Args:
            a: images of this model.
            b: as many images of this model.
            names: latents or factors to take from ``b``.

        Raises:
            ValueError: an unknown name, or samples of different sizes or another model.
        """
        taken = expand(self.latents_of_factors, self._factor_of, names)
        if len(a) != len(b) or a.graph != self.graph or b.graph != self.graph:
            raise ValueError(
                f"expected two samples of this model with as many images each, got {len(a)} and {len(b)} images of "
                f"{a.graph} and {b.graph}"
            )
        latents = {name: (b if name in taken else a).latents[name] for name in self._factor_of}
        return ImageSample(images=self.render(latents), latents=latents, graph=self.graph)


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


@functools.partial(jax.jit, static_argnums=0)
@usual_promotion
def _values(scenes: SceneImages, noises: Array, changes: Changes) -> dict[str, Array]:
    return draw_values(scenes, scenes.factors, noises, changes)


@functools.partial(jax.jit, static_argnums=0)
@usual_promotion
def _stacked(scenes: SceneImages, latents: Mapping[str, Array]) -> dict[str, Array]:
    return stacked(scenes.factors, latents, scenes.objects[0] * scenes.objects[1])


@functools.partial(jax.jit, static_argnums=0)
@usual_promotion
def _render(scenes: SceneImages, values: Mapping[str, Array]) -> Array:
    return draw_scenes(scenes, values)
