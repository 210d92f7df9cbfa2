"""Assumptions that raw edges meet or break, before there is a graph that would refuse them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import networkx as nx

from hlvm.graph.checks import checked_pairs
from hlvm.theory.assumptions.report import AssumptionReport, Finding, finding, listed

__all__ = ["check_edges"]


def check_edges(edges: Iterable[tuple[str, str]], *, observed: Collection[str]) -> AssumptionReport:
    """Report on raw edges what :class:`~hlvm.graph.LatentGraph` would refuse at the first fault.

    Args:
        edges: pairs ``(parent, child)``.
        observed: names of the observed variables.

    Returns:
        Findings on repeated edges, cycles, edges that leave observed variables, observed variables without a parent,
        and latents without an observed descendant.

    Raises:
        ValueError: no edges, an edge that is not a pair of non-empty names, or ``observed`` is a string or lists
            something else than names.

    Example:
        >>> report = check_edges([("z", "x1"), ("x1", "x2"), ("w", "v")], observed=["x1", "x2"])
        >>> [finding.nodes for finding in report.failures]
        [('x1',), ('v', 'w')]
    """
    if isinstance(observed, str):
        raise ValueError(f'observed is a collection of names such as ["{observed}"], got the string {observed!r}')
    pairs, sinks = list(checked_pairs(edges)), list(observed)
    odd = next((name for name in sinks if not isinstance(name, str) or not name), None)
    if odd is not None:
        raise ValueError(f"observed lists names of observed variables, got {odd!r}")
    dag = nx.DiGraph()
    dag.add_nodes_from(sinks)
    dag.add_edges_from(pairs)
    repeated = sorted({child for (_, child), count in Counter(pairs).items() if count > 1})
    return AssumptionReport(findings=tuple(_edge_findings(dag, frozenset(sinks), repeated)))


def _edge_findings(dag: Any, observed: frozenset[str], repeated: list[str]) -> Iterator[Finding]:
    yield finding(
        "every edge once",
        repeated,
        good="no edge is listed twice",
        bad=f"an edge to {listed(repeated)} is listed more than once: list each edge once",
    )
    cyclic = sorted(
        name
        for group in nx.strongly_connected_components(dag)
        for name in group
        if len(group) > 1 or dag.has_edge(name, name)
    )
    yield finding(
        "no cycles",
        cyclic,
        good="the edges have no cycle",
        bad=f"{listed(cyclic)} lie on a cycle, so nothing can be drawn first: reverse or remove an edge",
    )
    parents = sorted(name for name in observed if dag.out_degree(name))
    yield finding(
        "observed variables are sinks",
        parents,
        good="no observed variable has a child",
        bad=f"{listed(parents)} are observed and have children, but no edge may leave an observed variable: give "
        "parent and child a common latent parent instead, or declare the parent latent",
    )
    bare = sorted(name for name in observed if not dag.in_degree(name))
    yield finding(
        "observed variables have parents",
        bare,
        good="every observed variable has a parent",
        bad=f"{listed(bare)} are observed and have no parent, so they share nothing with any other variable: connect "
        "them to a latent, or leave them out",
    )
    seen = observed.union(*(nx.ancestors(dag, name) for name in observed))
    blind = sorted(set(dag) - seen)
    yield finding(
        "every latent has an observed descendant",
        blind,
        good="every latent reaches an observed variable",
        bad=f"{listed(blind)} reach no observed variable, so nothing can reveal them: connect them to one, or leave "
        "them out",
    )
