"""Latent graphs: which latent variable causes which, and how many numbers each one holds.

A :class:`LatentGraph` is a frozen directed acyclic graph over latent and observed variables. The
observed variables are the sinks; everything else is latent. See section 1 of ``docs/theory.md``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hlvm import _graph_builders as builders
from hlvm import _graph_families as families
from hlvm import _graph_files as files
from hlvm import _graph_networkx as in_networkx
from hlvm._graph_arrays import GraphArrays
from hlvm._graph_checks import some_names

__all__ = ["LatentGraph"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LatentGraph:
    """A directed acyclic graph of latent and observed variables with their dimensions.

    Build one with :meth:`from_edges` or one of the builders for trees, receptive fields, random graphs and the
    shapes of the literature, or read one with :meth:`load`; the constructor takes the already ordered parts.

    Attributes:
        nodes: all variable names in a topological order: latents first, then the observed variables.
        parent_indices: for each node, the positions in ``nodes`` of its parents, in the order in which
            a mechanism receives them.
        dims: for each node, the number of real numbers it holds (at least 1).
        noise_dims: for each node, the number of new noise numbers that enter there. A root is its own
            noise, so its noise dim equals its dim.
        grid: ``(rows, columns)`` when the observed variables are the cells of a grid in row-major
            order, else ``None``.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], noise_dims={"z": 2, "x1": 1, "x2": 1})
        >>> graph.observed, graph.dim("x1")
        (('x1', 'x2'), 3)
    """

    nodes: tuple[str, ...]
    parent_indices: tuple[tuple[int, ...], ...]
    dims: tuple[int, ...]
    noise_dims: tuple[int, ...]
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        sizes = [len(part) for part in (self.nodes, self.parent_indices, self.dims, self.noise_dims)]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"nodes, parent_indices, dims and noise_dims need one entry per variable, got {sizes} entries: "
                "LatentGraph.from_edges works them out"
            )
        self.__dict__["arrays"] = GraphArrays.of(self)

    # ------------------------------------------------------------------ large graphs

    @classmethod
    def _from_arrays(
        cls, arrays: GraphArrays, names_at: Callable[[Iterable[int]], list[str]], grid: tuple[int, int] | None
    ) -> LatentGraph:
        """A checked graph that writes out its tuples of names, parents and dims only when they are asked for.

        At 100,000 nodes they take longer to write than any question about the graph takes to answer.
        """
        graph = object.__new__(cls)
        graph.__dict__.update(
            grid=grid,
            arrays=arrays,
            _names_at=names_at,
            _unwritten={
                "nodes": lambda: tuple(names_at(range(arrays.n_nodes))),
                "parent_indices": arrays.parent_tuples,
                "dims": lambda: tuple(arrays.dims.tolist()),
                "noise_dims": lambda: tuple(arrays.noise_dims.tolist()),
            },
        )
        return graph

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Write out one of the fields of a graph made from arrays; called only if it is not there yet."""
            unwritten = self.__dict__.get("_unwritten", {})
            if name not in unwritten:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return self.__dict__.setdefault(name, unwritten[name]())

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.nodes, self.parent_indices, self.dims, self.noise_dims, self.grid)

    if TYPE_CHECKING:

        @property
        def arrays(self) -> GraphArrays:
            """The structure as NumPy arrays, for code that works on whole levels at once. Read-only."""
            ...

    @property
    def n_latents(self) -> int:
        """Number of latent variables."""
        return self.arrays.n_latents

    @property
    def n_observed(self) -> int:
        """Number of observed variables."""
        return self.arrays.n_nodes - self.arrays.n_latents

    def names_at(self, positions: Iterable[int]) -> list[str]:
        """Names of the nodes at these positions of :attr:`nodes`."""
        if "nodes" not in self.__dict__:
            return self.__dict__["_names_at"](positions)
        return list(map(self.nodes.__getitem__, positions))

    # ------------------------------------------------------------------ builders and files

    from_edges = classmethod(builders.from_edges)
    from_parents = classmethod(builders.from_parents)
    tree = classmethod(builders.tree)
    quadtree = classmethod(builders.quadtree)
    overlapping_fields = classmethod(families.overlapping_fields)
    random = classmethod(families.random)
    pure_children_chain = classmethod(families.pure_children_chain)
    diamond = classmethod(families.diamond)
    two_parent_measurement = classmethod(families.two_parent_measurement)

    from_networkx = classmethod(in_networkx.from_networkx)
    to_networkx = in_networkx.to_networkx
    from_dict = classmethod(files.from_dict)
    to_dict = files.to_dict
    load = classmethod(files.load)
    save = files.save

    def reordered(self, names: Sequence[str]) -> LatentGraph:
        """The same graph with its nodes in another order, or unchanged if that order is not topological.

        Args:
            names: all names, latents first, then the observed variables in their present order.

        Raises:
            ValueError: other names than this graph's, or observed variables in another place or order.
        """
        if set(names) != set(self.nodes) or len(names) != len(self.nodes):
            raise ValueError(f"expected every name of this graph once; {some_names(self.nodes)}")
        position = dict(zip(names, range(len(names)), strict=True))
        old = [self.index[name] for name in names]
        parents = tuple(tuple(position[self.nodes[p]] for p in self.parent_indices[i]) for i in old)
        in_order = all(p < i for i, above in enumerate(parents) for p in above)
        if not in_order or tuple(names[len(self.latents) :]) != self.observed:
            return self
        return LatentGraph(
            nodes=tuple(names),
            parent_indices=parents,
            dims=tuple(self.dims[i] for i in old),
            noise_dims=tuple(self.noise_dims[i] for i in old),
            grid=self.grid,
        )

    # ------------------------------------------------------------------ structure

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each name in :attr:`nodes`."""
        return dict(zip(self.nodes, range(len(self.nodes)), strict=True))

    @cached_property
    def edge_indices(self) -> np.ndarray:
        """All edges as positions in :attr:`nodes`, int64 of shape (2, n_edges): parents, then children.

        In the order of :attr:`edges`: child after child, each with its parents in order. Read-only.
        """
        found = np.stack([self.arrays.parents, self.arrays.children])
        found.flags.writeable = False
        return found

    @cached_property
    def child_indices(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of its children in :attr:`nodes`."""
        parents, children = self.edge_indices
        in_order = children[np.argsort(parents, kind="stable")].tolist()
        ends = np.cumsum(np.bincount(parents, minlength=self.arrays.n_nodes)).tolist()
        found = [tuple(in_order[begin:end]) for begin, end in zip([0, *ends], ends[: self.n_latents], strict=False)]
        return (*found, *([()] * self.n_observed))

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """For each node, the longest directed path down to an observed variable (observed: 0)."""
        return tuple(self.arrays.heights.tolist())

    @cached_property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent variables, in topological order."""
        return self.nodes[: self.n_latents]

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """Names of the observed variables (the sinks), row by row when there is a grid."""
        return self.nodes[self.n_latents :]

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """All ``(parent, child)`` pairs."""
        parents, children = self.edge_indices.tolist()
        name_of = self.nodes.__getitem__
        return tuple(zip(map(name_of, parents), map(name_of, children), strict=True))

    @cached_property
    def is_tree(self) -> bool:
        """Whether there is one root and every other node has exactly one parent."""
        return not self.parent_indices[0] and all(len(p) == 1 for p in self.parent_indices[1:])

    def parents(self, name: str) -> tuple[str, ...]:
        """Parents of a node, in the order in which its mechanism receives them.

        Raises:
            ValueError: no node has this name.
        """
        return tuple(self.nodes[p] for p in self.parent_indices[self.position(name)])

    def children(self, name: str) -> tuple[str, ...]:
        """Children of a node; empty for an observed variable.

        Raises:
            ValueError: no node has this name.
        """
        return tuple(self.nodes[c] for c in self.child_indices[self.position(name)])

    def ancestors(self, names: str | Collection[str]) -> frozenset[str]:
        """All proper ancestors of one or several nodes.

        A name that was passed in is only part of the answer when it is an ancestor of another one.

        Raises:
            ValueError: some name is not a node.
        """
        wanted = [names] if isinstance(names, str) else names
        found: set[int] = set()
        stack = [p for name in wanted for p in self.parent_indices[self.position(name)]]
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack.extend(self.parent_indices[node])
        return frozenset(self.nodes[i] for i in found)

    def height(self, name: str) -> int:
        """Longest directed path from the node down to an observed variable (observed: 0).

        Raises:
            ValueError: no node has this name.
        """
        return self.heights[self.position(name)]

    def dim(self, name: str) -> int:
        """How many real numbers the node holds.

        Raises:
            ValueError: no node has this name.
        """
        return self.dims[self.position(name)]

    def noise_dim(self, name: str) -> int:
        """How many new noise numbers enter at the node (a root: its whole dim).

        Raises:
            ValueError: no node has this name.
        """
        return self.noise_dims[self.position(name)]

    def position(self, name: str) -> int:
        """Position of a node in :attr:`nodes`.

        Raises:
            ValueError: no node has this name.
        """
        try:
            return self.index[name]
        except KeyError:
            raise ValueError(f"{name!r} is not a variable of this graph; {some_names(self.nodes)}") from None

    def invertible_dims_error(self) -> str | None:
        """Why no invertible mechanism fits these dims, or ``None`` when one does.

        Invertible mechanisms need ``dim(v) = sum(dim(parents)) + noise_dim(v)`` at every node
        (section 1 of ``docs/theory.md``).
        """
        return self._invertible_dims_error

    @cached_property
    def _invertible_dims_error(self) -> str | None:
        arrays = self.arrays
        implied = arrays.noise_dims.copy()
        np.add.at(implied, arrays.children, arrays.dims[arrays.parents])
        wrong = np.flatnonzero(arrays.dims != implied)
        if not len(wrong):
            return None
        node = int(wrong[0])
        return (
            f"{self.names_at([node])[0]!r} has dim {arrays.dims[node]}, but an invertible mechanism there needs "
            f"{implied[node]} = its parents' dims + its noise dim {arrays.noise_dims[node]}"
        )

    # ------------------------------------------------------------------ equality

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        return (self.nodes, self.parent_indices, self.dims, self.noise_dims, self.grid)

    @cached_property
    def _hash(self) -> int:
        return hash(self._identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LatentGraph) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        size = f"{self.n_latents} latents, {self.n_observed} observed, {len(self.arrays.parents)} edges"
        return f"LatentGraph({size}, height {self.arrays.heights.max()})"


def _rebuilt(
    nodes: tuple[str, ...],
    parent_indices: tuple[tuple[int, ...], ...],
    dims: tuple[int, ...],
    noise_dims: tuple[int, ...],
    grid: tuple[int, int] | None,
) -> LatentGraph:
    """Undo pickling; what is derived from these is worked out again where it is needed."""
    return LatentGraph(nodes=nodes, parent_indices=parent_indices, dims=dims, noise_dims=noise_dims, grid=grid)
