"""Layers of transformers: the numbers, derivatives and initial parameters of Flax's layers and of JAX's attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlvm.mae.networks.blocks import Block
from hlvm.mae.networks.layers import Dense, LayerNorm, attend, attention_weights

PRESENT = jnp.asarray([[True, True, True, False, False], [True] * 5])


class _FlaxBlock(nn.Module):
    """The block, from the layers of others."""

    @nn.compact
    def __call__(self, tokens, present=None):
        normed = nn.LayerNorm()(tokens)
        query, key, value = jnp.split(nn.DenseGeneral((2, 12))(normed), 3, axis=-1)
        mask = None if present is None else present[:, None, None, :]
        mixed = jax.nn.dot_product_attention(query, key, value, mask=mask)
        tokens = tokens + nn.DenseGeneral(8, axis=(-2, -1))(mixed)
        hidden = nn.gelu(nn.Dense(24)(nn.LayerNorm()(tokens)))
        return tokens + nn.Dense(8)(hidden)


@pytest.fixture(scope="module")
def blocks():
    """Our block, Flax's, and parameters of which none is at its initial zero or one."""
    ours, tokens = Block(width=8, heads=2, mlp_ratio=3), jax.random.normal(jax.random.key(0), (2, 5, 8))
    params = ours.init(jax.random.key(1), tokens)
    moved = [
        leaf + 0.3 * jax.random.normal(jax.random.key(i), leaf.shape) for i, leaf in enumerate(jax.tree.leaves(params))
    ]
    return ours, _FlaxBlock(), tokens, jax.tree.unflatten(jax.tree.structure(params), moved)


@pytest.mark.parametrize("present", [None, PRESENT])
def test_block_and_its_gradients_equal_those_of_flax_layers(blocks, present):
    ours, flax, tokens, params = blocks

    def loss(apply, params, tokens):
        kept = jnp.ones((2, 5)) if present is None else present
        out = apply(params, tokens, present)
        return jnp.sum(jnp.sin(out) * kept[..., None]), out

    with_grad = jax.value_and_grad(loss, argnums=(1, 2), has_aux=True)
    (_, out), found = with_grad(lambda *a: ours.apply(*a)[0], params, tokens)
    (_, expected), gradient = with_grad(flax.apply, params, tokens)
    rows = np.ones((2, 5), bool) if present is None else np.asarray(present)
    np.testing.assert_allclose(np.asarray(out)[rows], np.asarray(expected)[rows], atol=1e-5)
    assert jax.tree.structure(found) == jax.tree.structure(gradient)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(gradient), strict=True):
        assert np.abs(other).max() > 1e-3
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.slow
def test_gradients_in_bfloat16_are_as_close_as_those_of_flax_layers(blocks):
    """Errors of the whole gradient, against float32; one of a few per cent comes with eight bits."""
    ours, flax, tokens, params = blocks

    def gradient(apply, dtype):
        cast = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, tokens))
        found = jax.grad(lambda p: jnp.sum(jnp.sin(apply(p, cast[1]).astype(jnp.float32))))(cast[0])
        return np.concatenate([np.asarray(leaf, np.float32).ravel() for leaf in jax.tree.leaves(found)])

    exact = gradient(flax.apply, jnp.float32)
    ours_off, flax_off = (
        np.linalg.norm(gradient(apply, jnp.bfloat16) - exact) / np.linalg.norm(exact)
        for apply in (lambda *a: ours.apply(*a)[0], flax.apply)
    )
    assert ours_off < 0.05
    assert ours_off < 2 * flax_off


def test_initial_parameters_are_those_of_flax_layers(blocks):
    ours, flax, tokens, _ = blocks
    found, expected = (block.init(jax.random.key(3), tokens) for block in (ours, flax))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_attention_of_large_scores_stays_finite_and_sums_to_one():
    query, key, value = 40.0 * jax.random.normal(jax.random.key(0), (3, 2, 1, 6, 4))
    weights = attention_weights(query, key)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    assert np.asarray(weights).max() > 1 - 1e-6
    expected = jnp.einsum("nhqk,nhkd->nhdq", weights, value)
    np.testing.assert_allclose(attend(query, key, value), expected, rtol=1e-5, atol=1e-4)
    slopes = jax.grad(lambda *a: attend(*a).sum(), argnums=(0, 1, 2))(query, key, value)
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)


@pytest.mark.parametrize("outputs", [(3,), (2, 5)])  # fewer numbers than it reads, and more
def test_a_dense_layer_after_a_norm_in_bfloat16_is_close_to_float32(outputs):
    layer, norm = Dense(outputs), LayerNorm()
    rows = jax.random.normal(jax.random.key(0), (7, 4))
    params, of_norm = layer.init(jax.random.key(1), rows), norm.init(jax.random.key(2), rows)

    def run(params, of_norm, rows):
        return layer.apply(params, norm.apply(of_norm, rows))

    exact = run(params, of_norm, rows)
    assert exact.shape == (7, *outputs)
    rough = run(*jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, of_norm, rows)))
    assert rough.dtype == jnp.bfloat16
    np.testing.assert_allclose(rough.astype(jnp.float32), exact, atol=0.05)


def test_derivatives_of_several_networks_at_once_are_those_of_each():
    rows, kernels = jax.random.normal(jax.random.key(0), (2, 6, 4)), jax.random.normal(jax.random.key(1), (2, 4, 3))
    layer = Dense((3,))

    def loss(kernel, rows):
        return jnp.sum(layer.apply({"params": {"kernel": kernel, "bias": jnp.ones(3)}}, rows) ** 2)

    slope = jax.grad(loss, argnums=(0, 1))
    together = jax.vmap(slope)(kernels, rows)
    for i in range(2):
        for one, other in zip(slope(kernels[i], rows[i]), together, strict=True):
            np.testing.assert_allclose(one, other[i], rtol=1e-5)
