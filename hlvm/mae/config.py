"""Settings of networks, losses and training: frozen, validated, static under jit."""

from __future__ import annotations

import dataclasses
import math
from numbers import Real
from typing import Any, Literal, get_args

from hlvm._numbers import UsageError, positive, whole_number

__all__ = [
    "NETWORKS",
    "BottleneckConfig",
    "Compute",
    "LinearConfig",
    "LossConfig",
    "LossRegion",
    "NetworkConfig",
    "Score",
    "TrainConfig",
    "ViTConfig",
]

Score = Literal["squared_error", "energy"]
Compute = Literal["float32", "bfloat16"]
LossRegion = Literal["masked", "all", "interior"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """A vision-transformer masked autoencoder: asymmetric, with a class token.

    It takes any graph. On a grid tokens are squares of cells, and have fixed sine-cosine positions. Without a grid
    every observed variable is a token, and its position is learned: one vector in the encoder and one in the decoder.
    Variables of fewer dims than the widest are padded with zeros, which carry nothing and never count in the loss.

    Attributes:
        patch: side of the network's patch in grid cells: ``patch * patch`` cells make a token. 1 for graphs without a
            grid. The masking unit is another size, set by the mask; it must hold whole tokens.
        width: embedding size of the encoder, a multiple of ``4`` and of ``heads``.
        depth: encoder blocks.
        heads: attention heads, in encoder and decoder.
        decoder_width: embedding size of the decoder, a multiple of ``4`` and of ``heads``.
        decoder_depth: decoder blocks.
        mlp_ratio: hidden units of each block's perceptron over its width.
        normalize_targets: whether every token is shifted and scaled to mean 0 and variance 1 over its own numbers
            before it is compared with its reconstruction, as in :cite:t:`he2022mae`. Every token needs at least 2
            numbers. Reconstructions are then in these units, since the scale of a hidden token is not known.
    """

    patch: int = 1
    width: int = 32
    depth: int = 2
    heads: int = 4
    decoder_width: int = 32
    decoder_depth: int = 1
    mlp_ratio: int = 2
    normalize_targets: bool = False

    def __post_init__(self) -> None:
        _whole(self, "patch", "width", "depth", "heads", "decoder_width", "decoder_depth", "mlp_ratio")
        for name in ("width", "decoder_width"):
            size = getattr(self, name)
            if size % 4 or size % self.heads:
                problem = f"must be a multiple of 4 (sine and cosine of two coordinates) and of heads={self.heads}"
                raise _wrong(self, name, f"{problem}, got {size}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BottleneckConfig:
    """A masked autoencoder whose code has exactly ``code_dim`` numbers: the learner of Theorem 2.

    The encoder is a multi-layer perceptron that sees the visible values and which variables are visible, or a small
    vision transformer whose class token is mapped to the code. The decoder is a perceptron that sees the code and
    which variables are masked.

    Attributes:
        code_dim: numbers in the code; set it to ``d_c`` to identify ``c``. At least 1.
        width: hidden units per layer of the perceptrons.
        depth: hidden layers of the encoder, and of the decoder.
        encoder: ``None`` for a perceptron; or the transformer, of which ``patch``, ``width``, ``depth``, ``heads`` and
            ``mlp_ratio`` are used.
    """

    code_dim: int
    width: int = 128
    depth: int = 2
    encoder: ViTConfig | None = None

    def __post_init__(self) -> None:
        _whole(self, "code_dim", "width", "depth")
        if self.encoder is not None and self.encoder.normalize_targets:
            raise _wrong(self, "normalize_targets", "is for ViTConfig on its own; leave it at False here")
        if self.encoder is not None and self.encoder.width < self.code_dim + 2:
            raise _wrong(
                self,
                "",
                f"the encoder's width={self.encoder.width} is too small for code_dim={self.code_dim}: its last layer "
                f"norm fixes mean and length of the class token, so use a width of at least {self.code_dim + 2}",
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """A linear masked autoencoder: ``code = A x_visible + a``, ``reconstruction = B code + b``.

    On a linear-Gaussian model with a fixed mask its optimum is known in closed form: the rank-``code_dim``
    reduced-rank regression, and the Bayes reconstruction once ``code_dim`` reaches the rank of the covariance between
    the two parts; see :meth:`hlvm.theory.GaussianOracle.reduced_rank`. With random masks the best linear map differs
    from mask to mask and this network has only one.

    Attributes:
        code_dim: numbers in the code. At least 1.
    """

    code_dim: int

    def __post_init__(self) -> None:
        _whole(self, "code_dim")


NetworkConfig = LinearConfig | BottleneckConfig | ViTConfig

NETWORKS: dict[str, type[Any]] = {"linear": LinearConfig, "bottleneck": BottleneckConfig, "vit": ViTConfig}
"""Networks by the names that they have in files."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What a masked autoencoder is trained to make small.

    With weights ``w`` (0 outside the region) and values in units of each column's standard deviation:

    * squared error: ``sum w (x - x^)^2 / sum w`` over all columns of a batch.
    * energy score: the decoder also reads fresh noise ``s_m``, so that ``x^`` is random; with two draws ``x^, x^'`` a
      sample scores ``(|x - x^| + |x - x^'|) / 2 - |x^ - x^'| / 2``, where ``|e|^2 = sum w e^2 / sum w`` over its own
      columns; the loss is the mean over samples. In expectation it is smallest only where ``x^`` has the conditional
      law of ``x`` given the visible part, so the code has to keep all that the law depends on, and not only the mean.

    A sample with nothing in the region counts as nothing. Strategies whose batches could be empty are refused.

    Attributes:
        score: ``"squared_error"`` or ``"energy"``.
        region: ``"masked"``: the masked variables. ``"all"``: visible ones as well. ``"interior"``: only masked patches
            that touch no visible one; needs a grid. Patches are the masking units; for fixed masks, lists of masks and
            strategies of your own every variable is a patch of its own.
        neighbours: 4 (sides) or 8 (sides and corners): what touches, for ``"interior"``.
        weights: one non-negative number per observed variable in the graph's order, not all zero; ``None`` for 1.
        height_weights: one non-negative number per height 1, 2, ... of the graph, not all zero: the weight of a
            variable by the height of its lowest ancestor that has a visible descendant, which on a tree is what
            separates it from the visible part. A variable without one has weight 0. Multiplies ``weights``.
        noise_dim: for the energy score, numbers of standard normal noise per reconstruction: in all for a bottleneck,
            at every hidden token for a ViT. At least 1.

    References:
        Energy score: Gneiting and Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal of the
        American Statistical Association 102 (2007), section 4.2. Region ``"interior"``: section 3.6 of
        :cite:t:`kong2023mae`, which suggests it.
    """

    score: Score = "squared_error"
    region: LossRegion = "masked"
    neighbours: Literal[4, 8] = 4
    weights: tuple[float, ...] | None = None
    height_weights: tuple[float, ...] | None = None
    noise_dim: int = 8

    def __post_init__(self) -> None:
        for name, options in (("score", get_args(Score)), ("region", get_args(LossRegion)), ("neighbours", (4, 8))):
            if getattr(self, name) not in options:
                raise _wrong(self, name, f"must be one of {options}, got {getattr(self, name)!r}")
        _whole(self, "noise_dim")
        for name in ("weights", "height_weights"):
            values = getattr(self, name)
            if values is None:
                continue
            numbers = tuple(map(float, values))
            if not numbers or not all(math.isfinite(v) and v >= 0 for v in numbers) or not any(numbers):
                raise _wrong(self, name, f"must be finite numbers of at least 0, not all 0, got {values!r}")
            object.__setattr__(self, name, numbers)

    @property
    def draws(self) -> int:
        """Reconstructions drawn of every sample and step: 2 for the energy score."""
        return 2 if self.score == "energy" else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation: AdamW with linear warm-up and cosine decay.

    Attributes:
        steps: optimiser steps.
        batch: samples per step: fresh ones of a generator, or the next rows of a data set.
        learning_rate: peak learning rate.
        warmup: steps of linear warm-up, fewer than ``steps``.
        weight_decay: decoupled weight decay.
        clip_norm: gradients of larger global norm are scaled down to it.
        compute: precision of the network's arithmetic: "float32", or "bfloat16" where the device is faster at that.
            Parameters, their updates and the loss are float32 in any case.
        held_out: rows of a data set, chosen at random from the key, that no member is trained on, and on which the loss
            is taken after every 100 steps or so. 0 for none, and for generators.
    """

    steps: int = 3000
    batch: int = 512
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    compute: Compute = "float32"
    held_out: int = 0

    def __post_init__(self) -> None:
        _whole(self, "steps", "batch")
        if self.compute not in get_args(Compute):
            raise _wrong(self, "compute", f'must be "float32" or "bfloat16", got {self.compute!r}')
        for name in ("warmup", "held_out"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, minimum=0, of="TrainConfig"))
        if self.warmup >= self.steps:
            lower = f"set it lower, for example warmup={self.steps // 10}, or take more steps"
            raise _wrong(self, "warmup", f"must lie in [0, steps={self.steps}), got {self.warmup}: {lower}")
        for name, low in (("learning_rate", "above 0"), ("clip_norm", "above 0"), ("weight_decay", "at least 0")):
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0 or (value == 0 and low == "above 0"):
                raise _wrong(self, name, f"must be a finite number, {low}, got {value!r}")


def _wrong(config: Any, field: str, problem: str) -> UsageError:
    return UsageError(problem, argument=field, of=type(config).__name__)


def _whole(config: Any, *names: str) -> None:
    for name in names:
        object.__setattr__(config, name, positive(getattr(config, name), name, of=type(config).__name__))
