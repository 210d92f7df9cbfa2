"""Moments of what a random mask leaves visible: how often one, two and, beside a masked one, two units are seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, positive
from hlvm.graph import LatentGraph
from hlvm.masking import Chance, Counted, Listed, law_of
from hlvm.masking.strategies import as_strategy

__all__ = ["Visibility"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Visibility:
    """Probabilities of being seen.

    Attributes:
        unit_of: shape (n_observed,), the unit of each observed variable. A unit is seen as a whole or not at all.
        pairs: shape (n_units, n_units), probability that both are visible; of one unit on the diagonal.
        n_masks: masks drawn to estimate this; 0 where it is exact.
    """

    unit_of: Int[np.ndarray, " n_observed"]
    pairs: Float[np.ndarray, "n_units n_units"]
    n_masks: int
    _masked_and: Callable[[int], Float[np.ndarray, "n_units n_units"]] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, strategy: Any, graph: LatentGraph, *, key: Any = None, n_masks: int = 1000) -> Visibility:
        """The moments of a strategy's masks: exact for laws, else means over masks that are drawn.

        Args:
            strategy: as for :func:`hlvm.masking.law_of`.
            graph: the graph whose observed variables are masked.
            key: for masks that must be drawn.
            n_masks: how many of them.

        Raises:
            ValueError: no strategy, one that does not fit the graph, or no key where masks must be drawn.
        """
        law = law_of(strategy, graph)
        if isinstance(law, Counted | Chance):
            return cls._of_counts(law, graph)
        if isinstance(law, Listed):
            return cls._of_masks(law.parts, graph, 0)
        if key is None:
            raise UsageError(f"is needed to draw masks: {law.description} has no law in closed form", argument="key")
        n_masks = positive(n_masks, "n_masks")
        masks = np.asarray(as_strategy(strategy).sample(checked_key(key), n_masks, graph))
        return cls._of_masks(lambda: iter([masks]), graph, n_masks)

    @classmethod
    def _of_counts(cls, law: Counted | Chance, graph: LatentGraph) -> Visibility:
        """Given how many units are masked, every choice of them is equally likely."""
        n = len(law.patches)
        if isinstance(law, Counted):
            masked = np.asarray(law.counts, dtype=np.float64)
            weights = np.full(len(masked), 1 / len(masked))
        else:
            masked = np.arange(1.0, n)
            weights = np.exp(law.count_logits - law.count_logits.max())
            weights /= weights.sum()
        seen = n - masked
        once, twice = seen / n, seen * (seen - 1) / (n * (n - 1))
        beside = masked * seen / (n * (n - 1))
        twice_beside = beside * (seen - 1) / max(n - 2, 1)

        def masked_and(unit: int) -> np.ndarray:
            found = _equal(n, float(weights @ beside), float(weights @ twice_beside))
            found[unit] = found[:, unit] = 0.0
            return found

        pairs = _equal(n, float(weights @ once), float(weights @ twice))
        return cls(unit_of=np.asarray(law.patches.index(graph)), pairs=pairs, n_masks=0, _masked_and=masked_and)

    @classmethod
    def _of_masks(
        cls, parts: Callable[[], Iterator[Bool[np.ndarray, "n n_observed"]]], graph: LatentGraph, n_masks: int
    ) -> Visibility:
        def masked_and(unit: int | None) -> np.ndarray:
            found, n = np.zeros((graph.n_observed, graph.n_observed)), 0
            for masks in parts():
                seen = (~(masks if unit is None else masks[masks[:, unit]])).astype(np.float64)
                found += seen.T @ seen
                n += len(masks)
            return found / n

        units = np.arange(graph.n_observed)
        return cls(unit_of=units, pairs=masked_and(None), n_masks=n_masks, _masked_and=masked_and)

    def beside(self, masked: int) -> Float[np.ndarray, "n_units n_units"]:
        """Probability that one unit is masked and two others visible; one other on the diagonal."""
        return self._masked_and(masked)


def _equal(n: int, once: float, twice: float) -> np.ndarray:
    return np.full((n, n), twice) + (once - twice) * np.eye(n)
