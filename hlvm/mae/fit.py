"""A trained masked autoencoder and what one asks of it: codes and reconstructions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.mae.config import BottleneckConfig, NetworkConfig, TrainConfig
from hlvm.mae.networks import Network, ViTNetwork, build_network, code_dim_of, init_flat, unflatten
from hlvm.masking import FixedMask, MaskStrategy, RandomMask, masked_array, masked_batch
from hlvm.simulator import HierarchicalModel, Sample

__all__ = ["Fit", "SeedKeys", "encode", "reconstruct", "seed_keys"]

Pooling = Literal["mean", "class", "tokens"]
Observed: TypeAlias = Sample | Mapping[str, Any] | Float[Array | np.ndarray, "n columns"]


class SeedKeys(NamedTuple):
    """The named keys of one seed.

    Attributes:
        init: for initial parameters.
        data: for training data; folded with the step.
        mask: for random masks; folded with the step.
    """

    init: PRNGKeyArray
    data: PRNGKeyArray
    mask: PRNGKeyArray


def seed_keys(key: PRNGKeyArray, seed: int) -> SeedKeys:
    """Keys of one seed under the key of an ensemble."""
    return SeedKeys(*jax.random.split(jax.random.fold_in(key, seed), 3))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Fit:
    """A masked autoencoder with its parameters and everything that made it.

    Attributes:
        model: the generator it was trained on.
        mask: how it was masked while training.
        config: its network.
        train: its optimisation.
        seed: its seed within the ensemble.
        key: the key of the ensemble.
        params: flat parameters, (parameters,).
        losses: training loss of every step taken, in units of the data's variance: (steps,) at the end of training,
            empty before, shorter when training diverged.
        diverged: whether training stopped because loss or gradient were no longer finite; ``params`` are those before
            that step.
        shift: mean of every observed column, (columns,).
        scale: standard deviation of every observed column, (columns,).
    """

    model: HierarchicalModel
    mask: MaskStrategy
    config: NetworkConfig
    train: TrainConfig
    seed: int
    key: PRNGKeyArray
    params: Float[Array, " parameters"]
    losses: np.ndarray
    diverged: bool
    shift: Float[Array, " columns"]
    scale: Float[Array, " columns"]

    def __repr__(self) -> str:
        return f"Fit({self.config}, {self.mask}, seed={self.seed}, {len(self.losses)} steps)"

    @functools.cached_property
    def network(self) -> Network:
        """The network's description, sized for the training mask."""
        return build_network(self.model.graph, self.mask, self.config)

    def untrained(self) -> Fit:
        """The same autoencoder before its first step: the floor of every score."""
        flat = init_flat(self.network, seed_keys(self.key, self.seed).init[None])[0]
        return dataclasses.replace(self, params=flat, losses=np.zeros(0), diverged=False)


def encode(
    fit: Fit,
    observed: Observed,
    masked: Any,
    *,
    pooling: Pooling = "mean",
) -> Float[Array, "n ..."]:
    """Codes of samples.

    Args:
        fit: the autoencoder.
        observed: a sample; or its ``observed`` part, name -> (n, dim); or its ``observed_matrix``, (n, total observed
            dims) in the graph's order.
        masked: what the encoder may not see: a :class:`~hlvm.masking.FixedMask`, names, a boolean array (observed,)
            or (n, observed), or ``None`` for nothing. A bottleneck trained with a fixed mask expects that mask
            (``fit.mask``): anything else is out of its training distribution. A ViT needs equally many masked tokens
            in every row.
        pooling: for a ViT, the mean over the visible tokens, the class token, or all of them side by side with the
            class token first. A bottleneck has one code and ignores this.

    Returns:
        Array (n, code_dim) for a bottleneck; for a ViT (n, width), or (n, visible tokens + 1, width) for ``"tokens"``.

    Raises:
        ValueError: arrays of the wrong shape, unknown names, or a mask that the network cannot take.
    """
    values, hidden, network = _inputs(fit, observed, masked)
    coded = _apply(network, "encode", fit.params, values, hidden, code_dim_of(fit.config))
    if isinstance(fit.config, BottleneckConfig):
        return coded[:, : fit.config.code_dim]
    if pooling == "tokens":
        return coded
    if pooling == "class":
        return coded[:, 0]
    if pooling == "mean":
        return coded[:, 1:].mean(axis=1)
    raise ValueError(f'pooling must be "mean", "class" or "tokens", got {pooling!r}')


def reconstruct(fit: Fit, observed: Observed, masked: Any) -> Float[Array, "n columns"]:
    """Reconstructions in the data's own units.

    Args:
        fit: the autoencoder.
        observed: as for :func:`encode`.
        masked: what to reconstruct from the rest, given as for :func:`encode`.

    Returns:
        Array (n, total observed dims). Columns of masked variables hold the reconstruction, those of visible ones the
        data itself.

    Raises:
        ValueError: as for :func:`encode`.
    """
    values, hidden, network = _inputs(fit, observed, masked)
    guess = _apply(network, "reconstruct", fit.params, values, hidden, code_dim_of(fit.config))
    graph = fit.model.graph
    columns = np.repeat(np.arange(len(graph.observed)), [graph.dim(name) for name in graph.observed])
    return jnp.where(hidden[:, columns], guess, values) * fit.scale + fit.shift


def _inputs(
    fit: Fit, observed: Observed, masked: Any
) -> tuple[Float[Array, "n columns"], Bool[Array, "n cells"], Network]:
    """Standardised values, one mask per row, and the network sized for it; everything checked."""
    graph = fit.model.graph
    if isinstance(observed, Sample) and observed.graph != graph:
        raise ValueError("the sample comes from another graph than the one this autoencoder was trained on")
    raw = _matrix(observed, graph)
    if raw.ndim != 2 or raw.shape[1] != len(fit.shift):
        raise ValueError(
            f"observed must have shape (n, {len(fit.shift)}), the observed variables side by side, got {raw.shape}: "
            f"pass a Sample of the same graph, or its observed_matrix"
        )
    hidden = _mask_rows(fit, masked, len(raw))
    return (raw - fit.shift) / fit.scale, jnp.asarray(hidden), _sized(fit.network, hidden)


def _matrix(observed: Observed, graph: LatentGraph) -> Array:
    """The observed variables side by side."""
    if isinstance(observed, Sample):
        return jnp.asarray(observed.observed_matrix)
    if isinstance(observed, Mapping):
        missing = [name for name in graph.observed if name not in observed]
        if missing:
            raise ValueError(f"observed has no values for {missing[0]!r}: give one array per observed variable")
        return jnp.concatenate([jnp.asarray(observed[name]) for name in graph.observed], axis=1)
    return jnp.asarray(observed)


def _mask_rows(fit: Fit, masked: Any, n: int) -> Bool[np.ndarray, "n cells"]:
    graph = fit.model.graph
    n_cells = len(graph.observed)
    if masked is None:
        return np.zeros((n, n_cells), dtype=bool)
    if isinstance(masked, FixedMask):
        masked = masked.masked
    if isinstance(masked, RandomMask):
        raise ValueError("a RandomMask has no single mask: pass rows drawn with its sample(key, n, graph)")
    if getattr(masked, "ndim", 1) == 2:
        rows = masked_batch(graph, masked)
        if len(rows) != n:
            raise ValueError(
                f"masked has {len(rows)} rows and observed has {n}: give one mask per sample, or one for all"
            )
        return rows
    return np.broadcast_to(masked_array(graph, masked), (n, n_cells))


def _sized(network: Network, hidden: Bool[np.ndarray, "n cells"]) -> Network:
    """The network for this many visible tokens."""
    if not isinstance(network, ViTNetwork):
        return network
    in_tokens = hidden[:, network.cells_of_token]
    if (in_tokens != in_tokens[:, :, :1]).any():
        raise ValueError(
            f"the mask cuts through the network's tokens of {network.config.patch} x {network.config.patch} cells"
        )
    visible = set((~in_tokens[:, :, 0]).sum(axis=1).tolist()) or {network.n_visible}
    if len(visible) > 1:
        raise ValueError(
            f"a ViT needs equally many visible tokens in every row, got between {min(visible)} and {max(visible)}: "
            f"encode rows with different counts in separate calls"
        )
    return dataclasses.replace(network, n_visible=visible.pop())


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(
    network: Network,
    method: Literal["encode", "reconstruct"],
    flat: Float[Array, " parameters"],
    values: Float[Array, "n columns"],
    hidden: Bool[Array, "n cells"],
    code_dim: Any,
) -> Float[Array, "n ..."]:
    return getattr(network, method)(unflatten(network, flat), values, hidden, code_dim)
