"""Colours in OKLCH, in which equal steps look equally large, and hand-tuned palettes in it.

A colour is (lightness 0 to 1, chroma 0 to about 0.25, hue in radians), a grey is (lightness,).

References:
    :cite:t:`ottosson2020oklab`.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["PALETTES", "Palette", "radians", "srgb"]

_TO_CONES = (
    (1.0, 0.3963377774, 0.2158037573),
    (1.0, -0.1055613458, -0.0638541728),
    (1.0, -0.0894841775, -1.2914855480),
)
_TO_LINEAR = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def srgb(colour: Float[Array | np.ndarray, "*s c"]) -> Float[Array, "*s c"]:
    """Values in sRGB of OKLCH colours, or grey levels of lightnesses; what no screen can show is clipped to [0, 1]."""
    colour = jnp.asarray(colour)
    lightness = colour[..., :1]
    if colour.shape[-1] == 1:
        linear = lightness**3
    else:
        chroma, hue = colour[..., 1], colour[..., 2]
        lab = (colour[..., 0], chroma * jnp.cos(hue), chroma * jnp.sin(hue))
        cones = [sum(w * x for w, x in zip(row, lab, strict=True)) ** 3 for row in _TO_CONES]
        linear = jnp.stack([sum(w * x for w, x in zip(row, cones, strict=True)) for row in _TO_LINEAR], axis=-1)
    linear = jnp.clip(linear, 0, 1)
    dark = linear <= 0.0031308
    return jnp.where(dark, 12.92 * linear, 1.055 * jnp.where(dark, 1.0, linear) ** (1 / 2.4) - 0.055)


@dataclasses.dataclass(frozen=True)
class Palette:
    """Colours that go together, as (lightness, chroma, hue in degrees).

    Attributes:
        name: in one word.
        background: behind the objects.
        colours: of objects, three.
        accent: second colour of textures.
    """

    name: str
    background: tuple[float, float, float]
    colours: tuple[tuple[float, float, float], ...]
    accent: tuple[float, float, float]


def radians(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """A palette's colour with its hue in radians."""
    return colour[0], colour[1], math.radians(colour[2])


PALETTES: tuple[Palette, ...] = (
    Palette(
        "dusk", (0.33, 0.07, 285.0), ((0.70, 0.16, 32.0), (0.78, 0.14, 75.0), (0.66, 0.15, 340.0)), (0.95, 0.03, 90.0)
    ),
    Palette(
        "lagoon",
        (0.91, 0.035, 205.0),
        ((0.47, 0.12, 258.0), (0.58, 0.10, 195.0), (0.66, 0.17, 32.0)),
        (0.85, 0.12, 88.0),
    ),
    Palette(
        "meadow",
        (0.89, 0.055, 120.0),
        ((0.50, 0.12, 145.0), (0.58, 0.14, 45.0), (0.45, 0.12, 325.0)),
        (0.86, 0.14, 92.0),
    ),
    Palette(
        "night",
        (0.26, 0.035, 235.0),
        ((0.82, 0.12, 165.0), (0.74, 0.12, 235.0), (0.73, 0.13, 305.0)),
        (0.43, 0.11, 275.0),
    ),
    Palette(
        "clay", (0.87, 0.04, 75.0), ((0.53, 0.15, 33.0), (0.69, 0.14, 72.0), (0.48, 0.07, 215.0)), (0.97, 0.02, 85.0)
    ),
    Palette(
        "sorbet",
        (0.90, 0.04, 305.0),
        ((0.62, 0.20, 345.0), (0.50, 0.17, 293.0), (0.66, 0.11, 200.0)),
        (0.97, 0.06, 100.0),
    ),
)
"""The palettes; hues stay 10 degrees away from 0, where they would wrap around."""
