"""I-JEPA: from the codes of visible tokens predict a teacher's codes of hidden ones."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jaxtyping import Array, Float

from hlvm.mae.objectives.latent_targets import Distance, TeacherConfig, normalized_over

__all__ = ["IJEPA"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class IJEPA(TeacherConfig):
    """Prediction of a teacher's codes of hidden tokens, as in I-JEPA.

    The encoder sees the visible tokens. The network's decoder is the predictor: it sees their codes and a learned mask
    token at every hidden place. The teacher is a running mean of the student and sees the whole sample; its targets are
    the codes of its last layer, of mean 0 and variance 1 over the numbers of each token, at the hidden tokens. No
    gradient passes through them.

    Departures from the source. Context and targets are what the member's mask leaves and hides, in one prediction of
    all hidden tokens together, not one context block and four target blocks predicted one by one; choose the mask to
    match, such as :class:`~hlvm.masking.BlockMask`. The class token that all transformers have here is seen by the
    predictor, and is no target. The distance is a mean over the numbers of a token, not a sum.

    With a ``regularizer`` two masks are drawn of every sample. The student predicts under the first. The loss of
    :class:`~hlvm.mae.objectives.VICReg` or :class:`~hlvm.mae.objectives.SIGReg`, of the student's codes under both,
    is added ``regularizer_weight`` times. Adding VICReg's is the idea of C-JEPA; its views and weights are not copied.

    Codes are those of the student; those of the teacher, which the source evaluates, are one replacement away, see
    :class:`hlvm.mae.Fit`.

    Attributes:
        distance: ``"squared"``, or ``"smooth_l1"`` as in the source's program, which is squared below ``beta`` and
            linear beyond.
        beta: where a smooth distance turns linear, above 0.
        ema_start: share of the teacher that the first step leaves as it was, from 0 to 1.
        ema_end: the same at the end of the ramp. In between it follows a straight line.
        ema_ramp: share of the steps that the ramp takes, above 0 and at most 1.
        stop_gradient: leave it at True. With False the targets are the student's own and pass gradients on, so that
            equal codes for all samples are the optimum: this is to see a collapse.
        regularizer: settings of the added loss of two views, a perceptron included; ``None`` for none.
        regularizer_weight: its weight, at least 0; the distance has weight 1. Leave it at 1 without a regularizer.

    References:
        Assran, Duval, Misra, Bojanowski, Vincent, Rabbat, LeCun and Ballas, "Self-supervised learning from images with
        a joint-embedding predictive architecture", CVPR 2023, sections 3 and A. Mo and Tong, "Connecting
        joint-embedding predictive architecture with contrastive self-supervised learning", NeurIPS 2024,
        arXiv:2410.19560, for the regularizer.
    """

    kind: ClassVar[str] = "ijepa"

    distance: Distance = "squared"
    beta: float = 1.0
    ema_start: float = 0.996
    ema_end: float = 1.0
    ema_ramp: float = 1.0
    stop_gradient: bool = True

    def targets(self, codes: Float[Array, "n tokens width"], grown: Float[Array, "depth n tokens width"]) -> Array:
        """Normalised codes of the last layer; traced."""
        del grown
        return normalized_over(codes, -1)
