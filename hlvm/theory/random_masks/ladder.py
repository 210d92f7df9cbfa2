"""The context ladder: how much of the loss is explained by context of each height (section 7 of ``docs/theory.md``).

For a target cell and a height ``h`` let ``L_h`` be its Bayes loss given only the visible cells below its ancestors of
height up to ``h``; at the graph's own height, given all visible cells. The gain ``L_{h-1} - L_h`` is what knowing the
wider context is worth: the *demand* for what enters at height ``h``. The gains of all heights add up to the loss when
nothing is seen less the Bayes loss.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array

from hlvm.graph import LatentGraph
from hlvm.theory.oracles import Answers, How, Oracle, three_states

__all__ = ["Ladder", "ladder_of_masks", "loss_within", "reaches", "shared_error"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ladder:
    """Losses of targets by the height of their context.

    Attributes:
        heights: 0, the height at which nothing is seen, up to the height of the graph.
        loss: shape (n_heights, n_masks, n_observed), in units of each cell's variance; NaN where no target is.
        error: shape (n_heights,), mean standard error of the losses at each height, as far as the oracle knows it.
        how: where the losses come from.
    """

    heights: range
    loss: Float[np.ndarray, "n_heights n_masks n_observed"]
    error: Float[np.ndarray, " n_heights"]
    how: How

    @property
    def mean_loss(self) -> Float[np.ndarray, "n_masks n_heights"]:
        """Mean loss of the targets of each mask, by the height of their context; NaN where no target varies."""
        targets = ~np.isnan(self.loss[0])
        total = np.stack([np.where(targets, loss, 0.0).sum(axis=1) for loss in self.loss])
        n_targets = targets.sum(axis=1)
        return np.where(n_targets > 0, total / np.maximum(n_targets, 1), np.nan).T

    @property
    def gain(self) -> Float[np.ndarray, "n_heights_less_1 n_masks n_observed"]:
        """Gain of each height for each target; 0 where no target is. Heights from 1 on."""
        return np.stack([self._gain_of(height) for height in self.heights[1:]])

    def _gain_of(self, height: int) -> Float[np.ndarray, "n_masks n_observed"]:
        return np.nan_to_num(self.loss[height - 1] - self.loss[height])

    def latent_gain(self, graph: LatentGraph) -> Float[np.ndarray, "n_masks n_latents"]:
        """Part of each latent in the mean gain of its height, in a forest; the parts of a height add up to its gain."""
        counts = (~np.isnan(self.loss[0])).sum(axis=1)
        n_targets = np.where(counts > 0, counts, np.nan)
        below = _below(graph)
        found = np.zeros((len(n_targets), graph.n_latents))
        heights = np.asarray(graph.heights)[: graph.n_latents]
        for height in np.unique(heights):
            own = heights == height
            found[:, own] = (below[np.flatnonzero(own)] @ self._gain_of(height).T).T
        return found / n_targets[:, None]


def ladder_of_masks(
    oracle: Oracle, masks: Bool[np.ndarray, "n_masks n_observed"], *, rows: int = 1, key: Any = None
) -> Ladder:
    """Losses of the targets of some masks by the height of their context.

    On a forest what is above a height is cut off. On other graphs each target is asked for given the visible cells that
    descend from its ancestors of height up to ``h``, which takes a question per target. The last height sees all that
    is visible: cells without a common ancestor may still be dependent, given a cell that descends from both's.

    Args:
        oracle: of the model.
        masks: True = target; all else is visible.
        rows: draws per mask, where the oracle draws; the same ones at each height.
        key: of these draws.

    Returns:
        The losses.

    Raises:
        ValueError: masks of another shape or type, or no key where one is needed.
    """
    targets, _ = three_states(oracle.graph, masks)
    top = max(oracle.graph.heights)
    loss = np.empty((top + 1, *targets.shape))  # by far the largest array here, so it is made once
    errors: list[float] = []
    how: How = "exact"
    for height in range(top + 1):
        answers = loss_within(oracle, targets, height, rows=rows, key=key)
        loss[height] = answers.value
        errors.append(shared_error(answers)[targets.any(axis=0)].mean())
        how = answers.how
    loss[:, np.isnan(loss[-1])] = np.nan  # cells that never change have no loss in units of their variance
    return Ladder(heights=range(top + 1), loss=loss, error=np.array(errors), how=how)


def shared_error(answers: Answers) -> Float[np.ndarray, " n"]:
    """Mean error of each number over the masks: of draws that all masks have in common it does not average out.

    0 where the oracle gives none, since each mask has a single draw of its own.
    """
    known = np.isfinite(answers.error)
    return np.where(known, answers.error, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def loss_within(
    oracle: Oracle, targets: Bool[np.ndarray, "n_masks n_observed"], height: int, *, rows: int = 1, key: Any = None
) -> Answers:
    """Loss of each target given the context of a height; nothing is seen at 0. See :func:`ladder_of_masks`."""
    if height == max(oracle.graph.heights):
        return oracle.relative_loss_batch(targets, rows=rows, key=key)
    if oracle.graph.arrays.is_forest:
        return oracle.cut(height).relative_loss_batch(targets, rows=rows, key=key)
    if height == 0:
        return oracle.relative_loss_batch(targets, visible=np.zeros_like(targets), rows=rows, key=key)
    return _from_contexts(oracle, targets, height, rows, key)


def _from_contexts(
    oracle: Oracle, targets: Bool[np.ndarray, "n_masks n_observed"], height: int, rows: int, key: Any
) -> Answers:
    """Loss of each target given what is visible below its ancestors of height up to ``height``."""
    contexts = _contexts(oracle.graph, height)
    mask, cell = np.nonzero(targets)
    alone = np.zeros((len(mask), targets.shape[1]), dtype=bool)
    alone[np.arange(len(mask)), cell] = True
    answers = oracle.relative_loss_batch(alone, visible=contexts[cell] & ~targets[mask], rows=rows, key=key)
    value, error = np.full(targets.shape, np.nan), np.full(targets.shape, np.nan)
    value[mask, cell], error[mask, cell] = answers.value[alone], answers.error[alone]
    return dataclasses.replace(answers, value=value, error=error)


def _below(graph: LatentGraph) -> Any:
    """Sparse matrix (n_latents, n_observed) with a 1 where a cell descends from a latent of a forest."""
    parent = np.full(len(graph.nodes), -1)
    parent[graph.arrays.children] = graph.arrays.parents
    cells, above = np.arange(graph.n_observed), parent[graph.n_latents :]
    rows, columns = [], []
    while len(cells):
        cells, above = cells[above >= 0], above[above >= 0]
        rows.append(above)
        columns.append(cells)
        above = parent[above]
    pairs = np.concatenate(rows), np.concatenate(columns)
    return csr_array((np.ones(len(pairs[0])), pairs), shape=(graph.n_latents, graph.n_observed))


def _contexts(graph: LatentGraph, height: int) -> Bool[np.ndarray, "n_observed n_observed"]:
    """For each cell, those that share an ancestor of this height or below with it."""
    low = np.asarray(graph.heights)[: graph.n_latents] <= height
    below = reaches(graph)[low].astype(np.float64)
    return below.T @ below > 0


def reaches(graph: LatentGraph) -> Bool[np.ndarray, "n_latents n_observed"]:
    """Cells that descend from each latent."""
    return graph.arrays.reached(np.eye(graph.n_observed, dtype=bool))[: graph.n_latents]
