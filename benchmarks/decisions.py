"""Error rates of claims drawn from a prediction, and coverage of intervals, with a fake trainer.

python benchmarks/decisions.py [--studies 2000] [--out benchmarks/results/decisions.json]

The fake trainer returns scores whose true means are known. A score is the mean of its arm, plus what a generator does
to all arms and to this one, plus what a training seed does to all arms and to this one. Differences between arms are
paired by seed, and share arms, so they hang together.

1. Intervals over seeds within generators, balanced and not: how often they cover.
2. Intervals at several looks: how often all of them cover, and how often that of the look that decided does, beside
   what the usual 95 % interval at that look does.
3. Studies: five arms, a claim drawn for each of the ten pairs, decided as one family at one look or several. Chances
   that any direction is wrongly said to hold, that any claim is wrongly said to hold, or not to; how often a claim's
   interval covers; how many claims are decided, with how many fits per arm.

In 1 and in "all cover" of 2, coverage should be 0.95 (unequal designs are close to it); the interval of the look that
decided covers more often. The chances of errors in 3 should be at most 0.025 where noise is normal, up to the standard
error in the last column. Skewed and heavy-tailed noise is shown as well.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
from rich.console import Console
from rich.table import Table

from hlvm._files.digests import write_json
from hlvm._process.provenance import environment
from hlvm.claims import Claim, ClaimConfig, Looks, drawn_claims, drawn_limits
from hlvm.scoring import over_generators

Draw = Callable[[np.random.Generator, Any], np.ndarray]

BETWEEN, WITHIN = 0.02, 0.03
CONFIG = ClaimConfig()
ARMS = 5
PREDICTED = np.asarray([0.0, 0.02, 0.3, 0.32, 0.6])  # of every arm
NOISES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "heavy": lambda rng, shape: rng.standard_t(4, size=shape) / 2**0.5,
}
TRUTHS = {
    "as predicted": 0.25 * PREDICTED,
    "no differences": 0 * PREDICTED,
    "backwards": -0.1 * PREDICTED,
    # Equivalence is claimed of differences at the margin, and a direction of pairs that do not differ.
    "at the margins": np.asarray([0.0, 0.03, 0.0, 0.03, 0.03]),
}
DESIGNS = {
    "4 seeds": Looks(seeds=(4,)),
    "4, 8, 16 seeds": Looks(seeds=(4, 8, 16)),
    "6, 9, 12, 16, 24 seeds": Looks(seeds=(6, 9, 12, 16, 24)),
    "4, 8, 16 generators × 2 seeds": Looks(seeds=2, generators=(4, 8, 16)),
    "3 generators × 2, 4, 8 seeds": Looks(seeds=(2, 4, 8), generators=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--studies", type=int, default=2000, help="of every row")
    arguments = parser.parse_args()
    studies, rng = arguments.studies, np.random.default_rng(0)
    one_look, seeds, more_seeds, generators, nested = DESIGNS
    cells = [("normal", truth, design) for truth in TRUTHS for design in (one_look, seeds, generators)]
    cells += [("normal", "no differences", design) for design in (more_seeds, nested)]
    cells += [(noise, "no differences", seeds) for noise in ("skewed", "heavy")]
    found = {
        "intervals": intervals(studies, rng),
        "looks": looks(10 * studies, rng),
        "families": [family(studies, rng, *cell) for cell in cells],
    }
    for name, rows in found.items():
        print_rows(name, rows)
    if arguments.out is not None:
        write_json(arguments.out, {"environment": environment("numpy", "scipy"), "studies": studies, **found})


def scores(rng: np.random.Generator, means: np.ndarray, generators: int, seeds: int, noise: str) -> np.ndarray:
    """One study of the fake trainer, shape (arms, generators, seeds)."""
    arms = len(means)
    draw = NOISES[noise]
    of_generator = BETWEEN * (draw(rng, (1, generators, 1)) + draw(rng, (arms, generators, 1)) / 2**0.5)
    of_seed = WITHIN * (draw(rng, (1, generators, seeds)) + draw(rng, (arms, generators, seeds)) / 2**0.5)
    # One generator is all that is asked about: what it does to an arm is part of the truth.
    return means[:, None, None] + (of_generator if generators > 1 else 0.0) + of_seed


def intervals(studies: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    designs = {"1 × 4": [4], "3 × 2": [2] * 3, "8 × 4": [4] * 8, "12 × 1": [1] * 12, "unequal": [2, 3, 5, 8, 12]}
    rows: list[dict[str, Any]] = []
    for (design, counts), between in itertools.product(designs.items(), (0.0, 0.3, 1.0)):
        if len(counts) == 1 and between:
            continue
        covered = []
        for _ in range(studies):
            values = [rng.normal(rng.normal(0, between) if between else 0.0, 1.0, count) for count in counts]
            interval = over_generators(values).interval
            covered.append(interval.low <= 0 <= interval.high)
        share = float(np.mean(covered))
        rows.append(
            {"generators × seeds": design, "between": between, "covers": share, "error": _error(share, studies)}
        )
    return rows


def looks(studies: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Of one claim of a direction, by true difference in standard deviations between seeds."""
    rows: list[dict[str, Any]] = []
    for (design, plan), difference in itertools.product(DESIGNS.items(), (0.0, 0.5, 1.0, 2.0)):
        if plan.units is None or len(plan.units) == 1 or plan.designs[0][0] > 1:
            continue
        values = rng.normal(difference, 1.0, (studies, plan.units[-1]))
        low, high, usual = (np.empty((studies, len(plan.units))) for _ in range(3))
        for look, n in enumerate(plan.units):
            mean, error = values[:, :n].mean(1), values[:, :n].std(1, ddof=1) / math.sqrt(n)
            half = scipy.stats.t.isf(plan.tail(0.025), n - 1) * error
            low[:, look], high[:, look] = mean - half, mean + half
            usual[:, look] = np.abs(mean - difference) <= scipy.stats.t.isf(0.025, n - 1) * error
        covers = (low <= difference) & (difference <= high)
        stops = (low > 0) | (high < 0)
        at = np.where(stops.any(1), stops.argmax(1), len(plan.units) - 1)[:, None]
        share = float(covers.all(1).mean())
        rows.append(
            {"looks": design, "difference": difference, "all cover": share}
            | {"the last covers": float(np.take_along_axis(covers, at, 1).mean())}
            | {"95 % at it covers": float(np.take_along_axis(usual, at, 1).mean())}
            | {"decided": float(stops.any(1).mean()), "seeds": float(np.asarray(plan.units)[at].mean())}
            | {"error": _error(share, studies)}
        )
    return rows


def family(studies: int, rng: np.random.Generator, noise: str, truth: str, design: str) -> dict[str, Any]:
    """Studies of one kind; every one is decided by the package, look by look."""
    plan, means = DESIGNS[design], TRUTHS[truth]
    pairs = {f"{a} − {b}": (a, b) for a, b in itertools.combinations(range(ARMS), 2)}
    predicted = {name: float(PREDICTED[a] - PREDICTED[b]) for name, (a, b) in pairs.items()}
    true = {name: float(means[a] - means[b]) for name, (a, b) in pairs.items()}
    limits = drawn_limits(predicted, CONFIG)
    counts = dict.fromkeys(("false direction", "false yes", "false no"), 0)
    covered, decided, fits = [], [], []
    most = plan.designs[-1]
    for _ in range(studies):
        measured = scores(rng, means, *most, noise)
        claims: dict[str, Claim] = {}
        used = np.zeros(ARMS)
        for generators, seeds in plan.designs:
            needed = [name for name in pairs if name not in claims or claims[name].holds is None]
            if not needed:
                break
            used[sorted({arm for name in needed for arm in pairs[name]})] = generators * seeds
            differences = {
                name: (measured[pairs[name][0]] - measured[pairs[name][1]])[:generators, :seeds] for name in needed
            }
            claims = drawn_claims(predicted, differences, CONFIG, looks=plan, before=claims)
        wrong = {name: _wrong(claim, limits[name], true[name]) for name, claim in claims.items()}
        directions = [name for name in limits if math.inf in np.abs(limits[name])]
        counts["false direction"] += any(wrong[name] == "yes" for name in directions)
        counts["false yes"] += "yes" in wrong.values()
        counts["false no"] += "no" in wrong.values()
        covered += [claim.scores[name].low <= true[name] <= claim.scores[name].high for name, claim in claims.items()]
        decided += [claim.holds is not None for claim in claims.values()]
        fits.append(used.mean())
    chances = {name: count / studies for name, count in counts.items()}
    return (
        {"looks": design, "truth": truth, "noise": noise}
        | chances
        | {"covers": float(np.mean(covered)), "decided": float(np.mean(decided)), "fits": float(np.mean(fits))}
        | {"error": _error(max(*chances.values(), CONFIG.error), studies)}
    )


def _wrong(claim: Claim, limits: tuple[float, float], true: float) -> str:
    """Which wrong outcome a claim has, or none."""
    slack = 1e-9  # truths at a limit, but for rounding
    low, high = limits
    if claim.holds is True and not low + slack < true < high - slack:
        return "yes"
    if math.isfinite(low) and math.isfinite(high):
        counts = low + slack < true < high - slack
    else:
        counts = true > CONFIG.margin - slack if math.isfinite(low) else true < slack - CONFIG.margin
    return "no" if claim.holds is False and counts else ""


def _error(share: float, studies: int) -> float:
    return math.sqrt(share * (1 - share) / studies)


def print_rows(title: str, rows: Sequence[dict[str, Any]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
