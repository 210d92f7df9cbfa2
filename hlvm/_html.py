"""Results as pieces of HTML for notebooks: text and tables without colours of their own, for light and dark themes."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

__all__ = ["agreement", "block", "escaped", "number", "outcomes", "shortened", "table"]

_LONGEST_CELL = 300
_RIGHT, _LEFT = ' style="text-align:right"', ' style="text-align:left"'


def escaped(text: object, most: int = _LONGEST_CELL) -> str:
    """Text that stands for itself in HTML, in attributes too; what is longer than ``most`` characters is cut."""
    # Half of a surrogate pair is no text that a notebook could keep.
    return html.escape(shortened(str(text), most).encode("utf-8", "replace").decode("utf-8"))


def shortened(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis, of at most ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float) -> str:
    """A number with three significant digits and a real minus sign; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.3g}".replace("-", "\N{MINUS SIGN}", 1)


def agreement(agrees: bool | None) -> str:
    """Word whether a source agrees with what was measured; empty where it is open."""
    return {True: " (agrees)", False: " (does not agree)", None: ""}[agrees]


def outcomes(holds: Sequence[bool | None]) -> str:
    """Count claims by their outcomes, such as "1 holds, 2 do not, 0 are open"."""
    words = {True: ("holds", "hold"), False: ("does not", "do not"), None: ("is open", "are open")}
    numbers = {outcome: sum(each is outcome for each in holds) for outcome in words}
    return ", ".join(f"{number} {words[outcome][number != 1]}" for outcome, number in numbers.items())


def block(title: str, *parts: str) -> str:
    """Put HTML under a title, which is escaped.

    Args:
        title: text, in bold.
        parts: pieces of HTML.
    """
    # The class keeps notebooks from reading dollars in names as formulas.
    return f'<div class="tex2jax_ignore"><p><strong>{escaped(title)}</strong></p>{"".join(parts)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of text, which is escaped; numbers (``float`` and ``int``) stand on the right.

    Args:
        header: titles of the columns; empty for rows of a name and what it is.
        rows: cells.
    """
    head = "".join(f"<th{_LEFT}>{escaped(title)}</th>" for title in header)
    lines = [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if header else ''}<tbody>{''.join(lines)}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"<td{_RIGHT}>{number(value)}</td>"
    return f"<td{_RIGHT if isinstance(value, int) else _LEFT}>{escaped(value)}</td>"
