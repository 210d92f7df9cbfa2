import dataclasses
from fractions import Fraction
from itertools import combinations, product
from math import comb

import jax
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs_with_patches, property_test

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.masking import (
    BernoulliMask,
    BlockMask,
    FixedMask,
    GridMask,
    MaskList,
    Patches,
    RandomMask,
    RatioRange,
    SubtreeMask,
    count_masked,
)
from hlvm.theory import (
    frontier_probability,
    level_profile,
    membership_probability,
    patches_reached,
    shared_information,
    shared_information_batch,
)
from hlvm.theory.random_masks.frontier import frontier_bernoulli, frontier_uniform

KEY = jax.random.key(0)

SIGMAS = 5
"""Standard errors a mean may lie off: for one normal mean a false alarm in 1.7 million; seeds are fixed."""

KINDS = {"uniform": RandomMask, "bernoulli": BernoulliMask}

ROUNDING = 1e-12
"""Sums of at most 64 products of numbers up to 1 in double precision, with room to spare."""


def at(ratios, kind=RandomMask, **options):
    return [kind(ratio=ratio, **options) for ratio in ratios]


@property_test
@given(case=graphs_with_patches(max_latents=6), data=st.data())
def test_membership_probability_uniform_matches_all_masks(case, data):
    graph, patches = case
    n_masked = data.draw(st.integers(1, len(patches) - 1))
    found = membership_probability(graph, RandomMask(ratio=n_masked / len(patches), patches=patches))
    assert list(found) == list(graph.latents)
    assert found == pytest.approx(
        oracles.membership_by_enumeration(graph, patches, n_masked=n_masked), rel=0, abs=ROUNDING
    )


@property_test
@given(case=graphs_with_patches(max_latents=6), ratio=st.floats(0.01, 0.99))
def test_membership_probability_bernoulli_matches_all_masks(case, ratio):
    graph, patches = case
    found = membership_probability(graph, BernoulliMask(ratio=ratio, patches=patches))
    n = len(patches)
    two_sides = 1 - ratio**n - (1 - ratio) ** n
    every = oracles.membership_by_enumeration(graph, patches, ratio=ratio)
    expected = {latent: p / two_sides for latent, p in every.items()}
    assert found == pytest.approx(expected, rel=0, abs=ROUNDING / two_sides)


@property_test
@given(case=graphs_with_patches(max_latents=6), data=st.data())
def test_probabilities_of_a_range_are_means_over_its_numbers_of_patches(case, data):
    graph, patches = case
    n = len(patches)
    fewest = data.draw(st.integers(1, n - 1))
    most = data.draw(st.integers(fewest, n - 1))
    ranged = RatioRange(low=fewest / n, high=most / n, patches=patches)
    for ask in (membership_probability, frontier_probability):
        each = [ask(graph, RandomMask(ratio=m / n, patches=patches)) for m in range(fewest, most + 1)]
        expected = {latent: np.mean([found[latent] for found in each]) for latent in graph.latents}
        assert ask(graph, ranged) == pytest.approx(expected, rel=0, abs=ROUNDING)


@property_test
@given(case=graphs_with_patches(max_latents=6, max_observed=5), data=st.data())
def test_probabilities_of_a_list_are_means_over_its_masks(case, data):
    graph, _ = case
    masks = data.draw(st.lists(st.integers(1, 2**graph.n_observed - 2), min_size=1, max_size=5))
    rows = np.asarray(masks)[:, None] >> np.arange(graph.n_observed) & 1 == 1
    listed = MaskList.of(graph, rows)
    members, frontier = dict.fromkeys(graph.latents, 0.0), dict.fromkeys(graph.latents, 0.0)
    for row in rows:
        shared = oracles.common_ancestors(graph, masked_names(graph, row))
        for latent in shared:
            members[latent] += 1 / len(rows)
        for latent in oracles.frontier(graph, shared):
            frontier[latent] += 1 / len(rows)
    assert membership_probability(graph, listed) == pytest.approx(members, rel=0, abs=ROUNDING)
    assert frontier_probability(graph, listed) == pytest.approx(frontier, rel=0, abs=ROUNDING)


def test_membership_probability_of_a_strategy_of_ones_own_is_drawn():
    graph, n = LatentGraph.quadtree(2), 2000
    exact = membership_probability(graph, RandomMask(ratio=0.25))
    drawn = membership_probability(graph, Unknown(RandomMask(ratio=0.25)), key=KEY, n_masks=n)
    for latent, p in exact.items():
        assert abs(drawn[latent] - p) <= SIGMAS * np.sqrt(p * (1 - p) / n) + ROUNDING
    with pytest.raises(ValueError, match=r"masks have to be drawn for 'Unknown\(.*give key=jax.random.key"):
        membership_probability(graph, Unknown(RandomMask(ratio=0.25)))


@pytest.mark.parametrize("ratio", [0.02, 0.2, 0.9])
def test_bernoulli_closed_forms_are_of_the_masks_that_are_drawn(ratio):
    """Four patches only, so that masks with an empty side would count."""
    graph, n = LatentGraph.tree(2, 2), 20_000
    masks = np.asarray(BernoulliMask(ratio=ratio).sample(KEY, n, graph))
    drawn = shared_information_batch(graph, masks).members.mean(axis=0)
    for latent, p in zip(graph.latents, drawn, strict=True):
        exact = membership_probability(graph, BernoulliMask(ratio=ratio))[latent]
        assert abs(exact - p) <= SIGMAS * np.sqrt(exact * (1 - exact) / n) + ROUNDING
    assert membership_probability(graph, BernoulliMask(ratio=ratio))["z2_0"] == 1.0


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
    monkeypatch.setattr("hlvm.theory.random_masks.membership._BITS_AT_ONCE", 1)
    np.testing.assert_array_equal(patches_reached(graph), whole)
    assert whole.tolist() == [256] + [64] * 4 + [16] * 16 + [4] * 64


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
@property_test
@given(case=graphs_with_patches(), data=st.data())
def test_masking_and_showing_the_same_share_identify_equally(strategy, case, data):
    graph, patches = case
    ratio = data.draw(st.integers(1, len(patches) - 1)) / len(patches)
    one, other = (membership_probability(graph, KINDS[strategy](ratio=r, patches=patches)) for r in (ratio, 1 - ratio))
    assert one == pytest.approx(other, rel=0, abs=ROUNDING)


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
def test_latents_inside_one_patch_are_never_identified(strategy):
    graph = LatentGraph.quadtree(3)
    found = membership_probability(graph, KINDS[strategy](ratio=0.3, unit=2))
    assert {value for name, value in found.items() if name.startswith("z1")} == {0.0}
    assert all(value > 0 for name, value in found.items() if not name.startswith("z1"))


def test_membership_probability_does_not_overflow_at_fifty_thousand_patches():
    n, sizes = 50_000, (2, 50, 1000, 49_998)
    edges = [("root", f"x{i}") for i in range(n)]
    edges += [(f"z{k}", f"x{i}") for k in sizes for i in range(k)]
    found = membership_probability(LatentGraph.from_edges(edges), RandomMask(ratio=0.999))
    n_masked = count_masked(0.999, n)
    for k in sizes:
        exact = 1 - Fraction(comb(n - k, n_masked) + comb(n - k, n - n_masked), comb(n, n_masked))
        assert found[f"z{k}"] == pytest.approx(float(exact), rel=1e-10)
    assert found["root"] == 1.0


def test_bernoulli_ratios_need_no_rounding():
    graph = LatentGraph.tree(2, 2)
    found = membership_probability(graph, BernoulliMask(ratio=0.01))["z1_0"]
    assert found == pytest.approx(0.0198 / (1 - 0.01**4 - 0.99**4))


# ---------------------------------------------------------------------- profiles


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
@property_test
@given(case=graphs_with_patches(), data=st.data())
def test_level_profile_sums_the_probabilities_of_each_height(strategy, case, data):
    graph, patches = case
    ratio = data.draw(st.integers(1, len(patches) - 1)) / len(patches)
    masks = [KINDS[strategy](ratio=r, patches=patches) for r in (ratio, 0.5)]
    profile = level_profile(graph, masks)
    probability = membership_probability(graph, masks[0])
    assert (profile.strategies, profile.n_masks) == (tuple(masks), 0)
    assert profile.masked_share.tolist() == [mask.law(graph).masked_share for mask in masks]
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
    profile = level_profile(graph, at([0.25]))
    assert profile.total_dim[0] == pytest.approx(shared_information_batch(graph, masks).dim.mean())


def test_level_profile_mean_height_is_nan_where_nothing_is_identified():
    graph = LatentGraph.from_edges([("z1", "x1"), ("z2", "x2")])
    profile = level_profile(graph, at([0.5]))
    assert np.isnan(profile.mean_height).all()
    assert profile.total_dim.tolist() == [0.0]
    tree = level_profile(LatentGraph.tree(2, 2), at([0.25]))
    assert tree.mean_height.tolist() == [pytest.approx((1 * 1 + 2 * 1) / 2)]


def test_level_profile_of_an_image_sized_quadtree_shows_what_patch_size_does():
    graph = LatentGraph.quadtree(6)
    profile = level_profile(graph, at([0.25, 0.5, 0.75], unit=4))
    assert (profile.share[:, :2] == 0).all()
    assert (profile.share[1, 2:] > 0).all()
    assert (profile.share[1] >= profile.share[0]).all()
    np.testing.assert_allclose(profile.share[0], profile.share[2], rtol=0, atol=ROUNDING)


# ---------------------------------------------------------------------- frontiers


def frontier_by_enumeration(graph, patches, *, n_masked=None, ratio=None):
    """Probability of each latent to be in the frontier, from all masks of the patches."""
    total, found = 0.0, dict.fromkeys(graph.latents, 0.0)
    for sides in product([False, True], repeat=len(patches)):
        count = sum(sides)
        weight = float(count == n_masked) if n_masked else ratio**count * (1 - ratio) ** (len(patches) - count)
        if weight and 0 < count < len(patches):
            total += weight
            masked = [name for group, hidden in zip(patches.groups, sides, strict=True) if hidden for name in group]
            for latent in oracles.frontier(graph, oracles.common_ancestors(graph, masked)):
                found[latent] += weight
    return {latent: weight / total for latent, weight in found.items()}


@property_test
@given(case=graphs_with_patches(max_latents=6), data=st.data())
def test_frontier_probability_uniform_matches_all_masks(case, data):
    graph, patches = case
    n_masked = data.draw(st.integers(1, len(patches) - 1))
    found = frontier_probability(graph, RandomMask(ratio=n_masked / len(patches), patches=patches))
    assert list(found) == list(graph.latents)
    assert found == pytest.approx(frontier_by_enumeration(graph, patches, n_masked=n_masked), rel=0, abs=ROUNDING)


@property_test
@given(case=graphs_with_patches(max_latents=6, kind="forest"), ratio=st.floats(0.01, 0.99))
def test_frontier_probability_bernoulli_matches_all_masks(case, ratio):
    graph, patches = case
    found = frontier_probability(graph, BernoulliMask(ratio=ratio, patches=patches))
    assert found == pytest.approx(frontier_by_enumeration(graph, patches, ratio=ratio), rel=0, abs=ROUNDING)


@property_test
@given(case=graphs_with_patches(), ratio=st.floats(0.01, 0.99))
def test_frontier_probability_bernoulli_matches_all_masks_on_overlapping_graphs(case, ratio):
    graph, patches = case
    found = frontier_probability(graph, BernoulliMask(ratio=ratio, patches=patches))
    assert found == pytest.approx(frontier_by_enumeration(graph, patches, ratio=ratio), rel=0, abs=ROUNDING)


def test_frontier_probability_of_one_level_is_the_membership_probability_at_fifty_thousand_patches():
    n, k = 50_000, 1000
    groups = ((1, k),)
    for n_masked in (1, 500, 25_000, 49_999):
        exact = 1 - Fraction(comb(n - k, n_masked) + comb(n - k, n - n_masked), comb(n, n_masked))
        assert frontier_uniform(groups, n, n_masked) == pytest.approx(float(exact), rel=1e-8)  # gammaln at 5e4
    assert frontier_bernoulli(groups, 0.999) == pytest.approx(1 - 0.999**k - 0.001**k, rel=1e-12)


def test_frontier_uniform_with_groups_of_different_sizes_counts_subsets():
    sizes, n, n_masked = (1, 1, 2, 3, 5), 16, 7
    ways = sum(
        comb(n - sum(sizes), n_masked - sum(part))
        for r in range(1, len(sizes))
        for part in combinations(sizes, r)
        if sum(part) <= n_masked
    )
    found = frontier_uniform(((1, 2), (2, 1), (3, 1), (5, 1)), n, n_masked)
    assert found == pytest.approx(ways / comb(n, n_masked), rel=1e-12)


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
def test_frontier_shares_of_a_profile_are_means_over_a_height(strategy):
    graph = LatentGraph.quadtree(3)
    masks = at([0.1, 0.5], KINDS[strategy])
    profile = level_profile(graph, masks)
    for row, mask in enumerate(masks):
        found = frontier_probability(graph, mask)
        for column, height in enumerate(profile.heights):
            level = [found[name] for name in graph.latents if graph.height(name) == height]
            assert profile.frontier_share[row, column] == pytest.approx(np.mean(level), rel=0, abs=ROUNDING)
    assert (profile.frontier_share <= profile.share + ROUNDING).all()


# ---------------------------------------------------------------------- sampled profiles


def assert_within(profile, exact):
    """Sampled means agree with the exact ones; where all masks agreed, the exact value must be as extreme."""
    for value, error in [
        ("share", "standard_error"),
        ("frontier_share", "frontier_standard_error"),
        ("dim", "dim_standard_error"),
        ("total_dim", "total_dim_standard_error"),
    ]:
        off = np.abs(getattr(profile, value) - getattr(exact, value))
        assert (off <= SIGMAS * getattr(profile, error) + 0.01 * (getattr(profile, error) == 0) + ROUNDING).all()


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A strategy of a user's own: nothing but its masks is known."""

    inner: object

    def sample(self, key, n, graph):
        return self.inner.sample(key, n, graph)


@pytest.mark.parametrize(
    "make",
    [
        lambda ratio: RandomMask(ratio=ratio),
        lambda ratio: RandomMask(ratio=ratio, unit=2),
        lambda ratio: SubtreeMask(height=1, ratio=ratio),
        lambda ratio: BernoulliMask(ratio=ratio),
        lambda ratio: BlockMask(ratio=ratio),
    ],
)
def test_sampled_profile_agrees_with_the_exact_one(make):
    graph, strategies = LatentGraph.quadtree(3), [make(ratio) for ratio in (0.1, 0.5, 0.75)]
    sampled = level_profile(graph, map(Unknown, strategies), key=KEY, n_masks=1000)
    exact = level_profile(graph, strategies)
    assert_within(sampled, exact)
    assert (sampled.n_masks, exact.n_masks) == (1000, 0)
    assert (sampled.strategies, exact.strategies) == (tuple(map(Unknown, strategies)), tuple(strategies))
    assert sampled.regime == exact.regime == "invertible"
    assert (exact.standard_error == 0).all()
    assert (sampled.standard_error[:, sampled.share.max(axis=0) > 0] > 0).any()
    np.testing.assert_array_equal(sampled.heights, exact.heights)
    np.testing.assert_allclose(sampled.count, sampled.share * sampled.n_latents)
    np.testing.assert_allclose(sampled.masked_share, exact.masked_share, atol=0.01)  # 5 errors of a Bernoulli mean


def test_level_profile_mixes_rows_that_are_exact_and_rows_that_are_drawn():
    graph, half = LatentGraph.quadtree(2), RandomMask(ratio=0.5)
    profile = level_profile(graph, [half, Unknown(half)], key=KEY, n_masks=100)
    assert profile.n_masks == 100
    assert profile.share[0].tolist() == level_profile(graph, [half]).share[0].tolist()
    assert [error.any() for error in profile.standard_error] == [False, True]


def test_general_regime_of_a_range_averages_over_its_numbers_of_patches():
    """One call of its ``sample`` hides one number of patches; a profile needs independent masks."""
    graph = LatentGraph.quadtree(1)
    found = level_profile(graph, [RatioRange(low=0.25, high=0.75)], regime="general", key=KEY, n_masks=2000)
    assert found.masked_share[0] == pytest.approx(0.5, abs=SIGMAS * 0.21 / np.sqrt(2000))


def test_general_regime_goes_through_short_lists():
    graph = LatentGraph.quadtree(2)
    exact = level_profile(graph, [BlockMask(ratio=0.25)], regime="general")
    masks = BlockMask(ratio=0.25).law(graph).masks()
    members = shared_information_batch(graph, masks, regime="general").members
    assert (exact.n_masks, len(masks)) == (0, 9)
    assert exact.count.sum() == pytest.approx(members.sum(axis=1).mean())
    with pytest.raises(ValueError, match=r"give key=jax\.random\.key"):
        level_profile(graph, [BlockMask(ratio=0.25)], regime="general", n_masks=8)


@pytest.mark.parametrize("strategy", ["uniform", "bernoulli"])
@pytest.mark.parametrize("tree", [True, False])
def test_general_regime_agrees_with_all_masks(strategy, tree):
    edges = [("r", "a"), ("r", "b"), ("a", "x1"), ("a", "x2"), ("b", "x3"), ("b", "x4"), ("a", "x5")]
    graph = LatentGraph.from_edges(edges if tree else [*edges, ("b", "x2")], dims=dict.fromkeys("abr", 2) | FIVE)
    ratio, n = 0.4, 5
    profile = level_profile(graph, at([ratio], KINDS[strategy]), regime="general", key=KEY, n_masks=600)
    share, frontier = np.zeros(2), np.zeros(2)
    dim, total_weight = 0.0, 0.0
    for sides in product([False, True], repeat=n):
        count = sum(sides)
        weight = float(count == 2) if strategy == "uniform" else ratio**count * (1 - ratio) ** (n - count)
        if not weight or count in (0, n):
            continue
        total_weight += weight
        found = shared_information(graph, np.array(sides), regime="general")
        assert found.dim == oracles.total_dim(graph, oracles.least_separators(graph, masked_names(graph, sides))[0])
        dim += weight * found.dim
        for column, (height, width) in enumerate([(1, 2), (2, 1)]):
            share[column] += weight * sum(graph.height(u) == height for u in found.members) / width
            frontier[column] += weight * sum(graph.height(u) == height for u in found.frontier) / width
    assert profile.heights.tolist() == [1, 2]
    assert profile.regime == "general"
    exact = dataclasses.replace(
        profile,
        share=share[None] / total_weight,
        frontier_share=frontier[None] / total_weight,
        dim=profile.dim,
        total_dim=np.array([dim / total_weight]),
    )
    assert_within(profile, exact)
    assert profile.dim.sum() == pytest.approx(profile.total_dim[0])


FIVE = {f"x{i}": 4 for i in range(1, 6)}


def masked_names(graph, sides):
    return [name for name, hidden in zip(graph.observed, sides, strict=True) if hidden]


def test_level_profile_of_a_block_mask_is_the_mean_over_all_its_places():
    graph, sampler = LatentGraph.quadtree(3), BlockMask(ratio=0.25)
    places = [(a, b) for a in range(5) for b in range(5)]
    masks = np.zeros((25, 8, 8), dtype=bool)
    for mask, (a, b) in zip(masks, places, strict=True):
        mask[a : a + 4, b : b + 4] = True
    batch = shared_information_batch(graph, masks.reshape(25, 64))
    profile = level_profile(graph, [sampler])
    assert profile.masked_share.tolist() == [0.25]
    assert profile.total_dim[0] == pytest.approx(batch.dim.mean())
    heights = np.array([graph.height(name) for name in graph.latents])
    for column, height in enumerate(profile.heights):
        assert profile.share[0, column] == pytest.approx(batch.members[:, heights == height].mean())


def test_sampled_profile_of_a_fixed_mask_is_its_shared_information():
    graph = LatentGraph.quadtree(2)
    mask = FixedMask(masked=("x_0_0", "x_0_1"))
    for regime in ("invertible", "general"):
        profile = level_profile(graph, [mask], regime=regime)
        shared = shared_information(graph, mask.masked, regime=regime)
        assert profile.masked_share.tolist() == [2 / 16]
        assert profile.total_dim.tolist() == [shared.dim]
        assert profile.count.sum() == len(shared.members)
        assert (profile.standard_error == 0).all()


def test_sampled_profile_takes_any_object_that_draws_masks_and_works_in_pieces(monkeypatch):
    class Checkerboard:
        def sample(self, key, n, graph):
            rows, columns = graph.grid
            board = (np.arange(rows)[:, None] + np.arange(columns)) % 2 == 0
            return np.broadcast_to(board.reshape(-1), (n, rows * columns))

    graph = LatentGraph.quadtree(2)
    whole = level_profile(graph, [Checkerboard()], key=KEY, n_masks=7)
    monkeypatch.setattr("hlvm.theory.random_masks.averages._CELLS_AT_ONCE", 3 * len(graph.nodes))
    pieces = level_profile(graph, [Checkerboard()], key=KEY, n_masks=7)
    np.testing.assert_array_equal(pieces.share, whole.share)
    assert whole.masked_share.tolist() == [0.5]
    assert whole.share.tolist() == [[1.0, 1.0]]


def test_sampled_profile_repeats_itself_and_pairs_ratios():
    graph = LatentGraph.quadtree(2)
    one, two = (level_profile(graph, [Unknown(RandomMask(ratio=0.25))] * 2, key=KEY, n_masks=50) for _ in "ab")
    np.testing.assert_array_equal(one.share, two.share)
    np.testing.assert_array_equal(one.share[0], one.share[1])


def test_lattices_reach_lower_levels_than_blocks_of_the_same_share():
    graph = LatentGraph.quadtree(4)
    lattice, block = (level_profile(graph, [sampler]) for sampler in (GridMask(keep_every=2), BlockMask(ratio=0.75)))
    assert lattice.share[0, 0] == 1.0
    assert block.share[0, 0] < 0.5


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (RandomMask(ratio=0.95), "nothing would be visible"),
        (BlockMask(ratio=0.5), "this strategy masks regions of a grid"),
        ("block", "expected a mask strategy.*got 'block'"),
        (RandomMask(ratio=0.5, patches=Patches((("x_0", "x_1", "x_2", "x_3"),))), "at least 2 patches"),
        (RandomMask(ratio=0.5, patches=Patches((("x_0",), ("x_1",)))), "'x_2' is in no patch"),
    ],
)
def test_membership_probability_refuses_bad_input(strategy, message):
    graph = LatentGraph.tree(2, 2)
    with pytest.raises(ValueError, match=message):
        membership_probability(graph, strategy)
    with pytest.raises(ValueError, match=rf"strategies\[1\]: .*{message}"):
        level_profile(graph, [RandomMask(ratio=0.5), strategy])


def test_level_profile_refuses_no_strategies():
    with pytest.raises(ValueError, match="strategies is empty"):
        level_profile(LatentGraph.tree(2, 2), [])


def test_closed_form_is_refused_when_dims_are_not_invertible():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    with pytest.raises(ValueError, match="do not allow the invertible regime"):
        membership_probability(graph, RandomMask(ratio=0.5))


def test_level_profile_keeps_the_parts_of_what_a_strategy_refuses():
    no_grid = LatentGraph.tree(2, 2)
    with pytest.raises(UsageError, match=r"^strategies\[1\]: this strategy masks regions of a grid") as caught:
        level_profile(no_grid, [RandomMask(ratio=0.5), GridMask(keep_every=2)])
    assert caught.value.remedies.keys() == {"grid", "strategy"}
    with pytest.raises(UsageError, match=r"^strategies\[0\]: keep_every must not be larger") as caught:
        level_profile(LatentGraph.quadtree(2), [GridMask(keep_every=9)])
    assert caught.value.argument == "keep_every"


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"regime": "noisy"}, "regime must be"),
        ({"regime": "general"}, "give key=jax.random.key"),
        ({"strategies": [Unknown(BlockMask(ratio=0.5))]}, r"drawn for 'Unknown\(.*give key=jax.random.key"),
        ({"n_masks": 1}, "n_masks must be a whole number of at least 2"),
        ({"strategies": RandomMask(ratio=0.5)}, "strategies is a list of objects that draw masks"),
    ],
)
def test_level_profile_refuses_what_does_not_go_together(kwargs, message):
    with pytest.raises(ValueError, match=message):
        level_profile(LatentGraph.quadtree(2), **{"strategies": [RandomMask(ratio=0.5)], **kwargs})


class _Wrong:
    def __init__(self, change):
        self.change = change

    def sample(self, key, n, graph):
        return self.change(np.tile(np.arange(len(graph.observed)) == 0, (n, 1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda masks: masks[1:], r"_Wrong.sample\(key, 10, graph\) drew 9 masks, expected 10"),
        (lambda masks: masks & False, "nothing is masked"),
        (lambda masks: masks.astype(float), "a mask array is boolean"),
        (lambda masks: masks[:, 1:], "masks must have shape"),
    ],
)
@pytest.mark.parametrize("regime", ["invertible", "general"])
def test_wrong_masks_of_user_written_strategies_are_refused(change, message, regime):
    with pytest.raises(ValueError, match=message):
        level_profile(LatentGraph.tree(2, 2), [_Wrong(change)], regime=regime, key=KEY, n_masks=10)
