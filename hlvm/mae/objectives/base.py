"""The seam between the training program and its objectives.

An objective is two things. Its settings (:class:`hlvm.mae.config.ObjectiveConfig`) are what a user gives and what files
hold. On a graph they become an :class:`Objective`: frozen and hashable, so that members whose objectives are equal
share one compiled program. What may differ between them is passed as arrays (``ObjectiveConfig.arrays``).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, Scalar

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.networks.networks import Network, init_flat
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.objectives.heads import Head
from hlvm.mae.training.labels import Labels
from hlvm.mae.training.mask_draws import MaskArrays, MaskPlan

__all__ = ["TINY", "LossSum", "Objective", "Samples", "first_parameters", "without_gradient"]

TINY = 1e-12
"""Added under square roots, whose slope at 0 is infinite, and to sums of weights that may be 0."""

_HEAD_STREAM = 2**32 - 1


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
        """Divisor that makes the sum a mean; the mean is 0 where nothing counts."""
        return jnp.maximum(self.total, TINY)

    @property
    def mean(self) -> Scalar:
        """The loss itself."""
        return self.loss / self.divisor


class Samples(NamedTuple):
    """Samples as the loss of one member reads them.

    Attributes:
        values: standardised values, in float32.
        inputs: the same in the precision of the network's arithmetic.
        masked: the masks.
        weights: how much each number, cell or sample counts, as :meth:`Objective.weights` has it.
        noise: what :meth:`Objective.noise` has drawn.
        code_dim: numbers in the member's code.
        shift: mean of every column.
        scale: standard deviation of every column.
        second: masks of the second view, of objectives with two.
        head: parameters of the objective's own, of those that have any.
        labels: standardised latents, of objectives that are given any.
    """

    values: Float[Array, "n columns"]
    inputs: Float[Array, "n columns"]
    masked: Bool[Array, "n cells"]
    weights: Float[Array, "n counted"]
    noise: Float[Array, "draws n noise"]
    code_dim: Int[Array, ""]
    shift: Float[Array, " columns"]
    scale: Float[Array, " columns"]
    second: Bool[Array, "n cells"] | None = None
    head: Float[Array, " others"] | None = None
    labels: Float[Array, "n numbers"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective:
    """The part of an objective that is static on a graph; one implementation per kind.

    Attributes:
        graph: the graph.
    """

    graph: LatentGraph

    @property
    def needs_whole_batch(self) -> bool:
        """True where the loss is no sum over samples, so that a batch cannot be worked out in parts."""
        return False

    @property
    def views(self) -> int:
        """Masks drawn of every sample: 1 or 2."""
        return 1

    @property
    def labels(self) -> Labels | None:
        """Latents that it is given with the values; ``None`` for none."""
        return None

    def head(self, network: Network) -> Head | None:
        """A perceptron that training needs beside the network; ``None`` for none."""
        del network

    def check_network(self, network: Network) -> None:
        """Refuse a network that it cannot train, such as one that decodes a part of what is hidden.

        Raises:
            ValueError: it cannot.
        """
        if isinstance(network, ViTNetwork) and network.config.decoded_share < 1:
            raise UsageError(
                "must be 1 here: decoding a part of the hidden tokens is for the squared error of LossConfig",
                argument="decoded_share",
                of="ViTConfig",
            )

    def check_masks(self, mask: object, plan: MaskPlan, arrays: Any, *, batch: int, steps: int) -> None:
        """Refuse masks under which some batch leaves nothing to learn from.

        Args:
            mask: the strategy.
            plan: the same as arrays.
            arrays: those of the settings.
            batch: samples per step.
            steps: of the whole training.

        Raises:
            ValueError: they do.
        """
        del mask, plan, arrays, batch, steps

    def check_rows(self, rows: Any) -> None:
        """Refuse data that it cannot be taken of.

        Args:
            rows: some rows of observed values as they come, (k, columns).

        Raises:
            ValueError: it cannot.
        """
        del rows

    @property
    def reads_rows(self) -> bool:
        """True where :meth:`check_rows` wants to see rows."""
        return type(self).check_rows is not Objective.check_rows

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n counted"]:
        """Weights of every sample; a sample counts where any is above 0. Traced.

        Args:
            arrays: those of the member's settings.
            masks: its mask strategy.
            masked: its masks.
        """
        raise NotImplementedError

    def noise(self, network: Network, key: PRNGKeyArray, n: int) -> Float[Array, "draws n noise"]:
        """Numbers drawn for a batch beside masks; of most objectives, one draw of none. Traced."""
        del network, key
        return jnp.zeros((1, n, 0))

    def loss(self, network: Network, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """The loss of some samples; traced.

        Args:
            network: the network.
            params: its parameters.
            teacher: those of its teacher; ``None`` where it has none.
            samples: what is read.
        """
        raise NotImplementedError

    def teacher_rate(self, step: Int[Array, ""], steps: int) -> Array | None:
        """Share of the teacher's parameters that a step leaves as they were; ``None`` where there is no teacher.

        Args:
            step: the number of the step, from 0; traced.
            steps: of the whole training.
        """
        del step, steps
        return None

    @property
    def has_teacher(self) -> bool:
        """True where the state carries a teacher."""
        return type(self).teacher_rate is not Objective.teacher_rate

    def answers(self, decoded: Float[Array, "draws n columns"]) -> Float[Array, "draws n columns"]:
        """Reconstructions from what the decoder says; traced."""
        return decoded


def first_parameters(
    network: Network, objective: Objective, keys: Key[Array, " members"]
) -> Float[Array, "members parameters"]:
    """Flat parameters before the first step, one row per key: the network's, then those of the objective's own."""
    flat, head = init_flat(network, keys), objective.head(network)
    if head is None:
        return flat
    own = jnp.stack([head.init(jax.random.fold_in(key, _HEAD_STREAM)) for key in keys])
    return jnp.concatenate([flat, own], axis=1)


def without_gradient(tree: Any) -> Any:
    """The same numbers, through which no gradient passes."""
    return jax.tree.map(jax.lax.stop_gradient, tree)
