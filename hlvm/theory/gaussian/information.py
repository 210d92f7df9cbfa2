"""Mutual information between latents and what is seen, in bits.

On trees with noise in every dim concerned, the entropy of what is seen is a sum over the latents of what the noise of
each adds to it, so information is a sum of differences per latent, exactly 0 where nothing changes. On other models
with noise in every visible dim it is a difference of two entropies. Elsewhere it is the sum of the logarithms of the
sines of the angles between two subspaces of noises.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from hlvm._linalg import svd
from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.posterior import Posterior

__all__ = ["information"]

_SINGULAR = 1e-13
"""Singular values of rows of length 1 up to this count as 0: the rows depend on each other."""

_NO_SINE = 1e-12
"""Sines up to this count as 0. Noise may be a share of 1e-10 of a standard deviation; rounding leaves 1e-15."""


def information(
    posterior: Posterior,
    latents: str | Collection[str],
    seen: Bool[np.ndarray, " n_observed"],
    given: str | Collection[str],
) -> float:
    """See :meth:`hlvm.theory.GaussianOracle.information`; ``seen`` is True where visible."""
    wanted, known = (_positions(posterior, names, what) for names, what in ((latents, "latents"), (given, "given")))
    new = sorted(wanted - known)
    if not new or not seen.any():
        return 0.0
    if posterior.is_linear_time(seen[None])[0] and posterior.can_be_known_on_tree([*new, *known]):
        return _on_tree(posterior, new, seen, sorted(known))
    if posterior.has_full_noise(seen[None])[0]:
        return max(0.0, _entropy(posterior, seen, known) - _entropy(posterior, seen, wanted | known))
    return _between_subspaces(posterior, new, seen, sorted(known))


def _positions(posterior: Posterior, names: str | Collection[str], what: str) -> set[int]:
    graph = posterior.parameters.graph
    found = {graph.position(name) for name in ([names] if isinstance(names, str) else names)}
    for node in found:
        if node >= graph.n_latents:
            raise ValueError(f"{what} lists latents, got the observed variable {graph.nodes[node]!r}")
    return found


def _on_tree(posterior: Posterior, new: list[int], seen: np.ndarray, given: list[int]) -> float:
    """``h(seen | given) - h(seen | given and new)``, each of which is a joint entropy less that of the latents."""
    both = np.stack([seen, np.zeros_like(seen)])
    before = posterior.tree_posterior(both, given).half_log_dets
    after = posterior.tree_posterior(both, [*given, *new]).half_log_dets
    return max(0.0, math.fsum((before[:, 0] - after[:, 0]) - (before[:, 1] - after[:, 1])))


def _entropy(posterior: Posterior, seen: np.ndarray, known: set[int]) -> float:
    """Entropy of what is seen, given some latents, above that of its own noise, in bits."""
    side = posterior.side(seen, _basis(_effects(posterior.parameters, sorted(known))))
    return -math.fsum(np.log2(side.rest)) / 2


def _between_subspaces(posterior: Posterior, new: list[int], seen: np.ndarray, given: list[int]) -> float:
    """With ``W`` spanning what is new, ``Cov(W'e | seen) = M M'`` for the ``M`` below."""
    known = _basis(_effects(posterior.parameters, given))
    effects = _effects(posterior.parameters, new)
    wanted = _basis(effects - (effects @ known) @ known.T)
    side = posterior.side(seen, known)
    across = wanted.T @ side.directions
    unseen = wanted.T - across @ side.directions.T
    sines = scipy.linalg.svdvals(np.concatenate([across * np.sqrt(side.rest), unseen], axis=1)) if wanted.size else []
    if min(sines, default=1.0) <= _NO_SINE:
        return math.inf
    return max(0.0, -math.fsum(np.log2(sines)))


def _effects(parameters: Parameters, nodes: list[int]) -> Float[np.ndarray, "n m"]:
    """Some latents' dims as functions of the noises, in units of their standard deviations; none without variance."""
    rows = np.concatenate(
        [np.arange(parameters.starts[i], parameters.starts[i + 1]) for i in [*nodes]] or [np.zeros(0)]
    )
    effects = parameters.latent_effects[rows.astype(int)]
    lengths = np.sqrt((effects**2).sum(axis=1))
    return effects[lengths > 0] / lengths[lengths > 0, None]


def _basis(rows: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "m r"]:
    """An orthonormal basis of what the rows span."""
    if not len(rows):
        return np.zeros((rows.shape[1], 0))
    _, s, right = svd(rows)
    return right[s > _SINGULAR].T
