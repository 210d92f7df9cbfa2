"""The class of latent graphs: which latent variable causes which, and how many numbers each one holds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hlvm.graph import builders, files
from hlvm.graph.arrays import GraphArrays, with_all_beyond
from hlvm.graph.checks import Grid, some_names

__all__ = ["LatentGraph"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LatentGraph:
    """A directed acyclic graph of latent and observed variables with their dimensions.

    Build one with :meth:`from_edges`, with another of the class methods or with the functions of :mod:`hlvm.graph`; the
    constructor takes parts that fit together. The arrays are the graph; tuples are made of them when asked for.

    Attributes:
        names: all variable names in the order of the arrays; :attr:`nodes` has them as a tuple.
        arrays: the structure as NumPy arrays, for code that works on whole levels at once. Read-only.
        grid: ``(rows, columns)`` when the observed variables are the cells of a grid in row-major order, else ``None``.

    Example:
        >>> graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], noise_dims={"z": 2, "x1": 1, "x2": 1})
        >>> graph.observed, graph.dim("x1")
        (('x1', 'x2'), 3)
    """

    names: Sequence[str]
    arrays: GraphArrays
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.names) != self.arrays.n_nodes:
            raise ValueError(
                f"a graph needs one name per variable, got {len(self.names)} names for {self.arrays.n_nodes} "
                "variables: LatentGraph.from_edges works them out"
            )

    # ------------------------------------------------------------------ builders

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[str, str]],
        *,
        noise_dims: int | Mapping[str, int] = 1,
        dims: int | Mapping[str, int] | None = None,
        observed: Sequence[str] | None = None,
        grid: Grid | None = None,
    ) -> LatentGraph:
        """Build a graph from ``(parent, child)`` pairs.

        Args:
            edges: pairs ``(parent, child)``; a node's parents keep the order in which they appear.
            noise_dims: noise numbers entering at each node: one number for all, or one per name. Zero is allowed except
                at roots.
            dims: numbers held by each node. ``None`` takes the dims that invertible mechanisms imply,
                ``dim(v) = sum(dim(parents)) + noise_dim(v)``. With explicit dims (mechanisms that are not invertible) a
                root's noise dim is its dim.
            observed: the observed variables, when you want to fix their order or have them checked. They must be
                exactly the sinks. ``None``: the sinks in order of first appearance.
            grid: if the observed variables are the cells of a grid: their names, a list of rows such as
                ``[["p0_0", "p0_1"], ["p1_0", "p1_1"]]``; or ``(rows, columns)``, which are filled row by row in the
                order of the observed variables.

        Raises:
            ValueError: no edges, a malformed or repeated edge, a cycle, an edge that leaves a declared observed
                variable, dims below 1, names missing from (or unknown to) a mapping, a grid that is not filled by the
                observed variables, or ``(rows, columns)`` when the names end in the rows and columns of other places.
        """
        return cls(*builders.from_edges(edges, noise_dims=noise_dims, dims=dims, observed=observed, grid=grid))

    @classmethod
    def from_parents(
        cls,
        parents: Any,
        *,
        names: Sequence[str] | None = None,
        root_dim: int = 2,
        noise_dim: int = 1,
        grid: Grid | None = None,
    ) -> LatentGraph:
        """Build a tree, or several trees side by side, from an array of parents. Made for large trees.

        Args:
            parents: whole numbers, shape (n_nodes,): the position of each node's parent, -1 for a root. Parents
                come before their children, and the leaves (observed variables) after all other nodes.
            names: one name per node; ``None`` names latents ``z_{i}`` and leaves ``x_{i}``, each counted from 0.
            root_dim: dims of every root.
            noise_dim: noise dims of every other node; dims are those invertible mechanisms imply.
            grid: ``(rows, columns)`` if the leaves are the cells of a grid, row by row; with ``names`` also their
                names, a list of rows, in the order of the leaves.

        Raises:
            ValueError: another shape or type, a parent out of order, a node without edges, names that are not
                distinct non-empty strings, or a grid as :meth:`from_edges` refuses it.

        Example:
            >>> LatentGraph.from_parents([-1, 0, 0, 1, 1, 2]).edges[:3]
            (('z_0', 'z_1'), ('z_0', 'z_2'), ('z_1', 'x_0'))
        """
        return cls(*builders.from_parents(parents, names=names, root_dim=root_dim, noise_dim=noise_dim, grid=grid))

    @classmethod
    def tree(
        cls, branching: int | Sequence[int], height: int | None = None, *, root_dim: int = 2, noise_dim: int = 1
    ) -> LatentGraph:
        """Build a rooted tree in which every leaf (observed variable) has the same depth.

        The latent at height ``h`` and position ``i`` (left to right) is named ``z{h}_{i}``; leaves are named ``x_{i}``.

        Args:
            branching: children per latent, one number for every level or one per level from the root down.
            height: levels below the root; may be left out when ``branching`` is a sequence.
            root_dim: dims of the root.
            noise_dim: noise dims of every other node; dims are those invertible mechanisms imply.

        Raises:
            ValueError: a height or branching below 1, or a height that contradicts the sequence.

        Example:
            >>> LatentGraph.tree(2, 2).observed
            ('x_0', 'x_1', 'x_2', 'x_3')
        """
        return cls(*builders.tree(branching, height, root_dim=root_dim, noise_dim=noise_dim))

    @classmethod
    def quadtree(cls, height: int, *, root_dim: int = 2, noise_dim: int = 1) -> LatentGraph:
        """Build the quadtree over a square grid of ``2**height`` by ``2**height`` observed cells; ``grid`` is set.

        Each latent owns a square of the grid and has four children, one for each quarter. The latent at height ``h``
        over block row ``r`` and column ``c`` is named ``z{h}_{r}_{c}``; cells are named ``x_{r}_{c}``.

        Args:
            height: levels below the root, at least 1; there are ``4**height`` observed cells.
            root_dim: dims of the root.
            noise_dim: noise dims of every other node; dims are those invertible mechanisms imply.

        Raises:
            ValueError: height, root_dim or noise_dim out of range.

        Example:
            >>> graph = LatentGraph.quadtree(2)
            >>> graph.grid, graph.parents("x_0_3"), graph.dim("x_0_3")
            ((4, 4), ('z1_0_1',), 4)
        """
        return cls(*builders.quadtree(height, root_dim=root_dim, noise_dim=noise_dim))

    # ------------------------------------------------------------------ descriptions and files

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that :meth:`from_dict` turns back into an equal graph."""
        return files.description(self.nodes, self.parent_indices, self.dims, self.noise_dims, self.grid)

    @classmethod
    def from_dict(cls, data: Any) -> LatentGraph:
        """Rebuild a graph from the description that :meth:`to_dict` gives.

        A shorter form is accepted for graphs written by hand: ``{"edges": [["z", "x1"], ...]}`` with the
        keyword arguments of :meth:`from_edges` beside it, such as ``"grid": [["p0_0", "p0_1"], ...]``.

        Raises:
            ValueError: the description is not a graph; the message says what is wrong or missing.
        """
        return cls._ordered(*files.arguments(data))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph to a ``.json`` or ``.graphml`` file, all or nothing.

        A ``.json`` file has a digest, so that damage to it is an error: take ``"digest"`` out when you edit one by
        hand. Both formats keep everything, names with any characters included.

        Raises:
            ValueError: another suffix, or a name with half of a surrogate pair, which no text file can hold.
            OSError: the file cannot be written.
        """
        files.write(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LatentGraph:
        """Read a graph written by :meth:`save`, by hand, or by another program.

        Args:
            path: a ``.json`` file (see :meth:`from_dict`), or a ``.graphml`` file with a directed graph, whose
                attributes are read as by :func:`hlvm.graph.from_networkx`. Names that igraph or yEd write beside ids,
                in an attribute ``name`` or ``label``, are taken instead of ids if every node has its own.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: another suffix, or the file is not a graph; one line with the name of the file.
        """
        try:
            return cls._ordered(*files.read(path))
        except ValueError as error:
            raise files.fault(path, error) from None

    @classmethod
    def _ordered(cls, arguments: Mapping[str, Any], names: Sequence[str] | None) -> LatentGraph:
        graph = cls.from_edges(**arguments)
        return graph if names is None else graph.reordered(names)

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
        dims, noise_dims = ([numbers[i] for i in old] for numbers in (self.dims, self.noise_dims))
        return LatentGraph(tuple(names), GraphArrays.of(parents, dims, noise_dims), self.grid)

    # ------------------------------------------------------------------ the parts as tuples

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """All variable names in a topological order: latents first, then the observed variables."""
        return tuple(self.names)

    @cached_property
    def parent_indices(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of its parents in :attr:`nodes`, in the order its mechanism receives them."""
        return self.arrays.parent_tuples

    @cached_property
    def child_indices(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of its children in :attr:`nodes`."""
        return self.arrays.child_tuples

    @cached_property
    def dims(self) -> tuple[int, ...]:
        """For each node, the number of real numbers it holds (at least 1)."""
        return tuple(self.arrays.dims.tolist())

    @cached_property
    def noise_dims(self) -> tuple[int, ...]:
        """For each node, the number of new noise numbers that enter there; a root is its own noise: its dim."""
        return tuple(self.arrays.noise_dims.tolist())

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
        parents, children = (self.names_at(ends.tolist()) for ends in (self.arrays.parents, self.arrays.children))
        return tuple(zip(parents, children, strict=True))

    @cached_property
    def edge_indices(self) -> np.ndarray:
        """All edges as positions in :attr:`nodes`, int64 of shape (2, n_edges): parents, then children.

        In the order of :attr:`edges`: child after child, each with its parents in order. Read-only.
        """
        found = np.stack([self.arrays.parents, self.arrays.children])
        found.flags.writeable = False
        return found

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each name in :attr:`nodes`."""
        return dict(zip(self.nodes, range(len(self.nodes)), strict=True))

    # ------------------------------------------------------------------ structure

    @property
    def n_latents(self) -> int:
        """Number of latent variables."""
        return self.arrays.n_latents

    @property
    def n_observed(self) -> int:
        """Number of observed variables."""
        return self.arrays.n_nodes - self.arrays.n_latents

    @property
    def is_tree(self) -> bool:
        """Tell whether there is one root and every other node has exactly one parent."""
        return self.arrays.is_forest and int(self.arrays.is_root.sum()) == 1

    def names_at(self, positions: Iterable[int]) -> list[str]:
        """Names of the nodes at these positions of :attr:`nodes`."""
        if isinstance(self.names, builders.NumberedNames):
            return self.names.at(positions)  # asked one by one they take twice as long
        return list(map(self.names.__getitem__, positions))

    def position(self, name: str) -> int:
        """Position of a node in :attr:`nodes`.

        Raises:
            ValueError: no node has this name. So do the methods below.
        """
        try:
            return self.index[name]
        except KeyError:
            raise ValueError(f"{name!r} is not a variable of this graph; {some_names(self.nodes)}") from None

    def parents(self, name: str) -> tuple[str, ...]:
        """Parents of a node, in the order in which its mechanism receives them."""
        return tuple(self.nodes[p] for p in self.parent_indices[self.position(name)])

    def children(self, name: str) -> tuple[str, ...]:
        """Children of a node; empty for an observed variable."""
        return tuple(self.nodes[c] for c in self.child_indices[self.position(name)])

    def ancestors(self, names: str | Collection[str]) -> frozenset[str]:
        """All proper ancestors of one or several nodes.

        A name that was passed in is only part of the answer when it is an ancestor of another one.
        """
        wanted = [names] if isinstance(names, str) else names
        above = [p for name in wanted for p in self.parent_indices[self.position(name)]]
        return frozenset(self.nodes[i] for i in with_all_beyond(above, self.parent_indices))

    def height(self, name: str) -> int:
        """Longest directed path from the node down to an observed variable (observed: 0)."""
        return self.heights[self.position(name)]

    def dim(self, name: str) -> int:
        """Real numbers that the node holds."""
        return self.dims[self.position(name)]

    def noise_dim(self, name: str) -> int:
        """New noise numbers that enter at the node (a root: its whole dim)."""
        return self.noise_dims[self.position(name)]

    def invertible_dims_error(self) -> str | None:
        """The reason why no invertible mechanism fits these dims, or ``None`` when one does.

        Invertible mechanisms need ``dim(v) = sum(dim(parents)) + noise_dim(v)`` at every node (section 1 of
        ``docs/theory.md``).
        """
        arrays = self.arrays
        if (node := arrays.first_other_dim) is None:
            return None
        return (
            f"{self.names[node]!r} has dim {arrays.dims[node]}, but an invertible mechanism there needs "
            f"{arrays.implied_dims[node]} = its parents' dims + its noise dim {arrays.noise_dims[node]}"
        )

    # ------------------------------------------------------------------ equality

    @cached_property
    def _hash(self) -> int:
        return hash((self.nodes, self.arrays, self.grid))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, LatentGraph)
            and (self.arrays, self.grid, self.nodes) == (other.arrays, other.grid, other.nodes)
        )

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return LatentGraph, (self.names, self.arrays, self.grid)

    def __repr__(self) -> str:
        size = f"{self.n_latents} latents, {self.n_observed} observed, {len(self.arrays.parents)} edges"
        return f"LatentGraph({size}, height {self.arrays.heights.max()})"

    def _repr_html_(self) -> str:
        """A small picture for notebooks; of a large graph, counts."""
        from hlvm.graph.notebook import graph_html

        return graph_html(repr(self), self.names, self.arrays)
