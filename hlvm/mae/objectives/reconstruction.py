"""Reconstruction of observed values: squared errors and energy scores of the part that counts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Shaped

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.config import ObjectiveConfig, check_whole_fields, wrong_field
from hlvm.mae.networks.networks import Network
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.objectives.base import TINY, LossSum, Objective, Samples
from hlvm.mae.objectives.regions import TRIAL_DRAWS, counts_ranged, in_touching_patch, lowest_shared, trial_masks
from hlvm.mae.training.mask_draws import MaskArrays, MaskPlan

__all__ = [
    "LossArrays",
    "LossConfig",
    "LossRegion",
    "Reconstruction",
    "Score",
    "energy_score",
    "squared_error",
]

Score = Literal["squared_error", "energy"]
LossRegion = Literal["masked", "all", "interior"]

_CHANCE_OF_AN_EMPTY_BATCH = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig(ObjectiveConfig):
    """Reconstruction: squared error or the energy score.

    With weights ``w`` (0 outside the region) and values in units of each column's standard deviation:

    * squared error: ``sum w (x - x^)^2 / sum w`` over all columns of a batch.
    * energy score: the decoder also reads fresh noise ``s_m``, so that ``x^`` is random; with two draws ``x^, x^'`` a
      sample scores ``(|x - x^| + |x - x^'|) / 2 - |x^ - x^'| / 2``, where ``|e|^2 = sum w e^2 / sum w`` over its own
      columns; the loss is the mean over samples. In expectation it is smallest only where ``x^`` has the conditional
      law of ``x`` given the visible part, so the code has to keep all that the law depends on, and not only the mean.

    A sample with nothing in the region counts as nothing. Strategies whose batches could be empty are refused.

    Attributes:
        score: ``"squared_error"`` or ``"energy"``.
        region: ``"masked"``: the masked variables. ``"all"``: visible ones as well. ``"interior"``: only masked patches
            that touch no visible one; needs a grid. Patches are the masking units; for fixed masks, lists of masks and
            strategies of your own every variable is a patch of its own.
        neighbours: 4 (sides) or 8 (sides and corners): what touches, for ``"interior"``.
        weights: one non-negative number per observed variable in the graph's order, not all zero; ``None`` for 1.
        height_weights: one non-negative number per height 1, 2, ... of the graph, not all zero: the weight of a
            variable by the height of its lowest ancestor that has a visible descendant, which on a tree is what
            separates it from the visible part. A variable without one has weight 0. Multiplies ``weights``.
        noise_dim: for the energy score, numbers of standard normal noise per reconstruction: in all for a bottleneck,
            at every hidden token for a ViT. At least 1.

    References:
        Energy score: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the
        American Statistical Association 102 (2007), section 4.2. Region ``"interior"``: section 3.6 of
        :cite:t:`kong2023mae`, which suggests it.
    """

    kind: ClassVar[str] = "reconstruction"

    score: Score = "squared_error"
    region: LossRegion = "masked"
    neighbours: Literal[4, 8] = 4
    weights: tuple[float, ...] | None = None
    height_weights: tuple[float, ...] | None = None
    noise_dim: int = 8

    def __post_init__(self) -> None:
        for name, options in (("score", get_args(Score)), ("region", get_args(LossRegion)), ("neighbours", (4, 8))):
            if getattr(self, name) not in options:
                raise wrong_field(self, name, f"must be one of {options}, got {getattr(self, name)!r}")
        check_whole_fields(self, "noise_dim")
        for name in ("weights", "height_weights"):
            values = getattr(self, name)
            if values is None:
                continue
            numbers = tuple(map(float, values))
            if not numbers or not all(math.isfinite(v) and v >= 0 for v in numbers) or not any(numbers):
                raise wrong_field(self, name, f"must be finite numbers of at least 0, not all 0, got {values!r}")
            object.__setattr__(self, name, numbers)

    @property
    def draws(self) -> int:
        """Reconstructions drawn of every sample and step: 2 for the energy score."""
        return 2 if self.score == "energy" else 1

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        return "energy score / standard deviation" if self.score == "energy" else "squared error / variance"

    @property
    def decoder_noise(self) -> int:
        """Numbers of noise that the decoder reads per reconstruction or hidden token."""
        return self.noise_dim if self.score == "energy" else 0

    def on(self, graph: LatentGraph) -> Reconstruction:
        """The part that is static on a graph.

        Raises:
            ValueError: the region needs a grid that the graph lacks.
        """
        if self.region == "interior" and graph.grid is None:
            raise UsageError(
                'the region "interior" needs to know which patches touch, and this graph has no grid',
                remedies={"grid": "build it with grid=(rows, columns)", "region": 'use region="masked"'},
            )
        plain = dataclasses.replace(self, weights=None, height_weights=None)
        by_height = self.height_weights is not None
        return Reconstruction(settings=plain, graph=graph, by_height=by_height)

    def arrays(self, graph: LatentGraph) -> LossArrays:
        """The weights as arrays.

        Raises:
            ValueError: not one weight per observed variable, or not one per height.
        """
        top = max(graph.heights)
        of = (("weights", self.weights, graph.n_observed), ("height_weights", self.height_weights, top))
        for name, values, n in of:
            if values is not None and len(values) != n:
                what = "observed variable" if name == "weights" else "height from 1 up"
                raise UsageError(
                    f"must have {n} numbers, one per {what}, got {len(values)}", argument=name, of="LossConfig"
                )
        return LossArrays(
            weights=np.asarray(self.weights or np.ones(graph.n_observed), dtype=np.float32),
            height_weights=np.asarray([*(self.height_weights or np.ones(top)), 0.0], dtype=np.float32),
        )


class LossArrays(NamedTuple):
    """Arrays that may differ between members whose losses share a program.

    Attributes:
        weights: one per observed variable.
        height_weights: one per height 1, 2, ..., then 0 for variables without an ancestor that has a visible
            descendant.
    """

    weights: Shaped[Array | np.ndarray, "*members cells"]
    height_weights: Shaped[Array | np.ndarray, "*members heights"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction(Objective):
    """The static part of a :class:`LossConfig` on a graph.

    Attributes:
        settings: without the weights.
        by_height: whether weights depend on heights.
    """

    settings: LossConfig
    by_height: bool

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n columns"]:
        """The weight of every column of every sample, 0 outside the region; traced."""
        settings, graph = self.settings, self.graph
        if settings.region == "all":
            counted = jnp.ones_like(masked)
        elif settings.region == "masked":
            counted = masked
        else:
            counted = masked & ~in_touching_patch(graph, settings.neighbours, masks, masked)
        weights = jnp.where(counted, arrays.weights, 0.0)
        if self.by_height:
            weights = weights * jnp.asarray(arrays.height_weights)[lowest_shared(graph, masked) - 1]
        return weights[:, graph.arrays.cell_of_column]

    def check_network(self, network: Network) -> None:
        """Refuse a decoder of hidden tokens where visible ones count.

        Raises:
            ValueError: they do.
        """
        if isinstance(network, ViTNetwork) and network.n_hidden and self.settings.region == "all":
            raise UsageError(
                'must be "full" for losses of the region "all": a cross decoder says nothing of visible tokens',
                argument="decoder",
                of="ViTConfig",
            )

    def noise(self, network: Network, key: PRNGKeyArray, n: int) -> Float[Array, "draws n noise"]:
        """The noise that a stochastic decoder reads for a batch; of others, one draw of no numbers."""
        if not network.noise_size:
            return jnp.zeros((1, n, 0))
        draws = self.settings.draws
        return jax.random.normal(key, (draws * n * network.noise_size,)).reshape(draws, n, network.noise_size)

    def loss(self, network: Network, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """Squared errors, or energy scores; traced."""
        del teacher
        target, weights = network.targets(samples.values), samples.weights
        chosen = network.decoded(samples.masked, samples.noise) if isinstance(network, ViTNetwork) else None
        if chosen is not None:
            weights = weights * chosen[1][:, self.graph.arrays.cell_of_column]
        decoded = network.reconstruct(params, samples.inputs, samples.masked, samples.code_dim, samples.noise)
        guesses = decoded.astype(jnp.float32)
        if self.settings.score == "energy":
            return energy_score(guesses, target, weights)
        return squared_error(guesses[0], target, weights)

    def check_masks(self, mask: object, plan: MaskPlan, arrays: Any, *, batch: int, steps: int) -> None:
        """Refuse a loss that leaves nothing to learn from in some batch.

        Lists of masks are gone through one by one; of others 2,000 masks are drawn.

        Raises:
            ValueError: no mask leaves any weight in the region, or so few do that a batch without any has to be
                expected.
        """
        plain = bool((arrays.weights == 1).all() and (arrays.height_weights[:-1] == 1).all() and not self.by_height)
        if self.settings.region != "interior" and plain:
            return
        masked = trial_masks(self.graph, mask, plan)
        region = self.settings.region
        counts = np.asarray(self.weights(arrays, plan.arrays, masked).sum(axis=1) > 0)
        if not counts.any():
            raise ValueError(
                f"no mask leaves anything to learn from: with region={region!r} and these weights every variable has "
                f"weight 0 under every mask tried; mask more or larger regions, or change the loss"
            )
        by_draw = counts.reshape(TRIAL_DRAWS, -1).mean(axis=1).min() if counts_ranged(plan) else counts.mean()
        share = float(by_draw)
        if steps * (1 - share) ** batch > _CHANCE_OF_AN_EMPTY_BATCH:
            raise ValueError(
                f"only {share:.2%} of the masks leave anything to learn from with region={region!r} and these "
                f"weights, so some batches of {batch} would be empty: mask more or larger regions, use a larger batch, "
                f"or change the loss"
            )


def squared_error(
    guess: Float[Array, "n columns"], target: Float[Array, "n columns"], weights: Float[Array, "n columns"]
) -> LossSum:
    """Squared errors, weighted, over all columns of all samples."""
    return LossSum(jnp.sum(weights * (guess - target) ** 2), jnp.sum(weights))


def energy_score(
    guesses: Float[Array, "2 n columns"], target: Float[Array, "n columns"], weights: Float[Array, "n columns"]
) -> LossSum:
    """Energy scores of all samples, estimated from two independent reconstructions.

    Args:
        guesses: two draws.
        target: the truth.
        weights: of every column of every sample; a sample without weight does not count.

    Returns:
        Scores in units of the columns' standard deviation; their expectation is smallest where the draws follow the
        conditional law of the target.

    References:
        Gneiting and Raftery (2007), equation 22.
    """
    total = weights.sum(axis=-1)
    shares = weights / jnp.maximum(total, TINY)[:, None]

    def distance(a: Float[Array, "n columns"], b: Float[Array, "n columns"]) -> Float[Array, " n"]:
        return jnp.sqrt(jnp.sum(shares * (a - b) ** 2, axis=-1) + TINY)

    to_truth = (distance(guesses[0], target) + distance(guesses[1], target)) / 2
    scores = jnp.where(total > 0, to_truth - distance(guesses[0], guesses[1]) / 2, 0.0)
    return LossSum(jnp.sum(scores), jnp.sum(total > 0).astype(jnp.float32))
