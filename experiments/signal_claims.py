"""Verdicts on the signal law: order over arms, intervals, rivals, and who takes over when training is longer."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from experiments.experiment import Frame, Prediction
from experiments.signal_law import SignalLaw
from hlvm.claims import Claim, mean_claim, nothing, yes

RIVALS = {
    "share": "the share in c",
    "availability": "availability",
    "demand": "demand",
    "signal": "signal alone",
    "paper": "the paper's words",
}
"""Forecasts beside the law's: column -> words."""

TELLING = 0.05
"""Gains whose means over generators differ by less between all arms of a family leave nothing to put in order."""

_LEAST_RANK, _LEAST_COVERED = 0.6, 0.8
_ALL, _TOP = "all levels", "the highest latent"


def measured_gains(records: Frame, prediction: Prediction) -> Frame:
    """Gains beside all forecasts.

    Returns:
        One row per network, steps, family, generator, arm and level: ``gain`` (mean over seeds of
        ``(value - floor) / (1 - floor)``), ``forecast`` (the law's), and the columns of the forecasts.
    """
    cell = ["network", "steps", "family", "generator", "arm", "level"]
    gains = records.assign(gain=(records["value"] - records["floor"]) / (1 - records["floor"]))
    table = gains.groupby(cell, sort=False)["gain"].mean().reset_index()
    table = table.merge(pd.DataFrame(prediction["forecasts"]), on=["family", "generator", "arm", "level"])
    return table.assign(forecast=SignalLaw(**prediction["law"]).gain(table["pull"], table["steps"]))


def over_generators_of(table: Frame) -> Frame:
    """Means over generators of gains and forecasts: one row per network, steps, family, arm and level."""
    cell = ["network", "steps", "family", "arm", "level"]
    return table.groupby(cell, sort=False)[["gain", "forecast"]].mean().reset_index()


def covered(table: Frame, law: SignalLaw) -> Frame:
    """Means over generators with ``inside``, whether the gain lies in the interval of its forecast."""
    means = over_generators_of(table)
    low, high = law.interval(means["forecast"])
    return means.assign(inside=(means["gain"] >= low) & (means["gain"] <= high))


def ranks(table: Frame, prediction: Prediction, scope: str, forecast: str, *, telling: float = TELLING) -> Frame:
    """Rank correlation of gains with a forecast over the arms (and levels) of every generator.

    Args:
        table: of :func:`measured_gains`.
        prediction: names the highest latents.
        scope: ``"the highest latent"`` or ``"all levels"``.
        forecast: its column.
        telling: families whose mean gains differ by less are left out.

    Returns:
        Columns ``network``, ``steps``, ``family``, ``generator``, ``rank``; without what a forecast says nothing of.
        A forecast that is the same for all arms has 0.
    """
    rows = table.dropna(subset=[forecast])
    if scope == _TOP:
        rows = rows[rows["level"] == rows["family"].map(prediction["top"])]
    found = []
    for (network, steps, family), of in rows.groupby(["network", "steps", "family"], sort=False):
        means = of.groupby(["arm", "level"])["gain"].mean()
        if np.ptp(means) < telling:
            continue
        for generator, one in of.groupby("generator"):
            x, y = one[forecast].to_numpy(float), one["gain"].to_numpy()
            rank: Any = scipy.stats.spearmanr
            value = 0.0 if np.ptp(x) == 0 or np.ptp(y) == 0 else float(rank(x, y).statistic)
            found.append({"network": network, "steps": steps, "family": family, "generator": generator, "rank": value})
    return pd.DataFrame(found, columns=["network", "steps", "family", "generator", "rank"])


def _by_family(numbers: Frame, column: str = "rank") -> np.ndarray:
    """Of shape (families, generators): means over all else."""
    return numbers.pivot_table(index="family", columns="generator", values=column, sort=False).to_numpy()


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """All claims; see docs/experiments/signal.md."""
    table = measured_gains(records, prediction)
    return [
        *_order(table, prediction),
        *_coverage(table, prediction),
        *_rivals(table, prediction),
        *_handover(table, prediction),
        *_contrast(table, prediction),
    ]


def _order(table: Frame, prediction: Prediction) -> list[Claim]:
    claims = []
    of_law = {scope: ranks(table, prediction, scope, "forecast") for scope in (_TOP, _ALL)}
    for network, steps, scope in itertools.product(table["network"].unique(), prediction["steps"], (_TOP, _ALL)):
        found = of_law[scope]
        chosen = _by_family(found[(found["network"] == network) & (found["steps"] == steps)])
        if len(chosen) > 1:
            claims.append(
                mean_claim(
                    f"{network}, {steps} steps, {scope}: gains are in the order that the law forecasts, rank "
                    f"correlation above {_LEAST_RANK}",
                    {f"{len(chosen)} families": chosen},
                    (_LEAST_RANK, math.inf),
                    theory=yes("forecast, to be at least 0.8"),
                )
            )
    return claims


def _coverage(table: Frame, prediction: Prediction) -> list[Claim]:
    law = SignalLaw(**prediction["law"])
    inside = covered(table[table["network"] == "transformer"], law)
    claims = []
    for steps, of in inside.groupby("steps"):
        shares = of.groupby("family", sort=False)["inside"].mean().to_numpy()
        claims.append(
            mean_claim(
                f"transformer, {steps} steps: intervals for 90 % hold at least {_LEAST_COVERED:.0%} of the gains",
                {f"share inside, {len(shares)} families": shares},
                (_LEAST_COVERED, math.inf),
                theory=yes("made for 0.9"),
            )
        )
    return claims


def _rivals(table: Frame, prediction: Prediction) -> list[Claim]:
    claims = []
    for (rival, words), scope in itertools.product(RIVALS.items(), (_TOP, _ALL)):
        both = ranks(table, prediction, scope, rival).merge(
            ranks(table, prediction, scope, "forecast"),
            on=["network", "steps", "family", "generator"],
            suffixes=("_rival", ""),
        )
        lead = _by_family(both.assign(lead=both["rank"] - both["rank_rival"]), "lead")
        if len(lead) > 1:
            claims.append(
                mean_claim(
                    f"{scope}: the law forecasts the order better than {words}",
                    {f"difference of rank correlations, {len(lead)} families": lead},
                    shown={name: _by_family(both, column) for name, column in (("law", "rank"), (words, "rank_rival"))},
                    theory=yes(),
                )
            )
    return claims


def _handover(table: Frame, prediction: Prediction) -> list[Claim]:
    """The claim that demand forecasts better, compared with the law, after longer training."""
    short, long = prediction["steps"]
    pair = [ranks(table, prediction, _ALL, column) for column in ("demand", "forecast")]
    cell = ["network", "steps", "family", "generator"]
    both = pair[0].merge(pair[1], on=cell, suffixes=("_demand", ""))
    both = both.assign(lead=both["rank_demand"] - both["rank"])
    wide = both.pivot_table(index=["family", "generator", "network"], columns="steps", values="lead", sort=False)
    if not {short, long} <= set(wide.columns):
        return []
    change = (wide[long] - wide[short]).dropna().rename("change").reset_index()
    values = _by_family(change, "change")
    if len(values) < 2:
        return []
    return [
        mean_claim(
            f"demand forecasts the order better, compared with the law, after {long} steps than after {short}",
            {f"change of the difference, {len(values)} families": values},
            theory=nothing("asked, not forecast"),
        )
    ]


def _contrast(table: Frame, prediction: Prediction) -> list[Claim]:
    """Of grammars, where demand says that the best ratio moves: whose best arm for the class is better?"""
    long = prediction["steps"][-1]
    claims = []
    for family, network in itertools.product(prediction["grammars"], table["network"].unique()):
        top = prediction["top"][family]
        rows = table[
            (table["family"] == family)
            & (table["network"] == network)
            & (table["steps"] == long)
            & (table["level"] == top)
        ]
        said = rows.groupby("arm", sort=False)[["forecast", "demand"]].mean().idxmax()
        gain = rows.pivot_table(index="arm", columns="generator", values="gain")
        if said["forecast"] == said["demand"]:
            continue
        claims.append(
            mean_claim(
                f"{prediction['titles'][family]}, {network}, {long} steps: the root (class and synonym) is gained "
                f"more where the law is "
                f"greatest ({said['forecast']}) than where demand is ({said['demand']})",
                {"difference": (gain.loc[said["forecast"]] - gain.loc[said["demand"]]).to_numpy()},
                theory=yes("the law; demand says no"),
            )
        )
    return claims
