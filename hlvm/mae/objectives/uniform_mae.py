"""U-MAE: reconstruction, and codes of different samples pushed apart."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hlvm.graph import LatentGraph
from hlvm.mae.config import ObjectiveConfig, check_number_field
from hlvm.mae.networks.networks import Network, pooled_codes
from hlvm.mae.objectives.base import TINY, LossSum, Objective, Samples
from hlvm.mae.objectives.reconstruction import squared_error
from hlvm.mae.training.mask_draws import MaskArrays

__all__ = ["UniformMAE", "UniformReconstruction"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformMAE(ObjectiveConfig):
    """Squared error of the masked part, plus ``weight`` times how much codes of different samples point the same way.

    The second term is the mean of ``(z · z')²`` over pairs of different samples of a batch, where ``z`` is a sample's
    code divided by its length: of transformers the mean of the visible tokens. It is 1 where all codes are on one line,
    and 1/d on average where their directions are uniform in d dimensions.

    Departures from the source: pairs of a sample with itself are left out, whose term is constant.

    Attributes:
        weight: of the second term, at least 0.

    References:
        Zhang, Wang and Wang, "How mask matters: towards theoretical understandings of masked autoencoders", NeurIPS
        2022, equation 14.
    """

    kind: ClassVar[str] = "uniform_mae"

    weight: float = 0.01

    def __post_init__(self) -> None:
        check_number_field(self, "weight", least=0.0)

    @property
    def whole_batch(self) -> bool:
        """Its second term compares samples of a batch with each other."""
        return True

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        return "squared error / variance, plus uniformity"

    def on(self, graph: LatentGraph) -> UniformReconstruction:
        """The part that is static on a graph."""
        return UniformReconstruction(graph=graph, weight=float(self.weight))


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniformReconstruction(Objective):
    """The static part of :class:`UniformMAE`.

    Attributes:
        weight: of the second term.
    """

    weight: float

    @property
    def needs_whole_batch(self) -> bool:
        """Its second term compares samples of a batch with each other."""
        return True

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n columns"]:
        """Masked columns count; traced."""
        del arrays, masks
        return masked.astype(jnp.float32)[:, self.graph.arrays.cell_of_column]

    def loss(self, network: Network, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """The loss of a whole batch; traced."""
        del teacher
        given = params, samples.inputs, samples.masked, samples.code_dim
        guess = network.reconstruct(*given, samples.noise)[0].astype(jnp.float32)
        error = squared_error(guess, network.targets(samples.values), samples.weights).mean
        code = pooled_codes(network, *given).astype(jnp.float32)
        length = jnp.sqrt((code**2).sum(axis=1, keepdims=True) + TINY)
        counted = (samples.weights.sum(axis=1) > 0).astype(jnp.float32)
        along = (code / length @ (code / length).T) ** 2 * (1 - jnp.eye(len(code)))
        n = counted.sum()
        return LossSum(error + self.weight * (counted @ along @ counted) / jnp.maximum(n * (n - 1), 1), jnp.ones(()))
