"""Noises against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hlvm.mechanisms import (
    Bernoulli,
    Categorical,
    Gaussian,
    Laplace,
    StudentT,
    Uniform,
    noise_from_dict,
    noise_to_dict,
)

N = 20_000
FALSE_ALARM = 1e-3
"""Chance that a correct noise fails one goodness-of-fit test; the seed is fixed, so that it either does or does not."""

CONTINUOUS = [
    (Gaussian(), stats.norm()),
    (Uniform(), stats.uniform(-np.sqrt(3), 2 * np.sqrt(3))),
    (Laplace(), stats.laplace(scale=np.sqrt(0.5))),
    (StudentT(df=5.0), stats.t(5, scale=np.sqrt(3 / 5))),
    (StudentT(df=1.0), stats.cauchy()),
]
NAMES = [str(noise) for noise, _ in CONTINUOUS]
DISCRETE = [
    (Bernoulli(p=0.3), [0.7, 0.3]),
    (Categorical(n=5), [0.2] * 5),
    (Categorical(probabilities=(0.5, 0.1, 0.4)), [0.5, 0.1, 0.4]),
]


def draws(noise, seed=0):
    return np.asarray(jax.jit(lambda key: noise.sample(key, (N,)))(jax.random.key(seed)), dtype=np.float64)


@pytest.mark.parametrize(("noise", "law"), CONTINUOUS, ids=NAMES)
def test_continuous_noise_follows_its_law(noise, law):
    assert stats.kstest(draws(noise), law.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize(("noise", "law"), CONTINUOUS, ids=NAMES)
def test_continuous_noise_has_the_log_density_of_scipy(noise, law):
    points = np.linspace(-6, 6, 201)
    expected = law.logpdf(points)
    np.testing.assert_allclose(noise.log_prob(jnp.asarray(points, jnp.float32)), expected, rtol=2e-5, atol=2e-5)
    assert not noise.discrete
    assert noise.variance == (law.var() if np.isfinite(law.var()) else np.inf) or abs(noise.variance - law.var()) < 1e-9


@pytest.mark.parametrize(("noise", "law"), CONTINUOUS[:3], ids=NAMES[:3])
def test_distribution_functions_and_quantiles_are_those_of_scipy(noise, law):
    points = np.linspace(-4, 4, 101)
    chances = np.linspace(0.001, 0.999, 101)
    np.testing.assert_allclose(noise.cdf(jnp.asarray(points, jnp.float32)), law.cdf(points), atol=1e-6)
    # float32 chances near 1 are known to 6e-8, which the density of the tails turns into about 1e-4.
    np.testing.assert_allclose(noise.quantile(jnp.asarray(chances, jnp.float32)), law.ppf(chances), atol=1e-4)
    tiny = np.asarray([1e-6, 1e-12])
    np.testing.assert_allclose(noise.quantile(jnp.asarray(tiny, jnp.float32)), law.ppf(tiny), rtol=1e-5)


@pytest.mark.parametrize(("noise", "chances"), DISCRETE, ids=str)
def test_discrete_noise_follows_its_probabilities(noise, chances):
    values, counts = np.unique(draws(noise), return_counts=True)
    np.testing.assert_array_equal(values, np.arange(len(chances)))
    assert stats.chisquare(counts, N * np.asarray(chances)).pvalue > FALSE_ALARM
    mean = np.arange(len(chances)) @ chances
    assert noise.variance == pytest.approx((np.arange(len(chances)) - mean) ** 2 @ chances)
    assert noise.discrete
    assert noise.n_symbols == len(chances)


@pytest.mark.parametrize(("noise", "chances"), DISCRETE, ids=str)
def test_discrete_noise_has_log_probabilities_on_its_values_only(noise, chances):
    at = jnp.asarray([*range(len(chances)), -1.0, 0.5, len(chances), jnp.nan], jnp.float32)
    expected = np.concatenate([np.log(chances), np.full(4, -np.inf)])
    np.testing.assert_allclose(noise.log_prob(at), expected, rtol=1e-5)


@pytest.mark.parametrize("noise", [noise for noise, _ in (*CONTINUOUS, *DISCRETE)], ids=str)
def test_noise_dict_round_trip(noise):
    assert noise_from_dict(noise_to_dict(noise)) == noise


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StudentT(df=0.0), "positive degrees of freedom, got df=0.0"),
        (lambda: Bernoulli(p=1.0), "strictly between 0 and 1, got p=1.0"),
        (lambda: Categorical(), "got n=None"),
        (lambda: Categorical(n=0), "got n=0"),
        (lambda: Categorical(probabilities=(0.5, 0.4)), "sum to one"),
        (lambda: Categorical(probabilities=(1.0, 0.0)), "positive probabilities"),
        (lambda: Categorical(n=3, probabilities=(0.5, 0.5)), "2 probabilities for n=3"),
        (lambda: noise_from_dict({"kind": "Pink"}), "unknown noise 'Pink'; known: .*Gaussian"),
        (lambda: noise_from_dict({"kind": "Laplace", "df": 3}), "noise Laplace: .*df"),
    ],
)
def test_noises_refuse_fields_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
