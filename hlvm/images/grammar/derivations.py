"""Strings of a grammar with everything behind them: from choices to strings and back, and the graph of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.graph.arrays import GraphArrays
from hlvm.images.grammar.rules import TupleIndex, find
from hlvm.simulator.layout import Leaf

__all__ = [
    "Derivation",
    "all_choices",
    "draw_choices",
    "fixed_pairs",
    "grammar_graph",
    "named",
    "other_synonyms",
    "parse",
    "produce",
]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["symbols", "synonyms"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Derivation:
    """Strings with every symbol and every choice behind them, from the class (level L) down to the cells (level 0).

    Attributes:
        symbols: level, 0 to L -> symbols, int32 of shape (n, rows, columns) of that level; the class is (n, 1, 1).
            -1 where parsing found no symbol.
        synonyms: level, 1 to L -> which rule each symbol took, int32, same shape, 0 to m - 1. -1 where parsing found
            none.
    """

    symbols: Mapping[int, Leaf]
    synonyms: Mapping[int, Leaf]

    @property
    def cells(self) -> Int[Array, "n rows columns"]:
        """The strings: symbols of level 0."""
        return self.symbols[0]

    @property
    def labels(self) -> Int[Array, " n"]:
        """Class of each string; -1 for a string that is none."""
        return self.symbols[len(self.synonyms)][:, 0, 0]

    @property
    def valid(self) -> Bool[Array, " n"]:
        """Tell which parsed strings belong to the grammar. Strings that were written are not checked: parse them."""
        return self.labels >= 0

    def __len__(self) -> int:
        return self.symbols[0].shape[0]

    def __repr__(self) -> str:
        return f"Derivation({len(self)} strings of shape {self.symbols[0].shape[1:]}, {len(self.synonyms)} levels)"


def grammar_graph(shapes: Sequence[tuple[int, int]]) -> LatentGraph:
    """The tree over levels of nodes with these rows and columns, from the cells, level 0, up to the class."""
    nodes: list[str] = []
    parents: list[tuple[int, ...]] = []
    above = 0
    for level in reversed(range(len(shapes))):
        rows, columns = shapes[level]
        prefix, start = f"z{level}_" if level else "x_", len(nodes)
        row, column = (side.ravel() for side in np.indices((rows, columns)))
        nodes += [f"{prefix}{r}_{c}" for r, c in zip(row.tolist(), column.tolist(), strict=True)]
        if level == len(shapes) - 1:
            parents.append(())
        else:
            above_rows, above_columns = shapes[level + 1]
            place = row // (rows // above_rows) * above_columns + column // (columns // above_columns)
            parents += [(p,) for p in (above + place).tolist()]
        above = start
    n_cells = len(nodes) - above
    dims, noise_dims = (2,) * above + (1,) * n_cells, (2,) + (1,) * (above - 1) + (0,) * n_cells
    return LatentGraph(tuple(nodes), GraphArrays.of(parents, dims, noise_dims), shapes[0])


# ---------------------------------------------------------------------- choices


def all_choices(
    n_strings: int, n_synonyms: int, shapes: Sequence[tuple[int, int]]
) -> tuple[Int[np.ndarray, " n"], dict[int, Int[np.ndarray, "n _ _"]]]:
    """Classes, and synonyms of the levels with these shapes, of all strings of a grammar."""
    number = np.arange(n_strings)
    synonyms: dict[int, np.ndarray] = {}
    for level, shape in enumerate(shapes, start=1):
        synonyms[level] = np.empty((n_strings, *shape), dtype=np.int32)
        for row, column in np.ndindex(shape):
            number, synonyms[level][:, row, column] = np.divmod(number, n_synonyms)
    return number, synonyms


def fixed_pairs(
    graph: LatentGraph,
    shapes: Sequence[tuple[int, int]],
    n_values: Mapping[str, tuple[int, int]],
    do: Mapping[str, Any],
    n: int,
) -> dict[int, tuple[Bool[np.ndarray, "_ _"], Int[Array | np.ndarray, "n _ _ 2"]]]:
    """The pairs an intervention sets: level -> which nodes, and their symbols and synonyms (0 at the others).

    Raises:
        ValueError: a name that is no latent, or values of another shape, type or range.
    """
    given: dict[int, dict[tuple[int, ...], Any]] = {}
    for name, value in do.items():
        if graph.position(name) >= graph.n_latents:
            raise ValueError(f"do sets latents such as {graph.latents[-1]!r}, but {name!r} is a cell")
        level, *place = (int(part) for part in name[1:].split("_"))
        given.setdefault(level, {})[tuple(place)] = _checked_pair(name, value, n_values[name], n)
    found: dict[int, tuple[np.ndarray, Any]] = {}
    for level, pairs in given.items():
        shape = shapes[level]
        xp = jnp if any(isinstance(pair, jax.core.Tracer) for pair in pairs.values()) else np
        blank = np.zeros((n, 2), dtype=np.int32)
        nodes = [pairs.get(place, blank) for place in np.ndindex(shape)]
        mask = np.array([place in pairs for place in np.ndindex(shape)]).reshape(shape)
        found[level] = mask, xp.stack(nodes, axis=1).reshape(n, *shape, 2)
    return found


def _checked_pair(name: str, value: Any, ends: tuple[int, int], n: int) -> Any:
    """Symbol and synonym set at a latent, int32 of shape (n, 2); NumPy's if they are known."""
    traced = isinstance(value, jax.core.Tracer)
    array = value if traced else np.asarray(value)
    if array.shape not in ((2,), (n, 2)) or array.dtype.kind not in "iuf":
        raise ValueError(
            f"do[{name!r}] must be (symbol, synonym), shape (2,) or ({n}, 2), got shape {array.shape} and type "
            f"{array.dtype}"
        )
    if not traced and not ((array >= 0) & (array < np.array(ends)) & (array == np.floor(array))).all():
        raise ValueError(
            f"do[{name!r}] must be whole numbers, a symbol from 0 to {ends[0] - 1} and a synonym from 0 to "
            f"{ends[1] - 1}, got {array.reshape(-1, 2)[0].tolist()}{' and more' if array.size > 2 else ''}"
        )
    return (jnp if traced else np).broadcast_to(array.astype(np.int32), (n, 2))


@functools.partial(jax.jit, static_argnames=("n", "n_classes", "n_synonyms", "shapes"))
def draw_choices(
    key: PRNGKeyArray, n: int, n_classes: int, n_synonyms: int, shapes: tuple[tuple[int, int], ...]
) -> tuple[Int[Array, " n"], dict[int, Int[Array, "n _ _"]]]:
    """Classes, and synonyms of the levels with these shapes."""
    label_key, synonym_key = jax.random.split(key)
    ends = np.cumsum([rows * columns for rows, columns in shapes]).tolist()
    drawn = jax.random.randint(synonym_key, (n, ends[-1]), 0, n_synonyms)  # one call: each takes long to compile
    synonyms = {
        level: drawn[:, begin:end].reshape(n, *shape)
        for level, (begin, end, shape) in enumerate(zip([0, *ends], ends, shapes, strict=False), start=1)
    }
    return jax.random.randint(label_key, (n,), 0, n_classes), synonyms


@functools.partial(jax.jit, static_argnames="n_synonyms")
def other_synonyms(
    key: PRNGKeyArray, before: Int[Array, "n rows columns"], chosen: Bool[Array | np.ndarray, "..."], n_synonyms: int
) -> Int[Array, "n rows columns"]:
    """Another synonym for each chosen node, uniformly among the others."""
    step = jax.random.randint(key, before.shape, 1, n_synonyms)
    return jnp.where(chosen, (before + step) % n_synonyms, before)


# ---------------------------------------------------------------------- strings


@functools.partial(jax.jit, static_argnames="tuple_shape")
def produce(
    rules: Mapping[int, Int[Array, "_ _ _"]],
    tuple_shape: tuple[int, int],
    labels: Int[Array, " n"],
    synonyms: Mapping[int, Int[Array, "n _ _"]],
    fixed: Mapping[int, tuple[Array, Array]],
) -> Derivation:
    """From choices down to strings, with some nodes set as by :func:`fixed_pairs`."""
    symbols, chosen = {len(rules): labels[:, None, None]}, dict(synonyms)
    for level in range(len(rules), 0, -1):
        if level in fixed:
            mask, pairs = fixed[level]
            symbols[level] = jnp.where(mask, pairs[..., 0], symbols[level])
            chosen[level] = jnp.where(mask, pairs[..., 1], chosen[level])
        tuples = rules[level][symbols[level], chosen[level]]
        n, rows, columns, _ = tuples.shape
        blocks = tuples.reshape(n, rows, columns, *tuple_shape).transpose(0, 1, 3, 2, 4)
        symbols[level - 1] = blocks.reshape(n, rows * tuple_shape[0], columns * tuple_shape[1])
    return Derivation(symbols=symbols, synonyms=chosen)


@functools.partial(jax.jit, static_argnames=("tuple_shape", "n_symbols", "n_synonyms"))
def parse(
    index: Mapping[int, TupleIndex],
    tuple_shape: tuple[int, int],
    n_symbols: int,
    n_synonyms: int,
    cells: Int[Array, "n _ _"],
) -> Derivation:
    """From strings up to choices; -1 where there is none."""
    symbols, synonyms = {0: jnp.clip(cells, -1, n_symbols)}, {}
    tall, wide = tuple_shape
    for level in range(1, len(index) + 1):
        n, rows, columns = symbols[level - 1].shape
        blocks = symbols[level - 1].reshape(n, rows // tall, tall, columns // wide, wide).transpose(0, 1, 3, 2, 4)
        rule = find(index[level], blocks.reshape(n, rows // tall, columns // wide, tall * wide), n_symbols)
        symbols[level] = rule // n_synonyms  # -1 stays -1
        synonyms[level] = jnp.where(rule < 0, -1, rule % n_synonyms)
    return Derivation(symbols=symbols, synonyms=synonyms)


def named(graph: LatentGraph, derivation: Derivation) -> dict[str, Float[Array, "n 2"]]:
    """(symbol, synonym) of every latent, in the order of the graph: from the top level down, row by row.

    Not compiled as a whole: a program with so many results takes long to compile, and the slices are cheap.
    """
    names, found = iter(graph.latents), {}
    for level in range(len(derivation.synonyms), 0, -1):
        pairs = jnp.stack([derivation.symbols[level], derivation.synonyms[level]], axis=-1).astype(jnp.float32)
        pairs = pairs.reshape(len(pairs), -1, 2)
        for node in range(pairs.shape[1]):
            found[next(names)] = jax.lax.dynamic_index_in_dim(pairs, node, axis=1, keepdims=False)
    return found
