"""Demand for a target and its availability under the masks of one strategy, so that strategies can be compared."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from hlvm.graph import LatentGraph
from hlvm.masking import Counted, Law, Listed
from hlvm.theory.oracles import How, Oracle, Part
from hlvm.theory.random_masks.averages import Asked, Draws, masks_of
from hlvm.theory.random_masks.ladder import loss_within, reaches

__all__ = ["PairedMean", "TargetDemand", "TargetQuestions"]

_OF_MASKS, _OF_STRINGS = 0, 1
"""Streams of the key."""

_ROUNDING = 1e-6
"""Gains up to this are 0: losses in single precision are known no better."""


class PairedMean(NamedTuple):
    """A mean over masks and strings, and what each of these adds to its mistake; nothing where it is exact."""

    value: float
    parts: Float[np.ndarray, " n"]

    @property
    def error(self) -> float:
        """Standard error."""
        return float(np.sqrt((self.parts**2).sum()))

    def error_of_difference(self, other: PairedMean) -> float:
        """Standard error of the difference of two means over the same strings."""
        n = max(len(self.parts), len(other.parts))
        mine, others = (np.pad(mean.parts, (0, n - len(mean.parts))) for mean in (self, other))
        return float(np.sqrt(((mine - others) ** 2).sum()))


class TargetDemand(NamedTuple):
    """Answers about one candidate.

    Attributes:
        masked_share: mean share of the cells that is masked.
        demand: what knowing the target takes off the loss per masked cell.
        availability: R² of its values, mean over its latents; NaN if none of them changes.
        noise_availability: R² of the noise that enters at them alone; likewise.
        how: where the numbers come from, masks included.
        n_masks: masks drawn; 0 if all were gone through.
    """

    masked_share: float
    demand: PairedMean
    availability: PairedMean
    noise_availability: PairedMean
    how: How
    n_masks: int


class TargetQuestions:
    """The same questions about every candidate, with the same keys.

    Args:
        oracle: the oracle.
        wanted: latents of the target.
        height: if they are all of this height, what to ask for: the whole gain of the height.
        draws: key and number of masks.
        rows: strings for each mask.
    """

    def __init__(
        self, oracle: Oracle, wanted: Bool[np.ndarray, " n_latents"], height: int | None, draws: Draws, rows: int
    ) -> None:
        self.oracle, self.graph, self.wanted, self.rows, self.draws = oracle, oracle.graph, wanted, rows, draws
        self.of_masks, self.of_strings = (
            None if draws.key is None else jax.random.fold_in(draws.key, stream) for stream in (_OF_MASKS, _OF_STRINGS)
        )
        heights = np.asarray(self.graph.heights)[: self.graph.n_latents]
        below = reaches(self.graph)
        # Height -> cells at which its gain is asked of the target. In a forest nothing is below two of one height.
        self.cells = {
            int(h): np.ones(self.graph.n_observed) if height else below[wanted & (heights == h)].any(axis=0)
            for h in np.unique(heights[wanted])
        }

    def about(self, of: Asked) -> TargetDemand:
        """Demand and availability under the masks of one strategy."""
        masks, listed = self._masks(of)
        demand, how = self._demand(masks)
        known = {part: self._availability(masks, part) for part in ("value", "noise")}
        exact = how == "exact"
        if exact and listed:
            masks = masks[:listed]

        def mean(each: Float[np.ndarray, " n"]) -> PairedMean:
            return _mean(each, listed, exact=exact)

        return TargetDemand(
            masked_share=float(masks.mean()),
            demand=mean(demand),
            availability=mean(known["value"]),
            noise_availability=mean(known["noise"]),
            how="estimated" if exact and not listed else how,
            n_masks=0 if listed else len(masks),
        )

    def _masks(self, of: Asked) -> tuple[Bool[np.ndarray, "m n"], int]:
        """Masks to ask about, and the length of the list that they are repetitions of; 0 if they were drawn.

        A list is repeated as often as it fits, so that its masks meet as many strings as drawn masks do.
        """
        n = self.draws.n_masks
        masks = _all_masks(self.graph, of.law, n)
        if masks is not None:
            return np.tile(masks, (n // len(masks), 1)), len(masks)
        parts, _ = masks_of(self.graph, of, Draws(self.of_masks, n), "general")
        return np.concatenate(list(parts)), 0

    def _demand(self, masks: Bool[np.ndarray, "m n"]) -> tuple[Float[np.ndarray, " m"], How]:
        """What knowing the target takes off the loss per masked cell."""
        total, constant, how = np.zeros(len(masks)), np.zeros(masks.shape, dtype=bool), "exact"
        known: dict[int, np.ndarray] = {0: np.where(masks, 1.0, np.nan)}
        for height, cells in self.cells.items():
            for each in {height - 1, height} - known.keys():
                known[each], how = loss_within(self.oracle, masks, each, rows=self.rows, key=self.of_strings)
            constant |= np.isnan(known[height]) & masks
            gain = np.nan_to_num(known[height - 1] - known[height])
            total += np.where(np.abs(gain) > _ROUNDING, gain, 0.0) @ cells.astype(np.float64)
        return total / np.maximum((masks & ~constant).sum(axis=1), 1), how

    def _availability(self, masks: Bool[np.ndarray, "m n"], part: Part) -> Float[np.ndarray, " m"]:
        """Mean R² over the latents of the target; NaN if none of them changes."""
        answers = self.oracle.latent_r2_batch(masks, part=part, rows=self.rows, key=self.of_strings)
        values = answers.value[:, self.wanted]
        values = values[:, ~np.isnan(values[0])]  # whether a latent changes does not depend on the mask
        return values.mean(axis=1) if values.shape[1] else np.full(len(masks), np.nan)


def _mean(each: Float[np.ndarray, " n"], listed: int, *, exact: bool) -> PairedMean:
    """Mean over masks and strings; of a list the spread within each of its masks counts, of drawn masks all of it."""
    n = len(each)
    if exact and listed:
        return PairedMean(float(each[:listed].mean()), np.zeros(0))
    value, times = float(each.mean()), n // listed if listed else n
    if listed and times > 1:
        by_mask = each.reshape(times, listed)
        off = (by_mask - by_mask.mean(axis=0)).reshape(-1)
    else:  # a list that fits once: the spread between its masks is counted, too, which is more than there is
        off, times = each - value, n
    return PairedMean(value, off / n * math.sqrt(times / (times - 1)))


def _all_masks(graph: LatentGraph, law: Law, most: int) -> Bool[np.ndarray, "m n"] | None:
    """All masks of a law if they are equally likely and so many at most."""
    if isinstance(law, Listed) and law.n_masks <= most:
        return law.masks()
    if isinstance(law, Counted) and law.fewest == law.most and math.comb(len(law.patches), law.most) <= most:
        chosen = np.array(list(itertools.combinations(range(len(law.patches)), law.most)))
        masked = np.zeros((len(chosen), len(law.patches)), dtype=bool)
        np.put_along_axis(masked, chosen, True, axis=1)
        return masked[:, law.patches.index(graph)]
    return None
