"""Agreement of two masked views of a sample, kept from collapse: what VICReg and SIGReg have in common."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.mae.config import ObjectiveConfig, check_whole_fields
from hlvm.mae.networks.networks import Network, code_width, pooled_codes
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.objectives.base import LossSum, Objective, Samples
from hlvm.mae.objectives.heads import Head
from hlvm.mae.training.mask_draws import MaskArrays

__all__ = ["TwoViewConfig", "TwoViews"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoViewConfig(ObjectiveConfig):
    """Settings that objectives of two views share; see :class:`hlvm.mae.objectives.VICReg` for the attributes."""

    reconstructs: ClassVar[bool] = False

    head_width: int
    head_layers: int

    def __post_init__(self) -> None:
        check_whole_fields(self, "head_width")
        check_whole_fields(self, "head_layers", minimum=0)

    @property
    def whole_batch(self) -> bool:
        """Its terms compare samples of a batch with each other."""
        return True

    def on(self, graph: LatentGraph) -> TwoViews:
        """The part that is static on a graph."""
        return TwoViews(graph=graph, settings=self)

    def draw(self, key: PRNGKeyArray, width: int) -> Float[Array, "slices width"] | None:
        """Numbers drawn at every step beside masks; traced."""
        del key, width
        return None

    def of_views(
        self,
        views: tuple[Float[Array, "n width"], Float[Array, "n width"]],
        counted: Float[Array, " n"],
        used: Float[Array, " width"],
        drawn: Float[Array, "slices numbers"],
    ) -> Array:
        """The loss; traced.

        Args:
            views: embeddings of both views.
            counted: 1 for samples that count, 0 for others.
            used: 1 for numbers of the embedding that are in use, 0 for others.
            drawn: what :meth:`draw` gave.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoViews(Objective):
    """The static part of an objective of two views.

    Attributes:
        settings: its settings.
    """

    settings: TwoViewConfig

    @property
    def needs_whole_batch(self) -> bool:
        """Its terms compare samples of a batch with each other."""
        return self.settings.whole_batch

    @property
    def views(self) -> int:
        """Two masks of every sample."""
        return 2

    def head(self, network: Network) -> Head | None:
        """The perceptron between codes and embeddings, if there is one."""
        settings = self.settings
        if not settings.head_layers:
            return None
        return Head((code_width(network), *[settings.head_width] * settings.head_layers))

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n 1"]:
        """All samples count; traced."""
        del arrays, masks
        return jnp.ones((len(masked), 1))

    def noise(self, network: Network, key: PRNGKeyArray, n: int) -> Float[Array, "1 slices width"]:
        """Numbers that the settings draw."""
        head = self.head(network)
        drawn = self.settings.draw(key, code_width(network) if head is None else head.sizes[-1])
        return jnp.zeros((1, n, 0)) if drawn is None else drawn[None]

    def loss(self, network: Network, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """The loss of a whole batch; traced."""
        del teacher
        head, views = self.head(network), []
        for masked in (samples.masked, samples.masked if samples.second is None else samples.second):
            code = pooled_codes(network, params, samples.inputs, masked, samples.code_dim)
            view = code if head is None or samples.head is None else head.apply(samples.head, code)
            views.append(view.astype(jnp.float32))
        width = views[0].shape[1]
        used = jnp.ones(width)
        if head is None and not isinstance(network, ViTNetwork):
            used = (jnp.arange(width) < samples.code_dim).astype(jnp.float32)
        counted = samples.weights[:, 0]
        found = self.settings.of_views((views[0], views[1]), counted, used, samples.noise[0].astype(jnp.float32))
        return LossSum(found, jnp.ones(()))
