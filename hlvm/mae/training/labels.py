"""Latents that a generator draws together with the values, as targets of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm._numbers import UsageError
from hlvm.mae.training.data import Generator, ImageData, Source
from hlvm.simulator import HierarchicalModel

__all__ = ["Labels", "draw_labels", "label_units"]

_SAMPLES = 4096
_OTHERS_STREAM = 2**32 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels:
    """Latents that are targets; static under jit.

    Attributes:
        names: their names.
        categories: 0 for numbers; else values are whole numbers below it, and become one-hot.
        shuffled: whether those of other samples are drawn.
    """

    names: tuple[str, ...]
    categories: int
    shuffled: bool


def draw_labels(generator: Generator, key: PRNGKeyArray, n: int, labels: Labels) -> Float[Array, "n numbers"]:
    """The latents of ``n`` samples, those that the key draws values of, side by side; traced."""
    if labels.shuffled:
        key = jax.random.fold_in(key, _OTHERS_STREAM)
    values = _values(generator, key, n, labels)
    if not labels.categories:
        return values
    return jax.nn.one_hot(values.astype(jnp.int32), labels.categories).reshape(n, -1)


def _values(generator: Generator, key: PRNGKeyArray, n: int, labels: Labels) -> Float[Array, "n dims"]:
    sample: Any = (generator.images if isinstance(generator, ImageData) else generator).sample(key, n)
    return jnp.concatenate([jnp.asarray(sample.latents[name], jnp.float32) for name in labels.names], axis=1)


def label_units(
    data: Source, labels: Labels, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, " numbers"], Float[np.ndarray, " numbers"]]:
    """Mean and standard deviation of every number, from 4,096 samples; 1 for a constant one.

    Raises:
        ValueError: rows, which hold no latents; a generator whose samples have none; categories taken for numbers, or
            more of them than were said.
    """
    if not isinstance(data, HierarchicalModel | ImageData):
        raise UsageError(
            "needs latents drawn together with the values, and rows have none here: train on the generator itself",
            of="Supervised",
        )
    model: Any = data.images if isinstance(data, ImageData) else data
    known: Mapping[str, Any] = getattr(model, "n_values", None) or {}
    counts = {name: int(np.max(known[name])) for name in labels.names if name in known}
    if not labels.categories and counts:
        name = next(iter(counts))
        raise UsageError(
            f"must be at least {max(counts.values())} here, since {name!r} is a category, got 0",
            argument="categories",
            of="Supervised",
        )

    def draw(key: PRNGKeyArray) -> Float[Array, "n dims"]:
        return _values(data, key, _SAMPLES, labels)

    try:
        values = np.asarray(jax.jit(draw)(key))
    except (AttributeError, KeyError) as error:
        raise UsageError(
            f"needs latents drawn together with the values, and what {type(model).__name__} draws lacks {error}",
            of="Supervised",
        ) from None
    if labels.categories:
        whole = (values >= 0) & (values < labels.categories) & (values == np.floor(values))
        if not whole.all():
            raise UsageError(
                f"must be above every value of the latents, which are whole numbers from 0, got {labels.categories} "
                f"and a value of {values[~whole][0]:g}",
                argument="categories",
                of="Supervised",
            )
        values = np.eye(labels.categories)[values.astype(int)].reshape(len(values), -1)
    spread = values.std(axis=0)
    return values.mean(axis=0).astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32)
