"""Sizes of a random hierarchy model: all that laws and thresholds ask of a grammar."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from hlvm._numbers import UsageError, positive, whole_number

__all__ = ["GrammarSizes", "SizedGrammar"]


class SizedGrammar(Protocol):
    """Anything with the sizes of a grammar, as a :class:`~hlvm.images.StringGrammar` or :class:`GrammarSizes`."""

    @property
    def n_symbols(self) -> int:
        """Symbols v of every level below the classes."""
        ...

    @property
    def n_classes(self) -> int:
        """Classes, the symbols of the root."""
        ...

    @property
    def n_synonyms(self) -> int:
        """Rules m of each symbol and class."""
        ...

    @property
    def n_levels(self) -> int:
        """Levels L above the leaves; the class is at height L."""
        ...

    @property
    def tuple_size(self) -> int:
        """Symbols s that a rule writes."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrammarSizes:
    """Sizes of a random hierarchy model, for which no grammar has to be drawn.

    Each class and each symbol has m rules, of s symbols of the level below. All tuples of a level are different, so
    that a tuple has one parent, and they are drawn uniformly without replacement.

    Attributes:
        n_symbols: v, at least 2.
        n_classes: symbols of the root, at least 1.
        n_synonyms: m, at least 1.
        n_levels: L, at least 1.
        tuple_size: s, at least 2.

    Raises:
        ValueError: a size out of range, or more rules in a level than there are tuples.

    References:
        :cite:t:`cagnetta2024rhm`.
    """

    n_symbols: int
    n_classes: int
    n_synonyms: int
    n_levels: int
    tuple_size: int

    def __post_init__(self) -> None:
        whole_number(self.n_symbols, "n_symbols", minimum=2)
        positive(self.n_classes, "n_classes")
        positive(self.n_synonyms, "n_synonyms")
        positive(self.n_levels, "n_levels")
        whole_number(self.tuple_size, "tuple_size", minimum=2)
        for height in {self.n_levels, 1}:
            rules = self.n_rules(height)
            if rules > self.n_tuples:
                raise UsageError(
                    f"must leave every tuple one parent: {rules} rules, but only {self.n_symbols}^{self.tuple_size} = "
                    f"{self.n_tuples} tuples",
                    argument="n_synonyms",
                    remedies={"fewer": "take fewer synonyms", "more": "more symbols", "longer": "longer tuples"},
                )

    @classmethod
    def of(cls, grammar: SizedGrammar) -> GrammarSizes:
        """The sizes of a grammar, checked.

        Raises:
            ValueError: something without these sizes, or sizes that no grammar has.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in names if not hasattr(grammar, name)]
        if missing:
            raise UsageError(
                f"must have {', '.join(names)}, got {type(grammar).__name__} without {', '.join(missing)}",
                argument="grammar",
                remedies={"sizes": "pass GrammarSizes(...)", "grammar": "a StringGrammar"},
            )
        return cls(**{name: getattr(grammar, name) for name in names})

    @property
    def n_tuples(self) -> int:
        """Tuples that there are, v^s."""
        return self.n_symbols**self.tuple_size

    def n_symbols_at(self, height: int) -> int:
        """Symbols of a height: v, and the classes at the root."""
        return self.n_classes if height == self.n_levels else self.n_symbols

    def n_rules(self, height: int) -> int:
        """Rules of all symbols of a height, 1 to L."""
        return self.n_symbols_at(height) * self.n_synonyms

    def checked_height(self, height: int, *, minimum: int = 1) -> int:
        """A height as an ``int``.

        Raises:
            ValueError: no whole number from ``minimum`` to L.
        """
        number = whole_number(height, "height", minimum=minimum)
        if number > self.n_levels:
            raise UsageError(
                f"must lie between {minimum} and {self.n_levels}, the height of the class, got {height!r}",
                argument="height",
            )
        return number
