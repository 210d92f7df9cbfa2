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
from hlvm._numbers import UsageError, positive
from hlvm.graph import LatentGraph
from hlvm.images.grammar import derivations, probabilities
from hlvm.images.grammar.derivations import Choices, Derivation
from hlvm.images.grammar.law import GrammarLaw
from hlvm.images.grammar.rules import TupleIndex, check_sizes, checked_nodes, checked_rules, tuple_index, whole_numbers

__all__ = ["StringGrammar"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StringGrammar:
    """A grammar with known rules, whose strings fill grids; :class:`~hlvm.images.GrammarImages` also draws them.

    Every string that the rules write has exactly one class and one way to be produced. All have the same probability,
    ``1 / n_strings``, unless probabilities are given.

    Attributes:
        rules: level, 1 to L -> table of tuples, int32 of shape (symbols of the level, m, s): what each symbol is
            replaced by under each synonym, row by row of the block. Level L has one row per class, the others
            ``n_symbols`` rows.
        n_symbols: number of symbols v of every level below the classes.
        tuple_shape: rows and columns of a tuple; (1, s) writes strips.
        rule_probabilities: level -> probabilities of the rules of each symbol, (symbols of the level, m), or one row
            (m,) for all its symbols; or one row for all levels. Zeros are allowed. ``None``, and levels left out:
            uniform. Kept as float64 arrays (symbols, m) by level.
        class_probabilities: of the classes, (n_classes,); ``None``: uniform.
        leaf_noise: probability that a cell is replaced by a symbol drawn uniformly from all v, so that it shows another
            symbol than the written one with probability ``leaf_noise * (v - 1) / v``.
        filtered_at: a level, 0 to L - 1, whose symbols are drawn independently given the class, each with the law that
            it has at its node without the filter. So correlations beyond what is below one node of this level go
            through the class alone. The latents between are gone, what is below stays. ``None``: no filter.

    Raises:
        ValueError: a size out of range, a table of another shape or type, two rules of a level with one tuple, or
            probabilities that do not add up.

    References:
        Power laws of rules: :cite:t:`cagnetta2025powerlaw`, see :func:`~hlvm.mechanisms.zipf`. Filters:
        :cite:t:`garnierbrun2025filtering`, who count levels from the class down.
    """

    rules: Mapping[int, Shaped[Array | np.ndarray, "..."]]
    n_symbols: int
    tuple_shape: tuple[int, int] = (2, 2)
    rule_probabilities: Any = None
    class_probabilities: Any = None
    leaf_noise: float | int = 0.0
    filtered_at: int | None = None

    def __post_init__(self) -> None:
        check_sizes(self.n_symbols, self.tuple_shape, max(len(self.rules), 1))
        with jax.ensure_compile_time_eval():
            checked = checked_rules(self.rules, self.n_symbols, self.tuple_size)
            object.__setattr__(self, "rules", {level: jnp.asarray(table) for level, table in checked.items()})
        shapes = {level: table.shape[:2] for level, table in checked.items()}
        given = probabilities.checked_rule_probabilities(self.rule_probabilities, shapes)
        object.__setattr__(self, "rule_probabilities", given)
        if self.class_probabilities is not None:
            row = probabilities.checked_row(self.class_probabilities, "class_probabilities", (self.n_classes,))
            object.__setattr__(self, "class_probabilities", row)
        object.__setattr__(self, "leaf_noise", probabilities.checked_leaf_noise(self.leaf_noise))
        level = probabilities.checked_filter(self.filtered_at, checked, self.n_symbols)
        object.__setattr__(self, "filtered_at", level)

    def __repr__(self) -> str:
        return f"StringGrammar({self._settings})"

    @property
    def _settings(self) -> str:
        """Sizes, and what makes the grammar different from a uniform one."""
        shown = (
            f"n_symbols={self.n_symbols}, n_classes={self.n_classes}, n_synonyms={self.n_synonyms}, "
            f"n_levels={self.n_levels}, tuple_size={self.tuple_shape}"
        )
        if self.rule_probabilities is not None:
            shown += f", rule_probabilities of level {', '.join(map(str, self.rule_probabilities))}"
        if self.class_probabilities is not None:
            shown += f", class_probabilities={self.class_probabilities.tolist()}"
        if self.leaf_noise:
            shown += f", leaf_noise={self.leaf_noise}"
        return shown if self.filtered_at is None else f"{shown}, filtered_at={self.filtered_at}"

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
        """Number of strings of one class, m^((s^L - 1)/(s - 1)), exactly. The exponent is the number of latents.

        As :attr:`n_strings`, it counts what the rules write, whatever their probabilities, before noise.

        Raises:
            ValueError: the grammar is filtered: its strings have no one class.
        """
        self._refuse_filter("strings are counted class by class")
        return self.n_synonyms ** ((self.tuple_size**self.n_levels - 1) // (self.tuple_size - 1))

    @property
    def n_strings(self) -> int:
        """Number of strings that the rules write, exactly; all are different. Without probabilities equally likely.

        Raises:
            ValueError: the grammar is filtered.
        """
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
    def _shapes(self) -> dict[int, tuple[int, int]]:
        """Level -> rows and columns, of the levels that the grammar has nodes at, from the cells up."""
        return {level: self.level_shape(level) for level in (0, *self._law.choosing, self.n_levels)}

    @property
    def unreachable(self) -> dict[int, tuple[int, ...]]:
        """Level -> symbols (at level L: classes) that never occur, of the levels that have some.

        No rule of positive probability writes them, below any class of positive probability; or, among the cells, no
        noise shows them either. A symbol that never occurs is allowed, but no statement about it can be right or wrong.
        """
        return self._law.unreachable

    @functools.cached_property
    def _law(self) -> GrammarLaw:
        return GrammarLaw(
            rules={level: np.asarray(table, dtype=np.int64) for level, table in self.rules.items()},
            n_symbols=self.n_symbols,
            tuple_shape=self.tuple_shape,
            rule_probabilities=self.rule_probabilities or {},
            class_probabilities=self.class_probabilities,
            leaf_noise=self.leaf_noise,
            filtered_at=self.filtered_at,
        )

    def _refuse_filter(self, why: str) -> None:
        if self.filtered_at is not None:
            raise UsageError(
                f"the grammar is filtered at level {self.filtered_at}, and {why}: use "
                f"dataclasses.replace(grammar, filtered_at=None)"
            )

    # ------------------------------------------------------------------ graph

    @functools.cached_property
    def graph(self) -> LatentGraph:
        """The tree of latents ``z{level}_{row}_{column}`` over cells ``x_{row}_{column}``.

        A latent has 2 dims, (symbol, synonym), of which the synonym is its noise; the root, (class, synonym), is all
        noise. A cell has 1 dim, its symbol, and no noise, or with ``leaf_noise`` one.

        Where the grammar is filtered, the root is (class, 0), and each node of that level is its child, all of whose
        numbers are noise.
        """
        filtered = self.filtered_at is not None
        return derivations.grammar_graph(self._shapes, filtered=filtered, leaf_noise=self.leaf_noise > 0)

    @property
    def n_values(self) -> Mapping[str, tuple[int, int]]:
        """Latent -> numbers of symbols, which at the root are classes, and of synonyms."""
        root, *others = self.graph.latents
        choices = self.n_synonyms if self.filtered_at is None else 1
        return {root: (self.n_classes, choices), **dict.fromkeys(others, (self.n_symbols, self.n_synonyms))}

    @property
    def invertible(self) -> bool:
        """Tell whether every single child reveals its parent's symbol and synonym.

        True when no table has a symbol twice in any column. That takes as many symbols as rules: with two levels or
        more it is false as soon as there are synonyms. A latent is then a function of its whole tuple, but not of one
        child, and the invertible regime of the theory does not apply. Where it is true the values are still
        categories, not real numbers. It is false under a filter and with noise.
        """
        return (
            not self.leaf_noise
            and self.filtered_at is None
            and all(
                len(np.unique(column)) == len(column)
                for table in self.rules.values()
                for column in np.asarray(table).reshape(-1, self.tuple_size).T
            )
        )

    def discrete_tree_parameters(self) -> dict[str, Any]:
        """The grammar as tables by name of variable, for exact inference. Samples are drawn by these tables.

        Returns:
            The keyword arguments of ``GrammarOracle.from_parameters`` in :mod:`hlvm.theory`: "n_symbols" of every
            variable; "rules", latent -> the tuples of each symbol under each synonym, int64 of shape (symbols, m, s);
            "probabilities", latent -> those of its synonyms, (symbols, m); "priors" of the root; "channels", variable
            -> from the symbol that is written to the one that it takes: under a filter the root writes its class for
            every child. What is left out is uniform or takes what is written. Latents of a level hold the same object.
        """
        return self._law.parameters(self.graph)

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
            labels: classes, whole numbers of shape (n,); ``None`` draws them.
            do: latent -> (symbol, synonym) it is set to, shape (2,) or (n, 2). What is below follows, what is above
                stays. A symbol that the rule above does not give makes a string that does not belong to the grammar.
                Noise keeps what it replaced. A symbol that changes and has other probabilities picks its rule by the
                same random number.

        Raises:
            ValueError: ``n`` below 1, labels or values of another shape, type or range, a name that is no latent, or
                labels as well as an intervention on the root.
        """
        positive(n, "n")
        key = checked_key(key)
        fixed = derivations.fixed_pairs(self.graph, self._shapes, self.n_values, do, n) if do else {}
        if labels is not None and self.n_levels in fixed:
            raise ValueError(f"labels and do[{self.graph.latents[0]!r}] both set the class: give one of them")
        shapes = tuple(self._shapes[level] for level in (0, *self._law.choosing))
        drawn = derivations.draw_choices(key, n, self.n_classes, self.n_synonyms, shapes, self._law.thresholds)
        if labels is not None:
            drawn = drawn._replace(labels=whole_numbers(labels, "labels", (n,), self.n_classes))
        return derivations.produce(self.rules, self.tuple_shape, drawn, fixed, self._law.thresholds)

    def produce(
        self,
        labels: Shaped[Array | np.ndarray, "..."],
        synonyms: Mapping[int, Shaped[Array | np.ndarray, "..."]],
    ) -> Derivation:
        """Write the strings of given classes and synonyms: what an intervention on these choices gives, before noise.

        Args:
            labels: classes, whole numbers of shape (n,).
            synonyms: level, 1 to L -> the choice at each node, whole numbers of shape (n, rows, columns) of the level.

        Raises:
            ValueError: another shape, type or range, a level is missing, or the grammar is filtered.
        """
        self._refuse_filter("class and synonyms do not say all its symbols")
        classes = whole_numbers(labels, "labels", (None,), self.n_classes)
        if sorted(synonyms) != list(range(1, self.n_levels + 1)):
            raise ValueError(f"synonyms needs the levels 1 to {self.n_levels}, got {sorted(synonyms)}")
        checked: dict[int, Array] = {}
        for level, chosen in synonyms.items():
            shape = (len(classes), *self.level_shape(level))
            checked[level] = whole_numbers(chosen, f"synonyms[{level}]", shape, self.n_synonyms)
        return derivations.produce(self.rules, self.tuple_shape, Choices(classes, checked), {}, self._law.thresholds)

    def enumerate_strings(self, *, limit: int = 100_000) -> Derivation:
        """All strings that the rules write, class by class, whatever their probabilities, before noise.

        Args:
            limit: refuse to write more strings than this.

        Raises:
            ValueError: there are more than ``limit``, or the grammar is filtered.
        """
        if self.n_strings > limit:
            exponent = self.graph.n_latents
            raise ValueError(
                f"the grammar has {self.n_classes} * {self.n_synonyms}^{exponent} strings "
                f"(about 10^{np.log10(self.n_classes) + exponent * np.log10(self.n_synonyms):.1f}), more than "
                f"limit={limit}: raise limit, draw some with derive, or take fewer levels or synonyms"
            )
        shapes = [self._shapes[level] for level in self._law.choosing]
        return self.produce(*derivations.all_choices(self.n_strings, self.n_synonyms, shapes))

    def parse(self, cells: Shaped[Array | np.ndarray, "..."]) -> Derivation:
        """Find every symbol and synonym behind strings, from the cells up. May be called inside a jitted function.

        By the rules alone: cells count as they were written, so most strings with noise are none of the grammar.

        Args:
            cells: whole numbers of shape (n, rows, columns). A number that is no symbol stands for an unknown cell.

        Returns:
            Symbols and synonyms; -1 where the tuple below is given by no rule, and at everything above. ``valid`` says
            which strings belong to the grammar. Unknown cells come back as -1 or v.

        Raises:
            ValueError: another shape or type, or the grammar is filtered, so that no class can be found.
        """
        self._refuse_filter("a string does not show its class")
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

        An exact counterfactual: the chosen nodes take another of their rules, and no other choice changes. So all
        symbols of this level and above stay, the class included. The symbols below the chosen nodes become those that
        the same synonyms give under the new tuples. Cells that noise replaced keep what it put there.

        The other rule is drawn uniformly among the m - 1 others; exchanged strings of a uniform grammar have the
        distribution of the strings themselves. At a level with probabilities it is drawn by these, without the rule
        that there was; a node that has no other rule keeps its own, and nodes below keep theirs even if their new
        symbols would not take them. The distribution is then another one.

        Args:
            key: a JAX key or an int.
            derivation: strings of this grammar.
            level: 1 to L, or to the level of a filter, where the rules are exchanged; the symbols of level
                ``level - 1`` are the first to change.
            nodes: which nodes of the level, booleans of shape (rows, columns) of the level or (n, rows, columns);
                ``None``: all.

        Raises:
            ValueError: no such level, a single synonym, strings that do not follow the rules of this grammar, or
                ``nodes`` of another shape or type.

        References:
            :cite:t:`cagnetta2024rhm` ask whether representations of trained networks are invariant to such exchanges.
        """
        if level not in self._law.choosing:
            highest = max(self._law.choosing, default=0)
            lies = f"lie between 1 and {highest}" if highest else "exist"
            raise ValueError(f"level must {lies}, where rules are chosen, got {level}")
        if self.n_synonyms < 2:
            raise ValueError("the grammar has n_synonyms=1, so there is no other synonym: take at least 2")
        shape = (len(derivation), *self.level_shape(level))
        chosen = checked_nodes(nodes, shape)
        ends = {**dict.fromkeys(range(self.n_levels), self.n_symbols), self.n_levels: self.n_classes}
        given = derivations.choices_of(derivation, self._shapes, self.filtered_at, ends, self.n_synonyms)
        again = derivations.produce(self.rules, self.tuple_shape, given, {}, self._law.thresholds)
        if not isinstance(again.cells, jax.core.Tracer) and not np.array_equal(again.cells, derivation.cells):
            raise ValueError(
                "these strings do not follow the rules of this grammar: they are of another grammar, or were drawn "
                "with do. Take strings from derive without do, produce, enumerate_strings or parse"
            )
        table = self._law.rule_probabilities.get(level)
        weights = None if table is None else jnp.asarray(table, dtype=jnp.float32)[again.symbols[level]]
        after = derivations.other_synonyms(checked_key(key), again.synonyms[level], chosen, self.n_synonyms, weights)
        exchanged = given._replace(synonyms={**given.synonyms, level: after})
        return derivations.produce(self.rules, self.tuple_shape, exchanged, {}, self._law.thresholds)
