"""Descriptions of graphs as graphs of networkx and as GraphML, both ways.

networkx is imported where it is used: it takes longer to import than all of ``hlvm.graph``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from xml.etree.ElementTree import ParseError, fromstring

from hlvm.graph.checks import Grid, is_of_names, rows_of_names

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Arguments", "arguments", "arguments_of_network", "network", "text"]

Arguments: TypeAlias = tuple[dict[str, Any], "list[str] | None"]
"""Keyword arguments of ``LatentGraph.from_edges``, and the order that the nodes should have, if any."""

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


def network(described: Mapping[str, Any]) -> nx.DiGraph:
    """A description as a graph of networkx; see ``hlvm.graph.to_networkx``."""
    import networkx as nx

    found = nx.DiGraph()
    rows = described["nodes"]
    if described["grid"] is not None:
        found.graph.update(rows=described["grid"][0], columns=described["grid"][1])
    has_child = {parent for row in rows for parent in row["parents"]}
    for row in rows:
        found.add_node(row["name"], dim=row["dim"], noise_dim=row["noise_dim"], observed=row["name"] not in has_child)
    for row in rows:
        for order, parent in enumerate(row["parents"]):
            found.add_edge(parent, row["name"], order=order)
    return found


def arguments_of_network(
    graph: nx.DiGraph,
    *,
    noise_dims: int | Mapping[str, int] | None = None,
    dims: int | Mapping[str, int] | None = None,
    observed: Sequence[str] | None = None,
    grid: Grid | None = None,
) -> Arguments:
    """The arguments that a graph of networkx stands for; see ``hlvm.graph.from_networkx``."""
    if not hasattr(graph, "is_directed") or not graph.is_directed():
        raise ValueError("a latent graph has directed edges: expected a networkx.DiGraph, with edges parent -> child")
    if graph.is_multigraph():
        raise ValueError("parallel edges, or a graph made for them: list each edge once, in a networkx.DiGraph")
    names = list(graph.nodes)
    odd = next((name for name in names if not isinstance(name, str) or not name), None)
    if odd is not None:
        raise ValueError(
            f"a variable's name is a non-empty string, got {odd!r}: use networkx.relabel_nodes(graph, str) first"
        )
    bare = next((name for name in names if not graph.degree(name)), None)
    if bare is not None:
        raise ValueError(f"{bare!r} has neither parents nor children: connect it or leave it out")
    sinks = [name for name in names if not graph.out_degree(name)]
    _check_marks(graph, sinks)
    order = observed if observed is not None or is_of_names(grid) else sinks
    if grid is None and ("rows" in graph.graph or "columns" in graph.graph):
        grid = rows_of_names([graph.graph.get("rows"), graph.graph.get("columns")], order or sinks)
    own_noise_dims, own_dims = _attribute(graph, "noise_dim"), _attribute(graph, "dim")
    return {
        "edges": [(parent, child) for child in names for parent in _parents_in_order(graph, child)],
        "noise_dims": noise_dims if noise_dims is not None else own_noise_dims if own_noise_dims is not None else 1,
        "dims": dims if dims is not None else own_dims,
        "observed": order,
        "grid": grid,
    }, names if observed is None else None


def _check_marks(graph: nx.DiGraph, sinks: list[str]) -> None:
    is_sink = set(sinks)
    for name, mark in graph.nodes(data="observed"):
        if mark is not None and bool(mark) != (name in is_sink):
            said, has = ("observed", "has children") if mark else ("not observed", "has no children")
            raise ValueError(f"{name!r} is marked as {said} but {has}: observed variables are those without children")


def _attribute(graph: nx.DiGraph, key: str) -> dict[str, Any] | None:
    """A node attribute by name; ``None`` if no node has it."""
    found = {name: value for name, value in graph.nodes(data=key) if value is not None}
    if found and len(found) < len(graph):
        missing = next(name for name in graph if name not in found)
        raise ValueError(f"{missing!r} has no attribute {key!r} while other nodes have it: give it to all or to none")
    return found or None


def _parents_in_order(graph: nx.DiGraph, child: str) -> list[str]:
    order: dict[str, Any] = {parent: graph.edges[parent, child].get("order") for parent in graph.predecessors(child)}
    places = list(order.values())
    if any(place is None for place in places):
        return list(order)
    if not all(isinstance(place, int) for place in places) or len(set(places)) < len(places):
        raise ValueError(f"the edges into {child!r} need distinct whole numbers as their order, got {places}")
    return sorted(order, key=lambda parent: order[parent])


# ---------------------------------------------------------------------- GraphML


def text(described: Mapping[str, Any]) -> str:
    """A description as GraphML.

    A node's id is its name. Names with characters that XML cannot hold get another id and the attribute ``name_json``.
    """
    import networkx as nx

    found = network(described)
    taken = set(found)
    ids: dict[str, str] = {}
    for i, name in enumerate(list(found)):
        if _NOT_IN_XML.search(name):
            ids[name] = f"n{i}"
            while ids[name] in taken:
                ids[name] += "_"
            taken.add(ids[name])
            found.nodes[name]["name_json"] = json.dumps(name)
    buffer = io.BytesIO()
    nx.write_graphml_xml(nx.relabel_nodes(found, ids) if ids else found, buffer)
    return buffer.getvalue().decode("utf-8") + "\n"


def arguments(content: bytes) -> Arguments:
    """The arguments that the content of a GraphML file stands for.

    Raises:
        ValueError: this is not GraphML, or not a latent graph.
    """
    import networkx as nx

    try:
        found = nx.read_graphml(io.BytesIO(content))
        _check_elements(content)
    except (nx.NetworkXException, ParseError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not a GraphML file: {error}") from None
    names = {node: _name_of(node, written) for node, written in found.nodes(data="name_json") if written is not None}
    if names:
        if len({names.get(node, node) for node in found}) < len(found):
            raise ValueError("two nodes have the same name_json: every variable needs its own name")
    else:
        names = _names_of_another_program(found)
    return arguments_of_network(nx.relabel_nodes(found, names) if names else found)


def _names_of_another_program(graph: nx.DiGraph) -> dict[str, str]:
    """Names that nodes have beside their ids, as igraph (``name``) and yEd (``label``) write them: all, or none."""
    for attribute in ("name", "label"):
        names = {node: name for node, name in graph.nodes(data=attribute) if name not in (None, "")}
        if not names:
            continue
        taken: dict[str, str] = {}
        for node in graph:
            if node not in names or str(names[node]) in taken:
                fault = f"has {names[node]!r}, as {taken[str(names[node])]!r} has" if node in names else "has none"
                raise ValueError(
                    f"nodes have names in the attribute {attribute!r}, but {node!r} {fault}: give every node its own, "
                    "or remove the attribute to call nodes by their ids"
                )
            taken[str(names[node])] = node
        return {node: name for name, node in taken.items()}
    return {}


def _check_elements(content: bytes) -> None:
    """Refuse what networkx lets pass: ids left out, a node declared twice, an edge to a node that is not declared."""
    elements = list(fromstring(content).iter())
    nodes = [element.get("id") for element in elements if element.tag.endswith("}node")]
    if None in nodes:
        raise ValueError("a node has no id: give every node its own")
    declared = set(nodes)
    if len(declared) < len(nodes):
        repeated = next(node for i, node in enumerate(nodes) if node in nodes[:i])
        raise ValueError(f"the node id {repeated!r} is declared twice: give every node its own")
    for edge in (element for element in elements if element.tag.endswith("}edge")):
        unknown = next((end for end in (edge.get("source"), edge.get("target")) if end not in declared), "")
        if unknown != "":
            raise ValueError(f"an edge names the node {unknown!r}, which is not declared")


def _name_of(node: Any, written: Any) -> str:
    try:
        name = json.loads(written)
    except (TypeError, ValueError):
        name = None
    if not isinstance(name, str) or not name:
        raise ValueError(f"name_json of node {node!r} must be a JSON string, got {written!r}")
    return name
