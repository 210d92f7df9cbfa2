"""Mechanisms one at a time: inverses, Jacobians and moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hlvm.mechanisms import AdditiveNoiseMLP, InvertibleMLP, LinearGaussian, mechanism_from_dict, mechanism_to_dict

FLOAT32_ROUND_TRIP = 1e-5  # a few matrix products of unit-size numbers in float32
N = 200


def draw(mechanism, parent_dim, noise_dim, dim, seed=0, n=N):
    """Parameters, parents and noises for ``n`` samples of one variable."""
    keys = jax.random.split(jax.random.key(seed), 3)
    size = mechanism.noise_size(parent_dim, noise_dim, dim)
    params = mechanism.init(keys[0], parent_dim, size, dim)
    return params, jax.random.normal(keys[1], (n, parent_dim)), jax.random.normal(keys[2], (n, size))


@pytest.mark.parametrize(("layers", "slope"), [(1, 0.2), (3, 0.2), (5, 0.5), (2, 1.0)])
def test_invertible_mlp_inverse_gives_back_parents_and_noise(layers, slope):
    mechanism = InvertibleMLP(layers=layers, slope=slope)
    params, parents, noise = draw(mechanism, 3, 2, 5)
    values = jax.vmap(mechanism.apply, in_axes=(None, 0, 0))(params, parents, noise)
    back = jax.vmap(mechanism.invert, in_axes=(None, 0))(params, values)
    np.testing.assert_allclose(back, np.concatenate([parents, noise], axis=1), atol=FLOAT32_ROUND_TRIP)


def test_invertible_mlp_without_noise_is_a_bijection_of_its_parents():
    mechanism = InvertibleMLP()
    params, parents, noise = draw(mechanism, 4, 0, 4)
    values = jax.vmap(mechanism.apply, in_axes=(None, 0, 0))(params, parents, noise)
    np.testing.assert_allclose(
        jax.vmap(mechanism.invert, in_axes=(None, 0))(params, values), parents, atol=FLOAT32_ROUND_TRIP
    )


def test_invertible_mlp_jacobian_has_the_determinant_of_its_slopes():
    """|det| is the product of the activations' slopes, since rotations have |det| 1; it never vanishes."""
    mechanism = InvertibleMLP(layers=3, slope=0.2)
    params, parents, noise = draw(mechanism, 3, 2, 5, n=50)

    def of_input(joined):
        return mechanism.apply(params, joined[:3], joined[3:])

    jacobians = np.asarray(
        jax.vmap(jax.jacobian(of_input))(jnp.concatenate([parents, noise], axis=1)), dtype=np.float64
    )
    log_determinants = np.linalg.slogdet(jacobians)[1]
    gain = np.sqrt(2 / (1 + 0.2**2))
    # Each of the 2 activation layers scales each of the 5 coordinates by gain or 0.2 * gain.
    negatives = (log_determinants - 10 * np.log(gain)) / np.log(0.2)
    np.testing.assert_allclose(negatives, negatives.round(), atol=1e-4)
    assert negatives.min() >= -1e-4
    assert negatives.max() <= 10 + 1e-4


def test_invertible_mlp_weights_are_uniform_rotations():
    """The first entry of a uniform rotation of dim d has variance 1/d and is symmetric."""
    keys = jax.random.split(jax.random.key(0), 2000)
    weights = jax.vmap(lambda key: InvertibleMLP(layers=1).init(key, 2, 1, 3)["weights"])(keys)[:, 0]
    np.testing.assert_allclose(
        np.einsum("nij,nkj->nik", weights, weights), np.broadcast_to(np.eye(3), (2000, 3, 3)), atol=1e-5
    )
    # The marginal of one entry of a uniform 3-vector on the sphere is uniform on [-1, 1] (Archimedes).
    assert stats.kstest(np.asarray(weights[:, 0, 0]), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_linear_gaussian_rows_give_the_signal_to_noise_ratio():
    mechanism = LinearGaussian(snr=4.0)
    params, _, _ = draw(mechanism, 6, 1, 3)
    signal = (np.asarray(params["matrix"], dtype=np.float64) ** 2).sum(axis=1)
    noise = np.asarray(params["scale"], dtype=np.float64) ** 2
    np.testing.assert_allclose(signal / noise, 4.0, rtol=1e-5)
    np.testing.assert_allclose(signal + noise, 1.0, rtol=1e-5)


def test_linear_gaussian_is_linear_in_parents_and_noise():
    mechanism = LinearGaussian()
    params, parents, noise = draw(mechanism, 3, 1, 2)
    values = jax.vmap(mechanism.apply, in_axes=(None, 0, 0))(params, parents, noise)
    expected = np.asarray(parents) @ np.asarray(params["matrix"]).T + np.asarray(noise) * np.asarray(params["scale"])
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_additive_noise_mlp_adds_scaled_noise_to_a_function_of_the_parents():
    mechanism = AdditiveNoiseMLP(hidden=7, noise_scale=0.5)
    params, parents, noise = draw(mechanism, 3, 1, 2)
    values = jax.vmap(mechanism.apply, in_axes=(None, 0, 0))(params, parents, noise)
    without = jax.vmap(mechanism.apply, in_axes=(None, 0, None))(params, parents, jnp.zeros(2))
    hidden = np.tanh(np.asarray(parents) @ np.asarray(params["inner"]).T + np.asarray(params["bias"]))
    np.testing.assert_allclose(without, hidden @ np.asarray(params["outer"]).T, atol=1e-5)
    np.testing.assert_allclose(values - without, 0.5 * noise, atol=1e-6)


@pytest.mark.parametrize("mechanism", [LinearGaussian(), AdditiveNoiseMLP()])
def test_noisy_mechanisms_take_one_noise_number_per_dim(mechanism):
    assert mechanism.noise_size(3, 1, 4) == 4
    assert not mechanism.invertible


def test_invertible_mlp_refuses_dims_that_no_bijection_has():
    with pytest.raises(ValueError, match=r"needs dim = parents' dims \+ noise dim = 3 \+ 1, but the graph gives dim 5"):
        InvertibleMLP().noise_size(3, 1, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InvertibleMLP(layers=0), "at least one layer, got layers=0"),
        (lambda: InvertibleMLP(slope=0.0), r"slope in \(0, 1\]"),
        (lambda: InvertibleMLP(slope=1.5), r"slope in \(0, 1\]"),
        (lambda: LinearGaussian(snr=0.0), "finite, positive signal-to-noise ratio"),
        (lambda: LinearGaussian(snr=float("inf")), "finite, positive signal-to-noise ratio"),
        (lambda: AdditiveNoiseMLP(hidden=0), "at least one hidden unit"),
        (lambda: AdditiveNoiseMLP(noise_scale=-1.0), "noise_scale of at least 0"),
    ],
)
def test_mechanisms_refuse_fields_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "mechanism", [InvertibleMLP(layers=2, slope=0.3), LinearGaussian(snr=2.5), AdditiveNoiseMLP(hidden=3)]
)
def test_mechanism_dict_round_trip(mechanism):
    assert mechanism_from_dict(mechanism_to_dict(mechanism)) == mechanism


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "Magic"}, "unknown mechanism 'Magic'; known: .*InvertibleMLP"),
        ({}, "unknown mechanism None"),
        ({"kind": "LinearGaussian", "colour": 1}, "mechanism LinearGaussian: .*colour"),
        ({"kind": "LinearGaussian", "snr": -1.0}, "positive signal-to-noise ratio"),
    ],
)
def test_mechanism_from_dict_refuses_what_it_does_not_know(data, message):
    with pytest.raises(ValueError, match=message):
        mechanism_from_dict(data)
