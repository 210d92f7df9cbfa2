"""The feature similarity index FSIM of Zhang, Zhang, Mou and Zhang, from its formulas.

Two images are compared where either has structure: ``sum S_pc S_g w / sum w`` over pixels, with ``w`` the larger of
their phase congruencies, ``S_pc`` the similarity of these and ``S_g`` that of their gradient magnitudes. Only luminance
is compared.

Phase congruency is Kovesi's second measure: over scales ``n`` of log-Gabor filters at one orientation, with responses
``r_n`` (complex: even and odd) and the direction ``u`` of their sum, the energy is
``sum_n (Re(r_n / u) - |Im(r_n / u)|)`` less what noise would give, and at least 0; the congruency is the energy over
``sum_n |r_n|``, both summed over orientations.

References:
    Zhang, Zhang, Mou, Zhang, "FSIM: A Feature Similarity Index for Image Quality Assessment", IEEE Transactions on
    Image Processing 20 (2011). Kovesi, "Image Features from Phase Congruency", Videre 1 (1999), also for the estimate
    of noise. Two constants stand in Kovesi's program alone, which FSIM's authors used: the low-pass filter that cuts
    the corners of the spectrum, and the factor 1.7 of the noise threshold.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

_ORIENTATIONS = 4
_SHORTEST = 6.0
"""Wavelength of the finest filters in pixels; each further scale doubles it."""
_BANDWIDTH = 0.55
"""Standard deviation of a log-Gabor filter over its centre, on a logarithmic axis of frequency."""
_SPREAD = math.pi / _ORIENTATIONS / 1.2
"""Standard deviation of a filter over angles, in radians."""
_CUTOFF, _ORDER = 0.45, 15
"""Butterworth low-pass, in cycles per pixel."""
_NOISE_DEVIATIONS, _NOISE_RESCALING = 2.0, 1.7
"""The threshold is so many standard deviations above the mean of the noise's energy, divided by a factor."""
_TINY = 1e-4
_PC_CONSTANT, _GRADIENT_CONSTANT = 0.85, 160.0
"""T1 and T2 of the publication, for luminance from 0 to 255."""
_WEIGHTS = np.asarray([0.299, 0.587, 0.114])
_LARGEST = 383
_SCHARR = np.asarray([[3.0, 0.0, -3.0], [10.0, 0.0, -10.0], [3.0, 0.0, -3.0]]) / 16


def fsim(
    images: Float[np.ndarray, "n h w *c"],
    references: Float[np.ndarray, "n h w *c"],
    *,
    n_scales: int = 4,
    where: Bool[np.ndarray, "n h w"] | None = None,
) -> Float[np.ndarray, " n"]:
    """Similarity of images to references, 1 for equal ones; the order of the two does not matter.

    Args:
        images: values in [0, 1], with one or three channels, or none.
        references: as many images of the same shape.
        n_scales: scales of the filters, whose wavelengths are 6, 12, 24, ... pixels. The publication has 4.
        where: pixels that count; ``None`` for all. Filters see the whole images in any case.

    Returns:
        One number per image, in (0, 1]. Where no pixel that counts has phase congruency in either image, the plain mean
        of the similarities; the publication leaves this case undefined.

    Raises:
        ValueError: shapes that differ; a shorter side above 383 pixels, which the publication would halve first; or an
            image in which nothing counts.
    """
    if images.shape != references.shape:
        raise ValueError(f"images and references must have the same shape, got {images.shape} and {references.shape}")
    first, second = luminance(images), luminance(references)
    if min(first.shape[1:]) > _LARGEST:
        raise ValueError(f"FSIM is written for sides of at most {_LARGEST} pixels, got {first.shape[1:]}: scale down")
    counted = np.ones(first.shape, dtype=bool) if where is None else where
    if counted.shape != first.shape or not counted.any(axis=(1, 2)).all():
        raise ValueError(
            f"where must be a boolean array of shape {first.shape} with a true pixel in every image, got shape "
            f"{counted.shape}"
        )
    one, other = (phase_congruency(values, n_scales) for values in (first, second))
    similar = _similarity(one, other, _PC_CONSTANT)
    similar = similar * _similarity(gradient_magnitude(first), gradient_magnitude(second), _GRADIENT_CONSTANT)
    weights = np.where(counted, np.maximum(one, other), 0.0)
    empty = ~weights.any(axis=(1, 2))
    weights[empty] = counted[empty]
    return (similar * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))


def luminance(images: Float[np.ndarray, "n h w *c"]) -> Float[np.ndarray, "n h w"]:
    """Luminance from 0 to 255 of images with values in [0, 1]: 0.299 R + 0.587 G + 0.114 B.

    Raises:
        ValueError: not (n, h, w), (n, h, w, 1) or (n, h, w, 3).
    """
    values = 255 * np.asarray(images, dtype=np.float64)
    if values.ndim == 4 and values.shape[3] == 3:
        return values @ _WEIGHTS
    if values.ndim == 4 and values.shape[3] == 1:
        return values[..., 0]
    if values.ndim != 3:
        raise ValueError(f"expected images of shape (n, h, w) or (n, h, w, 1 or 3), got {values.shape}")
    return values


def phase_congruency(values: Float[np.ndarray, "n h w"], n_scales: int = 4) -> Float[np.ndarray, "n h w"]:
    """How far the frequencies at each pixel are in phase, over all orientations; 0 to 1.

    Args:
        values: luminance from 0 to 255. Beyond the border images are repeated.
        n_scales: scales of the filters.
    """
    spectrum = np.fft.fft2(values)[:, None]
    energy, amplitude = np.zeros(values.shape), np.zeros(values.shape)
    for filters in _log_gabor(*values.shape[1:], n_scales):
        responses = np.fft.ifft2(spectrum * filters)
        total = responses.sum(axis=1, keepdims=True)
        turned = responses * (total / (np.abs(total) + _TINY)).conj()
        own = (turned.real - np.abs(turned.imag)).sum(axis=1)
        energy += np.maximum(own - _noise_threshold(responses[:, 0], filters), 0.0)
        amplitude += np.abs(responses).sum(axis=1)
    return energy / (amplitude + _TINY)


def gradient_magnitude(values: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, "n h w"]:
    """Length of the gradient by Scharr's filters; 0 beyond the border."""
    across = ndimage.convolve(values, _SCHARR[None], mode="constant")
    down = ndimage.convolve(values, _SCHARR.T[None], mode="constant")
    return np.hypot(across, down)


def _similarity(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


@functools.lru_cache(maxsize=16)
def _log_gabor(height: int, width: int, n_scales: int) -> Float[np.ndarray, "orientations scales h w"]:
    """Transfer functions on the grid of frequencies of ``np.fft.fft2``."""
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    radius, angle = np.hypot(down, across), np.arctan2(-down, across)
    radius[0, 0] = 1.0
    centres = 1 / (_SHORTEST * 2.0 ** np.arange(n_scales))
    radial = np.exp(-(np.log(radius / centres[:, None, None]) ** 2) / (2 * math.log(_BANDWIDTH) ** 2))
    radial /= 1 + (radius / _CUTOFF) ** (2 * _ORDER)
    radial[:, 0, 0] = 0.0
    towards = np.arange(_ORIENTATIONS)[:, None, None] * math.pi / _ORIENTATIONS
    apart = np.angle(np.exp(1j * (angle - towards)))
    return np.exp(-(apart**2) / (2 * _SPREAD**2))[:, None] * radial


def _noise_threshold(
    finest: Float[np.ndarray, "n h w"], filters: Float[np.ndarray, "scales h w"]
) -> Float[np.ndarray, "n 1 1"]:
    """What energy noise alone rarely exceeds.

    The squared responses of the finest filter to white noise are exponential, so their median tells its power. The
    energy of noise is taken as Rayleigh, with the scale that this power gives the sum of all filters' responses.
    """
    pixels = finest[0].size
    power = np.median(np.abs(finest) ** 2, axis=(1, 2)) / math.log(2) / (filters[0] ** 2).sum()
    kernel = np.fft.ifft2(filters.sum(axis=0)).real
    scale = np.sqrt(power * pixels * (kernel**2).sum())
    threshold = scale * (math.sqrt(math.pi / 2) + _NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2))
    return (threshold / _NOISE_RESCALING)[:, None, None]
