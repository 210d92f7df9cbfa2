"""The oracle of the linear model that a differentiable model is close to about its mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.theory.gaussian.cut import cut_at
from hlvm.theory.gaussian.effects import effects_of_noises
from hlvm.theory.gaussian.oracle import GaussianOracle
from hlvm.theory.gaussian.posterior import Posterior
from hlvm.theory.oracles import Answers, How, NoiseEffects, Part

__all__ = ["LinearisableModel", "LinearisedOracle"]


class LinearisableModel(Protocol):
    """Everything that linearisation asks of a model, such as :class:`hlvm.simulator.HierarchicalModel`."""

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        ...

    def linearised_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """Keyword arguments of :meth:`GaussianOracle.from_parameters` beside the graph: derivatives at the mean.

        Coefficients are derivatives of each variable by its parents, noise scales by its noise times the noise's
        standard deviation, all where every noise has its mean.
        """
        ...


class LinearisedOracle(GaussianOracle):
    """Closed forms of the linear-Gaussian model that has a model's derivatives where every noise has its mean.

    It answers everything that :class:`GaussianOracle` does, of the linear model. Of the model itself the answers are
    approximations, good where the noises move it little: they can be too high or too low, and no error is known.
    All answers about what can be known say ``how="linearised"``, and so does the oracle.

    Args:
        model: anything with ``linearised_parameters()``, such as a :class:`~hlvm.simulator.HierarchicalModel`.

    Raises:
        ValueError: the model has no such method, or no derivatives.
    """

    how: How = "linearised"
    """Where all answers come from."""

    def __init__(self, model: Any) -> None:
        if not hasattr(model, "linearised_parameters"):
            inner = "its own .model" if hasattr(getattr(model, "model", None), "linearised_parameters") else "a model"
            raise UsageError(
                f"must have linearised_parameters(), got {type(model).__name__}",
                argument="model",
                remedies={"model": f"give {inner} that has them", "method": 'use method="regression"'},
            )
        super().__init__(_Linear(model.graph, model.linearised_parameters()))

    def relative_loss_batch(self, masks: Any, *, visible: Any = None, rows: int = 1, key: Any = None) -> Answers:
        """As :meth:`GaussianOracle.relative_loss_batch`, of the linear model."""
        return _linearised(super().relative_loss_batch(masks, visible=visible, rows=rows, key=key))

    def latent_r2_batch(
        self, masks: Any, *, visible: Any = None, part: Part = "value", rows: int = 1, key: Any = None
    ) -> Answers:
        """As :meth:`GaussianOracle.latent_r2_batch`, of the linear model."""
        return _linearised(super().latent_r2_batch(masks, visible=visible, part=part, rows=rows, key=key))

    def noise_effects(self) -> NoiseEffects:
        """As :meth:`GaussianOracle.noise_effects`, of the linear model."""
        return effects_of_noises(self._parameters, "linearised")

    def cut(self, height: int) -> LinearisedOracle:
        """As :meth:`GaussianOracle.cut`, of the linear model."""
        found = LinearisedOracle.__new__(LinearisedOracle)
        found._parameters = cut_at(self._posterior, height)
        found._posterior = Posterior(found._parameters)
        return found


@dataclasses.dataclass(frozen=True)
class _Linear:
    graph: LatentGraph
    parameters: Mapping[str, Mapping[str, Any]]

    def linear_gaussian_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        return self.parameters


def _linearised(answers: Answers) -> Answers:
    return dataclasses.replace(answers, how="linearised")
