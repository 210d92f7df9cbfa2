"""What all experiments on scenes compare: one ratio or unit with another, over the same seeds and images."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from experiments.drawing import draw_intervals
from experiments.experiment import Frame, Group, Prediction, Record
from experiments.scene_fits import LAPTOP, SceneFits, arms, label, scene_model, trained
from hlvm.claims import SILENT, Claim, Stance, mean_claim, no, nothing, yes
from hlvm.mae import Fit
from hlvm.masking import RandomMask
from hlvm.plotting import COLORS
from hlvm.scoring import means_over_seeds
from hlvm.theory import shared_information_batch

_FLOORS = {"untrained": "the untrained encoder", "pixels": "raw pixels"}

MARGIN, RANK_MARGIN = 0.05, 0.3
"""Largest difference of accuracies or shape biases, and largest rank correlation, that count as none."""

_TIE = 0.02
"""Shares of masks that differ by less predict nothing."""

Paper = Mapping[str, Mapping[float, float]]
"""What the paper measured: "ratio" and "unit" (in patches of the network) -> its numbers by ratio and by unit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probing:
    """Autoencoders, and how their codes are probed.

    Attributes:
        fits: what is trained.
        rows: images that each probe is trained on, for each seed.
        masks: drawn for the prediction of each arm.
    """

    fits: SceneFits = LAPTOP
    rows: int = 1000
    masks: int = 200


def predicted(config: Probing, factors: Sequence[str]) -> Prediction:
    """Shares of masks with the latents of factors in ``c``, and what is compared."""
    return {
        "shares": shares_in_c(config.fits, arms(config.fits), factors, config.masks),
        "comparisons": comparisons(config.fits),
        "series": series_of(config.fits),
    }


def comparisons(config: SceneFits) -> list[dict[str, Any]]:
    """Pairs of arms of which the paper has one ahead: its best ratio and both ends, and each unit and the next.

    Returns:
        Series ("ratio" or "unit"), the arm that should be ahead, and the other, ready for JSON.
    """
    series = series_of(config)
    best: Group = {"ratio": config.ratio, "unit": config.unit}
    ends = [arm for arm in (series["ratio"][0], series["ratio"][-1]) if arm != best]
    pairs = [("ratio", best, end) for end in ends]
    pairs += [("unit", larger, smaller) for smaller, larger in itertools.pairwise(series["unit"])]
    return [{"series": name, "ahead": ahead, "behind": behind} for name, ahead, behind in pairs]


def shares_in_c(config: SceneFits, groups: Sequence[Group], factors: Sequence[str], n_masks: int) -> list[Record]:
    """In how many of an arm's masks a latent is in ``c``, the least separating set.

    Args:
        config: the scenes.
        groups: arms.
        factors: factors of the scenes; of those that every object has, the mean over objects.
        n_masks: masks drawn for each arm.

    Returns:
        For each arm and factor ``ratio``, ``unit``, ``latent``, ``share``.
    """
    scenes = scene_model(config)
    graph = scenes.graph
    rows: list[Record] = []
    for group in groups:
        masks = RandomMask(ratio=group["ratio"], unit=group["unit"]).sample(jax.random.key(config.key), n_masks, graph)
        members = shared_information_batch(graph, np.asarray(masks), regime="general").members
        for factor in factors:
            columns = [graph.latents.index(latent) for latent in scenes.latents_of_factors[factor]]
            share = round(float(members[:, columns].mean()), 5)
            rows.append({**group, "latent": factor, "share": share})
    return rows


def records_of_codes(
    config: SceneFits, group: Group, states: Path | None, measured: Callable[[Fit | None, int, Record], list[Record]]
) -> list[Record]:
    """What is measured of the codes of one arm; the first arm brings the floors, untrained encoders and raw pixels.

    Args:
        config: the autoencoders.
        group: the arm.
        states: folder for states of training.
        measured: autoencoder (``None`` for pixels), training seed and columns that all records have -> records.
    """
    nowhere = {"ratio": None, "unit": None}
    found: list[Record] = []
    for fit in trained(config, group, states):
        found += measured(fit, fit.seed, {"code": "trained", **group})
        if group == arms(config)[0]:
            found += measured(fit.untrained(), fit.seed, {"code": "untrained", **nowhere})
            found += measured(None, fit.seed, {"code": "pixels", **nowhere})
    return found


def arm_rows(records: Frame, group: Group) -> Frame:
    """The rows of an arm."""
    return records[(records["ratio"] == group["ratio"]) & (records["unit"] == group["unit"])]


def of_arm(records: Frame, group: Group) -> Frame:
    """The numbers of an arm by seed; several of one seed are averaged."""
    return arm_rows(records, group).groupby("seed")["value"].mean()


def by_arm(records: Frame) -> Frame:
    """One row per arm and one column per seed."""
    return records.pivot_table(index=["ratio", "unit"], columns="seed", values="value")


def of_code(records: Frame, code: str) -> Frame:
    """The numbers of a code that is the same for all arms, such as "untrained", by seed."""
    return records[records["code"] == code].groupby("seed")["value"].mean()


def paper_stance(paper: Paper, comparison: Mapping[str, Any]) -> Stance:
    """Stance that follows from the paper's two numbers, on the first arm being ahead; nothing where it has none."""
    series = comparison["series"]
    first, second = (paper.get(series, {}).get(comparison[arm][series]) for arm in ("ahead", "behind"))
    if first is None or second is None:
        return SILENT
    return _stance(first - second, f"{first:g} against {second:g}")


def theory_stance(prediction: Prediction, latent: str, comparison: Mapping[str, Any]) -> Stance:
    """Stance that follows from the shares of masks with a latent in ``c``; nothing where the arms tie."""
    shares = pd.DataFrame(prediction["shares"])
    of_latent = shares[shares["latent"] == latent]
    first, second = (float(arm_rows(of_latent, comparison[arm])["share"].iloc[0]) for arm in ("ahead", "behind"))
    lead = 0.0 if abs(first - second) < _TIE else first - second
    return _stance(lead, f"{latent} in c for {first:.0%} of masks against {second:.0%}")


def _stance(lead: float, reason: str) -> Stance:
    return (yes if lead > 0 else no if lead < 0 else nothing)(reason)


def arm_claim(
    rows: Frame, comparison: Mapping[str, Any], what: str, *, paper: Stance = SILENT, theory: Stance = SILENT
) -> Claim:
    """The claim that one arm is ahead of another, from differences between the same seeds.

    Args:
        rows: ``ratio``, ``unit``, ``seed`` and ``value``.
        comparison: one of :func:`comparisons`.
        what: what the values are.
        paper: from :func:`paper_stance`.
        theory: from :func:`theory_stance`.
    """
    values = {label(arm): of_arm(rows, arm) for arm in (comparison["ahead"], comparison["behind"])}
    (first, ahead), (second, behind) = values.items()
    return mean_claim(
        f"{what} is higher at {first} than at {second}",
        {"difference": ahead - behind},
        margin=MARGIN,
        shown=values,
        paper=paper,
        theory=theory,
    )


def floor_claims(
    what: str, rows: Frame, records: Frame, prediction: Prediction, *, theory: Stance = SILENT
) -> list[Claim]:
    """The claims that something is read better from trained codes, at the paper's arm, than from both floors.

    Args:
        what: begins the claims, such as "The class is read better".
        rows: of trained codes: ``ratio``, ``unit``, ``seed`` and ``value``.
        records: of all codes, with the column ``code``.
        prediction: with ``comparisons``.
        theory: what it says of both claims.
    """
    best = prediction["comparisons"][0]["ahead"]
    floors = {words: of_code(records, code) for code, words in _FLOORS.items()}
    return [
        mean_claim(
            f"{what} from codes ({label(best)}) than from {words}",
            {"difference": of_arm(rows, best) - floor},
            margin=MARGIN,
            shown={words: floor},
            theory=theory,
        )
        for words, floor in floors.items()
    ]


def draw_series(axes: Sequence[Axes], rows: Frame, prediction: Prediction, *, name: str, **look: Any) -> None:
    """Means over seeds with their intervals, over the ratios in the first axes and over the units in the second.

    Args:
        axes: two axes.
        rows: ``ratio``, ``unit``, ``seed`` and ``value``.
        prediction: with ``series``, see :func:`series_of`.
        name: for the legend.
        look: of the line.
    """
    for panel, series in zip(axes, ("ratio", "unit"), strict=True):
        arms = prediction["series"][series]
        means = pd.concat([means_over_seeds(arm_rows(rows, arm), ["ratio", "unit"]) for arm in arms])
        draw_intervals(panel, places_of(prediction, series), means, name, **look)


def places_of(prediction: Prediction, series: str) -> list[float]:
    """Where the arms of a series are drawn: ratios at their values, units side by side."""
    of_series = prediction["series"][series]
    return [arm["ratio"] for arm in of_series] if series == "ratio" else [float(i) for i in range(len(of_series))]


def draw_floors(axes: Sequence[Axes], records: Frame, begin: str = "", color: str | None = None) -> None:
    """Lines across both axes for codes without training: means over seeds of untrained encoders and of raw pixels.

    Args:
        axes: where.
        records: with the columns ``code``, ``seed`` and ``value``.
        begin: first words of the labels.
        color: of both; ``None`` for grey and black.
    """
    for code, own, line in (("untrained", COLORS["grey"], "-."), ("pixels", COLORS["black"], ":")):
        floor = float(of_code(records, code).mean())
        for panel in axes:
            panel.axhline(floor, color=color or own, linestyle=line, label=f"{begin}{code}")


def draw_paper(axes: Sequence[Axes], paper: Paper, prediction: Prediction, label: str, scale: float = 1.0) -> None:
    """The paper's numbers over the arms of both series; of a series that it lacks nothing.

    Args:
        axes: where.
        paper: its numbers.
        prediction: with ``series``, see :func:`series_of`.
        label: for the legend.
        scale: of the paper's numbers, which are divided by it.
    """
    for panel, series in zip(axes, ("ratio", "unit"), strict=True):
        if series in paper:
            known = [paper[series].get(arm[series], np.nan) / scale for arm in prediction["series"][series]]
            panel.plot(places_of(prediction, series), known, "*--", color=COLORS["black"], label=label)


def dress(axes: Sequence[Axes], prediction: Prediction, what: str) -> None:
    """Labels of both axes, and ticks where something was measured."""
    ratios, units = ([arm[series] for arm in prediction["series"][series]] for series in ("ratio", "unit"))
    axes[0].set_xlabel(f"masking ratio\n(unit of {prediction['series']['ratio'][0]['unit']} patches)")
    axes[0].set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axes[0].set_ylabel(what)
    axes[1].set_xlabel(f"unit in patches\n(ratio {prediction['series']['unit'][0]['ratio']:g})")
    axes[1].set_xticks(range(len(units)), [f"{unit}" for unit in units])


def series_of(config: SceneFits) -> dict[str, list[dict[str, Any]]]:
    """The arms of both series, in order, ready for JSON."""
    return {
        "ratio": [{"ratio": ratio, "unit": config.unit} for ratio in sorted(config.ratios)],
        "unit": [{"ratio": config.ratio, "unit": unit} for unit in sorted(config.units)],
    }
