"""Families of graphs: random ones, receptive fields, textbook shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, Literal, TypeAlias

import numpy as np

from hlvm._numbers import positive, whole_number
from hlvm.graph.builders import grid_names
from hlvm.graph.latent_graph import LatentGraph

__all__ = [
    "GraphKind",
    "diamond",
    "overlapping_fields",
    "pure_children_chain",
    "random_graph",
    "two_parent_measurement",
]

GraphKind: TypeAlias = Literal["layered", "general"]
"""Reach of the edges of a random graph: neighbouring layers only, or any earlier latent to any later variable."""


# ---------------------------------------------------------------------- random graphs


def random_graph(
    seed: int | np.random.Generator,
    *,
    n_latents: int,
    n_observed: int,
    kind: GraphKind = "general",
    layers: int = 2,
    max_parents: int = 2,
    noise_dims: int | tuple[int, int] = 1,
    dims: int | tuple[int, int] | None = None,
) -> LatentGraph:
    """Draw a random graph; the same seed gives the same graph.

    Every latent has a child and every observed variable a parent.

    Args:
        seed: a whole number of at least 0, or a NumPy generator, which moves on.
        n_latents: number of latents.
        n_observed: number of observed variables, ``x_0``, ``x_1``, ...
        kind: "layered": latents ``z{h}_{i}`` of height ``h`` in layers of nearly equal size, smaller ones on top;
            every parent lies in the layer right above. "general": latents ``z_0``, ``z_1``, ...; any earlier latent
            may be a parent, and roots occur anywhere.
        layers: number of layers of latents; "layered" only.
        max_parents: no variable has more parents than this.
        noise_dims: noise dims of every variable, or ``(least, most)`` to draw them from; roots get at least 1.
        dims: dims of every variable, or ``(least, most)`` to draw them from. ``None``: those that invertible
            mechanisms imply.

    Returns:
        The graph.

    Raises:
        ValueError: a number out of range, an unknown kind, fewer latents than layers, or a layer too narrow to
            give every latent above it a child.

    Example:
        >>> random_graph(0, n_latents=4, n_observed=6, kind="layered")
        LatentGraph(4 latents, 6 observed, 14 edges, height 2)
    """
    generator = _generator(seed)
    for value, what in ((n_latents, "n_latents"), (n_observed, "n_observed"), (max_parents, "max_parents")):
        positive(value, what)
    observed = [f"x_{i}" for i in range(n_observed)]
    if kind == "layered":
        above = _layered(generator, n_latents, observed, positive(layers, "layers"), max_parents)
    elif kind == "general":
        above = _general(generator, n_latents, observed, max_parents)
    else:
        raise ValueError(f'kind must be "layered" or "general", got {kind!r}')
    names = list(above)
    noise = _drawn(generator, noise_dims, names, "noise_dims", minimum=0)
    noise = {name: own if above[name] else max(own, 1) for name, own in noise.items()}
    return LatentGraph.from_edges(
        [(parent, child) for child in names for parent in above[child]],
        noise_dims=noise,
        dims=None if dims is None else _drawn(generator, dims, names, "dims", minimum=1),
        observed=observed,
    )


def _generator(seed: Any) -> np.random.Generator:
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0 or a numpy.random.Generator, got {seed!r}")
    return np.random.default_rng(seed)


def _layered(
    generator: np.random.Generator, n_latents: int, observed: list[str], layers: int, max_parents: int
) -> dict[str, list[str]]:
    """Parents of every variable; each layer first gives all latents above it a child, then draws the rest."""
    if layers > n_latents:
        raise ValueError(f"{n_latents} latents cannot fill {layers} layers: use fewer layers or more latents")
    sizes = [n_latents // layers + (depth >= layers - n_latents % layers) for depth in range(layers)]
    names = [[f"z{layers - depth}_{i}" for i in range(size)] for depth, size in enumerate(sizes)]
    found: dict[str, list[str]] = {name: [] for name in names[0]}
    for upper, lower in zip(names, [*names[1:], observed], strict=True):
        if len(upper) > len(lower) * max_parents:
            raise ValueError(
                f"{len(lower)} variables with at most {max_parents} parents each cannot be children of all "
                f"{len(upper)} latents above: raise max_parents, or the number of variables below"
            )
        parents: dict[str, list[str]] = {name: [] for name in lower}
        takers = generator.permutation(len(lower))
        for i, giver in enumerate(generator.permutation(len(upper)).tolist()):
            parents[lower[takers[i % len(lower)]]].append(upper[giver])
        for name in lower:
            most = min(max_parents, len(upper))
            wanted = int(generator.integers(max(1, len(parents[name])), most + 1))
            found[name] = _topped_up(generator, parents[name], upper, wanted)
    return found


def _general(
    generator: np.random.Generator, n_latents: int, observed: list[str], max_parents: int
) -> dict[str, list[str]]:
    """Parents of every variable; each latent, last ones first, is given a later child that has room for it."""
    latents = [f"z_{i}" for i in range(n_latents)]
    names = latents + observed
    parents: dict[str, list[str]] = {name: [] for name in names}
    for i in range(n_latents - 1, -1, -1):
        with_room = [name for name in names[i + 1 :] if len(parents[name]) < max_parents]
        parents[with_room[generator.integers(len(with_room))]].append(latents[i])
    for i, name in enumerate(names):
        earlier = latents[:i]
        least = max(len(parents[name]), int(i >= n_latents))
        wanted = int(generator.integers(least, min(max_parents, len(earlier)) + 1))
        parents[name] = _topped_up(generator, parents[name], earlier, wanted)
    return parents


def _topped_up(generator: np.random.Generator, have: list[str], candidates: list[str], wanted: int) -> list[str]:
    others = [name for name in candidates if name not in have]
    added = generator.choice(len(others), size=wanted - len(have), replace=False) if wanted > len(have) else []
    return [*have, *(others[i] for i in added)]


def _drawn(generator: np.random.Generator, value: Any, names: list[str], what: str, *, minimum: int) -> dict[str, int]:
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ValueError(f"{what} must be a whole number or (least, most), got {value!r}")
        least, most = (whole_number(end, what, minimum=minimum) for end in value)
        if least > most:
            raise ValueError(f"{what}={value!r}: the first number is the least, the second the most")
        return dict(zip(names, generator.integers(least, most + 1, size=len(names)).tolist(), strict=True))
    return dict.fromkeys(names, whole_number(value, what, minimum=minimum))


# ---------------------------------------------------------------------- receptive fields


def overlapping_fields(
    side: int | tuple[int, int],
    *,
    size: int = 3,
    stride: int = 2,
    height: int = 1,
    noise_dims: int = 1,
    dims: int | Mapping[str, int] | None = None,
) -> LatentGraph:
    """Build layers of latents whose receptive fields overlap, over a grid of observed cells.

    Latent ``z{h}_{r}_{c}`` is a parent of the ``size`` by ``size`` variables one level below it that begin at row
    ``r * stride`` and column ``c * stride``; the next latent begins ``stride`` further. Cells, ``x_{r}_{c}``, that
    several fields cover have several parents.

    Args:
        side: rows and columns of the grid: one number, or ``(rows, columns)``.
        size: side of a field, at least 1.
        stride: distance between neighbouring fields, 1 to ``size``. Equal to ``size`` there is no overlap.
        height: levels of latents; those of the highest level are the roots.
        noise_dims: noise dims of every variable.
        dims: as in :meth:`LatentGraph.from_edges`; ``None`` takes the dims that invertible mechanisms imply, which
            add up over all parents.

    Returns:
        The graph, with ``grid`` set.

    Raises:
        ValueError: a number out of range, or fields that do not cover a level exactly.

    Example:
        >>> overlapping_fields(5).parents("x_2_1")
        ('z1_0_0', 'z1_1_0')
    """
    rows, columns = side if isinstance(side, tuple) and len(side) == 2 else (side, side)
    grid = (positive(rows, "side"), positive(columns, "side"))
    positive(size, "size")
    if positive(stride, "stride") > size:
        raise ValueError(f"stride={stride} is larger than size={size}: cells between the fields would have no parent")
    shape = list(grid)
    layers: list[list[tuple[str, str]]] = []
    for level in range(1, positive(height, "height") + 1):
        upper = [_fields_along(n, size, stride, level) for n in shape]
        prefix = f"z{level - 1}_" if level > 1 else "x_"
        layers.append(
            [
                (f"z{level}_{r // stride}_{c // stride}", f"{prefix}{r + i}_{c + j}")
                for r in range(0, upper[0] * stride, stride)
                for c in range(0, upper[1] * stride, stride)
                for i in range(size)
                for j in range(size)
            ]
        )
        shape = upper
    return LatentGraph.from_edges(
        [edge for layer in reversed(layers) for edge in layer],
        noise_dims=noise_dims,
        dims=dims,
        observed=grid_names("x_", *grid),
        grid=grid,
    )


def _fields_along(n: int, size: int, stride: int, level: int) -> int:
    count, rest = divmod(n - size, stride)
    if count < 0 or rest:
        raise ValueError(
            f"fields of size {size} and stride {stride} do not cover the {n} variables along a side below level "
            f"{level} exactly: choose a side, size and stride with (side - size) divisible by the stride"
        )
    return count + 1


# ---------------------------------------------------------------------- shapes of the literature


def pure_children_chain(length: int, *, children: int = 2, root_dim: int = 1, noise_dim: int = 1) -> LatentGraph:
    """Build a chain of latents, each with observed *pure* children, whose only parent it is.

    Latents are ``z_0 -> z_1 -> ...``; the children of ``z_i`` are ``x_{i}_0``, ``x_{i}_1``, ...

    Args:
        length: number of latents.
        children: observed children of each latent.
        root_dim: dims of ``z_0``.
        noise_dim: noise dims of every other variable; dims are those invertible mechanisms imply.

    Returns:
        The graph.

    Raises:
        ValueError: a number out of range.

    References:
        Pure measurement models: Silva, Scheines, Glymour and Spirtes, "Learning the Structure of Linear Latent
        Variable Models", Journal of Machine Learning Research 7 (2006).
    """
    latents = [f"z_{i}" for i in range(positive(length, "length"))]
    edges = list(pairwise(latents))
    return _with_pure_children(edges, latents, [], positive(children, "children"), root_dim, noise_dim)


def diamond(*, width: int = 2, children: int = 2, root_dim: int = 1, noise_dim: int = 1) -> LatentGraph:
    """Build a diamond: one latent on top, ``width`` latents between, one at the bottom with all of them as parents.

    The smallest hierarchy that is not a tree: two paths lead from ``top`` to ``bottom``, which is a collider of the
    latents ``side_0``, ``side_1``, ... Every latent has observed children of its own, ``x_{latent}_0``, ...

    Args:
        width: latents between top and bottom.
        children: observed pure children of each latent.
        root_dim: dims of ``top``.
        noise_dim: noise dims of every other variable; dims are those invertible mechanisms imply.

    Returns:
        The graph.

    Raises:
        ValueError: a number out of range.
    """
    sides = [f"side_{i}" for i in range(positive(width, "width"))]
    edges = [("top", side) for side in sides] + [(side, "bottom") for side in sides]
    latents = ["top", *sides, "bottom"]
    return _with_pure_children(edges, latents, [], positive(children, "children"), root_dim, noise_dim)


def two_parent_measurement(
    n_latents: int = 3,
    *,
    shared: int = 1,
    children: int = 0,
    root_dim: int = 1,
    noise_dim: int = 1,
) -> LatentGraph:
    """Build a measurement model in which observed variables have two latent parents each.

    The latents ``z_0``, ``z_1``, ... are independent roots. Each pair of them has observed children
    ``x_{i}_{j}_0``, ...; in addition each may have pure children ``x_{i}_0``, ...

    Args:
        n_latents: number of latents, at least 2.
        shared: observed children of each pair of latents.
        children: observed pure children of each latent; may be 0.
        root_dim: dims of every latent.
        noise_dim: noise dims of every observed variable; dims are those invertible mechanisms imply.

    Returns:
        The graph.

    Raises:
        ValueError: a number out of range.
    """
    latents = [f"z_{i}" for i in range(whole_number(n_latents, "n_latents", minimum=2))]
    copies = range(positive(shared, "shared"))
    pairs = combinations(range(n_latents), 2)
    edges = [(latents[p], f"x_{i}_{j}_{copy}") for i, j in pairs for copy in copies for p in (i, j)]
    children = whole_number(children, "children", minimum=0)
    return _with_pure_children([], latents, edges, children, root_dim, noise_dim)


def _with_pure_children(
    edges: list[tuple[str, str]],
    latents: Sequence[str],
    shared_edges: list[tuple[str, str]],
    children: int,
    root_dim: int,
    noise_dim: int,
) -> LatentGraph:
    own = [(z, f"x_{z.removeprefix('z_')}_{i}") for z in latents for i in range(children)]
    every = [*edges, *own, *shared_edges]
    names = dict.fromkeys(name for edge in every for name in edge)
    has_parent = {child for _, child in every}
    positive(root_dim, "root_dim")
    whole_number(noise_dim, "noise_dim", minimum=0)
    return LatentGraph.from_edges(
        every, noise_dims={name: noise_dim if name in has_parent else root_dim for name in names}
    )
