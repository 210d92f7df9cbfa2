"""From a scene's latents to its pixels, and which pixels an object can change.

Every object is drawn in its own slot and never leaves it, so a pixel belongs to one object at most, and drawing costs
the same for any number of objects. The largest radius leaves room for the shadow.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hlvm.images.scenes.colours import srgb
from hlvm.images.scenes.factors import SMALLEST, SceneFields
from hlvm.images.scenes.shapes import shape_distance
from hlvm.images.scenes.textures import texture_share

__all__ = ["draw_scenes", "reached_pixels"]

# Lengths as shares of half the shorter side of a slot.
_SHADOW_SHIFT = 0.10
_SHADOW_BLUR = 0.08
_MARGIN = _SHADOW_SHIFT + _SHADOW_BLUR
_FULL_RADIUS = 1 - _MARGIN

_SHADOW = 0.5  # how dark the darkest shadow is
_BEVEL = 0.4  # width of the rounded rim, in radii
_RIM, _SLOPE, _SKY = 0.55, 0.2, 0.3  # how much light changes the rim, the face of an object, and the background


def _slot(scene: SceneFields) -> tuple[int, int]:
    return scene.size // scene.objects[0], scene.size // scene.objects[1]


def _offsets(side: int) -> Float[np.ndarray, " side"]:
    """Pixel centres along a side, from its middle."""
    return np.arange(side) + 0.5 - side / 2


def reached_pixels(scene: SceneFields) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The pixels of a slot that an object can change: by its surface, and by its outline and shadow.

    Discs of the smallest radius reach farthest into the corners: together they fill a rectangle with rounded corners.
    """
    tall, wide = _slot(scene)
    half = min(tall, wide) / 2
    corner = SMALLEST * _FULL_RADIUS * half
    down, right = np.meshgrid(_offsets(tall), _offsets(wide), indexing="ij")
    beyond_x = np.maximum(np.abs(right) - (wide / 2 - _MARGIN * half - corner), 0)
    beyond_y = np.maximum(np.abs(down) - (tall / 2 - _MARGIN * half - corner), 0)
    distance = np.hypot(beyond_x, beyond_y) - corner
    return distance < 0.5, distance < max(0.5, _MARGIN * half)


def draw_scenes(scene: SceneFields, values: Mapping[str, Float[Array, "n _ _"]]) -> Float[Array, "n h w c"]:
    """Draw scenes from the values of their factors."""
    rows, columns = scene.objects
    (tall, wide), n = _slot(scene), len(values["lighting"])
    blocks = jnp.stack(_objects(tall, wide, values), axis=-1).reshape(n, rows, columns, tall, wide, 4)
    cover, shadow, light, share = jnp.moveaxis(blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, 4), -1, 0)

    object_of_pixel = (np.arange(scene.size)[:, None] // tall * columns + np.arange(scene.size) // wide).ravel()
    right, down = (side.ravel() / (scene.size / 2) for side in np.meshgrid(*[_offsets(scene.size)] * 2))
    azimuth, strength = values["lighting"][:, 0, :1], values["lighting"][:, 0, 1:]
    sky = _SKY * strength * (right * jnp.sin(azimuth) - down * jnp.cos(azimuth))
    base, accent, ground = (srgb(values[name]) for name in ("colour", "accent", "background"))
    channels = []
    for c in range(base.shape[-1]):
        behind = _lit(ground[:, :, c], sky) * (1 - shadow)
        first, second = base[:, object_of_pixel, c], accent[:, object_of_pixel, c]
        front = _lit(first + share * (second - first), light)
        channels.append(behind + cover * (front - behind))
    images = jnp.stack(channels, axis=-1).reshape(n, scene.size, scene.size, -1)
    return jnp.clip(images, 0, 1)


def _objects(tall: int, wide: int, values: Mapping[str, Array]) -> tuple[Array, Array, Array, Array]:
    """Cover, shadow, light and share of the second colour for every pixel of every slot, (n, objects, pixels)."""
    half = min(tall, wide) / 2
    of = {name: value[..., 0] for name, value in values.items()}  # (n, objects), or (n, 1)
    radius = of["size"] * _FULL_RADIUS * half
    room_x, room_y = wide / 2 - _MARGIN * half - radius, tall / 2 - _MARGIN * half - radius
    per_object = (
        radius,
        1 / radius,
        of["position"] * room_x,
        values["position"][..., 1] * room_y,
        jnp.cos(of["rotation"]),
        jnp.sin(of["rotation"]),
        jnp.cos(of["orientation"]),
        jnp.sin(of["orientation"]),
        2 * half / of["frequency"],
        of["phase"],
        -jnp.sin(of["lighting"]),
        jnp.cos(of["lighting"]),
        values["lighting"][..., 1],
    )
    # As one array, so that the compiler works them out once per object and not once per pixel.
    table = jnp.stack([jnp.broadcast_to(entry, radius.shape) for entry in per_object])[..., None]
    radius, inverse, middle_x, middle_y, cos, sin, cos_texture, sin_texture, period, phase, *light_from = table
    shade_x, shade_y, strength = light_from  # the way shadows fall, right and down

    down, right = (side.ravel() for side in np.meshgrid(_offsets(tall), _offsets(wide), indexing="ij"))
    x, y = right - middle_x, down - middle_y
    shape = _category(values["shape"])
    along, across = _turned(x, y, cos, sin)
    distance = radius * shape_distance(shape, along * inverse, across * inverse)
    shift = _SHADOW_SHIFT * half
    behind = _turned(x - shift * shade_x, y - shift * shade_y, cos, sin)
    distance_behind = radius * shape_distance(shape, behind[0] * inverse, behind[1] * inverse)

    cover = jnp.clip(0.5 - distance, 0, 1)
    dark = jnp.clip(0.5 - distance_behind / (2 * _SHADOW_BLUR * half), 0, 1)
    shadow = _SHADOW * strength * dark * dark * (3 - 2 * dark)
    rim = jnp.clip(1 + distance * inverse / _BEVEL, 0, 1) * jnp.clip((distance_behind - distance) / shift, -1, 1)
    slope = -(x * shade_x + y * shade_y) * inverse
    light = jnp.clip(strength * (_RIM * rim + _SLOPE * slope), -1, 1)
    in_texture = _turned(along, across, cos_texture, sin_texture)
    share = texture_share(_category(values["texture"]), *in_texture, phase, period)
    return cover, shadow, light, share


def _category(value: Array) -> Array:
    return jnp.round(value).astype(jnp.int32)


def _turned(x: Array, y: Array, cos: Array, sin: Array) -> tuple[Array, Array]:
    """Coordinates in a frame turned clockwise (y is down)."""
    return cos * x + sin * y, cos * y - sin * x


def _lit(colour: Array, light: Array) -> Array:
    """A colour moved towards white by a positive amount of light, towards black by a negative one."""
    return colour + jnp.maximum(light, 0) * (1 - colour) + jnp.minimum(light, 0) * colour
