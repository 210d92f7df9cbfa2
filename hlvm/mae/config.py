"""Settings of networks and training: frozen, validated, static under jit."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

__all__ = ["BottleneckConfig", "NetworkConfig", "TrainConfig", "ViTConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BottleneckConfig:
    """A masked autoencoder whose code has exactly ``code_dim`` numbers: the learner of Theorem 2.

    Encoder and decoder are multi-layer perceptrons. The encoder sees the visible values and which variables are
    visible, the decoder the code and which variables are masked.

    Attributes:
        code_dim: numbers in the code; set it to ``d_c`` to identify ``c``. At least 1.
        width: hidden units per layer.
        depth: hidden layers of the encoder, and of the decoder.
    """

    code_dim: int
    width: int = 128
    depth: int = 2

    def __post_init__(self) -> None:
        _whole(self, "code_dim", "width", "depth")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """A vision-transformer masked autoencoder: asymmetric, with a class token and fixed sine-cosine positions.

    Attributes:
        patch: side of the network's patch in grid cells: ``patch * patch`` cells make a token. The masking unit is
            another size, set by the mask; it must hold whole tokens.
        width: embedding size of the encoder, a multiple of ``4`` and of ``heads``.
        depth: encoder blocks.
        heads: attention heads, in encoder and decoder.
        decoder_width: embedding size of the decoder, a multiple of ``4`` and of ``heads``.
        decoder_depth: decoder blocks.
        mlp_ratio: hidden units of each block's perceptron over its width.
    """

    patch: int = 1
    width: int = 32
    depth: int = 2
    heads: int = 4
    decoder_width: int = 32
    decoder_depth: int = 1
    mlp_ratio: int = 2

    def __post_init__(self) -> None:
        _whole(self, "patch", "width", "depth", "heads", "decoder_width", "decoder_depth", "mlp_ratio")
        for name in ("width", "decoder_width"):
            size = getattr(self, name)
            if size % 4 or size % self.heads:
                raise ValueError(
                    f"ViTConfig: {name} must be a multiple of 4 (sine and cosine of two coordinates) and of "
                    f"heads={self.heads}, got {size}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation: AdamW with linear warm-up and cosine decay on freshly generated data.

    Attributes:
        steps: optimiser steps.
        batch: samples per step; every step draws new ones.
        learning_rate: peak learning rate.
        warmup: steps of linear warm-up, fewer than ``steps``.
        weight_decay: decoupled weight decay.
        clip_norm: gradients of larger global norm are scaled down to it.
    """

    steps: int = 3000
    batch: int = 512
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.0
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        _whole(self, "steps", "batch")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(
                f"TrainConfig: warmup must lie in [0, steps={self.steps}), got {self.warmup}: "
                f"set it lower, for example warmup={self.steps // 10}"
            )
        for name, low in (("learning_rate", "above 0"), ("clip_norm", "above 0"), ("weight_decay", "at least 0")):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (value == 0 and low == "above 0"):
                raise ValueError(f"TrainConfig: {name} must be finite and {low}, got {value}")


NetworkConfig = BottleneckConfig | ViTConfig


def _whole(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{type(config).__name__}: {name} must be a whole number of at least 1, got {value!r}")
