"""Verdicts of the sample complexity: where recovery crosses one half, and which scale brings grammars together."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from experiments.experiment import Frame, Prediction
from hlvm.claims import Claim, mean_claim, no, yes
from hlvm.scoring import Interval, over_seeds

LEVEL = 0.5
"""P* is where recovery crosses this."""

SCALES = ("samples", "n_c m^L", "n_c m^(2L-1)")
"""What P* is divided by, nothing first."""

TARGETS = ("class", "hidden symbols")
"""What P* is worked out for."""


def recoveries(records: Frame) -> Frame:
    """R² on the scale from the untrained encoder to the best possible: grammar, samples, seed, score, recovery."""
    one: list[str] = ["grammar", "seed", "score"]
    ends = records[records["control"] != "code"].pivot_table(index=one, columns="control", values="value")
    code = records[records["control"] == "code"].join(ends, on=one)
    code["recovery"] = (code["value"] - code["untrained"]) / (code["ceiling"] - code["untrained"])
    return code[["grammar", "samples", "seed", "score", "recovery"]]


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


def crossings(records: Frame, target: str) -> tuple[Frame, Frame]:
    """Lower and upper limits of log2 P* for every draw (rows) and grammar (columns)."""
    own = recoveries(records[records["score"] == target]).sort_values("samples")
    found = {
        pair: crossing(cells["samples"].to_numpy(), cells["recovery"].to_numpy())
        for pair, cells in own.groupby(["seed", "grammar"], sort=False)
    }
    low, high = (pd.Series({pair: limits[end] for pair, limits in found.items()}).unstack() for end in (0, 1))
    return low, high


def spreads(low: Frame, high: Frame, prediction: Prediction) -> tuple[Frame, Frame]:
    """Octaves between the largest and the smallest rescaled P*, for every draw (rows) and scale (columns).

    Returns:
        The least and the greatest spread that the limits of P* allow; the same where all are known.
    """
    least, greatest = {}, {}
    for scale in SCALES:
        by = np.log2([prediction["scales"][grammar][scale] for grammar in low.columns])
        down, up = low - by, high - by
        least[scale] = (down.max(axis=1) - up.min(axis=1)).clip(lower=0.0)
        greatest[scale] = up.max(axis=1) - down.min(axis=1)
    return pd.DataFrame(least), pd.DataFrame(greatest)


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """For both targets: whether each scale collapses, and which does better."""
    return [claim for target in TARGETS for claim in _judge_target(records, prediction, target)]


_SAYS = {SCALES[1]: no("that is the scale for labels"), SCALES[2]: yes("pair correlations show at that many samples")}


def _judge_target(records: Frame, prediction: Prediction, target: str) -> list[Claim]:
    low, high = crossings(records, target)
    least, greatest = spreads(low, high, prediction)
    not_crossed = [name for name in low.columns if not np.isfinite([low[name], high[name]]).all()]
    none, short, long = SCALES
    most = math.log2(prediction["factor"])
    claims = []
    for scale in (short, long):
        collapses = mean_claim(
            f"{target}: within one draw P* / ({scale}) is the same for all grammars up to a factor of "
            f"{prediction['factor']:g}",
            {"spread in octaves" if not not_crossed else "spread in octaves, at least": least[scale]},
            (-math.inf, most),
            theory=_SAYS[scale],
            reason=f"largest over smallest, compared with {most:g} octaves{_where_not(not_crossed)}",
        )
        # Where some are not crossed the true spread may be larger: it can refute, not confirm.
        claims.append(dataclasses.replace(collapses, holds=None) if not_crossed and collapses.holds else collapses)
    for scale, other in ((short, none), (long, short)):
        text = f"{target}: dividing P* by {scale} spreads grammars less than dividing it " + (
            "not at all" if other == none else f"by {other}"
        )
        reason = f"paired difference of spreads over draws{_where_not(not_crossed)}"
        if not_crossed:
            shown = _at_most_samples(records, target, not_crossed)
            claims.append(Claim(text=text, theory=yes(), scores=shown, holds=None, reason=reason))
        else:
            gain = {"octaves less": greatest[other] - greatest[scale]}
            claims.append(mean_claim(text, gain, theory=yes(), reason=reason))
    return claims


def _where_not(grammars: list[str]) -> str:
    if not grammars:
        return ""
    return f"; one half is not crossed within the sizes in every draw of {', '.join(grammars)}"


def _at_most_samples(records: Frame, target: str, grammars: list[str]) -> dict[str, Interval]:
    """Recovery at the most samples of these grammars."""
    own = recoveries(records[records["score"] == target])
    found = {}
    for name in grammars:
        cells = own[own["grammar"] == name]
        last = cells[cells["samples"] == cells["samples"].max()]
        found[f"recovery at the most samples, {name}"] = over_seeds(last["recovery"])
    return found
