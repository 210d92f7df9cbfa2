"""The passage from signals to scores: a law with two constants, fitted on committed records, frozen in a file.

Of a latent under a mask let *relevance* be its share of a ridge reconstruction, *readability* how well its noise is
read from what is visible (section 10 of ``docs/theory.md``), and M the number of masked cells. The *pull* of a masking
strategy on the latent is the mean over its masks of ``relevance * sqrt(readability) * M / (M + M0)``. The law says of
what training gains over an untrained encoder, ``g = (R² - floor) / (1 - floor)``, after T steps::

    g / (1 - g) = kappa * T * pull

``python -m experiments.signal_law`` fits ``kappa`` and ``M0`` anew on gains of quadtrees that were measured before the
law was tested elsewhere, ``experiments/signal_law_gains.csv``, and writes ``experiments/signal_law.json``.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import scipy.optimize
import scipy.stats
import threadpoolctl
from jaxtyping import Bool, Float

from experiments.experiment import Frame
from experiments.quadtree_fits import COMPARED, MECHANISMS, QuadtreeFits, strategy
from hlvm import HierarchicalModel, LatentGraph
from hlvm._files.digests import read_json, write_json
from hlvm._keys import checked_key
from hlvm.masking import MaskSampler
from hlvm.study.truth import generator_key, source_of
from hlvm.theory import estimated_oracle
from hlvm.theory.oracles import NoiseEffects, effects_of
from hlvm.theory.signal.ridge import DEFAULT_RIDGE, ridge_numbers

FILE = Path(__file__).with_suffix(".json")

GAINS = Path(__file__).with_name("signal_law_gains.csv")
"""Gains that the law is fitted on: per experiment and mechanism (``of``), arm and height, the mean over training seeds
of the noise's R² of one generator (``value``), and the ``gain``. From the records of :data:`RECORDS` in commit 4b4befa,
before these were measured again with several generators."""

RECORDS = ("masking_ratio", "masking_ratio_long", "masking_grid", "patch_size")
"""Experiments that the law is fitted on: transformers on one quadtree, one generator of each kind of mechanism."""

NOMINAL = 0.9
"""Coverage that intervals of forecasts are made for."""

_LEAST_SCALE = 0.02
"""Scale of an error where nothing, or everything, is gained."""

_MOST_TARGETS = np.geomspace(1, 64, 49)
"""Values of M0 that are tried."""

_MASKS, _ROWS = 64, 6000
_MASK_KEY, _DRAW_KEY = 7, 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignalLaw:
    """The law with its constants.

    Attributes:
        rate: ``kappa``, per 1,000 steps.
        half_targets: ``M0``, masked cells at which a mask pulls half as much as it could.
        ridge: of the reconstruction, in units of a cell's variance.
        half_width: of an interval of a forecast ``g``, in units of ``0.02 + g (1 - g)``.
    """

    rate: float
    half_targets: float
    ridge: float
    half_width: float

    def pull(
        self, effects: NoiseEffects, masks: Bool[np.ndarray, "n_masks n_observed"]
    ) -> Float[np.ndarray, " n_latents"]:
        """Mean pull of masks on every latent; NaN of one whose noise is not known or changes nothing."""
        _, relevance, readability = ridge_numbers([effects], masks, ~masks, self.ridge)[0]
        return pulls(relevance, readability, masks.sum(axis=1), self.half_targets)

    def gain(self, pull: Any, steps: Any) -> Any:
        """Forecast of ``g``, 0 to 1."""
        odds = self.rate * np.asarray(pull) * np.asarray(steps) / 1000
        return odds / (1 + odds)

    def interval(self, gain: Any) -> tuple[Any, Any]:
        """Ends of the interval of a forecast."""
        half = self.half_width * _scale(gain)
        return gain - half, gain + half


def pulls(relevance: Any, readability: Any, masked: Any, half_targets: float) -> Float[np.ndarray, " n_latents"]:
    """Pull of every latent from its numbers under each mask, (n_masks, n_latents), and how many cells each masks."""
    saturation = masked / (masked + half_targets)
    return (relevance * np.sqrt(readability) * saturation[:, None]).mean(axis=0)


def load_law() -> SignalLaw:
    """The law as it was frozen."""
    return SignalLaw(**read_json(FILE)["law"])


def effects_without_errors(oracle: Any) -> NoiseEffects:
    """Effects of noises of an oracle; forecasts need none of the errors of its draws, which take ten times as long."""
    return dataclasses.replace(effects_of(oracle), without=())


def drawn_masks(mask: MaskSampler, graph: LatentGraph) -> Bool[np.ndarray, "n_masks n_observed"]:
    """Masks that a pull is the mean over."""
    return np.asarray(mask.sample(jax.random.key(_MASK_KEY), _MASKS, graph))


def fit_law() -> dict[str, Any]:
    """Fit the law on :data:`GAINS`.

    Returns:
        The constants and how well they fit, ready for JSON.
    """
    known = pd.read_csv(GAINS)
    numbers = _numbers_of_records(known)
    law, predicted = _fitted(known, numbers, np.full(len(known), True))
    # Intervals from what each kind of mechanism of each experiment misses by constants that were fitted without it.
    missed = np.zeros(len(known))
    for of in known["of"].unique():
        left_out = (known["of"] == of).to_numpy()
        without = _fitted(known, numbers, ~left_out)[1][left_out]
        missed[left_out] = np.abs(known["gain"].to_numpy()[left_out] - without) / _scale(without)
    law["half_width"] = float(np.quantile(missed, NOMINAL))
    measured = known["gain"].to_numpy()
    return {
        "law": {name: round(value, 4) for name, value in law.items()},
        "records": list(RECORDS),
        "n": len(known),
        "root_mean_square_error": round(float(np.sqrt(((predicted - measured) ** 2).mean())), 4),
        "explained": round(float(1 - ((predicted - measured) ** 2).sum() / measured.var() / len(measured)), 4),
        "rank_correlation": {
            f"height {height}": round(_rank_correlation(predicted[rows], measured[rows]), 3)
            for height in sorted(known["height"].unique())
            for rows in [(known["height"] == height).to_numpy()]
        },
    }


def _numbers_of_records(known: Frame) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Relevance and readability of the latents of a height under each mask, and masked cells, for each row."""
    fits = QuadtreeFits()
    graph = fits.graph
    heights = np.array(graph.heights[: graph.n_latents])
    typed = generator_key(checked_key(fits.key), 0)
    found: dict[tuple[Any, ...], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for mechanism in COMPARED:
        make = functools.partial(HierarchicalModel.init, graph=graph, mechanism=MECHANISMS[mechanism])
        effects = effects_without_errors(estimated_oracle(source_of(make, typed), rows=_ROWS, key=_DRAW_KEY))
        arms = known[known["mechanism"] == mechanism][["strategy", "ratio", "unit"]].drop_duplicates()
        for name, ratio, unit in arms.itertuples(index=False, name=None):
            masks = drawn_masks(strategy(fits, name, ratio, unit), graph)
            _, relevance, readability = ridge_numbers([effects], masks, ~masks, DEFAULT_RIDGE)[0]
            for height in sorted(set(heights)):
                at = heights == height
                found[mechanism, name, ratio, unit, height] = (
                    relevance[:, at],
                    readability[:, at],
                    masks.sum(axis=1),
                )
    keys = known[["mechanism", "strategy", "ratio", "unit", "height"]].itertuples(index=False, name=None)
    return [found[key] for key in keys]


def _fitted(known: Frame, numbers: list[Any], rows: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Constants with the least squared error of ``g`` in these rows, and forecasts of all rows."""
    measured, steps = known["gain"].to_numpy(), known["steps"].to_numpy()
    best: tuple[float, dict[str, float], np.ndarray] | None = None
    for half_targets in _MOST_TARGETS:
        pull = np.array([pulls(share, read, masked, half_targets).mean() for share, read, masked in numbers])

        def error(log_rate: float, pull: np.ndarray = pull) -> float:
            odds = np.exp(log_rate) * pull * steps / 1000
            return float((((odds / (1 + odds)) - measured)[rows] ** 2).sum())

        found: Any = scipy.optimize.minimize_scalar(error, bounds=(-5, 5), method="bounded")
        if best is None or found.fun < best[0]:
            odds = np.exp(found.x) * pull * steps / 1000
            constants = {"rate": float(np.exp(found.x)), "half_targets": float(half_targets), "ridge": DEFAULT_RIDGE}
            best = float(found.fun), constants, odds / (1 + odds)
    assert best is not None
    return best[1], best[2]


def _scale(gain: Any) -> Any:
    return _LEAST_SCALE + gain * (1 - gain)


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    rank: Any = scipy.stats.spearmanr
    return float(rank(x, y).statistic)


if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(1):
        write_json(FILE, fit_law())
