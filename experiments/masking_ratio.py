"""Is the highest latent recovered best at a masking ratio in the middle, and if so, why?

A transformer is trained on a quadtree of latents at several masking ratios. The score is the R² of kernel regression
from the mean token, of the values of variables and of the noise that enters at each height.

Predicted before training: docs/experiments/masking_ratio.md.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.command import command
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.masking_ratio_figures import draw
from experiments.quadtree_fits import (
    COMPARED,
    MARGIN,
    TINY,
    QuadtreeFits,
    available,
    code_records,
    input_records,
    per_seed,
    separated_at,
    share_stance,
    share_table,
    trained,
)
from hlvm.claims import SILENT, Claim, Stance, equivalence_claim, mean_claim, no, nothing, yes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        fits: sizes of training and scoring.
        ratios: masking ratios of uniform masks, invertible and noisy mechanisms.
        middle: the ratio where the paper's tables are best; among ``ratios``.
        ends: the two ratios that it is compared with; among ``ratios``.
        half: the ratio at which lower latents are in ``c`` most often; among ``ratios``.
        shorter: training is repeated this many times shorter at ``middle`` and ``ends``.
        strategies: other strategies, invertible and noisy mechanisms.
        strategy_ratios: their ratios; among ``ratios``.
        views: masking ratios at which images are encoded for scoring, 0 for whole images. The invertible regime has
            all of them, the other arms the first.
    """

    fits: QuadtreeFits = dataclasses.field(default_factory=QuadtreeFits)
    ratios: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    middle: float = 0.75
    ends: tuple[float, float] = (0.1, 0.95)
    half: float = 0.5
    shorter: int = 4
    strategies: tuple[str, ...] = ("block", "subtree")
    strategy_ratios: tuple[float, ...] = (0.25, 0.75)
    views: tuple[float, ...] = (0.0, 0.1, 0.75, 0.95)

    def __post_init__(self) -> None:
        missing = {self.middle, self.half, *self.ends, *self.strategy_ratios} - set(self.ratios)
        if missing:
            raise ValueError(f"ratios must hold middle, half, ends and strategy_ratios; {sorted(missing)} are missing")
        if self.views[0] != 0 or not {self.middle, *self.ends} <= set(self.views):
            raise ValueError(f"views must begin with 0 and hold middle and ends, got {self.views}")

    @property
    def few(self) -> tuple[float, ...]:
        """Ratios of shorter training and linear mechanisms."""
        return tuple(dict.fromkeys((self.ends[0], self.middle, self.ends[1])))


# One ratio, compared with itself: most of a minute is compiling, anew for every ratio and mechanism.
SMOKE = Config(
    fits=TINY, ratios=(0.5,), middle=0.5, ends=(0.5, 0.5), half=0.5, views=(0.0, 0.5), strategy_ratios=(0.5,)
)
LAPTOP = Config()
LONG = dataclasses.replace(
    LAPTOP,
    fits=dataclasses.replace(LAPTOP.fits, steps=5 * LAPTOP.fits.steps, generators=1, seeds=4),  # as it was run
    shorter=5,
)
GPU = Config(
    fits=QuadtreeFits(
        width=128, depth=6, decoder_width=64, generators=10, steps=30_000, batch=256, rows=1600, per_height=16
    ),
    ratios=(0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95),
    strategy_ratios=(0.25, 0.5, 0.75),
)


def _predict(config: Config) -> Prediction:
    top = config.fits.height
    arms = [("uniform", ratio, 1) for ratio in config.ratios]
    arms += list(itertools.product(config.strategies, config.strategy_ratios, (1,)))
    heights = range(1, top + 1)
    shares = share_table(config.fits, dict.fromkeys(COMPARED, tuple(arms)))
    return {
        "share_in_c": [{name: value for name, value in row.items() if name != "unit"} for row in shares],
        "uniform": [
            {
                "ratio": ratio,
                "height": height,
                "available": round(available(4**top, 4**height, ratio), 5),
                "separated_at": round(separated_at(height, top, ratio), 5),
            }
            for ratio in config.ratios
            for height in heights
        ],
        "middle": config.middle,
        "ends": list(config.ends),
        "steps": [config.fits.steps // config.shorter, config.fits.steps],
        "half": config.half,
        "strategy_ratios": list(config.strategy_ratios),
        "top": top,
    }


def _groups(config: Config) -> list[Group]:
    steps = config.fits.steps
    arms = [("invertible", ratio, steps) for ratio in config.ratios]
    arms += [("invertible", ratio, steps // config.shorter) for ratio in config.few]
    arms += [("linear", ratio, steps) for ratio in config.few]
    arms += [("noisy", ratio, steps) for ratio in config.ratios]
    return [{"mechanism": mechanism, "ratio": ratio, "steps": n} for mechanism, ratio, n in arms]


def _measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    mechanism, ratio, steps = group["mechanism"], group["ratio"], group["steps"]
    full = mechanism in COMPARED and steps == config.fits.steps
    main = mechanism == "invertible" and full
    names = ["uniform"]
    if full and ratio in config.strategy_ratios:
        names += config.strategies
    records: list[Record] = []
    for seed, scorer, arm, fit in trained(config.fits, mechanism, [(n, ratio, 1) for n in names], states, steps=steps):
        views = config.views if main and arm[0] == "uniform" else config.views[:1]
        for view in views:
            records += code_records(scorer, fit, view, **group, strategy=arm[0], of="trained")
        if arm[0] == "uniform" and ratio == config.middle and steps == config.fits.steps:
            about = {"mechanism": mechanism, "ratio": ratio, "steps": 0, "strategy": "uniform"}
            for view in config.views:
                records += code_records(scorer, fit.untrained(), view, **about, of="untrained")
                if view or seed == 0 or config.fits.generators > 1:  # whole images of a generator tell the same
                    records += input_records(scorer, seed, view, **about, of="visible")
    return records


# ---------------------------------------------------------------------- verdicts


_BEST = yes("its tables are best at 0.75")
_POOR = yes("random masks are a poor tool")


def _judge(records: Frame, prediction: Prediction) -> list[Claim]:
    middle, half, ends = prediction["middle"], prediction["half"], prediction["ends"]
    top, (short, long) = prediction["top"], prediction["steps"]
    small, ratio = prediction["strategy_ratios"][0], prediction["strategy_ratios"][-1]
    low, high = ends

    def of(ratio: float, *, height: int | None = None, **where: Any) -> Frame:
        """Scores of the root, or of the noise of a height, where nothing else is said after all steps, whole images."""
        about = {"mechanism": "invertible", "strategy": "uniform", "steps": long, "of": "trained", "view": 0.0}
        part = {"height": top, "part": "value"} if height is None else {"height": height, "part": "noise"}
        return per_seed(records, **{**about, **part, "ratio": ratio, **where})

    shares = pd.DataFrame(prediction["share_in_c"]).set_index(["mechanism", "strategy", "ratio", "height"])["share"]

    def noisy(
        text: str,
        pairs: Sequence[tuple[tuple[str, float], tuple[str, float]]],
        height: int | None = None,
        paper: Stance = SILENT,
    ) -> Claim:
        """A claim that what noisy mechanisms hide is found better in some arms (strategy, ratio) than in others."""

        def scores(arm: tuple[str, float]) -> Frame:
            return of(arm[1], strategy=arm[0], mechanism="noisy", height=height)

        def share(arm: tuple[str, float]) -> float:
            return shares.at["noisy", *arm, height or top]

        return mean_claim(
            f"noisy mechanisms: {text}",
            {f"{_words(more)} − {_words(less)}": scores(more) - scores(less) for more, less in pairs},
            paper=paper,
            theory=share_stance([(share(more), share(less)) for more, less in pairs]),
            margin=MARGIN,
        )

    def lead(end: float, **where: Any) -> Frame:
        return of(middle, **where) - of(end, **where)

    def leads(**where: Any) -> dict[str, Frame]:
        return {f"{middle} − {end}": lead(end, **where) for end in ends}

    visible = {view: of(middle, of="visible", steps=0, view=view) for view in (middle, high)}
    optimum = f"the root is found better at ratio {middle} than at {low} and at {high}"
    return [
        mean_claim(
            f"invertible mechanisms: {optimum}",
            leads(),
            paper=_BEST,
            theory=nothing("in c at every ratio"),
            margin=MARGIN,
        ),
        mean_claim(f"noisy mechanisms: {optimum}", leads(mechanism="noisy"), paper=_BEST, margin=MARGIN),
        mean_claim(
            f"availability explains the fall from {middle} to {high}: visible cells lose as much of the root as codes",
            {"cells − codes": visible[middle] - visible[high] - lead(high)},
            theory=no("one visible cell determines the root"),
            margin=MARGIN,
        ),
        *(
            mean_claim(
                f"mismatch explains the lead of {middle} over {end}: on images masked at {end} it is at most {MARGIN}",
                {f"{middle} − {end}": lead(end, view=end)},
                (-math.inf, MARGIN),
            )
            for end in ends
        ),
        *(
            mean_claim(
                f"training time explains the lead of {middle} over {end}: it shrinks from {short} to {long} steps",
                {f"{short} − {long} steps": lead(end, steps=short) - lead(end)},
                margin=MARGIN,
            )
            for end in ends
        ),
        equivalence_claim(
            f"linear mechanisms: the ratio changes the root's score by at most {MARGIN}",
            leads(mechanism="linear"),
            MARGIN,
            theory=yes(),
        ),
        *(
            mean_claim(
                f"nonlinearity enlarges the lead of {middle} over {end}",
                {"invertible − linear": lead(end) - lead(end, mechanism="linear")},
                theory=yes(),
                margin=MARGIN,
            )
            for end in ends
        ),
        mean_claim(
            f"what enters at height 1 is found better at ratio {half} than at {low} and at {high}",
            {f"{half} − {end}": of(half, height=1) - of(end, height=1) for end in ends},
            theory=yes("in c most often there"),
            margin=MARGIN,
        ),
        mean_claim(
            f"ratio {high} brings out more of what enters at heights 1 and 0 than {middle}",
            {f"height {height}": -lead(high, height=height) for height in (1, 0)},
            paper=yes("extreme ratios give low levels"),
            theory=no("in c less often"),
            margin=MARGIN,
        ),
        mean_claim(
            f"ratio {ratio}: masks of the root's subtrees bring out less of what enters just below the root",
            {"uniform − subtree": of(ratio, height=top - 1) - of(ratio, height=top - 1, strategy="subtree")},
            theory=yes("never in c"),
            margin=MARGIN,
        ),
        mean_claim(
            f"ratio {ratio}: masks of the root's subtrees bring out more of the root than uniform ones",
            {"subtree − uniform": of(ratio, strategy="subtree") - of(ratio)},
            paper=_POOR,
            margin=MARGIN,
        ),
        noisy(
            f"the root is found better at ratio {half} than at {low} and at {middle}",
            [(("uniform", half), ("uniform", other)) for other in (low, middle)],
        ),
        noisy(
            f"what enters at height 1 is found better at ratio {half} than at {low} and at {high}",
            [(("uniform", half), ("uniform", end)) for end in ends],
            height=1,
        ),
        noisy(
            "masks of the root's subtrees bring out more of the root than uniform ones",
            [(("subtree", r), ("uniform", r)) for r in prediction["strategy_ratios"]],
            paper=_POOR,
        ),
        noisy(
            f"ratio {small}: blocks bring out more of the root than uniform masks",
            [(("block", small), ("uniform", small))],
        ),
    ]


def _words(arm: tuple[str, float]) -> str:
    return f"{arm[0]} {arm[1]:g}"


EXPERIMENT = Experiment(
    name="masking_ratio",
    title="Masking ratio",
    question="Is the highest latent recovered best at a masking ratio in the middle, and if so, why?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU, "long": LONG},
    predict=_predict,
    groups=_groups,
    measure=_measure,
    judge=_judge,
    draw=draw,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
