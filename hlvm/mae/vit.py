"""The vision-transformer masked autoencoder.

Architecture of :cite:t:`he2022mae`: the encoder sees visible tokens only, the lighter decoder sees their codes and a
learned mask token at every hidden place, both with fixed two-dimensional sine-cosine positions. Blocks are scanned, so
that compile time does not grow with depth, and attention is written out, which is the faster form on a CPU.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["ViTMAE", "sine_cosine_positions"]


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


class Block(nn.Module):
    """A pre-norm transformer block."""

    width: int
    heads: int
    mlp_ratio: int

    @nn.compact
    def __call__(self, tokens: Float[Array, "n t w"], _: None = None) -> tuple[Float[Array, "n t w"], None]:
        """Attend, then transform every token; the second result is what a scan wants."""
        normed = nn.LayerNorm()(tokens)
        query, key, value = jnp.split(nn.DenseGeneral((self.heads, 3 * (self.width // self.heads)))(normed), 3, axis=-1)
        scores = jnp.einsum("nqhd,nkhd->nhqk", query, key) / (self.width // self.heads) ** 0.5
        mixed = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores), value)
        tokens = tokens + nn.DenseGeneral(self.width, axis=(-2, -1))(mixed)
        hidden = nn.gelu(nn.Dense(self.mlp_ratio * self.width)(nn.LayerNorm()(tokens)))
        return tokens + nn.Dense(self.width)(hidden), None


def _stack(depth: int, width: int, heads: int, mlp_ratio: int, name: str) -> nn.Module:
    scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=depth)
    return scanned(width=width, heads=heads, mlp_ratio=mlp_ratio, name=name)


class ViTMAE(nn.Module):
    """Encoder and decoder over a grid of tokens.

    Attributes:
        grid: token rows and columns.
        token_dim: numbers per token.
        width: encoder embedding size.
        depth: encoder blocks.
        heads: attention heads.
        decoder_width: decoder embedding size.
        decoder_depth: decoder blocks.
        mlp_ratio: hidden units of a block's perceptron over its width.
    """

    grid: tuple[int, int]
    token_dim: int
    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    mlp_ratio: int

    def setup(self) -> None:
        """Declare the layers."""
        small = nn.initializers.normal(0.02)
        self.embed = nn.Dense(self.width)
        self.class_token = self.param("class_token", small, (1, 1, self.width))
        self.encoder_blocks = _stack(self.depth, self.width, self.heads, self.mlp_ratio, "encoder_blocks")
        self.encoder_norm = nn.LayerNorm()
        self.decoder_embed = nn.Dense(self.decoder_width)
        self.mask_token = self.param("mask_token", small, (1, 1, self.decoder_width))
        self.decoder_blocks = _stack(
            self.decoder_depth, self.decoder_width, self.heads, self.mlp_ratio, "decoder_blocks"
        )
        self.decoder_norm = nn.LayerNorm()
        self.to_token = nn.Dense(self.token_dim)

    def encode(self, tokens: Float[Array, "n t d"], visible: Int[Array, "n v"]) -> Float[Array, "n coded w"]:
        """Codes of the class token and the visible tokens.

        Args:
            tokens: all tokens, standardised; those not listed in ``visible`` are not read.
            visible: positions of the visible tokens, distinct in every row.

        Returns:
            Class token first, then the visible tokens in the given order.
        """
        positions = jnp.asarray(sine_cosine_positions(*self.grid, self.width))
        seen = jnp.take_along_axis(tokens, visible[..., None], axis=1)
        embedded = self.embed(seen) + positions[visible]
        class_token = jnp.broadcast_to(self.class_token, (len(tokens), 1, self.width))
        coded, _ = self.encoder_blocks(jnp.concatenate([class_token, embedded], axis=1), None)
        return self.encoder_norm(coded)

    def decode(self, coded: Float[Array, "n coded w"], visible: Int[Array, "n v"]) -> Float[Array, "n t d"]:
        """Reconstruction of all tokens from the codes of the visible ones."""
        n, n_tokens = len(coded), self.grid[0] * self.grid[1]
        positions = jnp.asarray(sine_cosine_positions(*self.grid, self.decoder_width))
        lowered = self.decoder_embed(coded)
        blank = jnp.broadcast_to(self.mask_token, (n, n_tokens, self.decoder_width))
        places = jnp.arange(n)[:, None], visible
        filled = blank.at[places].set(lowered[:, 1:]) + positions
        out, _ = self.decoder_blocks(jnp.concatenate([lowered[:, :1], filled], axis=1), None)
        return self.to_token(self.decoder_norm(out[:, 1:]))

    def __call__(self, tokens: Float[Array, "n t d"], visible: Int[Array, "n v"]) -> Float[Array, "n t d"]:
        """Reconstruct all tokens from the visible ones."""
        return self.decode(self.encode(tokens, visible), visible)
