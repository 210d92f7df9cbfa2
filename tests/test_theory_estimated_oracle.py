"""Oracles by regression on fresh draws, and by a linear model about the mean."""

import dataclasses
import functools
import types

import jax
import numpy as np
import pytest
from linear_gaussian import parameters
from oracle_contract import OracleContract
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer

from hlvm.graph import LatentGraph, overlapping_fields
from hlvm.images import GrammarImages, QuadtreeImages, SceneImages
from hlvm.mechanisms import Categorical, InvertibleMLP, Laplace, LinearGaussian, ProductionRules, StudentT
from hlvm.simulator import HierarchicalModel
from hlvm.theory import EstimatedOracle, GaussianOracle, GrammarOracle, LinearisedOracle, estimated_oracle
from hlvm.theory.estimated import regression
from hlvm.theory.estimated.columns import Columns

FOREST = LatentGraph.from_parents([-1, -1, 0, 0, 1, 2, 2, 3, 3, 4, 4])
UNEVEN = LatentGraph.from_edges(
    [("a", "b"), ("b", "x1"), ("b", "x2"), ("a", "x3"), ("a", "x4")],
    dims={"a": 2, "b": 1, "x1": 1, "x2": 3, "x3": 2, "x4": 1},
)
MISSED = 0.02
"""What kernel ridge on 2,400 rows and at most 20 columns misses of linear relations: about the columns over the rows,
times what cannot be known, and a little for the choice of the ridge."""


def gaussian_draws(graph, given, n, seed, bend=lambda values: values):
    """Values and noises by name, of a linear-Gaussian model or of one whose variables are bent."""
    rng = np.random.default_rng(seed)
    values, noise = {}, {}
    for name in graph.nodes:
        noise[name] = rng.normal(size=(n, graph.dim(name))) * given["noise_scales"][name]
        values[name] = given["offsets"][name] + noise[name]
        if graph.parents(name):
            above = np.concatenate([values[parent] for parent in graph.parents(name)], axis=1)
            values[name] = bend(above @ given["coefficients"][name].T) + values[name]
    return values, {name: noise[name] for name in graph.latents}


def oracle_of(graph, values, noise):
    return EstimatedOracle.from_arrays(
        graph,
        observed={name: values[name] for name in graph.observed},
        latents={name: values[name] for name in graph.latents},
        noise=noise,
    )


@functools.cache
def small_oracle(kind):
    if kind == "categories":
        return EstimatedOracle.from_arrays(**grammar_arrays(300))
    graph = {"uneven": UNEVEN, "fields": overlapping_fields(5, dims=1, noise_dims=1)}.get(kind, FOREST)
    bend = np.tanh if kind == "bent" else lambda values: values
    return oracle_of(graph, *gaussian_draws(graph, parameters(graph, 7), 200, 1, bend))


def states(graph, n, seed):
    state = np.random.default_rng(seed).integers(0, 3, (n, graph.n_observed))
    return state == 1, state == 2


# ---------------------------------------------------------------------- the contract


class TestEstimatedOracleContract(OracleContract):
    tolerance = 0.03  # answers near 0 or 1 have tiny errors, and a wider regression may do a little worse

    @pytest.fixture(params=["forest", "bent", "uneven", "fields", "categories"])
    def oracle(self, request):
        return small_oracle(request.param)

    def relabelled(self, oracle, rng):
        graph, draws = oracle.graph, oracle._draws
        new = {name: f"new {name}" for name in graph.nodes}
        order = rng.permutation(len(graph.observed))
        edges = [(new[parent], new[child]) for child in graph.nodes for parent in graph.parents(child)]
        other = LatentGraph.from_edges(
            edges,
            dims={new[name]: graph.dim(name) for name in graph.nodes},
            observed=[new[graph.observed[i]] for i in order],
        )
        renamed = [{new[name]: values for name, values in part.items()} for part in (draws.observed, draws.latents)]
        noise = {new[name]: values for name, values in draws.noise.items()}
        found = EstimatedOracle.from_arrays(other, observed=renamed[0], latents=renamed[1], noise=noise)
        return found, order, [graph.position(name.removeprefix("new ")) for name in other.latents]

    def test_information_follows_the_chain_rule(self, oracle):
        """Bounds have no chain rule; but where nothing is seen they are 0, and some latent can be known."""
        latents = list(oracle.graph.latents)
        none = np.zeros(oracle.graph.n_observed, dtype=bool)
        nothing = oracle.information(latents, visible=none)
        assert (nothing.value, nothing.error, nothing.how) == (0, 0, "estimated")
        found = [oracle.information(name, visible=~none) for name in latents]
        assert any(each.value > 5 * each.error > 0 for each in found)


def grammar_arrays(n):
    """Strings of a grammar with whole numbers everywhere; the synonyms are the noise."""
    grammar = GrammarImages.init(5, n_symbols=4, n_classes=4, n_synonyms=2, n_levels=2, tuple_size=2, style="one-hot")
    drawn = grammar.sample(1, n)
    pairs = {name: np.asarray(values) for name, values in drawn.latents.items()}
    root = grammar.graph.latents[0]
    return {
        "graph": grammar.graph,
        "observed": drawn.images,
        "latents": {name: values[:, :1] for name, values in pairs.items()},
        "noise": {name: values if name == root else values[:, 1:] for name, values in pairs.items()},
    }


# ---------------------------------------------------------------------- against what is exact


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "graph", [FOREST, UNEVEN, overlapping_fields(5, dims=1, noise_dims=1)], ids=["forest", "uneven", "fields"]
)
def test_estimates_agree_with_closed_forms_and_promise_no_more(graph, seed):
    given = parameters(graph, seed)
    exact = GaussianOracle.from_parameters(graph, **given)
    estimated = oracle_of(graph, *gaussian_draws(graph, given, 4000, seed))
    targets, visible = states(graph, 5, seed)
    for part in ("value", "noise"):
        found = estimated.latent_r2_batch(targets, visible=visible, part=part)
        known = exact.latent_r2_batch(targets, visible=visible, part=part).value
        assert (found.value <= known + 5 * found.error + 1e-9).all()
        assert (found.value >= known - 5 * found.error - MISSED).all()
    found = estimated.relative_loss_batch(targets, visible=visible)
    known = exact.relative_loss_batch(targets, visible=visible).value
    assert (np.nan_to_num(found.value - known) >= -5 * np.nan_to_num(found.error) - 1e-9).all()
    assert (np.nan_to_num(found.value - known) <= 5 * np.nan_to_num(found.error) + MISSED).all()
    if graph.arrays.is_forest:
        cut, other = estimated.cut(1), exact.cut(1)
        found = cut.relative_loss_batch(targets, visible=visible)
        known = other.relative_loss_batch(targets, visible=visible).value
        assert (np.abs(np.nan_to_num(found.value - known)) <= 5 * np.nan_to_num(found.error) + MISSED).all()


def test_estimates_of_a_grammar_agree_with_belief_propagation():
    """Latents are categories and every relation is a table; 3,600 rows see each pair of symbols about 200 times."""
    arrays = grammar_arrays(6000)
    grammar = GrammarImages.init(5, n_symbols=4, n_classes=4, n_synonyms=2, n_levels=2, tuple_size=2, style="one-hot")
    exact, estimated = GrammarOracle(grammar), EstimatedOracle.from_arrays(**arrays)
    targets, visible = states(grammar.graph, 6, 0)
    for part in ("value", "noise"):
        found = estimated.latent_r2_batch(targets, visible=visible, part=part)
        known = exact.latent_r2_batch(targets, visible=visible, part=part).value
        if part == "noise":  # at the root symbol and choice are counted dim by dim here, and together there
            found.value[:, 0] = known[:, 0] = 0
        assert (found.value <= known + 5 * found.error + 1e-9).all()
        assert (found.value >= known - 5 * found.error - MISSED).all()
    for row in range(4):
        if targets[row].any():
            found = estimated.bayes_loss(targets[row], visible=visible[row])
            known = exact.bayes_loss(targets[row], visible=visible[row])
            # Columns of the picture are the same ones: pixels of symbols.
            assert (np.abs(found.mse - known.mse) <= 5 * found.mse_error + MISSED * known.variance + 1e-6).all()


LOOSE = 0.15
"""What a bound of a few bits misses beside its error, in bits: the regression, and few draws to be told apart from."""


@pytest.mark.parametrize("seed", range(3))
def test_information_of_linear_models_is_a_bound_and_close_to_the_closed_form(seed):
    given = parameters(FOREST, seed)
    exact = GaussianOracle.from_parameters(FOREST, **given)
    estimated = oracle_of(FOREST, *gaussian_draws(FOREST, given, 4000, seed))
    visible = np.random.default_rng(seed).random(FOREST.n_observed) < 0.7
    for names in (FOREST.latents[:1], FOREST.latents[1:3], FOREST.latents):
        found, known = estimated.information(names, visible=visible), exact.information(names, visible=visible)
        assert (found.how, found.rows) == ("estimated", 4000)
        assert found.value <= known + 5 * found.error
        most = np.log2(800)  # draws that are judged together
        assert found.value <= most
        assert found.value >= min(known - LOOSE * max(1, known), most - 2) - 5 * found.error
    cut, known = estimated.cut(1), exact.cut(1).information(FOREST.latents[2], visible=visible)
    found = cut.information(FOREST.latents[2], visible=visible)
    assert known - 5 * found.error - LOOSE <= found.value <= known + 5 * found.error


def test_information_of_a_grammar_is_a_bound_and_close_to_belief_propagation():
    grammar = GrammarImages.init(5, n_symbols=4, n_classes=4, n_synonyms=2, n_levels=2, tuple_size=2, style="one-hot")
    exact, estimated = GrammarOracle(grammar), EstimatedOracle.from_arrays(**grammar_arrays(6000))
    latents = grammar.graph.latents
    for names, visible in (
        (latents[:1], [0, 2]),
        (latents[1:2], [0]),
        (latents[1:], [0, 1, 2]),
        (latents, [0, 1, 2, 3]),
    ):
        seen = np.isin(np.arange(grammar.graph.n_observed), visible)
        found, known = estimated.information(names, visible=seen), float(exact.information(names, visible=seen))
        assert known > 0.3
        assert found.value <= known + 5 * found.error
        assert found.value >= known - 5 * found.error - LOOSE


def test_information_is_a_bound_where_the_ratio_of_determinants_is_none():
    """A latent near -1 or 1, and a cell that tells the sign: one bit, where variances say five."""
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    rng = np.random.default_rng(0)
    z = np.sign(rng.normal(size=(4000, 1))) + 0.03 * rng.normal(size=(4000, 1))
    observed = {"x1": np.sign(z) + 0.01 * rng.normal(size=(4000, 1)), "x2": rng.normal(size=(4000, 1))}
    oracle = EstimatedOracle.from_arrays(graph, observed=observed, latents={"z": z})
    found = oracle.information("z", ["x2"])
    assert -0.5 * np.log2(1 - oracle.latent_r2(["x2"])["z"]) > 4.5
    assert 0.7 < found.value <= 1 + 5 * found.error
    assert abs(oracle.information("z", ["x1"]).value) < 0.02


def test_errors_of_information_are_those_of_repeated_draws():
    given = parameters(FOREST, 3)
    visible = np.arange(FOREST.n_observed) % 2 == 0
    found = [
        oracle_of(FOREST, *gaussian_draws(FOREST, given, 400, seed)).information(FOREST.latents[1], visible=visible)
        for seed in range(40)
    ]
    ratio = np.std([each.value for each in found], ddof=1) / np.mean([each.error for each in found])
    assert 0.7 < ratio < 1.4  # 40 draws tell a spread to 11 %


def test_information_refuses_what_it_cannot_bound():
    given = parameters(FOREST, 0)
    oracle = oracle_of(FOREST, *gaussian_draws(FOREST, given, 60, 0))
    with pytest.raises(ValueError, match="none"):
        oracle.information("none")
    with pytest.raises(ValueError, match=f"latents lists '{FOREST.observed[0]}', whose values are observed"):
        oracle.information(FOREST.observed[0])
    with pytest.raises(ValueError, match="numbers together, and 60 draws can tell at most 3: ask for fewer latents"):
        oracle.information(FOREST.latents)
    grammar = EstimatedOracle.from_arrays(**grammar_arrays(100))
    with pytest.raises(ValueError, match="joint categories together, and 100 draws can tell at most 6"):
        grammar.information(grammar.graph.latents)


def test_standard_errors_are_those_of_repeated_draws():
    """Spread of 40 answers about their mean, over the error that each states: within 25 %, or 2.2 standard errors."""
    given = parameters(FOREST, 3)
    visible = np.arange(FOREST.n_observed) % 2 == 0
    values, errors = [], []
    for seed in range(40):
        oracle = oracle_of(FOREST, *gaussian_draws(FOREST, given, 400, seed))
        loss = oracle.relative_loss_batch(~visible[None])
        r2 = oracle.latent_r2_batch(~visible[None])
        values.append(np.append(r2.value, loss.value[~np.isnan(loss.value)]))
        errors.append(np.append(r2.error, loss.error[~np.isnan(loss.value)]))
    ratio = np.std(values, axis=0, ddof=1) / np.mean(errors, axis=0)
    assert 0.75 < ratio.mean() < 1.25  # no ratio alone: columns of one oracle share their draws


def test_categories_count_as_one_hot():
    rng = np.random.default_rng(0)
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    z = rng.integers(0, 3, (1000, 1))
    order = np.array([2.0, 0.0, 1.0])[z]  # knows z, not in its order
    noise = rng.normal(size=(1000, 1))
    draws = {"observed": {"x1": order, "x2": noise}, "latents": {"z": z}}
    oracle = EstimatedOracle.from_arrays(graph, **draws)
    assert oracle.latent_r2(["x2"])["z"] == pytest.approx(1, abs=1e-4)
    assert oracle.latent_r2(["x1"])["z"] == pytest.approx(0, abs=0.02)
    guess = (z[:, 0] > 0).astype(float)[:, None]
    oracle = EstimatedOracle.from_arrays(graph, observed={"x1": guess, "x2": noise}, latents={"z": z})
    # Of the one-hot columns of three equal categories half the variance is whether z = 0; of the number z, 3/4.
    assert oracle.latent_r2(["x2"])["z"] == pytest.approx(0.5, abs=0.02)
    oracle = EstimatedOracle.from_arrays(graph, observed={"x1": guess, "x2": noise}, latents={"z": z}, categories=())
    assert oracle.latent_r2(["x2"])["z"] == pytest.approx(0.75, abs=0.02)


# ---------------------------------------------------------------------- the regression


def residuals(parts, n_fitted, targets, cells=None):
    inputs = regression.Inputs(parts, n_fitted)
    groups = np.arange(targets.shape[1])
    return regression.held_out_residuals(inputs, np.arange(len(parts)) if cells is None else cells, targets, groups)


def data(n, p, seed):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, p))
    targets = np.stack([np.sin(2 * inputs[:, 0]), inputs @ rng.normal(size=p)], axis=1) + 0.1 * rng.normal(size=(n, 2))
    n_fitted = n // 2
    return inputs - inputs[:n_fitted].mean(axis=0), targets - targets[:n_fitted].mean(axis=0), n_fitted


def summed_kernel(inputs, n_fitted, bandwidth):
    soft = inputs / np.sqrt(1 + (inputs / (4 * inputs[:n_fitted].std(axis=0))) ** 2)
    distances = np.linalg.norm(soft[:n_fitted, None] - soft[None, :n_fitted], axis=2)
    unit = np.median(distances[distances > 1e-6])
    gamma = 0.5 / (bandwidth * unit) ** 2
    kernel = rbf_kernel(soft, soft[:n_fitted], gamma) + inputs @ inputs[:n_fitted].T / inputs.shape[1]
    centre = KernelCenterer().fit(kernel[:n_fitted])
    return centre.transform(kernel[:n_fitted]), centre.transform(kernel[n_fitted:])


def test_regression_is_kernel_ridge_where_all_rows_are_landmarks(monkeypatch):
    inputs, targets, n_fitted = data(300, 3, 0)
    monkeypatch.setattr(regression, "_RIDGES", (1e-2,))
    monkeypatch.setattr(regression, "_LINEAR_RIDGES", (1e9,))
    monkeypatch.setattr(regression, "_BANDWIDTHS", (1.0,))
    train, test = summed_kernel(inputs, n_fitted, 1.0)
    expected = KernelRidge(alpha=1e-2, kernel="precomputed").fit(train, targets[:n_fitted]).predict(test)
    found = residuals([inputs[:, :1], inputs[:, 1:]], n_fitted, targets)
    np.testing.assert_allclose(found, targets[n_fitted:] - expected, atol=1e-5)


def test_regression_takes_the_ridge_that_cross_validation_prefers():
    inputs, targets, n_fitted = data(200, 4, 1)
    errors, predictions = [(targets[:n_fitted] ** 2).sum(axis=0) / (1 - 1.4 / n_fitted) ** 2], [0 * targets[n_fitted:]]
    linear = inputs @ inputs[:n_fitted].T
    cases = [(linear[:n_fitted], linear[n_fitted:], ridge * n_fitted) for ridge in regression._LINEAR_RIDGES]
    for bandwidth in regression._BANDWIDTHS:
        cases += [(*summed_kernel(inputs, n_fitted, bandwidth), ridge) for ridge in regression._RIDGES]
    for train, test, ridge in cases:
        inverse = np.linalg.inv(train + ridge * np.eye(n_fitted))
        freedom = (1 + np.trace(train @ inverse)) / n_fitted
        missed = targets[:n_fitted] - train @ inverse @ targets[:n_fitted]
        errors.append((missed**2).sum(axis=0) / (1 - 1.4 * freedom) ** 2 if freedom <= 0.5 else np.full(2, np.inf))
        predictions.append(test @ inverse @ targets[:n_fitted])
    chosen = np.argmin(errors, axis=0)
    assert chosen[0] > len(regression._LINEAR_RIDGES)  # the sine wants a kernel
    expected = np.stack([predictions[best][:, i] for i, best in enumerate(chosen)], axis=1)
    np.testing.assert_allclose(residuals([inputs], n_fitted, targets), targets[n_fitted:] - expected, atol=1e-4)


def test_regression_reads_the_cells_that_it_is_told_and_no_held_out_target():
    inputs, targets, n_fitted = data(300, 3, 2)
    parts = [inputs[:, i : i + 1] for i in range(3)]
    some = residuals(parts, n_fitted, targets, cells=np.array([1, 2]))
    parts[0] = parts[0] + 100 * np.random.default_rng(0).normal(size=parts[0].shape)
    np.testing.assert_array_equal(residuals(parts, n_fitted, targets, cells=np.array([1, 2])), some)
    assert some[:, 0].var() > 0.4  # the sine is of the first cell
    changed = targets.copy()
    changed[n_fitted:] += 7.0
    np.testing.assert_allclose(residuals(parts, n_fitted, changed, cells=np.array([1, 2])), some + 7.0)


def test_columns_keep_distances_and_sums_of_squares():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) * np.array([1, 10, 1, 0, 0.1, 3])
    columns = Columns.of(values, 120, is_category=False, is_cell=True)
    assert columns.n_parts == 2
    np.testing.assert_allclose(columns.parts @ columns.basis, values - values[:120].mean(axis=0), atol=1e-9)
    scaled = (values / np.where(values.std(axis=0) > 0, values.std(axis=0), 1))[:2]
    distance = np.linalg.norm(columns.parts[0] - columns.parts[1])
    assert distance == pytest.approx(np.linalg.norm(scaled[0] - scaled[1]))
    assert Columns.of(np.ones((100, 2)), 60, is_category=True).n_parts == 0


# ---------------------------------------------------------------------- linearised


@pytest.mark.parametrize("seed", range(2))
def test_linearised_is_exact_for_linear_models(seed):
    graph = [FOREST, overlapping_fields(5, dims=2, noise_dims=2)][seed]
    model = HierarchicalModel.init(seed, graph, LinearGaussian(snr=2.0))
    model = model.conditional_shift({graph.latents[0]: (0.5, 2.0), graph.observed[1]: (-1.0, 0.3)})
    exact, found = GaussianOracle(model), estimated_oracle(model, method="linearised")
    assert isinstance(found, LinearisedOracle)
    targets, visible = states(graph, 10, seed)
    pairs = [
        [oracle.latent_r2_batch(targets, visible=visible, part=part) for oracle in (exact, found)]
        for part in ("value", "noise")
    ]
    pairs.append([oracle.relative_loss_batch(targets, visible=visible) for oracle in (exact, found)])
    if graph.arrays.is_forest:
        assert isinstance(found.cut(1), LinearisedOracle)
        pairs.append([oracle.cut(1).relative_loss_batch(targets, visible=visible) for oracle in (exact, found)])
    for one, other in pairs:
        assert (one.how, other.how) == ("exact", "linearised")
        np.testing.assert_allclose(one.value, other.value, atol=1e-6)
    for oracle in (exact, found, found.cut(1) if graph.arrays.is_forest else found):
        ones = [
            oracle.latent_r2(targets[0]),
            oracle.bayes_loss(targets[0]),
            oracle.information(graph.latents[0], targets[0]),
        ]
        assert [one.how for one in ones] == ["exact" if oracle is exact else "linearised"] * 3
    np.testing.assert_allclose(exact.covariance(), found.covariance(), atol=1e-5)
    np.testing.assert_allclose(exact._observed_means, found._observed_means, atol=1e-5)


def test_linearised_is_the_limit_of_small_noise_and_not_the_truth_beyond():
    graph = LatentGraph.quadtree(1, root_dim=1, noise_dim=1)
    model = HierarchicalModel.init(0, graph, InvertibleMLP())
    small = model.conditional_shift(dict.fromkeys(graph.nodes, (0.0, 1e-3)))
    masks = np.array([[True, False, False, False], [True, True, True, False], [True, True, True, True]])
    visible = np.array([[False, True, True, True], [False, False, False, True], [False] * 4])
    answers = {}
    for name, each in (("small", small), ("model", model)):
        linear = estimated_oracle(each, method="linearised")
        drawn = estimated_oracle(each, rows=2000, key=1)
        answers[name] = [
            (one, other)
            for one, other in (
                (linear.latent_r2_batch(masks, visible=visible), drawn.latent_r2_batch(masks, visible=visible)),
                (linear.relative_loss_batch(masks, visible=visible), drawn.relative_loss_batch(masks, visible=visible)),
            )
        ]
    for one, other in answers["small"]:
        assert (np.nan_to_num(np.abs(one.value - other.value)) <= 5 * np.nan_to_num(other.error) + MISSED).all()
    one, other = answers["model"][1]
    # Scaling all noises changes no answer of the linear model.
    np.testing.assert_allclose(one.value, answers["small"][1][0].value, atol=1e-5)
    assert np.nanmax(np.abs(one.value - other.value)) > 0.05


def test_linearised_refuses_models_without_derivatives():
    graph = LatentGraph.tree(2, 2, root_dim=1, noise_dim=1)
    model = HierarchicalModel.init(0, graph, LinearGaussian(), noise=StudentT(df=1.5), standardize=False)
    with pytest.raises(ValueError, match="has no variance"):
        estimated_oracle(model, method="linearised")
    model = HierarchicalModel.init(0, graph, LinearGaussian()).intervene({graph.latents[1]: 1.0})
    with pytest.raises(ValueError, match="was set by an intervention"):
        estimated_oracle(model, method="linearised")
    with pytest.raises(
        ValueError, match=r"must have linearised_parameters\(\), got QuadtreeImages: give its own .model"
    ):
        estimated_oracle(QuadtreeImages.init(0, height=1), method="linearised")
    with pytest.raises(ValueError, match=r'got SceneImages: .* or use method="regression"'):
        estimated_oracle(SceneImages(size=16, patch=8, objects=(1, 1)), method="linearised")
    # Laplace noise has a variance, and derivatives.
    model = HierarchicalModel.init(0, graph, LinearGaussian(), noise=Laplace())
    assert estimated_oracle(model, method="linearised").latent_r2([graph.observed[0]])


# ---------------------------------------------------------------------- models of all kinds


@pytest.mark.parametrize("kind", ["quadtree images", "scenes", "grammar", "symbols"])
def test_estimated_oracle_reads_every_generator(kind):
    model = {
        "quadtree images": lambda: QuadtreeImages.init(0, height=1),
        "scenes": lambda: SceneImages(size=16, patch=8, objects=(1, 1)),
        "grammar": lambda: GrammarImages.init(
            0, n_symbols=4, n_classes=4, n_synonyms=2, n_levels=2, tuple_size=2, patch_pixels=2
        ),
        "symbols": symbol_tree,
    }[kind]()
    oracle = estimated_oracle(model, rows=600, key=0)
    masks = np.zeros((2, model.graph.n_observed), dtype=bool)
    masks[0, 0] = masks[1] = True
    r2, loss = oracle.latent_r2_batch(masks), oracle.relative_loss_batch(masks)
    assert r2.rows == loss.rows == 600
    assert (r2.value[0] > 0.2).any()
    np.testing.assert_array_equal(np.nan_to_num(r2.value[1]), 0)
    assert np.isfinite(loss.value[masks]).all()
    noise = oracle.latent_r2_batch(masks, part="noise").value
    assert np.isnan(noise).all() == (kind == "grammar")  # whose latents hold their noise
    if kind == "grammar":
        symbols = np.unique(oracle._draws.latents[model.graph.latents[1]][:, 0])
        assert oracle._values[1].basis.shape[1] == (len(symbols) if len(symbols) > 2 else 1) + 1  # and a synonym of two


def symbol_tree():
    graph = LatentGraph.from_edges([("r", "x1"), ("r", "x2")], dims=1)
    rules = ProductionRules(inputs=4, vocabulary=3, children=2)
    mechanisms = {"x1": rules, "x2": dataclasses.replace(rules, position=1)}
    return HierarchicalModel.init(0, graph, mechanisms, noise={"r": Categorical(probabilities=(0.1, 0.2, 0.3, 0.4))})


class Pictures:
    """An own model: each patch of an image shows one latent, and what is no patch of it nothing."""

    graph = LatentGraph.from_edges(
        [(f"z{i}", f"x{j}") for i in range(6) for j in range(6) if i == j or (i == 0 and j == 1)], dims=1, grid=(2, 3)
    )

    def sample(self, key, n):
        rng = np.random.default_rng(int(jax.random.key_data(key)[-1]))
        latents = {f"z{i}": rng.normal(size=(n, 1)) for i in range(6)}
        images = np.zeros((n, 4, 9, 1))
        for i in range(6):
            row, column = divmod(i, 3)
            images[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3, 0] = latents[f"z{i}"][:, :, None]
        return types.SimpleNamespace(images=images, latents=latents)


def test_patches_are_the_cells_of_the_grid_row_by_row():
    oracle = estimated_oracle(Pictures(), rows=200, key=3)
    r2 = oracle.latent_r2_batch(np.eye(6, dtype=bool)).value
    np.testing.assert_allclose(r2, 1 - np.eye(6), atol=0.05)
    assert np.isnan(oracle.latent_r2(part="noise")["z0"])
    drawn = Pictures().sample(jax.random.key(3), 200)
    same = EstimatedOracle.from_arrays(Pictures.graph, observed=drawn.images, latents={"z2": drawn.latents["z2"][:, 0]})
    again = same.latent_r2(["x2"])
    assert again["z2"] == r2[2, 2]
    assert np.isnan(again["z1"])


def test_noise_of_a_latent_that_became_a_root_is_its_value():
    given = parameters(FOREST, 0)
    oracle = oracle_of(FOREST, *gaussian_draws(FOREST, given, 200, 0)).cut(1)
    masks = np.eye(FOREST.n_observed, dtype=bool)
    value, noise = (oracle.latent_r2_batch(masks, part=part).value for part in ("value", "noise"))
    heights = np.asarray(FOREST.heights)[: FOREST.n_latents]
    np.testing.assert_array_equal(value[:, heights == 1], noise[:, heights == 1])
    assert np.abs(value[:, heights == 1]).max() > 0.3


def test_bayes_loss_has_the_columns_of_the_masked_cells_in_order():
    graph = UNEVEN
    given = parameters(graph, 1)
    oracle = oracle_of(graph, *gaussian_draws(graph, given, 2000, 0))
    exact = GaussianOracle.from_parameters(graph, **given)
    for one, other in ((oracle, exact), (oracle.cut(1), exact.cut(1))):
        found, known = one.bayes_loss(["x3", "x2"]), other.bayes_loss(["x3", "x2"])
        assert found.mse.shape == known.mse.shape == (5,)
        assert (np.abs(found.mse - known.mse) <= 5 * found.mse_error + MISSED * known.variance).all()
        np.testing.assert_allclose(found.variance, known.variance, rtol=0.2)
        assert (found.how, found.rows) == ("estimated", 2000)
    both = oracle.relative_loss_batch(np.isin(graph.observed, ["x3", "x2"])[None]).value
    assert found.relative == pytest.approx(1, abs=0.5)
    assert oracle.bayes_loss(["x2"], visible=["x1", "x4"]).relative == pytest.approx(
        oracle.relative_loss_batch(
            np.isin(graph.observed, ["x2"])[None], visible=np.isin(graph.observed, ["x1", "x4"])
        ).value[0, 1],
        abs=0.01,
    )
    assert np.isnan(both[0, [0, 3]]).all()


# ---------------------------------------------------------------------- bad input


def test_bad_input_is_refused():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    model = HierarchicalModel.init(0, graph, LinearGaussian())
    for given, message in (
        ({"method": "guess", "key": 0}, 'method must be "regression" or "linearised"'),
        ({}, "key is needed"),
        ({"key": "nine"}, "key must be a typed JAX key"),
        ({"key": 0, "rows": 49}, "rows must be a whole number of at least 50"),
    ):
        with pytest.raises(ValueError, match=message):
            estimated_oracle(model, **given)
    with pytest.raises(ValueError, match=r"a method sample\(key, n\), got function: call it with a key first"):
        estimated_oracle(lambda key: model, key=0)
    with pytest.raises(ValueError, match=r"got LatentGraph: use EstimatedOracle\.from_arrays"):
        estimated_oracle(graph, key=0)
    for drawn, message in (
        ({}, "without latents"),
        ({"latents": {"z": np.zeros((50, 1))}}, "without observed or images"),
    ):
        own = types.SimpleNamespace(graph=graph, sample=lambda key, n, drawn=drawn: types.SimpleNamespace(**drawn))
        with pytest.raises(ValueError, match=message):
            estimated_oracle(own, key=0, rows=50)
    oracle = estimated_oracle(model, rows=50, key=0)
    with pytest.raises(ValueError, match='part must be "value" or "noise"'):
        oracle.latent_r2(part="mean")
    with pytest.raises(ValueError, match="nothing is masked"):
        oracle.bayes_loss([])


def test_bad_arrays_are_refused():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    x, z = np.zeros((60, 2)), {"z": np.zeros((60, 1))}
    holes = np.zeros((60, 1))
    holes[3] = np.nan
    for observed, latents, more, message in (
        (x[:, :1], z, {}, r"observed must map names to arrays, or have shape \(n, 2\)"),
        ({"x1": x[:, :1]}, z, {}, "observed lacks 'x2'"),
        ({"x1": x[:, :1], "x2": x[:, 1:], "x3": x}, z, {}, "observed holds 'x3'"),
        (x, {"z": x[:30]}, {}, r"latents\['z'\] must have shape \(60, dim\)"),
        (x, {"z": holes}, {}, "not finite"),
        (x, {"y": x}, {}, "latents holds 'y'"),
        (x, {}, {}, "latents is empty"),
        (x, z, {"noise": {"w": x}}, "noise holds 'w'"),
        (x, z, {"categories": ["x1"]}, "categories names 'x1'"),
        (x[:20], {"z": x[:20]}, {}, "at least 50 draws, got 20"),
        (np.zeros((60, 4, 4, 1)), z, {}, "graph has no grid"),
    ):
        with pytest.raises(ValueError, match=message):
            EstimatedOracle.from_arrays(graph, observed=observed, latents=latents, **more)
    with pytest.raises(ValueError, match=r"images of shape \(60, 5, 9, 1\) are not filled by 2 x 3 patches"):
        EstimatedOracle.from_arrays(Pictures.graph, observed=np.zeros((60, 5, 9, 1)), latents={"z0": x})
    with pytest.raises(ValueError, match="graph must be a LatentGraph"):
        EstimatedOracle.from_arrays("graph", observed=x, latents=z)
    constant = EstimatedOracle.from_arrays(graph, observed=x, latents=z)
    assert np.isnan(constant.latent_r2(["x1"])["z"])
    assert constant.relative_loss_batch(np.array([[True, False]])).value[0, 0] == 0
