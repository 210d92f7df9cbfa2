"""The graph under a mask, in a size that can be read."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hlvm.graph import LatentGraph
from hlvm.plotting.graph_levels import edge_handles, level_drawing
from hlvm.plotting.graph_nodes import node_drawing
from hlvm.plotting.grid_maps import blank_handles, grid_drawing
from hlvm.plotting.roles import Masked, Roles, bar_handles, node_handles, roles_of
from hlvm.plotting.styles import COLORS, MARGIN, ink_on, room_in, set_title, style, titled_axes, titled_sheet
from hlvm.theory import SharedInformation

__all__ = ["plot_graph", "plot_grid"]

_LEGEND = 2.1
_MOST_HEIGHTS = 24
_LINE = 0.17
"""Inches of a line of the legend."""
_SECOND_CUT = "c: the least cut nearest\nthe masked part"


def plot_graph(
    graph: LatentGraph,
    *,
    masked: Masked = (),
    shared: SharedInformation | None = None,
    title: str = "",
    max_nodes: int = 90,
    ax: Axes | None = None,
) -> Figure:
    """The graph by height, with mask and shared information ``c`` told apart by colour and by shape or hatching.

    A small graph is drawn variable by variable, roots on top, in an order with few crossings. Edges that pass a row
    bend there, and those of one parent run together; edges inside ``c`` are dark. Names are written where there is
    room, long ones shortened with an ellipsis. A larger graph is drawn height by height: a bar with the shares of the
    frontier, the other members and the remaining latents (at height 0 of masked and visible variables; each share is
    at least a thin line), their numbers, and lines between heights, the wider the more edges run there. More than 63
    heights share 63 rows; edges inside a row are then left out.

    With a mask on a grid, maps of the grid follow below, as in :func:`plot_grid`. Into axes that are given only the
    graph is drawn.

    Args:
        graph: what to draw.
        masked: names of the masked observed variables, or a boolean array over ``graph.observed`` with True = masked;
            with none given, observed variables are drawn alike.
        shared: what this mask lets an autoencoder identify in this graph, drawn as given. Where it is not unique, the
            second cut (``near_visible``) is drawn as well: as rings, or as bars of their own.
        title: text above.
        max_nodes: the largest graph drawn variable by variable, if it also has at most 24 heights and at most
            three times as many edges as this; 0 draws every graph height by height.
        ax: axes to draw into; ``None`` for a new figure, unknown to pyplot.

    Returns:
        The figure.

    Raises:
        ValueError: ``masked`` is no mask of this graph, ``shared`` holds other names than those of its latents, or
            ``max_nodes`` is negative or no whole number.
    """
    if isinstance(max_nodes, bool) or not isinstance(max_nodes, int) or max_nodes < 0:
        raise ValueError(f"max_nodes must be a whole number of at least 0, got {max_nodes!r}")
    roles = roles_of(graph, masked, shared)
    small = (
        len(graph.nodes) <= max_nodes
        and graph.edge_indices.shape[1] <= 3 * max_nodes
        and max(graph.heights) <= _MOST_HEIGHTS
    )
    if ax is not None:
        with style(ax):
            return _draw_graph_into(ax, graph, roles, title, small=small)
    with style():
        nodes = node_drawing(graph) if small else None
        levels = None if nodes else level_drawing(graph, roles)
        handles = bar_handles(roles) + edge_handles(levels) if levels else node_handles(roles, COLORS["black"])
        wide, tall = levels[-2:] if levels else nodes[-2:] if nodes else (0.0, 0.0)
        maps = grid_drawing(graph, roles, max(wide + _LEGEND, 6.0)) if graph.grid and "masked" in roles.of else None
        if maps:
            handles += blank_handles(maps)
        tall = max(tall, _legend_height(handles))
        below = maps.height + 0.3 if maps else 0.0
        figure, top = titled_sheet(max(wide + _LEGEND, maps.width if maps else 0.0), tall + below, title)
        if nodes:
            nodes.draw(figure, graph, roles, MARGIN, top - nodes.height)
        if levels:
            levels.draw(figure, MARGIN, top - levels.height)
        if maps:
            maps.draw(figure, MARGIN, MARGIN)
        _add_legend(figure, roles, handles, MARGIN + wide + 0.1, top)
        return figure


def _draw_graph_into(ax: Axes, graph: LatentGraph, roles: Roles, title: str, *, small: bool) -> Figure:
    """Draw a graph into axes of the user's, in sizes that fit these; the legend hangs below."""
    room = room_in(ax)
    if small:
        handles = node_handles(roles, ink_on(ax))
        node_drawing(graph, room).draw_into(ax, graph, roles, room)
        set_title(ax, title)
    else:
        levels = level_drawing(graph, roles, room)
        handles = bar_handles(roles) + edge_handles(levels)
        sheet = titled_axes(ax, max(room[0], levels.width), max(room[1], levels.height), title)
        levels.draw(sheet, 0.0, sheet.tall - levels.height, ink_on(ax))
    _hang_legend(ax, roles, handles)
    return ax.figure.figure


def plot_grid(
    graph: LatentGraph,
    *,
    masked: Masked = (),
    shared: SharedInformation | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Maps over the grid of observed variables: the mask, and at each height which latents are shared.

    The map of a height colours each cell by the latents of that height above it. If there are several, one in the
    frontier goes before another member, and that before a latent that is not in ``c``. Lines separate cells with
    other latents above them. Of more than 11 heights, 11 evenly spaced ones are shown.

    Args:
        graph: a graph with a grid.
        masked: as in :func:`plot_graph`.
        shared: as in :func:`plot_graph`; in the general regime ``c`` only, not the second cut.
        title: text above.
        ax: axes whose place the maps fill; ``None`` for a new figure, unknown to pyplot.

    Returns:
        The figure.

    Raises:
        ValueError: the graph has no grid; or as in :func:`plot_graph`.
    """
    roles = roles_of(graph, masked, shared)._replace(near_visible=frozenset())
    if ax is not None:
        with style(ax):
            maps = grid_drawing(graph, roles, 7.6, room_in(ax))
            maps.draw(titled_axes(ax, maps.width, maps.height, title), 0.0, 0.0)
            _hang_legend(ax, roles, bar_handles(roles) + blank_handles(maps))
            return ax.figure.figure
    with style():
        maps = grid_drawing(graph, roles, 7.6)
        handles = bar_handles(roles) + blank_handles(maps)
        figure, top = titled_sheet(maps.width + _LEGEND, max(maps.height, _legend_height(handles)), title)
        maps.draw(figure, MARGIN, top - maps.height)
        _add_legend(figure, roles, handles, MARGIN + maps.width + 0.1, top)
        return figure


def _legend_height(handles: Sequence[Artist]) -> float:
    return _LINE * (sum(str(handle.get_label()).count("\n") + 1 for handle in handles) + 2.5)


def _add_legend(figure: Figure, roles: Roles, handles: Sequence[Artist], left: float, top: float) -> None:
    wide, tall = figure.get_size_inches()
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / wide, top / tall),
        fontsize=8,
        borderaxespad=0.0,
        title=_SECOND_CUT if roles.near_visible else None,
        title_fontsize=8,
        alignment="left",
    )


def _hang_legend(ax: Axes, roles: Roles, handles: Sequence[Artist]) -> None:
    """A legend below axes of the user's, in as many columns as these have room for."""
    columns = max(1, min(len(handles), int(room_in(ax)[0] // (_LEGEND - 0.2))))
    title = _SECOND_CUT.replace("\n", " ") if roles.near_visible else None
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.03), "borderaxespad": 0.0, "alignment": "left"}
    ax.legend(handles=handles, ncols=columns, fontsize=8, title=title, title_fontsize=8, **place)
