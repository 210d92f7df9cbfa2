"""The batched simulator against a plain loop over variables and closed-form moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jaxtyping import TypeCheckError
from plain_simulator import DIAMOND, FLOAT32, KEY_DATA, KEY_MODEL, MIXED, own_parameters, plain_values

from hlvm._keys import checked_key
from hlvm.graph import LatentGraph
from hlvm.mechanisms import (
    Bernoulli,
    Gaussian,
    InvertibleMLP,
    LinearGaussian,
    Polar,
    Uniform,
    mechanism_from_function,
)
from hlvm.simulator import HierarchicalModel, forward
from hlvm.simulator.layout import mechanism_per_node


@pytest.fixture(scope="module")
def mixed():
    return HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED)


@pytest.fixture(scope="module")
def quadtree():
    return HierarchicalModel.init(KEY_MODEL, LatentGraph.quadtree(2), InvertibleMLP())


def test_operations_on_models_take_nothing_else(mixed):
    noises = mixed.sample(KEY_DATA, 3).noises.T
    assert forward.propagate(mixed, noises).shape == (mixed.layout.n_values, 3)
    with pytest.raises(TypeCheckError, match="'model'"):
        forward.propagate(mixed.layout, noises)


# ---------------------------------------------------------------------- against a loop over variables


def test_sample_equals_a_loop_over_variables_with_mixed_mechanisms(mixed):
    drawn = mixed.sample(KEY_DATA, 50)
    expected = plain_values(mixed, drawn.noise)
    for name in DIAMOND.nodes:
        np.testing.assert_allclose(drawn.variables[name], expected[name], err_msg=name, **FLOAT32)


def test_sample_equals_a_loop_over_variables_on_a_quadtree(quadtree):
    drawn = quadtree.sample(KEY_DATA, 20)
    expected = plain_values(quadtree, drawn.noise)
    for name in quadtree.graph.nodes:
        np.testing.assert_allclose(drawn.variables[name], expected[name], err_msg=name, **FLOAT32)


def test_sample_in_blocks_equals_a_loop_over_variables(mixed):
    """Three blocks of 367 samples, the last of which overlaps the second by one."""
    drawn = mixed.sample(KEY_DATA, 1100)
    expected = plain_values(mixed, drawn.noise)
    for name in DIAMOND.nodes:
        np.testing.assert_allclose(drawn.variables[name], expected[name], err_msg=name, **FLOAT32)
    rows = np.linspace(-1, 1, 1100)[:, None] * np.ones(4, np.float32)
    do = {"m": rows, "a": lambda parents, noise: rows[:, :2] + 0 * noise}  # both see all samples at once
    found = mixed.intervene(do).sample(KEY_DATA, 1100)
    np.testing.assert_array_equal(found.noises, drawn.noises)
    for name, values in plain_values(mixed, found.noise, do).items():
        np.testing.assert_allclose(found.variables[name], values, err_msg=name, **FLOAT32)


def test_sample_gives_siblings_parameters_of_their_own(quadtree):
    first, second = (own_parameters(quadtree, name)[0]["weights"] for name in ("x_0_0", "x_0_1"))
    assert np.abs(first - second).max() > 0.1


# ---------------------------------------------------------------------- moments


def linear_covariance(model):
    """Mean and covariance of a linear-Gaussian model, from its own matrices, shifts and scales."""
    graph = model.graph
    places = model.layout.value_slices
    total = len(model.shift)
    # values = offset + weights @ noises, filled in variable by variable.
    weights, offset, used = np.zeros((total, total)), np.zeros(total), 0
    for name in graph.nodes:
        params, shift, scale = own_parameters(model, name)
        rows = places[name]
        size = rows.stop - rows.start
        own = slice(used, used + size)
        used += size
        if graph.parents(name):
            above = np.concatenate([np.arange(places[p].start, places[p].stop) for p in graph.parents(name)])
            weights[rows] = params["matrix"] @ weights[above] / scale[:, None]
            offset[rows] = (params["matrix"] @ offset[above] - shift) / scale
            weights[rows, own] = np.diag(params["scale"] / scale)
        else:
            weights[rows, own] = np.diag(1 / scale)
            offset[rows] = -shift / scale
    return offset, weights @ weights.T


@functools.cache
def linear_model(standardize):
    graph = LatentGraph.from_edges([("a", "m"), ("b", "m"), ("m", "x"), ("b", "x"), ("m", "y")], dims=2)
    return HierarchicalModel.init(KEY_MODEL, graph, LinearGaussian(snr=3.0), standardize=standardize)


@pytest.mark.parametrize("standardize", [True, False])
def test_sample_of_linear_gaussian_has_the_closed_form_moments(standardize):
    n = 100_000
    model = linear_model(standardize)
    values = np.asarray(model.sample(KEY_DATA, n).values, dtype=np.float64)
    mean, covariance = linear_covariance(model)
    deviations = np.sqrt(np.diag(covariance))
    # Six standard errors of a mean and of a covariance of jointly normal variables.
    mean_error = 6 * deviations / np.sqrt(n)
    covariance_error = 6 * np.sqrt((np.outer(deviations, deviations) ** 2 + covariance**2) / n)
    assert (np.abs(values.mean(axis=0) - mean) < mean_error).all()
    assert (np.abs(np.cov(values, rowvar=False) - covariance) < covariance_error).all()


@pytest.mark.slow
def test_init_standardizes_deep_variables():
    graph = LatentGraph.tree(2, 6)
    model = HierarchicalModel.init(KEY_MODEL, graph, InvertibleMLP())
    values = np.asarray(model.sample(KEY_DATA, 20_000).values)
    # The constants come from 4,096 draws: their own standard error is about 0.016 for a mean, 0.02 for a variance.
    assert np.abs(values.mean(axis=0)).max() < 0.1
    assert np.abs(values.var(axis=0) - 1).max() < 0.15


def test_init_without_standardizing_draws_the_same_parameters():
    models = [linear_model(standardize) for standardize in (False, True)]
    assert (models[0].shift == 0).all()
    assert (models[0].scale == 1).all()
    for plain, standardized in zip(*(jax.tree.leaves(model.params) for model in models), strict=True):
        np.testing.assert_array_equal(plain, standardized)


# ---------------------------------------------------------------------- what a sample is


def test_sample_noise_of_a_root_is_the_root(mixed):
    drawn = mixed.sample(KEY_DATA, 30)
    for name in ("a", "b"):
        np.testing.assert_array_equal(drawn.noise[name], drawn.latents[name])


def test_sample_shapes_and_names(mixed):
    drawn = mixed.sample(KEY_DATA, 30)
    assert tuple(drawn.latents) == DIAMOND.latents
    assert tuple(drawn.observed) == DIAMOND.observed
    assert tuple(drawn.variables) == tuple(drawn.noise) == DIAMOND.nodes
    assert {name: v.shape for name, v in drawn.variables.items()} == {n: (30, DIAMOND.dim(n)) for n in DIAMOND.nodes}
    # Mechanisms that are not invertible take one noise number per dim instead of the graph's noise dims.
    assert {name: v.shape[1] for name, v in drawn.noise.items()} == {"a": 2, "b": 1, "m": 1, "x": 7, "y": 4, "z": 1}
    assert drawn.observed_matrix.shape == (30, sum(DIAMOND.dim(name) for name in DIAMOND.observed))
    np.testing.assert_array_equal(drawn.observed_matrix, jnp.concatenate(list(drawn.observed.values()), axis=1))


def test_sample_mappings_hold_their_own_names_only(mixed):
    drawn = mixed.sample(KEY_DATA, 3)
    assert len(drawn.latents) == 3
    assert "x" not in drawn.latents
    with pytest.raises(KeyError, match="x"):
        drawn.latents["x"]
    with pytest.raises(KeyError, match="nobody"):
        drawn.variables["nobody"]


def test_sample_depends_on_the_key_only(mixed):
    first, again = mixed.sample(KEY_DATA, 10), mixed.sample(KEY_DATA, 10)
    np.testing.assert_array_equal(first.values, again.values)
    other = mixed.sample(KEY_MODEL, 10)
    assert not np.array_equal(first.values, other.values)


def test_sample_inside_jit_equals_outside(mixed):
    inside = jax.jit(lambda model, key: model.sample(key, 10).observed["x"])(mixed, KEY_DATA)
    np.testing.assert_allclose(inside, mixed.sample(KEY_DATA, 10).observed["x"], rtol=1e-5, atol=1e-5)


def test_invertible_says_whether_every_mechanism_is(mixed, quadtree):
    assert quadtree.invertible
    assert not mixed.invertible


# ---------------------------------------------------------------------- the traced program


def count_equations(jaxpr):
    """Equations of a program and of the programs it calls."""
    inner = [sub for equation in jaxpr.eqns for sub in jaxprs_in_params(equation.params)]
    return len(jaxpr.eqns) + sum(map(count_equations, inner))


def size_of_program(graph):
    """Traced only, never compiled."""

    def program(key):
        return HierarchicalModel.init(key, graph, InvertibleMLP()).sample(key, 4).values

    return count_equations(jax.make_jaxpr(program)(KEY_MODEL).jaxpr)


def test_program_does_not_grow_with_the_variables_of_a_level():
    assert size_of_program(LatentGraph.tree(2, 2)) == size_of_program(LatentGraph.tree(7, 2))
    assert size_of_program(LatentGraph.tree(4, 3)) == size_of_program(LatentGraph.quadtree(3))
    assert size_of_program(LatentGraph.tree(2, 2)) < size_of_program(LatentGraph.tree(2, 3))


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("n", [0, -1])
def test_sample_refuses_no_samples(mixed, n):
    with pytest.raises(ValueError, match=f"at least 1, got n={n}"):
        mixed.sample(KEY_DATA, n)


def test_init_and_sample_refuse_what_is_no_key(mixed):
    for key in (-1, None, jax.random.split(KEY_DATA), np.zeros(3, np.uint32)):
        with pytest.raises(ValueError, match="key must be a "):
            checked_key(key)
    with pytest.raises(ValueError, match="key must be a typed JAX key"):
        mixed.sample("0", 3)


def test_init_refuses_values_that_are_not_finite_and_names_the_variable():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    root_of = mechanism_from_function(lambda parents, noise: jnp.sqrt(parents) + noise)
    with pytest.raises(ValueError, match="variable 'y': FunctionMechanism gives values that are not finite"):
        HierarchicalModel.init(KEY_MODEL, graph, {"x": LinearGaussian(), "y": root_of})


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ({"m": InvertibleMLP()}, "no mechanism for variable 'x'"),
        ({**MIXED, "q": InvertibleMLP()}, "'q' is not a variable of this graph"),
        ({**MIXED, "a": InvertibleMLP()}, "'a' is a root"),
    ],
)
def test_init_refuses_mechanisms_that_do_not_fit_the_graph(mechanism, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalModel.init(KEY_MODEL, DIAMOND, mechanism)


def test_mechanism_per_node_refuses_what_is_no_mechanism():
    with pytest.raises(ValueError, match=r"unknown mechanism for variable 'z': expected one of .* got 'InvertibleMLP'"):
        mechanism_per_node(DIAMOND, {**MIXED, "z": "InvertibleMLP"})
    with pytest.raises(ValueError, match="mechanism must be a Mechanism such as InvertibleMLP"):
        mechanism_per_node(DIAMOND, "InvertibleMLP")


def test_init_refuses_dims_that_do_not_fit_and_names_the_variable():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims={"z": 2, "x": 3, "y": 5})
    with pytest.raises(ValueError, match=r"variable 'y': an invertible mechanism needs dim .* 2 \+ 1.*dim 5"):
        HierarchicalModel.init(KEY_MODEL, graph, InvertibleMLP())


@pytest.mark.parametrize(
    ("edges", "observed", "message"),
    [
        ([("a", "b"), ("b", "a"), ("b", "x")], None, "contain a cycle: .*a.*b"),
        ([("z", "x"), ("x", "y")], ["x", "y"], "observed variable 'x' has the child 'y': observed variables are sinks"),
    ],
)
def test_graphs_refuse_what_no_model_can_be_made_of(edges, observed, message):
    with pytest.raises(ValueError, match=message):
        LatentGraph.from_edges(edges, observed=observed)


def test_mechanisms_with_values_of_another_shape_are_refused_with_their_variable():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims={"z": 2, "x": 2, "y": 3})
    copying = mechanism_from_function(lambda parents, noise: parents)
    with pytest.raises(ValueError, match=r"variable 'y': its mechanism must return shape \(3,\) .*, got \(2,\)"):
        HierarchicalModel.init(KEY_MODEL, graph, copying)


def test_polar_needs_the_noise_it_is_made_for():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")])
    with pytest.raises(
        ValueError, match=r"variable 'x': Polar is made for Gaussian\(\).*use Polar\(noise=Uniform\(\)\)"
    ):
        HierarchicalModel.init(KEY_MODEL, graph, Polar(), noise=Uniform())
    model = HierarchicalModel.init(KEY_MODEL, graph, Polar(noise=Uniform()), noise={"z": Bernoulli()})
    assert model.layout.noises == (Bernoulli(), Uniform(), Uniform())
    assert Gaussian() not in model.layout.noises


def test_models_and_samples_have_short_representations_and_compare_by_identity():
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), InvertibleMLP())
    assert len(repr(model)) < 200
    assert "InvertibleMLP" in repr(model)
    assert len(repr(model.sample(jax.random.key(1), 50))) < 200
    assert model == model
    assert model != HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), InvertibleMLP())
