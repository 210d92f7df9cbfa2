"""Probabilities of choices: checked, cut into thresholds, and carried down a tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hlvm._numbers import UsageError, as_numbers, whole_number

__all__ = [
    "checked_filter",
    "checked_leaf_noise",
    "checked_row",
    "checked_rule_probabilities",
    "copied_or_replaced",
    "marginals",
    "noise_channel",
    "pick",
    "thresholds",
]

_TOLERANCE = 1e-6
"""Distance that probabilities may have from adding up to one."""

_EXACT = 1e-12
"""Nearer than this they are kept as they are, so that a file gives back to the last bit what was saved."""

_MOST_NUMBERS = 2**24
"""In the laws of all nodes of the level a grammar is filtered at."""


def thresholds(probabilities: Float[np.ndarray, "*rows _"]) -> Float[np.ndarray, "*rows _"]:
    """Where the unit interval is cut into parts of these sizes. What has probability 0 has an empty part."""
    ends = np.cumsum(probabilities, axis=-1)
    return (ends / ends[..., -1:])[..., :-1].astype(np.float32)


def pick(numbers: Float[Array, "*nodes"], cuts: Float[Array, "..."]) -> Int[Array, "*nodes"]:
    """The part of the unit interval that each number lies in; cuts are common to all, or of each."""
    aligned = jnp.expand_dims(cuts, tuple(range(numbers.ndim + 1 - cuts.ndim)))
    return (numbers[..., None] >= aligned).sum(axis=-1, dtype="int32")


# ---------------------------------------------------------------------- checks


def checked_row(given: Any, what: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Probabilities of this shape as float64, whose rows add up to one.

    Raises:
        UsageError: another shape or type, a negative or infinite number, or a row that does not add up to one.
    """
    array = np.asarray(as_numbers(what, given), dtype=np.float64)
    if array.shape not in (shape, shape[-1:]):
        expected = f"({shape[0]},)" if len(shape) == 1 else f"{shape} or {shape[-1:]}"
        raise UsageError(f"must be probabilities of shape {expected}, got shape {array.shape}", argument=what)
    if not np.isfinite(array).all() or (array < 0).any():
        wrong = array[~(np.isfinite(array) & (array >= 0))][0]
        raise UsageError(f"must be probabilities from 0 to 1, got {wrong:g}", argument=what)
    sums = array.sum(axis=-1, keepdims=True)
    if (np.abs(sums - 1) > _TOLERANCE).any():
        worst = sums.ravel()[np.abs(sums - 1).argmax()]
        raise UsageError(f"must add up to 1 in each row, got a sum of {worst:g}: divide by the sum", argument=what)
    array = np.where(np.abs(sums - 1) > _EXACT, array / sums, array)
    return np.broadcast_to(array, shape).copy()


def checked_rule_probabilities(given: Any, shapes: Mapping[int, tuple[int, int]]) -> dict[int, np.ndarray] | None:
    """Level -> probabilities of each symbol's rules, (symbols, m), of the levels that were given any.

    Args:
        given: level -> (symbols, m) or (m,); or one row (m,) for all levels; ``None``.
        shapes: level -> numbers of symbols and of rules.

    Raises:
        UsageError: no such level, or see :func:`checked_row`.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        row = checked_row(given, "rule_probabilities", (next(iter(shapes.values()))[1],))
        given = dict.fromkeys(shapes, row)
    unknown = [level for level in given if level not in shapes]
    if unknown:
        raise UsageError(
            f"needs levels from 1 to {max(shapes)}, where rules are chosen, got {unknown[0]!r}",
            argument="rule_probabilities",
        )
    found = {level: checked_row(given[level], f"rule_probabilities[{level}]", shapes[level]) for level in sorted(given)}
    return found or None


def checked_leaf_noise(value: Any) -> float:
    """The share of cells that are replaced, from 0 to 1."""
    number = as_numbers("leaf_noise", value)
    if number.shape != () or number.dtype.kind not in "iuf" or not 0 <= number <= 1:
        raise UsageError(f"must be a probability from 0 to 1, got {value!r}", argument="leaf_noise")
    return float(number)


def checked_filter(value: Any, rules: Mapping[int, Any], n_symbols: int) -> int | None:
    """The level whose nodes are independent given the class, 0 to L - 1; ``None``: no filter.

    Raises:
        UsageError: no such level, or so low that the laws of its nodes would not fit into memory.
    """
    if value is None:
        return None
    top, (n_classes, _, size) = len(rules), rules[len(rules)].shape
    level = whole_number(value, "filtered_at", minimum=0)
    if level >= top:
        raise UsageError(
            f"must be a level below the class, 0 to {top - 1}, got {level}",
            argument="filtered_at",
            remedies={"filter": "use None for no filter"},
        )
    nodes = size ** (top - level)
    if nodes * n_classes * n_symbols > _MOST_NUMBERS:
        raise UsageError(
            f"is {level}, a level of {nodes} nodes, each with a law of {n_symbols} symbols for {n_classes} classes: "
            f"more than {_MOST_NUMBERS} numbers; filter at a higher level",
            argument="filtered_at",
        )
    return level


# ---------------------------------------------------------------------- laws that follow


def copied_or_replaced(leaf_noise: float, n_symbols: int) -> Float[np.ndarray, " n"]:
    """Probabilities that a cell is kept, and that it is replaced by each of the symbols, (1 + v,)."""
    return np.array([1 - leaf_noise, *[leaf_noise / n_symbols] * n_symbols])


def noise_channel(leaf_noise: float, n_symbols: int) -> Float[np.ndarray, "symbols symbols"]:
    """Probability of each shown symbol given the one that was written."""
    kept, *replaced = copied_or_replaced(leaf_noise, n_symbols)
    return kept * np.eye(n_symbols) + np.array(replaced)


def marginals(
    rules: Mapping[int, Int[np.ndarray, "_ _ _"]],
    probabilities: Mapping[int, Float[np.ndarray, "_ _"]],
    tuple_shape: tuple[int, int],
    n_symbols: int,
    level: int,
) -> Float[np.ndarray, "rows columns classes symbols"]:
    """Law of the symbol at each node of a level given the class."""
    top = len(rules)
    n_classes, m, size = rules[top].shape
    tall, wide = tuple_shape
    law = np.eye(n_classes)[None, None]
    for above in range(top, level, -1):
        table = rules[above]
        weights = probabilities.get(above, np.full(table.shape[:2], 1 / m))
        rows, columns = law.shape[:2]
        below = np.zeros((rows * tall, columns * wide, n_classes, n_symbols))
        for place in range(size):
            step = np.zeros((len(table), n_symbols))
            np.add.at(step, (np.arange(len(table))[:, None], table[..., place]), weights)
            below[place // wide :: tall, place % wide :: wide] = law @ step
        law = below
    return law
