"""Verdicts on what is left outside of the assumptions of Theorem 2."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.experiment import Prediction
from experiments.findings import Finding, Frame, every, over_seeds, within
from hlvm.scoring import Interval

__all__ = ["judge"]

_MOST_GAIN = 0.1
_MOST_EXPLAINED = 0.02
_SQUARED, _ENERGY = "squared_error", "energy"

Seeds = Mapping[tuple[Any, ...], np.ndarray]


def judge(records: Frame, prediction: Prediction) -> list[Finding]:
    """Compare every part with what was predicted of it."""
    plain = records[~records["score"].str.startswith("point ")]
    seeds: Seeds = {
        cell: rows.sort_values("seed")["value"].to_numpy()
        for cell, rows in plain.groupby(["part", "mechanism", "loss", "level", "score"], sort=False)
    }
    return [
        *_noise(seeds, prediction),
        *_fold(seeds, prediction),
        *_children(seeds, prediction),
        _conditional_mean(seeds, prediction),
        *_gap(seeds, prediction),
    ]


def _levels(seeds: Seeds, part: str, mechanism: str) -> list[float]:
    return sorted({level for p, m, _, level, score in seeds if (p, m, score) == (part, mechanism, "code -> c")})


def _noise(seeds: Seeds, prediction: Prediction) -> list[Finding]:
    tolerance, enough = prediction["tolerance"], prediction["threshold"]

    def of(level: float, score: str) -> np.ndarray:
        return seeds["noise", "mlp", _SQUARED, level, score]

    levels = _levels(seeds, "noise", "mlp")
    clean = {f"noise 0, {score.replace('->', '→')}": over_seeds(of(0.0, score)) for score in ("code -> c", "c -> code")}
    falls = {
        f"from {low:g} to {high:g}": over_seeds(of(low, "code -> c") - of(high, "code -> c"))
        for low, high in itertools.pairwise(levels)
    }
    kept = {
        f"noise {level:g}": over_seeds(of(level, "code -> c") - seeds["noise", "mlp", "none", level, "visible -> c"][0])
        for level in levels
    }
    return [
        _oracle_finding(
            "Linear, noise: the code reaches the oracle's R² of the root at every noise, to within 0.05.",
            seeds,
            "noise",
            prediction,
            "noise",
        ),
        _finding(
            "Nonlinear, no noise: the code is an invertible function of the root, R² ≥ 0.9 both ways.",
            clean,
            enough,
            math.inf,
            theory="identified (Theorem D)",
            paper="identified (Theorem 2)",
        ),
        _finding(
            "Nonlinear, noise: every step of noise costs the code some R² of the root.",
            falls,
            0.0,
            math.inf,
            theory="ancestors are only partly recoverable",
        ),
        _finding(
            "Nonlinear, noise: the code holds what labels find in the visible part: R² at most 0.05 below.",
            kept,
            -tolerance,
            math.inf,
        ),
    ]


def _fold(seeds: Seeds, prediction: Prediction) -> list[Finding]:
    tolerance, enough, best = prediction["tolerance"], prediction["threshold"], dict(map(tuple, prediction["fold"]))
    levels = _levels(seeds, "fold", "mlp")

    def of(level: float, score: str) -> np.ndarray:
        return seeds["fold", "mlp", _SQUARED, level, score]

    one_to_one = {f"level {a:g}": over_seeds(of(a, "code -> c")) for a in levels if a < 0.5}
    beyond = {f"level {a:g} (best {best[a]:.3f})": over_seeds(of(a, "code -> c") - best[a]) for a in levels if a >= 0.5}
    folded = {f"level {a:g}": over_seeds(of(a, "code -> folded root")) for a in levels}
    found: list[Finding] = []
    if one_to_one:
        found.append(
            _finding(
                "Fold: while it is one-to-one the root is found, R² ≥ 0.9.",
                one_to_one,
                enough,
                math.inf,
                theory="identified (Theorem D)",
                paper="identified (Theorem 2)",
            )
        )
    if beyond:
        found.append(
            _finding(
                "Fold: beyond, the code holds of the root what its fold tells of it, to within 0.05.",
                beyond,
                -tolerance,
                tolerance,
                theory="the R² of the best guess from the fold",
            )
        )
    return [
        *found,
        _finding(
            "Fold: the folded root is found at every level, R² ≥ 0.9.",
            folded,
            enough,
            math.inf,
            theory="it is what the children share",
        ),
    ]


def _children(seeds: Seeds, prediction: Prediction) -> list[Finding]:
    found = {
        f"{n:g} visible": over_seeds(seeds["children", "mlp", _SQUARED, n, "code -> c"])
        for n in _levels(seeds, "children", "mlp")
    }
    return [
        _finding(
            "Missing children, invertible: one visible child is enough, R² ≥ 0.9 from one on.",
            found,
            prediction["threshold"],
            math.inf,
            theory="every child tells all its ancestors",
        ),
        _oracle_finding(
            "Missing children, noise: the code reaches the oracle's R² however many are visible, to within 0.05.",
            seeds,
            "children",
            prediction,
            "visible",
        ),
    ]


def _conditional_mean(seeds: Seeds, prediction: Prediction) -> Finding:
    told = {cell: values[0] for cell, values in seeds.items() if cell[-1] == "conditional mean -> c"}
    apart = {
        f"{part} {level:g} (mean {best:.3f})": over_seeds(seeds[part, mechanism, _SQUARED, level, "code -> c"] - best)
        for (part, mechanism, _, level, _), best in told.items()
    }
    return _finding(
        "Without noise the code holds of the root what the conditional mean of x_m tells of it, to within 0.05.",
        apart,
        -prediction["tolerance"],
        prediction["tolerance"],
        theory="squared error identifies what the conditional mean reveals",
    )


def _gap(seeds: Seeds, prediction: Prediction) -> list[Finding]:
    enough = prediction["threshold"]
    blind = dict.fromkeys(mechanism for part, mechanism, *_ in seeds if part == "gap")
    cells = [(m, level) for m in blind for level in _levels(seeds, "gap", m)]

    def of(mechanism: str, loss: str, level: float, score: str) -> np.ndarray:
        return seeds["gap", mechanism, loss, level, score]

    gains = {
        f"{m}, {level:g} numbers": over_seeds(
            of(m, _SQUARED, level, "code -> c") - of(m, _SQUARED, level, "untrained code -> c")
        )
        for m, level in cells
    }
    explained = {f"{m}, {level:g} numbers": over_seeds(of(m, _SQUARED, level, "explained")) for m, level in cells}
    squared = {m: over_seeds(of(m, _SQUARED, 1, "code -> c")) for m, level in cells if level == 1}
    energy = {
        f"{m}, {score.replace('->', '→')}": over_seeds(of(m, _ENERGY, 1, score))
        for m, level in cells
        for score in ("code -> c", "c -> code")
        if level == 1
    }
    wide = {
        f"{m}, {level:g} numbers": over_seeds(of(m, _ENERGY, level, "code -> c")) for m, level in cells if level > 1
    }
    paper = "identified (Theorem 2; there the decoder has a random input)"
    return [
        _finding(
            "Squared error explains at most 0.02 of the variance of what is masked.",
            explained,
            -math.inf,
            _MOST_EXPLAINED,
            theory="E[x | c] does not depend on c",
        ),
        _finding(
            "Squared error gains at most 0.1 R²(code → c) over the untrained encoder, at any width.",
            gains,
            -math.inf,
            _MOST_GAIN,
            theory="it has nothing to learn",
        ),
        _finding(
            "Squared error identifies c with one number: R²(code → c) ≥ 0.9.",
            squared,
            enough,
            math.inf,
            theory="no: not mean-injective",
            theory_says=False,
            paper=paper,
        ),
        _finding(
            "The energy score identifies c with one number: R² ≥ 0.9 both ways.",
            energy,
            enough,
            math.inf,
            theory="identified: strictly proper",
            paper=paper,
        ),
        _finding(
            "The energy score finds c with more numbers, too: R²(code → c) ≥ 0.9.",
            wide,
            enough,
            math.inf,
            theory="any optimal code contains c",
        ),
    ]


def _oracle_finding(claim: str, seeds: Seeds, part: str, prediction: Prediction, what: str) -> Finding:
    apart = {
        f"{what} {level:g} (oracle {best:.3f})": over_seeds(seeds[part, "linear", _SQUARED, level, "code -> c"] - best)
        for level, best in prediction[part]
    }
    tolerance = prediction["tolerance"]
    return _finding(claim, apart, -tolerance, tolerance, theory="the Gaussian oracle's R²")


def _finding(
    claim: str, scores: dict[str, Interval], low: float, high: float, *, theory_says: bool = True, **sources: str
) -> Finding:
    """A claim that all intervals lie between limits; sources say that it holds, the theory unless it is said not to."""
    holds = every(within(interval, low, high) for interval in scores.values())
    agrees: dict[str, Any] = {f"{source}_agrees": holds for source in sources}
    if not theory_says:
        agrees["theory_agrees"] = None if holds is None else not holds
    name = min(scores, key=lambda name: min(scores[name].low - low, high - scores[name].high))
    reason = f"{name}, {scores[name]}, comes nearest to the limit"
    return Finding(claim=claim, scores=scores, holds=holds, reason=reason, **sources, **agrees)
