"""The signal law: what it computes, that its constants are those of the records, and what its claims make of gains."""

import dataclasses
import itertools

import jax
import numpy as np
import pandas as pd
import pytest

from experiments.experiment import Results
from experiments.registration import same_prediction
from experiments.signal import EXPERIMENT, GPU, LAPTOP, SMOKE, Config
from experiments.signal_claims import judge, measured_gains, ranks
from experiments.signal_families import FAMILIES
from experiments.signal_law import FILE, SignalLaw, fit_law, load_law, pulls
from experiments.signal_tables import tables
from hlvm._files.digests import read_json

LAW = SignalLaw(rate=1.0, half_targets=4.0, ridge=3.0, half_width=1.0)
ARMS = ("a", "b", "c", "d")


def test_pulls_weigh_relevance_by_readability_and_saturate_with_the_masked_cells():
    relevance = np.array([[0.5, 0.2], [0.1, 0.2]])
    readability = np.array([[0.25, 1.0], [0.0, 0.25]])
    found = pulls(relevance, readability, np.array([4, 12]), 4.0)
    np.testing.assert_allclose(found, [0.5 * 0.5 * 0.5 / 2, (0.2 * 0.5 + 0.2 * 0.5 * 0.75) / 2])


def test_gain_has_the_odds_of_the_law_and_an_interval_around_it():
    assert LAW.gain(0.5, 2000) == pytest.approx(0.5)  # odds of 1
    assert LAW.gain(0.0, 2000) == 0
    low, high = LAW.interval(np.array([0.0, 0.5]))
    np.testing.assert_allclose(high - low, [0.04, 0.54])


@pytest.mark.slow
def test_frozen_constants_are_those_of_the_committed_records():
    refitted, frozen = fit_law(), read_json(FILE)
    assert refitted["n"] == frozen["n"] == 339
    for name, value in frozen["law"].items():
        assert refitted["law"][name] == pytest.approx(value, rel=0.02), name


@pytest.mark.slow
def test_registered_forecasts_are_computed_again():
    """Of each family one generator, without those that take longest."""
    registered = read_json(FILE.parent / "registered" / "signal.json")["prediction"]
    config = dataclasses.replace(LAPTOP, families=("ternary", "scenes", "grammar_4"), generators=2)
    again = EXPERIMENT.predict(config)["forecasts"]
    cells = {(row["family"], row["generator"], row["arm"], row["level"]): row for row in registered["forecasts"]}
    known = [cells[row["family"], row["generator"], row["arm"], row["level"]] for row in again]
    assert same_prediction(again, known)


def test_registered_forecasts_are_those_of_the_frozen_law():
    registered = read_json(FILE.parent / "registered" / "signal.json")["prediction"]
    assert SignalLaw(**registered["law"]) == load_law()
    cells = {(row["family"], row["generator"], row["arm"], row["level"]) for row in registered["forecasts"]}
    assert len(cells) == len(registered["forecasts"])
    expected = sum(LAPTOP.generators * len(f.masks) * len(f.levels) for f in FAMILIES.values())
    assert len(cells) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_every_mask_of_a_family_hides_some_cells_and_shows_some(name):
    family = FAMILIES[name]
    for strategy in family.masks.values():
        masked = np.asarray(strategy.sample(jax.random.key(0), 20, family.graph)).sum(axis=1)
        assert ((masked > 0) & (masked < family.graph.n_observed)).all()
    assert {family.top, *family.high_level} <= set(family.levels)


def test_generators_of_scenes_differ_and_share_their_graph():
    one, other = (FAMILIES["scenes"].make(jax.random.key(seed)) for seed in (0, 1))
    assert one.graph == other.graph
    assert one.coupling != other.coupling


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"families": ("binary",)}, "families must be at least 2"),
        ({"families": ("binary", "nested")}, "families must be at least 2"),
        ({"steps": (300, 300)}, "the smaller first"),
    ],
)
def test_config_refuses_what_cannot_be_compared(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)


def test_presets_keep_to_the_networks_of_the_records_on_two_cores():
    records = read_json(FILE.parent / "results" / "masking_ratio" / "results.json")["config"]["fits"]
    same = ("batch", "learning_rate", "width", "depth")
    assert {name: getattr(LAPTOP, name) for name in same} == {name: records[name] for name in same}
    assert LAPTOP.steps[1] == 8 * LAPTOP.steps[0]
    assert GPU.steps[1] == 8 * GPU.steps[0]
    assert set(SMOKE.families) < set(FAMILIES)


# ---------------------------------------------------------------------- claims


def prediction():
    """Two families, one of them a grammar whose demand is greatest where the law is smallest."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "family": family,
            "generator": generator,
            "arm": arm,
            "level": level,
            "pull": pull * (1 if level == "height 3" else 0.3) * rng.uniform(0.98, 1.02),
            "share": 1.0,
            "signal": pull,
            "paper": -pull,
            "availability": pull,
            "demand": 1 - pull,
        }
        for family, generator in itertools.product(("ternary", "grammar_2"), range(3))
        for level in ("height 3", "height 2")
        for arm, pull in zip(ARMS, (0.1, 0.2, 0.4, 0.8), strict=True)
    ]
    return {
        "law": {"rate": 1.0, "half_targets": 4.0, "ridge": 3.0, "half_width": 1.0},
        "steps": [1000, 8000],
        "top": {"ternary": "height 3", "grammar_2": "height 3"},
        "titles": {"ternary": "trees", "grammar_2": "grammars"},
        "grammars": ["grammar_2"],
        "forecasts": rows,
    }


def records_of(said, gain_of):
    """Records whose gains are a function of their forecast and steps; the floor is 0.2."""
    return pd.DataFrame(
        [
            {name: row[name] for name in ("family", "generator", "arm", "level")}
            | {"network": network, "steps": steps, "seed": seed, "floor": 0.2}
            | {"value": 0.2 + 0.8 * gain_of(LAW.gain(row["pull"], steps))}
            for network in ("transformer", "bottleneck")
            for steps in said["steps"]
            for seed in range(2)
            for row in said["forecasts"]
        ]
    )


def verdicts(claims):
    return {claim.text: claim.holds for claim in claims}


def test_all_claims_hold_where_gains_are_as_forecast():
    said = prediction()
    found = verdicts(judge(records_of(said, lambda g: g), said))
    kinds = ("in the order", "intervals for 90 %", "better than the share", "better than demand", "the root (class")
    for kind in kinds:
        of_kind = [holds for text, holds in found.items() if kind in text]
        assert of_kind, kind
        assert all(of_kind), kind


def test_claims_fail_where_gains_are_the_other_way_round():
    said = prediction()
    found = verdicts(judge(records_of(said, lambda g: 0.9 - g), said))
    for kind in ("gains are in the order", "better than demand", "the root (class"):
        of_kind = [holds for text, holds in found.items() if kind in text]
        assert of_kind, kind
        assert not any(of_kind), kind


def test_intervals_of_constants_that_do_not_travel_miss():
    said = prediction()
    found = verdicts(judge(records_of(said, lambda g: g**4), said))
    assert all(holds for text, holds in found.items() if "gains are in the order" in text)
    assert found["transformer, 1000 steps: intervals for 90 % hold at least 80% of the gains"] is False


def test_arms_that_all_gain_alike_leave_nothing_to_put_in_order():
    said = prediction()
    table = measured_gains(records_of(said, lambda g: 0.01 * g), said)
    assert len(ranks(table, said, "the highest latent", "forecast")) == 0
    assert not any("in the order" in claim.text for claim in judge(records_of(said, lambda g: 0.01 * g), said))


def test_a_forecast_that_is_the_same_for_all_arms_has_no_order():
    said = prediction()
    table = measured_gains(records_of(said, lambda g: g), said)
    assert (ranks(table, said, "the highest latent", "share")["rank"] == 0).all()


# ---------------------------------------------------------------------- tables


def results_of(said, gain_of):
    records = records_of(said, gain_of)
    return Results(config={}, prediction=said, records=records, claims=[], environment={})


def test_tables_say_what_each_forecast_does_over_all_families():
    said = prediction()
    found = tables(results_of(said, lambda g: g))
    assert {"order", "rivals", "values", "contrast"} == set(found)
    heading, rows = found["order"]
    assert len(heading) == len(rows[0]) == 6
    assert rows[0][:2] == ("trees", "transformer")
    assert rows[0][3] == "1.00"
    assert all(float(cell) > 0 for cell in rows[0][4:])
    by_forecast = {row[:2]: row[2:] for row in found["rivals"][1]}
    assert set(by_forecast["the highest latent", "the law"]) == {"1.00"}
    assert set(by_forecast["the highest latent", "demand"]) == {"−1.00"}
    assert set(by_forecast["the highest latent", "the share in c"]) == {"0.00"}
    assert found["values"][1][0][:2] == ("all", "16 of 16")
    assert found["contrast"][1][0] == ("grammars", "transformer", "d", "0.87", "a", "0.44", "d", "0.87")


def test_tables_mark_families_whose_arms_do_not_differ():
    said = prediction()
    rows = tables(results_of(said, lambda g: 0.01 * g))["order"][1]
    assert {row[3] for row in rows} == {"*1.00*"}
    assert all(row[4].startswith("0.0") for row in rows)


def test_demand_that_is_rounding_is_no_order():
    said = prediction()
    for row in said["forecasts"]:
        row["demand"] = 1e-17 * (1 - row["pull"])
    by_forecast = {row[:2]: row[2:] for row in tables(results_of(said, lambda g: g))["rivals"][1]}
    assert set(by_forecast["the highest latent", "demand, mean over the latents of a height"]) == {"0.00"}
