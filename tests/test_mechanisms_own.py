"""Mechanisms from a user's functions, and the numerical check of mechanisms."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from hlvm.mechanisms import (
    AdditiveNoiseMLP,
    Coupling,
    Gaussian,
    Heteroscedastic,
    InvertibleMLP,
    LinearGaussian,
    Mechanism,
    Polar,
    PostNonlinear,
    ProductionRules,
    Uniform,
    check_mechanism,
    mechanism_from_dict,
    mechanism_from_function,
    mechanism_to_dict,
)

KEY = jax.random.key(3)


def shear(parents, noise):
    """(p, e) -> (p, sinh(e) + p_1)."""
    return jnp.concatenate([parents, jnp.sinh(noise) + parents[:1]])


def unshear(value):
    return jnp.concatenate([value[:2], jnp.arcsinh(value[2:] - value[:1])])


SHEAR = mechanism_from_function(shear, unshear, name="shear")


@pytest.mark.parametrize(
    ("mechanism", "dims"),
    [
        (InvertibleMLP(), (3, 2, 5)),
        (InvertibleMLP(activation="smooth", weights="bounded"), (3, 2, 5)),
        (Coupling(), (2, 1, 3)),
        (Polar(), (2, 2, 4)),
        (LinearGaussian(), (3, 1, 2)),
        (AdditiveNoiseMLP(), (3, 1, 2)),
        (Heteroscedastic(), (3, 1, 2)),
        (PostNonlinear(), (3, 1, 2)),
        (ProductionRules(inputs=6, vocabulary=3, synonyms=2, children=2), (1, 1, 1)),
        (SHEAR, (2, 1, 3)),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, Mechanism) else str(case),
)
def test_check_mechanism_finds_nothing_wrong_with_ours(mechanism, dims):
    parent_dim, noise_dim, dim = dims
    report = check_mechanism(mechanism, KEY, parent_dim=parent_dim, noise_dim=noise_dim, dim=dim).require()
    assert report.ok
    assert report.finite
    assert str(report).startswith(f"{type(mechanism).__name__} at 256 random points: no problems")
    assert ("\n  rank: " in str(report)) == (mechanism.n_symbols is None)
    if mechanism.n_symbols is None:
        assert report.rank == min(dim, parent_dim + mechanism.noise_size(parent_dim, noise_dim, dim))
        assert report.smallest_singular_value > 0
    assert (report.round_trip_error is not None) == mechanism.invertible == (report.log_det_error is not None)
    assert (report.noise_error is not None) == mechanism.explicit_noise


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        (mechanism_from_function(shear, lambda value: value), r"invert\(apply\(parents, noise\)\) is off by"),
        (
            mechanism_from_function(
                lambda parents, noise: jnp.concatenate([parents, parents[:1] + 0 * noise]), lambda value: value
            ),
            "rank 2 somewhere, and a bijection needs 3",
        ),
        (
            mechanism_from_function(lambda parents, noise: jnp.log(jnp.concatenate([parents, noise]))),
            "some values are not finite",
        ),
    ],
)
def test_check_mechanism_finds_what_is_wrong(mechanism, message):
    report = check_mechanism(mechanism, KEY, parent_dim=2, noise_dim=1, dim=3)
    assert not report.ok
    with pytest.raises(ValueError, match=f"fails at 256 random points: .*{message}"):
        report.require()


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrongDeterminant(InvertibleMLP):
    """An inverse that is right with a determinant that is not."""

    def log_det(self, params, parents, noise):
        return super().log_det(params, parents, noise) + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrongNoise(LinearGaussian):
    """The noise is given back with the other sign."""

    def noise_of(self, params, parents, value):
        numbers, log_det = super().noise_of(params, parents, value)
        return -numbers, log_det


@pytest.mark.parametrize(
    ("mechanism", "dim", "message"), [(WrongDeterminant(), 3, "log_det is off"), (WrongNoise(), 2, "noise_of is off")]
)
def test_check_mechanism_compares_determinants_and_noises(mechanism, dim, message):
    report = check_mechanism(mechanism, KEY, parent_dim=2, noise_dim=1, dim=dim)
    with pytest.raises(ValueError, match=message):
        report.require()


def test_check_mechanism_refuses_values_of_another_shape():
    short = mechanism_from_function(lambda parents, noise: parents)
    with pytest.raises(ValueError, match=r"apply must return shape \(3,\) for one sample, got \(2,\)"):
        check_mechanism(short, KEY, parent_dim=2, noise_dim=1, dim=3)
    forgets = mechanism_from_function(shear, lambda value: value[:2])
    with pytest.raises(ValueError, match=r"invert must return shape \(3,\) for one sample, got \(2,\)"):
        check_mechanism(forgets, KEY, parent_dim=2, noise_dim=1, dim=3)


def test_check_mechanism_uses_the_noise_it_is_given():
    with pytest.raises(ValueError, match=r"use Polar\(noise=Uniform\(\)\)"):
        check_mechanism(Polar(), KEY, parent_dim=1, noise_dim=1, dim=2, noise=Uniform())
    assert check_mechanism(Polar(noise=Uniform()), KEY, parent_dim=1, noise_dim=1, dim=2, noise=Uniform()).ok


def test_mechanism_from_function_draws_parameters_with_init():
    mechanism = mechanism_from_function(
        lambda params, parents, noise: params["factor"] * parents + noise,
        init=lambda key, parent_dim, noise_size, dim: {"factor": jax.random.normal(key, (dim,))},
        noise_size=2,
    )
    params = mechanism.init(KEY, 2, mechanism.noise_size(2, 1, 2), 2)
    value = mechanism.apply(params, jnp.asarray([1.0, 2.0]), jnp.asarray([0.0, 1.0]))
    assert value.tolist() == (params["factor"] * jnp.asarray([1.0, 2.0]) + jnp.asarray([0.0, 1.0])).tolist()
    assert not mechanism.invertible
    assert mechanism.default_noise == Gaussian()


def test_mechanism_from_function_checks_the_dims_of_a_bijection():
    with pytest.raises(ValueError, match=r"needs dim = parents' dims \+ noise dim = 2 \+ 1"):
        SHEAR.noise_size(2, 1, 4)


def test_mechanism_from_function_is_described_by_its_name():
    assert mechanism_to_dict(SHEAR) == {"kind": "function", "name": "shear"}
    assert mechanism_from_dict({"kind": "function", "name": "shear"}, {"shear": SHEAR}) is SHEAR
    with pytest.raises(ValueError, match="uses the function 'shear': pass the mechanism made from it as known="):
        mechanism_from_dict({"kind": "function", "name": "shear"})
    with pytest.raises(ValueError, match="give it a name"):
        mechanism_to_dict(mechanism_from_function(shear))


def test_mechanisms_without_an_inverse_or_a_density_say_so():
    noisy = mechanism_from_function(shear)
    with pytest.raises(NotImplementedError, match="FunctionMechanism is not invertible"):
        noisy.invert({}, jnp.zeros(3))
    with pytest.raises(NotImplementedError, match="has no density given its parents"):
        noisy.noise_of({}, jnp.zeros(2), jnp.zeros(3))
    with pytest.raises(NotImplementedError, match="noise_scale=0"):
        AdditiveNoiseMLP(noise_scale=0.0).noise_of({}, jnp.zeros(2), jnp.zeros(3))
