"""The forest below a height: what of a tree remains when nothing above a height is shared."""

from __future__ import annotations

import dataclasses

import numpy as np

from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.posterior import Posterior
from hlvm.theory.oracles import severed

__all__ = ["cut_at"]


def cut_at(posterior: Posterior, height: int) -> Parameters:
    """The parameters of the forest whose roots are the highest nodes up to a height, each with its law.

    The graph stays. What is cut off no longer depends on its parent, and all that it varied by is noise of its own.

    Raises:
        ValueError: a graph that is no forest, or no whole number of at least 0.
    """
    old, cut = posterior.parameters, severed(posterior.parameters.graph, height)
    coefficients, factors, offsets = list(old.coefficients), list(old.factors), list(old.offsets)
    for node in np.flatnonzero(cut).tolist():
        coefficients[node] = np.zeros_like(old.coefficients[node])
        factors[node], offsets[node] = posterior.tree.prior_roots[node], old.means[node]
    return dataclasses.replace(old, coefficients=tuple(coefficients), factors=tuple(factors), offsets=tuple(offsets))
