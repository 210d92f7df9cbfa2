"""The look shared by all figures: colours, settings, sizes in inches, and files."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

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
    "Sheet",
    "axes_in_inches",
    "figure_with_panels",
    "ground_of",
    "height_look",
    "ink_on",
    "room_in",
    "row_of_panels",
    "save_figure",
    "set_title",
    "style",
    "titled_axes",
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
    *rgb, opaque = ground_of(ax)
    bright = sum(share * part for share, part in zip(_LUMINANCE, rgb, strict=True))
    return "white" if opaque >= _SEEN and bright < _DARK else COLORS["black"]


def ground_of(ax: Axes) -> tuple[float, float, float, float]:
    """Red, green, blue and opacity behind what is drawn into axes: their own, or the figure's if they have none."""
    own = to_rgba(ax.get_facecolor())
    return own if own[-1] >= _SEEN else to_rgba(ax.figure.get_facecolor())


def room_in(ax: Axes) -> tuple[float, float]:
    """Width and height of axes in inches, as their figure is laid out now."""
    wide, tall = ax.figure.figure.get_size_inches()
    box = (
        ax.get_position()
        if ax.figure is ax.figure.figure
        else ax.get_window_extent().transformed(ax.figure.figure.transFigure.inverted())
    )
    return float(box.width * wide), float(box.height * tall)


class Sheet(NamedTuple):
    """Axes of the user's as a sheet, on which drawings have places in inches as in a figure.

    Attributes:
        ax: the axes, whose ticks and outline are hidden.
        wide: inches that their width stands for.
        tall: inches that their height stands for.
    """

    ax: Axes
    wide: float
    tall: float

    def get_size_inches(self) -> tuple[float, float]:
        """Width and height, as of a figure."""
        return self.wide, self.tall

    def add_axes(self, place: tuple[float, float, float, float], **options: Any) -> Axes:
        """Axes inside these at a place in shares of them, as in a figure."""
        inside = self.ax.inset_axes(place, **options)
        inside.set_facecolor("none")
        return inside


def axes_in_inches(
    sheet: Figure | Sheet, left: float, bottom: float, width: float, height: float, **options: Any
) -> Axes:
    """Axes at a place given in inches from the lower left corner of a figure or sheet."""
    wide, tall = sheet.get_size_inches()
    return sheet.add_axes((left / wide, bottom / tall, width / wide, height / tall), **options)


def _wrapped(text: str, width: float, size: float) -> str:
    """Text broken into lines of at most about ``width`` inches at a font size in points."""
    letters = max(10, int(width * 72 / (size * _LETTER)))
    return "\n".join(line for part in text.splitlines() for line in textwrap.wrap(part, letters) or [""])


def titled_axes(ax: Axes, wide: float, tall: float, title: str) -> Sheet:
    """Axes of the user's as an empty sheet of so many inches, with a title above where there is one."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    set_title(ax, title)
    return Sheet(ax, wide, tall)


def set_title(ax: Axes, title: str) -> None:
    """Write a title above axes of the user's, in lines that are not wider than the axes."""
    if title:
        ax.set_title(_wrapped(printable_lines(title), room_in(ax)[0], float(ax.title.get_fontsize())))


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
