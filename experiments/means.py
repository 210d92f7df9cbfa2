"""Means and differences behind the pages: ``python -m experiments.means transfer --where task=class --less unit=2``.

The mean of every cell of the committed records, with a 95 % interval over replicates, and the difference of each cell
to the one that has other values in some columns. Nothing is trained here, and nothing is judged: what was claimed
beforehand stands in the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.experiment import Frame, load_results
from hlvm.scoring import over_seeds

RESULTS = Path(__file__).parent / "results"
_NO_CELLS = {"seed", "value", "x", "y", "cell", "point"}
"""Columns that tell no cells apart: replicates, values, and places in a picture."""


def rows(records: Frame, where: Mapping[str, str], less: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Cells in the order of the records: a text for each column that differs, the mean, and the difference.

    Args:
        records: tidy, with ``seed`` and ``value``.
        where: column -> value of the cells to show; an empty text where the column has none.
        less: column -> value of the cell that each is compared with, the others being its own; empty: no comparison.
            A cell without such a partner has an empty text for the difference.

    Raises:
        ValueError: an unknown column, or no such cell.
    """
    columns = [column for column in records if column not in _NO_CELLS]
    for column in {**where, **less}:
        if column not in columns:
            raise ValueError(f"there is no column {column!r}: use {', '.join(columns)}")
    if "score" in records:  # maps and pictures are no scores
        records = records[~records["score"].str.startswith(("map", "picture"))]
    texts = records[columns].map(_text)
    cells = {
        key: part.groupby("seed")["value"].mean()
        for key, part in records.groupby([texts[column] for column in columns], sort=False)
    }
    shown = [key for key in cells if all(dict(zip(columns, key, strict=True))[c] == v for c, v in where.items())]
    if not shown:
        raise ValueError(f"no cell has {', '.join(f'{column}={value}' for column, value in where.items())}")
    found = []
    for key in shown:
        partner = tuple(less.get(column, value) for column, value in zip(columns, key, strict=True))
        other = cells.get(partner) if less and partner != key else None
        found.append((*key, _interval(cells[key]), "" if other is None else _interval(cells[key] - other)))
    return found


def _text(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _interval(values: Frame) -> str:
    values = values.dropna()
    if len(values) < 2:
        return f"{values.mean():.4f}"
    found = over_seeds(values)
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def _pair(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected COLUMN=VALUE, got {text!r}")
    return column, value


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one run."""
    known = sorted(path.parent.name for path in RESULTS.glob("*/results.json"))
    parser = argparse.ArgumentParser(prog="python -m experiments.means", description=__doc__)
    parser.add_argument("name", choices=known, metavar="NAME", help=f"of the results: {', '.join(known)}")
    pairs = {"nargs": "+", "type": _pair, "default": [], "metavar": "COLUMN=VALUE"}
    parser.add_argument("--where", **pairs, help="show these cells alone")
    parser.add_argument("--less", **pairs, help="compare each cell with the one that has these values")
    options = parser.parse_args(arguments)
    records = load_results(RESULTS / options.name).records
    columns = [column for column in records if column not in _NO_CELLS]
    try:
        found = rows(records, dict(options.where), dict(options.less))
    except ValueError as error:
        parser.error(str(error))
    against = "− " + ", ".join(f"{column}={value}" for column, value in options.less)
    table = Table(*columns, "mean", against if options.less else "", box=None)
    for row in found:
        table.add_row(*row)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
