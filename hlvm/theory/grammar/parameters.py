"""The parameters of a discrete tree as plain arrays, checked.

Every variable takes a symbol. A latent then takes one of its *choices* (synonyms), and symbol and choice together write
one symbol for each child. A variable takes the symbol that is written for it, or, if it has a *channel*, a random one
given what is written. Noisy leaves are channels; so is every table of conditional probabilities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int

from hlvm.graph import LatentGraph

__all__ = ["DiscreteTreeModel", "TreeParameters"]

_ROUNDING = 1e-5
"""Probabilities may miss a sum of one by so much, as those kept in 32 bits do; they are then scaled to it."""


class DiscreteTreeModel(Protocol):
    """Everything the oracle asks of a model, such as :class:`hlvm.images.GrammarImages`."""

    @property
    def graph(self) -> Any:  # of a cached property the type would not fit
        """The latent graph, a :class:`~hlvm.graph.LatentGraph`."""
        ...

    def discrete_tree_parameters(self) -> Mapping[str, Any]:
        """The keyword arguments of :meth:`GrammarOracle.from_parameters` beside the graph."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TreeParameters:
    """Tables of one discrete tree, by position in ``graph.nodes``. Nodes that share a table hold the same array.

    Attributes:
        graph: a forest.
        n_symbols: symbols of each variable.
        rules: latent -> (n_symbols, m, n_children), the symbols that each choice writes for the children.
        probabilities: latent -> (n_symbols, m), of each choice given the symbol.
        priors: root -> (n_symbols,).
        channels: node -> (n_written, n_symbols), from the symbol written to the symbol taken; only where they differ.
        values: observed variable -> (n_symbols, n_values), how symbols are rendered; only where they are.
    """

    graph: LatentGraph
    n_symbols: tuple[int, ...]
    rules: Mapping[int, Int[np.ndarray, "v m c"]]
    probabilities: Mapping[int, Float[np.ndarray, "v m"]]
    priors: Mapping[int, Float[np.ndarray, " v"]]
    channels: Mapping[int, Float[np.ndarray, "w v"]]
    values: Mapping[int, Float[np.ndarray, "v k"]]

    @classmethod
    def checked(
        cls,
        graph: LatentGraph,
        n_symbols: Mapping[str, int],
        rules: Mapping[str, Any],
        probabilities: Mapping[str, Any] | None = None,
        priors: Mapping[str, Any] | None = None,
        channels: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> TreeParameters:
        """Check shapes and values; see :meth:`hlvm.theory.GrammarOracle.from_parameters` for what is expected.

        Raises:
            ValueError: a graph that is no forest, a name unknown or missing, a shape that does not fit, a symbol out of
                range, or probabilities that are negative or do not sum to one.
        """
        if not graph.arrays.is_forest:
            name = next(n for n, above in zip(graph.nodes, graph.parent_indices, strict=True) if len(above) > 1)
            raise ValueError(
                f"exact answers need a tree, but {name!r} has several parents: use hlvm.theory.estimated_oracle instead"
            )
        given = {
            "probabilities": probabilities or {},
            "priors": priors or {},
            "channels": channels or {},
            "values": values or {},
        }
        for mapping in (n_symbols, rules, *given.values()):
            for name in mapping:
                graph.position(name)
        missing = [name for name in graph.nodes if name not in n_symbols]
        missing += [name for name in graph.latents if name not in rules]
        if missing:
            what = "n_symbols" if missing[0] not in n_symbols else "rules"
            raise ValueError(f"{what} has nothing for {missing[0]!r}: give one entry per variable")
        return _Reader(graph, n_symbols, rules, given).read()

    def written(self, node: int) -> int:
        """Number of symbols that can be written for a node."""
        return len(self.channels[node]) if node in self.channels else self.n_symbols[node]


class _Reader:
    """Reads each table once, however many variables share it."""

    def __init__(
        self,
        graph: LatentGraph,
        n_symbols: Mapping[str, int],
        rules: Mapping[str, Any],
        given: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.graph, self.rules, self.given = graph, rules, given
        self.sizes = tuple(_size(n_symbols[name], name) for name in graph.nodes)
        self.memory: dict[tuple[Any, ...], np.ndarray] = {}

    def read(self) -> TreeParameters:
        graph, names, roots = self.graph, self.graph.nodes, self.graph.arrays.is_root
        for what, allowed in (("probabilities", range(graph.n_latents)), ("priors", np.flatnonzero(roots).tolist())):
            kind = "latent" if what == "probabilities" else "root"
            for name in self.given[what]:
                if graph.index[name] not in allowed:
                    raise ValueError(f"{what}[{name!r}] is not used: {name!r} is no {kind}")
        for name in self.given["channels"]:
            if roots[graph.index[name]]:
                raise ValueError(f"channels[{name!r}] is not used: a root has priors, nothing is written for it")
        for name in self.given["values"]:
            if graph.index[name] < graph.n_latents:
                raise ValueError(f"values[{name!r}] is not used: only observed variables are rendered")
        channels = {graph.index[n]: self._channel(n, table) for n, table in self.given["channels"].items()}
        found = TreeParameters(
            graph=graph,
            n_symbols=self.sizes,
            rules={},
            probabilities={},
            priors={node: self._prior(names[node]) for node in np.flatnonzero(roots).tolist()},
            channels=channels,
            values={graph.index[n]: self._values(n, table) for n, table in self.given["values"].items()},
        )
        rules = {node: self._rules(node, found) for node in range(graph.n_latents)}
        probabilities = {node: self._choices(names[node], rules[node].shape[:2]) for node in range(graph.n_latents)}
        return dataclasses.replace(found, rules=rules, probabilities=probabilities)

    def _once(self, table: Any, kind: tuple[Any, ...], read: Callable[[], np.ndarray]) -> np.ndarray:
        place = (id(table), *kind)
        if place not in self.memory:
            self.memory[place] = read()
        return self.memory[place]

    def _rules(self, node: int, found: TreeParameters) -> np.ndarray:
        name, children = self.graph.nodes[node], self.graph.child_indices[node]
        ends = tuple(found.written(child) for child in children)
        size, table = self.sizes[node], self.rules[name]

        def read() -> np.ndarray:
            array = np.asarray(table)
            if array.ndim != 3 or array.shape[::2] != (size, len(children)) or array.dtype.kind not in "iu":
                raise ValueError(
                    f"rules[{name!r}] must be whole numbers of shape ({size}, number of choices, {len(children)}), got "
                    f"shape {array.shape} and type {array.dtype}"
                )
            if not array.shape[1]:
                raise ValueError(f"rules[{name!r}] must have at least 1 choice per symbol, got none")
            for i, end in enumerate(ends):
                least, most = int(array[..., i].min()), int(array[..., i].max())
                if least < 0 or most >= end:
                    raise ValueError(
                        f"rules[{name!r}] must write symbols 0 to {end - 1} for {self.graph.nodes[children[i]]!r}, got "
                        f"values from {least} to {most}"
                    )
            return array.astype(np.int32)

        return self._once(table, ("rules", size, ends), read)

    def _choices(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        table = self.given["probabilities"].get(name)
        if table is None:
            # One for each table of rules, so that levels that look alike stay different parameters.
            return self._once(self.rules[name], ("uniform", shape), lambda: np.full(shape, 1 / shape[1]))
        return self._once(table, ("choices", shape), lambda: _stochastic(table, f"probabilities[{name!r}]", shape))

    def _prior(self, name: str) -> np.ndarray:
        size, table = self.sizes[self.graph.index[name]], self.given["priors"].get(name)
        if table is None:
            return self._once(None, ("prior", size), lambda: np.full(size, 1 / size))
        return self._once(table, ("prior", size), lambda: _stochastic(table, f"priors[{name!r}]", (size,)))

    def _channel(self, name: str, table: Any) -> np.ndarray:
        size = self.sizes[self.graph.index[name]]
        read = lambda: _stochastic(table, f"channels[{name!r}]", (None, size))  # noqa: E731
        return self._once(table, ("channel", size), read)

    def _values(self, name: str, table: Any) -> np.ndarray:
        size = self.sizes[self.graph.index[name]]

        def read() -> np.ndarray:
            array = np.asarray(table, dtype=np.float64)
            if array.ndim != 2 or len(array) != size or not np.isfinite(array).all():
                raise ValueError(
                    f"values[{name!r}] must be finite numbers of shape ({size}, n_values), got shape {array.shape}"
                )
            return array

        return self._once(table, ("values", size), read)


def _size(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"n_symbols[{name!r}] must be a whole number of at least 1, got {value!r}")
    return int(value)


def _stochastic(table: Any, what: str, shape: tuple[int | None, ...]) -> Float[np.ndarray, "..."]:
    """Rows of probabilities, scaled to sum to one in 64 bits."""
    array = np.asarray(table, dtype=np.float64)
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits or not array.size:
        sides = ", ".join("n" if side is None else str(side) for side in shape)
        raise ValueError(f"{what} must have shape ({sides}{',' * (len(shape) == 1)}), got {array.shape}")
    if not (array >= 0).all():
        raise ValueError(f"{what} must hold probabilities, got {array.min()}")
    sums = array.sum(axis=-1, keepdims=True)
    worst = float(sums.flat[np.abs(sums - 1).argmax()])
    if not abs(worst - 1) <= _ROUNDING:
        raise ValueError(f"{what} must sum to one{' in each row' * (len(shape) > 1)}, got a sum of {worst:.6g}")
    return array / sums
