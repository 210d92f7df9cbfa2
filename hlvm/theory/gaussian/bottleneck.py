"""The best linear bottleneck between the two sides of one mask."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from hlvm._linalg import svd
from hlvm.theory.gaussian.posterior import Posterior
from hlvm.theory.gaussian.results import ReducedRank, ratio

__all__ = ["best_bottleneck", "checked_rank"]


def best_bottleneck(
    posterior: Posterior,
    targets: Bool[np.ndarray, " n_observed"],
    seen: Bool[np.ndarray, " n_observed"],
    k: int,
    *,
    standardize: bool,
) -> ReducedRank:
    """See :meth:`hlvm.theory.GaussianOracle.reduced_rank`."""
    parameters = posterior.parameters
    hidden, shown = parameters.columns(targets), parameters.columns(seen)
    most = int(min(hidden.sum(), shown.sum()))
    k = checked_rank(k, most, "the dims of the smaller part")
    side = posterior.side(seen)
    first = parameters.graph.n_latents
    variance = posterior.variances[parameters.starts[first] :][hidden]
    means = np.concatenate(parameters.means[first:])
    scale = np.sqrt(variance) if standardize else np.ones(len(variance))
    told = parameters.observed_effects(posterior.observed_nodes(targets)) @ side.directions
    left, s, _ = svd(ratio(told * side.gains, scale[:, None]))
    explained = np.zeros(most)
    explained[: len(s)] = s[:most] ** 2
    beyond = np.append(np.cumsum(explained[::-1])[::-1], 0.0) / len(scale)
    code = np.zeros((k, len(scale)))
    code[: left.shape[1]] = left.T[:k]
    rest = ratio(posterior.observed(seen[None])[0, hidden], scale**2)
    return ReducedRank(
        encoder=ratio(code, scale) @ told @ side.weights,
        decoder=scale[:, None] * code.T,
        visible_means=means[shown],
        masked_means=means[hidden],
        losses=rest.mean() + beyond,
    )


def checked_rank(k: int, most: int, why: str, *, least: int = 0) -> int:
    """A number of numbers in a code, or a ValueError."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not least <= k <= most:
        raise ValueError(f"k must be a whole number from {least} to {most}, {why}; got {k!r}")
    return int(k)
