"""Tables and pictures of finished members: losses as a table and as curves, images beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray

from hlvm.mae.config import ViTConfig
from hlvm.mae.encoding import reconstruct
from hlvm.mae.pixels import images_of_rows
from hlvm.mae.result import Fit

__all__ = ["gives_pixels", "loss_curves", "loss_table", "reconstructed_images"]

_SEEN_AS_HIDDEN = 0.5
"""Grey level of what an encoder does not see."""


def loss_table(names: Sequence[str], fits: Sequence[Fit]) -> pd.DataFrame:
    """One row per member and step: ``member``, ``name``, ``step``, ``loss``, and ``held_out_loss`` where there is one.

    Args:
        names: what to call each member.
        fits: the members.
    """
    tables = []
    for i, (name, fit) in enumerate(zip(names, fits, strict=True)):
        table = pd.DataFrame({"member": i, "name": name, "step": range(1, len(fit.losses) + 1), "loss": fit.losses})
        if fit.held_out is not None:
            table["held_out_loss"] = pd.Series(fit.held_out.losses, index=fit.held_out.steps - 1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def loss_curves(
    names: Sequence[str], fits: Sequence[Fit]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    """Losses by their units and by name: of every step; and on rows held out, with the steps after which they are."""
    trained: dict[str, Any] = {}
    held_out: dict[str, Any] = {}
    for name, fit in zip(names, fits, strict=True):
        units = fit.loss.units
        trained.setdefault(units, {})[name] = fit.losses
        if fit.held_out is not None:
            held_out.setdefault(units, {})[name] = (fit.held_out.steps, fit.held_out.losses)
    return trained, held_out


def gives_pixels(fit: Fit) -> bool:
    """Tell whether there are reconstructions in the units of the data, not in those of normalised tokens."""
    return fit.loss.reconstructs and not (isinstance(fit.network, ViTConfig) and fit.network.normalize_targets)


def reconstructed_images(
    fit: Fit, rows: Float[np.ndarray, "n columns"], shape: tuple[int, int, int], key: PRNGKeyArray
) -> Float[np.ndarray, "three_n height width channels"]:
    """Images, what the encoder sees of each, and their reconstructions; values in [0, 1], hidden parts grey.

    Args:
        fit: the member; masks are drawn from its strategy.
        rows: images as rows, see :meth:`hlvm.mae.ArrayData.rows`.
        shape: height, width and channels of an image.
        key: a typed key for masks and noise.
    """
    graph = fit.model.graph
    mask_key, noise_key = jax.random.split(key)
    masked = np.asarray(fit.mask.sample(mask_key, len(rows), graph))
    energy = fit.loss.decoder_noise > 0
    made = reconstruct(fit, rows, masked, key=noise_key if energy else None, draws=1 if energy else None)
    seen = np.where(masked[:, graph.arrays.cell_of_column], _SEEN_AS_HIDDEN, rows)
    values = np.concatenate([rows, seen, np.asarray(made).reshape(rows.shape)])
    return np.clip(np.asarray(images_of_rows(values, graph, shape)), 0, 1)
