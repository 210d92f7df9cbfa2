"""Observed values in another orthonormal basis, such as that of their principal components, to mask components."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hlvm._numbers import UsageError, as_numbers
from hlvm.datasets.dataset import Dataset
from hlvm.graph import LatentGraph
from hlvm.simulator import Sample

__all__ = ["Rotation"]

_ROUNDING = 1e-5
"""Of an orthonormal basis in single precision."""
_NO_LOADING = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Rotation:
    """Observed values written in another orthonormal basis, whose components are masked in the place of cells.

    The rotated data is data like any other, on a graph of its own: the observed variables have become latents, and
    below them lies a component for each of their numbers, without noise. So every strategy, network and loss takes it,
    and what masked and visible components share follows from :attr:`graph`.

    A component is a sum of cells. Unless its loadings are zero, all cells are its parents, and the graph then says that
    any two groups of components share all cells. How much one group says of another is told by numbers alone: of
    linear-Gaussian models by :class:`~hlvm.theory.GaussianOracle` with :meth:`parameters`. Principal components are
    uncorrelated, so that those of Gaussian data are independent, and nothing hidden can be predicted from what is seen.

    Attributes:
        source: the graph of the values as they come.
        basis: shape (columns, columns), one orthonormal row per component, over the observed variables of ``source``
            side by side.
        prefix: names of components begin with it; their numbers, from 0, follow.

    Raises:
        ValueError: a basis of another shape, not finite, or not orthonormal; or a component's name that the graph has.

    References:
        Bizeul, Sutter, Ryser, Schölkopf, von Kügelgen and Vogt, "From pixels to components: eigenvector masking for
        visual representation learning", 2025, arXiv:2502.06314. There so many components are masked that they hold a
        share of the variance; here strategies count components.

    Example:
        >>> import jax
        >>> from hlvm import HierarchicalModel
        >>> from hlvm.mechanisms import LinearGaussian
        >>> model = HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 2), LinearGaussian())
        >>> rotation = Rotation.principal(model.sample(jax.random.key(1), 1000))
        >>> rotated = rotation.apply(model.sample(jax.random.key(2), 1000))
        >>> rotated.graph.observed[:2], np.asarray(rotated.observed["pc_0"]).shape
        (('pc_0', 'pc_1'), (1000, 1))
    """

    source: LatentGraph
    basis: Float[np.ndarray, "columns columns"]
    prefix: str = "pc_"

    def __post_init__(self) -> None:
        basis = np.asarray(as_numbers("basis", self.basis), np.float64)
        n = sum(map(self.source.dim, self.source.observed))
        if basis.shape != (n, n):
            raise UsageError(
                f"must have shape {(n, n)}, a row for each of the {n} observed numbers, got {basis.shape}",
                argument="basis",
            )
        if not np.isfinite(basis).all():
            raise UsageError("must be finite numbers", argument="basis")
        off = np.abs(basis @ basis.T - np.eye(n)).max()
        if off > _ROUNDING:
            raise UsageError(
                f"must have orthonormal rows, and their products are off by {off:.2g}: take the factor Q of "
                "numpy.linalg.qr, or Rotation.principal",
                argument="basis",
            )
        taken = next((name for name in self.names if name in self.source.nodes), None)
        if taken is not None:
            raise UsageError(f"gives the name {taken!r}, which the graph has: choose another", argument="prefix")
        object.__setattr__(self, "basis", basis)

    def __repr__(self) -> str:
        return f"Rotation({len(self.basis)} components of {self.source})"

    @classmethod
    def principal(cls, data: Dataset | Sample, *, prefix: str = "pc_") -> Rotation:
        """The basis of principal components, that of the largest variance first.

        Args:
            data: rows of observed values with their graph; at least as many rows as columns and one more.
            prefix: see the class.

        Raises:
            ValueError: no graph, images or missing values in the place of observed ones, values that are not finite, or
                too few rows.
        """
        graph, rows = _rows_of(data)
        if len(rows) <= rows.shape[1]:
            raise UsageError(
                f"needs more rows than columns for all principal components, got {len(rows)} rows of {rows.shape[1]}",
                argument="data",
            )
        _, _, basis = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
        largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
        return cls(source=graph, basis=basis * np.sign(largest), prefix=prefix)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(f"{self.prefix}{number}" for number in range(len(self.basis)))

    @functools.cached_property
    def graph(self) -> LatentGraph:
        """The graph of the rotated data."""
        source = self.source
        edges = [*source.edges, *((cell, name) for name in self.names for cell in self._cells_of(name))]
        return LatentGraph.from_edges(
            edges,
            dims={**dict(zip(source.nodes, source.dims, strict=True)), **dict.fromkeys(self.names, 1)},
            noise_dims={**dict(zip(source.nodes, source.noise_dims, strict=True)), **dict.fromkeys(self.names, 0)},
            observed=self.names,
        )

    def apply(self, data: Dataset | Sample) -> Dataset:
        """The same rows in this basis, with all that was known of them.

        Args:
            data: rows of observed values on the graph :attr:`source`.

        Returns:
            A data set on :attr:`graph`, whose latents are those known before and the observed variables.

        Raises:
            ValueError: rows of another graph, images or missing values, or values that are not finite.
        """
        graph, rows = _rows_of(data)
        if graph != self.source:
            raise UsageError("must be on the graph that the rotation was made for", argument="data")
        components = rows @ self.basis.T
        rotated = Dataset.from_arrays(
            observed={name: components[:, [number]] for number, name in enumerate(self.names)},
            latents={name: np.asarray(values) for name, values in (*data.latents.items(), *data.observed.items())},
            graph=self.graph,
        )
        noise = {name: np.asarray(values) for name, values in data.noise.items()}
        return dataclasses.replace(rotated, noise=noise)

    def parameters(self, of_source: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The rotated model as arrays, the keyword arguments of ``GaussianOracle.from_parameters`` beside the graph.

        Args:
            of_source: the same of the model on :attr:`source`, such as
                :meth:`hlvm.HierarchicalModel.linear_gaussian_parameters`.
        """
        loadings = {
            name: np.concatenate([row[self._columns[cell]] for cell in self._cells_of(name)])[None]
            for name, row in zip(self.names, self.basis, strict=True)
        }
        found = {part: dict(values) for part, values in of_source.items()}
        found["coefficients"] = {**found["coefficients"], **loadings}
        found["noise_scales"] = {**found["noise_scales"], **{name: np.zeros(1) for name in self.names}}
        return found

    @functools.cached_property
    def _columns(self) -> dict[str, slice]:
        ends = np.cumsum([self.source.dim(cell) for cell in self.source.observed]).tolist()
        return {
            cell: slice(end - self.source.dim(cell), end) for cell, end in zip(self.source.observed, ends, strict=True)
        }

    def _cells_of(self, name: str) -> list[str]:
        """Cells with a loading on a component, in the order of the graph."""
        row = self.basis[self.names.index(name)]
        return [cell for cell, where in self._columns.items() if np.abs(row[where]).max() > _NO_LOADING]


def _rows_of(data: Any) -> tuple[LatentGraph, Float[np.ndarray, "n columns"]]:
    if not isinstance(data, Dataset | Sample):
        raise UsageError(f"must be a Dataset or a sample of a model, got {type(data).__name__}", argument="data")
    if data.graph is None:
        raise UsageError("needs a graph: give graph= to Dataset.from_arrays or load_dataset", argument="data")
    missing = [name for name in data.graph.observed if name not in data.observed]
    if missing:
        raise UsageError(
            f"needs values of every observed variable, and {missing[0]!r} has none: cut images into columns first",
            argument="data",
        )
    rows = np.concatenate([np.asarray(data.observed[name], np.float64) for name in data.graph.observed], axis=1)
    if not np.isfinite(rows).all():
        raise UsageError("holds values that are not finite: leave such rows out or fill the gaps in", argument="data")
    return data.graph, rows
