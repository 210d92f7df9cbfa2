"""Effects of each latent's noise on the one-hot or rendered cells of a discrete tree.

What enters at a latent is what its production, symbol and choice together, says beyond what was written for it. Its
effect on a cell is ``E[x | production] - E[x | what was written]``. These parts are uncorrelated with each other, and
the covariance of two cells is the sum of the parts of their common ancestors: exactly, on every tree. The mean effect
of a choice's *number*, over all symbols, would not do: it depends on how each symbol's choices are numbered.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hlvm._linalg import svd
from hlvm.theory.grammar.parameters import TreeParameters
from hlvm.theory.oracles import NoiseEffects
from hlvm.theory.signal.cells import check_columns, unit_cells

__all__ = ["effects_of_productions"]

_NO_COMPONENT = 1e-10
"""Components of a cell with less than this share of its largest standard deviation are rounding."""


def effects_of_productions(parameters: TreeParameters) -> NoiseEffects:
    """The covariance of the cells' columns, and the effect of each latent's production on them.

    Raises:
        ValueError: more columns than the stated limit.
    """
    return _Effects(parameters).found()


class _Effects:
    """One walk down the tree for laws of symbols, and one up for means of the columns below each variable."""

    def __init__(self, parameters: TreeParameters) -> None:
        self.tables, self.graph = parameters, parameters.graph
        self.first = self.graph.n_latents
        n = len(self.graph.nodes)
        self.written: list[np.ndarray] = [np.zeros(0)] * n
        self.laws: list[np.ndarray] = [np.zeros(0)] * n
        for node in range(n):
            self._law(node)
        self._columns()
        self.below: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * n
        self.means: list[np.ndarray] = [np.zeros((0, 0))] * n

    def found(self) -> NoiseEffects:
        """Everything, children before parents."""
        tables = self.tables
        for cell, values in enumerate(self.values):
            self.below[self.first + cell] = np.flatnonzero(self.cells == cell)
            self.means[self.first + cell] = values
        covariance = np.zeros((len(self.cells), len(self.cells)))
        loadings = [np.zeros((0, 0))] * self.first
        for u in np.argsort(np.asarray(self.graph.heights)[: self.first], kind="stable").tolist():
            productions = self._productions(u)
            self.means[u] = np.einsum("sr,src->sc", tables.probabilities[u], productions)
            loadings[u] = self._noise(u, productions)
            covariance[np.ix_(self.below[u], self.below[u])] += loadings[u] @ loadings[u].T
        for cell, values in enumerate(self.values):  # noise of the cells themselves comes on top of the sum
            own, law = self.below[self.first + cell], self.laws[self.first + cell]
            mean = law @ values
            covariance[np.ix_(own, own)] = (values.T * law) @ values - np.outer(mean, mean)
        return NoiseEffects(
            cells=self.cells,
            covariance=covariance,
            columns=tuple(self.below[: self.first]),
            loadings=tuple(loadings),
            how="exact",
        )

    def _law(self, node: int) -> None:
        """Law of a variable's symbol, and of what it writes for each child; parents come first in the graph."""
        tables = self.tables
        if node in tables.priors:
            self.laws[node] = tables.priors[node]
        else:
            channel = tables.channels.get(node)
            self.laws[node] = self.written[node] if channel is None else self.written[node] @ channel
        if node >= self.first:
            return
        chances = self.laws[node][:, None] * tables.probabilities[node]
        for i, child in enumerate(self.graph.child_indices[node]):
            rule = tables.rules[node][:, :, i]
            self.written[child] = np.bincount(rule.ravel(), weights=chances.ravel(), minlength=tables.written(child))

    def _columns(self) -> None:
        """Cells as they are rendered, in units in which each has variance 1, turned to their principal components.

        Turning the columns of one cell changes no trace and no ridge, and a cell of many pixels has few components.
        """
        self.values: list[np.ndarray] = []
        done: dict[tuple[int, bytes], np.ndarray] = {}
        for node in range(self.first, len(self.graph.nodes)):
            law, table = self.laws[node], self.tables.values.get(node)
            place = id(table), law.tobytes()
            if place not in done:
                done[place] = _unit_components(law, np.eye(len(law)) if table is None else table)
            self.values.append(done[place])
        self.cells = np.repeat(np.arange(self.graph.n_observed), [values.shape[1] for values in self.values])
        check_columns(len(self.cells))

    def _productions(self, u: int) -> Float[np.ndarray, "v m n_below"]:
        """Means of the columns below a latent given its symbol and its choice."""
        tables, children = self.tables, self.graph.child_indices[u]
        parts = []
        for i, child in enumerate(children):
            channel = tables.channels.get(child)
            means = self.means[child] if channel is None else channel @ self.means[child]
            parts.append(means[tables.rules[u][:, :, i]])
        self.below[u] = np.concatenate([self.below[child] for child in children])
        return np.concatenate(parts, axis=2)

    def _noise(self, u: int, productions: Float[np.ndarray, "v m n_below"]) -> Float[np.ndarray, "n_below k"]:
        """Means given each production less those given what was written, times the root of their probability."""
        tables, n = self.tables, productions.shape[2]
        choices = tables.probabilities[u]
        if u in tables.priors:
            blocks = [(1.0, tables.priors[u][:, None] * choices, productions)]
        elif u in tables.channels:
            channel = tables.channels[u]
            blocks = [(weight, channel[w][:, None] * choices, productions) for w, weight in enumerate(self.written[u])]
        else:
            blocks = list(zip(self.laws[u], choices, productions, strict=True))
        loadings = []
        for weight, chances, means in blocks:
            p, mean = chances.ravel(), means.reshape(-1, n)
            loadings.append((np.sqrt(weight * p)[:, None] * (mean - p @ mean)).T)
        return np.concatenate(loadings, axis=1)


def _unit_components(law: Float[np.ndarray, " v"], table: Float[np.ndarray, "v d"]) -> Float[np.ndarray, "v r"]:
    """Rendered symbols as principal components, largest variance first, of variance 1 together; none of a constant."""
    centred = table - law @ table
    varies, units = unit_cells(law @ centred**2, np.zeros(centred.shape[1], dtype=np.int64))
    values = centred[:, varies] / units
    _, strengths, directions = svd(np.sqrt(law)[:, None] * values)
    return values @ directions[strengths > _NO_COMPONENT * strengths.max(initial=0.0)].T
