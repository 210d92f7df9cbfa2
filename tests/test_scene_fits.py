"""What is trained and compared in the experiments on scenes, and how codes are probed."""

import dataclasses
import itertools

import jax
import networkx as nx
import numpy as np
import pandas as pd
import pytest

from experiments.scene_comparisons import (
    arm_claim,
    comparisons,
    of_arm,
    paper_stance,
    series_of,
    shares_in_c,
    theory_stance,
)
from experiments.scene_fits import LAPTOP, SMOKE, SceneFits, arms, label, scene_model
from experiments.scene_probes import codes_of, crossed, label_of, linear_probe
from hlvm.claims import SILENT, no, nothing, yes
from hlvm.masking import RandomMask

MIXED = SceneFits(ratios=(0.5, 0.25), unit=2, ratio=0.5, units=(2, 1))


def test_arms_are_the_paper_s_and_none_comes_twice():
    found = [(arm["ratio"], arm["unit"]) for arm in arms(LAPTOP)]
    assert sorted(found) == [(0.1, 2), (0.25, 2), (0.5, 2), (0.75, 1), (0.75, 2), (0.75, 4), (0.9, 2)]
    assert len(arms(MIXED)) == 3
    assert label({"ratio": 0.75, "unit": 4}) == "ratio 0.75, unit 4"


def test_series_and_comparisons_use_only_what_is_trained():
    for config in (LAPTOP, SMOKE, MIXED):
        known = arms(config)
        series = series_of(config)
        assert all(arm in known for arm in (*series["ratio"], *series["unit"]))
        assert all(pair[arm] in known for pair in comparisons(config) for arm in ("ahead", "behind"))
    pairs = [(tuple(pair["ahead"].values()), tuple(pair["behind"].values())) for pair in comparisons(LAPTOP)]
    assert pairs == [
        ((0.75, 2), (0.1, 2)),
        ((0.75, 2), (0.9, 2)),
        ((0.75, 2), (0.75, 1)),
        ((0.75, 4), (0.75, 2)),
    ]


def test_intervals_over_replicates_need_two():
    with pytest.raises(ValueError, match="at least 2"):
        SceneFits(generators=1)
    with pytest.raises(ValueError, match="several generators or several seeds"):
        SceneFits(generators=2, seeds=2)


def test_replicates_are_laws_of_their_own_and_seeds_of_one_are_not():
    laws = [scene_model(LAPTOP, replicate) for replicate in range(LAPTOP.generators)]
    assert (laws[0].coupling, laws[0].context) == (LAPTOP.coupling, LAPTOP.context)
    couplings = {law.coupling for law in laws} | {law.context for law in laws}
    assert len(couplings) == 2 * len(laws)
    assert min(couplings) >= 0.5
    assert max(couplings) < 1
    assert {law.graph for law in laws} == {laws[0].graph}
    one = dataclasses.replace(LAPTOP, generators=1, seeds=4)
    assert scene_model(one, 3) == scene_model(one)


def test_objects_hidden_whole_share_the_class_and_not_their_shapes():
    """With units as large as objects no mask cuts one: what it shares with others is what is above it."""
    shares = shares_in_c(LAPTOP, [{"ratio": 0.75, "unit": 4}], ("class", "layout", "shape", "background"), 5)
    assert {row["latent"]: row["share"] for row in shares} == {"class": 1, "layout": 1, "shape": 0, "background": 1}


def test_shares_are_those_of_smallest_cuts_in_the_moral_graph():
    """Sizes of the cuts, mask by mask, by another algorithm."""
    config = dataclasses.replace(SMOKE, size=16, patch=8, objects=(1, 2))
    scenes, arm, n = scene_model(config), {"ratio": 0.5, "unit": 1}, 12
    graph = scenes.graph
    latents, patches = list(graph.latents), list(graph.observed)
    moral = nx.Graph(graph.edges)
    for node in latents + patches:
        moral.add_edges_from(itertools.combinations(graph.parents(node), 2))
    sizes = []
    for mask in np.asarray(RandomMask(**arm).sample(jax.random.key(config.key), n, graph)):
        flow = nx.DiGraph()
        for latent in latents:
            flow.add_edge((latent, "in"), (latent, "out"), capacity=graph.dim(latent))
        flow.add_edges_from(((patch, "in"), (patch, "out")) for patch in patches)  # no capacity: no limit
        for a, b in moral.edges:
            flow.add_edges_from([((a, "out"), (b, "in")), ((b, "out"), (a, "in"))])
        for patch, hidden in zip(patches, mask, strict=True):
            flow.add_edge(*(("source", (patch, "in")) if hidden else ((patch, "out"), "sink")))
        sizes.append(nx.minimum_cut_value(flow, "source", "sink"))
    rows = shares_in_c(config, [arm], tuple(scenes.factors), n)
    factors, names = scenes.factors, scenes.latents_of_factors
    mean = sum(row["share"] * len(names[row["latent"]]) * factors[row["latent"]].dim for row in rows)
    assert mean == pytest.approx(np.mean(sizes), abs=1e-3)


@pytest.mark.parametrize(("shift", "holds"), [(0.2, True), (-0.2, False), (0.0, False), (0.04, None)])
def test_one_arm_ahead_of_another(shift, holds):
    pair = comparisons(LAPTOP)[0]
    values = {0: (0.5, 0.53), 1: (0.4, 0.38), 2: (0.6, 0.62), 3: (0.5, 0.47)}
    rows = pd.DataFrame(
        [{**pair["behind"], "seed": seed, "value": behind} for seed, (behind, _) in values.items()]
        + [{**pair["ahead"], "seed": seed, "value": ahead + shift} for seed, (_, ahead) in values.items()]
    )
    claim = arm_claim(rows, pair, "It", paper=yes("2 against 1"), theory=no("less"))
    assert claim.scores["difference"].value == pytest.approx(shift)
    assert (claim.holds, claim.paper_agrees) == (holds, holds)
    assert claim.theory_agrees is (None if holds is None else not holds)
    assert arm_claim(rows, pair, "It").paper_agrees is None
    assert of_arm(rows, pair["behind"]).tolist() == [0.5, 0.4, 0.6, 0.5]


def test_what_paper_and_theory_say_of_a_comparison():
    pair = comparisons(LAPTOP)[1]
    assert paper_stance({"ratio": {0.75: 3.0, 0.9: 1.0}}, pair) == yes("3 against 1")
    assert paper_stance({"ratio": {0.75: 3.0}}, pair) == SILENT
    shares = [{**pair[arm], "latent": "class", "share": share} for arm, share in (("ahead", 0.2), ("behind", 0.7))]
    assert theory_stance({"shares": shares}, "class", pair) == no("class in c for 20% of masks against 70%")
    shares[1]["share"] = 0.21
    assert theory_stance({"shares": shares}, "class", pair) == nothing("class in c for 20% of masks against 21%")


@pytest.mark.slow
def test_crossed_cues_are_independent_of_each_other_and_of_the_class():
    scenes = scene_model(SMOKE)
    sample = crossed(scenes, jax.random.key(0), 4000)
    cues = [label_of(sample, name) for name in ("class", "shape", "texture")]
    for a, b in itertools.combinations(cues, 2):
        table = np.histogram2d(a, b, bins=(8, 8))[0]
        assert table.min() > 25  # 62.5 each
        assert table.max() < 110
    many = scene_model(LAPTOP)
    few = crossed(many, jax.random.key(0), 5)
    assert all((few.latents["shape_0"] == few.latents[f"shape_{i}"]).all() for i in range(4))


def test_linear_probe_reads_what_is_linear_and_nothing_else():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(1500, 6))
    linear = codes[:, :3].argmax(axis=1)  # each class is largest in one direction, as in multinomial regression
    probe = linear_probe(codes[:1000], linear[:1000])
    assert probe.score(codes[1000:], linear[1000:]) > 0.85
    parity = (codes[:, 0] * codes[:, 1] > 0).astype(int)
    assert abs(linear_probe(codes[:1000], parity[:1000]).score(codes[1000:], parity[1000:]) - 0.5) < 0.1


def test_codes_without_an_autoencoder_are_pixels():
    images = np.arange(2 * 4 * 4 * 3, dtype=np.float32).reshape(2, 4, 4, 3)
    assert codes_of(None, images).tolist() == [list(range(48)), list(range(48, 96))]
