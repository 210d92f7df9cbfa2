"""Batches drawn as they are needed, for trainers that never see the same sample twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax

from hlvm._keys import checked_key
from hlvm._numbers import positive
from hlvm.datasets.source import Source, drawn_arrays

__all__ = ["SampleStream"]


class SampleStream:
    """An endless or finite sequence of batches drawn from a model.

    Batch ``i`` depends on the key and ``i`` alone, so a stream can be taken up anywhere, read in any order and shared
    between workers. It has a length and items, so a PyTorch ``DataLoader(stream, batch_size=None)`` takes it.

    Args:
        source: an image model, or a :class:`~hlvm.simulator.HierarchicalModel`.
        key: a JAX key or an int.
        batch_size: samples per batch, at least 1.
        n_batches: length of the stream, at least 1.

    Raises:
        ValueError: no single key, or a number below 1.
    """

    def __init__(self, source: Source, key: Any, batch_size: int, n_batches: int = 2**31 - 1) -> None:
        self.source = source
        self.key = checked_key(key)
        self.batch_size = positive(batch_size, "batch_size")
        self.n_batches = positive(n_batches, "n_batches")

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(self.n_batches))

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Batch ``i`` as NumPy arrays: "images" (n, height, width, channels) if there are any, the rest by name."""
        if not 0 <= i < self.n_batches:
            raise IndexError(f"batch {i} of {self.n_batches}")
        found: dict[str, Any] = {}
        for (part, name), values in drawn_arrays(
            self.source.sample(jax.random.fold_in(self.key, i), self.batch_size)
        ).items():
            if part == "images":
                found[part] = values
            else:
                found.setdefault(part, {})[name] = values
        return found
