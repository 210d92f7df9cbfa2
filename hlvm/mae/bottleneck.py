"""The bottleneck masked autoencoder: a code of exactly ``code_dim`` numbers between two perceptrons."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Scalar

__all__ = ["CODE_BLOCK", "Bottleneck", "padded_code_dim"]

CODE_BLOCK = 8
"""Codes are stored padded with zeros to a multiple of this, so that members of an ensemble whose codes differ a little
in size share one program, and a member starts from the same parameters alone as in an ensemble."""


def padded_code_dim(code_dim: int) -> int:
    """The smallest multiple of :data:`CODE_BLOCK` that holds the code."""
    return -(-code_dim // CODE_BLOCK) * CODE_BLOCK


class Bottleneck(nn.Module):
    """Perceptron encoder and decoder around a narrow code.

    Attributes:
        padded_code: stored size of the code.
        width: hidden units per layer.
        depth: hidden layers on each side.
        n_columns: total dims of the observed variables.
    """

    padded_code: int
    width: int
    depth: int
    n_columns: int

    def setup(self) -> None:
        """Declare the layers."""
        self.encoder = [nn.Dense(self.width) for _ in range(self.depth)]
        self.to_code = nn.Dense(self.padded_code)
        self.decoder = [nn.Dense(self.width) for _ in range(self.depth)]
        self.to_columns = nn.Dense(self.n_columns)

    def encode(
        self, values: Float[Array, "n columns"], masked: Bool[Array, "n columns"], code_dim: Scalar
    ) -> Float[Array, "n code"]:
        """Codes of partly masked samples.

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
        return jnp.where(jnp.arange(self.padded_code) < code_dim, self.to_code(hidden), 0.0)

    def decode(self, code: Float[Array, "n code"], masked: Bool[Array, "n columns"]) -> Float[Array, "n columns"]:
        """Reconstruction of every column from the code and the mask; only masked ones are trained."""
        hidden = jnp.concatenate([code, masked.astype(code.dtype)], axis=-1)
        for layer in self.decoder:
            hidden = nn.gelu(layer(hidden))
        return self.to_columns(hidden)

    def __call__(
        self, values: Float[Array, "n columns"], masked: Bool[Array, "n columns"], code_dim: Scalar
    ) -> Float[Array, "n columns"]:
        """Reconstruct the masked columns of every sample."""
        return self.decode(self.encode(values, masked, code_dim), masked)
