"""Reading of a study's tidy table: which panels, lines and cells there are, and which differences are told apart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from hlvm._numbers import UsageError
from hlvm.plotting.labels import printable

__all__ = ["Line", "Place", "StudyLayout", "StudyTable", "read_study_table"]

StudyLayout: TypeAlias = Literal["maps", "curves", "arms"]
"""Kind of picture: heat maps of ratio and masking unit, curves over one of them, or one row per arm."""

_NEEDED = ("arm", "strategy", "ratio", "unit", "network", "loss", "height", "part", "score", "value")
_OF_PAIRS = ("first", "second", "height", "part", "score", "apart")
_MOST_LINES = 3
_MOST_PLACES = 40


class Place(NamedTuple):
    """Subject of a panel.

    Attributes:
        height: of the latents.
        latent: the only one; ``""`` for all of the height.
        score: name of the score.
        title: what is written above.
    """

    height: int
    latent: str
    score: str
    title: str


class Line(NamedTuple):
    """Rows of one mask strategy, network and loss.

    Attributes:
        strategy: its name.
        network: name of the network.
        loss: name of the loss.
        title: what tells it from the other lines; may be empty.
    """

    strategy: str
    network: str
    loss: str
    title: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StudyTable:
    """Rows of one part of a study, sorted for drawing.

    Attributes:
        rows: of the tidy table, with the columns that may be missing filled with NaN.
        places: panels, the highest latents first.
        lines: strategy, network and loss, in order of occurrence.
        units: masking units, small first.
        ratios: masking ratios, rising.
        layout: how it is drawn.
        predicted: column of the prediction.
        pairs: which arms are told apart at a height and latent by a score; empty where nothing is known.
    """

    rows: pd.DataFrame
    places: list[Place]
    lines: list[Line]
    units: list[Any]
    ratios: list[float]
    layout: StudyLayout
    predicted: str
    pairs: dict[tuple[int, str, str], dict[frozenset[str], bool]]

    @property
    def scores(self) -> str:
        """Names of the scores, for labels."""
        return printable(" or ".join(dict.fromkeys(place.score for place in self.places)))

    @property
    def prediction(self) -> str:
        """Name of the prediction, for labels."""
        return "share in c" if self.predicted == "share_in_c" else printable(self.predicted)

    def of(self, place: Place, line: Line | None = None) -> Any:
        """Rows of a panel, and of one line."""
        rows: Any = self.rows
        rows = rows[(rows["height"] == place.height) & (rows["latent"] == place.latent)]
        rows = rows[rows["score"] == place.score]
        if line is None:
            return rows
        same = (rows["strategy"] == line.strategy) & (rows["network"] == line.network) & (rows["loss"] == line.loss)
        return rows[same]

    def cells(self, place: Place, line: Line, column: str) -> Float[np.ndarray, "units ratios"]:
        """Numbers of a column by masking unit and ratio, NaN where there is no arm."""
        return np.array(
            [[np.nan if row is None else float(row[column]) for row in of] for of in self._grid(place, line)]
        )

    def arms(self, place: Place, line: Line) -> list[list[str]]:
        """Names of the arms with a measured value, by masking unit and ratio; empty where there is none."""
        return [
            ["" if row is None or np.isnan(row["value"]) else row["arm"] for row in of]
            for of in self._grid(place, line)
        ]

    def _grid(self, place: Place, line: Line) -> list[list[Any]]:
        grid: list[list[Any]] = [[None] * len(self.ratios) for _ in self.units]
        for row in self.of(place, line).to_dict("records"):
            grid[self.units.index(row["unit"])][self.ratios.index(row["ratio"])] = row
        return grid

    def alike(self, place: Place) -> Callable[[str, str], bool] | None:
        """A function that tells whether two arms are not told apart; ``None`` where nothing was compared."""
        known = self.pairs.get((place.height, place.latent, place.score))
        if known is None:
            return None
        return lambda first, second: not known.get(frozenset((first, second)), False)


def read_study_table(
    table: pd.DataFrame,
    *,
    part: str | None,
    layout: StudyLayout | None,
    predicted: str,
    told_apart: pd.DataFrame | None,
    chosen: dict[str, str | None],
) -> StudyTable:
    """Choose rows, and find out what they vary.

    Args:
        table: tidy table of a study.
        part: "noise" or "value"; ``None`` for noise where there is any.
        layout: how it is drawn; ``None`` for what fits.
        predicted: column of the prediction.
        told_apart: one row per pair of arms that was compared.
        chosen: "strategy", "network" and "loss" -> the only one to draw, or ``None``.

    Raises:
        UsageError: columns that are lacking, names that the table does not have, or more than one figure shows.
    """
    _check_columns(table, (*_NEEDED, predicted), "table", "give StudyResult.table() as it is")
    rows: Any = table.assign(**{name: np.nan for name in ("low", "high", "floor", "ceiling") if name not in table})
    rows = rows.assign(latent=rows["latent"].fillna("").astype(str) if "latent" in rows else "")
    parts = list(dict.fromkeys(rows["part"]))
    part = part if part is not None else "noise" if "noise" in parts else next(iter(parts), None)
    for name, wanted in ({"part": part} | chosen).items():
        if wanted is None:
            continue
        known = list(dict.fromkeys(rows[name]))
        if wanted not in known:
            raise UsageError(f"must be one of {', '.join(map(repr, known))}, got {wanted!r}", argument=name)
        rows = rows[rows[name] == wanted]
    if rows.empty:
        raise UsageError("has no rows: give StudyResult.table() as it is", argument="table")
    if layout not in (None, *get_args(StudyLayout)):
        raise UsageError(f"must be maps, curves, arms or None, got {layout!r}", argument="layout")
    placed = rows["ratio"].notna()  # encoders from outside have no place on an axis of masks
    layout = layout if placed.any() else "arms"
    rows = rows if layout == "arms" else rows[placed]
    lines, places = _lines(rows), _places(rows)
    units, ratios = sorted(set(rows["unit"]), key=_order), sorted(set(rows["ratio"].astype(float)))
    fitting = layout or _fitting(rows, lines, units, ratios)
    if fitting != "arms":
        _check_cells(rows, lines, units, ratios, fitting)
    if len(places) > _MOST_PLACES:
        raise UsageError(
            f'has {len(places)} latents, a figure shows at most {_MOST_PLACES}: give table("height"), or fewer rows',
            argument="table",
        )
    return StudyTable(
        rows=rows,
        places=places,
        lines=lines,
        units=units,
        ratios=ratios,
        layout=fitting,
        predicted=predicted,
        pairs=_pairs(told_apart, str(part)),
    )


def _check_columns(table: Any, needed: Any, argument: str, remedy: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise UsageError(f"must be a data frame, got a {type(table).__name__}: {remedy}", argument=argument)
    lacking = [name for name in needed if name not in table]
    if lacking:
        raise UsageError(
            f"must have the columns {', '.join(needed)}; it lacks {', '.join(lacking)}: {remedy}", argument=argument
        )


def _order(unit: Hashable) -> tuple[int, str]:
    """Small units first, whether they are numbers or text such as ``"2 × 4"``; what has none comes before."""
    sides = str(unit).split(" × ")
    area = math.prod(map(int, sides)) ** (3 - len(sides)) if all(side.isdecimal() for side in sides) else 0
    return area, str(unit)


def _lines(rows: Any) -> list[Line]:
    names = ("strategy", "network", "loss")
    found = [tuple(map(str, key)) for key in dict.fromkeys(zip(*(rows[name] for name in names), strict=True))]
    told = [i for i in range(len(names)) if len({key[i] for key in found}) > 1]
    return [Line(*key, title=printable(", ".join(key[i] for i in told if key[i]))) for key in found]


def _places(rows: Any) -> list[Place]:
    keys = list(dict.fromkeys(zip(rows["height"], rows["latent"], rows["score"], strict=True)))
    several = len({score for _, _, score in keys}) > 1
    places = []
    for height, latent, score in sorted(keys, key=lambda key: -key[0]):
        title = printable(f"{latent} (height {height})" if latent else f"height {height}")
        places.append(Place(int(height), latent, score, title + (f", {printable(score)}" if several else "")))
    return places


def _is_unique(rows: Any) -> bool:
    """Tell whether strategy, network, loss, ratio and unit name one arm."""
    return not rows.duplicated(
        ["height", "latent", "score", "strategy", "network", "loss", "ratio", "unit"], keep=False
    ).any()


def _fitting(rows: Any, lines: list[Line], units: list[Any], ratios: list[float]) -> StudyLayout:
    """Arms where ratio and unit do not tell them apart, or where there is nothing to draw them over."""
    if not _is_unique(rows) or len(rows["arm"].unique()) == len(lines):
        return "arms"
    return "maps" if len(units) > 1 and len(ratios) > 1 else "curves"


def _check_cells(rows: Any, lines: list[Line], units: list[Any], ratios: list[float], layout: StudyLayout) -> None:
    remedy = 'or layout="arms"'
    if not _is_unique(rows):
        raise UsageError(
            f'must be "arms" where several arms have the same ratio and unit, got {layout!r}', argument="layout"
        )
    if layout == "curves" and len(units) > 1 and len(ratios) > 1:
        raise UsageError('must be "maps" or "arms" where ratio and unit vary, got "curves"', argument="layout")
    if len(lines) > _MOST_LINES:
        names = [", ".join(filter(None, line[:3])) for line in lines]
        raise UsageError(
            f"has {len(lines)} combinations of strategy, network and loss, a figure shows at most {_MOST_LINES}: "
            f"choose by strategy=, network= or loss=, {remedy}; there are {'; '.join(names)}",
            argument="table",
        )


def _pairs(told_apart: pd.DataFrame | None, part: str) -> dict[tuple[int, str, str], dict[frozenset[str], bool]]:
    if told_apart is None:
        return {}
    _check_columns(told_apart, _OF_PAIRS, "told_apart", "give StudyResult.told_apart as it is")
    rows: Any = told_apart
    found: dict[tuple[int, str, str], dict[frozenset[str], bool]] = {}
    for row in rows[rows["part"] == part].to_dict("records"):
        place = (int(row["height"]), str(row.get("latent") or ""), str(row["score"]))
        found.setdefault(place, {})[frozenset((row["first"], row["second"]))] = bool(row["apart"])
    return found
