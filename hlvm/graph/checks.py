"""Checks and ordering of what a graph is made from: every refusal names the variable at fault."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

from hlvm._numbers import positive, whole_number

__all__ = [
    "LARGEST_DIM",
    "Grid",
    "check_places",
    "checked_dim",
    "checked_edges",
    "checked_grid",
    "checked_observed",
    "checked_pairs",
    "find_cycle",
    "is_of_names",
    "per_node",
    "placed_cells",
    "rows_of_names",
    "some_names",
    "topological_order",
]


Grid: TypeAlias = tuple[int, int] | Sequence[Sequence[str]]
"""Rows and columns, or the names of the cells row by row."""

_PLACES = (
    re.compile(r"(\d+)[^0-9A-Za-z]+(\d+)[^0-9A-Za-z]*$"),
    re.compile(r"r(?:ow)?[^0-9A-Za-z]*(\d+)[^0-9A-Za-z]*c(?:ol(?:umn)?)?[^0-9A-Za-z]*(\d+)$", re.IGNORECASE),
    re.compile(r"(?<!\d)(\d)(\d)$"),
    re.compile(r"(?<!\d)(\d+)[^0-9A-Za-z]*$"),
)
"""Places that names tell of: row and column, or the number of a cell."""

LARGEST_DIM = 2**53 - 1
"""Numbers that one variable may hold: sums of them stay exact in 64-bit arithmetic."""


def some_names(names: Sequence[str], limit: int = 6) -> str:
    """The first few names that there are, for error messages."""
    shown = ", ".join(map(repr, names[:limit]))
    return f"known names: {shown}" + (f", ... ({len(names)} in all)" if len(names) > limit else "")


def checked_dim(value: int, what: str) -> int:
    """A dim that is not too large for exact sums; else a ValueError."""
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
    """``(parent, child)`` pairs of which none is a loop or listed twice; else a ValueError."""
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
    """The sinks in the order asked for; a ValueError if other variables were named."""
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
    """One whole number per node, from one for all or a mapping from names; else a ValueError."""
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


def checked_grid(grid: Grid | None, n_observed: int) -> tuple[int, int] | None:
    """Rows and columns of a grid that the observed variables fill; else a ValueError."""
    if grid is None:
        return None
    if isinstance(grid, str) or not isinstance(grid, Sequence) or len(grid) != 2:
        raise ValueError(f"grid must be (rows, columns), or a list of rows of names, got {grid!r}")
    rows, columns = (positive(side, "grid side") for side in grid)
    if rows * columns != n_observed:
        raise ValueError(
            f"grid {rows} x {columns} has {rows * columns} cells, but there are {n_observed} observed variables"
        )
    return rows, columns


def placed_cells(
    grid: Grid | None, sinks: Sequence[str], *, in_this_order: bool
) -> tuple[tuple[int, int] | None, list[str]]:
    """Size of the grid, and the observed variables row by row.

    Args:
        grid: ``(rows, columns)``, or the names of all cells, row by row; the names place the cells.
        sinks: the observed variables, in the order that ``(rows, columns)`` goes by.
        in_this_order: whether the caller asked for this order, which names must then agree with.

    Raises:
        ValueError: other names than those of the observed variables, rows of different lengths, another order than
            asked for, or names that tell of another place than their order.
    """
    names = list(sinks)
    if not is_of_names(grid):
        size = checked_grid(grid, len(names))
        if size is not None:
            check_places(names, size)
        return size, names
    rows = [list(row) for row in grid]
    if len(set(map(len, rows))) != 1:
        raise ValueError(f"rows of a grid have equally many names, got {[len(row) for row in rows][:8]}")
    placed = [name for row in rows for name in row]
    if len(set(placed)) < len(placed):
        repeated = next(name for i, name in enumerate(placed) if name in placed[:i])
        raise ValueError(f"grid has {repeated!r} in two cells: give every observed variable one")
    odd = sorted(map(str, set(placed) ^ set(names)))
    if odd:
        what = "names" if odd[0] in placed else "leaves out"
        raise ValueError(f"grid {what} {odd[0]!r}: its cells are the observed variables; {some_names(names)}")
    if in_this_order and placed != names:
        raise ValueError("grid lists the observed variables in another order than observed: leave observed out")
    return (len(rows), len(rows[0])), placed


def rows_of_names(grid: Any, names: Sequence[str]) -> Sequence[Sequence[str]] | None:
    """The grid of names that a graph of ours describes by its size: its cells are in order, whatever their names."""
    size = checked_grid(grid, len(names))
    return None if size is None else [names[i : i + size[1]] for i in range(0, len(names), size[1])]


def is_of_names(grid: Any) -> TypeGuard[Sequence[Sequence[str]]]:
    """Tell whether every row of a grid is a list of names."""
    return (
        isinstance(grid, Sequence)
        and not isinstance(grid, str)
        and len(grid) > 0
        and all(isinstance(row, Sequence) and not isinstance(row, str) and len(row) for row in grid)
    )


def check_places(names: Sequence[str], grid: tuple[int, int]) -> None:
    """Refuse cells whose names end in the numbers of another place than the one they have row by row.

    Names such as "p0_1", "x[0,1]" or "p01" tell row and column, "x_7" the place, counted from 0 or 1. Only names that
    tell every place of the grid once are taken to tell places.

    Raises:
        ValueError: the names tell of other places.
    """
    rows, columns = grid
    places = [(i // columns, i % columns) for i in range(len(names))]
    for pattern in _PLACES:
        matches = [pattern.search(name) for name in names]
        if not all(matches):
            continue
        told = [tuple(map(int, found.groups())) for found in matches if found]
        if len(told[0]) == 1:
            told = [divmod(number - min(told)[0], columns) for (number,) in told]
        else:
            first = [min(numbers) for numbers in zip(*told, strict=True)]
            told = [(row - first[0], column - first[1]) for row, column in told]
        transposed = [(column, row) for row, column in told]
        if sorted(told) != places and sorted(transposed) != places:
            continue
        wrong = next((i for i, place in enumerate(places) if told[i] != place), None)
        if wrong is None:
            return
        raise ValueError(
            f"the grid of {rows} x {columns} is filled row by row, in the order of the observed variables, so "
            f"{names[wrong]!r} would be in row {places[wrong][0]}, column {places[wrong][1]}, and its name tells "
            f"otherwise: give the grid as rows of names, such as grid=[[{names[0]!r}, ...], ...]"
        )
