"""Settings of networks and training, and what those of objectives share: frozen, validated, static under jit."""

from __future__ import annotations

import dataclasses
import math
from numbers import Real
from typing import Any, ClassVar, Literal, get_args

from hlvm._numbers import UsageError, whole_number
from hlvm.graph import LatentGraph

__all__ = [
    "NETWORKS",
    "BottleneckConfig",
    "Compute",
    "Decoder",
    "LinearConfig",
    "NetworkConfig",
    "ObjectiveConfig",
    "TrainConfig",
    "ViTConfig",
    "as_ever",
    "check_number_field",
    "check_whole_fields",
    "network_to_dict",
    "wrong_field",
]

Compute = Literal["float32", "bfloat16"]
Decoder = Literal["full", "cross"]


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
        decoder: ``"full"``: a transformer over the codes of visible tokens and a mask token at every hidden place, as
            in :cite:t:`he2022mae`. ``"cross"``: each hidden place attends to the codes of the visible tokens alone, and
            to no other hidden place, as in CrossMAE: Fu et al., "Rethinking patch dependence for masked autoencoders",
            2024. There every block of the decoder reads its own mixture of the encoder's blocks; here all read the
            codes of the last one. It decodes hidden tokens only, so that losses must not count visible ones, and reads
            no noise.
        decoded_share: share of the hidden tokens of a sample that are decoded in training, above 0 and at most 1,
            chosen at random at every step, for the cross decoder and squared errors. Fewer cost less;
            ``reconstruct`` decodes all.
    """

    patch: int = 1
    width: int = 32
    depth: int = 2
    heads: int = 4
    decoder_width: int = 32
    decoder_depth: int = 1
    mlp_ratio: int = 2
    normalize_targets: bool = False
    decoder: Decoder = "full"
    decoded_share: float = 1.0

    def __post_init__(self) -> None:
        if self.decoder not in get_args(Decoder):
            raise wrong_field(self, "decoder", f"must be one of {get_args(Decoder)}, got {self.decoder!r}")
        check_number_field(self, "decoded_share", above=0.0, most=1.0)
        if self.decoded_share < 1 and self.decoder == "full":
            raise wrong_field(self, "decoded_share", 'must be 1 for the full decoder: use decoder="cross"')
        check_whole_fields(self, "patch", "width", "depth", "heads", "decoder_width", "decoder_depth", "mlp_ratio")
        for name in ("width", "decoder_width"):
            size = getattr(self, name)
            if size % 4 or size % self.heads:
                problem = f"must be a multiple of 4 (sine and cosine of two coordinates) and of heads={self.heads}"
                raise wrong_field(self, name, f"{problem}, got {size}")


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
        check_whole_fields(self, "code_dim", "width", "depth")
        if self.encoder is not None and self.encoder.normalize_targets:
            raise wrong_field(self, "normalize_targets", "is for ViTConfig on its own; leave it at False here")
        if self.encoder is not None and self.encoder.decoder != "full":
            raise wrong_field(self, "decoder", 'is for ViTConfig on its own; leave it at "full" here')
        if self.encoder is not None and self.encoder.width < self.code_dim + 2:
            raise wrong_field(
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
        check_whole_fields(self, "code_dim")


NetworkConfig = LinearConfig | BottleneckConfig | ViTConfig

_LATER: dict[str, Any] = {"decoder": "full", "decoded_share": 1.0}
"""Fields of transformers that came later, and how files that lack them are read."""


def network_to_dict(config: Any) -> dict[str, Any]:
    """The settings of a network with its kind, ready for JSON; later fields only where they are not as ever.

    Raises:
        ValueError: it is no network.
    """
    kind = next((name for name, cls in NETWORKS.items() if type(config) is cls), None)
    if kind is None:
        known = ", ".join(cls.__name__ for cls in NETWORKS.values())
        raise ValueError(f"network: expected one of {known}, got {config!r}")
    return {"kind": kind, **as_ever(dataclasses.asdict(config))}


def as_ever(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of settings, as files had them before some were added; these only where they are not as ever."""
    kept = {name: value for name, value in fields.items() if name not in _LATER or value != _LATER[name]}
    return {name: as_ever(value) if isinstance(value, dict) else value for name, value in kept.items()}


NETWORKS: dict[str, type[Any]] = {"linear": LinearConfig, "bottleneck": BottleneckConfig, "vit": ViTConfig}
"""Networks by the names that they have in files."""


class ObjectiveConfig:
    """Settings of what a masked autoencoder is trained to make small: a frozen dataclass with keyword arguments.

    Those of :mod:`hlvm.mae.objectives` are all there are.

    Attributes:
        kind: its name in files.
        reconstructs: whether the decoder's answers are values of the observed variables.
        in_data_units: whether these are in the units of the data as they come, not in standard deviations.
        predicts_codes: whether the decoder predicts a token's code instead of its numbers.
    """

    kind: ClassVar[str]
    reconstructs: ClassVar[bool] = True
    in_data_units: ClassVar[bool] = False
    predicts_codes: ClassVar[bool] = False

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        raise NotImplementedError

    @property
    def whole_batch(self) -> bool:
        """True where the loss compares samples of a batch with each other, so that no part of it will do."""
        return False

    @property
    def decoder_noise(self) -> int:
        """Numbers of noise that the decoder reads per reconstruction or hidden token."""
        return 0

    def on(self, graph: LatentGraph) -> Any:
        """The part that is static on a graph: a :class:`hlvm.mae.objectives.base.Objective`.

        Raises:
            ValueError: it does not fit the graph.
        """
        raise NotImplementedError

    def arrays(self, graph: LatentGraph) -> Any:
        """Arrays that may differ between members that share a program, as a tuple.

        Raises:
            ValueError: it does not fit the graph.
        """
        del graph
        return ()


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
        check_whole_fields(self, "steps", "batch")
        if self.compute not in get_args(Compute):
            raise wrong_field(self, "compute", f'must be "float32" or "bfloat16", got {self.compute!r}')
        for name in ("warmup", "held_out"):
            object.__setattr__(self, name, whole_number(getattr(self, name), name, minimum=0, of="TrainConfig"))
        if self.warmup >= self.steps:
            lower = f"set it lower, for example warmup={self.steps // 10}, or take more steps"
            raise wrong_field(self, "warmup", f"must lie in [0, steps={self.steps}), got {self.warmup}: {lower}")
        check_number_field(self, "learning_rate", above=0.0)
        check_number_field(self, "clip_norm", above=0.0)
        check_number_field(self, "weight_decay", least=0.0)


def wrong_field(config: Any, field: str, problem: str) -> UsageError:
    """The error of one field of a configuration."""
    return UsageError(problem, argument=field, of=type(config).__name__)


def check_number_field(
    config: Any, name: str, *, above: float | None = None, least: float | None = None, most: float = math.inf
) -> None:
    """Check that a field is a finite number above or at least some number, and at most another."""
    value = getattr(config, name)
    size = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    low = above if least is None else least
    if not math.isfinite(size) or size < (low or 0.0) or size == above or size > most:
        words = f"above {above:g}" if least is None else f"at least {least:g}"
        high = "" if most == math.inf else f" and at most {most:g}"
        raise wrong_field(config, name, f"must be a finite number, {words}{high}, got {value!r}")


def check_whole_fields(config: Any, *names: str, minimum: int = 1) -> None:
    """Check that these fields are whole numbers of at least ``minimum``, of Python, NumPy or JAX."""
    for name in names:
        value = whole_number(getattr(config, name), name, minimum=minimum, of=type(config).__name__)
        object.__setattr__(config, name, value)
