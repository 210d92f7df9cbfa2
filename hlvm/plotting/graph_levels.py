"""A large graph, height by height: how many variables of each kind, and how many edges between heights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from hlvm.graph import LatentGraph
from hlvm.plotting.roles import LOOKS, NEAR_VISIBLE, NEAR_VISIBLE_LABEL, Role, Roles, box_look
from hlvm.plotting.styles import COLORS, Sheet, axes_in_inches

__all__ = ["LevelDrawing", "edge_handles", "level_drawing"]

_MOST_ROWS = 64
_NAMES, _GAP, _BARS, _COLUMN = 0.75, 0.75, 3.2, 0.72
_LEAST_BARS = 0.9
_HEADROOM, _FOOT = 0.3, 0.25
_HEAD = 7.5
_EDGE = "#8C8C8C"
_LEAST_SEEN = 0.012
"""Share of a bar that even one variable gets, so that it is seen."""

_HEADS: Mapping[Role | None, str] = {
    "frontier": "frontier",
    "member": "above it",
    "outside": "not in c",
    "latent": "latent",
    "masked": "masked",
    "visible": "visible",
    "observed": "observed",
    None: "other cut",
}


class LevelDrawing(NamedTuple):
    """Content of each row of the drawing, and its size in inches.

    Attributes:
        rows: lowest and highest height of each row, from height 0 up; they differ when there are too many heights.
        counts: for each row, how many variables have each role.
        second: for each row, how many latents are in the second cut.
        edges: number of edges from one row down to another, by ``(upper row, lower row)``.
        rise: distance between rows.
        arcs: room for the lines between the rows.
        bars: width of the bars.
        width: width in all.
        height: height in all, with the names of the columns above and the axis below.
    """

    rows: list[tuple[int, int]]
    counts: list[dict[Role, int]]
    second: list[int]
    edges: dict[tuple[int, int], int]
    rise: float
    arcs: float
    bars: float
    width: float
    height: float

    @property
    def font(self) -> float:
        """Font size in points that fits the rows."""
        return float(np.clip(self.rise * 72 * 0.62, 6.5, 9.0))

    def draw(self, sheet: Figure | Sheet, left: float, bottom: float, ink: str = COLORS["black"]) -> tuple[Axes, Axes]:
        """Draw into a figure or sheet with the lower left corner at a place in inches, with text of this colour.

        Returns:
            Axes of the edges, and axes of the bars.
        """
        n = len(self.rows)
        place = (bottom + _FOOT, n * self.rise)
        arcs = axes_in_inches(sheet, left + _NAMES, place[0], self.arcs, place[1])
        bars = axes_in_inches(sheet, left + _NAMES + self.arcs + _GAP, place[0], self.bars, place[1], sharey=arcs)
        arcs.set_ylim(-0.5, n - 0.5)
        self._draw_edges(arcs)
        self._draw_bars(bars)
        self._write_numbers(bars, ink)
        arcs.set_yticks(range(n), [_row_name(*row) for row in self.rows], fontsize=self.font)
        arcs.set_ylabel("height")
        arcs.set_xticks([])
        for ax in (arcs, bars):
            ax.spines[:].set_visible(False)
            ax.tick_params(length=0)
            ax.grid(visible=False)
        bars.tick_params(labelleft=False)
        bars.set_xticks([0, 0.5, 1], ["0", "½", "all"], fontsize=_HEAD)
        for label, side in zip(bars.get_xticklabels(), ("left", "center", "right"), strict=True):
            label.set_horizontalalignment(side)
        return arcs, bars

    def _draw_edges(self, ax: Axes) -> None:
        """Lines between neighbouring rows, arcs to the left for edges that pass rows; the wider, the more edges."""
        right = 0.12 / self.arcs
        ax.set_xlim(right - 1, right)
        between = {rows: number for rows, number in self.edges.items() if rows[0] != rows[1]}
        far = max((upper - lower for upper, lower in between), default=1)
        for (upper, lower), number in sorted(between.items(), key=lambda item: item[0][1] - item[0][0]):
            span = upper - lower
            # A Bézier curve reaches three quarters of the way to its control points.
            out = 0.0 if span == 1 else (right - 0.95) / 0.75 * (0.12 + 0.88 * (span / far) ** 0.7)
            points = [(0, upper), (out, upper), (out, lower), (0, lower)]
            path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
            ax.add_patch(PathPatch(path, fc="none", ec=_EDGE, lw=_line_width(number), alpha=0.75, capstyle="butt"))
        size = float(np.clip(self.rise * 72 * 0.3, 3, 8)) ** 2
        rows = range(len(self.rows))
        ax.scatter([0] * len(rows), rows, s=size, c="white", edgecolors="#4D4D4D", linewidths=1.0, zorder=3)

    def _draw_bars(self, ax: Axes) -> None:
        ax.set_xlim(0, 1)
        starts = np.zeros(len(self.rows))
        shares = [_seen_shares(counts) for counts in self.counts]
        two = any(self.second)
        for role, look in LOOKS.items():
            rows = [row for row, counts in enumerate(self.counts) if counts.get(role)]
            wide = [shares[row][role] for row in rows]
            where = [row + (0.12 if two and row else 0.0) for row in rows]
            tall = [0.48 if two and row else 0.72 for row in rows]
            if rows:
                ax.barh(where, wide, tall, left=starts[rows], label=look.label, clip_on=False, **box_look(role))
                starts[rows] += wide
        if two:
            rows = [row for row, number in enumerate(self.second) if number]
            wide = [max(self.second[row] / sum(self.counts[row].values()), _LEAST_SEEN) for row in rows]
            ax.barh([row - 0.26 for row in rows], wide, 0.18, color=NEAR_VISIBLE, label=NEAR_VISIBLE_LABEL)

    def _write_numbers(self, ax: Axes, ink: str) -> None:
        """Numbers beside the bars: all variables on the left, those of each role on the right."""
        upper, lower = self.columns(above=True), self.columns(above=False)
        look = {"ha": "right", "va": "center", "fontsize": self.font}
        for row, counts in enumerate(self.counts):
            ax.text(self._right(-1), row, f"{sum(counts.values()):,}", **look)
            columns = upper if row else lower
            for column, role in enumerate(columns if len(columns) > 1 else []):
                number = self.second[row] if role is None else counts.get(role, 0)
                ax.text(self._right(column), row, f"{number:,}", color=ink if number else "#767676", **look)
        top, low = (len(self.rows) - 0.5, 3, "bottom"), (-0.5, -4, "top")
        heads = [(-1, "number", top)]
        for columns, side in ((upper, top), (lower, low)):
            if len(columns) > 1:
                heads += [(column, _HEADS[role], side) for column, role in enumerate(columns)]
        for column, head, (y, lift, va) in heads:
            ax.annotate(
                head,
                (self._right(column), y),
                (0, lift),
                textcoords="offset points",
                ha="right",
                va=va,
                fontsize=_HEAD,
                color="#4D4D4D" if ink == COLORS["black"] else ink,
                annotation_clip=False,
            )

    def _right(self, column: int) -> float:
        """Right end of a column of numbers, in widths of the bars; column -1 lies left of them."""
        return -0.16 / self.bars if column < 0 else 1 + (column + 0.85) * _COLUMN / self.bars

    def columns(self, *, above: bool) -> list[Role | None]:
        """Roles with numbers of their own, for latents or for observed variables; ``None`` is the second cut."""
        counts = self.counts[1:] if above else self.counts[:1]
        roles: list[Role | None] = [role for role in LOOKS if any(row.get(role) for row in counts)]
        return [*roles, None] if above and any(self.second) else roles


def level_drawing(graph: LatentGraph, roles: Roles, room: tuple[float, float] | None = None) -> LevelDrawing:
    """Count the variables by height and role, and the edges between heights.

    Args:
        graph: any graph.
        roles: of its variables.
        room: width and height in inches that there are; ``None`` for as much as is needed.
    """
    heights = np.asarray(graph.heights)
    top = int(heights.max())
    per_row = -(-top // (_MOST_ROWS - 1))
    rows = [(0, 0)] + [(low, min(low + per_row - 1, top)) for low in range(1, top + 1, per_row)]
    row_of = np.where(heights == 0, 0, (heights - 1) // per_row + 1)
    counts: list[dict[Role, int]] = [{} for _ in rows]
    for row, role in zip(row_of.tolist(), roles.of, strict=True):
        counts[row][role] = counts[row].get(role, 0) + 1
    second = np.bincount(row_of[np.array(sorted(roles.near_visible), dtype=int)], minlength=len(rows))
    pairs, numbers = np.unique(row_of[graph.edge_indices], axis=1, return_counts=True)
    edges = {(upper, lower): n for (upper, lower), n in zip(pairs.T.tolist(), numbers.tolist(), strict=True)}
    tallest = 8.5 if room is None else room[1] - _HEADROOM - _FOOT
    rise = float(np.clip(tallest / len(rows), 0.15, 0.46))
    arcs = 1.7 if any(upper - lower > 1 for upper, lower in edges) else 0.3
    found = LevelDrawing(rows, counts, second.tolist(), edges, rise, arcs, _BARS, 0.0, 0.0)
    columns = max(len(found.columns(above=above)) for above in (True, False))
    beside = _NAMES + arcs + _GAP + (columns * _COLUMN if columns > 1 else 0.0) + 0.1
    bars = _BARS if room is None else float(np.clip(room[0] - beside, _LEAST_BARS, _BARS))
    return found._replace(bars=bars, width=beside + bars, height=_HEADROOM + len(rows) * rise + _FOOT)


def edge_handles(drawing: LevelDrawing) -> list[Artist]:
    """Legend entries for the widths of the lines."""
    most = max(drawing.edges.values())
    shown = [10**power for power in range(len(str(most)))]
    return [
        Line2D([], [], color=_EDGE, lw=_line_width(n), alpha=0.75, label=f"{n:,} edge{'s' * (n > 1)}") for n in shown
    ]


def _line_width(n_edges: int) -> float:
    return 0.7 + 1.5 * float(np.log10(n_edges))


def _row_name(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}–{high}"


def _seen_shares(counts: dict[Role, int]) -> dict[Role, float]:
    """Shares that add up to 1, none of them too small to be seen."""
    total = sum(counts.values())
    shares: dict[Role, float] = {role: max(number / total, _LEAST_SEEN) for role, number in counts.items()}
    whole = sum(shares.values())
    return {role: share / whole for role, share in shares.items()}
