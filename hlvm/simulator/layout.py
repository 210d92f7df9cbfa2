"""Places of all variables of a model in one buffer, and the order in which they are computed.

Variables of the same depth that share a mechanism and dims form a *level group*: one batched call computes all of them.
Their noises may differ: noises are drawn for the whole model at once, by law.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from hlvm.graph import LatentGraph
from hlvm.mechanisms import Gaussian, Mechanism, Noise

__all__ = ["Group", "Layout", "Leaf", "Link", "Views", "mechanism_per_node", "noise_per_node", "take"]

if TYPE_CHECKING:
    Leaf = Array
else:
    Leaf = Any  # JAX rebuilds pytrees with placeholders of its own where the arrays go


@dataclasses.dataclass(frozen=True)
class Group:
    """Variables computed by one batched call.

    Attributes:
        mechanism: their common mechanism; ``None`` for roots.
        observed: whether they are observed variables.
        depth: longest path from a root to each of them.
        nodes: positions in ``graph.nodes``, k of them.
        parent_rows: rows of the value buffer to read, shape (k, parent_dim).
        values: rows of the value buffer to write, k * dim of them.
        noises: rows of the noise buffer to read, k * noise_size of them.
        dim: dims of each variable.
        noise_size: noise numbers each variable consumes.
    """

    mechanism: Mechanism | None
    observed: bool
    depth: int
    nodes: tuple[int, ...]
    parent_rows: np.ndarray
    values: slice
    noises: slice
    dim: int
    noise_size: int


@dataclasses.dataclass(frozen=True)
class Link:
    """Edges from the variables of one group to those of another that take the same place among the parents.

    Attributes:
        parent_group: position of the parents' group.
        offset: where the parent's numbers begin among all numbers of the child's parents.
        children: positions of the children in their group.
        parents: positions of their parents in ``parent_group``.
    """

    parent_group: int
    offset: int
    children: np.ndarray
    parents: np.ndarray


class Layout:
    """Places of all variables in the value and noise buffers, and the order in which groups are computed.

    Static under jit: hashed once, equal when graph, mechanisms and noises are equal. The rows of the buffers depend on
    graph and mechanisms only.

    All arrays of positions are int32, which is the same type with and without JAX's 64-bit types. JAX 0.10.2 mixes up
    an int64 array that is a constant of programs of both kinds.
    """

    def __init__(
        self,
        graph: LatentGraph,
        mechanisms: tuple[Mechanism | None, ...],
        noises: tuple[Noise, ...] | None = None,
    ) -> None:
        self.graph = graph
        self.mechanisms = mechanisms
        self.noises = noise_per_node(graph, mechanisms, None) if noises is None else noises
        self._hash = hash((graph, mechanisms, self.noises))
        self.groups: tuple[Group, ...] = tuple(self._plan())

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Layout) and self.same_rows(other) and self.noises == other.noises)

    def same_rows(self, other: Layout) -> bool:
        """Tell whether every variable and every noise lives in the same rows."""
        return self.graph == other.graph and self.mechanisms == other.mechanisms

    @property
    def n_values(self) -> int:
        """Rows of the value buffer."""
        return self.groups[-1].values.stop

    @property
    def n_noises(self) -> int:
        """Rows of the noise buffer."""
        return self.groups[-1].noises.stop

    def _plan(self) -> Iterator[Group]:
        graph = self.graph
        depths = [0] * len(graph.nodes)
        members: dict[tuple[Any, ...], list[int]] = {}
        for node, above in enumerate(graph.parent_indices):
            depths[node] = 1 + max((depths[p] for p in above), default=-1)
            parent_dim = sum(graph.dims[p] for p in above)
            mechanism = self.mechanisms[node]
            noise_size = graph.dims[node]
            if mechanism is not None:
                try:
                    noise_size = mechanism.noise_size(parent_dim, graph.noise_dims[node], graph.dims[node])
                except ValueError as error:
                    raise ValueError(f"variable {graph.nodes[node]!r}: {error}") from None
                self._check_inputs(node)
            is_observed = not graph.child_indices[node]
            signature = (depths[node], is_observed, mechanism, parent_dim, noise_size, graph.dims[node])
            members.setdefault(signature, []).append(node)
        starts: dict[int, int] = {}
        row = noise_row = 0
        # By depth; dict order keeps variables of one signature in graph order, the observed ones last in their depth.
        for signature in sorted(members, key=lambda s: s[:2]):
            depth, is_observed, mechanism, _, noise_size, dim = signature
            nodes = members[signature]
            parent_rows = [
                [r for p in graph.parent_indices[node] for r in range(starts[p], starts[p] + graph.dims[p])]
                for node in nodes
            ]
            for i, node in enumerate(nodes):
                starts[node] = row + i * dim
            yield Group(
                mechanism=mechanism,
                observed=is_observed,
                depth=depth,
                nodes=tuple(nodes),
                parent_rows=np.asarray(parent_rows, dtype=np.int32).reshape(len(nodes), -1),
                values=slice(row, row + len(nodes) * dim),
                noises=slice(noise_row, noise_row + len(nodes) * noise_size),
                dim=dim,
                noise_size=noise_size,
            )
            row += len(nodes) * dim
            noise_row += len(nodes) * noise_size

    def _check_inputs(self, node: int) -> None:
        mechanism = self.mechanisms[node]
        assert mechanism is not None
        symbols = [self.n_symbols_of(p) for p in self.graph.parent_indices[node] for _ in range(self.graph.dims[p])]
        try:
            mechanism.check_inputs(self.noises[node], tuple(symbols))
        except ValueError as error:
            raise ValueError(f"variable {self.graph.nodes[node]!r}: {error}") from None

    def n_symbols_of(self, node: int) -> int | None:
        """Number of symbols that a variable can be; ``None`` for real numbers."""
        mechanism = self.mechanisms[node]
        return self.noises[node].n_symbols if mechanism is None else mechanism.n_symbols

    @functools.cached_property
    def noise_kinds(self) -> tuple[tuple[Noise, np.ndarray], ...]:
        """Every law with the rows of the noise buffer that follow it, in order of first appearance."""
        rows: dict[Noise, list[int]] = {}
        slices = self.noise_slices
        for name, noise in zip(self.graph.nodes, self.noises, strict=True):
            if slices[name].stop > slices[name].start:
                rows.setdefault(noise, []).extend(range(slices[name].start, slices[name].stop))
        return tuple((noise, np.asarray(where, dtype=np.int32)) for noise, where in rows.items())

    @functools.cached_property
    def links(self) -> tuple[tuple[Link, ...], ...]:
        """For each group, its edges to the groups of its parents."""
        graph = self.graph
        place = {node: (g, i) for g, group in enumerate(self.groups) for i, node in enumerate(group.nodes)}
        found: list[tuple[Link, ...]] = []
        for group in self.groups:
            pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
            for child, node in enumerate(group.nodes):
                offset = 0
                for parent in graph.parent_indices[node]:
                    parent_group, position = place[parent]
                    pairs.setdefault((parent_group, offset), []).append((child, position))
                    offset += graph.dims[parent]
            found.append(
                tuple(
                    Link(parent_group, offset, *np.asarray(edges, dtype=np.int32).T)
                    for (parent_group, offset), edges in pairs.items()
                )
            )
        return tuple(found)

    @functools.cached_property
    def value_slices(self) -> dict[str, slice]:
        """Rows of the value buffer that hold each variable."""
        return self._slices(lambda g: (g.values.start, g.dim))

    @functools.cached_property
    def noise_slices(self) -> dict[str, slice]:
        """Rows of the noise buffer that hold each variable's noise."""
        return self._slices(lambda g: (g.noises.start, g.noise_size))

    def _slices(self, place: Any) -> dict[str, slice]:
        found: dict[str, slice] = {}
        for group in self.groups:
            start, size = place(group)
            for i, node in enumerate(group.nodes):
                found[self.graph.nodes[node]] = slice(start + i * size, start + (i + 1) * size)
        return {name: found[name] for name in self.graph.nodes}

    @functools.cached_property
    def observed_rows(self) -> np.ndarray:
        """Rows of the value buffer that hold the observed variables, in the graph's order."""
        slices = [self.value_slices[name] for name in self.graph.observed]
        return np.concatenate([np.arange(s.start, s.stop, dtype=np.int32) for s in slices])


class Views(Mapping[str, Leaf]):
    """A read-only mapping from names to column slices of one array."""

    def __init__(self, array: Leaf, slices: Mapping[str, slice], names: tuple[str, ...]) -> None:
        self._array = array
        self._slices = slices
        self._names = names
        self._set = frozenset(names)

    def __getitem__(self, name: str) -> Leaf:
        if name not in self._set:
            raise KeyError(name)
        return self._array[:, self._slices[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{n!r}: {self[n].shape}' for n in self._names[:4])}{', ...' if len(self) > 4 else ''}}}"


def take(array: Array, rows: np.ndarray, axis: int = 0) -> Array:
    """``array`` at static ``rows``; a plain slice when they are one contiguous run."""
    flat = rows.reshape(-1)
    if rows.ndim == 1 and len(flat) and np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat))):
        return jax.lax.slice_in_dim(array, int(flat[0]), int(flat[-1]) + 1, axis=axis)
    return jnp.take(array, rows, axis=axis)


def mechanism_per_node(graph: LatentGraph, mechanism: Any) -> tuple[Mechanism | None, ...]:
    """The mechanism of every node, ``None`` for roots, from what a user gave: one mechanism, or one per name.

    Raises:
        ValueError: one is missing or of another type, named for an unknown variable, or given for a root.
    """
    is_root = [not above for above in graph.parent_indices]
    if isinstance(mechanism, Mechanism):
        return tuple(None if root else mechanism for root in is_root)
    if not isinstance(mechanism, Mapping):
        raise ValueError(
            f"mechanism must be a Mechanism such as InvertibleMLP(), or a mapping from names to them; "
            f"got {type(mechanism).__name__}"
        )
    for name in mechanism:
        graph.position(name)
    chosen: list[Mechanism | None] = []
    for name, root in zip(graph.nodes, is_root, strict=True):
        given = mechanism.get(name)
        if root and given is not None:
            raise ValueError(f"{name!r} is a root, which is its own noise: give it no mechanism")
        if not root and given is None:
            raise ValueError(f"no mechanism for variable {name!r}: every variable but the roots needs one")
        if not root and not isinstance(given, Mechanism):
            raise ValueError(f"unknown mechanism for variable {name!r}: expected one of hlvm.mechanisms, got {given!r}")
        chosen.append(given)
    return tuple(chosen)


def noise_per_node(graph: LatentGraph, mechanisms: tuple[Mechanism | None, ...], noise: Any) -> tuple[Noise, ...]:
    """The law of the noise of every node: what is given, else what its mechanism is made for; Gaussian for roots.

    Raises:
        ValueError: a noise of another type, or one for an unknown variable.
    """
    if isinstance(noise, Noise):
        return (noise,) * len(graph.nodes)
    given = {} if noise is None else noise
    if not isinstance(given, Mapping):
        raise ValueError(
            f"noise must be a Noise such as Gaussian(), or a mapping from names to them; got {type(noise).__name__}"
        )
    for name, law in given.items():
        graph.position(name)
        if not isinstance(law, Noise):
            raise ValueError(f"unknown noise for variable {name!r}: expected one of hlvm.mechanisms, got {law!r}")
    return tuple(
        given.get(name) or (Gaussian() if mechanism is None else mechanism.default_noise)
        for name, mechanism in zip(graph.nodes, mechanisms, strict=True)
    )
