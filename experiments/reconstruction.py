"""How do pixel metrics and structural metrics of reconstructions follow the masking ratio and the masking unit?

The paper lets its autoencoders reconstruct whole images, with nothing masked. The loss never asks for that: it covers
masked places only. So both are measured here: the whole image from the whole image, and the masked part at the ratio of
training.

Predicted before training: docs/experiments/reconstruction.md.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from experiments import scene_fits
from experiments.command import command
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.image_quality import quality
from experiments.reconstruction_figures import draw
from experiments.scene_fits import HeldOut, both_series, groups, scene_model, trained
from hlvm import mae
from hlvm.claims import (
    ABOVE_ZERO,
    BELOW_ZERO,
    SILENT,
    Claim,
    Limits,
    Stance,
    mean_claim,
    ordering_claim,
    yes,
)
from hlvm.mae import Fit, images_of_rows, rows_of_images
from hlvm.mae.networks.networks import unflatten
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.plotting import MASKED_RGB

MARGINS = {"SSIM": 0.02, "FSIM": 0.02, "PSNR": 0.5, "MSE": 0.002}
"""Largest differences that count as none; of PSNR in dB, of MSE with pixels from 0 to 1."""

SMOKE = HeldOut(fits=scene_fits.SMOKE, images=4)
LAPTOP = HeldOut(fits=scene_fits.LAPTOP)
SHORT, LONG = (dataclasses.replace(LAPTOP, fits=fits) for fits in (scene_fits.SHORT, scene_fits.LONG))
GPU = HeldOut(fits=scene_fits.GPU, images=1000)


def predict(config: HeldOut) -> Prediction:
    """Signs of differences, by the two series; and what the series are."""
    return {
        **both_series(config.fits),
        "shape": list(scene_model(config.fits).shape),
        "paper, nothing masked": {
            "SSIM and FSIM from the lowest ratio to the optimum": "rise",
            "PSNR and -MSE from the optimum to the highest ratio": "rise",
            "SSIM and FSIM from the optimum to the highest ratio": "do not rise",
            "SSIM and FSIM from the smallest unit to the largest": "rise",
            "PSNR and -MSE from the smallest unit to the largest": "fall",
        },
        "theory, masked part": {
            "MSE from ratio to ratio": "rises",
            "SSIM and FSIM from the lowest ratio to the highest": "fall",
            "MSE from unit to unit": "rises",
        },
    }


def measure(config: HeldOut, group: Group, states: Path | None) -> list[Record]:
    """Every metric of one arm, for each seed, for the trained network and its controls."""
    records: list[Record] = []
    for fit in trained(config.fits, group, states):
        model = scene_model(config.fits, fit.seed)
        image_key, mask_key = jax.random.split(jax.random.fold_in(jax.random.key(config.key), fit.seed))
        images = np.asarray(model.sample(image_key, config.images).images)
        graph = fit.model.graph
        masks = np.asarray(fit.mask.sample(mask_key, config.images, graph))
        hidden = np.asarray(images_of_rows(masks[:, graph.arrays.cell_of_column], graph, model.shape))[..., 0]
        mean_image = np.asarray(images_of_rows(fit.shift[None], graph, model.shape))
        floor = fit.untrained()
        guesses = {
            "trained": (whole_image(fit, images), masked_part(fit, images, masks)),
            "untrained": (whole_image(floor, images), masked_part(floor, images, masks)),
            "mean image": (np.broadcast_to(mean_image, images.shape), np.where(hidden[..., None], mean_image, images)),
            "input": (images, images),
        }
        for source, (whole, part) in guesses.items():
            for seen, guess, where in (("whole image", whole, None), ("visible part", part, hidden)):
                for score, values in quality(guess, images, where).items():
                    if np.isfinite(values).all():  # PSNR of the input itself is infinite
                        about = {**group, "seed": fit.seed, "source": source, "seen": seen}
                        records.append({**about, "score": score, "value": round(float(values.mean()), 5)})
        if fit.seed == 0:
            whole, part = guesses["trained"]
            shown = {
                "whole image": whole,
                "visible part": part,
                "input": np.where(hidden[..., None], MASKED_RGB, images),
            }
            records += [
                {
                    **group,
                    "seed": 0,
                    "source": "trained",
                    "seen": seen,
                    "score": "picture",
                    "value": _mse(guess, images),
                }
                | {"pixels": np.round(255 * np.clip(guess[0], 0, 1)).astype(np.uint8).tobytes().hex()}
                for seen, guess in shown.items()
            ]
    return records


def _mse(guess: np.ndarray, images: np.ndarray) -> float:
    return round(float(((np.clip(guess[0], 0, 1) - images[0]) ** 2).mean()), 5)


def whole_image(fit: Fit, images: Float[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n h w c"]:
    """What the decoder gives at every place when the encoder sees everything."""
    graph, network = fit.model.graph, fit.built
    if not isinstance(network, ViTNetwork):
        raise ValueError(f"expected a ViT, got {type(network).__name__}")
    seeing = dataclasses.replace(network, n_visible=network.tokens.n_tokens, padded=False)
    values = (jnp.asarray(rows_of_images(images, graph)) - fit.shift) / fit.scale
    rows = _decoded(seeing, fit.params, values, jnp.zeros((len(images), graph.n_observed), bool))
    return np.asarray(images_of_rows(rows * fit.scale + fit.shift, graph, images.shape[1:]))


@functools.partial(jax.jit, static_argnums=0)
def _decoded(
    network: ViTNetwork,
    flat: Float[Array, " parameters"],
    values: Float[Array, "n columns"],
    masked: Bool[Array, "n cells"],
) -> Float[Array, "n columns"]:
    return network.reconstruct(unflatten(network, flat), values, masked, jnp.ones(()), jnp.zeros((1, len(values), 0)))[
        0
    ]


def masked_part(
    fit: Fit, images: Float[np.ndarray, "n h w c"], masks: Bool[np.ndarray, "n cells"]
) -> Float[np.ndarray, "n h w c"]:
    """The images with their masked part reconstructed from the rest."""
    rows = mae.reconstruct(fit, images, masks)
    return np.asarray(images_of_rows(rows, fit.model.graph, images.shape[1:]))


# ---------------------------------------------------------------------- verdicts


Arm = tuple[float, int]
"""Masking ratio and unit."""


def judge(records: Frame, prediction: Prediction) -> list[Claim]:
    """Changes, paired by seed; what the paper says is of whole images, the theory of masked parts."""
    ratios, units, unit, best = (prediction[name] for name in ("ratios", "units", "unit", "ratio"))
    series = [(ratio, unit) for ratio in ratios]
    of_units = [(best, side) for side in units]
    low, optimum, high = series[0], (best, unit), series[-1]
    ends = of_units[0], of_units[-1]
    trained_ones = records[records["source"] == "trained"]
    values = {
        cell: part.set_index("seed")["value"] for cell, part in trained_ones.groupby(["seen", "score", "ratio", "unit"])
    }

    def change(
        text: str,
        limits: Mapping[str, Limits],
        arms: tuple[Arm, Arm],
        seen: str = "whole image",
        paper: Stance = SILENT,
        theory: Stance = SILENT,
    ) -> Claim:
        """That scores rise or fall from one arm to another."""
        start, end = arms
        differences = {score: values[seen, score, *end] - values[seen, score, *start] for score in limits}
        margins = {score: MARGINS[score] for score in limits}
        return mean_claim(text, differences, limits, margin=margins, paper=paper, theory=theory)

    def grows(text: str, along: list[Arm], varies: int, theory: Stance) -> Claim:
        errors = {f"{arm[varies]:g}": values["visible part", "MSE", *arm] for arm in along}
        return ordering_claim(text, errors, margin=MARGINS["MSE"], theory=theory)

    rise = {"SSIM": ABOVE_ZERO, "FSIM": ABOVE_ZERO}
    fall = {"SSIM": BELOW_ZERO, "FSIM": BELOW_ZERO}
    return [
        change(
            f"Nothing masked: SSIM and FSIM are higher at ratio {best} than at {low[0]}.",
            rise,
            (low, optimum),
            paper=yes("they rise from ratio 0.1 to 0.75"),
        ),
        change(
            f"Nothing masked: PSNR is higher and MSE lower at ratio {high[0]} than at {best}.",
            {"PSNR": ABOVE_ZERO, "MSE": BELOW_ZERO},
            (optimum, high),
            paper=yes("pixel metrics rise at 0.9"),
        ),
        change(
            f"Nothing masked: SSIM and FSIM are no higher at ratio {high[0]} than at {best}.",
            fall,
            (optimum, high),
            paper=yes("at 0.9 pixel metrics rise instead of SSIM and FSIM"),
        ),
        change(
            f"Nothing masked: SSIM and FSIM are higher with units of {units[-1]} than of {units[0]}.",
            rise,
            ends,
            paper=yes("larger units favour SSIM and FSIM"),
        ),
        change(
            f"Nothing masked: PSNR is higher and MSE lower with units of {units[0]} than of {units[-1]}.",
            {"PSNR": BELOW_ZERO, "MSE": ABOVE_ZERO},
            ends,
            paper=yes("smaller units favour pixel metrics"),
        ),
        grows(
            "Masked part: the squared error grows from each ratio to the next.",
            series,
            0,
            yes("less is visible, so the best guess errs more"),
        ),
        change(
            f"Masked part: SSIM and FSIM are lower at ratio {high[0]} than at {low[0]}.",
            fall,
            (low, high),
            "visible part",
            theory=yes("they fall as the best guess gets worse"),
        ),
        grows(
            "Masked part: the squared error grows from each unit to the next.",
            of_units,
            1,
            yes("what separates a masked patch from the visible part stands higher"),
        ),
        mean_claim(
            "The squared error is larger with nothing masked than on the masked part, at every ratio.",
            {
                f"difference of MSE at ratio {arm[0]}": values["whole image", "MSE", *arm]
                - values["visible part", "MSE", *arm]
                for arm in series
            },
            reason="a control: the loss asks for masked places only",
        ),
    ]


EXPERIMENT = Experiment(
    name="reconstruction",
    title="Reconstruction",
    question="How do pixel metrics and structural metrics of reconstructions follow the masking ratio and unit?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU, "short": SHORT, "long": LONG},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
