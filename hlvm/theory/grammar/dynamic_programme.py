"""The dynamic programme of a discrete tree: from the cells up, for many strings at once, under any semiring.

The way down is not written: it is the gradient of the way up with respect to the weights (see
:mod:`hlvm.theory.grammar.semirings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm.theory.grammar.groups import Group, Holders, tree_groups
from hlvm.theory.grammar.parameters import TreeParameters
from hlvm.theory.grammar.semirings import LogSum, Semiring

__all__ = ["Cuts", "DynamicProgramme", "Marginals", "Weights", "log_table", "logarithms"]

Weights: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Tables "probabilities", "priors" and "channels", each a mapping from the first variable that holds a table to it: as
probabilities where users meet them, as logarithms in here."""


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
        self.size = max(group.size * max(len(group.slots), 1) for group in self.groups)

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

    # ------------------------------------------------------------------ evidence

    def evidence(
        self, cells: Int[Array, "b n_observed"], visible: Bool[Array, "b n_observed"], dtype: Any
    ) -> dict[int, Float[Array, "k v b"]]:
        """Logarithms of 1 for each symbol that a cell may have, and of 0 for the others."""
        found = {}
        for i, group in self.leaves.items():
            places = group.nodes - self.n_latents
            shown, seen = cells.T[places], visible.T[places]
            is_symbol = shown[:, None] == jnp.arange(group.n_symbols)[None, :, None]
            found[i] = jnp.where(is_symbol | ~seen[:, None], 0.0, -jnp.inf).astype(dtype)
        return found

    def known(self, symbols: Int[Array, "b n_latents"], dtype: Any) -> dict[int, Float[Array, "k v b"]]:
        """The same for latents whose symbol is known; -1 where it is not."""
        found = {}
        for i, group in self.inner.items():
            shown = symbols.T[group.nodes][:, None]
            is_symbol = shown == jnp.arange(group.n_symbols)[None, :, None]
            found[i] = jnp.where(is_symbol | (shown < 0), 0.0, -jnp.inf).astype(dtype)
        return found

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
            weights: tables of logarithms.
            cells: as :meth:`evidence` gives it, or other logarithms of weights.
            latents: logarithms of more weights of symbols.
            cuts: nodes cut off from their parents.
            productions: logarithms of more weights of symbols and choices.

        Returns:
            The element of all outcomes that agree with the evidence; leaves of shape (batch,).
        """
        messages: list[Any] = []
        result: Any = None
        for i, group in enumerate(self.groups):
            if group.rules is None:
                element = semiring.lift(cells[i])
            else:
                element = _sum(*(self._written(group, slot, messages) for slot in range(len(group.slots))))
                element = _sum(element, semiring.lift(_table(group.probabilities, weights["probabilities"])[..., None]))
                if productions:
                    element = _sum(element, semiring.lift(productions[i]))
                element = semiring.plus(element, 3 * i)
                if latents is not None:
                    element = _sum(element, semiring.lift(latents[i]))
            if group.priors is not None:
                prior = semiring.lift(_table(group.priors, weights["priors"])[:, None, :, None])
                whole = semiring.plus(_sum(_map(lambda x: x[:, None], element), prior), 3 * i + 1)
                whole = _map(lambda x: x.sum(axis=(0, 1)), whole)
                result = whole if result is None else _sum(result, whole)
                messages.append(None)
            else:
                messages.append(self._message(semiring, i, element, weights, cuts))
        return result

    def _written(self, group: Group, slot: int, messages: list[Any]) -> Any:
        """The message of one child about its parents' symbols and choices."""
        source, children = group.slots[slot]
        assert group.rules is not None
        rules = group.rules.stacked(self._rules, np)[..., slot]
        places = rules.reshape(len(rules), -1)
        shape = (len(group.nodes), group.n_symbols, group.n_choices, -1)

        def written(array: Array) -> Array:
            below = _take(array, children)
            if len(places) == 1:
                return jnp.take(below, places[0], axis=1).reshape(shape)
            return jnp.take_along_axis(below, places[:, :, None], axis=1).reshape(shape)

        return _map(written, messages[source])

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
        """Gradients with respect to the weights of every symbol, and of every production if asked for.

        Arguments are those of :meth:`inside`. Productions are as many times more numbers as there are choices.
        """
        some = next(iter(cells.values()))

        def zeros(*more: int) -> Array:
            return jnp.zeros((*more, some.shape[-1]), dtype=some.dtype)

        symbols = {i: zeros(len(g.nodes), g.n_symbols) for i, g in self.inner.items()}
        both = {i: zeros(len(g.nodes), g.n_symbols, g.n_choices) for i, g in self.inner.items()}
        total, pull = jax.vjp(
            lambda *given: self.inside(semiring, weights, given[0], given[1], cuts, given[2]),
            dict(cells),
            symbols,
            both if of_productions else {},
        )
        return Marginals(total, *pull(jnp.ones_like(total)))

    # ------------------------------------------------------------------ orders

    def in_order(self, groups: Mapping[int, Any]) -> Any:
        """Numbers (nodes, batch) of all latents, or of all cells, as (batch, nodes) in the graph's order."""
        nodes = np.concatenate([self.groups[i].nodes for i in groups])
        return jnp.concatenate(list(groups.values()))[np.argsort(nodes)].T

    @cached_property
    def logs(self) -> Weights:
        """Logarithms of the model's own tables."""
        return logarithms(self.weights)

    @cached_property
    def laws(self) -> dict[int, Float[np.ndarray, "k v"]]:
        """Probabilities of the symbols of every node when nothing is seen, by group, in 64 bits."""

        def run() -> dict[int, Array]:
            nothing = {i: jnp.zeros((len(g.nodes), g.n_symbols, 1)) for i, g in self.leaves.items()}
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
