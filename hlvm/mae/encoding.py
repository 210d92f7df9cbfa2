"""Questions to a masked autoencoder: codes, the tokens of each layer, reconstructions, attention."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike

from hlvm._keys import checked_key
from hlvm._numbers import as_numbers, positive
from hlvm._process.promotion import usual_promotion
from hlvm.graph import LatentGraph
from hlvm.mae.config import ViTConfig
from hlvm.mae.networks.linear import LinearNetwork
from hlvm.mae.networks.networks import Network, attending, code_dim_of, unflatten
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.objectives.base import Objective
from hlvm.mae.pixels import check_pixels, graph_of_patches, rows_of_images
from hlvm.mae.result import Fit
from hlvm.mae.training.data import ArrayData, ImageData, TrainingData, as_source
from hlvm.mae.training.mask_draws import mask_plan
from hlvm.mae.training.units import restored, standardized_on_device
from hlvm.masking import masked_array
from hlvm.masking.masks import masked_batch
from hlvm.simulator import HierarchicalModel

__all__ = ["Attention", "Observed", "Pooling", "attention", "encode", "encode_layers", "inputs_of", "reconstruct"]

Pooling = Literal["mean", "class", "tokens"]
Observed: TypeAlias = TrainingData | Mapping[str, Any] | ArrayLike
"""Data of every kind that training takes, of which generators are refused because they have no rows; or bare arrays,
whose graph is that of the autoencoder."""

_DRAWS_OF_A_MEAN = 64


class Attention(NamedTuple):
    """Attention of an encoder.

    Attributes:
        weights: shape (n, depth, heads, tokens, tokens): for every sample, block and head, how much each token (row)
            takes from each token (column); rows sum to 1. The class token is the first.
        places: which token each of the others is, (n, tokens - 1): its number on the grid of tokens, row by row;
            without a grid that of its observed variable.
    """

    weights: Float[Array, "n depth heads tokens tokens"]
    places: Int[Array, "n visible"]


@usual_promotion
def encode(
    fit: Fit,
    data: Observed,
    masked: Any,
    *,
    pooling: Pooling = "mean",
) -> Float[Array, "n ..."]:
    """Codes of samples.

    Args:
        fit: the autoencoder.
        data: rows of any kind that :func:`~hlvm.mae.fit` takes: a sample, a data set or the path of one, with its
            images or else its observed values. Also bare arrays: the ``observed`` part of a sample, name -> (n, dim);
            its ``observed_matrix``, (n, total observed dims) in the graph's order; or images, (n, height, width,
            channels), whose patches are the observed variables. Of a generator, draw a sample first.
        masked: what the encoder may not see: a :class:`~hlvm.masking.FixedMask` or a designed mask, names, a boolean
            array (observed,) or (n, observed), or ``None`` for nothing. A bottleneck trained with a fixed mask expects
            that mask (``fit.mask``): anything else is out of its training distribution.
        pooling: for a ViT, the mean over the visible tokens, the class token, or all of them side by side with the
            class token first. Other networks have one code and ignore this.

    Returns:
        Array (n, code_dim); for a ViT (n, width), or (n, visible tokens + 1, width) for ``"tokens"``.

    Raises:
        ValueError: arrays of the wrong shape or of no real numbers, data of another graph, unknown names, a mask that
            the network cannot take, or ``"tokens"`` with rows that leave different numbers of tokens visible.
    """
    if pooling not in ("mean", "class", "tokens"):
        raise ValueError(f'pooling must be "mean", "class" or "tokens", got {pooling!r}')
    values, hidden, network = inputs_of(fit, data, masked)
    code_dim = code_dim_of(fit.network)
    if not isinstance(network, ViTNetwork):
        return _encode(network, fit.params, values, hidden, code_dim)[:, :code_dim]
    if pooling == "tokens":
        _same_count(network)
    coded = _encode(network, fit.params, values, hidden, code_dim)
    if pooling == "tokens":
        return coded
    if pooling == "class":
        return coded[:, 0]
    _, present = network.visible(hidden)
    if present is None:
        return coded[:, 1:].mean(axis=1)
    return jnp.where(present[..., None], coded[:, 1:], 0.0).sum(axis=1) / present.sum(axis=1, keepdims=True)


@usual_promotion
def encode_layers(fit: Fit, data: Observed, masked: Any) -> dict[str, Float[Array, "n ..."]]:
    """Tokens of every layer of a transformer's encoder, such as :func:`hlvm.scoring.score_layers` takes.

    Args:
        fit: an autoencoder whose encoder is a transformer.
        data: as for :func:`encode`.
        masked: as for :func:`encode`; every row must leave equally many tokens visible.

    Returns:
        Layer -> array (n, visible tokens + 1, width), the class token first: ``"embedding"``, what enters the first
        block; ``"block 1"``, ``"block 2"``, ..., what leaves each one, not normalised; and ``"code"``, what
        :func:`encode` gives, normalised, for ``"tokens"``. The code of a bottleneck is (n, code_dim).

    Raises:
        ValueError: the encoder is no transformer, rows that leave different numbers of tokens visible, or as for
            :func:`encode`.
    """
    values, hidden, network = inputs_of(fit, data, masked)
    if isinstance(network, LinearNetwork) or not attending(network):
        raise ValueError(
            "only transformers have layers of tokens: use ViTConfig, or BottleneckConfig(encoder=ViTConfig(...)); "
            "encode gives the code of other networks"
        )
    _same_count(network)
    first, *blocks = _layers(network, fit.params, values, hidden)
    named = {"embedding": first} | {f"block {k}": tokens for k, tokens in enumerate(blocks, 1)}
    return named | {"code": encode(fit, data, masked, pooling="tokens")}


@usual_promotion
def reconstruct(
    fit: Fit, data: Observed, masked: Any, *, key: Any = None, draws: int | None = None
) -> Float[Array | np.ndarray, "*draws n columns"]:
    """Reconstructions in the data's own units: in float64 where a column lies so far from zero that it takes it.

    Args:
        fit: the autoencoder.
        data: as for :func:`encode`.
        masked: what to reconstruct from the rest, given as for :func:`encode`.
        key: a JAX key or an int, for the noise of an autoencoder trained by the energy score; needed there only.
        draws: how many reconstructions to draw from such an autoencoder; ``None`` for the mean of 64.

    Returns:
        Array (n, total observed dims), or (draws, n, total observed dims); :func:`images_of_rows` makes images of it.
        Columns of masked variables hold the reconstruction, those of visible ones the data itself. With
        ``normalize_targets`` the masked ones are in units of their token, which has mean 0 and variance 1.

    Raises:
        ValueError: as for :func:`encode`; an autoencoder trained by an objective that reconstructs nothing; a key is
            missing; or draws of an autoencoder that has no noise.
    """
    if not fit.loss.reconstructs:
        raise ValueError(
            f"this autoencoder was trained by {type(fit.loss).__name__}, which reconstructs no values: use encode, or "
            f"train with LossConfig"
        )
    key = None if key is None else checked_key(key)
    values, hidden, network = inputs_of(fit, data, masked)
    n_draws = _checked_draws(network, key, draws)
    objective = fit.loss.on(fit.model.graph)
    guess = _reconstruct(network, objective, n_draws, fit.params, values, hidden, code_dim_of(fit.network), key)
    if draws is None:
        guess = guess.mean(axis=0)
    columns = fit.model.graph.arrays.cell_of_column
    own_units = restored(values, fit.shift, fit.scale)
    normalized = isinstance(fit.network, ViTConfig) and fit.network.normalize_targets
    if not (normalized or fit.loss.in_data_units):
        guess = restored(guess, fit.shift, fit.scale)
    if isinstance(own_units, np.ndarray):
        return np.where(hidden[:, columns], guess, own_units)
    return jnp.where(hidden[:, columns], guess, own_units)


@usual_promotion
def attention(fit: Fit, data: Observed, masked: Any) -> Attention:
    """Where every block and head of the encoder looks.

    Args:
        fit: an autoencoder whose encoder is a transformer.
        data: as for :func:`encode`.
        masked: as for :func:`encode`; every row must leave equally many tokens visible.

    Returns:
        The attention and the positions of the tokens.

    Raises:
        ValueError: the encoder has no attention, rows that leave different numbers of tokens visible, or as for
            :func:`encode`.
    """
    values, hidden, network = inputs_of(fit, data, masked)
    if isinstance(network, LinearNetwork) or not attending(network):
        raise ValueError("only transformers attend: use ViTConfig, or BottleneckConfig(encoder=ViTConfig(...))")
    _same_count(network)
    weights = _attention(network, fit.params, values, hidden)
    return Attention(jnp.moveaxis(weights, 0, 1), network.visible(hidden)[0])


def _same_count(network: Any) -> None:
    if network.padded:
        raise ValueError(
            "the rows leave different numbers of tokens visible, so their tokens do not fit into one array: "
            "give rows with different counts in separate calls"
        )


def _checked_draws(network: Network, key: PRNGKeyArray | None, draws: int | None) -> int:
    if not network.noise_size:
        if draws is not None:
            raise ValueError(
                "draws are for autoencoders trained by the energy score; this one has one reconstruction per sample"
            )
        return 1
    if key is None:
        raise ValueError("this autoencoder was trained by the energy score, so its decoder reads noise: give a key")
    return _DRAWS_OF_A_MEAN if draws is None else positive(draws, "draws")


# ---------------------------------------------------------------------- input


def inputs_of(
    fit: Fit, data: Observed, masked: Any
) -> tuple[Float[Array, "n columns"], Bool[Array, "n cells"], Network]:
    """Standardised values, one mask per row, and the network sized for it; everything checked."""
    raw = _matrix(data, fit)
    if raw.ndim != 2 or raw.shape[1] != len(fit.shift):
        raise ValueError(
            f"observed must have shape (n, {len(fit.shift)}), the observed variables side by side, got {raw.shape}: "
            f"pass a sample or a data set of the same graph, or its observed_matrix"
        )
    hidden = _mask_rows(fit, masked, len(raw))
    return standardized_on_device(raw, fit.shift, fit.scale), jnp.asarray(hidden), _sized(fit.built, hidden)


def _matrix(data: Observed, fit: Fit) -> Array | np.ndarray:
    """The observed variables side by side, in the precision that they came in."""
    graph = fit.model.graph
    observed: Any = data if isinstance(data, Mapping) else _arrays(data, graph)
    if isinstance(observed, Mapping):
        missing = [name for name in graph.observed if name not in observed]
        if missing:
            raise ValueError(f"observed has no values for {missing[0]!r}: give one array per observed variable")
        parts = [_numbers(f"observed {name!r}", observed[name]) for name in graph.observed]
        beside = jnp.concatenate if all(isinstance(part, Array) for part in parts) else np.concatenate
        return beside([part[:, None] if part.ndim == 1 else part for part in parts], axis=1)
    array = _numbers("observed", observed)
    if array.ndim != 4:
        return array
    if graph_of_patches(graph, array.shape[1:]) != graph:
        raise ValueError(f"images of shape {array.shape[1:]} are not of the size that this autoencoder was trained on")
    if isinstance(fit.model, ArrayData) and not isinstance(array, Tracer):
        check_pixels(np.asarray(array))
    return rows_of_images(array, graph)


def _arrays(data: Any, graph: LatentGraph) -> Any:
    """Rows of a sample or a data set, read: images, observed values by name, or side by side; bare arrays as they are.

    Raises:
        ValueError: it comes from another graph, has neither, or draws rows and has none.
    """
    source = as_source(data, graph)
    if isinstance(source, HierarchicalModel | ImageData):
        raise ValueError(
            f"a {type(source).__name__} has no rows to encode: draw some with sample(key, n), which also gives the "
            f"latents behind them"
        )
    if not isinstance(source, ArrayData):
        return source
    if source.graph != graph:
        raise ValueError(
            f"this {type(data).__name__} comes from another graph than the one this autoencoder was trained on"
        )
    if source is data:
        return source.numbers(np.arange(len(source)))
    if source.names == ("images",):
        return source.parts[0][:]
    return {name: part[:] for name, part in zip(graph.observed, source.parts, strict=True)}


def _numbers(name: str, values: Any) -> Array | np.ndarray:
    """JAX's arrays stay on their device, and may be traced."""
    if isinstance(values, jax.Array) and jnp.issubdtype(values.dtype, jnp.floating):
        return values
    return as_numbers(name, values)


def _mask_rows(fit: Fit, masked: Any, n: int) -> Bool[np.ndarray, "n cells"]:
    graph = fit.model.graph
    n_cells = len(graph.observed)
    if masked is None:
        return np.zeros((n, n_cells), dtype=bool)
    if isinstance(getattr(masked, "masked", None), tuple):  # a fixed or a designed mask
        masked = masked.masked
    elif callable(getattr(masked, "sample", None)):
        plan = mask_plan(graph, masked)
        raise ValueError(
            f"a {type(masked).__name__} has no single mask (it hides {plan.fewest} to {plan.most} variables at "
            f"random): pass rows drawn with its sample(key, n, graph)"
        )
    if getattr(masked, "ndim", 1) == 2:
        rows = masked_batch(graph, masked)
        if len(rows) != n:
            raise ValueError(
                f"masked has {len(rows)} rows and observed has {n}: give one mask per sample, or one for all"
            )
        return rows
    return np.broadcast_to(masked_array(graph, masked), (n, n_cells))


def _sized(network: Network, hidden: Bool[np.ndarray, "n cells"]) -> Network:
    """The network for as many visible tokens as these masks leave."""
    if isinstance(network, LinearNetwork) or network.tokens is None:
        return network
    network.tokens.check_whole(hidden)
    counts = (~network.tokens.hidden(hidden)).sum(axis=1)
    if not len(counts):
        return network
    sized = dataclasses.replace(network, n_visible=int(counts.max()), padded=bool(counts.min() < counts.max()))
    if not isinstance(sized, ViTNetwork) or not sized.n_hidden:
        return sized
    whole = dataclasses.replace(sized.config, decoded_share=1.0)
    return dataclasses.replace(sized, config=whole, n_hidden=max(sized.tokens.n_tokens - int(counts.min()), 1))


# ---------------------------------------------------------------------- traced


@functools.partial(jax.jit, static_argnums=0)
def _encode(
    network: Network,
    flat: Float[Array, " parameters"],
    values: Float[Array, "n columns"],
    hidden: Bool[Array, "n cells"],
    code_dim: Any,
) -> Float[Array, "n ..."]:
    return network.encode(unflatten(network, flat), values, hidden, code_dim)


@functools.partial(jax.jit, static_argnums=0)
def _attention(
    network: Any, flat: Float[Array, " parameters"], values: Float[Array, "n columns"], hidden: Bool[Array, "n cells"]
) -> Float[Array, "depth n heads tokens tokens"]:
    return network.attention(unflatten(network, flat), values, hidden)


@functools.partial(jax.jit, static_argnums=0)
def _layers(
    network: Any, flat: Float[Array, " parameters"], values: Float[Array, "n columns"], hidden: Bool[Array, "n cells"]
) -> Float[Array, "layers n tokens width"]:
    return network.layers(unflatten(network, flat), values, hidden)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _reconstruct(
    network: Network,
    objective: Objective,
    draws: int,
    flat: Float[Array, " parameters"],
    values: Float[Array, "n columns"],
    hidden: Bool[Array, "n cells"],
    code_dim: Any,
    key: PRNGKeyArray | None,
) -> Float[Array, "draws n columns"]:
    shape = (draws, len(values), network.noise_size)
    noise = jnp.zeros(shape) if key is None or not network.noise_size else jax.random.normal(key, shape)
    return objective.answers(network.reconstruct(unflatten(network, flat), values, hidden, code_dim, noise))
