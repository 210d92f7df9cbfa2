"""Nodes of a tree that are worked on together: those below which everything looks the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from hlvm.theory.grammar.parameters import TreeParameters

__all__ = ["Group", "Holders", "Tables", "tree_groups"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tables:
    """One table for all nodes of a group, or one for each.

    Attributes:
        holders: of each different table, the first variable of the graph that holds it; it stands for all of them.
        index: shape (n_nodes,), which of them each node has.
    """

    holders: tuple[str, ...]
    index: Int[np.ndarray, " n_nodes"]

    def stacked(self, arrays: Mapping[str, Any], xp: Any) -> Any:
        """The tables of the nodes: shape (1, ...) if they share one, else (n_nodes, ...)."""
        if len(self.holders) == 1:
            return arrays[self.holders[0]][None]
        # 64-bit places would clash: the same tables are read with JAX's 64 bits on and off.
        return xp.stack([arrays[holder] for holder in self.holders])[self.index.astype(np.int32)]


class Holders:
    """Tables of one sort under the name of the first variable that holds each.

    Args:
        parameters: of the tree.
        what: "rules", "probabilities", "priors" or "channels".
    """

    def __init__(self, parameters: TreeParameters, what: str) -> None:
        self.tables: Mapping[int, np.ndarray] = getattr(parameters, what)
        names: dict[int, str] = {}
        for node in sorted(self.tables):
            names.setdefault(id(self.tables[node]), parameters.graph.nodes[node])
        self.names = names

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The different tables, each under its holder's name."""
        return {self.names[id(table)]: table for _, table in sorted(self.tables.items())}

    def of(self, nodes: list[int]) -> Tables | None:
        """The tables of some nodes; ``None`` if the first has none."""
        if nodes[0] not in self.tables:
            return None
        held = [self.names[id(self.tables[node])] for node in nodes]
        place = {name: i for i, name in enumerate(dict.fromkeys(held))}
        return Tables(holders=tuple(place), index=np.array([place[name] for name in held]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Nodes whose subtrees have one shape and tables of one shape.

    Attributes:
        nodes: positions in ``graph.nodes``, in the order of a walk from left to right.
        n_symbols: symbols of each.
        n_choices: choices of each symbol; 1 at leaves.
        slots: for each child: its group, and the child of each node by its place in that group; empty at leaves.
        rules: of latents, (n_symbols, m, n_children); ``None`` at leaves.
        probabilities: of latents, (n_symbols, m).
        priors: of roots, (n_symbols,), else ``None``.
        channels: (n_written, n_symbols), or ``None``.
    """

    nodes: Int[np.ndarray, " n_nodes"]
    n_symbols: int
    n_choices: int
    slots: tuple[tuple[int, Int[np.ndarray, " n_nodes"]], ...]
    rules: Tables | None
    probabilities: Tables | None
    priors: Tables | None
    channels: Tables | None

    @property
    def size(self) -> int:
        """Numbers that the group takes for one string."""
        return len(self.nodes) * self.n_symbols * self.n_choices


def tree_groups(parameters: TreeParameters, holders: Mapping[str, Holders]) -> list[Group]:
    """Groups of nodes, children before parents."""
    graph = parameters.graph
    children = graph.child_indices
    shapes: dict[tuple[Any, ...], int] = {}
    kind = np.zeros(len(graph.nodes), dtype=np.int64)
    for node in np.argsort(np.asarray(graph.heights), kind="stable").tolist():
        below = tuple(kind[list(children[node])].tolist())
        form: tuple[Any, ...] = (below, parameters.n_symbols[node])
        form += (parameters.rules[node].shape,) if node in parameters.rules else ()
        form += (parameters.channels[node].shape if node in parameters.channels else None, node in parameters.priors)
        kind[node] = shapes.setdefault(form, len(shapes))
    members: list[list[int]] = [[] for _ in shapes]
    place = np.zeros(len(graph.nodes), dtype=np.int64)
    # From left to right, so that the children of the nodes of a regular level lie in their group in order.
    waiting = sorted(parameters.priors, reverse=True)
    while waiting:
        node = waiting.pop()
        place[node] = len(members[kind[node]])
        members[kind[node]].append(node)
        waiting.extend(reversed(children[node]))
    return [_group(parameters, holders, nodes, kind, place) for nodes in members]


def _group(
    parameters: TreeParameters,
    holders: Mapping[str, Holders],
    nodes: list[int],
    kind: Int[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
) -> Group:
    first, children = nodes[0], parameters.graph.child_indices
    below = np.array([children[node] for node in nodes]).reshape(len(nodes), -1)
    return Group(
        nodes=np.array(nodes),
        n_symbols=parameters.n_symbols[first],
        n_choices=parameters.rules[first].shape[1] if first in parameters.rules else 1,
        slots=tuple((int(kind[column[0]]), place[column]) for column in below.T),
        rules=holders["rules"].of(nodes),
        probabilities=holders["probabilities"].of(nodes),
        priors=holders["priors"].of(nodes),
        channels=holders["channels"].of(nodes),
    )
