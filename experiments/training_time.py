"""Is what the experiments on scenes find a matter of training time? Their presets ``short`` and ``long`` compared.

Nothing is trained here: both are read. ``long`` has ten times the steps and nothing else, and its networks begin as
those of ``short`` do, so that differences are between the same seeds and the same held-out images.

Predicted before ``long`` was run: docs/experiments/training_time.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from experiments.attention import AUC
from experiments.drawing import legends_beside
from experiments.experiment import Frame, Results
from experiments.reconstruction import MARGINS
from experiments.scene_comparisons import MARGIN, draw_floors, draw_series, dress, of_arm, of_code
from experiments.scene_fits import label
from hlvm.claims import BELOW_ZERO, Claim, mean_claim, yes
from hlvm.plotting import COLORS, figure_with_panels

NAMES = ("reconstruction", "attention", "linear_separability", "shape_bias", "transfer")
"""The experiments on scenes: results of each are given by these names."""


def compare(short: Mapping[str, Results], long: Mapping[str, Results]) -> list[Claim]:
    """The claims above.

    Args:
        short: results of each experiment with the preset ``short``.
        long: the same with ``long``.

    Raises:
        ValueError: the two differ in more than steps.
    """
    for name in NAMES:
        _check_comparable(name, short[name].config, long[name].config)
    prediction = long["linear_separability"].prediction
    best: dict[str, Any] = prediction["comparisons"][0]["ahead"]
    ratios: list[dict[str, Any]] = prediction["series"]["ratio"]
    arms = ratios + [arm for arm in prediction["series"]["unit"] if arm not in ratios]

    errors = _both(short, long, "reconstruction", source="trained", seen="visible part", score="MSE")
    of_class = _both(short, long, "linear_separability", score="accuracy", latent="class")
    of_kin = _both(short, long, "attention", source="trained", score=AUC, block=long["attention"].prediction["depth"])
    shifted = tuple(rows[rows["shift"] != "none"] for rows in _both(short, long, "transfer", task="class"))
    layout = _both(short, long, "transfer", task="layout")
    pixels = of_code(of_class[1], "pixels")
    kin = [
        {"ratio": entry["ratio"], "unit": entry["unit"]}
        for entry in long["attention"].prediction["visible kin"]
        if entry["share"] > 0
    ]
    lowest, next_lowest = ratios[:2]
    grown = [of_arm(rows, next_lowest) - of_arm(rows, lowest) for rows in errors]
    leads = {
        f"lead over {label(arm)}": _change(of_class, best) - _change(of_class, arm) for arm in (ratios[0], ratios[-1])
    }
    return [
        mean_claim(
            "The squared error of the masked part is lower after long training in every arm",
            {label(arm): _change(errors, arm) for arm in arms},
            BELOW_ZERO,
            theory=yes("longer training comes closer to the best guess"),
        ),
        mean_claim(
            f"After long training it grows from ratio {lowest['ratio']:g} to {next_lowest['ratio']:g}",
            {"difference, long": grown[1]},
            margin=MARGINS["MSE"],
            shown={"difference, laptop": grown[0]},
            theory=yes("less is visible, so the best guess errs more"),
        ),
        mean_claim(
            f"The class is read better after long training ({label(best)})", {label(best): _change(of_class, best)}
        ),
        mean_claim(
            f"After long training it is read better from codes ({label(best)}) than from raw pixels",
            {"difference, long": of_arm(of_class[1], best) - pixels},
            margin=MARGIN,
            shown={"raw pixels": pixels},
        ),
        mean_claim(
            f"Long training puts the class at ratio {best['ratio']:g} further ahead of both ends", leads, margin=MARGIN
        ),
        mean_claim(
            "Attention to kin is stronger after long training wherever kin may be visible",
            {label(arm): _change(of_kin, arm) for arm in kin},
            theory=yes("what one object's patches share says most of a masked one"),
        ),
        mean_claim(
            f"The layout, and the class after a shift, are read better after long training ({label(best)})",
            {"layout": _change(layout, best), "class after a shift": _change(shifted, best)},
        ),
    ]


_LOOKS: tuple[Mapping[str, Any], ...] = (
    {"color": COLORS["blue"], "marker": "o", "linestyle": "--", "markersize": 4},
    {"color": COLORS["vermilion"], "marker": "D", "markersize": 4},
)


def draw(short: Mapping[str, Results], long: Mapping[str, Results]) -> Figure:
    """Four scores over ratio and unit, after short and after long training, with what needs no training.

    Args:
        short: as for :func:`compare`.
        long: as for :func:`compare`.
    """
    prediction = long["linear_separability"].prediction
    of_class = _both(short, long, "linear_separability", score="accuracy", latent="class")
    layout = _both(short, long, "transfer", task="layout")
    depth = long["attention"].prediction["depth"]
    error: dict[str, Any] = {"seen": "visible part", "score": "MSE"}
    shown = {
        "squared error,\nmasked part": _both(short, long, "reconstruction", source="trained", **error),
        "attends more to kin\nthan to strangers (AUC)": _both(
            short, long, "attention", source="trained", score=AUC, block=depth
        ),
        "accuracy of the class": of_class,
        "accuracy of the layout": layout,
    }
    figure, axes = figure_with_panels(7.0, 8.0, len(shown), 2, sharey="row", sharex="col", width_ratios=(5, 3))
    for row, (what, pair) in zip(axes, shown.items(), strict=True):
        for rows, results, look in zip(pair, (short, long), _LOOKS, strict=True):
            steps = results["linear_separability"].config["fits"]["steps"]
            draw_series(row, rows, prediction, name=f"{steps:,} steps", **look)
        dress(row, prediction, what)
    for row, rows in ((axes[2], of_class[1]), (axes[3], layout[1])):
        draw_floors(row, rows)
    for panel in axes[1]:
        panel.axhline(0.5, color=COLORS["black"], linestyle=(0, (1, 4)), label="chance")
    legends_beside(axes)
    for panel in axes[:-1].flat:
        panel.set_xlabel("")
    return figure


def decided(short: Results, long: Results) -> list[tuple[Claim, Claim]]:
    """Both outcomes of every claim for which ``laptop``, ``long`` or both came to a verdict."""
    pairs = zip(short.claims, long.claims, strict=True)
    return [pair for pair in pairs if any(claim.holds is not None for claim in pair)]


def _check_comparable(name: str, short: Mapping[str, Any], long: Mapping[str, Any]) -> None:
    without = [{**config, "fits": {**config["fits"], "steps": None}} for config in (short, long)]
    if without[0] != without[1] or short["fits"]["steps"] >= long["fits"]["steps"]:
        raise ValueError(f"{name}: the two runs must differ in steps and in nothing else, and the second be the longer")


def _both(short: Mapping[str, Results], long: Mapping[str, Results], name: str, **where: Any) -> tuple[Frame, Frame]:
    """The records of both runs with these values."""

    def chosen(results: Results) -> Frame:
        rows: Frame = results.records
        for column, value in where.items():
            rows = rows[rows[column] == value]
        return rows

    return chosen(short[name]), chosen(long[name])


def _change(rows: tuple[Frame, ...], arm: Mapping[str, Any]) -> Frame:
    """Of one arm from the short run to the long one, by seed."""
    return of_arm(rows[1], arm) - of_arm(rows[0], arm)
