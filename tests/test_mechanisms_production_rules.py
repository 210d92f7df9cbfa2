"""Grammars: tables, synonyms and the probabilities of what they write."""

import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from hlvm.graph import LatentGraph
from hlvm.mechanisms import Categorical, Gaussian, ProductionRules, production_rules
from hlvm.mechanisms.rule_tables import draw_tuples
from hlvm.simulator import HierarchicalModel

VOCABULARY, SYNONYMS = 4, 2
PRODUCTIONS = VOCABULARY * SYNONYMS
FALSE_ALARM = 1e-3


def ones(graph):
    """The same edges with one number everywhere."""
    return LatentGraph.from_edges(graph.edges, dims=1)


@pytest.fixture(scope="module")
def grammar():
    graph = ones(LatentGraph.tree(2, 3))
    mechanisms, noises = production_rules(graph, vocabulary=VOCABULARY, synonyms=SYNONYMS)
    return HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise=noises)


@pytest.fixture(scope="module")
def drawn(grammar):
    sample = grammar.sample(jax.random.key(1), 4000)
    return {name: np.asarray(values)[:, 0].astype(int) for name, values in sample.variables.items()}


def table_of(drawn, graph, parent):
    """What each production of a parent was seen to be written as: production -> set of tuples of symbols."""
    children = graph.children(parent)
    symbols = [drawn[child] // (SYNONYMS if graph.children(child) else 1) for child in children]
    seen = {}
    for production, *row in zip(drawn[parent], *symbols, strict=True):
        seen.setdefault(int(production), set()).add(tuple(map(int, row)))
    return seen


def test_grammar_draws_whole_numbers_whatever_the_model_standardizes(grammar, drawn):
    assert grammar.standardized
    assert (np.asarray(grammar.scale) == 1).all()
    for name, values in grammar.sample(jax.random.key(1), 4000).variables.items():
        assert (np.asarray(values)[:, 0] == drawn[name]).all()
        assert drawn[name].min() >= 0
        assert drawn[name].max() < (PRODUCTIONS if name in grammar.graph.latents else VOCABULARY)


def test_grammar_writes_every_production_in_one_way_of_its_own(grammar, drawn):
    for parent in grammar.graph.latents:
        table = table_of(drawn, grammar.graph, parent)
        assert all(len(tuples) == 1 for tuples in table.values())
        assert len(set.union(*table.values())) == len(table)
    assert len(table_of(drawn, grammar.graph, grammar.graph.nodes[0])) == PRODUCTIONS


def test_grammar_shares_its_table_over_a_level_and_not_between_levels(grammar, drawn):
    graph = grammar.graph
    levels = {}
    for parent in graph.latents:
        for production, tuples in table_of(drawn, graph, parent).items():
            levels.setdefault(graph.height(parent), {}).setdefault(production, set()).update(tuples)
    assert all(len(tuples) == 1 for table in levels.values() for tuples in table.values())
    assert levels[1] != levels[2]


def test_grammar_with_tables_per_family_draws_another_for_each():
    graph = ones(LatentGraph.tree(2, 2))
    mechanisms, noises = production_rules(graph, vocabulary=VOCABULARY, synonyms=SYNONYMS, rules="siblings")
    model = HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise=noises)
    drawn = {k: np.asarray(v)[:, 0].astype(int) for k, v in model.sample(jax.random.key(1), 1000).variables.items()}
    first, second = (table_of(drawn, graph, parent) for parent in graph.children(graph.nodes[0]))
    both = first.keys() & second.keys()
    assert any(first[production] != second[production] for production in both)
    for table in (first, second):
        assert len(set.union(*table.values())) == len(table)


def test_grammar_chooses_synonyms_and_root_productions_uniformly(grammar, drawn):
    root = grammar.graph.nodes[0]
    for values, n in ((drawn[root], PRODUCTIONS), (drawn[grammar.graph.latents[-1]] % SYNONYMS, SYNONYMS)):
        assert stats.chisquare(np.bincount(values, minlength=n)).pvalue > FALSE_ALARM


def test_tables_are_those_of_the_shared_code():
    """One key for a whole level, another for each pair of siblings; alone, batched and compiled."""
    rules = [ProductionRules(inputs=4, vocabulary=3, children=2, position=place) for place in (0, 1)]
    keys = jax.random.split(jax.random.key(3), 3)
    expected = [
        draw_tuples(words, n_rules=4, n_symbols=3, tuple_size=2)
        for words in np.asarray(jax.random.key_data(keys)).tolist()
    ]
    for place, rule in enumerate(rules):
        alone = [rule.init(key, 1, 0, 1)["column"] for key in keys]
        batched = jax.jit(jax.vmap(lambda key, rule=rule: rule.init(key, 1, 0, 1)["column"]))(keys)
        assert np.array_equal(alone, [table[:, place] for table in expected])
        assert np.array_equal(batched, alone)


def test_tables_of_many_tuples_need_not_list_them():
    rules = ProductionRules(inputs=6, vocabulary=100, children=9, position=8)
    column = np.asarray(rules.init(jax.random.key(0), 1, 0, 1)["column"])
    assert column.shape == (6,)
    assert column.min() >= 0
    assert column.max() < 100


def test_ambiguous_tables_are_independent_and_uniform():
    rules = ProductionRules(inputs=2, vocabulary=2, unambiguous=False)
    first = np.asarray(
        jax.vmap(lambda key: rules.init(key, 1, 0, 1)["column"])(jax.random.split(jax.random.key(0), 2000))
    )
    assert stats.chisquare(np.bincount(first @ [2, 1], minlength=4)).pvalue > FALSE_ALARM


def test_tables_are_uniform_over_unambiguous_tables():
    """Two productions, two tuples of one symbol: both tables are equally likely."""
    rules = ProductionRules(inputs=2, vocabulary=2)
    columns = jax.vmap(lambda key: rules.init(key, 1, 0, 1)["column"])(jax.random.split(jax.random.key(0), 2000))
    first = np.asarray(columns)
    assert (first.sum(axis=1) == 1).all()
    assert stats.binomtest(int(first[:, 0].sum()), 2000).pvalue > FALSE_ALARM


def test_rules_with_two_parents_look_up_both():
    graph = LatentGraph.from_edges([("a", "x"), ("b", "x"), ("a", "y")], dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=3, synonyms=1)
    assert not mechanisms["x"].unambiguous  # nine pairs of parents, three symbols
    assert mechanisms["y"].unambiguous
    model = HierarchicalModel.init(jax.random.key(2), graph, mechanisms, noise=noises)
    drawn = {k: np.asarray(v)[:, 0].astype(int) for k, v in model.sample(jax.random.key(1), 500).variables.items()}
    written = {}
    for a, b, x in zip(drawn["a"], drawn["b"], drawn["x"], strict=True):
        written.setdefault((a, b), set()).add(x)
    assert set(written) == set(itertools.product(range(3), repeat=2))
    assert all(len(symbols) == 1 for symbols in written.values())


def test_log_prob_of_a_grammar_sums_to_one(grammar):
    """All sentences of a small grammar, with the symbols that its rules do not write among them."""
    graph = ones(LatentGraph.tree(2, 1))
    mechanisms, noises = production_rules(graph, vocabulary=2, synonyms=2)
    model = HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise=noises)
    every = np.asarray(list(itertools.product(range(4), range(2), range(2))), dtype=np.float32)
    chances = np.exp(model.log_prob({name: every[:, i : i + 1] for i, name in enumerate(graph.nodes)}))
    assert (chances > 0).sum() == 4
    np.testing.assert_allclose(chances.sum(), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ProductionRules(inputs=0, vocabulary=2),
            "ProductionRules: inputs must be a whole number of at least 1, got 0",
        ),
        (lambda: ProductionRules(inputs=2, vocabulary=2, position=1), "position 1 is not among 1 children"),
        (lambda: ProductionRules(inputs=5, vocabulary=4).noise_size(1, 1, 1), "5 rules need as many different tuples"),
        (lambda: ProductionRules(inputs=2, vocabulary=4).noise_size(1, 1, 2), "a production is one number, .* dim 2"),
        (
            lambda: production_rules(LatentGraph.tree(2, 1, root_dim=2), vocabulary=2, synonyms=1),
            "a production is one number, but .* has dim 2",
        ),
    ],
)
def test_production_rules_refuse_what_makes_no_grammar(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_production_rules_refuse_another_scope():
    # The type of the argument is checked before the class can check it, where types are checked at all.
    with pytest.raises((ValueError, TypeError), match="rules"):
        ProductionRules(inputs=2, vocabulary=2, rules="all")


def test_models_refuse_rules_over_other_parents_or_noises():
    graph = ones(LatentGraph.tree(2, 1))
    mechanisms, noises = production_rules(graph, vocabulary=VOCABULARY, synonyms=SYNONYMS)
    name = graph.observed[0]
    with pytest.raises(ValueError, match=f"variable '{name}': its parents must have 8 productions each.*real number"):
        HierarchicalModel.init(jax.random.key(0), graph, mechanisms)
    with pytest.raises(ValueError, match=f"variable '{name}': .* but one of them has 3"):
        HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise={graph.nodes[0]: Categorical(n=3)})
    deeper = ones(LatentGraph.tree(2, 2))
    mechanisms, noises = production_rules(deeper, vocabulary=VOCABULARY, synonyms=SYNONYMS)
    child = deeper.latents[1]
    with pytest.raises(ValueError, match=f"variable '{child}': its noise chooses among 2 synonyms"):
        HierarchicalModel.init(jax.random.key(0), deeper, mechanisms, noise={**noises, child: Gaussian()})
