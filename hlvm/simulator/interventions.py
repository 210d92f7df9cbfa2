"""Changing a model: setting variables, replacing their mechanisms, shifting their noises."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray

from hlvm._keys import checked_key
from hlvm.mechanisms import Mechanism, Noise, Params
from hlvm.simulator import forward
from hlvm.simulator.changes import NoiseShift, SetValues
from hlvm.simulator.checks import check_scales
from hlvm.simulator.layout import Layout
from hlvm.simulator.parts import AnyModel, ModelParts

__all__ = ["Do", "check_do", "conditional_shift", "intervene", "row_maps"]

Do: TypeAlias = Mapping[str, Any]
"""Names to numbers, arrays, functions or mechanisms; see ``HierarchicalModel.intervene``."""


def intervene(model: AnyModel, do: Do, key: Any) -> AnyModel:
    """See ``HierarchicalModel.intervene``."""
    check_do(model, do)
    mechanisms = {name: given for name, given in do.items() if isinstance(given, Mechanism)}
    functions = {name: given for name, given in do.items() if callable(given) and name not in mechanisms}
    values = {name: given for name, given in do.items() if name not in mechanisms and name not in functions}
    if mechanisms:
        if key is None:
            raise ValueError(f"a new mechanism at {next(iter(mechanisms))!r} needs a key to draw its parameters from")
        model = _cleared(model, mechanisms)
        model = _replace_mechanisms(model, mechanisms, checked_key(key))
    kept = tuple((name, fn) for name, fn in model.functions if name not in do)
    model = _cleared(model, functions)
    model = dataclasses.replace(model, functions=(*kept, *functions.items()))
    return _set_values(model, values) if values else model


def check_do(model: ModelParts, do: Do) -> None:
    """Refuse an unknown variable, and what a variable cannot be set to."""
    if not isinstance(do, Mapping):
        raise ValueError(
            f"interventions must be a mapping from names to numbers, functions or mechanisms, got {type(do).__name__}"
        )
    for name, given in do.items():
        node = model.graph.position(name)
        if isinstance(given, Mechanism) and not model.graph.parent_indices[node]:
            raise ValueError(
                f"{name!r} is a root, which is its own noise: set it to a value, give a function of its noise, or "
                f"use conditional_shift"
            )
        if isinstance(given, str | bytes | type(None) | Noise | Mapping | type):
            raise ValueError(
                f"the intervention on {name!r} must be numbers, a function or a mechanism, got {given!r}"
                + ("; for a noise use conditional_shift" if isinstance(given, Noise) else "")
            )


# ---------------------------------------------------------------------- values and functions


def _cleared(model: AnyModel, names: Mapping[str, Any]) -> AnyModel:
    """The model without the values that some variables were set to."""
    if model.set_values is None or not names:
        return model
    gone = np.zeros(model.layout.n_values, dtype=bool)
    for name in names:
        gone[model.layout.value_slices[name]] = True
    return dataclasses.replace(model, set_values=model.set_values._replace(mask=model.set_values.mask & ~gone))


def _set_values(model: AnyModel, values: Mapping[str, Any]) -> AnyModel:
    """The model with some variables set to values, (rows, 1) or one column per sample."""
    layout = model.layout
    checked = {name: _checked_value(model, name, given) for name, given in values.items()}
    mask = np.zeros(layout.n_values, dtype=bool)
    for name in values:
        mask[layout.value_slices[name]] = True
    old = model.set_values or SetValues(jnp.zeros(layout.n_values, dtype=bool), jnp.zeros((layout.n_values, 1)))
    sizes = {array.shape[1] for array in (old.values, *checked.values())} - {1}
    if len(sizes) > 1:
        raise ValueError(f"values for different numbers of samples were given together: {sorted(sizes)}")
    columns = max(sizes, default=1)
    new = jnp.broadcast_to(old.values, (layout.n_values, columns))
    for name, array in checked.items():
        new = new.at[layout.value_slices[name]].set(array)
    return dataclasses.replace(model, set_values=SetValues(old.mask | mask, new))


def _checked_value(model: ModelParts, name: str, given: Any) -> Array:
    """The value as an array of shape (dim, 1) or (dim, n)."""
    dim = model.graph.dim(name)
    try:
        array = jnp.asarray(given, jnp.float32)
    except (TypeError, ValueError):
        raise ValueError(f"the intervention on {name!r} must be numbers, a function or a mechanism") from None
    if array.shape not in ((), (dim,)) and (array.ndim != 2 or array.shape[1] != dim or not len(array)):
        raise ValueError(
            f"{name!r} holds {dim} numbers: set it to one number, to shape ({dim},), or to shape (n, {dim}) with one "
            f"row per sample; got shape {array.shape}"
        )
    if not isinstance(array, Tracer):
        numbers, symbols = np.asarray(array), _symbols(model.layout, model.graph.index[name])
        if not np.isfinite(numbers).all():
            raise ValueError(f"the value for {name!r} is not finite")
        if symbols is not None and not np.isin(numbers, np.arange(symbols)).all():
            raise ValueError(f"{name!r} is a symbol: set it to whole numbers from 0 to {symbols - 1}")
    return array.T if array.ndim == 2 else jnp.broadcast_to(array, (dim,))[:, None]


def _symbols(layout: Layout, node: int) -> int | None:
    """Number of symbols that a variable must stay among, because its mechanism or a child's works with symbols."""
    around = (node, *layout.graph.child_indices[node])
    strict = any(m is not None and m.n_symbols is not None for m in map(layout.mechanisms.__getitem__, around))
    return layout.n_symbols_of(node) if strict else None


# ---------------------------------------------------------------------- mechanisms


def row_maps(old: Layout, new: Layout) -> tuple[np.ndarray, np.ndarray]:
    """For each row of the new value and noise buffers, the old row of the same number; -1 where there is none."""
    maps: list[np.ndarray] = []
    for size, before, after in (
        (new.n_values, old.value_slices, new.value_slices),
        (new.n_noises, old.noise_slices, new.noise_slices),
    ):
        found = np.full(size, -1)
        for name, place in after.items():
            was = before[name]
            if was.stop - was.start == place.stop - place.start:
                found[place] = np.arange(was.start, was.stop)
        maps.append(found)
    return maps[0], maps[1]


def _replace_mechanisms(model: AnyModel, mechanisms: Mapping[str, Mechanism], key: PRNGKeyArray) -> AnyModel:
    """The model with new mechanisms and parameters at some variables; the others keep all of theirs."""
    old, graph = model.layout, model.graph
    changed, noises = list(old.mechanisms), list(old.noises)
    for name, mechanism in mechanisms.items():
        node = graph.index[name]
        before, changed[node] = old.mechanisms[node], mechanism
        assert before is not None  # for the type checker: roots were refused
        if noises[node] == before.default_noise:
            noises[node] = mechanism.default_noise
    layout = Layout(graph, tuple(changed), tuple(noises))
    value_map, noise_map = row_maps(old, layout)
    keys = dict(zip(("calibration", *mechanisms), jax.random.split(key, 1 + len(mechanisms)), strict=True))
    touched = np.isin(np.arange(layout.n_values), _rows(layout, mechanisms))
    if model.noise_shift is not None and (noise_map < 0).any():
        name = next(n for n in mechanisms if noise_map[layout.noise_slices[n]].min(initial=0) < 0)
        raise ValueError(f"the noise of {name!r} is shifted, and the new mechanism takes another number of noises")
    new = dataclasses.replace(
        model,
        layout=layout,
        params=_moved_params(model, layout, {name: keys[name] for name in mechanisms}),
        shift=jnp.where(touched, 0.0, model.shift[value_map]),
        scale=jnp.where(touched, 1.0, model.scale[value_map]),
        set_values=jax.tree.map(lambda leaf: leaf[value_map], model.set_values),
        noise_shift=jax.tree.map(lambda leaf: leaf[noise_map], model.noise_shift),
    )
    fitted = tuple(name for name in mechanisms if layout.n_symbols_of(graph.index[name]) is None)
    if not model.standardized or not fitted:
        return new
    shift, scale, evenness = _calibrate(new, keys["calibration"], fitted)
    check_scales(layout, scale, evenness)
    return dataclasses.replace(new, shift=shift, scale=scale)


def _rows(layout: Layout, names: Mapping[str, Any] | tuple[str, ...]) -> np.ndarray:
    """Rows of the value buffer that hold some variables."""
    return np.concatenate([np.arange(s.start, s.stop) for s in map(layout.value_slices.__getitem__, names)])


@functools.partial(jax.jit, static_argnames="names")
def _calibrate(model: ModelParts, key: PRNGKeyArray, names: tuple[str, ...]) -> tuple[Array, Array, Array]:
    rows = np.zeros(model.layout.n_values, dtype=bool)
    rows[_rows(model.layout, names)] = True
    return forward.calibrate(model, key, rows)


def _moved_params(model: ModelParts, layout: Layout, keys: Mapping[str, PRNGKeyArray]) -> tuple[Params, ...]:
    """Parameters in the order of a new layout: drawn for the variables that have a key, taken over for the others."""
    graph = layout.graph
    place = {node: (g, i) for g, group in enumerate(model.layout.groups) for i, node in enumerate(group.nodes)}
    found: list[Params] = []
    for group in layout.groups:
        if group.mechanism is None:
            found.append({})
            continue
        pieces: list[Params] = []
        order: list[int] = []
        taken: dict[int, list[tuple[int, int]]] = {}
        for position, node in enumerate(group.nodes):
            name = graph.nodes[node]
            if name in keys:
                drawn = group.mechanism.init(keys[name], group.parent_rows.shape[1], group.noise_size, group.dim)
                pieces.append(jax.tree.map(lambda leaf: leaf[None], drawn))
                order.append(position)
            else:
                g, i = place[node]
                taken.setdefault(g, []).append((position, i))
        for g, pairs in taken.items():
            rows = np.asarray([i for _, i in pairs])
            pieces.append(jax.tree.map(lambda leaf, rows=rows: leaf[rows], model.params[g]))
            order += [position for position, _ in pairs]
        back = np.argsort(order)
        found.append(jax.tree.map(lambda *leaves, back=back: jnp.concatenate(leaves)[back], *pieces))
    return tuple(found)


# ---------------------------------------------------------------------- noises


def conditional_shift(model: AnyModel, shifts: Mapping[str, Any]) -> AnyModel:
    """See ``HierarchicalModel.conditional_shift``."""
    layout, graph = model.layout, model.graph
    noises = list(layout.noises)
    loc, scale = model.noise_shift or NoiseShift(jnp.zeros(layout.n_noises), jnp.ones(layout.n_noises))
    moved = model.noise_shift is not None
    for name, given in shifts.items():
        node, rows = graph.position(name), layout.noise_slices[name]
        if rows.stop == rows.start:
            raise ValueError(f"no noise enters at {name!r}: shift another variable")
        if isinstance(given, Noise):
            noises[node] = given
            continue
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ValueError(f"the shift of {name!r} must be a Noise or a pair (location, scale), got {given!r}")
        if noises[node].discrete:
            raise ValueError(f"the noise of {name!r} is discrete: give another {type(noises[node]).__name__} instead")
        own_loc, own_scale = (jnp.asarray(number, jnp.float32) for number in given)
        if not isinstance(own_scale, Tracer) and not (np.asarray(own_scale) > 0).all():
            raise ValueError(f"the scale of the noise of {name!r} must be positive, got {given[1]!r}")
        loc, scale, moved = loc.at[rows].set(own_loc), scale.at[rows].set(own_scale), True
    return dataclasses.replace(
        model,
        layout=Layout(graph, layout.mechanisms, tuple(noises)),
        noise_shift=NoiseShift(loc, scale) if moved else None,
    )
