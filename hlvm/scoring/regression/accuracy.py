"""Accuracy of categories that were predicted by regressing their one-hot columns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from hlvm.scoring.encodings import one_hot
from hlvm.scoring.regression.r2 import KernelR2
from hlvm.scoring.regression.splitting import Standardiser

__all__ = ["accuracy"]


def accuracy(score: KernelR2, labels: Shaped[np.ndarray, "n dims"]) -> float:
    """Share of the test rows whose category has the largest predicted column, 0 to 1.

    Args:
        score: regression of the one-hot columns (:func:`hlvm.scoring.one_hot`) of all dims of ``labels`` that vary,
            side by side.
        labels: categories of all rows, one column per dim.

    Returns:
        The mean over dims that vary.

    Raises:
        ValueError: the score is one of other columns.
    """
    blocks = [one_hot(column) for column in labels.T if len(np.unique(column)) > 1]
    columns = np.concatenate(blocks, axis=1)
    if columns.shape[1] != score.targets.shape[1]:
        raise ValueError(
            f"score: expected one of the {columns.shape[1]} one-hot columns of these labels, got one of "
            f"{score.targets.shape[1]} columns"
        )
    scale = Standardiser.fit(columns[score.split.train])
    # Predictions are standardised column by column; categories are compared in their own units.
    guessed = (score.targets - score.residuals) * scale.scale + scale.centre
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    right = [
        (guess.argmax(axis=1) == block[score.split.test].argmax(axis=1)).mean()
        for guess, block in zip(np.split(guessed, ends, axis=1), blocks, strict=True)
    ]
    return float(np.mean(right))
