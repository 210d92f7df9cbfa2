"""The dynamic programme of a discrete tree: from the cells up, for many strings at once, under any semiring.

The way down is not written: it is the gradient of the way up with respect to the weights (see
:mod:`hlvm.theory.grammar.semirings`). Near the cells, where no sum can underflow, sums of weights need no logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm.theory.grammar.groups import Group, Holders, tree_groups
from hlvm.theory.grammar.parameters import TreeParameters
from hlvm.theory.grammar.rule_sums import rule_sums
from hlvm.theory.grammar.semirings import LogSum, Semiring

__all__ = ["Cuts", "DynamicProgramme", "Marginals", "Weights", "log_table", "logarithms"]

Weights: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Tables "probabilities", "priors" and "channels", each a mapping from the first variable that holds a table to it: as
probabilities where users meet them, as logarithms in here."""

_LEAST_PLAIN = {"float32": 2.0**-100, "float64": 2.0**-900}
"""Sums of weights need no logarithms down to this number; gradients go up to one over it."""


class Cuts(NamedTuple):
    """Nodes that are cut off from their parents and keep their laws.

    Attributes:
        cut: shape (n_nodes,), which ones.
        laws: group -> (nodes of the group, symbols), logarithms of their probabilities when nothing is seen.
    """

    cut: Any
    laws: Mapping[int, Any]


class Marginals(NamedTuple):
    """Gradients of the programme's result: posterior probabilities, or one outcome, as the semiring has it.

    Attributes:
        total: shape (batch,), the result.
        cells: group of leaves -> (nodes, symbols, batch).
        latents: group of latents -> (nodes, symbols, batch).
        productions: group of latents -> (nodes, symbols, choices, batch); empty if they were not asked for.
    """

    total: Float[Array, " batch"]
    cells: Mapping[int, Float[Array, "k v b"]]
    latents: Mapping[int, Float[Array, "k v b"]]
    productions: Mapping[int, Float[Array, "k v m b"]]


class DynamicProgramme:
    """The programme of one tree."""

    def __init__(self, parameters: TreeParameters) -> None:
        self.parameters = parameters
        sorts = ("rules", "probabilities", "priors", "channels")
        holders = {what: Holders(parameters, what) for what in sorts}
        self.groups = tree_groups(parameters, holders)
        self._rules = holders["rules"].arrays
        self.weights: Weights = {what: holders[what].arrays for what in sorts[1:]}
        graph = parameters.graph
        self.n_latents, self.n_observed = graph.n_latents, graph.n_observed

    @cached_property
    def leaves(self) -> dict[int, Group]:
        """Groups of observed variables."""
        return {i: group for i, group in enumerate(self.groups) if group.rules is None}

    @cached_property
    def inner(self) -> dict[int, Group]:
        """Groups of latents."""
        return {i: group for i, group in enumerate(self.groups) if group.rules is not None}

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """Steps of the programme at which one of several alternatives is taken -> (nodes, alternatives)."""
        found = {}
        for i, group in enumerate(self.groups):
            if group.rules is not None:
                found[3 * i] = (len(group.nodes), group.n_choices)
            found[3 * i + 1] = found[3 * i + 2] = (len(group.nodes), group.n_symbols)
        return found

    def size(self, plain: frozenset[int]) -> int:
        """Numbers that the largest step takes for one string: every rule, or in plain groups messages up and down."""
        return max(
            4 * len(group.nodes) * group.n_symbols if i in plain else group.size * max(len(group.slots), 1)
            for i, group in enumerate(self.groups)
        )

    # ------------------------------------------------------------------ evidence

    def evidence(
        self, cells: Int[Array, "n_observed b"], visible: Bool[Array, "n_observed b"], dtype: Any
    ) -> dict[int, Float[Array, "k v b"]]:
        """Weights 1 for each symbol that a cell may have, and 0 for the others."""
        found = {}
        for i in self.leaves:
            hidden = ~self.of_group(i, visible)[:, None]
            found[i] = (self.is_symbol(i, cells) | hidden).astype(dtype)
        return found

    def known(self, symbols: Int[Array, "n_latents b"], dtype: Any) -> dict[int, Float[Array, "k v b"]]:
        """The same for latents whose symbol is known; -1 where it is not."""
        return {
            i: (self.is_symbol(i, symbols) | (self.of_group(i, symbols) < 0)[:, None]).astype(dtype) for i in self.inner
        }

    def of_group(self, i: int, rows: Array) -> Array:
        """The rows of a group, of those of all latents or of all cells."""
        group = self.groups[i]
        return _take(rows, group.nodes - (self.n_latents if group.rules is None else 0))

    def is_symbol(self, i: int, symbols: Int[Array, "n b"]) -> Bool[Array, "k v b"]:
        """For each symbol of each node of a group, whether it is the one that is given."""
        return self.of_group(i, symbols)[:, None] == jnp.arange(self.groups[i].n_symbols)[None, :, None]

    # ------------------------------------------------------------------ up and down

    def inside(
        self,
        semiring: Semiring,
        weights: Weights,
        cells: Mapping[int, Float[Array, "k v b"]],
        latents: Mapping[int, Float[Array, "k v b"]] | None = None,
        cuts: Cuts | None = None,
        productions: Mapping[int, Float[Array, "k v m b"]] | None = None,
    ) -> Any:
        """Run the programme.

        Args:
            semiring: what is added up.
            weights: tables of logarithms; not read in plain groups, which have the model's own tables.
            cells: weights of symbols, as :meth:`evidence` gives them.
            latents: weights of symbols.
            cuts: nodes cut off from their parents.
            productions: weights of symbols and choices; without plain groups only.

        Returns:
            The element of all outcomes that agree with the evidence; leaves of shape (batch,).
        """
        plain = semiring.plain if isinstance(semiring, LogSum) else frozenset()
        messages: list[Any] = []
        result: Any = None
        for i, group in enumerate(self.groups):
            if i in plain:
                element = cells[i] if group.rules is None else self._plain_sums(i, messages)
                if latents is not None and group.rules is not None:
                    element = element * latents[i]
                if group.priors is None:
                    messages.append(self._plain_message(i, element, cuts))
                    continue
                element = semiring.lift(log_table(element))
            elif group.rules is None:
                element = semiring.lift(log_table(cells[i]))
            else:
                below = [semiring.lift(log_table(messages[j])) if j in plain else messages[j] for j, _ in group.slots]
                element = _sum(*(self._written(group, slot, array) for slot, array in enumerate(below)))
                element = _sum(element, semiring.lift(_table(group.probabilities, weights["probabilities"])[..., None]))
                if productions:
                    element = _sum(element, semiring.lift(log_table(productions[i])))
                element = semiring.plus(element, 3 * i)
                if latents is not None:
                    element = _sum(element, semiring.lift(log_table(latents[i])))
            if group.priors is not None:
                prior = semiring.lift(_table(group.priors, weights["priors"])[:, None, :, None])
                whole = semiring.plus(_sum(_map(lambda x: x[:, None], element), prior), 3 * i + 1)
                whole = _map(lambda x: x.sum(axis=(0, 1)), whole)
                result = whole if result is None else _sum(result, whole)
                messages.append(None)
            else:
                messages.append(self._message(semiring, i, element, weights, cuts))
        return result

    def _written(self, group: Group, slot: int, message: Any) -> Any:
        """The message of one child about its parents' symbols and choices."""
        children = group.slots[slot][1]
        assert group.rules is not None
        rules = group.rules.stacked(self._rules, np)[..., slot]
        places = rules.reshape(len(rules), -1)
        shape = (len(group.nodes), group.n_symbols, group.n_choices, -1)

        def written(array: Array) -> Array:
            below = _take(array, children)
            if len(places) == 1:
                return jnp.take(below, places[0], axis=1).reshape(shape)
            return jnp.take_along_axis(below, places[:, :, None], axis=1).reshape(shape)

        return _map(written, message)

    def _message(self, semiring: Semiring, i: int, element: Any, weights: Weights, cuts: Cuts | None) -> Any:
        """The message of a group about the symbols that were written for it."""
        group = self.groups[i]
        of_taken = _map(lambda x: x[:, None], element)
        message = element
        if group.channels is not None:
            channel = _table(group.channels, weights["channels"])[..., None]
            message = semiring.plus(_sum(of_taken, semiring.lift(channel)), 3 * i + 1)
        if cuts is not None:
            law = semiring.lift(jnp.asarray(cuts.laws[i])[:, None, :, None])
            alone = semiring.plus(_sum(of_taken, law), 3 * i + 2)
            is_cut = jnp.asarray(cuts.cut)[group.nodes][:, None, None]
            message = _map(lambda cut, whole: jnp.where(is_cut, cut, whole), alone, message)
        return message

    def marginals(
        self,
        semiring: Semiring,
        weights: Weights,
        cells: Mapping[int, Float[Array, "k v b"]],
        cuts: Cuts | None = None,
        *,
        of_productions: bool = False,
    ) -> Marginals:
        """Gradients with respect to logarithms of the weights of every symbol, and of every production if asked for.

        Arguments are those of :meth:`inside`. Productions are as many times more numbers as there are choices.
        """
        some = next(iter(cells.values()))

        def ones(*more: int) -> Array:
            return jnp.ones((*more, some.shape[-1]), dtype=some.dtype)

        symbols = {i: ones(len(g.nodes), g.n_symbols) for i, g in self.inner.items()}
        both = {i: ones(len(g.nodes), g.n_symbols, g.n_choices) for i, g in self.inner.items()}
        total, pull = jax.vjp(
            lambda *given: self.inside(semiring, weights, given[0], given[1], cuts, given[2]),
            dict(cells),
            symbols,
            both if of_productions else {},
        )
        of_cells, of_latents, of_both = pull(jnp.ones_like(total))
        return Marginals(total, {i: array * cells[i] for i, array in of_cells.items()}, of_latents, of_both)

    # ------------------------------------------------------------------ sums without logarithms

    def plain(self, dtype: Literal["float32", "float64"], *, cut: bool = False) -> frozenset[int]:
        """Groups in which no sum of weights that is not 0 can underflow, under the model's own tables.

        Weights below a node are 1 or 0, times probabilities. So what is not 0 is at least the product of the smallest
        ones. Where that is far above the smallest number, sums of weights are exact to rounding without logarithms.

        Args:
            dtype: of the numbers.
            cut: nodes may be cut off from their parents.
        """
        least = self._least_if_cut if cut else self._least
        return frozenset(i for i, number in least.items() if number >= _LEAST_PLAIN[dtype])

    @cached_property
    def _least(self) -> dict[int, float]:
        """The least weight that is not 0 in the messages of each group; without groups of several tables of rules."""
        return self._least_weights({})

    @cached_property
    def _least_if_cut(self) -> dict[int, float]:
        return self._least_weights(self.laws)

    def _least_weights(self, laws: Mapping[int, Float[np.ndarray, "k v"]]) -> dict[int, float]:
        least: dict[int, float] = {}
        for i, group in enumerate(self.groups):
            if group.rules is not None and len(group.rules.holders) > 1:
                continue
            numbers = [laws[i].ravel()] if i in laws else []
            for what, tables in (("probabilities", group.probabilities), ("channels", group.channels)):
                numbers += [] if tables is None else [self.weights[what][holder].ravel() for holder in tables.holders]
            below = [least.get(source, 0.0) for source, _ in group.slots]
            least[i] = math.prod(below) * math.prod(float(each[each > 0].min()) for each in numbers)
        return least

    @cached_property
    def _rule_sums(self) -> dict[int, Callable[[Array], Array]]:
        """For each group of latents with one table of rules, from messages of all its children to weights."""
        found = {}
        for i, group in self.inner.items():
            if group.rules is not None and group.probabilities is not None and len(group.rules.holders) == 1:
                sizes = [self.parameters.written(int(self.groups[source].nodes[0])) for source, _ in group.slots]
                rows = group.rules.stacked(self._rules, np)[0] + np.cumsum([0, *sizes[:-1]])
                chances = group.probabilities.stacked(self.weights["probabilities"], np)
                found[i] = rule_sums(rows, chances, sum(sizes))
        return found

    @cached_property
    def _channel_sums(self) -> dict[int, Callable[[Array], Array]]:
        """For each group with a channel, from weights of the symbols taken to those of the symbols written."""
        found = {}
        for i, group in enumerate(self.groups):
            if group.channels is not None:
                channel = group.channels.stacked(self.weights["channels"], np)
                n_written, n_taken = channel.shape[1:]
                taken = np.tile(np.arange(n_taken)[:, None], (n_written, 1, 1))
                found[i] = rule_sums(taken, channel, n_taken)
        return found

    def _plain_sums(self, i: int, messages: list[Any]) -> Float[Array, "k v b"]:
        """Weights of the symbols of a group of latents, from messages that are weights."""
        group = self.groups[i]
        source, places = group.slots[0][0], np.stack([children for _, children in group.slots], axis=1)
        regular = np.array_equal(places.ravel(), np.arange(len(self.groups[source].nodes)))
        if regular and all(other == source for other, _ in group.slots):
            below = messages[source].reshape(len(places), -1, messages[source].shape[-1])  # not a copy
        else:
            below = jnp.concatenate([_take(messages[source], children) for source, children in group.slots], axis=1)
        return self._rule_sums[i](below)

    def _plain_message(self, i: int, element: Float[Array, "k v b"], cuts: Cuts | None) -> Float[Array, "k w b"]:
        """As :meth:`_message`, of weights."""
        message = self._channel_sums[i](element) if i in self._channel_sums else element
        if cuts is not None:
            law = jnp.exp(jnp.asarray(cuts.laws[i], element.dtype))
            alone = (law[:, :, None] * element).sum(axis=1, keepdims=True)
            message = jnp.where(jnp.asarray(cuts.cut)[self.groups[i].nodes][:, None, None], alone, message)
        return message

    # ------------------------------------------------------------------ orders

    def in_order(self, groups: Mapping[int, Any]) -> Any:
        """Numbers (nodes, batch) of all latents, or of all cells, in the graph's order."""
        nodes = np.concatenate([self.groups[i].nodes for i in groups])
        return _take(jnp.concatenate(list(groups.values())), np.argsort(nodes))

    @cached_property
    def logs(self) -> Weights:
        """Logarithms of the model's own tables."""
        return logarithms(self.weights)

    @cached_property
    def laws(self) -> dict[int, Float[np.ndarray, "k v"]]:
        """Probabilities of the symbols of every node when nothing is seen, by group, in 64 bits."""

        def run() -> dict[int, Array]:
            nothing = {i: jnp.ones((len(g.nodes), g.n_symbols, 1)) for i, g in self.leaves.items()}
            found = self.marginals(LogSum(), self.logs, nothing)
            return {i: array[..., 0] for i, array in {**found.latents, **found.cells}.items()}

        with jax.enable_x64(True):
            return {i: np.asarray(array) for i, array in jax.jit(run)().items()}


def _map(function: Any, *elements: Any) -> Any:
    return jax.tree.map(function, *elements)


def _sum(*elements: Any) -> Any:
    """Combine independent parts."""
    return _map(lambda *arrays: sum(arrays[1:], start=arrays[0]), *elements)


def _table(tables: Any, arrays: Mapping[str, Any]) -> Array:
    return jnp.asarray(tables.stacked(arrays, jnp))


def logarithms(weights: Weights) -> Weights:
    """Tables of logarithms, of NumPy's in 64 bits, before they are rounded."""
    return jax.tree.map(log_table, weights)


def log_table(table: Any) -> Any:
    """Logarithms of probabilities, with gradient 0 where one is 0."""
    xp = np if isinstance(table, np.ndarray) else jnp
    some = table > 0
    return xp.where(some, xp.log(xp.where(some, table, 1.0)), -xp.inf)


def _take(array: Array, children: Int[np.ndarray, " k"]) -> Array:
    """Rows of the children; a slice with a step, as in regular trees, is not a copy."""
    step = int(children[1] - children[0]) if len(children) > 1 else 1
    if step > 0 and np.array_equal(children, children[0] + step * np.arange(len(children))):
        return array[int(children[0]) : int(children[-1]) + 1 : step]
    return jnp.take(array, children, axis=0)
