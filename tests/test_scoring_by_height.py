"""Tidy records of every latent, score and control."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from hlvm.encoders import wrap
from hlvm.scoring import (
    RegressionConfig,
    by_height,
    cca,
    kernel_r2,
    linear_r2,
    mlp_r2,
    normalised_r2,
    paired_difference,
    r2_over_seeds,
    score_by_height,
)

SMALL = RegressionConfig(max_train=100, n_boot=50, bandwidths=(1.0, 2.0), ridges=(1e-2, 1.0))
RNG = np.random.default_rng(0)
LATENTS = {"a": RNG.normal(size=(200, 2)), "b": RNG.normal(size=200)}
HEIGHTS = {"a": 2, "b": 1}
CODES = {f"seed {i}": np.column_stack([LATENTS["a"] @ RNG.normal(size=(2, 2)), RNG.normal(size=200)]) for i in range(2)}
FLOORS = {name: RNG.normal(size=(200, 3)) for name in CODES}
VISIBLE = np.column_stack([LATENTS["a"], LATENTS["b"]]) @ RNG.normal(size=(3, 5))


def test_score_by_height_holds_every_score_beside_its_controls_and_the_prediction():
    table = score_by_height(
        CODES,
        LATENTS,
        heights=HEIGHTS,
        predicted={"a": True, "b": False},
        of="value",
        floors=FLOORS,
        ceiling=VISIBLE,
        scores=("kernel_r2", "linear_r2", "mlp_r2", "cca"),
        key=3,
        config=SMALL,
    )
    index = ["fit", "latent", "score", "control"]
    assert not table.duplicated(index).any()
    # 2 fits × 2 latents × (4 scores × 4 columns of results + kernel R² above the floor and normalised)
    assert len(table) == 2 * 2 * (4 * 4 + 2)
    assert set(zip(table["latent"], table["height"], table["dim"], table["predicted"], strict=True)) == {
        ("a", 2, 2, 1.0),
        ("b", 1, 1, 0.0),
    }
    rows = table.set_index(index).sort_index()
    code = CODES["seed 1"]
    score, floor, ceiling = (kernel_r2(x, LATENTS["a"], key=3, config=SMALL) for x in (code, FLOORS["seed 1"], VISIBLE))
    place = normalised_r2(score, floor=floor, ceiling=ceiling, key=3, n_boot=500)
    expected = {
        ("kernel_r2", "none"): score.interval,
        ("kernel_r2", "floor"): floor.interval,
        ("kernel_r2", "ceiling"): ceiling.interval,
        ("kernel_r2", "above_floor"): paired_difference(score, floor, key=3, n_boot=500),
        ("kernel_r2", "normalised"): place,
        ("linear_r2", "none"): linear_r2(code, LATENTS["a"], key=3, config=SMALL).interval,
        ("mlp_r2", "none"): mlp_r2(code, LATENTS["a"], key=3, config=SMALL).interval,
    }
    for (name, control), interval in expected.items():
        found = rows.loc[("seed 1", "a", name, control), ["value", "low", "high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(found, dataclasses.astuple(interval), atol=1e-9)
    assert rows.loc[("seed 1", "a", "cca", "none"), "value"] == pytest.approx(cca(code, LATENTS["a"]).mean)
    assert abs(rows.loc[("seed 1", "a", "kernel_r2", "chance"), "value"]) < 0.1


def test_score_by_height_of_an_ensemble_has_the_mean_over_its_fits():
    more = CODES | {"seed 2": LATENTS["a"]}
    table = score_by_height(
        more,
        LATENTS | {"dead": np.ones(200)},
        heights=HEIGHTS | {"dead": 3},
        floors=FLOORS,
        ceiling=VISIBLE,
        ensembles={"two seeds": list(CODES), "three": list(more)},
        scores=("kernel_r2", "cca"),
        key=3,
        config=SMALL,
    ).set_index(["fit", "latent", "score", "control"])
    scores = [kernel_r2(code, LATENTS["a"], key=3, config=SMALL) for code in more.values()]
    for name, fits in (("two seeds", scores[:2]), ("three", scores)):
        found = table.loc[(name, "a", "kernel_r2", "none"), ["value", "low", "high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(found, dataclasses.astuple(r2_over_seeds(fits, key=3)), atol=1e-9)
    assert set(table.loc["two seeds"].index.get_level_values("control")) == {"none", "floor", "chance"}
    assert set(table.loc["three"].index.get_level_values("control")) == {"none", "chance"}  # one fit has no floor
    assert set(table.loc["three"].index.get_level_values("score")) == {"kernel_r2"}
    assert np.isnan(table.loc[("three", "dead", "kernel_r2", "none"), "value"])


def test_score_by_height_scores_a_floor_that_fits_share_once(monkeypatch):
    scored = []
    whole = by_height.kernel_r2_many
    monkeypatch.setattr(by_height, "kernel_r2_many", lambda code, *a, **k: scored.append(code) or whole(code, *a, **k))
    floor = FLOORS["seed 0"]
    options = {"scores": ("kernel_r2",), "chance": False, "key": 0, "config": SMALL}
    shared = score_by_height(CODES, LATENTS, heights=HEIGHTS, floors=dict.fromkeys(CODES, floor), **options)
    assert len(scored) == 2 + 1
    apart = score_by_height(CODES, LATENTS, heights=HEIGHTS, floors={fit: floor.copy() for fit in CODES}, **options)
    assert len(scored) == 3 + 4
    pd.testing.assert_frame_equal(shared, apart)


def test_score_by_height_leaves_out_what_was_not_given():
    table = score_by_height(CODES, LATENTS, heights=HEIGHTS, scores=("cca",), chance=False, key=0)
    assert set(table["control"]) == {"none"}
    assert "predicted" not in table
    assert len(table) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"representations": {}}, "at least one representation"),
        ({"heights": {"a": 1}}, "heights: expected an entry for every latent, got none for b"),
        ({"predicted": {"a": 1.0, "b": 1.0}}, 'of: expected "noise" for what enters'),
        ({"predicted": {"b": 1.0}, "of": "value"}, "predicted: expected an entry for every latent, got none for a"),
        ({"floors": {"seed 7": VISIBLE}}, "floors: expected names of representations, got seed 7"),
        ({"ensembles": {"all": ["seed 0"]}}, "ensembles: expected a new name and at least 2 different"),
        ({"ensembles": {"all": ["seed 0", "seed 7"]}}, "got all: seed 0, seed 7"),
        ({"ensembles": {"seed 0": ["seed 0", "seed 1"]}}, "ensembles: expected a new name"),
        ({"scores": ("r2",)}, "scores: expected some of kernel_r2"),
    ],
)
def test_score_by_height_bad_input_is_refused(changes, message):
    arguments = {"representations": CODES, "latents": LATENTS, "heights": HEIGHTS, "key": 0} | changes
    with pytest.raises(ValueError, match=message):
        score_by_height(arguments.pop("representations"), arguments.pop("latents"), **arguments)


def test_score_by_height_takes_encoders_beside_codes():
    z = np.random.default_rng(0).normal(size=(200, 3))
    latents, heights = {"a": z[:, 0], "b": z[:, 1]}, {"a": 2, "b": 1}
    codes = {"first": z[:, :1], "two": z[:, :2]}
    encoders = {
        "first": lambda rows: rows[:, :1],
        "two": wrap(lambda rows: rows[:, :2], floor=lambda rows: rows[:, 2:]),
    }
    how = {"heights": heights, "key": 0, "scores": ["kernel_r2"]}
    by_codes = score_by_height(codes, latents, floors={"two": z[:, 2:]}, **how)
    mixed = score_by_height({**encoders, "first": codes["first"]}, latents, inputs=z, **how)
    np.testing.assert_allclose(
        score_by_height(encoders, latents, inputs=z, **how)["value"], by_codes["value"], atol=1e-5
    )
    np.testing.assert_allclose(mixed["value"], by_codes["value"], atol=1e-5)
    assert mixed.query("control == 'floor'")["fit"].unique().tolist() == ["two"]


def test_score_by_height_refuses_encoders_without_inputs():
    with pytest.raises(ValueError, match="inputs: expected what the encoder 'mine' encodes, got None"):
        score_by_height({"mine": lambda rows: rows}, {"a": np.arange(20.0)}, heights={"a": 1}, key=0)
    with pytest.raises(ValueError, match=r"encoder 'mine' must give one row per sample, .* of inputs, got \(1, 2\)"):
        score_by_height(
            {"mine": lambda rows: rows[1:]},
            {"a": np.arange(20.0)},
            heights={"a": 1},
            inputs=np.ones((20, 2)),
            key=0,
        )
