"""Latent graphs: which latent variable causes which, and how many numbers each one holds.

A :class:`LatentGraph` is a frozen directed acyclic graph over latent and observed variables. The
observed variables are the sinks; everything else is latent. See section 1 of ``docs/theory.md``.
"""

from hlvm.graph.families import diamond, overlapping_fields, pure_children_chain, random_graph, two_parent_measurement
from hlvm.graph.interchange import from_networkx, to_networkx
from hlvm.graph.latent_graph import LatentGraph

__all__ = [
    "LatentGraph",
    "diamond",
    "from_networkx",
    "overlapping_fields",
    "pure_children_chain",
    "random_graph",
    "to_networkx",
    "two_parent_measurement",
]
