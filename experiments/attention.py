"""Do patches attend to the patches that share their object's latents, and where does the class token look?

The paper shows maps of the encoder's last attention, mean over heads: of the class token, and of a token in an object.
Here the graph says which patches are kin, that is, share latents of an object, so that attention gets a score: how
often a patch in an object attends more to kin than to a stranger. Nearness alone could do that. So kin and strangers
are also compared at equal distance. Images are whole, as in the paper.

Predicted before training: docs/experiments/attention.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import scene_fits
from experiments.attention_scores import (
    kinship,
    object_shares,
    place_auc,
    share_with_visible_kin,
    squared_distances,
    token_auc,
    token_lift,
)
from experiments.command import command
from experiments.drawing import draw_over_seeds, legend_below, mark_units
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.scene_fits import HeldOut, arms, both_series, groups, scene_model, trained
from hlvm import mae
from hlvm.claims import BELOW_ZERO, Claim, mean_claim, nothing, yes
from hlvm.images import ImageSample
from hlvm.mae import Fit
from hlvm.plotting import COLORS, figure_with_panels

MARGIN = 0.02
"""Largest difference of AUC that counts as none."""

AUC, EQUAL, LIFT, CLASS = "AUC", "AUC at equal distance", "lift", "class token AUC"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(HeldOut):
    """Settings, on scenes of at least two objects; the image of the maps follows from ``key`` as well."""

    key: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(self.fits.objects) < 2:
            raise ValueError(f"kin and strangers need at least two objects, got objects={self.fits.objects}")


SMOKE = Config(fits=dataclasses.replace(scene_fits.SMOKE, objects=(1, 2)), images=4)
LAPTOP = Config(fits=scene_fits.LAPTOP)
SHORT, LONG = (dataclasses.replace(LAPTOP, fits=fits) for fits in (scene_fits.SHORT, scene_fits.LONG))
GPU = Config(fits=scene_fits.GPU, images=1000)


def predict(config: Config) -> Prediction:
    """Counts of visible kin for every arm, what is compared, and the image of the maps with the patch that asks."""
    fits, model = config.fits, scene_model(config.fits)
    picture, query = _picture(config)
    pixels = np.round(255 * np.asarray(picture.images[0])).astype(np.uint8)
    visible = [share_with_visible_kin(model.graph, arm["ratio"], arm["unit"]) for arm in arms(fits)]
    return {
        **both_series(fits),
        "depth": fits.depth,
        "visible kin": [{**arm, "share": round(share, 5)} for arm, share in zip(arms(fits), visible, strict=True)],
        "grid": list(model.graph.grid or ()),
        "objects": list(fits.objects),
        "picture": {"shape": list(pixels.shape), "pixels": pixels.tobytes().hex(), "query": query},
    }


def _picture(config: Config) -> tuple[ImageSample, int]:
    """One image, and its patch that is object for the largest part, the first of several."""
    model = scene_model(config.fits)
    sample = model.sample(jax.random.key(config.key), 1)
    return sample, int(object_shares(model, _latents(sample))[0].argmax())


def _latents(sample: ImageSample) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in sample.latents.items()}


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Scores of one arm, for each replicate, block and network; and the maps of the first replicate."""
    graph = scene_model(config.fits).graph
    kin, distances = kinship(graph), squared_distances(graph.grid or (1, 1))
    picture, query = _picture(config)
    records: list[Record] = []
    for fit in trained(config.fits, group, states):
        model = scene_model(config.fits, fit.seed)
        sample = model.sample(jax.random.fold_in(jax.random.key(config.key), fit.seed), config.images)
        shares = object_shares(model, _latents(sample))
        queries = shares >= 0.5
        for source, network in (("trained", fit), ("untrained", fit.untrained())):
            about = {**group, "seed": fit.seed, "source": source}
            weights = _attention(network, sample)
            for block in range(config.fits.depth):
                of_tokens, of_class = weights[:, block, 1:, 1:], weights[:, block, 0, 1:]
                found = {
                    AUC: token_auc(of_tokens, queries, kin),
                    EQUAL: token_auc(of_tokens, queries, kin, distances),
                    LIFT: token_lift(of_tokens, queries, kin),
                    CLASS: place_auc(of_class, shares),
                }
                for score, value in found.items():
                    records.append({**about, "block": block + 1, "score": score, "value": round(value, 5)})
            if fit.seed == 0:
                last = _attention(network, picture)[0, -1]
                for token, row in (("class token", last[0, 1:]), ("object token", last[1 + query, 1:])):
                    entry = {**about, "block": config.fits.depth, "score": f"map of {token}"}
                    records += [{**entry, "cell": i, "value": round(float(v), 5)} for i, v in enumerate(row)]
    return records


def _attention(fit: Fit, sample: ImageSample) -> np.ndarray:
    """Attention of every block, mean over heads, with nothing masked: (n, depth, tokens, tokens)."""
    return np.asarray(mae.attention(fit, sample.images, None).weights, dtype=np.float64).mean(axis=2)


# ---------------------------------------------------------------------- verdicts

Arm = tuple[float, int]
"""Masking ratio and unit."""


def _scores(records: Frame, block: int) -> dict[tuple[Any, ...], Frame]:
    """Values by seed for each network, score, ratio and unit."""
    part = records[(records["block"] == block) & records["score"].isin([AUC, EQUAL, LIFT, CLASS])]
    return {
        cell: values.set_index("seed")["value"] for cell, values in part.groupby(["source", "score", "ratio", "unit"])
    }


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """The last block: paired differences over seeds, to the untrained network and between arms."""
    scores = _scores(records, prediction["depth"])
    series = [(ratio, prediction["unit"]) for ratio in prediction["ratios"]]
    of_units = [(prediction["ratio"], unit) for unit in prediction["units"]]
    every_arm = list(dict.fromkeys(series + of_units))
    names = {arm: f"ratio {arm[0]:g}, unit {arm[1]}" for arm in every_arm}
    kin = {(entry["ratio"], entry["unit"]): entry["share"] for entry in prediction["visible kin"]}

    def gains(score: str, at: list[Arm]) -> dict[str, Frame]:
        return {names[arm]: scores[("trained", score, *arm)] - scores[("untrained", score, *arm)] for arm in at}

    return [
        *(
            mean_claim(
                f"Tokens in objects attend to kin {how}: training raises that wherever kin may be visible.",
                gains(score, [arm for arm in every_arm if kin[arm] > 0]),
                margin=MARGIN,
                theory=yes("what one object's patches share says most of a masked one"),
                reason=f"gain of {score} over the untrained network",
            )
            for score, how in (
                (AUC, "more often than strangers"),
                (EQUAL, "more often than strangers at equal distance"),
            )
        ),
        *(
            mean_claim(
                f"The preference for kin is weaker at {names[end]} than at {names[start]}.",
                {
                    f"change of {score}": scores[("trained", score, *end)] - scores[("trained", score, *start)]
                    for score in (AUC, EQUAL)
                },
                BELOW_ZERO,
                margin=MARGIN,
                theory=yes(
                    f"masked patches with visible kin: {kin[start]:.2f} and {kin[end]:.2f}, falls with the {what}"
                ),
            )
            for what, start, end in (("ratio", series[0], series[-1]), ("unit", of_units[0], of_units[-1]))
        ),
        mean_claim(
            "The class token attends to objects rather than bare ground: training raises that in every arm.",
            gains(CLASS, every_arm),
            margin=MARGIN,
            theory=nothing("no loss asks the class token"),
            reason="gain over the untrained network",
        ),
    ]


# ---------------------------------------------------------------------- figures

_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "trained": {"color": COLORS["blue"], "marker": "o"},
    "untrained": {"color": COLORS["grey"], "marker": "x", "linestyle": "--"},
}
_LABELS = {
    AUC: "attends more to kin\nthan to strangers (AUC)",
    EQUAL: "the same, at equal\ndistance (AUC)",
    CLASS: "class token: objects\nover ground (AUC)",
}


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Scores over ratio and unit beside the share of masked patches with visible kin; and the maps of one image."""
    return {"scores": _draw_scores(records, prediction), "maps": _draw_maps(records, prediction)}


def _draw_scores(records: Frame, prediction: Prediction) -> Figure:
    figure, panels = figure_with_panels(7.2, 4.2, 2, 4, sharex="row")
    last = records[records["block"] == prediction["depth"]]
    series = {"ratio": ("unit", prediction["unit"]), "unit": ("ratio", prediction["ratio"])}
    kin: Frame = pd.DataFrame(prediction["visible kin"])
    for row, (over, (fixed, value)) in zip(panels, series.items(), strict=True):
        part = kin[np.isclose(kin[fixed], value)].sort_values(over)
        row[0].plot(part[over], part["share"], color=COLORS["vermilion"], marker="D", markersize=4, label="theory")
        row[0].set(ylim=(-0.05, 1.05))
        for axes, score in zip(row[1:], _LABELS, strict=True):
            chosen = last[np.isclose(last[fixed], value) & (last["score"] == score)]
            for source, look in _LOOKS.items():
                draw_over_seeds(axes, chosen[chosen["source"] == source], over, source, **look)
            axes.axhline(0.5, color=COLORS["black"], linestyle=":", linewidth=1, label="chance")
        for axes in row:
            axes.set(xlabel="masking ratio" if over == "ratio" else "unit (patches)")
            if over == "unit":
                mark_units(axes, prediction["units"])
    for axes, title in zip(panels[0], ["masked patches with\nvisible kin (theory)", *_LABELS.values()], strict=True):
        axes.set_title(title, fontsize=8.5)
    legend_below(figure, panels[0, 1], 3)
    return figure


def _draw_maps(records: Frame, prediction: Prediction) -> Figure:
    """Attention over what uniform attention would be; the same colours in all maps."""
    picture = prediction["picture"]
    image = np.frombuffer(bytes.fromhex(picture["pixels"]), np.uint8).reshape(picture["shape"])
    arms_shown = list(dict.fromkeys((entry["ratio"], entry["unit"]) for entry in prediction["visible kin"]))
    tokens = ("class token", "object token")
    figure, panels = figure_with_panels(7.2, 2.1, len(tokens), 2 + len(arms_shown))
    shown: Any = None
    for row, token in zip(panels, tokens, strict=True):
        row[0].imshow(image.squeeze(), cmap="gray", extent=(0, prediction["grid"][1], prediction["grid"][0], 0))
        row[0].set_ylabel(token, fontsize=8.5)
        maps = records[records["score"] == f"map of {token}"]
        cases = [("untrained", *arms_shown[0])] + [("trained", *arm) for arm in arms_shown]
        for axes, (source, ratio, unit) in zip(row[1:], cases, strict=True):
            cells = maps[(maps["source"] == source) & np.isclose(maps["ratio"], ratio) & (maps["unit"] == unit)]
            values = cells.sort_values("cell")["value"].to_numpy().reshape(prediction["grid"])
            relative = np.log2(np.maximum(values * values.size / values.sum(), 1e-9))
            extent = (0, prediction["grid"][1], prediction["grid"][0], 0)
            shown = axes.imshow(relative, cmap="PuOr_r", vmin=-3, vmax=3, extent=extent)
            if token == tokens[0]:
                axes.set_title("untrained" if source == "untrained" else f"r = {ratio:g}\nu = {unit}", fontsize=8)
        for axes in row:
            _mark(axes, prediction, query=picture["query"] if token == tokens[1] else None)
    bar = figure.colorbar(shown, ax=panels, ticks=[-3, 0, 3], shrink=0.8, pad=0.01)
    bar.ax.set_yticklabels(["⅛", "1", "8"])
    bar.set_label("over uniform", fontsize=8.5)
    return figure


def _mark(axes: Axes, prediction: Prediction, query: int | None) -> None:
    """Borders between objects, and the patch that asks."""
    (rows, columns), (down, across) = prediction["grid"], prediction["objects"]
    for i in range(1, down):
        axes.axhline(i * rows / down, color=COLORS["black"], linewidth=0.7)
    for i in range(1, across):
        axes.axvline(i * columns / across, color=COLORS["black"], linewidth=0.7)
    if query is not None:
        row, column = divmod(query, columns)
        axes.plot(column + 0.5, row + 0.5, marker="s", markersize=4, color=COLORS["green"], markeredgecolor="white")
    axes.set(xticks=[], yticks=[], xlim=(0, columns), ylim=(rows, 0))


EXPERIMENT = Experiment(
    name="attention",
    title="Attention",
    question="Do patches attend to the patches that share their object's latents, and where does the class token look?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU, "short": SHORT, "long": LONG},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
