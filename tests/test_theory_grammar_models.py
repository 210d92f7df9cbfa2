"""The oracle on the package's own generators: sampler and oracle agree."""

import dataclasses
import itertools
import math

import jax
import numpy as np
import pytest

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.mechanisms import production_rules, zipf
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GrammarOracle

SIZES = {"n_symbols": 3, "n_classes": 2, "n_synonyms": 2, "n_levels": 2, "tuple_size": 2, "patch_pixels": 2}


def all_strings(v, n):
    return np.array(list(itertools.product(range(v), repeat=n)))


@pytest.fixture(scope="module")
def uniform():
    return GrammarImages.init(0, **SIZES)


def test_strings_of_a_uniform_grammar_are_equally_likely(uniform):
    oracle = GrammarOracle(uniform, dtype="float64")
    cells = np.asarray(uniform.enumerate_strings().cells)
    np.testing.assert_allclose(oracle.log_likelihood(cells), -math.log(uniform.n_strings), atol=1e-12)
    other = all_strings(3, 4)
    inside = (other[:, None] == cells.reshape(len(cells), -1)).all(axis=2).any(axis=1)
    assert (oracle.log_likelihood(other[~inside]) == -np.inf).all()


def test_posterior_of_a_whole_string_is_what_parsing_finds(uniform):
    oracle = GrammarOracle(uniform, dtype="float64")
    derivation = uniform.derive(1, 20)
    posterior = oracle.posterior(np.asarray(derivation.cells), of="productions")
    found = uniform.images_of(derivation).latents
    for name, array in posterior.items():
        symbol, synonym = np.asarray(found[name], dtype=int).T
        np.testing.assert_allclose(array[np.arange(20), symbol, synonym], 1, atol=1e-12)


def test_squares_are_read_as_they_are_drawn():
    """Blocks of 2 x 2: the order of cells, of children and of rules must be one."""
    grammar = GrammarImages.init(2, n_symbols=4, n_classes=3, n_synonyms=2, n_levels=2, patch_pixels=1)
    oracle = GrammarOracle(grammar)
    sample = grammar.sample(3, 50)
    cells = np.asarray(grammar.unrender(sample.images))
    assert cells.shape == (50, 4, 4)
    np.testing.assert_allclose(oracle.log_likelihood(cells), -math.log(grammar.n_strings), rtol=1e-5)
    best = oracle.most_likely(cells)
    for name, pair in sample.latents.items():
        np.testing.assert_array_equal(np.stack([best.symbols[name], best.choices[name]], axis=1), pair)


def test_loss_of_images_is_in_pixels(uniform):
    oracle = GrammarOracle(uniform, dtype="float64")
    masked = list(oracle.graph.observed[:1])
    loss = oracle.bayes_loss(masked)
    patches = np.asarray(uniform.patches, dtype=float).reshape(3, -1)
    assert loss.mse.shape == (patches.shape[1],)
    law = np.bincount(np.asarray(uniform.enumerate_strings().cells)[:, 0, 0], minlength=3) / uniform.n_strings
    np.testing.assert_allclose(loss.variance, law @ patches**2 - (law @ patches) ** 2, atol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"rule_probabilities": zipf(2, 1.5), "class_probabilities": (0.8, 0.2)},
        {"leaf_noise": 0.3},
        {"filtered_at": 1, "rule_probabilities": (0.7, 0.3)},
        {"filtered_at": 0},
    ],
    ids=["probabilities", "noise", "filtered at 1, probabilities", "filtered at 0"],
)
def test_sampler_and_oracle_agree(uniform, changes):
    grammar = dataclasses.replace(uniform, **changes)
    oracle = GrammarOracle(grammar, dtype="float64")
    strings = all_strings(3, 4)
    chance = np.exp(oracle.log_likelihood(strings))
    assert chance.sum() == pytest.approx(1, abs=1e-12)
    n = 6000
    drawn = np.asarray(grammar.derive(5, n).cells).reshape(n, -1)
    counts = (drawn[:, None] == strings).all(axis=2).mean(axis=0)
    assert (np.abs(counts - chance) < 5 * np.sqrt(chance * (1 - chance) / n) + 1e-12).all()
    own = oracle.sample(6, n).cells
    counts = (own[:, None] == strings).all(axis=2).mean(axis=0)
    assert (np.abs(counts - chance) < 5 * np.sqrt(chance * (1 - chance) / n) + 1e-12).all()


def test_oracle_of_production_rules_agrees_with_the_density():
    """Unequal branching: the likelihood of a string is the sum of densities over its latents."""
    graph = LatentGraph.from_edges([("z", "a"), ("z", "x1"), ("a", "x2"), ("a", "x3"), ("a", "x4")], dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=3, synonyms=2)
    model = HierarchicalModel.init(4, graph, mechanisms, noise=noises)
    oracle = GrammarOracle(model, dtype="float64")
    sample = model.sample(0, 30)
    cells = np.asarray(sample.observed_matrix).astype(int)
    likelihood = np.exp(oracle.log_likelihood(cells))
    productions = [int(noises["z"].n_symbols), 6]
    total = np.zeros(30)
    for z, a in itertools.product(*map(range, productions)):
        values = dict(sample.variables) | {"z": np.full((30, 1), z, np.float32), "a": np.full((30, 1), a, np.float32)}
        total += np.exp(np.asarray(model.log_prob({name: values[name] for name in graph.nodes}), dtype=float))
    np.testing.assert_allclose(likelihood, total, rtol=1e-5)


def test_latents_drawn_given_cells_have_the_model_s_own_latents_law():
    graph = LatentGraph.from_edges(LatentGraph.tree(2, 2).edges, dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=2, synonyms=2)
    model = HierarchicalModel.init(0, graph, mechanisms, noise=noises)
    oracle = GrammarOracle(model)
    n = 4000
    sample = model.sample(1, n)
    cells = np.asarray(sample.observed_matrix).astype(int)
    again = oracle.sample_posterior(2, cells, [graph.observed[0]])
    for name in graph.latents:
        # The root's value is a production; other latents' values are symbol times synonyms plus choice.
        root = not graph.parents(name)
        mine = again.symbols[name] if root else again.symbols[name] * 2 + again.choices[name]
        theirs = np.asarray(sample.variables[name]).astype(int)[:, 0]
        a, b = (np.bincount(values, minlength=8) / n for values in (mine, theirs))
        assert np.abs(a - b).max() < 5 * math.sqrt(0.5 / n)


def test_oracle_answers_in_float64_whatever_the_setting(uniform):
    short, exact = (GrammarOracle(uniform, dtype=dtype) for dtype in ("float32", "float64"))
    cells = np.asarray(uniform.derive(0, 4).cells)
    before = jax.config.jax_enable_x64
    assert exact.log_likelihood(cells).dtype == np.float64
    assert short.log_likelihood(cells).dtype == np.float32
    assert jax.config.jax_enable_x64 is before
