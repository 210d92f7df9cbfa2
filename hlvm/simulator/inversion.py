"""From observed variables back to all latents and noises, when every mechanism is invertible.

The inverse of each observed variable gives all its ancestors, so a latent is found as many times as it has observed
descendants, each time with rounding errors magnified by other derivatives. They are combined as a least-squares fit
would combine them, to first order: on the way up each estimate carries a covariance, and children are averaged with the
inverses of theirs as weights; on the way down what a variable's own subtree said of its noise is corrected by what all
the others said of its parents. One unit of variance stands for one unit of rounding of each variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hlvm.mechanisms.small_matrices import spd_inverse
from hlvm.simulator import forward
from hlvm.simulator.layout import Layout, take
from hlvm.simulator.parts import ModelParts
from hlvm.simulator.sample import Sample

__all__ = ["invert", "observed_array"]

_CHUNK_NUMBERS = 2**22
"""Most numbers that the covariances of one batch of samples may hold."""


def invert(model: ModelParts, observed: Any, tolerance: float) -> Sample:
    """See ``HierarchicalModel.invert``."""
    _check_invertible(model)
    given = observed_array(model, observed)
    if not np.isfinite(given).all():
        row = int(np.flatnonzero(~np.isfinite(given).all(axis=1))[0])
        raise ValueError(f"row {row} of the observed values holds a number that is not finite")
    n = len(given)
    per_sample = sum(len(g.nodes) * g.dim**2 for g in model.layout.groups)
    # Powers of two, so that other numbers of samples find a compiled program.
    size = min(1 << (n - 1).bit_length(), max(1, _CHUNK_NUMBERS // per_sample))
    values, noises = np.empty((n, model.layout.n_values)), np.empty((n, model.layout.n_noises))
    with jax.enable_x64(True):
        exact = jax.tree.map(_to_float64, model)
        for start in range(0, n, size):
            rows = np.arange(start, min(start + size, n))
            padded = np.concatenate([rows, np.full(size - len(rows), rows[-1])])  # one shape, one compilation
            recovered = _recover(exact, jnp.asarray(given[padded]))
            found, entered, disagreement, residual = (np.asarray(array)[:, : len(rows)] for array in recovered)
            _check_consistent(model.layout, rows, disagreement, residual, tolerance)
            values[rows], noises[rows] = found.T, entered.T
    values[:, model.layout.observed_rows] = given
    return Sample(values=jnp.asarray(values, jnp.float32), noises=jnp.asarray(noises, jnp.float32), layout=model.layout)


def observed_array(model: ModelParts, observed: Any) -> np.ndarray:
    """Observed values as a float64 array, (n, total observed dims).

    Raises:
        ValueError: they are not those of this model's observed variables.
    """
    graph = model.graph
    total = sum(graph.dim(name) for name in graph.observed)
    if isinstance(observed, Sample):
        if observed.graph != graph:
            raise ValueError("this sample belongs to another graph: pass one of this model")
        observed = observed.observed_matrix
    if isinstance(observed, Mapping):
        missing = [name for name in graph.observed if name not in observed]
        if missing:
            raise ValueError(f"no values for observed variable {missing[0]!r}: every observed variable is needed")
        columns = {name: np.asarray(observed[name], dtype=np.float64) for name in graph.observed}
        n = {len(array) for array in columns.values() if array.ndim}
        for name, array in columns.items():
            if array.ndim != 2 or array.shape[1] != graph.dim(name) or len(n) > 1:
                raise ValueError(f"{name!r} must have shape (n, {graph.dim(name)}), got {array.shape}")
        return np.concatenate(list(columns.values()), axis=1)
    array = np.asarray(observed, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != total or not len(array):
        raise ValueError(
            f"observed values must have shape (n, {total}), the observed variables side by side, or be a mapping from "
            f"their names to arrays; got shape {array.shape}"
        )
    return array


def _check_invertible(model: ModelParts) -> None:
    for name, mechanism in zip(model.graph.nodes, model.layout.mechanisms, strict=True):
        if mechanism is not None and not mechanism.invertible:
            raise ValueError(
                f"variable {name!r} has the mechanism {type(mechanism).__name__}, which is not invertible: its parents "
                f"are only partly recoverable from it. Use invertible mechanisms everywhere, or keep the Sample, which "
                f"holds its latents and noises"
            )
    if model.interventions:
        raise ValueError(
            f"variable {model.interventions[0]!r} was set by an intervention and no longer tells its parents: invert "
            f"the model before the intervention"
        )


def _to_float64(leaf: Array) -> Array:
    return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


@jax.jit
def _recover(
    model: ModelParts, observed: Float[Array, "n x"]
) -> tuple[Float[Array, "values n"], Float[Array, "noises n"], Float[Array, "latents n"], Float[Array, "x n"]]:
    """Values, noises, by how much the children of each latent disagree, and how far the observed values are missed.

    Disagreements are in the units of the observed values: how far those would have to move. Misses are relative to one
    plus the size of the observed values.
    """
    layout = model.layout
    n = observed.shape[0]
    known = jnp.zeros((layout.n_values, n)).at[layout.observed_rows].set(observed.T)
    inputs: list[Array] = [known] * len(layout.groups)  # per group: parents' values and noise, (k, n, p + e)
    gains: list[Array] = [known] * len(layout.groups)  # per group: noise per parents' values, (k, n, e, p)
    messages: dict[int, list[tuple[np.ndarray, Array, Array]]] = {}
    disagreement = jnp.zeros((len(layout.graph.nodes), n))

    for g in reversed(range(len(layout.groups))):
        group, params = layout.groups[g], model.params[g]
        k, d = len(group.nodes), group.dim
        unit = jnp.eye(d)[None, None]
        if group.observed:
            value = known[group.values].reshape(k, d, n).transpose(0, 2, 1)
            covariance = jnp.broadcast_to(unit, (k, n, d, d))
        else:
            value, covariance, apart = _combined(messages[g], (k, n, d))
            disagreement = disagreement.at[np.asarray(group.nodes)].set(apart)
            covariance = covariance + unit
        if group.mechanism is None:
            inputs[g] = value
            continue
        scale = model.scale[group.values].reshape(k, 1, d)
        raw = value * scale + model.shift[group.values].reshape(k, 1, d)
        inverse, derivative = jax.vmap(jax.vmap(_with_derivative(group.mechanism.invert), (None, 0)))(params, raw)
        derivative = derivative * scale[..., None, :]
        spread = derivative @ covariance @ derivative.mT
        p = group.parent_rows.shape[1]
        inputs[g] = inverse
        all_parents = spd_inverse(spread[..., :p, :p])
        gains[g] = spread[..., p:, :p] @ all_parents
        for link in layout.links[g]:
            block = slice(link.offset, link.offset + layout.groups[link.parent_group].dim)
            only = block == slice(0, p)
            weight = (all_parents if only else spd_inverse(spread[..., block, block]))[link.children]
            messages.setdefault(link.parent_group, []).append((link.parents, inverse[link.children, :, block], weight))

    values, noises = jnp.zeros((layout.n_values, n)), jnp.zeros((layout.n_noises, n))
    for g, (group, params) in enumerate(zip(layout.groups, model.params, strict=True)):
        p = group.parent_rows.shape[1] if group.mechanism is not None else 0
        noise = inputs[g][..., p:]
        if group.mechanism is not None:
            parents = take(values, group.parent_rows).transpose(0, 2, 1)
            noise = noise + jnp.einsum("knep,knp->kne", gains[g], parents - inputs[g][..., :p])
        noises = noises.at[group.noises].set(noise.transpose(0, 2, 1).reshape(-1, n))
        raw = forward.apply_group(layout, group, params, values, noises)
        values = values.at[group.values].set(forward.standardized(model, group, raw))
    residual = (values[layout.observed_rows] - observed.T) / (1 + jnp.abs(observed.T))
    return values, noises, disagreement, residual


def _with_derivative(function: Any) -> Any:
    """``(params, value) -> function(params, value)`` and its derivative by the value."""

    def both(params: Any, value: Array) -> tuple[Array, Array]:
        def twice(at: Array) -> tuple[Array, Array]:
            found = function(params, at)
            return found, found

        derivative, found = jax.jacfwd(twice, has_aux=True)(value)
        return found, derivative

    return both


def _combined(
    messages: list[tuple[np.ndarray, Array, Array]], shape: tuple[int, int, int]
) -> tuple[Float[Array, "k n d"], Float[Array, "k n d d"], Float[Array, "k n"]]:
    """Estimates of children averaged with their weights, the average's covariance, and the largest disagreement."""
    k, n, d = shape
    weights, weighted = jnp.zeros((k, n, d, d)), jnp.zeros((k, n, d))
    for parents, estimate, weight in messages:
        weights = weights.at[parents].add(weight)
        weighted = weighted.at[parents].add(jnp.einsum("knij,knj->kni", weight, estimate))
    covariance = spd_inverse(weights)
    value = jnp.einsum("knij,knj->kni", covariance, weighted)
    apart = jnp.zeros((k, n))
    for parents, estimate, weight in messages:
        off = estimate - value[parents]
        squared = jnp.einsum("kni,knij,knj->kn", off, weight, off)
        apart = apart.at[parents].max(jnp.sqrt(jnp.maximum(squared, 0.0)))
    return value, covariance, apart


def _check_consistent(
    layout: Layout, rows: np.ndarray, disagreement: np.ndarray, residual: np.ndarray, tolerance: float
) -> None:
    """Refuse observed values that no sample can have: children disagree about a latent, or no inverse is finite."""
    graph = layout.graph
    if not np.isfinite(residual).all():
        at, column = np.argwhere(~np.isfinite(residual))[0]
        name = next(
            name
            for name in graph.observed
            if layout.observed_rows[at] in range(layout.value_slices[name].start, layout.value_slices[name].stop)
        )
        raise ValueError(
            f"row {rows[column]}: the values of {name!r} have no inverse within the range of floating-point numbers"
        )
    size = np.abs(residual).max(axis=0)
    worst = int(size.argmax())
    if size[worst] <= tolerance:
        return
    latent = int(disagreement[:, worst].argmax())
    raise ValueError(
        f"no sample of this model has these observed values: in row {rows[worst]} the children of "
        f"{graph.nodes[latent]!r} disagree about it, by {disagreement[latent, worst]:.3g} in units of the observed "
        f"values, and the nearest sample found is {size[worst]:.3g} away (tolerance {tolerance:g})"
    )
