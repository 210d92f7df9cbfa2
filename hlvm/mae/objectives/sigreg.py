"""SIGReg: two views agree, and random projections of the embedding are standard normal."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from hlvm.mae.config import check_number_field, check_whole_fields
from hlvm.mae.objectives.two_views import TwoViewConfig

__all__ = ["SIGReg", "epps_pulley"]

_BOUND, _POINTS = 5.0, 17


@dataclasses.dataclass(frozen=True, kw_only=True)
class SIGReg(TwoViewConfig):
    """Agreement of two views whose embeddings are held to a standard normal law, as in LeJEPA.

    Views and embeddings are those of :class:`~hlvm.mae.objectives.VICReg`. The loss is ``1 - weight`` times the mean
    squared distance of the views from their mean, plus ``weight`` times a test of normality: embeddings are projected
    on ``slices`` random directions of length 1, drawn anew at every step, and each projection is compared with the
    standard normal law by the statistic of Epps and Pulley, ``n ∫ |φ(t) - exp(-t²/2)|² exp(-t²/2) dt`` with φ the
    empirical characteristic function, integrated over 17 points from -5 to 5. It is the mean over directions and views.

    There is no teacher and no stop-gradient. Equal codes for all samples are no optimum, since they are not normal.
    Latents are found up to a linear map where latents and views are jointly Gaussian: among functions of unit variance
    the linear ones then agree best. Other latents have no linear map that is normal, so that the code bends them; and
    where views agree exactly, the law alone leaves maps that keep it, such as rotations by an angle that depends on the
    length.

    Departures from the source: two views, both masks, instead of two large and six small crops; the perceptron has no
    batch norm; fewer directions than the source's 1,024.

    Attributes:
        weight: of the test of normality, from 0 to 1.
        slices: random directions at every step.
        head_width: as for :class:`~hlvm.mae.objectives.VICReg`.
        head_layers: likewise.

    References:
        Balestriero and LeCun, "LeJEPA: provable and scalable self-supervised learning without the heuristics", 2025,
        arXiv:2511.08544, sections 4 and 5 and algorithm 1. Epps and Pulley, "A test for normality based on the
        empirical characteristic function", Biometrika 70 (1983).
    """

    kind: ClassVar[str] = "sigreg"

    weight: float = 0.05
    slices: int = 128
    head_width: int = 64
    head_layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number_field(self, "weight", least=0.0, most=1.0)
        check_whole_fields(self, "slices")

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        return "LeJEPA's loss, weighted"

    def draw(self, key: PRNGKeyArray, width: int) -> Float[Array, "slices width"]:
        """Normal numbers, whose directions are uniform; traced."""
        return jax.random.normal(key, (self.slices * width,)).reshape(self.slices, width)

    def of_views(
        self,
        views: tuple[Float[Array, "n width"], Float[Array, "n width"]],
        counted: Float[Array, " n"],
        used: Float[Array, " width"],
        drawn: Float[Array, "slices numbers"],
    ) -> Array:
        """The loss; traced."""
        n, d = counted.sum(), used.sum()
        middle = (views[0] + views[1]) / 2
        apart = sum(counted @ (view - middle) ** 2 for view in views)
        agreement = (apart @ used) / (2 * n * d)
        directions = drawn * used
        directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
        normality = sum(epps_pulley(view @ directions.T, counted).mean() for view in views) / 2
        return (1 - self.weight) * agreement + self.weight * normality


def epps_pulley(numbers: Float[Array, "n slices"], counted: Float[Array, " n"]) -> Float[Array, " slices"]:
    """Distance of every column's law from the standard normal one; traced.

    Args:
        numbers: one sample of numbers per column.
        counted: 1 for rows that count, 0 for others.

    Returns:
        The statistic of Epps and Pulley; about 1.06 on average where the law is standard normal, whatever n is.
    """
    points = np.linspace(-_BOUND, _BOUND, _POINTS).astype(np.float32)
    normal = np.exp(-(points**2) / 2)
    n = counted.sum()
    angles = numbers[..., None] * points
    cosines, sines = (jnp.einsum("n,nst->st", counted, part) / n for part in (jnp.cos(angles), jnp.sin(angles)))
    distances = ((cosines - normal) ** 2 + sines**2) * normal
    return n * jnp.trapezoid(distances, points, axis=-1)
