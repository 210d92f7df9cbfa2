"""The exact oracle of a model, whichever kind it has."""

from __future__ import annotations

from typing import Any

from hlvm.theory.gaussian.oracle import GaussianOracle
from hlvm.theory.grammar.oracle import GrammarOracle
from hlvm.theory.oracles import Oracle

__all__ = ["oracle_of"]

_KINDS = {"linear_gaussian_parameters": GaussianOracle, "discrete_tree_parameters": GrammarOracle}
"""Method of a model -> the oracle that takes such models."""


def oracle_of(model: Any) -> Oracle:
    """The exact oracle of a model; an oracle is its own.

    Args:
        model: a linear-Gaussian model, a grammar, a model of production rules on a tree, or an oracle of any kind.

    Raises:
        ValueError: none of these; the message says why the model is neither, and what to do.
    """
    if isinstance(model, Oracle):
        return model
    reasons = []
    for method, kind in _KINDS.items():
        if hasattr(model, method):
            try:
                return kind(model)
            except ValueError as error:
                reasons.append(str(error))
    if not reasons:
        reasons.append("it is neither linear-Gaussian nor a discrete tree")
    raise ValueError(
        f"{type(model).__name__} has no exact oracle ({'; '.join(reasons)}): use "
        "hlvm.theory.estimated_oracle(model, ...), whose answers are estimated"
    )
