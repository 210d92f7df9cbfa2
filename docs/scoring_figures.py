"""Figure of the page on scores: what floor, ceiling and null do to five well-known ones, computed when it is built."""

from pathlib import Path

import matplotlib
import numpy as np
from figures import STYLE
from matplotlib.figure import Figure

from hlvm.scoring import cca, cka, dci, kernel_r2, mcc

N_ROWS, N_LATENTS, N_OBSERVED = 120, 8, 64
METRICS = {
    "MCC": lambda code, z: mcc(code, z),
    "CCA, in sample": lambda code, z: float(cca(code, z).in_sample.mean()),
    "CKA, plain": lambda code, z: cka(code, z, debiased=False),
    "DCI, informativeness": lambda code, z: dci(code, z, key=0).informativeness,
    "kernel R², held out": lambda code, z: kernel_r2(code, z, key=0).value,
}
LOOKS = {
    "null: rows shuffled": ("x", "#7f7f7f"),
    "floor: untrained network": ("^", "#e69f00"),
    "code that holds half the variance": ("o", "#0072b2"),
    "ceiling: exact, curved and rotated": ("s", "#009e73"),
}


def draw_all(folder: Path) -> None:
    """Write the figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        draw(values()).savefig(folder / "score_controls.svg", metadata={"Date": None})


def values() -> dict[str, dict[str, float]]:
    """Score -> what was scored -> value."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N_ROWS, N_LATENTS))
    observed = np.tanh(z @ rng.normal(size=(N_LATENTS, N_OBSERVED))) + 0.3 * rng.normal(size=(N_ROWS, N_OBSERVED))
    untrained = np.maximum(observed @ rng.normal(size=(N_OBSERVED, 128)) / 8, 0) @ rng.normal(size=(128, N_LATENTS))
    rotated = z @ np.linalg.qr(rng.normal(size=(N_LATENTS, N_LATENTS)))[0]
    half = z + rng.normal(size=z.shape)
    exact = rotated + 0.5 * np.tanh(2 * rotated)
    codes = dict(zip(LOOKS, (half[rng.permutation(N_ROWS)], untrained, half, exact), strict=True))
    return {name: {what: score(code, z) for what, code in codes.items()} for name, score in METRICS.items()}


def draw(scores: dict[str, dict[str, float]]) -> Figure:
    """One line per score."""
    figure = Figure(figsize=(7.6, 3.3), layout="constrained")
    axes = figure.add_subplot()
    for place, of in enumerate(scores.values()):
        axes.plot([min(of.values()), max(of.values())], [place, place], color="0.85", linewidth=3, zorder=0)
    for what, (marker, color) in LOOKS.items():
        found = [of[what] for of in scores.values()]
        axes.plot(found, range(len(scores)), marker, color=color, markersize=8, label=what)
    axes.set_yticks(range(len(scores)), list(scores))
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set(xlabel="value", xlim=(-0.1, 1.03))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
