"""From keys to parameters, from noises to values: the traced programs behind a model.

Samples are the minor axis of every buffer here, where vector units work along. One batched call computes a level group.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from hlvm.mechanisms import Gaussian, Params
from hlvm.simulator.layout import Group, Layout, take
from hlvm.simulator.parts import ModelParts

__all__ = [
    "apply_group",
    "calibrate",
    "draw_noises",
    "draw_params",
    "intervened",
    "propagate",
    "standardized",
    "values_by_row",
]

CALIBRATION_SAMPLES = 4096
_BLOCK = 512
"""On CPUs so many samples at most are computed at once: what they need then stays in the cache."""

_LAST = 2**32 - 1
"""Numbers from here downwards make new keys from old ones; drawing and splitting count upwards from zero.

So a key may be used both ways: ``jax.random.clone`` says so where JAX is asked to look for keys used twice.
"""


# ---------------------------------------------------------------------- parameters


def draw_params(layout: Layout, key: PRNGKeyArray) -> tuple[Params, ...]:
    """The parameters of every level group, stacked over its variables."""
    node_keys = jax.random.split(jax.random.clone(key), len(layout.graph.nodes))
    return tuple(_draw_group(layout, group, key, node_keys) for group in layout.groups)


def _draw_group(layout: Layout, group: Group, key: PRNGKeyArray, node_keys: Key[Array, " nodes"]) -> Params:
    mechanism = group.mechanism
    if mechanism is None:
        return {}
    parents = [layout.graph.parent_indices[node] for node in group.nodes]
    share = np.arange(len(group.nodes))
    if mechanism.key_scope == "variable":
        keys = jax.random.clone(node_keys)[np.asarray(group.nodes)]  # other rows of it are used elsewhere
    elif mechanism.key_scope == "siblings":
        families = list(dict.fromkeys(parents))
        share = np.asarray([families.index(above) for above in parents])
        first = jax.random.clone(node_keys)[np.asarray([above[0] for above in families])]
        keys = jax.vmap(lambda own: jax.random.fold_in(own, _LAST))(first)
    else:
        share = np.zeros(len(group.nodes), dtype=int)
        keys = jax.random.fold_in(key, _LAST - group.depth)[None]
    parent_dim = group.parent_rows.shape[1]
    drawn = jax.vmap(lambda own: mechanism.init(own, parent_dim, group.noise_size, group.dim))(keys)
    return drawn if mechanism.key_scope == "variable" else jax.tree.map(lambda leaf: leaf[share], drawn)


def calibrate(
    model: ModelParts, key: PRNGKeyArray, rows: np.ndarray
) -> tuple[Float[Array, " values"], Float[Array, " values"], Float[Array, " values"]]:
    """Shift and scale of the model, those of some rows estimated anew with everything above them in place.

    The third array says how evenly the draws make up the scale: their mean absolute deviation over their standard
    deviation, 0.8 for a normal law, ``2 / sqrt(draws)`` if a single draw stands out; 1 where nothing was estimated.

    Args:
        model: the model; its shift and scale are kept elsewhere.
        key: for the draws.
        rows: which rows of the value buffer to estimate, booleans.
    """
    noises = draw_noises(model, key, CALIBRATION_SAMPLES)
    values = jnp.zeros((model.layout.n_values, CALIBRATION_SAMPLES))
    shift, scale, evenness = model.shift, model.scale, jnp.ones(model.layout.n_values)
    for group, params in zip(model.layout.groups, model.params, strict=True):
        raw = apply_group(model.layout, group, params, values, noises)
        free = rows[group.values]
        if free.any():
            mean, spread = raw.mean(axis=1), raw.std(axis=1)
            constant = spread == 0
            spread = jnp.where(constant, 1.0, spread)
            shift = shift.at[group.values].set(jnp.where(free, mean, shift[group.values]))
            scale = scale.at[group.values].set(jnp.where(free, spread, scale[group.values]))
            even = jnp.abs(raw - mean[:, None]).mean(axis=1) / spread
            evenness = evenness.at[group.values].set(jnp.where(constant | ~free, 1.0, even))
        fitted = (raw - shift[group.values, None]) / scale[group.values, None]
        values = values.at[group.values].set(intervened(model, group, fitted, values, noises))
    return shift, scale, evenness


# ---------------------------------------------------------------------- samples


def draw_noises(model: ModelParts, key: PRNGKeyArray, n: int) -> Float[Array, "noises n"]:
    """All noises of ``n`` samples.

    Gaussian numbers are drawn for every row as long as one row needs them, so that they stay the same when other rows
    get another law.
    """
    layout = model.layout
    kinds = layout.noise_kinds
    gaussian = any(noise == Gaussian() for noise, _ in kinds)
    shape = (layout.n_noises, n)
    drawn = jax.random.normal(key, shape) if gaussian else jnp.zeros(shape)
    others = [(noise, rows) for noise, rows in kinds if noise != Gaussian()]
    for i, (noise, rows) in enumerate(others):
        own = noise.sample(jax.random.fold_in(key, _LAST - i), (len(rows) * n,)).reshape(len(rows), n)
        drawn = own if len(rows) == layout.n_noises else drawn.at[rows].set(own)
    if model.noise_shift is not None:
        drawn = model.noise_shift.loc[:, None] + model.noise_shift.scale[:, None] * drawn
    return drawn


def propagate(model: ModelParts, noises: Float[Array, "noises n"]) -> Float[Array, "values n"]:
    """Values of all variables from their noises."""
    values = jnp.zeros((model.layout.n_values, noises.shape[1]), noises.dtype)
    for group, params in zip(model.layout.groups, model.params, strict=True):
        fitted = standardized(model, group, apply_group(model.layout, group, params, values, noises))
        values = values.at[group.values].set(intervened(model, group, fitted, values, noises))
    return values


def values_by_row(model: ModelParts, noises: Float[Array, "noises n"]) -> Float[Array, "n values"]:
    """Values of all variables from their noises, one row per sample.

    On CPUs many samples are computed in blocks of equal size; the last block overlaps the one before where they do not
    divide the samples. Interventions that see all samples at once need them in one piece.
    """
    n = noises.shape[1]
    sees_all = model.functions or (model.set_values is not None and model.set_values.values.shape[1] > 1)
    if n <= _BLOCK or sees_all:
        return propagate(model, noises).T
    n_blocks = -(-n // _BLOCK)
    size = -(-n // n_blocks)

    def in_blocks(model: ModelParts, noises: Array) -> Array:
        def add(i: Array, rows: Array) -> Array:
            start = jnp.minimum(i * size, n - size)
            block = propagate(model, jax.lax.dynamic_slice_in_dim(noises, start, size, axis=1))
            return jax.lax.dynamic_update_slice_in_dim(rows, block.T, start, axis=0)

        return jax.lax.fori_loop(0, n_blocks, add, jnp.zeros((n, model.layout.n_values), noises.dtype))

    def at_once(model: ModelParts, noises: Array) -> Array:
        return propagate(model, noises).T

    return jax.lax.platform_dependent(model, noises, cpu=in_blocks, default=at_once)


def apply_group(
    layout: Layout,
    group: Group,
    params: Params,
    values: Float[Array, "values n"],
    noises: Float[Array, "noises n"],
) -> Float[Array, "rows n"]:
    """Raw values of one group before shift and scale, (k * dim, n).

    Raises:
        ValueError: a mechanism returns values of another shape than its variable has.
    """
    own = noises[group.noises]
    if group.mechanism is None:
        return own
    k, n = len(group.nodes), noises.shape[1]
    over_samples = jax.vmap(group.mechanism.apply, in_axes=(None, -1, -1), out_axes=-1)
    over_nodes = jax.vmap(over_samples)
    out = over_nodes(params, take(values, group.parent_rows), own.reshape(k, group.noise_size, n))
    if out.shape != (k, group.dim, n):
        raise ValueError(
            f"variable {layout.graph.nodes[group.nodes[0]]!r}: its mechanism must return shape ({group.dim},) for one "
            f"sample, got {out.shape[1:-1]}"
        )
    return out.reshape(k * group.dim, n)


def standardized(model: ModelParts, group: Group, raw: Float[Array, "rows n"]) -> Float[Array, "rows n"]:
    """Raw values of a group, shifted and scaled as the model says."""
    return (raw - model.shift[group.values, None]) / model.scale[group.values, None]


def intervened(
    model: ModelParts,
    group: Group,
    fitted: Float[Array, "rows n"],
    values: Float[Array, "values n"],
    noises: Float[Array, "noises n"],
    columns: int | None = None,
) -> Float[Array, "rows n"]:
    """Values of a group with the model's interventions in place.

    Args:
        model: the model.
        group: the group.
        fitted: its values without interventions.
        values: the value buffer, complete above the group.
        noises: the noise buffer.
        columns: how many samples the interventions hold for, counted from the first; ``None``: all.
    """
    own = [(name, fn) for name, fn in model.functions if model.graph.index[name] in group.nodes]
    if model.set_values is None and not own:
        return fitted
    n = fitted.shape[1] if columns is None else columns
    head = fitted[:, :n]
    if model.set_values is not None:
        wanted = model.set_values.values[group.values]
        wanted = wanted if wanted.shape[1] in (1, n) else wanted[:, np.arange(n) % wanted.shape[1]]
        head = jnp.where(model.set_values.mask[group.values, None], wanted, head)
    slices, noise_slices = model.layout.value_slices, model.layout.noise_slices
    for name, fn in own:
        parents = {parent: values[slices[parent], :n].T for parent in model.graph.parents(name)}
        found = jnp.asarray(fn(parents, noises[noise_slices[name], :n].T), fitted.dtype)
        if found.shape != (n, model.graph.dim(name)):
            raise ValueError(
                f"the intervention on {name!r} must return shape ({n}, {model.graph.dim(name)}), got {found.shape}"
            )
        start = slices[name].start - group.values.start
        head = head.at[start : start + group.dim].set(found.T)
    return head if n == fitted.shape[1] else jnp.concatenate([head, fitted[:, n:]], axis=1)
