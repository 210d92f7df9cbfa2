"""A small graph, variable by variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hlvm.graph import LatentGraph
from hlvm.plotting.labels import fitting, printable, text_width
from hlvm.plotting.layered_layout import Layout, layered_layout
from hlvm.plotting.roles import LOOKS, NEAR_VISIBLE, NEAR_VISIBLE_LABEL, Roles
from hlvm.plotting.styles import COLORS, axes_in_inches, ground_of, ink_on

__all__ = ["NodeDrawing", "node_drawing"]

_FONT = 7.5
_LINE = _FONT * 1.25 / 72
"""Height of a line of text in inches."""
_WIDEST, _TALLEST = 11.0, 10.0
_LONGEST, _LONGEST_UPRIGHT = 1.7, 1.1
"""Longest name in inches, written along its row or upright."""
_AXIS = 0.5
_LEAST_RISE = 0.12
"""Inches between rows in axes of the user's, however small these are."""


class NodeDrawing(NamedTuple):
    """Places, names and sizes of a drawing, in inches unless said otherwise.

    Attributes:
        layout: places in units of ``step``.
        names: what is written beside each variable, in the order of ``graph.nodes``; empty for nothing.
        upright: whether the names of the observed variables are written upwards.
        step: distance between neighbouring variables.
        rise: distance between rows.
        size: width of the largest nodes.
        bottom: room below the lowest row.
        width: width in all.
        height: height in all.
    """

    layout: Layout
    names: list[str]
    upright: bool
    step: float
    rise: float
    size: float
    bottom: float
    width: float
    height: float

    def draw(self, figure: Figure, graph: LatentGraph, roles: Roles, left: float, bottom: float) -> Axes:
        """Draw into a figure with the lower left corner at a place in inches."""
        wide = self.width - _AXIS
        return self.draw_into(
            axes_in_inches(figure, left + _AXIS, bottom, wide, self.height), graph, roles, (wide, self.height)
        )

    def draw_into(self, ax: Axes, graph: LatentGraph, roles: Roles, room: tuple[float, float]) -> Axes:
        """Draw into axes of a width and height in inches, in the middle of those that are larger."""
        wide = self.width - _AXIS
        aside, above = (max(0.0, have - need) / 2 for have, need in zip(room, (wide, self.height), strict=True))
        # One unit along x and one row along y are `step` and `rise` inches.
        ax.set_xlim(-0.5 - aside / self.step, (wide + aside) / self.step - 0.5)
        ax.set_ylim((-self.bottom - above) / self.rise, (self.height - self.bottom + above) / self.rise)
        points = np.column_stack([self.layout.x, np.asarray(graph.heights, dtype=float)])
        _draw_edges(ax, graph, roles, self.layout)
        self._draw_nodes(ax, roles, points)
        self._write_names(ax, roles, points)
        ax.set_ylabel("height")
        ax.set_yticks(range(max(graph.heights) + 1))
        ax.spines["left"].set_bounds(0, max(graph.heights))
        ax.set_xticks([])
        ax.spines[["bottom", "right", "top"]].set_visible(False)
        ax.grid(visible=False)
        return ax

    def _draw_nodes(self, ax: Axes, roles: Roles, points: Float[np.ndarray, "n_nodes 2"]) -> None:
        for role in roles.present:
            look = LOOKS[role].on(ink_on(ax))
            x, y = points[roles.positions(role)].T
            ax.scatter(
                x,
                y,
                s=(self.size * 72 * look.scale) ** 2,
                c=[look.face],
                edgecolors=look.edge,
                linewidths=0.9,
                marker=look.marker,
                zorder=3,
                label=look.label,
            )
        if roles.near_visible:
            x, y = points[sorted(roles.near_visible)].T
            size = (self.size * 72 * _RING) ** 2
            ring = {"c": "none", "edgecolors": NEAR_VISIBLE, "linewidths": 1.8}
            ax.scatter(x, y, s=size, zorder=4, label=NEAR_VISIBLE_LABEL, **ring)

    def _write_names(self, ax: Axes, roles: Roles, points: Float[np.ndarray, "n_nodes 2"]) -> None:
        # A box in the colour of the ground that covers edges, but no node.
        box = {"boxstyle": "square,pad=0.12", "facecolor": ground_of(ax), "edgecolor": "none"}
        for node, (name, (x, y)) in enumerate(zip(self.names, points.tolist(), strict=True)):
            below = y == 0
            gap = _name_gap(self.size * (_RING if node in roles.near_visible else 1)) * 72
            if name:
                ax.annotate(
                    name,
                    (x, y),
                    (0, -gap if below else gap),
                    textcoords="offset points",
                    ha="center",
                    va="top" if below else "bottom",
                    rotation=90 if below and self.upright else 0,
                    fontsize=_FONT,
                    zorder=2.5,
                    bbox=box,
                )


_RING = 1.6
"""Width of the ring of the second cut, in widths of a node."""


def node_drawing(graph: LatentGraph, room: tuple[float, float] | None = None) -> NodeDrawing:
    """Lay a small graph out and choose sizes in which its names fit, if they can.

    Args:
        graph: a small graph.
        room: width and height in inches that there are beside the axis; ``None`` for as much as is needed.
    """
    layout = layered_layout(graph)
    rows = max(graph.heights)
    longest = min(max(text_width(printable(name), _FONT) for name in graph.nodes), _LONGEST_UPRIGHT)
    span = float(layout.x.max()) + 1
    step = min(max(longest + 0.12, 0.45), 0.95, (_WIDEST if room is None else room[0]) / span)
    rise = float(np.clip(_TALLEST / rows, 0.42, 0.85))
    size = float(np.clip(0.5 * step, 0.07, 0.21))
    names, upright = _names(graph, layout.x * step, step)
    hanging = [text_width(name, _FONT) if upright else _LINE for name in names[len(graph.latents) :] if name]
    bottom = _name_gap(size) + max(hanging, default=0.0) + 0.05
    top = _name_gap(size * _RING) + _LINE + 0.05
    if room is not None:
        rise = max(min(rise, (room[1] - bottom - top) / rows), _LEAST_RISE)
    width = _AXIS + max(span * step, 1.5)
    return NodeDrawing(layout, names, upright, step, rise, size, bottom, width, bottom + rows * rise + top)


def _name_gap(size: float) -> float:
    """Distance of a name from the middle of its node."""
    return size * 0.6 + 0.03


def _names(graph: LatentGraph, x: Float[np.ndarray, " n_nodes"], step: float) -> tuple[list[str], bool]:
    """Text beside each variable, and whether the lowest row is written upwards."""
    names = [""] * len(graph.nodes)
    upright = False
    heights = np.asarray(graph.heights)
    for height in range(max(graph.heights) + 1):
        row = np.flatnonzero(heights == height)
        row = row[np.argsort(x[row])]
        full = [graph.nodes[i] for i in row.tolist()]
        labels = fitting(full, _room(x[row], step), _FONT)
        if height == 0 and labels != [printable(name) for name in full]:
            upright = True
            fits = len(row) == 1 or float(np.diff(x[row]).min()) >= _LINE
            labels = fitting(full, [_LONGEST_UPRIGHT if fits else 0.0] * len(row), _FONT)
        for i, label in zip(row.tolist(), labels, strict=True):
            names[i] = label
    return names, upright


def _room(x: Float[np.ndarray, " n"], step: float) -> list[float]:
    """Inches that a name centred over each variable of a row may take, from the axis on the left to its neighbours."""
    apart = np.diff(x)
    left = np.concatenate([[x[0] * 2 + step], apart])
    right = np.concatenate([apart, [_LONGEST]])
    return (np.minimum(np.minimum(left, right), _LONGEST) - 0.06).tolist()


def _draw_edges(ax: Axes, graph: LatentGraph, roles: Roles, layout: Layout) -> None:
    """Edges inside ``c`` are dark, so that it is seen as a part of the graph; what edges share is drawn once."""
    inside = {i for i, role in enumerate(roles.of) if role in ("frontier", "member")}
    steps: dict[tuple[float, ...], bool] = {}
    for line, (parent, child) in zip(layout.lines, graph.edge_indices.T.tolist(), strict=True):
        for begin, end in zip(line[:-1].tolist(), line[1:].tolist(), strict=True):
            place = (*begin, *end)
            steps[place] = steps.get(place, False) or (parent in inside and child in inside)
    for dark, color, width in ((False, "#B5B5B5", 0.9), (True, COLORS["vermilion"], 1.8)):
        chosen: list[Sequence[tuple[float, float]]] = [
            [(a, b), (c, d)] for (a, b, c, d), found in steps.items() if found == dark
        ]
        lines = LineCollection(chosen, colors=color, linewidths=width, zorder=2 if dark else 1, capstyle="round")
        ax.add_collection(lines)
