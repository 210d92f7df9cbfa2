"""The law of a grammar: one set of tables, by which strings are drawn and with which inference is exact."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hlvm.graph import LatentGraph
from hlvm.images.grammar import probabilities
from hlvm.simulator.layout import Leaf

__all__ = ["GrammarLaw", "Thresholds"]


class Thresholds(NamedTuple):
    """Where the unit interval is cut, for choices that are not uniform: float32, one number fewer than outcomes.

    Attributes:
        classes: of the class, (classes - 1,); ``None``: uniform.
        rules: level -> of the rule of each symbol, (symbols, m - 1); levels left out are uniform.
        nodes: of the symbol of each node at the level that the grammar is filtered at, (rows, columns, classes, v - 1);
            ``None``: not filtered.
        cells: of what becomes of a cell: it is kept, or replaced by each of the symbols, (v,); ``None``: no noise.
    """

    classes: Leaf | None
    rules: Mapping[int, Leaf]
    nodes: Leaf | None
    cells: Leaf | None


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GrammarLaw:
    """Checked fields of a :class:`~hlvm.images.StringGrammar`, in NumPy, and what follows from them.

    Attributes:
        rules: level, 1 to L -> tuples, int64 (symbols, m, s).
        n_symbols: symbols of every level below the classes.
        tuple_shape: rows and columns of a tuple.
        rule_probabilities: level -> (symbols, m), of the levels that are not uniform.
        class_probabilities: (n_classes,); ``None``: uniform.
        leaf_noise: probability that a cell is replaced.
        filtered_at: level whose symbols are independent given the class, or ``None``.
    """

    rules: Mapping[int, np.ndarray]
    n_symbols: int
    tuple_shape: tuple[int, int]
    rule_probabilities: Mapping[int, np.ndarray]
    class_probabilities: np.ndarray | None
    leaf_noise: float
    filtered_at: int | None

    @property
    def choosing(self) -> tuple[int, ...]:
        """Levels whose symbols choose a rule, from 1 up: those not above a filter."""
        return tuple(range(1, (len(self.rules) if self.filtered_at is None else self.filtered_at) + 1))

    @functools.cached_property
    def nodes(self) -> np.ndarray | None:
        """Law of each symbol at the level of the filter given the class, (rows, columns, classes, symbols)."""
        if self.filtered_at is None:
            return None
        return probabilities.marginals(
            self.rules, self.rule_probabilities, self.tuple_shape, self.n_symbols, self.filtered_at
        )

    @functools.cached_property
    def thresholds(self) -> Thresholds:
        """Tables that choices are drawn by, from the same tables as :meth:`parameters`."""
        cut: Any = probabilities.thresholds
        row = probabilities.copied_or_replaced(self.leaf_noise, self.n_symbols)
        return Thresholds(
            classes=None if self.class_probabilities is None else cut(self.class_probabilities),
            rules={level: cut(table) for level, table in self.rule_probabilities.items() if level in self.choosing},
            nodes=None if self.nodes is None else cut(self.nodes),
            cells=cut(row) if self.leaf_noise else None,
        )

    @property
    def unreachable(self) -> dict[int, tuple[int, ...]]:
        """See ``StringGrammar.unreachable``."""
        top, priors = len(self.rules), self.class_probabilities
        reached = np.ones(len(self.rules[top]), dtype=bool) if priors is None else priors > 0
        found: dict[int, tuple[int, ...]] = {}
        for level in range(top, -1, -1):
            exists = level in (0, *self.choosing, top)
            if exists and not reached.all() and (level or not self.leaf_noise):
                found[level] = tuple(np.flatnonzero(~reached).tolist())
            if level:
                table = self.rules[level]
                used = reached[:, None] & (self.rule_probabilities.get(level, np.ones(table.shape[:2])) > 0)
                reached = np.isin(np.arange(self.n_symbols), table[used])
        return found

    def parameters(self, graph: LatentGraph) -> dict[str, Any]:
        """See ``StringGrammar.discrete_tree_parameters``."""
        root, *others = graph.latents
        n_classes = len(self.rules[len(self.rules)])
        level = {name: int(name[1:].split("_")[0]) for name in graph.latents}
        known, writing = self.rule_probabilities, graph.latents if self.filtered_at is None else others
        channels: dict[str, np.ndarray] = {}
        found: dict[str, Any] = {
            "n_symbols": {root: n_classes, **dict.fromkeys(graph.nodes[1:], self.n_symbols)},
            "rules": {name: self.rules[level[name]] for name in writing},
            "probabilities": {name: known[level[name]] for name in writing if level[name] in known},
            "priors": {} if self.class_probabilities is None else {root: self.class_probabilities},
            "channels": channels,
        }
        if self.leaf_noise:
            noise = probabilities.noise_channel(self.leaf_noise, self.n_symbols)
            channels.update(dict.fromkeys(graph.observed, noise))
        if self.nodes is not None:
            children = graph.children(root)
            own = np.arange(n_classes)[:, None, None]
            found["rules"][root] = np.broadcast_to(own, (n_classes, 1, len(children)))
            for name, law in zip(children, self.nodes.reshape(len(children), n_classes, -1), strict=True):
                channels[name] = law @ channels[name] if name in channels else law
        return found
