"""Latents by layer and token, as one tidy table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlvm._numbers import aligned, as_numbers, first_labelled
from hlvm.scoring.inputs import matrix, random_streams
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.scores import kernel_r2_many, linear_r2_many
from hlvm.scoring.row_groups import own_labels, permuted, row_groups

__all__ = ["score_layers"]

_SCORES = {"linear_r2": linear_r2_many, "kernel_r2": kernel_r2_many}


def score_layers(
    layers: Mapping[str, ArrayLike],
    latents: Mapping[str, ArrayLike],
    *,
    heights: Mapping[str, int] | None = None,
    floors: Mapping[str, ArrayLike] | None = None,
    ceiling: ArrayLike | None = None,
    tokens: bool = True,
    score: str = "linear_r2",
    key: Any,
    groups: ArrayLike | None = None,
    config: RegressionConfig | None = None,
) -> pd.DataFrame:
    """Score every latent from every layer of a network, and from every token of it.

    All regressions share one split, so differences between rows of the table are paired.

    Args:
        layers: name -> what the layer makes of the samples, shape (n, tokens, dims), or (n, dims) where it has no
            tokens; such as :func:`hlvm.mae.encode_layers` gives, in the order of the table.
        latents: name -> shape (n, dim) or (n,), same samples; categories as :func:`hlvm.scoring.one_hot` columns.
        heights: latent -> height in the graph, for every latent; ``None`` leaves the column out.
        floors: layer -> the same of the network before training, for some layers or all, of the same shape.
        ceiling: an input known to hold the latents, such as the visible part, shape (n, v).
        tokens: whether each token is scored as well as their mean.
        score: ``"linear_r2"``, as usual for layers, or ``"kernel_r2"``.
        key: a JAX key or an int.
        groups: a label per sample, see :func:`hlvm.scoring.kernel_r2`; ``None`` to look for copies.
        config: sizes and grids of the regressions; ``None`` for the defaults.

    Returns:
        One row per layer, token and latent, with columns ``layer``, ``token``, ``latent``, ``height``, ``dim``,
        ``score``, ``value``, ``low``, ``high``, ``chance``, ``floor``, ``ceiling``. ``token`` counts from 0; it is
        missing (``pandas.NA``) for the mean over the tokens of a layer, which comes first, and for layers without
        tokens. ``chance``: with the latents in another order. NaN where a control was not given, and for a latent that
        does not vary in one part of the split.

    Raises:
        ValueError: no layer or latent, a layer of another shape or with other numbers of samples, a floor of an unknown
            layer or of another shape, a latent without a height, another ``score``, or an unfit array (see
            :func:`hlvm.scoring.kernel_r2`).

    Example:
        >>> import numpy as np
        >>> z, noise = np.random.default_rng(0).normal(size=(2, 300, 2))
        >>> deep = np.stack([z, noise], axis=1)
        >>> table = score_layers({"first": noise, "last": deep}, {"z": z}, key=0)
        >>> table["layer"].tolist(), table["token"].tolist(), (table["value"] > 0.9).tolist()
        (['first', 'last', 'last', 'last'], [<NA>, <NA>, 0, 1], [False, False, True, False])
    """
    _check(layers, latents, heights, floors or {}, score)
    like = first_labelled(*layers.values(), *latents.values())
    ordered = partial(aligned, "the first frame", like)
    truth = {name: matrix(name, ordered(name, values), truth=True) for name, values in latents.items()}
    n = len(next(iter(truth.values())))
    arrays = {name: _layer(f"layer {name!r}", ordered(name, values), n) for name, values in layers.items()}
    before = {
        name: _layer(f"floor of layer {name!r}", ordered(name, values), n) for name, values in (floors or {}).items()
    }
    for name, array in before.items():
        if array.shape != arrays[name].shape:
            raise ValueError(
                f"floors: expected the shape of layer {name!r}, {arrays[name].shape}, got {array.shape}: give the same "
                "network before training, on the same samples and mask"
            )
    together = _rows_together(truth, n)
    flat = matrix("layers", next(iter(arrays.values())).reshape(n, -1))
    found = row_groups(flat, together, ordered("groups", groups))
    order = permuted(found, n, random_streams(key).permutation)
    columns = {f"{i}": values for i, values in enumerate(truth.values())}
    shuffled = {f"{i} by chance": values[order] for i, values in enumerate(truth.values())}
    scored = partial(_SCORES[score], key=key, groups=own_labels(found, n), config=config)
    highest = {} if ceiling is None else scored(_layer("ceiling", ordered("ceiling", ceiling), n), columns)
    rows: list[dict[str, Any]] = []
    for layer, array in arrays.items():
        for token, features in _parts(array, tokens=tokens):
            own = scored(features, columns | shuffled)
            lowest = {}
            if layer in before:
                lowest = scored(dict(_parts(before[layer], tokens=tokens))[token], columns)
            for i, name in enumerate(truth):
                rows.append(
                    {"layer": layer, "token": token, "latent": name}
                    | ({} if heights is None else {"height": heights[name]})
                    | {"dim": truth[name].shape[1], "score": score}
                    | {end: getattr(own[f"{i}"], end) for end in ("value", "low", "high")}
                    | {
                        "chance": own[f"{i} by chance"].value,
                        "floor": lowest[f"{i}"].value if lowest else math.nan,
                        "ceiling": highest[f"{i}"].value if highest else math.nan,
                    }
                )
    return pd.DataFrame(rows).astype({"token": "Int64"})


def _parts(array: np.ndarray, *, tokens: bool) -> list[tuple[int | None, Float[np.ndarray, "n d"]]]:
    """Number of each token, ``None`` for the mean over them or where there are none, and its rows."""
    if array.ndim == 2:
        return [(None, array)]
    each = [(token, array[:, token]) for token in range(array.shape[1])] if tokens else []
    return [(None, array.mean(axis=1)), *each]


def _layer(name: str, values: ArrayLike, n: int) -> np.ndarray:
    """Codes of a layer, of n samples with or without tokens, in float64."""
    array = as_numbers(name, values)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"{name}: expected shape (n, dims) or (n, tokens, dims), got {array.shape}")
    if len(array) != n:
        raise ValueError(f"{name}: expected {n} rows, as the latents have, got {len(array)}: score the same samples")
    wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinite values: leave the layer out")
    return wide


def _rows_together(truth: Mapping[str, np.ndarray], n: int) -> Float[np.ndarray, "n d"]:
    for name, values in truth.items():
        if len(values) != n:
            first = next(iter(truth))
            raise ValueError(f"latents: expected {n} rows of each, as of {first}, got {len(values)} of {name}")
    return np.concatenate(list(truth.values()), axis=1)


def _check(
    layers: Mapping[str, ArrayLike],
    latents: Mapping[str, ArrayLike],
    heights: Mapping[str, int] | None,
    floors: Mapping[str, ArrayLike],
    score: str,
) -> None:
    if not layers or not latents:
        raise ValueError("expected at least one layer and one latent, got none")
    missing = [] if heights is None else [name for name in latents if name not in heights]
    if missing:
        raise ValueError(f"heights: expected an entry for every latent, got none for {', '.join(missing)}")
    strangers = [name for name in floors if name not in layers]
    if strangers:
        raise ValueError(f"floors: expected names of layers, got {', '.join(strangers)}")
    if score not in _SCORES:
        raise ValueError(f"score: expected one of {', '.join(_SCORES)}, got {score!r}")
