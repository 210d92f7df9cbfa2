"""Masks that are listed one by one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool

from hlvm.graph import LatentGraph
from hlvm.masking.laws import LawfulMask, Listed
from hlvm.masking.masks import masked_batch

__all__ = ["MaskList"]


@dataclasses.dataclass(frozen=True)
class MaskList(LawfulMask):
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

    def law(self, graph: LatentGraph) -> Listed:
        """The masks, each as likely as the others.

        Raises:
            ValueError: as :meth:`rows`.
        """
        return Listed.of(graph, self.rows(graph), f"one of {len(self)} masks")
