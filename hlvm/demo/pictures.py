"""The demo's figures: scenes and what was made of them, heat maps beside them, claims, scores and losses."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import matplotlib.image as mpl_image
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from hlvm import plotting
from hlvm.claims import Claim
from hlvm.demo.setting import Frame, MaskCase, by_case
from hlvm.mae import Fit
from hlvm.mae.networks.networks import code_dim_of
from hlvm.study import StudyResult
from hlvm.study.pictures import Pictures

__all__ = ["beside", "claims_figure", "gains_figure", "latents_figure", "losses_figure", "scenes_figure"]

_SIDE = 0.85
"""Inches of a scene."""
_DPI, _GAP = 160, 50
"""Dots per inch of pictures side by side, and dots between them."""


def scenes_figure(pictures: Pictures, *, shown: int | None = None) -> Figure:
    """Scenes, what the encoder saw of them, and what was reconstructed, in three rows.

    Args:
        pictures: of one autoencoder.
        shown: number of scenes; ``None`` for all.
    """
    ((seen, made),) = pictures.arms.values()
    rows = {"scenes": pictures.samples, "what the\nencoder saw": seen, "what it\nreconstructed": made}
    columns = len(pictures.samples[:shown])
    with plotting.style():
        figure, axes = plotting.figure_with_panels(
            _SIDE * columns + 1.0, (_SIDE + 0.05) * len(rows), len(rows), columns
        )
        for of_row, (name, images) in zip(axes, rows.items(), strict=True):
            for ax, image in zip(of_row, np.asarray(images), strict=False):
                ax.imshow(np.clip(image, 0.0, 1.0), interpolation="nearest")
                ax.set_xticks([])
                ax.set_yticks([])
                ax.spines[:].set_visible(False)
            of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        return figure


def gains_figure(table: pd.DataFrame) -> Figure:
    """Heat maps over ratio and unit: what was predicted, above what was gained by training.

    A gain is the place of an R² between that of the untrained encoders, 0, and that of the visible part itself, 1.

    Args:
        table: of the study, by height.
    """
    room = table["ceiling"] - table["floor"]
    gained = {name: (table[name] - table["floor"]) / room for name in ("value", "low", "high", "floor", "ceiling")}
    return plotting.plot_study(table.assign(**gained, score="gain in R²"))


def beside(*figures: Figure) -> Float[np.ndarray, "H W 3"]:
    """One picture of several figures side by side, each in the middle of its height, on white."""
    drawn = [_pixels(figure) for figure in figures]
    tall = max(len(picture) for picture in drawn)
    parts: list[np.ndarray] = []
    for picture in drawn:
        above, rest = divmod(tall - len(picture), 2)
        parts += [np.ones((tall, _GAP, 3)), np.pad(picture, ((above, above + rest), (0, 0), (0, 0)), constant_values=1)]
    return np.concatenate(parts[1:], axis=1)


def _pixels(figure: Figure) -> Float[np.ndarray, "H W 3"]:
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=_DPI, bbox_inches="tight", facecolor="white", transparent=False)
        file.seek(0)
        return np.asarray(mpl_image.imread(file), dtype=np.float64)[..., :3]


def claims_figure(claims: Sequence[Claim]) -> Figure:
    """Every claim, numbered as in the table."""
    return plotting.plot_claims(
        [dataclasses.replace(c, text=f"{i}. {_short(c.text)}") for i, c in enumerate(claims, 1)],
        x_label="held-out kernel R², or a difference of two",
        title="Claims: what was predicted, and what was measured",
    )


def _short(text: str) -> str:
    """A label in two lines, broken after the first colon."""
    return text.replace(": ", ":\n", 1)


def latents_figure(scores: pd.DataFrame) -> Figure:
    """Scores of every latent from every bottleneck's code."""
    latents: Frame = scores[scores["height"] > 0]
    title = "Bottleneck codes: kernel R² of what enters at every latent"
    return plotting.plot_scores_by_latent(latents, title=title)


def losses_figure(cases: Sequence[MaskCase], bottlenecks: Sequence[Fit], found: StudyResult, scenes: Fit) -> Figure:
    """Losses of all that was trained; of the study of the first seed."""
    narrow = {
        f"{case.label}, code dim {code_dim_of(fit.network)}": fit.losses for case, fit in by_case(cases, bottlenecks)
    }
    wide = {one["arm"]: np.repeat(one["loss"], np.diff([0, *one["step"]])) for one in found.losses if one["seed"] == 0}
    panels: dict[str, Any] = {"Bottlenecks": narrow, "Study": wide, "Scenes": {"transformer": scenes.losses}}
    return plotting.plot_losses(panels)
