"""Latent graphs: which latent variable causes which, and how many numbers each one holds.

A :class:`LatentGraph` is a frozen directed acyclic graph over latent and observed variables. The
observed variables are the sinks; everything else is latent. See section 1 of ``docs/theory.md``.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hlvm._files import write_text_atomically
from hlvm._graph_checks import (
    checked_edges,
    checked_grid,
    checked_observed,
    grid_from,
    per_node,
    positive,
    some_names,
    topological_order,
    whole_number,
)

__all__ = ["LatentGraph"]

_FORMAT = "hlvm.graph"
_FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LatentGraph:
    """A directed acyclic graph of latent and observed variables with their dimensions.

    Build one with :meth:`from_edges`, :meth:`tree`, :meth:`quadtree` or :meth:`load`; the constructor
    takes the already ordered parts.

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

    # ------------------------------------------------------------------ builders

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[str, str]],
        *,
        noise_dims: int | Mapping[str, int] = 1,
        dims: int | Mapping[str, int] | None = None,
        observed: Sequence[str] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> LatentGraph:
        """Build a graph from ``(parent, child)`` pairs.

        Args:
            edges: pairs ``(parent, child)``; a node's parents keep the order in which they appear.
            noise_dims: noise numbers entering at each node: one number for all, or one per name. Zero
                is allowed except at roots.
            dims: numbers held by each node. ``None`` takes the dims that invertible mechanisms imply,
                ``dim(v) = sum(dim(parents)) + noise_dim(v)``. With explicit dims (mechanisms that are
                not invertible) a root's noise dim is its dim.
            observed: the observed variables, when you want to fix their order or have them checked.
                They must be exactly the sinks. ``None``: the sinks in order of first appearance.
            grid: ``(rows, columns)`` if the observed variables are the cells of a grid, row by row.

        Returns:
            The graph.

        Raises:
            ValueError: no edges, a malformed or repeated edge, a cycle, an edge that leaves a declared
                observed variable, dims below 1, names missing from (or unknown to) a mapping, or a grid
                whose size is not the number of observed variables.
        """
        edge_list = checked_edges(edges)
        order: dict[str, None] = {}
        parents: dict[str, list[str]] = {}
        children: dict[str, list[str]] = {}
        for parent, child in edge_list:
            order.setdefault(parent)
            order.setdefault(child)
            parents.setdefault(child, []).append(parent)
            children.setdefault(parent, []).append(child)
        sinks = [name for name in order if name not in children]
        sinks = checked_observed(sinks, observed, order, children)
        names = topological_order(order, parents, children, sinks)
        position = {name: i for i, name in enumerate(names)}
        parent_indices = tuple(tuple(position[p] for p in parents.get(name, ())) for name in names)
        noise = per_node(noise_dims, names, "noise_dims", minimum=0)
        if dims is None:
            sizes: list[int] = []
            for name, above, own in zip(names, parent_indices, noise, strict=True):
                if not above and own < 1:
                    raise ValueError(
                        f"the root {name!r} has noise_dims=0: a root is its own noise, so give it at least 1"
                    )
                sizes.append(own + sum(sizes[p] for p in above))
        else:
            sizes = per_node(dims, names, "dims", minimum=1)
            noise = [size if not above else own for size, own, above in zip(sizes, noise, parent_indices, strict=True)]
        return cls(
            nodes=tuple(names),
            parent_indices=parent_indices,
            dims=tuple(sizes),
            noise_dims=tuple(noise),
            grid=checked_grid(grid, len(sinks)),
        )

    @classmethod
    def tree(
        cls, branching: int | Sequence[int], height: int | None = None, *, root_dim: int = 2, noise_dim: int = 1
    ) -> LatentGraph:
        """Build a rooted tree in which every leaf (observed variable) has the same depth.

        The latent at height ``h`` and position ``i`` (left to right) is named ``z{h}_{i}``; leaves are
        named ``x_{i}``.

        Args:
            branching: children per latent, one number for every level or one per level from the root
                down.
            height: levels below the root; may be left out when ``branching`` is a sequence.
            root_dim: dims of the root.
            noise_dim: noise dims of every other node; dims are those invertible mechanisms imply.

        Returns:
            The tree.

        Raises:
            ValueError: a height or branching below 1, or a height that contradicts the sequence.

        Example:
            >>> LatentGraph.tree(2, 2).observed
            ('x_0', 'x_1', 'x_2', 'x_3')
        """
        if isinstance(branching, int):
            if height is None:
                raise ValueError("tree(branching, height): give the height when branching is one number")
            per_level = [branching] * positive(height, "height")
        else:
            per_level = list(branching)
            if height is not None and height != len(per_level):
                raise ValueError(
                    f"height={height} but branching lists {len(per_level)} levels: leave height out, or make them agree"
                )
        if not per_level:
            raise ValueError("a tree needs at least one level below the root: height must be at least 1")
        for count in per_level:
            positive(count, "branching")
        levels = [[f"z{len(per_level)}_0"]]
        parent_of: list[int] = []
        offset = 0
        for depth, count in enumerate(per_level, start=1):
            below = len(per_level) - depth
            width = len(levels[-1]) * count
            prefix = f"z{below}_" if below else "x_"
            parent_of += [offset + i // count for i in range(width)]
            offset += len(levels[-1])
            levels.append([f"{prefix}{i}" for i in range(width)])
        return cls._from_levels(levels, parent_of, root_dim=root_dim, noise_dim=noise_dim)

    @classmethod
    def quadtree(cls, height: int, *, root_dim: int = 2, noise_dim: int = 1) -> LatentGraph:
        """Build the quadtree over a square grid of ``2**height`` by ``2**height`` observed cells.

        Each latent owns a square of the grid and has four children, one for each quarter. The latent at
        height ``h`` over block row ``r`` and column ``c`` is named ``z{h}_{r}_{c}``; cells are named
        ``x_{r}_{c}``.

        Args:
            height: levels below the root, at least 1; there are ``4**height`` observed cells.
            root_dim: dims of the root.
            noise_dim: noise dims of every other node; dims are those invertible mechanisms imply.

        Returns:
            The quadtree, with ``grid`` set.

        Raises:
            ValueError: height, root_dim or noise_dim out of range.

        Example:
            >>> graph = LatentGraph.quadtree(2)
            >>> graph.grid, graph.parents("x_0_3"), graph.dim("x_0_3")
            ((4, 4), ('z1_0_1',), 4)
        """
        positive(height, "height")
        levels = [[f"z{height}_0_0"]]
        parent_of: list[int] = []
        offset = 0
        for depth in range(1, height + 1):
            side, below = 2**depth, height - depth
            prefix = f"z{below}_" if below else "x_"
            cells = [(r, c) for r in range(side) for c in range(side)]
            parent_of += [offset + (r // 2) * (side // 2) + c // 2 for r, c in cells]
            offset += len(levels[-1])
            levels.append([f"{prefix}{r}_{c}" for r, c in cells])
        return cls._from_levels(levels, parent_of, root_dim=root_dim, noise_dim=noise_dim, grid=(2**height, 2**height))

    @classmethod
    def _from_levels(
        cls,
        levels: list[list[str]],
        parent_of: list[int],
        *,
        root_dim: int,
        noise_dim: int,
        grid: tuple[int, int] | None = None,
    ) -> LatentGraph:
        """Assemble a tree from its levels; ``parent_of`` lists the parent of every node but the root."""
        positive(root_dim, "root_dim")
        noise_dim = whole_number(noise_dim, "noise_dim", minimum=0)
        nodes = [name for level in levels for name in level]
        dims = [root_dim + depth * noise_dim for depth, level in enumerate(levels) for _ in level]
        return cls(
            nodes=tuple(nodes),
            parent_indices=((), *((p,) for p in parent_of)),
            dims=tuple(dims),
            noise_dims=(root_dim, *([noise_dim] * (len(nodes) - 1))),
            grid=grid,
        )

    # ------------------------------------------------------------------ structure

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each name in :attr:`nodes`."""
        return {name: i for i, name in enumerate(self.nodes)}

    @cached_property
    def child_indices(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the positions of its children in :attr:`nodes`."""
        below: list[list[int]] = [[] for _ in self.nodes]
        for child, above in enumerate(self.parent_indices):
            for parent in above:
                below[parent].append(child)
        return tuple(map(tuple, below))

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """For each node, the longest directed path down to an observed variable (observed: 0)."""
        heights = [0] * len(self.nodes)
        for node in range(len(self.nodes) - 1, -1, -1):
            for parent in self.parent_indices[node]:
                heights[parent] = max(heights[parent], heights[node] + 1)
        return tuple(heights)

    @cached_property
    def latents(self) -> tuple[str, ...]:
        """Names of the latent variables, in topological order."""
        return self.nodes[: len(self.nodes) - len(self.observed)]

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """Names of the observed variables (the sinks), row by row when there is a grid."""
        return tuple(name for name, below in zip(self.nodes, self.child_indices, strict=True) if not below)

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """All ``(parent, child)`` pairs."""
        return tuple(
            (self.nodes[p], child) for child, above in zip(self.nodes, self.parent_indices, strict=True) for p in above
        )

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
        for node, (name, above) in enumerate(zip(self.nodes, self.parent_indices, strict=True)):
            implied = sum(self.dims[p] for p in above) + self.noise_dims[node]
            if self.dims[node] != implied:
                return (
                    f"{name!r} has dim {self.dims[node]}, but an invertible mechanism there needs "
                    f"{implied} = its parents' dims + its noise dim {self.noise_dims[node]}"
                )
        return None

    # ------------------------------------------------------------------ equality and files

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
        size = f"{len(self.latents)} latents, {len(self.observed)} observed, {len(self.edges)} edges"
        return f"LatentGraph({size}, height {max(self.heights)})"

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready description that :meth:`from_dict` turns back into an equal graph."""
        return {
            "format": _FORMAT,
            "version": _FORMAT_VERSION,
            "nodes": [
                {"name": n, "dim": d, "noise_dim": e, "parents": [self.nodes[p] for p in above]}
                for n, d, e, above in zip(self.nodes, self.dims, self.noise_dims, self.parent_indices, strict=True)
            ],
            "grid": list(self.grid) if self.grid else None,
        }

    @classmethod
    def from_dict(cls, data: Any) -> LatentGraph:
        """Rebuild a graph from :meth:`to_dict`'s description.

        A shorter form is accepted for graphs written by hand: ``{"edges": [["z", "x1"], ...]}`` with the
        keyword arguments of :meth:`from_edges` beside it.

        Raises:
            ValueError: the description is not a graph, says what is missing.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"a graph description is a JSON object, got {type(data).__name__}")
        if "edges" in data:
            return cls._from_short_form(data)
        if data.get("format") != _FORMAT:
            raise ValueError('not a graph description: expected "edges", or "format": "hlvm.graph" with "nodes"')
        if data.get("version") != _FORMAT_VERSION:
            raise ValueError(
                f"graph format version {data.get('version')!r} is not known here (expected {_FORMAT_VERSION})"
            )
        try:
            rows = data["nodes"]
            names = [row["name"] for row in rows]
            edges = [(parent, row["name"]) for row in rows for parent in row["parents"]]
            dims = {row["name"]: row["dim"] for row in rows}
            noise_dims = {row["name"]: row["noise_dim"] for row in rows}
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"malformed graph description: each node needs name, dim, noise_dim and parents ({error!r})"
            ) from None
        if len(set(names)) != len(names):
            raise ValueError("malformed graph description: a node is listed twice")
        has_child = {parent for parent, _ in edges}
        graph = cls.from_edges(
            edges,
            noise_dims=noise_dims,
            dims=dims,
            observed=[name for name in names if name not in has_child],
            grid=grid_from(data.get("grid")),
        )
        return graph._reordered(names)

    @classmethod
    def _from_short_form(cls, data: Mapping[str, Any]) -> LatentGraph:
        known = {"edges", "noise_dims", "dims", "observed", "grid"}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ValueError(f"unknown graph fields {unknown}; known: {sorted(known)}")
        rows, observed = data["edges"], data.get("observed")
        if observed is not None and (isinstance(observed, str) or not isinstance(observed, Sequence)):
            raise ValueError('"observed" must be a list of names')
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise ValueError('"edges" must be a list of [parent, child] pairs')
        return cls.from_edges(
            rows,
            noise_dims=data.get("noise_dims", 1),
            dims=data.get("dims"),
            observed=observed,
            grid=grid_from(data.get("grid")),
        )

    def _reordered(self, names: Sequence[str]) -> LatentGraph:
        """The same graph with its nodes in another topological order, kept if it is one."""
        position = {name: i for i, name in enumerate(names)}
        old = [self.index[name] for name in names]
        parents = tuple(tuple(position[self.nodes[p]] for p in self.parent_indices[i]) for i in old)
        if any(p >= i for i, above in enumerate(parents) for p in above):
            return self
        return LatentGraph(
            nodes=tuple(names),
            parent_indices=parents,
            dims=tuple(self.dims[i] for i in old),
            noise_dims=tuple(self.noise_dims[i] for i in old),
            grid=self.grid,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph as a JSON file, all or nothing.

        Raises:
            OSError: the file cannot be written.
        """
        write_text_atomically(Path(path), json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LatentGraph:
        """Read a graph written by :meth:`save`, or by hand (see :meth:`from_dict`).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a graph.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a JSON graph file: {error}") from None
        try:
            return cls.from_dict(data)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
