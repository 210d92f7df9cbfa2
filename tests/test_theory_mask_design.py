from itertools import product

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs, graphs_with_patches, property_test

from hlvm.graph import LatentGraph
from hlvm.masking import Patches
from hlvm.theory import DesignedMask, Impossible, design_mask, shared_information
from hlvm.theory.design.set_splitting import entangled


def shared_by_mask(graph, patches):
    """What each mask of the patches shares, by brute force: masked names to latents."""
    found = {}
    for sides in product([False, True], repeat=len(patches)):
        if any(sides) and not all(sides):
            groups = (group for group, hidden in zip(patches.groups, sides, strict=True) if hidden)
            masked = frozenset(name for group in groups for name in group)
            found[masked] = oracles.common_ancestors(graph, masked)
    return found


def claim_holds(every_shared, wanted, one_of):
    return all(shared & one_of for shared in every_shared if wanted <= shared)


def check(graph, patches, target):
    """Compare answers with all masks: the mask and its size, or the proof and that nothing of it can be left out."""
    every = shared_by_mask(graph, patches)
    sizes = [len(masked) for masked, shared in every.items() if shared == target]
    for choose in ("smallest", "largest", "any"):
        found = design_mask(graph, target, patches=patches, choose=choose)
        if isinstance(found, DesignedMask):
            assert every[frozenset(found.masked)] == target == found.shared
            assert found.dim == sum(map(graph.noise_dim, target))
            assert choose == "any" or len(found.masked) == (min if choose == "smallest" else max)(sizes)
        else:
            assert not sizes
            assert found.wanted <= target
            assert not found.one_of & target
            assert found.latent in found.wanted | found.one_of
            assert repr(found.latent) in found.reason
            assert claim_holds(every.values(), found.wanted, found.one_of)
            for name in found.wanted:
                assert not claim_holds(every.values(), found.wanted - {name}, found.one_of)
            for name in found.one_of:
                assert not claim_holds(every.values(), found.wanted, found.one_of - {name})
    return found


@property_test
@given(case=graphs_with_patches(max_latents=7, max_observed=7), data=st.data())
def test_design_mask_matches_all_masks_for_any_target(case, data):
    graph, patches = case
    check(graph, patches, frozenset(data.draw(st.sets(st.sampled_from(graph.latents)))))


@property_test
@given(case=graphs_with_patches(max_latents=7, max_observed=7), data=st.data())
def test_design_mask_matches_all_masks_for_targets_closed_under_parents(case, data):
    graph, patches = case
    some = data.draw(st.sets(st.sampled_from(graph.latents)))
    check(graph, patches, frozenset(some | graph.ancestors(some)))


@property_test
@given(case=graphs_with_patches(max_latents=7, max_observed=7, kind="forest"), data=st.data())
def test_design_mask_matches_all_masks_on_trees(case, data):
    graph, patches = case
    some = data.draw(st.sets(st.sampled_from(graph.latents)))
    check(graph, patches, frozenset(some | graph.ancestors(some)))


@property_test
@given(graph=graphs(max_latents=6, max_observed=6))
def test_design_mask_reaches_every_set_that_some_mask_shares(graph):
    every = shared_by_mask(graph, Patches.cells(graph))
    for target in set(every.values()):
        found = design_mask(graph, target)
        assert isinstance(found, DesignedMask)
        assert len(found.masked) == min(len(masked) for masked, shared in every.items() if shared == target)


@property_test
@given(data=st.data())
def test_design_mask_of_entangled_sets_matches_all_masks(data):
    """Two layers, all latents wanted: set splitting itself, with conflicts of many latents."""
    n = data.draw(st.integers(3, 7))
    pairs = [(i, j) for i in range(n) for j in range(i)]
    some = data.draw(st.lists(st.sampled_from(pairs), min_size=3, max_size=9, unique=True))
    edges = [(f"z{k}", f"x{i}") for k, pair in enumerate(some) for i in pair]
    graph = LatentGraph.from_edges(edges)
    check(graph, Patches.cells(graph), frozenset(graph.latents))


# ---------------------------------------------------------------------- known answers


def test_design_mask_of_a_triangle_names_all_three_corners():
    edges = [(f"z{i}", f"x{j}") for i in range(3) for j in range(3) if i != j]
    found = design_mask(LatentGraph.from_edges(edges), ["z0", "z1", "z2"])
    assert isinstance(found, Impossible)
    assert (found.wanted, found.one_of) == ({"z0", "z1", "z2"}, set())
    assert "cannot be had together" in found.reason


def test_design_mask_names_all_missing_ancestors():
    edges = [("top", "middle"), ("middle", "low"), ("low", "x1"), ("low", "x2"), ("top", "x3"), ("other", "x4")]
    found = design_mask(LatentGraph.from_edges(edges), ["low"])
    assert isinstance(found, Impossible)
    assert (found.latent, found.wanted, found.one_of) == ("middle", {"low"}, {"middle"})
    assert "missing: 'middle', 'top'" in found.reason


def test_design_mask_names_what_ties_a_latent_together():
    edges = [("z", "x1"), ("z", "x3"), ("a", "x1"), ("a", "x2"), ("b", "x2"), ("b", "x3"), ("c", "x4")]
    found = design_mask(LatentGraph.from_edges(edges), ["z"])
    assert isinstance(found, Impossible)
    assert (found.wanted, found.one_of) == ({"z"}, {"a", "b"})


def test_design_mask_says_that_a_latent_inside_one_patch_cannot_be_had():
    graph = LatentGraph.quadtree(2)
    found = design_mask(graph, ["z2_0_0", "z1_0_0"], patches=Patches.blocks(graph, 2))
    assert isinstance(found, Impossible)
    assert (found.latent, found.one_of) == ("z1_0_0", set())
    assert "use smaller patches" in found.reason


def test_design_mask_shares_nothing_only_where_the_graph_falls_apart():
    apart = LatentGraph.from_edges([("a", "x1"), ("a", "x2"), ("b", "x3")])
    assert design_mask(apart, []) == DesignedMask(masked=("x3",), shared=frozenset(), dim=0)
    assert design_mask(apart, [], choose="largest").masked == ("x1", "x2")
    found = design_mask(LatentGraph.tree(2, 2), [])
    assert (found.latent, found.wanted, found.one_of) == ("z2_0", set(), {"z2_0"})


def test_design_mask_on_an_image_sized_quadtree():
    graph = LatentGraph.quadtree(6)
    target = {"z6_0_0", "z5_0_0", "z5_1_1"}
    smallest, largest = (design_mask(graph, target, choose=choose) for choose in ("smallest", "largest"))
    assert len(smallest.masked) == 2 * 4**4
    assert len(largest.masked) == 4**6 - len(smallest.masked)
    assert shared_information(graph, largest.masked).members == target
    assert design_mask(graph, target | {"z1_0_0"}).latent == "z2_0_0"


def test_design_mask_on_overlapping_receptive_fields():
    """Windows of three along a line, all wanted: every third variable, and no fewer can hit all windows."""
    n = 300
    graph = LatentGraph.from_edges([(f"z{i}", f"x{i + j}") for i in range(n - 2) for j in range(3)])
    assert len(design_mask(graph, graph.latents).masked) == n // 3


@pytest.mark.parametrize(
    ("target", "kwargs", "message"),
    [
        ("z1_0", {}, "target is a collection of names"),
        (["x_0"], {}, "target: 'x_0' is an observed variable"),
        (["nobody"], {}, "'nobody' is not a variable"),
        (["z2_0"], {"choose": "best"}, 'choose must be "smallest", "largest" or "any", got \'best\''),
        (["z2_0"], {"max_seconds": 0}, "max_seconds must be above 0, got 0"),
        (["z2_0"], {"patches": Patches((("x_0", "x_1", "x_2", "x_3"),))}, "at least 2 patches"),
        (["z2_0"], {"patches": Patches((("x_0", "x_1"), ("x_2",)))}, "'x_3' is in no patch"),
    ],
)
def test_design_mask_refuses_bad_input(target, kwargs, message):
    with pytest.raises(ValueError, match=message):
        design_mask(LatentGraph.tree(2, 2), target, **kwargs)


def test_design_mask_is_refused_when_dims_are_not_invertible():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    with pytest.raises(ValueError, match="do not allow the invertible regime"):
        design_mask(graph, ["z"])


def test_design_mask_gives_up_when_told_to():
    rng = np.random.default_rng(0)
    edges = [(f"z{k}", f"x{i}") for k in range(200) for i in rng.choice(90, size=3, replace=False)]
    graph = LatentGraph.from_edges(edges)
    with pytest.raises(ValueError, match=r"no answer within 1e-09 seconds: .* larger patches"):
        design_mask(graph, graph.latents, max_seconds=1e-9)


def test_entangled_groups_sets_that_share_parts():
    groups = entangled([frozenset({0, 1}), frozenset({2, 3}), frozenset({1, 4})])
    assert sorted(map(sorted, groups)) == [[0, 2], [1]]
