"""Maps over a grid of observed variables: the mask, and at each height whether the latents above a cell are shared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from hlvm.graph import LatentGraph
from hlvm.plotting.roles import LOOKS, Role, Roles
from hlvm.plotting.styles import Sheet, axes_in_inches

__all__ = ["GridDrawing", "blank_handles", "grid_drawing"]

_SIDE, _GAP, _TITLE = 1.35, 0.2, 0.25
_MOST_MAPS = 11
_BLANK = "#E3E3E3"
_HATCHED: Mapping[Role, int] = {"masked": 16, "frontier": 64}
"""Roles with a hatching, on grids of at most so many cells a side."""

_STRENGTH: tuple[Role, ...] = ("latent", "outside", "member", "frontier")
"""Of several latents above a cell, the one furthest to the right colours it."""


class GridDrawing(NamedTuple):
    """Maps side by side, and their size in inches.

    Attributes:
        titles: name of each map.
        roles: role of each cell in each map, shape (rows, columns), as positions in a fixed list; -1 where a cell has
            no latent of that height above it.
        owners: for each map, per cell, two numbers that tell the latents above it apart, shape (2, rows, columns).
        columns: maps side by side.
        width: width in all.
        height: height in all.
    """

    titles: list[str]
    roles: list[Int[np.ndarray, "rows columns"]]
    owners: list[Int[np.ndarray, "2 rows columns"]]
    columns: int
    width: float
    height: float

    def draw(self, sheet: Figure | Sheet, left: float, bottom: float) -> list[Axes]:
        """Draw into a figure or sheet with the lower left corner at a place in inches."""
        drawn = []
        pitch = (_SIDE + _GAP, _SIDE + _TITLE + 0.05)
        for i, (title, roles, owners) in enumerate(zip(self.titles, self.roles, self.owners, strict=True)):
            row, column = divmod(i, self.columns)
            top = bottom + self.height - row * pitch[1]
            ax = axes_in_inches(sheet, left + column * pitch[0], top - pitch[1] + 0.05, _SIDE, _SIDE)
            _draw_map(ax, roles, owners)
            ax.set_title(title, fontsize=8.5, pad=3)
            drawn.append(ax)
        return drawn


def grid_drawing(
    graph: LatentGraph, roles: Roles, widest: float, room: tuple[float, float] | None = None
) -> GridDrawing:
    """Lay out the mask and, from the lowest height up, one map per height.

    Args:
        graph: a graph with a grid.
        roles: of its variables.
        widest: inches that the maps take side by side at most.
        room: width and height in inches that the maps are to fill instead, as large as they can be.
    """
    if graph.grid is None:
        raise ValueError(
            "this graph has no grid: build it with one, such as LatentGraph.quadtree, or draw it with plot_graph"
        )
    shape = graph.grid
    n_latents = len(graph.latents)
    cells = np.array([_NUMBER[role] for role in roles.of[n_latents:]]).reshape(shape)
    each = np.arange(cells.size).reshape(shape)
    titles, maps = ["mask" if "masked" in roles.of else "observed"], [cells]
    owners = [np.stack([each, each])]
    for height in _shown(max(graph.heights)):
        strongest, first, last = _above_cells(graph, roles, height)
        titles.append(f"height {height}")
        maps.append(strongest.reshape(shape))
        owners.append(np.stack([first, last]).reshape(2, *shape))
    columns = max(1, min(len(maps), int((widest + _GAP) // (_SIDE + _GAP))))
    if room is not None:
        columns = max(range(1, len(maps) + 1), key=lambda n: min(room[0] / n, room[1] / -(-len(maps) // n)))
    rows = -(-len(maps) // columns)
    width, height_in = columns * (_SIDE + _GAP) - _GAP, rows * (_SIDE + _TITLE + 0.05)
    return GridDrawing(titles, maps, owners, columns, width, height_in)


def blank_handles(drawing: GridDrawing) -> list[Artist]:
    """Legend entry for cells without a latent of some height above them, where there are any."""
    if all((roles >= 0).all() for roles in drawing.roles):
        return []
    return [Patch(facecolor=_BLANK, edgecolor="white", label="no latent of this height")]


_ROLES = list(LOOKS)
_NUMBER = {role: number for number, role in enumerate(_ROLES)}


def _shown(top: int) -> list[int]:
    """Heights with a map of their own, the highest and the lowest among them."""
    return sorted({round(h) for h in np.linspace(1, top, min(top, _MOST_MAPS)).tolist()})


def _above_cells(
    graph: LatentGraph, roles: Roles, height: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """For each cell, the strongest role, the first and the last of the latents of one height above it; -1 for none."""
    n = len(graph.nodes)
    strength, first, last = np.full(n, -1), np.full(n, n), np.full(n, -1)
    heights = np.asarray(graph.heights)
    for node in np.flatnonzero(heights == height).tolist():
        strength[node], first[node], last[node] = _STRENGTH.index(roles.of[node]), node, node
    parents, children = graph.edge_indices
    below = heights[parents] <= height
    # Parents come before their children: one pass in the order of the children is enough.
    for parent, child in zip(parents[below].tolist(), children[below].tolist(), strict=True):
        if last[parent] >= 0:
            strength[child] = max(strength[child], strength[parent])
            first[child] = min(first[child], first[parent])
            last[child] = max(last[child], last[parent])
    n_latents = len(graph.latents)
    number = np.array([_NUMBER[role] for role in _STRENGTH] + [-1])
    return number[strength[n_latents:]], first[n_latents:], last[n_latents:]


def _draw_map(ax: Axes, roles: Int[np.ndarray, "rows columns"], owners: Int[np.ndarray, "2 rows columns"]) -> None:
    colors = ListedColormap([_BLANK, *(LOOKS[role].face for role in _ROLES)])
    ax.imshow(roles, cmap=colors, vmin=-1.5, vmax=len(_ROLES) - 0.5, interpolation="nearest")
    # A line wherever neighbouring cells lie under other latents.
    if max(roles.shape) <= 64:
        down = (owners[:, 1:] != owners[:, :-1]).any(axis=0)
        lines = [[(c - 0.5, r + 0.5), (c + 0.5, r + 0.5)] for r, c in np.argwhere(down).tolist()]
        across = (owners[:, :, 1:] != owners[:, :, :-1]).any(axis=0)
        lines += [[(c + 0.5, r - 0.5), (c + 0.5, r + 0.5)] for r, c in np.argwhere(across).tolist()]
        ax.add_collection(LineCollection(lines, colors="#7A7A7A", linewidths=0.4))
    for role, most in _HATCHED.items():
        found = np.argwhere(roles == _NUMBER[role]).tolist()
        if found and max(roles.shape) <= most:
            boxes = [Rectangle((c - 0.5, r - 0.5), 1, 1) for r, c in found]
            hatch = LOOKS[role].hatch
            ax.add_collection(PatchCollection(boxes, fc="none", ec="white", lw=0, hatch=hatch))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(True)
    ax.spines[:].set_linewidth(0.6)
