"""The test of Theorem 2: predictions against ancestors by hand, codes that are known, verdicts on made-up records."""

import jax
import networkx as nx
import numpy as np
import pandas as pd
import pytest

from experiments import theorem2
from experiments.theorem2_cases import GRAPHS, MASKS, MECHANISMS, PHASE_MASKS, arms_of_graph
from hlvm.scoring import RegressionConfig
from hlvm.simulator import HierarchicalModel

QUICK = RegressionConfig(bandwidths=(1.0, 4.0), ridges=(1e-4, 1e-1), n_boot=50)


def common_ancestors(graph, masked):
    """By networkx, as in section 2 of docs/theory.md."""
    network = nx.DiGraph(graph.edges)
    visible = set(graph.observed) - set(masked)
    above = [set().union(*(nx.ancestors(network, name) for name in side)) for side in (masked, visible)]
    return above[0] & above[1]


@pytest.mark.parametrize("name", list(GRAPHS))
def test_predicted_c_is_the_common_ancestors(name):
    graph = GRAPHS[name]()
    right, wrong = (common_ancestors(graph, mask) for mask in MASKS[name])
    for members, about in zip((right, wrong), theorem2.predict(theorem2.LAPTOP)["graphs"][name], strict=True):
        assert about["members"] == sorted(members)
        assert about["d_c"] == sum(graph.noise_dims[graph.position(member)] for member in members)
    assert right != wrong
    assert len({about["d_c"] for about in theorem2.predict(theorem2.LAPTOP)["graphs"][name]}) == 1


def test_phase_masks_have_every_dim_from_2_to_6():
    graph = GRAPHS["tree"]()
    found = theorem2.predict(theorem2.LAPTOP)["phase"]
    for name, mask in PHASE_MASKS.items():
        members = common_ancestors(graph, mask)
        assert found[name]["d_c"] == sum(graph.noise_dims[graph.position(member)] for member in members)
    assert sorted(about["d_c"] for about in found.values()) == [2, 3, 4, 5, 6]
    assert {about["d_c"] + step for about in found.values() for step in (-1, 0, 1)} <= set(theorem2.LAPTOP.code_dims)


def test_arms_have_the_widths_that_they_are_named_for():
    widths = {arm.label: arm.code_dim for arm in arms_of_graph("quadtree")}
    assert widths == {"exact": 3, "too narrow": 2, "too wide": 5, "wrong mask": 3}


def test_two_way_scores_of_known_codes():
    """A bent copy passes both ways, a part only back, a code with something else only forward."""
    rng = np.random.default_rng(0)
    content, other = rng.normal(size=(600, 2)), rng.normal(size=(600, 2))
    bent = content + 0.3 * np.tanh(content[:, ::-1])
    both = theorem2.two_way(bent, content, 0, QUICK)
    assert min(both["code -> c"], both["c -> code"]) > 0.95
    assert both["verdict"] == 1
    part = theorem2.two_way(bent[:, :1] - bent[:, 1:], content, 0, QUICK)
    # Half of the variance of two independent numbers is told by their difference.
    assert part["code -> c"] == pytest.approx(0.5, abs=0.1)
    assert part["c -> code"] > 0.95
    assert part["verdict"] == -1
    wide = theorem2.two_way(np.hstack([content, other]), content, 0, QUICK)
    assert wide["code -> c"] > 0.95
    # Two of its four numbers are a function of the content.
    assert wide["c -> code"] == pytest.approx(0.5, abs=0.1)
    assert wide["verdict"] == -1


def _spread(spread, arm, score, seed):
    """Seeds differ in another way from one cell to the next, so that pairing does not take it away."""
    return spread * ((seed + len(arm) + len(score)) % 3 - 1)


def records(**changes):
    """What the predictions say, for one graph and one mask, with some scores replaced."""
    means = {
        ("exact", "code -> c"): 0.98,
        ("exact", "c -> code"): 0.97,
        ("untrained", "code -> c"): 0.4,
        ("untrained", "c -> code"): 0.4,
        ("too narrow", "code -> c"): 0.7,
        ("too narrow", "c -> code"): 0.97,
        ("exact", "worst direction"): 0.96,
        ("too narrow", "worst direction"): 0.5,
        ("exact", "loss"): 0.505,
        ("c itself", "loss"): 0.5,
        ("c itself, too narrow", "loss"): 0.6,
        ("too wide", "code -> c"): 0.97,
        ("too wide", "c -> code"): 0.6,
        ("wrong mask", "code -> c"): 0.5,
        ("wrong mask", "c -> code"): 0.5,
        ("wrong mask", "own c -> c"): 0.51,
        ("phase 2", "code -> c"): 0.6,
        ("phase 3", "code -> c"): 0.96,
        ("phase 4", "code -> c"): 0.96,
        ("phase 2", "c -> code"): 0.97,
        ("phase 3", "c -> code"): 0.97,
        ("phase 4", "c -> code"): 0.7,
        ("phase 3", "loss"): 0.505,
        ("phase c itself", "loss"): 0.5,
        ("phase c itself, too narrow", "loss"): 0.6,
    } | changes.pop("means", {})
    spread = changes.pop("spread", 0.002)
    rows = []
    for (arm, score), mean in means.items():
        about = {"part": "arms", "graph": "tree", "mechanism": "mlp", "arm": arm, "code_dim": 3}
        if arm.startswith("phase"):
            dim = arm.removeprefix("phase ")
            known = dim.startswith("c itself")
            about |= {"part": "phase", "mask": "quarter", "arm": dim if known else "quarter"}
            about |= {"code_dim": {"c itself": 3, "c itself, too narrow": 2}[dim] if known else int(dim)}
        rows += [about | {"seed": s, "score": score, "value": mean + _spread(spread, arm, score, s)} for s in range(3)]
    return pd.DataFrame(rows)


LIMITS = {"threshold": 0.9, "tolerance": 0.05, "plateau": 0.03, "drop": 0.1}
PREDICTION = LIMITS | {"graphs": {"tree": []}, "phase": {"quarter": {"d_c": 3}}}


def test_judge_agrees_with_records_as_predicted():
    claims = theorem2.judge(records(), PREDICTION)
    assert [claim.holds for claim in claims] == [True] * len(claims)
    assert all(claim.theory_agrees for claim in claims if claim.theory.says != "nothing")


@pytest.mark.parametrize(
    ("cell", "value", "text"),
    [
        (("exact", "c -> code"), 0.5, "exactly d_c"),
        (("untrained", "code -> c"), 0.95, "Training does it"),
        (("too narrow", "worst direction"), 0.95, "One number fewer"),
        (("too wide", "code -> c"), 0.8, "Two numbers more"),
        (("too wide", "code -> c"), 1.1, "Two numbers more"),
        (("phase 4", "code -> c"), 1.1, "numbers beyond d_c"),
        (("too wide", "c -> code"), 0.97, "no function of c"),
        (("wrong mask", "code -> c"), 0.97, "another mask"),
        (("wrong mask", "code -> c"), 0.7, "what the other mask's c' tells"),
        (("phase 2", "code -> c"), 1.1, "the last number before d_c"),
        (("phase 2", "c -> code"), 0.5, "at most d_c"),
        (("phase c itself, too narrow", "loss"), 0.4, "sees all of c"),
        (("exact", "loss"), 0.6, "reaches the optimum"),
        (("phase 3", "loss"), 0.6, "reaches the optimum"),
    ],
)
def test_judge_sees_what_is_not_as_predicted(cell, value, text):
    (found,) = [claim for claim in theorem2.judge(records(means={cell: value}), PREDICTION) if text in claim.text]
    assert found.holds is False
    assert found.theory_agrees is (None if found.theory.says == "nothing" else False)


def test_judge_leaves_open_what_seeds_do_not_decide():
    claims = theorem2.judge(records(spread=0.3), PREDICTION)
    assert claims[0].holds is None
    assert claims[0].paper_agrees is None


def test_figures_are_drawn_from_records_alone():
    figures = theorem2.draw(records(), PREDICTION)
    assert set(figures) == {"arms", "phase"}
    panels = figures["arms"].axes
    assert [axes.get_title() for axes in panels[:5]] == ["exact", "too narrow", "too wide", "wrong mask", "untrained"]
    drawn = [
        len(offsets) for axes in panels for each in axes.collections if np.ndim(offsets := each.get_offsets()) == 2
    ]
    assert sum(drawn) == len(records().query("part == 'arms' and score == 'code -> c'"))
    texts = [text.get_text() for axes in figures["phase"].axes for text in axes.texts]
    assert texts == ["0.60", "0.96", "0.96", "0.36", "0.00"]


def test_pairs_hold_c_beside_what_is_masked():
    graph = GRAPHS["tree"]()
    model = HierarchicalModel.init(jax.random.key(0), graph, MECHANISMS["mlp"])
    sample, masked = model.sample(jax.random.key(1), 5), PHASE_MASKS["quarter"]
    pairs = theorem2._pairs(sample, masked)
    columns = np.concatenate([sample.latents["z2_0"], sample.observed["x_0"], sample.observed["x_1"]], axis=1)
    np.testing.assert_array_equal(pairs.rows(np.arange(5)), columns)
