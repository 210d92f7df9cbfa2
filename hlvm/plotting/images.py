"""A picture with a title, such as a contact sheet."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hlvm.plotting.labels import printable_lines
from hlvm.plotting.styles import figure_with_panels, style

__all__ = ["plot_picture"]

_PIXELS_PER_INCH = 72


def plot_picture(picture: ArrayLike, *, title: str = "") -> Figure:
    """Show one picture as it is, without axes.

    Args:
        picture: (H, W, C) with values in [0, 1]; C is 1 or 3. See :func:`hlvm.images.contact_sheet`.
        title: text above.
    """
    array = np.asarray(picture)
    height, width, _ = array.shape
    with style():
        figure, axes = figure_with_panels(max(2.0, width / _PIXELS_PER_INCH), max(1.0, height / _PIXELS_PER_INCH) + 0.4)
        axes[0, 0].imshow(array.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes[0, 0].axis("off")
        axes[0, 0].set_title(printable_lines(title))
        return figure
