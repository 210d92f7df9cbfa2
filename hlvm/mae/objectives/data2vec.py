"""data2vec: predict the mean of what a teacher's top blocks say of hidden tokens."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, get_args

from jaxtyping import Array, Float

from hlvm.mae.config import check_whole_fields, wrong_field
from hlvm.mae.objectives.latent_targets import Distance, TeacherConfig, normalized_over

__all__ = ["Data2Vec"]

Over = Literal["layer", "instance"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data2Vec(TeacherConfig):
    """Prediction of the mean of a teacher's top blocks, as in data2vec.

    The teacher is a running mean of the student and sees the whole sample. Its targets are the outputs of the
    perceptrons of its top ``top_blocks`` blocks, before they are added to what goes on; each is normalised, and their
    mean is taken. They are predicted at hidden tokens, and no gradient passes through them.

    Departures from the source. There the student's encoder sees a mask token at every hidden place, and a linear layer
    predicts from its last block; here, as in :cite:t:`he2022mae` and in data2vec 2.0, it sees visible tokens only, and
    the decoder, with mask tokens, predicts. The rate of the running mean rises over a share of the steps rather than a
    number of them, from and to values for runs of some thousand steps: the source's 0.9998 would leave the teacher
    where it began.

    Attributes:
        top_blocks: blocks that the mean is over, at least 1 and at most the encoder's depth.
        normalize: ``"layer"``: over the numbers of each token, as in the source for images. ``"instance"``: over the
            tokens of each sample, as in the source for speech.
        distance: ``"smooth_l1"`` as in the source for images, or ``"squared"``.
        beta: where a smooth distance turns linear, above 0.
        ema_start: as for :class:`~hlvm.mae.objectives.IJEPA`, and so the following.
        ema_end: see there.
        ema_ramp: see there.
        stop_gradient: see there.
        regularizer: see there.
        regularizer_weight: see there.

    References:
        Baevski, Hsu, Xu, Babu, Gu and Auli, "data2vec: a general framework for self-supervised learning in speech,
        vision and language", ICML 2022, section 3; and Baevski, Babu, Hsu and Auli, "Efficient self-supervised learning
        with contextualized target representations", ICML 2023, for encoders of visible tokens.
    """

    kind: ClassVar[str] = "data2vec"

    top_blocks: int = 2
    normalize: Over = "layer"
    distance: Distance = "smooth_l1"
    beta: float = 2.0
    ema_start: float = 0.99
    ema_end: float = 0.999
    ema_ramp: float = 0.3
    stop_gradient: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_fields(self, "top_blocks")
        if self.normalize not in get_args(Over):
            raise wrong_field(self, "normalize", f"must be one of {get_args(Over)}, got {self.normalize!r}")

    def check_depth(self, depth: int) -> None:
        """Refuse an encoder with fewer blocks than the mean is over.

        Raises:
            ValueError: it has fewer.
        """
        if depth < self.top_blocks:
            raise wrong_field(
                self,
                "top_blocks",
                f"must be at most the encoder's depth={depth}, got {self.top_blocks}: use a deeper one",
            )

    def targets(self, codes: Float[Array, "n tokens width"], grown: Float[Array, "depth n tokens width"]) -> Array:
        """The mean of the normalised outputs of the top blocks; traced."""
        del codes
        axis = -1 if self.normalize == "layer" else -2
        return normalized_over(grown[-self.top_blocks :], axis).mean(axis=0)
