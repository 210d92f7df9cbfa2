"""Strings of a grammar with everything behind them: from choices to strings and back, and the graph of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.graph.arrays import GraphArrays
from hlvm.images.grammar.law import Thresholds
from hlvm.images.grammar.probabilities import pick
from hlvm.images.grammar.rules import TupleIndex, find, whole_numbers
from hlvm.simulator.layout import Leaf

__all__ = [
    "Choices",
    "Derivation",
    "all_choices",
    "choices_of",
    "draw_choices",
    "fixed_pairs",
    "grammar_graph",
    "named",
    "other_synonyms",
    "parse",
    "produce",
]


_LAST = 2**32 - 1
"""The number that makes a second key of one that is also split: splitting counts upwards from zero."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=["symbols", "synonyms", "replaced"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Derivation:
    """Strings with every symbol and every choice behind them, from the class (level L) down to the cells (level 0).

    Attributes:
        symbols: level, 0 to L -> symbols, int32 of shape (n, rows, columns) of that level; the class is (n, 1, 1).
            -1 where parsing found no symbol. A filtered grammar has no levels between the class and the filter.
        synonyms: level, 1 to L -> which rule each symbol took, int32, same shape, 0 to m - 1. -1 where parsing found
            none. The class of a filtered grammar has one rule, 0.
        replaced: symbols that noise put in the place of the written ones, int32 of the shape of the cells, -1 where it
            put none; ``None``: the strings are as they were written.
    """

    symbols: Mapping[int, Leaf]
    synonyms: Mapping[int, Leaf]
    replaced: Leaf | None = None

    @property
    def cells(self) -> Int[Array, "n rows columns"]:
        """The strings: symbols of level 0."""
        return self.symbols[0]

    @property
    def labels(self) -> Int[Array, " n"]:
        """Class of each string; -1 for a string that is none."""
        return self.symbols[max(self.symbols)][:, 0, 0]

    @property
    def valid(self) -> Bool[Array, " n"]:
        """Tell which parsed strings belong to the grammar. Strings that were written are not checked: parse them."""
        return self.labels >= 0

    def __len__(self) -> int:
        return self.symbols[0].shape[0]

    def __repr__(self) -> str:
        return f"Derivation({len(self)} strings of shape {self.symbols[0].shape[1:]}, {len(self.symbols) - 1} levels)"


class Choices(NamedTuple):
    """Draws that enter anew at the nodes of strings.

    Choices are whole numbers, int32. Where they are real numbers, uniform on [0, 1), they say by the probabilities
    there what is chosen.

    Attributes:
        labels: classes, (n,).
        synonyms: level, from 1 -> which rule each symbol takes, (n, rows, columns) of the level.
        nodes: symbols of the level that the grammar is filtered at, (n, rows, columns); ``None``: not filtered.
        replaced: see :class:`Derivation`.
    """

    labels: Leaf
    synonyms: Mapping[int, Leaf]
    nodes: Leaf | None = None
    replaced: Leaf | None = None


def grammar_graph(
    shapes: Mapping[int, tuple[int, int]], *, filtered: bool = False, leaf_noise: bool = False
) -> LatentGraph:
    """The tree over levels of nodes with these rows and columns.

    Args:
        shapes: level -> rows and columns, of the cells, level 0, the class, and the levels between that there are.
        filtered: whether symbols right below the class are drawn anew, rather than written.
        leaf_noise: whether cells are.
    """
    nodes: list[str] = []
    parents: list[tuple[int, ...]] = []
    noise_dims: list[int] = []
    above, top = 0, max(shapes)
    upper = shapes[top]
    for level in sorted(shapes, reverse=True):
        rows, columns = shapes[level]
        prefix, start = f"z{level}_" if level else "x_", len(nodes)
        row, column = (side.ravel() for side in np.indices((rows, columns)))
        nodes += [f"{prefix}{r}_{c}" for r, c in zip(row.tolist(), column.tolist(), strict=True)]
        drawn = level == top or (filtered and above == 0 and start == 1) or (leaf_noise and level == 0)
        noise_dims += [int(drawn) + int(level > 0)] * (rows * columns)
        if level == top:
            parents.append(())
        else:
            place = row // (rows // upper[0]) * upper[1] + column // (columns // upper[1])
            parents += [(p,) for p in (above + place).tolist()]
        above, upper = start, (rows, columns)
    dims = (2,) * above + (1,) * (len(nodes) - above)
    return LatentGraph(tuple(nodes), GraphArrays.of(parents, dims, tuple(noise_dims)), shapes[0])


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


def choices_of(
    derivation: Derivation,
    shapes: Mapping[int, tuple[int, int]],
    filtered_at: int | None,
    n_symbols: Mapping[int, int],
    n_synonyms: int,
) -> Choices:
    """Choices that write strings again.

    Raises:
        ValueError: strings of another grammar: levels, shapes or values that this one does not have.
    """
    top, n = max(shapes), len(derivation)
    if sorted(derivation.symbols) != sorted(shapes):
        raise ValueError(f"strings of this grammar have levels {sorted(shapes)}, got {sorted(derivation.symbols)}")
    labels = whole_numbers(derivation.labels, "labels", (n,), n_symbols[top])
    synonyms: dict[int, Array] = {}
    for level in range(1, (top if filtered_at is None else filtered_at) + 1):
        chosen = derivation.synonyms[level]
        synonyms[level] = whole_numbers(chosen, f"synonyms[{level}]", (n, *shapes[level]), n_synonyms)
    nodes = None
    if filtered_at is not None:
        shape = (n, *shapes[filtered_at])
        nodes = whole_numbers(derivation.symbols[filtered_at], f"symbols[{filtered_at}]", shape, n_symbols[filtered_at])
    return Choices(labels, synonyms, nodes, derivation.replaced)


def fixed_pairs(
    graph: LatentGraph,
    shapes: Mapping[int, tuple[int, int]],
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
    key: PRNGKeyArray,
    n: int,
    n_classes: int,
    n_synonyms: int,
    shapes: tuple[tuple[int, int], ...],
    law: Thresholds,
) -> Choices:
    """Draw what enters anew.

    Args:
        key: a typed key.
        n: number of strings.
        n_classes: number of classes.
        n_synonyms: number of rules of each symbol.
        shapes: rows and columns of the cells and of the levels whose symbols choose rules, from level 1 up.
        law: of the choices that are not uniform.
    """
    label_key, synonym_key = jax.random.split(key)
    rule_key, node_key, cell_key = jax.random.split(jax.random.fold_in(jax.random.clone(key), _LAST), 3)
    cells, *latents = shapes
    ends = np.cumsum([0, *(rows * columns for rows, columns in latents)]).tolist()
    synonyms: dict[int, Array] = {}
    if len(law.rules) < len(latents):
        drawn = jax.random.randint(synonym_key, (n, ends[-1]), 0, n_synonyms)  # one call: each takes long to compile
        synonyms = _by_level(drawn, latents, ends)
    if law.rules:
        numbers = _by_level(jax.random.uniform(rule_key, (n, ends[-1])), latents, ends)
        synonyms |= {level: numbers[level] for level in law.rules}
    if law.classes is None:
        labels = jax.random.randint(label_key, (n,), 0, n_classes)
    else:
        labels = pick(jax.random.uniform(label_key, (n,)), law.classes)
    nodes = replaced = None
    if law.nodes is not None:
        nodes = jax.random.uniform(node_key, (n, *law.nodes.shape[:2]))
    if law.cells is not None:
        replaced = pick(jax.random.uniform(cell_key, (n, *cells)), law.cells) - 1
    return Choices(labels, synonyms, nodes, replaced)


def _by_level(drawn: Array, shapes: Sequence[tuple[int, int]], ends: Sequence[int]) -> dict[int, Array]:
    """One row of numbers per string, parted among the levels from 1 up."""
    return {
        level: drawn[:, begin:end].reshape(len(drawn), *shape)
        for level, (begin, end, shape) in enumerate(zip(ends[:-1], ends[1:], shapes, strict=True), start=1)
    }


@functools.partial(jax.jit, static_argnames="n_synonyms")
def other_synonyms(
    key: PRNGKeyArray,
    before: Int[Array, "n rows columns"],
    chosen: Bool[Array | np.ndarray, "..."],
    n_synonyms: int,
    weights: Float[Array, "n rows columns synonyms"] | None,
) -> Int[Array, "n rows columns"]:
    """Another synonym for each chosen node among the others, uniformly or with these weights.

    A node all of whose other synonyms have weight zero keeps its own.
    """
    if weights is None:
        step = jax.random.randint(key, before.shape, 1, n_synonyms)
        return jnp.where(chosen, (before + step) % n_synonyms, before)
    others = jnp.where(jax.nn.one_hot(before, n_synonyms, dtype=bool), 0.0, weights)
    drawn = jax.random.categorical(key, jnp.log(others)).astype(before.dtype)
    return jnp.where(chosen & (others > 0).any(axis=-1), drawn, before)


# ---------------------------------------------------------------------- strings


@functools.partial(jax.jit, static_argnames="tuple_shape")
def produce(
    rules: Mapping[int, Int[Array, "_ _ _"]],
    tuple_shape: tuple[int, int],
    choices: Choices,
    fixed: Mapping[int, tuple[Array, Array]],
    law: Thresholds,
) -> Derivation:
    """From choices down to strings, with some nodes set as by :func:`fixed_pairs`."""
    top = len(rules)
    symbols, chosen = {top: choices.labels[:, None, None]}, dict(choices.synonyms)
    if choices.nodes is not None:
        chosen[top] = jnp.zeros_like(symbols[top])
        symbols[top] = _with_fixed(fixed, top, 0, symbols[top])
        symbols[len(choices.synonyms)] = _symbols_of_nodes(choices.nodes, symbols[top][:, 0, 0], law)
    for level in range(len(choices.synonyms), 0, -1):
        symbols[level] = _with_fixed(fixed, level, 0, symbols[level])
        if jnp.issubdtype(chosen[level].dtype, jnp.floating):
            chosen[level] = pick(chosen[level], law.rules[level][symbols[level]])
        chosen[level] = _with_fixed(fixed, level, 1, chosen[level])
        tuples = rules[level][symbols[level], chosen[level]]
        n, rows, columns, _ = tuples.shape
        blocks = tuples.reshape(n, rows, columns, *tuple_shape).transpose(0, 1, 3, 2, 4)
        symbols[level - 1] = blocks.reshape(n, rows * tuple_shape[0], columns * tuple_shape[1])
    if choices.replaced is not None:
        symbols[0] = jnp.where(choices.replaced < 0, symbols[0], choices.replaced)
    return Derivation(symbols=symbols, synonyms=chosen, replaced=choices.replaced)


def _with_fixed(fixed: Mapping[int, tuple[Array, Array]], level: int, place: int, drawn: Array) -> Array:
    """Symbols (place 0) or synonyms (place 1) of a level, with those that are set."""
    if level not in fixed:
        return drawn
    mask, pairs = fixed[level]
    return jnp.where(mask, pairs[..., place], drawn)


def _symbols_of_nodes(nodes: Array, labels: Array, law: Thresholds) -> Array:
    """Symbols at the level that a grammar is filtered at."""
    if not jnp.issubdtype(nodes.dtype, jnp.floating):
        return nodes
    return pick(nodes, jnp.moveaxis(jnp.asarray(law.nodes)[:, :, labels], 2, 0))


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
    for level in sorted(derivation.synonyms, reverse=True):
        pairs = jnp.stack([derivation.symbols[level], derivation.synonyms[level]], axis=-1).astype(jnp.float32)
        pairs = pairs.reshape(len(pairs), -1, 2)
        for node in range(pairs.shape[1]):
            found[next(names)] = jax.lax.dynamic_index_in_dim(pairs, node, axis=1, keepdims=False)
    return found
