"""Names in any script: which installed fonts have their letters, and what is drawn where none has.

Matplotlib's own font has Latin, Greek, Cyrillic, Hebrew, Arabic and many symbols, but no Chinese or Devanagari, for
example. Letters that it lacks are drawn in another installed font; a letter that no font has is written as its code
point, so that names can still be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.ft2font import FT2Font

__all__ = ["families_for", "printable", "printable_lines"]

_NOT_LETTERS = ("Last Resort", "STIXSize", "STIXNonUnicode", "cm")
"""Fonts, by how their names begin, that have boxes or other signs where Unicode has letters."""


def printable(text: str) -> str:
    r"""The text in one line that can be drawn with the fonts set now.

    What has no shape, such as a line break, becomes a dot in the middle. A letter that no font has is written as its
    code point, as in Python: ``\u65e5``.
    """
    lacking = _lacking(frozenset(text), tuple(mpl.rcParams["font.family"]))
    return "".join(_code_point(letter) if letter in lacking else letter for letter in map(_in_line, text))


def printable_lines(text: str) -> str:
    """The text with each of its lines as in :func:`printable`."""
    return "\n".join(map(printable, text.splitlines()))


def families_for(texts: Iterable[str]) -> list[str]:
    """The font families set now, and behind them installed ones that have the letters these lack."""
    families = tuple(mpl.rcParams["font.family"])
    lacking = _lacking(frozenset("".join(texts)), families)
    return [*families, *(_fallbacks(lacking) if lacking else ())]


def _in_line(letter: str) -> str:
    return letter if letter.isprintable() else "\N{MIDDLE DOT}"


def _code_point(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


@lru_cache(maxsize=256)
def _lacking(letters: frozenset[str], families: tuple[str, ...]) -> frozenset[str]:
    """The letters that have a shape, but none in these families."""
    left = {letter for letter in letters if letter > "~" and letter.isprintable()}  # every font has ASCII
    for family in families:
        if left:
            left -= _found(fontManager.findfont(FontProperties(family=[family])), left)
    return frozenset(left)


@lru_cache(maxsize=64)
def _fallbacks(letters: frozenset[str]) -> tuple[str, ...]:
    """Installed families that have these letters, as far as there are any; those with most of them first."""
    has: dict[str, set[str]] = {}
    for font in fontManager.ttflist:
        if font.style == "normal" and font.weight == 400 and not font.name.startswith(_NOT_LETTERS):
            found = _found(font.fname, letters)
            # A family may have several files: only that which Matplotlib takes counts.
            if found and fontManager.findfont(FontProperties(family=[font.name])) == font.fname:
                has[font.name] = found
    chosen, left = [], set(letters)
    while has and left:
        best = max(sorted(has), key=lambda name: len(has[name] & left))
        if not has[best] & left:
            break
        chosen.append(best)
        left -= has.pop(best)
    return tuple(chosen)


def _found(path: str, letters: Iterable[str]) -> set[str]:
    """Those letters that a font file has as outlines; none if the file cannot be read or holds pictures."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return set()
    return {letter for letter in letters if font.get_char_index(ord(letter))} if font.scalable else set()
