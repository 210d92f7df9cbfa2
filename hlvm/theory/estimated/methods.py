"""The two ways to an oracle of a model without a closed form: draws, and a linear model about the mean."""

from __future__ import annotations

from typing import Any, Literal, get_args, overload

from hlvm._keys import checked_key
from hlvm._numbers import UsageError, whole_number
from hlvm.theory.estimated.draws import SampledModel, draws_of
from hlvm.theory.estimated.linearised import LinearisableModel, LinearisedOracle
from hlvm.theory.estimated.oracle import LEAST_ROWS, EstimatedOracle

__all__ = ["estimated_oracle"]

Method = Literal["regression", "linearised"]


@overload
def estimated_oracle(
    model: SampledModel, *, method: Literal["regression"] = "regression", rows: int = 4000, key: Any
) -> EstimatedOracle: ...
@overload
def estimated_oracle(
    model: LinearisableModel, *, method: Literal["linearised"], rows: int = 4000, key: Any = None
) -> LinearisedOracle: ...
def estimated_oracle(
    model: Any, *, method: Method = "regression", rows: int = 4000, key: Any = None
) -> EstimatedOracle | LinearisedOracle:
    """Make an oracle of a model without a closed form.

    Where the model is linear-Gaussian or a discrete tree, :class:`GaussianOracle` and :class:`GrammarOracle` are exact.

    Args:
        model: a :class:`~hlvm.simulator.HierarchicalModel`, an image model, or anything that draws samples with their
            latents; see :meth:`EstimatedOracle.from_arrays` for arrays of your own.
        method: "regression" on fresh draws, which never promises more than can be known, up to its error; or
            "linearised": closed forms of the linear model about the mean, without draws. These may be too high or too
            low, and need a model with ``linearised_parameters()``, such as a ``HierarchicalModel``.
        rows: draws in all; used by the regression alone.
        key: a JAX key or an int, for the draws; needed by the regression.

    Returns:
        The oracle. Its answers say ``how``.

    Raises:
        ValueError: another method, no key, too few rows, or a model that cannot be sampled or linearised.

    Example:
        >>> import numpy as np
        >>> from hlvm import HierarchicalModel
        >>> from hlvm.graph import LatentGraph
        >>> from hlvm.mechanisms import InvertibleMLP
        >>> model = HierarchicalModel.init(0, LatentGraph.quadtree(1), InvertibleMLP())
        >>> oracle = estimated_oracle(model, rows=400, key=1)
        >>> answers = oracle.latent_r2_batch(np.array([[True, False, False, False]]))
        >>> answers.how, answers.rows, answers.value.shape
        ('estimated', 400, (1, 1))
    """
    if method not in get_args(Method):
        raise UsageError(f'must be "regression" or "linearised", got {method!r}', argument="method")
    if method == "linearised":
        return LinearisedOracle(model)
    rows = whole_number(rows, "rows", minimum=LEAST_ROWS)
    if key is None:
        raise UsageError("is needed, as samples are drawn: give a JAX key or an int", argument="key")
    return EstimatedOracle(draws_of(model, checked_key(key), rows))
