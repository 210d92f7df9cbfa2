"""Masks as arrays and as names, how many patches a ratio masks, and masks of a fixed count drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from hlvm._keys import checked_key
from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph

__all__ = [
    "check_observed_names",
    "checked_names",
    "checked_ratio",
    "count_masked",
    "how_many_to_mask",
    "masked_array",
    "masked_batch",
    "uniform_masks",
]

_ROUNDING = 1e-9
"""Slack for ``ratio * n`` when it should be a half but its floating-point product is just below."""


def masked_array(graph: LatentGraph, masked: Any) -> Bool[np.ndarray, " n_observed"]:
    """Check one mask and return it as a boolean array.

    Args:
        graph: the graph whose observed variables are masked.
        masked: names of the masked observed variables, or a boolean array of shape (n_observed,) over
            ``graph.observed`` with True = masked.

    Returns:
        Boolean array of shape (n_observed,), True = masked.

    Raises:
        ValueError: an unknown name, a latent, an array of another shape or type, nothing masked, or
            everything masked.
    """
    if getattr(masked, "dtype", None) is not None and masked.dtype.kind not in "UO":
        return masked_batch(graph, _one_row(masked))[0]
    names = checked_names(masked)
    check_observed_names(graph, names, "masked")
    first = graph.n_latents
    mask = np.zeros(graph.n_observed, dtype=bool)
    mask[[graph.index[name] - first for name in names]] = True
    return masked_batch(graph, mask[None])[0]


def masked_batch(graph: LatentGraph, masks: Any) -> Bool[np.ndarray, "n_masks n_observed"]:
    """Check many masks at once.

    Args:
        graph: the graph whose observed variables are masked.
        masks: boolean array of shape (n_masks, n_observed) over ``graph.observed``, True = masked.

    Returns:
        The same masks as a NumPy array.

    Raises:
        ValueError: an array of another shape or type, or a mask that masks nothing or everything.
    """
    array = np.asarray(masks)
    n_observed = graph.n_observed
    if array.dtype != np.bool_:
        raise ValueError(f"a mask array is boolean (True = masked), got dtype {array.dtype}: compare or cast it first")
    if array.ndim != 2 or array.shape[1] != n_observed:
        raise ValueError(
            f"masks must have shape (n_masks, {n_observed}), one column per observed variable, got {array.shape}"
        )
    for empty, message in (
        (~array.any(axis=1), "nothing is masked"),
        (array.all(axis=1), "everything is masked, so nothing is visible"),
    ):
        if empty.any():
            where = f" in mask {int(np.argmax(empty))}" if len(array) > 1 else ""
            raise ValueError(f"{message}{where}: {how_many_to_mask(n_observed)}")
    return array


def how_many_to_mask(n_observed: int) -> str:
    """The remedy where a side of a mask is empty."""
    if n_observed == 1:
        return "a mask needs a graph with at least 2 observed variables, this one has 1"
    return f"mask at least 1 and at most {n_observed - 1} of the {n_observed} observed variables"


def _one_row(masked: Any) -> np.ndarray:
    array = np.asarray(masked)
    if array.ndim != 1:
        raise ValueError(f"one mask is an array of shape (n_observed,), got shape {array.shape}")
    return array[None]


def checked_names(masked: Any) -> list[str]:
    """The names in a collection, refused when it is a string or holds anything else."""
    if isinstance(masked, str) or not isinstance(masked, Iterable):
        raise ValueError(f'masked is a collection of names such as ["x1", "x2"], or a boolean array, got {masked!r}')
    names = list(masked)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"masked is a collection of names or a boolean array, got the entry {name!r}")
    return names


def check_observed_names(graph: LatentGraph, names: Iterable[str], what: str) -> None:
    """Refuse a latent or an unknown name among the masked variables; ``what`` begins the message."""
    first = graph.n_latents
    for name in names:
        if graph.position(name) < first:
            raise ValueError(
                f"{what}: {name!r} is a latent; only observed variables are masked, such as {graph.observed[0]!r}"
            )


# ---------------------------------------------------------------------- counts


def count_masked(ratio: float, n_patches: int) -> int:
    """Number of masked patches: ``ratio * n_patches`` rounded to the nearest whole number, halves up.

    Args:
        ratio: share of the patches to mask, strictly between 0 and 1.
        n_patches: number of patches, at least 2.

    Returns:
        A number from 1 to ``n_patches - 1``.

    Raises:
        ValueError: the ratio is not strictly between 0 and 1, there are fewer than 2 patches, or the
            ratio rounds to nothing masked or nothing visible.

    Example:
        >>> count_masked(0.9, 10), count_masked(0.5, 5)
        (9, 3)
    """
    ratio = checked_ratio(ratio)
    if n_patches < 2:
        raise ValueError(
            f"a mask needs at least 2 patches (one masked, one visible), got {n_patches}: use a smaller unit"
        )
    count = math.floor(ratio * n_patches + 0.5 + _ROUNDING)
    if not 0 < count < n_patches:
        usable = min(max(count, 1), n_patches - 1)
        problem = "nothing would be masked" if count == 0 else "nothing would be visible"
        raise ValueError(
            f"ratio {ratio} of {n_patches} patches rounds to {count}: {problem}; "
            f"the nearest usable ratio is {usable / n_patches:.6g} ({usable} of {n_patches})"
        )
    return count


def checked_ratio(ratio: Any) -> float:
    """A masking ratio as a ``float``, checked to be a number strictly between 0 and 1."""
    is_number = isinstance(ratio, int | float) or (isinstance(ratio, np.number | jax.Array) and np.ndim(ratio) == 0)
    if isinstance(ratio, bool) or not is_number or not 0 < ratio < 1:
        raise UsageError(f"must be a number strictly between 0 and 1, got {ratio!r}", argument="ratio")
    return float(ratio)


# ---------------------------------------------------------------------- random masks


def uniform_masks(key: Any, n: int, n_patches: int, n_masked: int | Int[Array, "*rows"]) -> Bool[Array, "n n_patches"]:
    """Draw masks uniformly among those with exactly ``n_masked`` masked patches.

    Random noise is ranked and the ranks are compared with the count, so shapes do not depend on it.

    Args:
        key: a JAX key or an int.
        n: number of masks.
        n_patches: number of patches.
        n_masked: masked patches in every mask, or an array of shape (n, 1) with a number per mask; may be traced
            under jit. See :func:`count_masked`.

    Returns:
        Boolean array of shape (n, n_patches), True = masked; every row has ``n_masked`` True entries.
    """
    noise = jax.random.bits(checked_key(key), (n, n_patches), dtype=jnp.uint32)
    random_order = jnp.argsort(noise, axis=1)
    return random_order < n_masked
