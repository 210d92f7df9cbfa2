"""Masked autoencoders on quadtrees of latents whose truth is known, and how much of each height their codes hold.

For all experiments that change how a quadtree is masked. A code is scored against two things at every height: the
values of variables, which hold those of all their ancestors as well, and the noise that enters there, which is new at
that height. At the root both are the same.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Key

from experiments.experiment import Frame, Prediction, Record
from experiments.training import train
from hlvm import HierarchicalModel, LatentGraph
from hlvm.claims import Stance, nothing, yes
from hlvm.mae import Fit, TrainConfig, ViTConfig
from hlvm.masking import BlockMask, MaskSampler, RandomMask, SubtreeMask, count_masked
from hlvm.mechanisms import AdditiveNoiseMLP, InvertibleMLP, Mechanism
from hlvm.scoring import check_seeds
from hlvm.study import ScoreConfig, Study
from hlvm.study.measuring import Group, Session
from hlvm.study.scores import Scorer
from hlvm.theory import Regime, level_profile

Arm: TypeAlias = tuple[str, float, int]
"""Strategy, ratio and unit, see :func:`strategy`."""

MECHANISMS: dict[str, Mechanism] = {
    "invertible": InvertibleMLP(),
    "linear": InvertibleMLP(layers=1),
    "noisy": AdditiveNoiseMLP(noise_scale=0.5),
}
"""By name. The first two differ in their activations alone: both are bijections of the same graph and noises."""

REGIMES: dict[str, Regime] = {"invertible": "invertible", "linear": "invertible", "noisy": "general"}
"""What theory may assume of each: without invertibility, d-separation alone."""

COMPARED = ("invertible", "noisy")
"""Those that are measured in full."""

MARGIN, RANK_MARGIN = 0.03, 0.3
"""Largest difference of R², and largest rank correlation, that count as none."""

SHARES_APART = 0.05
"""Shares in ``c`` that differ by less give no reason to expect a difference of scores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuadtreeFits:
    """What is trained and scored.

    Attributes:
        height: levels of the quadtree below its root; ``4**height`` cells, each a token.
        width: of the encoder.
        depth: of the encoder.
        decoder_width: of the decoder, which has one block.
        generators: generators that each arm is trained on; each is a replicate, with a training seed of its own.
        seeds: of one generator, training seeds, which are the replicates then; else 1.
        steps: training steps.
        batch: samples per step.
        learning_rate: peak learning rate.
        rows: held-out samples: three eighths, at most 600, fit the regressions, the others test them.
        per_height: variables scored at each height, at most.
        key: everything random follows from it.
    """

    height: int = 3
    width: int = 32
    depth: int = 2
    decoder_width: int = 32
    generators: int = 8
    seeds: int = 1
    steps: int = 800
    batch: int = 32
    learning_rate: float = 2e-3
    rows: int = 1600
    per_height: int = 4
    key: int = 0

    def __post_init__(self) -> None:
        if self.generators > 1 and self.seeds > 1:
            raise ValueError(f"give several generators or several seeds, got {self.generators} and {self.seeds}")
        check_seeds(self.replicates)

    @property
    def replicates(self) -> int:
        """Number of independent numbers that an interval rests on; the column ``seed`` counts them."""
        return max(self.generators, self.seeds)

    @property
    def graph(self) -> LatentGraph:
        """The quadtree; its root has 2 dims and every other variable 1 dim of its own noise."""
        return LatentGraph.quadtree(self.height)

    @property
    def network(self) -> ViTConfig:
        """The autoencoder."""
        return ViTConfig(width=self.width, depth=self.depth, decoder_width=self.decoder_width)

    def study(self, mechanism: str, arms: Sequence[Arm], *, steps: int | None = None) -> Study:
        """Generators with this mechanism, and these arms.

        Args:
            mechanism: of :data:`MECHANISMS`.
            arms: how it is masked.
            steps: ``None`` for those of the config.
        """
        steps = self.steps if steps is None else steps
        return Study(
            functools.partial(HierarchicalModel.init, graph=self.graph, mechanism=MECHANISMS[mechanism]),
            masks=[strategy(self, *arm) for arm in arms],
            networks=self.network,
            train=TrainConfig(
                steps=steps, batch=self.batch, learning_rate=self.learning_rate, warmup=min(100, steps // 4)
            ),
            seeds=self.seeds,
            generators=self.generators,
            score=ScoreConfig(per_height=self.per_height, observed=True, rows=self.rows),
            regime=REGIMES[mechanism],
        )


TINY = QuadtreeFits(
    height=2, width=16, depth=1, decoder_width=16, generators=2, steps=8, batch=8, rows=160, per_height=2
)


def strategy(config: QuadtreeFits, name: str, ratio: float, unit: int = 1) -> MaskSampler:
    """A masking strategy.

    Args:
        config: sizes.
        name: "uniform", square units at random, which on a quadtree are the cells of whole subtrees; "strip", the same
            with units of equal area but half as tall and twice as wide; "block", one rectangle; "subtree", whole
            subtrees of the root's children.
        ratio: masking ratio.
        unit: side of a unit in cells; for "strip" an even number, for "subtree" not used.

    Raises:
        ValueError: an unknown name.
    """
    if name == "uniform":
        return RandomMask(ratio=ratio, unit=unit)
    if name == "strip":
        return RandomMask(ratio=ratio, unit=(unit // 2, unit * 2))
    if name == "block":
        return BlockMask(ratio=ratio, unit=unit)
    if name == "subtree":
        return SubtreeMask(height=config.height - 1, ratio=ratio)
    raise ValueError(f"expected uniform, strip, block or subtree, got {name!r}")


def shares_in_c(graph: LatentGraph, strategy: MaskSampler, regime: Regime = "invertible") -> list[float]:
    """Expected share of each height, from 1 up, in the shared information of random masks."""
    uniform = isinstance(strategy, RandomMask) and regime == "invertible"
    # The predictions that were committed drew the masks of all others.
    masks = strategy if uniform else _Drawn(strategy)
    return level_profile(graph, [masks], regime=regime, key=jax.random.key(0), n_masks=2000).share[0].tolist()


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A strategy whose law is left out of account, so that its masks are drawn."""

    strategy: MaskSampler

    def sample(self, key: Key[Array, ""], n: int, graph: LatentGraph) -> Bool[Array, "n n_observed"]:
        return self.strategy.sample(key, n, graph)


def share_table(config: QuadtreeFits, arms: Mapping[str, Sequence[Arm]]) -> list[dict[str, Any]]:
    """Predicted shares of every height in the shared information, as records.

    Args:
        config: sizes.
        arms: mechanism -> strategy, ratio and unit of its arms.
    """
    return [
        {
            "mechanism": mechanism,
            "strategy": name,
            "ratio": ratio,
            "unit": unit,
            "height": height,
            "share": round(share, 5),
        }
        for mechanism, of_mechanism in arms.items()
        for name, ratio, unit in of_mechanism
        for height, share in enumerate(
            shares_in_c(config.graph, strategy(config, name, ratio, unit), REGIMES[mechanism]), start=1
        )
    ]


def available(n_cells: int, below: int, ratio: float) -> float:
    """Probability that a latent with so many cells below has a visible one: then it is a function of what is visible.

    Args:
        n_cells: cells of the grid.
        below: cells below the latent.
        ratio: masking ratio, uniform masks of single cells.
    """
    n_masked = count_masked(ratio, n_cells)
    return 1 - math.comb(n_masked, below) / math.comb(n_cells, below)


def separated_at(height: int, top: int, ratio: float) -> float:
    """Probability that a masked cell's lowest ancestor with a visible cell below has this height, on a quadtree.

    That ancestor is what the visible part tells about the cell, so this is how often a target asks for it.

    Args:
        height: of the ancestor, from 1 to ``top``.
        top: height of the root.
        ratio: masking ratio, uniform masks of single cells.
    """
    others = 4**top - 1
    masked_others = count_masked(ratio, 4**top) - 1

    def all_masked_below(h: int) -> float:
        return math.comb(masked_others, 4**h - 1) / math.comb(others, 4**h - 1)

    return all_masked_below(height - 1) - all_masked_below(height)


# ---------------------------------------------------------------------- training and scores


class Replicate(NamedTuple):
    """One arm, trained once.

    Attributes:
        number: of the replicate.
        scorer: what scores it, the same for all arms of a generator.
        arm: how it was masked.
        fit: the autoencoder.
    """

    number: int
    scorer: Scorer
    arm: Arm
    fit: Fit


def trained(
    config: QuadtreeFits,
    mechanism: str,
    arms: Sequence[Arm],
    states: Path | None,
    *,
    steps: int | None = None,
) -> Iterator[Replicate]:
    """Train the study of these arms, all of them on each generator; paired by replicate.

    Args:
        config: sizes.
        mechanism: of :data:`MECHANISMS`.
        arms: what is trained.
        states: folder for states of training.
        steps: ``None`` for those of the config.

    Yields:
        Arm by arm, the replicates of one generator after those of the other.
    """
    study = config.study(mechanism, arms, steps=steps)
    session = Session(study, config.key)
    for generator in range(config.generators):
        # A seed of its own draws its own parameters, batches and masks.
        seeds = list(range(config.seeds)) if config.generators == 1 else [generator]
        group = Group(generator=generator, arms=[arm.name for arm in study.arms], seeds=seeds)
        fits = train(*session.ensemble(group), states)
        for arm, fit in zip([arm for arm in arms for _ in seeds], fits, strict=True):
            yield Replicate(fit.seed, session.scorer(generator), arm, fit)


def code_records(scorer: Scorer, fit: Fit, view: float = 0.0, **names: Any) -> list[Record]:
    """What the mean token holds.

    Args:
        scorer: of :func:`trained`.
        fit: the autoencoder.
        view: masking ratio of the images that are encoded; 0 for whole images. All samples have the same mask, drawn
            uniformly, one for each seed and ratio.
        **names: columns of all records.

    Returns:
        One record per height and part ("value" or "noise"): R² of kernel regression, mean over the variables scored.
    """
    values = scorer.values(fit, _view_mask(scorer, fit.seed, view))
    return _by_height(scorer, values, **names, seed=fit.seed, view=view)


def input_records(scorer: Scorer, seed: int, view: float, **names: Any) -> list[Record]:
    """What the visible cells themselves hold: the ceiling of :func:`code_records` for the same masks."""
    values = scorer.visible_values(_view_mask(scorer, seed, view))
    return _by_height(scorer, values, **names, seed=seed, view=view)


def _view_mask(scorer: Scorer, seed: int, view: float) -> Bool[np.ndarray, " cells"] | None:
    return scorer.view(seed, RandomMask(ratio=view)) if view else None


def _by_height(scorer: Scorer, values: Sequence[float], **names: Any) -> list[Record]:
    cells: dict[tuple[int, str], list[float]] = {}
    for target, value in zip(scorer.targets, values, strict=True):
        cells.setdefault((target.height, target.part), []).append(value)
    return [
        {**names, "height": height, "part": part, "value": round(float(np.mean(of_cell)), 5)}
        for (height, part), of_cell in cells.items()
    ]


# ---------------------------------------------------------------------- comparisons


def per_seed(records: Frame, **where: Any) -> Frame:
    """The number of each seed in one cell.

    Args:
        records: tidy records.
        **where: column -> value, naming exactly one record per seed.

    Raises:
        ValueError: no such record, or several of a seed.
    """
    chosen = records
    for column, value in where.items():
        matches = chosen[column] == value
        if isinstance(value, float):
            matches = np.isclose(chosen[column].astype(float), value, rtol=0, atol=1e-9)
        chosen = chosen[matches]
    found = chosen.set_index("seed")["value"].sort_index()
    if not len(found) or not found.index.is_unique:
        raise ValueError(f"expected one record per seed, got {len(found)} of {found.index.nunique()} seeds: {where}")
    return found


_ARM = ["height", "strategy", "ratio", "unit"]


def shares_by_arm(prediction: Prediction) -> Frame:
    """Predicted shares: (mechanism, height, strategy, ratio, unit) -> share."""
    return pd.DataFrame(prediction["share_in_c"]).set_index(["mechanism", *_ARM])["share"].sort_index()


def gains_by_training(records: Frame, mechanism: str) -> Frame:
    """What training gains of the noise of every height over the same encoders untrained.

    Args:
        records: with the columns of the arms, :func:`code_records` of whole images.
        mechanism: whose records.

    Returns:
        (height, strategy, ratio, unit) -> one column per seed.
    """
    noise = records[(records["part"] == "noise") & (records["mechanism"] == mechanism)]
    scores = noise[noise["of"] == "trained"].pivot(index=_ARM, columns="seed", values="value")
    floors = noise[noise["of"] == "untrained"].pivot(index="height", columns="seed", values="value")
    return scores - floors.loc[scores.index.get_level_values("height")].to_numpy()


def telling_heights(gains: Frame, share: Frame) -> dict[int, tuple[Frame, Frame]]:
    """Heights whose share in the shared information differs between arms.

    Args:
        gains: as :func:`gains_by_training` has them.
        share: (height, strategy, ratio, unit) -> share in the shared information.

    Returns:
        Height -> what training gains there, one row per arm and one column per seed, and the share of the same arms.
    """
    heights = sorted(set(gains.index.get_level_values("height")) & set(share.index.get_level_values("height")))
    of_heights = {height: (gains.loc[height], share.loc[height].loc[gains.loc[height].index]) for height in heights}
    return {height: pair for height, pair in of_heights.items() if pair[1].nunique() > 1}


def share_stance(shares: Sequence[tuple[float, float]]) -> Stance:
    """What theory says of a claim that something is found better where it is in ``c`` more often.

    Args:
        shares: of each comparison, the share where it should be found better, and the other.

    Returns:
        Nothing where some shares give no reason for it.
    """
    numbers = ", ".join(f"{more:.2f} against {less:.2f}" for more, less in shares)
    says = yes if all(more > less + SHARES_APART for more, less in shares) else nothing
    return says(f"in c with probability {numbers}")
