"""Does a probe of the frozen code survive changes of low-level latents, and does the code serve a second task?

Probes of the class are trained on scenes as the encoder knows them, and tested on scenes whose colours, frequencies,
textures, light or positions are drawn from elsewhere.

Predicted before training: docs/experiments/transfer.md.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PRNGKeyArray
from matplotlib.figure import Figure

from experiments import scene_fits
from experiments.command import command
from experiments.drawing import legends_beside
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.linear_separability import PAPER as ACCURACY
from experiments.scene_comparisons import (
    Paper,
    Probing,
    arm_claim,
    draw_floors,
    draw_paper,
    draw_series,
    dress,
    floor_claims,
    of_arm,
    paper_stance,
    places_of,
    predicted,
    records_of_codes,
    theory_stance,
)
from experiments.scene_fits import groups, scene_model
from experiments.scene_probes import codes_of, label_of, linear_probe
from hlvm.claims import SILENT, Claim
from hlvm.images import ImageSample, SceneImages
from hlvm.mae import Fit
from hlvm.plotting import COLORS, figure_with_panels

_SETS: dict[str, dict[float, tuple[float, ...]]] = {
    "ratio": {
        0.1: (34.72, 9.42, 14.63, 2.00, 7.25),
        0.25: (40.34, 11.54, 18.68, 2.49, 10.27),
        0.5: (46.71, 13.94, 22.44, 2.89, 12.58),
        0.75: (54.23, 18.24, 25.20, 3.76, 15.51),
        0.9: (49.52, 15.87, 19.11, 2.76, 10.46),
    },
    "unit": {
        1: (49.17, 13.44, 19.42, 3.73, 10.73),
        2: (55.94, 13.73, 24.23, 6.29, 18.81),
        4: (61.35, 19.03, 27.84, 12.69, 28.30),
    },
}

SHIFTED: Paper = {
    series: {place: round(float(np.mean(sets)), 2) for place, sets in of_series.items()}
    for series, of_series in _SETS.items()
}
"""Mean accuracy in per cent on IN-v2, ObjectNet, IN-R, IN-A and IN-Sketch."""

RETAINED: Paper = {
    series: {place: round(SHIFTED[series][place] / plain, 3) for place, plain in of_series.items()}
    for series, of_series in ACCURACY.items()
}
"""The same, as a share of the accuracy on ImageNet-1K."""

DETECTION: Paper = {"ratio": {0.1: 30.47, 0.25: 32.38, 0.5: 34.87, 0.75: 39.72, 0.9: 37.17}}
"""Box AP on COCO."""

SHIFTS: dict[str, dict[str, Any]] = {
    "colour": dict.fromkeys(("colour", "accent", "background"), (None, None, (4.0, 4.8))),
    "frequency": {"frequency": (1.5, 2.2)},
    "texture": {"texture": (0.125,) * 8},
    "lighting": {"lighting": ((2.0, 3.1), (0.7, 1.0))},
    "position": {"position": ((-1.0, 1.0), (-1.0, 1.0))},
}
"""All hues blue; coarser textures; any texture on any object; light from below; any place in the slot."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Probing):
    """What is run.

    Attributes:
        test_rows: images of each test.
    """

    test_rows: int = 500


SMOKE = Config(fits=scene_fits.SMOKE, rows=80, test_rows=80, masks=5)
LAPTOP = Config()
SHORT, LONG = (dataclasses.replace(LAPTOP, fits=fits) for fits in (scene_fits.SHORT, scene_fits.LONG))
GPU = Config(fits=scene_fits.GPU, rows=20_000, test_rows=5000, masks=1000)


def predict(config: Config) -> Prediction:
    """Shares of masks with the class, the layout and shapes in ``c``, and what is compared."""
    shared = predicted(config, ("class", "layout", "shape"))
    return {**shared, "chance": 1 / scene_model(config.fits).n_classes}


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Accuracy of every seed, task and shift; the first arm brings the floors."""
    return records_of_codes(config.fits, group, states, functools.partial(_of_code, config))


def _of_code(config: Config, fit: Fit | None, seed: int, names: Record) -> list[Record]:
    scenes = scene_model(config.fits, seed)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.fits.key + 3), seed), 4)
    train = scenes.sample(keys[0], config.rows)
    tests = {"none": scenes.sample(keys[1], config.test_rows)}
    tests |= {name: scenes.sample(keys[1], config.test_rows, shift=shift) for name, shift in SHIFTS.items()}
    probe = linear_probe(codes_of(fit, train.images), label_of(train, "class"))
    found = {
        ("class", name): probe.score(codes_of(fit, test.images), label_of(test, "class"))
        for name, test in tests.items()
    }
    (stars, counts), (test_stars, test_counts) = (
        scenes_with_stars(scenes, key, n) for key, n in ((keys[2], config.rows), (keys[3], config.test_rows))
    )
    codes, test_codes = codes_of(fit, stars.images), codes_of(fit, test_stars.images)
    layout = linear_probe(codes, label_of(stars, "layout"))
    found["layout", "none"] = layout.score(test_codes, label_of(test_stars, "layout"))
    found["count", "none"] = linear_probe(codes, counts).score(test_codes, test_counts)
    return [
        {**names, "seed": seed, "score": "accuracy", "task": task, "shift": shift, "value": round(float(value), 5)}
        for (task, shift), value in found.items()
    ]


def scenes_with_stars(scenes: SceneImages, key: PRNGKeyArray, n: int) -> tuple[ImageSample, Int[np.ndarray, " n"]]:
    """Scenes of stars and circles, with any number of stars in any places and any layout, and the numbers of stars.

    Neither number nor layout follows the class, so that nothing but themselves tells of them.
    """
    of_images, of_counts, of_places = jax.random.split(key, 3)
    names = scenes.latents_of_factors["shape"]
    counts = jax.random.randint(of_counts, (n, 1), 0, len(names) + 1)
    order = jnp.argsort(jax.random.uniform(of_places, (n, len(names))), axis=1)
    star, circle = (scenes.factors["shape"].categories.index(kind) for kind in ("star", "circle"))
    shapes = jnp.where(order < counts, star, circle)
    do = {name: shapes[:, [i]] for i, name in enumerate(names)}
    any_layout = (1 / scenes.n_values["layout"],) * scenes.n_values["layout"]
    return scenes.sample(of_images, n, do=do, shift={"layout": any_layout}), np.asarray(counts)[:, 0]


# ---------------------------------------------------------------------- comparing


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """Accuracy after shifts, what is retained, second tasks, and floors."""
    of_class = records[records["task"] == "class"]
    shifted = of_class[of_class["shift"] != "none"]
    retained = _trained(_retained(of_class, prediction["chance"]))
    layout, stars = (_trained(records[records["task"] == task]) for task in ("layout", "count"))
    asked = [  # rows, what is claimed to be higher, the paper's numbers, and the latent whose shares theory goes by
        (_trained(shifted), "Mean accuracy of the class after a shift", SHIFTED, "class"),
        (retained, "Retained share of the accuracy above chance", RETAINED, None),
        (layout, "Linear accuracy of the layout", DETECTION, "layout"),
        (stars, "Linear accuracy of the number of stars", DETECTION, "shape"),
    ]
    return [
        *(
            arm_claim(
                rows,
                comparison,
                what,
                paper=paper_stance(paper, comparison),
                theory=theory_stance(prediction, latent, comparison) if latent else SILENT,
            )
            for rows, what, paper, latent in asked
            for comparison in prediction["comparisons"]
            if comparison["series"] in paper
        ),
        *floor_claims("After a shift the class is read better", _trained(shifted), shifted, prediction),
    ]


def _trained(records: Frame) -> Frame:
    return records[records["code"] == "trained"]


def _retained(of_class: Frame, chance: float) -> Frame:
    """Mean accuracy after a shift over accuracy without one, both above chance, for every code and seed."""
    names = ["code", "ratio", "unit", "seed"]
    plain = of_class[of_class["shift"] == "none"].groupby(names, dropna=False)["value"].mean() - chance
    after = of_class[of_class["shift"] != "none"].groupby(names, dropna=False)["value"].mean() - chance
    return (after / plain).reset_index()


# ---------------------------------------------------------------------- drawing


_SHIFTS = ("colour", "frequency", "texture", "lighting", "position")


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Accuracy after shifts, beside the paper's mean; second tasks; and every shift in panels of its own."""
    figure, axes = figure_with_panels(7.0, 7.2, 3, 2, sharey="row", sharex="col", width_ratios=(5, 3))
    of_class = records[records["task"] == "class"]
    shifted = of_class[of_class["shift"] != "none"]
    look = {"color": COLORS["vermilion"], "marker": "D", "linewidth": 2}
    draw_series(axes[0], _trained(shifted), prediction, name="mean of the five shifts", **look)
    draw_floors(axes[0], shifted, "their floor, ")
    draw_paper(axes[0], SHIFTED, prediction, "paper, mean of five sets", scale=100)
    for row, task in zip(axes[1:], ("layout", "count"), strict=True):
        of_task = records[records["task"] == task]
        draw_series(row, _trained(of_task), prediction, name=task, color=COLORS["blue"], marker="s")
        draw_floors(row, of_task)
        draw_paper(row, DETECTION, prediction, "paper, box AP / 100", scale=100)
        row[0].set_ylabel(f"accuracy of the {task}")
    dress(axes[-1], prediction, "accuracy of the count")
    axes[0, 0].set_ylabel("accuracy of the class")
    for row in axes:
        row[0].set_ylim(0, 1.03)
    legends_beside(axes)
    return {"transfer": figure, "shifts": _draw_shifts(of_class, prediction)}


def _draw_shifts(of_class: Frame, prediction: Prediction) -> Figure:
    """Accuracy of the class over ratios and units, a row for each shift; without a shift it is grey behind them."""
    figure, axes = figure_with_panels(7.0, 8.0, len(_SHIFTS), 2, sharey=True, sharex="col", width_ratios=(5, 3))
    for row, shift in zip(axes, _SHIFTS, strict=True):
        for panel, series in zip(row, ("ratio", "unit"), strict=True):
            rows = _trained(of_class[of_class["shift"] == "none"])
            means = [float(of_arm(rows, arm).mean()) for arm in prediction["series"][series]]
            panel.plot(places_of(prediction, series), means, color=COLORS["grey"], linewidth=0.9)
        of_shift = _trained(of_class[of_class["shift"] == shift])
        draw_series(row, of_shift, prediction, name=shift, color=COLORS["blue"], marker="o")
        row[0].set_ylabel(shift)
    dress(axes[-1], prediction, _SHIFTS[-1])
    return figure


EXPERIMENT = Experiment(
    name="transfer",
    title="Transfer",
    question="Does a probe of the frozen code survive changes of low-level latents?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU, "short": SHORT, "long": LONG},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
