"""Tables of claims as HTML: one number in a cell, one row for each score, and long ones folded."""

from collections.abc import Collection, Iterable, Sequence
from html import escape

from hlvm._html import outcomes
from hlvm.claims import SILENT, Claim, Says, Stance

WORDS = {True: "yes", False: "no", None: "open"}
_MANY = 24
"""Rows from which a table is folded."""


def verdict_table(claims: Sequence[Claim], most: int = 12, folded: bool | None = None) -> str:
    """Claims with what was said of them, and below each its scores: value, interval and limits in columns of their own.

    Args:
        claims: in the order that is shown.
        most: scores shown of each claim; of more those that come nearest to a limit.
        folded: whether the table is shown on a click only; ``None`` if it is long.
    """
    body, n_rows = [], 0
    for claim in claims:
        rows = [_cells(claim, name) for name in _shown(claim, most)]
        rows += _left_out(claim, most, 6)
        body.append(_group(_said(claim), _verdict(claim), 6, rows))
        n_rows += 1 + len(rows)
    table = _table((*Claim.COLUMNS, "verdict"), body)
    return _folded(_counts(claims), table) if (n_rows > _MANY if folded is None else folded) else table


def twice_table(pairs: Iterable[tuple[Claim, Claim]], names: tuple[str, str], most: int = 2) -> str:
    """Claims that were judged twice: a row for each score and run.

    Args:
        pairs: the same claim in either run.
        names: of the runs.
        most: scores shown of each claim, the same of both runs: those that come nearest to a limit in the second.
    """
    body = []
    for first, second in pairs:
        runs = dict(zip(names, (first, second), strict=True))
        rows = [
            _cells(claim, name, run)
            for name in _shown(second, most)
            for run, claim in runs.items()
            if name in claim.scores
        ]
        rows += _left_out(second, most, 7)
        verdict = "<br>".join(f"{run}: {_word(claim.holds)}" for run, claim in runs.items())
        body.append(_group(f"<strong>{escape(second.text)}</strong>", verdict, 7, rows))
    return _table(("score", "training", "value", "low", "high", "more than", "less than", "verdict"), body)


def speakers(claim: Claim) -> list[tuple[str, Stance, bool | None]]:
    """Theory and paper, where they say yes or no, and whether the measurement agrees."""
    sources = (("theory", claim.theory, claim.theory_agrees), ("paper", claim.paper, claim.paper_agrees))
    return [source for source in sources if source[1].says is not Says.NOTHING]


def _cells(claim: Claim, name: str, run: str = "") -> str:
    numbers = {score: texts for score, *texts in claim.rows}[name]
    first = f"<td>{escape(name)}</td>" + (f"<td>{escape(run)}</td>" if run else "")
    return first + "".join(f'<td class="number">{text}</td>' for text in numbers)


def _shown(claim: Claim, most: int) -> list[str]:
    """Names of the scores that are shown, nearest to a limit first where some are left out."""
    if len(claim.scores) <= most:
        return list(claim.scores)
    return list(dict.fromkeys([*claim.nearest, *claim.scores]))[:most]


def _left_out(claim: Claim, most: int, width: int) -> list[str]:
    """A row that counts the scores which are not shown, if there are any."""
    number = len(claim.scores) - most
    return [f'<td colspan="{width}">and {number} more</td>'] if number > 0 else []


def _said(claim: Claim) -> str:
    stances = {"theory": claim.theory, "paper": claim.paper}
    said = [f"<em>{name}:</em> {escape(str(stance))}" for name, stance in stances.items() if stance != SILENT]
    return "<br>".join([f"<strong>{escape(claim.text)}</strong>", *said])


def _verdict(claim: Claim) -> str:
    small = ["too small to count"] if claim.too_small else []
    agree = [f"{name} agrees: {_word(agrees)}" for name, _, agrees in speakers(claim)]
    return "<br>".join([f"holds: {_word(claim.holds)}", *small, *agree])


def _word(outcome: bool | None) -> str:
    return "<strong>no</strong>" if outcome is False else WORDS[outcome]


def _counts(claims: Sequence[Claim]) -> str:
    what, them = ("claim", "it with its") if len(claims) == 1 else ("claims", "them with their")
    return f"{len(claims)} {what}: {outcomes([claim.holds for claim in claims])}. Show {them} scores."


def _group(head: str, verdict: str, width: int, rows: Sequence[str]) -> str:
    """A claim and its scores, which take so many columns, and beside them its verdict."""
    beside = f'<td class="verdict" rowspan="{1 + len(rows)}">{verdict}</td>'
    first = f'<th scope="rowgroup" colspan="{width}"><div class="said">{head}</div></th>{beside}'
    return "<tbody>" + "".join(f"<tr>{row}</tr>" for row in (first, *rows)) + "</tbody>"


def _table(header: Sequence[str], body: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    table = f'<table class="claims docutils"><thead><tr>{head}</tr></thead>{"".join(body)}</table>'
    return f'<div class="table-wrapper docutils container">{table}</div>'


def _folded(words: str, table: str) -> str:
    return f'<details class="claims"><summary>{escape(words)}</summary>{table}</details>'


def raw(html: str) -> str:
    """A block of MyST that holds HTML as it is."""
    return f"```{{raw}} html\n{html}\n```\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table of Markdown; ``right`` has the positions of columns of numbers."""
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    lines = [header, rule, *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
