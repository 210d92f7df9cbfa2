import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated_trees import random_tree, varying_tables

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.theory import GrammarOracle
from hlvm.theory.grammar import dynamic_programme
from hlvm.theory.grammar.rule_sums import rule_sums


@pytest.mark.parametrize(("choices", "children", "nodes"), [(1, 1, 1), (3, 2, 1), (20, 3, 4)])
def test_rule_sums_and_gradient_equal_sums_over_dense_tables(choices, children, nodes):
    rng = np.random.default_rng(0)
    rules = rng.integers(0, 7, (5, choices, children))
    chances = np.where(rng.random((nodes, 5, choices)) < 0.2, 0.0, rng.random((nodes, 5, choices)))
    x, towards = rng.random((4, 7, 6)), rng.random((4, 5, 6))
    one_hot = np.eye(7)[rules]

    def dense(x):
        product = math.prod(jnp.einsum("amr,krb->kamb", one_hot[:, :, slot], x) for slot in range(children))
        return (chances[..., None] * product).sum(axis=2)

    with jax.enable_x64(True):
        expected, pull = jax.vjp(dense, jnp.asarray(x))
        found, pull_found = jax.vjp(rule_sums(rules, chances, 7), jnp.asarray(x))
        np.testing.assert_allclose(found, expected, atol=1e-13)
        np.testing.assert_allclose(pull_found(towards)[0], pull(towards)[0], atol=1e-13)


@pytest.fixture(scope="module", params=["regular", "irregular"])
def case(request):
    """A tree of two levels with noisy cells, nodes of a level sharing their tables; and everything that can happen."""
    regular = request.param == "regular"
    graph = random_tree(np.random.default_rng(3), branching=2 if regular else 3, levels=2, regular=regular)
    return graph, *varying_tables(graph, shared=True)


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_answers_do_not_depend_on_where_logarithms_begin(monkeypatch, case, share):
    """With logarithms everywhere, from the middle on, and nowhere."""
    graph, tables, known = case
    oracle = GrammarOracle.from_parameters(graph, **tables, dtype="float64")
    programme = oracle._inference.programme
    least = np.sort(list(programme._least.values()))[::-1]
    limit = np.inf if share == 0 else least[int(share * (len(least) - 1))]
    monkeypatch.setattr(dynamic_programme, "_LEAST_PLAIN", {"float64": limit})
    plain = len(programme.plain("float64"))
    assert plain == 0 if share == 0 else 0 < plain <= len(least)
    assert (plain == len(programme.groups)) == (share == 1)
    strings = known.strings()[0][::3]
    visible = np.random.default_rng(0).random((4, graph.n_observed)) < 0.6
    likelihood = oracle.log_likelihood(strings, visible)
    posterior = oracle.posterior(strings, visible, names=graph.nodes)
    for i, string in enumerate(strings):
        for j, seen in enumerate(visible):
            assert likelihood[i, j] == pytest.approx(math.log(known.ways(string, seen).sum()), abs=1e-10)
            for node, name in enumerate(graph.nodes):
                np.testing.assert_allclose(posterior[name][i, j], known.posterior(node, string, seen), atol=1e-10)


def grammar(**changes):
    sizes = {"n_symbols": 8, "n_classes": 8, "n_synonyms": 8, "n_levels": 6, "tuple_size": 2}
    return GrammarImages.init(0, **{**sizes, **changes}, patch_pixels=1, style="one-hot")


def test_logarithms_begin_where_sums_could_underflow():
    """Weights are at least 8**-31 at height 5, and 8**-63 at the root."""
    programme = GrammarOracle(grammar())._inference.programme
    heights = [max(programme.parameters.graph.heights[node] for node in group.nodes) for group in programme.groups]
    plain = {dtype: sorted(heights[i] for i in programme.plain(dtype)) for dtype in ("float32", "float64")}
    assert plain == {"float32": [0, 1, 2, 3, 4, 5], "float64": [0, 1, 2, 3, 4, 5, 6]}


def test_logarithms_begin_earlier_with_rare_rules():
    """Weights are at least 1e-9 at height 1, 1e-27 at height 2, and 1e-63 at height 3."""
    graph = LatentGraph.from_edges(LatentGraph.tree(2, 4).edges, dims=1)
    rules = dict.fromkeys(graph.latents, np.array([[[0, 1], [1, 1]], [[1, 0], [0, 0]]]))
    chances = dict.fromkeys(graph.latents, np.array([[1e-9, 1 - 1e-9]] * 2))
    oracle = GrammarOracle.from_parameters(
        graph, n_symbols=dict.fromkeys(graph.nodes, 2), rules=rules, probabilities=chances
    )
    programme = oracle._inference.programme
    nodes = np.concatenate([programme.groups[i].nodes for i in programme.plain("float32")])
    assert max(graph.heights[node] for node in nodes) == 2


def test_six_levels_in_float32_are_those_in_float64():
    """The root's sums have logarithms in float32, and none in float64."""
    short, exact = (GrammarOracle(grammar(n_synonyms=4), dtype=dtype) for dtype in ("float32", "float64"))
    plain = [
        len(oracle._inference.programme.plain(dtype)) for oracle, dtype in ((short, "float32"), (exact, "float64"))
    ]
    assert plain == [6, 7]
    cells, half = exact.sample(0, 64).cells, np.random.default_rng(0).random(64) < 0.5
    likelihood, loss = exact.log_likelihood(cells, half), exact.log_loss(cells, half)
    assert likelihood.max() < -50
    assert np.ptp(loss[:, ~half]) > 1
    np.testing.assert_allclose(short.log_likelihood(cells, half), likelihood, rtol=1e-6)
    np.testing.assert_allclose(short.log_loss(cells, half), loss, rtol=1e-4, atol=1e-4)


def test_cuts_do_not_depend_on_where_logarithms_begin(monkeypatch, case):
    graph, tables, known = case
    strings, seen = known.strings()[0], np.arange(graph.n_observed) % 2 == 0
    found = []
    for limit in (0.0, np.inf):
        monkeypatch.setattr(dynamic_programme, "_LEAST_PLAIN", {"float64": limit})
        oracle = GrammarOracle.from_parameters(graph, **tables, dtype="float64")
        found.append(oracle.cut(1).log_loss(strings, seen))
    np.testing.assert_allclose(found[0], found[1], atol=1e-10)
    assert not np.allclose(found[0], oracle.log_loss(strings, seen), atol=1e-3)
