"""Parts 6 and 7 of the calibration: few rows, and latents that are not Gaussian."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.calibration_codes import REGRESSION, curve, kinked, rotation, subset
from hlvm.scoring import Verdict, block_verdict, circular, one_hot

__all__ = ["few_rows", "of_few_rows", "of_other_latents", "other_latents"]


def _saturated(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hard to read where the matrix is ill-conditioned or tanh saturates."""
    return np.tanh(z @ rng.normal(size=(z.shape[1], z.shape[1])))


EXACT: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "linear": lambda z, rng: z @ rotation(z.shape[1], rng),
    "curved": curve,
    "kinked": kinked,
    "saturated": _saturated,
}


def few_rows(config: Any, rng: np.random.Generator) -> list[dict[str, Any]]:
    """How often exact codes, and codes that lack a direction, get each verdict, by rows and dims."""
    records = []
    codes = EXACT | {"rotated subset": lambda z, rng: subset(z, z, rng)}
    for n_rows, repeats in zip(config.few_rows, config.few_rows_repeats, strict=True):
        for d, (kind, code_of) in itertools.product(config.few_rows_dims, codes.items()):
            outcomes = collections.Counter()
            for _ in range(repeats):
                content = rng.normal(size=(n_rows, d))
                found = block_verdict(code_of(content, rng), content, key=int(rng.integers(2**31)))
                outcomes[str(found.verdict)] += 1
            records.append({"rows": n_rows, "dims": d, "code": kind, "cases": repeats, **outcomes})
    return records


def _angles(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 2 * np.pi, size=n)


LATENTS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "t(2)": lambda n, rng: rng.standard_t(2, size=(n, 2)),
    "Cauchy": lambda n, rng: rng.standard_cauchy(size=(n, 2)),
    "lognormal(1.5)": lambda n, rng: rng.lognormal(sigma=1.5, size=(n, 2)),
    "rare event": lambda n, rng: (rng.random((n, 1)) < 0.03).astype(float),
    "six categories": lambda n, rng: one_hot(rng.integers(0, 6, n)),
    "angle as cosine and sine": lambda n, rng: circular(_angles(n, rng)),
}
ANGLE = "angle as a number"


def other_latents(config: Any, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Verdicts on an exact code (linear, and tanh of a rotation) and on an independent one, by kind of latents."""
    records = []
    for kind, (code, of) in itertools.product((*LATENTS, ANGLE), _CODES_OF_LATENTS.items()):
        outcomes = collections.Counter()
        for _ in range(config.other_latents_repeats):
            if kind == ANGLE:
                content = _angles(config.rows, rng)
                source = circular(content)
            else:
                content = source = LATENTS[kind](config.rows, rng)
            found = block_verdict(of(source, rng), content, key=int(rng.integers(2**31)), config=REGRESSION)
            outcomes[str(found.verdict)] += 1
        records.append({"latents": kind, "code": code, "cases": config.other_latents_repeats, **outcomes})
    return records


_CODES_OF_LATENTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "linear": EXACT["linear"],
    "curved": lambda z, rng: np.tanh(z / z.std(axis=0) @ rotation(z.shape[1], rng)),
    "independent": lambda z, rng: rng.normal(size=z.shape),
}


def of_few_rows(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The numbers that prediction 6 is about."""
    exact = [row for row in rows if row["code"] in EXACT]
    lost = [row for row in rows if row["code"] not in EXACT]
    return {
        "few_rows_exact_cases": sum(row["cases"] for row in exact),
        "few_rows_exact_refuted": sum(row.get(str(Verdict.NOT_IDENTIFIED), 0) for row in exact),
        "few_rows_exact_identified": sum(row.get(str(Verdict.IDENTIFIED), 0) for row in exact),
        "few_rows_lost_cases": sum(row["cases"] for row in lost),
        "few_rows_lost_refuted": sum(row.get(str(Verdict.NOT_IDENTIFIED), 0) for row in lost),
        "few_rows_lost_identified": sum(row.get(str(Verdict.IDENTIFIED), 0) for row in lost),
    }


def of_other_latents(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The numbers that prediction 7 is about, which leaves the angle as a number out."""
    rows = [row for row in rows if row["latents"] != ANGLE]
    exact = [row for row in rows if row["code"] != "independent"]
    independent = [row for row in rows if row["code"] == "independent"]
    return {
        "other_latents_exact_cases": sum(row["cases"] for row in exact),
        "other_latents_exact_refuted": sum(row.get(str(Verdict.NOT_IDENTIFIED), 0) for row in exact),
        "other_latents_exact_identified": sum(row.get(str(Verdict.IDENTIFIED), 0) for row in exact),
        "other_latents_independent_cases": sum(row["cases"] for row in independent),
        "other_latents_independent_identified": sum(row.get(str(Verdict.IDENTIFIED), 0) for row in independent),
    }
