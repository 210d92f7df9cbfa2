"""The masking units that the explorer offers: cells, square blocks, and subtrees that partition what is observed."""

from __future__ import annotations

from hlvm.graph import LatentGraph
from hlvm.masking import Patches

__all__ = ["units_of"]


def units_of(graph: LatentGraph) -> dict[str, Patches]:
    """Units by the keys that the page has for them; partitions of one part, or that are there already, are left out.

    The page finds the same ones by itself, for graphs that are given there.
    """
    found = {"cells": Patches.cells(graph)}
    seen = {_partition(found["cells"])}

    def add(key: str, patches: Patches) -> None:
        if len(patches) > 1 and _partition(patches) not in seen:
            seen.add(_partition(patches))
            found[key] = patches

    for side in range(2, min(graph.grid or (0, 0)) + 1):
        if not any(length % side for length in graph.grid or ()):
            add(f"blocks-{side}", Patches.blocks(graph, side))
    for height in sorted(set(graph.heights) - {0}):
        try:
            patches = Patches.of_subtrees(graph, height)
        except ValueError:  # they overlap, or leave something out
            continue
        add(f"subtrees-{height}", patches)
    return found


def _partition(patches: Patches) -> frozenset[frozenset[str]]:
    return frozenset(map(frozenset, patches.groups))
