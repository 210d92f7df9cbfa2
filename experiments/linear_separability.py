"""Which masking ratio and unit make the class of a scene linearly readable from the frozen code?

Predicted before training: docs/experiments/linear_separability.md.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from experiments import scene_fits
from experiments.command import command
from experiments.drawing import legends_beside
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.scene_comparisons import (
    Paper,
    Probing,
    arm_claim,
    arm_rows,
    draw_floors,
    draw_paper,
    draw_series,
    dress,
    floor_claims,
    paper_stance,
    places_of,
    predicted,
    records_of_codes,
    theory_stance,
)
from experiments.scene_fits import groups, label, scene_model
from experiments.scene_probes import accuracies, codes_of, crossed, label_of
from hlvm.claims import SILENT, Claim, yes
from hlvm.mae import Fit
from hlvm.plotting import COLORS, figure_with_panels

PAPER: Paper = {
    "ratio": {0.1: 47.45, 0.25: 53.58, 0.5: 60.07, 0.75: 67.41, 0.9: 62.97},
    "unit": {1: 62.57, 2: 68.96, 4: 73.31},
}
"""Linear probe on ImageNet-1K, accuracy in per cent; the two series differ in the cell they share."""


LATENTS = ("class", "shape", "texture")
"""What is read: the class on images as in training, the others on images where they are independent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Probing):
    """What is run.

    Attributes:
        test_rows: images that probes are tested on.
        map_rows: test images in each t-SNE map.
        neighbours: in the map and among codes, whose classes are compared.
    """

    rows: int = 2000
    test_rows: int = 2000
    map_rows: int = 500
    neighbours: int = 10


SMOKE = Config(fits=scene_fits.SMOKE, rows=80, test_rows=80, map_rows=40, neighbours=3, masks=5)
LAPTOP = Config()
SHORT, LONG = (dataclasses.replace(LAPTOP, fits=fits) for fits in (scene_fits.SHORT, scene_fits.LONG))
GPU = Config(fits=scene_fits.GPU, rows=20_000, test_rows=10_000, map_rows=2000, masks=1000)


def predict(config: Config) -> Prediction:
    """Shares of masks with the class, shapes and textures in ``c``, and what is compared."""
    return {**predicted(config, LATENTS), "chance": 1 / scene_model(config.fits).n_classes}


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Accuracies, purities and silhouettes of every seed; the first arm brings the floors."""
    return records_of_codes(config.fits, group, states, functools.partial(_of_code, config))


def _of_code(config: Config, fit: Fit | None, seed: int, names: Record) -> list[Record]:
    scenes = scene_model(config.fits, seed)
    nearest = config.neighbours
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.fits.key + 1), seed), 4)
    plain = scenes.sample(keys[0], config.rows), scenes.sample(keys[1], config.test_rows)
    mixed = crossed(scenes, keys[2], config.rows), crossed(scenes, keys[3], config.test_rows)
    accuracy = accuracies(fit, *plain, ("class",)) | accuracies(fit, *mixed, ("shape", "texture"))
    found: list[Record] = [
        {**names, "seed": seed, "score": "accuracy", "latent": latent, "value": round(value, 5)}
        for latent, value in accuracy.items()
    ]
    codes = codes_of(fit, plain[1].images[: config.map_rows])
    classes = label_of(plain[1], "class")[: config.map_rows]
    codes = StandardScaler().fit_transform(codes)
    places = TSNE(perplexity=min(30, len(codes) // 4), init="pca", random_state=seed).fit_transform(codes)
    scores = {
        "purity among codes": purity(codes, classes, nearest),
        "purity in the map": purity(places, classes, nearest),
        "silhouette of codes": float(silhouette_score(codes, classes)),
    }
    found += [
        {**names, "seed": seed, "score": score, "latent": "class", "value": round(value, 5)}
        for score, value in scores.items()
    ]
    if seed == 0:
        of_points = zip(places.tolist(), classes.tolist(), strict=True)
        found += [
            {**names, "seed": 0, "score": "map", "latent": "class", "value": kind, "x": round(x, 2), "y": round(y, 2)}
            for (x, y), kind in of_points
        ]
    return found


def purity(places: Any, labels: Any, neighbours: int) -> float:
    """Mean share of a point's nearest neighbours that have its label.

    Args:
        places: (n, d).
        labels: (n,).
        neighbours: how many, fewer than n.
    """
    found = NearestNeighbors(n_neighbors=neighbours).fit(places).kneighbors(return_distance=False)
    return float((np.asarray(labels)[found] == np.asarray(labels)[:, None]).mean())


# ---------------------------------------------------------------------- comparing


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """One claim per latent and comparison of arms, then floors and maps."""
    rows = records[records["code"] == "trained"]
    accuracy = rows[rows["score"] == "accuracy"]
    of_class = rows[rows["latent"] == "class"]
    return [
        *(
            arm_claim(
                accuracy[accuracy["latent"] == latent],
                comparison,
                f"Linear accuracy of the {latent}",
                paper=paper_stance(PAPER, comparison) if latent == "class" else SILENT,
                theory=theory_stance(prediction, latent, comparison),
            )
            for latent in LATENTS
            for comparison in prediction["comparisons"]
        ),
        *floor_claims(
            "The class is read better",
            of_class[of_class["score"] == "accuracy"],
            records[(records["score"] == "accuracy") & (records["latent"] == "class")],
            prediction,
            theory=yes("the class is in c, and the code holds c"),
        ),
    ]


# ---------------------------------------------------------------------- drawing


_LOOKS: dict[str, dict[str, Any]] = {
    "class": {"color": COLORS["vermilion"], "marker": "D"},
    "shape": {"color": COLORS["blue"], "marker": "s"},
    "texture": {"color": COLORS["green"], "marker": "^"},
}


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Accuracies beside the predicted shares and the paper's, and the maps."""
    return {"accuracy": _draw_accuracy(records, prediction), "maps": _draw_maps(records, prediction)}


def _draw_accuracy(records: Frame, prediction: Prediction) -> Figure:
    figure, axes = figure_with_panels(7.0, 5.2, 2, 2, sharey="row", sharex="col", width_ratios=(5, 3))
    accuracy = records[records["score"] == "accuracy"]
    rows = accuracy[accuracy["code"] == "trained"]
    of_class = accuracy[accuracy["latent"] == "class"]
    for latent, look in _LOOKS.items():
        draw_series(axes[0], rows[rows["latent"] == latent], prediction, name=latent, **look)
        for panel, series in zip(axes[1], ("ratio", "unit"), strict=True):
            shares = pd.DataFrame(prediction["shares"])
            shares = shares[shares["latent"] == latent]
            in_order = [float(arm_rows(shares, arm)["share"].iloc[0]) for arm in prediction["series"][series]]
            panel.plot(places_of(prediction, series), in_order, linestyle="--", label=f"{latent} in c", **look)
    draw_floors(axes[0], of_class, "class, ")
    draw_paper(axes[1], PAPER, prediction, "paper, ImageNet", scale=100)
    dress(axes[1], prediction, "predicted: share of masks,\nand the paper's accuracy")
    axes[0, 0].set_ylabel("measured accuracy")
    for row in axes:
        row[0].set_ylim(0, 1.03)
    legends_beside(axes)
    return figure


def _draw_maps(records: Frame, prediction: Prediction) -> Figure:
    """Pixels, the untrained encoder, the lowest ratio, the best one, the highest one, and the largest unit."""
    series = prediction["series"]
    ratio = prediction["comparisons"][0]["ahead"]
    shown = {label(arm): arm for arm in (series["ratio"][0], ratio, series["ratio"][-1], series["unit"][-1])}
    parts = {"pixels": records[records["code"] == "pixels"]}
    parts["untrained encoder"] = records[records["code"] == "untrained"]
    parts |= {name: arm_rows(records[records["code"] == "trained"], arm) for name, arm in shown.items()}
    figure, axes = figure_with_panels(7.0, 4.9, 2, 3)
    for panel, (name, part) in zip(axes.flat, parts.items(), strict=False):
        _draw_map(panel, name, part)
    for panel in axes.flat[len(parts) :]:
        panel.set_axis_off()
    return figure


def _draw_map(panel: Axes, name: str, part: Frame) -> None:
    of_map = part[part["score"] == "map"]
    colors = [color for color in COLORS if color != "pale"]
    for number, points in of_map.groupby("value"):
        kind = int(number) % len(colors)
        panel.scatter(points["x"], points["y"], s=7, color=COLORS[colors[kind]], marker="osD^vPX*"[kind], linewidths=0)
    pure = part[(part["score"] == "purity in the map") & (part["seed"] == 0)]["value"].mean()
    panel.set_title(f"{name}\npurity {pure:.2f}", fontsize=9)
    panel.set(xticks=[], yticks=[])


EXPERIMENT = Experiment(
    name="linear_separability",
    title="Linear separability",
    question="Which masking ratio and unit make the class linearly readable from the frozen code?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU, "short": SHORT, "long": LONG},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
