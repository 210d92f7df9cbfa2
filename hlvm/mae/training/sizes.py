"""Memory that training takes at the least, from the sizes alone: nothing is allocated, traced or compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax

from hlvm._process.memory import check_fits
from hlvm.graph import LatentGraph
from hlvm.mae.config import TrainConfig, ViTConfig
from hlvm.mae.networks.bottleneck import BottleneckNetwork
from hlvm.mae.networks.linear import LinearNetwork
from hlvm.mae.networks.networks import Network
from hlvm.mae.networks.tokens import Tokens
from hlvm.mae.training.program import Program

__all__ = ["check_sizes", "least_parameters", "state_bytes", "step_bytes", "step_flops"]

_SINGLE = 4
_IN_STATE = 3
"""Parameters, and two moments of each; a step adds the gradient."""


def least_parameters(network: Network) -> int:
    """Numbers in the weight matrices and learned positions of a network; the others are few beside them."""
    if isinstance(network, LinearNetwork):
        return 2 * sum(network.cell_dims) * network.padded_code
    if isinstance(network, BottleneckNetwork):
        columns, width, code = sum(network.cell_dims), network.config.width, network.padded_code
        inner = (network.config.depth - 1) * width**2
        decoder = (code + columns + network.noise_dim) * width + inner + width * columns
        encoder = network.config.encoder
        if encoder is None or network.tokens is None:
            return 2 * columns * width + inner + width * code + decoder
        return _encoder(encoder, network.tokens) + encoder.width * code + decoder
    config, width = network.config, network.config.decoder_width
    decoder = _of_tokens(network.tokens, width) + _blocks(config, width, config.decoder_depth)
    return _encoder(config, network.tokens) + config.width * width + decoder


def _encoder(config: ViTConfig, tokens: Tokens) -> int:
    return _of_tokens(tokens, config.width) + _blocks(config, config.width, config.depth)


def _of_tokens(tokens: Tokens, width: int) -> int:
    """Count parameters that map tokens to an embedding or back, and positions that are learned."""
    return (tokens.token_dim + (0 if tokens.grid else tokens.n_tokens)) * width


def _blocks(config: ViTConfig, width: int, depth: int) -> int:
    return depth * (4 + 2 * config.mlp_ratio) * width**2


def _kept_per_sample(network: Network) -> int:
    """Numbers of a sample that the backward pass reads: what enters every matrix product."""
    if isinstance(network, LinearNetwork):
        return sum(network.cell_dims) + network.padded_code
    if isinstance(network, BottleneckNetwork):
        columns, layers = sum(network.cell_dims), network.config.width * network.config.depth
        decoder = network.padded_code + columns + layers
        encoder = network.config.encoder
        if encoder is None:
            return 2 * columns + layers + decoder
        return decoder + _kept_per_block(encoder, encoder.width, network.n_visible + 1) * encoder.depth
    config = network.config
    hidden = _kept_per_block(config, config.decoder_width, network.tokens.n_tokens)
    if network.n_hidden:
        asked = math.ceil(config.decoded_share * network.n_hidden)
        hidden = asked * ((6 + config.mlp_ratio) * config.decoder_width + config.heads * (network.n_visible + 1))
    return _kept_per_block(config, config.width, network.n_visible + 1) * config.depth + hidden * config.decoder_depth


def _kept_per_block(config: ViTConfig, width: int, tokens: int) -> int:
    """Inputs of its four layers, queries, keys and values, and the attention."""
    return tokens * (6 + config.mlp_ratio) * width + config.heads * tokens**2


def step_flops(network: Network, members: int, batch: int) -> int:
    """Arithmetic operations of the matrix products of a step, forward and backward.

    Args:
        network: that the members share.
        members: members that take the step.
        batch: samples of each.
    """
    if isinstance(network, LinearNetwork) or (isinstance(network, BottleneckNetwork) and network.tokens is None):
        return 6 * batch * members * least_parameters(network)
    config, seen = _encoder_config(network), network.n_visible + 1
    products = _block_products(config, config.width, seen) * config.depth
    if isinstance(network, BottleneckNetwork):
        encoder = 0 if network.tokens is None else _encoder(config, network.tokens)
        return 6 * batch * members * (products + least_parameters(network) - encoder)
    decoder = _block_products(config, config.decoder_width, network.tokens.n_tokens + 1) * config.decoder_depth
    return 6 * batch * members * (products + decoder)


def _encoder_config(network: Network) -> ViTConfig:
    if isinstance(network, BottleneckNetwork) and network.config.encoder is not None:
        return network.config.encoder
    if isinstance(network, BottleneckNetwork | LinearNetwork):
        raise TypeError("this network has no transformer")
    return network.config


def _block_products(config: ViTConfig, width: int, tokens: int) -> int:
    """Multiplications of one block on one sample: its layers, scores and their mixing."""
    return tokens * _blocks(config, width, 1) + 2 * tokens**2 * width


def state_bytes(network: Network, members: int, *, teachers: bool = False) -> int:
    """At least so many bytes of parameters and optimiser states, and of teachers where there are any."""
    return _SINGLE * (_IN_STATE + teachers) * members * least_parameters(network)


def step_bytes(program: Program, graph: LatentGraph, members: int, batch: int) -> int:
    """At least so many bytes of gradients, values, masks and activations on a device while a step runs."""
    over_members, over_batch = (1, 1) if program.mesh is None else program.mesh.devices.shape
    own, columns = members // over_members, len(graph.arrays.cell_of_column)
    rows, at_once = batch // over_batch, program.samples_at_once(batch)
    values = _SINGLE * columns * rows + own * len(graph.observed) * rows
    kept = own * at_once * (columns + _kept_per_sample(program.network))
    return _SINGLE * own * least_parameters(program.network) + values + _SINGLE * kept


def check_sizes(graph: LatentGraph, groups: Sequence[tuple[Program, Sequence[int]]], train: TrainConfig) -> None:
    """Refuse members and batches that cannot fit into memory.

    The states of all groups are there from the start, and one group at a time takes a step.

    Args:
        graph: of the data.
        groups: the programs, with the members of each.
        train: the optimisation.

    Raises:
        ValueError: they cannot; the message has the numbers.
    """
    device = jax.devices()[0] if groups[0][0].mesh is None else groups[0][0].mesh.devices.flat[0]
    states, steps = [], []
    for program, members in groups:
        shape = (1, 1) if program.mesh is None else program.mesh.devices.shape
        sharing = math.prod(shape) if device.platform == "cpu" else 1  # devices of a CPU have one memory
        teachers = program.objective.has_teacher
        states.append(sharing * state_bytes(program.network, len(members) // shape[0], teachers=teachers))
        steps.append(sharing * step_bytes(program, graph, len(members), train.batch))
    n_members = sum(len(members) for _, members in groups)
    largest = max(least_parameters(program.network) for program, _ in groups)
    needed, by_batch = sum(states) + max(steps), max(steps) > sum(states)
    what = f"training {n_members} members of up to {largest:,} parameters on batches of {train.batch:,}"
    check_fits(
        needed,
        what if n_members > 1 else f"training {largest:,} parameters on batches of {train.batch:,}",
        "use a smaller batch" if by_batch else "use a smaller network (width, depth, code_dim) or fewer members",
        device,
    )
    losses = _SINGLE * n_members * train.steps
    check_fits(losses, f"keeping the losses of {train.steps:,} steps", "take fewer steps")
