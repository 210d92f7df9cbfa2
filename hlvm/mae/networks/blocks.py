"""Parts of transformers: positions, blocks that attend to themselves or to a context, and stacks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from hlvm.mae.networks.layers import Dense, LayerNorm, attend, attention_weights
from hlvm.mae.networks.tokens import Tokens

__all__ = ["MOST_UNROLLED", "Block", "CrossBlock", "Kept", "Positions", "per_token", "sine_cosine_positions", "stack"]

Kept: TypeAlias = Literal["", "attention", "tokens", "perceptron"]

MOST_UNROLLED = 4
"""Most blocks that are written out one after the other rather than scanned."""


def sine_cosine_positions(rows: int, columns: int, width: int) -> np.ndarray:
    """Fixed two-dimensional positions: a quarter each for sine and cosine of row and column.

    Args:
        rows: token rows.
        columns: token columns.
        width: embedding size, a multiple of 4.

    Returns:
        Array (rows * columns, width), row by row, values in [-1, 1].
    """
    frequencies = 1.0 / 10_000 ** (np.arange(width // 4) / (width // 4))
    row, column = np.divmod(np.arange(rows * columns), columns)
    angles = [np.outer(place, frequencies) for place in (row, column)]
    return np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


_INITIAL_POSITIONS = nn.initializers.normal(2**-0.5)  # as long as sine-cosine positions; 0.02 learns more slowly


class Positions(nn.Module):
    """Positions of all tokens, (tokens, width): fixed ones on a grid, a parameter where there is none.

    Attributes:
        layout: how observed variables are cut into tokens.
        width: embedding size.
    """

    layout: Tokens
    width: int

    @nn.compact
    def __call__(self) -> Float[Array, "tokens w"]:
        """The positions, row by row or in the order of the observed variables."""
        if self.layout.grid is None:
            return self.param("embedding", _INITIAL_POSITIONS, (self.layout.n_tokens, self.width))
        return jnp.asarray(sine_cosine_positions(*self.layout.sides, self.width))


class Block(nn.Module):
    """A pre-norm transformer block.

    Attributes:
        width: embedding size.
        heads: attention heads.
        mlp_ratio: hidden units of the perceptron over the width.
        keep: the second result: ``"attention"``, (n, heads, t, t); ``"tokens"``, the first result once more;
            ``"perceptron"``, its output before it is added, (n, t, width); or ``""`` for ``None``.
    """

    width: int
    heads: int
    mlp_ratio: int
    keep: Kept = ""

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "n t w"], present: Bool[Array, "n t"] | None = None
    ) -> tuple[Float[Array, "n t w"], Float[Array, "n ..."] | None]:
        """Attend to the tokens that are present (all, if ``None``), then transform every token."""
        n, t, _ = tokens.shape
        head = self.width // self.heads
        rows = tokens.reshape(n * t, self.width)
        normed = LayerNorm(name="LayerNorm_0")(rows)
        qkv = Dense((self.heads, 3 * head), name="DenseGeneral_0")(normed)
        by_head = jnp.swapaxes(qkv.reshape(n, t, self.heads, 3 * head), 1, 2)
        query, key, value = jnp.split(by_head, 3, axis=-1)
        mixed = jnp.transpose(attend(query, key, value, present), (0, 3, 1, 2)).reshape(n * t, self.heads, head)
        rows = rows + Dense((self.width,), name="DenseGeneral_1")(mixed)
        normed = LayerNorm(name="LayerNorm_1")(rows)
        hidden = Dense((self.mlp_ratio * self.width,), name="Dense_0")(normed)
        grown = Dense((self.width,), name="Dense_1")(_gelu(hidden))
        rows = (rows + grown).reshape(n, t, self.width)
        if self.keep == "attention":
            return rows, attention_weights(query, key, present)
        kept = {"tokens": rows, "perceptron": grown.reshape(n, t, self.width)}
        return rows, kept.get(self.keep)


class CrossBlock(nn.Module):
    """A pre-norm block whose tokens attend to a context, and not to each other.

    Attributes:
        width: embedding size of tokens and context.
        heads: attention heads.
        mlp_ratio: hidden units of the perceptron over the width.
    """

    width: int
    heads: int
    mlp_ratio: int

    @nn.compact
    def __call__(
        self,
        tokens: Float[Array, "n t w"],
        context: Float[Array, "n c w"],
        present: Bool[Array, "n c"] | None = None,
    ) -> Float[Array, "n t w"]:
        """Attend to what is present of the context (all, if ``None``), then transform every token."""
        n, t, _ = tokens.shape
        head = self.width // self.heads
        rows = tokens.reshape(n * t, self.width)

        def by_head(flat: Float[Array, "rows h d"], length: int) -> Float[Array, "n h length d"]:
            return jnp.swapaxes(flat.reshape(n, length, self.heads, flat.shape[-1]), 1, 2)

        asked = Dense((self.heads, head), name="query")(LayerNorm(name="norm_tokens")(rows))
        known = LayerNorm(name="norm_context")(context.reshape(-1, self.width))
        key, value = jnp.split(
            by_head(Dense((self.heads, 2 * head), name="key_value")(known), context.shape[1]), 2, axis=-1
        )
        mixed = jnp.transpose(attend(by_head(asked, t), key, value, present), (0, 3, 1, 2))
        rows = rows + Dense((self.width,), name="mix")(mixed.reshape(n * t, self.heads, head))
        hidden = Dense((self.mlp_ratio * self.width,), name="grow")(LayerNorm(name="norm_mixed")(rows))
        rows = rows + Dense((self.width,), name="shrink")(_gelu(hidden))
        return rows.reshape(n, t, self.width)


def _gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The usual approximation ``x (1 + tanh(u)) / 2`` of the Gaussian error linear unit, as ``x sigmoid(2 u)``."""
    return x * jax.nn.sigmoid(2.0 * (2.0 / np.pi) ** 0.5 * (x + 0.044715 * x**3))


def per_token(layer: Callable[[Array], Array], tokens: Float[Array, "n t i"]) -> Float[Array, "n t o"]:
    """Apply a layer of rows to every token."""
    n, t, width = tokens.shape
    rows = layer(tokens.reshape(n * t, width))
    return rows.reshape(n, t, rows.shape[-1])


def stack(depth: int, name: str, *, unrolled: bool, **block: Any) -> nn.Module:
    """So many blocks one after the other, scanned where they are many."""
    broadcast: Any = nn.broadcast
    scanned = nn.scan(
        Block,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        in_axes=broadcast,
        length=depth,
        unroll=depth if unrolled or depth <= MOST_UNROLLED else 1,
    )
    return scanned(name=name, **block)
