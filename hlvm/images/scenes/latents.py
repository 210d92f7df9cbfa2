"""Ancestral sampling of a scene's latents, with factors set, frozen or shifted on the way down."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from hlvm.images.scenes.factors import SceneFactor, SceneFields, prior_values

__all__ = [
    "Changes",
    "checked_value",
    "checked_values",
    "draw_values",
    "expand",
    "latent_names",
    "parse_changes",
    "stacked",
    "unstacked",
]

_ROUNDING = 1e-5  # how far a value may lie outside its range, as a share of it

Latents = Mapping[str, Array]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["fixed", "ranges", "probabilities"],
    meta_fields=["frozen", "functions"],
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes of latents while they are drawn; a latent occurs in one field at most.

    Attributes:
        fixed: latent -> its values, (n, dim).
        ranges: latent -> (dim, 2), the range to draw each dim from; NaN where a dim keeps its prior.
        probabilities: latent -> probability of each category.
        frozen: latents that take the first row's value in all rows.
        functions: latents with a function of their values, (n, dim) to (n, dim).
    """

    fixed: dict[str, Any]
    ranges: dict[str, Any]
    probabilities: dict[str, Any]
    frozen: frozenset[str]
    functions: tuple[tuple[str, Callable[[Array], Array]], ...]


def draw_values(
    scene: SceneFields, factors: Mapping[str, SceneFactor], noises: Float[Array, "n noise"], changes: Changes
) -> dict[str, Float[Array, "n _ _"]]:
    """Values of all factors, parents first, each from its parents' changed values and its own columns of the noise."""
    count = scene.objects[0] * scene.objects[1]
    functions = dict(changes.functions)
    touched = changes.frozen.union(changes.fixed, changes.ranges, changes.probabilities, functions)
    values: dict[str, Array] = {}
    start = 0
    for name, factor in factors.items():
        latents = latent_names(factor, count)
        end = start + len(latents) * factor.dim
        u = noises[:, start:end].reshape(len(noises), len(latents), factor.dim)
        drawn = prior_values(scene, name, values, u)
        if touched.intersection(latents):
            each = [_changed(latent, drawn[:, i], u[:, i], changes, functions) for i, latent in enumerate(latents)]
            drawn = jnp.stack(each, axis=1)
        values[name], start = drawn, end
    return values


def _changed(name: str, drawn: Array, u: Array, changes: Changes, functions: Mapping[str, Any]) -> Array:
    if name in changes.fixed:
        return jnp.broadcast_to(changes.fixed[name], drawn.shape)
    if name in changes.frozen:
        return jnp.broadcast_to(drawn[:1], drawn.shape)
    if name in changes.ranges:
        low, high = changes.ranges[name].T
        return jnp.where(jnp.isnan(low), drawn, low + (high - low) * u)
    if name in changes.probabilities:
        return (u >= jnp.cumsum(changes.probabilities[name])[:-1]).sum(axis=-1, keepdims=True).astype(drawn.dtype)
    return functions[name](drawn) if name in functions else drawn


def latent_names(factor: SceneFactor, count: int) -> list[str]:
    """Names of a factor's latents."""
    return [f"{factor.name}_{i}" for i in range(count)] if factor.per_object else [factor.name]


def stacked(factors: Mapping[str, SceneFactor], latents: Latents, count: int) -> dict[str, Float[Array, "n _ _"]]:
    """From latents, (n, dim), to factors, (n, objects, dim)."""
    return {
        name: jnp.stack([latents[latent] for latent in latent_names(factor, count)], axis=1)
        for name, factor in factors.items()
    }


def unstacked(factors: Mapping[str, SceneFactor], values: Mapping[str, Array]) -> dict[str, Float[Array, "n _"]]:
    """From factors, (n, objects, dim), to latents, (n, dim).

    The place is an operand, not a constant: outside compiled functions one program serves all objects.
    """
    return {
        latent: jax.lax.dynamic_index_in_dim(values[name], i, axis=1, keepdims=False)
        for name, factor in factors.items()
        for i, latent in enumerate(latent_names(factor, values[name].shape[1]))
    }


# ---------------------------------------------------------------------- checks


def parse_changes(
    factor_of: Mapping[str, SceneFactor],
    groups: Mapping[str, tuple[str, ...]],
    n: int,
    do: Mapping[str, Any] | None,
    shift: Mapping[str, Any] | None,
    freeze: Collection[str],
) -> Changes:
    """Check what a user wants changed.

    Args:
        factor_of: latent -> its factor.
        groups: factor -> its latents.
        n: rows.
        do: latent or factor -> values.
        shift: latent or factor -> range, probabilities or function.
        freeze: latents or factors.

    Raises:
        ValueError: an unknown name, a latent named twice, or values of another shape or outside the range.
    """
    changes = Changes(fixed={}, ranges={}, probabilities={}, frozen=expand(groups, factor_of, freeze), functions=())
    seen = dict.fromkeys(changes.frozen, "freeze")
    for argument, given in (("do", do or {}), ("shift", shift or {})):
        for key, wanted in given.items():
            for latent in sorted(expand(groups, factor_of, (key,))):
                if latent in seen:
                    raise ValueError(
                        f"{latent!r} is changed twice, by {seen[latent]} and by {argument}[{key!r}]: name it once"
                    )
                seen[latent] = f"{argument}[{key!r}]"
                factor = factor_of[latent]
                if argument == "do":
                    changes.fixed[latent] = checked_value(factor, wanted, n, seen[latent])
                elif callable(wanted):
                    changes = dataclasses.replace(changes, functions=(*changes.functions, (latent, wanted)))
                elif factor.categories:
                    changes.probabilities[latent] = _checked_probabilities(factor, wanted, seen[latent])
                else:
                    changes.ranges[latent] = _checked_range(factor, wanted, seen[latent])
    return changes


def expand(
    groups: Mapping[str, tuple[str, ...]], factor_of: Mapping[str, SceneFactor], names: Collection[str]
) -> frozenset[str]:
    """Names of latents and of factors, as names of latents."""
    if isinstance(names, str):
        raise ValueError(f'expected a collection of names such as ("{names}",), got the string {names!r}')
    found: set[str] = set()
    for name in names:
        if name not in groups and name not in factor_of:
            raise ValueError(
                f"{name!r} is neither a factor nor a latent of these scenes; the factors are {', '.join(groups)}, and "
                "the latents of single objects are named like 'shape_0'"
            )
        found.update(groups.get(name, (name,)))
    return frozenset(found)


def checked_value(factor: SceneFactor, value: Any, n: int, what: str) -> Array:
    """A value given by a user as an array (n, dim), or (1, dim) if it is the same in every row."""
    if isinstance(value, str):
        if value not in factor.categories:
            known = ", ".join(factor.categories) or "no categories: give numbers"
            raise ValueError(f"{what}: {value!r} is not a category of {factor.name!r}; it has {known}")
        value = factor.categories.index(value)
    array = jnp.asarray(value, dtype=jnp.float32)
    if array.ndim == 0:
        array = array.reshape(1, 1)
    elif array.ndim == 1:
        array = array[:, None] if factor.dim == 1 and array.shape != (1,) else array[None]
    if array.ndim != 2 or array.shape[0] not in (1, n) or array.shape[1] != factor.dim:
        raise ValueError(
            f"{what}: expected one value of {factor.dim} number{'s' * (factor.dim > 1)}, or one for each row, "
            f"({n}, {factor.dim}); got the shape {jnp.shape(value)}"
        )
    check_range(factor, array, what)
    return array


def checked_values(factor_of: Mapping[str, SceneFactor], latents: Mapping[str, Array | np.ndarray]) -> dict[str, Array]:
    """All latents of some scenes, one row each, in the graph's order.

    Raises:
        ValueError: names missing or unknown, another shape, or values outside their range.
    """
    missing = [name for name in factor_of if name not in latents]
    unknown = [name for name in latents if name not in factor_of]
    if missing or unknown:
        wrong = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is unknown"
        raise ValueError(f"expected the values of every latent of these scenes by name: {wrong}")
    found = {name: jnp.asarray(latents[name], dtype=jnp.float32) for name in factor_of}
    n = len(next(iter(found.values()))) if found["class"].ndim else 0
    for name, value in found.items():
        if value.shape != (n, factor_of[name].dim) or n < 1:
            raise ValueError(
                f"{name!r} must have the shape ({n or 'n'}, {factor_of[name].dim}), one row per image, "
                f"got {value.shape}"
            )
        check_range(factor_of[name], value, repr(name))
    return found


def check_range(factor: SceneFactor, array: Array, what: str) -> None:
    """Refuse values outside a factor's range; values that are being traced are taken as they are."""
    if isinstance(array, Tracer):
        return
    values = np.asarray(array)
    low, high = np.array(factor.low), np.array(factor.high)
    slack = _ROUNDING * (high - low)
    if factor.categories and ((values != np.round(values)).any() or (values < low).any() or (values > high).any()):
        wrong = values[(values != np.round(values)) | (values < low) | (values > high)][0]
        raise ValueError(
            f"{what}: categories are whole numbers from 0 to {high[0]:g}, or one of "
            f"{', '.join(factor.categories[:8])}; got {wrong:g}"
        )
    inside = (values >= low - slack) & (values <= high + slack)
    if not inside.all():
        row, dim = np.argwhere(~inside)[0]
        raise ValueError(
            f"{what}: number {dim} must lie between {low[dim]:g} and {high[dim]:g} ({factor.unit}), "
            f"got {values[row, dim]:g}"
        )


def _checked_probabilities(factor: SceneFactor, given: Any, what: str) -> Array:
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in factor.categories]
        if unknown:
            raise ValueError(f"{what}: {unknown[0]!r} is not one of {', '.join(factor.categories)}")
        given = [given.get(name, 0.0) for name in factor.categories]
    array = np.asarray(given, dtype=np.float64)
    if array.shape != (len(factor.categories),) or not (array >= 0).all() or abs(array.sum() - 1) > 1e-6:
        raise ValueError(
            f"{what}: expected {len(factor.categories)} probabilities that add up to 1 "
            f"(of {', '.join(factor.categories[:8])}), or a mapping from names to them; got {given!r}"
        )
    return jnp.asarray(array, dtype=jnp.float32)


def _checked_range(factor: SceneFactor, given: Any, what: str) -> Array:
    pairs = given if isinstance(given, Sequence) else list(given)
    if factor.dim == 1 and len(pairs) == 2 and all(np.ndim(end) == 0 for end in pairs if end is not None):
        pairs = [pairs]
    if len(pairs) != factor.dim:
        raise ValueError(
            f"{what}: expected a range (low, high) for each of {factor.dim} numbers, None where the prior stays, or a "
            f"function of the values; got {given!r}"
        )
    array = np.full((factor.dim, 2), np.nan)
    for i, pair in enumerate(pairs):
        if pair is None:
            continue
        if np.shape(pair) != (2,) or not factor.low[i] <= pair[0] <= pair[1] <= factor.high[i]:
            raise ValueError(
                f"{what}: expected low <= high, both between {factor.low[i]:g} and {factor.high[i]:g} "
                f"({factor.unit}), got {pair!r}"
            )
        array[i] = pair
    return jnp.asarray(array, dtype=jnp.float32)
