"""Strategies for training: a ratio that changes from step to step, and masks that are listed one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Key

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.masking import Patches, RandomMask, count_masked, masked_batch, uniform_masks

__all__ = ["MaskList", "RatioRange"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatioRange:
    """Mask a share of the patches that is drawn anew at every training step, and patches anew for every sample.

    The number of masked patches is uniform over the whole numbers between those of the two ratios.

    Attributes:
        low: smallest ratio, strictly between 0 and 1.
        high: largest ratio, at least ``low``.
        unit: as in :class:`~hlvm.masking.RandomMask`.
        patches: as in :class:`~hlvm.masking.RandomMask`.

    Raises:
        ValueError: ratios out of range or in the wrong order, or as for :class:`~hlvm.masking.RandomMask`.
    """

    low: float
    high: float
    unit: int | tuple[int, int] = 1
    patches: Patches | None = None

    def __post_init__(self) -> None:
        ends = [RandomMask(ratio=ratio, unit=self.unit, patches=self.patches) for ratio in (self.low, self.high)]
        for name, value in (("low", ends[0].ratio), ("high", ends[1].ratio), ("unit", ends[0].unit)):
            object.__setattr__(self, name, value)
        if self.low > self.high:
            raise UsageError(f"low={self.low} is above high={self.high}: exchange them", of="RatioRange")

    def patches_of(self, graph: LatentGraph) -> Patches:
        """The patches this strategy masks on a graph.

        Raises:
            ValueError: as :meth:`hlvm.masking.RandomMask.patches_of`.
        """
        return RandomMask(ratio=self.low, unit=self.unit, patches=self.patches).patches_of(graph)

    def counts(self, graph: LatentGraph) -> tuple[int, int]:
        """Fewest and most masked patches.

        Raises:
            ValueError: a ratio rounds to nothing masked or nothing visible, or as :meth:`patches_of`.
        """
        n_patches = len(self.patches_of(graph))
        return count_masked(self.low, n_patches), count_masked(self.high, n_patches)

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw masks as for one training step: all of them hide the same number of patches.

        Args:
            key: a typed JAX key.
            n: number of masks.
            graph: the graph whose observed variables are masked.

        Returns:
            Boolean array of shape (n, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: as :meth:`counts`.
        """
        patches, (fewest, most) = self.patches_of(graph), self.counts(graph)
        count_key, place_key = jax.random.split(key)
        count = jax.random.randint(count_key, (), fewest, most + 1)
        return uniform_masks(place_key, n, len(patches), count)[:, patches.index(graph)]


@dataclasses.dataclass(frozen=True)
class MaskList:
    """Masks that are listed one by one; every sample gets one of them, chosen uniformly at random.

    Build it with :meth:`of`.

    Attributes:
        packed: the masks, eight observed variables to a byte, every mask beginning a new byte.
        n_observed: number of observed variables.

    Raises:
        ValueError: bytes that do not hold whole masks.
    """

    packed: bytes
    n_observed: int

    def __post_init__(self) -> None:
        if self.n_observed < 2 or not self.packed or len(self.packed) % self._row_bytes:
            raise ValueError(
                f"MaskList: expected a whole number of masks of {self.n_observed} observed variables, got "
                f"{len(self.packed)} bytes: build it with MaskList.of(graph, masks)"
            )

    @classmethod
    def of(cls, graph: LatentGraph, masks: Any) -> MaskList:
        """List masks given as an array.

        Args:
            graph: the graph whose observed variables are masked.
            masks: boolean array (n_masks, n_observed) over ``graph.observed``, True = masked.

        Raises:
            ValueError: an array of another shape or type, no masks, or a mask that hides nothing or everything.

        Example:
            >>> MaskList.of(LatentGraph.tree(3, 1), np.eye(3, dtype=bool))
            MaskList(3 masks of 3 observed variables)
        """
        rows = masked_batch(graph, masks)
        return cls(np.packbits(rows, axis=1).tobytes(), graph.n_observed)

    def __repr__(self) -> str:
        return f"MaskList({len(self)} masks of {self.n_observed} observed variables)"

    def __len__(self) -> int:
        return len(self.packed) // self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return -(-self.n_observed // 8)

    def rows(self, graph: LatentGraph) -> Bool[np.ndarray, "n_masks n_observed"]:
        """The masks as an array, True = masked.

        Raises:
            ValueError: the graph has another number of observed variables, or a mask hides nothing or everything.
        """
        if graph.n_observed != self.n_observed:
            raise ValueError(
                f"these masks are of {self.n_observed} observed variables and the graph has {graph.n_observed}: "
                f"list masks of this graph"
            )
        packed = np.frombuffer(self.packed, dtype=np.uint8).reshape(len(self), -1)
        return masked_batch(graph, np.unpackbits(packed, axis=1, count=self.n_observed).astype(bool))

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        """Draw ``n`` of the masks with replacement, (n, n_observed), True = masked.

        Raises:
            ValueError: as :meth:`rows`.
        """
        rows = jnp.asarray(self.rows(graph))
        return rows[jax.random.randint(key, (n,), 0, len(self))]
