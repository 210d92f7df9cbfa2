"""Tables in .csv files.

How a .csv file is written is not guessed: every way of reading it is tried on the raw text, and it is read only if
exactly one fits. So every row has as many cells as there are names, and no cell is dropped, moved or renamed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hlvm._files.texts import decoded
from hlvm.cli.input_tables import Named, check_names

__all__ = ["CsvFormat", "read_csv"]

_DELIMITERS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'", " ": "space"}
_ONE_COLUMN = "\x1f"
"""A delimiter that stands in no text."""
_ROWS_AT_ONCE = 20_000
_TRUTH = {"True": 1.0, "TRUE": 1.0, "true": 1.0, "False": 0.0, "FALSE": 0.0, "false": 0.0}
_WHOLE = re.compile(r"[+-]?\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")
_COUNTED = 3
"""From so many on, names 0, 1, 2, ... are told from numbers: 0 and 1 may well be the first numbers of a file."""

_Row = tuple[int, list[str]]
"""Number of a line, and its cells."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """A user's word on .csv files; ``None`` where the text shall tell.

    Attributes:
        delimiter: what stands between cells: one character.
        decimal: the decimal mark, a point or a comma.
        header: whether the first line holds names.

    Raises:
        ValueError: a delimiter that is not one character, or that numbers hold.
    """

    delimiter: str | None = None
    decimal: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n.+-0123456789'):
            raise ValueError(f'--delimiter is tab, space, or one character such as ";", got {self.delimiter!r}')


# ---------------------------------------------------------------------- .csv


class _MisfitError(ValueError):
    """A way of reading, which found ``width`` columns, does not fit the text."""

    def __init__(self, width: int, why: str) -> None:
        super().__init__(why)
        self.width, self.why = width, why


@dataclasses.dataclass(kw_only=True)
class _Reading:
    """One way of reading a file, and what it gives.

    Attributes:
        delimiter: what stands between cells.
        decimal: the decimal mark.
        first: the first line with anything in it: names, or numbers as well.
        columns: the numbers below; an empty list for a column that holds something else.
        unfit: place of such a column -> its first such cell.
        truth: places of the columns of True and False.
        first_is_whole: whether all of the first line are written without a decimal mark.
        whole: whether any number below is, looked for where the first line is.
        marked: whether any number has a decimal mark.
        may_part_thousands: whether all marks stand where they could part every three digits.
    """

    delimiter: str
    decimal: str
    first: _Row
    columns: list[list[np.ndarray]]
    first_is_whole: bool
    unfit: dict[int, str] = dataclasses.field(default_factory=dict)
    truth: set[int] = dataclasses.field(default_factory=set)
    whole: bool = False
    marked: bool = False
    may_part_thousands: bool = True

    def __str__(self) -> str:
        width = len(self.first[1])
        columns = "one column" if width == 1 else f"{width} columns, delimiter {_shown(self.delimiter)}"
        return f"{columns}, decimal {self.decimal!r}"


def read_csv(path: Path, given: CsvFormat) -> Named:
    """Read a ``.csv`` file.

    Args:
        path: the file.
        given: what is known of it; the rest is decided from the raw text.

    Returns:
        The table. Without a line of names columns are called "0", "1", ...

    Raises:
        OSError: the file cannot be read.
        ValueError: rows of different lengths, no rows, two columns of one name, or a text that can be read in several
            ways; the message says which, and what to give.
    """
    content = path.read_bytes()
    try:
        text = io.StringIO(decoded(content), newline=None).getvalue()  # one kind of line ending
        if "\0" in text:
            raise ValueError("it holds bytes that are not text")
    except ValueError as error:
        raise ValueError(f"{path} is not a .csv file: {error}") from None
    readings, misfits = _all_readings(text, given)
    if not readings:
        raise ValueError(f"{path}: {max(misfits, key=lambda misfit: misfit[0])[1]}")
    fitting = [reading for reading in readings if not reading.unfit] or readings
    found = fitting[0]
    if len(fitting) > 1:
        option = "--decimal" if len({reading.delimiter for reading in fitting}) == 1 else "--delimiter or --decimal"
        raise ValueError(f"{path} can be read as {' or as '.join(map(str, fitting))}: give {option}")
    if given.decimal is None and found.delimiter == _ONE_COLUMN and found.decimal == "," and '"' not in text:
        raise ValueError(f"{path}: ',' may be a decimal mark or stand between cells: give --decimal or --delimiter")
    could_be = found.decimal == "," or found.delimiter == ";"  # elsewhere nobody parts thousands with a point
    if given.decimal is None and could_be and found.marked and found.may_part_thousands:
        raise ValueError(
            f'{path}: {found.decimal!r} may be a decimal mark, or separate thousands: give --decimal "." or '
            '--decimal ",", or remove the separators'
        )
    return _as_table(path, text, found, given)


def _all_readings(text: str, given: CsvFormat) -> tuple[list[_Reading], list[tuple[int, str]]]:
    """Every way of reading the text that fits; of the others, how many columns they found and why they do not fit."""
    readings: list[_Reading] = []
    misfits: list[tuple[int, str]] = []
    for delimiter in [given.delimiter] if given.delimiter else [*(d for d in _DELIMITERS if d in text), _ONE_COLUMN]:
        commas_in_cells = '"' in text if delimiter == "," else "," in text
        if given.delimiter is None and delimiter == given.decimal and not commas_in_cells:
            continue
        of_delimiter: list[_Reading] = []
        for decimal in [given.decimal] if given.decimal else [".", ","] if commas_in_cells else ["."]:
            try:
                of_delimiter.append(_read(text, delimiter, decimal, given))
            except _MisfitError as error:
                misfits.append((error.width, error.why))
        readings += _better(of_delimiter)
    return readings, misfits


def _better(readings: list[_Reading]) -> list[_Reading]:
    """The reading that makes numbers of more columns; both where each does of some of its own."""
    if len(readings) < 2 or readings[0].unfit.keys() <= readings[1].unfit.keys():
        return readings[:1]
    return readings[1:] if readings[1].unfit.keys() <= readings[0].unfit.keys() else readings


def _read(text: str, delimiter: str, decimal: str, given: CsvFormat) -> _Reading:
    rows = _rows(text, delimiter)
    first = next(rows, (0, []))
    width = len(first[1])
    if not width:
        raise _MisfitError(0, "there is nothing in the file")
    found = _Reading(
        delimiter=delimiter,
        decimal=decimal,
        first=first,
        columns=[[] for _ in range(width)],
        first_is_whole=all(map(_WHOLE.fullmatch, first[1])),
    )
    if given.delimiter is None and (width == 1) != (delimiter == _ONE_COLUMN):
        raise _MisfitError(0, f"line {first[0]} has one value only")
    try:
        if given.delimiter is None:
            _check_one_delimiter(found, first[0], first[1])
        while chunk := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            for row in chunk:
                if len(row[1]) != width:
                    raise _MisfitError(width, _ragged(row, first, delimiter))
            for place, cells in enumerate(zip(*(cells for _, cells in chunk), strict=True)):
                _take(found, place, [line for line, _ in chunk], cells, given)
    except _MisfitError as error:
        raise _MisfitError(width, error.why) from None
    return found


def _rows(text: str, delimiter: str) -> Iterator[_Row]:
    """Lines with anything in them; blank ones may only come last, since a blank line may be a missing number."""
    lines: Iterable[str] = io.StringIO(text)
    if delimiter == " ":
        lines = (line.strip(" \n") + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    has_spaces = any(space in text for space in " \t\u00a0")
    blank = 0
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)] if has_spaces else next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _MisfitError(0, f"line {reader.line_num}: {error}") from None
        if len(cells) < 2 and not any(cells):
            blank = blank or reader.line_num
            continue
        if blank:
            raise _MisfitError(0, f"line {blank} is blank: remove it, or write nan where there is no number")
        if cells[0].startswith("#"):
            raise _MisfitError(0, f"line {reader.line_num} begins with '#', as comments do: remove it")
        yield reader.line_num, cells


def _ragged(row: _Row, first: _Row, delimiter: str) -> str:
    line, cells = row
    said = f"line {line} has {_count(cells, 'value')}, and line {first[0]} has {len(first[1])}"
    if len(cells) == len(first[1]) + 1 and not cells[-1]:
        return f"{said}: remove the {_shown(delimiter)} at the end of the lines"
    if len(cells) == len(first[1]) + 1:
        return f"{said}: if the first of them is a row name, write a name for it into line {first[0]}"
    return f"{said}: every row needs as many as there are names (or give --delimiter)"


def _take(found: _Reading, place: int, lines: Sequence[int], cells: Sequence[str], given: CsvFormat) -> None:
    """Take the next cells of a column."""
    if place in found.unfit:
        return
    if not found.columns[place] and cells[0] in _TRUTH:
        found.truth.add(place)
    try:
        found.columns[place].append(_numbers(cells, found.decimal, truth=place in found.truth))
    except ValueError:
        odd = next(i for i, cell in enumerate(cells) if not _is_number(cell, found.decimal, place in found.truth))
        if given.delimiter is None:
            _check_one_delimiter(found, lines[odd], [cells[odd]])
        what = f"has {_short(cells[odd])}" if cells[odd] else "has nothing there: write nan for a missing number"
        found.unfit[place], found.columns[place] = f"line {lines[odd]} {what}", []
        return
    if not found.whole and found.first_is_whole:
        found.whole = any(map(_WHOLE.fullmatch, cells))
    if found.may_part_thousands:
        marked = [cell for cell in cells if found.decimal in cell]
        found.marked = found.marked or bool(marked)
        found.may_part_thousands = all(map(_THOUSANDS.fullmatch, marked))


def _check_one_delimiter(found: _Reading, line: int, cells: Sequence[str]) -> None:
    """Refuse cells that are no numbers and hold what could stand between cells."""
    for cell in cells:
        other = next((d for d in _DELIMITERS if d in cell and d not in (found.delimiter, " ")), None)
        if other is not None and not _is_number(cell, found.decimal, False):
            raise _MisfitError(
                0, f"line {line} has {_short(cell)}, with {_shown(other)} in it: remove it, or give --delimiter"
            )


def _numbers(cells: Sequence[str], decimal: str, *, truth: bool) -> np.ndarray:
    """Numbers of cells; a ValueError if one of them is none."""
    if truth:
        if not _TRUTH.keys() >= set(cells):
            raise ValueError("no truth value")
        return np.array([_TRUTH[cell] for cell in cells])
    together = "".join(cells)
    if "_" in together or not together.isascii():  # which Python takes in numbers
        raise ValueError("no number")
    if decimal == ",":
        if "." in together or any(cell.endswith(",") for cell in cells):
            raise ValueError("no number")
        cells = [cell.replace(",", ".") for cell in cells]
    return np.array(list(map(float, cells)))


def _is_number(cell: str, decimal: str, truth: bool) -> bool:
    try:
        _numbers([cell], decimal, truth=truth)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------------- names


def _as_table(path: Path, text: str, found: _Reading, given: CsvFormat) -> Named:
    line, cells = found.first
    if given.header if given.header is not None else _first_line_names(path, text, found):
        names = cells
    else:
        names = list(map(str, range(len(cells))))
        for place, cell in enumerate(cells):
            if place not in found.unfit and _is_number(cell, found.decimal, place in found.truth):
                found.columns[place].insert(0, _numbers([cell], found.decimal, truth=place in found.truth))
            else:
                found.unfit.setdefault(place, f"line {line} has {_short(cell)}")
    if not any(found.columns) and not found.unfit:
        raise ValueError(f"{path} has names in line {line} but no rows")
    check_names(path, names)
    columns = {name: np.concatenate(parts) for name, parts in zip(names, found.columns, strict=True) if name and parts}
    n_rows = max(map(len, columns.values()), default=0)
    shown = ", ".join(name or "(no name)" for name in names[:6]) + (", ..." if len(names) > 6 else "")
    first_line = f"names in line {line}" if names is cells else "no line of names"
    return Named(
        path=path,
        arrays=columns,
        is_table=True,
        left_out={names[place]: why for place, why in found.unfit.items()},
        unnamed="" in names,
        about=f"{path}: {_count(range(n_rows), 'row')} of {shown} ({first_line}; {found})",
    )


def _first_line_names(path: Path, text: str, found: _Reading) -> bool:
    """Tell whether the first line holds names; refused where that cannot be told."""
    line, cells = found.first
    numbers = [_is_number(cell, found.decimal, place in found.truth) for place, cell in enumerate(cells)]
    either = f"{path}: line {line} ({_short(', '.join(cells))}) may hold names or numbers: give --header yes or no"
    if not any(numbers):
        return True
    if not all(numbers):
        raise ValueError(either)
    above, _, below = text.partition("\n")
    if '"' in above and '"' not in below and below.strip():
        return True
    is_data = not any(found.columns) or len(set(cells)) < len(cells) or not found.first_is_whole
    counted = cells == list(map(str, range(len(cells))))
    if is_data or (found.whole and not counted):
        return False
    if counted and not found.whole and len(cells) >= _COUNTED:
        return True
    raise ValueError(either)


def _count(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:37]}...")


def _shown(delimiter: str) -> str:
    return _DELIMITERS.get(delimiter, repr(delimiter))
