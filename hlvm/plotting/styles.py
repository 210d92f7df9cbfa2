"""The look shared by all figures: colours, settings, sizes in inches, and files."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.style as mpl_style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from hlvm._files import as_path, atomic_path
from hlvm._numbers import UsageError
from hlvm._process.settings import SETTINGS
from hlvm.plotting.labels import printable_lines

__all__ = [
    "COLORS",
    "MARGIN",
    "MASKED_RGB",
    "Panels",
    "axes_in_inches",
    "figure_with_panels",
    "height_look",
    "ink_on",
    "row_of_panels",
    "save_figure",
    "style",
    "titled_sheet",
]

COLORS: Mapping[str, str] = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "black": "#000000",
    "grey": "#9A9A9A",
    "pale": "#D9D9D9",
}
"""The palette of Okabe and Ito, which colour-blind readers can tell apart, and two greys."""

MASKED_RGB = (0.337, 0.706, 0.914)
"""Colour of what is masked, in pictures and graphs: the palette's sky blue, which grey images do not contain."""

MARGIN = 0.15
"""Inches around what is drawn."""

Panels = Any
"""Array of axes, shape (rows, columns)."""

_KEPT = ("font.cursive", "font.fantasy", "font.monospace", "font.sans", "font.serif", "pdf.", "pgf.", "ps.", "svg.")
_OTHER_SCRIPTS = (
    "STIXGeneral",  # comes with Matplotlib: mathematical letters
    "Noto Sans CJK JP",  # all of Chinese, Japanese and Korean: Linux, then Windows and macOS
    "Microsoft YaHei",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
    "Nirmala UI",
)
"""Fonts for what Matplotlib's own lacks."""
_HEIGHT_COLORS = ("grey", "green", "blue", "vermilion", "purple", "orange", "sky", "black")
_MARKERS = "osD^vPX*"
_TITLE = 10.5
_LETTER = 0.54
"""Mean width of a letter, in font sizes."""
_SEEN, _DARK = 0.5, 0.45
"""Least opacity of a ground that is seen, and brightness, 0 to 1, below which it asks for white text."""
_LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a colour."""


@contextmanager
def style(ax: Axes | None = None) -> Iterator[None]:
    """Matplotlib settings of all figures, whatever the user's: of those, only fonts and file formats are kept.

    Text is plain: ``$`` and ``_`` in names are drawn as they are. The settings are the process's: other threads that
    draw figures of this package wait. Where the font lacks letters, Matplotlib looks in common fonts for other scripts,
    as far as they are installed; of a letter that none of these has, it warns.

    Args:
        ax: axes of the user's that are drawn into. The settings stay the user's then, but text is plain, and what is
            black elsewhere is white on dark axes.
    """
    if ax is not None:
        ink = ink_on(ax)
        own: Any = {"text.color": ink, "xtick.color": ink, "ytick.color": ink, "axes.labelcolor": ink}
        own |= {"legend.labelcolor": ink, "legend.frameon": False, "text.parse_math": False, "text.usetex": False}
        with SETTINGS, mpl.rc_context(own):
            yield
            for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()):
                text.set_parse_math(False)  # these were made before
        return
    with SETTINGS, mpl.rc_context():
        settings: Any = {
            **{name: value for name, value in mpl.rcParams.items() if name.startswith(_KEPT)},
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "font.family": _families(),
            "font.size": 9.5,
            "axes.titlesize": 10.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "hatch.linewidth": 0.8,
            "legend.frameon": False,
            "text.parse_math": False,
            "text.usetex": False,
        }
        mpl_style.use(["default", settings])
        yield


def _families() -> list[str]:
    chosen = list(mpl.rcParams["font.family"])
    # Matplotlib would log a line about each that is not installed.
    installed = set(fontManager.get_font_names()).difference(chosen)
    return [*chosen, *(name for name in _OTHER_SCRIPTS if name in installed)]


class _Figure(Figure):
    """Is drawn under the settings it was made under: some ticks and their labels are only made then."""

    def draw(self, renderer: Any) -> None:
        """Draw, as :meth:`matplotlib.figure.Figure.draw`."""
        with style():
            super().draw(renderer)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure, all or nothing; the suffix chooses the format.

    Args:
        figure: any figure.
        path: file to write, such as ``"graph.png"`` or ``"graph.svg"``.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    with atomic_path(as_path(path)) as temporary:
        figure.savefig(temporary, bbox_inches="tight", facecolor="auto", transparent=False)


def figure_with_panels(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Panels]:
    """A figure of so many inches and its axes, laid out by Matplotlib."""
    figure = _Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def row_of_panels(
    ax: Axes | None, count: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its panels side by side; or the axes given, and their figure.

    Args:
        ax: axes of the user's; ``None`` for a new figure.
        count: number of panels.
        width: of a new figure.
        height: of a new figure.
        options: of :meth:`matplotlib.figure.Figure.subplots`.

    Raises:
        ValueError: axes are given, and there are more panels than one.
    """
    if ax is None:
        figure, axes = figure_with_panels(width, height, 1, count, **options)
        return figure, list(axes[0])
    if count != 1:
        raise UsageError(f"has room for one panel, and there are {count}: leave it out, or draw fewer", argument="ax")
    return ax.figure.figure, [ax]


def ink_on(ax: Axes) -> str:
    """Black, or white on axes that are dark."""
    *rgb, opaque = to_rgba(ax.get_facecolor())
    if opaque < _SEEN:
        *rgb, opaque = to_rgba(ax.figure.get_facecolor())
    bright = sum(share * part for share, part in zip(_LUMINANCE, rgb, strict=True))
    return "white" if opaque >= _SEEN and bright < _DARK else COLORS["black"]


def axes_in_inches(figure: Figure, left: float, bottom: float, width: float, height: float, **options: Any) -> Axes:
    """Axes at a place given in inches from the figure's lower left corner."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall), **options)


def _wrapped(text: str, width: float, size: float) -> str:
    """Text broken into lines of at most about ``width`` inches at a font size in points."""
    letters = max(10, int(width * 72 / (size * _LETTER)))
    return "\n".join(line for part in text.splitlines() for line in textwrap.wrap(part, letters) or [""])


def titled_sheet(wide: float, tall: float, title: str) -> tuple[Figure, float]:
    """A figure with a title, and with room for so many inches below it inside margins of :data:`MARGIN`.

    Returns:
        The figure, and where the room ends at the top, in inches.
    """
    text = _wrapped(printable_lines(title), wide, _TITLE)
    lines = _TITLE * 1.3 / 72 * (text.count("\n") + 1) + 0.1 if title else 0.0
    wide, tall = wide + 2 * MARGIN, tall + lines + 2 * MARGIN
    figure = _Figure(figsize=(wide, tall))
    if title:
        figure.suptitle(text, x=MARGIN / wide, y=1 - MARGIN / tall, ha="left", va="top", fontsize=_TITLE)
    return figure, tall - MARGIN - lines


def height_look(height: int, *, ink: str = COLORS["black"]) -> dict[str, Any]:
    """Colour and marker of a latent height, the same in every figure.

    Args:
        height: of the latent.
        ink: colour that stands for black.
    """
    name = _HEIGHT_COLORS[height % len(_HEIGHT_COLORS)]
    return {"color": ink if name == "black" else COLORS[name], "marker": _MARKERS[height % len(_MARKERS)]}
