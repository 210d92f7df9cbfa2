"""Critical masking ratios: where the best linear code for random masks changes what it holds."""

from __future__ import annotations

import math

import numpy as np
import scipy.linalg
from jaxtyping import Float

from hlvm._linalg import svd
from hlvm.masking import Patches
from hlvm.theory.gaussian.bottleneck import checked_rank
from hlvm.theory.gaussian.parameters import Parameters
from hlvm.theory.gaussian.results import ratio

__all__ = ["critical_ratio", "crossings_of"]

_GRID = 65
_NARROW = 2.0**-20
_SAME = 1e-10
"""Modes whose strengths differ by less than this share of the larger one are equally strong."""


def critical_ratio(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The masking ratio at which two modes of the data are worth the same to a linear code for random masks.

    Units are masked independently. A mode is an eigenvector both of the data's covariance, with eigenvalue ``l``, and
    of its block-diagonal part within units, with eigenvalue ``b``. At the visible share ``p`` it is worth
    ``l² / (p l + (1 - p) b)`` to a code. Two modes are worth the same at one ``p``, and the critical ratio is
    ``1 - p``. A mode inside units has ``l = b``: then ``p = (l_A² / l_B - b_A) / (l_A - b_A)``.

    Args:
        one: ``(l, b)`` of a mode, positive.
        other: of another mode.

    Returns:
        A number between 0 and 1; NaN if the same mode is worth more at every ratio.

    Raises:
        ValueError: numbers that are not positive.

    Example:
        >>> round(critical_ratio((2.0, 1.2), (2.5, 2.5)), 6)
        0.5
    """
    (l_one, b_one), (l_other, b_other) = one, other
    if not all(0 < number < math.inf for number in (*one, *other)):
        raise ValueError(f"a mode is a pair of positive eigenvalues (in all, within units), got {one} and {other}")
    above = l_other**2 * b_one - l_one**2 * b_other
    below = l_one**2 * (l_other - b_other) - l_other**2 * (l_one - b_one)
    visible = above / below if below else math.nan
    return 1 - visible if 0 < visible < 1 else math.nan


def crossings_of(parameters: Parameters, patches: Patches, k: int, *, standardize: bool) -> tuple[float, ...]:
    """See :meth:`hlvm.theory.GaussianOracle.critical_ratios`."""
    graph = parameters.graph
    n_dims = parameters.starts[-1] - parameters.starts[graph.n_latents]
    k = checked_rank(k, n_dims - 1, "less than all observed dims", least=1)
    unit = np.asarray(patches.index(graph))[graph.arrays.cell_of_column]
    covariance = parameters.covariance(list(range(graph.n_latents, len(graph.nodes))))
    if standardize:
        scale = np.sqrt(np.diag(covariance))
        covariance = ratio(ratio(covariance, scale), scale[:, None])
    return _crossings(covariance, covariance * (unit == unit[:, None]), k)


def _crossings(covariance: Float[np.ndarray, "n n"], within: Float[np.ndarray, "n n"], k: int) -> tuple[float, ...]:
    """Where the space of the best ``k`` directions jumps, given the covariance and its part within units."""
    strengths, directions = scipy.linalg.eigh(within)
    kept = strengths > strengths.max(initial=0.0) * len(strengths) * np.finfo(float).eps
    root = directions[:, kept] * np.sqrt(strengths[kept])
    inverse = directions[:, kept] / np.sqrt(strengths[kept])
    relative, turn = scipy.linalg.eigh(inverse.T @ covariance @ inverse)
    k = min(k, len(relative))
    relative, basis = np.maximum(relative, 0.0), root @ turn

    def leading(masked: float) -> tuple[np.ndarray, np.ndarray]:
        """The best ``k`` directions, and with them those that are as good as the last."""
        weights = relative / np.sqrt((1 - masked) * relative + masked)
        left, s, _ = svd(basis * weights)
        return left[:, :k], left[:, : max(k, int((s**2 >= s[k - 1] ** 2 * (1 - _SAME)).sum()))]

    def agreement(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
        """Cosine of the largest angle between the spaces, equally good directions counted as one's choice."""
        return max(
            scipy.linalg.svdvals(one[0].T @ other[1])[-1],
            scipy.linalg.svdvals(other[0].T @ one[1])[-1],
        )

    found = []
    ratios = np.linspace(0, 1, _GRID + 1)[1:-1]
    spaces = [leading(masked) for masked in ratios.tolist()]
    for i in range(len(ratios) - 1):
        low, high, one, other = float(ratios[i]), float(ratios[i + 1]), spaces[i], spaces[i + 1]
        while (apart := agreement(one, other)) < math.sqrt(0.5) and high - low > _NARROW:
            middle = (low + high) / 2
            between = leading(middle)
            if agreement(one, between) < agreement(between, other):
                high, other = middle, between
            else:
                low, one = middle, between
        if apart < math.sqrt(0.5):
            found.append((low + high) / 2)
    return tuple(found)
