"""Latent graphs as graphs of networkx, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hlvm.graph.checks import Grid
from hlvm.graph.graphml import arguments_of_network, network
from hlvm.graph.latent_graph import LatentGraph

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["from_networkx", "to_networkx"]


def to_networkx(graph: LatentGraph) -> nx.DiGraph:
    """The graph for networkx; :func:`from_networkx` gives an equal graph back.

    Returns:
        A directed graph with node attributes ``dim``, ``noise_dim`` and ``observed`` (True or False), edge attribute
        ``order`` (position of the parent among the child's parents, from 0), and, when there is a grid, graph
        attributes ``rows`` and ``columns``.
    """
    return network(graph.to_dict())


def from_networkx(
    graph: nx.DiGraph,
    *,
    noise_dims: int | Mapping[str, int] | None = None,
    dims: int | Mapping[str, int] | None = None,
    observed: Sequence[str] | None = None,
    grid: Grid | None = None,
) -> LatentGraph:
    """Build a graph from a directed graph of networkx.

    Args:
        graph: nodes are named by strings. Attributes that :func:`to_networkx` writes are used; others are
            ignored. Without ``order`` on all edges into a node, its parents keep the order in which networkx has them.
        noise_dims: as in :meth:`LatentGraph.from_edges`. ``None``: the node attributes ``noise_dim``, or 1 when no
            node has it.
        dims: as in :meth:`LatentGraph.from_edges`. ``None``: the node attributes ``dim``; when no node has it, the
            dims that invertible mechanisms imply.
        observed: the observed variables in their order. ``None``: the nodes without children, in the order of
            ``graph``; the node attribute ``observed``, where present, must agree.
        grid: as in :meth:`LatentGraph.from_edges`. ``None``: the graph attributes ``rows`` and ``columns``, if any,
            which are filled in the order of the observed variables, whatever their names.

    Returns:
        The graph.

    Raises:
        ValueError: the graph is not directed, has parallel edges, names that are not strings, nodes without edges, or
            attributes on some nodes only; or whatever :meth:`LatentGraph.from_edges` refuses.

    Example:
        >>> import networkx as nx
        >>> from_networkx(nx.DiGraph([("z", "x1"), ("z", "x2")])).observed
        ('x1', 'x2')
    """
    arguments, names = arguments_of_network(graph, noise_dims=noise_dims, dims=dims, observed=observed, grid=grid)
    found = LatentGraph.from_edges(**arguments)
    return found if names is None else found.reordered(names)
