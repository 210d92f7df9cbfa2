import dataclasses
import tracemalloc
from fractions import Fraction
from itertools import product

import jax
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_gaussian import dense, parameters, posterior
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression
from statsmodels.multivariate.cancorr import CanCorr
from strategies import graphs_with_masks, property_test

from hlvm.graph import LatentGraph, overlapping_fields, to_networkx
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle, shared_information, trek_separating_set
from hlvm.theory.gaussian.sides import Side

CLOSE = 1e-8
"""Agreement with dense linear algebra, whose inverses of covariances lose up to half of float64's sixteen digits."""

few = settings(property_test, max_examples=30)


# ---------------------------------------------------------------------- models and dense answers


def sides(graph, masked, place):
    visible = [name for name in graph.observed if name not in masked]
    hidden = [name for name in graph.observed if name in masked]
    return tuple(np.concatenate([place[name] for name in names]) for names in (hidden, visible))


def cases(kind, **kwargs):
    return graphs_with_masks(kind=kind, free_dims=True, max_latents=6, **kwargs)


# ---------------------------------------------------------------------- against dense linear algebra


@pytest.mark.parametrize("kind", ["dag", "tree"])
@few
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_everything_matches_dense_linear_algebra(kind, data, seed):
    graph, masked = data.draw(cases(kind))
    # Some variables without noise: latents on even seeds, observed ones too when the seed is divisible by four.
    rng = np.random.default_rng(seed)
    candidates = () if seed % 2 else graph.nodes if seed % 4 == 0 else graph.latents
    quiet = [name for name in candidates if graph.parents(name) and rng.random() < 0.4]
    given_parameters = parameters(graph, seed, quiet=quiet)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    mean, covariance, place = dense(graph, given_parameters)
    hidden, visible = sides(graph, masked, place)

    np.testing.assert_allclose(oracle.covariance(), covariance, rtol=CLOSE, atol=CLOSE)
    weights, rest = posterior(covariance, hidden, visible)
    loss = oracle.bayes_loss(masked)
    np.testing.assert_allclose(loss.mse, np.diag(rest), rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(loss.variance, np.diag(covariance)[hidden], rtol=CLOSE)
    assert loss.mean == pytest.approx(np.diag(rest).mean(), abs=CLOSE)
    assert loss.relative == pytest.approx((np.diag(rest) / np.diag(covariance)[hidden]).mean(), abs=CLOSE)

    first = len(mean) - sum(map(graph.dim, graph.observed))
    draws = rng.multivariate_normal(mean, covariance, size=5, method="eigh")
    expected = mean[hidden] + (draws[:, visible] - mean[visible]) @ weights.T
    draws[:, hidden] = np.nan  # must not be read
    np.testing.assert_allclose(oracle.bayes_reconstruction(masked, draws[:, first:]), expected, rtol=1e-6, atol=1e-6)

    for name, r2 in oracle.latent_r2(masked).items():
        _, left = posterior(covariance, place[name], visible)
        total = np.trace(covariance[np.ix_(place[name], place[name])])
        assert r2 == pytest.approx(1 - np.trace(left) / total, abs=CLOSE)


@few
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_trees_and_dense_sides_agree(data, seed):
    graph, masked = data.draw(cases("tree"))
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, seed, quiet=graph.latents[1:2]))
    mask = np.isin(graph.observed, masked)
    assert oracle._posterior.is_linear_time(~mask[None])[0]
    seen = ~mask[None]
    on_tree = [oracle._posterior.latents(seen, part) for part in ("value", "noise")], oracle.bayes_loss(masked).mse
    oracle._posterior.__dict__["is_forest"] = False
    dense = [oracle._posterior.latents(seen, part) for part in ("value", "noise")], oracle.bayes_loss(masked).mse
    for one, other in zip(on_tree, dense, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


@few
@given(case=cases("dag"), seed=st.integers(0, 2**32 - 1))
def test_both_forms_of_a_side_agree(case, seed):
    graph, masked = case
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, seed))
    nodes = [graph.position(name) for name in masked]
    effects = oracle._parameters.observed_effects(nodes)
    factors = [oracle._parameters.factors[node] for node in nodes]
    one, other = Side._with_noise(effects, factors), Side._in_general(effects, factors)
    for side in (one, other):
        np.testing.assert_allclose(side.rest, 1 - side.gains**2, atol=1e-12)
    maps = [(side.directions * side.gains**2) @ side.directions.T for side in (one, other)]
    np.testing.assert_allclose(*maps, atol=1e-10)
    np.testing.assert_allclose(*[side.directions @ side.weights for side in (one, other)], atol=1e-10)


@few
@given(case=cases("dag"), seed=st.integers(0, 2**32 - 1))
def test_canonical_correlations_match_dense_whitening(case, seed):
    graph, masked = case
    given_parameters = parameters(graph, seed)
    _, covariance, place = dense(graph, given_parameters)
    hidden, visible = sides(graph, masked, place)
    roots = [np.linalg.inv(np.linalg.cholesky(covariance[np.ix_(s, s)])) for s in (hidden, visible)]
    expected = np.linalg.svd(roots[0] @ covariance[np.ix_(hidden, visible)] @ roots[1].T, compute_uv=False)
    found = GaussianOracle.from_parameters(graph, **given_parameters).canonical_correlations(masked)
    np.testing.assert_allclose(found, expected, atol=CLOSE)


@few
@given(case=cases("dag"), seed=st.integers(0, 2**32 - 1), standardize=st.booleans())
def test_reduced_rank_matches_eckart_young_on_the_regression_matrix(case, seed, standardize):
    graph, masked = case
    given_parameters = parameters(graph, seed)
    _, covariance, place = dense(graph, given_parameters)
    hidden, visible = sides(graph, masked, place)
    scale = np.sqrt(np.diag(covariance)[hidden]) if standardize else np.ones(len(hidden))
    weights, rest = posterior(covariance, hidden, visible)
    root = np.linalg.cholesky(covariance[np.ix_(visible, visible)])
    s = np.linalg.svd((weights / scale[:, None]) @ root, compute_uv=False)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    most = min(len(hidden), len(visible))
    for k in range(most + 1):
        found = oracle.reduced_rank(masked, k, standardize=standardize)
        expected = ((np.diag(rest) / scale**2).sum() + (s[k:] ** 2).sum()) / len(hidden)
        assert found.loss == pytest.approx(expected, abs=CLOSE)
        assert found.encoder.shape == (k, len(visible))
        # The maps attain the loss: E |x - D E v|² from the joint covariance.
        both = found.decoder @ found.encoder
        error = (
            covariance[np.ix_(hidden, hidden)]
            - 2 * both @ covariance[np.ix_(visible, hidden)]
            + both @ covariance[np.ix_(visible, visible)] @ both.T
        )
        assert (np.diag(error) / scale**2).mean() == pytest.approx(expected, abs=CLOSE)
    assert len(found.losses) == most + 1
    assert found.loss == pytest.approx((np.diag(rest) / scale**2).mean(), abs=CLOSE)


# ---------------------------------------------------------------------- ranks and treks


def least_trek_cut(graph, masked):
    """Least total dim of a pair of sets that meets every trek, by trying all pairs (theorem 2.8's definition)."""
    dag = to_networkx(graph)
    hidden, visible = set(masked), set(graph.observed) - set(masked)
    tops = {name: nx.ancestors(dag, name) | {name} for name in graph.nodes}

    def connected(up, down):
        for a, b in product(hidden, visible):
            for top in tops[a] & tops[b]:
                ways = []
                for end, cut in ((a, up), (b, down)):
                    kept = dag.subgraph(set(dag) - cut)
                    ways.append(end in kept and top in kept and nx.has_path(kept, top, end))
                if all(ways):
                    return True
        return False

    names = list(graph.nodes)
    best = min(sum(map(graph.dim, hidden)), sum(map(graph.dim, visible)))
    subsets = [frozenset(n for i, n in enumerate(names) if bits >> i & 1) for bits in range(2 ** len(names))]
    cost = {s: sum(map(graph.dim, s)) for s in subsets}
    subsets = sorted((s for s in subsets if cost[s] < best), key=cost.__getitem__)
    for up in subsets:
        for down in subsets:
            if cost[up] + cost[down] >= best:
                break
            if not connected(up, down):
                best = cost[up] + cost[down]
    return best


@settings(property_test, max_examples=25)
@given(case=graphs_with_masks(max_latents=3, max_observed=3, free_dims=True))
def test_trek_separating_set_matches_exhaustive_search(case):
    graph, masked = case
    found = trek_separating_set(graph, masked)
    assert found.dim == least_trek_cut(graph, masked)
    assert found.dim == sum(map(graph.dim, found.up)) + sum(map(graph.dim, found.down))
    assert not found.turns


@pytest.mark.parametrize("kind", ["dag", "tree"])
@property_test
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_rank_is_the_size_of_the_trek_separating_set(kind, data, seed):
    """For random coefficients; the rank also by NumPy from the covariance."""
    graph, masked = data.draw(cases(kind))
    given_parameters = parameters(graph, seed)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    rank = oracle.cross_covariance_rank(masked)
    assert rank == oracle.trek_separating_set(masked).dim
    _, covariance, place = dense(graph, given_parameters)
    hidden, visible = sides(graph, masked, place)
    assert rank == np.linalg.matrix_rank(covariance[np.ix_(hidden, visible)], rtol=1e-11)
    assert rank <= shared_information(graph, masked, regime="general").dim


@property_test
@given(case=cases("dag"), seed=st.integers(0, 2**32 - 1))
def test_rank_with_fewer_noises_than_dims_is_the_flow_with_limited_turns(case, seed):
    graph, masked = case
    given_parameters = parameters(graph, seed)
    rng = np.random.default_rng(seed)
    for name in graph.nodes:
        shape = (graph.dim(name), rng.integers(0, graph.dim(name) + 1))
        given_parameters["noise_scales"][name] = rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    _, covariance, place = dense(graph, given_parameters)
    hidden, visible = sides(graph, masked, place)
    cross = covariance[np.ix_(hidden, visible)]
    rank = int((np.linalg.svd(cross, compute_uv=False) > 1e-9).sum())
    assert oracle.trek_separating_set(masked).dim == rank
    found = oracle.trek_separating_set(masked)
    turns = sum(oracle._parameters.noise_ranks[graph.position(name)] for name in found.turns)
    assert found.dim == turns + sum(map(graph.dim, found.up)) + sum(map(graph.dim, found.down))


def test_trek_separating_set_can_be_smaller_than_every_separator():
    # Latents must be cut with 4 dims, but no more than the single dim of x1 can be shared.
    graph = LatentGraph.from_edges(
        [("a", "x1"), ("c", "x1"), ("a", "x2"), ("c", "x2")], dims={"a": 2, "c": 2, "x1": 1, "x2": 3}
    )
    assert shared_information(graph, ["x1"], regime="general").dim == 4
    assert trek_separating_set(graph, ["x1"]).dim == 1
    assert trek_separating_set(graph, ["x1"]).up == {"x1"}


def test_cross_covariance_rank_is_less_where_paths_cancel():
    graph = LatentGraph.from_edges([("a", "x1"), ("b", "x1"), ("a", "x2"), ("b", "x2")], dims=1)
    cancel = {"x1": [[1.0, 1.0]], "x2": [[1.0, -1.0]]}
    oracle = GaussianOracle.from_parameters(graph, coefficients=cancel, noise_scales=dict.fromkeys(graph.nodes, 1.0))
    assert (oracle.cross_covariance_rank(["x1"]), oracle.trek_separating_set(["x1"]).dim) == (0, 1)


# ---------------------------------------------------------------------- against samples and other libraries


@pytest.fixture(scope="module", params=["tree", "fields"])
def sampled(request):
    """A model with standardised values, its oracle, and 40,000 samples."""
    graph = LatentGraph.quadtree(2) if request.param == "tree" else overlapping_fields(5, dims=1, noise_dims=1)
    model = HierarchicalModel.init(jax.random.key(3), graph, LinearGaussian(snr=4.0))
    sample = model.sample(jax.random.key(4), 40_000)
    masked = graph.observed[: len(graph.observed) // 2 : 2] + graph.observed[-2:]
    values = np.asarray(sample.observed_matrix, dtype=np.float64)
    hidden = np.repeat(np.isin(graph.observed, masked), graph.dims[len(graph.latents) :])
    return GaussianOracle(model), sample, masked, values, hidden


SPREAD = 5 / np.sqrt(40_000)
"""Five standard errors of a mean of 40,000 terms of unit variance."""


def test_covariance_matches_samples(sampled):
    oracle, sample, _, _, _ = sampled
    everything = np.concatenate([np.asarray(sample.variables[name]) for name in oracle.graph.nodes], axis=1)
    # A product of two correlated standard normal numbers has at most twice the variance of an uncorrelated one.
    np.testing.assert_allclose(np.cov(everything.T), oracle.covariance(), atol=1.5 * SPREAD)
    np.testing.assert_allclose(np.diag(oracle.covariance())[2:], 1.0, atol=0.15)


def test_bayes_loss_and_reconstruction_match_samples_and_linear_regression(sampled):
    oracle, _, masked, values, hidden = sampled
    loss = oracle.bayes_loss(masked)
    error = values[:, hidden] - oracle.bayes_reconstruction(masked, values)
    # The squared error is a scaled chi-square: its relative standard error is sqrt(2 / n).
    np.testing.assert_allclose((error**2).mean(axis=0), loss.mse, rtol=1.5 * SPREAD)
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=SPREAD)
    fitted = LinearRegression().fit(values[:, ~hidden], values[:, hidden])
    residual = values[:, hidden] - fitted.predict(values[:, ~hidden])
    np.testing.assert_allclose((residual**2).mean(axis=0), loss.mse, rtol=1.5 * SPREAD)
    assert 0 < loss.relative < 1


def test_latent_r2_matches_linear_regression(sampled):
    oracle, sample, masked, values, hidden = sampled
    for name, r2 in oracle.latent_r2(masked).items():
        target = np.asarray(sample.latents[name], dtype=np.float64)
        fitted = LinearRegression().fit(values[:, ~hidden], target)
        rest = ((target - fitted.predict(values[:, ~hidden])) ** 2).sum()
        score = 1 - rest / ((target - target.mean(axis=0)) ** 2).sum()
        assert r2 == pytest.approx(score, abs=1.5 * SPREAD)


def test_canonical_correlations_match_statsmodels(sampled):
    oracle, _, masked, values, hidden = sampled
    found = oracle.canonical_correlations(masked)
    in_sample = CanCorr(values[:, hidden], values[:, ~hidden]).cancorr
    # In-sample correlations are biased upwards by about dims / n = 0.001 where they are zero, root of it in size.
    np.testing.assert_allclose(found[0], in_sample[0], atol=SPREAD)
    np.testing.assert_allclose(found, in_sample, atol=3 * SPREAD)
    first = CCA(n_components=1).fit(values[:, hidden], values[:, ~hidden])
    scores = first.transform(values[:, hidden], values[:, ~hidden])
    assert np.corrcoef(scores[0][:, 0], scores[1][:, 0])[0, 1] == pytest.approx(found[0], abs=SPREAD)


def test_reduced_rank_reconstructs_samples_as_well_as_it_says(sampled):
    oracle, _, masked, values, hidden = sampled
    for k in (0, 1, 3):
        found = oracle.reduced_rank(masked, k)
        error = values[:, hidden] - found.reconstruct(values[:, ~hidden])
        relative = (error**2).mean(axis=0) / oracle.bayes_loss(masked).variance
        assert relative.mean() == pytest.approx(found.loss, rel=1.5 * SPREAD)
    assert found.losses[0] == pytest.approx(1.0)
    assert (np.diff(found.losses) <= 1e-12).all()


# ---------------------------------------------------------------------- size


def test_oracle_takes_4096_leaves_and_stays_exact():
    """By symmetry every latent of one height has the same R²; the extremes are known in closed form."""
    graph = LatentGraph.quadtree(6, root_dim=1, noise_dim=0)
    assert set(graph.dims) == {1}
    given_parameters = {
        "coefficients": {name: [[0.9]] for name in graph.nodes[1:]},
        "noise_scales": {name: np.sqrt(0.19) for name in graph.nodes[1:]} | {"z6_0_0": 1.0},
    }
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    mask = np.zeros(4096, dtype=bool)
    mask[0] = True
    tracemalloc.start()
    loss, r2 = oracle.bayes_loss(mask), oracle.latent_r2(mask)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6  # bytes; one matrix of all nodes takes 239e6, and its inverse a minute
    # Precision from below, level by level: four children, each through a link of gain 0.9 and noise 0.19.
    below = [np.inf]
    for _ in range(6):
        variance = 0.19 + (0 if below[-1] == np.inf else 1 / below[-1])
        below.append(4 * 0.81 / variance)
    assert r2["z6_0_0"] == pytest.approx(1 - 1 / (1 + below[6]), rel=1e-3)  # one leaf of 4096 is missing
    assert 0.19 < loss.mse[0] < 1
    values = np.zeros((2, 4096))
    np.testing.assert_allclose(oracle.bayes_reconstruction(mask, values), 0.0)
    assert oracle.trek_separating_set(mask).dim == 1


def test_tree_posterior_keeps_its_digits_when_noise_is_tiny():
    """Sixteen leaves that measure one latent with noise 1e-7: its variance is 1e-14 / 16, lost in 1 - R²."""
    graph = LatentGraph.tree(17, 1, root_dim=1, noise_dim=0)
    given_parameters = {
        "coefficients": {name: [[1.0]] for name in graph.observed},
        "noise_scales": dict.fromkeys(graph.observed, 1e-07) | {"z1_0": 1.0},
    }
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    mask = np.zeros(17, dtype=bool)
    mask[0] = True
    assert oracle.bayes_loss(mask).mse[0] == pytest.approx(1e-14 * (1 + 1 / 16), rel=1e-9)
    oracle._posterior.__dict__["is_forest"] = False
    assert oracle.bayes_loss(mask).mse[0] == pytest.approx(1e-14 * (1 + 1 / 16), rel=1e-6)


def exact_r2(graph, given, target, visible):
    """R² of one latent of a tree given visible variables, in fractions: no rounding at all."""
    parents = {
        name: graph.nodes[p[0]] if p else None for name, p in zip(graph.nodes, graph.parent_indices, strict=True)
    }
    exact = np.vectorize(Fraction, otypes=[object])
    covariance = {}
    for i, name in enumerate(graph.nodes):
        above = parents.get(name)
        matrix = exact(given["coefficients"][name]) if above else None
        for other in graph.nodes[:i]:
            found = matrix @ covariance[above, other] if above else exact(np.zeros((2, 2)))
            covariance[name, other], covariance[other, name] = found, found.T
        covariance[name, name] = np.diag(exact(given["noise_scales"][name]) ** 2)
        if above:
            covariance[name, name] = covariance[name, name] + matrix @ covariance[above, above] @ matrix.T
    seen = np.block([[covariance[a, b] for b in visible] for a in visible])
    across = np.block([[covariance[target, b] for b in visible]])
    rows = np.concatenate([seen, across.T], axis=1)  # Gauss-Jordan, which needs no pivots: noise in every dim
    for i in range(len(rows)):
        rows[i] = rows[i] / rows[i, i]
        for j in range(len(rows)):
            if j != i:
                rows[j] = rows[j] - rows[j, i] * rows[i]
    explained = np.trace(across @ rows[:, len(rows) :])
    return float(explained / np.trace(covariance[target, target]))


def test_ill_conditioned_trees_are_exact_or_refused_and_no_rank_exceeds_its_bound():
    graphs = [
        LatentGraph.from_edges([("z", "x1"), ("z", "x2"), ("z", "x3")], dims=2),
        LatentGraph.from_edges([("a", "b"), ("a", "c"), ("b", "x1"), ("b", "x2"), ("c", "x3"), ("c", "x4")], dims=2),
    ]
    rng = np.random.default_rng(0)
    refused = 0
    for graph in graphs * 30:
        thin = rng.random() < 0.3
        given = {
            "coefficients": {
                name: np.outer(*rng.normal(size=(2, 2))) if thin else rng.normal(size=(2, 2)) * 10 ** rng.uniform(-3, 3)
                for name in set(graph.nodes) - set(graph.nodes[:1])
            },
            "noise_scales": {name: 10 ** rng.uniform(-9, 3, size=2) for name in graph.nodes},
        }
        oracle = GaussianOracle.from_parameters(graph, **given)
        try:
            found, rank = oracle.latent_r2(["x1"]), oracle.cross_covariance_rank(["x1"])
        except ValueError as error:
            refused += "ill-conditioned: the least noise of 'x" in str(error)
            continue
        assert rank <= oracle.trek_separating_set(["x1"]).dim
        for name in graph.latents:
            assert found[name] == pytest.approx(exact_r2(graph, given, name, graph.observed[1:]), abs=1e-8)
    assert 10 < refused < 30


def test_faint_noise_on_a_singular_map_is_exact_or_refused():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=2)
    ones = {"x1": np.ones((2, 2)), "x2": np.ones((2, 2))}
    faint, fainter = (
        GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales={"z": 1, "x1": 1, "x2": scale})
        for scale in (1e-8, 1e-200)
    )
    assert faint.latent_r2(["x1"])["z"] == pytest.approx(0.5, abs=1e-12)
    with pytest.raises(ValueError, match=r"the least noise of 'x2' is a share of 7e-201 .* make it larger, or 0 for"):
        fainter.latent_r2(["x1"])


def test_too_large_a_matrix_is_refused_before_it_is_made():
    graph = LatentGraph.quadtree(6)
    given_parameters = {
        "coefficients": {n: np.ones((graph.dim(n), graph.dim(graph.parents(n)[0]))) for n in graph.nodes[1:]},
        "noise_scales": dict.fromkeys(graph.nodes, 1.0),
    }
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    mask = np.arange(4096) % 2 == 0
    for call in (oracle.covariance, lambda: oracle.canonical_correlations(mask), lambda: oracle.reduced_rank(mask, 1)):
        with pytest.raises(ValueError, match="a dense matrix over more than 8192 is not made"):
            call()
    assert oracle.covariance(["z6_0_0", "x_0_0"]).shape == (10, 10)


# ---------------------------------------------------------------------- degenerate models


def test_sides_that_share_nothing():
    graph = LatentGraph.from_edges([("a", "x1"), ("b", "x2")], dims=2)
    oracle = GaussianOracle.from_parameters(graph, **parameters(graph, 0))
    # Zero up to the rounding of principal directions, which differs between processors.
    assert oracle.canonical_correlations(["x1"]) == pytest.approx([0, 0], abs=1e-14)
    assert oracle.cross_covariance_rank(["x1"]) == oracle.trek_separating_set(["x1"]).dim == 0
    assert oracle.bayes_loss(["x1"]).relative == pytest.approx(1.0)
    assert oracle.latent_r2(["x1"])["a"] == pytest.approx(0, abs=1e-14)
    assert oracle.reduced_rank(["x1"], 1).loss == pytest.approx(1.0)


def test_noise_free_copies_are_reconstructed_exactly():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2"), ("z", "x3")], dims=1)
    given_parameters = {
        "coefficients": {"x1": [[1.0]], "x2": [[2.0]], "x3": [[3.0]]},
        "noise_scales": {"z": 1.0, "x1": 0.0, "x2": 0.0, "x3": 0.0},
    }
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    assert oracle.bayes_loss(["x2"]).relative == pytest.approx(0.0, abs=1e-15)
    assert oracle.latent_r2(["x2"]) == {"z": pytest.approx(1.0)}
    np.testing.assert_allclose(oracle.bayes_reconstruction(["x2"], [[1.0, np.nan, 3.0]]), [[2.0]])
    assert oracle.canonical_correlations(["x2"]) == pytest.approx([1.0])


def test_variables_without_any_variance():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    given_parameters = {
        "coefficients": {"x1": [[1.0]], "x2": [[1.0]]},
        "noise_scales": dict.fromkeys(graph.nodes, 0.0),
        "offsets": {"z": [1.0]},
    }
    oracle = GaussianOracle.from_parameters(graph, **given_parameters)
    assert oracle.bayes_loss(["x1"]).relative == 0
    assert np.isnan(oracle.latent_r2(["x1"])["z"])
    assert oracle.cross_covariance_rank(["x1"]) == oracle.trek_separating_set(["x1"]).dim == 0
    assert oracle.bayes_reconstruction(["x1"], np.ones((1, 2))).tolist() == [[1.0]]
    assert oracle.reduced_rank(["x1"], 1).loss == 0


# ---------------------------------------------------------------------- models and bad input


def test_oracle_reads_models_with_and_without_standardisation():
    graph = LatentGraph.quadtree(1)
    for standardize in (True, False):
        model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian(), standardize=standardize)
        found = model.linear_gaussian_parameters()
        sample = model.sample(jax.random.key(1), 3)
        for name in graph.observed:
            root, noise = (np.asarray(part, np.float64) for part in (sample.latents["z1_0_0"], sample.noise[name]))
            rebuilt = root @ found["coefficients"][name].T + found["offsets"][name]
            rebuilt += noise * found["noise_scales"][name]
            np.testing.assert_allclose(rebuilt, sample.observed[name], atol=1e-5)  # float32 samples
        assert GaussianOracle(model).graph == graph


def test_oracle_refuses_other_models():
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(1), InvertibleMLP())
    with pytest.raises(ValueError, match="'x_0_0' has the mechanism InvertibleMLP"):
        GaussianOracle(model)
    with pytest.raises(ValueError, match=r"got LatentGraph: use GaussianOracle\.from_parameters"):
        GaussianOracle(model.graph)


SMALL = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 2, "x1": 1, "x2": 1})
GOOD = parameters(SMALL, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coefficients": {"x1": [[1, 1]]}}, "no coefficients for 'x2'"),
        ({"coefficients": {**GOOD["coefficients"], "w": 1}}, "'w' is not a variable"),
        ({"coefficients": {**GOOD["coefficients"], "x1": [1, 1]}}, r"must have shape \(1, 2\) .* got \(2,\)"),
        ({"coefficients": {**GOOD["coefficients"], "x1": [[np.nan, 1]]}}, "not finite"),
        ({"coefficients": {**GOOD["coefficients"], "x1": "ab"}}, "must be an array of numbers, got str"),
        ({"noise_scales": {"z": 1, "x1": 1}}, "no noise scale for 'x2'"),
        ({"noise_scales": {"z": [1, 1, 1], "x1": 1, "x2": 1}}, r"got shape \(3,\)"),
        ({"noise_scales": {"z": [1, -1], "x1": 1, "x2": 1}}, "negative standard deviation"),
        ({"offsets": {"z": [1, 1, 1]}}, r"offsets\['z'\] must have shape \(2,\)"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        GaussianOracle.from_parameters(SMALL, **{**GOOD, **change})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o: o.bayes_loss(["z"]), "'z' is a latent"),
        (lambda o: o.bayes_loss([]), "mask"),
        (lambda o: o.bayes_loss(["x1", "x2"]), "visible"),
        (lambda o: o.bayes_reconstruction(["x1"], [[1.0]]), r"shape \(n, 2\)"),
        (lambda o: o.bayes_reconstruction(["x1"], [[1.0, np.inf]]), "not finite in a visible column"),
        (lambda o: o.reduced_rank(["x1"], 2), "from 0 to 1"),
        (lambda o: o.reduced_rank(["x1"], -1), "from 0 to 1"),
        (lambda o: o.reduced_rank(["x1"], True), "got True"),
        (lambda o: o.covariance(["w"]), "'w' is not a variable"),
        (lambda o: trek_separating_set(o.graph, ["x1"], noise_ranks=[1]), "noise_ranks"),
    ],
)
def test_bad_questions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(GaussianOracle.from_parameters(SMALL, **GOOD))


def test_results_are_frozen():
    loss = GaussianOracle.from_parameters(SMALL, **GOOD).bayes_loss(["x1"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.mse = 0
