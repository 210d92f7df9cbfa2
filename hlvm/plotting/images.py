"""Pictures: a sheet with a title, and what arms see and make of samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hlvm.plotting.labels import printable, printable_lines, shortened, text_width
from hlvm.plotting.styles import axes_in_inches, row_of_panels, style, titled_sheet

__all__ = ["plot_picture", "plot_reconstructions"]

_PIXELS_PER_INCH = 72
_PICTURE, _BETWEEN, _LONGEST = 0.72, 0.06, 2.6
"""Inches of a picture, between two of them, and of the longest name."""
_FONT = 8.0
_ENLARGED = 60
"""Pixels that a picture is wide at least."""


def plot_picture(picture: ArrayLike, *, title: str = "", ax: Axes | None = None) -> Figure:
    """Show one picture as it is, without axes.

    Args:
        picture: (H, W, C) with values in [0, 1]; C is 1 or 3. See :func:`hlvm.images.contact_sheet`.
        title: text above.
        ax: axes to draw into; ``None`` for a new figure.

    Returns:
        The figure.
    """
    array = np.asarray(picture)
    height, width, _ = array.shape
    with style(ax):
        inches = (max(2.0, width / _PIXELS_PER_INCH), max(1.0, height / _PIXELS_PER_INCH) + 0.4)
        figure, (ax,) = row_of_panels(ax, 1, *inches)
        ax.imshow(array.squeeze(), cmap="gray", vmin=0, vmax=1, origin="upper", interpolation="nearest")
        ax.axis("off")
        if title:
            ax.set_title(printable_lines(title))
        return figure


def plot_reconstructions(
    samples: Float[np.ndarray, "n h w 3"],
    arms: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    *,
    proportion: float | None = None,
    title: str = "",
) -> Figure:
    """Samples on top; below them, a line per arm: what its encoder saw of them, and what it made of the rest.

    Args:
        samples: values in [0, 1]; NaN stays white.
        arms: name -> what was seen, and the reconstructions or ``None``; shape (n, h, w, 3), as ``samples``.
        proportion: height of a picture over its width, as it is drawn; ``None`` for square pixels.
        title: text above.

    Returns:
        The figure, unknown to pyplot.

    Raises:
        ValueError: no arms, or pictures of another shape.
    """
    strange = [name for name, line in arms.items() for p in line if p is not None and p.shape != samples.shape]
    if not arms or strange:
        raise ValueError(f"expected pictures of arms shaped as the samples, got {', '.join(strange) or 'no arms'}")
    n, tall, wide, _ = samples.shape
    shape = tall / wide if proportion is None else proportion
    strip = n * _PICTURE + (n - 1) * _BETWEEN
    high = float(np.clip(_PICTURE * shape, 0.15, 2 * _PICTURE))
    with style():
        names = [shortened(printable(name), _LONGEST, _FONT) or "…" for name in arms]
        left = max(text_width(name, _FONT) for name in names) + 0.15
        figure, top = titled_sheet(left + 2 * strip + 0.35, (len(arms) + 1) * (high + 0.1) + 0.55, title)
        places = [left + 0.15, left + 0.35 + strip + 0.15]
        for i, (line, name) in enumerate(zip([(samples, None), *arms.values()], ["", *names], strict=True)):
            base = top - 0.25 - (high + 0.1) * (i + 1) - (0.25 if i else 0.0)
            for side, (pictures, place) in enumerate(zip(line, places, strict=True)):
                if pictures is None:
                    continue
                ax = axes_in_inches(figure, place, base, strip, high)
                ax.imshow(_side_by_side(pictures), aspect="auto", interpolation="nearest")
                ax.axis("off")
                if i <= 1:
                    heading = "samples" if i == 0 else ("what the encoder saw", "reconstruction")[side]
                    ax.set_title(heading, fontsize=_FONT + 1, pad=3)
            if i:
                sheet_wide, sheet_tall = figure.get_size_inches()
                at = (left / sheet_wide, (base + high / 2) / sheet_tall)
                figure.text(*at, name, ha="right", va="center", fontsize=_FONT)
        return figure


def _side_by_side(pictures: Float[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "H W 3"]:
    """Pictures enlarged, and white between them."""
    n, tall, wide, _ = pictures.shape
    factor = -(-_ENLARGED // wide)
    gap = round(factor * wide * _BETWEEN / _PICTURE)
    sheet = np.ones((tall, n * factor * wide + (n - 1) * gap, 3))
    for i, picture in enumerate(np.where(np.isnan(pictures), 1.0, np.clip(pictures, 0.0, 1.0))):
        start = i * (factor * wide + gap)
        sheet[:, start : start + factor * wide] = picture.repeat(factor, axis=1)
    return sheet
