"""Answers of the estimated oracle."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from hlvm.theory.gaussian.results import BayesLoss

__all__ = ["EstimatedLoss"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EstimatedLoss(BayesLoss):
    """Error with which a regression reconstructs the masked part from the visible part, on held-out draws.

    Attributes:
        mse: shape (n_masked_dims,), per masked column in the graph's order, in squared units of the data. Categories
            count as one-hot columns.
        variance: shape (n_masked_dims,), variance of each masked column on the held-out draws.
        mse_error: shape (n_masked_dims,), standard errors of ``mse``.
        how: "estimated".
        rows: draws in all.
    """

    mse_error: Float[np.ndarray, " n"]
