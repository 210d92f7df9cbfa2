"""How good a reconstruction is: pixel metrics MSE and PSNR, structural metrics SSIM and FSIM."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from skimage import metrics

from experiments.fsim import fsim

METRICS = ("MSE", "PSNR", "SSIM", "FSIM")
COARSE = "FSIM, 3 scales"
"""FSIM without its coarsest filters, whose wavelength of 48 pixels is longer than a small image."""


def quality(
    guesses: Float[np.ndarray, "n h w c"],
    images: Float[np.ndarray, "n h w c"],
    where: Bool[np.ndarray, "n h w"] | None = None,
) -> dict[str, Float[np.ndarray, " n"]]:
    """All metrics of reconstructions, one number per image.

    Args:
        guesses: reconstructions; clipped to [0, 1].
        images: what they should be, values in [0, 1].
        where: pixels that count; ``None`` for all.

    Returns:
        MSE and PSNR in decibels over all channels; SSIM with its authors' Gaussian window, mean over channels; FSIM of
        luminance, as published and without its coarsest scale.
    """
    guesses = np.clip(guesses, 0.0, 1.0).astype(np.float64)
    images = images.astype(np.float64)
    counted = np.ones(images.shape[:3], dtype=bool) if where is None else where
    rows: list[tuple[float, float, float]] = []
    for guess, image, pixels in zip(guesses, images, counted, strict=True):
        error = float(metrics.mean_squared_error(image[pixels], guess[pixels]))
        whole: Any = metrics.structural_similarity(
            image,
            guess,
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        rows.append((error, -10 * np.log10(error) if error else np.inf, float(whole[1][pixels].mean())))
    found = dict(zip(METRICS, np.asarray(rows).T, strict=False))
    return found | {
        "FSIM": fsim(guesses, images, where=counted),
        COARSE: fsim(guesses, images, n_scales=3, where=counted),
    }
