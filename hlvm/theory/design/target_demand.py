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
from hlvm.theory.oracles import Answers, How, Oracle, Part
from hlvm.theory.random_masks.averages import Asked, Draws, masks_of
from hlvm.theory.random_masks.ladder import loss_within, reaches, shared_error

__all__ = ["PairedMean", "TargetDemand", "TargetQuestions"]

_OF_MASKS, _OF_STRINGS = 0, 1
"""Streams of the key."""

_ROUNDING = 1e-6
"""Gains up to this are 0: losses in single precision are known no better."""


class PairedMean(NamedTuple):
    """A mean over masks and strings, and its mistake.

    Attributes:
        value: the mean.
        parts: what each mask with its strings adds to the mistake; nothing where it is exact.
        shared: standard error that does not average out over masks, as of a regression on the same rows for all.
    """

    value: float
    parts: Float[np.ndarray, " n"]
    shared: float

    @property
    def error(self) -> float:
        """Standard error."""
        return math.hypot(float(np.linalg.norm(self.parts)), self.shared)

    def error_of_difference(self, other: PairedMean) -> float:
        """Standard error of the difference of two means over the same strings; what is shared is taken as apart."""
        if other is self:
            return 0.0
        n = max(len(self.parts), len(other.parts))
        mine, others = (np.pad(mean.parts, (0, n - len(mean.parts))) for mean in (self, other))
        return math.hypot(float(np.linalg.norm(mine - others)), self.shared, other.shared)


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
        # Each string is asked for by itself: then no error that an oracle gives is one of strings.
        asked = np.repeat(masks, self.rows, axis=0)
        demand, how = self._demand(asked)
        known = {part: self._availability(asked, part) for part in ("value", "noise")}

        def mean(each: _Each) -> PairedMean:
            by_mask = each.values.reshape(len(masks), self.rows).mean(axis=1)
            return _mean(by_mask, each.shared, listed, drawn=how == "estimated")

        return TargetDemand(
            masked_share=float((masks[:listed] if listed else masks).mean()),
            demand=mean(demand),
            availability=mean(known["value"]),
            noise_availability=mean(known["noise"]),
            how="estimated" if how == "exact" and not listed else how,
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

    def _demand(self, masks: Bool[np.ndarray, "m n"]) -> tuple[_Each, How]:
        """Gain of the target: taken off the loss per masked cell."""
        total, constant, how, shared = np.zeros(len(masks)), np.zeros(masks.shape, dtype=bool), "exact", 0.0
        known: dict[int, Answers] = {}
        for height, cells in self.cells.items():
            for each in {height - 1, height} - known.keys():
                known[each] = loss_within(self.oracle, masks, each, key=self.of_strings)
            below, here = known[height - 1], known[height]
            constant |= np.isnan(here.value) & masks
            gain = np.nan_to_num(below.value - here.value)
            total += np.where(np.abs(gain) > _ROUNDING, gain, 0.0) @ cells.astype(np.float64)
            hidden = masks.any(axis=0)
            shared = math.hypot(shared, *(float(shared_error(each)[hidden].mean()) for each in (below, here)))
            how = here.how
        return _Each(total / np.maximum((masks & ~constant).sum(axis=1), 1), shared), how

    def _availability(self, masks: Bool[np.ndarray, "m n"], part: Part) -> _Each:
        """Mean R² over the latents of the target; NaN if none of them changes."""
        answers = self.oracle.latent_r2_batch(masks, part=part, key=self.of_strings)
        asked = self.wanted & ~np.isnan(answers.value[0])  # whether a latent changes does not depend on the mask
        if not asked.any():
            return _Each(np.full(len(masks), np.nan), 0.0)
        return _Each(answers.value[:, asked].mean(axis=1), float(shared_error(answers)[asked].mean()))


class _Each(NamedTuple):
    """A number for each mask, and the error that they share."""

    values: Float[np.ndarray, " m"]
    shared: float


def _mean(each: Float[np.ndarray, " n"], shared: float, listed: int, *, drawn: bool) -> PairedMean:
    """Mean over masks and strings; of a list the spread within each of its masks counts, of drawn masks all of it."""
    n = len(each)
    if listed and not drawn:
        return PairedMean(float(each[:listed].mean()), np.zeros(0), shared)
    value, times = float(each.mean()), n // listed if listed else n
    if listed and times > 1:
        by_mask = each.reshape(times, listed)
        off = (by_mask - by_mask.mean(axis=0)).reshape(-1)
    else:  # a list that fits once: the spread between its masks is counted, too, which is more than there is
        off, times = each - value, n
    return PairedMean(value, off / n * math.sqrt(times / (times - 1)), shared)


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
