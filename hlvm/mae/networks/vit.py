"""The vision-transformer masked autoencoder.

Architecture of :cite:t:`he2022mae`: the encoder sees visible tokens only, the lighter decoder sees their codes and a
learned mask token at every hidden place, both with fixed two-dimensional sine-cosine positions on a grid, and with
learned ones where there is no grid.

Many blocks are scanned, so that compile time does not grow with depth; few are written out, which compiles as fast and
saves stacking what the backward pass reads. Layers see one long list of tokens rather than samples of tokens, which is
faster on a CPU, and are written for it (:mod:`hlvm.mae.networks.layers`).

Where masks differ in how many tokens they leave visible, the shorter lists are padded with hidden tokens that nothing
attends to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Scalar

from hlvm.mae.config import ViTConfig
from hlvm.mae.networks.layers import Dense, LayerNorm, attend, attention_weights
from hlvm.mae.networks.tokens import Tokens

__all__ = ["MOST_UNROLLED", "ViTEncoder", "ViTMAE", "ViTNetwork", "sine_cosine_positions", "vit_encoder"]

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
        keep_attention: whether the second result is the attention, (n, heads, t, t), instead of ``None``.
        keep_tokens: whether it is the first result once more, which a stack of blocks then keeps of each.
    """

    width: int
    heads: int
    mlp_ratio: int
    keep_attention: bool = False
    keep_tokens: bool = False

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "n t w"], present: Bool[Array, "n t"] | None = None
    ) -> tuple[Float[Array, "n t w"], Float[Array, "n h t t"] | Float[Array, "n t w"] | None]:
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
        rows = rows + Dense((self.width,), name="Dense_1")(_gelu(hidden))
        attention = attention_weights(query, key, present) if self.keep_attention else None
        rows = rows.reshape(n, t, self.width)
        return rows, rows if self.keep_tokens else attention


def _gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The usual approximation ``x (1 + tanh(u)) / 2`` of the Gaussian error linear unit, as ``x sigmoid(2 u)``."""
    return x * jax.nn.sigmoid(2.0 * (2.0 / np.pi) ** 0.5 * (x + 0.044715 * x**3))


def _per_token(layer: Callable[[Array], Array], tokens: Float[Array, "n t i"]) -> Float[Array, "n t o"]:
    """Apply a layer of rows to every token."""
    n, t, width = tokens.shape
    rows = layer(tokens.reshape(n * t, width))
    return rows.reshape(n, t, rows.shape[-1])


def _stack(depth: int, name: str, *, unrolled: bool, **block: Any) -> nn.Module:
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


class ViTEncoder(nn.Module):
    """Codes of a class token and of the visible tokens.

    Attributes:
        layout: how observed variables are cut into tokens.
        width: embedding size.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden units of a block's perceptron over its width.
        keep_attention: whether the second result is the attention of every block.
        keep_tokens: whether it is the tokens before the first block and after each.
        unrolled: whether blocks are written out one after the other, however many they are.
    """

    layout: Tokens
    width: int
    depth: int
    heads: int
    mlp_ratio: int
    keep_attention: bool = False
    keep_tokens: bool = False
    unrolled: bool = False

    def setup(self) -> None:
        """Declare the layers."""
        self.embed = Dense((self.width,))
        self.positions = Positions(self.layout, self.width)
        self.class_token = self.param("class_token", nn.initializers.normal(0.02), (1, 1, self.width))
        block: dict[str, Any] = {"width": self.width, "heads": self.heads, "mlp_ratio": self.mlp_ratio}
        block |= {"keep_attention": self.keep_attention, "keep_tokens": self.keep_tokens, "unrolled": self.unrolled}
        self.encoder_blocks = _stack(self.depth, "encoder_blocks", **block)
        self.encoder_norm = nn.LayerNorm()

    def __call__(
        self, tokens: Float[Array, "n t d"], visible: Int[Array, "n v"], present: Bool[Array, "n v"] | None = None
    ) -> tuple[
        Float[Array, "n coded w"], Float[Array, "depth n h coded coded"] | Float[Array, "layers n coded w"] | None
    ]:
        """Encode.

        Args:
            tokens: all tokens, standardised; those not listed in ``visible`` are not read.
            visible: positions of the visible tokens, distinct in every row.
            present: which of the listed tokens are visible; the others are padding. ``None`` for all.

        Returns:
            Codes, the class token first, then the listed tokens in the given order; and what is kept, or ``None``.
        """
        positions = self.positions()
        seen = jnp.take_along_axis(tokens, visible[..., None], axis=1)
        if present is not None:
            seen = jnp.where(present[..., None], seen, 0.0)
            present = jnp.pad(present, ((0, 0), (1, 0)), constant_values=True)
        embedded = _per_token(self.embed, seen)
        embedded = embedded + positions[visible].astype(embedded.dtype)
        class_token = jnp.broadcast_to(self.class_token, (len(tokens), 1, self.width))
        first = jnp.concatenate([class_token, embedded], axis=1)
        coded, kept = self.encoder_blocks(first, present)
        return self.encoder_norm(coded), jnp.concatenate([first[None], kept]) if self.keep_tokens else kept


def vit_encoder(config: ViTConfig, layout: Tokens, **options: Any) -> ViTEncoder:
    """The encoder that a configuration asks for on these tokens."""
    return ViTEncoder(
        layout=layout, width=config.width, depth=config.depth, heads=config.heads, mlp_ratio=config.mlp_ratio, **options
    )


class ViTMAE(nn.Module):
    """Encoder and decoder over tokens.

    Attributes:
        config: sizes.
        layout: how observed variables are cut into tokens.
        noise_dim: numbers of noise that the decoder reads at every hidden token.
        keep_attention: whether :meth:`encode` also returns the attention.
        keep_tokens: whether it returns the tokens of every layer there.
        unrolled: whether blocks are written out one after the other, however many they are.
    """

    config: ViTConfig
    layout: Tokens
    noise_dim: int = 0
    keep_attention: bool = False
    keep_tokens: bool = False
    unrolled: bool = False

    def setup(self) -> None:
        """Declare the layers."""
        config, width = self.config, self.config.decoder_width
        kept = {"keep_attention": self.keep_attention, "keep_tokens": self.keep_tokens}
        self.encoder = vit_encoder(config, self.layout, **kept, unrolled=self.unrolled)
        self.decoder_embed = Dense((width,))
        self.decoder_positions = Positions(self.layout, width)
        self.mask_token = self.param("mask_token", nn.initializers.normal(0.02), (1, 1, width))
        if self.noise_dim:
            self.noise_embed = Dense((width,))
        self.decoder_blocks = _stack(
            config.decoder_depth,
            "decoder_blocks",
            unrolled=self.unrolled,
            width=width,
            heads=config.heads,
            mlp_ratio=config.mlp_ratio,
        )
        self.decoder_norm = LayerNorm()
        self.to_token = Dense((self.layout.token_dim,))

    def encode(
        self, tokens: Float[Array, "n t d"], visible: Int[Array, "n v"], present: Bool[Array, "n v"] | None = None
    ) -> tuple[
        Float[Array, "n coded w"], Float[Array, "depth n h coded coded"] | Float[Array, "layers n coded w"] | None
    ]:
        """Codes of the class token and the visible tokens, and what is kept; see :class:`ViTEncoder`."""
        return self.encoder(tokens, visible, present)

    def decode(
        self,
        coded: Float[Array, "n coded w"],
        visible: Int[Array, "n v"],
        present: Bool[Array, "n v"] | None,
        noise: Float[Array, "n noise"],
    ) -> Float[Array, "n t d"]:
        """Reconstruction of all tokens from the codes of the visible ones, and from noise at the hidden ones."""
        n, n_tokens, width = len(coded), self.layout.n_tokens, self.config.decoder_width
        positions = self.decoder_positions()
        lowered = _per_token(self.decoder_embed, coded)
        blank = jnp.broadcast_to(self.mask_token, (n, n_tokens, width))
        if self.noise_dim:
            blank = blank + _per_token(self.noise_embed, noise.reshape(n, n_tokens, self.noise_dim))
        seen = lowered[:, 1:]
        if present is not None:
            seen = jnp.where(present[..., None], seen, jnp.take_along_axis(blank, visible[..., None], axis=1))
        # Mapped over rows, so that devices which share a batch need not tell each other where tokens go.
        placed = jax.vmap(lambda row, at, values: row.at[at].set(values, unique_indices=True, mode="promise_in_bounds"))
        filled = placed(blank, visible, seen) + positions.astype(seen.dtype)
        out, _ = self.decoder_blocks(jnp.concatenate([lowered[:, :1], filled], axis=1), None)
        return _per_token(lambda rows: self.to_token(self.decoder_norm(rows)), out[:, 1:])

    def __call__(
        self,
        tokens: Float[Array, "n t d"],
        visible: Int[Array, "n v"],
        present: Bool[Array, "n v"] | None,
        noise: Float[Array, "draws n noise"],
    ) -> Float[Array, "draws n t d"]:
        """Reconstruct all tokens from the visible ones, once for every draw of the noise."""
        coded, _ = self.encode(tokens, visible, present)
        draws, n = noise.shape[:2]
        # The draws are more rows for the decoder: one larger program step, and the encoder runs once.
        present = None if present is None else jnp.tile(present, (draws, 1))
        rows = jnp.tile(coded, (draws, 1, 1)), jnp.tile(visible, (draws, 1)), present
        out = self.decode(*rows, noise.reshape(draws * n, self.noise_dim * tokens.shape[1]))
        return out.reshape(draws, n, *out.shape[1:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTNetwork:
    """A vision-transformer masked autoencoder over observed variables of any dims.

    See :mod:`hlvm.mae.networks.networks` for the methods that all networks share.

    Attributes:
        config: the architecture.
        tokens: how the observed variables are cut.
        n_visible: tokens the encoder sees; the most that a mask may leave visible.
        padded: whether some masks leave fewer visible.
        noise_dim: numbers of noise that the decoder reads at every hidden token; 0 for none.
        unrolled: whether blocks are written out one after the other, however many they are: a loop's work is counted
            as that of one turn.
    """

    config: ViTConfig
    tokens: Tokens
    n_visible: int
    padded: bool = False
    noise_dim: int = 0
    unrolled: bool = False

    @property
    def noise_size(self) -> int:
        """Numbers of noise per reconstruction."""
        return self.noise_dim * self.tokens.n_tokens

    def _module(self, *, keep_attention: bool = False, keep_tokens: bool = False) -> ViTMAE:
        return ViTMAE(
            config=self.config,
            layout=self.tokens,
            noise_dim=self.noise_dim,
            keep_attention=keep_attention,
            keep_tokens=keep_tokens,
            unrolled=self.unrolled,
        )

    def visible(self, masked: Bool[Array, "n cells"]) -> tuple[Int[Array, "n v"], Bool[Array, "n v"] | None]:
        """Positions of the tokens the encoder sees, and which of them are no padding (``None``: all)."""
        places, present = self.tokens.visible(masked, self.n_visible)
        return places, present if self.padded else None

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters; they do not depend on ``n_visible``."""
        tokens = jnp.zeros((1, self.tokens.n_tokens, self.tokens.token_dim))
        return self._module().init(key, tokens, jnp.arange(1)[None], None, jnp.zeros((1, 1, self.noise_size)))

    def targets(self, values: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
        """What reconstructions are compared with: the values, or normalised tokens."""
        if not self.config.normalize_targets:
            return values
        return self.tokens.join(self.tokens.normalized(self.tokens.cut(values)))

    def encode(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n visible_and_class width"]:
        """Codes of the class token and of the visible tokens; those of padding mean nothing."""
        module: Any = self._module()
        return module.apply(params, self.tokens.cut(values), *self.visible(masked), method="encode")[0]

    def layers(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"]
    ) -> Float[Array, "layers n visible_and_class width"]:
        """Tokens of the class token and of the visible tokens before the first block of the encoder and after each."""
        module: Any = self._module(keep_tokens=True)
        return module.apply(params, self.tokens.cut(values), *self.visible(masked), method="encode")[1]

    def attention(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"]
    ) -> Float[Array, "depth n heads coded coded"]:
        """Attention of every block of the encoder."""
        module: Any = self._module(keep_attention=True)
        return module.apply(params, self.tokens.cut(values), *self.visible(masked), method="encode")[1]

    def reconstruct(
        self,
        params: Any,
        values: Float[Array, "n columns"],
        masked: Bool[Array, "n cells"],
        code_dim: Scalar,
        noise: Float[Array, "draws n noise"],
    ) -> Float[Array, "draws n columns"]:
        """Reconstructions of every column, in the units of :meth:`targets`; one per draw of the noise."""
        tokens = self._module().apply(params, self.tokens.cut(values), *self.visible(masked), noise)
        return self.tokens.join(jnp.asarray(tokens))
