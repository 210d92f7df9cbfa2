"""Samples as they would have been, had some of its variables been set otherwise."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from hlvm.mechanisms import Mechanism
from hlvm.simulator import forward
from hlvm.simulator.interventions import Do, row_maps
from hlvm.simulator.layout import take
from hlvm.simulator.parts import ModelParts
from hlvm.simulator.sample import Sample

__all__ = ["counterfactual"]

_CHECKED_SAMPLES = 16
_FOREIGN = 1e-2
"""A replayed sample of the same model differs by rounding, far less than this relative to one plus its size."""


def counterfactual(model: ModelParts, sample: Sample, do: Do, changed: ModelParts) -> Sample:
    """See ``HierarchicalModel.counterfactual``; ``changed`` is the model after the interventions ``do``."""
    if not sample.layout.same_rows(model.layout):
        raise ValueError(
            "this sample belongs to a model of another graph or with other mechanisms: pass a sample of this one"
        )
    old, new = sample.layout, changed.layout
    values, noises = sample.values.T, sample.noises.T
    if not new.same_rows(old):
        value_map, noise_map = row_maps(old, new)
        for name, given in do.items():
            if isinstance(given, Mechanism) and noise_map[new.noise_slices[name]].min(initial=0) < 0:
                before, after = (s[name].stop - s[name].start for s in (old.noise_slices, new.noise_slices))
                raise ValueError(
                    f"the new mechanism at {name!r} takes {after} noise numbers, but the sample has {before} there, so "
                    f"its noise cannot be kept: use a mechanism that takes {before}, or intervene and sample anew"
                )
        values, noises = take(values, value_map), take(noises, noise_map)
    replaced = np.zeros(new.n_values, dtype=bool)
    for name in [*(n for n, given in do.items() if isinstance(given, Mechanism)), *(n for n, _ in changed.functions)]:
        replaced[new.value_slices[name]] = True
    found, error = _replay(changed, values, noises, jnp.asarray(replaced), min(len(sample), _CHECKED_SAMPLES))
    if not isinstance(error, Tracer) and not float(error) <= _FOREIGN:
        raise ValueError(
            f"this sample was not drawn from this model: its values are off by {float(error):.2g} from what the model "
            f"makes of its noises"
        )
    return Sample(values=found.T, noises=noises.T, layout=new)


@functools.partial(jax.jit, static_argnames="checked")
def _replay(
    model: ModelParts,
    values: Float[Array, "values n"],
    noises: Float[Array, "noises n"],
    replaced: Bool[Array, " values"],
    checked: int,
) -> tuple[Float[Array, "values n"], Float[Array, ""]]:
    """Values under the model's interventions, and how far the sample is from the model without them.

    What an intervention does not reach keeps its value to the last bit: a variable is only computed anew in the samples
    in which one of its parents changed. The first few samples run along a second time without interventions, to see
    whether the model gives them back.
    """
    n = values.shape[1]
    factual = jnp.concatenate([values, values[:, :checked]], axis=1)
    noises = jnp.concatenate([noises, noises[:, :checked]], axis=1)
    active = jnp.arange(n + checked) < n
    hit = replaced if model.set_values is None else replaced | model.set_values.mask
    world = factual
    for group, params in zip(model.layout.groups, model.params, strict=True):
        raw = forward.apply_group(model.layout, group, params, world, noises)
        fitted = forward.standardized(model, group, raw)
        fitted = forward.intervened(model, group, fitted, world, noises, columns=n)
        own = hit[group.values].reshape(len(group.nodes), -1)[:, :1]
        moved = (take(world, group.parent_rows) != take(factual, group.parent_rows)).any(axis=1)
        anew = jnp.where(active, own | moved, ~own)
        rows = jnp.repeat(anew, group.dim, axis=0)
        world = world.at[group.values].set(jnp.where(rows, fitted, factual[group.values]))
    error = jnp.abs(world - factual)[:, n:] / (1 + jnp.abs(factual[:, n:]))
    return world[:, :n], error.max()
