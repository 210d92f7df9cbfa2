"""Answers of the linear-Gaussian oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

__all__ = ["BayesLoss", "ReducedRank", "ratio"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BayesLoss:
    """The least mean squared error with which the masked part can be reconstructed from the visible part.

    Attributes:
        mse: shape (n_masked_dims,), per masked column in the graph's order, in squared units of the data.
        variance: shape (n_masked_dims,), variance of each masked column.
    """

    mse: Float[np.ndarray, " n"]
    variance: Float[np.ndarray, " n"]

    @property
    def mean(self) -> float:
        """Mean over the masked columns, in squared units of the data."""
        return float(self.mse.mean())

    @property
    def relative(self) -> float:
        """Mean over the masked columns of the error in units of the column's variance, 0 to 1.

        The units of the losses of :mod:`hlvm.mae`. Columns without variance count as 0.
        """
        return float(ratio(self.mse, self.variance).mean())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ReducedRank:
    """The best reconstruction through a linear bottleneck of ``k`` numbers.

    Attributes:
        encoder: shape (k, n_visible_dims): the code is ``encoder @ (visible - visible_means)``.
        decoder: shape (n_masked_dims, k): the reconstruction is ``masked_means + decoder @ code``.
        visible_means: shape (n_visible_dims,).
        masked_means: shape (n_masked_dims,).
        losses: shape (n + 1,), the least mean squared error for each rank from 0 to ``n``, the largest rank there can
            be; the last is the Bayes loss. In the units asked for.
    """

    encoder: Float[np.ndarray, "k v"]
    decoder: Float[np.ndarray, "m k"]
    visible_means: Float[np.ndarray, " v"]
    masked_means: Float[np.ndarray, " m"]
    losses: Float[np.ndarray, " ranks"]

    @property
    def loss(self) -> float:
        """The loss at rank ``k``."""
        return float(self.losses[len(self.encoder)])

    def reconstruct(self, visible: Float[np.ndarray, "n v"]) -> Float[np.ndarray, "n m"]:
        """Reconstruct the masked dims from the visible ones, both side by side in the graph's order."""
        return self.masked_means + (visible - self.visible_means) @ self.encoder.T @ self.decoder.T


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, with 0 where the denominator is 0."""
    found = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=found, where=denominator > 0)
