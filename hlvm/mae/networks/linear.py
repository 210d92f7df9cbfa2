"""The linear masked autoencoder, whose optimum on linear-Gaussian data is known in closed form."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Scalar

from hlvm.mae.networks.codes import cut_code, hidden_columns

__all__ = ["Linear", "LinearNetwork"]


class Linear(nn.Module):
    """An affine map to the code and an affine map back.

    Attributes:
        padded_code: stored size of the code.
        n_columns: total dims of the observed variables.
    """

    padded_code: int
    n_columns: int

    def setup(self) -> None:
        """Declare the two maps."""
        self.to_code = nn.Dense(self.padded_code)
        self.to_columns = nn.Dense(self.n_columns)

    def encode(
        self, values: Float[Array, "n columns"], masked: Bool[Array, "n columns"], code_dim: Scalar
    ) -> Float[Array, "n code"]:
        """Codes of partly masked samples, zero beyond ``code_dim``; masked values are not read."""
        return cut_code(self.to_code(jnp.where(masked, 0.0, values)), code_dim)

    def decode(self, code: Float[Array, "n code"]) -> Float[Array, "n columns"]:
        """Reconstruction of every column."""
        return self.to_columns(code)

    def __call__(
        self, values: Float[Array, "n columns"], masked: Bool[Array, "n columns"], code_dim: Scalar
    ) -> Float[Array, "n columns"]:
        """Reconstruct every column."""
        return self.decode(self.encode(values, masked, code_dim))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearNetwork:
    """A linear masked autoencoder over variables of any dims; see :mod:`hlvm.mae.networks.networks` for the methods.

    Attributes:
        cell_dims: dims of each observed variable.
        padded_code: stored code size.
    """

    cell_dims: tuple[int, ...]
    padded_code: int

    @property
    def noise_size(self) -> int:
        """It reads no noise."""
        return 0

    @property
    def _module(self) -> Linear:
        return Linear(padded_code=self.padded_code, n_columns=sum(self.cell_dims))

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters."""
        nothing = jnp.zeros((1, sum(self.cell_dims)))
        return self._module.init(key, nothing, nothing > 0, jnp.asarray(self.padded_code))

    def targets(self, values: Float[Array, "n columns"]) -> Float[Array, "n columns"]:
        """What reconstructions are compared with: the values."""
        return values

    def encode(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n code"]:
        """Codes, padded with zeros beyond ``code_dim``."""
        hidden = hidden_columns(masked, self.cell_dims)
        return jnp.asarray(self._module.apply(params, values, hidden, code_dim, method="encode"))

    def reconstruct(
        self,
        params: Any,
        values: Float[Array, "n columns"],
        masked: Bool[Array, "n cells"],
        code_dim: Scalar,
        noise: Float[Array, "draws n 0"],
    ) -> Float[Array, "1 n columns"]:
        """Reconstruction of every column; there is nothing to draw."""
        hidden = hidden_columns(masked, self.cell_dims)
        return jnp.asarray(self._module.apply(params, values, hidden, code_dim))[None]
