"""Density evolution for masks of patches, against belief propagation on drawn strings."""

import math

import numpy as np
import pytest

from hlvm.images import GrammarImages
from hlvm.theory import GrammarSizes, corruption_transition, density_evolution

FIVE_ERRORS = 5
"""A false alarm in two million, for means over many independent strings; both sides' errors are joined."""


def sizes(v, m, *, classes=None, levels=3, s=2):
    return GrammarSizes(n_symbols=v, n_classes=classes or v, n_synonyms=m, n_levels=levels, tuple_size=s)


# ---------------------------------------------------------------------- plain belief propagation


def draw_strings(rng, rules, n):
    """Symbols of each height, (n, nodes), from the root down."""
    top = len(rules)
    symbols = {top: rng.integers(len(rules[top]), size=(n, 1))}
    for level in range(top, 0, -1):
        above = symbols[level]
        synonyms = rng.integers(rules[level].shape[1], size=above.shape)
        symbols[level - 1] = rules[level][above, synonyms].reshape(n, -1)
    return symbols


def upward(rules, leaves, visible, v):
    """Likelihood of what is visible below each node, (n, nodes, symbols)."""
    messages = {0: np.where(visible[..., None], np.eye(v)[leaves], 1.0)}
    for level, table in sorted(rules.items()):
        below = messages[level - 1]
        children = below.reshape(len(below), -1, table.shape[2], v)
        written = [children[:, :, i][:, :, table[:, :, i]] for i in range(table.shape[2])]
        messages[level] = np.prod(written, axis=0).mean(axis=3)
    return messages


def outside(rules, messages, v):
    """What everything but a node's own subtree says of its symbol, (n, nodes, symbols)."""
    top = len(rules)
    said = {top: np.full_like(messages[top], 1 / len(rules[top]))}
    for level in range(top, 0, -1):
        table, below = rules[level], messages[level - 1]
        size = table.shape[2]
        children = below.reshape(len(below), -1, size, v)
        out = np.empty_like(children)
        for place in range(size):
            weights = said[level][..., None] / table.shape[1]
            for other in set(range(size)) - {place}:
                weights = weights * children[:, :, other][:, :, table[:, :, other]]
            out[:, :, place] = np.einsum(
                "nwam,amc->nwc",
                np.broadcast_to(weights, (*weights.shape[:3], table.shape[1])),
                np.eye(v)[table[:, :, place]],
            )
        said[level - 1] = out.reshape(below.shape)
    return said


def exact_means(rng, rules, v, *, patch_height, share, evidence, n):
    """Means over strings, and their standard errors: quantity -> height -> (mean, error)."""
    symbols, size = draw_strings(rng, rules, n), rules[1].shape[2]
    masked = rng.random((n, size ** (len(rules) - patch_height))) < share
    visible = ~np.repeat(masked, size**patch_height, axis=1)
    messages = upward(rules, symbols[0], visible, v)
    nothing = {level: np.ones_like(message) for level, message in messages.items()}
    prior = outside(rules, nothing, v)
    said = prior if evidence == "below" else outside(rules, messages, v)
    found = {"accuracy": {}, "truth": {}, "r2": {}, "entropy": {}}
    for height in range(patch_height, len(rules) + 1):
        posterior = said[height] * messages[height]
        posterior /= posterior.sum(axis=2, keepdims=True)
        truth = np.take_along_axis(posterior, symbols[height][..., None], axis=2)[..., 0]
        logs = np.log2(np.where(posterior > 0, posterior, 1))
        unknown = (1 - (prior[height] ** 2).sum(axis=2)).mean()
        one_hot = np.eye(posterior.shape[2])[symbols[height]]
        per_string = {
            "accuracy": (posterior.argmax(axis=2) == symbols[height]).mean(axis=1),
            "truth": truth.mean(axis=1),
            "r2": 1 - ((one_hot - posterior) ** 2).sum(axis=2).mean(axis=1) / unknown,
            "entropy": -(posterior * logs).sum(axis=2).mean(axis=1),
        }
        for name, values in per_string.items():
            found[name][height] = values.mean(), values.std() / math.sqrt(n)
    return found


def assert_same(curve, exact):
    for name, heights in exact.items():
        answers = getattr(curve, name)
        assert answers.how == "estimated"
        for column, (height, (mean, error)) in enumerate(heights.items()):
            assert curve.heights[column] == height
            joined = math.hypot(error, answers.error[0, column])
            assert abs(answers.value[0, column] - mean) < FIVE_ERRORS * joined + 0.002, (name, height)
            assert joined < (0.03 if name == "entropy" else 0.012), "so that the test can fail"


# ---------------------------------------------------------------------- comparisons


@pytest.mark.parametrize("evidence", ["string", "below"])
@pytest.mark.parametrize(("patch_height", "share"), [(0, 0.4), (1, 0.5)])
def test_density_evolution_is_belief_propagation_on_strings_of_one_grammar(patch_height, share, evidence):
    grammar = GrammarImages.init(3, n_symbols=8, n_classes=6, n_synonyms=3, n_levels=4, tuple_size=2)
    rules = {level: np.asarray(table) for level, table in grammar.rules.items()}
    ask = {"patch_height": patch_height, "evidence": evidence}
    exact = exact_means(np.random.default_rng(0), rules, 8, share=share, n=6000, **ask)
    curve = density_evolution(grammar, masked_shares=share, rules=rules, population=2000, n_populations=8, key=1, **ask)
    assert_same(curve, exact)


@pytest.mark.parametrize("patch_height", [0, 1, 2])
def test_density_evolution_takes_ambiguous_rules_and_wide_tuples(patch_height):
    rng = np.random.default_rng(5)
    v, m, s = 4, 3, 3
    rules = {level: rng.integers(v, size=(v, m, s)) for level in (1, 2, 3)}
    rules[1][1, 0] = rules[1][0, 0]  # one tuple with two parents
    grammar = sizes(v, m, levels=3, s=s)
    exact = exact_means(rng, rules, v, patch_height=patch_height, share=0.6, evidence="string", n=6000)
    curve = density_evolution(
        grammar, patch_height=patch_height, masked_shares=0.6, rules=rules, population=2000, n_populations=8, key=2
    )
    assert_same(curve, exact)


def test_density_evolution_draws_grammars_as_grammar_images_does():
    # Means over grammars: 40 drawn by the generator, 100 strings each, against 40 drawn by the prediction.
    v, m, levels, share = 6, 2, 3, 0.5
    rows = []
    for key in range(40):
        grammar = GrammarImages.init(key, n_symbols=v, n_classes=v, n_synonyms=m, n_levels=levels, tuple_size=2)
        rules = {level: np.asarray(table) for level, table in grammar.rules.items()}
        exact = exact_means(np.random.default_rng(key), rules, v, patch_height=0, share=share, evidence="string", n=100)
        rows.append([exact["accuracy"][height][0] for height in range(levels + 1)])
    curve = density_evolution(sizes(v, m), masked_shares=share, population=100, n_populations=40, key=0)
    error = np.hypot(np.std(rows, axis=0) / math.sqrt(40), curve.accuracy.error[0])
    assert (np.abs(np.mean(rows, axis=0) - curve.accuracy.value[0]) < FIVE_ERRORS * error).all()
    assert (error < 0.03).all(), "so that the test can fail"


# ---------------------------------------------------------------------- limits and identities


@pytest.mark.parametrize("evidence", ["string", "below"])
def test_density_evolution_knows_all_or_nothing_at_the_ends(evidence):
    v, classes = 8, 5
    curve = density_evolution(
        sizes(v, 4, classes=classes, levels=4),
        masked_shares=[0, 1],
        evidence=evidence,
        population=50,
        n_populations=3,
        key=0,
    )
    for answers, known in ((curve.accuracy, 1), (curve.truth, 1), (curve.r2, 1), (curve.entropy, 0)):
        np.testing.assert_allclose(answers.value[0], known, atol=1e-12)
    np.testing.assert_allclose(curve.r2.value[1], 0, atol=1e-12)
    assert curve.accuracy.value[1, -1] == pytest.approx(1 / classes)
    assert curve.entropy.value[1, -1] == pytest.approx(math.log2(classes))


def test_density_evolution_of_patches_is_that_of_cells_in_fewer_levels():
    # Rules without ambiguity: a visible patch tells the symbol at its top, whatever the rules below.
    grammar = GrammarImages.init(4, n_symbols=8, n_classes=8, n_synonyms=4, n_levels=5, tuple_size=2)
    rules = {level: np.asarray(table) for level, table in grammar.rules.items()}
    above = {level - 2: table for level, table in rules.items() if level > 2}
    ask = {"masked_shares": [0.2, 0.5], "population": 500, "n_populations": 8}
    patches = density_evolution(grammar, patch_height=2, rules=rules, key=0, **ask)
    cells = density_evolution(sizes(8, 4, levels=3), rules=above, key=1, **ask)
    error = np.hypot(patches.accuracy.error, cells.accuracy.error)
    assert (np.abs(patches.accuracy.value - cells.accuracy.value) < FIVE_ERRORS * error + 1e-3).all()
    assert (error < 0.02).all(), "so that the test can fail"
    np.testing.assert_array_equal(patches.heights - 2, cells.heights)


def test_density_evolution_of_a_patch_that_is_the_whole_string():
    curve = density_evolution(
        sizes(4, 2, classes=3), patch_height=3, masked_shares=[0.25], population=600, n_populations=4, key=0
    )
    # Visible: known; masked: one of three.
    assert curve.accuracy.value[0, 0] == pytest.approx(0.75 + 0.25 / 3, abs=0.02)
    assert curve.r2.value[0, 0] == pytest.approx(0.75, abs=0.03)


def test_density_evolution_tells_more_with_the_whole_string_and_less_with_more_masked():
    ask = {"masked_shares": [0.1, 0.3, 0.5, 0.7], "population": 300, "n_populations": 4, "key": 0}
    below, string = (density_evolution(sizes(8, 3), evidence=evidence, **ask) for evidence in ("below", "string"))
    assert (np.diff(below.entropy.value, axis=0) > 0).all()
    assert (np.diff(string.entropy.value, axis=0) > 0).all()
    assert (string.entropy.value[:, :-1] < below.entropy.value[:, :-1]).all()
    np.testing.assert_allclose(string.accuracy.value[:, -1], below.accuracy.value[:, -1], atol=0.03)


def test_masks_lose_high_symbols_at_less_noise_than_corruption():
    # v = 32, m = 8, s = 2, as in 2410.13770. Leaves that are all a little uncertain and never wrong keep the class up
    # to 0.731. Masks with the same mean message lose it near 0.3, as the source measures for masking diffusion.
    grammar = sizes(32, 8, levels=8)
    critical = corruption_transition(grammar).critical_noise
    curve = density_evolution(
        grammar, masked_shares=[0.15, 0.45, critical - 0.05], evidence="below", population=200, n_populations=2, key=0
    )
    kept, lost, far = curve.accuracy.value
    assert kept[-1] > kept[3] > 0.7, "below the transition, what is lost near the leaves is found again further up"
    assert lost[-1] < 0.15
    assert far[-1] < 0.06


def test_large_patches_hide_the_class_below_the_transition_and_show_it_above():
    # Going up, evidence grows with few rules and fades with many: a large patch leaves fewer levels to go.
    ask = {"masked_shares": 0.4, "population": 150, "n_populations": 4, "key": 0}
    few, many = (
        [density_evolution(sizes(16, m, levels=5), patch_height=height, **ask).r2 for height in (0, 2)] for m in (2, 8)
    )
    assert few[0].value[0, -1] > few[1].value[0, -1] + 0.03
    assert many[0].value[0, -1] < many[1].value[0, -1] - 0.03


def test_density_evolution_refuses_to_draw_from_too_many_tuples():
    grammar = sizes(64, 2, levels=1, s=11)
    with pytest.raises(ValueError, match=r"grammar has 64\^11 tuples, too many to draw from: pass rules="):
        density_evolution(grammar, masked_shares=0.5, population=10, n_populations=2, key=0)


def test_density_evolution_gives_the_same_numbers_for_a_key():
    ask = {"masked_shares": [0.3], "population": 20, "n_populations": 2}
    first, again, other = (density_evolution(sizes(6, 2), key=key, **ask).truth.value for key in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_density_evolution_does_not_underflow_with_long_tuples():
    curve = density_evolution(
        sizes(16, 4, levels=6, s=4), masked_shares=[0.0, 0.02, 0.97], population=20, n_populations=2, key=0
    )
    for answers in (curve.accuracy, curve.truth, curve.r2, curve.entropy):
        assert np.isfinite(answers.value).all()
    np.testing.assert_allclose(curve.accuracy.value[0], 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_height": 4}, "height must lie between 0 and 3"),
        ({"patch_height": -1}, "height must be a whole number of at least 0"),
        ({"masked_shares": [0.5, 1.2]}, "masked_shares must be shares from 0 to 1"),
        ({"masked_shares": [math.nan]}, "masked_shares must be shares from 0 to 1"),
        ({"masked_shares": []}, "masked_shares must be shares from 0 to 1"),
        ({"evidence": "above"}, "evidence must be 'string' or 'below', got 'above'"),
        ({"population": 1}, "population must be a whole number of at least 2"),
        ({"n_populations": 1}, "n_populations must be a whole number of at least 2"),
        ({"rules": {1: np.zeros((4, 2, 2), int)}}, r"rules must have the levels 1 to 3, got \[1\]"),
        ({"rules": dict.fromkeys((1, 2, 3), np.zeros((4, 3, 2), int))}, r"rules\[1\] must be .* shape \(4, 2, 2\)"),
        ({"rules": dict.fromkeys((1, 2, 3), np.full((4, 2, 2), 4))}, r"rules\[1\] must be whole numbers from 0 to 3"),
    ],
)
def test_density_evolution_refuses_bad_input(change, message):
    ask = {"masked_shares": [0.5], "population": 10, "n_populations": 2, "key": 0}
    with pytest.raises(ValueError, match=message):
        density_evolution(sizes(4, 2), **{**ask, **change})
