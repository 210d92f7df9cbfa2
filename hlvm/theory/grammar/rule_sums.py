"""Sums over rules: from weights of the children's symbols to those of the symbols above them, and the way back.

The rules are the same for all strings. So both directions are sums of products of whole rows of numbers, one number for
each string, and nothing is scattered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["rule_sums"]

_UNROLLED = 8
"""Products that are added up before a sum is written to memory."""


class _Terms(NamedTuple):
    """Products that each row of a result adds up, in blocks.

    Attributes:
        places: shape (blocks, rows, terms, factors), the row of each factor in its source.
        weights: shape (blocks, nodes or 1, rows, terms); 0 where a row has fewer terms than the others.
    """

    places: Any
    weights: Any


def rule_sums(
    rules: Int[np.ndarray, "v m s"], chances: Float[np.ndarray, "k v m"], n: int
) -> Callable[[Float[Array, "k n b"]], Float[Array, "k v b"]]:
    """Make the function ``x -> sum over m of chances[m] * product over s of x[rules[m, s]]``.

    Args:
        rules: rows of ``x`` that each rule of each symbol multiplies.
        chances: probabilities of the rules, of each node or of all (k = 1).
        n: rows of ``x``.

    Returns:
        The function, of nodes and strings at once. Its gradient is a sum of the same kind.
    """
    symbols, choices = np.nonzero((chances > 0).any(axis=0))
    factors, weights = rules[symbols, choices], chances[:, symbols, choices]
    up = _terms(symbols, factors, weights, rows=rules.shape[0])
    others = [np.column_stack([symbols, np.delete(factors, slot, axis=1)]) for slot in range(factors.shape[1])]
    down = _terms(factors.T.reshape(-1), np.concatenate(others), np.tile(weights, len(others)), rows=n)

    @jax.custom_vjp
    def sums(x: Array) -> Array:
        return _add_up(up, [x] * factors.shape[1])

    def forward(x: Array) -> tuple[Array, Array]:
        return sums(x), x

    def backward(x: Array, towards: Array) -> tuple[Array]:
        return (_add_up(down, [towards, *[x] * (factors.shape[1] - 1)]),)

    sums.defvjp(forward, backward)
    return sums


def _terms(
    to: Int[np.ndarray, " t"], places: Int[np.ndarray, "t f"], weights: Float[np.ndarray, "k t"], rows: int
) -> _Terms:
    """Sort products by the row that they are added to."""
    order = np.argsort(to, kind="stable")
    row = to[order]
    column = np.arange(len(row)) - np.searchsorted(row, row)
    most = int(column.max()) + 1
    # Two blocks at least: without a loop XLA would compute the sums below anew for each sum that reads them.
    blocks = min(most, max(2, -(-most // _UNROLLED)))
    width = -(-most // blocks)
    all_places = np.zeros((rows, blocks * width, places.shape[1]), dtype=np.int32)
    all_weights = np.zeros((len(weights), rows, blocks * width))
    all_places[row, column] = places[order]
    all_weights[:, row, column] = weights[:, order]
    return _Terms(
        np.moveaxis(all_places.reshape(rows, blocks, width, -1), 1, 0),
        np.moveaxis(all_weights.reshape(-1, rows, blocks, width), 2, 0),
    )


def _add_up(terms: _Terms, sources: list[Array]) -> Array:
    """Sums of products of rows, one factor from each source."""
    some = sources[0]

    def add(total: Array, block: _Terms) -> tuple[Array, None]:
        for t in range(block.places.shape[1]):
            product = block.weights[:, :, t, None]
            for f, source in enumerate(sources):
                product = product * jnp.take(source, block.places[:, t, f], axis=1, mode="clip")
            total = total + product
        return total, None

    start = jnp.zeros((len(some), terms.places.shape[1], some.shape[-1]), dtype=some.dtype)
    blocks = _Terms(jnp.asarray(terms.places), jnp.asarray(terms.weights, dtype=some.dtype))
    return jax.lax.scan(add, start, blocks)[0]
