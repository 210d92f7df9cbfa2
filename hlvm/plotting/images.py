"""Pictures side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hlvm.plotting.letters import printable_lines
from hlvm.plotting.style import figure_with_panels, style

__all__ = ["plot_images"]


def plot_images(images: ArrayLike, *, columns: int = 8, title: str = "") -> Figure:
    """A contact sheet.

    Args:
        images: (n, H, W, C) with values in [0, 1]; C is 1 or 3.
        columns: images per row.
        title: text above.
    """
    array = np.asarray(images)
    n, height, width, channels = array.shape
    rows, gap = -(-n // columns), max(1, height // 8)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for i, picture in enumerate(array):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    with style([title]):
        figure, axes = figure_with_panels(columns * 0.95, rows * 0.95 + 0.4)
        axes[0, 0].imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes[0, 0].axis("off")
        axes[0, 0].set_title(printable_lines(title))
        return figure
