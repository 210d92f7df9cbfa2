"""What a masked autoencoder is trained to make small; see :class:`hlvm.mae.LossConfig` for the definitions."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, Scalar, Shaped

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.config import LossConfig
from hlvm.mae.networks.networks import Network
from hlvm.mae.training.mask_draws import MaskArrays, MaskPlan, draw_masks, draw_own
from hlvm.masking import Counted, Listed, Sampled
from hlvm.masking.strategies import as_strategy

__all__ = [
    "LossArrays",
    "LossSum",
    "Objective",
    "check_region",
    "column_weights",
    "draw_noise",
    "energy_score",
    "loss_arrays",
    "objective",
    "squared_error",
]

_TRIAL_MASKS = 2000
_TRIAL_DRAWS = 20
_CHANCE_OF_AN_EMPTY_BATCH = 1e-3
_TINY = 1e-12
"""Added under square roots, whose slope at 0 is infinite, and to sums of weights that may be 0."""


class LossArrays(NamedTuple):
    """What may differ between members whose losses share a program.

    Attributes:
        weights: one per observed variable.
        height_weights: one per height 1, 2, ..., then 0 for variables without an ancestor that has a visible
            descendant.
    """

    weights: Shaped[Array | np.ndarray, "*members cells"]
    height_weights: Shaped[Array | np.ndarray, "*members heights"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """What of a loss, and of the graph around it, is static.

    Attributes:
        loss: the settings, without the weights.
        graph: the graph.
        by_height: whether weights depend on heights.
    """

    loss: LossConfig
    graph: LatentGraph
    by_height: bool


def objective(graph: LatentGraph, loss: LossConfig) -> Objective:
    """The static part of a loss on a graph.

    Raises:
        ValueError: the region needs a grid that the graph lacks.
    """
    if loss.region == "interior" and graph.grid is None:
        raise UsageError(
            'the region "interior" needs to know which patches touch, and this graph has no grid',
            remedies={"grid": "build it with grid=(rows, columns)", "region": 'use region="masked"'},
        )
    plain = dataclasses.replace(loss, weights=None, height_weights=None)
    return Objective(loss=plain, graph=graph, by_height=loss.height_weights is not None)


def loss_arrays(graph: LatentGraph, loss: LossConfig) -> LossArrays:
    """The weights of a loss as arrays.

    Raises:
        ValueError: not one weight per observed variable, or not one per height.
    """
    top = max(graph.heights)
    for name, values, n in (("weights", loss.weights, graph.n_observed), ("height_weights", loss.height_weights, top)):
        if values is not None and len(values) != n:
            what = "observed variable" if name == "weights" else "height from 1 up"
            raise UsageError(
                f"must have {n} numbers, one per {what}, got {len(values)}", argument=name, of="LossConfig"
            )
    return LossArrays(
        weights=np.asarray(loss.weights or np.ones(graph.n_observed), dtype=np.float32),
        height_weights=np.asarray([*(loss.height_weights or np.ones(top)), 0.0], dtype=np.float32),
    )


# ---------------------------------------------------------------------- which columns count, and how much


def column_weights(
    objective: Objective, arrays: LossArrays, masks: MaskArrays, masked: Bool[Array, "n cells"]
) -> Float[Array, "n columns"]:
    """The weight of every column of every sample, 0 outside the region."""
    loss, graph = objective.loss, objective.graph
    if loss.region == "all":
        counted = jnp.ones_like(masked)
    elif loss.region == "masked":
        counted = masked
    else:
        counted = masked & ~_in_touching_patch(graph, loss.neighbours, masks, masked)
    weights = jnp.where(counted, arrays.weights, 0.0)
    if objective.by_height:
        weights = weights * jnp.asarray(arrays.height_weights)[_lowest_shared(graph, masked) - 1]
    return weights[:, graph.arrays.cell_of_column]


def _in_touching_patch(
    graph: LatentGraph, neighbours: int, masks: MaskArrays, masked: Bool[Array, "n cells"]
) -> Bool[Array, "n cells"]:
    """Cells whose patch has a cell beside a visible cell (of another patch)."""
    rows, columns = graph.grid or (0, 0)
    visible = ~masked.reshape(-1, rows, columns)
    tall = _with_neighbours(visible, 1)
    near = _with_neighbours(tall, 2) if neighbours == 8 else tall | _with_neighbours(visible, 2)
    patch_of_cell = jnp.asarray(masks.patch_of_cell)
    touching = jnp.zeros(masked.shape, bool).at[:, patch_of_cell].max(near.reshape(masked.shape))
    return touching[:, patch_of_cell]


def _with_neighbours(flags: Bool[Array, "n rows columns"], axis: int) -> Bool[Array, "n rows columns"]:
    """Flags, or those of a neighbour along one axis."""
    nothing = jnp.zeros_like(jax.lax.slice_in_dim(flags, 0, 1, axis=axis))
    size = flags.shape[axis]
    after = jnp.concatenate([jax.lax.slice_in_dim(flags, 1, size, axis=axis), nothing], axis=axis)
    before = jnp.concatenate([nothing, jax.lax.slice_in_dim(flags, 0, size - 1, axis=axis)], axis=axis)
    return flags | before | after


@functools.lru_cache(maxsize=8)
def _descents(graph: LatentGraph) -> tuple[np.ndarray, ...]:
    """For every height from 1 up, which observed variables (columns) each latent of that height (rows) reaches."""
    reach = graph.arrays.reached(np.eye(graph.n_observed, dtype=bool)).astype(np.float32)
    heights = graph.arrays.heights
    return tuple(reach[heights == height] for height in range(1, heights.max() + 1))


def _lowest_shared(graph: LatentGraph, masked: Bool[Array, "n cells"]) -> Shaped[Array, "n cells"]:
    """Height of every variable's lowest ancestor with a visible descendant; one above the top if there is none."""
    visible = (~masked).astype(jnp.float32)
    heights = jnp.full(masked.shape, max(graph.heights) + 1)
    for height, reach in reversed(list(enumerate(_descents(graph), start=1))):
        seen = (visible @ reach.T > 0).astype(jnp.float32)
        heights = jnp.where(seen @ reach > 0, height, heights)
    return heights


# ---------------------------------------------------------------------- scores


class LossSum(NamedTuple):
    """The loss of some samples, such that those of parts of a batch need only be added up.

    Attributes:
        loss: the sum.
        total: what it is a sum over: weight, or samples with any.
    """

    loss: Scalar
    total: Scalar

    @property
    def divisor(self) -> Scalar:
        """What makes the sum a mean; the mean is 0 where nothing counts."""
        return jnp.maximum(self.total, _TINY)

    @property
    def mean(self) -> Scalar:
        """The loss itself."""
        return self.loss / self.divisor


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
    shares = weights / jnp.maximum(total, _TINY)[:, None]

    def distance(a: Float[Array, "n columns"], b: Float[Array, "n columns"]) -> Float[Array, " n"]:
        return jnp.sqrt(jnp.sum(shares * (a - b) ** 2, axis=-1) + _TINY)

    to_truth = (distance(guesses[0], target) + distance(guesses[1], target)) / 2
    scores = jnp.where(total > 0, to_truth - distance(guesses[0], guesses[1]) / 2, 0.0)
    return LossSum(jnp.sum(scores), jnp.sum(total > 0).astype(jnp.float32))


def draw_noise(network: Network, objective: Objective, key: PRNGKeyArray, n: int) -> Float[Array, "draws n noise"]:
    """The noise that a stochastic decoder reads for a batch; of others, one draw of no numbers."""
    if not network.noise_size:
        return jnp.zeros((1, n, 0))
    draws = objective.loss.draws
    return jax.random.normal(key, (draws * n * network.noise_size,)).reshape(draws, n, network.noise_size)


# ---------------------------------------------------------------------- refused before training


def check_region(graph: LatentGraph, mask: object, plan: MaskPlan, loss: LossConfig, *, batch: int, steps: int) -> None:
    """Refuse a loss that leaves nothing to learn from in some batch.

    Lists of masks are gone through one by one; of others 2,000 masks are drawn.

    Raises:
        ValueError: no mask leaves any weight in the region, or so few do that a batch without any has to be expected.
    """
    if loss.region != "interior" and loss.weights is None and loss.height_weights is None:
        return
    if plan.kind is Listed:
        masked = jnp.asarray(plan.arrays.masks)[: int(plan.arrays.n_listed)]
    elif plan.kind is Sampled:
        masked = jnp.asarray(draw_own(as_strategy(mask), graph, jax.random.key(0), _TRIAL_MASKS, plan))
    else:
        keys = jax.random.split(jax.random.key(0), _TRIAL_DRAWS)  # a range of ratios has one ratio per draw
        n = _TRIAL_MASKS // _TRIAL_DRAWS
        masked = jnp.concatenate([draw_masks(plan.kind, plan.arrays, key, n) for key in keys])
    weights = column_weights(objective(graph, loss), loss_arrays(graph, loss), plan.arrays, masked)
    counts = np.asarray(weights.sum(axis=1) > 0)
    if not counts.any():
        raise ValueError(
            f"no mask leaves anything to learn from: with region={loss.region!r} and these weights every variable has "
            f"weight 0 under every mask tried; mask more or larger regions, or change the loss"
        )
    ranged = plan.kind is Counted and plan.arrays.counts[0] != plan.arrays.counts[1]
    share = float(counts.reshape(_TRIAL_DRAWS, -1).mean(axis=1).min() if ranged else counts.mean())
    if steps * (1 - share) ** batch > _CHANCE_OF_AN_EMPTY_BATCH:
        raise ValueError(
            f"only {share:.2%} of the masks leave anything to learn from with region={loss.region!r} and these "
            f"weights, so some batches of {batch} would be empty: mask more or larger regions, use a larger batch, or "
            f"change the loss"
        )
