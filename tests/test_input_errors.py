"""What graphs, masks and theory say when they are given something of the wrong kind: one line, with the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hlvm.graph import LatentGraph
from hlvm.graph.arrays import GraphArrays
from hlvm.masking import BernoulliMask, BlockMask, RandomMask, SubtreeMask
from hlvm.theory import (
    design_mask,
    design_strategy,
    level_profile,
    membership_probability,
    shared_information,
    trek_separating_set,
)

TREE = LatentGraph.tree(2, 2)
PAIR = [("z", "a"), ("z", "b")]

REFUSED = {
    "patches of a design": (lambda: design_mask(TREE, ["z2_0"], patches=[["x_0"]]), "patches must be Patches, such as"),
    "a ratio for a strategy": (lambda: membership_probability(TREE, 0.5), "expected a mask strategy.*got 0.5"),
    "ratios for strategies": (
        lambda: level_profile(TREE, [0.5]),
        r"strategies\[0\]: expected a mask strategy.*got 0.5",
    ),
    "patches of a strategy": (
        lambda: RandomMask(ratio=0.5, patches=[("x_0",)]),
        r"patches must be Patches.*\('x_0',\)",
    ),
    "patches of coins": (lambda: BernoulliMask(ratio=0.5, patches=3), "patches must be Patches"),
    "one strategy for a list": (
        lambda: level_profile(TREE, RandomMask(ratio=0.5)),
        r"strategies is a list of objects that draw masks, such as \[RandomMask\(ratio=0.5\)\]",
    ),
    "text for strategies": (lambda: level_profile(TREE, "uniform"), "strategies is a list of objects.*got 'uniform'"),
    "text for a ratio": (lambda: RandomMask(ratio="0.5"), "ratio must be a number strictly between 0 and 1, got '0.5'"),
    "text for a unit": (
        lambda: RandomMask(ratio=0.5, unit="2"),
        "unit must be a whole number of at least 1, or two of them",
    ),
    "text for a height": (lambda: SubtreeMask(height="a", ratio=0.5), "height must be a whole number of at least 0"),
    "a class for a strategy": (
        lambda: level_profile(TREE, [BlockMask]),
        "expected a mask strategy such as",
    ),
    "a fraction for a key": (
        lambda: level_profile(TREE, [RandomMask(ratio=0.5)], regime="general", key=0.5),
        "must be a typed JAX key such as",
    ),
    "many keys": (
        lambda: level_profile(TREE, [RandomMask(ratio=0.5)], regime="general", key=jax.random.split(jax.random.key(0))),
        r"key must be a single key, got a batch of shape \(2,\)",
    ),
    "text for a strategy's key": (lambda: design_strategy(TREE, ["z2_0"], key="3"), "key must be a typed JAX key"),
    "no target": (lambda: design_mask(TREE, None), "target is a collection of names of latents"),
    "a name for a graph": (lambda: shared_information("g", ["x"]), "graph must be a LatentGraph, such as"),
    "text for ranks": (lambda: trek_separating_set(TREE, ["x_0"], noise_ranks="abc"), "noise_ranks must be one whole"),
    "half ranks": (lambda: trek_separating_set(TREE, ["x_0"], noise_ranks=[1.5] * 7), "noise_ranks must be one whole"),
    "no edges": (lambda: LatentGraph.from_edges(None), r"edges are \(parent, child\) pairs of names, got None"),
    "half a branch": (lambda: LatentGraph.tree(2.0, 2), "branching must be a whole number of at least 1, got 2.0"),
    "a tree beyond memory": (lambda: LatentGraph.tree(2, 60), "would have more than 16,777,216 variables: use a lower"),
    "a quadtree beyond memory": (lambda: LatentGraph.quadtree(30), "would have more than 16,777,216 variables"),
    "one side of a grid": (
        lambda: LatentGraph.from_edges(PAIR, grid=3),
        r"grid must be \(rows, columns\), or a list of rows of names, got 3",
    ),
    "a short grid": (lambda: LatentGraph.from_edges(PAIR, grid=(1,)), r"grid must be .* names, got \(1,\)"),
    "a cell without a place": (lambda: LatentGraph.from_edges(PAIR, grid=[["a"]]), "grid leaves out 'b'"),
    "a cell in two places": (lambda: LatentGraph.from_edges(PAIR, grid=[["a", "b", "a"]]), "'a' in two cells"),
    "an unknown cell": (lambda: LatentGraph.from_edges(PAIR, grid=[["a", "b", "c"]]), "grid names 'c'"),
    "uneven rows of a grid": (
        lambda: LatentGraph.from_edges(PAIR, grid=[["a", "b"], ["a"]]),
        r"equally many .*\[2, 1\]",
    ),
    "two orders of cells": (
        lambda: LatentGraph.from_edges(PAIR, observed=["b", "a"], grid=[["a", "b"]]),
        "in another order than observed",
    ),
    "one name for observed": (
        lambda: LatentGraph.from_edges(PAIR, observed="a"),
        r"the single name 'a': write \['a'\]",
    ),
    "dims beyond exact sums": (lambda: LatentGraph.from_edges(PAIR, dims=2**53), r"more than 2\*\*53 - 1"),
    "dims of one variable": (
        lambda: LatentGraph.from_edges(PAIR, dims={"z": 2**70, "a": 1, "b": 1}),
        r"'z' would have \d+ dims, more than 2\*\*53 - 1",
    ),
    "implied dims": (lambda: LatentGraph.from_edges(PAIR, noise_dims=2**52 + 1), r"'a' would have \d+ dims"),
    "dims of leaves": (lambda: LatentGraph.from_parents([-1, 0, 0], root_dim=2**63 - 1), r"more than 2\*\*53 - 1"),
    "dims beyond any": (lambda: LatentGraph.from_parents([-1, 0, 0], root_dim=10**30), r"more than 2\*\*53 - 1"),
    "parts of different lengths": (
        lambda: GraphArrays.of([()], [1, 1], [1, 1]),
        r"one entry per variable, got \[1, 2, 2\] entries",
    ),
    "too few names": (lambda: LatentGraph(("a",), GraphArrays.of([(), (0,)], [1, 1], [1, 1])), "got 1 names for 2"),
    "a parent that is not there": (
        lambda: GraphArrays.of([(), (5,)], [1, 1], [1, 1]),
        "every parent must come before its children",
    ),
    "a variable without edges": (
        lambda: GraphArrays.of([(), (0,), ()], [1] * 3, [1] * 3),
        "neither parents nor children",
    ),
    "an observed variable among latents": (
        lambda: GraphArrays.of([(), (0,), (0,), (2,)], [1] * 4, [1] * 4),
        r"variables with children \(latents\) must come before",
    ),
    "no variables": (lambda: GraphArrays.of([], [], []), "at least one edge"),
    "a dim of nothing": (
        lambda: GraphArrays.of([(), (0,)], [1, 0], [1, 1]),
        r"dims lie between 1 and 2\*\*53 - 1",
    ),
    "dims of a tree": (lambda: LatentGraph.tree(2, 3, root_dim=10**30), r"more than 2\*\*53 - 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_input_of_the_wrong_kind_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_numbers_of_numpy_and_jax_are_taken():
    assert LatentGraph.tree(np.int32(2), jnp.int32(2)) == TREE
    assert LatentGraph.from_edges(PAIR, dims=np.int64(2)) == LatentGraph.from_edges(PAIR, dims=2)
    assert RandomMask(ratio=jnp.float32(0.5), unit=np.int64(1)) == RandomMask(ratio=0.5)
    assert RandomMask(ratio=0.5, unit=(np.int64(1), 2)) == RandomMask(ratio=0.5, unit=(1, 2))
    assert RandomMask(ratio=np.float64(0.5)) == RandomMask(ratio=0.5)


def test_arrays_of_a_graph_cannot_be_written_into():
    for graph in (TREE, LatentGraph.from_parents([-1, 0, 0])):
        arrays = graph.arrays
        for array in (arrays.parents, arrays.children, arrays.dims, arrays.noise_dims, arrays.heights, arrays.is_root):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1


def test_membership_keeps_its_digits_at_tiny_ratios():
    """1 - (1-r)**k - r**k is about k r: written as it stands, it would lose all digits below r = 1e-16."""
    edges = [("z", f"x{i}") for i in range(10)] + [("y", f"x{i}") for i in range(3)]
    for ratio in (1e-9, 1e-18, 1e-300, 1 - 1e-15):
        found = membership_probability(LatentGraph.from_edges(edges), BernoulliMask(ratio=ratio))
        assert found["z"] == 1.0
        assert found["y"] == pytest.approx(0.3, rel=1e-7)
