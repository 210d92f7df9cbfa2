"""Advice on masks for a target: by hand, by brute force over masks and keys, and on grammars as in the notes."""

import jax
import numpy as np
import pytest

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.masking import BernoulliMask, FixedMask, MaskList, RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle, advise, design_mask, mask_profile
from hlvm.theory.oracles import Answers


def unit_oracle(graph):
    """Every variable is the sum of its parents and standard normal noise."""
    coefficients = {
        name: np.ones((1, len(graph.parent_indices[node])))
        for node, name in enumerate(graph.nodes)
        if graph.parent_indices[node]
    }
    return GaussianOracle.from_parameters(
        graph, coefficients=coefficients, noise_scales=dict.fromkeys(graph.nodes, 1.0)
    )


@pytest.fixture(scope="module")
def tree():
    return unit_oracle(LatentGraph.from_edges(LatentGraph.tree(2, 2).edges, dims=1))


@pytest.fixture(scope="module")
def large():
    return unit_oracle(LatentGraph.from_edges(LatentGraph.tree(2, 4).edges, dims=1))


@pytest.fixture(scope="module")
def quadtree():
    return HierarchicalModel.init(0, LatentGraph.quadtree(2), LinearGaussian())


class Loud:
    """An oracle whose answers depend on a string drawn for each mask, and on what is masked."""

    def __init__(self, graph, height=None):
        self.graph, self.height, self.asked, self.how = graph, height, [], "estimated"

    def cut(self, height):
        below = Loud(self.graph, height)
        below.asked = self.asked
        return below

    def _strings(self, n, rows, key):
        self.asked.append((n, rows, jax.random.key_data(key).tolist()))
        return np.asarray(jax.random.normal(key, (n, rows)), dtype=np.float64).mean(axis=1, keepdims=True)

    def relative_loss_batch(self, masks, *, visible=None, rows=1, key=None):
        noise, seen = self._strings(len(masks), rows, key), 1 - masks.mean(axis=1, keepdims=True)
        gain = 0.0 if self.height is not None else 0.1 * seen + 0.01 * noise
        value = np.where(masks, 0.5 - gain, np.nan)
        return Answers(value=value, error=np.full(masks.shape, np.nan), how="estimated", rows=rows)

    def latent_r2_batch(self, masks, *, visible=None, part="value", rows=1, key=None):
        value = np.repeat(0.5 + 0.05 * self._strings(len(masks), rows, key), self.graph.n_latents, axis=1)
        return Answers(value=value, error=0 * value, how="estimated", rows=rows)


def test_advise_by_hand(tree):
    advice = advise(tree, 2, {"one": FixedMask(masked=("x_0",)), "pair": FixedMask(masked=("x_0", "x_1"))})
    assert (advice.target, advice.height, list(advice.strategies)) == (("z2_0",), 2, ["pair", "one"])
    one = advice.table.set_index("strategy").loc["one"]
    # x_0 has variance 3; given its sibling 5/3 of it is left, given all others 21/13.
    assert one["demand"] == pytest.approx(5 / 9 - 7 / 13)
    assert one["availability"] == one["noise_availability"] == pytest.approx(7 / 13)
    assert (one["how"], one["n_masks"], one["demand_error"], one["tie"]) == ("exact", 0, 0, False)
    pair = advice.table.set_index("strategy").loc["pair"]
    # Nothing below z1_0 is seen: the other side predicts 1 + 1 of it with weights 1/5, so 2/5 of 3 go.
    assert pair["demand"] == pytest.approx(2 / 15)
    assert pair["below_best"] == 0
    assert one["below_best"] == pytest.approx(2 / 15 - 2 / 117)
    assert advice.best == FixedMask(masked=("x_0", "x_1"))


def test_advise_adds_up_latents_and_averages_what_is_known_of_them(tree):
    one = {"one": FixedMask(masked=("x_0",))}
    of = {target: advise(tree, target, one).table.iloc[0] for target in ("z1_0", "z1_1", ("z1_0", "z1_1"), 1)}
    assert [of[target]["demand"] for target in of] == pytest.approx([4 / 9, 0, 4 / 9, 4 / 9])
    assert [of[target]["availability"] for target in of] == pytest.approx([9 / 13, 21 / 26, 0.75, 0.75])
    assert of["z1_0"]["noise_availability"] < of["z1_0"]["availability"]
    both = advise(tree, ["z2_0", "z1_0"], one)
    assert both.table["demand"].item() == pytest.approx(1 - 7 / 13)
    assert (both.target, both.height, both.subject) == (("z2_0", "z1_0"), None, "z2_0, z1_0")


def test_advise_goes_through_few_masks_and_is_exact(tree):
    each = [advise(tree, 2, [FixedMask(masked=(name,))]).table["demand"].item() for name in tree.graph.observed]
    single = advise(tree, 2, [RandomMask(ratio=0.25)], n_masks=4).table.iloc[0]
    assert single["demand"] == pytest.approx(np.mean(each))
    assert (single["how"], single["n_masks"], single["demand_error"]) == ("exact", 0, 0)
    drawn = advise(tree, 2, [RandomMask(ratio=0.25)], n_masks=3).table.iloc[0]
    assert (drawn["how"], drawn["n_masks"]) == ("estimated", 3)
    pairs = MaskList.of(tree.graph, np.array([[True, True, False, False], [True, False, True, False]]))
    listed = advise(tree, 2, [pairs, FixedMask(masked=("x_0", "x_1")), FixedMask(masked=("x_0", "x_2"))]).table
    by_name = listed.set_index("strategy")["demand"]
    assert by_name[["always x_0, x_1", "always x_0, x_2"]].mean() == pytest.approx(
        by_name.drop(["always x_0, x_1", "always x_0, x_2"]).item()
    )


def test_advise_agrees_with_profiles_where_variables_have_several_parents():
    windows = [(f"z{i}", f"x{i + j}") for i in range(4) for j in range(3)]
    graph = LatentGraph.from_edges([*(("r", f"z{i}") for i in range(4)), *windows], dims=1)
    assert not graph.arrays.is_forest
    oracle = unit_oracle(graph)
    masks = {name: FixedMask(masked=names) for name, names in (("a", graph.observed[:2]), ("b", graph.observed[::2]))}
    profile = mask_profile(oracle, masks).of_heights("demand")
    for height in (1, 2):
        table = advise(oracle, height, masks).table.set_index("strategy")
        assert table.loc[["a", "b"], "demand"].tolist() == pytest.approx(profile[height].tolist())
    with pytest.raises(ValueError, match=r"some variable has several parents: .* forests only: give a height instead"):
        advise(oracle, [graph.latents[0]], masks)


def test_advise_states_the_errors_of_paired_differences(large):
    both = [RandomMask(ratio=0.5), RandomMask(ratio=0.75)]
    found = [advise(large, 3, both, key=seed, n_masks=24).table.iloc[1] for seed in range(200)]
    assert {row["strategy"] for row in found} == {"8 of 16 observed variables at random"}
    true, stated = np.std([row["below_best"] for row in found]), np.mean([row["below_best_error"] for row in found])
    assert stated == pytest.approx(true, rel=0.2)  # of 200 draws a standard deviation is known to 5 %
    true, stated = np.std([row["demand"] for row in found]), np.mean([row["demand_error"] for row in found])
    assert stated == pytest.approx(true, rel=0.2)


def test_advise_asks_every_candidate_about_the_same_strings():
    graph = LatentGraph.tree(2, 2)
    oracle = Loud(graph)
    few, many = FixedMask(masked=("x_0",)), FixedMask(masked=("x_0", "x_1", "x_2"))
    two = MaskList.of(graph, np.array([[True, False, False, False], [True, True, True, False]]))
    advice = advise(oracle, 2, {"few": few, "many": many, "two": two}, n_masks=51, rows=3)
    rows = advice.table.set_index("strategy")
    assert len({(rows, *key) for _, rows, key in oracle.asked}) == 1
    assert {n for n, _, _ in oracle.asked} == {153, 150}  # a list is repeated as often as it fits; 3 strings each
    assert rows.loc["few", "below_best_error"] == 0
    # The strings add the same to both, so the difference is that of what is seen, without error.
    assert rows.loc["many", "below_best"] == pytest.approx(0.1 * (3 / 4 - 1 / 4))
    assert rows.loc["many", "below_best_error"] == pytest.approx(0, abs=1e-12)
    assert not rows.loc["many", "tie"]
    assert rows.loc["few", "demand_error"] == pytest.approx(0.01 / np.sqrt(3 * 51), rel=0.3)
    # The spread between the two masks of a list is no mistake of their mean.
    assert rows.loc["two", "demand_error"] == pytest.approx(0.01 / np.sqrt(3 * 50), rel=0.3)
    assert (rows["how"] == "estimated").all()


def test_advise_counts_errors_that_all_masks_share():
    class Regression(Loud):
        def relative_loss_batch(self, masks, *, visible=None, rows=1, key=None):
            answers = super().relative_loss_batch(masks, visible=visible, rows=rows, key=key)
            return Answers(value=answers.value, error=np.full(masks.shape, 0.03), how="estimated", rows=400)

        def cut(self, height):
            return Regression(self.graph, height)

    masks = {"few": FixedMask(masked=("x_0",)), "many": FixedMask(masked=("x_0", "x_1", "x_2"))}
    few, many = advise(Regression(LatentGraph.tree(2, 2)), 2, masks, n_masks=4000).table.itertuples()
    assert [few.demand_error, many.demand_error] == pytest.approx([0.03 * np.sqrt(2)] * 2, rel=1e-3)
    assert (few.below_best_error, many.below_best_error) == (0, pytest.approx(0.06, rel=1e-3))
    assert many.tie


def test_advise_marks_ties_and_the_front():
    graph = LatentGraph.tree(2, 3)
    ratios = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
    advice = advise(Loud(graph), 3, [BernoulliMask(ratio=ratio) for ratio in ratios], n_masks=40)
    table = advice.table
    assert (table["demand"].diff().dropna() <= 0).all()
    assert list(advice.strategies) == table["strategy"].tolist()
    assert table["tie"].tolist() == (table["below_best"] <= 2 * table["below_best_error"] + 1e-9).tolist()
    assert table["tie"].iloc[0]
    assert advice.ties == tuple(table.loc[table["tie"], "strategy"])
    points = table[["demand", "availability"]].to_numpy()
    beaten = [any((other >= own).all() and (other > own + 1e-9).any() for other in points) for own in points]
    assert table["front"].tolist() == [not each for each in beaten]
    assert len(advice.front) < len(table)


def test_advise_tries_designed_masks_or_says_why_not(quadtree, tree):
    graph = quadtree.graph
    advice = advise(quadtree, ["z1_0_0"], n_masks=32)
    designed = advice.table[advice.table["kind"] == "designed"]
    target = ["z2_0_0", "z1_0_0"]
    masks = {design_mask(graph, target, choose=choose).masked for choose in ("smallest", "largest")}
    assert {advice.strategies[name].masked for name in designed["strategy"]} == masks
    assert advice.no_design == ""
    assert {"random", "block", "grid", "designed"} == set(advice.table["kind"])
    assert {"cells", "units of 2 x 2 cells"} == set(advice.table["unit"])
    without = advise(tree, "z1_0")
    assert without.no_design.startswith("these dims do not allow the invertible regime ('z1_0' has dim 1")
    assert "designed" not in set(without.table["kind"])
    assert f"No designed mask: {without.no_design}" in without.explain()
    given = advise(tree, "z1_0", [RandomMask(ratio=0.5)])
    assert "No designed mask" not in given.explain()


def test_advice_explains_itself(tree, large):
    two = {"one": FixedMask(masked=("x_0",)), "pair": FixedMask(masked=("x_0", "x_1"))}
    words = advise(tree, 2, two).explain()
    assert words.startswith("pair (ratio 0.5) asks most for height 2: knowing it takes 0.1333 of a cell's variance off")
    assert "Next comes one, which asks for 0.1162 less." in words
    assert "It can be known best under one (R² 0.5385), which asks for 0.0171." in words
    assert words.endswith("All numbers are exact.")
    drawn = advise(large, 4, [RandomMask(ratio=0.5), RandomMask(ratio=0.5), FixedMask(masked=("x_0",))], n_masks=20)
    words = drawn.explain()
    assert "Not told apart from it (within two standard errors of the difference): 8 of 16" in words
    assert words.endswith("Numbers of 1 of the 3 candidates are exact, the others estimated.")
    nothing = advise(tree, "z1_1", {"one": FixedMask(masked=("x_0",))}).explain()
    assert nothing.startswith("No candidate is seen to ask for z1_1: the most is 0.0000, of one")


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (3, {}, "target must be a height of latents, one of 1, 2, got 3"),
        (0, {}, "target must be a whole number of at least 1, got 0"),
        (True, {}, "target must be a whole number of at least 1, got True"),
        (1.5, {}, "target must be a whole number of at least 1, got 1.5"),
        ("q", {}, "q"),
        (["z2_0", "x_0"], {}, "'x_0' is an observed variable"),
        ([], {}, "target names no latent: name at least one, or give a height"),
        (2, {"strategies": []}, "strategies is empty"),
        (2, {"strategies": {}}, "strategies is empty"),
        (2, {"strategies": [0.5]}, r"strategies\[0\]: expected a mask strategy|strategies\[0\]"),
        (2, {"strategies": [RandomMask(ratio=0.5, unit=2)]}, r"strategies\[0\]"),
        (2, {"n_masks": 1}, "n_masks must be a whole number of at least 2, got 1"),
        (2, {"rows": 0}, "rows must be a whole number of at least 1, got 0"),
    ],
)
def test_advise_refuses_bad_input(tree, target, options, message):
    with pytest.raises(ValueError, match=message):
        advise(tree, target, **options)


def test_advise_refuses_what_has_no_oracle_or_never_changes(tree):
    with pytest.raises(ValueError, match=r"LatentGraph has no exact oracle .* use .*estimated_oracle"):
        advise(LatentGraph.tree(2, 2), 1)
    still = GaussianOracle.from_parameters(
        LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1),
        coefficients={"x1": [[1.0]], "x2": [[1.0]]},
        noise_scales={"z": 0.0, "x1": 1.0, "x2": 1.0},
    )
    with pytest.raises(ValueError, match="target never changes in this model"):
        advise(still, "z")


@pytest.mark.slow
@pytest.mark.parametrize(("n_synonyms", "ratio"), [(2, 0.75), (4, 0.25), (8, 0.05)])
def test_advise_finds_the_ratio_that_asks_most_for_the_class(n_synonyms, ratio):
    """As computed apart from this package: 5 binary levels, 16 symbols; redundancy sets the ratio."""
    ratios = (0.05, 0.25, 0.5, 0.75, 0.9)
    grammar = GrammarImages.init(
        jax.random.key(0),
        n_symbols=16,
        n_classes=16,
        n_synonyms=n_synonyms,
        n_levels=5,
        tuple_size=2,
        style="one-hot",
    )
    advice = advise(grammar, 5, {f"{r}": RandomMask(ratio=r) for r in ratios}, n_masks=1024)
    assert advice.ties == (f"{ratio}",)  # the next is below by more than 5 standard errors of the difference
    assert (advice.table["how"] == "estimated").all()
