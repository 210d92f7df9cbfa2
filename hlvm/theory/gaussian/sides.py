"""Information of one side of a mask about the latents' noises, on any linear-Gaussian model.

All latents are linear functions of their noises ``e``, which are independent and standard normal, and a set of
observed variables is ``x = A e + own noise``. The singular vectors of ``A``, in units of the own noise, are the
directions of ``e`` that ``x`` tells something about; each has a *gain* ``g``, the correlation between that direction
and its best prediction from ``x``. So ``Cov(e | x) = I - V g² V'``: a sum of squares once ``1 - g²`` is known by
itself, so that nothing cancels. The canonical correlations between two sides are the singular values of
``diag(g) V' V diag(g)`` over both.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
from jaxtyping import Float

from hlvm._linalg import svd
from hlvm.theory.gaussian.parameters import Parameters, check_size, noise_rank

__all__ = ["Side", "correlations_between", "variance_given"]

_EPSILON = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a mask.

    Attributes:
        directions: shape (n_latent_noises, r), orthonormal columns ``V``.
        gains: shape (r,), 0 to 1.
        rest: shape (r,), ``1 - gains**2``, without the rounding of that difference.
        weights: shape (r, n_dims): prediction of the directions from the centred observed dims.
    """

    directions: Float[np.ndarray, "m r"]
    gains: Float[np.ndarray, " r"]
    rest: Float[np.ndarray, " r"]
    weights: Float[np.ndarray, "r n"]

    @classmethod
    def of(cls, parameters: Parameters, nodes: list[int], known: Float[np.ndarray, "m g"] | None = None) -> Side:
        """The side that consists of some observed variables.

        Args:
            parameters: of the model.
            nodes: positions of the observed variables, none allowed.
            known: orthonormal directions of the latents' noises whose values are known; ``None``: none. They are taken
                out of what the side can tell.

        Raises:
            ValueError: larger than the stated limit.
        """
        check_size(sum(parameters.graph.dims[node] for node in nodes), "the observed variables of one side")
        effects = parameters.observed_effects(nodes)
        if known is not None:
            effects = effects - (effects @ known) @ known.T
        if not nodes:
            none = np.zeros(0)
            return cls(directions=np.zeros((effects.shape[1], 0)), gains=none, rest=none, weights=np.zeros((0, 0)))
        factors = [parameters.factors[node] for node in nodes]
        if all(noise_rank(factor) == len(factor) for factor in factors):
            return cls._with_noise(effects, factors)
        return cls._in_general(effects, factors)

    @classmethod
    def _with_noise(cls, effects: np.ndarray, factors: list[np.ndarray]) -> Side:
        """Noise in every dim: in its units, one singular value decomposition of the effects."""
        ends = np.cumsum([len(factor) for factor in factors])[:-1]
        whiteners = [_inverse_root(factor) for factor in factors]
        in_units = [w @ rows for w, rows in zip(whiteners, np.split(effects, ends), strict=True)]
        left, s, right = svd(np.concatenate(in_units))
        total = 1 + s**2
        per_node: list[np.ndarray] = [rows.T @ w for w, rows in zip(whiteners, np.split(left, ends), strict=True)]
        weights = (s / total)[:, None] * np.concatenate(per_node, axis=1)
        return cls(directions=right.T, gains=s / np.sqrt(total), rest=1 / total, weights=weights)

    @classmethod
    def _in_general(cls, effects: np.ndarray, factors: list[np.ndarray]) -> Side:
        """Dims without noise: decompose the space of all noises, the observed variables' own included."""
        own = np.asarray(scipy.linalg.block_diag(*factors))
        n_latent_noises = effects.shape[1]
        check_size(n_latent_noises + own.shape[1], "all noises together (some observed dims have none of their own)")
        left, s, right = svd(np.concatenate([effects, own], axis=1))
        kept = s > s.max(initial=0.0) * max(left.shape[0], right.shape[1]) * _EPSILON
        basis = right[kept].T
        directions, gains, turn = svd(basis[:n_latent_noises])
        rest = ((basis[n_latent_noises:] @ turn.T) ** 2).sum(axis=0)
        weights = gains[:, None] * (turn @ (left[:, kept] / s[kept]).T)
        return cls(directions=directions, gains=gains, rest=rest, weights=weights)


def variance_given(effects: Float[np.ndarray, "n m"], side: Side) -> Float[np.ndarray, " n"]:
    """Variance, given one side, of linear functions of the latents' noises."""
    seen = effects @ side.directions
    unseen = effects - seen @ side.directions.T
    return (unseen**2).sum(axis=1) + (seen**2) @ side.rest


def correlations_between(one: Side, other: Side) -> Float[np.ndarray, " n"]:
    """Canonical correlations of two sides, largest first, as many as the smaller side has dims."""
    product = one.gains[:, None] * (one.directions.T @ other.directions) * other.gains
    found = np.zeros(min(one.weights.shape[1], other.weights.shape[1]))
    correlations = scipy.linalg.svdvals(product)[: len(found)] if product.size else np.zeros(0)
    found[: len(correlations)] = np.minimum(correlations, 1.0)
    return found


def _inverse_root(factor: Float[np.ndarray, "d e"]) -> Float[np.ndarray, "d d"]:
    """A matrix that turns noise with this factor into independent standard normal numbers."""
    left, s, _ = svd(factor)
    return (left / s).T
