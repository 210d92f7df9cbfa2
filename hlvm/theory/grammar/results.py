"""Results of the oracle of discrete trees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hlvm.theory.gaussian.results import BayesLoss

_LEAST = 1e-12
"""A variance up to this share of the largest is that of a column that never changes."""

__all__ = ["Outcomes", "SymbolLoss"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SymbolLoss(BayesLoss):
    """The least loss with which masked symbols can be reconstructed.

    Attributes:
        mse: shape (n,), least mean squared error of each masked column: the values that a cell is rendered with, or its
            one-hot symbol, cell after cell.
        variance: shape (n,), variance of each masked column.
        bits: shape (n_masked,), mean log-loss of each masked cell's symbol, in bits: its entropy given what is visible.
        prior_bits: shape (n_masked,), its entropy when nothing is visible.
        mse_error: shape (n,), standard errors of ``mse``; 0 where exact.
        bits_error: shape (n_masked,), standard errors of ``bits``; 0 where exact.
        how: "exact" if all strings were gone through, else "estimated".
        rows: strings drawn; 0 if exact.
    """

    bits: Float[np.ndarray, " n_masked"]
    prior_bits: Float[np.ndarray, " n_masked"]
    mse_error: Float[np.ndarray, " n"]
    bits_error: Float[np.ndarray, " n_masked"]

    @property
    def relative(self) -> float:
        """Mean error of the masked columns that vary, in units of each one's variance, 0 to 1; NaN if none does."""
        varies = self.variance > _LEAST * self.variance.max(initial=0.0)
        return float((self.mse[varies] / self.variance[varies]).mean()) if varies.any() else math.nan


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Strings with every symbol and every choice behind them.

    Attributes:
        symbols: variable -> its symbol, whole numbers of shape (n,) or (n, n_masks); -1 where what is visible is
            impossible.
        choices: latent -> its choice, same shape.
        cells: symbols of all observed variables, (n, n_observed) or (n, n_masks, n_observed).
        log_likelihood: logarithm of the probability of what is visible; of the most likely outcome, of the outcome
            itself. Same shape as the symbols.
    """

    symbols: Mapping[str, Any]
    choices: Mapping[str, Any]
    cells: np.ndarray
    log_likelihood: np.ndarray
