"""Strength of correlations in random hierarchy models, averaged over the draw of the rules."""

from __future__ import annotations

import math

from hlvm.theory.grammar.sizes import GrammarSizes, SizedGrammar

__all__ = ["correlation_decay", "label_correlation", "token_correlation"]


def correlation_decay(grammar: SizedGrammar) -> float:
    """Factor by which an edge of the tree shrinks the variance of a correlation: ``v^(s-1) (v-1) / (m (v^s - 1))``.

    It is the mean over random rules of the squared size of the matrix from a symbol to one of its children, beside
    its mean: close to 1/m. The number of children times it is the slope at chance of :func:`mean_belief`, and plays
    the part of :func:`kesten_stigum`.

    Args:
        grammar: anything with the sizes of a grammar.

    Raises:
        ValueError: something without sizes.
    """
    return _decay(GrammarSizes.of(grammar))


def _decay(sizes: GrammarSizes) -> float:
    return (1 - _agree(sizes)) / sizes.n_synonyms


def _agree(sizes: GrammarSizes) -> float:
    """Probability that two different tuples have the same symbol at a place."""
    return (sizes.n_tuples // sizes.n_symbols - 1) / (sizes.n_tuples - 1)


def label_correlation(grammar: SizedGrammar) -> float:
    """Correlation of a class with one leaf: root mean square of ``P(class | leaf) / P(class) - 1``.

    The source's convention: relative to the mean frequency, with leaves taken to be equally likely. With the decay β
    of :func:`correlation_decay` it is ``(v (1 - 1 / n_c) β^L)^(1/2)``, which the source gives for many symbols and
    synonyms as ``(v / m^L)^(1/2)``. The noise of a sample of P strings is ``(v n_c / P)^(1/2)``; the two are equal at
    P = n_c m^L. The mean square is exact for the covariance ``n_c v (P(class, leaf) - P(class) P(leaf))``.

    Args:
        grammar: anything with the sizes of a grammar.

    Raises:
        ValueError: something without sizes.

    References:
        :cite:t:`cagnetta2024rhm`, appendix C.
    """
    sizes = GrammarSizes.of(grammar)
    return math.sqrt(sizes.n_symbols * (1 - 1 / sizes.n_classes) * _decay(sizes) ** sizes.n_levels)


def token_correlation(grammar: SizedGrammar, height: int) -> float:
    """Correlation of two leaves: root mean square of ``P(μ, ν) - P(μ) P(ν)`` over symbols and random rules.

    The source's convention: a covariance, averaged over all v² pairs of symbols. For many symbols and synonyms it is
    ``((1 - m / v^(s-1)) / (v³ m^(2h-1)))^(1/2)``, and the noise of a sample of P strings is ``1 / (v P^(1/2))``; the
    two are equal at ``P = v m^(2h-1) / (1 - m / v^(s-1))``. Here finite tables are averaged. At the root the mean over
    its rules is exact; below it, symbols are not equally likely, and the rules count as the effective number with the
    same sum of squared probabilities. Each of the ``2 (h - 1)`` edges below the ancestor shrinks the variance by
    :func:`correlation_decay`; that both paths use the same tables is left out, a few per cent at 8 symbols or fewer.

    Args:
        grammar: anything with the sizes of a grammar.
        height: height h of the leaves' lowest common ancestor, 1 to L.

    Raises:
        ValueError: no such height, or something without sizes.

    References:
        :cite:t:`cagnetta2024language`, section 3 and appendix D.
    """
    sizes = GrammarSizes.of(grammar)
    number = sizes.checked_height(height)
    decay = _decay(sizes)
    above = decay ** (sizes.n_levels - number)
    # Expected sum of squared probabilities of the ancestor's symbols.
    concentration = _agree(sizes) * (1 - above) / (1 - decay) + above / sizes.n_classes
    variance = _squared_covariance(sizes, sizes.n_synonyms / concentration) * decay ** (2 * (number - 1))
    return math.sqrt(max(variance, 0.0)) / sizes.n_symbols


def _squared_covariance(sizes: GrammarSizes, n: float) -> float:
    """Expected sum of squares of the covariance between two places of a tuple, one of ``n`` equally likely rules.

    The rules are n of the v^s tuples, drawn without replacement. With q the joint frequencies, the sum is
    ``Σ q² - 2 Σ q q_i q_j + Σ q_i² Σ q_j²``: sums over 2, 3 and 4 rules of the chance that some agree at places i, j.
    """
    total, per_symbol = sizes.n_tuples, sizes.n_tuples // sizes.n_symbols
    others, both_others = per_symbol - 1, per_symbol // sizes.n_symbols - 1
    one = _agree(sizes)  # two rules agree at place i
    both = both_others / (total - 1)  # at both places
    # Three rules: the first agrees with the second at i, with the third at j.
    three = (others**2 - both_others) / ((total - 1) * (total - 2))
    # Four rules: the first two agree at i, the last two at j; pairs that share a rule are taken off.
    shared = 4 * total * others**2 - 2 * total * both_others
    four = ((total * others) ** 2 - shared) / math.perm(total, 4)
    pairs = n * (n - 1)
    triples = pairs * (n - 2)
    fours = triples * (n - 3)
    joint = (n + pairs * both) / n**2
    mixed = (n + pairs * (2 * one + both) + triples * three) / n**3
    # Partitions of the four: {1234} and {12}{34} agree by themselves; three and one: 4; {13}{24} and {14}{23}: 2;
    # {12} or {34} alone: 2; one of each pair: 4.
    apart = n + pairs * (1 + 4 * one + 2 * both) + triples * (2 * one + 4 * three) + fours * four
    return joint - 2 * mixed + apart / n**4
