"""Results as the command line gives them: records ready for JSON, tables for people, and both of scores."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from hlvm.scoring import CCA, BlockVerdict, KernelR2, PermutationNull

__all__ = [
    "Record",
    "encoded",
    "listed",
    "number",
    "print_score",
    "print_table",
    "score_record",
    "share",
    "to_json",
    "without_nan",
]

Record = dict[str, Any]

_OF_R2 = ("value", "low", "high", "per_dim")


def encoded(value: Any, *names: str, position: Callable[[str], int] | None = None) -> Any:
    """A result ready for :func:`to_json`.

    Args:
        value: dataclasses, named tuples, mappings, arrays, sets of names, and what is plain, inside each other.
        names: the fields that are wanted; all of them if none is named.
        position: gives the place of a name, by which sets of names are put in order; by default the alphabet.

    Returns:
        Fields by their names, arrays and tuples as lists.
    """
    inside = functools.partial(encoded, position=position)
    names = names or getattr(value, "_fields", ())
    if not names and dataclasses.is_dataclass(value):
        names = tuple(field.name for field in dataclasses.fields(value))
    if names:
        return {name: inside(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: inside(entry) for key, entry in value.items()}
    if isinstance(value, frozenset):
        return sorted(value, key=position)
    if isinstance(value, tuple | list):
        return [inside(entry) for entry in value]
    to_list = getattr(value, "tolist", None)
    return value if to_list is None else to_list()


def to_json(record: Record) -> str:
    """JSON text of a record; it knows no NaN, so an undefined number becomes null."""
    return json.dumps(without_nan(record), indent=1, ensure_ascii=False, allow_nan=False)


def without_nan(value: Any) -> Any:
    """The same with ``None`` for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------- scores


def score_record(
    verdict: BlockVerdict, *, linear: Mapping[str, KernelR2], canonical: CCA, chance: PermutationNull
) -> Record:
    """A verdict with the scores beside it."""
    worst = verdict.worst
    return {
        "kernel_r2": {direction: encoded(score, *_OF_R2) for direction, score in verdict.directions.items()},
        "linear_r2": {direction: encoded(score, *_OF_R2) for direction, score in linear.items()},
        "cca": {"value": canonical.mean, "low": canonical.low, "high": canonical.high},
        "chance": {"mean": chance.chance, "upper": chance.upper, "p_value": chance.p_value},
        **encoded(verdict.forward, "level", "n_train", "n_test", "nystroem_error"),
        "worst_direction": None if worst is None else encoded(worst, "share", "weights") | encoded(worst.r2),
        "threshold": verdict.threshold,
        "verdict": str(verdict.verdict),
        "reason": verdict.reason,
    }


def print_score(record: Record) -> None:
    """Print what :func:`score_record` made."""
    chance = record["chance"]
    missed = record["nystroem_error"]
    approximate = f" (kernel approximated, {share(missed)} of it missed)" if missed else ""
    worst = record["worst_direction"]
    print_table(
        f"{record['n_train']}{approximate} training and {record['n_test']} test rows; ẑ: representation, c: latents",
        ("score", "direction", "value", f"{record['level']:.0%} interval"),
        [
            *(
                (title, direction, share(score["value"]), _ends(score))
                for title, name in (("kernel R²", "kernel_r2"), ("linear R²", "linear_r2"))
                for direction, score in record[name].items()
            ),
            *(
                [
                    (
                        f"R² along the worst direction ({share(worst['share'])} of the variance)",
                        next(iter(record["kernel_r2"])),
                        share(worst["value"]),
                        _ends(worst),
                    )
                ]
                if worst
                else []
            ),
            ("mean canonical correlation", "", share(record["cca"]["value"]), _ends(record["cca"])),
            (
                "kernel R² of shuffled latents (chance)",
                next(iter(record["kernel_r2"])),
                share(chance["mean"]),
                f"95% below {share(chance['upper'])}; p = {chance['p_value']:.3g}",
            ),
        ],
    )
    print(f"{record['verdict']}: {record['reason']}")


def _ends(score: Record) -> str:
    return f"[{share(score['low'])}, {share(score['high'])}]"


# ---------------------------------------------------------------------- tables

_ROUNDING = 1e-12
"""Distance below 1 at which rounding may leave a share that is 1."""

_LONGEST_LIST = 24
_MOST_ROWS = 40


def listed(names: Sequence[str], most: int = _LONGEST_LIST, *, of: int | None = None) -> str:
    """Number of names (of how many), and the first of them."""
    count = len(names) if of is None else f"{len(names)} of {of}"
    return f"{count}: {', '.join(names[:most])}{_more(len(names) - most)}" if names else "none"


def number(value: float, digits: int = 3, *, error: float = 0.0) -> str:
    """A number, with its standard error if it has one; only 0 is written as 0."""
    if math.isnan(value):
        return "–"
    shown = _rounded(value, digits)
    return f"{shown} ± {_rounded(error, digits)}" if error else shown


def share(value: float, digits: int = 3, *, error: float = 0.0) -> str:
    """A number of at most 1, such as a probability or an R²: as :func:`number`, and only 1 is written as 1."""
    if not 1 - 0.5 * 10**-digits <= value < 1 - _ROUNDING:
        return number(value, digits, error=error)
    below = f">.{'9' * digits}"
    return f"{below} ± {_rounded(error, digits)}" if error else below


def _rounded(value: float, digits: int) -> str:
    if 0 < abs(value) < 0.5 * 10**-digits:
        least = f".{'0' * (digits - 1)}1"
        return f"<{least}" if value > 0 else f">-{least}"
    return f"{value:.{digits}f}"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, and how many rows it does not show.

    Cells are plain text: names with brackets must not be taken for markup.
    """
    table = Table(show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    cells = list(rows)
    for row in cells[:_MOST_ROWS]:
        table.add_row(*map(Text, row))
    print(title)
    Console().print(table)
    if len(cells) > _MOST_ROWS:
        print(f"{_more(len(cells) - _MOST_ROWS).strip(', ')} rows: --json gives all")


def _more(count: int) -> str:
    return f", … {count} more" if count > 0 else ""
