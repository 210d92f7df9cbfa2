"""Production rules of a grammar: checked tables, and the way back from a tuple to what produced it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from hlvm._numbers import positive, whole_number
from hlvm.mechanisms.rule_tables import draw_tuples, numbered_tuples

__all__ = [
    "TupleIndex",
    "check_sizes",
    "checked_nodes",
    "checked_rules",
    "draw_grammar",
    "find",
    "refuse_too_many_tuples",
    "tuple_index",
    "whole_numbers",
]

_MOST_KEYS = 2**31 - 1
"""Keys of the index must fit 32 bits, and this number is none of them."""

_MOST_CELLS = 2**20


# ---------------------------------------------------------------------- checks


def check_sizes(n_symbols: int, tuple_size: int | tuple[int, ...], n_levels: int) -> tuple[int, int]:
    """Refuse sizes with which no grammar can be drawn, and return rows and columns of a tuple."""
    whole_number(n_symbols, "n_symbols", minimum=2)
    shape = tuple_size if isinstance(tuple_size, tuple) else (1, tuple_size)
    if len(shape) != 2:
        raise ValueError(f"tuple_size must be one number or (rows, columns), got {tuple_size!r}")
    rows, columns = (positive(side, "tuple_size") for side in shape)
    size = rows * columns
    if size < 2:
        raise ValueError("tuple_size must be at least 2 symbols: tuples of one symbol never grow into an image")
    if positive(n_levels, "n_levels") > _MOST_CELLS.bit_length() or size**n_levels > _MOST_CELLS:
        raise ValueError(
            f"{n_levels} levels of tuples of {size} symbols give images of {size}^{n_levels} cells, more than "
            f"{_MOST_CELLS}: take fewer levels or shorter tuples"
        )
    return rows, columns


def whole_numbers(
    values: Shaped[Array | np.ndarray, "..."], what: str, shape: tuple[int | None, ...], end: int | None = None
) -> Int[Array, "..."]:
    """The values as int32.

    Args:
        values: an array.
        what: its name, for the message.
        shape: the expected shape; ``None`` for a side that is free.
        end: values must lie between 0 and ``end - 1``; not checked while a function is being compiled.

    Raises:
        ValueError: another shape, type or range.
    """
    given = values.shape
    fits = len(given) == len(shape) and all(want in (None, got) for want, got in zip(shape, given, strict=True))
    if not fits or not jnp.issubdtype(values.dtype, jnp.integer):
        sides = "".join(f"{'n' if side is None else side}, " for side in shape)
        raise ValueError(
            f"{what} must be whole numbers of shape ({sides[: -1 if len(shape) == 1 else -2]}), got shape {given} and "
            f"type {values.dtype}"
        )
    if end is not None and not isinstance(values, jax.core.Tracer) and values.size:
        known = np.asarray(values)  # in NumPy nothing has to be compiled
        least, most = int(known.min()), int(known.max())
        if least < 0 or most >= end:
            raise ValueError(f"{what} must lie between 0 and {end - 1}, got values from {least} to {most}")
    held, limits = np.iinfo(values.dtype), np.iinfo(np.int32)
    if held.max > limits.max:  # what 32 bits cannot hold must not wrap around to a symbol
        values = values.clip(max(held.min, limits.min), limits.max)
    return jnp.asarray(values, dtype=jnp.int32)


def checked_nodes(
    nodes: Shaped[Array | np.ndarray, "..."] | None, shape: tuple[int, int, int]
) -> Bool[Array | np.ndarray, "..."]:
    """The nodes of a level that are meant: all, the same in each string, or some of each."""
    chosen = np.ones(shape, dtype=bool) if nodes is None else nodes
    if chosen.dtype != bool or chosen.shape not in (shape, shape[1:]):
        raise ValueError(
            f"nodes must be booleans of shape {shape[1:]} or {shape}, got shape {chosen.shape} and type {chosen.dtype}"
        )
    # Of one shape where that costs nothing, so that one compiled program serves any nodes.
    return np.broadcast_to(chosen, shape) if isinstance(chosen, np.ndarray) else chosen


def refuse_too_many_tuples(what: str, n_above: int, n_synonyms: int, n_symbols: int, tuple_size: int) -> None:
    """Refuse more rules than there are tuples, ``n_symbols**tuple_size``, or than an index of 32 bits can hold."""
    wanted, n_tuples = n_above * n_synonyms, n_symbols**tuple_size
    if wanted > n_tuples:
        most = n_tuples // n_above
        remedy = f"at most {most} synonyms, " if most else ""
        raise ValueError(
            f"{n_above} {what} with {n_synonyms} synonyms each need {wanted} different tuples, but there are only "
            f"{n_symbols}^{tuple_size} = {n_tuples}: take {remedy}more symbols or longer tuples"
        )
    if wanted * n_symbols > _MOST_KEYS:
        raise ValueError(
            f"{n_above} {what} with {n_synonyms} synonyms each over {n_symbols} symbols are too many rules for an "
            f"index of 32 bits ({wanted * n_symbols} > {_MOST_KEYS}): take fewer synonyms or symbols"
        )


def checked_rules(rules: Mapping[int, Any], n_symbols: int, tuple_size: int) -> dict[int, Int[np.ndarray, "_ _ _"]]:
    """Rule tables as int32 arrays, from level 1 up.

    Raises:
        ValueError: levels are missing, a table has another shape or type, or two rules give the same tuple.
    """
    if not rules or sorted(rules) != list(range(1, len(rules) + 1)):
        raise ValueError(f"rules needs one table for each level 1, 2, ... up to the classes, got levels {list(rules)}")
    tables = {level: np.asarray(rules[level]) for level in sorted(rules)}
    top = len(tables)
    n_synonyms = tables[top].shape[1] if tables[top].ndim == 3 else 0
    for level, table in tables.items():
        expected = f"({'n_classes' if level == top else n_symbols}, {n_synonyms or 'n_synonyms'}, {tuple_size})"
        right = table.ndim == 3 and table.shape[1:] == (n_synonyms, tuple_size) and table.size > 0
        if not right or (level < top and len(table) != n_symbols) or table.dtype.kind not in "iu":
            raise ValueError(
                f"rules[{level}] must be whole numbers of shape {expected}, got shape {table.shape} and type "
                f"{table.dtype}"
            )
        if table.min() < 0 or table.max() >= n_symbols:
            raise ValueError(
                f"rules[{level}] must hold symbols 0 to {n_symbols - 1}, got values from {table.min()} to {table.max()}"
            )
        refuse_too_many_tuples("classes" if level == top else "symbols", len(table), n_synonyms, n_symbols, tuple_size)
        _refuse_repeats(level, table, n_symbols)
    return {level: table.astype(np.int32) for level, table in tables.items()}


def _refuse_repeats(level: int, table: np.ndarray, n_symbols: int) -> None:
    tuples = table.reshape(-1, table.shape[-1])
    number = numbered_tuples(tuples, n_symbols)[1]
    distinct, first = np.unique(number, return_index=True)
    if len(distinct) < len(tuples):
        again = int(np.flatnonzero(first[number] != np.arange(len(tuples)))[0])
        once = int(first[number[again]])
        one, other = divmod(once, table.shape[1]), divmod(again, table.shape[1])
        raise ValueError(
            f"rules[{level}] gives the tuple {tuple(tuples[again].tolist())} twice, as synonym {one[1]} of {one[0]} "
            f"and synonym {other[1]} of {other[0]}: a string could not be parsed; make all tuples of a level different"
        )


# ---------------------------------------------------------------------- rules


def draw_grammar(
    key: PRNGKeyArray, *, n_symbols: int, n_classes: int, n_synonyms: int, n_levels: int, tuple_size: int
) -> dict[int, Int[np.ndarray, "_ _ _"]]:
    """Draw the rules of every level, 1 up to that of the classes; more than there are tuples are refused.

    Each level has its own stream of random numbers.
    """
    positive(n_classes, "n_classes")
    positive(n_synonyms, "n_synonyms")
    rules: dict[int, np.ndarray] = {}
    for level in range(1, n_levels + 1):
        n_above, what = (n_symbols, "symbols") if level < n_levels else (n_classes, "classes")
        refuse_too_many_tuples(what, n_above, n_synonyms, n_symbols, tuple_size)
        words = np.asarray(jax.random.key_data(key)).ravel().tolist()
        drawn = draw_tuples([*words, level], n_rules=n_above * n_synonyms, n_symbols=n_symbols, tuple_size=tuple_size)
        rules[level] = drawn.reshape(n_above, n_synonyms, tuple_size)
    return rules


class TupleIndex(NamedTuple):
    """From a tuple to the rule that produces it, one symbol of the tuple after the other.

    Attributes:
        keys: per place in the tuple, the keys that occur there, sorted, then padded to the number of rules; int32,
            (size, rules). A key is the number of the tuple's beginning, which is the position of its own key one place
            before, times the number of symbols, plus the symbol.
        rules: number of the rule, ``symbol * n_synonyms + synonym``, at the position of the last key, int32.
    """

    keys: Array
    rules: Array


def tuple_index(table: Int[np.ndarray, "above synonyms size"], n_symbols: int) -> TupleIndex:
    """Index the rules of one level."""
    found, place = numbered_tuples(table.reshape(-1, table.shape[-1]), n_symbols)
    keys = np.full((len(found), len(place)), _MOST_KEYS, dtype=np.int32)
    for row, some in zip(keys, found, strict=True):
        row[: len(some)] = some
    return TupleIndex(jnp.asarray(keys), jnp.asarray(np.argsort(place).astype(np.int32)))


def find(index: TupleIndex, tuples: Int[Array, "*nodes size"], n_symbols: int) -> Int[Array, "*nodes"]:
    """Number of the rule that produces each tuple, -1 where there is none."""
    inside = ((tuples >= 0) & (tuples < n_symbols)).all(axis=-1)

    def next_place(so_far: tuple[Array, Array], there: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (place, known), (keys, symbols) = so_far, there
        wanted = place * n_symbols + symbols
        place = jnp.minimum(jnp.searchsorted(keys, wanted).astype(jnp.int32), len(keys) - 1)
        return (place, known & (keys[place] == wanted)), None

    # As a loop, so that the search is compiled once.
    symbols = jnp.moveaxis(jnp.clip(tuples, 0, n_symbols - 1), -1, 0)
    (place, known), _ = jax.lax.scan(next_place, (jnp.zeros_like(symbols[0]), inside), (index.keys, symbols))
    return jnp.where(known, index.rules[place], -1)
