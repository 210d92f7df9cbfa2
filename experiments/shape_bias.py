"""Does a probe of the frozen code follow shape or texture when they disagree, and does that depend on masking?

Predicted before training: docs/experiments/shape_bias.md.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Int, PRNGKeyArray
from matplotlib.figure import Figure

from experiments import scene_fits
from experiments.command import command
from experiments.drawing import legends_beside
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.scene_comparisons import (
    MARGIN,
    RANK_MARGIN,
    Paper,
    Probing,
    arm_claim,
    arm_rows,
    by_arm,
    draw_floors,
    draw_paper,
    draw_series,
    dress,
    of_arm,
    of_code,
    paper_stance,
    predicted,
    records_of_codes,
)
from experiments.scene_fits import SceneFits, groups, label, scene_model
from experiments.scene_probes import accuracies, codes_of, crossed, label_of, linear_probe
from hlvm.claims import SILENT, Claim, Stance, mean_claim, no, trend_claim, yes
from hlvm.images import ImageSample, SceneImages
from hlvm.mae import Fit
from hlvm.plotting import COLORS, figure_with_panels

PAPER: Paper = {"ratio": {0.1: 0.1352, 0.25: 0.2545, 0.5: 0.2458, 0.75: 0.2563, 0.9: 0.2014}}
"""Shape bias of the paper's encoders; it has none for the series of units."""

_TIE = 0.02
"""Leads of shape over texture, in shares of masks, that differ by less predict no difference."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Probing):
    """Settings: probes of the class are trained on consistent images, those of shape and texture on as many others.

    Attributes:
        conflicts: images whose shape is of one class and texture of another; as many to test the probes on.
    """

    conflicts: int = 500


SMOKE = Config(fits=scene_fits.SMOKE, rows=80, conflicts=80, masks=5)
LAPTOP = Config()
SHORT, LONG = (dataclasses.replace(LAPTOP, fits=fits) for fits in (scene_fits.SHORT, scene_fits.LONG))
GPU = Config(fits=scene_fits.GPU, rows=20_000, conflicts=10_000, masks=1000)


def predict(config: Config) -> Prediction:
    """Shares of masks with an object's shape and texture in ``c``, and what is compared."""
    return predicted(config, ("shape", "texture"))


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Decisions and accuracies of every seed; the first arm brings the floors."""
    return records_of_codes(config.fits, group, states, functools.partial(_of_code, config))


def _of_code(config: Config, fit: Fit | None, seed: int, names: Record) -> list[Record]:
    scenes = consistent_scenes(config.fits)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.fits.key + 2), seed), 5)
    train, test = scenes.sample(keys[0], config.rows), scenes.sample(keys[1], config.conflicts)
    conflict, of_shape, of_texture = cue_conflict(scenes, keys[2], config.conflicts)
    probe = linear_probe(codes_of(fit, train.images), label_of(train, "class"))
    shape, texture = decisions(probe.predict(codes_of(fit, conflict.images)), of_shape, of_texture)
    cues = accuracies(
        fit,
        crossed(scenes, keys[3], config.rows),
        crossed(scenes, keys[4], config.conflicts),
        ("shape", "texture"),
    )
    scores = {
        "shape bias": shape / (shape + texture) if shape + texture else 0.5,
        "shape decisions": shape,
        "texture decisions": texture,
        "accuracy, consistent": float(probe.score(codes_of(fit, test.images), label_of(test, "class"))),
        "accuracy of shape": cues["shape"],
        "accuracy of texture": cues["texture"],
    }
    return [{**names, "seed": seed, "score": score, "value": round(value, 5)} for score, value in scores.items()]


def consistent_scenes(config: SceneFits) -> SceneImages:
    """Scenes whose shapes and textures always follow the class, and nothing else does."""
    return dataclasses.replace(scene_model(config), coupling=1.0, context=0.0)


def cue_conflict(
    scenes: SceneImages, key: PRNGKeyArray, n: int
) -> tuple[ImageSample, Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Images with what is where from one class, and what it looks like from another.

    Returns:
        The images, the class of their shapes, and that of their textures.
    """
    of_first, of_step, *of_images = jax.random.split(key, 4)
    first = jax.random.randint(of_first, (n,), 0, scenes.n_classes)
    second = (first + jax.random.randint(of_step, (n,), 1, scenes.n_classes)) % scenes.n_classes
    a, b = (
        scenes.sample(of_image, n, do={"class": classes})
        for of_image, classes in zip(of_images, (first, second), strict=True)
    )
    return scenes.swap(a, b, scenes.low_level), np.asarray(first), np.asarray(second)


def decisions(
    chosen: Int[np.ndarray, " n"], of_shape: Int[np.ndarray, " n"], of_texture: Int[np.ndarray, " n"]
) -> tuple[float, float]:
    """Shares of images whose chosen class is that of the shape, and that of the texture."""
    return float(np.mean(chosen == of_shape)), float(np.mean(chosen == of_texture))


# ---------------------------------------------------------------------- comparing


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """Comparisons of arms for paper and theory, then bias as such, training, and what it follows."""
    rows = records[records["code"] == "trained"]
    bias = rows[rows["score"] == "shape bias"]
    best = prediction["comparisons"][0]["ahead"]
    floor = of_code(records[records["score"] == "shape bias"], "untrained")
    shape, texture = (by_arm(rows[rows["score"] == f"accuracy of {cue}"]) for cue in ("shape", "texture"))
    return [
        *(
            arm_claim(bias, each, "Shape bias", paper=paper_stance(PAPER, each), theory=_stance(prediction, each))
            for each in prediction["comparisons"]
        ),
        mean_claim(
            "Texture decides more often than shape at every ratio: bias below 0.5",
            {label(arm): of_arm(bias, arm) for arm in prediction["series"]["ratio"]},
            (-math.inf, 0.5),
            paper=yes("0.14 to 0.26"),
        ),
        mean_claim(
            f"Training ({label(best)}) raises the bias above that of the untrained encoder",
            {"difference": of_arm(bias, best) - floor},
            margin=MARGIN,
            shown={"untrained": floor},
        ),
        trend_claim(
            "The bias is higher in arms where the shape is read more accurately, compared with the texture",
            by_arm(bias),
            shape - texture,
            margin=RANK_MARGIN,
        ),
    ]


def _stance(prediction: Prediction, comparison: Mapping[str, Any]) -> Stance:
    """Stance of the theory: no difference where the shares of masks do not prefer one cue to the other."""
    shares = pd.DataFrame(prediction["shares"])
    of_latents = [arm_rows(shares, comparison[arm]).set_index("latent")["share"] for arm in ("ahead", "behind")]
    first, second = (float(share["shape"] - share["texture"]) for share in of_latents)
    if abs(first - second) >= _TIE:
        return SILENT
    return no(f"shape and texture are in c for the same masks (shares differ by {first:.2f} and {second:.2f})")


# ---------------------------------------------------------------------- drawing


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Bias beside the paper's, and what the probes read."""
    figure, axes = figure_with_panels(7.0, 5.0, 2, 2, sharey="row", sharex="col", width_ratios=(5, 3))
    rows = records[records["code"] == "trained"]
    bias = rows[rows["score"] == "shape bias"]
    draw_series(axes[0], bias, prediction, name="measured", color=COLORS["vermilion"], marker="D")
    draw_floors(axes[0], records[records["score"] == "shape bias"])
    for panel in axes[0]:
        panel.axhline(0.5, color=COLORS["grey"], linewidth=0.8, label="no preference")
    draw_paper(axes[0], PAPER, prediction, "paper, ImageNet")
    lines = {
        "accuracy of shape": {"color": COLORS["blue"], "marker": "s"},
        "accuracy of texture": {"color": COLORS["green"], "marker": "^"},
        "accuracy, consistent": {"color": COLORS["grey"], "marker": "o"},
    }
    for score, look in lines.items():
        draw_series(axes[1], rows[rows["score"] == score], prediction, name=score, **look)
    dress(axes[1], prediction, "accuracy of linear probes")
    axes[0, 0].set_ylabel("shape decisions /\n(shape + texture decisions)")
    axes[0, 0].set_ylim(0, 1)
    axes[1, 0].set_ylim(0, 1.03)
    legends_beside(axes)
    return {"bias": figure}


EXPERIMENT = Experiment(
    name="shape_bias",
    title="Shape bias",
    question="Does a probe of the frozen code follow shape or texture when they disagree?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU, "short": SHORT, "long": LONG},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
