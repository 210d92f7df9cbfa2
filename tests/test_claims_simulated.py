"""Error rates of drawn claims and coverage over looks: a small run of benchmarks/decisions.py."""

import importlib
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from hlvm.claims import mean_claim

CHANCE = 1e-4  # that an error of chance 0.025 is more frequent than allowed; the seed is fixed


def most(studies):
    return scipy.stats.binom.isf(CHANCE, studies, 0.025) / studies


@pytest.fixture(scope="module")
def decisions():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
        yield importlib.import_module("decisions")


@pytest.mark.parametrize(
    ("studies", "truth", "design"),
    [
        (80, "no differences", "4, 8, 16 seeds"),
        pytest.param(500, "no differences", "4, 8, 16 seeds", marks=pytest.mark.slow),
        pytest.param(500, "at the margins", "4, 8, 16 seeds", marks=pytest.mark.slow),
        pytest.param(500, "at the margins", "4, 8, 16 generators × 2 seeds", marks=pytest.mark.slow),
    ],
)
def test_drawn_claims_err_no_more_often_than_said(decisions, studies, truth, design):
    found = decisions.family(studies, np.random.default_rng(0), "normal", truth, design)
    assert max(found["false direction"], found["false yes"], found["false no"]) <= most(studies)
    # Every interval covers with at least 95 %; claims of a study hang together, so studies are what counts.
    assert found["covers"] > 0.95


def test_claims_decided_one_by_one_err_more_often_than_that(decisions):
    """The bound above can be failed: 95 % intervals of each pair at every look, until one decides."""
    rng, false, studies = np.random.default_rng(0), 0, 80
    for _ in range(studies):
        (of_arms,) = np.moveaxis(decisions.scores(rng, np.zeros(decisions.ARMS), 1, 16, "normal"), 1, 0)
        false += any(
            mean_claim("x", {"d": (of_arms[b] - of_arms[a])[:seeds]}).holds is True
            for (a, b), seeds in itertools.product(itertools.combinations(range(decisions.ARMS), 2), (4, 8, 16))
        )
    assert false / studies > 2 * most(studies)


def test_looks_cover_together(decisions):
    """Simulated coverage of 10,000 studies of one claim: four standard errors, well within 1.5 points."""
    rows = decisions.looks(10_000, np.random.default_rng(0))
    assert {row["looks"] for row in rows} == {"4, 8, 16 seeds", "6, 9, 12, 16, 24 seeds"}
    for row in rows:
        assert row["all cover"] == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 10_000))
        assert row["the last covers"] >= row["all cover"]
