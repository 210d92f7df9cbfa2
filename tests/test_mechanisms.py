"""Mechanisms one at a time: inverses, Jacobians and moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hlvm.mechanisms import (
    AdditiveNoiseMLP,
    Coupling,
    Gaussian,
    Heteroscedastic,
    InvertibleMLP,
    Laplace,
    LinearGaussian,
    Mechanism,
    Polar,
    PostNonlinear,
    ProductionRules,
    StudentT,
    Uniform,
    mechanism_from_dict,
    mechanism_to_dict,
)
from hlvm.mechanisms.activations import LeakyReLU, SmoothLeakyReLU
from hlvm.mechanisms.small_matrices import log_abs_det, orthonormalize, spd_inverse

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


# ---------------------------------------------------------------------- activations and weights


@pytest.mark.parametrize("activation", [LeakyReLU(0.2), SmoothLeakyReLU(0.2), SmoothLeakyReLU(1.0)])
def test_activations_invert_and_keep_the_mean_square(activation):
    points = np.linspace(-30, 30, 20_001)
    with jax.enable_x64(True):
        values = np.asarray(activation.apply(jnp.asarray(points)))
        np.testing.assert_allclose(activation.invert(jnp.asarray(values)), points, atol=1e-12)
        slopes = np.exp(activation.log_slope(jnp.asarray(points)))
        # Second differences of a step of 0.003 are below 1e-5 away from a kink.
        smooth = np.abs(points[1:-1]) > 0.01
        np.testing.assert_allclose(slopes[1:-1][smooth], np.gradient(values, points)[1:-1][smooth], atol=1e-5)
        mean_square = np.trapezoid(values**2 * stats.norm.pdf(points), points)
    assert mean_square == pytest.approx(1.0, abs=1e-6)
    assert (np.diff(values) > 0).all()


def test_bounded_weights_have_a_bounded_condition_number_and_mean_square_one():
    mechanism = InvertibleMLP(weights="bounded", condition=9.0, layers=4)
    params, _, _ = draw(mechanism, 4, 2, 6)
    singular = np.linalg.svd(np.asarray(params["weights"], dtype=np.float64), compute_uv=False)
    assert (singular[:, 0] / singular[:, -1]).max() <= 9.0 * (1 + 1e-5)
    assert (singular[:, 0] / singular[:, -1]).max() > 3.0
    np.testing.assert_allclose((singular**2).mean(axis=1), 1.0, rtol=1e-5)


def test_orthonormalize_is_the_qr_decomposition():
    matrices = np.random.default_rng(0).normal(size=(20, 6, 6))
    with jax.enable_x64(True):
        q, diagonal = jax.vmap(orthonormalize)(jnp.asarray(matrices))
        log_dets = jax.vmap(log_abs_det)(jnp.asarray(matrices))
    expected, upper = np.linalg.qr(matrices)
    signs = np.sign(np.diagonal(upper, axis1=1, axis2=2))
    np.testing.assert_allclose(q, expected * signs[:, None, :], atol=1e-12)
    np.testing.assert_allclose(diagonal, np.abs(np.diagonal(upper, axis1=1, axis2=2)), rtol=1e-10)
    np.testing.assert_allclose(log_dets, np.linalg.slogdet(matrices)[1], rtol=1e-10, atol=1e-10)


def test_spd_inverse_is_the_inverse():
    factors = np.random.default_rng(0).normal(size=(3, 20, 5, 5))
    matrices = factors @ factors.swapaxes(-1, -2) + 0.1 * np.eye(5)
    with jax.enable_x64(True):
        found = np.asarray(spd_inverse(jnp.asarray(matrices)))
    np.testing.assert_allclose(found, np.linalg.inv(matrices), rtol=1e-8, atol=1e-8)


# ---------------------------------------------------------------------- coupling, polar, noisy mechanisms


def test_coupling_of_one_number_is_affine():
    mechanism = Coupling()
    params, parents, noise = draw(mechanism, 1, 0, 1)
    values = np.asarray(jax.vmap(mechanism.apply, in_axes=(None, 0, 0))(params, parents, noise))[:, 0]
    slope, offset = np.polyfit(np.asarray(parents)[:, 0], values, 1)
    np.testing.assert_allclose(values, slope * np.asarray(parents)[:, 0] + offset, atol=1e-5)
    assert abs(np.log(slope)) <= mechanism.layers * mechanism.bound


def test_coupling_transforms_every_number():
    mechanism = Coupling(layers=2)
    params, parents, noise = draw(mechanism, 3, 2, 5, n=1)
    joined = jnp.concatenate([parents[0], noise[0]])
    values = mechanism.apply(params, parents[0], noise[0])
    assert sorted(np.asarray(params["order"])) == list(range(5))
    assert np.abs(np.asarray(values - joined[params["order"]])).min() > 1e-4


@pytest.mark.parametrize("law", [Gaussian(), Uniform(), Laplace()], ids=str)
def test_polar_is_invertible_and_has_conditional_mean_zero(law):
    """At fixed parents the mean of the value is zero within five standard errors, and its square is exp(c) / 2."""
    mechanism, n = Polar(noise=law), 40_000
    noise = law.sample(jax.random.key(0), (2 * n,)).reshape(n, 2)
    parents = jnp.broadcast_to(jnp.asarray([-1.0, 1.5]), (n, 2))
    values = jax.vmap(mechanism.apply, in_axes=(None, 0, 0))({}, parents, noise)
    radii = np.exp(np.tile([-1.0, 1.5], 2) / 2)
    standard_error = radii / np.sqrt(2 * n)
    assert (np.abs(np.asarray(values, dtype=np.float64).mean(axis=0)) < 5 * standard_error).all()
    np.testing.assert_allclose((np.asarray(values) ** 2).mean(axis=0), radii**2 / 2, rtol=0.03)
    back = jax.vmap(mechanism.invert, in_axes=(None, 0))({}, values)
    # An angle of float32 is known to about 1e-7 of a turn from the nearer end; noise near zero is the middle.
    np.testing.assert_allclose(back, np.concatenate([parents, noise], axis=1), rtol=1e-4, atol=1e-5)


def test_polar_is_the_formula_of_the_theory():
    c, noise = np.asarray([0.3, -0.7]), np.asarray([1.2, -0.4])
    values = Polar().apply({}, jnp.asarray(c, jnp.float32), jnp.asarray(noise, jnp.float32))
    angle = 2 * np.pi * stats.norm.cdf(noise)
    expected = np.concatenate([np.exp(c / 2) * np.cos(angle), np.exp(c / 2) * np.sin(angle)])
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize(("noise_dim", "dim"), [(1, 2), (2, 3)])
def test_polar_refuses_dims_that_are_no_pairs(noise_dim, dim):
    with pytest.raises(ValueError, match="Polar turns k parent numbers and k noise numbers into 2 k numbers"):
        Polar().noise_size(2, noise_dim, dim)


def test_heteroscedastic_noise_has_a_size_within_its_spread():
    mechanism = Heteroscedastic(noise_scale=0.5, spread=1.2)
    params, parents, _ = draw(mechanism, 3, 1, 2)
    with_noise, without = (
        jax.vmap(mechanism.apply, in_axes=(None, 0, None))(params, parents, jnp.full(2, size)) for size in (1.0, 0.0)
    )
    sizes = np.asarray(with_noise - without)
    assert sizes.min() >= 0.5 * np.exp(-1.2) - 1e-5
    assert sizes.max() <= 0.5 * np.exp(1.2) + 1e-5
    assert sizes.max() / sizes.min() > 1.5


def test_post_nonlinear_distorts_without_changing_the_order():
    mechanism = PostNonlinear()
    params, parents, _ = draw(mechanism, 3, 1, 2, n=1)
    ladder = jnp.linspace(-10, 10, 101)[:, None] * jnp.ones(2)
    values = np.asarray(jax.vmap(mechanism.apply, in_axes=(None, None, 0))(params, parents[0], ladder))
    steps = np.diff(values, axis=0)
    assert steps.min() > 0
    assert (steps.max(axis=0) / steps.min(axis=0)).max() > 1.2  # not a straight line


@pytest.mark.parametrize(
    "mechanism",
    [LinearGaussian(snr=2.0), AdditiveNoiseMLP(), Heteroscedastic(), PostNonlinear()],
    ids=lambda m: type(m).__name__,
)
def test_noise_of_gives_a_density_that_integrates_to_one(mechanism):
    """Over one dim, given each of some parents."""
    params, parents, _ = draw(mechanism, 2, 1, 1, n=3)
    grid = np.sinh(np.linspace(-8, 8, 4001))  # fine in the middle, and far out
    given_all = jax.vmap(jax.vmap(mechanism.noise_of, (None, None, 0)), (None, 0, None))
    noise, log_det = jax.jit(given_all)(params, parents, jnp.asarray(grid, jnp.float32)[:, None])
    density = Laplace().log_prob(noise).sum(axis=-1) - log_det
    np.testing.assert_allclose(np.trapezoid(np.exp(density), grid, axis=1), 1.0, atol=1e-3)


def test_noise_of_linear_gaussian_gives_the_density_of_scipy():
    mechanism = LinearGaussian(snr=3.0)
    params, parents, noise = draw(mechanism, 3, 1, 2)
    values = jax.vmap(mechanism.apply, in_axes=(None, 0, 0))(params, parents, noise)
    means = np.asarray(parents, dtype=np.float64) @ np.asarray(params["matrix"], dtype=np.float64).T
    for law, expected in ((Gaussian(), stats.norm()), (StudentT(df=5.0), stats.t(5, scale=np.sqrt(0.6)))):
        noise, log_det = jax.vmap(mechanism.noise_of, (None, 0, 0))(params, parents, values)
        found = law.log_prob(noise).sum(axis=1) - log_det
        exact = (expected.logpdf((np.asarray(values) - means) / 0.5) - np.log(0.5)).sum(axis=1)
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mechanism", [LinearGaussian(), AdditiveNoiseMLP(), Heteroscedastic(), PostNonlinear()])
def test_noisy_mechanisms_take_one_noise_number_per_dim(mechanism):
    assert mechanism.noise_size(3, 1, 4) == 4
    assert not mechanism.invertible


def test_invertible_mlp_refuses_dims_that_no_bijection_has():
    with pytest.raises(ValueError, match=r"needs dim = parents' dims \+ noise dim = 3 \+ 1, but the graph gives dim 5"):
        InvertibleMLP().noise_size(3, 1, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InvertibleMLP(layers=0), "InvertibleMLP: layers must be a whole number of at least 1, got 0"),
        (lambda: InvertibleMLP(slope=0.0), r"slope in \(0, 1\]"),
        (lambda: InvertibleMLP(slope=1.5), r"slope in \(0, 1\]"),
        (lambda: LinearGaussian(snr=0.0), "finite, positive signal-to-noise ratio"),
        (lambda: LinearGaussian(snr=float("inf")), "finite, positive signal-to-noise ratio"),
        (lambda: AdditiveNoiseMLP(hidden=0), "AdditiveNoiseMLP: hidden must be a whole number of at least 1"),
        (lambda: AdditiveNoiseMLP(noise_scale=-1.0), "noise_scale of at least 0"),
        (lambda: InvertibleMLP(condition=0.5), "condition of at least 1, got condition=0.5"),
        (lambda: Coupling(layers=0), "Coupling: layers must be a whole number of at least 1, got 0"),
        (lambda: Coupling(hidden=0), "Coupling: hidden must be a whole number of at least 1, got 0"),
        (lambda: Coupling(bound=0.0), "Coupling needs a finite, positive bound, got 0.0"),
        (lambda: Heteroscedastic(noise_scale=0.0), "Heteroscedastic needs a finite, positive noise_scale"),
        (lambda: Heteroscedastic(spread=-1.0), "Heteroscedastic needs a finite, positive spread"),
        (lambda: PostNonlinear(tail=0.5), "tail of at least 1, got tail=0.5"),
        (lambda: PostNonlinear(skew=-0.5), "skew of at least 0, got skew=-0.5"),
        (lambda: Polar(noise=StudentT(df=3.0)), r"Polar needs the noise Gaussian\(\), Uniform\(\) or Laplace\(\)"),
    ],
)
def test_mechanisms_refuse_fields_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "mechanism",
    [
        InvertibleMLP(layers=2, slope=0.3),
        InvertibleMLP(activation="smooth", weights="bounded", condition=3.0),
        LinearGaussian(snr=2.5),
        AdditiveNoiseMLP(hidden=3),
        Coupling(bound=1.5),
        Heteroscedastic(spread=2.0),
        PostNonlinear(tail=2.0),
        Polar(noise=Laplace()),
        ProductionRules(inputs=6, vocabulary=3, synonyms=2, children=2, position=1),
    ],
    ids=lambda m: type(m).__name__,
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


@pytest.mark.parametrize("field", ["activation", "weights"])
def test_invertible_mlp_refuses_words_it_does_not_know(field):
    # The type of the argument is checked before the class can check it, where types are checked at all.
    with pytest.raises((ValueError, TypeError), match=field):
        InvertibleMLP(**{field: "magic"})


def test_mechanisms_compare_by_what_they_are():
    assert Coupling() == Coupling(layers=4)
    assert Coupling() != Coupling(layers=3)
    assert len({InvertibleMLP(), InvertibleMLP(activation="smooth"), InvertibleMLP()}) == 2
    assert isinstance(Polar(), Mechanism)
