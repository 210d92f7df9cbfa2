"""Answers of the linear-Gaussian oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from hlvm.theory.oracles import How

__all__ = ["BayesLoss", "RandomMaskCode", "ReducedRank", "ratio"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BayesLoss:
    """The least mean squared error with which the masked part can be reconstructed from the visible part.

    Attributes:
        mse: shape (n_masked_dims,), per masked column in the graph's order, in squared units of the data.
        variance: shape (n_masked_dims,), variance of each masked column.
        how: "exact", "linearised" or "estimated".
        rows: draws behind it; 0 if there are none.
    """

    mse: Float[np.ndarray, " n"]
    variance: Float[np.ndarray, " n"]
    how: How = "exact"
    rows: int = 0

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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RandomMaskCode:
    """The best linear code of ``k`` numbers for all masks of a strategy together.

    Masked variables enter the code by their means.

    Attributes:
        encoder: shape (k, n_observed_dims): the code is ``encoder @ (visible - means)``, with 0 where masked.
        decoder: shape (n_observed_dims, k): the reconstruction is ``means + decoder @ code``.
        means: shape (n_observed_dims,).
        losses: shape (n_observed_dims + 1,), the least expected squared error per column that counts, for each rank
            from 0; the last is that of the best linear map of any rank. In the units asked for. With
            ``loss="masked"`` only ranks 0, ``k`` and the last are worked out, and the others are NaN.
        latent_r2: latent -> R² of its best linear prediction from the code, over data and masks; the reader does not
            see the mask. 0 to 1, NaN for a latent without variance.
        n_masks: masks that were drawn to estimate the law; 0 where the law is known and the answer exact.
    """

    encoder: Float[np.ndarray, "k n"]
    decoder: Float[np.ndarray, "n k"]
    means: Float[np.ndarray, " n"]
    losses: Float[np.ndarray, " n_plus_1"]
    latent_r2: dict[str, float]
    n_masks: int

    @property
    def loss(self) -> float:
        """The loss at rank ``k``."""
        return float(self.losses[len(self.encoder)])

    @property
    def explained(self) -> Float[np.ndarray, " n"]:
        """By how much each further number of the code lowers the loss: eigenvalues, largest first."""
        return self.losses[:-1] - self.losses[1:]

    def codes(
        self, values: Float[np.ndarray, "rows n"], is_masked: Bool[np.ndarray, "rows n"]
    ) -> Float[np.ndarray, "rows k"]:
        """Codes of data; ``is_masked`` is per observed dim, and masked values are not read."""
        return np.where(is_masked, 0.0, values - self.means) @ self.encoder.T

    def reconstruct(
        self, values: Float[np.ndarray, "rows n"], is_masked: Bool[np.ndarray, "rows n"]
    ) -> Float[np.ndarray, "rows n"]:
        """Reconstructions of all observed dims, arguments as for :meth:`codes`."""
        return self.means + self.codes(values, is_masked) @ self.decoder.T


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, with 0 where the denominator is 0."""
    found = np.zeros(np.broadcast(numerator, denominator).shape)
    return np.divide(numerator, denominator, out=found, where=denominator > 0)
