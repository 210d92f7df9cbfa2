"""Strings of a grammar with known rules: written, counted, listed and parsed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from hlvm._keys import checked_key
from hlvm._numbers import positive
from hlvm.graph import LatentGraph
from hlvm.images.grammar import derivations
from hlvm.images.grammar.derivations import Derivation
from hlvm.images.grammar.rules import TupleIndex, check_sizes, checked_nodes, checked_rules, tuple_index, whole_numbers

__all__ = ["StringGrammar"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StringGrammar:
    """A grammar with known rules, whose strings fill grids; :class:`~hlvm.images.GrammarImages` also draws them.

    Every string of the grammar has exactly one class and one way to be produced, and the same probability,
    ``1 / n_strings``.

    Attributes:
        rules: level, 1 to L -> table of tuples, int32 of shape (symbols of the level, m, s): what each symbol is
            replaced by under each synonym, row by row of the block. Level L has one row per class, the others
            ``n_symbols`` rows.
        n_symbols: number of symbols v of every level below the classes.
        tuple_shape: rows and columns of a tuple; (1, s) writes strips.

    Raises:
        ValueError: a size out of range, a table of another shape or type, or two rules of a level with one tuple.
    """

    rules: Mapping[int, Shaped[Array | np.ndarray, "..."]]
    n_symbols: int
    tuple_shape: tuple[int, int] = (2, 2)

    def __post_init__(self) -> None:
        check_sizes(self.n_symbols, self.tuple_shape, max(len(self.rules), 1))
        with jax.ensure_compile_time_eval():
            checked = checked_rules(self.rules, self.n_symbols, self.tuple_size)
            object.__setattr__(self, "rules", {level: jnp.asarray(table) for level, table in checked.items()})

    def __repr__(self) -> str:
        return (
            f"StringGrammar(n_symbols={self.n_symbols}, n_classes={self.n_classes}, n_synonyms={self.n_synonyms}, "
            f"n_levels={self.n_levels}, tuple_size={self.tuple_shape})"
        )

    # ------------------------------------------------------------------ sizes

    @property
    def n_levels(self) -> int:
        """Levels L above the cells; the class is at level L."""
        return len(self.rules)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.rules[self.n_levels].shape[0]

    @property
    def n_synonyms(self) -> int:
        """Rules m of each symbol and class."""
        return self.rules[self.n_levels].shape[1]

    @property
    def tuple_size(self) -> int:
        """Symbols s of a tuple."""
        return self.tuple_shape[0] * self.tuple_shape[1]

    @property
    def n_strings_per_class(self) -> int:
        """Number of strings of one class, m^((s^L - 1)/(s - 1)), exactly. The exponent is the number of latents."""
        return self.n_synonyms ** ((self.tuple_size**self.n_levels - 1) // (self.tuple_size - 1))

    @property
    def n_strings(self) -> int:
        """Number of strings of the grammar, exactly; all are different and equally likely."""
        return self.n_classes * self.n_strings_per_class

    def level_shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of nodes at a level, 0 (cells) to L (class).

        Raises:
            ValueError: there is no such level.
        """
        if not 0 <= level <= self.n_levels:
            raise ValueError(f"level must lie between 0 (cells) and {self.n_levels} (class), got {level}")
        return self.tuple_shape[0] ** (self.n_levels - level), self.tuple_shape[1] ** (self.n_levels - level)

    @property
    def _shapes(self) -> tuple[tuple[int, int], ...]:
        return tuple(self.level_shape(level) for level in range(self.n_levels + 1))

    # ------------------------------------------------------------------ graph

    @functools.cached_property
    def graph(self) -> LatentGraph:
        """The tree of latents ``z{level}_{row}_{column}`` over cells ``x_{row}_{column}``.

        A latent has 2 dims, (symbol, synonym), of which the synonym is its noise; the root, (class, synonym), is all
        noise. A cell has 1 dim, its symbol, and no noise.
        """
        return derivations.grammar_graph(self._shapes)

    @property
    def n_values(self) -> Mapping[str, tuple[int, int]]:
        """Latent -> numbers of symbols, which at the root are classes, and of synonyms."""
        root = self.graph.latents[0]
        return {
            name: (self.n_classes if name == root else self.n_symbols, self.n_synonyms) for name in self.graph.latents
        }

    @property
    def invertible(self) -> bool:
        """Tell whether every single child reveals its parent's symbol and synonym.

        True when no table has a symbol twice in any column. That takes as many symbols as rules: with two levels or
        more it is false as soon as there are synonyms. A latent is then a function of its whole tuple, but not of one
        child, and the invertible regime of the theory does not apply. Where it is true the values are still
        categories, not real numbers.
        """
        return all(
            len(np.unique(column)) == len(column)
            for table in self.rules.values()
            for column in np.asarray(table).reshape(-1, self.tuple_size).T
        )

    def discrete_tree_parameters(self) -> dict[str, Any]:
        """The grammar as tables by name of variable, for exact inference.

        Returns:
            The keyword arguments of ``GrammarOracle.from_parameters`` in :mod:`hlvm.theory`: "n_symbols" of every
            variable, and "rules", latent -> the tuples of each symbol under each synonym, int64 of shape (symbols, m,
            s). What is left out is uniform. All latents of a level hold one table, the same object.
        """
        root = self.graph.latents[0]
        tables = {level: np.asarray(table, dtype=np.int64) for level, table in self.rules.items()}
        n_symbols = {name: self.n_classes if name == root else self.n_symbols for name in self.graph.nodes}
        rules = {name: tables[int(name[1:].split("_")[0])] for name in self.graph.latents}
        return {"n_symbols": n_symbols, "rules": rules}

    # ------------------------------------------------------------------ strings

    def derive(
        self,
        key: Any,
        n: int,
        labels: Shaped[Array | np.ndarray, "..."] | None = None,
        *,
        do: Mapping[str, Any] | None = None,
    ) -> Derivation:
        """Draw strings with all their symbols.

        Compiled once per ``n``; may be called inside a jitted function.

        Args:
            key: a JAX key or an int. The same key gives the same choices under other labels and interventions, except
                those that these set.
            n: number of strings, at least 1.
            labels: classes, whole numbers of shape (n,); ``None`` draws them uniformly.
            do: latent -> (symbol, synonym) it is set to, shape (2,) or (n, 2). What is below follows, what is above
                stays. A symbol that the rule above does not give makes a string that does not belong to the grammar.

        Raises:
            ValueError: ``n`` below 1, labels or values of another shape, type or range, a name that is no latent, or
                labels as well as an intervention on the root.
        """
        positive(n, "n")
        key = checked_key(key)
        fixed = derivations.fixed_pairs(self.graph, self._shapes, self.n_values, do, n) if do else {}
        if labels is not None and self.n_levels in fixed:
            raise ValueError(f"labels and do[{self.graph.latents[0]!r}] both set the class: give one of them")
        drawn, synonyms = derivations.draw_choices(key, n, self.n_classes, self.n_synonyms, self._shapes[1:])
        classes = drawn if labels is None else whole_numbers(labels, "labels", (n,), self.n_classes)
        return derivations.produce(self.rules, self.tuple_shape, classes, synonyms, fixed)

    def produce(
        self,
        labels: Shaped[Array | np.ndarray, "..."],
        synonyms: Mapping[int, Shaped[Array | np.ndarray, "..."]],
    ) -> Derivation:
        """Write the strings of given classes and synonyms: what an intervention on these choices gives.

        Args:
            labels: classes, whole numbers of shape (n,).
            synonyms: level, 1 to L -> the choice at each node, whole numbers of shape (n, rows, columns) of the level.

        Raises:
            ValueError: another shape, type or range, or a level is missing.
        """
        classes = whole_numbers(labels, "labels", (None,), self.n_classes)
        if sorted(synonyms) != list(range(1, self.n_levels + 1)):
            raise ValueError(f"synonyms needs the levels 1 to {self.n_levels}, got {sorted(synonyms)}")
        checked: dict[int, Array] = {}
        for level, chosen in synonyms.items():
            shape = (len(classes), *self.level_shape(level))
            checked[level] = whole_numbers(chosen, f"synonyms[{level}]", shape, self.n_synonyms)
        return derivations.produce(self.rules, self.tuple_shape, classes, checked, {})

    def enumerate_strings(self, *, limit: int = 100_000) -> Derivation:
        """All strings of the grammar, class by class.

        Args:
            limit: refuse to write more strings than this.

        Raises:
            ValueError: there are more than ``limit``.
        """
        if self.n_strings > limit:
            exponent = self.graph.n_latents
            raise ValueError(
                f"the grammar has {self.n_classes} * {self.n_synonyms}^{exponent} strings "
                f"(about 10^{np.log10(self.n_classes) + exponent * np.log10(self.n_synonyms):.1f}), more than "
                f"limit={limit}: raise limit, draw some with derive, or take fewer levels or synonyms"
            )
        return self.produce(*derivations.all_choices(self.n_strings, self.n_synonyms, self._shapes[1:]))

    def parse(self, cells: Shaped[Array | np.ndarray, "..."]) -> Derivation:
        """Find every symbol and synonym behind strings, from the cells up. May be called inside a jitted function.

        Args:
            cells: whole numbers of shape (n, rows, columns). A number that is no symbol stands for an unknown cell.

        Returns:
            Symbols and synonyms; -1 where the tuple below is given by no rule, and at everything above. ``valid`` says
            which strings belong to the grammar. Unknown cells come back as -1 or v.

        Raises:
            ValueError: another shape or type.
        """
        array = whole_numbers(cells, "cells", (None, *self.level_shape(0)))
        return derivations.parse(self._index, self.tuple_shape, self.n_symbols, self.n_synonyms, array)

    @functools.cached_property
    def _index(self) -> dict[int, TupleIndex]:
        with jax.ensure_compile_time_eval():
            return {level: tuple_index(np.asarray(table), self.n_symbols) for level, table in self.rules.items()}

    def exchange_synonyms(
        self,
        key: Any,
        derivation: Derivation,
        level: int,
        nodes: Shaped[Array | np.ndarray, "..."] | None = None,
    ) -> Derivation:
        """Give nodes of one level another synonym, and write everything below anew.

        An exact counterfactual: the chosen nodes take another of their rules, uniformly among the m - 1 others, and no
        other choice changes. So all symbols of this level and above stay, the class included. The symbols below the
        chosen nodes become those that the same synonyms give under the new tuples. Exchanged strings have the
        distribution of the strings themselves.

        Args:
            key: a JAX key or an int.
            derivation: strings of this grammar.
            level: 1 to L, where the rules are exchanged; the symbols of level ``level - 1`` are the first to change.
            nodes: which nodes of the level, booleans of shape (rows, columns) of the level or (n, rows, columns);
                ``None``: all.

        Raises:
            ValueError: no such level, a single synonym, strings that do not follow the rules of this grammar, or
                ``nodes`` of another shape or type.

        References:
            :cite:t:`cagnetta2024rhm` ask whether representations of trained networks are invariant to such exchanges.
        """
        if not 1 <= level <= self.n_levels:
            raise ValueError(f"level must lie between 1 and {self.n_levels}, where rules are chosen, got {level}")
        if self.n_synonyms < 2:
            raise ValueError("the grammar has n_synonyms=1, so there is no other synonym: take at least 2")
        shape = (len(derivation), *self.level_shape(level))
        chosen = checked_nodes(nodes, shape)
        again = self.produce(derivation.labels, derivation.synonyms)
        if not isinstance(again.cells, jax.core.Tracer) and not np.array_equal(again.cells, derivation.cells):
            raise ValueError(
                "these strings do not follow the rules of this grammar: they are of another grammar, or were drawn "
                "with do. Take strings from derive without do, produce, enumerate_strings or parse"
            )
        after = derivations.other_synonyms(checked_key(key), again.synonyms[level], chosen, self.n_synonyms)
        return self.produce(derivation.labels, {**derivation.synonyms, level: after})
