"""Fresh draws of a model: observed variables, latents and noises, as plain arrays by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Float

from hlvm._numbers import UsageError, as_numbers
from hlvm.graph import LatentGraph

__all__ = ["Draws", "SampledModel", "are_categories", "draws_of"]

_FROM_ARRAYS = {"arrays": "use EstimatedOracle.from_arrays for arrays of your own"}

_MOST_CATEGORIES = 64
"""Whole numbers with more values than these are quantities, unless the caller says otherwise."""


class SampledModel(Protocol):
    """Everything that estimates ask of a model: any generator of :mod:`hlvm.simulator` or :mod:`hlvm.images`, or yours.

    What ``sample`` returns holds ``observed``, name -> (n, dim), or ``images``, (n, height, width, channels), whose
    patches are the observed variables of the graph's grid, row by row; ``latents``, name -> (n, dim); and, if they are
    known, ``noise``, name -> (n, noise size). A model may say by ``n_values`` which latents are categories.
    """

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        ...

    def sample(self, key: Any, n: int) -> Any:
        """Draw ``n`` independent samples."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Independent draws, row by row.

    Attributes:
        graph: the latent graph.
        n: number of draws.
        observed: every observed variable -> (n, columns).
        latents: latent -> (n, dim); latents may be missing.
        noise: latent -> (n, noise size); latents may be missing.
        categories: names of latents whose values are categories; ``None``: those whose values are whole numbers.
    """

    graph: LatentGraph
    n: int
    observed: Mapping[str, Float[np.ndarray, "n d"]]
    latents: Mapping[str, Float[np.ndarray, "n d"]]
    noise: Mapping[str, Float[np.ndarray, "n e"]]
    categories: frozenset[str] | None = None

    @classmethod
    def checked(
        cls,
        graph: LatentGraph,
        observed: Any,
        latents: Mapping[str, Any],
        noise: Mapping[str, Any] | None = None,
        categories: Collection[str] | None = None,
    ) -> Draws:
        """Check names, shapes and values; see :meth:`hlvm.theory.EstimatedOracle.from_arrays`.

        Raises:
            ValueError: a name is unknown or missing, shapes differ, or a number is not finite.
        """
        if not isinstance(graph, LatentGraph):
            raise UsageError(f"must be a LatentGraph, got {type(graph).__name__}", argument="graph")
        if not isinstance(observed, Mapping):
            observed = _by_cell(graph, observed)
        missing = [name for name in graph.observed if name not in observed]
        if missing:
            raise UsageError(f"lacks {missing[0]!r}: give every observed variable of the graph", argument="observed")
        entering = {name: values for name, values in (noise or {}).items() if np.shape(values)[1:] != (0,)}
        n = len(as_numbers(f"observed[{graph.observed[0]!r}]", observed[graph.observed[0]]))
        found = {
            what: {name: _rows(f"{what}[{name!r}]", given[name], n) for name in given}
            for what, given in (("observed", observed), ("latents", latents), ("noise", entering))
        }
        for what, allowed in (("observed", graph.observed), ("latents", graph.latents), ("noise", graph.nodes)):
            known = set(allowed)
            for name in found[what]:
                if name not in known:
                    raise UsageError(f"holds {name!r}, which the graph does not have there", argument=what)
        if not found["latents"]:
            raise UsageError(
                "is empty: estimates need the values of latents", argument="latents", remedies=_FROM_ARRAYS
            )
        for name in categories or ():
            if name not in graph.latents:
                raise UsageError(f"names {name!r}, which is no latent of the graph", argument="categories")
        return cls(
            graph=graph,
            n=n,
            observed=found["observed"],
            latents=found["latents"],
            noise={name: values for name, values in found["noise"].items() if name in set(graph.latents)},
            categories=None if categories is None else frozenset(categories),
        )


def are_categories(values: Float[np.ndarray, "n d"]) -> bool:
    """Tell whether values are few whole numbers."""
    head = values[:64]
    if not (head == np.round(head)).all() or not (values == np.round(values)).all():
        return False
    return all(len(np.unique(column)) <= _MOST_CATEGORIES for column in values.T)


def draws_of(model: SampledModel, key: Any, n: int) -> Draws:
    """Draw samples of a model and read them.

    Args:
        model: see :class:`SampledModel`.
        key: a typed JAX key.
        n: number of draws.

    Raises:
        ValueError: not such a model, or what it draws cannot be read.
    """
    graph, sample = getattr(model, "graph", None), getattr(model, "sample", None)
    if not isinstance(graph, LatentGraph) or not callable(sample):
        hint = ": call it with a key first" if callable(model) and not isinstance(model, type) else ""
        raise UsageError(
            f"must have a graph and a method sample(key, n), got {type(model).__name__}{hint}",
            argument="model",
            remedies={} if hint else _FROM_ARRAYS,
        )
    drawn: Any = jax.device_get(sample(key, n))
    what = f"holds a sample() that returns {type(drawn).__name__}"
    latents = getattr(drawn, "latents", None)
    if not latents:
        raise UsageError(f"{what} without latents: estimates need them", argument="model", remedies=_FROM_ARRAYS)
    observed = getattr(drawn, "observed", None)
    if observed is None:
        images = getattr(drawn, "images", None)
        if images is None:
            raise UsageError(f"{what} without observed or images", argument="model", remedies=_FROM_ARRAYS)
        observed = _patches(graph, np.asarray(images))
    return Draws.checked(
        graph, observed, latents, getattr(drawn, "noise", None) or {}, getattr(model, "n_values", None) or None
    )


def _by_cell(graph: LatentGraph, observed: Any) -> dict[str, np.ndarray]:
    """Observed variables of one array: images, or all columns side by side."""
    array = as_numbers("observed", observed)
    if array.ndim == 4:
        return _patches(graph, array)
    cells = graph.arrays.cell_of_column
    if array.ndim != 2 or array.shape[1] != len(cells):
        raise UsageError(
            f"must map names to arrays, or have shape (n, {len(cells)}), all observed dims side by side, or be images "
            f"(n, height, width, channels); got shape {array.shape}",
            argument="observed",
        )
    ends = np.searchsorted(cells, np.arange(graph.n_observed), side="right")[:-1]
    return dict(zip(graph.observed, np.split(array, ends, axis=1), strict=True))


def _patches(graph: LatentGraph, images: np.ndarray) -> dict[str, np.ndarray]:
    """The pixels of each patch; patches follow each other row by row of the grid."""
    if graph.grid is None:
        raise UsageError("has no grid, so images have no patches: build it with grid=(rows, columns)", argument="graph")
    rows, columns = graph.grid
    if images.ndim != 4 or images.shape[1] % rows or images.shape[2] % columns:
        raise UsageError(
            f"of shape {images.shape} are not filled by {rows} x {columns} patches: give (n, height, width, channels)",
            argument="images",
        )
    n, height, width, channels = images.shape
    blocks = images.reshape(n, rows, height // rows, columns, width // columns, channels)
    cells = blocks.transpose(1, 3, 0, 2, 4, 5).reshape(rows * columns, n, -1)
    return dict(zip(graph.observed, cells, strict=True))


def _rows(what: str, values: Any, n: int) -> np.ndarray:
    array = as_numbers(what, values).astype(np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != n or not array.shape[1]:
        raise UsageError(f"must have shape ({n}, dim), one row per draw, got {array.shape}", argument=what)
    if not np.isfinite(array).all():
        raise UsageError("holds a number that is not finite", argument=what)
    return array
