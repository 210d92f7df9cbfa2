"""Encoders from outside in studies, and batches of an arm for training loops of the user's own."""

import json
import math
import sys

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA

from hlvm import HierarchicalModel, LatentGraph, mae
from hlvm._numbers import UsageError
from hlvm.datasets import Dataset
from hlvm.encoders import wrap
from hlvm.images import QuadtreeImages
from hlvm.mae import BottleneckConfig, LinearConfig, TrainConfig
from hlvm.masking import RandomMask
from hlvm.mechanisms import LinearGaussian
from hlvm.plotting.study_curves import BEST_LABEL
from hlvm.scoring import kernel_r2
from hlvm.study import Batches, Comparison, ScoreConfig, Study, load_study, measuring
from hlvm.study.comparisons import Pair, measured_differences
from hlvm.study.measuring import Session
from hlvm.study.scores import ALL_SEEDS

GRAPH = LatentGraph.quadtree(1)
MODEL = HierarchicalModel.init(0, GRAPH, LinearGaussian())
MASKS = [RandomMask(ratio=0.25), RandomMask(ratio=0.75)]
NETWORK = BottleneckConfig(code_dim=2, width=8, depth=1)
TRAIN = TrainConfig(steps=6, batch=16, warmup=2)
SCORE = ScoreConfig(rows=80)
CELLS = {name: (4 * np.arange(600)[:, None] + i).astype(np.float64) for i, name in enumerate(GRAPH.observed)}
"""Values that tell which row they are of."""


def tiny(data=MODEL, **others):
    usual = {"masks": MASKS, "networks": NETWORK, "train": TRAIN, "seeds": 2, "score": SCORE}
    return Study(data, **(usual | others))


def two(rows):
    return rows[:, :2]


def table_data(**parts):
    """A data set whose graph has one number per observed variable."""
    graph = LatentGraph.from_edges(GRAPH.edges, dims=1, grid=(2, 2))
    latents = {"z1_0_0": np.random.default_rng(0).normal(size=(600, 1))}
    return Dataset.from_arrays(observed=CELLS, latents=latents, graph=graph, **parts)


# ---------------------------------------------------------------------- batches


class Asked:
    """A strategy that is known by drawing only."""

    def sample(self, key, n, graph):
        return MASKS[0].sample(key, n, graph)


@pytest.mark.parametrize("data", [MODEL, table_data()], ids=["generator", "rows"])
@pytest.mark.parametrize("mask", [MASKS[1], Asked()], ids=["counted", "drawn"])
def test_batches_are_those_of_own_training(data, mask):
    """The loss of the first two steps, taken by hand from what the batches hold."""
    study = tiny(data, masks=[mask], networks=LinearConfig(code_dim=2), train=TrainConfig(steps=2, batch=16, warmup=0))
    session, batches = Session(study, 3), study.batches(3, seed=1)
    _, source, _, train = session.ensemble({"generator": 0, "arms": [study.arms[0].name], "seeds": [1]})
    fit = mae.fit_ensemble(
        session.ensemble({"generator": 0, "arms": [], "seeds": []}).key, source, [study.arms[0].member(1)], train
    )[0]
    np.testing.assert_allclose(batches.shift, fit.shift, rtol=1e-6)
    np.testing.assert_allclose(batches.scale, fit.scale, rtol=1e-6)
    values, masked = batches[0]
    raw = values * batches.scale + batches.shift
    made = (np.asarray(mae.reconstruct(fit.untrained(), raw, masked)) - batches.shift) / batches.scale
    hidden = masked[:, study.graph.arrays.cell_of_column]
    errors = np.where(hidden, (made - values) ** 2, 0).sum(axis=1) / hidden.sum(axis=1)
    assert fit.losses[0] == pytest.approx(errors.mean(), rel=1e-3)


def test_batches_follow_from_key_generator_seed_and_step_alone():
    study = tiny(GRAPH, generators=2)
    name = study.arms[1].name
    first = study.batches(0, name)
    values, masked = first[3]
    assert isinstance(first, Batches)
    assert (len(first), values.shape, values.dtype, masked.shape) == (6, (16, 12), np.float32, (16, 4))
    assert (masked.sum(axis=1) == 3).all()
    again = list(study.batches(jax.random.key(0), name))[3]
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.masked, masked)
    others = [study.batches(1, name), study.batches(0, name, seed=1), study.batches(0, name, generator=1)]
    assert all(np.abs(other[3].values - values).max() > 0.1 for other in others)
    np.testing.assert_array_equal(study.batches(0, study.arms[0].name)[3].values, values)  # arms are paired
    assert np.abs(first[7].values - values).max() > 0.1  # beyond the end as well
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 0.0


def test_batches_of_a_data_set_never_hold_what_is_scored_or_held_out():
    train = TrainConfig(steps=60, batch=16, warmup=2, held_out=50)
    study = tiny(table_data(), train=train, score=ScoreConfig(rows=100))
    batches = study.batches(0, study.arms[0].name, units="own")
    seen = {round(value / 4) for values, _ in batches for value in values[:, 0].tolist()}
    of_score = {round(value / 4) for value in study.material(0, 0).truth.inputs[:, 0].tolist()}
    assert len(of_score) == 100
    assert not seen & of_score
    assert len(seen) == 450  # all but those of the score and those held out
    assert {round(value / 4) for value in batches.rows()[:, 0].tolist()} == seen


def test_batches_are_in_standard_units_or_in_those_of_the_data():
    study = tiny()
    standard, own = (study.batches(0, study.arms[0].name, units=units) for units in ("standard", "own"))
    np.testing.assert_allclose(own[2].values, standard[2].values * own.scale + own.shift, rtol=1e-5, atol=1e-5)
    rows = standard.rows(4000)
    assert rows.shape == (4000, 12)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=0.1)
    np.testing.assert_array_equal(standard.rows(16), standard[0].values)
    assert standard.rows().shape == (6 * 16, 12)


def test_batches_of_images_are_images():
    study = tiny(QuadtreeImages.init(0, height=1), networks=NETWORK)
    images, rows = (
        study.batches(0, study.arms[0].name, sees=sees, units="own")[1].values for sees in ("images", "rows")
    )
    truth = study.material(0, 0).truth
    assert images.shape[1:] == truth.images.shape[1:]
    np.testing.assert_array_equal(np.asarray(mae.rows_of_images(images, study.material(0, 0).graph)), rows)
    assert 0 <= images.min() < images.max() <= 1
    masked = np.arange(16 * 4).reshape(16, 4) % 3 == 0
    batches = study.batches(0, study.arms[0].name, sees="images")
    painted = np.asarray(mae.rows_of_images(batches.hidden(masked).astype(np.float32), study.material(0, 0).graph))
    np.testing.assert_array_equal(painted, masked[:, study.material(0, 0).graph.arrays.cell_of_column])


def test_batches_and_encoders_work_under_strict_flags():
    study = tiny(masks=MASKS[:1])
    plain = [study.batches(0, units=units)[1].values for units in ("standard", "own")]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"), np.errstate(all="raise"):
        for units, values in zip(("standard", "own"), plain, strict=True):
            np.testing.assert_array_equal(study.batches(0, units=units)[1].values, values)
        study.run(0, encoders={"PCA": wrap(PCA(2), fit=True)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "nobody"}, r"arm must be one of 'random ratio=0\.25', 'random ratio=0\.75', got 'nobody'"),
        ({}, "arm must be one of .* got ''"),
        ({"arm": "random ratio=0.25", "generator": 1}, "generator must be below 1, got 1"),
        ({"arm": "random ratio=0.25", "seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"arm": "random ratio=0.25", "sees": "images"}, 'sees must be "rows": the data are no images'),
        ({"arm": "random ratio=0.25", "sees": "pixels"}, 'sees must be "rows" or "images", got \'pixels\''),
    ],
)
def test_batches_refuse(options, message):
    with pytest.raises(UsageError, match=message):
        tiny().batches(0, **options)


def test_batches_say_that_pytorch_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"torch needs PyTorch: pip install 'hlvm\[torch\]'"):
        tiny(masks=MASKS[:1]).batches(0).torch()


def test_batches_are_tensors_over_the_same_memory():
    torch = pytest.importorskip("torch")
    batches = tiny(masks=MASKS[:1]).batches(0)
    tensors = batches.torch()
    assert isinstance(batches[1].values, np.ndarray)
    values, masked = tensors[1]
    assert (values.dtype, masked.dtype) == (torch.float32, torch.bool)
    np.testing.assert_array_equal(values.numpy(), batches[1].values)
    np.testing.assert_array_equal(masked.numpy(), batches[1].masked)
    np.testing.assert_array_equal(batches.hidden(masked).numpy(), batches.hidden(batches[1].masked))
    drawn, given = tensors._drawn, []
    tensors._drawn = lambda step: given.append(drawn(step)) or given[-1]
    for tensor, array in zip(tensors[2], given[0], strict=True):
        assert tensor.data_ptr() == array.unsafe_buffer_pointer()


# ---------------------------------------------------------------------- scores


@pytest.fixture(scope="module")
def study():
    first, second = ({"arm": "two"}, {"ratio": 0.25})
    return tiny(claims=[Comparison(more=first, less=second, height=1)])


@pytest.fixture(scope="module")
def encoders():
    return {
        "two": two,
        "with floor": wrap(two, floor=lambda rows: rows[:, :1], units="own"),
        "PCA": wrap(PCA(2), fit=True),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study") / "with encoders"


@pytest.fixture(scope="module")
def found(study, encoders, folder):
    return study.run(0, out=folder, encoders=encoders)


def test_run_scores_encoders_on_the_samples_of_the_arms(study, found):
    """The value in the table is that of the code, scored by hand; ceiling and chance are those of the arms."""
    rows = found.records.query("part == 'noise' and latent == 'z1_0_0'").set_index(["arm", "seed"])
    sample = study.material(0, 0).truth.observed
    how = {"latents": sample.noise["z1_0_0"], "key": 0, "config": SCORE.regression}
    by_hand = kernel_r2(np.asarray(sample.observed_matrix)[:, :2], **how)
    floor = kernel_r2(np.asarray(sample.observed_matrix)[:, :1], **how)
    assert rows.loc[("two", ALL_SEEDS), "value"] == pytest.approx(by_hand.value, abs=1e-5)
    assert rows.loc[("with floor", ALL_SEEDS), "value"] == pytest.approx(by_hand.value, abs=1e-5)
    assert rows.loc[("with floor", ALL_SEEDS), "floor"] == pytest.approx(floor.value, abs=1e-5)
    assert math.isnan(rows.loc[("two", ALL_SEEDS), "floor"])
    assert rows["ceiling"].nunique() == 1
    assert abs(rows.loc[("two", ALL_SEEDS), "chance"]) < 0.2


def test_run_fits_a_transformer_on_what_each_seed_trains_on(study, found):
    sample = study.material(0, 0).truth.observed
    batches = study.batches(0, study.arms[0].name, seed=1)
    code = (
        PCA(2, random_state=1).fit(batches.rows()).transform((sample.observed_matrix - batches.shift) / batches.scale)
    )
    by_hand = kernel_r2(code, sample.noise["z1_0_0"], key=0, config=SCORE.regression)
    row = found.records.query("arm == 'PCA' and seed == 1 and part == 'noise' and latent == 'z1_0_0'")
    assert row["value"].item() == pytest.approx(by_hand.value, abs=1e-4)


def test_table_has_a_row_for_encoders_and_says_that_they_have_one_seed(found):
    table = found.table("height").query("part == 'noise' and height == 1").set_index("arm")
    assert list(table.index) == [*("random ratio=0.25", "random ratio=0.75"), "two", "with floor", "PCA"]
    assert table.loc[["two", "with floor", "PCA"], "seeds"].tolist() == [1, 1, 2]
    assert table.loc[["two", "with floor", "PCA"], "network"].tolist() == ["function", "function", "scikit-learn"]
    assert table.loc["two", ["low", "high", "floor", "share_in_c", "ratio"]].isna().all()
    assert table.loc["PCA", "low"] < table.loc["PCA", "value"] < table.loc["PCA", "high"]
    assert [one["floor"].partition(":")[0] for one in found.encoders] == ["missing", "before training", "missing"]


def test_claims_pair_an_encoder_without_seeds_with_all_seeds_of_an_arm(found):
    own, *drawn = found.claims()
    assert own.theory.reason == "nothing is predicted of this difference"
    (name,) = own.scores
    values = found.records.query("part == 'noise' and height == 1").set_index(["arm", "seed"])["value"]
    differences = values.loc[("two", ALL_SEEDS)] - values.loc["random ratio=0.25"]
    assert own.scores[name].value == pytest.approx(differences.mean())
    assert own.scores[name].low < differences.min() < differences.max() < own.scores[name].high
    assert len(drawn) == 1  # of the two arms: none of an encoder


def test_measured_differences_of_two_encoders_without_seeds_are_one_per_generator():
    rows = [
        {
            "arm": arm,
            "generator": g,
            "seed": ALL_SEEDS,
            "latent": "z",
            "height": 1,
            "part": "noise",
            "score": "R²",
            "value": v,
        }
        for arm, of in {"a": (0.5, 0.7), "b": (0.25, 0.5)}.items()
        for g, v in enumerate(of)
    ]
    rows += [
        {**rows[0], "arm": "c", "generator": g, "seed": seed, "value": 0.1 * seed} for g in (0, 1) for seed in (0, 1)
    ]
    pairs = [
        Pair(name=f"{a} − {b}", first=a, second=b, height=1, latent=None, part="noise", score="R²", predicted=None)
        for a, b in (("a", "b"), ("a", "c"), ("c", "b"))
    ]
    found = measured_differences(pairs, pd.DataFrame(rows))
    assert [of.tolist() for of in found["a − b"]] == [[0.25], pytest.approx([0.2])]
    assert [of.tolist() for of in found["a − c"]] == [pytest.approx([0.5, 0.4]), pytest.approx([0.7, 0.6])]
    assert [of.tolist() for of in found["c − b"]] == [pytest.approx([-0.25, -0.15]), pytest.approx([-0.5, -0.4])]


def test_load_study_shows_encoders(found, folder):
    again = load_study(folder)
    pd.testing.assert_frame_equal(again.table(), found.table())
    assert [dict(one) for one in again.encoders] == [dict(one) for one in found.encoders]
    assert [claim.to_dict() for claim in again.claims()] == [claim.to_dict() for claim in found.claims()]


def test_run_keeps_records_of_encoders_that_are_not_given_again(study, encoders, found, folder, monkeypatch):
    def untouched(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr(measuring.mae, "fit_ensemble", untouched)
    monkeypatch.setattr("hlvm.study.scores.kernel_r2_many", untouched)
    for given in (None, encoders, {"two": two}):
        pd.testing.assert_frame_equal(
            study.run(0, out=folder, resume=True, encoders=given)
            .table()
            .sort_values(["arm", "part"], ignore_index=True),
            found.table().sort_values(["arm", "part"], ignore_index=True),
        )


def test_run_scores_an_encoder_again_that_is_another_one_now(study, found, folder, monkeypatch):
    monkeypatch.setattr(measuring.mae, "fit_ensemble", None)
    changed = study.run(0, out=folder, resume=True, encoders={"two": lambda rows: rows[:, 2:6]})
    values = [of.records.query("arm == 'two'")["value"].to_numpy() for of in (found, changed)]
    assert np.abs(values[0] - values[1]).max() > 1e-3
    study.run(0, out=folder, resume=True, encoders={"two": two})  # as others find it


def test_run_tells_that_kept_scores_of_an_encoder_are_damaged(tmp_path):
    study = tiny(masks=MASKS[:1])
    study.run(0, out=tmp_path / "run", encoders={"two": two, "three": lambda rows: rows[:, :3]})
    (file, other) = (tmp_path / "run" / "groups").glob("e*.json")
    file.write_text(file.read_text().replace("0.", "1."))
    with pytest.warns(UserWarning, match=r"scores of an encoder are left out: .* is damaged"):
        left = study.run(0, out=tmp_path / "run", resume=True)
    assert [one["arm"] for one in left.encoders] == [json.loads(other.read_text())["group"]["encoder"]]


def test_study_folder_without_encoders_does_not_mention_them(tmp_path):
    tiny(masks=MASKS[:1]).run(0, out=tmp_path / "plain")
    assert "encoders" not in json.loads((tmp_path / "plain" / "results.json").read_text())
    assert load_study(tmp_path / "plain").encoders == ()


def test_pictures_of_a_study_leave_encoders_to_the_layout_by_arm(found, tmp_path):
    found.plot()
    figure = found.plot(layout="arms")
    assert "with floor" in [label.get_text() for label in figure.axes[0].get_yticklabels()]
    (ringed,) = [line for line in figure.axes[0].lines if line.get_gid() == BEST_LABEL]
    assert sorted(ringed.get_ydata()) == [0, 1]  # the arms, which are not told apart: of encoders nothing is told
    found.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Encoders from outside" in page
    assert "cannot be re-initialised" in page


# ---------------------------------------------------------------------- kinds of studies


def test_seeds_that_change_nothing_are_one():
    """PCA of the rows of a data set is the same for every seed."""
    study = tiny(table_data(), masks=MASKS[:1])
    result = study.run(0, encoders={"PCA": wrap(PCA(2), fit=True)})
    assert result.records.query("arm == 'PCA'")["seed"].unique().tolist() == [ALL_SEEDS]
    assert result.table().query("arm == 'PCA'")["seeds"].unique().tolist() == [1]


def test_run_takes_a_list_with_an_encoder_per_seed():
    result = tiny(masks=MASKS[:1]).run(0, encoders={"mine": [two, lambda rows: rows[:, 3:5]]})
    rows = result.records.query("arm == 'mine' and part == 'noise'")
    assert rows["seed"].tolist() == [0, 1]
    assert rows["value"].nunique() == 2


@pytest.mark.parametrize("view", ["whole", "masked"])
def test_run_scores_own_fits_as_encoders_as_it_scores_them_as_arms(view):
    """The same code by both ways: value, floor, ceiling and chance agree."""
    study = tiny(masks=MASKS[1:], score=ScoreConfig(rows=80, view=view))
    session, arm = Session(study, 0), study.arms[0]
    group = measuring.Group(generator=0, arms=[arm.name], seeds=[0, 1])
    fits = mae.fit_ensemble(*session.ensemble(group))

    def of(fit):
        return lambda rows, masked=None: mae.encode(fit, rows, masked)

    own = [wrap(of(fit), units="own", floor=of(fit.untrained()), mask=arm.mask) for fit in fits]
    records = study.run(0, encoders={"again": own}).records.set_index(["arm", "seed", "part"])
    numbers = ["value", "floor", "ceiling", "chance"]
    np.testing.assert_allclose(records.loc["again", numbers], records.loc[arm.name, numbers], atol=2e-3)


def test_run_fits_encoders_for_every_generator():
    seen = []

    def train(batches):
        seen.append((batches.generator, batches.seed, batches[0].masked.sum()))
        return wrap(two, name="another name")

    study = tiny(GRAPH, masks=MASKS[:1], generators=2)
    result = study.run(0, encoders=[wrap(train, name="mine", fit=True, mask=MASKS[1])])
    assert [one[:2] for one in seen] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {one[2] for one in seen} == {3 * 16}
    table = result.table().query("arm == 'mine'")
    assert table["generators"].tolist() == [2] * len(table)
    assert np.isfinite(table["low"]).all()


def test_run_hides_from_encoders_what_a_masked_study_hides():
    study = tiny(masks=MASKS[:1], seeds=4, score=ScoreConfig(rows=80, view="masked"))
    given = []

    def noted(rows, masked):
        given.append((rows.copy(), masked.copy()))
        return rows[:, ::3]  # one of each cell

    encoders = {
        "mine": wrap(noted, mask=MASKS[1]),
        "own": wrap(noted, mask=MASKS[1], units="own"),
        "PCA": wrap(PCA(2), fit=True, mask=MASKS[1]),
    }
    result = study.run(0, encoders=encoders)
    whole = [(rows, masked) for rows, masked in given if len(rows) == 80]
    columns = study.graph.arrays.cell_of_column
    for number, (rows, masked) in enumerate(whole):
        assert masked.shape == (80, 4)
        assert (masked.sum(axis=1) == 3).all()
        hidden = rows[:, masked[0][columns]]
        assert not np.ptp(hidden, axis=0).any()
        assert (np.abs(hidden).max() == 0) == (number < 4)  # the mean, in the units that were asked for
    assert result.records.query("arm == 'mine' and part == 'noise'")["seed"].tolist() == [0, 1, 2, 3]
    assert result.records.query("seed == 1 and part == 'noise'")["ceiling"].max() < 0.9


def test_run_until_decided_scores_encoders_at_every_look():
    claim = Comparison(more={"arm": "mine"}, less={"ratio": 0.25}, height=1)
    study = tiny(masks=MASKS[:1], claims=[claim])
    result = study.run(0, until="decided", most=4, encoders={"mine": wrap(PCA(2), fit=True)})
    seeds = result.records.query("arm == 'mine'")["seed"].nunique()
    assert seeds == result.stages[-1]["seeds"]


def test_run_gives_images_to_encoders_that_see_them():
    shapes = set()

    def light(images):
        shapes.add(images.shape[1:])
        return images.mean(axis=(1, 2))

    study = tiny(QuadtreeImages.init(0, height=1), masks=MASKS[:1])
    study.run(0, encoders={"light": wrap(light, sees="images")})
    assert shapes == {study.material(0, 0).truth.images.shape[1:]}


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        ({"random ratio=0.25": two}, "encoders must have names that no other arm has, got 'random ratio=0.25' twice"),
        ([wrap(two), wrap(two)], "encoders must have names that no other arm has, got 'two' twice"),
        ({"": two}, "encoders must be a dict of names and encoders, .* got ''"),
        ({"mine": []}, "encoders must be a dict of names and encoders"),
        (two, "encoders must be a dict, name -> encoder, got a function"),
        ({"mine": np.ones((80, 2))}, "encoder must be a function of an array, .* got a ndarray"),
        ({"mine": PCA(2)}, "encoder 'mine' is a PCA that is not fitted"),
        ({"mine": [two, two, two]}, "encoder 'mine' has 3 encoders, one per seed, for 2 seeds of 1 generator: give"),
        ({"mine": lambda rows: rows[1:]}, r"'mine' must give one row per sample, .* shape \(2, 12\) of generator 0"),
        ({"mine": lambda rows: rows * np.nan}, "encoder 'mine' gives NaN or infinite numbers in 2 of 2 rows"),
        (
            {"mine": lambda rows: 1 / 0},
            r"encoder 'mine' fails on inputs of shape \(2, 12\) of generator 0: ZeroDivision",
        ),
        ({"mine": wrap(two, sees="images")}, "encoder 'mine' sees images, and the data have none"),
    ],
)
def test_run_refuses_encoders_before_anything_is_trained_or_written(encoders, message, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring.mae, "fit_ensemble", None)
    with pytest.raises(UsageError, match=message):
        tiny().run(0, encoders=encoders, out=tmp_path / "run")
    assert not (tmp_path / "run" / "study.json").exists()


def test_run_refuses_encoders_of_whole_samples_in_a_masked_study():
    with pytest.raises(UsageError, match=r"encoder 'mine' has no mask strategy, .*: give mask= to wrap, or use view="):
        tiny(score=ScoreConfig(rows=80, view="masked")).run(0, encoders={"mine": two})


def test_run_says_on_which_generator_fitting_fails(monkeypatch):
    monkeypatch.setattr(measuring.mae, "fit_ensemble", None)

    def failing(batches):
        raise RuntimeError("no\nmemory")

    message = r"encoder 'mine' could not be fitted on Batches\(6 of 16, generator 0, seed 0\): RuntimeError: no memory"
    with pytest.raises(UsageError, match=message):
        tiny().run(0, encoders={"mine": wrap(failing, fit=True)})


def test_run_refuses_claims_about_encoders_that_are_not_given():
    with pytest.raises(UsageError, match=r"more must name one arm by its columns .* got \{'arm': 'mine'\}"):
        tiny(claims=[Comparison(more={"arm": "mine"}, less={"ratio": 0.25}, height=1)]).run(0)
