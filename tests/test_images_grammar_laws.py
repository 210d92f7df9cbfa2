"""Grammars that are not uniform: what is drawn follows the tables, and the tables follow from their definitions."""

import dataclasses

import jax
import numpy as np
import pytest
from discrete_trees import counted, enumerate_tree, law_of
from scipy import stats

from hlvm.images import GrammarImages, StringGrammar
from hlvm.mechanisms import Categorical, zipf

FALSE_ALARM = 1e-3
N = 20_000
RULES = {1: [[0.7, 0.3], [0.2, 0.8], [1.0, 0.0]], 2: [0.9, 0.1]}


def grammar(**changes):
    sizes = {"n_symbols": 3, "n_classes": 2, "n_synonyms": 2, "n_levels": 2, "tuple_size": 2, "patch_pixels": 4}
    return GrammarImages.init(jax.random.key(0), **{**sizes, **changes})


LAWS = {
    "rules": grammar(rule_probabilities=RULES),
    "one row": grammar(rule_probabilities=(0.75, 0.25)),
    "one level": grammar(rule_probabilities={2: [0.9, 0.1]}),
    "classes": grammar(class_probabilities=[0.8, 0.2]),
    "noise": grammar(leaf_noise=0.3),
    "filter": grammar(filtered_at=1),
    "filter of blocks": grammar(tuple_size=(2, 1), filtered_at=1),
    "filter of squares": grammar(tuple_size=(2, 2), filtered_at=1),
    "cells independent": grammar(filtered_at=0, leaf_noise=0.2, rule_probabilities=RULES),
    "all": grammar(rule_probabilities=RULES, class_probabilities=[0.8, 0.2], leaf_noise=0.4, filtered_at=1),
}


def fits(counts, law):
    """Whether frequencies are those of a law: chi-squared, rare places taken together."""
    assert counts.keys() <= {place for place, chance in law.items() if chance > 0}
    total = sum(counts.values())
    often = [place for place in law if law[place] * total >= 5]
    seen = [counts.get(place, 0) for place in often]
    expected = [law[place] * total for place in often]
    if total - sum(expected) > 1e-6 * total:
        seen, expected = [*seen, total - sum(seen)], [*expected, total - sum(expected)]
    return stats.chisquare(seen, expected).pvalue > FALSE_ALARM


@pytest.mark.parametrize("name", LAWS)
def test_derive_draws_by_the_tables_of_discrete_tree_parameters(name):
    model = LAWS[name]
    ways = enumerate_tree(model.graph, **model.discrete_tree_parameters())
    assert sum(chance for *_, chance in ways) == pytest.approx(1, abs=1e-12)
    drawn = model.derive(jax.random.key(1), N)
    cells = np.asarray(drawn.cells).reshape(N, -1)
    assert fits(counted(cells), law_of(ways, model.graph.observed))
    latents = model.images_of(drawn).latents
    above = {}
    for symbols, choices, chance in ways:
        place = tuple(part for name in model.graph.latents for part in (symbols[name], choices[name]))
        above[place] = above.get(place, 0.0) + chance
    assert fits(counted(np.concatenate([latents[z] for z in model.graph.latents], axis=1).astype(int)), above)


@pytest.mark.parametrize("name", LAWS)
def test_graph_counts_the_numbers_that_enter_at_each_node(name):
    model = LAWS[name]
    tables = model.discrete_tree_parameters()
    root, *others = model.graph.nodes
    assert model.graph.noise_dim(root) == 2
    for node in others:
        drawn = node in tables["channels"]
        assert model.graph.noise_dim(node) == drawn + (node in model.graph.latents)
        assert model.graph.dim(node) == (2 if node in model.graph.latents else 1)


@pytest.mark.parametrize(
    ("level", "n_levels", "tuple_size"),
    [(0, 3, 2), (1, 3, 2), (2, 3, 2), (0, 3, (2, 1)), (1, 3, (2, 1)), (0, 2, (2, 2)), (1, 2, (2, 2))],
)
def test_filter_keeps_the_law_of_each_node_given_the_class(level, n_levels, tuple_size):
    sizes = {"n_levels": n_levels, "n_symbols": 2, "n_synonyms": 2, "tuple_size": tuple_size}
    full = grammar(rule_probabilities={n_levels: [0.3, 0.7], 1: [[0.2, 0.8], [0.6, 0.4]]}, **sizes)
    cut = dataclasses.replace(full, filtered_at=level)
    ways = enumerate_tree(full.graph, **full.discrete_tree_parameters())
    found = cut.discrete_tree_parameters()
    root = full.graph.nodes[0]
    nodes = cut.graph.children(root)
    assert len(nodes) == full.tuple_size ** (n_levels - level)
    for node in nodes:
        law = law_of(ways, [root, node])
        expected = [[law.get((label, symbol), 0.0) * 2 for symbol in range(2)] for label in range(2)]
        assert np.allclose(found["channels"][node], expected, atol=1e-12)
    for name in set(cut.graph.latents) - {root}:
        assert np.array_equal(found["rules"][name], full.discrete_tree_parameters()["rules"][name])


def test_filter_takes_away_correlations_given_the_class_above_its_level_only():
    model = grammar(n_levels=3, n_symbols=4, n_synonyms=3, n_classes=1, filtered_at=1)
    drawn = model.derive(jax.random.key(3), N)
    upper, cells = np.asarray(drawn.symbols[1])[:, 0], np.asarray(drawn.cells)[:, 0]

    def dependent(a, b):
        table = np.zeros((4, 4))
        np.add.at(table, (a, b), 1)
        table = table[table.any(axis=1)][:, table.any(axis=0)]
        expected = stats.contingency.expected_freq(table)
        return stats.chisquare(table.ravel(), expected.ravel(), ddof=sum(table.shape) - 2).pvalue < FALSE_ALARM

    assert not dependent(upper[:, 0], upper[:, 1])
    assert not dependent(cells[:, 1], cells[:, 2])
    assert dependent(cells[:, 0], cells[:, 1])
    whole = np.asarray(dataclasses.replace(model, filtered_at=None).derive(jax.random.key(3), N).symbols[1])[:, 0]
    assert dependent(whole[:, 0], whole[:, 1])


def test_derive_without_probabilities_draws_what_it_always_drew():
    model = grammar(n_symbols=4, n_classes=3)
    drawn = model.derive(jax.random.key(1), 6)
    assert drawn.labels.tolist() == [0, 2, 2, 1, 1, 1]
    expected = [[3, 3, 3, 3], [1, 3, 1, 2], [1, 2, 1, 2], [1, 1, 1, 3], [3, 3, 3, 0], [1, 1, 1, 2]]
    assert drawn.cells[:, 0].tolist() == expected


def test_rules_do_not_depend_on_the_other_settings():
    plain = grammar().rules
    for name in ("rules", "classes", "noise", "filter"):
        assert all(np.array_equal(LAWS[name].rules[level], plain[level]) for level in plain)


def test_settings_leave_the_draws_of_one_another():
    plain, noisy = (grammar(leaf_noise=noise).derive(jax.random.key(4), 500) for noise in (0.0, 0.5))
    assert all(np.array_equal(plain.synonyms[level], noisy.synonyms[level]) for level in plain.synonyms)
    kept = np.asarray(noisy.replaced) < 0
    assert np.array_equal(np.asarray(noisy.cells)[kept], np.asarray(plain.cells)[kept])
    assert np.array_equal(np.asarray(noisy.cells)[~kept], np.asarray(noisy.replaced)[~kept])
    assert 0.45 < kept.mean() < 0.55
    classes = grammar(class_probabilities=[0.8, 0.2]).derive(jax.random.key(4), 500)
    assert all(np.array_equal(plain.synonyms[level], classes.synonyms[level]) for level in plain.synonyms)


@pytest.mark.parametrize("name", LAWS)
def test_derive_sets_latents_and_keeps_the_other_choices(name):
    model = LAWS[name]
    key, node = jax.random.key(5), "z1_0_0"
    if model.filtered_at == 0:
        root = model.graph.nodes[0]
        labelled = model.derive(key, 200, np.ones(200, dtype=int))
        done = model.derive(key, 200, do={root: (1, 0)})
        assert np.array_equal(done.cells, labelled.cells)
        return
    before, after = model.derive(key, 200), model.derive(key, 200, do={node: (2, 1)})
    assert (np.asarray(after.symbols[1])[:, 0, 0] == 2).all()
    assert (np.asarray(after.synonyms[1])[:, 0, 0] == 1).all()
    assert np.array_equal(after.labels, before.labels)
    others = np.ones(model.level_shape(1), dtype=bool)
    others[0, 0] = False
    assert np.array_equal(np.asarray(after.symbols[1])[:, others], np.asarray(before.symbols[1])[:, others])
    written = np.asarray(model.rules[1])[2, 1]
    first = np.asarray(after.cells)[:, : model.tuple_shape[0], : model.tuple_shape[1]].reshape(200, -1)
    replaced = np.full_like(first, -1)
    if model.leaf_noise:
        place = np.asarray(after.replaced)[:, : model.tuple_shape[0], : model.tuple_shape[1]]
        replaced = place.reshape(200, -1)
        assert np.array_equal(np.asarray(after.replaced), np.asarray(before.replaced))
    assert np.array_equal(first, np.where(replaced < 0, written, replaced))


def test_exchange_synonyms_follows_probabilities_and_keeps_noise():
    model = LAWS["all"]
    before = model.derive(jax.random.key(6), 2000)
    after = model.exchange_synonyms(jax.random.key(7), before, level=1)
    assert np.array_equal(after.symbols[1], before.symbols[1])
    symbols, old, new = (np.asarray(a) for a in (before.symbols[1], before.synonyms[1], after.synonyms[1]))
    assert (old[symbols == 2] == 0).all()
    assert (new[symbols == 2] == 0).all()  # its other rule has probability zero
    assert (new[symbols != 2] == 1 - old[symbols != 2]).all()
    assert np.array_equal(np.asarray(after.replaced), np.asarray(before.replaced))
    tuples = np.asarray(model.rules[1])[symbols, new].reshape(2000, 1, 4)
    replaced = np.asarray(after.replaced)
    assert np.array_equal(after.cells, np.where(replaced < 0, tuples, replaced))


def test_exchange_synonyms_draws_others_in_proportion():
    row = np.array([0.5, 0.3, 0.2, 0.0])
    model = grammar(n_symbols=4, n_synonyms=4, n_classes=1, n_levels=1, rule_probabilities=row)
    before = model.derive(jax.random.key(8), N)
    after = model.exchange_synonyms(jax.random.key(9), before, level=1)
    law = {(i, j): row[i] * row[j] / (1 - row[i]) for i in range(4) for j in range(4) if i != j}
    both = np.stack([np.asarray(d.synonyms[1]).ravel() for d in (before, after)], axis=1)
    assert fits(counted(both), law)


def test_what_speaks_of_all_strings_speaks_of_them_before_noise():
    noisy, plain = LAWS["noise"], grammar()
    assert noisy.n_strings == plain.n_strings
    strings = noisy.enumerate_strings()
    assert np.array_equal(strings.cells, plain.enumerate_strings().cells)
    assert bool(noisy.parse(strings.cells).valid.all())
    assert not bool(noisy.parse(noisy.derive(jax.random.key(0), 200).cells).valid.all())
    assert not noisy.invertible


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.n_strings,
        lambda m: m.n_strings_per_class,
        lambda m: m.enumerate_strings(),
        lambda m: m.parse(np.zeros((1, 1, 4), dtype=int)),
        lambda m: m.produce(np.zeros(1, dtype=int), {1: np.zeros((1, 1, 2), dtype=int)}),
    ],
)
def test_filtered_grammar_refuses_what_needs_a_whole_tree(call):
    with pytest.raises(ValueError, match=r"filtered at level 1, and .*filtered_at=None"):
        call(LAWS["filter"])


def test_filtered_grammar_exchanges_only_below_its_filter():
    model = LAWS["filter"]
    drawn = model.derive(jax.random.key(0), 10)
    with pytest.raises(ValueError, match="between 1 and 1, where rules are chosen, got 2"):
        model.exchange_synonyms(jax.random.key(1), drawn, level=2)
    with pytest.raises(ValueError, match="level must exist, where rules are chosen, got 1"):
        LAWS["cells independent"].exchange_synonyms(jax.random.key(1), drawn, level=1)
    cut = grammar(n_symbols=4, n_levels=3, filtered_at=1)
    whole, strings = dataclasses.replace(cut, filtered_at=None), cut.derive(jax.random.key(0), 10)
    with pytest.raises(ValueError, match=r"have levels \[0, 1, 2, 3\], got \[0, 1, 3\]"):
        whole.exchange_synonyms(jax.random.key(1), strings, level=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule_probabilities": {1: [0.5, 0.6]}}, r"rule_probabilities\[1\] must add up to 1 .* sum of 1.1"),
        ({"rule_probabilities": {1: [-0.5, 1.5]}}, r"rule_probabilities\[1\] must be .* from 0 to 1, got -0.5"),
        ({"rule_probabilities": {1: [float("nan"), 1.0]}}, r"from 0 to 1, got nan"),
        ({"rule_probabilities": {1: [[0.5, 0.5]]}}, r"shape \(3, 2\) or \(2,\), got shape \(1, 2\)"),
        ({"rule_probabilities": {2: np.full((3, 2), 0.5)}}, r"shape \(2, 2\) or \(2,\), got shape \(3, 2\)"),
        ({"rule_probabilities": [1.0]}, r"rule_probabilities must be probabilities of shape \(2,\), got shape \(1,\)"),
        ({"rule_probabilities": {3: [0.5, 0.5]}}, "levels from 1 to 2, where rules are chosen, got 3"),
        ({"rule_probabilities": {1: ["a", "b"]}}, "expected real numbers"),
        ({"class_probabilities": [0.5, 0.2]}, "class_probabilities must add up to 1 in each row, got a sum of 0.7"),
        ({"class_probabilities": [0.5, 0.3, 0.2]}, r"of shape \(2,\), got shape \(3,\)"),
        ({"leaf_noise": 1.2}, "leaf_noise must be a probability from 0 to 1, got 1.2"),
        ({"leaf_noise": True}, "leaf_noise must be a probability from 0 to 1, got True"),
        ({"leaf_noise": float("nan")}, "leaf_noise must be a probability from 0 to 1, got nan"),
        ({"filtered_at": 2}, "filtered_at must be a level below the class, 0 to 1, got 2: use None"),
        ({"filtered_at": -1}, "filtered_at must be a whole number of at least 0, got -1"),
        ({"filtered_at": 0, "n_levels": 20, "n_symbols": 8, "n_classes": 8}, "filter at a higher level"),
    ],
)
def test_grammar_refuses_laws(changes, message):
    with pytest.raises(ValueError, match=message):
        grammar(**changes)


def test_probabilities_that_nearly_add_up_are_made_to():
    third = np.full(3, 1 / 3, dtype=np.float32)
    kept = grammar(n_classes=3, class_probabilities=third).class_probabilities
    assert kept.sum() == pytest.approx(1, abs=1e-15)
    again = grammar(n_classes=3, class_probabilities=kept).class_probabilities
    assert np.array_equal(kept, again)


def test_unreachable_names_symbols_that_never_occur():
    assert grammar(n_symbols=2, n_classes=2, n_synonyms=2).unreachable == {}
    lower, upper = [[[0, 1], [1, 0]], [[1, 1], [0, 0]], [[2, 2], [0, 2]]], [[[0, 1], [1, 0]], [[2, 1], [2, 2]]]
    rules = {1: np.array(lower), 2: np.array(upper)}
    model = StringGrammar(rules=rules, n_symbols=3, tuple_shape=(1, 2))
    assert model.unreachable == {}
    one = dataclasses.replace(model, class_probabilities=[1.0, 0.0])
    assert one.unreachable == {2: (1,), 1: (2,), 0: (2,)}
    assert dataclasses.replace(one, leaf_noise=0.1).unreachable == {2: (1,), 1: (2,)}
    assert dataclasses.replace(one, filtered_at=0).unreachable == {2: (1,), 0: (2,)}
    drawn = one.derive(jax.random.key(0), 500)
    assert set(np.unique(drawn.cells)) == {0, 1}
    never = dataclasses.replace(model, rule_probabilities={1: [[0.5, 0.5], [0.0, 1.0], [0.0, 1.0]], 2: [1.0, 0.0]})
    assert never.unreachable == {}
    assert dataclasses.replace(never, class_probabilities=[1.0, 0.0]).unreachable == {2: (1,), 1: (2,), 0: (2,)}


def test_repr_tells_what_is_not_uniform():
    assert "probabilities" not in repr(grammar())
    told = repr(LAWS["all"])
    for part in (
        "rule_probabilities of level 1, 2",
        "class_probabilities=[0.8, 0.2]",
        "leaf_noise=0.4",
        "filtered_at=1",
    ):
        assert part in told


def test_derive_of_any_law_can_be_compiled():
    model = LAWS["all"]
    inside = jax.jit(lambda key: model.derive(key, 50).cells)(jax.random.key(2))
    assert np.array_equal(inside, model.derive(jax.random.key(2), 50).cells)


def test_derive_of_any_law_runs_under_strict_flags():
    model = LAWS["all"]

    def everything():
        before = model.derive(jax.random.key(2), 40)
        done = model.derive(jax.random.key(2), 40, do={"z1_0_0": (1, 0)})
        return before, done, model.exchange_synonyms(jax.random.key(2), before, level=1)

    plain = everything()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"), jax.debug_key_reuse(True):
        strict = everything()
    for one, other in zip(plain, strict, strict=True):
        assert np.array_equal(one.cells, other.cells)


# ---------------------------------------------------------------------- power laws


def test_zipf_is_a_power_law():
    law = np.array(zipf(5, 1.5))
    assert law.sum() == pytest.approx(1, abs=1e-15)
    assert np.allclose(np.log(law / law[0]), -1.5 * np.log(np.arange(1, 6)))
    assert zipf(4, 0) == (0.25,) * 4
    assert zipf(1, 3.0) == (1.0,)
    assert Categorical(probabilities=zipf(3, 2)).n_symbols == 3
    assert grammar(rule_probabilities=zipf(2, 2)).rule_probabilities[1][1].tolist() == pytest.approx([0.8, 0.2])


def test_zipf_refuses_what_is_no_law():
    with pytest.raises(ValueError, match="n must be a whole number of at least 1, got 0"):
        zipf(0)
    for exponent in (float("nan"), float("inf"), 1000.0):
        with pytest.raises(ValueError, match="exponent must be finite"):
            zipf(8, exponent)
