"""Supervision: latents themselves are the targets, as the ceiling of what a code can be trained to hold."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.config import ObjectiveConfig, check_whole_fields, wrong_field
from hlvm.mae.networks.networks import Network, code_width, pooled_codes
from hlvm.mae.objectives.base import LossSum, Objective, Samples
from hlvm.mae.objectives.heads import Head
from hlvm.mae.training.labels import Labels
from hlvm.mae.training.mask_draws import MaskArrays

__all__ = ["LatentRegression", "Supervised"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervised(ObjectiveConfig):
    """Prediction of latents from the code of the visible part: no objective of masked modelling, but its bounds.

    Trained on the latents' own values it is a ceiling: what this network can be made to keep of them, with these masks
    and steps. Trained on those of other samples (``shuffled=True``) it is a floor: all the training, and nothing to
    learn. The loss is the mean squared error over numbers, each in units of its variance, so that 1 is the loss of
    predicting means.

    It needs a generator, which draws latents together with values.

    Attributes:
        latents: names of latents; ``None`` for all.
        categories: 0 for latents that are numbers; for categories, in whole numbers from 0, at least as many as there
            are, whose one-hot columns are then predicted, (symbol, synonym) of a grammar one after the other.
        shuffled: whether targets are the latents of other samples.
        head_width: hidden units of the perceptron between code and targets.
        head_layers: its layers, at least 1; 1 is an affine map.
    """

    kind: ClassVar[str] = "supervised"
    reconstructs: ClassVar[bool] = False

    latents: tuple[str, ...] | None = None
    categories: int = 0
    shuffled: bool = False
    head_width: int = 64
    head_layers: int = 2

    def __post_init__(self) -> None:
        check_whole_fields(self, "head_width", "head_layers")
        check_whole_fields(self, "categories", minimum=0)
        if not isinstance(self.shuffled, bool):
            raise wrong_field(self, "shuffled", f"must be True or False, got {self.shuffled!r}")
        if self.latents is not None:
            names = (self.latents,) if isinstance(self.latents, str) else tuple(self.latents)
            if not names or len(set(names)) < len(names):
                raise wrong_field(self, "latents", f"must be different names, at least one, got {self.latents!r}")
            object.__setattr__(self, "latents", names)

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        return "squared error of latents / variance"

    def on(self, graph: LatentGraph) -> LatentRegression:
        """The part that is static on a graph.

        Raises:
            ValueError: an unknown name, or an observed variable's.
        """
        names = graph.latents if self.latents is None else self.latents
        wrong = [name for name in names if name not in graph.latents]
        if wrong:
            raise UsageError(
                f"must be latents of the graph, such as {graph.latents[-1]!r}, got {wrong[0]!r}",
                argument="latents",
                of="Supervised",
            )
        numbers = sum(graph.dim(name) for name in names) * max(self.categories, 1)
        hidden = (self.head_width,) * (self.head_layers - 1)
        labels = Labels(names=tuple(names), categories=self.categories, shuffled=self.shuffled)
        return LatentRegression(graph=graph, targets=labels, layers=(*hidden, numbers))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentRegression(Objective):
    """The static part of :class:`Supervised`.

    Attributes:
        targets: what is predicted.
        layers: numbers that come out of each layer of the head.
    """

    targets: Labels
    layers: tuple[int, ...]

    @property
    def labels(self) -> Labels:
        """Labels that are drawn with the values."""
        return self.targets

    def head(self, network: Network) -> Head:
        """The perceptron between code and targets."""
        return Head((code_width(network), *self.layers))

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n 1"]:
        """All samples count; traced."""
        del arrays, masks
        return jnp.ones((len(masked), 1))

    def loss(self, network: Network, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """Squared errors of the latents; traced."""
        del teacher
        code = pooled_codes(network, params, samples.inputs, samples.masked, samples.code_dim)
        guess = self.head(network).apply(jnp.asarray(samples.head), code.astype(jnp.float32))
        errors = ((guess - jnp.asarray(samples.labels)) ** 2).mean(axis=1)
        return LossSum(samples.weights[:, 0] @ errors, samples.weights.sum())
