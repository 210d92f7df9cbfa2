"""A small multi-layer perceptron as a regressor: it learns its features, which a kernel does not."""

from __future__ import annotations

import math
import warnings

import numpy as np

from hlvm._process.settings import SETTINGS
from hlvm.scoring.regression.ridge import Problem, Selected

__all__ = ["fit_mlp"]

_WIDTHS = (64, 64)
_BATCH = 64
_STOPPING = 0.1
_LEAST_ROWS = 20  # with fewer, the rows that stop the training early would be a handful


def fit_mlp(problem: Problem, *, seed: int) -> Selected:
    """Fit scikit-learn's ``MLPRegressor``: two layers of 64, Adam, stopped early on a tenth of the training rows.

    Args:
        problem: the data; all rows are used, whatever their labels.
        seed: of the weights and the batches.

    Returns:
        Its predictions; nothing is selected by leave-one-out. With fewer than 20 training rows they are the training
        mean, 0.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    train, test, targets, *_ = problem
    predictions = np.zeros((len(test), targets.shape[1]))
    if len(train) >= _LEAST_ROWS:
        network = MLPRegressor(
            hidden_layer_sizes=_WIDTHS,
            learning_rate_init=3e-3,
            batch_size=min(_BATCH, len(train) - math.ceil(_STOPPING * len(train))),  # pyright: ignore[reportArgumentType]
            max_iter=300,
            early_stopping=True,
            validation_fraction=_STOPPING,
            n_iter_no_change=15,
            random_state=seed,
        )
        with SETTINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 300 passes are enough, and a bound on the time
            network.fit(train, targets if targets.shape[1] > 1 else targets[:, 0])
        predictions = np.asarray(network.predict(test)).reshape(predictions.shape)
    nothing = np.full(1, np.nan)
    return Selected(predictions, targets[:0], nothing, nothing, np.zeros(1))
