"""Contact sheets: many images in one picture."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float, UInt8

from hlvm._files import as_path, atomic_path

__all__ = ["contact_sheet", "save_png"]

_SHOWN = 64  # images smaller than this many pixels are enlarged
_CAPTION_HEIGHT = 14  # pixels


def contact_sheet(
    images: Float[Array | np.ndarray, "n h w c"],
    columns: int = 8,
    pad: int = 1,
    captions: Sequence[str] | None = None,
    *,
    scale: int | None = None,
) -> Float[np.ndarray, "H W C"]:
    """Put images side by side, row after row, on white.

    Args:
        images: (n, height, width, channels), values in [0, 1]; one channel (grey) or three.
        columns: images per row; fewer if there are fewer images.
        pad: pixels of the images, before they are enlarged, between neighbours and around the sheet.
        captions: one line of text per image, drawn below it; an empty string leaves the place white.
        scale: side of the square that one pixel becomes; ``None`` for the smallest whole number that makes images at
            least 64 pixels high.

    Returns:
        The sheet, (rows, columns, channels), values in [0, 1]. Captions do not change the number of channels.

    Raises:
        ValueError: images of another shape or range, a number out of range, or captions for another number of images.

    Example:
        >>> contact_sheet(np.zeros((5, 8, 8, 1)), columns=3, scale=2).shape
        (38, 56, 1)
    """
    array = np.asarray(images, dtype=np.float64)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise ValueError(f"expected images of shape (n, height, width, 1 or 3), got {array.shape}")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"values must lie in [0, 1], got {array.min():g} to {array.max():g}: clip or rescale them")
    n, height, width, channels = array.shape
    for name, value, least in (("columns", columns, 1), ("pad", pad, 0), ("scale", scale or 1, 1)):
        if value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if captions is not None and (isinstance(captions, str) or len(captions) != n):
        raise ValueError(f"expected one caption for each of {n} images, got {len(captions)}")
    factor = scale or -(-_SHOWN // height)
    columns = min(columns, n)
    rows, gap = -(-n // columns), pad * factor
    tall, wide = height * factor, width * factor
    below = 0 if captions is None else _CAPTION_HEIGHT
    sheet = np.ones((rows * (tall + below + gap) + gap, columns * (wide + gap) + gap, channels))
    for i, picture in enumerate(array):
        top, left = gap + (i // columns) * (tall + below + gap), gap + (i % columns) * (wide + gap)
        sheet[top : top + tall, left : left + wide] = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        if captions is not None:
            sheet[top + tall : top + tall + below, left : left + wide] = _caption(captions[i], wide)[..., None]
    return sheet


def save_png(path: str | os.PathLike[str], array: Float[Array | np.ndarray, "h w c"]) -> None:
    """Write one picture as a PNG file, all or nothing.

    Args:
        path: ends in ``.png``; its folder exists.
        array: (height, width, channels), values in [0, 1]; one channel (grey) or three.

    Raises:
        ValueError: another ending, shape or range.
        FileNotFoundError: the folder does not exist.
    """
    from matplotlib.image import imsave

    target, picture = as_path(path), np.asarray(array)
    if target.suffix != ".png":
        raise ValueError(f"pictures are saved as .png files, got {target.name!r}")
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or 0 in picture.shape:
        raise ValueError(f"expected a picture of shape (height, width, 1 or 3), got {picture.shape}")
    if not (picture.min() >= 0 and picture.max() <= 1):
        raise ValueError(f"values must lie in [0, 1], got {picture.min():g} to {picture.max():g}: clip or rescale them")
    levels: UInt8[np.ndarray, "h w 3"] = np.broadcast_to(
        np.round(255 * picture).astype(np.uint8), (*picture.shape[:2], 3)
    )
    with atomic_path(target) as temporary:
        imsave(temporary, np.ascontiguousarray(levels), origin="upper", metadata={"Software": "hlvm"})


@functools.lru_cache(maxsize=512)
def _caption(text: str, width: int) -> Float[np.ndarray, "caption_height w"]:
    """Black text on white, in the middle; cut off where it is too long."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, _CAPTION_HEIGHT / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    look: dict[str, Any] = {"color": "black", "family": "DejaVu Sans", "size": 7, "style": "normal", "weight": "normal"}
    figure.text(0.5, 0.5, text, ha="center", va="center", parse_math=False, usetex=False, **look)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 0] / 255.0
