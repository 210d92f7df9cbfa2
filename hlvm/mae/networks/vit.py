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
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Scalar

from hlvm.mae.config import ViTConfig
from hlvm.mae.networks.blocks import CrossBlock, Kept, Positions, per_token, stack
from hlvm.mae.networks.layers import Dense, LayerNorm
from hlvm.mae.networks.tokens import Tokens

__all__ = ["ViTEncoder", "ViTMAE", "ViTNetwork", "vit_encoder"]


class ViTEncoder(nn.Module):
    """Codes of a class token and of the visible tokens.

    Attributes:
        layout: how observed variables are cut into tokens.
        width: embedding size.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden units of a block's perceptron over its width.
        keep: what the second result has of every block, see :class:`~hlvm.mae.networks.blocks.Block`; of ``"tokens"``
            also those before the first.
        unrolled: whether blocks are written out one after the other, however many they are.
    """

    layout: Tokens
    width: int
    depth: int
    heads: int
    mlp_ratio: int
    keep: Kept = ""
    unrolled: bool = False

    def setup(self) -> None:
        """Declare the layers."""
        self.embed = Dense((self.width,))
        self.positions = Positions(self.layout, self.width)
        self.class_token = self.param("class_token", nn.initializers.normal(0.02), (1, 1, self.width))
        block: dict[str, Any] = {"width": self.width, "heads": self.heads, "mlp_ratio": self.mlp_ratio}
        block |= {"keep": self.keep, "unrolled": self.unrolled}
        self.encoder_blocks = stack(self.depth, "encoder_blocks", **block)
        self.encoder_norm = nn.LayerNorm()

    def __call__(
        self, tokens: Float[Array, "n t d"], visible: Int[Array, "n v"], present: Bool[Array, "n v"] | None = None
    ) -> tuple[Float[Array, "n coded w"], Float[Array, "depth n ..."] | None]:
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
        embedded = per_token(self.embed, seen)
        embedded = embedded + positions[visible].astype(embedded.dtype)
        class_token = jnp.broadcast_to(self.class_token, (len(tokens), 1, self.width))
        first = jnp.concatenate([class_token, embedded], axis=1)
        coded, kept = self.encoder_blocks(first, present)
        return self.encoder_norm(coded), jnp.concatenate([first[None], kept]) if self.keep == "tokens" else kept


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
        predicted: numbers that the decoder says of a token; 0 for those of the token.
        keep: what :meth:`encode` also returns; see :class:`ViTEncoder`.
        unrolled: whether blocks are written out one after the other, however many they are.
    """

    config: ViTConfig
    layout: Tokens
    noise_dim: int = 0
    predicted: int = 0
    keep: Kept = ""
    unrolled: bool = False

    def setup(self) -> None:
        """Declare the layers."""
        config, width = self.config, self.config.decoder_width
        self.encoder = vit_encoder(config, self.layout, keep=self.keep, unrolled=self.unrolled)
        self.decoder_embed = Dense((width,))
        self.decoder_positions = Positions(self.layout, width)
        self.mask_token = self.param("mask_token", nn.initializers.normal(0.02), (1, 1, width))
        if self.noise_dim:
            self.noise_embed = Dense((width,))
        block: dict[str, Any] = {"width": width, "heads": config.heads, "mlp_ratio": config.mlp_ratio}
        if config.decoder == "cross":
            self.cross_blocks = [CrossBlock(name=f"cross_block_{i}", **block) for i in range(config.decoder_depth)]
        else:
            self.decoder_blocks = stack(config.decoder_depth, "decoder_blocks", unrolled=self.unrolled, **block)
        self.decoder_norm = LayerNorm()
        self.to_token = Dense((self.predicted or self.layout.token_dim,))

    def encode(
        self, tokens: Float[Array, "n t d"], visible: Int[Array, "n v"], present: Bool[Array, "n v"] | None = None
    ) -> tuple[Float[Array, "n coded w"], Float[Array, "depth n ..."] | None]:
        """Codes of the class token and the visible tokens, and what is kept; see :class:`ViTEncoder`."""
        return self.encoder(tokens, visible, present)

    def decode(
        self,
        coded: Float[Array, "n coded w"],
        visible: Int[Array, "n v"],
        present: Bool[Array, "n v"] | None,
        noise: Float[Array, "n noise"],
    ) -> Float[Array, "n t said"]:
        """Reconstruction of all tokens from the codes of the visible ones, and from noise at the hidden ones."""
        n, n_tokens, width = len(coded), self.layout.n_tokens, self.config.decoder_width
        positions = self.decoder_positions()
        lowered = per_token(self.decoder_embed, coded)
        blank = jnp.broadcast_to(self.mask_token, (n, n_tokens, width))
        if self.noise_dim:
            blank = blank + per_token(self.noise_embed, noise.reshape(n, n_tokens, self.noise_dim))
        seen = lowered[:, 1:]
        if present is not None:
            seen = jnp.where(present[..., None], seen, jnp.take_along_axis(blank, visible[..., None], axis=1))
        # Mapped over rows, so that devices which share a batch need not tell each other where tokens go.
        placed = jax.vmap(lambda row, at, values: row.at[at].set(values, unique_indices=True, mode="promise_in_bounds"))
        filled = placed(blank, visible, seen) + positions.astype(seen.dtype)
        out, _ = self.decoder_blocks(jnp.concatenate([lowered[:, :1], filled], axis=1), None)
        return per_token(lambda rows: self.to_token(self.decoder_norm(rows)), out[:, 1:])

    def decode_at(
        self, coded: Float[Array, "n coded w"], present: Bool[Array, "n v"] | None, places: Int[Array, "n k"]
    ) -> Float[Array, "n t said"]:
        """Answers at the tokens of these places, each from the codes alone; at all others, zeros."""
        context = per_token(self.decoder_embed, coded)
        if present is not None:
            present = jnp.pad(present, ((0, 0), (1, 0)), constant_values=True)
        asking = jnp.broadcast_to(self.mask_token, (*places.shape, self.config.decoder_width))
        asking = asking + self.decoder_positions()[places].astype(context.dtype)
        for block in self.cross_blocks:
            asking = block(asking.astype(context.dtype), context, present)
        said = per_token(lambda rows: self.to_token(self.decoder_norm(rows)), asking)
        blank = jnp.zeros((len(coded), self.layout.n_tokens, said.shape[-1]), said.dtype)
        return jax.vmap(lambda row, at, values: row.at[at].set(values, unique_indices=True))(blank, places, said)

    def __call__(
        self,
        tokens: Float[Array, "n t d"],
        visible: Int[Array, "n v"],
        present: Bool[Array, "n v"] | None,
        noise: Float[Array, "draws n noise"],
        places: Int[Array, "n k"] | None = None,
    ) -> Float[Array, "draws n t said"]:
        """Reconstruct all tokens from the visible ones, once for every draw of the noise; or some, once."""
        coded, _ = self.encode(tokens, visible, present)
        if places is not None:
            return self.decode_at(coded, present, places)[None]
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
        predicted: numbers that the decoder says of a token; 0 for those of the token.
        n_hidden: for a cross decoder, the most tokens that a mask hides; 0 for the full one.
        unrolled: whether blocks are written out one after the other, however many they are: a loop's work is counted
            as that of one turn.
    """

    config: ViTConfig
    tokens: Tokens
    n_visible: int
    padded: bool = False
    noise_dim: int = 0
    predicted: int = 0
    n_hidden: int = 0
    unrolled: bool = False

    @property
    def noise_size(self) -> int:
        """Numbers of noise per reconstruction, or by whose order tokens are chosen that are decoded."""
        return (self.noise_dim or self.config.decoded_share < 1) * self.tokens.n_tokens

    def decoded(
        self, masked: Bool[Array, "n cells"], noise: Float[Array, "draws n noise"]
    ) -> tuple[Int[Array, "n k"], Bool[Array, "n cells"]] | None:
        """For a cross decoder, the places that are decoded, and which cells count; ``None`` for all.

        Of every sample its share of hidden tokens counts, rounded up: the first in the order of the noise.
        """
        if not self.n_hidden:
            return None
        hidden = jnp.asarray(self.tokens.hidden(masked))
        order = noise[0] if noise.shape[-1] else jnp.zeros(hidden.shape)
        places = jnp.argsort(jnp.where(hidden, order, jnp.inf), axis=1, stable=True)
        ranks = jnp.argsort(places, axis=1)
        share = self.config.decoded_share
        counts = jnp.ceil(share * hidden.sum(axis=1, keepdims=True))
        token_of_cell = np.argsort(self.tokens.cells_of_token.reshape(-1)) // self.config.patch**2
        return places[:, : math.ceil(share * self.n_hidden)], (hidden & (ranks < counts))[:, token_of_cell]

    def _module(self, keep: Kept = "") -> ViTMAE:
        return ViTMAE(
            config=self.config,
            layout=self.tokens,
            noise_dim=self.noise_dim,
            predicted=self.predicted,
            unrolled=self.unrolled,
            keep=keep,
        )

    def visible(self, masked: Bool[Array, "n cells"]) -> tuple[Int[Array, "n v"], Bool[Array, "n v"] | None]:
        """Positions of the tokens the encoder sees, and which of them are no padding (``None``: all)."""
        places, present = self.tokens.visible(masked, self.n_visible)
        return places, present if self.padded else None

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters; they do not depend on ``n_visible``."""
        tokens = jnp.zeros((1, self.tokens.n_tokens, self.tokens.token_dim))
        places = jnp.arange(1)[None] if self.n_hidden else None
        noise = jnp.zeros((1, 1, self.noise_dim * self.tokens.n_tokens))
        return self._module().init(key, tokens, jnp.arange(1)[None], None, noise, places)

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
    ) -> Float[Array, "layers n coded width"]:
        """Tokens of the class token and of the visible tokens before the first block of the encoder and after each."""
        module: Any = self._module("tokens")
        return module.apply(params, self.tokens.cut(values), *self.visible(masked), method="encode")[1]

    def perceptron_outputs(
        self, params: Any, values: Float[Array, "n columns"]
    ) -> tuple[Float[Array, "n tokens width"], Float[Array, "depth n tokens width"]]:
        """Of whole samples: the codes of all tokens, and what the perceptron of every block adds to them."""
        module: Any = self._module("perceptron")
        places = jnp.broadcast_to(jnp.arange(self.tokens.n_tokens), (len(values), self.tokens.n_tokens))
        coded, grown = module.apply(params, self.tokens.cut(values), places, None, method="encode")
        return coded[:, 1:], grown[:, :, 1:]

    def predict(
        self,
        params: Any,
        values: Float[Array, "n columns"],
        masked: Bool[Array, "n cells"],
        noise: Float[Array, "1 n noise"],
    ) -> Float[Array, "n tokens predicted"]:
        """Answers of the decoder at every token."""
        module: Any = self._module()
        decoded = self.decoded(masked, noise)
        places = () if decoded is None else decoded[:1]
        return module.apply(params, self.tokens.cut(values), *self.visible(masked), noise, *places)[0]

    def attention(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"]
    ) -> Float[Array, "depth n heads coded coded"]:
        """Attention of every block of the encoder."""
        module: Any = self._module("attention")
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
        decoded = self.decoded(masked, noise)
        places = () if decoded is None else decoded[:1]
        tokens = self._module().apply(params, self.tokens.cut(values), *self.visible(masked), noise, *places)
        return self.tokens.join(jnp.asarray(tokens))
