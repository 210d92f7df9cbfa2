"""Log densities of samples, where they exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from hlvm.mechanisms import Params
from hlvm.simulator.layout import Group, Layout, take
from hlvm.simulator.parts import ModelParts
from hlvm.simulator.sample import Sample

__all__ = ["log_prob", "noise_log_prob"]


def log_prob(model: ModelParts, sample: Sample | Mapping[str, Any]) -> Float[Array, " n"]:
    """See ``HierarchicalModel.log_prob``."""
    if model.functions:
        raise ValueError(
            f"{model.functions[0][0]!r} was set by a function, whose density is unknown: use noise_log_prob"
        )
    why_not = _why_no_joint_density(model)
    if why_not is None:
        return _joint(model, _buffer(model, sample, model.graph.nodes))
    if _single_children(model):
        return _of_observed(model, _buffer(model, sample, model.graph.observed))
    raise ValueError(f"{why_not}. Use noise_log_prob, the density of the noises, which always exists")


def noise_log_prob(model: ModelParts, sample: Sample) -> Float[Array, " n"]:
    """See ``HierarchicalModel.noise_log_prob``."""
    if not sample.layout.same_rows(model.layout):
        raise ValueError("this sample belongs to a model of another graph or with other mechanisms")
    return _of_noises(model, sample.noises.T, jnp.ones(model.layout.n_noises, dtype=bool))


# ---------------------------------------------------------------------- which density exists


def _why_no_joint_density(model: ModelParts) -> str | None:
    """The reason why there is no joint density, naming the first variable at fault; ``None`` when there is one."""
    # Inside jit it is not known which variables were set; all of them must then have a density.
    traced = model.set_values is not None and isinstance(model.set_values.mask, Tracer)
    set_values = set() if traced else set(model.interventions)
    for name, mechanism, noise in zip(model.graph.nodes, model.layout.mechanisms, model.layout.noises, strict=True):
        if mechanism is None or name in set_values:
            continue
        kind = type(mechanism).__name__
        if mechanism.invertible:
            size = model.layout.noise_slices[name]
            return (
                f"the variables have no joint density: {name!r} holds {model.graph.dim(name)} numbers, but {kind} "
                f"makes them from its parents and {size.stop - size.start} noise numbers, so they lie on a surface "
                f"that the parents set; and the observed variables alone have one here only if all mechanisms are "
                f"invertible, all noises continuous, and no latent has several children, which would all tell the same "
                f"of it"
            )
        if not mechanism.explicit_noise:
            return f"{name!r} has the mechanism {mechanism}, whose value has no known density given its parents"
        if noise.discrete and mechanism.n_symbols is None:
            return f"{name!r} mixes real-valued parents with the discrete noise {noise}, and so has no density"
    return None


def _single_children(model: ModelParts) -> bool:
    """Tell whether the map from all noises to the observed variables is a bijection between spaces of one dim."""
    return (
        model.invertible
        and all(len(children) == 1 for children in model.graph.child_indices[: model.graph.n_latents])
        and not any(noise.discrete for noise in model.layout.noises)
    )


def _buffer(model: ModelParts, sample: Sample | Mapping[str, Any], names: tuple[str, ...]) -> Float[Array, "values n"]:
    """The values of some variables in their rows, the other rows zero."""
    if isinstance(sample, Sample):
        if not sample.layout.same_rows(model.layout):
            raise ValueError("this sample belongs to a model of another graph or with other mechanisms")
        return sample.values.T
    missing = [name for name in names if name not in sample]
    if missing:
        raise ValueError(f"no values for variable {missing[0]!r}: this density needs {len(names)} variables")
    columns = {name: jnp.asarray(sample[name]) for name in names}
    n = {array.shape[0] for array in columns.values() if array.ndim}
    for name, array in columns.items():
        if array.ndim != 2 or array.shape[1] != model.graph.dim(name) or len(n) > 1:
            raise ValueError(f"{name!r} must have shape (n, {model.graph.dim(name)}), got {array.shape}")
    values = jnp.zeros((model.layout.n_values, n.pop()))
    for name, array in columns.items():
        values = values.at[model.layout.value_slices[name]].set(array.T)
    return values


# ---------------------------------------------------------------------- the traced programs


@jax.jit
def _joint(model: ModelParts, values: Float[Array, "values n"]) -> Float[Array, " n"]:
    """Sum of the log densities of every variable given its parents; variables that were set count as given."""
    layout = model.layout
    n = values.shape[1]
    free = jnp.ones(layout.n_values, dtype=bool) if model.set_values is None else ~model.set_values.mask
    noises, total = jnp.zeros((layout.n_noises, n)), jnp.zeros(n)
    free_noises = jnp.ones(layout.n_noises, dtype=bool)
    for group, params in zip(layout.groups, model.params, strict=True):
        k, d = len(group.nodes), group.dim
        scale = model.scale[group.values, None]
        raw = values[group.values] * scale + model.shift[group.values, None]
        log_dets = jnp.broadcast_to(-jnp.log(scale).reshape(k, d).sum(axis=1, keepdims=True), (k, n))
        numbers = raw
        own = free[group.values].reshape(k, d)[:, 0]
        if group.mechanism is not None and not group.mechanism.explicit_noise:
            free_noises = free_noises.at[group.noises].set(False)  # all of them were set
            continue
        if group.mechanism is not None:
            over_samples = jax.vmap(group.mechanism.noise_of, in_axes=(None, -1, -1), out_axes=(-1, -1))
            parents = take(values, group.parent_rows)
            numbers, own_dets = jax.vmap(over_samples)(params, parents, raw.reshape(k, d, n))
            log_dets = log_dets + own_dets
        noises = noises.at[group.noises].set(numbers.reshape(-1, n))
        free_noises = free_noises.at[group.noises].set(jnp.repeat(own, group.noise_size))
        total = total - jnp.where(own[:, None], log_dets, 0.0).sum(axis=0)
    return total + _of_noises(model, noises, free_noises)


@jax.jit
def _of_observed(model: ModelParts, values: Float[Array, "values n"]) -> Float[Array, " n"]:
    """Change of variables from the noises to the observed variables, when every latent has exactly one child."""
    layout = model.layout
    n = values.shape[1]
    noises, total = jnp.zeros((layout.n_noises, n)), jnp.zeros(n)
    for group, params in reversed(list(zip(layout.groups, model.params, strict=True))):
        scale = model.scale[group.values, None]
        raw = values[group.values] * scale + model.shift[group.values, None]
        total = total + jnp.log(scale).sum()
        if group.mechanism is None:
            noises = noises.at[group.noises].set(raw)
            continue
        parents, numbers, log_dets = _inverse(layout, group, params, raw)
        total = total - log_dets
        noises = noises.at[group.noises].set(numbers)
        values = values.at[group.parent_rows.reshape(-1)].set(parents)
    return total + _of_noises(model, noises, jnp.ones(layout.n_noises, dtype=bool))


def _inverse(
    layout: Layout, group: Group, params: Params, raw: Float[Array, "rows n"]
) -> tuple[Float[Array, "parents n"], Float[Array, "noises n"], Float[Array, " n"]]:
    """Parents' values, noises and summed log-determinants of one group."""
    mechanism = group.mechanism
    assert mechanism is not None  # for the type checker: roots have no inverse
    k, p, n = len(group.nodes), group.parent_rows.shape[1], raw.shape[1]

    def one(own: Params, value: Array) -> tuple[Array, Array]:
        inputs = mechanism.invert(own, value)
        return inputs, mechanism.log_det(own, inputs[:p], inputs[p:])

    over_samples = jax.vmap(one, in_axes=(None, -1), out_axes=(-1, -1))
    inputs, log_dets = jax.vmap(over_samples)(params, raw.reshape(k, group.dim, n))
    return inputs[:, :p].reshape(-1, n), inputs[:, p:].reshape(-1, n), log_dets.sum(axis=0)


def _of_noises(model: ModelParts, noises: Float[Array, "noises n"], free: Array | np.ndarray) -> Float[Array, " n"]:
    """Sum of the log densities of the noises in the rows that are free."""
    total = jnp.zeros(noises.shape[1])
    for law, rows in model.layout.noise_kinds:
        own = noises[rows]
        if model.noise_shift is None:
            log_probs = law.log_prob(own)
        else:
            loc, scale = (array[rows, None] for array in model.noise_shift)
            log_probs = law.log_prob((own - loc) / scale) - jnp.log(scale)
        total = total + jnp.where(free[rows, None], log_probs, 0.0).sum(axis=0)
    return total
