"""What training and encoding need of a network, whatever its architecture.

A network here is a frozen, hashable description: members whose descriptions are equal share one compiled program. What
may differ between them (masks, code dims, seeds) is passed as arrays. All have the same methods:

* ``init(key)``: fresh parameters.
* ``encode(params, values, masked, code_dim)``: codes of standardised values (n, columns) under masks (n, cells).
* ``reconstruct(params, values, masked, code_dim, noise)``: reconstructions (draws, n, columns) for noise
  (draws, n, noise_size); without noise there is one draw.
* ``targets(values)``: what reconstructions are compared with, (n, columns).
* ``attention(params, values, masked)``, for those that attend.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Key, Scalar

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.config import BottleneckConfig, LinearConfig, NetworkConfig, ObjectiveConfig, ViTConfig
from hlvm.mae.networks.blocks import MOST_UNROLLED
from hlvm.mae.networks.bottleneck import BottleneckNetwork
from hlvm.mae.networks.codes import padded_code_dim
from hlvm.mae.networks.linear import LinearNetwork
from hlvm.mae.networks.tokens import Tokens
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.training.mask_draws import MaskPlan
from hlvm.masking import Chance, Counted, Listed

__all__ = [
    "Network",
    "attending",
    "beyond",
    "build_network",
    "code_dim_of",
    "code_width",
    "fully_visible",
    "init_flat",
    "padded_to_any",
    "padded_to_most",
    "pooled_codes",
    "unflatten",
    "unrolled",
]

Network = LinearNetwork | BottleneckNetwork | ViTNetwork


def build_network(graph: LatentGraph, plan: MaskPlan, config: NetworkConfig, loss: ObjectiveConfig) -> Network:
    """The network that a configuration, masks and a loss ask for on this graph.

    Raises:
        ValueError: for a network with tokens, the patch does not divide the graph's grid, or is larger than 1 and
            there is no grid, or masking units cut through tokens; a linear network with an energy score; or normalised
            targets of tokens of one number.
    """
    dims = tuple(graph.dim(name) for name in graph.observed)
    noise_dim = loss.decoder_noise
    if isinstance(config, LinearConfig):
        if noise_dim:
            raise UsageError(
                "the energy score needs a decoder that reads noise",
                remedies={"bottleneck": "use BottleneckConfig", "vit": "ViTConfig"},
            )
        return LinearNetwork(cell_dims=dims, padded_code=padded_code_dim(config.code_dim))
    if isinstance(config, BottleneckConfig):
        whole = BottleneckNetwork(
            config=dataclasses.replace(config, code_dim=1),
            padded_code=padded_code_dim(config.code_dim),
            cell_dims=dims,
            noise_dim=noise_dim,
        )
        if config.encoder is None:
            return whole
        tokens, n_visible, padded = _tokens(graph, plan, config.encoder.patch)
        return dataclasses.replace(whole, tokens=tokens, n_visible=n_visible, padded=padded)
    if not isinstance(config, ViTConfig):
        raise ValueError(
            f"the network is a BottleneckConfig, a ViTConfig or a LinearConfig, got {type(config).__name__}"
        )
    tokens, n_visible, padded = _tokens(graph, plan, config.patch)
    fewest = tokens.token_dim if tokens.own is None else int(tokens.own.sum(axis=1).min())
    if config.normalize_targets and fewest < 2:
        raise UsageError(
            f"needs tokens of at least 2 numbers, {'some' if fewest < tokens.token_dim else 'these'} have 1: "
            f"{'use a larger patch' if graph.grid else 'leave it at False'}",
            argument="normalize_targets",
            of="ViTConfig",
        )
    if config.decoder == "cross" and noise_dim:
        raise UsageError(
            'must be "full" for the energy score, whose decoder reads noise', argument="decoder", of="ViTConfig"
        )
    return ViTNetwork(
        config=config,
        tokens=tokens,
        n_visible=n_visible,
        padded=padded,
        noise_dim=noise_dim,
        predicted=config.width if loss.predicts_codes else 0,
        n_hidden=plan.most // config.patch**2 if config.decoder == "cross" else 0,
    )


def _tokens(graph: LatentGraph, plan: MaskPlan, patch: int) -> tuple[Tokens, int, bool]:
    """Tokens, the most that a mask leaves visible, and whether some leave fewer."""
    tokens = Tokens.of(graph, patch)
    if plan.kind in (Counted, Chance):
        tokens.check_whole(np.asarray(plan.arrays.patch_of_cell))
    elif plan.kind is Listed:
        tokens.check_whole(np.asarray(plan.arrays.masks))
    fewest, most = -(-plan.fewest // patch**2), plan.most // patch**2
    return tokens, tokens.n_tokens - fewest, fewest != most


def attending(network: Network) -> bool:
    """Whether a network has tokens, and attention over them."""
    return isinstance(network, ViTNetwork) or (isinstance(network, BottleneckNetwork) and network.tokens is not None)


def unrolled(network: Network) -> Network:
    """The network with no loop over blocks, whose work is then counted in full; itself where there is no loop."""
    depths: tuple[int, ...] = ()
    if isinstance(network, ViTNetwork):
        depths = network.config.depth, network.config.decoder_depth
    elif isinstance(network, BottleneckNetwork) and network.config.encoder is not None:
        depths = (network.config.encoder.depth,)
    if isinstance(network, LinearNetwork) or max(depths, default=0) <= MOST_UNROLLED:
        return network
    return dataclasses.replace(network, unrolled=True)


@functools.lru_cache(maxsize=64)
def _unravel(network: Network) -> tuple[int, Callable[[Array], Any]]:
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    flat, unravel = ravel_pytree(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes))
    return len(flat), unravel


def unflatten(network: Network, flat: Float[Array, " parameters"]) -> Any:
    """The parameter tree from one flat vector: a single long array makes the optimiser's program small.

    What comes after the network's own parameters is an objective's (:func:`beyond`), and is left out.
    """
    size, unravel = _unravel(network)
    return unravel(flat if len(flat) == size else flat[:size])


def beyond(network: Network, flat: Float[Array, " parameters"]) -> Float[Array, " others"]:
    """The rest of a flat vector, after the network's parameters."""
    return flat[_unravel(network)[0] :]


def code_width(network: Network) -> int:
    """Numbers of a sample's code as it is stored."""
    return network.config.width if isinstance(network, ViTNetwork) else network.padded_code


def pooled_codes(
    network: Network, params: Any, values: Float[Array, "n columns"], masked: Bool[Array, "n cells"], code_dim: Scalar
) -> Float[Array, "n width"]:
    """One code per sample: of transformers the mean of the visible tokens; traced."""
    coded = network.encode(params, values, masked, code_dim)
    if not isinstance(network, ViTNetwork):
        return coded
    _, present = network.visible(masked)
    if present is None:
        return coded[:, 1:].mean(axis=1)
    return jnp.where(present[..., None], coded[:, 1:], 0.0).sum(axis=1) / present.sum(axis=1, keepdims=True)


def init_flat(network: Network, keys: Key[Array, " members"]) -> Float[Array, "members parameters"]:
    """Initial flat parameters, one row per key.

    Networks that differ in how many tokens they see share one program, whatever the number of keys.
    """
    of_key = _initializer(fully_visible(network), jax.default_backend())
    return jnp.stack([of_key(key) for key in keys])


def fully_visible(network: Network) -> Network:
    """The network that sees all tokens: its parameters are the same."""
    if isinstance(network, LinearNetwork) or network.tokens is None:
        return network
    return _seeing(network, network.tokens.n_tokens, padded=False, n_hidden=network.tokens.n_tokens)


def padded_to_any(network: Network) -> Network:
    """The network for masks that hide any number of tokens from one up."""
    if isinstance(network, LinearNetwork) or network.tokens is None:
        return network
    most = network.tokens.n_tokens
    return _seeing(network, max(most - 1, 1), padded=True, n_hidden=most)


def _seeing(network: Network, n_visible: int, *, padded: bool, n_hidden: int) -> Network:
    """A network with tokens that sees at most so many, and decodes so many if it decodes hidden ones alone."""
    if isinstance(network, LinearNetwork):
        return network
    seeing = dataclasses.replace(network, n_visible=n_visible, padded=padded)
    return (
        dataclasses.replace(seeing, n_hidden=n_hidden) if isinstance(seeing, ViTNetwork) and seeing.n_hidden else seeing
    )


def padded_to_most(networks: Sequence[Network]) -> Network:
    """The network that stands for several which differ only in how many tokens they see; of a single one itself.

    Raises:
        ValueError: they differ in something else.
    """
    if len({fully_visible(network) for network in networks}) != 1:
        raise ValueError(f"{len(networks)} networks do not differ in the number of visible tokens alone")
    first, *others = networks
    if not others or isinstance(first, LinearNetwork):
        return first
    most = max(network.n_visible for network in networks if not isinstance(network, LinearNetwork))
    hidden = max(network.n_hidden if isinstance(network, ViTNetwork) else 0 for network in networks)
    return _seeing(first, most, padded=True, n_hidden=hidden)


@functools.lru_cache(maxsize=64)
def _initializer(network: Network, backend: str) -> Callable[[Key[Array, ""]], Array]:
    # Run once, so on CPUs compiled without optimisation, which takes a third of the time.
    options = {"xla_backend_optimization_level": 0} if backend == "cpu" else None
    return jax.jit(lambda key: ravel_pytree(network.init(key))[0], compiler_options=options)


def code_dim_of(config: NetworkConfig) -> int:
    """Numbers in the code; networks without a bottleneck count as 1, and do not read it."""
    return 1 if isinstance(config, ViTConfig) else config.code_dim
