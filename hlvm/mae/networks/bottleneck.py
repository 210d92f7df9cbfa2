"""The bottleneck masked autoencoder: a code of exactly ``code_dim`` numbers between an encoder and a perceptron."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Scalar

from hlvm.mae.config import BottleneckConfig
from hlvm.mae.networks.codes import cut_code, hidden_columns
from hlvm.mae.networks.tokens import Tokens
from hlvm.mae.networks.vit import vit_encoder

__all__ = ["Bottleneck", "BottleneckNetwork"]


class Bottleneck(nn.Module):
    """An encoder and a perceptron decoder around a narrow code.

    Attributes:
        padded_code: stored size of the code.
        config: sizes.
        n_columns: total dims of the observed variables.
        layout: how observed variables are cut into tokens for a transformer encoder, else ``None``.
        keep_attention: whether a transformer encoder keeps its attention.
        keep_tokens: whether it keeps the tokens of every layer instead.
        unrolled: whether the blocks of a transformer encoder are written out one after the other.
    """

    padded_code: int
    config: BottleneckConfig
    n_columns: int
    layout: Tokens | None = None
    keep_attention: bool = False
    keep_tokens: bool = False
    unrolled: bool = False

    def setup(self) -> None:
        """Declare the layers."""
        width, depth = self.config.width, self.config.depth
        if self.config.encoder is None or self.layout is None:
            self.encoder = [nn.Dense(width) for _ in range(depth)]
        else:
            kept = {"keep_attention": self.keep_attention, "keep_tokens": self.keep_tokens}
            self.vit = vit_encoder(self.config.encoder, self.layout, **kept, unrolled=self.unrolled)
        self.to_code = nn.Dense(self.padded_code)
        self.decoder = [nn.Dense(width) for _ in range(depth)]
        self.to_columns = nn.Dense(self.n_columns)

    def encode(
        self, values: Float[Array, "n columns"], masked: Bool[Array, "n columns"], code_dim: Scalar
    ) -> Float[Array, "n code"]:
        """Codes of partly masked samples by the perceptron.

        Args:
            values: standardised observed values; masked ones are not read.
            masked: True where a column is hidden.
            code_dim: numbers the code may use; the rest is exactly zero.

        Returns:
            Codes, padded with zeros.
        """
        visible = jnp.where(masked, 0.0, values)
        hidden = jnp.concatenate([visible, 1.0 - masked], axis=-1)
        for layer in self.encoder:
            hidden = nn.gelu(layer(hidden))
        return cut_code(self.to_code(hidden), code_dim)

    def encode_tokens(
        self,
        tokens: Float[Array, "n t d"],
        visible: Int[Array, "n v"],
        present: Bool[Array, "n v"] | None,
        code_dim: Scalar,
    ) -> tuple[Float[Array, "n code"], Float[Array, "depth n h coded coded"] | Float[Array, "layers n coded w"] | None]:
        """Codes of visible tokens, and what the encoder keeps; see :class:`hlvm.mae.networks.vit.ViTEncoder`."""
        coded, attention = self.vit(tokens, visible, present)
        return cut_code(self.to_code(coded[:, 0]), code_dim), attention

    def decode(
        self,
        code: Float[Array, "n code"],
        masked: Bool[Array, "n columns"],
        noise: Float[Array, "draws n noise"],
    ) -> Float[Array, "draws n columns"]:
        """Reconstructions of every column from the code, the mask and noise, one per draw of the noise."""
        known = jnp.concatenate([code, masked.astype(code.dtype)], axis=-1)
        if noise.shape[-1]:
            hidden = jnp.concatenate([jnp.broadcast_to(known, (len(noise), *known.shape)), noise], axis=-1)
        else:
            hidden = known[None]
        for layer in self.decoder:
            hidden = nn.gelu(layer(hidden))
        return self.to_columns(hidden)

    def __call__(self, encoder_inputs: tuple[Any, ...], masked: Any, noise: Any, code_dim: Scalar) -> Any:
        """Reconstruct; ``encoder_inputs`` are those of the encoder in use."""
        encode: Any = self.encode if self.config.encoder is None else self.encode_tokens
        code = encode(*encoder_inputs, code_dim)
        return self.decode(code if self.config.encoder is None else code[0], masked, noise)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BottleneckNetwork:
    """A bottleneck masked autoencoder over variables of any dims; :mod:`hlvm.mae.networks.networks` has the methods.

    Attributes:
        config: sizes other than that of the code.
        padded_code: stored code size, a multiple of :data:`~hlvm.mae.networks.codes.CODE_BLOCK`.
        cell_dims: dims of each observed variable.
        tokens: how observed variables are cut for a transformer encoder, else ``None``.
        n_visible: for a transformer encoder, the most tokens a mask may leave visible.
        padded: for a transformer encoder, whether some masks leave fewer visible.
        noise_dim: numbers of noise the decoder reads; 0 for none.
        unrolled: for a transformer encoder, whether its blocks are written out one after the other.
    """

    config: BottleneckConfig
    padded_code: int
    cell_dims: tuple[int, ...]
    tokens: Tokens | None = None
    n_visible: int = 0
    padded: bool = False
    noise_dim: int = 0
    unrolled: bool = False

    @property
    def noise_size(self) -> int:
        """Numbers of noise per reconstruction."""
        return self.noise_dim

    def _module(self, *, keep_attention: bool = False, keep_tokens: bool = False) -> Bottleneck:
        return Bottleneck(
            padded_code=self.padded_code,
            config=self.config,
            n_columns=sum(self.cell_dims),
            layout=self.tokens,
            keep_attention=keep_attention,
            keep_tokens=keep_tokens,
            unrolled=self.unrolled,
        )

    def visible(self, masked: Bool[Array, "n cells"]) -> tuple[Int[Array, "n v"], Bool[Array, "n v"] | None]:
        """For a transformer encoder: positions of the tokens it sees, and which are no padding (``None``: all)."""
        assert self.tokens is not None  # for the type checker
        places, present = self.tokens.visible(masked, self.n_visible)
        return places, present if self.padded else None

    def _encoder_inputs(self, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"]) -> tuple[Any, ...]:
        if self.tokens is None:
            return values, hidden_columns(masked, self.cell_dims)
        return self.tokens.cut(values), *self.visible(masked)

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters."""
        values = jnp.zeros((1, sum(self.cell_dims)))
        if self.tokens is None:
            inputs: tuple[Any, ...] = values, values > 0
        else:
            inputs = self.tokens.cut(values), jnp.arange(1)[None], None
        noise = jnp.zeros((1, 1, self.noise_dim))
        return self._module().init(key, inputs, values > 0, noise, jnp.asarray(self.padded_code))

    def targets(self, values: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
        """What reconstructions are compared with: the values."""
        return values

    def encode(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n code"]:
        """Codes, padded with zeros beyond ``code_dim``."""
        inputs = self._encoder_inputs(values, masked)
        module: Any = self._module()
        if self.tokens is None:
            return module.apply(params, *inputs, code_dim, method="encode")
        return module.apply(params, *inputs, code_dim, method="encode_tokens")[0]

    def layers(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"]
    ) -> Float[Array, "layers n visible_and_class width"]:
        """Tokens before the first block of a transformer encoder and after each, the class token first."""
        inputs = self._encoder_inputs(values, masked)
        module: Any = self._module(keep_tokens=True)
        return module.apply(params, *inputs, jnp.asarray(self.padded_code), method="encode_tokens")[1]

    def attention(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"]
    ) -> Float[Array, "depth n heads coded coded"]:
        """Attention of every block of a transformer encoder."""
        inputs = self._encoder_inputs(values, masked)
        module: Any = self._module(keep_attention=True)
        return module.apply(params, *inputs, jnp.asarray(self.padded_code), method="encode_tokens")[1]

    def reconstruct(
        self,
        params: Any,
        values: Float[Array, "n columns"],
        masked: Bool[Array, "n cells"],
        code_dim: Scalar,
        noise: Float[Array, "draws n noise"],
    ) -> Float[Array, "draws n columns"]:
        """Reconstructions of every column, one per draw of the noise."""
        inputs = self._encoder_inputs(values, masked)
        return jnp.asarray(
            self._module().apply(params, inputs, hidden_columns(masked, self.cell_dims), noise, code_dim)
        )
