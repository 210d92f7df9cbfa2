"""Flat shapes by their signed distance: negative inside, zero on the outline, positive outside.

Every shape lies in the unit disc around the origin and touches its rim, x to the right and y *down*, as pixels are
counted. All distances are exact, so that an outline is as sharp at any size.

References:
    Square, cross and heart follow :cite:t:`quilez2d`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["SHAPES", "SHAPE_AREAS", "shape_distance"]

_CROSS = (math.cos(0.4), math.sin(0.4))  # half the length and half the width of a bar; the corners are on the rim
_RING = 0.52  # inner radius
_STAR = 0.45  # radius of the inner corners
_HEART_SIZE = 0.5 / (1.5 - math.sqrt(0.5))
"""Radius of the disc around a heart of unit height: its tip and the farthest points of its lobes are on the rim."""


def _root(square: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Square root whose slope at zero is 0 rather than infinite."""
    return jnp.sqrt(jnp.maximum(square, 1e-12))


def _length(x: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return _root(x**2 + y**2)


def _circle(x: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return _length(x, y) - 1


def _ring(x: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return jnp.abs(_length(x, y) - (1 + _RING) / 2) - (1 - _RING) / 2


def _square(x: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
    over_x, over_y = jnp.abs(x) - math.sqrt(0.5), jnp.abs(y) - math.sqrt(0.5)
    return _length(jnp.maximum(over_x, 0), jnp.maximum(over_y, 0)) + jnp.minimum(jnp.maximum(over_x, over_y), 0)


def _star(x: Float[Array, "*s"], y: Float[Array, "*s"], tips: int, inner: float) -> Float[Array, "*s"]:
    """A star with one tip upwards; a regular polygon where ``inner`` is its inner radius.

    Mirrored into the wedge between a tip and the next inner corner, where one side of the outline is left.
    """
    x, y = jnp.abs(x), -y
    wedge, span = math.pi / tips, tips
    while span > 1:
        span = -(-span // 2)
        normal = (math.cos(span * wedge), -math.sin(span * wedge))
        beyond = jnp.maximum(x * normal[0] + y * normal[1], 0)
        x, y = x - 2 * beyond * normal[0], y - 2 * beyond * normal[1]
    side_x, side_y = inner * math.sin(wedge), inner * math.cos(wedge) - 1
    along = jnp.clip((x * side_x + (y - 1) * side_y) / (side_x**2 + side_y**2), 0, 1)
    distance = _length(x - along * side_x, y - 1 - along * side_y)
    return jnp.where(side_x * (y - 1) < side_y * x, -distance, distance)


def _cross(x: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
    far, near = jnp.maximum(jnp.abs(x), jnp.abs(y)), jnp.minimum(jnp.abs(x), jnp.abs(y))
    over_far, over_near = far - _CROSS[0], near - _CROSS[1]
    outer = jnp.maximum(over_far, over_near)
    outside = _length(jnp.maximum(over_far, 0), jnp.maximum(over_near, 0))
    # Inside, the outline is nearest at the end of the bar or at the inner corner.
    inside = _length(jnp.maximum(_CROSS[1] - far, 0), jnp.minimum(over_near, 0))
    inside = jnp.minimum(inside, jnp.maximum(_CROSS[0] - far, 0))
    return jnp.where(outer > 0, outside, -inside)


def _heart(x: Float[Array, "*s"], y: Float[Array, "*s"]) -> Float[Array, "*s"]:
    x, y = jnp.abs(x) * _HEART_SIZE, (1 - y) * _HEART_SIZE  # the tip at the origin, the notch at (0, 1)
    lobe = _length(x - 0.25, y - 0.75) - math.sqrt(0.125)
    middle = 0.5 * jnp.maximum(x + y, 0)
    below = _root(jnp.minimum(x**2 + (y - 1) ** 2, (x - middle) ** 2 + (y - middle) ** 2))
    return jnp.where(x + y > 1, lobe, jnp.where(x < y, -below, below)) / _HEART_SIZE


_DISTANCES = {
    "circle": _circle,
    "square": _square,
    "triangle": lambda x, y: _star(x, y, 3, 0.5),
    "star": lambda x, y: _star(x, y, 5, _STAR),
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "hexagon": lambda x, y: _star(x, y, 6, math.cos(math.pi / 6)),
}

SHAPES: tuple[str, ...] = tuple(_DISTANCES)
"""Names of the shapes; a shape's number is its place here."""

SHAPE_AREAS: tuple[float, ...] = (
    math.pi,
    2.0,
    3 * math.sin(math.pi / 3) / 2,
    5 * _STAR * math.sin(math.pi / 5),
    8 * _CROSS[0] * _CROSS[1] - 4 * _CROSS[1] ** 2,
    math.pi * (1 - _RING**2),
    (0.5 + math.pi / 8) / _HEART_SIZE**2,
    3 * math.sin(math.pi / 3),
)
"""Area of each shape, for a unit disc around it."""


def shape_distance(
    kind: Int[Array | np.ndarray, "*#s"], x: Float[Array | np.ndarray, "*#s"], y: Float[Array | np.ndarray, "*#s"]
) -> Float[Array, "*s"]:
    """Signed distance to the outline of a shape of unit size.

    Args:
        kind: numbers of the shapes, places in :data:`SHAPES`.
        x: to the right of the shape's centre, in radii of the disc around the shape.
        y: below the shape's centre, likewise.

    Returns:
        Distances in radii, negative inside.
    """
    kind, x, y = jnp.broadcast_arrays(kind, x, y)
    return jax.lax.select_n(kind, *(distance(x, y) for distance in _DISTANCES.values()))
