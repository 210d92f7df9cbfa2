"""No reconstruction depends on a value that its mask hides: Jacobians that are exactly zero."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mae_cases import GRAPH, NETWORKS, SAME_COUNT, STRATEGIES

from hlvm.mae import LossConfig, ViTConfig
from hlvm.mae.networks.networks import attending, build_network, init_flat, unflatten
from hlvm.mae.training.mask_draws import mask_plan
from hlvm.masking import RandomMask
from hlvm.masking.strategies import as_strategy

SQUARED, ENERGY = LossConfig(), LossConfig(score="energy", noise_dim=3)


@functools.cache
def _jacobian(network):
    """d reconstruction / d values of one sample with random parameters, compiled once per network."""
    params = unflatten(network, init_flat(network, jax.random.split(jax.random.key(3), 1))[0])
    noise = jax.random.normal(jax.random.key(6), (2 if network.noise_size else 1, 1, network.noise_size))

    def reconstruct(values, masked):
        return network.reconstruct(params, values[None], masked, jnp.asarray(3), noise)[:, 0]

    return jax.jit(jax.jacobian(reconstruct))


def _network(name, strategy, loss):
    """The network of this strategy; with tokens, one of two shapes that fit many strategies, to compile two only."""
    plan = mask_plan(GRAPH, strategy)
    network = build_network(GRAPH, plan, NETWORKS[name], loss)
    if not attending(network) or strategy in SAME_COUNT.values():
        return network
    return dataclasses.replace(network, n_visible=15, padded=True)


_SLOW = pytest.mark.slow
_LONG = [("bottleneck with a transformer", SQUARED), ("bottleneck with a transformer", ENERGY), ("vit", ENERGY)]
CASES = [
    pytest.param(name, loss, id=f"{name}-{loss.score}", marks=[_SLOW] if (name, loss) in _LONG else [])
    for name in ("linear", "bottleneck", "vit", "bottleneck with a transformer")
    for loss in (SQUARED, ENERGY)
    if (name, loss) != ("linear", ENERGY)  # a linear autoencoder reads no noise
]


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize(("name", "loss"), CASES)
def test_reconstruction_has_zero_sensitivity_to_masked_values(name, loss, strategy):
    network = _network(name, strategy, loss)
    masked = jnp.asarray(np.asarray(as_strategy(strategy).sample(jax.random.key(4), 1, GRAPH)))
    jacobian = np.asarray(_jacobian(network)(jax.random.normal(jax.random.key(5), (64,)), masked))
    columns = np.repeat(np.asarray(masked[0]), 4)
    assert (jacobian[..., columns] == 0).all()  # nothing depends on a masked value, exactly
    assert (jacobian[:, columns][..., ~columns] != 0).any()  # and the masked part does depend on the visible one


@pytest.mark.parametrize("normalize", [pytest.param(False, marks=_SLOW), True], ids=["plain", "normalised targets"])
def test_reconstruction_of_larger_tokens_has_zero_sensitivity_to_masked_values(normalize):
    mask = RandomMask(ratio=0.5, unit=2)
    config = ViTConfig(patch=2, width=8, depth=1, heads=1, decoder_width=8, normalize_targets=normalize)
    network = build_network(GRAPH, mask_plan(GRAPH, mask), config, SQUARED)
    masked = mask.sample(jax.random.key(4), 1, GRAPH)
    jacobian = _jacobian(network)(jax.random.normal(jax.random.key(5), (64,)), masked)
    assert (jacobian[..., np.repeat(np.asarray(masked[0]), 4)] == 0).all()


def test_reconstruction_depends_on_the_noise_at_hidden_tokens_only():
    """The noise is s_m: what is random about the masked part."""
    mask = SAME_COUNT["cells"]
    network = build_network(GRAPH, mask_plan(GRAPH, mask), NETWORKS["vit"], ENERGY)
    params = unflatten(network, init_flat(network, jax.random.split(jax.random.key(3), 1))[0])
    masked = mask.sample(jax.random.key(4), 1, GRAPH)
    values = jax.random.normal(jax.random.key(5), (1, 64))
    slope = jax.jit(jax.jacobian(lambda noise: network.reconstruct(params, values, masked, jnp.asarray(1), noise)))(
        jax.random.normal(jax.random.key(6), (1, 1, network.noise_size))
    )
    by_token = np.abs(slope.reshape(64, 16, 3)).sum(axis=(0, 2))
    np.testing.assert_array_equal(by_token > 0, np.asarray(masked[0]))
