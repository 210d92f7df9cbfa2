"""Factors and inverses of many small matrices at once, in plain array operations.

LAPACK's batched routines are avoided on purpose. In JAX 0.10.2 on a CPU with few cores, two large batches of them in
one compiled program can wait for each other for ever: each runs inside the thread pool that it also waits for.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

__all__ = ["dot", "log_abs_det", "orthonormalize", "random_rotations", "spd_inverse"]


def dot(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """``a @ b`` in full precision. On GPUs JAX otherwise rounds the factors of float32 products to about 3 digits."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def orthonormalize(matrix: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
    """Gram-Schmidt with a second pass: the factor Q of the QR decomposition whose R has a positive diagonal.

    Args:
        matrix: square and of full rank.

    Returns:
        Q, orthogonal up to rounding, and the diagonal of R.
    """

    def add_column(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        q, diagonal = state
        column = matrix[:, j]
        for _ in range(2):  # the second pass removes what rounding left of the first
            column = column - dot(q, dot(q.T, column))
        length = jnp.sqrt((column**2).sum())
        return q.at[:, j].set(column / length), diagonal.at[j].set(length)

    d = matrix.shape[0]
    return jax.lax.fori_loop(0, d, add_column, (jnp.zeros_like(matrix), jnp.zeros(d, matrix.dtype)))


def log_abs_det(matrix: Float[Array, "d d"]) -> Float[Array, ""]:
    """``log |det|`` of a square matrix; minus infinity or not a number when it is singular."""
    return jnp.log(orthonormalize(matrix)[1]).sum()


def random_rotations(key: PRNGKeyArray, count: int, d: int) -> Float[Array, "count d d"]:
    """Orthogonal matrices, independent and uniform over the orthogonal group.

    Drawn flat and reshaped, which compiles much faster than a draw with three axes and more under ``vmap``.

    References:
        :cite:t:`mezzadri2007random`: Q of a Gaussian matrix is uniform when R has a positive diagonal.
    """
    gaussian = jax.random.normal(key, (count * d * d,)).reshape(count, d, d)
    return jax.vmap(orthonormalize)(gaussian)[0]


def spd_inverse(matrices: Float[Array, "*batch d d"]) -> Float[Array, "*batch d d"]:
    """Inverses of symmetric, positive definite matrices, by Gauss-Jordan steps without pivots."""
    places = jnp.arange(matrices.shape[-1])

    def eliminate(j: Array, a: Array) -> Array:
        # Masks instead of indices: the whole step is then one elementwise loop, which compiles and runs faster.
        here = places == j
        in_row, in_column = here[:, None], here[None, :]
        row = jnp.where(in_row, a, 0).sum(axis=-2, keepdims=True)
        column = jnp.where(in_column, a, 0).sum(axis=-1, keepdims=True)
        pivot = jnp.where(in_column, row, 0).sum(axis=-1, keepdims=True)
        inside = jnp.where(in_column, -column / pivot, a - column * row / pivot)
        return jnp.where(in_row, jnp.where(in_column, 1 / pivot, row / pivot), inside)

    return jax.lax.fori_loop(0, matrices.shape[-1], eliminate, matrices)
