"""The factors of a scene: what each latent may be, and how it follows from its parents and its own noise.

Every latent is a function of its parents and of one uniform number in [0, 1) for each of its dims. Values of a factor
are held as (n, objects, dim), with one object where the factor belongs to the whole scene.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hlvm.images.scenes.colours import PALETTES, radians
from hlvm.images.scenes.shapes import SHAPES
from hlvm.images.scenes.textures import TEXTURES

__all__ = [
    "HIGH_LEVEL",
    "LOW_LEVEL",
    "SURFACE",
    "SceneFactor",
    "SceneFields",
    "prior_values",
    "scene_factors",
    "slot_centres",
]

HIGH_LEVEL: tuple[str, ...] = ("shape", "layout", "position", "size", "rotation")
"""Factors that say what is where: a scene's shape cues."""

LOW_LEVEL: tuple[str, ...] = (
    "texture",
    "frequency",
    "orientation",
    "phase",
    "palette",
    "colour",
    "accent",
    "background",
    "lighting",
)
"""Factors that say what the surfaces look like: a scene's texture cues."""

SURFACE: tuple[str, ...] = ("texture", "frequency", "orientation", "phase", "colour", "accent")
"""Factors of an object that show on the object only; its other factors also move its shadow."""

LAYOUTS_OF_ONE: tuple[str, ...] = ("middle", "left", "right", "top", "bottom")
LAYOUTS_OF_MANY: tuple[str, ...] = ("even", "gathered", "spread", "mixed", "wheel")
SMALLEST = 0.4  # size of the smallest object allowed

_NEAR = 0.25  # how far the noise moves a position away from its layout's place
_CYCLES = (5.0, 5.5, 5.0, 5.5, 6.0, 4.6, 4.5, 4.6)  # frequency that belongs to each texture, on large slots
_LARGE_SLOT = 24  # pixels; on smaller ones frequencies fall, so that pixels can show them
_TURNED = (0.0, 0.6, 0.0, 0.4, 0.0, -0.6, 0.8, 0.0)  # orientation that belongs to each texture, radians


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneFields:
    """Fields of :class:`~hlvm.images.SceneImages`, which tells what they mean."""

    size: int = 32
    patch: int = 8
    objects: tuple[int, int] = (1, 1)
    n_classes: int = 8
    coupling: float = 1.0
    context: float = 0.5
    colour: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneFactor:
    """A kind of latent of a scene: one latent of the whole scene, or one for each object.

    Attributes:
        name: of the factor; an object's latent is called ``{name}_{object}``.
        parents: names of the factors it depends on; those of an object are its own.
        per_object: whether every object has one.
        low: the smallest value allowed, one per dim.
        high: the largest value allowed, one per dim.
        categories: what the whole numbers 0, 1, ... stand for; empty if the values are not whole numbers.
        unit: what a value of 1 means, per dim.
    """

    name: str
    parents: tuple[str, ...]
    per_object: bool
    low: tuple[float, ...]
    high: tuple[float, ...]
    categories: tuple[str, ...] = ()
    unit: str

    @property
    def dim(self) -> int:
        """Number of numbers that a value has."""
        return len(self.low)


Values = Mapping[str, Float[Array, "n _ _"]]


@functools.lru_cache(maxsize=32)
def scene_factors(
    objects: tuple[int, int], n_classes: int, coupling: float, context: float, colour: bool
) -> Mapping[str, SceneFactor]:
    """All factors of a scene, parents first."""
    found: dict[str, SceneFactor] = {}

    def kinds(name: str, parents: tuple[str, ...], names: tuple[str, ...], *, each: bool) -> None:
        found[name] = SceneFactor(
            name=name,
            parents=parents,
            per_object=each,
            low=(0.0,),
            high=(len(names) - 1.0,),
            categories=names,
            unit="number of the category",
        )

    def numbers(
        name: str, parents: tuple[str, ...], low: tuple[float, ...], high: tuple[float, ...], unit: str, *, each: bool
    ) -> None:
        found[name] = SceneFactor(name=name, parents=parents, per_object=each, low=low, high=high, unit=unit)

    of_class, in_context = ("class",) if coupling > 0 else (), ("class",) if context > 0 else ()
    dark, bright, tone = (0.0,), (1.0,), "lightness"
    if colour:
        dark, bright, tone = (0.0, 0.0, 0.0), (1.0, 0.25, 2 * math.pi), "lightness, chroma (OKLCH), hue in radians"
    class_names = tuple(f"{SHAPES[s]}-{TEXTURES[t]}" for s, t, *_ in class_table(n_classes))
    layouts = LAYOUTS_OF_ONE if objects == (1, 1) else LAYOUTS_OF_MANY
    kinds("class", (), class_names, each=False)
    kinds("layout", in_context, layouts, each=False)
    kinds("palette", in_context, tuple(palette.name for palette in PALETTES), each=False)
    numbers("background", ("palette",), dark, bright, tone, each=False)
    light = "radians clockwise from above, share of the strongest light"
    numbers("lighting", (), (-math.pi, 0.0), (math.pi, 1.0), light, each=False)
    kinds("shape", of_class, SHAPES, each=True)
    kinds("texture", of_class, TEXTURES, each=True)
    numbers("size", ("layout",), (SMALLEST,), (1.0,), "radius of the largest object that fits its slot", each=True)
    room = "the way from the middle of the slot to its edge that the size leaves, to the right and down"
    numbers("position", ("layout",), (-1.0, -1.0), (1.0, 1.0), room, each=True)
    turn = "radians clockwise"
    numbers("rotation", (), (-math.pi,), (math.pi,), turn, each=True)
    numbers("colour", ("palette",), dark, bright, tone, each=True)
    numbers("accent", ("palette",), dark, bright, tone, each=True)
    numbers("frequency", ("texture",), (1.0,), (16.0,), "cycles per shorter side of the slot", each=True)
    numbers("orientation", ("texture",), (-math.pi,), (math.pi,), turn, each=True)
    numbers("phase", (), (-1.0,), (1.0,), "cycles", each=True)
    return found


def class_table(n_classes: int) -> tuple[tuple[int, int, int, int], ...]:
    """For each class its shape, texture, layout and palette; no two of 64 classes share both shape and texture."""
    n = len(SHAPES)
    return tuple(
        (c % n, (c + c // n + 1) % len(TEXTURES), c % len(LAYOUTS_OF_ONE), c % len(PALETTES)) for c in range(n_classes)
    )


def slot_centres(objects: tuple[int, int]) -> Float[np.ndarray, "objects 2"]:
    """Centre of each slot, right and down, from -1 to 1; 0 along a side with one slot."""
    sides = [np.linspace(-1, 1, count) if count > 1 else np.zeros(1) for count in objects]
    down, right = np.meshgrid(*sides, indexing="ij")
    return np.stack([right.ravel(), down.ravel()], axis=-1)


def _layouts(objects: tuple[int, int]) -> tuple[Float[np.ndarray, "layouts objects 2"], np.ndarray]:
    """For each layout and object its usual position and size."""
    centres = slot_centres(objects)
    if objects == (1, 1):
        places = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], dtype=float)[:, None]
        sizes = np.array([0.86, 0.72, 0.72, 0.72, 0.72])[:, None]
        return (1 - _NEAR) * places, sizes[..., None]
    still = np.zeros_like(centres)
    turned = np.stack([-centres[:, 1], centres[:, 0]], axis=-1)
    every_other = np.add(*np.divmod(np.arange(len(centres)), objects[1])) % 2
    even = np.full(len(centres), 0.86)
    loose = np.full(len(centres), 0.72)
    places = np.stack([still, -centres, centres, still, turned])
    sizes = np.stack([even, loose, loose, np.where(every_other, 0.6, 0.92), loose])
    return (1 - _NEAR) * places, sizes[..., None]


# ---------------------------------------------------------------------- from parents and noise to values


def prior_values(scene: SceneFields, name: str, values: Values, u: Float[Array, "n objects dim"]) -> Array:
    """Values of a factor, given those of its parents and its own uniform noise."""
    return _PRIORS[name](scene, values, u)


def _pick(n: int, u: Array) -> Array:
    return jnp.minimum(jnp.floor(n * u), n - 1.0)


def _follow(scene: SceneFields, values: Values, u: Array, column: int, n: int, share: float) -> Array:
    """The category of the class with probability ``share``, else any of ``n`` categories."""
    if share == 0:
        return _pick(n, u)
    table = np.array(class_table(scene.n_classes), dtype=np.float32)[:, column]
    own = jnp.asarray(table)[_whole(values["class"])]
    if share == 1:
        return jnp.broadcast_to(own, u.shape)
    return jnp.where(u < share, own, _pick(n, jnp.clip((u - share) / (1 - share), 0, 1)))


def _whole(category: Array) -> Array:
    return jnp.round(category).astype(jnp.int32)


def _around(middle: Array | float, width: float | np.ndarray, u: Array) -> Array:
    return (2 * u - 1) * width + middle


def _tone(middle: Array, u: Array, spread: tuple[float, float, float]) -> Array:
    n = u.shape[-1]  # one number if the images are grey
    return _around(middle[..., :n], np.array(spread[:n], dtype=np.float32), u)


def _background(scene: SceneFields, values: Values, u: Array) -> Array:
    table = jnp.asarray([radians(palette.background) for palette in PALETTES], dtype=u.dtype)
    return _tone(table[_whole(values["palette"])[..., 0]], u, (0.02, 0.01, 0.12))


def _accent(scene: SceneFields, values: Values, u: Array) -> Array:
    table = jnp.asarray([radians(palette.accent) for palette in PALETTES], dtype=u.dtype)
    return _tone(table[_whole(values["palette"])[..., 0]], u, (0.02, 0.01, 0.1))


def _colour(scene: SceneFields, values: Values, u: Array) -> Array:
    """One of the palette's colours, chosen by the last noise number, and a little beside it."""
    table = jnp.asarray([[radians(c) for c in palette.colours] for palette in PALETTES], dtype=u.dtype)
    n = table.shape[1]
    which = _pick(n, u[..., -1])
    middle = table[_whole(values["palette"])[..., 0], which.astype(jnp.int32)]
    return _tone(middle, u.at[..., -1].set(n * u[..., -1] - which), (0.03, 0.01, 0.1))


def _lighting(scene: SceneFields, values: Values, u: Array) -> Array:
    return _around(jnp.asarray([0.0, 0.7]), np.array([1.2, 0.3], dtype=np.float32), u)


def _frequency(scene: SceneFields, values: Values, u: Array) -> Array:
    slot = scene.size / max(scene.objects)
    return min(1.0, slot / _LARGE_SLOT) * _around(_by_texture(_CYCLES, values), 0.8, u)


def _by_layout(table: np.ndarray, values: Values) -> Array:
    return jnp.asarray(table, dtype=jnp.float32)[_whole(values["layout"])[:, 0, 0]]


def _by_texture(table: tuple[float, ...], values: Values) -> Array:
    return jnp.asarray(table, dtype=jnp.float32)[_whole(values["texture"])]


_PRIORS: Mapping[str, Callable[[SceneFields, Values, Array], Array]] = {
    "class": lambda s, v, u: _pick(s.n_classes, u),
    "layout": lambda s, v, u: _follow(s, v, u, 2, len(LAYOUTS_OF_ONE), s.context),
    "palette": lambda s, v, u: _follow(s, v, u, 3, len(PALETTES), s.context),
    "background": _background,
    "lighting": _lighting,
    "shape": lambda s, v, u: _follow(s, v, u, 0, len(SHAPES), s.coupling),
    "texture": lambda s, v, u: _follow(s, v, u, 1, len(TEXTURES), s.coupling),
    "size": lambda s, v, u: _around(_by_layout(_layouts(s.objects)[1], v), 0.08, u),
    "position": lambda s, v, u: _around(_by_layout(_layouts(s.objects)[0], v), _NEAR, u),
    "rotation": lambda s, v, u: _around(0.0, math.pi / 6, u),
    "colour": _colour,
    "accent": _accent,
    "frequency": _frequency,
    "orientation": lambda s, v, u: _around(_by_texture(_TURNED, v), math.pi / 8, u),
    "phase": lambda s, v, u: _around(0.0, 0.35, u),
}
