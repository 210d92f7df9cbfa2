"""Studies: what is compared, predicted, trained, scored and kept, from any kind of data."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree

from hlvm import HierarchicalModel, LatentGraph, mae
from hlvm._files.digests import read_json, write_json
from hlvm.claims import ClaimConfig, Looks
from hlvm.datasets import Dataset
from hlvm.images import SceneImages
from hlvm.mae import BottleneckConfig, LossConfig, TrainConfig, ViTConfig
from hlvm.mae.networks.networks import unflatten
from hlvm.masking import BernoulliMask, FixedMask, RandomMask
from hlvm.mechanisms import AdditiveNoiseMLP, InvertibleMLP, LinearGaussian
from hlvm.scoring import RegressionConfig, kernel_r2, over_seeds
from hlvm.study import Comparison, Prediction, ScoreConfig, Study, design, load_study
from hlvm.study.comparisons import measured_differences
from hlvm.study.decisions import decide
from hlvm.study.measuring import Session, microbatch_of
from hlvm.study.planning import smallest_differences
from hlvm.study.prediction import predict_quantities
from hlvm.study.running import STATES
from hlvm.study.truth import generator_key, source_of
from hlvm.theory import mask_profile, membership_probability

GRAPH = LatentGraph.quadtree(1)
NETWORK = BottleneckConfig(code_dim=2, width=8, depth=1)
TRAIN = TrainConfig(steps=12, batch=16, warmup=2)
SCORE = ScoreConfig(rows=80)
MASKS = [RandomMask(ratio=0.25), RandomMask(ratio=0.75)]


def tiny(data: Any = GRAPH, *, networks: Any = NETWORK, **others: Any) -> Any:
    usual = {"masks": MASKS, "train": TRAIN, "seeds": 2, "score": SCORE}
    return Study(data, networks=networks, **(usual | others))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return tiny().run(0, out=tmp_path_factory.mktemp("study") / "tiny")


# ---------------------------------------------------------------------- arms


def test_arms_are_every_combination_with_names_that_differ():
    study = tiny(
        masks=[RandomMask(ratio=0.5), RandomMask(ratio=0.25, unit=(1, 2)), BernoulliMask(ratio=0.5)],
        networks=[NETWORK, ViTConfig()],
        losses=[LossConfig(), LossConfig(region="all")],
    )
    assert len(study.arms) == 12
    assert len({arm.name for arm in study.arms}) == 12
    assert study.arms[0].name == "random ratio=0.5 unit=1, bottleneck, region=masked"
    assert study.arms[4].columns["unit"] == "1 × 2"
    assert [arm.strategy for arm in study.arms[::4]] == ["random", "random", "bernoulli"]


@dataclasses.dataclass(frozen=True)
class First:
    """Hides the first cells."""

    cells: int = 1
    note: str = "the same"

    def sample(self, key, n, graph):
        return np.broadcast_to(np.arange(graph.n_observed) < self.cells, (n, graph.n_observed))


@dataclasses.dataclass(frozen=True)
class Named(First):
    name: str = "corner"


class Bare:
    """No dataclass, so that a name alone tells two of these."""

    def __init__(self, name=None):
        self.name = name

    def sample(self, key, n, graph):
        return First().sample(key, n, graph)


def test_arms_of_own_strategies_are_named_by_class_and_fields_that_differ_or_by_their_name():
    def names(*masks):
        return [arm.name for arm in tiny(masks=list(masks)).arms]

    assert names(First()) == ["First"]
    assert names(First(1), First(2), RandomMask(ratio=0.5)) == ["First cells=1", "First cells=2", "random"]
    assert names(First(1), Named(2), Bare("other")) == ["First", "corner", "other"]
    assert names(Named(1), Named(2), Named(2, name="edge")) == ["corner cells=1", "corner cells=2", "edge"]
    assert names(Bare("a"), Bare("b"), Bare()) == ["a", "b", "Bare"]
    assert [arm.strategy for arm in tiny(masks=[Named(1), First(2)]).arms] == ["Named", "First"]
    with pytest.raises(
        ValueError, match=r"masks: number 2 is the same as an earlier one: .* or give each an attribute name"
    ):
        names(First(1), First(1))
    with pytest.raises(ValueError, match=r"masks: number 2 is the same as an earlier one: leave it out$"):
        names(RandomMask(ratio=0.5), RandomMask(ratio=0.5))


def test_arms_of_a_strategy_without_ratio_tell_the_share_that_is_hidden():
    (arm,) = tiny(masks=[FixedMask(masked=("x_0_0",))]).arms
    assert (arm.ratio, arm.unit, arm.strategy) == (0.25, "", "fixed")


# ---------------------------------------------------------------------- prediction


def test_predict_equals_theory_and_goes_to_json_and_back():
    study = tiny()
    prediction = study.predict()
    for arm in study.arms:
        assert prediction.of_latents(arm.mask_name) == pytest.approx(membership_probability(GRAPH, arm.mask))
    back = Prediction.from_dict(json.loads(json.dumps(prediction.to_dict())))
    pd.testing.assert_frame_equal(back.latents, prediction.latents)
    pd.testing.assert_frame_equal(back.heights, prediction.heights)


def linear_model(seed=0):
    graph = LatentGraph.from_edges(LatentGraph.quadtree(2).edges, dims=1, grid=(4, 4))
    return HierarchicalModel.init(seed, graph, LinearGaussian())


def test_predict_asks_exact_oracles_where_there_are_any():
    study = tiny(linear_model())
    found = study.predict()
    name = study.arms[0].mask_name
    expected = mask_profile(study.data, {name: study.arms[0].mask}, ("availability", "demand"))
    assert found.quantity(name, "availability", "noise") == pytest.approx(
        expected.of_latents("availability", "noise").loc[name].to_dict()
    )
    assert found.quantity(name, "demand", latents=study.graph.latents) == pytest.approx(
        expected.of_heights("demand").loc[name].to_dict()
    )
    back = Prediction.from_dict(json.loads(json.dumps(found.to_dict())))
    pd.testing.assert_frame_equal(back.quantities, found.quantities)
    assert study.predict(quantities=False).quantities.empty
    assert tiny().predict().quantities.empty


def test_predict_averages_oracles_over_generators():
    study = tiny(lambda key: linear_model(key), generators=2)
    assert study.predict().quantities.empty  # without a key nobody knows which generators
    both = study.predict(3).quantities
    keys = [generator_key(jax.random.key(3), number) for number in range(2)]
    each = [predict_quantities([source_of(study.data, key)], {a.mask_name: a.mask for a in study.arms}) for key in keys]
    np.testing.assert_allclose(both["value"], (each[0]["value"] + each[1]["value"]) / 2)
    assert (both["error"] >= np.abs(each[0]["value"] - each[1]["value"]) / 2 - 1e-12).all()


def test_study_tells_and_draws_what_oracles_say(tmp_path):
    study = tiny(linear_model())
    found = study.run(0, out=tmp_path / "run")
    table = found.table("height")
    known = found.prediction
    for row in table.to_dict("records"):
        mask = next(arm.mask_name for arm in study.arms if arm.name == row["arm"])
        names = set(found.records["latent"])
        expected = known.quantity(mask, "availability", row["part"], names)[row["height"]]
        assert row["availability"] == pytest.approx(expected)
        assert row["demand"] == pytest.approx(known.quantity(mask, "demand", "", names)[row["height"]])
    pd.testing.assert_frame_equal(load_study(tmp_path / "run").table("height"), table)
    found.plot(predicted="demand")
    found.report(tmp_path / "page.html")
    assert "How much can be known, and how much is asked for" in (tmp_path / "page.html").read_text()
    assert tiny().run(0).table()["demand"].isna().all()


def test_prediction_of_a_height_is_that_of_the_latents_that_are_scored():
    """Cells below the first latent are hidden, below the first two, or below the third: the mean says otherwise."""
    graph = LatentGraph.quadtree(2)
    cells = {name: [cell for cell in graph.observed if graph.parents(cell) == (name,)] for name in graph.latents[1:]}
    first, second, third, _ = cells
    masks = [FixedMask(masked=tuple(cells[first][:2])), FixedMask(masked=tuple(cells[first][:2] + cells[second][:2]))]
    masks.append(FixedMask(masked=tuple(cells[third][:2])))
    study = tiny(graph, masks=masks, score=ScoreConfig(rows=80, latents=(first,)))
    prediction, names = study.predict(), [arm.mask_name for arm in study.arms]
    assert [prediction.of_heights(name)[1] for name in names] == [0.25, 0.5, 0.25]
    assert [prediction.of_heights(name, [first]) for name in names] == [{1: 1.0}, {1: 1.0}, {1: 0.0}]
    assert prediction.of_heights(names[0], graph.latents) == {1: 0.25, 2: 1.0}
    pairs = study.pairs(prediction, study.material(0, 0).targets)
    assert [pair.predicted for pair in pairs] == [0.0, 1.0, 1.0]
    table = tiny(graph, masks=masks[::2], score=study.score).run(0).table("height")
    assert table.groupby("arm", sort=False)["share_in_c"].unique().explode().tolist() == [1.0, 0.0]


def test_predict_gives_each_regime_that_the_dims_allow():
    both = tiny().predict()
    assert set(both.latents["regime"]) == {"invertible", "general"}
    narrow = LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 2, "x1": 1, "x2": 1})
    assert set(tiny(narrow, masks=[FixedMask(masked=("x1",))], regime="general").predict().latents["regime"]) == {
        "general"
    }


def test_regime_follows_from_the_mechanisms():
    noisy = HierarchicalModel.init(0, GRAPH, AdditiveNoiseMLP())
    assert tiny().regime == "invertible"
    assert tiny(noisy).regime == "general"
    assert tiny(noisy, regime="invertible").regime == "invertible"


# ---------------------------------------------------------------------- results


def test_run_scores_what_kernel_r2_scores(found):
    """The value in the table is that of the fit, encoded and scored by hand."""
    study, session = tiny(), Session(tiny(), 0)
    material = session.material(0)
    key = jax.random.fold_in(jax.random.key(0), 1)
    fits = mae.fit_ensemble(key, material.training, [arm.member(1) for arm in study.arms], TRAIN)
    sample = material.truth.observed
    row = found.records.query("arm == 'random ratio=0.75' and seed == 1 and part == 'noise' and latent == 'z1_0_0'")
    by_hand = kernel_r2(mae.encode(fits[1], sample, None), sample.noise["z1_0_0"], key=0, config=SCORE.regression)
    floor = kernel_r2(
        mae.encode(fits[1].untrained(), sample, None), sample.noise["z1_0_0"], key=0, config=SCORE.regression
    )
    ceiling = kernel_r2(sample.observed_matrix, sample.noise["z1_0_0"], key=0, config=SCORE.regression)
    assert row["value"].item() == pytest.approx(by_hand.value, abs=1e-4)  # programs of other ensembles round otherwise
    assert row["floor"].item() == pytest.approx(floor.value, abs=1e-6)
    assert row["ceiling"].item() == pytest.approx(ceiling.value, abs=1e-6)


def test_table_has_means_and_intervals_over_seeds(found):
    row = found.table().query("arm == 'random ratio=0.25' and part == 'noise'").iloc[0]
    of_seeds = found.records.query("arm == 'random ratio=0.25' and part == 'noise'")["value"]
    interval = over_seeds(of_seeds)
    assert (row["value"], row["low"], row["high"]) == pytest.approx((interval.value, interval.low, interval.high))
    assert (row["seeds"], row["generators"], row["share_in_c"]) == (2, 1, 1.0)
    assert np.isnan(row["var_between"])


def test_table_by_height_is_the_mean_over_latents():
    result = tiny(LatentGraph.quadtree(2), masks=[RandomMask(ratio=0.5)]).run(0)
    latents, heights = result.table("latent"), result.table("height")
    lowest = latents.query("height == 1 and part == 'value'")
    assert len(lowest) == 4
    assert heights.query("height == 1 and part == 'value'")["value"].item() == pytest.approx(lowest["value"].mean())
    with pytest.raises(ValueError, match='expected "latent" or "height"'):
        result.table("arm")


def test_table_goes_to_parquet_and_back_whatever_the_units(tmp_path):
    pytest.importorskip("pyarrow")
    masks = [RandomMask(ratio=0.5), RandomMask(ratio=0.5, unit=(1, 2)), FixedMask(masked=("x_0_0",))]
    table = tiny(masks=masks).run(0).table()
    assert list(dict.fromkeys(table["unit"])) == ["1", "1 × 2", ""]
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)


def test_rows_of_the_table_have_places_of_their_own(found):
    """So that they can be the index of an xarray."""
    assert found.table().set_index(["arm", "latent", "part"]).index.is_unique
    assert found.table("height").set_index(["arm", "height", "part"]).index.is_unique


def test_chance_is_near_zero_where_the_code_tells_much():
    result = tiny(masks=[RandomMask(ratio=0.5)], score=ScoreConfig(rows=400)).run(0)
    assert result.records["ceiling"].min() > 0.9
    assert result.records["chance"].abs().max() < 0.1


def test_run_of_several_generators_has_both_variances():
    result = tiny(masks=[RandomMask(ratio=0.5)], generators=3).run(0)
    table = result.table()
    assert set(result.records["generator"]) == {0, 1, 2}
    assert (table["generators"] == 3).all()
    assert (table["var_between"] >= 0).all()
    assert (table["var_within"] > 0).all()


def test_generators_draw_other_data_and_the_first_has_the_key_of_the_study():
    key = jax.random.key(3)
    assert generator_key(key, 0) is key
    session = Session(tiny(generators=2), 3)
    first, second = (session.material(g).truth.inputs for g in range(2))
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.5
    one = HierarchicalModel.init(jax.random.fold_in(key, 0), GRAPH, InvertibleMLP())
    drawn = one.sample(jax.random.fold_in(key, 2), 80).observed_matrix
    np.testing.assert_allclose(first, drawn, rtol=1e-5, atol=1e-6)


def test_a_list_holds_the_generators(tmp_path):
    """One of them as a file; data, oracles and regime are those of each, under the keys that drawn ones have."""
    first, second = linear_model(), linear_model(1)
    second.save(tmp_path / "second.npz")
    study = tiny([first, tmp_path / "second.npz"], masks=[RandomMask(ratio=0.5)], seeds=1)
    assert study.generators == 2
    session = Session(study, 3)
    for number, model in enumerate((first, second)):
        drawn = model.sample(jax.random.fold_in(generator_key(jax.random.key(3), number), 2), 80).observed_matrix
        np.testing.assert_allclose(session.material(number).truth.inputs, drawn, rtol=1e-5, atol=1e-6)
    masks = {arm.mask_name: arm.mask for arm in study.arms}
    each = [predict_quantities([model], masks)["value"] for model in (first, second)]
    np.testing.assert_allclose(study.predict().quantities["value"], (each[0] + each[1]) / 2)
    table = study.run(3).table()
    assert table["generators"].eq(2).all()
    bijection, noisy = (HierarchicalModel.init(0, GRAPH, made()) for made in (InvertibleMLP, AdditiveNoiseMLP))
    assert tiny([bijection, bijection]).regime == "invertible"
    assert tiny([bijection, noisy]).regime == "general"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "at least one"),
        ([GRAPH, GRAPH], "got a LatentGraph in it"),
        ([linear_model], "got a function in it"),
        ([HierarchicalModel], "got a type in it"),
    ],
)
def test_lists_that_are_no_generators_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        tiny(data)


def test_a_list_has_no_further_generators_to_decide_with():
    two = [linear_model(), linear_model(1)]
    with pytest.raises(ValueError, match="a list has none"):
        tiny(two).looks("decided", 8)
    with pytest.raises(ValueError, match="must be 2, as many as data lists"):
        tiny(two, generators=3)
    other = HierarchicalModel.init(0, LatentGraph.quadtree(1), InvertibleMLP())
    with pytest.raises(ValueError, match="generator 1 has another graph"):
        tiny([linear_model(), other]).run(0)


def test_run_of_a_function_that_makes_generators():
    def noisy(key):
        return HierarchicalModel.init(key, GRAPH, AdditiveNoiseMLP())

    result = tiny(noisy, masks=[RandomMask(ratio=0.5)], seeds=1, generators=2).run(0)
    assert result.prediction.regime == "general"
    assert result.table()["generators"].eq(2).all()


# ---------------------------------------------------------------------- own data


def own_images(n=400):
    rng = np.random.default_rng(0)
    latents = {name: rng.normal(size=(n, 1)) for name in ("top", "bottom", "left")}
    rows = [np.repeat(latents[name], 8, axis=1) for name in ("top", "bottom")]
    images = np.stack(rows, axis=1).repeat(4, axis=1)[..., None] / 8 + 0.5
    images[:, :, :4] += latents["left"][:, None, None] / 16
    graph = LatentGraph.from_edges(
        [
            (latent, cell)
            for latent, cells in {
                "top": ("x_0_0", "x_0_1"),
                "bottom": ("x_1_0", "x_1_1"),
                "left": ("x_0_0", "x_1_0"),
            }.items()
            for cell in cells
        ],
        dims={**dict.fromkeys(latents, 1), **{f"x_{i}_{j}": 16 for i in range(2) for j in range(2)}},
        grid=(2, 2),
    )
    return Dataset.from_arrays(images=np.clip(images, 0, 1), latents=latents, graph=graph)


def test_run_of_own_images_scores_rows_that_are_not_trained_on():
    study = tiny(own_images(), masks=[RandomMask(ratio=0.5)], score=ScoreConfig(rows=100))
    material: Any = Session(study, 0).material(0)
    assert len(material.training) == 300
    assert not set(material.training.positions) & set(material.truth.observed.positions)
    result = study.run(0)
    assert set(result.table()["part"]) == {"value"}
    assert set(result.table()["latent"]) == {"top", "bottom", "left"}
    assert result.records["ceiling"].min() > 0.9


def test_study_of_a_path_is_that_of_what_it_holds(tmp_path):
    model = HierarchicalModel.init(1, GRAPH, InvertibleMLP())
    model.save(tmp_path / "model.npz")
    by_path, itself = (Session(tiny(data), 0).material(0) for data in (tmp_path / "model.npz", model))
    np.testing.assert_array_equal(by_path.truth.inputs, itself.truth.inputs)
    GRAPH.save(tmp_path / "graph.json")
    assert tiny(str(tmp_path / "graph.json")).data == tiny(tmp_path / "graph.json", generators=2).data == GRAPH
    for name in ("no.npz", "no.json"):
        with pytest.raises(FileNotFoundError, match="no"):
            tiny(str(tmp_path / name))


def test_run_of_scenes_takes_the_accuracy_of_categories():
    scenes = SceneImages(size=16, patch=8, objects=(1, 1))
    score = ScoreConfig(rows=120, latents=("class", "shape_0"), parts=("value",))
    result = tiny(scenes, masks=[RandomMask(ratio=0.5)], score=score).run(0)
    table = result.table()
    assert set(table["score"]) == {"accuracy"}
    assert table[["value", "floor", "ceiling", "chance"]].min(axis=None) >= 0
    assert table["value"].max() <= 1


def test_masked_view_shows_the_encoder_what_the_arm_was_trained_on():
    study = tiny(masks=[FixedMask(masked=("x_0_0", "x_0_1"))], score=dataclasses.replace(SCORE, view="masked"))
    result = study.run(0)
    sample = Session(study, 0).material(0).truth.observed
    visible = np.concatenate([sample.observed[name] for name in ("x_1_0", "x_1_1")], axis=1)
    by_hand = kernel_r2(visible, sample.noise["z1_0_0"], key=0, config=SCORE.regression)
    assert result.records.query("part == 'noise'")["ceiling"].iloc[0] == pytest.approx(by_hand.value)


@pytest.mark.parametrize("representation", ["mean", "class", "tokens"])
def test_representation_is_what_was_asked_for(representation):
    network = ViTConfig(width=8, depth=1, heads=2, decoder_width=8)
    score = dataclasses.replace(SCORE, representation=representation)
    session = Session(tiny(masks=[RandomMask(ratio=0.5)], networks=network, score=score), 0)
    material = session.material(0)
    (fit,) = mae.fit_ensemble(
        0, material.training, [session.study.arms[0].member(0)], TrainConfig(steps=2, batch=8, warmup=0)
    )
    code = mae.encode(fit, material.truth.observed, None, pooling=representation)
    columns = np.asarray(code).reshape(80, -1)
    expected = kernel_r2(columns, material.truth.values["z1_0_0"], key=0, config=SCORE.regression)
    assert session.scorer(0).records(fit)[0]["value"] == pytest.approx(expected.value)


def test_records_say_whether_the_code_collapsed():
    network = BottleneckConfig(code_dim=6, width=16, depth=1)
    session = Session(tiny(masks=[RandomMask(ratio=0.5)], networks=network), 0)
    train = TrainConfig(steps=2, batch=8, warmup=0)
    (fit,) = mae.fit_ensemble(0, session.material(0).training, [session.study.arms[0].member(0)], train)
    params = unflatten(fit.built, fit.params)
    kernel = params["params"]["to_code"]["kernel"]

    def kinds(kernel):
        params["params"]["to_code"]["kernel"] = kernel
        changed = dataclasses.replace(fit, params=ravel_pytree(params)[0])
        return {record["collapsed"] for record in session.scorer(0).records(changed)}

    assert kinds(kernel) == {"none"}
    assert kinds(0 * kernel) == {"total"}
    assert kinds(kernel[:, :1] * np.linspace(0.5, 1.5, kernel.shape[1])) == {"dimensional"}
    lost = dataclasses.replace(fit, diverged=True)
    assert {record["collapsed"] for record in session.scorer(0).records(lost)} == {"none"}


def test_a_code_of_few_directions_that_learned_has_not_collapsed():
    session = Session(tiny(), 0)
    scorer, code = session.scorer(0), np.outer(np.arange(80.0), np.ones(6))
    nothing, something = np.zeros(3), np.array([0.0, 0.2, 0.0])
    assert scorer._collapse(code, 5.0, nothing) == "dimensional"
    assert scorer._collapse(code, 5.0, something) == "none"
    assert scorer._collapse(code, 1.2, nothing) == "none"  # no less than before training
    assert scorer._collapse(0 * code, 5.0, something) == "total"


# ---------------------------------------------------------------------- claims


def test_claims_are_drawn_for_every_pair_of_arms_of_one_network():
    study = tiny(
        LatentGraph.quadtree(2), masks=[RandomMask(ratio=r) for r in (0.25, 0.5, 0.75)], networks=[NETWORK, ViTConfig()]
    )
    pairs = study.pairs(study.predict(), study.material(0, 0).targets)
    assert len(pairs) == 2 * 3 * 2  # heights, pairs of masks, networks
    assert all(pair.predicted >= 0 for pair in pairs)


def test_decide_sees_what_holds_and_what_fails():
    """A measured table in the place of training: the direction that was predicted, its opposite, and no difference."""
    study = tiny(LatentGraph.quadtree(2), masks=[RandomMask(ratio=0.25, unit=u) for u in (1, 2)], seeds=4)
    pairs = study.pairs(study.predict(), study.material(0, 0).targets)
    (direction,) = (pair for pair in pairs if pair.height == 1)
    assert direction.first == "random unit=1"

    def outcome(lead):
        rows = [
            {"arm": arm, "generator": 0, "seed": seed, "latent": "z", "height": height, "part": "noise", "value": value}
            | {"score": "R²"}
            for height in (1, 2)
            for seed in range(4)
            for arm, value in (
                (direction.first, 0.5 + 0.001 * seed + (lead if height == 1 else 0.0)),
                (direction.second, 0.5 - 0.001 * seed),
            )
        ]
        return [claim.holds for claim in decide(pairs, pd.DataFrame(rows), ClaimConfig()).values()]

    assert outcome(0.2) == [True, True]
    assert outcome(-0.2) == [False, True]


def test_pairs_compare_means_of_one_score_only():
    """Of scenes a height holds categories, whose accuracy is taken, and numbers: their means are no one thing."""
    scenes = SceneImages(size=16, patch=8, objects=(1, 1))
    study = tiny(scenes, score=ScoreConfig(rows=80, parts=("value",), per_height=None))
    pairs = study.pairs(study.predict(), study.material(0, 0).targets)
    lowest = [pair for pair in pairs if pair.height == 1]
    assert {pair.score for pair in lowest} == {"R²", "accuracy"}
    assert len({pair.name for pair in pairs}) == len(pairs)
    records = pd.DataFrame(
        {"arm": arm, "generator": 0, "seed": seed, "latent": latent, "height": 1, "part": "value"}
        | {"score": score, "value": value * (arm == lowest[0].first)}
        for arm in (lowest[0].first, lowest[0].second)
        for seed in range(2)
        for latent, score, value in (("a", "R²", 0.5), ("b", "accuracy", 0.1))
    )
    found = measured_differences(lowest, records)
    assert {pair.score: found[pair.name][0].tolist() for pair in lowest} == {"R²": [0.5] * 2, "accuracy": [0.1] * 2}


def test_claim_that_is_open_stays_in_the_family_if_a_later_seed_diverges():
    study = tiny(LatentGraph.quadtree(1), masks=[RandomMask(ratio=r) for r in (0.25, 0.5)], seeds=2)
    (pair,) = study.pairs(study.predict(), study.material(0, 0).targets)
    looks = Looks(seeds=(2, 4))

    def records(seeds, lost=()):
        return pd.DataFrame(
            {"arm": arm, "generator": 0, "seed": seed, "latent": "z", "height": 1, "part": "noise", "score": "R²"}
            | {"value": np.nan if seed in lost else 0.5 + 0.3 * seed * (arm == pair.first)}
            for arm in (pair.first, pair.second)
            for seed in range(seeds)
        )

    first = decide([pair], records(2), ClaimConfig(), looks=looks)
    assert first[pair.name].holds is None
    second = decide([pair], records(4, lost=[3]), ClaimConfig(), looks=looks, before=first)
    assert second[pair.name].holds is None
    assert second[pair.name].scores == first[pair.name].scores


def test_own_comparison_is_decided_beside_the_drawn_ones():
    claim = Comparison(more={"ratio": 0.25}, less={"ratio": 0.75}, height=1, text="fewer hidden cells find more")
    result = tiny(claims=[claim]).run(0)
    first = result.claims()[0]
    assert first.text == "fewer hidden cells find more"
    assert first.theory.says == "nothing"
    differences = result.records.query("part == 'noise'").pivot_table(index="seed", columns="arm", values="value")
    mean = (differences["random ratio=0.25"] - differences["random ratio=0.75"]).mean()
    assert next(iter(first.scores.values())).value == pytest.approx(mean)


def test_diverged_fits_are_named_and_left_out():
    wild = TrainConfig(steps=60, batch=16, warmup=0, learning_rate=1e12, clip_norm=1e30)
    with pytest.warns(mae.DivergenceWarning, match="4 of 4 diverged"):
        result = tiny(train=wild).run(0)
    assert len(result.diverged) == 4
    assert result.records["value"].isna().all()
    assert result.table()["value"].isna().all()
    assert result.table()["seeds"].eq(0).all()
    assert result.claims() == ()


def test_own_comparisons_of_values_and_noises_are_told_apart(monkeypatch):
    fake = FakeScores(dict(zip(STAGED, (0.5, 0.7, 0.9), strict=True)), 0.01)

    def measure(session, group, **others):
        found = fake(session, group, **others)
        values = [{**one, "part": "value", "value": one["value"] ** 2} for one in found["records"]]
        return found | {"records": found["records"] + values}

    monkeypatch.setattr(Session, "measure", measure)
    claims = [
        Comparison(more={"ratio": 0.75}, less={"ratio": 0.25}, height=1, part=part) for part in ("noise", "value")
    ]
    of_noise, of_value = tiny(claims=claims, seeds=4).run(0).own_claims
    ((name, noise),), ((other, value),) = of_noise.scores.items(), of_value.scores.items()
    assert name != other
    assert (noise.value, value.value) == pytest.approx((0.4, 0.56), abs=0.05)


def test_own_comparison_of_what_is_not_scored_is_refused(monkeypatch):
    """Data sets do not know what enters at their latents."""
    monkeypatch.setattr(Session, "measure", lambda *_, **__: pytest.fail("it trained"))
    claim = Comparison(more={"ratio": 0.25}, less={"ratio": 0.75}, height=1)
    with pytest.raises(ValueError, match='Comparison: part must be "value": noise is not scored'):
        tiny(own_images(), claims=[claim]).run(0)


def test_own_comparison_of_an_arm_that_diverged_is_left_out(monkeypatch):
    claim = Comparison(more={"ratio": 0.75}, less={"ratio": 0.25}, height=1)
    means = (math.nan, 0.7, 0.9)
    _, result, _ = staged(monkeypatch, means, 0.01, claims=[claim])
    assert result.own_claims == ()
    assert len(result.claims()) == 1


# ---------------------------------------------------------------------- stages


class FakeScores:
    """Scores of a trainer that is not there: means of arms and noise of seeds, paired by seed."""

    def __init__(self, means, sd):
        self.means, self.sd, self.measured = means, sd, []

    def __call__(self, session, group, **_):
        rng = np.random.default_rng
        self.measured.append((tuple(group["arms"]), tuple(group["seeds"])))
        records = [
            {
                "arm": arm,
                "generator": group["generator"],
                "seed": seed,
                "latent": "z1_0_0",
                "height": 1,
                "part": "noise",
                "score": "R²",
                "value": self.means[arm] + self.sd * rng([seed, group["generator"], *arm.encode()]).normal(),
                "floor": 0.1,
                "ceiling": 0.9,
                "chance": 0.0,
            }
            for arm in group["arms"]
            for seed in group["seeds"]
        ]
        losses = [
            {"arm": arm, "generator": group["generator"], "seed": seed, "step": [1], "loss": [1.0], "diverged": False}
            for arm in group["arms"]
            for seed in group["seeds"]
        ]
        return {"records": records, "losses": losses, "pictures": [], "seconds": {"train": 0.0, "score": 0.0}}


STAGED = dict.fromkeys(["random ratio=0.25", "random ratio=0.5", "random ratio=0.75"])


def staged(monkeypatch, means, sd, *, claims=(), **run):
    fake = FakeScores(dict(zip(STAGED, means, strict=True)), sd)
    monkeypatch.setattr(Session, "measure", lambda *given, **others: fake(*given, **others))
    study = tiny(masks=[RandomMask(ratio=r) for r in (0.25, 0.5, 0.75)], seeds=4, claims=claims)
    return study, study.run(0, **run), fake


def test_run_until_decided_stops_when_all_is_decided(monkeypatch):
    _, result, fake = staged(monkeypatch, (0.5, 0.5, 0.5), 0.001, until="decided")
    assert [claim.holds for claim in result.claims()] == [True, True, True]
    assert result.stages == [{"seeds": 4, "generators": 1, "arms": 3, "open": 0}]
    assert {seeds for _, seeds in fake.measured} == {(0, 1, 2, 3)}


def test_run_until_decided_trains_more_seeds_of_open_arms_only(monkeypatch, tmp_path):
    """The third arm is far from both others, which differ by about the margin."""
    _, result, fake = staged(monkeypatch, (0.5, 0.527, 0.9), 0.01, until="decided", out=tmp_path / "out")
    first, *others = result.stages
    assert (first["arms"], first["open"]) == (3, 1)
    assert [stage["seeds"] for stage in others] == [8, 16][: len(others)]
    assert all(stage["arms"] == 2 for stage in others)
    late = {arm for arms, seeds in fake.measured if seeds[0] >= 4 for arm in arms}
    assert late == {"random ratio=0.25", "random ratio=0.5"}
    assert result.table().set_index("arm")["seeds"]["random ratio=0.75"] == 4
    again = load_study(tmp_path / "out")
    assert again.stages == result.stages
    assert again.claims() == result.claims()


def test_run_until_decided_keeps_out_what_the_first_look_left_out(monkeypatch):
    """A seed diverges: with the fifth, its arm has as many differences as the first look wanted."""
    fake = FakeScores(dict(zip(STAGED, (0.5, 0.51, 0.9), strict=True)), 0.03)

    def measure(session, group, **others):
        found = fake(session, group, **others)
        for one in found["records"]:
            if (one["arm"], one["seed"]) == ("random ratio=0.25", 0):
                one["value"] = math.nan
        return found

    monkeypatch.setattr(Session, "measure", measure)
    claim = Comparison(more={"ratio": 0.5}, less={"ratio": 0.25}, height=1)
    study = tiny(masks=[RandomMask(ratio=r) for r in (0.25, 0.5, 0.75)], seeds=4, claims=[claim])
    result = study.run(0, until="decided", most=5)
    assert [stage["seeds"] for stage in result.stages] == [4, 5]
    assert list(result.drawn) == ["height 1: random ratio=0.5 − random ratio=0.75"]


def test_run_until_decided_draws_more_generators_where_there_are_several(monkeypatch):
    fake = FakeScores(dict(zip(STAGED, (0.5, 0.527, 0.9), strict=True)), 0.01)
    monkeypatch.setattr(Session, "measure", lambda *given, **others: fake(*given, **others))
    study = tiny(masks=[RandomMask(ratio=r) for r in (0.25, 0.5, 0.75)], generators=3)
    result = study.run(0, until="decided", most=6)
    assert [stage["generators"] for stage in result.stages] == [3, 6]
    table = result.table().set_index("arm")
    assert table["generators"].to_dict() == dict(zip(STAGED, (6, 6, 3), strict=True))
    assert set(table["seeds"]) == {2}


def test_needed_says_what_open_claims_would_take(monkeypatch):
    _, result, _ = staged(monkeypatch, (0.5, 0.7, 0.9), 0.06)
    (row,) = result.needed().to_dict("records")
    assert row["claim"].endswith("random ratio=0.25 − random ratio=0.5")
    assert row["seeds_needed"] > 4


def test_needed_is_empty_where_nothing_is_open(monkeypatch):
    _, decided, _ = staged(monkeypatch, (0.5, 0.5, 0.5), 0.001)
    assert len(decided.drawn) == 3
    assert decided.needed().empty
    assert dataclasses.replace(decided, drawn={}, pairs=()).needed().empty


def test_power_of_a_pilot_grows_with_seeds(monkeypatch):
    study, pilot, _ = staged(monkeypatch, (0.5, 0.5, 0.5), 0.02)
    few, many = (np.asarray(tiny(masks=study.masks, seeds=seeds).power(pilot)["decided"]) for seeds in (4, 64))
    assert bool(np.all(many > few))
    assert many.min() > 0.8
    with pytest.raises(ValueError, match="must have all arms"):
        tiny(masks=[RandomMask(ratio=0.4, unit=1)]).power(pilot)


def test_power_of_a_pilot_of_values_alone(monkeypatch):
    """Data sets do not know what enters at their latents."""
    fake = FakeScores(dict(zip(STAGED, (0.5, 0.51, 0.52), strict=True)), 0.02)

    def measure(session, group, **others):
        found = fake(session, group, **others)
        return found | {"records": [one | {"latent": "top", "part": "value"} for one in found["records"]]}

    monkeypatch.setattr(Session, "measure", measure)
    study = tiny(own_images(), masks=[RandomMask(ratio=r) for r in (0.25, 0.5, 0.75)], seeds=4)
    pilot = study.run(0)
    assert list(study.power(pilot)["claim"]) == list(pilot.drawn)


def test_plan_counts_programs_scores_and_what_is_decided():
    study = tiny(networks=[NETWORK, dataclasses.replace(NETWORK, width=9)])
    plan = study.plan(0)
    assert len(plan.training.programs) == 2
    parts = [plan.training.compiling.cpu_seconds, plan.training.training.cpu_seconds, plan.scoring.cpu_seconds]
    assert plan.cpu_seconds >= sum(parts) > 0
    assert plan.claims == len(study.pairs(study.predict(), study.material(0, 0).targets))
    assert plan.decides["difference"].is_monotonic_increasing
    assert "one family: 2. Of these 2 say that two arms find the same, and 0 which of two finds more" in str(plan)
    assert f"0.01: that two arms find the same, with a chance of {plan.decides['alike'][1]:.0%}\n" in str(plan)


def test_plan_says_which_kinds_of_claims_can_be_decided():
    masks = [RandomMask(ratio=0.5), RandomMask(ratio=0.5, unit=2)]
    study = Study(LatentGraph.quadtree(2), masks=masks, networks=NETWORK, train=TRAIN, seeds=3, score=SCORE)
    predicted = {pair.height: pair.predicted for pair in study.pairs(study.predict(), study.material(0, 0).targets)}
    assert predicted[1] > study.claim_config.apart >= predicted[2]
    plan = study.plan(0)
    assert (plan.claims, plan.directions) == (2, 1)
    assert "one family: 2. Of these 1 say that two arms find the same, and 1 which of two finds more" in str(plan)
    row = plan.decides.iloc[0]
    assert f"with a chance of {row['alike']:.0%}; which finds more, from {row['difference']:.3f} on with" in str(plan)
    assert "visible tokens" not in str(plan)  # there are none


VIT = ViTConfig(width=8, depth=1, heads=2, decoder_width=8)


def test_plan_says_whether_visible_tokens_are_padded():
    """Few steps cost less than another program, very many do not."""
    short, long = (tiny(networks=VIT, train=dataclasses.replace(TRAIN, steps=steps)) for steps in (12, 10**7))
    assert (short.pads(GRAPH), short.programs(GRAPH)) == (True, [[0, 1]])
    assert (long.pads(GRAPH), long.programs(GRAPH)) == (False, [[0], [1]])
    plan = short.plan(0)
    assert (plan.pad, plan.saved, len(plan.training.programs)) == (True, 1, 1)
    assert "padded into one program, which saves 1 program: at 12 steps" in str(plan)
    assert "one program per number of visible tokens: at 12 steps" in str(dataclasses.replace(plan, pad=False))


@pytest.mark.slow
def test_run_pads_visible_tokens_and_finds_the_same(tmp_path, monkeypatch):
    study = tiny(networks=VIT)
    padded = study.run(0, out=tmp_path / "padded")
    described = json.loads((tmp_path / "padded" / "study.json").read_text())
    assert described["pad"] is True
    assert len(list((tmp_path / "padded" / "groups").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Session, "measure", lambda *_, **__: pytest.fail("it trained again"))
        again = tiny(networks=VIT).run(0, out=tmp_path / "padded", resume=True)
    pd.testing.assert_frame_equal(again.records, padded.records)
    monkeypatch.setattr(design, "worth_padding", lambda *_, **__: False)
    own = tiny(networks=VIT).run(0, out=tmp_path / "own")
    plain = json.loads((tmp_path / "own" / "study.json").read_text())
    assert {name for name in {*described, *plain} if described.get(name) != plain.get(name)} == {"pad", "digest"}
    assert "pad" not in plain
    assert len(list((tmp_path / "own" / "groups").iterdir())) == 2
    pd.testing.assert_frame_equal(padded.table(), own.table(), check_exact=False, rtol=0, atol=1e-4)


def test_smallest_differences_are_found_with_the_chance_that_is_said():
    """Against a simulation of Student's test at the level of the first step of Holm's procedure."""
    config, seeds, claims = ClaimConfig(), 4, 10
    row = smallest_differences(claims, config, seeds=seeds).iloc[1]
    rng = np.random.default_rng(0)
    drawn = row["difference"] + row["sd"] * rng.normal(size=(20_000, seeds))
    statistic = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(seeds))
    found = (statistic > scipy.stats.t.isf(config.error / claims, seeds - 1)).mean()
    assert found == pytest.approx(0.8, abs=0.015)  # five standard errors
    assert smallest_differences(0, config, seeds=4).empty


def test_run_until_decided_refuses(monkeypatch):
    monkeypatch.setattr(Session, "measure", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(ValueError, match="most must be above the seeds=2"):
        tiny().run(0, until="decided", most=2)
    with pytest.raises(ValueError, match='until must be "decided"'):
        tiny().run(0, until="sure")
    with pytest.raises(ValueError, match="until needs intervals, or nothing is decided"):
        tiny(score=dataclasses.replace(SCORE, intervals=False)).run(0, until="decided")


# ---------------------------------------------------------------------- files


def test_load_study_reads_what_run_found(found, tmp_path):
    folder = tmp_path / "copy"
    study = tiny()
    study.run(0, out=folder)
    read = load_study(folder)
    pd.testing.assert_frame_equal(read.table(), found.table())
    assert read.claims() == found.claims()
    assert not (folder / STATES).exists()
    fits = [fit for group in sorted((folder / "fits").iterdir()) for fit in mae.load_fits(group)]
    assert len(fits) == 4


def test_run_resumes_without_doing_again_what_is_done(found, tmp_path, monkeypatch):
    folder = tmp_path / "stopped"
    study = tiny(
        masks=[FixedMask(masked=(name,)) for name in ("x_0_0", "x_1_1")], networks=[NETWORK, ViTConfig(width=8)]
    )
    whole = study.run(0, out=tmp_path / "whole")
    study.run(0, out=folder)
    (folder / "results.json").unlink()
    groups = sorted((folder / "groups").iterdir())
    assert len(groups) == 2
    groups[0].unlink()
    measured = []
    measure = Session.measure

    def counting(self, group, **others):
        measured.append(group)
        return measure(self, group, **others)

    monkeypatch.setattr(Session, "measure", counting)
    again = study.run(0, out=folder, resume=True)
    assert len(measured) == 1
    pd.testing.assert_frame_equal(again.records, whole.records)
    study.run(0, out=folder, resume=True)
    assert len(measured) == 1


def test_run_that_is_interrupted_keeps_groups_that_are_done(tmp_path, monkeypatch):
    networks = [dataclasses.replace(NETWORK, width=width) for width in (8, 9)]
    study = tiny(masks=[RandomMask(ratio=0.5)], networks=networks)
    whole = study.run(0, out=tmp_path / "whole")
    measure, first_is_done = Session.measure, threading.Event()

    def interrupted(self, group, **others):
        if "width=9" in group["arms"][0]:
            first_is_done.wait()
            raise KeyboardInterrupt
        result = measure(self, group, **others)
        first_is_done.set()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Session, "measure", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study.run(0, out=tmp_path / "cut")
    assert len(list((tmp_path / "cut" / "groups").iterdir())) == 1
    pd.testing.assert_frame_equal(study.run(0, out=tmp_path / "cut", resume=True).table(), whole.table())


@pytest.mark.slow
def test_run_with_workers_of_this_machine_finds_the_same(tmp_path):
    """In a process that computes as workers do: one thread for each device."""
    program = f"""
import sys
import threading
from pathlib import Path
from hlvm import LatentGraph, mae
from hlvm.masking import RandomMask
from hlvm.study import ScoreConfig, Study
if __name__ == "__main__":
    devices = mae.one_device_per_core()
    study = Study(
        LatentGraph.quadtree(1),
        masks=[RandomMask(ratio=0.25), RandomMask(ratio=0.75)],
        networks=[mae.BottleneckConfig(code_dim=2, width=width, depth=1) for width in (8, 9)],
        train=mae.TrainConfig(steps=12, batch=16, warmup=2),
        seeds=2,
        score=ScoreConfig(rows=80),
    )
    out = Path({str(tmp_path)!r})
    here = study.run(0, out=out / "here", devices=devices[:1])
    there = study.run(0, out=out / "there", scheduler="local")
    assert here.records.equals(there.records), (here.records, there.records)
"""
    (tmp_path / "program.py").write_text(program)
    subprocess.run([sys.executable, tmp_path / "program.py"], check=True, cwd=Path(__file__).parent.parent)


def test_run_tells_that_it_goes_on_with_fewer_devices(monkeypatch, tmp_path):
    out = tmp_path / "out"
    staged(monkeypatch, (0.5, 0.7, 0.9), 0.01, out=out)
    assert read_json(out / "study.json")["devices"] == len(jax.devices())
    write_json(out / "study.json", {**read_json(out / "study.json"), "devices": 99})
    shutil.rmtree(out / "groups")
    with pytest.warns(UserWarning, match="started on 99 devices"):
        staged(monkeypatch, (0.5, 0.7, 0.9), 0.01, out=out, resume=True)
    assert load_study(out).settings == staged(monkeypatch, (0.5, 0.7, 0.9), 0.01)[1].settings


def test_microbatch_divides_what_a_device_has():
    vit = [mae.Member(mask=MASKS[0], network=ViTConfig(), seed=seed) for seed in range(3)]
    assert microbatch_of(vit, 64, None) == 16
    assert microbatch_of(vit, 24, None) == 8
    assert microbatch_of(vit, 16, None) is None
    assert microbatch_of([mae.Member(mask=MASKS[0], network=NETWORK)], 64, None) is None


def test_run_writes_the_prediction_before_it_trains(tmp_path, monkeypatch):
    seen = []

    def measure(self, group, **others):
        written = json.loads((tmp_path / "out" / "prediction.json").read_text())
        seen.append(len(written["pairs"]) == 1 and written["regime"] == "invertible")
        raise RuntimeError("no training")

    monkeypatch.setattr(Session, "measure", measure)
    with pytest.raises(RuntimeError, match="no training"):
        tiny().run(0, out=tmp_path / "out")
    assert seen
    assert all(seen)


def test_run_refuses_the_folder_of_another_study(tmp_path):
    tiny(masks=[RandomMask(ratio=0.5)]).run(0, out=tmp_path / "out")
    with pytest.raises(ValueError, match="holds a study already"):
        tiny(masks=[RandomMask(ratio=0.5)]).run(0, out=tmp_path / "out")
    with pytest.raises(ValueError, match="another study, which differs in seeds"):
        tiny(masks=[RandomMask(ratio=0.5)], seeds=3).run(0, out=tmp_path / "out", resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with pytest.raises(FileExistsError, match="exists already"):
        tiny().run(0, out=tmp_path / "other")


def test_load_study_tells_what_is_no_finished_study(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_study(tmp_path / "no")
    with pytest.raises(ValueError, match="holds no study"):
        load_study(tmp_path)
    tiny(masks=[RandomMask(ratio=0.5)]).run(0, out=tmp_path / "out")
    (tmp_path / "out" / "results.json").unlink()
    with pytest.raises(ValueError, match="not finished"):
        load_study(tmp_path / "out")


def test_damaged_group_is_measured_again(found, tmp_path):
    folder = tmp_path / "out"
    tiny().run(0, out=folder)
    (folder / "results.json").unlink()
    (group,) = (folder / "groups").iterdir()
    group.write_text(group.read_text().replace("0.", "1.", 1))
    shutil.rmtree(folder / "fits")
    pd.testing.assert_frame_equal(tiny().run(0, out=folder, resume=True).records, found.records)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"masks": []}, "masks: a study needs at least one"),
        ({"masks": [RandomMask(ratio=0.5)] * 2}, "masks: number 2 is the same"),
        ({"masks": [RandomMask(ratio=0.01)]}, "rounds to"),
        ({"masks": [RandomMask(ratio=0.5, unit=3)]}, "unit"),
        ({"seeds": 1}, "seeds of 1 leaves no interval: use at least 2, or set intervals=False"),
        ({"seeds": 0}, "seeds must be a whole number of at least 1"),
        ({"data": own_images(), "generators": 2}, "give a graph, a list of generators, or a function"),
        ({"score": ScoreConfig(latents=("z9",))}, "must be latents of the data, got 'z9'; known are z1_0_0"),
        ({"score": ScoreConfig(representation="code"), "networks": ViTConfig()}, "has no code of its own"),
        ({"regime": "linear"}, 'regime: expected "invertible"'),
        ({"data": np.zeros((10, 4))}, "has no graph"),
        ({"claims": [Comparison(more={"ratio": 0.3}, less={"ratio": 0.75}, height=1)]}, "more must name one arm"),
        (
            {"claims": [Comparison(more={"ratio": 0.25}, less={"ratio": 0.75}, height=5)]},
            "height must be scored, got 5",
        ),
    ],
)
def test_run_refuses_before_it_trains(given, words, monkeypatch):
    monkeypatch.setattr(Session, "measure", lambda *_, **__: pytest.fail("it trained"))
    with pytest.raises(ValueError, match=words):
        tiny(**given).run(0)


def test_run_refuses_a_latent_that_does_not_vary(monkeypatch):
    monkeypatch.setattr(Session, "measure", lambda *_, **__: pytest.fail("it trained"))
    data = own_images()
    latents = {**data.latents, "left": np.zeros((len(data), 1))}
    same = Dataset.from_arrays(images=np.asarray(data.images), latents=latents, graph=data.graph)
    with pytest.raises(ValueError, match="latent 'left' is the same in all samples to score on: leave 'left' out"):
        tiny(same).run(0)


def test_run_refuses_rows_that_are_not_finite(monkeypatch):
    monkeypatch.setattr(Session, "measure", lambda *_, **__: pytest.fail("it trained"))
    data = own_images()
    data.latents["top"][:] = np.nan
    with pytest.raises(ValueError, match="latents 'top' has values that are not finite in 80 of 80 rows"):
        tiny(data, masks=[RandomMask(ratio=0.5)]).run(0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"representation": "max"}, "representation must be one of mean"),
        ({"view": "half"}, "view must be one of whole"),
        ({"parts": ("noises",)}, "parts must be some of value, noise"),
        ({"per_height": 0}, "per_height must be a whole number of at least 1"),
        ({"rows": 10}, "rows must be at least 40"),
    ],
)
def test_score_config_refuses(given, words):
    with pytest.raises(ValueError, match=words):
        ScoreConfig(**given)


def test_comparison_refuses_neither_or_both():
    with pytest.raises(ValueError, match="give height or latent"):
        Comparison(more={}, less={})


def test_claim_config_margin_is_that_of_the_study():
    study = tiny(claim_config=ClaimConfig(margin=0.2))
    assert study.run(0).claims()[-1].limits != tiny().run(0).claims()[-1].limits


def test_regression_of_scores_can_be_given():
    score = dataclasses.replace(SCORE, regression=RegressionConfig(bandwidths=(1.0,), ridges=(0.1,), n_boot=2))
    other = tiny(masks=[RandomMask(ratio=0.5)], score=score).run(0)
    assert not other.records["value"].equals(tiny(masks=[RandomMask(ratio=0.5)]).run(0).records["value"])
