"""The parameters of a linear-Gaussian model as plain arrays, checked, and what follows from them alone.

Every variable is ``v = B pa(v) + b + L e`` with independent standard normal ``e``; a root has no ``B``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from hlvm.graph import LatentGraph

__all__ = ["LARGEST_DENSE", "LinearGaussianModel", "Parameters"]

LARGEST_DENSE = 8192
"""Rows and columns of the largest matrix that is worked with: 512 MiB in float64."""


class LinearGaussianModel(Protocol):
    """Everything the oracle asks of a model, such as :class:`hlvm.simulator.HierarchicalModel`."""

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        ...

    def linear_gaussian_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        """The keyword arguments of :meth:`GaussianOracle.from_parameters` beside the graph."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """Coefficients, noise factors and offsets, one of each per node of ``graph.nodes``, in float64.

    Attributes:
        graph: the graph.
        coefficients: shape (dim, dims of the parents), ``B``; (dim, 0) at roots.
        factors: shape (dim, n_noises), ``L``: the noise's covariance is ``L @ L.T``.
        offsets: shape (dim,), ``b``.
    """

    graph: LatentGraph
    coefficients: tuple[Float[np.ndarray, "d p"], ...]
    factors: tuple[Float[np.ndarray, "d e"], ...]
    offsets: tuple[Float[np.ndarray, " d"], ...]

    @classmethod
    def checked(
        cls,
        graph: LatentGraph,
        coefficients: Mapping[str, Any],
        noise_scales: Mapping[str, Any],
        offsets: Mapping[str, Any] | None = None,
    ) -> Parameters:
        """Check shapes and values; see :meth:`hlvm.theory.GaussianOracle.from_parameters` for what is expected.

        Raises:
            ValueError: a name is unknown or missing, a shape does not fit the graph, or a number is not finite.
        """
        for given in (coefficients, noise_scales, offsets or {}):
            for name in given:
                graph.position(name)
        found: tuple[list[np.ndarray], ...] = ([], [], [])
        for name, dim, above in zip(graph.nodes, graph.dims, graph.parent_indices, strict=True):
            parent_dim = sum(graph.dims[p] for p in above)
            if above and name not in coefficients:
                raise ValueError(f"no coefficients for {name!r}: give a ({dim}, {parent_dim}) array")
            if name not in noise_scales:
                raise ValueError(f"no noise scale for {name!r}: give ({dim},) standard deviations, or a factor")
            matrix = coefficients.get(name, np.zeros((dim, 0)))
            found[0].append(_array(matrix, f"coefficients[{name!r}]", (dim, parent_dim)))
            found[1].append(_factor(noise_scales[name], name, dim))
            shift = np.zeros(dim) if offsets is None else offsets.get(name, np.zeros(dim))
            found[2].append(_array(shift, f"offsets[{name!r}]", (dim,)))
        return cls(graph=graph, coefficients=tuple(found[0]), factors=tuple(found[1]), offsets=tuple(found[2]))

    @cached_property
    def means(self) -> tuple[Float[np.ndarray, " d"], ...]:
        """Mean of each variable."""
        found: list[np.ndarray] = []
        for above, matrix, offset in zip(self.graph.parent_indices, self.coefficients, self.offsets, strict=True):
            found.append(offset + (matrix @ np.concatenate([found[p] for p in above]) if above else 0.0))
        return tuple(found)

    @cached_property
    def noise_ranks(self) -> tuple[int, ...]:
        """Number of independent noises that enter at each variable: the rank of its noise's covariance."""
        return tuple(noise_rank(factor) for factor in self.factors)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Place where each variable begins when all are laid side by side; the total dims come last."""
        return tuple(np.cumsum([0, *self.graph.dims]).tolist())

    @cached_property
    def latent_effects(self) -> Float[np.ndarray, "n_latent_dims n_latent_noises"]:
        """Latents as linear functions of the latents' noises.

        Raises:
            ValueError: larger than the stated limit.
        """
        n_latents = len(self.graph.latents)
        sizes = [factor.shape[1] for factor in self.factors[:n_latents]]
        check_size(max(self.starts[n_latents], sum(sizes)), "the latents together")
        effects = np.zeros((self.starts[n_latents], sum(sizes)))
        ends = np.cumsum([0, *sizes]).tolist()
        for node in range(n_latents):
            rows = slice(self.starts[node], self.starts[node + 1])
            if self.graph.parent_indices[node]:
                effects[rows] = self.coefficients[node] @ effects[self.parent_rows(node)]
            effects[rows, ends[node] : ends[node + 1]] = self.factors[node]
        return effects

    @cached_property
    def latent_noise(self) -> Float[np.ndarray, "n_latent_dims n_latent_noises"]:
        """Noise that enters at each latent alone, as a linear function of the latents' noises."""
        n_latents = len(self.graph.latents)
        check_size(self.starts[n_latents], "the latents together")
        return np.asarray(scipy.linalg.block_diag(*self.factors[:n_latents]))

    def parent_rows(self, node: int) -> np.ndarray:
        """Places of a node's parents when all variables are laid side by side."""
        above = self.graph.parent_indices[node]
        return np.concatenate([np.arange(self.starts[p], self.starts[p + 1]) for p in above])

    def observed_effects(self, nodes: list[int]) -> Float[np.ndarray, "n_dims n_latent_noises"]:
        """Observed variables, their own noise left out, as linear functions of the latents' noises."""
        effects = self.latent_effects
        if not nodes:
            return np.zeros((0, effects.shape[1]))
        return np.concatenate([self.coefficients[node] @ effects[self.parent_rows(node)] for node in nodes])

    def columns(self, sides: Bool[np.ndarray, " n_observed"]) -> Bool[np.ndarray, " n_observed_dims"]:
        """A choice of observed variables as a choice of columns, all dims of each together."""
        return np.repeat(sides, self.graph.dims[len(self.graph.latents) :])

    def covariance(self, nodes: list[int]) -> Float[np.ndarray, "n n"]:
        """Joint covariance of some nodes, from that of all their ancestors.

        Raises:
            ValueError: nodes and ancestors together are larger than the stated limit.
        """
        graph = self.graph
        names = [graph.nodes[node] for node in nodes]
        needed = sorted({*nodes, *(graph.index[name] for name in graph.ancestors(names))})
        sizes = [graph.dims[node] for node in needed]
        check_size(sum(sizes), "these variables and their ancestors")
        ends = np.cumsum([0, *sizes]).tolist()
        place = {node: np.arange(ends[i], ends[i + 1]) for i, node in enumerate(needed)}
        joint = np.zeros((ends[-1], ends[-1]))
        for i, node in enumerate(needed):
            rows, before = slice(ends[i], ends[i + 1]), slice(0, ends[i])
            joint[rows, rows] = self.factors[node] @ self.factors[node].T
            if above := graph.parent_indices[node]:
                from_parents = np.concatenate([place[p] for p in above])
                matrix = self.coefficients[node]
                joint[rows, before] = matrix @ joint[from_parents, before]
                joint[before, rows] = joint[rows, before].T
                joint[rows, rows] += joint[rows, from_parents] @ matrix.T
        wanted = np.concatenate([place[node] for node in nodes])
        return joint[np.ix_(wanted, wanted)]


def check_size(n: int, what: str) -> None:
    """Refuse matrices that would not fit, before they are made."""
    if n > LARGEST_DENSE:
        raise ValueError(
            f"{what} hold {n} dims, and a dense matrix over more than {LARGEST_DENSE} is not made: use smaller dims or "
            "a smaller graph (reconstruction, its loss, the latents' R² and information have no limit on trees with "
            "noise in every dim concerned)"
        )


def noise_rank(factor: Float[np.ndarray, "d e"]) -> int:
    """Rank of a noise's covariance, from its factor."""
    if not factor.size:
        return 0
    diagonal = np.diagonal(factor)
    if factor.shape[0] == factor.shape[1] and np.count_nonzero(factor) == np.count_nonzero(diagonal):
        return int(np.count_nonzero(diagonal))
    return int(np.linalg.matrix_rank(factor))


def _array(value: Any, what: str, shape: tuple[int, ...]) -> np.ndarray:
    found = _finite(value, what)
    if found.shape != shape:
        raise ValueError(f"{what} must have shape {shape} to fit the graph, got {found.shape}")
    return found


def _factor(value: Any, name: str, dim: int) -> np.ndarray:
    found = _finite(value, f"noise_scales[{name!r}]")
    if found.ndim == 0:
        found = np.full(dim, found)
    if found.ndim > 2 or found.shape[0] != dim:
        raise ValueError(
            f"noise_scales[{name!r}] must be one number, ({dim},) standard deviations, or a ({dim}, n) factor of the "
            f"noise's covariance; got shape {found.shape}"
        )
    if found.ndim == 2:
        return found
    if (found < 0).any():
        raise ValueError(f"noise_scales[{name!r}] has a negative standard deviation: {found.min()}")
    return np.diag(found)


def _finite(value: Any, what: str) -> np.ndarray:
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be an array of numbers, got {type(value).__name__}") from None
    if not np.isfinite(found).all():
        raise ValueError(f"{what} holds a number that is not finite")
    return found
