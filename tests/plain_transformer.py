"""A transformer and the losses of latent targets in plain words, on cells of equal dims: oracles of tests."""

import jax
import jax.numpy as jnp
import numpy as np

from hlvm.mae.objectives import IJEPA


def norm(x, p=None, axis=-1, eps=1e-6):
    x = (x - x.mean(axis, keepdims=True)) / jnp.sqrt(x.var(axis, keepdims=True) + eps)
    return x if p is None else x * p["scale"] + p["bias"]


def dense(x, p):
    return jnp.einsum("nti,io->nto", x, p["kernel"]) + p["bias"]


def run_blocks(x, stacked, depth):
    """Output of the last block, and of the perceptron of each."""
    grown = []
    for i in range(depth):
        p = jax.tree.map(lambda leaf, i=i: leaf[i], stacked)
        first = p["DenseGeneral_0"]
        qkv = jnp.einsum("ntw,whd->nhtd", norm(x, p["LayerNorm_0"]), first["kernel"]) + first["bias"][None, :, None]
        q, k, v = jnp.split(qkv, 3, axis=-1)
        weights = jax.nn.softmax(jnp.einsum("nhqd,nhkd->nhqk", q, k) / q.shape[-1] ** 0.5, axis=-1)
        mixed = jnp.einsum("nhqk,nhkd->nqhd", weights, v)
        x = x + jnp.einsum("nqhd,hdw->nqw", mixed, p["DenseGeneral_1"]["kernel"]) + p["DenseGeneral_1"]["bias"]
        hidden = jax.nn.gelu(dense(norm(x, p["LayerNorm_1"]), p["Dense_0"]), approximate=True)
        grown.append(dense(hidden, p["Dense_1"]))
        x = x + grown[-1]
    return x, grown


def encoded(params, tokens, positions, config):
    """Codes, class token first, and what perceptrons add."""
    p = params["params"]["encoder"]
    x = dense(tokens, p["embed"]) + positions
    x = jnp.concatenate([jnp.broadcast_to(p["class_token"], (len(x), 1, config.width)), x], axis=1)
    x, grown = run_blocks(x, p["encoder_blocks"], config.depth)
    return norm(x, p["encoder_norm"]), grown


def predicted(params, tokens, visible, config):
    """Answers of the decoder at every token, sample by sample."""
    p, rows = params["params"], []
    for row in range(len(tokens)):
        positions = p["encoder"]["positions"]["embedding"][visible[row]]
        codes, _ = encoded(params, tokens[row : row + 1, visible[row]], positions, config)
        lowered = dense(codes, p["decoder_embed"])
        full = jnp.broadcast_to(p["mask_token"], (1, tokens.shape[1], config.decoder_width))
        full = full.at[:, visible[row]].set(lowered[:, 1:]) + p["decoder_positions"]["embedding"]
        out, _ = run_blocks(jnp.concatenate([lowered[:, :1], full], axis=1), p["decoder_blocks"], config.decoder_depth)
        rows.append(dense(norm(out[:, 1:], p["decoder_norm"]), p["to_token"])[0])
    return jnp.stack(rows)


def cut(samples):
    """Tokens of samples, one per cell."""
    return samples.values.reshape(*samples.masked.shape, -1)


def visible_in(masked):
    """Visible cells of every row."""
    return [np.flatnonzero(~row) for row in np.asarray(masked)]


def pooled(params, samples, masked, config):
    """The mean of the codes of visible tokens, sample by sample."""
    tokens, positions, rows = cut(samples), params["params"]["encoder"]["positions"]["embedding"], []
    for row, seen in enumerate(visible_in(masked)):
        codes, _ = encoded(params, tokens[row : row + 1, seen], positions[seen], config)
        rows.append(codes[0, 1:].mean(axis=0))
    return jnp.stack(rows)


def latent_target_loss(loss, config, params, teacher, samples):
    """Mean distance from the teacher's codes at masked tokens."""
    tokens, masked = cut(samples), np.asarray(samples.masked)
    source = teacher if loss.stop_gradient else params
    codes, grown = encoded(source, tokens, source["params"]["encoder"]["positions"]["embedding"], config)
    if isinstance(loss, IJEPA):
        target = norm(codes[:, 1:], eps=1e-5)
    else:
        axis = -1 if loss.normalize == "layer" else -2
        top = [norm(one[:, 1:], axis=axis, eps=1e-5) for one in grown[-loss.top_blocks :]]
        target = sum(top) / len(top)
    apart = predicted(params, tokens, visible_in(masked), config) - target
    if loss.distance == "squared":
        each = apart**2
    else:
        size = jnp.abs(apart)
        each = jnp.where(size < loss.beta, apart**2 / (2 * loss.beta), size - loss.beta / 2)
    return each.mean(axis=-1)[masked].mean()
