"""Verdicts on sample laws: where recovery crosses its threshold, with which exponents that moves, and whose they are.

A threshold that is not crossed within the sizes leaves the place between a number and infinity. Such cells are kept as
bounds: exponents are then known to be at least, or at most, so much, and a claim is decided only by what is certain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.experiment import Frame, Prediction
from hlvm.claims import SILENT, Claim, Limits, Stance, every, no, nothing, yes
from hlvm.scoring import Interval, over_seeds

LEVEL = 0.5
"""P* is where recovery crosses this: the middle between the untrained encoder, 0, and the truth, 1."""

_TOKENS = {
    "labels": no("nothing is labelled"),
    "tokens": nothing("a transformer may share weights between places, or not"),
    "weight sharing": nothing("a transformer may share weights between places, or not"),
    "latent targets": no("cells are predicted"),
}
_LATENTS = {
    "labels": no("nothing is labelled"),
    "tokens": no("codes are predicted"),
    "weight sharing": no("codes are predicted"),
    "latent targets": yes("codes are predicted"),
}
STANCES: Mapping[str, Mapping[str, Stance]] = {
    "squared error": _TOKENS,
    "cross-entropy": _TOKENS,
    "data2vec": _LATENTS,
}
"""Stances of theory on each objective and law."""


class Bounds(NamedTuple):
    """A number of every draw, or the limits that it lies between: both are the same where it is known.

    Attributes:
        low: the lower limit, which may be minus infinity.
        high: the upper limit, which may be infinity.
    """

    low: Float[np.ndarray, " draws"]
    high: Float[np.ndarray, " draws"]

    @property
    def known(self) -> bool:
        """True where all draws are."""
        return bool(np.isfinite(self.low).all() and (self.low == self.high).all())


def recoveries(records: Frame) -> Frame:
    """Recovery of the symbols right below the class: grammar, objective, seed, samples, recovery."""
    one = ["grammar", "objective", "seed"]
    top = records[records["height"] == records["levels"] - 1]
    floor = top[top["samples"] == 0].set_index(one)["value"].rename("floor")
    code = top[top["samples"] > 0].join(floor, on=one)
    code["recovery"] = (code["value"] - code["floor"]) / (1 - code["floor"])
    return code[[*one, "samples", "recovery"]].sort_values([*one, "samples"])


def crossing(
    samples: Int[np.ndarray, " n"], recovery: Float[np.ndarray, " n"], level: float = LEVEL
) -> tuple[float, float]:
    """Between which limits log2 of the number of samples lies where recovery first crosses a level from below.

    Both limits are the same where it does: interpolated linearly in log2 between the two sizes around it. A level that
    is reached at the smallest size already, or never, leaves one limit infinite.
    """
    places, above = np.log2(samples), recovery >= level
    if not above.any():
        return float(places[-1]), math.inf
    first = int(np.argmax(above))
    if first == 0:
        return -math.inf, float(places[0])
    low, high = recovery[first - 1], recovery[first]
    place = float(places[first - 1] + (level - low) / (high - low) * (places[first] - places[first - 1]))
    return place, place


def crossings(records: Frame) -> dict[tuple[str, str], Bounds]:
    """log2 P* of every objective and grammar: (objective, grammar) -> one number per draw."""
    found: dict[tuple[str, str], Bounds] = {}
    for pair, of_pair in recoveries(records).groupby(["objective", "grammar"], sort=False):
        ends = [
            crossing(of_draw["samples"].to_numpy(), of_draw["recovery"].to_numpy())
            for _, of_draw in of_pair.groupby("seed")
        ]
        found[pair] = Bounds(*np.asarray(ends).T)
    return found


def exponents(places: Mapping[str, Bounds], x: Mapping[str, float]) -> Bounds:
    """Least-squares slope within every draw, of log2 P* over x.

    Args:
        places: grammar -> log2 P*.
        x: grammar -> where it stands; those along one axis.
    """
    centred = np.asarray(list(x.values())) - np.mean(list(x.values()))
    weights = dict(zip(x, centred / (centred**2).sum(), strict=True))
    low = sum(_times(weight, places[name]).low for name, weight in weights.items())
    high = sum(_times(weight, places[name]).high for name, weight in weights.items())
    return Bounds(np.asarray(low), np.asarray(high))


def _times(weight: float, bounds: Bounds) -> Bounds:
    """A multiple; a weight of zero leaves nothing of what is not known."""
    if weight == 0:
        return Bounds(np.zeros(len(bounds.low)), np.zeros(len(bounds.low)))
    ends = bounds if weight > 0 else Bounds(bounds.high, bounds.low)
    return Bounds(weight * ends.low, weight * ends.high)


def difference(one: Bounds, other: Bounds) -> Bounds:
    """One less the other."""
    return Bounds(one.low - other.high, one.high - other.low)


# ---------------------------------------------------------------------- verdicts


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """Every law for every objective, and the objectives compared with each other."""
    places = crossings(records)
    beyond = {pair: int((bounds.low != bounds.high).sum()) for pair, bounds in places.items()}
    claims: list[Claim] = []

    def where_not(objectives: list[str], grammars: list[str]) -> str:
        missing = [
            f"{objective}, {name} ({beyond[objective, name]} draws)"
            for objective in objectives
            for name in grammars
            if beyond[objective, name]
        ]
        return f"P* lies beyond the sizes: {'; '.join(missing)}" if missing else ""

    for objective in prediction["objectives"]:
        own = {name: places[objective, name] for name in prediction["samples"]}
        found = {
            axis: exponents(own, dict(zip(of["grammars"], of["x"], strict=True)))
            for axis, of in prediction["axes"].items()
        }
        for law, wanted in prediction["exponents"].items():
            margin = prediction["margin"]
            claims.append(
                bounded_claim(
                    f"{objective}: P* follows {prediction['formulas'][law]}, its exponents are within {margin:g} of "
                    f"{wanted['m']:.2g} (of m) and {wanted['L']:.2g} (of m, per level)",
                    {_EXPONENTS[axis]: bounds for axis, bounds in found.items()},
                    {_EXPONENTS[axis]: (value - margin, value + margin) for axis, value in wanted.items()},
                    theory=STANCES[objective][law],
                    reason=where_not([objective], list(own)),
                )
            )
    tokens, symbols, latents = prediction["objectives"]
    deepest, octaves = prediction["deepest"], prediction["octaves"]
    claims.append(
        bounded_claim(
            f"{deepest}: {latents} needs fewer samples than {tokens}",
            {"octaves fewer": difference(places[tokens, deepest], places[latents, deepest])},
            {"octaves fewer": (0.0, math.inf)},
            margin=octaves,
            theory=yes("v m^3 whatever the depth"),
            reason=where_not([tokens, latents], [deepest]),
        )
    )
    apart = {name: difference(places[symbols, name], places[tokens, name]) for name in prediction["samples"]}
    claims.append(
        bounded_claim(
            f"{symbols} needs as many samples as {tokens} in every grammar, up to a factor of {2**octaves:g}",
            {f"octaves more, {name}": bounds for name, bounds in apart.items()},
            {f"octaves more, {name}": (-octaves, octaves) for name in apart},
            theory=nothing("laws count targets, not losses"),
            reason=where_not([symbols, tokens], list(apart)),
        )
    )
    return claims


_EXPONENTS = {"m": "exponent of m", "L": "exponent of m, per level"}


def bounded_claim(
    text: str,
    values: Mapping[str, Bounds],
    limits: Mapping[str, Limits],
    *,
    margin: float = 0.0,
    theory: Stance = SILENT,
    reason: str = "",
) -> Claim:
    """A claim that means over draws lie within limits, where some draws are known by bounds alone.

    A mean is at least the mean of the lower bounds and at most that of the upper ones, each with its interval. The
    claim holds where the first surely is above the lower limit and the second surely below the upper one; it fails
    where one of them surely says the opposite, or that the lower limit is passed by less than the margin. Bounds that
    are infinite say nothing.

    Args:
        text: one sentence.
        values: name -> one number per draw.
        limits: of each.
        margin: the largest difference that counts as none, for limits that are open above; else 0.
        theory: what the theory says of the claim.
        reason: for the record; not empty where not all are known.
    """
    scores: dict[str, Interval] = {}
    known: dict[str, Limits] = {}
    outcomes: list[bool | None] = []
    small = False
    for name, bounds in values.items():
        low, high = (over_seeds(side) if np.isfinite(side).all() else None for side in bounds)
        names = (name, name) if bounds.known else (f"{name}, at least", f"{name}, at most")
        scores |= {shown: end for shown, end in zip(names, (low, high), strict=True) if end is not None}
        if bounds.known:
            known[name] = limits[name]
        outcome = _between(low, high, limits[name])
        if outcome is None and _between(low, high, (limits[name][0] + margin, math.inf)) is False:
            outcome, small = False, True
        outcomes.append(outcome)
    if not scores:  # bounds of no side are known in all draws
        scores = {f"share of draws that tell {name}": over_seeds(b.low == b.high) for name, b in values.items()}
    if small:
        reason = "; ".join(filter(None, (f"smaller than {margin:g}", reason)))
    return Claim(text=text, scores=scores, limits=known, theory=theory, holds=every(outcomes), reason=reason)


def _between(low: Interval | None, high: Interval | None, limits: Limits) -> bool | None:
    """Tell whether a number surely lies between two limits, from intervals of what it is at least and at most."""
    if (low is not None and low.low >= limits[1]) or (high is not None and high.high <= limits[0]):
        return False
    above = limits[0] == -math.inf or (low is not None and low.low > limits[0])
    below = limits[1] == math.inf or (high is not None and high.high < limits[1])
    return True if above and below else None
