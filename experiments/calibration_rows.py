"""Are the verdicts of ``hlvm.scoring`` right with few rows, and for latents that are not Gaussian?

Predictions, before anything is measured:

1. Few rows. Of exact codes of 1 to 12 dims with 100 to 3,000 rows at most 1 % are called not identified, codes of tanh
   of a Gaussian matrix among them. Codes without one direction are never called identified; with 300 rows or more most
   are refuted at every number of dims.
2. Other latents. Exact codes of heavy-tailed, rare, categorical and circular latents (one-hot, and cosine and sine) are
   never refuted, and codes that are independent of them never identified. An angle as a plain number, which jumps, is
   there to be seen: nothing is promised of it.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.calibration_codes import REGRESSION, curve, kinked, rotation, subset
from experiments.script import script
from hlvm.scoring import Verdict, block_verdict, circular, one_hot


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes.

    Attributes:
        rows: samples per case of the table of few rows, each with ``repeats`` cases per cell.
        dims: dimensions of the content there.
        repeats: cases per cell, for each of ``rows``.
        other_rows: samples per case of latents that are not Gaussian.
        other_repeats: cases per kind of them.
        seed: seed of everything random.
    """

    rows: tuple[int, ...] = (100, 300, 1000, 3000)
    dims: tuple[int, ...] = (1, 3, 6, 12)
    repeats: tuple[int, ...] = (10, 10, 4, 2)
    other_rows: int = 600
    other_repeats: int = 10
    seed: int = 0


SMOKE = Config(rows=(100,), dims=(2,), repeats=(1,), other_repeats=1)


def run(config: Config) -> dict[str, Any]:
    """The summary, then both tables; JSON-ready."""
    rng = np.random.default_rng(config.seed)
    found = {"few_rows": few_rows(config, rng), "other_latents": other_latents(config, rng)}
    return {"summary": summary(found), **found}


def summary(records: dict[str, Any]) -> dict[str, int]:
    """The numbers that the predictions are about; nothing is predicted of the angle as a number."""
    few = records["few_rows"]
    others = [row for row in records["other_latents"] if row["latents"] != ANGLE]
    return {
        **_counts("few_rows_exact", [row for row in few if row["code"] in EXACT]),
        **_counts("few_rows_lost", [row for row in few if row["code"] not in EXACT]),
        **_counts("other_latents_exact", [row for row in others if row["code"] != "independent"]),
        **_counts("other_latents_independent", [row for row in others if row["code"] == "independent"], IDENTIFIED),
    }


REFUTED = {"refuted": str(Verdict.NOT_IDENTIFIED)}
IDENTIFIED = {"identified": str(Verdict.IDENTIFIED)}


def _counts(
    begin: str, rows: list[dict[str, Any]], verdicts: Mapping[str, str] = REFUTED | IDENTIFIED
) -> dict[str, int]:
    """Cases and verdicts, over rows of a table."""
    columns = {"cases": "cases", **verdicts}
    return {f"{begin}_{name}": sum(row.get(column, 0) for row in rows) for name, column in columns.items()}


def _saturated(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hard to read where the matrix is ill-conditioned or tanh saturates."""
    return np.tanh(z @ rng.normal(size=(z.shape[1], z.shape[1])))


EXACT: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "linear": lambda z, rng: z @ rotation(z.shape[1], rng),
    "curved": curve,
    "kinked": kinked,
    "saturated": _saturated,
}


def few_rows(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Count how often exact codes, and codes that lack a direction, get each verdict, by rows and dims."""
    records = []
    codes = EXACT | {"rotated subset": lambda z, rng: subset(z, z, rng)}
    for n_rows, repeats in zip(config.rows, config.repeats, strict=True):
        for d, (kind, code_of) in itertools.product(config.dims, codes.items()):
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


def other_latents(config: Config, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Verdicts on an exact code (linear, and tanh of a rotation) and on an independent one, by kind of latents."""
    records = []
    for kind, (code, of) in itertools.product((*LATENTS, ANGLE), _CODES_OF_LATENTS.items()):
        outcomes = collections.Counter()
        for _ in range(config.other_repeats):
            if kind == ANGLE:
                content = _angles(config.other_rows, rng)
                source = circular(content)
            else:
                content = source = LATENTS[kind](config.other_rows, rng)
            found = block_verdict(of(source, rng), content, key=int(rng.integers(2**31)), config=REGRESSION)
            outcomes[str(found.verdict)] += 1
        records.append({"latents": kind, "code": code, "cases": config.other_repeats, **outcomes})
    return records


_CODES_OF_LATENTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "linear": EXACT["linear"],
    "curved": lambda z, rng: np.tanh(z / z.std(axis=0) @ rotation(z.shape[1], rng)),
    "independent": lambda z, rng: rng.normal(size=z.shape),
}


if __name__ == "__main__":
    script("calibration_rows", __doc__, run, smoke=SMOKE, laptop=Config())
