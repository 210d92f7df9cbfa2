"""Log densities against closed forms and numerical integration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hlvm.graph import LatentGraph
from hlvm.mechanisms import (
    AdditiveNoiseMLP,
    Bernoulli,
    Heteroscedastic,
    InvertibleMLP,
    Laplace,
    LinearGaussian,
    PostNonlinear,
    mechanism_from_function,
)
from hlvm.simulator import HierarchicalModel

KEY_MODEL, KEY_DATA = jax.random.split(jax.random.key(7))
FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}

LINEAR_GRAPH = LatentGraph.from_edges(
    [("a", "m"), ("b", "m"), ("m", "x"), ("b", "x"), ("m", "y")], dims={"a": 2, "b": 1, "m": 2, "x": 2, "y": 1}
)


@pytest.fixture(scope="module")
def linear():
    return HierarchicalModel.init(KEY_MODEL, LINEAR_GRAPH, LinearGaussian())


def normal_law(model):
    """Mean and covariance of all variables side by side in the graph's order."""
    parameters, graph = model.linear_gaussian_parameters(), model.graph
    starts = dict(zip(graph.nodes, itertools.accumulate((0, *graph.dims)), strict=False))
    rows = {name: slice(starts[name], starts[name] + graph.dim(name)) for name in graph.nodes}
    total = sum(graph.dims)
    above, offset = np.zeros((total, total)), np.zeros(total)
    scales = np.concatenate([parameters["noise_scales"][name] for name in graph.nodes])
    for name in graph.nodes:
        offset[rows[name]] = parameters["offsets"][name]
        columns = [column for parent in graph.parents(name) for column in range(rows[parent].start, rows[parent].stop)]
        if columns:
            above[rows[name], columns] = parameters["coefficients"][name]
    solve = np.linalg.inv(np.eye(total) - above)
    return solve @ offset, solve @ np.diag(scales**2) @ solve.T


def joined(sample, model):
    return np.concatenate([np.asarray(sample.variables[name], dtype=np.float64) for name in model.graph.nodes], axis=1)


@pytest.mark.parametrize("shifted", [False, True])
def test_log_prob_of_a_linear_model_is_that_of_a_normal_law(linear, shifted):
    model = linear.conditional_shift({"m": (0.5, 2.0), "a": (1.0, [0.5, 3.0])}) if shifted else linear
    drawn = model.sample(KEY_DATA, 50)
    expected = stats.multivariate_normal(*normal_law(model)).logpdf(joined(drawn, model))
    np.testing.assert_allclose(model.log_prob(drawn), expected, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(model.log_prob(dict(drawn.variables)), expected, rtol=1e-4, atol=2e-3)


def test_log_prob_of_set_variables_is_that_of_the_others_given_them(linear):
    """The truncated factorisation: all factors but those of the variables that were set."""
    changed = linear.intervene({"m": 0.5})
    drawn = changed.sample(KEY_DATA, 20)
    parameters = linear.linear_gaussian_parameters()
    mean = {
        name: parameters["offsets"][name]
        + (
            np.concatenate([drawn.variables[p] for p in linear.graph.parents(name)], axis=1)
            @ parameters["coefficients"][name].T
            if name in parameters["coefficients"]
            else 0.0
        )
        for name in linear.graph.nodes
    }
    expected = sum(
        stats.norm(mean[name], parameters["noise_scales"][name]).logpdf(drawn.variables[name]).sum(axis=1)
        for name in linear.graph.nodes
        if name != "m"
    )
    np.testing.assert_allclose(changed.log_prob(drawn), expected, **FLOAT32)


def test_log_prob_of_set_variables_inside_jit_equals_outside(linear):
    drawn = linear.sample(KEY_DATA, 20)
    inside = jax.jit(lambda value, sample: linear.intervene({"m": value}).log_prob(sample))(0.5, drawn)
    np.testing.assert_allclose(inside, linear.intervene({"m": 0.5}).log_prob(drawn), rtol=1e-5)


def test_log_prob_exists_when_the_variables_without_a_density_were_set():
    graph = LatentGraph.from_edges(
        [("z", "m"), ("m", "x"), ("m", "y")], dims=1, noise_dims={"z": 1, "m": 0, "x": 1, "y": 1}
    )
    model = HierarchicalModel.init(
        KEY_MODEL, graph, {"m": InvertibleMLP(), "x": LinearGaussian(), "y": LinearGaussian()}, standardize=False
    )
    changed = model.intervene({"m": 0.0})
    drawn = changed.sample(KEY_DATA, 20)
    expected = stats.norm.logpdf(drawn.latents["z"]) + sum(
        stats.norm(scale=0.2**0.5).logpdf(drawn.observed[name]) for name in ("x", "y")
    )
    np.testing.assert_allclose(changed.log_prob(drawn), expected[:, 0], **FLOAT32)
    with pytest.raises(ValueError, match="no joint density: 'm' holds 1 numbers"):
        model.log_prob(drawn)


def grid_integral(model, names, reach, points=241):
    """Integral of the density over a grid of all variables, each of one number."""
    axis = reach * np.linspace(-1, 1, points) ** 3  # finer in the middle
    weight = np.gradient(axis)
    every = np.meshgrid(*[axis] * len(names), indexing="ij")
    weights = np.prod(np.meshgrid(*[weight] * len(names), indexing="ij"), axis=0)
    values = {name: jnp.asarray(grid.reshape(-1, 1), jnp.float32) for name, grid in zip(names, every, strict=True)}
    return float((np.exp(np.asarray(model.log_prob(values), dtype=np.float64)) * weights.ravel()).sum())


@pytest.mark.parametrize("mechanism", [PostNonlinear(), Heteroscedastic()], ids=lambda m: type(m).__name__)
def test_log_prob_integrates_to_one_over_all_variables(mechanism):
    graph = LatentGraph.from_edges([("z", "x")], dims=1)
    model = HierarchicalModel.init(KEY_MODEL, graph, mechanism, noise={"x": Laplace()})
    assert grid_integral(model, ("z", "x"), 12.0, 601) == pytest.approx(1.0, abs=5e-3)


def test_log_prob_of_a_discrete_root_is_a_mixture(linear):
    graph = LatentGraph.from_edges([("z", "x")], dims=1)
    model = HierarchicalModel.init(KEY_MODEL, graph, AdditiveNoiseMLP(), noise={"z": Bernoulli(p=0.2)})
    x = np.linspace(-15, 15, 3001)
    for z, chance in ((0.0, 0.8), (1.0, 0.2), (0.5, 0.0)):
        density = np.exp(model.log_prob({"z": np.full((len(x), 1), z, np.float32), "x": x[:, None].astype(np.float32)}))
        assert np.trapezoid(density, x) == pytest.approx(chance, abs=1e-3)


MERGING = LatentGraph.from_edges([("a", "m"), ("m", "x"), ("b", "x")], noise_dims={"a": 1, "b": 1, "m": 0, "x": 0})
"""Every latent has one child."""


@pytest.fixture(scope="module")
def merging():
    return HierarchicalModel.init(
        KEY_MODEL, MERGING, InvertibleMLP(activation="smooth", layers=2), noise={"b": Laplace()}
    )


@pytest.mark.slow
def test_log_prob_of_merging_bijections_is_the_density_of_the_observed(merging):
    drawn = merging.sample(KEY_DATA, 30)
    assert grid_integral_of_pairs(merging) == pytest.approx(1.0, abs=5e-3)
    found = merging.log_prob(drawn)
    np.testing.assert_allclose(merging.log_prob(dict(drawn.observed)), found, rtol=1e-6)

    # Change of variables by hand: the derivative of the observed values by the roots, by differences in float64.
    def observed(roots):
        return merging_by_hand(merging, roots)

    roots = np.concatenate([drawn.latents["a"], drawn.latents["b"]], axis=1).astype(np.float64)
    np.testing.assert_allclose(observed(roots), drawn.observed["x"], **FLOAT32)
    step = 1e-5
    columns = [(observed(roots + step * unit) - observed(roots - step * unit)) / (2 * step) for unit in np.eye(2)]
    log_dets = np.linalg.slogdet(np.stack(columns, axis=-1))[1]
    expected = stats.norm.logpdf(roots[:, 0]) + stats.laplace(scale=np.sqrt(0.5)).logpdf(roots[:, 1]) - log_dets
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)


def merging_by_hand(model, roots):
    """Observed values of the merging model from its two roots, float64 (n, 2)."""
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == jnp.float32 else leaf, model)
        values = {"a": jnp.asarray(roots[:, :1]), "b": jnp.asarray(roots[:, 1:])}
        for name in ("m", "x"):
            place = model.layout.value_slices[name]
            group = next(g for g in model.layout.groups if g.values == place)
            params = jax.tree.map(lambda leaf: leaf[0], exact.params[model.layout.groups.index(group)])
            parents = jnp.concatenate([values[p] for p in model.graph.parents(name)], axis=1)
            mechanism = group.mechanism
            raw = jax.vmap(lambda row, m=mechanism, p=params: m.apply(p, row, jnp.zeros(0)))(parents)
            values[name] = (raw - exact.shift[place]) / exact.scale[place]
        return np.asarray(values["x"])


def grid_integral_of_pairs(model):
    """Integral of the density of the observed variable of two numbers."""
    axis = np.linspace(-9, 9, 361)
    first, second = np.meshgrid(axis, axis, indexing="ij")
    values = {"x": jnp.asarray(np.stack([first.ravel(), second.ravel()], axis=1), jnp.float32)}
    return float(np.exp(np.asarray(model.log_prob(values), dtype=np.float64)).sum() * (axis[1] - axis[0]) ** 2)


def test_noise_log_prob_sums_over_the_laws(merging):
    drawn = merging.sample(KEY_DATA, 30)
    expected = stats.norm.logpdf(drawn.noise["a"]) + stats.laplace(scale=np.sqrt(0.5)).logpdf(drawn.noise["b"])
    np.testing.assert_allclose(merging.noise_log_prob(drawn), expected[:, 0], rtol=1e-5)


def test_log_prob_inside_jit_equals_outside(linear):
    drawn = linear.sample(KEY_DATA, 20)
    inside = jax.jit(lambda model, sample: model.log_prob(sample))(linear, drawn)
    np.testing.assert_allclose(inside, linear.log_prob(drawn), rtol=1e-5)


def test_log_prob_refuses_models_whose_values_lie_on_a_surface():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")])
    model = HierarchicalModel.init(KEY_MODEL, graph, InvertibleMLP())
    message = "'x' holds 2 numbers, but InvertibleMLP makes them from its parents and 1 noise .* noise_log_prob"
    with pytest.raises(ValueError, match=message):
        model.log_prob(model.sample(KEY_DATA, 3))


@pytest.mark.parametrize(
    ("mechanism", "noise", "message"),
    [
        (AdditiveNoiseMLP(noise_scale=0.0), None, "'x' has the mechanism AdditiveNoiseMLP.* no known density"),
        (mechanism_from_function(lambda parents, noise: parents + noise), None, "'x' has the mechanism Function"),
        (LinearGaussian(), Bernoulli(), "'x' mixes real-valued parents with the discrete noise Bernoulli"),
    ],
    ids=["no noise", "function", "discrete noise"],
)
def test_log_prob_refuses_variables_without_a_density(mechanism, noise, message):
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    model = HierarchicalModel.init(KEY_MODEL, graph, mechanism, noise=None if noise is None else {"x": noise})
    with pytest.raises(ValueError, match=message):
        model.log_prob({})


def test_log_prob_refuses_other_input(linear, merging):
    with pytest.raises(ValueError, match="no values for variable 'b'"):
        linear.log_prob({"a": np.zeros((2, 2))})
    with pytest.raises(ValueError, match=r"'x' must have shape \(n, 2\), got \(2, 3\)"):
        merging.log_prob({"x": np.zeros((2, 3))})
    with pytest.raises(ValueError, match="another graph or with other mechanisms"):
        linear.log_prob(merging.sample(KEY_DATA, 2))
    with pytest.raises(ValueError, match="another graph or with other mechanisms"):
        linear.noise_log_prob(merging.sample(KEY_DATA, 2))
    with pytest.raises(ValueError, match="'m' was set by a function, whose density is unknown"):
        linear.intervene({"m": lambda parents, noise: noise}).log_prob({})
