"""Metrics of images against other programs' numbers, and the verdicts of the reconstruction experiment."""

import functools

import numpy as np
import pandas as pd
import pytest

from experiments.fsim import fsim, phase_congruency
from experiments.image_quality import METRICS, quality
from experiments.reconstruction import LAPTOP, judge, predict

# ---------------------------------------------------------------------- metrics


def pictures(height, width):
    """A striped disc on a slope of light, and three ways to spoil it; the same on every machine."""
    down, right = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    disc = np.hypot(down - 0.45 * height, right - 0.55 * width) < 0.3 * min(height, width)
    image = np.where(disc, 0.6 + 0.3 * np.sin(1.1 * right + 0.4 * down), 0.2 + 0.3 * right / width)
    smooth = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1) + np.roll(image, (1, 1), (0, 1))) / 4
    noisy = np.clip(image + 0.1 * np.sin(37.0 * down * right + 11.0 * down + 5.0 * right), 0, 1)
    return image, {"smooth": smooth, "noisy": noisy, "flat": np.full_like(image, image.mean()), "pale": 0.5 + image / 2}


# Of piq 0.8.0, an independent program, in double precision: `piq.fsim(spoilt, image, chromatic=False, scales=4)`,
# the same with `scales=3`, and `piq.ssim(spoilt, image, downsample=False)`.
PIQ = {
    (32, 32): {
        "smooth": (0.853313, 0.816138, 0.75036),
        "noisy": (0.803307, 0.84421, 0.830435),
        "flat": (0.426592, 0.367357, 0.108122),
        "pale": (0.877152, 0.852032, 0.725307),
    },
    (48, 40): {
        "smooth": (0.867667, 0.804991, 0.820905),
        "noisy": (0.737384, 0.837148, 0.631593),
        "flat": (0.569865, 0.414708, 0.328832),
        "pale": (0.897235, 0.854283, 0.739924),
    },
}


@pytest.mark.parametrize("size", PIQ)
@pytest.mark.parametrize("scales", [4, 3])
def test_fsim_is_that_of_another_program(size, scales, monkeypatch):
    """It differs in two ways: it adds less to denominators, and takes the lower of the two middle values as median.

    A flat image is left out, where the two differ by 0.1: its congruency is 0 / 0, so probably rounding errors decide.
    """
    image, spoilt = pictures(*size)
    names = ("smooth", "noisy", "pale")
    expected = [PIQ[size][name][4 - scales] for name in names]

    def found():
        return [fsim(spoilt[name][None], image[None], n_scales=scales)[0] for name in names]

    assert found() == pytest.approx(expected, abs=2e-4)
    monkeypatch.setattr("experiments.fsim._TINY", np.finfo(float).eps)
    monkeypatch.setattr(np, "median", functools.partial(np.quantile, q=0.5, method="lower"))
    assert found() == pytest.approx(expected, abs=2e-5)


def test_ssim_is_that_of_another_program():
    """It leaves out windows that reach beyond the border, of 5 pixels."""
    image, spoilt = pictures(32, 32)
    inside = np.zeros((1, 32, 32), dtype=bool)
    inside[:, 5:-5, 5:-5] = True
    for name, picture in spoilt.items():
        found = quality(picture[None, ..., None], image[None, ..., None], inside)["SSIM"]
        assert found == pytest.approx(PIQ[(32, 32)][name][2], abs=2e-5), name


def test_pixel_metrics_follow_their_formulas():
    rng = np.random.default_rng(0)
    guesses, images = rng.random((3, 16, 16, 3)).astype(np.float32), rng.random((3, 16, 16, 3)).astype(np.float32)
    where = rng.random((3, 16, 16)) < 0.3
    found = quality(guesses, images, where)
    error = np.asarray(
        [((g - i)[w].astype(np.float64) ** 2).mean() for g, i, w in zip(guesses, images, where, strict=True)]
    )
    assert found["MSE"] == pytest.approx(error, rel=1e-5)
    assert found["PSNR"] == pytest.approx(10 * np.log10(1 / error), rel=1e-5)
    assert quality(2 * images, np.clip(2 * images, 0, 1))["MSE"].max() == 0  # images are clipped


def test_equal_images_are_most_similar():
    image = pictures(32, 32)[0][None]
    assert fsim(image, image) == pytest.approx(1.0)
    found = quality(np.stack([image] * 3, axis=-1), np.stack([image] * 3, axis=-1))
    assert (found["MSE"], found["SSIM"], found["FSIM"]) == (0.0, pytest.approx(1.0), pytest.approx(1.0))


def test_fsim_does_not_depend_on_the_order_or_on_what_does_not_count():
    image, spoilt = pictures(32, 32)
    pair = image[None], spoilt["noisy"][None]
    assert fsim(*pair) == pytest.approx(fsim(*pair[::-1]))
    where = np.zeros((1, 32, 32), dtype=bool)
    where[0, :, :16] = True
    parts = fsim(*pair, where=where), fsim(*pair, where=~where)
    weights = np.maximum(*(phase_congruency(255 * part) for part in pair))[0]
    shares = weights[:, :16].sum() / weights.sum(), weights[:, 16:].sum() / weights.sum()
    assert parts[0] * shares[0] + parts[1] * shares[1] == pytest.approx(fsim(*pair))


def test_fsim_of_images_without_features_is_one():
    assert fsim(np.full((1, 16, 16), 0.3), np.full((1, 16, 16), 0.3)) == pytest.approx(1.0)


def test_fsim_refuses():
    image = np.zeros((1, 16, 16))
    with pytest.raises(ValueError, match="same shape"):
        fsim(image, np.zeros((1, 16, 8)))
    with pytest.raises(ValueError, match="true pixel"):
        fsim(image, image, where=np.zeros((1, 16, 16), dtype=bool))
    with pytest.raises(ValueError, match="at most 383"):
        fsim(np.zeros((1, 400, 400)), np.zeros((1, 400, 400)))
    with pytest.raises(ValueError, match="1 or 3"):
        fsim(np.zeros((1, 16, 16, 2)), np.zeros((1, 16, 16, 2)))


# ---------------------------------------------------------------------- verdicts


def made_up(value):
    """Records as measured, from a function of score, seen, ratio, unit and seed."""
    config = LAPTOP.fits
    pairs = {(ratio, config.unit) for ratio in config.ratios} | {(config.ratio, unit) for unit in config.units}
    rows = [
        {"ratio": ratio, "unit": unit, "seed": seed, "source": source, "seen": seen, "score": score}
        | {"value": value(score, seen, ratio, unit, seed)}
        for ratio, unit in pairs
        for seed in range(config.replicates)
        for source in ("trained", "untrained", "mean image")
        for seen in ("whole image", "visible part")
        for score in METRICS
    ]
    return pd.DataFrame(rows)


def as_predicted(score, seen, ratio, unit, seed):
    if seen == "visible part":  # everything gets worse
        return {"MSE": 1, "PSNR": -1}.get(score, -1) * (ratio + unit) + 0.01 * seed
    if score in ("SSIM", "FSIM"):
        return 5 + (ratio if ratio <= 0.75 else 0.5) + unit + 0.01 * seed
    worse = unit - (ratio if ratio > 0.75 else 0)
    return 10 + worse if score == "MSE" else 10 - worse


def test_judge_agrees_with_what_paper_and_theory_say():
    claims = judge(made_up(as_predicted), predict(LAPTOP))
    assert [claim.holds for claim in claims] == [True] * 9
    assert [claim.paper_agrees for claim in claims] == [True] * 5 + [None] * 4
    assert [claim.theory_agrees for claim in claims] == [None] * 5 + [True] * 3 + [None]


def test_judge_refutes_the_opposite():
    claims = judge(made_up(lambda *cell: -as_predicted(*cell)), predict(LAPTOP))
    assert [claim.holds for claim in claims] == [False] * 9


def test_judge_leaves_open_what_seeds_do_not_decide():
    claims = judge(made_up(lambda score, seen, ratio, unit, seed: 10 * (-1) ** seed * (ratio + unit)), predict(LAPTOP))
    assert [claim.holds for claim in claims][:8] == [None] * 8
