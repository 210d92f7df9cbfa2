"""The vision-transformer masked autoencoder of ``hlvm.mae`` in PyTorch, for comparison only.

The same network, loss and optimiser as :class:`hlvm.mae.ViTConfig` and :class:`hlvm.mae.TrainConfig` describe, written
as one would in PyTorch: a module per block, attention written out as two matrix products and a softmax, which is faster
than ``scaled_dot_product_attention`` for short sequences on a CPU, or the latter (``fused``).
:meth:`TorchMAE.load_flax` takes the weights of a fit, so that both sides can be shown to compute the same loss.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from hlvm.mae import TrainConfig, ViTConfig
from hlvm.mae.networks.blocks import sine_cosine_positions

__all__ = ["TorchMAE", "optimizer", "train_step"]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, mlp_ratio * width), nn.Linear(mlp_ratio * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        n, t, width = tokens.shape
        qkv = self.qkv(self.norm_1(tokens)).view(n, t, self.heads, 3, width // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        else:
            mixed = (query @ key.transpose(-2, -1) / math.sqrt(width // self.heads)).softmax(dim=-1) @ value
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(n, t, width))
        return tokens + self.down(nn.functional.gelu(self.up(self.norm_2(tokens)), approximate="tanh"))


class TorchMAE(nn.Module):
    """Encoder and decoder over a grid of tokens."""

    positions: torch.Tensor
    decoder_positions: torch.Tensor

    def __init__(self, config: ViTConfig, grid: tuple[int, int], token_dim: int, *, fused: bool = False) -> None:
        super().__init__()

        def blocks(depth: int, width: int) -> nn.ModuleList:
            return nn.ModuleList(Block(width, config.heads, config.mlp_ratio, fused=fused) for _ in range(depth))

        small, width, decoder_width = 0.02, config.width, config.decoder_width
        self.n_tokens = grid[0] * grid[1]
        self.embed = nn.Linear(token_dim, width)
        self.class_token = nn.Parameter(small * torch.randn(1, 1, width))
        self.encoder_blocks = blocks(config.depth, width)
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(small * torch.randn(1, 1, decoder_width))
        self.decoder_blocks = blocks(config.decoder_depth, decoder_width)
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=1e-6)
        self.to_token = nn.Linear(decoder_width, token_dim)
        for name, size in (("positions", width), ("decoder_positions", decoder_width)):
            self.register_buffer(name, torch.from_numpy(sine_cosine_positions(*grid, size)))

    def forward(self, tokens: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Reconstruct all tokens (n, t, d) from those at the positions ``visible`` (n, v)."""
        n = len(tokens)
        seen = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))
        coded = torch.cat([self.class_token.expand(n, -1, -1), self.embed(seen) + self.positions[visible]], dim=1)
        for block in self.encoder_blocks:
            coded = block(coded)
        lowered = self.decoder_embed(self.encoder_norm(coded))
        places = visible[..., None].expand(-1, -1, lowered.shape[-1])
        blank = self.mask_token.to(lowered.dtype).expand(n, self.n_tokens, -1)
        filled = blank.scatter(1, places, lowered[:, 1:])
        out = torch.cat([lowered[:, :1], filled + self.decoder_positions], dim=1)
        for block in self.decoder_blocks:
            out = block(out)
        return self.to_token(self.decoder_norm(out[:, 1:]))

    def loss(self, tokens: torch.Tensor, hidden: torch.Tensor, n_visible: int) -> torch.Tensor:
        """Mean squared error over hidden tokens; ``hidden`` (n, t) has the same count in every row."""
        visible = hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, :n_visible]
        error = ((self(tokens, visible) - tokens) ** 2).mean(dim=-1)
        return (error * hidden).sum() / hidden.sum()

    @torch.no_grad()
    def load_flax(self, params: Any) -> None:
        """Take the parameters of a Flax ``ViTMAE``, so that both compute the same."""
        tree = params["params"]
        encoder = tree["encoder"]
        _dense(self.embed, encoder["embed"])
        _copy(self.class_token, encoder["class_token"])
        _blocks(self.encoder_blocks, encoder["encoder_blocks"])
        _norm(self.encoder_norm, encoder["encoder_norm"])
        _dense(self.decoder_embed, tree["decoder_embed"])
        _copy(self.mask_token, tree["mask_token"])
        _blocks(self.decoder_blocks, tree["decoder_blocks"])
        _norm(self.decoder_norm, tree["decoder_norm"])
        _dense(self.to_token, tree["to_token"])


def _copy(parameter: torch.Tensor, value: Any) -> None:
    parameter.copy_(torch.from_numpy(np.array(value)).reshape(parameter.shape))


def _dense(layer: nn.Linear, tree: Any) -> None:
    _copy(layer.weight, np.asarray(tree["kernel"]).reshape(layer.in_features, layer.out_features).T)
    _copy(layer.bias, tree["bias"])


def _norm(layer: nn.LayerNorm, tree: Any) -> None:
    _copy(layer.weight, tree["scale"])
    _copy(layer.bias, tree["bias"])


def _blocks(blocks: nn.ModuleList, tree: Any) -> None:
    """Flax scans blocks: their parameters are stacked along the first axis."""
    block: Any
    for i, block in enumerate(blocks):
        own = {layer: {name: np.asarray(value)[i] for name, value in part.items()} for layer, part in tree.items()}
        _norm(block.norm_1, own["LayerNorm_0"])
        _norm(block.norm_2, own["LayerNorm_1"])
        _dense(block.qkv, own["DenseGeneral_0"])
        _dense(block.out, own["DenseGeneral_1"])
        _dense(block.up, own["Dense_0"])
        _dense(block.down, own["Dense_1"])


def optimizer(model: nn.Module, train: TrainConfig, *, fused: bool = False) -> tuple[torch.optim.Optimizer, Any]:
    """AdamW with linear warm-up and cosine decay to 0, and its schedule."""
    adam = torch.optim.AdamW(
        model.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay, fused=fused or None
    )

    def share(step: int) -> float:
        if step < train.warmup:
            return step / train.warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - train.warmup) / (train.steps - train.warmup)))

    return adam, torch.optim.lr_scheduler.LambdaLR(adam, share)


def train_step(
    loss_of: Any,
    model: TorchMAE,
    adam: torch.optim.Optimizer,
    schedule: Any,
    tokens: torch.Tensor,
    hidden: torch.Tensor,
    n_visible: int,
    clip_norm: float,
) -> torch.Tensor:
    """One step; ``loss_of`` is ``model.loss`` or a compiled version of it."""
    adam.zero_grad(set_to_none=True)
    loss = loss_of(tokens, hidden, n_visible)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    adam.step()
    schedule.step()
    return loss.detach()
