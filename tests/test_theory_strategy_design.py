"""Which random masks share exactly a target: against all masks, against exact integers, and against masks drawn."""

import dataclasses
import math
from fractions import Fraction
from itertools import pairwise, product

import jax
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import graphs_with_patches, property_test

from hlvm.graph import LatentGraph
from hlvm.masking import (
    BernoulliMask,
    BlockMask,
    FixedMask,
    GridMask,
    Patches,
    RandomMask,
    RatioRange,
    SubtreeMask,
)
from hlvm.theory import DesignedMask, design_mask, design_strategy, membership_probability
from hlvm.theory.design.candidates import default_candidates
from hlvm.theory.design.splitting_count import count_splittings

KEY = jax.random.key(0)

ROUNDING = 1e-11
"""Sums of at most 64 products of exponentials of sums of logarithms, in double precision, with room to spare."""

SIGMAS = 5
"""Standard errors a mean may lie off: for one normal mean a false alarm in 1.7 million; seeds are fixed."""


# ---------------------------------------------------------------------- all masks


def shared_by_weight(graph, patches, weigh):
    """What each mask of the patches with two sides shares, and how likely it is, by brute force."""
    found = []
    for sides in product([False, True], repeat=len(patches)):
        if any(sides) and not all(sides) and (weight := weigh(sum(sides))) > 0:
            groups = (group for group, hidden in zip(patches.groups, sides, strict=True) if hidden)
            found.append((oracles.common_ancestors(graph, [name for group in groups for name in group]), weight))
    total = sum(weight for _, weight in found)
    return [(shared, weight / total) for shared, weight in found]


def assert_agrees(match, every, target, latents):
    """Every number of a match is what all masks say."""
    assert match.exact
    assert match.n_masks == 0
    assert (match.standard_error, match.contained_error, match.missing_error, match.extra_error) == (0, 0, 0, 0)
    probability = sum(weight for shared, weight in every if shared == target)
    assert match.probability == match.upper_bound == pytest.approx(probability, rel=ROUNDING, abs=1e-300)
    assert match.contained == pytest.approx(sum(w for shared, w in every if shared >= target), rel=ROUNDING, abs=1e-300)
    assert match.missing == pytest.approx(sum(w * len(target - shared) for shared, w in every), abs=ROUNDING)
    assert match.extra == pytest.approx(sum(w * len(shared - target) for shared, w in every), abs=ROUNDING)
    assert match.never == target.difference(*(shared for shared, _ in every))
    assert match.always == frozenset(latents).intersection(*(shared for shared, _ in every)) - target
    if probability > 0:
        assert match.impossible is None
        assert match.log_probability == pytest.approx(math.log(probability), abs=ROUNDING)
    else:
        assert match.log_probability == -math.inf


def check(graph, patches, target, n_masked, ratio):
    uniform = RandomMask(ratio=n_masked / len(patches), patches=patches)
    bernoulli = BernoulliMask(ratio=ratio, patches=patches)
    found = {match.strategy: match for match in design_strategy(graph, target, candidates=[uniform, bernoulli])}
    every = shared_by_weight(graph, patches, lambda count: float(count == n_masked))
    assert_agrees(found[uniform], every, target, graph.latents)
    every = shared_by_weight(graph, patches, lambda count: ratio**count * (1 - ratio) ** (len(patches) - count))
    assert_agrees(found[bernoulli], every, target, graph.latents)
    possible = any(shared == target for shared, _ in every)
    assert (found[bernoulli].impossible is None) == possible
    assert (found[uniform].impossible is None) == (possible or found[uniform].probability > 0)


@property_test
@given(case=graphs_with_patches(max_latents=5, max_observed=6), data=st.data())
def test_design_strategy_of_a_range_is_the_mean_over_its_numbers_of_patches(case, data):
    graph, patches = case
    n = len(patches)
    fewest = data.draw(st.integers(1, n - 1))
    most = data.draw(st.integers(fewest, n - 1))
    target = graph.ancestors(graph.latents[-1:]) | {graph.latents[-1]}
    ranged = RatioRange(low=fewest / n, high=most / n, patches=patches)
    (match,) = design_strategy(graph, target, candidates=[ranged])
    every = shared_by_weight(graph, patches, lambda count: (fewest <= count <= most) / math.comb(n, count))
    assert_agrees(match, every, frozenset(target), graph.latents)


@pytest.mark.parametrize("kind", ["forest", "dag"])
@pytest.mark.parametrize("closed", [True, False])
@property_test
@given(data=st.data())
def test_design_strategy_matches_all_masks(kind, closed, data):
    graph, patches = data.draw(graphs_with_patches(max_latents=6, max_observed=6, kind=kind))
    some = data.draw(st.sets(st.sampled_from(graph.latents)))
    target = frozenset(some | graph.ancestors(some) if closed else some)
    n_masked = data.draw(st.integers(1, len(patches) - 1))
    check(graph, patches, target, n_masked, data.draw(st.floats(0.01, 0.99)))


@property_test
@given(case=graphs_with_patches(max_latents=6, max_observed=6), data=st.data())
def test_design_strategy_matches_all_masks_for_every_set_that_is_shared(case, data):
    graph, patches = case
    n_masked = data.draw(st.integers(1, len(patches) - 1))
    every = shared_by_weight(graph, patches, lambda count: float(count == n_masked))
    for target in {shared for shared, _ in every}:
        (match,) = design_strategy(
            graph, target, candidates=[RandomMask(ratio=n_masked / len(patches), patches=patches)]
        )
        assert_agrees(match, every, target, graph.latents)


@pytest.mark.parametrize("ratio", [1e-12, 0.3, 1 - 1e-12])
def test_design_strategy_bernoulli_keeps_its_precision_at_extreme_ratios(ratio):
    """Given two sides, a mask of four cells with a tiny ratio masks one of them."""
    (match,) = design_strategy(LatentGraph.tree(2, 2), ["z2_0", "z1_0"], candidates=[BernoulliMask(ratio=ratio)])
    r, q = Fraction(ratio), 1 - Fraction(ratio)
    two_sides = 1 - r**4 - q**4
    assert match.probability == pytest.approx(float(2 * r * q * (r**2 + q**2) / two_sides), rel=1e-9)
    assert match.missing == pytest.approx(float((r**2 + q**2 - r**4 - q**4) / two_sides), rel=1e-9)


def test_design_strategy_expected_numbers_are_sums_of_membership_probabilities():
    graph, target = LatentGraph.quadtree(3), {"z3_0_0", "z2_0_0", "z1_0_0"}
    (match,) = design_strategy(graph, target, candidates=[RandomMask(ratio=0.3, unit=2)])
    probability = membership_probability(graph, RandomMask(ratio=0.3, unit=2))
    assert match.missing == pytest.approx(sum(1 - probability[name] for name in target), rel=1e-12)
    assert match.extra == pytest.approx(sum(p for name, p in probability.items() if name not in target), rel=1e-12)
    assert match.never == {"z1_0_0"}
    assert match.probability == match.contained == 0.0


# ---------------------------------------------------------------------- counting


def coefficients(weights, sets):
    """Numbers of masks by masked patches, from all sides of the parts."""
    found = [0] * (sum(weights) + 1)
    for sides in product([0, 1], repeat=len(weights)):
        if 0 < sum(sides) < len(sides) and all(0 < sum(sides[i] for i in parts) < len(parts) for parts in sets):
            found[sum(side * weight for side, weight in zip(sides, weights, strict=True))] += 1
    return found


@property_test
@given(data=st.data())
def test_count_splittings_matches_all_sides(data):
    weights = data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=7))
    parts = st.frozensets(st.integers(0, len(weights) - 1), min_size=1)
    sets = data.draw(st.lists(parts, max_size=4))
    counted, n = count_splittings(weights, sets), sum(weights)
    for n_masked, ways in list(enumerate(coefficients(weights, sets)))[1:n]:
        found = counted.log_uniform(n_masked)
        assert (found == -math.inf) == (ways == 0)
        assert math.exp(found) == pytest.approx(ways / math.comb(n, n_masked), rel=ROUNDING)


def powers(polynomial, n):
    """Coefficients of a power, in whole numbers of any size."""
    found = [1]
    for _ in range(n):
        found = [
            sum(polynomial[j] * found[i - j] for j in range(len(polynomial)) if 0 <= i - j < len(found))
            for i in range(len(found) + len(polynomial) - 1)
        ]
    return found


@pytest.mark.parametrize("n_masked", [150, 151, 200, 300, 449])
def test_count_splittings_of_many_sets_matches_whole_numbers(n_masked):
    n = 150
    counted = count_splittings([1] * 4 * n, [frozenset(range(4 * i, 4 * i + 4)) for i in range(n)])
    exact = Fraction(powers([0, 4, 6, 4, 0], n)[n_masked], math.comb(4 * n, n_masked))
    assert counted.log_uniform(n_masked) == pytest.approx(math.log(exact.numerator) - math.log(exact.denominator))
    assert math.exp(counted.log_uniform(n_masked)) == pytest.approx(float(exact), rel=1e-9)


def test_count_splittings_finds_numbers_that_are_hard_to_reach():
    """3001 patches can be masked in one way, 3003 in 1500: far from what the other sizes add up to."""
    counted = count_splittings([2] * 1500 + [3001], [])
    for n_masked, ways in [(3001, 1), (3003, 1500), (2999, 0), (2000, math.comb(1500, 1000))]:
        exact = math.log(ways) - math.log(math.comb(6001, n_masked)) if ways else -math.inf
        assert counted.log_uniform(n_masked) == pytest.approx(exact, rel=1e-12)


def test_count_splittings_gives_up_on_large_entangled_groups():
    sets = [frozenset({i, i + 1}) for i in range(17)]
    assert count_splittings([1] * 18, sets) is not None
    assert count_splittings([1] * 19, [*sets, frozenset({17, 18})]) is None
    assert count_splittings([1] * 19, [*sets, frozenset({17, 18}), frozenset({3})]).log_uniform(9) == -math.inf


def test_design_strategy_at_fifty_thousand_patches():
    """All latents of a tree: of 12,500 groups of four, each has to have both sides."""
    n = 12_500
    edges = [("root", f"z{i}") for i in range(n)] + [(f"z{i}", f"x{4 * i + j}") for i in range(n) for j in range(4)]
    graph = LatentGraph.from_edges(edges)
    one_each, bernoulli = RandomMask(ratio=0.25), BernoulliMask(ratio=0.25)
    too_few, single = RandomMask(ratio=0.2), RandomMask(ratio=1 / (4 * n))
    candidates = [one_each, bernoulli, too_few, single]
    found = {match.strategy: match for match in design_strategy(graph, graph.latents, candidates=candidates)}
    exact = n * math.log(4) - math.log(math.comb(4 * n, n))
    assert found[one_each].log_probability == pytest.approx(exact, rel=1e-12)
    assert found[one_each].probability == 0.0
    assert found[bernoulli].log_probability == pytest.approx(n * math.log(1 - 0.25**4 - 0.75**4), rel=1e-12)
    assert found[too_few].log_probability == -math.inf
    assert found[too_few].impossible is None
    assert found[single].missing == pytest.approx(n - 1)
    (match,) = design_strategy(graph, ["root", "z7"], candidates=[single])
    assert match.probability == pytest.approx(4 / (4 * n), rel=1e-9)
    assert match.contained == pytest.approx(4 / (4 * n), rel=1e-9)


# ---------------------------------------------------------------------- lists of masks


def test_design_strategy_of_rectangles_counts_their_places():
    graph = LatentGraph.quadtree(2)
    (match,) = design_strategy(graph, ["z2_0_0"], candidates=[BlockMask(ratio=0.25)])
    assert match.description == "a rectangle of 2 x 2 cells"
    assert (match.probability, match.exact) == (pytest.approx(4 / 9), True)
    assert match.extra == pytest.approx((4 * 2 + 1 * 4) / 9)
    assert match.always == frozenset()


def test_design_strategy_of_a_fixed_mask_is_certain():
    graph = LatentGraph.tree(2, 2)
    match, other = design_strategy(graph, ["z2_0", "z1_0"], candidates=[FixedMask(masked=(x,)) for x in ("x_2", "x_0")])
    assert (match.strategy.masked, match.probability) == (("x_0",), 1.0)
    assert (other.probability, other.missing, other.extra) == (0.0, 1.0, 1.0)
    assert (other.never, other.always, other.impossible) == ({"z1_0"}, {"z1_1"}, None)


# ---------------------------------------------------------------------- masks drawn


@dataclasses.dataclass(frozen=True)
class Wrapped:
    """A strategy of the user, with a law that nobody knows."""

    inner: object

    def sample(self, key, n, graph):
        return self.inner.sample(key, n, graph)


@pytest.mark.parametrize("inner", [RandomMask(ratio=0.25), BernoulliMask(ratio=0.5), BlockMask(ratio=0.25)])
@pytest.mark.parametrize("target", [["z2_0_0"], ["z2_0_0", "z1_0_0"], ["z2_0_0", "z1_0_0", "z1_1_1"]])
def test_design_strategy_of_a_user_written_strategy_agrees_with_the_exact_numbers(inner, target):
    graph, n = LatentGraph.quadtree(2), 2000
    (exact,) = design_strategy(graph, target, candidates=[inner])
    (drawn,) = design_strategy(graph, target, candidates=[Wrapped(inner)], key=KEY, n_masks=n)
    assert (drawn.exact, drawn.n_masks, drawn.impossible) == (False, n, None)
    for value, error in [
        ("probability", "standard_error"),
        ("contained", "contained_error"),
        ("missing", "missing_error"),
        ("extra", "extra_error"),
    ]:
        off = abs(getattr(drawn, value) - getattr(exact, value))
        assert off <= SIGMAS * getattr(drawn, error) + 0.01 * (getattr(drawn, error) == 0)
    assert exact.probability <= drawn.upper_bound
    assert drawn.probability < drawn.upper_bound
    assert drawn.description == repr(Wrapped(inner))


def test_design_strategy_bounds_what_was_never_drawn():
    graph, n = LatentGraph.quadtree(2), 300
    (match,) = design_strategy(graph, ["z2_0_0"], candidates=[Wrapped(GridMask(keep_every=2))], key=KEY, n_masks=n)
    assert (match.probability, match.standard_error, match.log_probability) == (0.0, 0.0, -math.inf)
    assert match.upper_bound == pytest.approx(1 - 0.05 ** (1 / n))
    assert match.upper_bound == pytest.approx(3 / n, rel=0.01)
    everything = design_strategy(graph, graph.latents, candidates=[Wrapped(GridMask(keep_every=2))], key=KEY)
    assert (everything[0].probability, everything[0].upper_bound) == (1.0, 1.0)


def test_design_strategy_needs_no_draws_to_say_that_a_target_is_impossible():
    graph = LatentGraph.tree(2, 2)
    (match,) = design_strategy(graph, ["z1_0"], candidates=[Wrapped(RandomMask(ratio=0.5))], key=KEY)
    assert (match.probability, match.exact, match.upper_bound) == (0.0, True, 0.0)
    assert match.impossible.latent == "z2_0"
    assert match.always == {"z2_0"}


def line_of_fields(n):
    """Windows of three along a line: all latents of the target overlap."""
    return LatentGraph.from_edges([(f"z{i}", f"x{i + j}") for i in range(n - 2) for j in range(3)])


def test_design_strategy_samples_targets_that_overlap_too_much():
    """A chain of splits, counted by a walk over the line: no three neighbours on one side."""
    n = 25
    graph = line_of_fields(n)
    walks = {(a, b): 1 for a in (0, 1) for b in (0, 1)}
    for _ in range(n - 2):
        walks = {(b, c): sum(walks[a, b] for a in (0, 1) if not a == b == c) for b in (0, 1) for c in (0, 1)}
    exact = sum(walks.values()) / (2**n - 2)
    (match,) = design_strategy(graph, graph.latents, candidates=[BernoulliMask(ratio=0.5)], key=KEY, n_masks=20_000)
    assert (match.exact, match.n_masks) == (False, 20_000)
    assert abs(match.probability - exact) <= SIGMAS * match.standard_error
    assert match.missing == pytest.approx((n - 2) * (1 / 4 - 2**-n * 2) / (1 - 2 ** (1 - n)), rel=1e-9)
    assert match.missing_error == match.extra_error == 0.0
    again = design_strategy(graph, graph.latents, candidates=[BernoulliMask(ratio=0.5)], key=KEY, n_masks=20_000)
    assert again == (match,)


def test_design_strategy_draws_in_pieces(monkeypatch):
    graph = LatentGraph.quadtree(2)
    monkeypatch.setattr("hlvm.theory.random_masks.averages._CELLS_AT_ONCE", 7 * len(graph.nodes))
    (match,) = design_strategy(graph, ["z2_0_0"], candidates=[Wrapped(RandomMask(ratio=0.5))], key=KEY, n_masks=50)
    assert match.n_masks == 50


# ---------------------------------------------------------------------- candidates and their order


def test_design_strategy_tries_every_unit_by_default():
    graph = LatentGraph.quadtree(4)
    best = design_strategy(graph, ["z4_0_0"])
    assert best[0].description == "1 of 4 units of 8 x 8 cells at random"
    assert best[0].probability == 1.0
    kinds = {type(match.strategy) for match in best}
    assert kinds == {RandomMask, BernoulliMask, BlockMask, GridMask}
    assert {match.strategy.unit for match in best} == {1, 2, 4, 8}
    assert len({match.description for match in best}) == len(best)
    all_latents = design_strategy(graph, graph.latents)
    assert all_latents[0].strategy == GridMask(keep_every=2)


def test_default_candidates_without_a_grid_are_cells_and_subtrees():
    found = default_candidates(LatentGraph.tree(3, 3))
    assert {type(sampler) for sampler in found} == {RandomMask, BernoulliMask, SubtreeMask}
    assert {sampler.height for sampler in found if isinstance(sampler, SubtreeMask)} == {1, 2}
    assert {sampler.unit for sampler in found if isinstance(sampler, RandomMask)} == {1}
    uneven = LatentGraph.from_edges([("r", "a"), ("a", "x1"), ("a", "x2"), ("r", "x3")])
    assert not any(isinstance(sampler, SubtreeMask) for sampler in default_candidates(uneven))
    assert all(design_strategy(uneven, ["r", "a"])[i].exact for i in range(3))


def test_design_strategy_ranks_by_exact_then_contained_then_wrong_latents_then_order():
    graph = LatentGraph.quadtree(3)
    target = ["z3_0_0", "z2_0_0", "z1_0_0"]
    found = design_strategy(graph, target)
    keys = [(m.log_probability, m.contained, -(m.missing + m.extra)) for m in found]
    for one, next_one in pairwise(keys):
        rounded = [tuple(round(x, 9) for x in key) for key in (one, next_one)]
        assert rounded[0] >= rounded[1]
    same = [RandomMask(ratio=0.75), RandomMask(ratio=0.25)]
    assert [m.strategy for m in design_strategy(graph, target, candidates=same)] == same
    assert [m.strategy for m in design_strategy(graph, target, candidates=same[::-1])] == same[::-1]


def test_design_strategy_gives_the_proof_for_the_patches_of_each_candidate():
    graph, target = LatentGraph.quadtree(2), ["z2_0_0", "z1_0_0"]
    fine, coarse = design_strategy(graph, target, candidates=[RandomMask(ratio=0.5, unit=2), RandomMask(ratio=1 / 16)])
    assert (fine.strategy.unit, fine.impossible) == (1, None)
    assert coarse.impossible == design_mask(graph, target, patches=Patches.blocks(graph, 2))
    assert coarse.impossible.latent == "z1_0_0"
    assert coarse.never == {"z1_0_0"}
    (unreachable,) = design_strategy(graph, target, candidates=[RandomMask(ratio=0.5)])
    assert (unreachable.probability, unreachable.impossible) == (0.0, None)
    assert isinstance(design_mask(graph, target), DesignedMask)


def test_design_strategy_of_no_latents_counts_masks_along_what_falls_apart():
    graph = LatentGraph.from_edges([("a", "x1"), ("a", "x2"), ("b", "x3")])
    (match,) = design_strategy(graph, [], candidates=[RandomMask(ratio=1 / 3)])
    assert (match.probability, match.contained, match.missing) == (pytest.approx(1 / 3), 1.0, 0.0)
    assert match.extra == pytest.approx(2 / 3)
    (match,) = design_strategy(LatentGraph.tree(2, 2), [], candidates=[RandomMask(ratio=0.5)])
    assert match.impossible.latent == "z2_0"


def test_design_strategy_describes_each_strategy():
    graph = LatentGraph.quadtree(2)
    patches = Patches((("x_0_0",), tuple(name for name in graph.observed if name != "x_0_0")))
    words = {
        RandomMask(ratio=0.5): "8 of 16 cells at random",
        RandomMask(ratio=0.5, unit=(1, 2)): "4 of 8 units of 1 x 2 cells at random",
        RandomMask(ratio=0.5, patches=patches): "1 of 2 patches at random",
        SubtreeMask(height=1, ratio=0.25): "1 of 4 subtrees of height 1 at random",
        BernoulliMask(ratio=0.5, patches=Patches.blocks(graph, 2)): "each of 4 units of 2 x 2 cells with probability "
        "0.5",
        BlockMask(ratio=0.25, unit=2): "a rectangle of 1 x 1 units of 2 x 2 cells",
        GridMask(keep_every=(1, 2)): "all cells but 1 in 1 x 2, on a lattice",
        FixedMask(masked=graph.observed[:7]): "always x_0_0, x_0_1, x_0_2, x_0_3, x_1_0 and 2 more",
    }
    found = design_strategy(graph, ["z2_0_0"], candidates=list(words))
    assert {match.strategy: match.description for match in found} == words

    class Unnamed:
        def __repr__(self):
            return "x" * 100

        def sample(self, key, n, graph):
            return RandomMask(ratio=0.5).sample(key, n, graph)

    (match,) = design_strategy(graph, ["z2_0_0"], candidates=[Unnamed()], key=KEY, n_masks=2)
    assert match.description == "x" * 77 + "..."


# ---------------------------------------------------------------------- bad input


class _Wrong:
    def __init__(self, change):
        self.change = change

    def sample(self, key, n, graph):
        return self.change(np.tile(np.arange(len(graph.observed)) == 0, (n, 1)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target": "z2_0"}, "target is a collection of names"),
        ({"target": ["x_0"]}, "target: 'x_0' is an observed variable"),
        ({"target": ["nobody"]}, "'nobody' is not a variable"),
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": "uniform"}, r"candidates is a list of objects .*, got 'uniform'"),
        ({"candidates": RandomMask(ratio=0.5)}, "candidates is a list of objects"),
        ({"candidates": [RandomMask(ratio=0.5), 3]}, r"candidates\[1\]: expected a mask strategy.*got 3"),
        ({"candidates": [RandomMask]}, r"candidates\[0\]: expected a mask strategy"),
        ({"candidates": [RandomMask(ratio=0.01)]}, r"candidates\[0\]: .* nothing would be masked"),
        ({"candidates": [BlockMask(ratio=0.5)]}, r"candidates\[0\]: this strategy masks regions of a grid"),
        ({"candidates": [GridMask(keep_every=2)]}, r"candidates\[0\]: this strategy masks regions of a grid"),
        ({"candidates": [SubtreeMask(height=9, ratio=0.5)]}, r"candidates\[0\]: height must be"),
        ({"candidates": [FixedMask(masked=("z1_0",))]}, r"candidates\[0\]: masked: 'z1_0' is a latent"),
        (
            {"candidates": [BernoulliMask(ratio=0.5, patches=Patches((("x_0",),)))]},
            r"candidates\[0\]: .* is in no patch",
        ),
        ({"candidates": [SubtreeMask(height=2, ratio=0.5)]}, r"candidates\[0\]: a mask needs at least 2 patches"),
        ({"candidates": [Wrapped(RandomMask(ratio=0.5))]}, r"masks have to be drawn for .*give\s+key="),
        ({"n_masks": 1}, "n_masks must be a whole number of at least 2"),
        ({"n_masks": 2.5}, "n_masks must be a whole number of at least 2"),
    ],
)
def test_design_strategy_refuses_bad_input(kwargs, message):
    with pytest.raises(ValueError, match=message):
        design_strategy(LatentGraph.tree(2, 2), **{"target": ["z2_0"], **kwargs})


def test_design_strategy_refuses_a_graph_with_nothing_to_hide():
    with pytest.raises(ValueError, match="a mask needs at least 2 patches"):
        design_strategy(LatentGraph.from_edges([("z", "x")]), ["z"])


def test_design_strategy_names_what_needs_a_key():
    with pytest.raises(ValueError, match="drawn for '12 of 25 observed variables at random', which has no closed form"):
        design_strategy(line_of_fields(25), line_of_fields(25).latents, candidates=[RandomMask(ratio=0.48)])


def test_design_strategy_is_refused_when_dims_are_not_invertible():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1)
    with pytest.raises(ValueError, match="do not allow the invertible regime"):
        design_strategy(graph, ["z"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda masks: masks[1:], r"_Wrong.sample\(key, 10, graph\) drew 9 masks, expected 10"),
        (lambda masks: masks & False, "nothing is masked"),
        (lambda masks: masks.astype(float), "a mask array is boolean"),
        (lambda masks: masks[:, 1:], "masks must have shape"),
    ],
)
def test_design_strategy_refuses_wrong_masks_of_user_written_strategies(change, message):
    with pytest.raises(ValueError, match=message):
        design_strategy(LatentGraph.tree(2, 2), ["z2_0"], candidates=[_Wrong(change)], key=KEY, n_masks=10)
