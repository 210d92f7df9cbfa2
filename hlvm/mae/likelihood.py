"""The likelihood that a masked autoencoder gives to samples, by averaged masked losses."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, positive
from hlvm._process.promotion import usual_promotion
from hlvm.graph import LatentGraph
from hlvm.mae.encoding import Observed, inputs_of
from hlvm.mae.networks.linear import LinearNetwork
from hlvm.mae.networks.networks import Network, code_dim_of, padded_to_any, unflatten
from hlvm.mae.objectives.cross_entropy import CrossEntropy, log_losses
from hlvm.mae.result import Fit

__all__ = ["log_likelihood"]

_FLOOR = 1e-6
"""Least probability of a symbol when nothing is visible: samples of the training data may lack it by chance."""


@usual_promotion
def log_likelihood(fit: Fit, data: Observed, *, key: Any, orders: int = 4) -> Float[np.ndarray, " n"]:
    """Logarithm of the probability that an autoencoder gives to each sample, estimated by averaged masked losses.

    If cells are shown one by one in any order, ``log p(x)`` is the sum of ``log p(cell | cells shown before)``. On
    average over all orders of T cells it is the sum, over the numbers m = 1 ... T of masked cells, of the mean ``log
    p`` of one of them under a random mask of m cells. All masked cells of a mask are used, so that few orders do. Where
    the autoencoder's conditionals are the data's this is the true log-likelihood on average over orders. Otherwise it
    is less, by the Kullback-Leibler divergences of its conditionals, averaged over samples.

    With all cells masked there is nothing to encode: that term is taken from the frequencies of each cell's symbols in
    the training data. Train with masks that hide any number of cells, as :class:`~hlvm.masking.RatioRange` does, or
    the conditionals of other numbers are out of the training distribution.

    Args:
        fit: an autoencoder trained by :class:`~hlvm.mae.objectives.CrossEntropy`, whose tokens are single cells.
        data: as for :func:`~hlvm.mae.encode`.
        key: a JAX key or an int, for the orders.
        orders: random masks of each number of masked cells and sample, at least 1.

    Returns:
        Shape (n,), in natural logarithms; divide by ``-log(2)`` for bits.

    Raises:
        ValueError: another objective, tokens of several cells, or as for :func:`~hlvm.mae.encode`.

    References:
        :cite:t:`moreno2023masked`, proposition 1. The exact answer for grammars is
        :meth:`hlvm.theory.GrammarOracle.log_likelihood`.
    """
    key, orders = checked_key(key), positive(orders, "orders")
    if not isinstance(fit.loss, CrossEntropy):
        raise ValueError(
            f"a likelihood needs probabilities of symbols, and this autoencoder was trained by "
            f"{type(fit.loss).__name__}: train it with loss=objectives.CrossEntropy()"
        )
    values, _, network = inputs_of(fit, data, None)
    tokens = None if isinstance(network, LinearNetwork) else network.tokens
    if tokens is not None and tokens.patch > 1:
        raise UsageError(
            f"must be 1 for a likelihood, which hides cells one by one, got {tokens.patch}",
            argument="patch",
            of="ViTConfig",
        )
    graph = fit.model.graph
    own_units = values * jnp.asarray(fit.scale, jnp.float32) + jnp.asarray(fit.shift, jnp.float32)
    frequencies = jnp.log(jnp.clip(jnp.asarray(fit.shift, jnp.float32), _FLOOR, 1.0))
    with_nothing = -log_losses(graph, jnp.broadcast_to(frequencies, own_units.shape), own_units).mean(axis=1)
    given: Any = (fit.params, values, own_units, code_dim_of(fit.network))
    return np.asarray(with_nothing + _of_masks(padded_to_any(network), graph, orders, *given, key))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _of_masks(
    network: Network,
    graph: LatentGraph,
    orders: int,
    flat: Float[Array, " parameters"],
    values: Float[Array, "n columns"],
    own_units: Float[Array, "n columns"],
    code_dim: Any,
    key: Key[Array, ""],
) -> Float[Array, " n"]:
    """Mean log-probability of a masked cell, summed over the numbers of masked cells but all of them."""
    params, (n, cells) = unflatten(network, flat), (len(values), graph.n_observed)
    noise = jnp.zeros((1, n, network.noise_size))

    def of_mask(number: Array) -> Float[Array, " n"]:
        ranks = jnp.argsort(jax.random.uniform(jax.random.fold_in(key, number), (n, cells)), axis=1)
        count = 1 + number % (cells - 1)
        masked = ranks < count
        logits = network.reconstruct(params, values, masked, code_dim, noise)[0]
        return -jnp.where(masked, log_losses(graph, logits, own_units), 0.0).sum(axis=1) / count

    return jax.lax.map(of_mask, jnp.arange(orders * (cells - 1))).sum(axis=0) / orders
