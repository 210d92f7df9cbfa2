"""What training and encoding need of a network, whatever its architecture.

A network here is a frozen, hashable description: members whose descriptions are equal share one compiled program. What
may differ between them (masks, code dims, seeds) is passed as arrays.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, Scalar

from hlvm.graph import LatentGraph
from hlvm.mae.bottleneck import Bottleneck, padded_code_dim
from hlvm.mae.config import BottleneckConfig, NetworkConfig, ViTConfig
from hlvm.mae.masks import mask_arrays
from hlvm.mae.vit import ViTMAE
from hlvm.masking import MaskStrategy

__all__ = [
    "BottleneckNetwork",
    "Network",
    "ViTNetwork",
    "build_network",
    "code_dim_of",
    "init_flat",
    "unflatten",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BottleneckNetwork:
    """A bottleneck masked autoencoder over variables of any dims.

    Attributes:
        cell_dims: dims of each observed variable.
        padded_code: stored code size.
        width: hidden units per layer.
        depth: hidden layers on each side.
    """

    cell_dims: tuple[int, ...]
    padded_code: int
    width: int
    depth: int

    @property
    def _module(self) -> Bottleneck:
        return Bottleneck(
            padded_code=self.padded_code, width=self.width, depth=self.depth, n_columns=sum(self.cell_dims)
        )

    def _apply(self, params: Any, *inputs: Any, method: str = "__call__") -> Array:
        return jnp.asarray(self._module.apply(params, *inputs, method=method))

    def _columns(self, masked: Bool[Array, "n cells"]) -> Bool[Array, "n columns"]:
        return masked[:, np.repeat(np.arange(len(self.cell_dims)), self.cell_dims)]

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters."""
        n_columns = sum(self.cell_dims)
        return self._module.init(
            key, jnp.zeros((1, n_columns)), jnp.zeros((1, n_columns), bool), jnp.asarray(self.padded_code)
        )

    def loss(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Scalar:
        """Mean squared error over masked columns."""
        columns = self._columns(masked)
        error = self._apply(params, values, columns, code_dim) - values
        return jnp.sum(jnp.where(columns, error**2, 0.0)) / jnp.sum(columns)

    def encode(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n code"]:
        """Codes, padded with zeros beyond ``code_dim``."""
        return self._apply(params, values, self._columns(masked), code_dim, method="encode")

    def reconstruct(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n columns"]:
        """Reconstruction of every column; only those that ``masked`` hides were trained."""
        return self._apply(params, values, self._columns(masked), code_dim)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTNetwork:
    """A vision-transformer masked autoencoder over a grid of variables of equal dims.

    Attributes:
        config: the architecture.
        grid: rows and columns of cells.
        cell_dim: dims of each cell.
        n_visible: tokens the encoder sees; every sample must show exactly so many.
    """

    config: ViTConfig
    grid: tuple[int, int]
    cell_dim: int
    n_visible: int

    @property
    def token_grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.grid[0] // self.config.patch, self.grid[1] // self.config.patch

    @property
    def n_tokens(self) -> int:
        """Number of tokens in the whole image."""
        return self.token_grid[0] * self.token_grid[1]

    @property
    def _module(self) -> ViTMAE:
        config = self.config
        return ViTMAE(
            grid=self.token_grid,
            token_dim=config.patch**2 * self.cell_dim,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            decoder_width=config.decoder_width,
            decoder_depth=config.decoder_depth,
            mlp_ratio=config.mlp_ratio,
        )

    def _apply(self, params: Any, *inputs: Any, method: str = "__call__") -> Array:
        return jnp.asarray(self._module.apply(params, *inputs, method=method))

    @functools.cached_property
    def cells_of_token(self) -> np.ndarray:
        """Cells of each token, row by row: (tokens, patch * patch)."""
        rows, columns = self.grid
        p = self.config.patch
        cells = np.arange(rows * columns).reshape(rows // p, p, columns // p, p)
        return cells.transpose(0, 2, 1, 3).reshape(-1, p * p)

    def _tokens(self, values: Float[Array, "n columns"]) -> Float[Array, "n tokens dims"]:
        cells = values.reshape(len(values), -1, self.cell_dim)
        return cells[:, self.cells_of_token].reshape(len(values), self.n_tokens, -1)

    def _hidden_tokens(self, masked: Bool[Array, "n cells"]) -> Bool[Array, "n tokens"]:
        return masked[:, self.cells_of_token[:, 0]]

    def _visible(self, hidden: Bool[Array, "n tokens"]) -> Int[Array, "n visible"]:
        return jnp.argsort(hidden, axis=1, stable=True)[:, : self.n_visible]

    def init(self, key: PRNGKeyArray) -> Any:
        """Fresh parameters; they do not depend on ``n_visible``."""
        tokens = jnp.zeros((1, self.n_tokens, self.config.patch**2 * self.cell_dim))
        return self._module.init(key, tokens, jnp.arange(1)[None])

    def loss(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Scalar:
        """Mean squared error over masked tokens."""
        tokens, hidden = self._tokens(values), self._hidden_tokens(masked)
        error = self._apply(params, tokens, self._visible(hidden)) - tokens
        return jnp.sum(jnp.where(hidden[..., None], error**2, 0.0)) / (jnp.sum(hidden) * tokens.shape[-1])

    def encode(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n visible_and_class width"]:
        """Codes of the class token and of the visible tokens."""
        visible = self._visible(self._hidden_tokens(masked))
        return self._apply(params, self._tokens(values), visible, method="encode")

    def reconstruct(
        self, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
    ) -> Float[Array, "n columns"]:
        """Reconstruction of every column; only those that ``masked`` hides were trained."""
        tokens = self._apply(params, self._tokens(values), self._visible(self._hidden_tokens(masked)))
        cells = jnp.zeros((len(values), self.grid[0] * self.grid[1], self.cell_dim))
        by_cell = tokens.reshape(len(values), self.n_tokens, -1, self.cell_dim)
        return cells.at[:, self.cells_of_token].set(by_cell).reshape(values.shape)


Network = BottleneckNetwork | ViTNetwork


def build_network(graph: LatentGraph, mask: MaskStrategy, config: NetworkConfig) -> Network:
    """The network that a configuration and a mask ask for on this graph.

    Raises:
        ValueError: the mask does not fit the graph; or, for a ViT, the graph has no grid, its cells differ in dims, the
            patch does not divide the grid, or masking units cut through tokens.
    """
    arrays = mask_arrays(graph, mask)
    dims = tuple(graph.dim(name) for name in graph.observed)
    if not isinstance(config, BottleneckConfig | ViTConfig):
        raise ValueError(f"the network is a BottleneckConfig or a ViTConfig, got {type(config).__name__}")
    if isinstance(config, BottleneckConfig):
        return BottleneckNetwork(
            cell_dims=dims, padded_code=padded_code_dim(config.code_dim), width=config.width, depth=config.depth
        )
    if graph.grid is None:
        raise ValueError("a ViT needs a graph with a grid: build it with grid=(rows, columns), or use BottleneckConfig")
    if len(set(dims)) > 1:
        raise ValueError("a ViT needs observed variables of equal dims: use BottleneckConfig for this graph")
    if any(side % config.patch for side in graph.grid):
        raise ValueError(f"ViTConfig: patch={config.patch} does not divide the {graph.grid[0]} x {graph.grid[1]} grid")
    whole = ViTNetwork(config=config, grid=graph.grid, cell_dim=dims[0], n_visible=1)
    return dataclasses.replace(whole, n_visible=_visible_tokens(whole, mask, arrays, graph))


def _visible_tokens(network: ViTNetwork, mask: MaskStrategy, arrays: Any, graph: LatentGraph) -> int:
    """Tokens that every mask of the strategy leaves visible."""
    for labels in (arrays.patch_of_cell, arrays.fixed):
        in_token = labels[network.cells_of_token]
        if (in_token != in_token[:, :1]).any():
            raise ValueError(
                f"the mask cuts through the network's tokens of {network.config.patch} x {network.config.patch} cells: "
                f"use masking units made of whole tokens, or a smaller patch"
            )
    return network.n_tokens - mask.n_masked(graph) // network.config.patch**2


@functools.lru_cache(maxsize=64)
def _unravel(network: Network) -> Callable[[Array], Any]:
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return ravel_pytree(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes))[1]


def unflatten(network: Network, flat: Float[Array, " parameters"]) -> Any:
    """The parameter tree from one flat vector: a single long array makes the optimiser's program small."""
    return _unravel(network)(flat)


@functools.partial(jax.jit, static_argnums=0)
def init_flat(network: Network, keys: Key[Array, " members"]) -> Float[Array, "members parameters"]:
    """Initial flat parameters, one row per key."""
    return jax.vmap(lambda key: ravel_pytree(network.init(key))[0])(keys)


def code_dim_of(config: NetworkConfig) -> int:
    """Numbers in the code; networks without a bottleneck count as 1, and do not read it."""
    return config.code_dim if isinstance(config, BottleneckConfig) else 1
