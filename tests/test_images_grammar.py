"""Grammar images: counts, parsing, exchanges and independences are exact, by enumeration of all strings."""

import itertools
from collections import Counter
from fractions import Fraction
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hlvm.graph import LatentGraph
from hlvm.images import Derivation, GrammarImages, ImageSample, latents_of_patches
from hlvm.images.grammar import symbol_patches as _symbol_patches
from hlvm.masking import masked_array
from hlvm.mechanisms import rule_tables
from hlvm.theory import check_assumptions, shared_information

FALSE_ALARMS = 1e-3
"""Chance that a statistical test below would fail under another seed although the code is right."""

SMALL = [  # symbols, classes, synonyms, tuple size, levels, strings counted by hand
    (4, 3, 2, (2, 2), 2, 3 * 2**5),
    (3, 3, 3, (2, 2), 2, 3 * 3**5),
    (4, 3, 1, (2, 2), 1, 3),
    (2, 2, 2, 2, 3, 2**8),  # every string of 8 symbols
    (3, 2, 2, 3, 2, 2 * 2**4),
    (4, 7, 2, (2, 1), 1, 7 * 2),
]


PINNED = {1: [[[2, 1], [2, 0]], [[1, 1], [1, 2]], [[1, 0], [0, 1]]], 2: [[[1, 2], [0, 1]], [[2, 2], [2, 1]]]}
PINNED_LARGE = [[[16, 7, 34, 20], [36, 11, 50, 47]], [[48, 53, 42, 24], [62, 11, 49, 8]]]


def grammar(n_symbols, n_classes, n_synonyms, tuple_size, n_levels, *_, seed=0, **options):
    return GrammarImages.init(
        jax.random.key(seed),
        n_symbols=n_symbols,
        n_classes=n_classes,
        n_synonyms=n_synonyms,
        n_levels=n_levels,
        tuple_size=tuple_size,
        **options,
    )


def strings_from(model, level, symbol):
    """Oracle: every grid that a symbol of a level can become, by expanding one rule after the other."""
    if level == 0:
        return [np.array([[symbol]])]
    found = []
    rows, columns = model.tuple_shape
    for rule in np.asarray(model.rules[level])[symbol].tolist():
        for parts in itertools.product(*(strings_from(model, level - 1, child) for child in rule)):
            found.append(np.block([[parts[r * columns + c] for c in range(columns)] for r in range(rows)]))
    return found


def as_rows(cells):
    return [tuple(row) for row in np.asarray(cells).reshape(len(cells), -1).tolist()]


def assert_same(one, other):
    assert sorted(one) == sorted(other)
    for level in one:
        np.testing.assert_array_equal(one[level], other[level])


# ---------------------------------------------------------------------- counts and parsing


@pytest.mark.parametrize("sizes", SMALL)
def test_enumerate_strings_writes_each_string_once(sizes):
    model = grammar(*sizes)
    written = model.enumerate_strings()
    strings = as_rows(written.cells)
    assert model.n_strings == len(written) == len(set(strings)) == sizes[-1]
    assert model.n_strings_per_class * model.n_classes == model.n_strings
    expanded = {
        label: {tuple(grid.ravel().tolist()) for grid in strings_from(model, model.n_levels, label)}
        for label in range(model.n_classes)
    }
    for label, own in expanded.items():
        assert len(own) == model.n_strings_per_class
        assert {s for s, y in zip(strings, written.labels.tolist(), strict=True) if y == label} == own


@pytest.mark.parametrize("sizes", SMALL)
def test_parse_inverts_every_string(sizes):
    model = grammar(*sizes)
    written = model.enumerate_strings()
    parsed = model.parse(written.cells)
    assert bool(parsed.valid.all())
    assert_same(parsed.symbols, written.symbols)
    assert_same(parsed.synonyms, written.synonyms)
    assert_same(model.produce(parsed.labels, parsed.synonyms).symbols, written.symbols)


@pytest.mark.parametrize("sizes", [SMALL[3], (3, 2, 2, 2, 2), (2, 1, 1, (2, 2), 1)])
def test_parse_flags_exactly_the_other_strings(sizes):
    model = grammar(*sizes)
    rows, columns = model.level_shape(0)
    every = np.array(list(itertools.product(range(model.n_symbols), repeat=rows * columns)))
    parsed = model.parse(every.reshape(-1, rows, columns))
    belongs = set(as_rows(model.enumerate_strings().cells))
    assert parsed.valid.tolist() == [row in belongs for row in as_rows(every)]
    assert int(parsed.valid.sum()) == model.n_strings


def test_parse_keeps_what_is_known_below_an_unknown_tuple():
    rules = {1: np.array([[[0, 1]], [[1, 0]]]), 2: np.array([[[0, 0]], [[0, 1]], [[1, 1]]])}
    model = GrammarImages(rules=rules, n_symbols=2, tuple_shape=(1, 2))
    cells = [[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 1, 1], [-1, 1, 0, 1], [2, 0, 0, 1], [2**32, 1, 0, 1]]
    parsed = model.parse(np.array(cells)[:, None])
    assert parsed.labels.tolist() == [1, -1, -1, -1, -1, -1]
    assert parsed.valid.tolist() == [True] + [False] * 5
    assert parsed.symbols[1][:, 0].tolist() == [[0, 1], [1, 0], [0, -1], [-1, 0], [-1, 0], [-1, 0]]
    assert parsed.synonyms[1][:, 0].tolist() == [[0, 0], [0, 0], [0, -1], [-1, 0], [-1, 0], [-1, 0]]
    assert parsed.synonyms[2].ravel().tolist() == [0, -1, -1, -1, -1, -1]


def test_enumerate_strings_refuses_long_lists():
    model = grammar(8, 8, 4, (2, 2), 3)
    assert model.n_strings == 8 * 4**21
    with pytest.raises(ValueError, match=r"8 \* 4\^21 strings \(about 10\^13.5\), more than limit=100000"):
        model.enumerate_strings()
    with pytest.raises(ValueError, match="more than limit=95"):
        grammar(*SMALL[0]).enumerate_strings(limit=95)
    assert len(grammar(*SMALL[0]).enumerate_strings(limit=96)) == 96


def test_n_strings_is_exact_when_large():
    model = grammar(4, 3, 3, (2, 2), 6)
    assert model.n_strings == 3 * 3 ** sum(4**i for i in range(6))


# ---------------------------------------------------------------------- rules


@pytest.mark.parametrize(
    "sizes", [*SMALL, (32, 10, 8, 4, 2), (64, 64, 64, (2, 2), 2), (64, 5, 8, (3, 3), 2), (2, 2, 8, 4, 2)]
)
def test_init_draws_unambiguous_rules(sizes):
    model = grammar(*sizes)
    n_symbols, n_classes, n_synonyms, _, n_levels, *_ = sizes
    assert sorted(model.rules) == list(range(1, n_levels + 1))
    for level, table in model.rules.items():
        assert table.shape == (n_classes if level == n_levels else n_symbols, n_synonyms, model.tuple_size)
        assert 0 <= int(table.min()) <= int(table.max()) < n_symbols
        tuples = np.asarray(table).reshape(-1, model.tuple_size)
        assert len({tuple(row) for row in tuples.tolist()}) == len(tuples)


def test_init_is_deterministic_and_pinned():
    one, again, other = (grammar(3, 2, 2, 2, 2, seed=seed) for seed in (0, 0, 1))
    assert_same(one.rules, again.rules)
    assert any((one.rules[level] != other.rules[level]).any() for level in one.rules)
    # Pinned: data written with a key must stay readable with that key.
    assert one.rules[1].tolist() == PINNED[1]
    assert one.rules[2].tolist() == PINNED[2]
    large = grammar(64, 2, 2, (2, 2), 1)
    assert large.rules[1].tolist() == PINNED_LARGE


@pytest.mark.parametrize("few", [2**16, 0], ids=["shuffled", "drawn until distinct"])
def test_draw_tuples_is_uniform(few, monkeypatch):
    monkeypatch.setattr(rule_tables, "_FEW_TUPLES", few)
    monkeypatch.setattr(rule_tables, "_CROWDED", 1)
    sizes = {"n_rules": 2, "n_symbols": 2, "tuple_size": 2}
    drawn = Counter(str(rule_tables.draw_tuples([0, seed], **sizes).tolist()) for seed in range(600))
    assert len(drawn) == 4 * 3  # ordered pairs of different tuples
    assert stats.chisquare(list(drawn.values())).pvalue > FALSE_ALARMS


def test_other_rules_agree_on_part_of_a_tuple_as_often_as_derived():
    """The formula of the documentation, for 3 symbols with 2 rules of 3 places each, of which 2 are looked at."""
    counts = []
    for seed in range(400):
        seen = rule_tables.draw_tuples([0, seed], n_rules=6, n_symbols=3, tuple_size=3)[:, :2]
        counts.append((seen[:, None] == seen).all(axis=-1).sum(axis=1).mean() - 1)
    expected = (3 * 2 - 1) * (3 - 1) / (3**3 - 1)
    assert stats.ttest_1samp(counts, expected).pvalue > FALSE_ALARMS


def test_levels_have_rules_of_their_own():
    model = grammar(8, 8, 4, 2, 3)
    assert not np.array_equal(model.rules[1], model.rules[2])
    assert not np.array_equal(model.rules[2], model.rules[3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_synonyms": 5}, r"4 symbols with 5 synonyms each need 20 different tuples.*4\^2 = 16: take at most 4 syn"),
        ({"n_classes": 9}, r"9 classes with 2 synonyms each need 18 different.*take at most 1 synonyms, more symbols"),
        ({"n_classes": 17}, r"17 classes .* 4\^2 = 16: take more symbols or longer tuples"),
        ({"n_symbols": 50_000, "tuple_size": 2}, "too many rules for an index of 32 bits"),
        ({"n_symbols": 1}, "n_symbols must be a whole number of at least 2, got 1"),
        ({"n_classes": 0}, "n_classes must be a whole number of at least 1, got 0"),
        ({"n_synonyms": 0}, "n_synonyms must be a whole number of at least 1, got 0"),
        ({"n_levels": 0}, "n_levels must be a whole number of at least 1, got 0"),
        ({"tuple_size": 0}, "tuple_size must be a whole number of at least 1, got 0"),
        ({"tuple_size": (1, 1)}, "tuple_size must be at least 2 symbols"),
        ({"tuple_size": (2, 2, 2)}, r"one number or \(rows, columns\), got \(2, 2, 2\)"),
        ({"n_levels": 21}, r"images of 2\^21 cells, more than 1048576: take fewer levels"),
        ({"n_levels": 10**6}, "take fewer levels"),
        ({"patch_pixels": 0}, "patch_pixels must be a whole number of at least 1, got 0"),
    ],
)
def test_init_refuses_sizes(changes, message):
    sizes = {"n_symbols": 4, "n_classes": 4, "n_synonyms": 2, "n_levels": 2, "tuple_size": 2}
    with pytest.raises(ValueError, match=message):
        GrammarImages.init(jax.random.key(0), **{**sizes, **changes})


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "one table for each level"),
        ({2: [[[0, 1]]]}, r"one table for each level .* got levels \[2\]"),
        ({1: [[[0, 1]], [[1, 0]], [[0, 1]]]}, r"tuple \(0, 1\) twice, as synonym 0 of 0 and synonym 0 of 2"),
        ({1: [[[0, 1], [1, 1]], [[0, 0], [1, 1]]]}, r"tuple \(1, 1\) twice, as synonym 1 of 0 and synonym 1 of 1"),
        ({1: [[[0, 2]]]}, "symbols 0 to 1, got values from 0 to 2"),
        ({1: [[[0.0, 1.0]]]}, r"whole numbers of shape \(n_classes, 1, 2\).*float64"),
        ({1: [[[0, 1, 1]]]}, r"shape \(n_classes, 1, 2\), got shape \(1, 1, 3\)"),
        ({1: [[0, 1]]}, r"shape \(n_classes, n_synonyms, 2\), got shape \(1, 2\)"),
        ({1: [[[0, 1]]], 2: [[[0, 1]]]}, r"rules\[1\] must be .* shape \(2, 1, 2\), got shape \(1, 1, 2\)"),
        ({1: [[[0, 1]], [[1, 1]]], 2: [[[0, 1], [1, 1]]]}, r"rules\[1\] must be .* shape \(2, 2, 2\)"),
    ],
)
def test_grammar_images_refuses_rules(rules, message):
    with pytest.raises(ValueError, match=message):
        GrammarImages(rules={level: np.array(table) for level, table in rules.items()}, n_symbols=2, tuple_shape=(1, 2))


def test_large_alphabets_are_parsed():
    model = grammar(64, 64, 64, (2, 2), 2, patch_pixels=1)
    assert model.n_strings == 64 * 64**5
    written = model.derive(jax.random.key(1), N)
    assert_same(model.parse(written.cells).symbols, written.symbols)
    spoiled = np.array(written.cells)
    spoiled[:, 3, 2] = (spoiled[:, 3, 2] + 1) % 64
    # Of 64^4 tuples 4,096 are rules: another symbol in a tuple gives a rule with probability about 1/4,096.
    assert not bool(model.parse(spoiled).valid.any())


# ---------------------------------------------------------------------- sampling


def test_derive_draws_every_string_equally_often():
    model = grammar(*SMALL[0])  # 96 strings
    number = {row: i for i, row in enumerate(as_rows(model.enumerate_strings().cells))}
    drawn = [number[row] for row in as_rows(model.derive(jax.random.key(3), 9_600).cells)]
    assert stats.chisquare(np.bincount(drawn, minlength=96)).pvalue > FALSE_ALARMS


def test_derive_takes_labels_and_keeps_the_other_choices():
    model = grammar(*SMALL[0])
    free = model.derive(jax.random.key(0), N)
    labels = np.arange(N) % 3
    given_labels = model.derive(jax.random.key(0), N, labels)
    assert given_labels.labels.tolist() == labels.tolist()
    assert_same(free.synonyms, given_labels.synonyms)
    assert_same(model.derive(jax.random.key(0), N).symbols, free.symbols)


def test_derive_sets_latents_and_writes_what_is_below():
    model = MODELS["deep block"]
    free = model.derive(jax.random.key(0), N)
    pairs = np.stack([np.arange(N) % 8, np.arange(N) % 4], axis=-1)
    set_ = model.derive(jax.random.key(0), N, do={"z2_1_0": pairs.astype(np.float32), "z1_0_0": (7, 2)})
    np.testing.assert_array_equal(set_.symbols[3], free.symbols[3])
    np.testing.assert_array_equal(set_.symbols[2][:, 1, 0], pairs[:, 0])
    np.testing.assert_array_equal(set_.synonyms[2][:, 1, 0], pairs[:, 1])
    assert set(set_.symbols[1][:, 0, 0].tolist()) == {7}
    assert set(set_.synonyms[1][:, 0, 0].tolist()) == {2}
    # The rules hold below, and everything that is not below stays.
    rules = {level: np.asarray(table) for level, table in model.rules.items()}
    below = tuples_below(model, set_.symbols, 2)[:, 1, 0]
    np.testing.assert_array_equal(below, rules[2][pairs[:, 0], pairs[:, 1]])
    np.testing.assert_array_equal(tuples_below(model, set_.symbols, 1)[:, 0, 0], np.tile(rules[1][7, 2], (N, 1)))
    stays = np.ones((8, 8), dtype=bool)
    stays[4:, :4] = stays[:2, :2] = False
    assert (np.asarray(set_.cells) == np.asarray(free.cells))[:, stays].all()
    for level in (1, 2, 3):
        changed = np.asarray(set_.synonyms[level] != free.synonyms[level])
        assert not changed.reshape(N, -1)[:, {1: slice(1, None), 2: [0, 1, 3], 3: slice(None)}[level]].any()


def test_derive_with_all_latents_set_writes_their_string():
    model = MODELS["block"]
    sample = model.sample(jax.random.key(0), N)
    again = model.sample(jax.random.key(1), N, do=sample.latents)
    np.testing.assert_array_equal(again.images, sample.images)
    compiled = jax.jit(lambda latents: model.derive(jax.random.key(1), N, do=latents).cells)
    np.testing.assert_array_equal(compiled(dict(sample.latents)), model.unrender(sample.images))


def test_derive_can_leave_the_grammar_by_setting_a_symbol():
    model = MODELS["block"]
    free = model.derive(jax.random.key(0), N)
    other = np.stack([(np.asarray(free.symbols[1])[:, 0, 0] + 1) % 4, np.zeros(N, dtype=int)], axis=-1)
    parsed = model.parse(model.derive(jax.random.key(0), N, do={"z1_0_0": other}).cells)
    np.testing.assert_array_equal(parsed.symbols[1][:, 0, 0], other[:, 0])
    # 6 of 256 tuples belong to a class: another symbol at one place seldom gives one of them.
    assert int(parsed.valid.sum()) <= N // 4


def test_n_values_counts_symbols_and_synonyms():
    model = grammar(*SMALL[4])
    assert model.n_values == {"z2_0_0": (2, 2), "z1_0_0": (3, 2), "z1_0_1": (3, 2), "z1_0_2": (3, 2)}
    latents = model.images_of(model.enumerate_strings()).latents
    assert {
        name: tuple((np.asarray(pair).max(axis=0) + 1).tolist()) for name, pair in latents.items()
    } == model.n_values


def test_derive_and_parse_can_be_compiled():
    model = grammar(*SMALL[0])

    @jax.jit
    def labels_and_back(key):
        written = model.derive(key, N)
        exchanged = model.exchange_synonyms(key, written, 2)
        return written, model.parse(model.unrender(model.render(exchanged.cells)))

    written, parsed = labels_and_back(jax.random.key(4))
    assert_same(written.symbols, model.derive(jax.random.key(4), N).symbols)
    assert parsed.labels.tolist() == written.labels.tolist()


def test_derivation_names_its_parts():
    model = grammar(*SMALL[0])
    written = model.derive(jax.random.key(0), N)
    assert repr(written) == "Derivation(16 strings of shape (4, 4), 2 levels)"
    assert len(written) == N
    assert {level: symbols.shape for level, symbols in written.symbols.items()} == {
        0: (N, 4, 4),
        1: (N, 2, 2),
        2: (N, 1, 1),
    }
    assert isinstance(jax.tree.map(lambda leaf: leaf, written), Derivation)
    assert repr(model).startswith("GrammarImages(n_symbols=4, n_classes=3, n_synonyms=2, n_levels=2, tuple_size=(2, 2)")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(jax.random.key(0), 0), "n must be a whole number of at least 1, got 0"),
        (lambda m: m.sample(jax.random.key(0), N, np.array([0])), r"labels must be whole numbers of shape \(16,\)"),
        (lambda m: m.derive(jax.random.key(0), N, np.full(N, 3)), "labels must lie between 0 and 2, got values from 3"),
        (
            lambda m: m.derive(jax.random.key(0), N, np.full(N, -1)),
            "labels must lie between 0 and 2, got values from -",
        ),
        (lambda m: m.derive(jax.random.key(0), N, np.ones(N)), "labels must be whole numbers.*float64"),
        (lambda m: m.parse(np.zeros((2, 4, 5), int)), r"cells must be whole numbers of shape \(n, 4, 4\), got shape"),
        (lambda m: m.parse(np.zeros((4, 4), int)), r"shape \(n, 4, 4\), got shape \(4, 4\)"),
        (lambda m: m.parse(np.zeros((2, 4, 4))), "cells must be whole numbers .* type float64"),
        (lambda m: m.render(np.full((2, 4, 4), 4)), "cells must lie between 0 and 3, got values from 4 to 4"),
        (lambda m: m.unrender(np.zeros((2, 32, 32, 1))), r"shape \(n, 32, 32, 3\), got \(2, 32, 32, 1\)"),
        (lambda m: m.unrender(np.zeros((32, 32, 3))), r"shape \(n, 32, 32, 3\), got \(32, 32, 3\)"),
        (lambda m: m.level_shape(3), r"between 0 \(cells\) and 2 \(class\), got 3"),
        (lambda m: m.produce(np.array([0]), {1: np.zeros((1, 2, 2), int)}), r"the levels 1 to 2, got \[1\]"),
        (
            lambda m: m.produce(np.array([0]), {1: np.zeros((2, 2, 2), int), 2: np.zeros((1, 1, 1), int)}),
            r"synonyms\[1\] must be whole numbers of shape \(1, 2, 2\)",
        ),
        (
            lambda m: m.produce(np.array([0]), {1: np.full((1, 2, 2), 2), 2: np.zeros((1, 1, 1), int)}),
            r"synonyms\[1\] must lie between 0 and 1",
        ),
        (lambda m: m.exchange_synonyms(jax.random.key(0), m.derive(jax.random.key(0), N), 0), "between 1 and 2.*got 0"),
        (lambda m: m.exchange_synonyms(jax.random.key(0), m.derive(jax.random.key(0), N), 3), "between 1 and 2.*got 3"),
        (
            lambda m: m.exchange_synonyms(jax.random.key(0), m.derive(jax.random.key(0), N), 1, np.ones((2, 2))),
            r"nodes must be booleans of shape \(2, 2\) or \(16, 2, 2\)",
        ),
        (
            lambda m: m.exchange_synonyms(jax.random.key(0), m.derive(jax.random.key(0), N), 2, np.ones((2, 2), bool)),
            r"nodes must be booleans of shape \(1, 1\) or \(16, 1, 1\)",
        ),
        (
            lambda m: m.exchange_synonyms(jax.random.key(0), m.parse(np.full((1, 4, 4), -1)), 1),
            "labels must lie between 0 and 2, got values from -1",
        ),
        (
            lambda m: m.exchange_synonyms(jax.random.key(0), m.derive(jax.random.key(0), N, do=CHANGED_SYMBOL), 1),
            "do not follow the rules of this grammar",
        ),
        (
            lambda m: m.exchange_synonyms(
                jax.random.key(0), grammar(*SMALL[0], seed=1).derive(jax.random.key(0), N), 1
            ),
            "they are of another grammar",
        ),
        (lambda m: m.derive(jax.random.key(0), N, do={"z9_0_0": (0, 0)}), "'z9_0_0' is not a variable of this graph"),
        (lambda m: m.derive(jax.random.key(0), N, do={"x_0_0": (0, 0)}), "latents such as 'z1_1_1', but 'x_0_0' is a"),
        (lambda m: m.derive(jax.random.key(0), N, do={"z1_0_0": 1}), r"shape \(2,\) or \(16, 2\), got shape \(\)"),
        (lambda m: m.derive(jax.random.key(0), N, do={"z1_0_0": np.ones((3, 2))}), r"\(16, 2\), got shape \(3, 2\)"),
        (lambda m: m.derive(jax.random.key(0), N, do={"z1_0_0": (4, 0)}), "from 0 to 3 and a synonym from 0 to 1, got"),
        (lambda m: m.derive(jax.random.key(0), N, do={"z2_0_0": (0, 2)}), "from 0 to 2 and a synonym from 0 to 1, got"),
        (lambda m: m.derive(jax.random.key(0), N, do={"z1_0_0": (0.5, 0)}), r"whole numbers.* got \[0.5, 0.0\]"),
        (lambda m: m.derive(jax.random.key(0), N, do={"z1_0_0": (-1, 0)}), r"whole numbers.* got \[-1, 0\]"),
        (
            lambda m: m.derive(jax.random.key(0), N, np.zeros(N, int), do={"z2_0_0": (0, 0)}),
            r"labels and do\['z2_0_0'\] both set the class",
        ),
    ],
)
def test_methods_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call(MODELS["block"])


def test_exchange_synonyms_refuses_a_single_synonym():
    model = grammar(2, 2, 1, 2, 2)
    with pytest.raises(ValueError, match="no other synonym"):
        model.exchange_synonyms(jax.random.key(0), model.derive(jax.random.key(0), 1), 1)


# ---------------------------------------------------------------------- exchange of synonyms

MODELS = {
    "block": grammar(*SMALL[0]),
    "strip": grammar(6, 4, 3, 2, 3),
    "deep block": grammar(8, 5, 4, (2, 2), 3),
    "column": grammar(5, 3, 4, (3, 1), 2),
}
CHANGED_SYMBOL = {"z1_0_0": np.stack([np.arange(16) % 4, np.zeros(16, int)], axis=-1)}
N = 16
"""One number of strings for most tests: each is compiled once."""


def tuples_below(model, symbols, level):
    """The tuple below each node of a level, (n, rows, columns, s)."""
    rows, columns = model.level_shape(level)
    tall, wide = model.tuple_shape
    blocks = np.asarray(symbols[level - 1]).reshape(-1, rows, tall, columns, wide)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, rows, columns, tall * wide)


@settings(max_examples=40)
@given(name=st.sampled_from(["block", "strip"]), data=st.data())
def test_exchange_synonyms_changes_only_what_it_says(name, data):
    model = MODELS[name]
    level = data.draw(st.integers(1, model.n_levels), label="level")
    seed = data.draw(st.integers(0, 2**31), label="seed")
    n, shape = N, model.level_shape(level)
    kind = data.draw(st.sampled_from(["all", "shared", "own"]), label="nodes")
    nodes = np.random.default_rng(seed).random((n, *shape) if kind == "own" else shape) < 0.5
    chosen = np.broadcast_to(kind == "all" or nodes, (n, *shape))
    before = model.derive(jax.random.key(seed), n)
    after = model.exchange_synonyms(jax.random.key(seed + 1), before, level, None if kind == "all" else nodes)

    assert after.labels.tolist() == before.labels.tolist()
    for other in range(level, model.n_levels + 1):
        np.testing.assert_array_equal(after.symbols[other], before.symbols[other])
    for other in before.synonyms:
        if other != level:
            np.testing.assert_array_equal(after.synonyms[other], before.synonyms[other])
    np.testing.assert_array_equal(after.synonyms[level] != before.synonyms[level], chosen)
    differs = tuples_below(model, after.symbols, level) != tuples_below(model, before.symbols, level)
    np.testing.assert_array_equal(differs.any(axis=-1), chosen)
    # Cells outside the chosen nodes stay.
    reach = [a // b for a, b in zip(model.level_shape(0), shape, strict=True)]
    below = chosen.repeat(reach[0], axis=1).repeat(reach[1], axis=2)
    assert (np.asarray(after.cells) == np.asarray(before.cells))[~below].all()
    # The new string belongs to the grammar, with this derivation.
    parsed = model.parse(after.cells)
    assert_same(parsed.symbols, after.symbols)
    assert_same(parsed.synonyms, after.synonyms)


@pytest.mark.parametrize("level", [1, 2])
def test_exchange_synonyms_permutes_all_strings(level):
    # With 2 synonyms there is one other: the exchange maps the set of all strings onto itself.
    model = MODELS["block"]
    every = model.enumerate_strings()
    exchanged = model.exchange_synonyms(jax.random.key(0), every, level)
    assert sorted(as_rows(exchanged.cells)) == sorted(as_rows(every.cells))
    back = model.exchange_synonyms(jax.random.key(1), exchanged, level)
    assert_same(back.symbols, every.symbols)


def test_exchange_synonyms_takes_every_other_synonym():
    model = MODELS["column"]
    before = model.derive(jax.random.key(0), N)
    after = model.exchange_synonyms(jax.random.key(1), before, 1)
    steps = ((after.synonyms[1] - before.synonyms[1]) % model.n_synonyms).ravel()
    assert set(steps.tolist()) == {1, 2, 3}  # among 48 draws one of three is missing with probability 1e-8


def test_produce_mixes_choices_of_two_samples():
    model = MODELS["deep block"]
    high, low = (model.derive(jax.random.key(seed), N) for seed in (0, 1))
    mixed = model.produce(high.labels, {3: high.synonyms[3], 2: high.synonyms[2], 1: low.synonyms[1]})
    for level in (1, 2, 3):
        np.testing.assert_array_equal(mixed.symbols[level], high.symbols[level])
    assert (np.asarray(mixed.cells) != np.asarray(high.cells)).any()
    assert bool(model.parse(mixed.cells).valid.all())


# ---------------------------------------------------------------------- graph


def test_graph_is_the_quadtree_for_blocks_of_2_by_2():
    graph, quadtree = MODELS["deep block"].graph, LatentGraph.quadtree(3)
    assert graph.nodes == quadtree.nodes
    assert graph.parent_indices == quadtree.parent_indices
    assert graph.grid == quadtree.grid == (8, 8)
    assert set(graph.dims[: graph.n_latents]) == {2}
    assert set(graph.dims[graph.n_latents :]) == {1}
    assert graph.noise_dims == (2, *[1] * (graph.n_latents - 1), *[0] * 64)


def test_graph_of_strips_and_columns():
    strip, column = MODELS["strip"].graph, MODELS["column"].graph
    assert (strip.grid, column.grid) == ((1, 8), (9, 1))
    assert strip.observed[-1] == "x_0_7"
    assert strip.parents("x_0_7") == ("z1_0_3",)
    assert strip.parents("z1_0_2") == ("z2_0_1",)
    assert column.parents("x_5_0") == ("z1_1_0",)


def variables_of(model, written):
    """Values of every variable of the graph, as in an image sample, one list of tuples per name."""
    sample = model.images_of(written)
    cells = np.asarray(model.unrender(sample.images))
    values = {name: list(map(tuple, np.asarray(pair).tolist())) for name, pair in sample.latents.items()}
    for name in model.graph.observed:
        _, row, column = name.split("_")
        values[name] = cells[:, int(row), int(column)].tolist()
    return values


def is_markov(graph, values):
    """Whether the uniform distribution over these rows is the product of each variable given its parents, exactly."""
    rows = len(next(iter(values.values())))
    product = [Fraction(1)] * rows
    for name in graph.nodes:
        above = [tuple(values[p][i] for p in graph.parents(name)) for i in range(rows)]
        alone, both = Counter(above), Counter(zip(above, values[name], strict=True))
        product = [
            so_far * Fraction(both[above[i], values[name][i]], alone[above[i]]) for i, so_far in enumerate(product)
        ]
    joint = Counter(zip(*values.values(), strict=True))
    return all(
        Fraction(joint[row], rows) == found
        for row, found in zip(zip(*values.values(), strict=True), product, strict=True)
    )


@pytest.mark.parametrize("sizes", [SMALL[0], (4, 2, 2, 2, 2), SMALL[4]])
def test_graph_is_exact_with_synonyms_in_the_nodes_and_not_without(sizes):
    model = grammar(*sizes)
    values = variables_of(model, model.enumerate_strings())
    assert is_markov(model.graph, values)
    symbols_only = {
        name: [value[0] for value in column] if name in model.graph.latents else column
        for name, column in values.items()
    }
    assert not is_markov(model.graph, symbols_only)


def test_graph_without_synonyms_needs_none_in_the_nodes():
    # The control of the test above: with one rule per symbol the symbol says all.
    model = grammar(4, 3, 1, 2, 2)
    values = variables_of(model, model.enumerate_strings())
    assert is_markov(model.graph, {name: [str(v)[:2] for v in column] for name, column in values.items()})


def test_one_child_does_not_reveal_its_parent_but_the_tuple_does():
    model = MODELS["block"]
    values = variables_of(model, model.enumerate_strings())
    names = ("x_0_0", "x_0_1", "x_1_0", "x_1_1")
    for name in names:
        assert len(set(zip(values[name], values["z1_0_0"], strict=True))) > len(set(values[name]))
    below = list(zip(*(values[name] for name in names), strict=True))
    assert len(set(zip(below, values["z1_0_0"], strict=True))) == len(set(below)) == 8


def test_assumptions_that_fail_are_those_of_the_invertible_regime():
    model = MODELS["block"]
    assert not model.invertible
    masked = masked_array(model.graph, ["x_0_0", "x_0_1"])
    report = check_assumptions(model.graph, model, masked=masked)
    assert [finding.assumption for finding in report.failures] == [
        "dims of invertible functions",
        "invertible mechanisms",
    ]
    assert shared_information(model.graph, masked, regime="general").members == {"z1_0_0"}


def test_invertible_looks_at_every_column():
    def with_rules(**rules):
        tables = {int(level[1:]): np.array(table) for level, table in rules.items()}
        return GrammarImages(rules=tables, n_symbols=3, tuple_shape=(1, 2)).invertible

    assert with_rules(_1=[[[0, 1], [1, 2]]])
    assert not with_rules(_1=[[[0, 1], [1, 1]]])
    assert with_rules(_1=[[[0, 1]], [[1, 2]], [[2, 0]]], _2=[[[0, 1]], [[1, 2]]])
    assert not with_rules(_1=[[[0, 1]], [[0, 2]], [[2, 0]]], _2=[[[0, 1]], [[1, 2]]])


def test_assumptions_are_checked_on_anything_invertible():
    # The control: the same graph with a model that says it is invertible fails in the dims only.
    report = check_assumptions(MODELS["block"].graph, SimpleNamespace(invertible=True))
    assert [finding.assumption for finding in report.failures] == ["dims of invertible functions"]


# ---------------------------------------------------------------------- pictures


def test_sample_has_every_latent_under_its_name():
    model = MODELS["deep block"]
    sample = model.sample(jax.random.key(0), N)
    written = model.derive(jax.random.key(0), N)
    assert isinstance(sample, ImageSample)
    assert sample.graph == model.graph
    assert tuple(sample.latents) == model.graph.latents
    assert sample.images.shape == (N, *model.shape) == (N, 64, 64, 3)
    for name, pair in sample.latents.items():
        level, row, column = (int(part) for part in name[1:].split("_"))
        assert pair.shape == (N, 2)
        assert pair.dtype == jnp.float32
        np.testing.assert_array_equal(pair[:, 0], written.symbols[level][:, row, column])
        np.testing.assert_array_equal(pair[:, 1], written.synonyms[level][:, row, column])
    np.testing.assert_array_equal(model.unrender(sample.images), written.cells)


def test_images_change_only_below_a_changed_latent():
    model = MODELS["deep block"]
    below = latents_of_patches(model.graph)
    before = model.derive(jax.random.key(0), N)
    one = np.zeros((2, 2), dtype=bool)
    one[1, 0] = True
    after = model.exchange_synonyms(jax.random.key(1), before, 2, one)
    changed = (np.asarray(model.render(before.cells)) != np.asarray(model.render(after.cells))).any(axis=(0, 3))
    cells = changed.reshape(8, 8, 8, 8).any(axis=(1, 3))
    expected = [["z2_1_0" in below[f"x_{row}_{column}"] for column in range(8)] for row in range(8)]
    assert cells.tolist() == expected  # some image changes in each cell that can


@pytest.mark.parametrize("style", ["colour", "grey", "one-hot"])
@pytest.mark.parametrize(("n_symbols", "pixels"), [(60, 8), (200, 5), (1000, 1)])
def test_unrender_inverts_render(style, n_symbols, pixels):
    model = grammar(n_symbols, 1, 1, 2, 1, style=style, patch_pixels=pixels)
    cells = np.stack([np.arange(n_symbols), np.arange(n_symbols)[::-1]], axis=-1)[:, None]
    images = model.render(cells)
    assert images.shape == (n_symbols, pixels, 2 * pixels, {"colour": 3, "grey": 1, "one-hot": n_symbols}[style])
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    np.testing.assert_array_equal(model.unrender(images), cells)


@pytest.mark.parametrize(("style", "pixels"), [("colour", 8), ("colour", 4), ("grey", 8), ("grey", 4), ("one-hot", 4)])
def test_patches_are_far_apart(style, pixels):
    patches = np.asarray(grammar(32, 1, 1, 2, 1, style=style, patch_pixels=pixels).patches)
    flat = patches.reshape(32, -1)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1) + 1e9 * np.eye(32)
    # Independent noise of this size on every pixel would be misread by less than 1 cell in 1,000 in each pair.
    assert apart.min() / (2 * stats.norm.isf(1e-3)) > 0.03
    if style == "one-hot":
        np.testing.assert_allclose(np.unique(apart)[0], np.sort(apart.ravel())[-33], rtol=1e-6)


def test_unrender_reads_the_nearest_symbol():
    model = MODELS["block"]
    written = model.derive(jax.random.key(0), N)
    images = model.render(written.cells)
    blurred = 0.6 * images + 0.4 * images.mean() + 0.05 * jax.random.normal(jax.random.key(1), images.shape)
    np.testing.assert_array_equal(model.unrender(blurred), written.cells)


def test_render_draws_each_symbol_at_its_place():
    model = MODELS["column"]
    cells = np.arange(9).reshape(1, 9, 1) % 5
    image = np.asarray(model.render(cells))[0]
    for place, symbol in enumerate(cells.ravel()):
        np.testing.assert_array_equal(image[8 * place : 8 * place + 8], model.patches[symbol])


def test_style_is_refused_if_unknown():
    with pytest.raises(ValueError, match="style must be one of 'colour', 'grey', 'one-hot', got 'blue'"):
        _symbol_patches.check_style(8, "blue")
