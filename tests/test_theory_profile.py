from fractions import Fraction
from math import comb

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs_with_patches, property_test

from hlvm.graph import LatentGraph
from hlvm.masking import Patches, count_masked
from hlvm.theory import level_profile, membership_probability, patches_reached, shared_information_batch

ROUNDING = 1e-12
"""Sums of at most 64 products of numbers up to 1 in double precision, with room to spare."""


@property_test
@given(case=graphs_with_patches(max_latents=6), data=st.data())
def test_membership_probability_uniform_matches_all_masks(case, data):
    graph, patches = case
    n_masked = data.draw(st.integers(1, len(patches) - 1))
    found = membership_probability(graph, n_masked / len(patches), patches=patches)
    assert list(found) == list(graph.latents)
    assert found == pytest.approx(
        oracles.membership_by_enumeration(graph, patches, n_masked=n_masked), rel=0, abs=ROUNDING
    )


@property_test
@given(case=graphs_with_patches(max_latents=6), ratio=st.floats(0.01, 0.99))
def test_membership_probability_bernoulli_matches_all_masks(case, ratio):
    graph, patches = case
    found = membership_probability(graph, ratio, patches=patches, strategy="bernoulli")
    assert found == pytest.approx(oracles.membership_by_enumeration(graph, patches, ratio=ratio), rel=0, abs=ROUNDING)


@property_test
@given(case=graphs_with_patches(max_latents=8))
def test_patches_reached_counts_the_patches_with_a_descendant(case):
    graph, patches = case
    dag = oracles.to_networkx(graph)
    for latent, count in zip(graph.latents, patches_reached(graph, patches), strict=True):
        below = oracles.nx.descendants(dag, latent)
        assert count == sum(1 for group in patches.groups if below & set(group))


def test_patches_reached_works_through_many_patches_in_pieces(monkeypatch):
    graph = LatentGraph.quadtree(4)
    whole = patches_reached(graph)
    monkeypatch.setattr("hlvm.theory.profile._BITS_AT_ONCE", 1)
    np.testing.assert_array_equal(patches_reached(graph), whole)
    assert whole.tolist() == [256] + [64] * 4 + [16] * 16 + [4] * 64


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
@property_test
@given(case=graphs_with_patches(), data=st.data())
def test_masking_and_showing_the_same_share_identify_equally(strategy, case, data):
    graph, patches = case
    ratio = data.draw(st.integers(1, len(patches) - 1)) / len(patches)
    one, other = (membership_probability(graph, r, patches=patches, strategy=strategy) for r in (ratio, 1 - ratio))
    assert one == pytest.approx(other, rel=0, abs=ROUNDING)


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
def test_latents_inside_one_patch_are_never_identified(strategy):
    graph = LatentGraph.quadtree(3)
    found = membership_probability(graph, 0.3, patches=Patches.blocks(graph, 2), strategy=strategy)
    assert {value for name, value in found.items() if name.startswith("z1")} == {0.0}
    assert all(value > 0 for name, value in found.items() if not name.startswith("z1"))


def test_membership_probability_does_not_overflow_at_fifty_thousand_patches():
    n, sizes = 50_000, (2, 50, 1000, 49_998)
    edges = [("root", f"x{i}") for i in range(n)]
    edges += [(f"z{k}", f"x{i}") for k in sizes for i in range(k)]
    found = membership_probability(LatentGraph.from_edges(edges), 0.999)
    n_masked = count_masked(0.999, n)
    for k in sizes:
        exact = 1 - Fraction(comb(n - k, n_masked) + comb(n - k, n - n_masked), comb(n, n_masked))
        assert found[f"z{k}"] == pytest.approx(float(exact), rel=1e-10)
    assert found["root"] == 1.0


def test_bernoulli_ratios_need_no_rounding():
    graph = LatentGraph.tree(2, 2)
    assert membership_probability(graph, 0.01, strategy="bernoulli")["z1_0"] == pytest.approx(0.0198)


# ---------------------------------------------------------------------- profiles


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
@property_test
@given(case=graphs_with_patches(), data=st.data())
def test_level_profile_sums_the_probabilities_of_each_height(strategy, case, data):
    graph, patches = case
    ratio = data.draw(st.integers(1, len(patches) - 1)) / len(patches)
    profile = level_profile(graph, [ratio, 0.5], patches=patches, strategy=strategy)
    probability = membership_probability(graph, ratio, patches=patches, strategy=strategy)
    assert profile.ratios.tolist() == [ratio, 0.5]
    assert sorted(set(map(graph.height, graph.latents))) == profile.heights.tolist()
    for column, height in enumerate(profile.heights):
        level = [name for name in graph.latents if graph.height(name) == height]
        count = sum(probability[name] for name in level)
        dim = sum(probability[name] * graph.noise_dim(name) for name in level)
        assert profile.n_latents[column] == len(level)
        assert profile.count[0, column] == pytest.approx(count, abs=ROUNDING)
        assert profile.share[0, column] == pytest.approx(count / len(level), abs=ROUNDING)
        assert profile.dim[0, column] == pytest.approx(dim, abs=ROUNDING)
    assert profile.total_dim[0] == pytest.approx(profile.dim[0].sum(), abs=ROUNDING)


def test_level_profile_agrees_with_a_batch_of_all_masks():
    graph = LatentGraph.quadtree(1)
    masks = np.array([[bool(bits >> i & 1) for i in range(4)] for bits in (1, 2, 4, 8)])
    profile = level_profile(graph, [0.25])
    assert profile.total_dim[0] == pytest.approx(shared_information_batch(graph, masks).dim.mean())


def test_level_profile_mean_height_is_nan_where_nothing_is_identified():
    graph = LatentGraph.from_edges([("z1", "x1"), ("z2", "x2")])
    profile = level_profile(graph, [0.5])
    assert np.isnan(profile.mean_height).all()
    assert profile.total_dim.tolist() == [0.0]
    tree = level_profile(LatentGraph.tree(2, 2), [0.25])
    assert tree.mean_height.tolist() == [pytest.approx((1 * 1 + 2 * 1) / 2)]


def test_level_profile_of_an_image_sized_quadtree_shows_what_patch_size_does():
    graph = LatentGraph.quadtree(6)
    profile = level_profile(graph, [0.25, 0.5, 0.75], patches=Patches.blocks(graph, 4))
    assert (profile.share[:, :2] == 0).all()
    assert (profile.share[1, 2:] > 0).all()
    assert (profile.share[1] >= profile.share[0]).all()
    np.testing.assert_allclose(profile.share[0], profile.share[2], rtol=0, atol=ROUNDING)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("ratio", "kwargs", "message"),
    [
        (1.0, {}, "ratio must be a number strictly between 0 and 1"),
        (0.95, {}, "nothing would be visible"),
        (0.0, {"strategy": "bernoulli"}, "ratio must be a number strictly between 0 and 1"),
        (0.5, {"strategy": "block"}, 'strategy must be "uniform" or "bernoulli", got \'block\''),
        (0.5, {"patches": Patches((("x_0", "x_1", "x_2", "x_3"),))}, "at least 2 patches"),
        (0.5, {"patches": Patches((("x_0",), ("x_1",)))}, "'x_2' is in no patch"),
    ],
)
def test_membership_probability_refuses_bad_input(ratio, kwargs, message):
    graph = LatentGraph.tree(2, 2)
    with pytest.raises(ValueError, match=message):
        membership_probability(graph, ratio, **kwargs)
    with pytest.raises(ValueError, match=message):
        level_profile(graph, [0.5, ratio], **kwargs)


def test_level_profile_refuses_no_ratios():
    with pytest.raises(ValueError, match="ratios is empty"):
        level_profile(LatentGraph.tree(2, 2), [])


def test_closed_form_is_refused_when_dims_are_not_invertible():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    with pytest.raises(ValueError, match="do not allow the invertible regime"):
        membership_probability(graph, 0.5)
