"""Are the verdicts, intervals and rank tests of ``hlvm.scoring`` right as often as they say?

Every case is made from a generator whose truth is known. Predictions, before anything is measured:

1. Verdicts. Exact codes (linear, curved, overcomplete) are identified, also when the style that they must not hold is
   given; codes that are independent of the content, copy the input, hold a rotated subset of the content, lack a
   direction of small variance, fold the content, are constant, are style that correlates with content, or hold a trace
   of style (which is given) are not. At least 95 % of the cases come out right, at most 1 % of the others are called
   identified.
2. Worst direction. Exact curved codes and codes that lack one direction, for maps of two kinds. The rule of the verdict
   needs a gap between their R² where a direction has at least ``REFUTABLE_SHARE`` of the variance; with less, nothing
   may be refuted for that direction. No code that lacks a direction is called identified.
3. Intervals. The 95 % interval of a fit's R² covers the same fit's R² on very many rows 93 to 97 % of the time, where
   the fit is more than the training mean. The R² of a mean is 0 or below, so that an interval can only be too low: it
   covers more.
4. Rank tests. At 5 %, a rank that is too high is found in 3.5 to 6.5 % of the cases.
5. Closed form. With style s = a c + b e the R² of s given the content is a² / (a² + b²).

Few rows and latents that are not Gaussian: ``experiments.calibration_rows``.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.calibration_codes import CODES, REGRESSION, WITH_STYLE, curve, kinked, rotation
from experiments.script import script
from hlvm._numbers import positive
from hlvm.scoring import Verdict, block_verdict, cca_rank, kernel_r2
from hlvm.scoring.intervals import percentile_limits, resampling_weights
from hlvm.scoring.regression.r2 import pooled, resampled_sums
from hlvm.scoring.verdicts.judging import REFUTABLE_SHARE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes.

    Attributes:
        rows: samples per case; 60 % train the regressions.
        dims: dimensions of the content.
        repeats: cases per kind of code and dimension.
        direction_dims: dimensions of the content in the table of worst directions, each at least 2.
        direction_repeats: cases per cell of it.
        interval_fits: fits whose intervals are checked, for each noise.
        intervals_per_fit: test samples drawn for each.
        rank_repeats: cases per rank and test.
        n_permutations: of the permutation rank test.
        closed_form_rows: rows of each case of the closed form: few and many, to see what remains with more.
        closed_form_repeats: cases of each.
        seed: seed of everything random.
    """

    rows: int = 600
    dims: tuple[int, ...] = (1, 2, 3, 6)
    repeats: int = 14
    direction_dims: tuple[int, ...] = (2, 3, 6, 8, 12)
    direction_repeats: int = 4
    interval_fits: int = 40
    intervals_per_fit: int = 50
    rank_repeats: int = 2000
    n_permutations: int = 99
    closed_form_rows: tuple[int, ...] = (600, 2400)
    closed_form_repeats: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, tuple) else (value,):
                if field.name != "seed":
                    positive(number, field.name)


SMOKE = Config(
    dims=(2,),
    repeats=1,
    direction_dims=(2,),
    direction_repeats=1,
    interval_fits=1,
    intervals_per_fit=10,
    rank_repeats=10,
    n_permutations=39,
    closed_form_rows=(600,),
    closed_form_repeats=2,
)


def run(config: Config) -> dict[str, Any]:
    """The summary, then all five questions; JSON-ready."""
    rng = np.random.default_rng(config.seed)
    found = {
        "verdicts": verdicts(config, rng),
        "worst_direction": worst_directions(config, rng),
        "intervals": intervals(config, rng),
        "rank_tests": rank_tests(config, rng),
        "closed_form": closed_form(config, rng),
    }
    return {"summary": summary(found), **found}


# ---------------------------------------------------------------------- 1. verdicts


def verdicts(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """How often each verdict came out, by kind of code and dimension."""
    records = []
    for kind, (expected, code_of) in (CODES | WITH_STYLE).items():
        for d in config.dims:
            outcomes = collections.Counter()
            for _ in range(config.repeats):
                content, own = rng.normal(size=(2, config.rows, d))
                style = 0.6 * content + 0.8 * own if kind in WITH_STYLE else own
                found = block_verdict(
                    code_of(content, style, rng),
                    content,
                    others=style if kind in WITH_STYLE else None,
                    key=int(rng.integers(2**31)),
                    config=REGRESSION,
                )
                outcomes[str(found.verdict)] += 1
            records.append({"code": kind, "dims": d, "expected": str(expected), "cases": config.repeats, **outcomes})
    return records


# ---------------------------------------------------------------------- 2. worst direction


SHARES = (0.2, 0.02, 0.0075, 0.001, 0.0002)
"""Shares of the content's variance that one direction has; the others have equal ones."""

MAPS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {"curved": curve, "kinked": kinked}


def worst_directions(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """R² of the worst direction and verdicts, when one direction has a small share of the variance."""
    records = []
    for d, share, (name, code_of), lost in itertools.product(
        config.direction_dims, SHARES, MAPS.items(), (False, True)
    ):
        values, outcomes, refuted_by_it = [], collections.Counter(), 0
        for _ in range(config.direction_repeats):
            scales = np.append(np.ones(d - 1), np.sqrt(share * (d - 1) / (1 - share)))
            own = rng.normal(size=(config.rows, d)) * scales
            content = own @ rotation(d, rng).T
            code = code_of(own[:, :-1] if lost else own, rng)
            found = block_verdict(code, content, key=int(rng.integers(2**31)), config=REGRESSION)
            outcomes[str(found.verdict)] += 1
            refuted_by_it += found.verdict is Verdict.NOT_IDENTIFIED and "it is lost" in found.reason
            if found.worst is not None:
                values.append(found.worst.r2.value)
        records.append(
            {
                "dims": d,
                "share": share,
                "map": name,
                "lost": lost,
                "least": round(min(values), 3),
                "median": round(float(np.median(values)), 3),
                "greatest": round(max(values), 3),
                "cases": config.direction_repeats,
                "refuted_by_it": refuted_by_it,
                **outcomes,
            }
        )
    return records


# ---------------------------------------------------------------------- 3. intervals


def intervals(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Coverage of the bootstrap interval, for one fit at a time: its R² on 10,000 rows is the truth."""
    many, test = 10_000, 240
    both = np.arange(2)
    records = []
    for noise in (0.1, 0.33, 1.0, 3.0, 10.0):
        covered: dict[bool, list[bool]] = {True: [], False: []}
        for _ in range(config.interval_fits):
            z = rng.normal(size=(360 + many, 2))
            score = kernel_r2(
                z + noise * rng.normal(size=z.shape),
                z,
                key=int(rng.integers(2**31)),
                config=dataclasses.replace(REGRESSION, test_fraction=many / (360 + many), max_test=many, n_boot=1),
            )
            for _ in range(config.intervals_per_fit):
                rows = rng.choice(score.n_test, test, replace=False)
                weights = resampling_weights(test, REGRESSION.n_boot, rng)
                draws = pooled(*resampled_sums(score.residuals[rows], score.targets[rows], weights), both)
                low, high = percentile_limits(draws, REGRESSION.level)
                covered[bool(np.isfinite(score.ridge))].append(bool(low <= score.value <= high))
        for found, cases in covered.items():
            if cases:
                records.append(
                    {
                        "noise": noise,
                        "population_r2": round(1 / (1 + noise**2), 3),
                        "fit": "a function" if found else "the training mean",
                        "intervals": len(cases),
                        "coverage": round(float(np.mean(cases)), 4),
                    }
                )
    return records


# ---------------------------------------------------------------------- 4. rank tests


def rank_tests(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """How often the rank came out too high, at 5 %."""
    records = []
    n, p, q = 100, 5, 4
    for method in ("bartlett", "permutation"):
        for rank in (0, 1, 2):
            too_high, too_low = 0, 0
            for _ in range(config.rank_repeats):
                a, b = rng.normal(size=(n, p)), rng.normal(size=(n, q))
                b[:, :rank] = 0.9 * a[:, :rank] + np.sqrt(1 - 0.81) * b[:, :rank]
                found = cca_rank(
                    a, b, method=method, key=int(rng.integers(2**31)), n_permutations=config.n_permutations
                ).rank
                too_high += found > rank
                too_low += found < rank
            records.append(
                {
                    "method": method,
                    "rank": rank,
                    "cases": config.rank_repeats,
                    "too_high": round(too_high / config.rank_repeats, 4),
                    "too_low": round(too_low / config.rank_repeats, 4),
                }
            )
    return records


# ---------------------------------------------------------------------- 5. closed form


def closed_form(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """R² of style given the content itself, against a² / (a² + b²)."""
    records = []
    for weight, n_rows in itertools.product((0.3, 0.6, 0.9), config.closed_form_rows):
        values, covered = [], []
        for _ in range(config.closed_form_repeats):
            c, e = rng.normal(size=(2, n_rows))
            style = weight * c + np.sqrt(1 - weight**2) * e
            regression = dataclasses.replace(REGRESSION, max_train=n_rows)
            score = kernel_r2(c, style, key=int(rng.integers(2**31)), config=regression)
            values.append(score.value)
            covered.append(score.low <= weight**2 <= score.high)
        records.append(
            {
                "closed_form": round(weight**2, 3),
                "rows": n_rows,
                "mean_r2": round(float(np.mean(values)), 4),
                "standard_error": round(float(np.std(values) / np.sqrt(len(values))), 4),
                "interval_holds_it": round(float(np.mean(covered)), 4),
                "cases": len(values),
            }
        )
    return records


def summary(records: dict[str, Any]) -> dict[str, Any]:
    """The numbers that the predictions are about.

    A lost direction is a clear case where it has enough of the variance to be refuted; with less, the code must not be
    called identified, and that is all.
    """
    lost = [row for row in records["worst_direction"] if row["lost"]]
    exact = [row for row in records["worst_direction"] if not row["lost"]]
    clear = records["verdicts"] + [
        {**row, "expected": str(Verdict.NOT_IDENTIFIED)} for row in lost if row["share"] >= REFUTABLE_SHARE
    ]
    negative = lost + [row for row in records["verdicts"] if row["expected"] != Verdict.IDENTIFIED]
    cases = sum(row["cases"] for row in clear)
    return {
        "clear_cases": cases,
        "right": round(sum(row.get(row["expected"], 0) for row in clear) / cases, 4),
        "inconclusive": round(sum(row.get(str(Verdict.INCONCLUSIVE), 0) for row in clear) / cases, 4),
        "false_identified": sum(row.get(str(Verdict.IDENTIFIED), 0) for row in negative),
        "negative_cases": sum(row["cases"] for row in negative),
        "exact_codes_with_a_small_direction": sum(row["cases"] for row in exact),
        "refuted_by_the_worst_direction": sum(row["refuted_by_it"] for row in exact),
        "coverage": [row["coverage"] for row in records["intervals"] if row["fit"] == "a function"],
        "coverage_of_training_means": [
            row["coverage"] for row in records["intervals"] if row["fit"] == "the training mean"
        ],
        "too_high_ranks": [row["too_high"] for row in records["rank_tests"]],
    }


if __name__ == "__main__":
    script("calibration", __doc__, run, smoke=SMOKE, laptop=Config())
