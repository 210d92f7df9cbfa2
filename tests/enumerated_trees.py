"""Random discrete trees small enough to go through everything that can happen in them, and that way of answering."""

import itertools
import math

import numpy as np

from hlvm.graph import LatentGraph
from hlvm.theory.grammar.parameters import TreeParameters


def random_tree(rng, *, branching, levels, regular=False):
    """A graph of one number per variable; irregular ones have unequal branching and leaves at several depths."""
    edges, waiting, n_latents, n_leaves = [], [("z0", levels)], 1, 0
    while waiting:
        name, left = waiting.pop(0)
        width = branching if regular else int(rng.integers(1, branching + 1))
        for _ in range(width):
            if left == 1 or (not regular and rng.random() < 0.3):
                child, n_leaves = f"x{n_leaves}", n_leaves + 1
            else:
                child, n_latents = f"z{n_latents}", n_latents + 1
                waiting.append((child, left - 1))
            edges.append((name, child))
    return LatentGraph.from_edges(edges, dims=1)


def random_tables(rng, graph, *, most_symbols=3, most_choices=2, shared=False, noisy=True):
    """Tables of a random grammar on a tree: choices not equally likely, rules that may be equal, noisy channels."""
    sizes = {name: int(rng.integers(2, most_symbols + 1)) for name in graph.nodes}
    n_choices = int(rng.integers(1, most_choices + 1))
    if shared:
        sizes = dict.fromkeys(graph.nodes, int(rng.integers(2, most_symbols + 1)))
    tables = {"n_symbols": sizes, "rules": {}, "probabilities": {}, "priors": {}, "channels": {}}
    of_level = {}
    for name in graph.nodes:
        if not graph.parents(name):
            tables["priors"][name] = probabilities(rng, (sizes[name],))
        elif noisy and rng.random() < 0.4:
            tables["channels"][name] = probabilities(rng, (int(rng.integers(2, most_symbols + 1)), sizes[name]))
    for node, name in enumerate(graph.latents):
        children = graph.children(name)
        m = n_choices if shared else int(rng.integers(1, most_choices + 1))
        written = [len(tables["channels"].get(child, np.zeros((sizes[child], 1)))) for child in children]
        rules = np.stack([rng.integers(0, end, (sizes[name], m)) for end in written], axis=-1)
        chances = probabilities(rng, (sizes[name], m))
        if shared:  # one table for all that look alike
            rules, chances = of_level.setdefault((graph.heights[node], tuple(written)), (rules, chances))
        tables["rules"][name], tables["probabilities"][name] = rules, chances
    return tables


def varying_tables(graph, **settings):
    """Random tables with which no variable is constant, and everything that can happen with them."""
    nothing = np.zeros(graph.n_observed, dtype=bool)
    for seed in itertools.count():
        tables = random_tables(np.random.default_rng(seed), graph, **settings)
        known = Enumeration(graph, tables)
        laws = (known.posterior(node, nothing, nothing) for node in range(len(graph.nodes)))
        if all(law.max() < 1 - 1e-2 for law in laws):
            return tables, known


def probabilities(rng, shape):
    """Rows of random probabilities, some of them zero."""
    found = rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    found = np.where(rng.random(found.shape) < 0.15, 0.0, found)
    found[..., 0] += found.sum(axis=-1) == 0
    return found / found.sum(axis=-1, keepdims=True)


class Enumeration:
    """Everything that can happen in one tree: one row per way to write a string, leaves as they are written.

    Attributes:
        symbols: (n_ways, n_nodes); at leaves the symbol that is written, before its channel.
        choices: (n_ways, n_latents).
        chance: (n_ways,), probabilities.
    """

    def __init__(self, graph, tables):
        self.graph = graph
        self.tables = TreeParameters.checked(graph, **tables)
        t, n = self.tables, len(graph.nodes)
        symbols, choices = np.full((1, n), -1), np.full((1, graph.n_latents), -1)
        chance = np.ones(1)
        for node, prior in t.priors.items():
            symbols, choices, chance = self._split(
                symbols, choices, chance, np.broadcast_to(prior, (len(chance), prior.size))
            )
            symbols[:, node] = self._new
        for node in range(graph.n_latents):
            if node in t.channels:
                symbols, choices, chance = self._split(symbols, choices, chance, t.channels[node][symbols[:, node]])
                symbols[:, node] = self._new
            own = symbols[:, node]
            symbols, choices, chance = self._split(symbols, choices, chance, t.probabilities[node][own])
            choices[:, node] = self._new
            for i, child in enumerate(graph.child_indices[node]):
                symbols[:, child] = t.rules[node][symbols[:, node], choices[:, node], i]
        self.symbols, self.choices, self.chance = symbols, choices, chance

    def _split(self, symbols, choices, chance, each):
        way, self._new = np.nonzero(each)
        return symbols[way], choices[way], chance[way] * each[way, self._new]

    def shown(self, node):
        """(n_ways, n_symbols): law of a leaf's symbol along each way."""
        size = self.tables.n_symbols[node]
        return self.tables.channels.get(node, np.eye(size))[self.symbols[:, node]]

    def ways(self, string, visible):
        """Probability of each way together with what is visible of a string."""
        found = self.chance.copy()
        for i in np.flatnonzero(visible):
            found *= self.shown(self.graph.n_latents + i)[:, string[i]]
        return found

    def posterior(self, node, string, visible):
        """(n_symbols,): law of a variable's symbol given what is visible."""
        ways = self.ways(string, visible)
        if node >= self.graph.n_latents:
            if visible[node - self.graph.n_latents]:
                return np.eye(self.tables.n_symbols[node])[string[node - self.graph.n_latents]]
            found = ways @ self.shown(node)
        else:
            found = np.bincount(self.symbols[:, node], weights=ways, minlength=self.tables.n_symbols[node])
        return found / ways.sum()

    def strings(self):
        """All strings that can be written, and their probabilities."""
        sizes = self.tables.n_symbols[self.graph.n_latents :]
        grid = np.indices(sizes).reshape(len(sizes), -1).T
        chance = np.array([self.ways(string, np.ones(len(sizes), bool)).sum() for string in grid])
        return grid[chance > 0], chance[chance > 0]

    @property
    def n_strings(self):
        return math.prod(self.tables.n_symbols[self.graph.n_latents :])
