"""Interventions and counterfactuals: against a loop over variables, and the laws they obey."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_simulator import plain_values
from strategies import property_test

from hlvm.graph import LatentGraph
from hlvm.mechanisms import (
    AdditiveNoiseMLP,
    Bernoulli,
    Categorical,
    Gaussian,
    Heteroscedastic,
    InvertibleMLP,
    Laplace,
    LinearGaussian,
    PostNonlinear,
    mechanism_from_function,
    production_rules,
)
from hlvm.simulator import HierarchicalModel

FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}  # a float32 program against a float64 loop, a few levels deep
KEY_MODEL, KEY_DATA, KEY_OTHER = jax.random.split(jax.random.key(7), 3)
N = 40

GRAPH = LatentGraph.from_edges(
    [("a", "m"), ("b", "m"), ("m", "k"), ("k", "x"), ("b", "x"), ("m", "y"), ("a", "z"), ("b", "z"), ("k", "w")],
    dims={"a": 2, "b": 1, "m": 4, "k": 2, "x": 3, "y": 4, "z": 2, "w": 1},
    noise_dims={"a": 2, "b": 1, "m": 1, "k": 1, "x": 1, "y": 0, "z": 1, "w": 1},
)
MECHANISMS = {
    "m": InvertibleMLP(),
    "k": LinearGaussian(),
    "x": AdditiveNoiseMLP(hidden=4),
    "y": InvertibleMLP(),
    "z": Heteroscedastic(hidden=4),
    "w": PostNonlinear(hidden=4),
}
NOISE = {"b": Bernoulli(p=0.4), "z": Laplace()}


@pytest.fixture(scope="module")
def model():
    return HierarchicalModel.init(KEY_MODEL, GRAPH, MECHANISMS, noise=NOISE)


@pytest.fixture(scope="module")
def drawn(model):
    return model.sample(KEY_DATA, N)


def descendants(names):
    return {v for v in GRAPH.nodes if set(names) & GRAPH.ancestors(v)}


def assert_same(found, expected, names):
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def assert_close(found, expected):
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name, **FLOAT32)


# ---------------------------------------------------------------------- interventions


@pytest.mark.parametrize(
    "do",
    [
        {},
        {"m": 1.5},
        {"a": [1.0, -1.0], "k": np.linspace(-1, 1, 2 * N).reshape(N, 2)},
        {"y": 0.0, "b": 1.0},
        {"k": lambda parents, noise: parents["m"][:, :2] * noise},
        {"a": lambda parents, noise: noise + 1, "w": 3.0},
    ],
    ids=["nothing", "latent", "rows", "observed and root", "function", "function of a root"],
)
def test_intervene_equals_a_loop_over_variables(model, do):
    changed = model.intervene(do)
    found = changed.sample(KEY_DATA, N)
    assert_close(found.variables, plain_values(model, found.noise, do))
    np.testing.assert_array_equal(found.noises, model.sample(KEY_DATA, N).noises)
    assert set(changed.interventions) == set(do)


def test_intervene_leaves_the_model_as_it_was(model, drawn):
    model.intervene({"m": 2.0})
    np.testing.assert_array_equal(model.sample(KEY_DATA, N).values, drawn.values)
    assert model.interventions == ()


@pytest.mark.slow
def test_interventions_add_up_and_the_last_one_counts(model):
    composed = model.intervene({"m": 1.0, "a": 2.0}).intervene({"m": 3.0}).intervene({"k": lambda p, e: 0 * e})
    assert set(composed.interventions) == {"m", "a", "k"}
    at_once = model.intervene({"m": 3.0, "a": 2.0, "k": lambda p, e: 0 * e})
    np.testing.assert_array_equal(composed.sample(KEY_DATA, N).values, at_once.sample(KEY_DATA, N).values)
    back = composed.intervene({"k": 1.0})
    assert back.functions == ()
    np.testing.assert_array_equal(back.sample(KEY_DATA, N).variables["k"], np.ones((N, 2)))
    again = back.intervene({"k": lambda p, e: e + 5.0})
    np.testing.assert_allclose(again.sample(KEY_DATA, N).variables["k"], again.sample(KEY_DATA, N).noise["k"] + 5.0)


def test_intervene_inside_jit_equals_outside(model):
    @jax.jit
    def inside(value):
        return model.intervene({"m": value}).sample(KEY_DATA, N).observed_matrix

    expected = model.intervene({"m": 0.7}).sample(KEY_DATA, N).observed_matrix
    np.testing.assert_allclose(inside(jnp.asarray(0.7)), expected, rtol=1e-5, atol=1e-5)


def test_interventions_on_other_values_and_variables_share_a_program(model):
    program = jax.jit(lambda changed: changed.sample(KEY_DATA, N).values)
    for do in ({"m": 1.0}, {"m": 2.0}, {"a": [0.0, 1.0], "w": 0.0}):
        program(model.intervene(do))
    assert program._cache_size() == 1


@pytest.mark.slow
def test_intervene_with_a_mechanism_changes_only_what_comes_after(model, drawn):
    changed = model.intervene({"k": AdditiveNoiseMLP(hidden=3), "m": InvertibleMLP()}, key=KEY_OTHER)
    assert changed.interventions == ()
    found = changed.sample(KEY_DATA, 20_000)
    assert_close(found.variables, plain_values(changed, found.noise))
    # The two are standardised anew from 4,096 draws, all others keep their constants.
    for name in ("m", "k"):
        assert np.abs(np.asarray(found.variables[name]).mean(axis=0)).max() < 0.1
        assert np.abs(np.asarray(found.variables[name]).var(axis=0) - 1).max() < 0.15
    for name in set(GRAPH.nodes) - {"m", "k"}:
        for attribute in ("shift", "scale"):
            before, after = (getattr(m, attribute)[m.layout.value_slices[name]] for m in (model, changed))
            np.testing.assert_array_equal(before, after)


@pytest.mark.slow  # three models are compiled
def test_intervene_with_a_mechanism_keeps_what_else_was_changed(model):
    shifted = model.intervene({"a": 1.0, "m": 2.0}).conditional_shift({"x": (1.0, 2.0)})
    changed = shifted.intervene({"m": InvertibleMLP(layers=1)}, key=KEY_OTHER)
    assert changed.interventions == ("a",)
    plain = model.intervene({"m": InvertibleMLP(layers=1)}, key=KEY_OTHER)
    np.testing.assert_array_equal(plain.params[0].keys(), changed.params[0].keys())
    found = changed.sample(KEY_DATA, N)
    assert_close(found.variables, plain_values(changed, found.noise, {"a": 1.0}))
    x = changed.layout.noise_slices["x"]
    np.testing.assert_array_equal(changed.noise_shift.loc[x], 1.0)
    assert float(changed.noise_shift.loc.sum()) == 3.0


def test_intervene_on_symbols_takes_symbols_only():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=3, synonyms=2)
    grammar = HierarchicalModel.init(KEY_MODEL, graph, mechanisms, noise=noises)
    found = grammar.intervene({"z": 4}).sample(KEY_DATA, 20).observed_matrix
    assert (np.asarray(found) == np.asarray(found)[0]).all()
    with pytest.raises(ValueError, match="'z' is a symbol: set it to whole numbers from 0 to 5"):
        grammar.intervene({"z": 6})
    with pytest.raises(ValueError, match="'y' is a symbol: set it to whole numbers from 0 to 2"):
        grammar.intervene({"y": 0.5})


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ({"q": 1.0}, "'q' is not a variable of this graph"),
        ({"m": [1.0, 2.0]}, r"'m' holds 4 numbers: .* got shape \(2,\)"),
        ({"m": np.zeros((3, 2))}, r"'m' holds 4 numbers: .* got shape \(3, 2\)"),
        ({"m": np.nan}, "the value for 'm' is not finite"),
        ({"m": "high"}, "the intervention on 'm' must be numbers, a function or a mechanism, got 'high'"),
        ({"m": None}, "the intervention on 'm' must be numbers"),
        ({"m": Laplace()}, "for a noise use conditional_shift"),
        ({"m": [[1.0], 2.0]}, "the intervention on 'm' must be numbers"),
        ({"a": np.zeros((3, 2)), "m": np.zeros((4, 4))}, r"different numbers of samples were given together: \[3, 4\]"),
        ({"a": InvertibleMLP()}, "'a' is a root"),
        ({"m": InvertibleMLP()}, "a new mechanism at 'm' needs a key"),
    ],
)
def test_intervene_refuses_what_is_no_intervention(model, do, message):
    with pytest.raises(ValueError, match=message):
        model.intervene(do)


def test_intervene_refuses_mechanisms_and_functions_that_do_not_fit(model):
    with pytest.raises(ValueError, match="variable 'k': an invertible mechanism needs dim"):
        model.intervene({"k": InvertibleMLP()}, key=KEY_OTHER)
    with pytest.raises(ValueError, match=r"the intervention on 'k' must return shape \(40, 2\), got \(40, 1\)"):
        model.intervene({"k": lambda parents, noise: noise[:, :1]}).sample(KEY_DATA, N)
    shifted = model.conditional_shift({"m": (0.0, 2.0)})
    taking_two = mechanism_from_function(lambda parents, noise: jnp.concatenate([noise, noise]), noise_size=2)
    with pytest.raises(ValueError, match="the noise of 'm' is shifted, and the new mechanism takes another number"):
        shifted.intervene({"m": taking_two}, key=KEY_OTHER)


def test_sample_refuses_another_number_than_there_are_values_for(model):
    with pytest.raises(ValueError, match="values for 3 samples, one each: draw as many, got n=4"):
        model.intervene({"m": np.zeros((3, 4))}).sample(KEY_DATA, 4)


# ---------------------------------------------------------------------- counterfactuals


def values_for(names):
    """Values for some of the variables, one row per sample."""

    def value(name, seed):
        return np.random.default_rng(seed).normal(size=(N, GRAPH.dim(name))).astype(np.float32)

    each = {name: st.builds(value, st.just(name), st.integers(0, 99)) for name in names}
    return st.fixed_dictionaries({}, optional=each)


@given(do=values_for(GRAPH.nodes))
@property_test
def test_counterfactual_sets_what_is_set_and_leaves_the_rest(model, drawn, do):
    """Effectiveness; noises identical; what the intervention does not reach identical to the last bit."""
    found = model.counterfactual(drawn, do)
    for name, value in do.items():
        np.testing.assert_array_equal(found.variables[name], value)
    np.testing.assert_array_equal(found.noises, drawn.noises)
    reached = descendants(do) | set(do)
    assert_same(found.variables, drawn.variables, set(GRAPH.nodes) - reached)
    assert_close(found.variables, plain_values(model, drawn.noise, do))


@given(names=st.sets(st.sampled_from(GRAPH.nodes)))
@property_test
def test_counterfactual_is_consistent(model, drawn, names):
    """Setting variables to the values they had changes nothing, to the last bit; nor does setting nothing."""
    found = model.counterfactual(drawn, {name: drawn.variables[name] for name in names})
    np.testing.assert_array_equal(found.values, drawn.values)
    np.testing.assert_array_equal(found.noises, drawn.noises)


@given(do=values_for(("a", "m", "z")), names=st.sets(st.sampled_from(("b", "k", "x", "w"))))
@property_test
def test_counterfactual_composes(model, drawn, do, names):
    """Setting further variables to what they would have been under an intervention adds nothing to it."""
    first = model.counterfactual(drawn, do)
    second = model.counterfactual(drawn, {**do, **{name: first.variables[name] for name in names}})
    np.testing.assert_array_equal(second.values, first.values)


@given(do=values_for(GRAPH.nodes))
@property_test
def test_counterfactual_changes_only_the_samples_it_is_told_to(model, drawn, do):
    """With the factual values in every second row, those samples stay identical."""
    mixed = {name: np.where(np.arange(N)[:, None] % 2 == 0, drawn.variables[name], value) for name, value in do.items()}
    found = model.counterfactual(drawn, mixed)
    np.testing.assert_array_equal(found.values[::2], drawn.values[::2])


def test_counterfactual_is_what_the_changed_model_draws_with_the_same_noises(model, drawn):
    for do in ({"m": 1.5}, {"a": [1.0, 2.0], "b": 0.5}):
        found = model.counterfactual(drawn, do)
        np.testing.assert_allclose(found.values, model.intervene(do).sample(KEY_DATA, N).values, rtol=1e-5, atol=1e-5)


def test_counterfactual_with_a_function_sees_all_samples_at_once(model, drawn):
    given_rows = np.linspace(-1, 1, 2 * N).reshape(N, 2)
    found = model.counterfactual(drawn, {"k": lambda parents, noise: given_rows + 0 * noise, "b": lambda p, e: 1 - e})
    np.testing.assert_allclose(found.variables["k"], given_rows, rtol=1e-6)
    np.testing.assert_array_equal(found.variables["b"], 1 - drawn.variables["b"])
    assert_same(found.variables, drawn.variables, ["a"])


def test_counterfactual_with_a_mechanism_keeps_every_noise(model, drawn):
    do = {"k": AdditiveNoiseMLP(hidden=3)}
    found = model.counterfactual(drawn, do, key=KEY_OTHER)
    assert_same(found.noise, drawn.noise, GRAPH.nodes)
    assert_same(found.variables, drawn.variables, set(GRAPH.nodes) - {"k", "x", "w"})
    assert_close(found.variables, plain_values(model.intervene(do, key=KEY_OTHER), drawn.noise))
    assert np.abs(np.asarray(found.variables["k"] - drawn.variables["k"])).max() > 0.1
    taking_one = mechanism_from_function(lambda parents, noise: jnp.concatenate([noise, noise]), noise_size=1)
    with pytest.raises(ValueError, match="takes 1 noise numbers, but the sample has 2 there"):
        model.counterfactual(drawn, {"k": taking_one}, key=KEY_OTHER)


def test_counterfactual_of_a_changed_model_starts_from_its_samples(model):
    changed = model.intervene({"m": 0.5})
    factual = changed.sample(KEY_DATA, N)
    np.testing.assert_array_equal(changed.counterfactual(factual, {}).values, factual.values)
    found = changed.counterfactual(factual, {"k": 1.0})
    assert_close(found.variables, plain_values(model, factual.noise, {"m": 0.5, "k": 1.0}))


def test_counterfactual_inside_jit_equals_outside(model, drawn):
    inside = jax.jit(lambda sample, value: model.counterfactual(sample, {"m": value}).values)
    outside = model.counterfactual(drawn, {"m": 0.3}).values
    np.testing.assert_allclose(inside(drawn, jnp.asarray(0.3)), outside, rtol=1e-5, atol=1e-5)


def test_counterfactual_refuses_samples_of_another_model(model, drawn):
    other = HierarchicalModel.init(KEY_OTHER, GRAPH, MECHANISMS, noise=NOISE)
    with pytest.raises(ValueError, match="this sample was not drawn from this model: its values are off by"):
        other.counterfactual(drawn, {"z": 0.0})
    smaller = HierarchicalModel.init(KEY_OTHER, LatentGraph.tree(2, 1), LinearGaussian())
    with pytest.raises(ValueError, match="a model of another graph or with other mechanisms"):
        smaller.counterfactual(drawn, {})


# ---------------------------------------------------------------------- shifted conditionals


def test_conditional_shift_moves_one_noise_and_leaves_the_others(model, drawn):
    shifted = model.conditional_shift({"k": (1.0, [2.0, 0.5]), "a": (3.0, 1.0)})
    found = shifted.sample(KEY_DATA, N)
    np.testing.assert_allclose(found.noise["k"], 1 + np.asarray([2.0, 0.5]) * drawn.noise["k"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.latents["a"], drawn.latents["a"] + 3, rtol=1e-5, atol=1e-6)
    assert_same(found.noise, drawn.noise, set(GRAPH.nodes) - {"k", "a"})
    assert_close(found.variables, plain_values(model, found.noise))
    assert_same({"x": shifted.scale}, {"x": model.scale}, ["x"])


def test_conditional_shift_to_another_law_leaves_the_other_noises(model, drawn):
    found = model.conditional_shift({"m": Laplace(), "b": Bernoulli(p=0.9)}).sample(KEY_DATA, N)
    assert not np.allclose(found.noise["m"], drawn.noise["m"])
    assert set(np.unique(found.latents["b"])) <= {0.0, 1.0}
    assert_same(found.noise, drawn.noise, {"a", "k", "x", "w"})
    assert_close(found.variables, plain_values(model, found.noise))


def test_conditional_shift_of_the_second_kind_takes_the_place_of_the_first(model):
    shifted = model.conditional_shift({"k": (1.0, 2.0)}).conditional_shift({"k": (5.0, 3.0), "x": (1.0, 1.0)})
    k, x = (shifted.layout.noise_slices[name] for name in ("k", "x"))
    np.testing.assert_array_equal(shifted.noise_shift.loc[k], 5.0)
    np.testing.assert_array_equal(shifted.noise_shift.scale[k], 3.0)
    np.testing.assert_array_equal(shifted.noise_shift.loc[x], 1.0)


@pytest.mark.parametrize(
    ("shifts", "message"),
    [
        ({"q": (0.0, 1.0)}, "'q' is not a variable of this graph"),
        ({"y": (0.0, 1.0)}, "no noise enters at 'y'"),
        ({"b": (0.0, 2.0)}, "the noise of 'b' is discrete: give another Bernoulli instead"),
        ({"m": (0.0, 0.0)}, "the scale of the noise of 'm' must be positive"),
        ({"m": 1.0}, r"the shift of 'm' must be a Noise or a pair \(location, scale\), got 1.0"),
    ],
)
def test_conditional_shift_refuses_what_is_no_shift(model, shifts, message):
    with pytest.raises(ValueError, match=message):
        model.conditional_shift(shifts)


def test_conditional_shift_refuses_a_noise_that_the_mechanism_cannot_take():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims=1)
    mechanisms, noises = production_rules(graph, vocabulary=3, synonyms=2)
    grammar = HierarchicalModel.init(KEY_MODEL, graph, mechanisms, noise=noises)
    uneven = grammar.conditional_shift({"z": Categorical(probabilities=(0.5, 0.1, 0.1, 0.1, 0.1, 0.1))})
    assert uneven.sample(KEY_DATA, 10).latents["z"].shape == (10, 1)
    with pytest.raises(ValueError, match="its parents must have 6 productions each"):
        grammar.conditional_shift({"z": Gaussian()})
