"""Tables of the page on the signal law: what stands beside its claims, so that nobody has to trust them alone."""

from __future__ import annotations

import numpy as np

from experiments.experiment import Frame, Prediction, Results
from experiments.signal_claims import RIVALS, TELLING, covered, measured_gains, ranks
from experiments.signal_families import FAMILIES
from experiments.signal_law import SignalLaw

_TOP, _ALL = "the highest latent", "all levels"
_SOME = 0.05
"""Forecasts from here on say that something is learned."""

_ZERO = 1e-6
"""Demands below this are rounding."""

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Headings and rows."""


def tables(results: Results) -> dict[str, Table]:
    """All tables, by name."""
    prediction = results.prediction
    table = measured_gains(results.records, prediction)
    return {
        "order": _order(table, prediction),
        "rivals": _rivals(table, prediction),
        "values": _values(table, prediction),
        "contrast": _contrast(table, prediction),
    }


def _runs(table: Frame, prediction: Prediction) -> list[tuple[str, int]]:
    return [(network, steps) for network in table["network"].unique() for steps in prediction["steps"]]


def _heading(table: Frame, prediction: Prediction) -> tuple[str, ...]:
    return tuple(f"{network}, {steps:,} steps" for network, steps in _runs(table, prediction))


def _order(table: Frame, prediction: Prediction) -> Table:
    """Rank correlation of the law at the highest latent of each family, with the ranges of gains and forecasts."""
    found = ranks(table, prediction, _TOP, "forecast", telling=0.0)
    rows = []
    for family, title in prediction["titles"].items():
        top = table[(table["family"] == family) & (table["level"] == prediction["top"][family])]
        for network, steps in _runs(table, prediction):
            own = top[(top["network"] == network) & (top["steps"] == steps)]
            of = found[(found["network"] == network) & (found["steps"] == steps) & (found["family"] == family)]
            measured, said = (np.ptp(own.groupby("arm")[column].mean()) for column in ("gain", "forecast"))
            rank = _number(of["rank"].mean())
            cells = (rank if measured >= TELLING else f"*{rank}*", f"{measured:.2f}", f"{said:.2f}")
            rows.append((title, network, f"{steps:,}", *cells))
    return ("family", "network", "steps", "rank correlation", "range of gains", "range of forecasts"), rows


def _rivals(table: Frame, prediction: Prediction) -> Table:
    """Mean rank correlation of every forecast over families."""
    members = {name: {level: len(of) for level, of in FAMILIES[name].levels.items()} for name in prediction["titles"]}
    sizes = np.array([members[family][level] for family, level in zip(table["family"], table["level"], strict=True)])
    demand = table["demand"].where(table["demand"].abs() > _ZERO, 0.0).where(table["demand"].notna())
    table = table.assign(demand_each=demand / sizes)
    common = table.dropna(subset=list(RIVALS))
    shown = {"forecast": "the law", **RIVALS, "demand_each": "demand, mean over the latents of a height"}
    rows = []
    for scope in (_TOP, _ALL):
        for column, words in shown.items():
            cells = []
            for network, steps in _runs(table, prediction):
                own = common[(common["network"] == network) & (common["steps"] == steps)]
                found = ranks(own, prediction, scope, column, telling=0.0)
                cells.append(_number(found.groupby("family")["rank"].mean().mean()))
            rows.append((scope, words, *cells))
    return ("over arms of", "forecast", *_heading(table, prediction)), rows


def _values(table: Frame, prediction: Prediction) -> Table:
    """Means over generators of the transformers that lie in their intervals, and how far forecasts are off."""
    law = SignalLaw(**prediction["law"])
    inside = covered(table[table["network"] == "transformer"], law)
    top = inside["level"] == inside["family"].map(prediction["top"])
    low, high = law.interval(0.0)
    parts = {
        "all": inside,
        "the highest latents": inside[top],
        "lower ones": inside[~top],
        f"forecasts of at least {_SOME}": inside[inside["forecast"] >= _SOME],
    }
    rows = []
    for words, part in parts.items():
        cells = []
        for steps in prediction["steps"]:
            of = part[part["steps"] == steps]
            nothing = ((of["gain"] >= low) & (of["gain"] <= high)).mean() if len(of) else np.nan
            error = (of["gain"] - of["forecast"]).mean() if len(of) else np.nan
            cells += [f"{int(of['inside'].sum())} of {len(of)}", f"{nothing:.0%}", f"{error:+.3f}".replace("-", "−")]
        rows.append((words, *cells))
    heading = tuple(
        f"{what}, {steps:,} steps"
        for steps in prediction["steps"]
        for what in ("in the interval", 'in that of "nothing"', "measured − forecast")
    )
    return ("gains", *heading), rows


def _contrast(table: Frame, prediction: Prediction) -> Table:
    """Of the root of each grammar, after long training: the arms that law and demand name, and the best one."""
    rows = []
    long = prediction["steps"][-1]
    for family in prediction["grammars"]:
        for network in table["network"].unique():
            own = table[
                (table["family"] == family)
                & (table["network"] == network)
                & (table["steps"] == long)
                & (table["level"] == prediction["top"][family])
            ]
            means = own.groupby("arm", sort=False)[["gain", "forecast", "demand"]].mean()
            named = [str(means[column].idxmax()) for column in ("forecast", "demand", "gain")]
            cells = [text for arm in named for text in (arm, _number(means.loc[arm, "gain"]))]
            rows.append((prediction["titles"][family], network, *cells))
    return (
        "family",
        "network",
        "the law names",
        "gain there",
        "demand names",
        "gain there",
        "best",
        "gain there",
    ), rows


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
