import itertools

import jax
import numpy as np
import pytest
from enumerated_trees import varying_tables

from hlvm.graph import LatentGraph
from hlvm.images import GrammarImages
from hlvm.masking import FixedMask, MaskList, RandomMask
from hlvm.mechanisms import InvertibleMLP, LinearGaussian
from hlvm.simulator import HierarchicalModel
from hlvm.theory import GaussianOracle, GrammarOracle, estimated_oracle, mask_profile, membership_probability, oracle_of
from hlvm.theory.random_masks import quantities
from hlvm.theory.random_masks.ladder import ladder_of_masks

TREE = LatentGraph.from_edges(LatentGraph.tree(2, 3).edges, dims=1)
DIAMOND = LatentGraph.from_edges(
    [("a", "b"), ("a", "c"), ("b", "x1"), ("b", "x2"), ("c", "x2"), ("c", "x3"), ("c", "x4")], dims=1
)


def gaussian(graph, seed=0):
    rng = np.random.default_rng(seed)
    coefficients = {
        name: rng.normal(size=(graph.dim(name), sum(map(graph.dim, graph.parents(name)))))
        for name in graph.nodes
        if graph.parents(name)
    }
    noises = {name: rng.uniform(0.3, 1.0) for name in graph.nodes}
    return GaussianOracle.from_parameters(graph, coefficients=coefficients, noise_scales=noises)


@pytest.fixture(scope="module")
def tree():
    return gaussian(TREE)


@pytest.fixture(scope="module")
def diamond():
    return gaussian(DIAMOND)


MASKS = np.array(
    [[True, False, True, False, False, False, False, True], [False, True, True, True, True, False] + [True] * 2]
)


# ---------------------------------------------------------------------- the ladder


def test_gains_add_up_to_prior_loss_less_bayes_loss(tree):
    ladder = ladder_of_masks(tree, MASKS)
    np.testing.assert_allclose(ladder.loss[0][MASKS], 1)
    np.testing.assert_allclose(ladder.loss[-1], tree.relative_loss_batch(MASKS).value)
    np.testing.assert_allclose(ladder.gain.sum(axis=0)[MASKS], (ladder.loss[0] - ladder.loss[-1])[MASKS])
    assert (ladder.gain >= -1e-12).all()
    assert np.isnan(ladder.loss[:, ~MASKS]).all()


@pytest.mark.parametrize("height", [1, 2])
def test_ladder_of_a_tree_sees_what_is_below_the_ancestor(tree, height):
    """Asked anew for every target, with the cells below its ancestor alone."""
    found = ladder_of_masks(tree, MASKS).loss[height]
    for row, mask in enumerate(MASKS):
        for cell in np.flatnonzero(mask):
            near = np.arange(8) // 2**height == cell // 2**height
            loss = tree.bayes_loss([TREE.observed[cell]], visible=near & ~mask)
            assert found[row, cell] == pytest.approx(loss.relative, abs=1e-10)


def test_ladder_of_a_graph_that_is_no_tree_sees_what_its_ancestors_reach(diamond):
    masks = np.array([[True, False, False, True], [False, True, True, False]])
    ladder = ladder_of_masks(diamond, masks)
    reach = {"b": {"x1", "x2"}, "c": {"x2", "x3", "x4"}}
    for row, mask in enumerate(masks):
        for cell in np.flatnonzero(mask):
            name = DIAMOND.observed[cell]
            near = set().union(*(cells for cells in reach.values() if name in cells))
            seen = [other for i, other in enumerate(DIAMOND.observed) if other in near and not mask[i]]
            loss = diamond.bayes_loss([name], visible=seen)
            assert ladder.loss[1, row, cell] == pytest.approx(loss.relative, abs=1e-10)
    np.testing.assert_allclose(ladder.loss[2], diamond.relative_loss_batch(masks).value)


def test_last_rung_of_a_graph_that_is_no_tree_sees_everything():
    """x1 and x3 share no ancestor, but are dependent given x2: without x3 the gains would not add up."""
    graph = LatentGraph.from_edges([("a", "x1"), ("a", "x2"), ("b", "x2"), ("b", "x3")], dims=1)
    masks = np.array([[True, False, False]])
    noises = {name: 0.1 if name == "x2" else 1.0 for name in graph.nodes}
    ones = {"x1": [[1.0]], "x2": [[1.0, 1.0]], "x3": [[1.0]]}
    oracle = GaussianOracle.from_parameters(graph, coefficients=ones, noise_scales=noises)
    ladder = ladder_of_masks(oracle, masks)
    assert ladder.loss[1, 0, 0] == pytest.approx(oracle.bayes_loss(["x1"]).relative)
    assert ladder.loss[1, 0, 0] == pytest.approx(0.6689, abs=1e-4)
    assert oracle.bayes_loss(["x1"], visible=["x2"]).relative == pytest.approx(0.7512, abs=1e-4)


def test_gains_of_latents_add_up_to_the_gain_of_their_height(tree):
    ladder = ladder_of_masks(tree, MASKS)
    each = ladder.latent_gain(TREE)
    loss = ladder.mean_loss
    for height in (1, 2, 3):
        own = np.array(TREE.heights[: TREE.n_latents]) == height
        np.testing.assert_allclose(each[:, own].sum(axis=1), loss[:, height - 1] - loss[:, height], atol=1e-12)


def test_cells_that_never_change_ask_for_nothing():
    """The second cell tells nothing of the first and has no variance: there is nothing to gain, or to lose."""
    oracle = GaussianOracle.from_parameters(
        LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims=1),
        coefficients={"x1": [[1.0]], "x2": [[0.0]]},
        noise_scales={"z": 1.0, "x1": 1.0, "x2": 0.0},
    )
    profile = mask_profile(oracle, {"one": MaskList.of(oracle.graph, np.eye(2, dtype=bool))}, ["demand"])
    assert profile.of_heights("demand").loc["one", 1] == pytest.approx(0, abs=1e-12)


def test_masks_without_a_cell_that_varies_are_left_out():
    graph = LatentGraph.from_edges([("z", "x1"), ("z", "x2"), ("z", "x3")], dims=1)
    rules = {"z": np.array([[[0, 0, 0]], [[1, 1, 0]]])}
    oracle = GrammarOracle.from_parameters(graph, n_symbols=dict.fromkeys(graph.nodes, 2), rules=rules)
    profile = mask_profile(oracle, {"one": MaskList.of(graph, np.eye(3, dtype=bool))}, ["demand"])
    assert profile.of_heights("loss").loc["one"].tolist() == pytest.approx([1, 0], abs=1e-6)
    assert profile.of_heights("demand").loc["one", 1] == pytest.approx(1, abs=1e-6)


# ---------------------------------------------------------------------- profiles


def test_mask_profile_of_listed_masks_is_exact(tree):
    profile = mask_profile(tree, {"two": MaskList.of(TREE, MASKS)})
    assert (profile.table["error"] == 0).all()
    assert set(profile.table["n_masks"]) == {0}
    assert set(profile.table["how"]) == {"exact"}
    expected = tree.latent_r2_batch(MASKS).value.mean(axis=0)
    np.testing.assert_allclose(profile.of_latents("availability").loc["two"], expected)
    noise = tree.latent_r2_batch(MASKS, part="noise").value.mean(axis=0)
    np.testing.assert_allclose(profile.of_latents("availability", "noise").loc["two"], noise)
    loss = ladder_of_masks(tree, MASKS).mean_loss.mean(axis=0)
    np.testing.assert_allclose(profile.of_heights("loss").loc["two"], loss)
    np.testing.assert_allclose(profile.of_heights("demand").loc["two"], loss[:-1] - loss[1:])


def test_mask_profile_of_heights_is_the_mean_over_latents(tree):
    profile = mask_profile(tree, {"two": MaskList.of(TREE, MASKS)})
    for quantity, combine in (("availability", np.mean), ("share", np.mean), ("demand", np.sum)):
        each, heights = profile.of_latents(quantity).loc["two"], profile.of_heights(quantity).loc["two"]
        for height in (1, 2, 3):
            own = [each[name] for name in TREE.latents if TREE.heights[TREE.position(name)] == height]
            assert heights[height] == pytest.approx(combine(own))


def test_mask_profile_of_drawn_masks_agrees_with_all_of_them(tree):
    """56 masks of 5 in 8 cells: drawn ones are within their error of the mean over all."""
    strategy = RandomMask(ratio=5 / 8)
    every = np.array([[i in chosen for i in range(8)] for chosen in itertools.combinations(range(8), 5)])
    exact = mask_profile(tree, {"all": MaskList.of(TREE, every)}).table
    drawn = mask_profile(tree, {"drawn": strategy}, n_masks=400, key=3).table
    assert set(drawn["n_masks"]) == {400}
    known = drawn["quantity"] != "share"
    assert set(drawn[known]["how"]) == {"estimated"}
    gap = np.abs(exact["value"] - drawn["value"])[known]
    assert (gap < 5 * drawn["error"][known] + 1e-12).all()
    assert (drawn["error"][known] > 0).sum() > 20


def test_mask_profile_shares_equal_theory(tree):
    strategies = [RandomMask(ratio=0.25), RandomMask(ratio=0.5)]
    profile = mask_profile(LatentGraph.tree(2, 3), strategies, ["share"], regime="invertible")
    for name, strategy in profile.strategies.items():
        expected = membership_probability(LatentGraph.tree(2, 3), strategy)
        assert profile.of_latents("share").loc[name].to_dict() == pytest.approx(expected)
    assert list(profile.strategies) == ["2 of 8 observed variables at random", "4 of 8 observed variables at random"]


def test_mask_profile_of_a_graph_that_is_no_tree(diamond):
    profile = mask_profile(diamond, {"half": RandomMask(ratio=0.5)}, n_masks=20)
    assert set(profile.of_heights("demand").columns) == {1, 2}
    with pytest.raises(ValueError, match="no 'demand'"):
        profile.of_latents("demand")  # parts of latents are defined on forests


def test_mask_profile_of_a_grammar_agrees_with_enumeration():
    graph = LatentGraph.from_edges(LatentGraph.tree(2, 2).edges, dims=1)
    oracle = GrammarOracle.from_parameters(graph, **varying_tables(graph)[0], dtype="float64")
    masks = np.array([[True, False, False, True], [False, True, False, False]])
    exact = mask_profile(oracle, {"two": MaskList.of(graph, masks)}, ("availability", "demand")).table
    assert set(exact["how"]) == {"exact"}
    patch = pytest.MonkeyPatch()
    patch.setattr("hlvm.theory.grammar.averages._MOST_STRINGS", 1)
    with patch.context():
        drawn = mask_profile(oracle, {"two": MaskList.of(graph, masks)}, ("availability", "demand"), n_masks=4000).table
    patch.undo()
    assert set(drawn["how"]) == {"estimated"}
    assert set(drawn["n_masks"]) == {0}
    assert (np.abs(exact["value"] - drawn["value"]) < 5 * drawn["error"] + 1e-9).all()
    assert (drawn["error"] > 0).any()


@pytest.mark.slow
def test_demand_of_grammars_moves_to_low_ratios_with_synonyms():
    """Binary grammars of 5 levels and 16 symbols: the ratio that asks most for the class falls with redundancy lost.

    The ratio is 0.75 with 2 synonyms, 0.25 with 4, and the smallest tried with 8; means over three grammars.
    """
    ratios = (1 / 32, 0.25, 0.5, 0.75, 0.9)
    for n_synonyms, best in ((2, 0.75), (4, 0.25), (8, 1 / 32)):
        found = np.zeros(len(ratios))
        for seed in range(3):
            grammar = GrammarImages.init(
                jax.random.key(seed),
                n_symbols=16,
                n_classes=16,
                n_synonyms=n_synonyms,
                n_levels=5,
                tuple_size=2,
                patch_pixels=1,
                style="one-hot",
            )
            masks = {f"{ratio:.3g}": RandomMask(ratio=ratio) for ratio in ratios}
            found += mask_profile(grammar, masks, ["demand"], n_masks=300).of_heights("demand")[5].to_numpy()
        assert ratios[int(found.argmax())] == best


@pytest.mark.slow
def test_demand_of_a_noisy_quadtree_peaks_at_high_ratios():
    """64 leaves, coupling 0.9: height 2 asks most at 0.75 to 0.9, the root at 0.9 or more, next to nothing at 0.1."""
    graph = LatentGraph.quadtree(3)
    graph = LatentGraph.from_edges(graph.edges, dims=1, grid=graph.grid)
    coupling = {name: [[0.9]] for name in graph.nodes if graph.parents(name)}
    noises = {name: np.sqrt(1 - 0.81) if graph.parents(name) else 1.0 for name in graph.nodes}
    oracle = GaussianOracle.from_parameters(graph, coefficients=coupling, noise_scales=noises)
    ratios = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    masks = {f"{ratio}": RandomMask(ratio=ratio) for ratio in ratios}
    demand = mask_profile(oracle, masks, ["demand"], n_masks=400).of_heights("demand")
    assert ratios[int(demand[2].to_numpy().argmax())] in (0.75, 0.9)
    assert ratios[int(demand[3].to_numpy().argmax())] in (0.9, 0.95)
    assert demand.loc["0.1", 3] < 0.003


def test_mask_profile_of_estimates_has_the_error_that_masks_share(tree):
    """Rows of a regression serve all masks: more masks do not make their error smaller."""
    graph = LatentGraph.from_edges(LatentGraph.tree(2, 2).edges, dims=1)
    model = HierarchicalModel.init(0, graph, LinearGaussian())
    oracle = estimated_oracle(model, rows=400, key=0)
    masks = np.array([[True, False, False, True], [False, True, False, False]])
    profile = mask_profile(oracle, {"two": MaskList.of(graph, masks)}, ("availability", "demand"))
    answers = oracle.latent_r2_batch(masks)
    found = profile.table[(profile.table["part"] == "value") & (profile.table["latent"] != "")]
    np.testing.assert_allclose(found["error"], answers.error.mean(axis=0))
    assert set(profile.table["how"]) == {"estimated"}
    demand = profile.table[profile.table["quantity"] == "demand"]
    assert (demand["error"] > 0).all()
    exact = mask_profile(oracle_of(model), {"two": MaskList.of(graph, masks)}, ("availability", "demand")).table
    assert np.abs(exact["value"] - profile.table["value"]).max() < 0.1


# ---------------------------------------------------------------------- bad input


def test_oracle_of_finds_the_kind_of_model():
    graph = LatentGraph.tree(2, 1)
    model = HierarchicalModel.init(0, LatentGraph.from_edges(graph.edges, dims=1), LinearGaussian())
    assert isinstance(oracle_of(model), GaussianOracle)
    grammar = GrammarImages.init(0, n_symbols=4, n_classes=2, n_synonyms=2, n_levels=1, tuple_size=2)
    assert isinstance(oracle_of(grammar), GrammarOracle)
    oracle = oracle_of(model)
    assert oracle_of(oracle) is oracle


def test_oracle_of_says_why_there_is_none():
    model = HierarchicalModel.init(0, LatentGraph.tree(2, 1), InvertibleMLP())
    with pytest.raises(ValueError, match=r"InvertibleMLP: closed forms need linear-Gaussian.*estimated_oracle"):
        oracle_of(model)
    with pytest.raises(ValueError, match="neither linear-Gaussian nor a discrete tree"):
        oracle_of(LatentGraph.tree(2, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"quantities": ["speed"]},
            "quantities must be some of share, availability, demand, signal, relevance, readability",
        ),
        ({"quantities": []}, "quantities must be some of"),
        ({"strategies": []}, "strategies is empty"),
        ({"strategies": [FixedMask(masked=["y"])]}, "'y'"),
        ({"ridge": -1}, "ridge must be a number of at least 0"),
        ({"rows": 0}, "rows must be a whole number of at least 1"),
        ({"n_masks": 1}, "n_masks must be a whole number of at least 2"),
        ({"key": "a"}, "must be a typed JAX key"),
    ],
)
def test_mask_profile_refuses(tree, arguments, message):
    with pytest.raises(ValueError, match=message):
        mask_profile(tree, **{"strategies": [RandomMask(ratio=0.5)], **arguments})


def test_profile_has_no_other_quantities(tree):
    profile = mask_profile(tree, [RandomMask(ratio=0.5)], ["availability"], n_masks=4)
    with pytest.raises(ValueError, match="the profile has no 'demand'"):
        profile.of_heights("demand")


def test_mask_profile_does_not_depend_on_how_many_masks_are_held_at_a_time(monkeypatch):
    tree = LatentGraph.from_edges(LatentGraph.tree(2, 3).edges, dims=1)
    coefficients = {name: [[0.8]] for name in tree.nodes if tree.parents(name)}
    oracle = GaussianOracle.from_parameters(
        tree, coefficients=coefficients, noise_scales=dict.fromkeys(tree.nodes, 0.6)
    )
    strategy = {"half": RandomMask(ratio=0.5)}
    whole = mask_profile(oracle, strategy, ["demand"], n_masks=20).table
    asked = []
    ladder = quantities.ladder_of_masks

    def counted(of, masks, **more):
        asked.append(len(masks))
        return ladder(of, masks, **more)

    monkeypatch.setattr(quantities, "ladder_of_masks", counted)
    monkeypatch.setattr(quantities, "_NUMBERS_AT_ONCE", 3 * tree.n_observed * 4)
    parts = mask_profile(oracle, strategy, ["demand"], n_masks=20).table
    assert asked == [3] * 6 + [2]
    np.testing.assert_allclose(parts["value"], whole["value"], rtol=1e-12)
    np.testing.assert_allclose(parts["error"], whole["error"], rtol=1e-9, atol=1e-15)
