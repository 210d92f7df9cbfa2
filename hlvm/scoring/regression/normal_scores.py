"""Normal scores: each column mapped, by its ranks among the training rows, to the quantiles of a normal distribution.

A latent is identified up to invertible maps, so a map of single columns changes nothing that is claimed. It takes away
what makes regressions slow: codes that saturate, such as ``tanh(z A)``, become linear again, and heavy tails are gone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["NormalScores", "normal_scores"]


@dataclasses.dataclass(frozen=True, eq=False)
class NormalScores:
    """The map of each column, learned from training rows.

    Attributes:
        values: distinct training values of each column, increasing.
        scores: their normal scores, less the training mean of the scores.
        constant: whether each column is constant on the training rows, shape (p,).
    """

    values: tuple[np.ndarray, ...]
    scores: tuple[np.ndarray, ...]
    constant: np.ndarray

    @classmethod
    def fit(cls, train: Float[np.ndarray, "n p"]) -> NormalScores:
        """Learn the maps."""
        values, scores = [], []
        for column in train.T:
            known, first = np.unique(column, return_index=True)
            of_rows = ndtri((rankdata(column) - 0.5) / len(column))
            values.append(known)
            scores.append(of_rows[first] - of_rows.mean())
        return cls(tuple(values), tuple(scores), np.asarray([len(known) == 1 for known in values]))

    def apply(self, rows: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "m p"]:
        """Scores of rows, linear between training values and bounded by the outermost ones."""
        return self._map(rows, self.values, self.scores)

    def invert(self, scores: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "m p"]:
        """Values that have these scores, within the range of the training values."""
        return self._map(scores, self.scores, self.values)

    @staticmethod
    def _map(rows: np.ndarray, start: tuple[np.ndarray, ...], end: tuple[np.ndarray, ...]) -> np.ndarray:
        columns = [np.interp(column, a, b) for column, a, b in zip(rows.T, start, end, strict=True)]
        return np.stack(columns, axis=1) if columns else rows


def normal_scores(rows: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Normal scores of each column among its own rows."""
    return NormalScores.fit(rows).apply(rows)
