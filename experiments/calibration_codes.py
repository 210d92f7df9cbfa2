"""Codes whose truth is known, for the calibration of verdicts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hlvm.scoring import RegressionConfig, Verdict

REGRESSION = RegressionConfig(
    max_train=360, n_boot=300, bandwidths=(0.5, 1.0, 2.0, 4.0), ridges=(1e-6, 1e-4, 1e-2, 1.0)
)


def rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random rotation of d dimensions."""
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def curve(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Invertible and curved: each coordinate of a rotation is stretched near 0, then rotated again."""
    mixed = z @ rotation(z.shape[1], rng)
    return (mixed + 0.5 * np.tanh(2 * mixed)) @ rotation(z.shape[1], rng)


def kinked(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Invertible and harder to read: two layers of rotations and leaky rectifiers."""
    for _ in range(2):
        mixed = z @ rotation(z.shape[1], rng)
        z = np.where(mixed > 0, mixed, 0.3 * mixed)
    return z @ rotation(z.shape[1], rng)


def trace(c: np.ndarray, s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An exact code plus style of 4 % of its variance: the average over the code's variance passes."""
    code = curve(c, rng)
    return code + 0.2 * code.std() * s @ rotation(s.shape[1], rng)


def copy(c: np.ndarray, s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Content and style together, curved."""
    return curve(np.concatenate([c, s], axis=1), rng)


def subset(c: np.ndarray, s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All but one direction of the content; in one dimension, the content folded."""
    return np.abs(c) if c.shape[1] == 1 else (c @ rotation(c.shape[1], rng))[:, :-1]


def correlated_style(c: np.ndarray, s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Style that holds some of the content."""
    return 0.8 * c @ rotation(c.shape[1], rng) + 0.6 * s


Code = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]

CODES: dict[str, tuple[Verdict, Code]] = {
    "linear": (Verdict.IDENTIFIED, lambda c, s, rng: c @ (rotation(c.shape[1], rng) + 0.2 * np.eye(c.shape[1]))),
    "curved": (Verdict.IDENTIFIED, lambda c, s, rng: curve(c, rng)),
    "overcomplete": (Verdict.IDENTIFIED, lambda c, s, rng: np.tanh(c @ rng.normal(size=(c.shape[1], 4 * c.shape[1])))),
    "independent": (Verdict.NOT_IDENTIFIED, lambda c, s, rng: curve(s, rng)),
    "copied input": (Verdict.NOT_IDENTIFIED, copy),
    "rotated subset": (Verdict.NOT_IDENTIFIED, subset),
    "correlated style": (Verdict.NOT_IDENTIFIED, correlated_style),
    "folded": (Verdict.NOT_IDENTIFIED, lambda c, s, rng: c**2),
    "constant": (Verdict.COLLAPSED, lambda c, s, rng: np.zeros_like(c)),
}

WITH_STYLE: dict[str, tuple[Verdict, Code]] = {
    "curved, style given": (Verdict.IDENTIFIED, lambda c, s, rng: curve(c, rng)),
    "trace of style, style given": (Verdict.NOT_IDENTIFIED, trace),
}
"""Codes that are judged with the style as ``others``. It depends on the content: style = 0.6 content + 0.8 its own."""
