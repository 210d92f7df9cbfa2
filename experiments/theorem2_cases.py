"""Graphs, invertible mechanisms and masks on which Theorem 2 is tested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from hlvm.graph import LatentGraph
from hlvm.mechanisms import Coupling, InvertibleMLP, Mechanism
from hlvm.theory import shared_information


def pairs_graph() -> LatentGraph:
    """Three roots; each pair of them has a child of its own, which is seen through three observed variables."""
    pairs = [("a", "b"), ("b", "c"), ("c", "a")]
    edges = [(root, "".join(pair)) for pair in pairs for root in pair]
    return LatentGraph.from_edges(edges + [("".join(p), f"x_{''.join(p)}_{i}") for p in pairs for i in range(3)])


GRAPHS: dict[str, Callable[[], LatentGraph]] = {
    "tree": lambda: LatentGraph.tree(2, 3),
    "quadtree": lambda: LatentGraph.quadtree(2),
    "two parents": pairs_graph,
}
MECHANISMS: dict[str, Mechanism] = {
    "mlp": InvertibleMLP(),
    "coupling": Coupling(),
    "smooth mlp": InvertibleMLP(activation="smooth", weights="bounded"),
}
MASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tree": (("x_0", "x_1"), ("x_6", "x_7")),
    "quadtree": (("x_0_0",), ("x_3_3",)),
    "two parents": (("x_ab_0",), ("x_bc_0",)),
}
"""What is masked on each graph, and the wrong mask: another ``c`` of as many numbers."""

PHASE_MASKS: dict[str, tuple[str, ...]] = {
    "half": ("x_0", "x_1", "x_2", "x_3"),
    "quarter": ("x_0", "x_1"),
    "one leaf": ("x_0",),
    "two leaves, near": ("x_0", "x_2"),
    "two leaves, far": ("x_0", "x_7"),
}
"""Masks of the tree for the phase diagram."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One kind of code.

    Attributes:
        label: in words.
        masked: what is masked, in training and when it is used.
        judged: the mask whose ``c`` it is compared with.
        code_dim: numbers in the code.
    """

    label: str
    masked: tuple[str, ...]
    judged: tuple[str, ...]
    code_dim: int


def arms_of_graph(graph: str) -> list[Arm]:
    """Codes of the right width, too narrow, too wide, and of the wrong mask."""
    right, wrong = MASKS[graph]
    d_c = shared_information(GRAPHS[graph](), right).dim
    return [
        Arm(label="exact", masked=right, judged=right, code_dim=d_c),
        Arm(label="too narrow", masked=right, judged=right, code_dim=d_c - 1),
        Arm(label="too wide", masked=right, judged=right, code_dim=d_c + 2),
        Arm(label="wrong mask", masked=wrong, judged=right, code_dim=d_c),
    ]
