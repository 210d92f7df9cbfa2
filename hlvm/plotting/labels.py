"""Names of variables as text that fits its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

__all__ = ["fitting", "printable", "printable_lines", "shortened", "text_width"]

_DPI = 300.0
ELLIPSIS = "…"
_FEWEST = 4
"""A name cut to fewer letters than this says nothing."""


def printable(text: str) -> str:
    """The text in one line: what has no shape, such as a line break, becomes a dot in the middle."""
    return "".join(letter if letter.isprintable() else "\N{MIDDLE DOT}" for letter in text)


def printable_lines(text: str) -> str:
    """The text with each of its lines as in :func:`printable`."""
    return "\n".join(map(printable, text.splitlines()))


def text_width(text: str, size: float) -> float:
    """Width in inches of one line of text at a font size in points."""
    width, _, _ = _ruler().get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return float(width) / _DPI


@cache
def _ruler() -> RendererAgg:
    """Measures text."""
    return RendererAgg(1, 1, _DPI)


def shortened(name: str, width: float, size: float, *, keep: str = "both") -> str:
    """A name cut with an ellipsis until it is at most ``width`` inches wide; empty when too little would be left.

    Args:
        name: one line of text.
        width: inches there are.
        size: font size in points.
        keep: what stays of a long name: its "start", its "end", or "both".
    """
    if text_width(name, size) <= width:
        return name
    for left in range(min(len(name) - 1, 60), _FEWEST - 2, -1):
        head = {"start": left, "end": 0, "both": (left + 1) // 2}[keep]
        tail = left - head
        cut = name[:head].rstrip() + ELLIPSIS + (name[-tail:].lstrip() if tail else "")
        if text_width(cut, size) <= width:
            return cut
    return ""


def fitting(names: Sequence[str], widths: Sequence[float], size: float) -> list[str]:
    """Labels of variables side by side, cut where that keeps them apart from each other.

    Args:
        names: names of the variables, any text.
        widths: inches there are for each.
        size: font size in points.

    Returns:
        One label per name; empty where the name would not be recognised: too little room, or cut to the same as
        another one.
    """
    lines = [printable(name) for name in names]
    best: list[str] = []
    for keep in ("both", "end", "start"):
        cut = [shortened(line, width, size, keep=keep) for line, width in zip(lines, widths, strict=True)]
        times = Counter(cut)
        found = [label if label == line or times[label] == 1 else "" for label, line in zip(cut, lines, strict=True)]
        if not best or found.count("") < best.count(""):
            best = found
    return best
