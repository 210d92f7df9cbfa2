"""Self-contained HTML pages: text, tables and figures in one file that opens from disk without a network."""

from __future__ import annotations

import base64
import dataclasses
import html
import os
from collections.abc import Sequence
from pathlib import Path

from hlvm._files import as_path, write_text_atomically
from hlvm.claims import Claim

__all__ = ["Group", "Section", "Table", "claim_table", "write_html"]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto; padding: 1.5rem;
       max-width: 72rem; }
h1 { font-size: 1.7rem; margin-bottom: .3rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; }
p { max-width: 50rem; } figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .9rem; max-width: 50rem; }
.scroll { overflow-x: auto; }
@media (max-width: 44rem) {
  body { padding: 1rem; } figure img { max-width: 44rem; }
  .said { left: .7rem; max-width: calc(100vw - 3.4rem); position: sticky; }
}
table { border-collapse: collapse; font-size: .88rem; margin: .8rem 0; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top;
         white-space: pre; }
td.wrap { white-space: normal; min-width: 14rem; }
.grouped tbody { border-bottom: 1px solid #ddd; } .grouped tbody th, .grouped td { border-bottom: 0; }
.grouped tbody th { font-weight: 400; white-space: normal; }
.grouped td:first-child { padding-left: 1.6rem; white-space: normal; min-width: 12rem; }
td.beside { white-space: normal; min-width: 7rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
th { border-bottom: 2px solid #888; }
td.good { color: #00724f; font-weight: 600; } td.bad { color: #b34700; font-weight: 700; } td.open { color: #666; }
.lead { font-size: 1.1rem; padding: .7rem 1rem; border-left: 5px solid #0072B2; background: #f3f7fa; }
summary { cursor: pointer; margin: 2.4rem 0 .6rem; } summary h2 { display: inline; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .82rem; }
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """Rows of a table that belong together: a head above them, and a cell at the end for all of them.

    Attributes:
        head: lines of text, the first of them in bold.
        rows: cells of the columns between head and end: a name, then numbers. At least one.
        end: text of the cell at the end.
        style: of that cell, as in :class:`Table`.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    end: str
    style: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text.

    Attributes:
        header: column titles.
        rows: cells, or groups of rows.
        classes: style of each row's last cell: "good", "bad", "open", or "" for none; empty for a plain table.
        wrap: position of the column whose long text may be broken into lines; ``None`` for none.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str] | Group]
    classes: Sequence[str] = ()
    wrap: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a page, shown in the order of these fields.

    Attributes:
        heading: its title.
        text: paragraphs.
        figures: ``(path of a PNG, caption)`` pairs.
        table: a table.
        code: preformatted text.
        folded: only the heading is shown until the reader opens it.
    """

    heading: str
    text: Sequence[str] = ()
    figures: Sequence[tuple[Path, str]] = ()
    table: Table | None = None
    code: str = ""
    folded: bool = False


def claim_table(claims: Sequence[Claim], ends: Sequence[tuple[str, str]], *, said: str, first: int = 1) -> Table:
    """Claims with their scores below them: one number in a cell.

    Args:
        claims: in the order that is shown.
        ends: of each the text beside it, and the style of that.
        said: what stands before the theory's stance, such as "predicted".
        first: number of the first claim.
    """
    return Table(
        header=(*Claim.COLUMNS, "outcome"),
        rows=[
            Group(head=(f"{number}. {claim.text}", f"{said}: {claim.theory}"), rows=claim.rows, end=end, style=style)
            for number, (claim, (end, style)) in enumerate(zip(claims, ends, strict=True), first)
        ],
    )


def write_html(path: str | os.PathLike[str], *, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write a page, all or nothing. Everything given is escaped; figures are embedded.

    Args:
        path: the file to write.
        title: the page's title.
        lead: one or two sentences with the outcome.
        sections: the parts, in order.

    Raises:
        FileNotFoundError: a figure is missing.
    """
    body = "\n".join(map(_section, sections))
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="lead">{html.escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )
    write_text_atomically(as_path(path), page)


def _section(section: Section) -> str:
    heading = f"<h2>{html.escape(section.heading)}</h2>"
    parts = [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text]
    parts += [_figure(path, caption) for path, caption in section.figures]
    if section.table is not None:
        parts.append(_table(section.table))
    if section.code:
        parts.append(f"<pre>{html.escape(section.code)}</pre>")
    body = "\n".join(parts)
    if section.folded:
        return f"<section>\n<details>\n<summary>{heading}</summary>\n{body}\n</details>\n</section>"
    return f"<section>\n{heading}\n{body}\n</section>"


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    text = html.escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
    return f'<figure><div class="scroll">{image}</div><figcaption>{text}</figcaption></figure>'


def _table(table: Table) -> str:
    grouped = any(isinstance(row, Group) for row in table.rows)
    head = "".join(
        f"<th{_class('number' if grouped and 0 < place < len(table.header) - 1 else '')}>{html.escape(title)}</th>"
        for place, title in enumerate(table.header)
    )
    classes = table.classes or [""] * len(table.rows)
    rows = "\n".join(
        _group(row) if isinstance(row, Group) else _row(row, style, table.wrap)
        for row, style in zip(table.rows, classes, strict=True)
    )
    look = _class("grouped" if grouped else "")
    return f'<div class="scroll"><table{look}>\n<thead><tr>{head}</tr></thead>\n{rows}\n</table></div>'


def _group(group: Group) -> str:
    """A body of its own: the head over all columns but the last, and the end beside head and rows."""
    first, *others = map(html.escape, group.head)
    said = "<br>".join([f"<strong>{first}</strong>", *others])
    end = f'<td class="{f"beside {group.style}".strip()}" rowspan="{1 + len(group.rows)}">{html.escape(group.end)}</td>'
    rows = [f'<th scope="rowgroup" colspan="{len(group.rows[0])}"><div class="said">{said}</div></th>{end}']
    rows += [
        f"<td>{html.escape(name)}</td>" + "".join(f'<td class="number">{html.escape(text)}</td>' for text in numbers)
        for name, *numbers in group.rows
    ]
    return "<tbody>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</tbody>"


def _row(cells: Sequence[str], style: str, wrap: int | None) -> str:
    looks = dict.fromkeys(range(len(cells)), "")
    looks[len(cells) - 1] = style
    if wrap is not None:
        looks[wrap] = "wrap"
    attributes = map(_class, looks.values())
    return "<tr>" + "".join(f"<td{a}>{html.escape(c)}</td>" for a, c in zip(attributes, cells, strict=True)) + "</tr>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
