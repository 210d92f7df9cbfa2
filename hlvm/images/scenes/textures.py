"""Two-tone textures of the plane, antialiased, that fade to their mean where pixels cannot show them.

A texture says at every point how much of the second colour is there, from 0 to 1. It lies in the frame of an object:
it moves and turns with it.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["TEXTURES", "texture_share"]

_DOT = 0.33  # radius of a dot, in periods
_FADE = (2.0, 3.5)  # periods in pixels between which a texture comes in; below 2 pixels it cannot be shown
_BLOBS = (  # cycles along and across, phase: waves in directions that never line up
    (0.71, 0.42, 0.1),
    (-0.34, 0.83, 0.4),
    (0.93, -0.29, 0.8),
    (0.18, -0.67, 0.6),
)


def _wave(cycles: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Distance, in periods, into the second colour of a square wave; its extremes are ±1/4."""
    return 0.25 - jnp.abs(cycles - jnp.floor(cycles) - 0.5)


def _sine(cycles: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """A sine wave made of parabolas: within 0.06 of the sine, and much cheaper."""
    part = cycles - jnp.floor(cycles) - 0.5
    return -16 * part * (0.5 - jnp.abs(part))


def _share(periods: Float[Array, "*s"], pixels: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Share of a pixel that lies in the second colour, from the distance to its edge in periods of so many pixels."""
    return jnp.clip(0.5 + periods * pixels, 0, 1)


def _solid(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    return jnp.zeros_like(u)


def _stripes(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    return _share(_wave(u + phase), pixels)


def _checks(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    first, second = (2 * _share(_wave(w), pixels) - 1 for w in (u + phase, v))
    return 0.5 + 0.5 * first * second


def _dots(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    from_middle = [w - jnp.floor(w) - 0.5 for w in (u + phase + 0.5, v + 0.5)]
    distance = jnp.sqrt(jnp.maximum(from_middle[0] ** 2 + from_middle[1] ** 2, 1e-12))
    return _share(_DOT - distance, pixels)


def _rings(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    return _share(_wave(jnp.sqrt(jnp.maximum(u**2 + v**2, 1e-12)) + phase), pixels)


def _zigzag(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    tooth = jnp.abs(v - jnp.floor(v) - 0.5)
    return _share(_wave(u + tooth + phase), pixels * math.sqrt(0.5))


def _gradient(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    return 0.5 + 0.5 * _sine(0.25 * u + phase)


def _blobs(u: Float[Array, "*s"], v: Float[Array, "*s"], phase: Float[Array, "*s"], pixels: Float[Array, "*s"]):
    waves = [_sine(a * u + b * v + c + a * phase) for a, b, c in _BLOBS]
    steepness = 2 * math.pi * math.sqrt(sum(a * a + b * b for a, b, _ in _BLOBS) / 2)
    return _share(sum(waves[1:], waves[0]) / steepness, pixels)


_TEXTURES = {  # name -> function, mean share of the second colour
    "solid": (_solid, 0.0),
    "stripes": (_stripes, 0.5),
    "checks": (_checks, 0.5),
    "dots": (_dots, math.pi * _DOT**2),
    "rings": (_rings, 0.5),
    "zigzag": (_zigzag, 0.5),
    "gradient": (_gradient, 0.5),
    "blobs": (_blobs, 0.5),
}

TEXTURES: tuple[str, ...] = tuple(_TEXTURES)
"""Names of the textures; a texture's number is its place here."""


def texture_share(
    kind: Int[Array | np.ndarray, "*#s"],
    along: Float[Array | np.ndarray, "*#s"],
    across: Float[Array | np.ndarray, "*#s"],
    phase: Float[Array | np.ndarray, "*#s"],
    period: Float[Array | np.ndarray, "*#s"],
) -> Float[Array, "*s"]:
    """Share of the second colour that a pixel shows.

    Args:
        kind: numbers of the textures, places in :data:`TEXTURES`.
        along: from the object's centre in the direction in which the texture repeats, in pixels.
        across: at a right angle to it, likewise.
        phase: shift of the texture, in cycles.
        period: in pixels. The gradient takes four periods for one cycle, so that it differs from soft stripes.

    Returns:
        Shares from 0 to 1. Textures fade to their mean as the period falls from 3.5 to 2 pixels.
    """
    kind, along, across, phase, period = jnp.broadcast_arrays(kind, along, across, phase, period)
    u, v = along / period, across / period
    share = jax.lax.select_n(kind, *(draw(u, v, phase, period) for draw, _ in _TEXTURES.values()))
    mean = jnp.asarray([mean for _, mean in _TEXTURES.values()], dtype=share.dtype)[kind]
    shown = jnp.clip((period - _FADE[0]) / (_FADE[1] - _FADE[0]), 0, 1)
    return mean + (share - mean) * shown
