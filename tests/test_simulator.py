"""The batched simulator against a plain loop over variables, closed-form moments, and its own files."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from hlvm.graph import LatentGraph
from hlvm.mechanisms import AdditiveNoiseMLP, InvertibleMLP, LinearGaussian, Mechanism
from hlvm.simulator import HierarchicalModel

FLOAT32 = {"rtol": 2e-4, "atol": 2e-4}  # a float32 program against a float64 loop, a few levels deep
KEY_MODEL, KEY_DATA = jax.random.split(jax.random.key(7))

DIAMOND = LatentGraph.from_edges(
    [("a", "m"), ("b", "m"), ("m", "x"), ("b", "x"), ("m", "y"), ("a", "z"), ("b", "z")],
    noise_dims={"a": 2, "b": 1, "m": 1, "x": 2, "y": 0, "z": 1},
)
"""Two roots, a latent and two observed variables with two parents each."""

MIXED = {
    "m": InvertibleMLP(),
    "x": LinearGaussian(snr=2.0),
    "y": AdditiveNoiseMLP(hidden=5),
    "z": InvertibleMLP(layers=2),
}


@pytest.fixture(scope="module")
def mixed():
    return HierarchicalModel.init(KEY_MODEL, DIAMOND, MIXED)


@pytest.fixture(scope="module")
def quadtree():
    return HierarchicalModel.init(KEY_MODEL, LatentGraph.quadtree(2), InvertibleMLP())


# ---------------------------------------------------------------------- the oracle: one variable after the other


def own_parameters(model, name):
    """A variable's parameters, shift and scale as float64 arrays."""
    node = model.graph.index[name]
    group, params = next((g, p) for g, p in zip(model.layout.groups, model.params, strict=True) if node in g.nodes)
    row = group.nodes.index(node)
    place = model.layout.value_slices[name]
    return (
        {key: np.asarray(value[row], dtype=np.float64) for key, value in params.items()},
        np.asarray(model.shift[place], dtype=np.float64),
        np.asarray(model.scale[place], dtype=np.float64),
    )


def plain_function(mechanism, params, parents, noise):
    """The three mechanisms in NumPy, for all samples at once."""
    match mechanism:
        case InvertibleMLP(layers=layers, slope=slope):
            value = np.concatenate([parents, noise], axis=1)
            for layer in range(layers):
                value = value @ params["weights"][layer].T
                if layer < layers - 1:
                    value = np.sqrt(2 / (1 + slope**2)) * np.where(value > 0, value, slope * value)
            return value
        case LinearGaussian():
            return parents @ params["matrix"].T + noise * params["scale"]
        case AdditiveNoiseMLP(noise_scale=noise_scale):
            return np.tanh(parents @ params["inner"].T + params["bias"]) @ params["outer"].T + noise_scale * noise


def plain_sample(model, mechanism_of, noise):
    """Every variable from its parents and the given noise, one variable after the other."""
    values = {}
    for name in model.graph.nodes:
        own = np.asarray(noise[name], dtype=np.float64)
        params, shift, scale = own_parameters(model, name)
        raw = own
        if model.graph.parents(name):
            parents = np.concatenate([values[parent] for parent in model.graph.parents(name)], axis=1)
            raw = plain_function(mechanism_of[name], params, parents, own)
        values[name] = (raw - shift) / scale
    return values


def test_sample_equals_a_loop_over_variables_with_mixed_mechanisms(mixed):
    drawn = mixed.sample(KEY_DATA, 50)
    expected = plain_sample(mixed, MIXED, drawn.noise)
    for name in DIAMOND.nodes:
        np.testing.assert_allclose(drawn.variables[name], expected[name], err_msg=name, **FLOAT32)


def test_sample_equals_a_loop_over_variables_on_a_quadtree(quadtree):
    drawn = quadtree.sample(KEY_DATA, 20)
    expected = plain_sample(quadtree, dict.fromkeys(quadtree.graph.nodes, InvertibleMLP()), drawn.noise)
    for name in quadtree.graph.nodes:
        np.testing.assert_allclose(drawn.variables[name], expected[name], err_msg=name, **FLOAT32)


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


# ---------------------------------------------------------------------- files


def test_save_and_load_give_back_the_same_model(mixed, tmp_path):
    mixed.save(tmp_path / "model.npz")
    loaded = HierarchicalModel.load(tmp_path / "model.npz")
    assert loaded.graph == mixed.graph
    assert loaded.layout == mixed.layout
    for own, other in zip(jax.tree.leaves(mixed), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(own, other)
        assert own.dtype == other.dtype
    np.testing.assert_array_equal(mixed.sample(KEY_DATA, 5).values, loaded.sample(KEY_DATA, 5).values)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doubling(Mechanism):
    """Twice the sum of the parents; a mechanism from outside the package."""

    invertible = False
    factor: float = 2.0

    def noise_size(self, parent_dim, noise_dim, dim):
        return dim

    def init(self, key, parent_dim, noise_size, dim):
        return {"factor": jnp.full((), self.factor)}

    def apply(self, params, parents, noise):
        return params["factor"] * parents.sum() + 0 * noise


def test_own_mechanisms_work_and_are_loaded_by_name(tmp_path):
    graph = LatentGraph.from_edges([("z", "x")], dims=2)
    model = HierarchicalModel.init(KEY_MODEL, graph, Doubling(factor=3.0), standardize=False)
    drawn = model.sample(KEY_DATA, 5)
    np.testing.assert_allclose(drawn.observed["x"][:, 0], 3 * drawn.latents["z"].sum(axis=1), rtol=1e-5)
    model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="unknown mechanism 'Doubling'"):
        HierarchicalModel.load(tmp_path / "model.npz")
    loaded = HierarchicalModel.load(tmp_path / "model.npz", known={"Doubling": Doubling})
    np.testing.assert_array_equal(loaded.sample(KEY_DATA, 5).values, drawn.values)


def test_save_refuses_another_suffix(mixed, tmp_path):
    with pytest.raises(ValueError, match=r"saved as a \.npz file, got 'model\.json'"):
        mixed.save(tmp_path / "model.json")


def test_save_that_fails_leaves_nothing_behind(mixed, tmp_path, monkeypatch):
    def fail_halfway(path, **arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", fail_halfway)
    with pytest.raises(KeyboardInterrupt):
        mixed.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_load_refuses_a_damaged_file(mixed, tmp_path):
    mixed.save(tmp_path / "model.npz")
    whole = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "model.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "model.npz")


def test_load_refuses_other_archives(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "arrays.npz")
    np.savez(tmp_path / "other.npz", header=np.array(json.dumps({"format": "hlvm.model", "version": 99})))
    with pytest.raises(ValueError, match="not a model file of format version 1"):
        HierarchicalModel.load(tmp_path / "other.npz")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x93NUMPY\x01\x00"])
def test_load_refuses_files_that_are_no_archive(tmp_path, content):
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "model.npz")


@pytest.mark.parametrize("header", ["[]", "1", '{"format": "hlvm.model", "version": 1, "mechanisms": 5}'])
def test_load_refuses_headers_of_another_kind(tmp_path, header):
    np.savez(tmp_path / "model.npz", header=np.array(header))
    with pytest.raises(ValueError, match="not a model file"):
        HierarchicalModel.load(tmp_path / "model.npz")


def test_load_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        HierarchicalModel.load(tmp_path / "nowhere.npz")


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("n", [0, -1])
def test_sample_refuses_no_samples(mixed, n):
    with pytest.raises(ValueError, match=f"at least 1, got n={n}"):
        mixed.sample(KEY_DATA, n)


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


def test_init_refuses_dims_that_do_not_fit_and_names_the_variable():
    graph = LatentGraph.from_edges([("z", "x"), ("z", "y")], dims={"z": 2, "x": 3, "y": 5})
    with pytest.raises(ValueError, match=r"variable 'y': an invertible mechanism needs dim .* 2 \+ 1.*dim 5"):
        HierarchicalModel.init(KEY_MODEL, graph, InvertibleMLP())


def test_load_refuses_pickles_missing_and_misshapen_arrays(tmp_path):
    np.savez(tmp_path / "pickle.npz", header=np.array({"format": "hlvm.model"}, dtype=object))
    with pytest.raises(ValueError, match="is not a model file"):
        HierarchicalModel.load(tmp_path / "pickle.npz")
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), InvertibleMLP())
    model.save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        arrays = dict(file)
    for name, change, match in (
        ("missing", lambda a: {k: v for k, v in a.items() if not k.startswith("params/")}, "is not a model file"),
        ("short", lambda a: {**a, "shift": a["shift"][:-1]}, "is damaged"),
    ):
        np.savez(tmp_path / f"{name}.npz", **change(arrays))
        with pytest.raises(ValueError, match=match):
            HierarchicalModel.load(tmp_path / f"{name}.npz")


def test_models_and_samples_have_short_representations_and_compare_by_identity():
    model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), InvertibleMLP())
    assert len(repr(model)) < 200
    assert "InvertibleMLP" in repr(model)
    assert len(repr(model.sample(jax.random.key(1), 50))) < 200
    assert model == model
    assert model != HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 1), InvertibleMLP())
