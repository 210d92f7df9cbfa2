"""VICReg: two views agree, every number of the embedding varies, and no two vary together."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm.mae.config import check_number_field
from hlvm.mae.objectives.two_views import TwoViewConfig

__all__ = ["VICReg"]

_EPSILON = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class VICReg(TwoViewConfig):
    """Variance, invariance and covariance of two views, as in VICReg.

    Two views of a sample are what two masks of the member's strategy leave visible. Their codes (of transformers the
    mean of the visible tokens) go through a perceptron to embeddings ``z`` and ``z'`` of d numbers. The loss is

    * ``invariance`` times the mean of ``(z - z')²`` over samples and numbers,
    * plus ``variance`` times the mean of ``max(0, 1 - sqrt(var + 1e-4))`` over numbers and views,
    * plus ``covariance`` times the sum of squared covariances of different numbers over d, of both views.

    Only the first term is about agreement; with ``variance=0`` equal codes for all samples make the loss 0.

    Departures from the source: views are masks, not crops and colours; the perceptron has no batch norm, and sizes for
    small networks (the source's has 3 layers of 8,192).

    Attributes:
        invariance: weight of the first term, at least 0.
        variance: of the second, at least 0.
        covariance: of the third, at least 0.
        head_width: units of each layer of the perceptron, and numbers of the embedding.
        head_layers: its layers, at least 0; with 0 the code is the embedding.

    References:
        Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance regularization for self-supervised learning",
        ICLR 2022, section 4.
    """

    kind: ClassVar[str] = "vicreg"

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    head_width: int = 64
    head_layers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("invariance", "variance", "covariance"):
            check_number_field(self, name, least=0.0)

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        return "VICReg's loss, weighted"

    def of_views(
        self,
        views: tuple[Float[Array, "n width"], Float[Array, "n width"]],
        counted: Float[Array, " n"],
        used: Float[Array, " width"],
        drawn: Float[Array, "slices numbers"],
    ) -> Array:
        """The loss; traced."""
        del drawn
        n, d = counted.sum(), used.sum()
        apart = counted @ (views[0] - views[1]) ** 2
        found = self.invariance * (apart @ used) / (n * d)
        for view in views:
            centred = (view - counted @ view / n) * counted[:, None]
            products = centred.T @ centred / jnp.maximum(n - 1, 1)
            spread = jnp.sqrt(jnp.diagonal(products) + _EPSILON)
            found += self.variance * (jax.nn.relu(1 - spread) @ used) / (2 * d)
            others = products * (1 - jnp.eye(len(used)))
            found += self.covariance * (others**2).sum() / d
        return found
