"""Does a mask designed for latents beat random masking at recovering them? And the paper's two other suggestions.

The paper's section 3.6 suggests three ways to steer what is learned, and tries none: masks that follow the latent
structure; leaving masked patches that touch the visible region out of the loss; a very high ratio where low-level
information is wanted. All are tried on a quadtree with invertible mechanisms. What counts is each latent's own noise,
the number that is new in it: a latent also holds all its ancestors, so that R² of a low latent would mostly say how
well the root is known.

Predicted before training: docs/experiments/mask_design.md.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from experiments.command import command
from experiments.designed_masks import by_height, designed, dim_of, lowest_shared, shares, targets, touching
from experiments.drawing import draw_intervals
from experiments.experiment import Experiment, Frame, Group, Prediction, Record
from experiments.mask_design_claims import ARMS, CLAIMS, DESIGNED, gains_over_middle, heights_at, judge
from experiments.training import train
from hlvm import mae, scoring
from hlvm.claims import ABOVE_ZERO
from hlvm.graph import LatentGraph
from hlvm.mae import BottleneckConfig, Fit, LossConfig, Member, TrainConfig, ViTConfig
from hlvm.masking import FixedMask, RandomMask
from hlvm.mechanisms import InvertibleMLP
from hlvm.plotting import COLORS, figure_with_panels, height_look
from hlvm.scoring import RegressionConfig, check_seeds, means_over_seeds
from hlvm.simulator import HierarchicalModel, Sample
from hlvm.theory import membership_probability

_REGRESSION = RegressionConfig(max_train=600, bandwidths=(0.5, 1.0, 2.0), ridges=(1e-4, 1e-2, 1e-1, 1.0), n_boot=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What is run.

    Attributes:
        height: levels of the quadtree, at least 2.
        seeds: replicates, each a generator with a training seed of its own; at least 2, the same in all arms.
        ratios: random masks that designed ones are compared with, cell by cell.
        bottleneck: optimisation of bottlenecks.
        bottleneck_width: hidden units of their perceptrons.
        low: the transformer's low ratio.
        middle: its middle ratio, also of the interior loss and of the designed mask.
        high: its very high ratio.
        vit: optimisation of transformers.
        vit_width: their width.
        rows: held-out samples: 60 % fit the regressions, 40 % test them.
        key: everything random follows from it.
    """

    height: int = 3
    seeds: int = 8
    ratios: tuple[float, ...] = (0.5, 0.75)
    bottleneck: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=2500, batch=256))
    bottleneck_width: int = 128
    low: float = 0.25
    middle: float = 0.75
    high: float = 0.95
    vit: TrainConfig = dataclasses.field(default_factory=lambda: TrainConfig(steps=800, batch=32))
    vit_width: int = 32
    rows: int = 1000
    key: int = 0

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        if self.height < 2:
            raise ValueError(f"a target below the root needs height of at least 2, got {self.height}")


SMOKE = Config(
    height=2,
    seeds=2,
    ratios=(0.5,),
    bottleneck=TrainConfig(steps=3, batch=16, warmup=1),
    bottleneck_width=16,
    vit=TrainConfig(steps=3, batch=16, warmup=1),
    vit_width=8,
    rows=60,
)
LAPTOP = Config()
GPU = Config(
    seeds=10,
    ratios=(0.1, 0.25, 0.5, 0.75, 0.9),
    bottleneck=TrainConfig(steps=20_000, batch=1024),
    bottleneck_width=512,
    vit=TrainConfig(steps=20_000, batch=512),
    vit_width=128,
    rows=5000,
)


# ---------------------------------------------------------------------- the experiment


def _model(config: Config, seed: int) -> HierarchicalModel:
    return HierarchicalModel.init(_key(config, "model", seed), LatentGraph.quadtree(config.height), InvertibleMLP())


def _key(config: Config, name: str, seed: int = 0) -> jax.Array:
    names = ("model", "bottleneck", "vit", "sample", "masks")
    own = jax.random.split(jax.random.key(config.key), len(names))[names.index(name)]
    return jax.random.fold_in(own, seed) if seed else own


def _arms(config: Config, graph: LatentGraph) -> dict[str, tuple[Any, LossConfig]]:
    """Mask and loss of every arm of the transformer."""
    middle = RandomMask(ratio=config.middle)
    return {
        "low ratio": (RandomMask(ratio=config.low), LossConfig()),
        "middle ratio": (middle, LossConfig()),
        "very high ratio": (RandomMask(ratio=config.high), LossConfig()),
        "interior loss": (middle, LossConfig(region="interior", neighbours=8)),
        DESIGNED: (designed(graph, targets(graph)["all quarters"])[0], LossConfig()),
    }


def predict(config: Config) -> Prediction:
    """What each mask shares, from the graph alone."""
    graph = LatentGraph.quadtree(config.height)
    of_targets: dict[str, Any] = {}
    for name, target in targets(graph).items():
        strategy, description = designed(graph, target)
        arms = {DESIGNED: strategy} | {f"random {ratio:g}": RandomMask(ratio=ratio) for ratio in config.ratios}
        found = {arm: shares(graph, target, masks) for arm, masks in arms.items()}
        of_targets[name] = {"mask": description, "d_c": dim_of(graph, target), "shares": found}
    ratios = {"low ratio": config.low, "middle ratio": config.middle, "very high ratio": config.high}
    shared = {
        arm: by_height(graph, membership_probability(graph, RandomMask(ratio=ratio))) for arm, ratio in ratios.items()
    }
    masks = np.asarray(RandomMask(ratio=config.middle).sample(_key(config, "masks"), 1000, graph))
    heights, inside = lowest_shared(graph, masks), ~touching(masks, graph.grid or (1, 1))
    return {
        "targets": of_targets,
        "shared_by_height": {arm: {str(height): share for height, share in of.items()} for arm, of in shared.items()},
        "cells_that_need_the_lowest": {
            "middle ratio": float((heights[masks] == 1).mean()),
            "interior loss": float((heights[inside] == 1).mean()),
        },
        "cells_that_count": {"interior loss": float(inside.sum() / masks.sum())},
    }


def groups(config: Config) -> list[Group]:
    """All bottlenecks together, since they share programs; then each arm of the transformer."""
    return [{"learner": "bottleneck", "arm": "all"}, *({"learner": "vit", "arm": arm} for arm in ARMS)]


def measure(config: Config, group: Group, states: Path | None) -> list[Record]:
    """Train the members of a group on every generator, and score their codes on held-out samples."""
    records: list[Record] = []
    for seed in range(config.seeds):
        model = _model(config, seed)
        sample = model.sample(_key(config, "sample", seed), config.rows)
        if group["learner"] == "bottleneck":
            records += _bottlenecks(config, seed, model, sample, states)
        else:
            records += _transformers(config, seed, model, sample, group["arm"], states)
    return records


def _bottlenecks(
    config: Config, seed: int, model: HierarchicalModel, sample: Sample, states: Path | None
) -> list[Record]:
    graph = model.graph
    cases: list[tuple[str, str, Any, int]] = []
    for name, target in targets(graph).items():
        dim = dim_of(graph, target)
        random = [(name, f"random {ratio:g}", RandomMask(ratio=ratio), dim) for ratio in config.ratios]
        cases += [(name, DESIGNED, designed(graph, target)[0], dim), *random]
    members = [
        Member(mask=mask, network=BottleneckConfig(code_dim=dim, width=config.bottleneck_width), seed=seed)
        for _, _, mask, dim in cases
    ]
    fits = train(_key(config, "bottleneck"), model, members, config.bottleneck, states)
    records: list[Record] = []
    for (name, arm, mask, _), fit in zip(cases, fits, strict=True):
        content = np.concatenate([np.asarray(sample.noise[latent]) for latent in targets(graph)[name]], axis=1)
        for view in ("as trained", "whole image")[: 1 if arm == DESIGNED else 2]:
            masked = _masks(config, mask, graph) if view == "as trained" else None
            about = {"learner": "bottleneck", "target": name, "arm": arm, "view": view, "seed": fit.seed}
            code = _code(fit, sample, masked)
            found = {"code -> c": _r2(config, code, content)}
            if arm == DESIGNED:
                found["c -> code"] = _r2(config, content, code)
                found["untrained code -> c"] = _r2(config, _code(fit.untrained(), sample, masked), content)
            records += [about | {"score": score, "value": round(value, 5)} for score, value in found.items()]
    return records


def _transformers(
    config: Config, seed: int, model: HierarchicalModel, sample: Sample, arm: str, states: Path | None
) -> list[Record]:
    graph = model.graph
    mask, loss = _arms(config, graph)[arm]
    network = ViTConfig(width=config.vit_width, decoder_width=config.vit_width)
    (fit,) = train(
        _key(config, "vit"),
        model,
        [Member(mask=mask, network=network, loss=loss, seed=seed)],
        config.vit,
        states,
    )
    contents = {"noise": sample.noise, "latent": sample.latents}
    values = {f"{what}/{latent}": np.asarray(of[latent]) for what, of in contents.items() for latent in graph.latents}
    records: list[Record] = []
    codes = {
        ("code", "whole image"): _code(fit, sample, None),
        ("code", "as trained"): _code(fit, sample, _masks(config, mask, graph)),
        ("untrained code", "whole image"): _code(fit.untrained(), sample, None),
    }
    for (source, view), code in codes.items():
        found = scoring.kernel_r2_many(code, values, key=config.key, config=_REGRESSION)
        about = {"learner": "vit", "arm": arm, "view": view, "seed": fit.seed}
        for what in contents:
            of_heights = by_height(graph, {latent: found[f"{what}/{latent}"].value for latent in graph.latents})
            records += [
                about | {"score": f"{source} -> {what}", "height": height, "value": round(value, 5)}
                for height, value in of_heights.items()
            ]
    return records


def _code(fit: Fit, sample: Sample, masked: Any) -> Float[np.ndarray, "n width"]:
    return np.asarray(mae.encode(fit, sample, masked))


def _masks(config: Config, mask: Any, graph: LatentGraph) -> Any:
    if isinstance(mask, FixedMask):
        return mask
    return np.asarray(mask.sample(_key(config, "masks"), config.rows, graph))


def _r2(config: Config, code: np.ndarray, content: np.ndarray) -> float:
    return scoring.kernel_r2(code, content, key=config.key, config=_REGRESSION).value


# ---------------------------------------------------------------------- figures


def draw(records: Frame, prediction: Prediction) -> dict[str, Figure]:
    """Draw what codes of d_c numbers hold of their target, and what each arm of the transformer changes, by height."""
    figure, ((left, right),) = figure_with_panels(7.2, 3.3, 1, 2, width_ratios=(1, 1.25))
    _draw_targets(left, records, prediction)
    _draw_gains(right, records)
    return {"mask_design": figure}


def _draw_targets(axes: Any, records: Frame, prediction: Prediction) -> None:
    names = list(prediction["targets"])
    random = [arm for arm in next(iter(prediction["targets"].values()))["shares"] if arm.startswith("random ")]
    markers = dict(zip([DESIGNED, *random, "untrained"], "oDs^vP", strict=False))
    colors = [COLORS[name] for name in ("vermilion", "blue", "sky", "green", "purple", "orange")]
    cells: Frame = means_over_seeds(records[records["learner"] == "bottleneck"], ["target", "arm", "view", "score"])
    forward = cells[cells["score"] == "code -> c"].sort_values("value").groupby(["target", "arm"]).last()
    floor = cells[(cells["score"] == "untrained code -> c") & (cells["arm"] == DESIGNED)].set_index("target")
    for number, (arm, marker) in enumerate(markers.items()):
        rows = floor.loc[names] if arm == "untrained" else forward.loc[[(name, arm) for name in names]]
        color = COLORS["grey"] if arm == "untrained" else colors[number]
        places = np.arange(len(names)) + 0.16 * (number - (len(markers) - 1) / 2)
        draw_intervals(axes, places, rows, arm, across=True, fmt=marker, color=color)
    axes.axvline(1.0, color=COLORS["black"], linewidth=0.8, linestyle=":", label="designed, predicted")
    labels = [f"{name}\nd_c = {prediction['targets'][name]['d_c']}" for name in names]
    axes.set_yticks(np.arange(len(names)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("R² of the target, given a code of d_c numbers")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.28), ncols=2, fontsize=8)


def _draw_gains(axes: Any, records: Frame) -> None:
    gains = gains_over_middle(records)
    arms = [arm for arm in ARMS if arm != "middle ratio"]
    heights = sorted(gains["height"].unique())
    cells = means_over_seeds(gains, ["arm", "height"], "gain").set_index(["arm", "height"])
    axes.axhline(0.0, color=COLORS["black"], linewidth=0.8)
    room = cells["high"].max() - cells["low"].min()
    levels = [cells["high"].max() + share * room for share in (0.1, 0.2)]
    for height in heights:
        looks = height_look(int(height))
        rows = cells.loc[[(arm, height) for arm in arms]]
        places = np.arange(len(arms)) + 0.2 * (heights.index(height) - (len(heights) - 1) / 2)
        draw_intervals(axes, places, rows, f"height {height}", linestyle="none", **looks)
        for claim in CLAIMS:
            if claim.than == "middle ratio" and height in heights_at(gains, claim.where):
                place = places[arms.index(claim.arm)]
                for level, stance in zip(levels, (claim.theory, claim.paper), strict=True):
                    up = stance.agrees(claim.limits == ABOVE_ZERO)
                    if up is not None:
                        axes.plot(place, level, "^" if up else "v", color=looks["color"])
    for source, level in zip(("theory", "paper"), levels, strict=True):
        axes.text(-0.75, level, source, va="center", fontsize=8)
    axes.set_xlim(-0.8, len(arms) - 0.5)
    axes.set_xticks(np.arange(len(arms)), [arm.replace(" ", "\n", 1) for arm in arms])
    axes.set_ylabel("R² of own noises,\nabove that at the middle ratio")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=len(heights), fontsize=8)


EXPERIMENT = Experiment(
    name="mask_design",
    title="Mask design",
    question="Does a mask designed for latents beat random masking at recovering them?",
    presets={"smoke": SMOKE, "laptop": LAPTOP, "gpu": GPU},
    predict=predict,
    groups=groups,
    measure=measure,
    judge=judge,
    draw=draw,
    seeds_are_generators=True,
)


if __name__ == "__main__":
    raise SystemExit(command(EXPERIMENT.name))
