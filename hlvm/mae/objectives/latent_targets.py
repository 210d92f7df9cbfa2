"""Prediction of a teacher's codes of hidden tokens: what data2vec and I-JEPA have in common."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.config import ObjectiveConfig, check_number_field, wrong_field
from hlvm.mae.networks.networks import Network
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.objectives.base import LossSum, Objective, Samples, without_gradient
from hlvm.mae.objectives.heads import Head
from hlvm.mae.objectives.sigreg import SIGReg
from hlvm.mae.objectives.two_views import TwoViews
from hlvm.mae.objectives.vicreg import VICReg
from hlvm.mae.training.mask_draws import MaskArrays

__all__ = ["Distance", "LatentTargets", "Regularizer", "TeacherConfig", "normalized_over"]

Distance = Literal["squared", "smooth_l1"]
Regularizer = VICReg | SIGReg
_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherConfig(ObjectiveConfig):
    """Settings that objectives with a teacher share; see :class:`hlvm.mae.objectives.IJEPA` for the attributes."""

    reconstructs: ClassVar[bool] = False
    predicts_codes: ClassVar[bool] = True

    distance: Distance
    beta: float
    ema_start: float
    ema_end: float
    ema_ramp: float
    stop_gradient: bool
    regularizer: Regularizer | None = None
    regularizer_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.distance not in get_args(Distance):
            raise wrong_field(self, "distance", f"must be one of {get_args(Distance)}, got {self.distance!r}")
        check_number_field(self, "beta", above=0.0)
        for name in ("ema_start", "ema_end"):
            check_number_field(self, name, least=0.0, most=1.0)
        check_number_field(self, "ema_ramp", above=0.0, most=1.0)
        if not isinstance(self.stop_gradient, bool):
            raise wrong_field(self, "stop_gradient", f"must be True or False, got {self.stop_gradient!r}")
        if not isinstance(self.regularizer, Regularizer | None):
            raise wrong_field(self, "regularizer", f"must be a VICReg, a SIGReg or None, got {self.regularizer!r}")
        check_number_field(self, "regularizer_weight", least=0.0)
        if self.regularizer is None and self.regularizer_weight != 1:
            problem = f"must be 1 where there is no regularizer, got {self.regularizer_weight!r}: give a regularizer"
            raise wrong_field(self, "regularizer_weight", problem)

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        distance = "distance from the teacher's codes / their variance"
        return distance if self.regularizer is None else f"{distance}, plus {self.regularizer.units}"

    @property
    def whole_batch(self) -> bool:
        """True with a regularizer, whose terms compare samples of a batch with each other."""
        return self.regularizer is not None

    def on(self, graph: LatentGraph) -> LatentTargets:
        """The part that is static on a graph."""
        return LatentTargets(graph=graph, settings=self)

    def targets(self, codes: Float[Array, "n tokens width"], grown: Float[Array, "depth n tokens width"]) -> Array:
        """Targets of every token, from the teacher's last codes and what its perceptrons add; traced."""
        raise NotImplementedError

    def check_depth(self, depth: int) -> None:
        """Refuse an encoder with too few blocks."""
        del depth


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentTargets(Objective):
    """The static part of an objective with a teacher.

    Attributes:
        settings: its settings.
    """

    settings: TeacherConfig

    @property
    def regularizer(self) -> TwoViews | None:
        """The static part of the regularizer, if there is one."""
        return None if self.settings.regularizer is None else self.settings.regularizer.on(self.graph)

    @property
    def needs_whole_batch(self) -> bool:
        """True with a regularizer, whose terms compare samples of a batch with each other."""
        return self.settings.whole_batch

    @property
    def views(self) -> int:
        """Two masks of every sample with a regularizer, of which the first is predicted under; else one."""
        return super().views if self.regularizer is None else self.regularizer.views

    def head(self, network: Network) -> Head | None:
        """The regularizer's perceptron between codes and embeddings, if it has one."""
        return super().head(network) if self.regularizer is None else self.regularizer.head(network)

    def noise(self, network: Network, key: PRNGKeyArray, n: int) -> Float[Array, "1 drawn numbers"]:
        """Numbers that the regularizer draws; traced."""
        drawing = super() if self.regularizer is None else self.regularizer
        return drawing.noise(network, key, n)

    def check_network(self, network: Network) -> None:
        """Refuse networks without tokens or with normalised targets.

        Raises:
            ValueError: the network has none, normalises them, or has too few blocks.
        """
        super().check_network(network)
        name = type(self.settings).__name__
        if not isinstance(network, ViTNetwork):
            raise UsageError(
                "predicts a teacher's codes of tokens, and this network has one code for all",
                of=name,
                remedies={"network": "use ViTConfig"},
            )
        if network.config.normalize_targets:
            raise UsageError(
                f"must be False for {name}, whose targets are codes", argument="normalize_targets", of="ViTConfig"
            )
        self.settings.check_depth(network.config.depth)

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n cells"]:
        """Masked cells count; traced."""
        del arrays, masks
        return masked.astype(jnp.float32)

    def loss(self, network: Any, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """Distances of the predictions at hidden tokens from the teacher's codes, and the regularizer; traced."""
        distances, regularizer = self._distances(network, params, teacher, samples), self.regularizer
        if regularizer is None:
            return distances
        counted = (samples.weights.sum(axis=1, keepdims=True) > 0).astype(jnp.float32)
        added = regularizer.loss(network, params, None, samples._replace(weights=counted))
        return LossSum(distances.mean + self.settings.regularizer_weight * added.mean, jnp.ones(()))

    def _distances(self, network: Any, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """Distances at hidden tokens from the teacher's codes of the whole sample; traced."""
        noise = samples.noise
        if self.regularizer is not None:  # what is drawn is the regularizer's
            noise = jnp.zeros((1, len(samples.inputs), 0), samples.inputs.dtype)
        predicted = network.predict(params, samples.inputs, samples.masked, noise)
        shown_all = without_gradient(teacher) if self.settings.stop_gradient else params
        targets = self.settings.targets(
            *(x.astype(jnp.float32) for x in network.perceptron_outputs(shown_all, samples.inputs))
        )
        if self.settings.stop_gradient:
            targets = without_gradient(targets)
        apart = _distance(self.settings, predicted.astype(jnp.float32) - targets).mean(axis=-1)
        hidden = samples.weights[:, network.tokens.cells_of_token[:, 0]]  # cells of a token are hidden together
        return LossSum(jnp.sum(hidden * apart), jnp.sum(hidden))

    def teacher_rate(self, step: Int[Array, ""], steps: int) -> Array:
        """Share of the teacher that a step leaves: it rises from ``ema_start`` to ``ema_end`` on a straight line."""
        settings = self.settings
        done = jnp.minimum(step / (settings.ema_ramp * steps), 1.0)
        return settings.ema_start + (settings.ema_end - settings.ema_start) * done


def _distance(settings: TeacherConfig, apart: Float[Array, "n tokens width"]) -> Float[Array, "n tokens width"]:
    if settings.distance == "squared":
        return apart**2
    size = jnp.abs(apart)
    return jnp.where(size < settings.beta, size**2 / (2 * settings.beta), size - settings.beta / 2)


def normalized_over(codes: Float[Array, "*n tokens width"], axis: int) -> Float[Array, "*n tokens width"]:
    """Codes of mean 0 and variance 1 along an axis: -1 is a layer norm, -2 an instance norm, without parameters."""
    centred = codes - codes.mean(axis=axis, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(axis=axis, keepdims=True) + _EPSILON)
