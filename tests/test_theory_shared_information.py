import dataclasses

import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs, graphs_with_masks, masks_of, property_test

from hlvm.graph import LatentGraph, pure_children_chain
from hlvm.theory import shared_information, shared_information_batch, target_ancestors
from hlvm.theory.one_mask.flow_cut import flow_cut
from hlvm.theory.one_mask.tree_cut import tree_cuts

REGIMES = ("invertible", "general")
KINDS = ("dag", "tree", "forest")


def cases(kind, regime, **kwargs):
    return graphs_with_masks(kind=kind, free_dims=regime == "general", **kwargs)


# ---------------------------------------------------------------------- invertible regime


@pytest.mark.parametrize("kind", KINDS)
@property_test
@given(data=st.data())
def test_shared_information_invertible_is_the_common_ancestors(kind, data):
    graph, masked = data.draw(cases(kind, "invertible", max_latents=8))
    found = shared_information(graph, masked)
    assert found.members == oracles.common_ancestors(graph, masked)
    assert found.frontier == oracles.frontier(graph, found.members)
    assert found.dim == sum(map(graph.noise_dim, found.members))
    assert oracles.is_separator(graph, masked, found.members)
    assert found.unique
    assert found.near_masked == found.near_visible == found.members


@property_test
@given(case=graphs_with_masks(max_latents=8))
def test_shared_information_does_not_change_when_the_sides_swap(case):
    graph, masked = case
    visible = oracles.visible_part(graph, masked)
    assert shared_information(graph, masked) == shared_information(graph, visible)


@pytest.mark.parametrize(
    ("masked_cells", "members", "dim"),
    [
        ([(r, c) for r in range(4) for c in range(2)], {"z2_0_0"}, 2),
        ([(0, 0)], {"z2_0_0", "z1_0_0"}, 3),
    ],
    ids=["two of four subtrees", "one leaf"],
)
def test_shared_information_gives_the_quadtree_table(masked_cells, members, dim):
    graph = LatentGraph.quadtree(2)
    found = shared_information(graph, [f"x_{r}_{c}" for r, c in masked_cells])
    assert found.members == members
    assert found.dim == dim


# ---------------------------------------------------------------------- general regime


@pytest.mark.parametrize("kind", KINDS)
@property_test
@given(data=st.data())
def test_shared_information_general_matches_exhaustive_search(kind, data):
    graph, masked = data.draw(cases(kind, "general", max_latents=8))
    found = shared_information(graph, masked, regime="general")
    least = oracles.least_separators(graph, masked)
    assert found.dim == oracles.total_dim(graph, found.members) == oracles.total_dim(graph, least[0])
    assert found.unique == (len(least) == 1)
    assert found.near_masked == oracles.nearest(graph, least, masked)
    assert found.near_visible == oracles.nearest(graph, least, oracles.visible_part(graph, masked))
    assert found.members == found.near_masked
    assert found.frontier == oracles.frontier(graph, found.members)


@property_test
@given(data=st.data())
def test_general_separator_never_holds_more_dims_than_the_common_ancestors(data):
    graph, masked = data.draw(cases("dag", "invertible", max_latents=8))
    common = shared_information(graph, masked).members
    assert shared_information(graph, masked, regime="general").dim <= oracles.total_dim(graph, common)


@property_test
@given(case=graphs_with_masks(max_latents=8, kind="forest", free_dims=True))
def test_tree_cuts_agree_with_maximum_flow(case):
    graph, masked = case
    mask = np.isin(graph.observed, masked)
    by_tree = [cuts[0] for cuts in tree_cuts(graph, mask[None], ~mask[None])]
    np.testing.assert_array_equal(by_tree, flow_cut(graph, mask, ~mask))


def test_shared_information_reports_both_cuts_when_not_unique():
    chain = LatentGraph.from_edges([("z1", "z2"), ("z1", "x1"), ("z2", "x2")], dims=1)
    found = shared_information(chain, ["x2"], regime="general")
    assert found.members == found.near_masked == {"z2"}
    assert found.near_visible == {"z1"}
    assert found.dim == 1
    assert not found.unique


def test_general_separator_takes_the_parents_of_a_collider_together():
    # z1 and z2 become dependent given their child z3, so z3 alone does not separate x1 from x2.
    graph = LatentGraph.from_edges(
        [("z1", "z3"), ("z2", "z3"), ("z1", "x1"), ("z3", "x1"), ("z2", "x2"), ("z3", "x2")],
        dims={"z1": 1, "z2": 3, "z3": 2, "x1": 1, "x2": 1},
    )
    found = shared_information(graph, ["x1"], regime="general")
    assert not oracles.is_separator(graph, ["x1"], {"z3"})
    assert found.members == {"z1", "z3"}
    assert found.frontier == {"z3"}
    assert found.dim == 3


def test_colliders_below_nothing_shared_keep_the_two_sides_apart():
    # x2 is a masked collider: it is not given, but as a target it ties z1 to z2.
    graph = LatentGraph.from_edges([("z1", "x1"), ("z1", "x2"), ("z2", "x2"), ("z2", "x3")])
    assert shared_information(graph, ["x1"], regime="general").members == {"z1"}
    assert target_ancestors(graph, ["x1", "x2"], regime="general") == {"x1": frozenset(), "x2": {"z2"}}
    assert target_ancestors(graph, ["x1", "x2"]) == {"x1": frozenset(), "x2": {"z2"}}


def test_a_latent_above_other_masked_variables_only_does_not_tie_its_parents():
    # z3 is a collider of z1 and z2, and nothing below it is a target together with x1 or visible.
    graph = LatentGraph.from_edges([("z1", "x1"), ("z1", "z3"), ("z2", "z3"), ("z3", "x2"), ("z2", "x3")])
    assert target_ancestors(graph, ["x1", "x2"], regime="general") == {"x1": frozenset(), "x2": {"z2"}}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(
    "edges",
    [
        [("z1", "x1"), ("z2", "x2")],
        [("z1", "x1"), ("z2", "x1"), ("z3", "x2"), ("z4", "z3")],
    ],
    ids=["forest", "dag"],
)
def test_shared_information_is_empty_when_the_sides_share_nothing(edges, regime):
    found = shared_information(LatentGraph.from_edges(edges), ["x1"], regime=regime)
    assert found.members == found.frontier == found.near_visible == frozenset()
    assert found.dim == 0
    assert found.unique


@pytest.mark.parametrize("regime", REGIMES)
def test_shared_information_follows_a_deep_chain(regime):
    n = 2000
    edges = [(f"z{i}", f"z{i + 1}") for i in range(n)] + [("z0", "x0"), (f"z{n}", "x1")]
    graph = LatentGraph.from_edges(edges, dims=None if regime == "invertible" else 1)
    found = shared_information(graph, ["x1"], regime=regime)
    assert found.members == ({"z0"} if regime == "invertible" else {f"z{n}"})


@pytest.mark.parametrize("regime", REGIMES)
def test_shared_information_is_exact_on_an_image_sized_tree(regime):
    graph = LatentGraph.quadtree(6)
    left_half = np.tile(np.arange(64) < 32, 64)
    found = shared_information(graph, left_half, regime=regime)
    assert found.members == {"z6_0_0"}
    assert found.dim == 2


# ---------------------------------------------------------------------- batches


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("kind", KINDS)
@property_test
@given(data=st.data())
def test_batch_agrees_with_single_masks(kind, regime, data):
    graph = data.draw(graphs(kind=kind, free_dims=regime == "general"))
    masks = data.draw(st.lists(masks_of(graph), min_size=1, max_size=12))
    rows = np.stack([np.isin(graph.observed, masked) for masked in masks])
    batch = shared_information_batch(graph, rows, regime=regime)
    for row, masked in enumerate(masks):
        single = shared_information(graph, masked, regime=regime)
        assert names(graph, batch.members[row]) == single.members
        assert names(graph, batch.near_visible[row]) == single.near_visible
        assert batch.dim[row] == single.dim
        assert batch.unique[row] == single.unique


def names(graph, members):
    return {name for name, is_member in zip(graph.latents, members, strict=True) if is_member}


@pytest.mark.parametrize("regime", REGIMES)
def test_batch_agrees_with_single_masks_across_words_and_chunks(regime):
    graph = LatentGraph.quadtree(4)
    masks = np.random.default_rng(0).random((1001, 256)) < 0.5
    batch = shared_information_batch(graph, masks, regime=regime)
    assert batch.members.shape == (1001, 85)
    for row in (0, 7, 8, 63, 64, 500, 960, 1000):
        single = shared_information(graph, masks[row], regime=regime)
        assert names(graph, batch.members[row]) == single.members
        assert batch.dim[row] == single.dim


def test_batch_accepts_jax_arrays_and_no_masks():
    graph = LatentGraph.tree(2, 2)
    assert shared_information_batch(graph, jnp.eye(4, dtype=bool)).dim.tolist() == [3, 3, 3, 3]
    assert shared_information_batch(graph, np.zeros((0, 4), dtype=bool)).members.shape == (0, 3)
    assert shared_information_batch(graph, np.zeros((0, 4), dtype=bool), regime="general").dim.shape == (0,)


# ---------------------------------------------------------------------- targets


@property_test
@given(case=graphs_with_masks(max_latents=8))
def test_target_ancestors_invertible_is_the_frontier_shared_with_the_visible_part(case):
    graph, masked = case
    visible = oracles.visible_part(graph, masked)
    found = target_ancestors(graph, masked)
    assert set(found) == set(masked)
    for target, latents in found.items():
        assert latents == oracles.frontier(graph, oracles.common_ancestors(graph, [target], visible))


@property_test
@given(case=graphs_with_masks(max_latents=8, kind="tree"))
def test_target_ancestors_on_trees_is_the_nearest_ancestor_with_a_visible_leaf(case):
    graph, masked = case
    visible = oracles.visible_part(graph, masked)
    with_visible = frozenset().union(*map(graph.ancestors, visible))
    for target, latents in target_ancestors(graph, masked).items():
        node = graph.parents(target)[0]
        while node not in with_visible:
            node = graph.parents(node)[0]
        assert latents == {node}


@pytest.mark.parametrize("kind", KINDS)
@property_test
@given(data=st.data())
def test_target_ancestors_general_is_a_least_separator_of_target_and_visible_part(kind, data):
    graph, masked = data.draw(cases(kind, "general", max_latents=6))
    visible = oracles.visible_part(graph, masked)
    for target, latents in target_ancestors(graph, masked, regime="general").items():
        least = oracles.least_separators(graph, [target], visible)
        assert latents in least
        only = ancestral(graph, {target} | visible)
        assert latents == oracles.nearest(only, [s for s in least if s <= set(only.latents)], visible)


def test_target_ancestors_general_of_a_large_tree_takes_one_pass():
    """Every target by a maximum flow of its own would take minutes here; that they agree is tested above."""
    graph = LatentGraph.quadtree(7)
    mask = np.random.default_rng(0).random(4**7) < 0.75
    found = target_ancestors(graph, mask, regime="general")
    assert len(found) == mask.sum()
    some = [graph.observed[i] for i in np.flatnonzero(mask)[::2000]]
    for target in some:
        alone = np.isin(graph.observed, [target])
        _, nearest = flow_cut(graph, alone, ~mask)
        assert found[target] == names(graph, nearest)


def test_target_ancestors_general_of_a_long_chain():
    chain = pure_children_chain(3000)
    found = target_ancestors(chain, [chain.observed[0], chain.observed[-1]], regime="general")
    assert set(found) == {chain.observed[0], chain.observed[-1]}


def ancestral(graph, observed):
    kept = set(graph.ancestors(observed)) | set(observed)
    edges = [edge for edge in graph.edges if set(edge) <= kept]
    return LatentGraph.from_edges(edges, dims={name: graph.dim(name) for name in kept})


def test_general_target_separator_can_lie_below_the_nearest_ancestor_with_a_visible_leaf():
    graph = LatentGraph.from_edges(
        [("top", "low"), ("top", "x1"), ("low", "x2")], dims={"top": 3, "low": 1, "x1": 4, "x2": 4}
    )
    assert target_ancestors(graph, ["x2"], regime="general")["x2"] == {"low"}


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("function", [shared_information, target_ancestors])
@pytest.mark.parametrize(
    ("masked", "message"),
    [
        (["nobody"], "'nobody' is not a variable of this graph"),
        (["z1_0"], "'z1_0' is a latent; only observed variables are masked"),
        ([], "nothing is masked: mask at least 1"),
        (["x_0", "x_1", "x_2", "x_3"], "everything is masked, so nothing is visible"),
        ("x_0", "masked is a collection of names"),
        ([0], "got the entry 0"),
        (7, "masked is a collection of names"),
        (np.zeros(4), "a mask array is boolean"),
        (np.zeros(3, dtype=bool), r"masks must have shape \(n_masks, 4\)"),
        (np.zeros((1, 4), dtype=bool), r"one mask is an array of shape \(n_observed,\)"),
        (np.ones(4, dtype=bool), "everything is masked"),
    ],
)
def test_bad_masks_are_refused(function, masked, message):
    with pytest.raises(ValueError, match=message):
        function(LatentGraph.tree(2, 2), masked)


def test_bad_batches_are_refused():
    graph = LatentGraph.tree(2, 2)
    masks = np.array([[True, False, False, False], [False] * 4])
    with pytest.raises(ValueError, match="nothing is masked in mask 1"):
        shared_information_batch(graph, masks)
    with pytest.raises(ValueError, match="masks must have shape"):
        shared_information_batch(graph, masks[0])


@pytest.mark.parametrize("function", [shared_information, target_ancestors])
def test_unknown_regime_is_refused(function):
    with pytest.raises(ValueError, match='regime must be "invertible" or "general", got \'noisy\''):
        function(LatentGraph.tree(2, 2), ["x_0"], regime="noisy")


def test_invertible_regime_is_refused_when_dims_do_not_allow_it():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    with pytest.raises(ValueError, match=r"'x1' has dim 1, but .* use regime=\"general\""):
        shared_information(graph, ["x1"])


def test_dims_too_large_for_exact_arithmetic_are_refused():
    star = LatentGraph.from_edges([("z", f"x{i}") for i in range(1100)], dims=2**53 - 1)
    with pytest.raises(ValueError, match="too many for exact 64-bit arithmetic"):
        shared_information(star, ["x1"], regime="general")
    edges = [("z1", "x1"), ("z1", "x2")]
    edges += [("z2", "x1"), ("z2", "x2")]
    with pytest.raises(ValueError, match="more than a 32-bit maximum flow can count"):
        shared_information(LatentGraph.from_edges(edges, dims=2**31), ["x1"], regime="general")


def test_one_large_dim_beside_a_cheap_cut_is_no_problem():
    graph = LatentGraph.from_edges(
        [("big", "small"), ("big", "x1"), ("small", "x2"), ("small", "x3"), ("other", "x2")],
        dims={"big": 2**40, "small": 1, "other": 1, "x1": 1, "x2": 1, "x3": 1},
    )
    assert shared_information(graph, ["x1"], regime="general").members == {"small"}


def test_results_are_frozen():
    found = shared_information(LatentGraph.tree(2, 2), ["x_0"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.dim = 0
