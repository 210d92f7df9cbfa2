"""The Gaussian oracle on masks with three states: many at once, noises, information, cuts."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_gaussian import dense, parameters, posterior
from oracle_contract import OracleContract
from scipy.stats import multivariate_normal
from strategies import graphs, property_test

from hlvm.graph import LatentGraph, diamond, overlapping_fields
from hlvm.theory import GaussianOracle

CLOSE = 1e-8
"""Agreement with dense linear algebra, whose inverses of covariances lose up to half of float64's sixteen digits."""

many = settings(property_test, max_examples=100)


def trees(**kwargs):
    return graphs(kind="forest", free_dims=True, max_latents=6, **kwargs)


def any_graphs(**kwargs):
    return graphs(kind="dag", free_dims=True, max_latents=6, **kwargs)


def model(graph, seed):
    """Some variables without noise: latents on even seeds, observed ones too when the seed is divisible by four."""
    rng = np.random.default_rng(seed)
    candidates = () if seed % 2 else graph.nodes if seed % 4 == 0 else graph.latents
    quiet = [name for name in candidates if graph.parents(name) and rng.random() < 0.4]
    return parameters(graph, seed, quiet=quiet)


def random_states(graph, seed, n=5):
    state = np.random.default_rng(seed).integers(0, 3, (n, len(graph.observed)))
    return state == 1, state == 2


def columns_of(names, place):
    return np.concatenate([np.zeros(0, dtype=int), *(place[name] for name in names)])


def chosen(graph, row):
    return [name for name, there in zip(graph.observed, row, strict=True) if there]


# ---------------------------------------------------------------------- the contract


class TestGaussianOracleContract(OracleContract):
    @pytest.fixture(params=["quadtree", "forest", "uneven", "fields", "diamond", "no noise below"])
    def oracle(self, request):
        graph = {
            "quadtree": lambda: LatentGraph.quadtree(2),
            "forest": lambda: LatentGraph.from_parents([-1, -1, 0, 0, 1, 2, 2, 3, 3, 4, 4]),
            "uneven": lambda: LatentGraph.from_edges(
                [("a", "b"), ("b", "x1"), ("b", "x2"), ("a", "x3"), ("a", "x4")],
                dims={"a": 2, "b": 1, "x1": 1, "x2": 3, "x3": 2, "x4": 1},
            ),
            "fields": lambda: overlapping_fields(5, dims=1, noise_dims=1),
            "diamond": lambda: diamond(),
            "no noise below": lambda: LatentGraph.tree(2, 3, root_dim=1, noise_dim=1),
        }[request.param]()
        quiet = graph.observed if request.param == "no noise below" else ()
        return GaussianOracle.from_parameters(graph, **parameters(graph, 7, quiet=quiet))

    def relabelled(self, oracle, rng):
        graph, old = oracle.graph, oracle._parameters
        new = {name: f"new {name}" for name in graph.nodes}
        order = rng.permutation(len(graph.observed))
        edges = [(new[parent], new[child]) for child in graph.nodes for parent in graph.parents(child)]
        other = LatentGraph.from_edges(
            edges,
            dims={new[name]: graph.dim(name) for name in graph.nodes},
            observed=[new[graph.observed[i]] for i in order],
        )
        found = GaussianOracle.from_parameters(
            other,
            coefficients={new[name]: part for name, part in zip(graph.nodes, old.coefficients, strict=True)},
            noise_scales={new[name]: part for name, part in zip(graph.nodes, old.factors, strict=True)},
        )
        return found, order, [graph.position(name.removeprefix("new ")) for name in other.latents]


# ---------------------------------------------------------------------- against dense linear algebra


@pytest.mark.parametrize("kind", [any_graphs, trees])
@many
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_three_states_match_dense_linear_algebra(kind, data, seed):
    """R² of values and noises, losses and reconstructions of 200 models under five masks each."""
    graph = data.draw(kind())
    given_parameters = model(graph, seed)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    _, covariance, place = dense(graph, given_parameters)
    targets, visible = random_states(graph, seed)
    loss = oracle.relative_loss_batch(targets, visible=visible).value
    value, noise = (oracle.latent_r2_batch(targets, visible=visible, part=p).value for p in ("value", "noise"))
    for row in range(len(targets)):
        seen = columns_of(chosen(graph, visible[row]), place)
        weights, rest = posterior(covariance, np.arange(len(covariance)), seen)
        for i, name in enumerate(graph.observed):
            mine = place[name]
            if targets[row, i]:
                expected = (np.diag(rest)[mine] / np.diag(covariance)[mine]).mean()
                assert loss[row, i] == pytest.approx(expected, abs=CLOSE)
            else:
                assert np.isnan(loss[row, i])
        for i, name in enumerate(graph.latents):
            mine, above = place[name], columns_of(graph.parents(name), place)
            share = 1 - np.trace(rest[np.ix_(mine, mine)]) / np.trace(covariance[np.ix_(mine, mine)])
            assert value[row, i] == pytest.approx(share, abs=CLOSE)
            # The noise is a linear function of the latent and its parents.
            picks = np.eye(len(covariance))[mine]
            if len(above):
                picks = picks - given_parameters["coefficients"][name] @ np.eye(len(covariance))[above]
            total = np.trace(picks @ covariance @ picks.T)
            if not np.any(given_parameters["noise_scales"][name]):
                assert np.isnan(noise[row, i])
            else:
                share = 1 - np.trace(picks @ rest @ picks.T) / total
                assert noise[row, i] == pytest.approx(share, abs=CLOSE)

        single = oracle.latent_r2(visible=visible[row]), oracle.latent_r2(visible=visible[row], part="noise")
        np.testing.assert_allclose(list(single[0].values()), value[row], atol=1e-12)
        np.testing.assert_allclose(list(single[1].values()), noise[row], atol=1e-12)
        if targets[row].any():
            hidden = columns_of(chosen(graph, targets[row]), place)
            asked = {"visible": chosen(graph, visible[row])}
            assert oracle.bayes_loss(targets[row], **asked).mse == pytest.approx(np.diag(rest)[hidden], abs=CLOSE)
            first = len(covariance) - sum(map(graph.dim, graph.observed))
            values = np.random.default_rng(seed).normal(size=(3, len(covariance) - first))
            means = np.concatenate([np.zeros(first), oracle._observed_means])
            expected = means[hidden] + (values[:, seen - first] - means[seen]) @ weights[hidden].T
            values[:, np.setdiff1d(np.arange(values.shape[1]), seen - first)] = np.nan  # must not be read
            found = oracle.bayes_reconstruction(targets[row], values, **asked)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [any_graphs, trees])
@many
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_information_matches_determinants_and_the_chain_rule(kind, data, seed):
    graph = data.draw(kind())
    given_parameters = parameters(graph, seed)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    _, covariance, place = dense(graph, given_parameters)
    _, visible = random_states(graph, seed, 1)
    rng = np.random.default_rng(seed)
    first, second = ([name for name in graph.latents if rng.random() < 0.5] for _ in range(2))

    def bits(names):
        columns = columns_of(dict.fromkeys(names), place)
        return np.linalg.slogdet(covariance[np.ix_(columns, columns)])[1] / 2 / np.log(2)

    seen = chosen(graph, visible[0])
    one = oracle.information(first, visible=visible[0])
    assert one == pytest.approx(bits(first) + bits(seen) - bits(first + seen), abs=CLOSE)
    other = oracle.information(second, visible=seen, given=first)
    expected = bits(first + second) - bits(first) - bits(first + second + seen) + bits(first + seen)
    assert other == pytest.approx(expected, abs=CLOSE)
    assert oracle.information(first + second, visible=seen) == pytest.approx(one + other, rel=1e-12, abs=1e-12)
    if len(seen) < len(graph.observed):
        rest = [name for name in graph.observed if name not in seen]
        default = oracle.information(first, rest) if seen else 0.0
        assert default == pytest.approx(one, rel=1e-12, abs=1e-12)


@many
@given(graph=any_graphs(), seed=st.integers(0, 2**29))
def test_information_without_noise_matches_pseudo_determinants(graph, seed):
    """Where variables have no noise: infinite if ranks do not add up, else by determinants on what varies."""
    given_parameters = model(graph, 4 * seed)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    _, covariance, place = dense(graph, given_parameters)
    _, visible = random_states(graph, seed, 1)
    rng = np.random.default_rng(seed)
    first, second = ([name for name in graph.latents if rng.random() < 0.5] for _ in range(2))

    def bits(names):
        columns = columns_of(dict.fromkeys(names), place)
        strengths = np.linalg.eigvalsh(covariance[np.ix_(columns, columns)])
        strengths = strengths[strengths > 1e-9 * strengths.max(initial=0.0)]
        return np.log2(strengths).sum() / 2, len(strengths)

    def expected(names):
        one, other, joint = bits(names), bits(seen), bits([*names, *seen])
        return one[0] + other[0] - joint[0] if one[1] + other[1] == joint[1] else math.inf

    seen = chosen(graph, visible[0])
    one, both = expected(first), expected([*first, *second])
    assert oracle.information(first, visible=visible[0]) == pytest.approx(one, abs=1e-6)
    assert oracle.information([*first, *second], visible=visible[0]) == pytest.approx(both, abs=1e-6)
    if math.isfinite(both):
        found = oracle.information(second, visible=visible[0], given=first)
        assert found == pytest.approx(both - one, abs=1e-6)


@many
@given(graph=trees(), seed=st.integers(0, 2**31))
def test_information_on_trees_and_between_subspaces_agree(graph, seed):
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, seed))
    _, visible = random_states(graph, seed, 1)
    rng = np.random.default_rng(seed)
    first, second = ([name for name in graph.latents if rng.random() < 0.5] for _ in range(2))
    on_tree = oracle.information(second, visible=visible[0], given=first)
    oracle._posterior.__dict__["is_forest"] = False
    assert oracle.information(second, visible=visible[0], given=first) == pytest.approx(on_tree, abs=1e-11)


@many
@given(graph=trees(max_observed=8), seed=st.integers(0, 2**32 - 1))
def test_cut_matches_direct_algebra_on_the_cut_model(graph, seed):
    """Cells below different nodes of the height are independent, and everything else is as before."""
    given_parameters = model(graph, seed)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    mean, covariance, place = dense(graph, given_parameters)
    targets, visible = random_states(graph, seed)
    for height in range(max(graph.heights)):
        top = {}
        for name in graph.nodes:
            parent = graph.parents(name)
            top[name] = top[parent[0]] if parent and graph.height(parent[0]) <= height else name
        blocks = np.zeros_like(covariance)
        for one in graph.nodes:
            for other in graph.nodes:
                if top[one] == top[other] and max(graph.height(one), graph.height(other)) <= height:
                    blocks[np.ix_(place[one], place[other])] = covariance[np.ix_(place[one], place[other])]
        cut = oracle.cut(height)
        assert cut.graph == graph
        kept = [name for name in graph.latents if graph.height(name) <= height]
        names = kept + list(graph.observed)
        columns = columns_of(names, place)
        np.testing.assert_allclose(cut.covariance(names), blocks[np.ix_(columns, columns)], rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(cut._observed_means, mean[columns_of(graph.observed, place)], rtol=CLOSE, atol=CLOSE)
        loss = cut.relative_loss_batch(targets, visible=visible).value
        r2 = cut.latent_r2_batch(targets, visible=visible).value
        for row in range(len(targets)):
            _, rest = posterior(blocks, np.arange(len(blocks)), columns_of(chosen(graph, visible[row]), place))
            for i, name in enumerate(graph.observed):
                if targets[row, i]:
                    expected = (np.diag(rest)[place[name]] / np.diag(covariance)[place[name]]).mean()
                    assert loss[row, i] == pytest.approx(expected, abs=CLOSE)
            for name in kept:
                i = graph.latents.index(name)
                expected = 1 - np.diag(rest)[place[name]].sum() / np.diag(covariance)[place[name]].sum()
                assert r2[row, i] == pytest.approx(expected, abs=CLOSE)


# ---------------------------------------------------------------------- information where it is known by hand


def copies(noise, n=3):
    """One latent of variance 1 and ``n`` copies of it with noise."""
    graph = LatentGraph.from_edges([("z", f"x{i}") for i in range(n)], dims=1)
    scales = {"z": 1.0} | {f"x{i}": noise for i in range(n)}
    ones = {f"x{i}": [[1.0]] for i in range(n)}
    return GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales=scales)


@pytest.mark.parametrize("noise", [1e6, 1.0, 1e-3, 1e-9, 1e-60, 1e-140])
def test_information_keeps_its_digits_whatever_the_noise(noise):
    expected = (math.log1p(2 / noise**2) if noise > 1e-100 else math.log(2) - 2 * math.log(noise)) / 2 / math.log(2)
    assert copies(noise).information("z", ["x0"]) == pytest.approx(expected, rel=1e-13)


def test_information_is_infinite_where_the_visible_part_fixes_a_function_of_latents():
    assert copies(0.0).information("z", ["x0"]) == math.inf
    edges = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    graph = LatentGraph.from_edges(edges, dims=1)
    oracle = GaussianOracle.from_parameters(
        graph,
        coefficients={"x": [[1.0, 1.0]], "y": [[1.0, 2.0]]},
        noise_scales={"a": 1.0, "b": 1.0, "x": 0.0, "y": 1.0},
    )
    assert oracle.information("a", ["y"]) == pytest.approx(0.5)  # x = a + b: half of its variance is a
    assert oracle.information("a", ["y"], given="b") == math.inf
    assert oracle.information(["a", "b"], ["y"]) == math.inf
    assert oracle.information("a", ["y"], given=["a", "b"]) == 0
    assert oracle.information([], ["y"]) == 0
    # The sum is known from x, and y = (a + b) + b tells the rest with noise: Var(b | a + b) = 1/2.
    assert oracle.information("b", visible=["x", "y"]) == pytest.approx(0.5 * math.log2(1 / (1 / (2 + 1))))


def test_information_of_a_latent_without_noise_is_that_of_its_parent():
    graph = LatentGraph.from_edges([("a", "b"), ("b", "x1"), ("b", "x2")], dims=1)
    for copy in (1.0, -3.0):
        oracle = GaussianOracle.from_parameters(
            graph,
            coefficients={"b": [[copy]], "x1": [[1.0]], "x2": [[1.0]]},
            noise_scales={"a": 1.0, "b": 0.0, "x1": 0.5, "x2": 0.5},
        )
        expected = 0.5 * math.log2(1 + copy**2 / 0.25)
        assert oracle.information("b", ["x2"]) == pytest.approx(expected)
        assert oracle.information("a", ["x2"]) == pytest.approx(expected)
        assert oracle.information(["a", "b"], ["x2"]) == pytest.approx(expected)
        assert oracle.information("a", ["x2"], given="b") == 0


@pytest.mark.parametrize("noise", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("kind", ["tree", "dag"])
def test_information_follows_the_chain_rule_at_low_noise(kind, noise):
    graph = LatentGraph.quadtree(2) if kind == "tree" else overlapping_fields(5, dims=2, noise_dims=2)
    given_parameters = parameters(graph, 1)
    for name in graph.observed:
        given_parameters["noise_scales"][name] *= noise
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    visible = np.random.default_rng(0).random(len(graph.observed)) < 0.6
    one, two = graph.latents[:2], graph.latents[2:4]
    whole = oracle.information(one + two, visible=visible)
    parts = oracle.information(one, visible=visible), oracle.information(two, visible=visible, given=one)
    assert whole == pytest.approx(sum(parts), rel=1e-14)
    assert min(parts) > 1


def test_information_loses_nothing_on_a_deep_tree():
    """A chain of 300 links: what reaches the root is small, and known in closed form."""
    n = 300
    edges = [(f"z{i}", f"z{i + 1}") for i in range(n)] + [(f"z{n}", "x1"), ("z0", "x2")]
    graph = LatentGraph.from_edges(edges, dims=1)
    scales = dict.fromkeys(graph.nodes, math.sqrt(0.19)) | {"z0": 1.0}
    oracle = GaussianOracle.from_parameters(
        graph, coefficients={name: [[0.9]] for name in graph.nodes if name != "z0"}, noise_scales=scales
    )
    squared = 0.81 ** (n + 1)
    # The entropies that are added up are of size 1, so differences are lost below 1e-16 of that.
    assert oracle.information("z0", ["x2"]) == pytest.approx(-0.5 * math.log2(1 - squared), abs=1e-15)
    assert oracle.information("z200", ["x2"]) == pytest.approx(-0.5 * math.log2(1 - 0.81**101), rel=1e-5)


# ---------------------------------------------------------------------- many masks


def test_many_masks_on_a_large_tree_match_one_by_one(monkeypatch):
    graph = LatentGraph.quadtree(5, root_dim=1, noise_dim=0)
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, 0))
    masks = np.random.default_rng(0).random((100, 1024)) < 0.7
    together = (
        oracle.relative_loss_batch(masks),
        oracle.latent_r2_batch(masks),
        oracle.latent_r2_batch(masks, part="noise"),
    )
    monkeypatch.setattr("hlvm.theory.gaussian.posterior._NUMBERS_AT_ONCE", 7 * oracle._posterior.tree.numbers_per_mask)
    in_parts = (
        oracle.relative_loss_batch(masks),
        oracle.latent_r2_batch(masks),
        oracle.latent_r2_batch(masks, part="noise"),
    )
    for one, other in zip(together, in_parts, strict=True):
        np.testing.assert_array_equal(one.value, other.value)
        assert (one.how, one.rows, one.error.any()) == ("exact", 0, False)
    for row in (0, 6, 7, 99):
        alone = oracle.bayes_loss(masks[row])
        np.testing.assert_allclose(together[0].value[row, masks[row]], alone.mse / alone.variance)
        np.testing.assert_allclose(together[1].value[row], list(oracle.latent_r2(masks[row]).values()))
        found = oracle.latent_r2(masks[row], part="noise")
        np.testing.assert_allclose(together[2].value[row], list(found.values()))


def test_each_distinct_mask_is_worked_on_once(monkeypatch):
    graph = overlapping_fields(5, dims=1, noise_dims=1)
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, 0))
    asked = []
    side = oracle._posterior.side
    monkeypatch.setattr(oracle._posterior, "side", lambda seen: asked.append(seen) or side(seen))
    masks = np.asarray(
        [[name in pair for name in graph.observed] for pair in list(combinations(graph.observed, 2))[:9]]
    )
    repeated = np.concatenate([masks, masks[::-1], masks])
    found = oracle.latent_r2_batch(repeated).value
    assert len(asked) == len(masks)
    np.testing.assert_array_equal(found[: len(masks)], found[len(masks) : 2 * len(masks)][::-1])


# ---------------------------------------------------------------------- bad questions


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.latent_r2(["x0"], visible=["x0", "x1"]), "'x0' is masked and visible at once"),
        (lambda o: o.bayes_loss([], visible=["x1"]), "nothing is masked: mask at least 1"),
        (lambda o: o.bayes_loss(["x0"], visible="x1"), "visible is a collection of names"),
        (lambda o: o.bayes_loss(["x0"], visible=["z"]), "visible: 'z' is a latent"),
        (lambda o: o.bayes_loss(["x0"], visible=["w"]), "'w' is not a variable"),
        (lambda o: o.bayes_loss(["x0"], visible=np.ones(2, dtype=bool)), r"visible must be booleans of shape .*, 3\)"),
        (lambda o: o.latent_r2(["x0"], part="values"), 'part must be "value" or "noise", got \'values\''),
        (lambda o: o.information("x0", ["x1"]), "latents lists latents, got the observed variable 'x0'"),
        (lambda o: o.information("z", ["x1"], given=["x0"]), "given lists latents, got the observed variable 'x0'"),
        (lambda o: o.information("w", ["x1"]), "'w' is not a variable"),
        (lambda o: o.cut(1.5), "height must be a whole number of at least 0"),
    ],
)
def test_bad_questions_about_states_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(copies(1.0))


@pytest.mark.parametrize("seed", range(3))
def test_masked_losses_in_turn_add_up_to_the_likelihood(seed):
    """The identity that every oracle must pass: over all orders of the cells, mean of the sums of their log-losses."""
    graph = LatentGraph.from_edges([("a", "b"), ("a", "x1"), ("b", "x2"), ("b", "x3"), ("a", "x4")], dims=1)
    given = parameters(graph, seed)
    mean, covariance, place = dense(graph, given)
    columns = np.concatenate([place[name] for name in graph.observed])
    oracle = GaussianOracle.from_parameters(graph, **given)
    x = np.random.default_rng(seed).normal(size=(3, len(columns))) + mean[columns]
    total = np.zeros(len(x))
    orders = list(permutations(range(len(columns))))
    for order in orders:
        for k, cell in enumerate(order):
            seen = [graph.observed[i] for i in order[:k]]
            target = [graph.observed[cell]]
            variance = float(oracle.bayes_loss(target, visible=seen).mse[0])
            best = oracle.bayes_reconstruction(target, x, visible=seen)[:, 0]
            total += 0.5 * (np.log(2 * np.pi * variance) + (x[:, cell] - best) ** 2 / variance) / len(orders)
    expected = -multivariate_normal(mean[columns], covariance[np.ix_(columns, columns)]).logpdf(x)
    np.testing.assert_allclose(total, expected, atol=1e-9)
