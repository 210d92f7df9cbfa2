"""From observed values back to latents and noises."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlvm.graph import LatentGraph
from hlvm.mechanisms import Coupling, InvertibleMLP, Laplace, LinearGaussian, Polar, StudentT, mechanism_from_function
from hlvm.simulator import HierarchicalModel
from hlvm.simulator.forward import propagate

KEY_MODEL, KEY_DATA = jax.random.split(jax.random.key(7))
N = 64
ROUND_TRIP = 1e-5
"""Sampling in float32 rounds at every step, by a few 1e-6 in all at height 6, and the inverse magnifies that by its
derivative. The inversion itself adds nothing; see the tests on exact values."""

MIXED_GRAPH = LatentGraph.from_edges(
    [("a", "m"), ("b", "m"), ("m", "x"), ("b", "x"), ("m", "y"), ("a", "z"), ("b", "z"), ("b", "w")],
    noise_dims={"a": 2, "b": 1, "m": 1, "x": 2, "y": 0, "z": 1, "w": 1},
)
"""Latents with several parents, of different dims, whose children differ in what they tell."""


DIMS = {name: MIXED_GRAPH.dim(name) for name in MIXED_GRAPH.observed}


def shear(parents, noise):
    return jnp.concatenate([parents, jnp.sinh(noise) + parents.sum()])


def unshear(value):
    return jnp.concatenate([value[:3], jnp.arcsinh(value[3:] - value[:3].sum())])


@pytest.fixture(scope="module")
def tree():
    return HierarchicalModel.init(KEY_MODEL, LatentGraph.tree(2, 6), InvertibleMLP(activation="smooth"))


@pytest.fixture(scope="module")
def mixed():
    mechanisms = {
        "m": InvertibleMLP(activation="smooth"),
        "x": Coupling(),
        "y": InvertibleMLP(weights="bounded"),
        "z": mechanism_from_function(shear, unshear),
        "w": Polar(noise=Laplace()),
    }
    return HierarchicalModel.init(KEY_MODEL, MIXED_GRAPH, mechanisms, noise={"a": StudentT(df=5.0), "w": Laplace()})


def largest(found, expected):
    return max(float(np.abs(found[name] - expected[name]).max(initial=0)) for name in expected)


@pytest.mark.slow
def test_invert_gives_back_latents_at_height_6(tree):
    drawn = tree.sample(KEY_DATA, N)
    found = tree.invert(drawn.observed)
    assert tree.graph.height(tree.graph.nodes[0]) == 6
    assert largest(found.latents, drawn.latents) < ROUND_TRIP
    assert largest(found.noise, drawn.noise) < ROUND_TRIP
    np.testing.assert_array_equal(found.observed_matrix, drawn.observed_matrix)
    assert found.values.dtype == found.noises.dtype == jnp.float32
    again = jax.jit(propagate)(tree, found.noises.T).T[:, tree.layout.observed_rows]
    np.testing.assert_allclose(again, drawn.observed_matrix, rtol=ROUND_TRIP, atol=ROUND_TRIP)


def exact_observed(model, sample):
    """Observed values that the noises of a sample give in float64."""
    with jax.enable_x64(True):
        exact = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64) if leaf.dtype == jnp.float32 else leaf,
            jax.tree.map(np.asarray, model),
        )
        values = np.asarray(jax.jit(propagate)(exact, jnp.asarray(np.asarray(sample.noises.T), jnp.float64)))
    return values.T[:, model.layout.observed_rows]


@pytest.mark.slow
def test_invert_adds_no_error_of_its_own(tree):
    """Exact values give exact noises, to the last bit of float32."""
    drawn = tree.sample(KEY_DATA, N)
    np.testing.assert_array_equal(tree.invert(exact_observed(tree, drawn)).noises, drawn.noises)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_error_of_inversion_is_the_rounding_of_sampling_times_the_derivative_of_the_inverse(seed):
    """With steep leaky ReLUs, the default: not 1e-5 at every seed, and a tenth of the rounding gives a tenth of the
    error, so no kink is at fault. With less steep ones the derivative is smaller and the error below 1e-5."""
    steep, gentle = (
        HierarchicalModel.init(jax.random.key(seed), LatentGraph.tree(2, 6), InvertibleMLP(slope=slope))
        for slope in (0.2, 0.3)
    )
    drawn = gentle.sample(KEY_DATA, N)
    assert np.abs(np.asarray(gentle.invert(drawn).noises - drawn.noises)).max() < ROUND_TRIP
    drawn = steep.sample(KEY_DATA, N)
    exact, rounded = exact_observed(steep, drawn), np.asarray(drawn.observed_matrix, dtype=np.float64)
    error, ten_times = (
        np.asarray(steep.invert(exact + size * (rounded - exact)).noises - drawn.noises) for size in (1, 10)
    )
    assert np.abs(error).max() < 1e-4
    np.testing.assert_allclose(ten_times, 10 * error, atol=0.1 * np.abs(ten_times).max())


@pytest.mark.slow
def test_invert_gives_back_latents_of_a_quadtree_of_height_6():
    model = HierarchicalModel.init(KEY_MODEL, LatentGraph.quadtree(6), InvertibleMLP())
    drawn = model.sample(KEY_DATA, 16)
    found = model.invert(drawn)
    assert largest(found.latents, drawn.latents) < ROUND_TRIP
    assert largest(found.noise, drawn.noise) < ROUND_TRIP


@pytest.mark.slow
def test_invert_gives_back_latents_of_several_parents_and_mixed_mechanisms(mixed):
    drawn = mixed.sample(KEY_DATA, N)
    found = mixed.invert(drawn.observed_matrix)
    assert largest(found.latents, drawn.latents) < ROUND_TRIP
    assert largest(found.noise, drawn.noise) < 3 * ROUND_TRIP


def test_invert_refuses_values_that_no_sample_has_and_names_the_latent(tree):
    drawn = tree.sample(KEY_DATA, N)
    child = tree.graph.observed[3]
    (parent,) = tree.graph.parents(child)
    wrong = {name: np.array(values) for name, values in drawn.observed.items()}
    wrong[child][5] += 0.1
    message = rf"in row 5 the children of '{parent}' disagree about it, by 0\.\d+ .*tolerance 0\.001"
    with pytest.raises(ValueError, match=message):
        tree.invert(wrong)
    found = tree.invert(wrong, tolerance=math.inf)
    others = np.arange(N) != 5
    np.testing.assert_allclose(found.values[others], drawn.values[others], atol=1e-4)


@pytest.mark.slow
def test_invert_takes_any_values_where_every_latent_has_one_child(monkeypatch):
    """And gives each row what it gives it alone, whatever the size of the batches."""
    graph = LatentGraph.from_edges([("a", "x"), ("b", "x")], noise_dims={"a": 1, "b": 1, "x": 1})
    model = HierarchicalModel.init(KEY_MODEL, graph, InvertibleMLP())
    values = np.random.default_rng(0).normal(size=(5, 3))
    found = model.invert(values)
    again = jax.jit(propagate)(model, found.noises.T).T
    np.testing.assert_allclose(again[:, model.layout.observed_rows], values, atol=ROUND_TRIP)
    monkeypatch.setattr("hlvm.simulator.inversion._CHUNK_NUMBERS", 2 * (1 + 1 + 9))
    np.testing.assert_allclose(model.invert(values).values, found.values, atol=1e-6)


def test_invert_refuses_mechanisms_that_are_not_invertible():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], noise_dims={"z": 1, "x": 1, "y": 0}, dims=None)
    model = HierarchicalModel.init(KEY_MODEL, graph, {"x": InvertibleMLP(), "y": LinearGaussian()})
    with pytest.raises(ValueError, match="variable 'y' has the mechanism LinearGaussian, which is not invertible"):
        model.invert(np.zeros((2, 3)))


def test_invert_refuses_a_model_with_a_variable_that_was_set(mixed):
    with pytest.raises(ValueError, match="variable 'm' was set by an intervention and no longer tells its parents"):
        mixed.intervene({"m": 0.0}).invert(np.zeros((2, 14)))


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        (np.zeros((2, 3)), r"must have shape \(n, \d+\), .*got shape \(2, 3\)"),
        (np.zeros(16), r"got shape \(16,\)"),
        ({"x": np.zeros((2, 7))}, "no values for observed variable 'y'"),
        ({name: np.zeros((3 if name == "z" else 2, dim)) for name, dim in DIMS.items()}, "must have shape"),
        ({name: np.zeros((2, 6 if name == "x" else dim)) for name, dim in DIMS.items()}, "'x' must have shape"),
        (np.full((2, 17), np.nan), "row 0 of the observed values holds a number that is not finite"),
    ],
)
def test_invert_refuses_other_values(mixed, observed, message):
    with pytest.raises(ValueError, match=message):
        mixed.invert(observed)


def test_invert_refuses_a_sample_of_another_graph(mixed, tree):
    with pytest.raises(ValueError, match="belongs to another graph"):
        mixed.invert(tree.sample(KEY_DATA, 2))


def test_invert_refuses_values_without_a_finite_inverse():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], noise_dims=1)
    model = HierarchicalModel.init(KEY_MODEL, graph, Polar(), standardize=False)
    values = np.array(model.sample(KEY_DATA, 3).observed_matrix)
    values[1, :2] = 0.0  # radius zero
    with pytest.raises(ValueError, match=r"row 1: the values of '[xy]' have no inverse"):
        model.invert(values)
