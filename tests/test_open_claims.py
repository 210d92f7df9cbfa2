"""Replicates that open claims would take: of what, how many, and where no number is given."""

import dataclasses

import pandas as pd
import pytest

from experiments import open_claims
from experiments.experiment import Results
from hlvm.claims import Claim, mean_claim, replicates_needed
from hlvm.scoring import Interval

OPEN = mean_claim("a beats b", {"a − b": [0.05, -0.02, 0.06]})
HOLDS = mean_claim("a beats c", {"a − c": [0.5, 0.5, 0.6]})
NO_LIMITS = Claim(text="it is so", scores={"x": Interval(value=0.0, low=-1.0, high=1.0)}, holds=None)
OF_FAMILIES = dataclasses.replace(OPEN, scores={"3 families": OPEN.scores["a − b"]}, limits={"3 families": (0.0, 9.0)})


def results(claims, columns=("seed",), **config):
    records = pd.DataFrame({column: [0, 1, 2] for column in columns})
    return Results(config=config, environment={}, prediction={}, records=records, claims=tuple(claims))


def test_rows_have_the_open_claims_alone_with_what_they_take():
    found = open_claims.rows(
        {"patch_size": results([OPEN, HOLDS, NO_LIMITS], generators=1), "masking_grid": results([HOLDS])}
    )
    assert found == [
        ("patch_size", "a beats b", "3 seeds", str(replicates_needed(OPEN, 3))),
        ("patch_size", "it is so", "3 seeds", "–"),
    ]


@pytest.mark.parametrize(
    ("name", "claim", "columns", "config", "unit"),
    [
        ("patch_size", OPEN, ("seed",), {"fits": {"generators": 3}}, "3 generators"),
        ("patch_size", OPEN, ("seed",), {"fits": {"generators": 1}}, "3 seeds"),
        ("theorem2", OPEN, ("seed",), {}, "3 generators"),
        ("signal", OPEN, ("seed", "generator", "family"), {}, "3 generators"),
        ("signal", OF_FAMILIES, ("seed", "generator", "family"), {}, "3 families"),
    ],
)
def test_rows_say_what_the_replicates_are(name, claim, columns, config, unit):
    assert open_claims.rows({name: results([claim], columns, **config)})[0][2] == unit


def test_rows_say_that_no_number_decides_what_lies_on_its_limit():
    nowhere = mean_claim("a beats b", {"a − b": [0.1, -0.2, 0.1]})
    assert open_claims.rows({"patch_size": results([nowhere])})[0][3] == "over 10,000"
