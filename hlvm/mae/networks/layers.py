"""Layers of transformers, arranged for the matrix products of CPUs.

They compute what dense layers, layer norms and softmax attention compute everywhere, and have the parameters of Flax's
layers of the same names. What differs is the way: networks here are small and trained on cores, where as much time goes
into moving arrays as into products. Derivatives are written out where the usual ones make the compiler choose a slow
product or an array laid out anew; they exist in reverse mode only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["Dense", "LayerNorm", "Normed", "attend", "attention_weights"]

_EPSILON = 1e-6


class Normed(NamedTuple):
    """A layer norm whose last step, an affine map of every number, is left to the layer that reads it.

    Attributes:
        values: of mean 0 and variance 1 along the last axis.
        scale: the map's factor per number.
        bias: what it adds.
    """

    values: Float[Array, "n width"]
    scale: Float[Array, " width"]
    bias: Float[Array, " width"]


class LayerNorm(nn.Module):
    """Layer norm, for a :class:`Dense` layer to finish."""

    @nn.compact
    def __call__(self, values: Float[Array, "n width"]) -> Normed:
        """Normalise every row, in float32."""
        width = values.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (width,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        wide = values.astype(jnp.float32)
        centred = wide - wide.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        return Normed((centred * jax.lax.rsqrt(variance + _EPSILON)).astype(values.dtype), scale, bias)


class Dense(nn.Module):
    """A dense layer.

    The affine map of a layer norm is applied to the weights, which are fewer numbers than the values, and whose
    derivatives then need no sums over rows.

    Attributes:
        outputs: shape of a row of the result.
    """

    outputs: tuple[int, ...]

    @nn.compact
    def __call__(self, rows: Float[Array, "n ..."] | Normed) -> Float[Array, "n ..."]:
        """Rows times kernel, plus bias."""
        values = rows.values if isinstance(rows, Normed) else rows
        inputs = values.shape[1:]
        n_in, n_out = math.prod(inputs), math.prod(self.outputs)
        flat = nn.initializers.lecun_normal()
        kernel = self.param("kernel", lambda key: flat(key, (n_in, n_out)).reshape(*inputs, *self.outputs))
        bias = self.param("bias", nn.initializers.zeros, self.outputs)
        # Barriers on the way back: sums over rows are slow where the compiler merges them with what joins gradients.
        kernel, bias = jax.lax.optimization_barrier((kernel.reshape(n_in, n_out), bias.reshape(n_out)))
        if isinstance(rows, Normed):
            scaled = rows.scale[:, None] * kernel, bias + rows.bias @ kernel
            kernel, bias = jax.lax.optimization_barrier(scaled)
        return (_product(values.reshape(len(values), n_in), kernel) + bias).reshape(len(values), *self.outputs)


@jax.custom_vjp
def _product(rows: Float[Array, "n i"], kernel: Float[Array, "i o"]) -> Float[Array, "n o"]:
    return rows @ kernel


def _product_forward(rows: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return rows @ kernel, (rows, kernel)


def _product_backward(kept: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    rows, kernel = kept
    of_rows = _contract(slope, kernel, 1)
    if kernel.shape[0] <= kernel.shape[1]:
        return of_rows, _contract(rows, slope, 0)
    # The narrower array first, and the barrier keeps it there: twice as fast on a CPU as the wider one.
    return of_rows, jax.lax.optimization_barrier(_contract(slope, rows, 0)).T


def _contract(a: Array, b: Array, axis: int) -> Array:
    return jax.lax.dot_general(a, b, (((axis,), (axis,)), ((), ())))


_product.defvjp(_product_forward, _product_backward)


@jax.custom_vjp
def attend(
    query: Float[Array, "n h q d"],
    key: Float[Array, "n h k d"],
    value: Float[Array, "n h k d"],
    present: Bool[Array, "n k"] | None = None,
) -> Float[Array, "n h d q"]:
    """Scaled dot-product attention with softmax over keys.

    Scores are held with keys along rows, the result with numbers along rows. Then every product, forward and backward,
    reads scores as they lie, where the usual arrangement has to transpose them twice on the way back; and the maximum
    and the sum over keys are taken over whole rows at a time.

    Args:
        query: of every head.
        key: likewise.
        value: likewise.
        present: which keys may be attended to, at least one per sample; ``None`` for all.

    Returns:
        Means of the values, weighted by the attention, transposed.
    """
    return _attend_forward(query, key, value, present)[0]


def attention_weights(
    query: Float[Array, "n h q d"], key: Float[Array, "n h k d"], present: Bool[Array, "n k"] | None = None
) -> Float[Array, "n h q k"]:
    """The weights with which :func:`attend` mixes values; every row sums to 1."""
    weights, total = _weights(query, key, present)
    return jnp.swapaxes(weights / total, -1, -2)


def _weights(query: Array, key: Array, present: Array | None) -> tuple[Array, Array]:
    """Attention before it is divided by its sum over keys, (n, h, k, q), and this sum."""
    scaled = jnp.swapaxes(query, -1, -2) / query.shape[-1] ** 0.5
    scores = jnp.einsum("nhkd,nhdq->nhkq", key, scaled)
    if present is not None:
        scores = jnp.where(present[:, None, :, None], scores, jnp.finfo(scores.dtype).min)
    weights = jnp.exp(scores - scores.max(axis=-2, keepdims=True))
    return weights, weights.sum(axis=-2, keepdims=True, dtype=jnp.float32).astype(weights.dtype)


def _attend_forward(query: Array, key: Array, value: Array, present: Array | None) -> tuple[Array, tuple[Array, ...]]:
    weights, total = _weights(query, key, present)
    # Divided by the total after the product, which is over fewer numbers than before it.
    mixed = jnp.einsum("nhdk,nhkq->nhdq", jnp.swapaxes(value, -1, -2), weights) / total
    return mixed, (query, key, value, weights, total, mixed)


def _attend_backward(kept: tuple[Array, ...], slope: Array) -> tuple[Array, Array, Array, None]:
    query, key, value, weights, total, mixed = kept
    scale = query.shape[-1] ** -0.5
    slope = slope / total
    of_value = jnp.einsum("nhkq,nhqd->nhkd", weights, jnp.swapaxes(slope, -1, -2))
    common = (slope * mixed).sum(axis=-2, keepdims=True)
    of_scores = weights * (jnp.einsum("nhkd,nhdq->nhkq", value, slope) - common)
    # Scaled before it is transposed, or the compiler takes product and transposition together, and a slower product.
    of_query = jnp.einsum("nhdk,nhkq->nhdq", jnp.swapaxes(key, -1, -2), of_scores) * scale
    of_key = jnp.einsum("nhkq,nhqd->nhkd", of_scores, query) * scale
    return jnp.swapaxes(of_query, -1, -2), of_key, of_value, None


attend.defvjp(_attend_forward, _attend_backward)
