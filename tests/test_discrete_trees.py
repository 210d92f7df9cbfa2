"""Discrete trees as tables: models draw what their tables say."""

import jax
import numpy as np
import pytest
from discrete_trees import counted, enumerate_tree, law_of
from scipy import stats

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages, StringGrammar
from hlvm.mechanisms import Bernoulli, Categorical, LinearGaussian, ProductionRules, production_rules
from hlvm.simulator import HierarchicalModel

FALSE_ALARM = 1e-3


def model_of(edges, *, noise=None, vocabulary=3, synonyms=2, changes=None, **options):
    graph = LatentGraph.from_edges(edges, dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=vocabulary, synonyms=synonyms, **options)
    noises, mechanisms = {**noises, **(noise or {})}, {**mechanisms, **(changes or {})}
    return HierarchicalModel.init(jax.random.key(0), graph, mechanisms, noise=noises)


CHAIN = [("a", "b"), ("b", "x")]
UNEVEN = [("r", "z1"), ("r", "z2"), ("r", "x0"), ("z1", "x1"), ("z2", "x2"), ("z2", "x3"), ("z2", "x4")]
FOREST = [("r", "x1"), ("r", "x2"), ("s", "y1"), ("s", "y2")]
SHOWN = ProductionRules(inputs=6, vocabulary=3, synonyms=2, children=2)
TREES = {
    "uniform": model_of(UNEVEN),
    "unary and ambiguous": model_of(CHAIN, vocabulary=2, synonyms=3),
    "forest": model_of(FOREST),
    "probabilities": model_of(
        UNEVEN,
        noise={
            "r": Categorical(probabilities=(0.3, 0.1, 0.2, 0.05, 0.25, 0.1)),
            "z1": Bernoulli(p=0.2),
            "z2": Categorical(probabilities=(0.6, 0.4)),
        },
    ),
    "tables of siblings": model_of(
        [("r", "a"), ("r", "b"), *[(p, p + c) for p in "ab" for c in "xy"]], rules="siblings"
    ),
    "shown choices": model_of(FOREST, changes={"x1": SHOWN}, noise={"x1": Bernoulli(p=0.3)}),
}


@pytest.mark.parametrize("name", TREES)
def test_discrete_tree_parameters_hold_the_probability_of_every_production(name):
    model = TREES[name]
    parameters = model.discrete_tree_parameters()
    ways = enumerate_tree(model.graph, **parameters)
    n_choices = {name: table.shape[1] for name, table in parameters["rules"].items()}
    values = {
        node: np.array([[s[node] * n_choices.get(node, 1) + c.get(node, 0)] for s, c, _ in ways], dtype=np.float32)
        for node in model.graph.nodes
    }
    chances = np.array([chance for *_, chance in ways])
    assert np.allclose(np.exp(np.asarray(model.log_prob(values))), chances, rtol=1e-4)
    assert chances.sum() == pytest.approx(1, abs=1e-12)


def test_discrete_tree_parameters_are_the_frequencies_of_samples():
    model = TREES["probabilities"]
    law = law_of(enumerate_tree(model.graph, **model.discrete_tree_parameters()), model.graph.observed)
    sample = model.sample(jax.random.key(5), 20_000)
    seen = counted(np.concatenate([sample.observed[name] for name in model.graph.observed], axis=1).astype(int))
    assert seen.keys() <= law.keys()
    expected = [20_000 * law[row] for row in law]
    assert stats.chisquare([seen.get(row, 0) for row in law], expected).pvalue > FALSE_ALARM


def test_discrete_tree_parameters_give_equal_tables_as_one_object():
    model = model_of([("r", "a"), ("r", "b"), *[(p, p + c) for p in "ab" for c in "xy"]])
    found = model.discrete_tree_parameters()
    assert found["rules"]["a"] is found["rules"]["b"]
    assert found["probabilities"]["a"] is found["probabilities"]["b"]
    assert found["rules"]["r"] is not found["rules"]["a"]


def test_discrete_tree_parameters_refuse_what_is_no_tree_of_symbols():
    graph = LatentGraph.from_edges([("r", "x1"), ("r", "x2")], dims=1)
    with pytest.raises(ValueError, match="'x1' has the mechanism LinearGaussian"):
        HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian()).discrete_tree_parameters()
    two = model_of([("r", "x"), ("s", "x"), ("r", "y"), ("s", "y")])
    with pytest.raises(ValueError, match="'x' has 2 parents"):
        two.discrete_tree_parameters()
    with pytest.raises(ValueError, match="'r' was set by an intervention"):
        TREES["forest"].intervene({"r": 1.0}).discrete_tree_parameters()
    wide = LatentGraph.from_edges([("r", "x")], dims={"r": 2, "x": 1})
    rules = ProductionRules(inputs=2, vocabulary=4)
    pairs = HierarchicalModel.init(jax.random.key(0), wide, rules, noise={"r": Bernoulli()})
    with pytest.raises(ValueError, match="'r' holds 2 numbers"):
        pairs.discrete_tree_parameters()


def grammar_images(**changes):
    sizes = {"n_symbols": 3, "n_classes": 2, "n_synonyms": 2, "n_levels": 2, "tuple_size": 2, "patch_pixels": 4}
    return GrammarImages.init(jax.random.key(0), **{**sizes, **changes})


def grammar(**changes):
    images = grammar_images(**changes)
    return StringGrammar(rules=images.rules, n_symbols=images.n_symbols, tuple_shape=images.tuple_shape)


@pytest.mark.parametrize("tuple_size", [2, (2, 1), (2, 2)])
def test_discrete_tree_parameters_of_a_grammar_write_its_strings(tuple_size):
    model = grammar(tuple_size=tuple_size, n_levels=2 if tuple_size != (2, 2) else 1)
    law = law_of(enumerate_tree(model.graph, **model.discrete_tree_parameters()), model.graph.observed)
    strings = np.asarray(model.enumerate_strings().cells).reshape(model.n_strings, -1).tolist()
    assert law == pytest.approx({tuple(string): 1 / model.n_strings for string in strings}, rel=1e-12)


def test_discrete_tree_parameters_of_grammar_images_share_a_table_per_level_and_show_the_patches():
    model = grammar_images()
    found = model.discrete_tree_parameters()
    assert found["rules"]["z1_0_0"] is found["rules"]["z1_0_1"]
    cells = np.arange(4).reshape(1, 1, 4) % 3
    image = np.asarray(model.render(cells))[0]
    for column in range(4):
        pixels = found["values"][f"x_0_{column}"]
        assert pixels is found["values"]["x_0_0"]
        assert np.array_equal(pixels[cells[0, 0, column]], image[:, column * 4 : column * 4 + 4].ravel())
