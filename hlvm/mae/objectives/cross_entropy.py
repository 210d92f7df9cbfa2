"""Cross-entropy over symbols: the log-loss of cells whose values are categories."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from hlvm._numbers import UsageError
from hlvm.graph import LatentGraph
from hlvm.mae.config import ObjectiveConfig
from hlvm.mae.networks.networks import Network
from hlvm.mae.networks.vit import ViTNetwork
from hlvm.mae.objectives.base import LossSum, Objective, Samples
from hlvm.mae.training.mask_draws import MaskArrays

__all__ = ["CrossEntropy", "SymbolLogLoss", "by_cell", "log_losses"]

_ROUNDING = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy(ObjectiveConfig):
    """Cross-entropy of masked cells, in bits: ``-log2 p(symbol | visible part)``, averaged over the masked cells.

    For data whose observed variables are categories, one column per symbol, of which one is 1 and the others 0: grammar
    images with ``style="one-hot"`` and ``patch_pixels=1``, or a data set of one-hot columns. The decoder's numbers are
    logits, and a softmax over the columns of each cell makes them probabilities. Its expectation is smallest only where
    these are those of the symbols given the visible part, so the code has to keep the whole conditional of each cell,
    not its mean alone; of several cells together it knows their marginals only.

    :func:`hlvm.mae.reconstruct` gives the probabilities. :func:`hlvm.mae.log_likelihood` makes a likelihood of them.

    References:
        Masked language models: Devlin, Chang, Lee and Toutanova, "BERT", NAACL 2019. There 80 % of the chosen cells are
        replaced by a mask token and the others kept or randomised; here an encoder of transformers does not see masked
        cells at all, as in :cite:t:`he2022mae`.
    """

    kind: ClassVar[str] = "cross_entropy"
    in_data_units: ClassVar[bool] = True

    @property
    def units(self) -> str:
        """The loss and its units, in words."""
        return "cross-entropy / bits per masked cell"

    def on(self, graph: LatentGraph) -> SymbolLogLoss:
        """The part that is static on a graph.

        Raises:
            ValueError: an observed variable of one number, which holds no symbol.
        """
        narrow = [name for name in graph.observed if graph.dim(name) < 2]
        if narrow:
            raise UsageError(
                f"needs one column per symbol, 0 or 1, and {narrow[0]!r} has a single one: give one-hot columns (of "
                f'grammar images style="one-hot", patch_pixels=1), or use LossConfig',
                of="CrossEntropy",
            )
        return SymbolLogLoss(graph=graph)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SymbolLogLoss(Objective):
    """The static part of :class:`CrossEntropy`."""

    def check_network(self, network: Network) -> None:
        """Refuse normalised targets, which are no symbols any more.

        Raises:
            ValueError: the targets are normalised.
        """
        super().check_network(network)
        if isinstance(network, ViTNetwork) and network.config.normalize_targets:
            raise UsageError(
                "must be False for CrossEntropy, whose targets are symbols",
                argument="normalize_targets",
                of="ViTConfig",
            )

    def check_rows(self, rows: Float[np.ndarray, "k columns"]) -> None:
        """Refuse cells that are not one-hot.

        Raises:
            ValueError: some are not.
        """
        cells = self.graph.arrays.cell_of_column
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        hot = np.abs(rows - 1) <= _ROUNDING
        ones, odd = (
            np.add.reduceat(flags, starts, axis=1, dtype=int) for flags in (hot, ~hot & (np.abs(rows) > _ROUNDING))
        )
        wrong = (ones != 1) | (odd > 0)
        if wrong.any():
            row, cell = np.argwhere(wrong)[0]
            found = rows[row, cells == cell]
            shown = ", ".join(f"{value:.3g}" for value in found[:6]) + (", ..." if len(found) > 6 else "")
            raise UsageError(
                f"needs cells that are one-hot, a 1 for the symbol and 0 elsewhere, and {self.graph.observed[cell]!r} "
                f"has the values {shown}: give one-hot columns, or use LossConfig",
                of="CrossEntropy",
            )

    def weights(self, arrays: Any, masks: MaskArrays, masked: Bool[Array, "n cells"]) -> Float[Array, "n cells"]:
        """Masked cells count; traced."""
        del arrays, masks
        return masked.astype(jnp.float32)

    def loss(self, network: Network, params: Any, teacher: Any, samples: Samples) -> LossSum:
        """Bits of the masked cells; traced."""
        del teacher
        decoded = network.reconstruct(params, samples.inputs, samples.masked, samples.code_dim, samples.noise)
        logits = decoded[0].astype(jnp.float32)
        bits = log_losses(self.graph, logits, samples.values * samples.scale + samples.shift) / math.log(2)
        return LossSum(jnp.sum(samples.weights * bits), jnp.sum(samples.weights))

    def answers(self, decoded: Float[Array, "draws n columns"]) -> Float[Array, "draws n columns"]:
        """Probabilities of all symbols, side by side as the columns are; traced."""
        logits = by_cell(self.graph, decoded)
        slots, _ = _slots(self.graph)
        flat = jax.nn.softmax(logits, axis=-1).reshape(*decoded.shape[:-1], -1)
        return flat[..., np.flatnonzero(slots.reshape(-1) < decoded.shape[-1])]


def log_losses(
    graph: LatentGraph, logits: Float[Array, "n columns"], values: Float[Array, "n columns"]
) -> Float[Array, "n cells"]:
    """``-ln p`` of every cell's own symbol; traced.

    Args:
        graph: whose observed variables are the cells.
        logits: one per symbol of each cell.
        values: one-hot values, as they come.
    """
    symbols: Int[Array, "n cells"] = by_cell(graph, values).argmax(axis=-1)
    log_p = jax.nn.log_softmax(by_cell(graph, logits), axis=-1)
    return -jnp.take_along_axis(log_p, symbols[..., None], axis=-1)[..., 0]


def by_cell(graph: LatentGraph, columns: Float[Array, "*n columns"]) -> Float[Array, "*n cells widest"]:
    """Columns by cell; cells with fewer than the widest are filled with very small numbers. Traced."""
    slots, padded = _slots(graph)
    if not padded:
        return columns.reshape(*columns.shape[:-1], *slots.shape)
    return jnp.take(columns, slots, axis=-1, mode="fill", fill_value=-1e9)


def _slots(graph: LatentGraph) -> tuple[np.ndarray, bool]:
    """The column at each place of a cell, (cells, widest), the number of columns where there is none; and if any is."""
    dims = np.bincount(graph.arrays.cell_of_column)[:, None]
    within = np.arange(dims.max())
    columns = np.cumsum(dims, axis=0) - dims + within
    return np.where(within < dims, columns, dims.sum()), bool((dims < dims.max()).any())
