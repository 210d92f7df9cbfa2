"""What the scores accept: arrays of any framework as float64 matrices, keys as NumPy generators."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

__all__ = ["MIN_ROWS", "Streams", "as_array", "matrix", "paired_matrices", "random_streams"]

MIN_ROWS = 10
"""Fewer samples than this are refused: neither part of a split would mean anything."""

_LARGEST = 1e150  # squares of larger numbers overflow float64


class Streams(NamedTuple):
    """Independent random generators, one per use, so that adding draws to one leaves the others alone.

    Attributes:
        split: draws the training and test rows.
        bootstrap: draws the resampled rows.
        permutation: draws the permutations of a null.
        network: seeds a regressor that starts from random weights.
    """

    split: np.random.Generator
    bootstrap: np.random.Generator
    permutation: np.random.Generator
    network: np.random.Generator


def random_streams(key: Any) -> Streams:
    """Turn one key into the generators that the scores use.

    Args:
        key: a JAX key (``jax.random.key(0)``), or a non-negative int for callers without JAX.

    Returns:
        The generators. The same key always gives the same streams.

    Raises:
        ValueError: ``key`` is a batch of keys, negative, or something else.
    """
    return Streams(*np.random.default_rng(_seed_words(key)).spawn(len(Streams._fields)))


def _seed_words(key: Any) -> np.ndarray | int:
    """The key's own bits, or the int itself."""
    if isinstance(key, jax.Array) and (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.dtype == np.dtype("uint32")
    ):
        words = np.asarray(jax.random.key_data(key))
        if words.ndim != 1:
            raise ValueError(f"key: expected one key, got a batch of shape {words.shape[:-1]}: pass one of them")
        return words
    try:
        seed = operator.index(key)
    except TypeError:
        raise ValueError(
            f"key: expected a JAX key such as jax.random.key(0), or an int; got {type(key).__name__}"
        ) from None
    if seed < 0:
        raise ValueError(f"key: expected an int of at least 0, got {seed}")
    return seed


def as_array(values: Any) -> np.ndarray:
    """An array of any framework in NumPy, of its own type.

    PyTorch's tensors are detached from their graph and fetched from their device first; NumPy alone refuses those that
    need gradients, lie on a GPU or are bfloat16.
    """
    if not (hasattr(values, "detach") and hasattr(values, "cpu")):
        return np.asarray(values)
    tensor = values.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        return tensor.float().numpy().astype(jnp.bfloat16)
    return tensor.numpy()


def matrix(name: str, values: ArrayLike) -> Float[np.ndarray, "n p"]:
    """Check an array of samples and return it as a float64 matrix.

    Args:
        name: what to call the array in error messages.
        values: shape (n, p), or (n,) for one column; real numbers, of NumPy, JAX, PyTorch, pandas or in lists.

    Returns:
        Shape (n, p), float64.

    Raises:
        ValueError: not real numbers, not one or two axes, fewer than 10 rows, no column, NaN or infinite
            values, or values too large to square.
    """
    array = as_array(values)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name}: expected shape (rows, columns) or (rows,), got {array.shape}: "
            "flatten everything after the first axis"
        )
    # The second test lets bfloat16 and friends in: NumPy calls their kind "V" but can convert them.
    if array.dtype.kind not in "fiub" and not np.can_cast(array.dtype, np.float64):
        raise ValueError(f"{name}: expected real numbers, got dtype {array.dtype}: convert it first")
    given = array.shape
    if array.ndim == 1:
        array = array[:, None]
    if len(array) < MIN_ROWS or array.shape[1] == 0:
        raise ValueError(
            f"{name}: expected at least {MIN_ROWS} rows and 1 column, got shape {given}: bring more samples"
        )
    array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise ValueError(
            f"{name}: expected finite numbers, got {int((~finite).sum())} NaN or infinite values, "
            f"the first in row {row}: drop those rows from both arrays"
        )
    if np.abs(array).max() > _LARGEST:
        raise ValueError(f"{name}: expected values up to {_LARGEST:g}, got {np.abs(array).max():g}: rescale it")
    return array


def paired_matrices(
    first_name: str, first: ArrayLike, second_name: str, second: ArrayLike
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n q"]]:
    """Check two arrays whose rows belong to the same samples.

    Args:
        first_name: what to call the first array in error messages.
        first: shape (n, p) or (n,).
        second_name: what to call the second array.
        second: shape (n, q) or (n,).

    Returns:
        Both as float64 matrices.

    Raises:
        ValueError: either array is unfit (see :func:`matrix`), or their numbers of rows differ.
    """
    a, b = matrix(first_name, first), matrix(second_name, second)
    if len(a) != len(b):
        raise ValueError(
            f"expected one row per sample in both arrays, got {len(a)} rows in {first_name} and {len(b)} in "
            f"{second_name}: score both on the same samples in the same order"
        )
    return a, b
