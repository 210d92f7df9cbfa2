"""Checks and ordering behind :class:`hlvm.graph.LatentGraph`: every refusal names the variable at fault."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "LARGEST_DIM",
    "checked_dim",
    "checked_edges",
    "checked_grid",
    "checked_observed",
    "checked_pairs",
    "find_cycle",
    "grid_from",
    "per_node",
    "positive",
    "some_names",
    "topological_order",
    "whole_number",
]


LARGEST_DIM = 2**53 - 1
"""Numbers that one variable may hold: sums of them stay exact in 64-bit arithmetic."""


def some_names(names: Sequence[str], limit: int = 6) -> str:
    shown = ", ".join(map(repr, names[:limit]))
    return f"known names: {shown}" + (f", ... ({len(names)} in all)" if len(names) > limit else "")


def whole_number(value: Any, what: str, *, minimum: int) -> int:
    """A whole number of Python, NumPy or JAX as an ``int``."""
    try:
        is_boolean = isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"
        number = None if is_boolean else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise ValueError(f"{what} must be a whole number of at least {minimum}, got {value!r}")
    return number


def positive(value: Any, what: str) -> int:
    return whole_number(value, what, minimum=1)


def checked_dim(value: int, what: str) -> int:
    if value > LARGEST_DIM:
        raise ValueError(f"{what} would have {value} dims, more than 2**53 - 1: use smaller dims or a lower graph")
    return value


def checked_pairs(edges: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """``(parent, child)`` pairs of non-empty names, at least one."""
    if isinstance(edges, str) or not isinstance(edges, Iterable):
        raise ValueError(f"edges are (parent, child) pairs of names, got {edges!r}")
    empty = True
    for edge in edges:
        if isinstance(edge, str) or not isinstance(edge, Sequence) or len(edge) != 2:
            raise ValueError(f"an edge is a (parent, child) pair of names, got {edge!r}")
        for name in edge:
            if not isinstance(name, str) or not name:
                raise ValueError(f"a variable's name is a non-empty string, got {name!r} in edge {edge!r}")
        yield edge[0], edge[1]
        empty = False
    if empty:
        raise ValueError("a latent graph needs at least one edge from a latent to an observed variable")


def checked_edges(edges: Iterable[Any]) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for parent, child in checked_pairs(edges):
        if parent == child:
            raise ValueError(f"{parent!r} is its own parent: remove the edge {(parent, child)!r}")
        if (parent, child) in found:
            raise ValueError(f"the edge {(parent, child)!r} is listed twice: list each edge once")
        found[parent, child] = None
    return list(found)


def checked_observed(
    sinks: list[str],
    observed: Sequence[str] | None,
    known: Mapping[str, None],
    children: Mapping[str, list[str]],
) -> list[str]:
    if observed is None:
        return sinks
    if isinstance(observed, str):
        raise ValueError(f"observed lists names, got the single name {observed!r}: write [{observed!r}]")
    names = list(observed)
    if len(set(names)) != len(names):
        raise ValueError("observed lists a name twice")
    for name in names:
        if name not in known:
            raise ValueError(f"observed variable {name!r} has no edge: connect it to a latent parent")
        if name in children:
            raise ValueError(
                f"observed variable {name!r} has the child {children[name][0]!r}: observed variables are sinks; "
                f"give both a common latent parent instead"
            )
    given = set(names)
    missing = [name for name in sinks if name not in given]
    if missing:
        raise ValueError(
            f"{missing[0]!r} has no children and is not listed as observed: every latent needs an observed descendant"
        )
    return names


def topological_order(
    names: Iterable[str],
    parents: Mapping[str, list[str]],
    children: Mapping[str, list[str]],
    sinks: list[str],
) -> list[str]:
    """Kahn's algorithm over the latents in order of first appearance, then the observed variables."""
    last = set(sinks)
    waiting = {name: len(parents.get(name, ())) for name in names}
    ready = deque(name for name, count in waiting.items() if count == 0)
    order: list[str] = []
    while ready:
        name = ready.popleft()
        order.append(name)
        for child in children.get(name, ()):
            waiting[child] -= 1
            if waiting[child] == 0 and child not in last:
                ready.append(child)
    if len(order) + len(last) < len(waiting) or any(waiting[name] for name in last):
        raise ValueError(f"the edges contain a cycle: {' -> '.join(find_cycle(parents, waiting))}")
    return order + sinks


def find_cycle(parents: Mapping[str, list[str]], waiting: Mapping[str, int]) -> list[str]:
    """Names along one cycle: walk from child to parent among nodes that never became ready."""
    stuck = {name for name, count in waiting.items() if count}
    path = [next(iter(stuck))]
    seen = {path[0]: 0}
    while True:
        above = next(p for p in parents[path[-1]] if p in stuck)
        if above in seen:
            return [*reversed(path[seen[above] :]), path[-1]]
        seen[above] = len(path)
        path.append(above)


def per_node(value: Any, names: Sequence[str], what: str, *, minimum: int) -> list[int]:
    if not isinstance(value, Mapping):
        return [checked_dim(whole_number(value, what, minimum=minimum), "a variable")] * len(names)
    known = set(names)
    unknown = [name for name in value if name not in known]
    if unknown:
        raise ValueError(f"{what} names {unknown[0]!r}, which is not a variable of this graph; {some_names(names)}")
    missing = [name for name in names if name not in value]
    if missing:
        raise ValueError(f"{what} has no entry for {missing[0]!r}: give one number for all, or one for every name")
    return [checked_dim(whole_number(value[name], f"{what}[{name!r}]", minimum=minimum), repr(name)) for name in names]


def grid_from(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError(f"grid must be [rows, columns], got {value!r}")
    return (value[0], value[1])


def checked_grid(grid: tuple[int, int] | None, n_observed: int) -> tuple[int, int] | None:
    if grid is None:
        return None
    if isinstance(grid, str) or not isinstance(grid, Sequence) or len(grid) != 2:
        raise ValueError(f"grid must be (rows, columns), got {grid!r}")
    rows, columns = (positive(side, "grid side") for side in grid)
    if rows * columns != n_observed:
        raise ValueError(
            f"grid {rows} x {columns} has {rows * columns} cells, but there are {n_observed} observed variables"
        )
    return rows, columns
