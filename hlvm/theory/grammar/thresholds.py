"""Thresholds: up to which noise at the leaves anything is known of symbols arbitrarily far above them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from scipy.optimize import root_scalar

from hlvm._numbers import UsageError, as_numbers, positive
from hlvm.theory.grammar.sizes import GrammarSizes, SizedGrammar

__all__ = ["CorruptionTransition", "corruption_transition", "kesten_stigum", "mean_belief"]

_SUM = 1e-6
"""Rows of a channel may miss 1 by so much."""


def mean_belief(grammar: SizedGrammar, below: float) -> float:
    """Belief in the true symbol of a node, given that of its children: one step of the annealed recursion.

    The leaf of the source's "ε-process" holds the belief ``1 - ε + ε / v`` in its true symbol and ``ε / v`` in every
    other. Messages are replaced by their mean over random rules. If the belief in the truth is p at the children and
    the rest is spread evenly, then at the parent it is

        ``F(p) = (p^s + a (1 - p^s)) / (p^s + f (1 - p^s))``, with ``f = (m v - 1) / (v^s - 1)`` the share of the other
        tuples that have a parent, and ``a = (m - 1) / (v^s - 1)`` of those that have the true one.

    Fixed points are 1 (all known), 1/v (nothing known), and at most one between them. The slope is
    ``s m (v - 1) / (v^s - 1)`` at 1 and ``s v^(s-1) (v - 1) / (m (v^s - 1))`` at 1/v.

    Args:
        grammar: anything with the sizes of a grammar. Classes are taken to be v, as below the root.
        below: belief in the truth at the children, from 0 to 1; 1/v is none.

    Returns:
        Belief in the truth at the parent.

    Raises:
        ValueError: a belief out of range, or something without sizes.

    References:
        :cite:t:`sclocchi2025transition`, :cite:t:`sclocchi2025probing`.
    """
    if not 0 <= below <= 1:
        raise UsageError(f"must lie between 0 and 1, got {below!r}", argument="below")
    return _mean_belief(GrammarSizes.of(grammar), below)


def _shares(sizes: GrammarSizes) -> tuple[float, float]:
    others = sizes.n_tuples - 1
    return (sizes.n_synonyms * sizes.n_symbols - 1) / others, (sizes.n_synonyms - 1) / others


def _mean_belief(sizes: GrammarSizes, below: float) -> float:
    any_parent, true_parent = _shares(sizes)
    right = below**sizes.tuple_size
    return (right + true_parent * (1 - right)) / (right + any_parent * (1 - right))


def _slope(sizes: GrammarSizes, below: float) -> float:
    any_parent, true_parent = _shares(sizes)
    right = below**sizes.tuple_size
    by_tuple = (any_parent - true_parent) / (right + any_parent * (1 - right)) ** 2
    return by_tuple * sizes.tuple_size * below ** (sizes.tuple_size - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionTransition:
    """The transition of a grammar whose leaves are corrupted at random, in the annealed approximation.

    Attributes:
        exists: tells whether symbols arbitrarily far up are still found at some noise: ``slope_at_truth < 1``.
        slope_at_truth: ``s m (v - 1) / (v^s - 1)``, the slope of :func:`mean_belief` where all is known.
        slope_at_chance: its slope where nothing is known. At 1 or more, any trace of evidence grows, and the critical
            noise is 1.
        fixed_point: the belief p* from which neither is reached, ``(m - 1) / (v - m)`` with pairs (s = 2); 1/v if any
            trace grows, NaN without transition.
        slope: slope of :func:`mean_belief` at p*.
        critical_noise: the leaf's noise ε* at which its belief ``1 - ε + ε / v`` is p*; 0 without transition.
        exponent: ``log s / log slope``, with which the length of correlated changes diverges at ε*; NaN where p* does
            not lie between chance and truth.
    """

    exists: bool
    slope_at_truth: float
    slope_at_chance: float
    fixed_point: float
    slope: float
    critical_noise: float
    exponent: float


def corruption_transition(grammar: SizedGrammar) -> CorruptionTransition:
    """Find the noise at the leaves beyond which nothing is known of high symbols, for random corruption.

    The source's leaves are noisy but never wrong: each holds the belief ``1 - ε + ε / v`` in its true symbol. That is
    the mean message under masks of single cells with share ε. But a mask leaves each message certain or empty, and
    messages that fluctuate lose the class earlier: near ε = 0.3 where they lose it at 0.731 here.
    :func:`density_evolution` gives the curve for masks. A transition exists under the same condition: near the truth,
    the slope is the growth of the number of wrong candidates from one height to the next.

    Args:
        grammar: anything with the sizes of a grammar; the number of levels does not matter.

    Returns:
        The transition, if there is one. With v = 32, m = 8 and s = 2: p* = 0.2917, slope 1.442 and ε* = 0.731.

    Raises:
        ValueError: something without sizes.

    References:
        :cite:t:`sclocchi2025transition`, :cite:t:`sclocchi2025probing`. The latter reads ε* ≈ 0.74 off its data. It
        quotes the exponent 1.78 at these sizes; its formula gives 1.89.
    """
    sizes = GrammarSizes.of(grammar)
    chance = 1 / sizes.n_symbols
    v, m, size, others = sizes.n_symbols, sizes.n_synonyms, sizes.tuple_size, sizes.n_tuples - 1
    # Quotients of whole numbers, so that a slope of 1 is 1.
    at_truth = size * m * (v - 1) / others
    at_chance = size * (sizes.n_tuples // v) * (v - 1) / (m * others)
    common = {"slope_at_truth": at_truth, "slope_at_chance": at_chance}
    if at_truth >= 1:
        return CorruptionTransition(
            exists=False, fixed_point=math.nan, slope=math.nan, critical_noise=0.0, exponent=math.nan, **common
        )
    if at_chance >= 1:
        return CorruptionTransition(
            exists=True, fixed_point=chance, slope=at_chance, critical_noise=1.0, exponent=math.nan, **common
        )
    fixed = _between(sizes)
    slope = _slope(sizes, fixed)
    return CorruptionTransition(
        exists=True,
        fixed_point=fixed,
        slope=slope,
        critical_noise=(1 - fixed) / (1 - chance),
        exponent=math.log(sizes.tuple_size) / math.log(slope),
        **common,
    )


def _between(sizes: GrammarSizes) -> float:
    """The fixed point between chance and truth, which is there when the slopes at both are below 1.

    ``F(p) = p`` is ``(v^s - m v) p^(s+1) - (v^s - m) p^s + (m v - 1) p - (m - 1) = 0``. Divided by ``p - 1`` that is
    ``(v^s - m v) p^s - m (v - 1) (p^(s-1) + ... + p) + m - 1``; here it is divided by ``p - 1/v`` too.
    """
    v, m, tuples = sizes.n_symbols, sizes.n_synonyms, sizes.n_tuples
    coefficients = [(tuples - m * v) / tuples]
    for _ in range(sizes.tuple_size - 1):
        coefficients.append(coefficients[-1] / v - m * (v - 1) / tuples)
    found = root_scalar(lambda p: np.polyval(coefficients, p), bracket=(1 / v, 1.0), xtol=1e-15, rtol=1e-14)
    return float(found.root)


def kesten_stigum(transition: Any, branching: int) -> float:
    """Signal of the leaves about the root of a noisy tree, against its noise: ``b |λ₂|²``.

    Above 1, an infinite tree tells something of its root however noisy its leaves are seen; below 1, enough noise at
    the leaves erases all. Leaves seen without noise may tell something below 1 too, when there are many symbols.

    Args:
        transition: shape (v, v): row of a parent's symbol -> probabilities of a child's symbol. The same at all edges.
        branching: children b of a node.

    Returns:
        The number of children times the squared modulus of the second largest eigenvalue.

    Raises:
        ValueError: no square matrix of probabilities whose rows sum to 1, or no children.

    References:
        The bound of Kesten and Stigum; :cite:t:`janson2004robust` prove that it is sharp for noisy leaves.

    Example:
        >>> kesten_stigum([[0.9, 0.1], [0.1, 0.9]], 2)  # 2 (1 - 2 * 0.1)^2
        1.28
    """
    positive(branching, "branching")
    matrix = as_numbers("transition", transition).astype(np.float64)
    if matrix.ndim != 2 or len(matrix) < 2 or matrix.shape[0] != matrix.shape[1]:
        raise UsageError(
            f"must be a square matrix of at least 2 symbols, got shape {matrix.shape}", argument="transition"
        )
    if not (matrix >= 0).all() or not np.allclose(matrix.sum(axis=1), 1, rtol=0, atol=_SUM):
        raise UsageError(
            f"must hold probabilities, each row with sum 1, got a least entry {matrix.min()} and sums of rows from "
            f"{matrix.sum(axis=1).min()} to {matrix.sum(axis=1).max()}",
            argument="transition",
        )
    second = np.sort(np.abs(np.linalg.eigvals(matrix)))[-2]
    return round(float(branching * second**2), 12)
