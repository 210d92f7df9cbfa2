"""Random tables of production rules: tuples of symbols, the same for a key everywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

__all__ = ["draw_tuples", "numbered_tuples"]

_FEW_TUPLES = 2**16
"""With at most so many tuples in all, all of them are put in a random order and the first ones taken."""

_CROWDED = 4
"""The same when more than one tuple in so many is needed: drawing until enough differ would take long."""


def draw_tuples(
    seed: Sequence[int], *, n_rules: int, n_symbols: int, tuple_size: int, distinct: bool = True
) -> Int[np.ndarray, "rules size"]:
    """Draw tuples uniformly from all ``n_symbols**tuple_size``.

    The draw uses raw 64-bit numbers of NumPy's PCG64, so a seed gives the same tuples with every version and on every
    platform. Their remainders are uniform up to a relative error of ``n_symbols / 2**64``.

    Args:
        seed: whole numbers from 0.
        n_rules: how many tuples; at most as many as there are, where they are to be distinct.
        n_symbols: symbols that tuples are made of.
        tuple_size: their length.
        distinct: without replacement, so that all tuples are different; else independent of each other.

    Returns:
        The tuples, int32.
    """
    bits = np.random.PCG64(np.random.SeedSequence(list(seed)))
    n_tuples = n_symbols**tuple_size
    if not distinct:
        tuples = bits.random_raw(n_rules * tuple_size).reshape(n_rules, tuple_size) % np.uint64(n_symbols)
    elif n_tuples <= max(_FEW_TUPLES, _CROWDED * n_rules):
        codes = np.argsort(bits.random_raw(n_tuples), kind="stable")[:n_rules]
        tuples = np.stack(np.unravel_index(codes, (n_symbols,) * tuple_size), axis=-1)
    else:
        tuples = np.zeros((0, tuple_size), dtype=np.uint64)
        while len(tuples) < n_rules:
            # The first occurrences among independent uniform draws, in their order, are draws without replacement.
            raw = bits.random_raw((n_rules - len(tuples) + 8) * tuple_size).reshape(-1, tuple_size)
            tuples = np.concatenate([tuples, raw % np.uint64(n_symbols)])
            _, first = np.unique(numbered_tuples(tuples, n_symbols)[1], return_index=True)
            tuples = tuples[np.sort(first)]
        tuples = tuples[:n_rules]
    return tuples.astype(np.int32)


def numbered_tuples(tuples: np.ndarray, n_symbols: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Keys per place, and a number per tuple that tells different tuples apart.

    A key is the number of the tuple's beginning, which is the position of its own key one place before, times the
    number of symbols, plus the symbol.
    """
    beginning = np.zeros(len(tuples), dtype=np.int64)
    keys: list[np.ndarray] = []
    for symbols in tuples.astype(np.int64).T:
        found, beginning = np.unique(beginning * n_symbols + symbols, return_inverse=True)
        keys.append(found)
    return keys, beginning
