"""Small pictures for symbols: each symbol of an alphabet gets its own patch of pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hlvm._numbers import positive
from hlvm.images.scenes.colours import srgb

__all__ = ["PatchStyle", "check_style", "render", "symbol_patches", "unrender"]

PatchStyle: TypeAlias = Literal["colour", "grey", "one-hot"]
"""Shapes on coloured ground (3 channels), the same on grey ground (1 channel), or one channel per symbol."""

_SMALLEST_SHAPE = 4
"""A patch with fewer pixels a side is one plain colour: shapes could not be told apart."""

_SMALLEST_DRAWING = 8
"""A patch with fewer pixels a side shows a mark of 2 by 2 dots: drawn shapes would be smears."""

_GREYS = (0.1, 0.6)
"""Darkest and lightest grey ground; shapes are white."""

_LIGHTNESS, _CHROMA, _FIRST_HUE = (0.7, 0.52), 0.15, 0.07
"""Coloured grounds in OKLCH: neighbouring hues are light and dark in turn; the first hue is a share of the circle."""

_INK = (0.97, 0.025)
"""Lightness and chroma of shapes on coloured ground, whose hue they take."""

_SAMPLES = 8
"""Samples along each side of a pixel from which the share of it that a shape covers is taken."""

# Share of a square with corners at -1 and 1 that is inside, as a function of x to the right and y downwards.
_SHAPES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    lambda x, y: np.hypot(x, y) < 0.62,
    lambda x, y: np.minimum(abs(x), abs(y)) < 0.24 * (np.maximum(abs(x), abs(y)) < 0.75),
    lambda x, y: (y > 0.55 * (abs(x) / 0.75) * 2 - 0.62) & (y < 0.55),
    lambda x, y: (np.maximum(abs(x), abs(y)) < 0.75) & (np.maximum(abs(x), abs(y)) > 0.38),
    lambda x, y: (abs(abs(x) - 0.5) < 0.25) & (abs(abs(y) - 0.5) < 0.25),
    lambda x, y: (abs(y) > 0.25) & (abs(y) < 0.75) & (abs(x) < 0.75),
    lambda x, y: (np.minimum(abs(x - y), abs(x + y)) < 0.34) & (np.maximum(abs(x), abs(y)) < 0.78),
    lambda x, y: (np.hypot(x, y) < 0.78) & (np.hypot(x, y) > 0.4),
    lambda x, y: (x * y > 0) & (np.maximum(abs(x), abs(y)) < 0.75),
    lambda x, y: (abs(x) > 0.25) & (abs(x) < 0.75) & (abs(y) < 0.75),
    lambda x, y: (y < -0.55 * (abs(x) / 0.75) * 2 + 0.62) & (y > -0.55),
    lambda x, y: (np.hypot(x, y) < 0.75) & (x < y),
)

# As many marks of 2 by 2 dots, in the middle of 4 by 4.
_DOTS = ("## ##", "#. .#", "## ..", "#. #.", ".# #.", ".. ##", ".# .#", "## #.", ".# ##", "#. ..", ".. .#", ".# ..")


def check_style(pixels: int, style: str) -> None:
    """Refuse pixels below 1, and an unknown style."""
    positive(pixels, "patch_pixels")
    if style not in get_args(PatchStyle):
        raise ValueError(f"style must be one of {', '.join(map(repr, get_args(PatchStyle)))}, got {style!r}")


def symbol_patches(n_symbols: int, pixels: int, style: PatchStyle) -> Float[Array, "symbols pixels pixels channels"]:
    """One patch per symbol, all of them different.

    Args:
        n_symbols: number of symbols, at least 1.
        pixels: pixels along each side of a patch, at least 1.
        style: "colour", "grey" or "one-hot".

    Returns:
        float32 values in [0, 1]. Where there is room a symbol has a shape as well as a ground; the shapes repeat after
        12 symbols, on another ground. Under "one-hot" a patch is 1 in the channel of its symbol and 0 elsewhere.
    """
    symbols, n_shapes = np.arange(n_symbols), len(_SHAPES)
    if style == "one-hot":
        return jnp.broadcast_to(jnp.eye(n_symbols)[:, None, None], (n_symbols, pixels, pixels, n_symbols))
    with_shapes = pixels >= _SMALLEST_SHAPE
    if style == "grey":
        n_grounds = -(-n_symbols // n_shapes) if with_shapes else n_symbols
        levels = np.linspace(*_GREYS, n_grounds) if with_shapes else np.linspace(0, 1, n_grounds)
        ground, ink = levels[:, None], np.ones((n_grounds, 1))
        of_symbol, shape = (symbols // n_shapes if with_shapes else symbols), symbols % n_shapes
    else:
        # Each round through the grounds moves the shapes by one, so that no pair of ground and shape comes twice.
        n_grounds = min(n_symbols, max(n_shapes, -(-n_symbols // n_shapes))) if with_shapes else n_symbols
        ground, ink = _hues(n_grounds)
        of_symbol, shape = symbols % n_grounds, (symbols % n_grounds + symbols // n_grounds) % n_shapes
    ground, ink = ground[of_symbol, None, None], ink[of_symbol, None, None]
    covered = _coverage(pixels)[shape, ..., None] if with_shapes else np.zeros((n_symbols, pixels, pixels, 1))
    return jnp.asarray(ground + covered * (ink - ground), dtype=jnp.float32)


def _hues(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Red, green and blue of ``n`` grounds around the circle of hues, and of a light ink for each, (n, 3)."""
    hue = 2 * np.pi * (np.arange(n) / n + _FIRST_HUE)
    lightness = np.where(np.arange(n) % 2, *_LIGHTNESS)
    ground = np.stack([lightness, np.full(n, _CHROMA), hue], axis=-1)
    ink = np.stack([np.full(n, _INK[0]), np.full(n, _INK[1]), hue], axis=-1)
    in_rgb = np.asarray(jax.jit(srgb)(np.stack([ground, ink])), dtype=float)
    return in_rgb[0], in_rgb[1]


def _coverage(pixels: int) -> np.ndarray:
    """Share of each pixel that each shape covers, (shapes, pixels, pixels)."""
    if pixels < _SMALLEST_DRAWING:
        marks = np.array([[[dot == "#" for dot in row] for row in shape.split()] for shape in _DOTS], dtype=float)
        dots = np.pad(marks, ((0, 0), (1, 1), (1, 1)))
        nearest = np.arange(pixels) * 4 // pixels
        return dots[:, nearest[:, None], nearest]
    along = (np.arange(pixels * _SAMPLES) + 0.5) / (pixels * _SAMPLES) * 2 - 1
    fine = np.stack([inside(along[None, :], along[:, None]) for inside in _SHAPES]).astype(float)
    return fine.reshape(len(_SHAPES), pixels, _SAMPLES, pixels, _SAMPLES).mean(axis=(2, 4))


# ---------------------------------------------------------------------- pictures of grids of symbols


@jax.jit
def render(
    patches: Float[Array, "symbols pixels pixels channels"], cells: Int[Array, "n rows columns"]
) -> Float[Array, "n height width channels"]:
    """The patch of each cell at its place."""
    (n, rows, columns), (_, pixels, _, channels) = cells.shape, patches.shape
    blocks = patches[cells].transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows * pixels, columns * pixels, channels)


@jax.jit
def unrender(
    patches: Float[Array, "symbols pixels pixels channels"], images: Float[Array, "n height width channels"]
) -> Int[Array, "n rows columns"]:
    """The symbol of the nearest patch in each cell."""
    (n, height, width, channels), (n_symbols, pixels, _, _) = images.shape, patches.shape
    blocks = images.reshape(n, height // pixels, pixels, width // pixels, pixels, channels).transpose(0, 1, 3, 2, 4, 5)
    flat = patches.reshape(n_symbols, -1)
    # |image - patch|^2 without what does not depend on the patch.
    inner = jnp.matmul(blocks.reshape(*blocks.shape[:3], -1), flat.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmin((flat**2).sum(axis=1) - 2 * inner, axis=-1).astype(jnp.int32)
