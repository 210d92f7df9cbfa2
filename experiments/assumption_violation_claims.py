"""Verdicts on what is left outside of the assumptions of Theorem 2."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.experiment import Frame, Prediction
from hlvm.claims import Claim, equivalence_claim, mean_claim, no, yes

_MOST_GAIN = 0.1
_MOST_EXPLAINED = 0.02
_SQUARED, _ENERGY = "squared_error", "energy"

_BY_THEOREM_D = yes("identified (Theorem D)")
_BY_THEOREM_2 = yes("identified (Theorem 2)")
_BY_RANDOM_INPUT = yes("identified (Theorem 2; there the decoder has a random input)")

Seeds = Mapping[tuple[Any, ...], np.ndarray]


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
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


def _noise(seeds: Seeds, prediction: Prediction) -> list[Claim]:
    def of(level: float, score: str) -> np.ndarray:
        return seeds["noise", "mlp", _SQUARED, level, score]

    levels = _levels(seeds, "noise", "mlp")
    return [
        _oracle_claim(
            "Linear, noise: the code reaches the oracle's R² of the root at every noise, to within 0.05.",
            seeds,
            "noise",
            prediction,
            "noise",
        ),
        mean_claim(
            "Nonlinear, no noise: the code is an invertible function of the root, R² ≥ 0.9 both ways.",
            {f"noise 0, {score.replace('->', '→')}": of(0.0, score) for score in ("code -> c", "c -> code")},
            (prediction["threshold"], math.inf),
            theory=_BY_THEOREM_D,
            paper=_BY_THEOREM_2,
        ),
        mean_claim(
            "Nonlinear, noise: every step of noise costs the code some R² of the root.",
            {
                f"from {low:g} to {high:g}": of(low, "code -> c") - of(high, "code -> c")
                for low, high in itertools.pairwise(levels)
            },
            margin=prediction["tolerance"],
            theory=yes("ancestors are only partly recoverable"),
        ),
        mean_claim(
            "Nonlinear, noise: the code holds what labels find in the visible part: R² at most 0.05 below.",
            {
                f"noise {level:g}": of(level, "code -> c") - seeds["noise", "mlp", "none", level, "visible -> c"]
                for level in levels
            },
            (-prediction["tolerance"], math.inf),
        ),
    ]


def _fold(seeds: Seeds, prediction: Prediction) -> list[Claim]:
    best = dict(map(tuple, prediction["fold"]))
    is_function = (prediction["threshold"], math.inf)
    levels = _levels(seeds, "fold", "mlp")

    def of(level: float, score: str) -> np.ndarray:
        return seeds["fold", "mlp", _SQUARED, level, score]

    one_to_one = {f"level {a:g}": of(a, "code -> c") for a in levels if a < 0.5}
    beyond = {f"level {a:g} (best {best[a]:.3f})": of(a, "code -> c") - best[a] for a in levels if a >= 0.5}
    claims: list[Claim] = []
    if one_to_one:
        claims.append(
            mean_claim(
                "Fold: while it is one-to-one the root is found, R² ≥ 0.9.",
                one_to_one,
                is_function,
                theory=_BY_THEOREM_D,
                paper=_BY_THEOREM_2,
            )
        )
    if beyond:
        claims.append(
            equivalence_claim(
                "Fold: beyond, the code holds of the root what its fold tells of it, to within 0.05.",
                beyond,
                prediction["tolerance"],
                theory=yes("the R² of the best guess from the fold"),
            )
        )
    return [
        *claims,
        mean_claim(
            "Fold: the folded root is found at every level, R² ≥ 0.9.",
            {f"level {a:g}": of(a, "code -> folded root") for a in levels},
            is_function,
            theory=yes("it is what the children share"),
        ),
    ]


def _children(seeds: Seeds, prediction: Prediction) -> list[Claim]:
    return [
        mean_claim(
            "Missing children, invertible: one visible child is enough, R² ≥ 0.9 from one on.",
            {
                f"{n:g} visible": seeds["children", "mlp", _SQUARED, n, "code -> c"]
                for n in _levels(seeds, "children", "mlp")
            },
            (prediction["threshold"], math.inf),
            theory=yes("every child tells all its ancestors"),
        ),
        _oracle_claim(
            "Missing children, noise: the code reaches the oracle's R² however many are visible, to within 0.05.",
            seeds,
            "children",
            prediction,
            "visible",
        ),
    ]


def _conditional_mean(seeds: Seeds, prediction: Prediction) -> Claim:
    told = {cell: values for cell, values in seeds.items() if cell[-1] == "conditional mean -> c"}
    return equivalence_claim(
        "Without noise the code holds of the root what the conditional mean of x_m tells of it, to within 0.05.",
        {
            f"{part} {level:g} (mean {best.mean():.3f})": seeds[part, mechanism, _SQUARED, level, "code -> c"] - best
            for (part, mechanism, _, level, _), best in told.items()
        },
        prediction["tolerance"],
        theory=yes("squared error identifies what the conditional mean reveals"),
    )


def _gap(seeds: Seeds, prediction: Prediction) -> list[Claim]:
    blind = dict.fromkeys(mechanism for part, mechanism, *_ in seeds if part == "gap")
    cells = {f"{m}, {level:g} numbers": (m, level) for m in blind for level in _levels(seeds, "gap", m)}
    narrow = {m: (m, level) for m, level in cells.values() if level == 1}
    wide = {name: (m, level) for name, (m, level) in cells.items() if level > 1}
    is_function = (prediction["threshold"], math.inf)

    def of(loss: str, score: str, at: Mapping[str, tuple[str, float]] = cells) -> dict[str, np.ndarray]:
        return {name: seeds["gap", m, loss, level, score] for name, (m, level) in at.items()}

    trained, untrained = (of(_SQUARED, score) for score in ("code -> c", "untrained code -> c"))
    return [
        mean_claim(
            "Squared error explains at most 0.02 of the variance of what is masked.",
            of(_SQUARED, "explained"),
            (-math.inf, _MOST_EXPLAINED),
            theory=yes("E[x | c] does not depend on c"),
        ),
        mean_claim(
            "Squared error gains at most 0.1 R²(code → c) over the untrained encoder, at any width.",
            {name: trained[name] - untrained[name] for name in cells},
            (-math.inf, _MOST_GAIN),
            theory=yes("it has nothing to learn"),
        ),
        mean_claim(
            "Squared error identifies c with one number: R²(code → c) ≥ 0.9.",
            of(_SQUARED, "code -> c", narrow),
            is_function,
            theory=no("not mean-injective"),
            paper=_BY_RANDOM_INPUT,
        ),
        mean_claim(
            "The energy score identifies c with one number: R² ≥ 0.9 both ways.",
            {
                f"{m}, {score.replace('->', '→')}": of(_ENERGY, score, narrow)[m]
                for m in narrow
                for score in ("code -> c", "c -> code")
            },
            is_function,
            theory=yes("identified: strictly proper"),
            paper=_BY_RANDOM_INPUT,
        ),
        mean_claim(
            "The energy score finds c with more numbers, too: R²(code → c) ≥ 0.9.",
            of(_ENERGY, "code -> c", wide),
            is_function,
            theory=yes("any optimal code contains c"),
        ),
    ]


def _oracle_claim(text: str, seeds: Seeds, part: str, prediction: Prediction, what: str) -> Claim:
    return equivalence_claim(
        text,
        {
            f"{what} {level:g} (oracle {np.mean(best):.3f})": seeds[part, "linear", _SQUARED, level, "code -> c"] - best
            for level, best in prediction[part]
        },
        prediction["tolerance"],
        theory=yes("the Gaussian oracle's R²"),
    )
