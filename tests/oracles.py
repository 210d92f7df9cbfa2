"""Slow, plain answers that the fast code is compared with: exhaustive search, enumeration, other libraries."""

from itertools import combinations, product

import networkx as nx

# ---------------------------------------------------------------------- graphs and masks


def to_networkx(graph):
    """The graph as networkx sees it."""
    found = nx.DiGraph()
    found.add_nodes_from(graph.nodes)
    found.add_edges_from(graph.edges)
    return found


def visible_part(graph, masked):
    """Names of the observed variables that are not masked."""
    return set(graph.observed) - set(masked)


def common_ancestors(graph, masked, visible=None):
    """Latents with a descendant among the masked and one among the visible variables."""
    dag = to_networkx(graph)
    sides = [set(masked), visible_part(graph, masked) if visible is None else set(visible)]
    return frozenset.intersection(*(frozenset().union(*(nx.ancestors(dag, x) for x in side)) for side in sides))


def frontier(graph, members):
    """Members with no child among the members."""
    return frozenset(u for u in members if not set(graph.children(u)) & set(members))


# ---------------------------------------------------------------------- separators


def is_separator(graph, masked, latents, visible=None):
    """Whether the latents d-separate the masked from the visible variables."""
    visible = visible_part(graph, masked) if visible is None else set(visible)
    return nx.is_d_separator(to_networkx(graph), set(masked), visible, set(latents))


def least_separators(graph, masked, visible=None):
    """Every separating set of latents of least total dim, by trying all sets in order of their dims."""
    dag = to_networkx(graph)
    visible = visible_part(graph, masked) if visible is None else set(visible)
    subsets = [frozenset(s) for size in range(len(graph.latents) + 1) for s in combinations(graph.latents, size)]
    subsets.sort(key=lambda s: total_dim(graph, s))
    found = []
    for latents in subsets:
        if found and total_dim(graph, latents) > total_dim(graph, found[0]):
            break
        if nx.is_d_separator(dag, set(masked), visible, set(latents)):
            found.append(latents)
    return found


def total_dim(graph, latents):
    """Sum of the dims of some variables."""
    return sum(map(graph.dim, latents))


def side_of(graph, start, separator):
    """Variables still connected with ``start`` in the moral graph of all variables when the separator is removed."""
    moral = nx.moral_graph(to_networkx(graph))
    moral.remove_nodes_from(separator)
    return set().union(*(nx.node_connected_component(moral, x) for x in start))


def nearest(graph, separators, start):
    """The separator that leaves the fewest variables on the side of ``start``."""
    return min(separators, key=lambda s: len(side_of(graph, start, s)))


# ---------------------------------------------------------------------- random masks


def membership_by_enumeration(graph, patches, *, n_masked=None, ratio=None):
    """Probability of each latent to be a common ancestor, from all masks of the patches.

    ``n_masked`` weighs equally all masks of so many patches, ``ratio`` masks each patch with that probability.
    """
    total = 0.0
    found = dict.fromkeys(graph.latents, 0.0)
    for is_masked in product([False, True], repeat=len(patches)):
        count = sum(is_masked)
        if n_masked is None:
            weight = ratio**count * (1 - ratio) ** (len(patches) - count)
        else:
            weight = float(count == n_masked)
        total += weight
        if weight == 0 or count in (0, len(patches)):
            continue
        masked = [name for group, hidden in zip(patches.groups, is_masked, strict=True) if hidden for name in group]
        for latent in common_ancestors(graph, masked):
            found[latent] += weight
    return {latent: weight / total for latent, weight in found.items()}
