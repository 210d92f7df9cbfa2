"""Laws, thresholds and correlation strengths of random hierarchy models, against enumeration and random grammars."""

import dataclasses
import itertools
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hlvm.images import GrammarImages
from hlvm.theory import (
    SAMPLE_LAWS,
    GrammarSizes,
    corruption_transition,
    expected_samples,
    kesten_stigum,
    label_correlation,
    mean_belief,
    token_correlation,
)
from hlvm.theory.grammar.correlations import correlation_decay

ROOT = Path(__file__).parent.parent


def sizes(v, m, *, classes=None, levels=3, s=2):
    return GrammarSizes(n_symbols=v, n_classes=classes or v, n_synonyms=m, n_levels=levels, tuple_size=s)


# ---------------------------------------------------------------------- sizes


def test_sizes_are_those_of_a_drawn_grammar():
    grammar = GrammarImages.init(0, n_symbols=8, n_classes=4, n_synonyms=3, n_levels=2)
    assert GrammarSizes.of(grammar) == sizes(8, 3, classes=4, levels=2, s=4)


def test_sizes_of_something_else_are_refused():
    with pytest.raises(ValueError, match=r"grammar must have n_symbols.*SimpleNamespace without n_classes, n_levels"):
        GrammarSizes.of(SimpleNamespace(n_symbols=2, n_synonyms=2, tuple_size=2))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_symbols": 1}, "n_symbols must be a whole number of at least 2"),
        ({"tuple_size": 1}, "tuple_size must be a whole number of at least 2"),
        ({"n_levels": 0}, "n_levels must be a whole number of at least 1"),
        ({"n_synonyms": 5}, r"one parent: 20 rules, but only 4\^2 = 16 tuples: take fewer synonyms"),
        ({"n_classes": 9}, "one parent: 18 rules"),
    ],
)
def test_sizes_that_no_grammar_has_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(sizes(4, 2), **change)


# ---------------------------------------------------------------------- samples


def test_expected_samples_are_the_formulas_of_the_sources():
    grammar = GrammarImages.init(0, n_symbols=8, n_classes=5, n_synonyms=3, n_levels=4, tuple_size=2)
    v, n_c, m = 8, 5, 3
    by_law = {law: [expected_samples(grammar, height, law) for height in (1, 2, 3, 4)] for law in SAMPLE_LAWS}
    assert by_law == {
        "labels": [n_c * m**4] * 4,
        "tokens": [v * m, v * m**3, v * m**5, v * m**7],
        "weight sharing": [v * m, v * m**3, v * m**4, v * m**5],
        "latent targets": [v * m**3] * 4,
    }


@pytest.mark.parametrize("law", SAMPLE_LAWS.values(), ids=str)
def test_sample_laws_have_a_source_that_is_cited(law):
    entries = (ROOT / "docs" / "references.bib").read_text(encoding="utf-8").split("\n@")
    (entry,) = [entry for entry in entries if law.arxiv in entry]
    (title,) = re.findall(r"\btitle\s*=\s*\{(.*)\}", entry)
    assert title.replace("{", "").replace("}", "").lower() == law.title.lower()
    assert all(dataclasses.asdict(law).values()), "every field says something"


@pytest.mark.parametrize(
    ("height", "law", "message"),
    [
        (0, "tokens", "height must be a whole number of at least 1"),
        (4, "tokens", "height must lie between 1 and 3, the height of the class, got 4"),
        (1, "words", "law must be one of 'labels', 'tokens', .* got 'words'"),
    ],
)
def test_expected_samples_of_no_height_or_law_are_refused(height, law, message):
    with pytest.raises(ValueError, match=message):
        expected_samples(sizes(4, 2), height, law)


def test_laws_balance_correlations_and_the_noise_of_samples():
    # Conventions of 2406.00048: noise 1 / (v P^(1/2)), threshold divided by 1 - m / v^(s-1). Conventions of 2307.02129:
    # relative to the mean frequency, noise (v n_c / P)^(1/2). Both for many symbols: 4096 leave 1 %.
    v, m = 4096, 512
    large = sizes(v, m)
    for height in (1, 2, 3):
        samples = expected_samples(large, height, "tokens") / (1 - m / v)
        assert token_correlation(large, height) == pytest.approx(1 / (v * math.sqrt(samples)), rel=0.01)
    samples = expected_samples(large, 3, "labels")
    assert label_correlation(large) == pytest.approx(math.sqrt(v * v / samples), rel=0.01)


# ---------------------------------------------------------------------- thresholds


def test_transition_at_the_published_sizes():
    # Convention of 2402.16991 and 2410.13770: p is the belief in the true symbol, 1 - ε + ε / v at a leaf; F maps p of
    # a height to that of the next; ε* is where the leaf's p is the fixed point between 1/v and 1.
    found = corruption_transition(sizes(32, 8, levels=9))
    assert found.exists
    assert found.slope_at_truth == pytest.approx(2 * 8 * 31 / 1023)
    assert (found.fixed_point, found.slope, found.critical_noise) == (
        pytest.approx(0.2917, abs=5e-5),
        pytest.approx(1.442, abs=5e-4),
        pytest.approx(0.731, abs=5e-4),
    )
    # Their formula; the caption of their figure 9 has 1.78.
    assert found.exponent == pytest.approx(math.log(2) / math.log(1.4422), rel=1e-3)


@pytest.mark.parametrize(("v", "m", "s"), [(3, 2, 2), (4, 3, 3), (2, 2, 4), (5, 1, 2)])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.9, 1.0])
def test_mean_belief_is_the_ratio_of_means_over_random_rules(v, m, s, p):
    # One rule of the true symbol wrote the children; its other rules, and all rules, are tuples drawn from the others.
    belief = np.array([p] + [(1 - p) / (v - 1)] * (v - 1))
    weights = np.array([belief[list(which)].prod() for which in itertools.product(range(v), repeat=s)])
    right, others = weights[0], weights[1:].mean()  # (0, ..., 0) is the tuple that was written
    expected = (right + (m - 1) * others) / (right + (m * v - 1) * others)
    assert mean_belief(sizes(v, m, s=s), p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("v", "m", "s"), [(32, 8, 2), (8, 3, 2), (16, 8, 3), (6, 5, 3)])
def test_beliefs_go_to_truth_below_the_critical_noise_and_to_chance_above(v, m, s):
    grammar = sizes(v, m, s=s)
    found = corruption_transition(grammar)
    for noise, limit in ((found.critical_noise - 1e-3, 1), (found.critical_noise + 1e-3, 1 / v)):
        belief = 1 - noise + noise / v
        for _ in range(200):
            belief = mean_belief(grammar, min(belief, 1.0))
        assert belief == pytest.approx(limit, abs=1e-6)


@pytest.mark.parametrize(("v", "m", "s"), [(32, 8, 2), (8, 3, 2), (6, 5, 3)])
def test_slopes_are_those_of_mean_belief(v, m, s):
    grammar = sizes(v, m, s=s)
    found, step = corruption_transition(grammar), 1e-6

    def slope(below, above):
        return (mean_belief(grammar, above) - mean_belief(grammar, below)) / (above - below)

    assert found.slope_at_truth == pytest.approx(slope(1 - step, 1), rel=1e-4)
    assert found.slope_at_truth == pytest.approx(s * m * (v - 1) / (v**s - 1))
    assert found.slope_at_chance == pytest.approx(slope(1 / v - step, 1 / v + step), rel=1e-4)
    assert found.slope_at_chance == pytest.approx(s * correlation_decay(grammar))
    if 1 / v < found.fixed_point < 1:
        assert mean_belief(grammar, found.fixed_point) == pytest.approx(found.fixed_point)
        assert found.slope == pytest.approx(slope(found.fixed_point - step, found.fixed_point + step), rel=1e-4)


def test_transition_is_missing_just_where_the_slope_is_one():
    for v in range(3, 100, 2):
        edge, below = (corruption_transition(sizes(v, (v + 1) // 2 - less)) for less in (0, 1))
        assert (edge.slope_at_truth, edge.exists, below.exists) == (1.0, False, True)


@pytest.mark.parametrize(("v", "m"), [(32, 8), (8, 4), (5000, 2), (5000, 2499)])
def test_fixed_point_of_pairs_has_a_closed_form(v, m):
    # The third zero of a cubic with zeros 1 and 1/v; for 2 and 2499 synonyms very close to one of them.
    assert corruption_transition(sizes(v, m)).fixed_point == pytest.approx((m - 1) / (v - m), rel=1e-10)


def test_transition_is_missing_with_too_many_rules():
    found = corruption_transition(sizes(8, 6))
    assert (found.exists, found.critical_noise) == (False, 0.0)
    assert found.slope_at_truth > 1
    assert math.isnan(found.fixed_point)


def test_transition_is_at_full_noise_when_any_trace_grows():
    found = corruption_transition(sizes(6, 2, s=3))
    assert (found.exists, found.critical_noise, found.fixed_point) == (True, 1.0, 1 / 6)
    assert found.slope_at_chance > 1
    belief = 1 / 6 + 1e-6
    for _ in range(200):
        belief = mean_belief(sizes(6, 2, s=3), belief)
    assert belief == pytest.approx(1)


@pytest.mark.parametrize("below", [-0.1, 1.1, math.nan])
def test_mean_belief_refuses_what_is_no_probability(below):
    with pytest.raises(ValueError, match="below must lie between 0 and 1"):
        mean_belief(sizes(4, 2), below)


def test_kesten_stigum_of_channels_with_known_eigenvalues():
    v, noise = 5, 0.3
    potts = np.full((v, v), noise / v) + (1 - noise) * np.eye(v)
    assert kesten_stigum(potts, 4) == pytest.approx(4 * (1 - noise) ** 2)
    assert kesten_stigum([[0.9, 0.1], [0.4, 0.6]], 3) == pytest.approx(3 * 0.5**2)
    around = np.roll(np.eye(3), 1, axis=1) * 0.8 + 0.2 / 3  # eigenvalues 0.8 exp(±2πi/3)
    assert kesten_stigum(around, 2) == pytest.approx(2 * 0.64)


@pytest.mark.parametrize(
    ("transition", "branching", "message"),
    [
        ([[1.0, 0.0]], 2, r"transition must be a square matrix .* got shape \(1, 2\)"),
        ([[1.0]], 2, "transition must be a square matrix of at least 2 symbols"),
        ([[0.5, 0.6], [0.5, 0.5]], 2, "transition must hold probabilities, each row with sum 1"),
        ([[1.5, -0.5], [0.5, 0.5]], 2, "transition must hold probabilities"),
        ([[math.nan, 1.0], [0.5, 0.5]], 2, "transition must hold probabilities"),
        (np.eye(2), 0, "branching must be a whole number of at least 1"),
    ],
)
def test_kesten_stigum_refuses_what_is_no_channel(transition, branching, message):
    with pytest.raises(ValueError, match=message):
        kesten_stigum(transition, branching)


# ---------------------------------------------------------------------- correlations


def to_child(table, place, v):
    """From a symbol to its child at a place: probabilities, (symbols, v)."""
    matrix = np.zeros((len(table), v))
    for symbol, rules in enumerate(table):
        for rule in rules:
            matrix[symbol, rule[place]] += 1 / len(rules)
    return matrix


def exact_covariances(rules, v, height, first, second):
    """P(class, leaf) and P(leaf, leaf), less what independence would give; leaves below ``first`` and ``second``."""
    top = len(rules)
    tables = {level: np.asarray(table) for level, table in rules.items()}
    n_c = len(tables[top])
    label = np.eye(n_c) / n_c
    for level in range(top, 0, -1):
        label = label @ to_child(tables[level], first, v)
    ancestor = np.full(n_c, 1 / n_c)
    for level in range(top, height, -1):
        ancestor = ancestor @ to_child(tables[level], first, v)
    joint = np.zeros((v, v))
    for symbol, synonyms in enumerate(tables[height]):
        for rule in synonyms:
            joint[rule[first], rule[second]] += ancestor[symbol] / len(synonyms)
    for level in range(height - 1, 0, -1):
        joint = to_child(tables[level], first, v).T @ joint @ to_child(tables[level], second, v)
    return [both - np.outer(both.sum(axis=1), both.sum(axis=0)) for both in (label, joint)]


def drawn_mean_squares(n_draws, v, m, *, classes, levels, s, height):
    squares = []
    for key in range(n_draws):
        grammar = GrammarImages.init(key, n_symbols=v, n_classes=classes, n_synonyms=m, n_levels=levels, tuple_size=s)
        squares.append([(c**2).mean() for c in exact_covariances(grammar.rules, v, height, 0, s - 1)])
    squares = np.array(squares)
    return squares.mean(axis=0), squares.std(axis=0) / math.sqrt(n_draws)


FIVE_ERRORS = 5
"""A false alarm in two million, for a mean over hundreds of independent grammars."""


@pytest.mark.parametrize(("v", "m", "classes", "s"), [(4, 2, 4, 2), (5, 4, 3, 2), (3, 4, 4, 3)])
def test_correlations_at_the_root_are_exact_means_over_random_grammars(v, m, classes, s):
    (label, token), (label_error, token_error) = drawn_mean_squares(400, v, m, classes=classes, levels=1, s=s, height=1)
    grammar = sizes(v, m, classes=classes, levels=1, s=s)
    assert abs(label_correlation(grammar) ** 2 / (classes * v) ** 2 - label) < FIVE_ERRORS * label_error
    assert abs(token_correlation(grammar, 1) ** 2 - token) < FIVE_ERRORS * token_error
    assert token_error < 0.04 * token, "so that the test can fail"


@pytest.mark.parametrize("height", [1, 2, 3])
def test_correlations_of_deep_grammars_are_means_over_random_grammars(height):
    v, m = 8, 3
    (label, token), (label_error, token_error) = drawn_mean_squares(400, v, m, classes=v, levels=3, s=2, height=height)
    grammar = sizes(v, m)
    # That both leaves' paths use the same tables is left out for tokens: 5 %.
    assert abs(token_correlation(grammar, height) ** 2 - token) < FIVE_ERRORS * token_error + 0.05 * token
    assert abs(label_correlation(grammar) ** 2 / v**4 - label) < FIVE_ERRORS * label_error
    assert token_error < 0.06 * token, "so that the test can fail"


def test_token_correlation_refuses_no_height():
    with pytest.raises(ValueError, match="height must lie between 1 and 3"):
        token_correlation(sizes(4, 2), 4)
