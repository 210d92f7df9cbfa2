"""Exact inference on linear-Gaussian trees: one pass up and one pass down, for all latents at once.

Upwards every node sends its parent what its visible descendants tell about it, as a precision matrix and a linear
term. Downwards every node's posterior follows from its parent's. All covariances are sums and products of positive
semi-definite matrices, never differences, so that nothing cancels, whatever the depth. Nodes of equal height and dims
are worked on together. The time is linear in the number of nodes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from hlvm.theory.gaussian.parameters import Parameters

__all__ = ["TreePosterior", "prior_variances"]


class _Group(NamedTuple):
    """Nodes of equal height and dims; ``k`` of them.

    Attributes:
        nodes: positions in ``graph.nodes``.
        parents: positions of their parents; empty for roots.
        matrices: coefficients.
        roots: square roots of the noise covariances, ``Q = R R'``.
    """

    nodes: Int[np.ndarray, " k"]
    parents: Int[np.ndarray, " k"]
    matrices: Float[np.ndarray, "k d p"]
    roots: Float[np.ndarray, "k d d"]

    @property
    def dim(self) -> int:
        return self.roots.shape[1]


class _Table:
    """One array (dim, ...) per node, stored together for nodes of equal dims."""

    def __init__(self, dims: Int[np.ndarray, " n_nodes"], *more: int, square: bool = False) -> None:
        self._dims: list[int] = dims.tolist()
        self._slots = np.zeros(len(dims), dtype=np.int64)
        self._arrays: dict[int, np.ndarray] = {}
        for dim in np.unique(dims).tolist():
            members = np.flatnonzero(dims == dim)
            self._slots[members] = np.arange(len(members))
            self._arrays[dim] = np.zeros((len(members), dim, *((dim,) if square else more)))

    def __getitem__(self, place: tuple[int, np.ndarray]) -> np.ndarray:
        dim, nodes = place
        return self._arrays[dim][self._slots[nodes]]

    def __setitem__(self, place: tuple[int, np.ndarray], values: np.ndarray) -> None:
        dim, nodes = place
        self._arrays[dim][self._slots[nodes]] = values

    def in_order(self) -> list[np.ndarray]:
        """The arrays of all nodes, in the order of the nodes."""
        return [self._arrays[dim][slot] for dim, slot in zip(self._dims, self._slots.tolist(), strict=True)]

    def add(self, dim: int, nodes: np.ndarray, values: np.ndarray) -> None:
        np.add.at(self._arrays[dim], self._slots[nodes], values)


class TreePosterior:
    """Means and covariances of all latents and masked variables given the visible ones.

    Args:
        parameters: of a model whose graph has at most one parent per node and whose visible variables have noise in
            every dim.
        visible: shape (n_observed,), True = visible.
    """

    def __init__(self, parameters: Parameters, visible: Bool[np.ndarray, " n_observed"]) -> None:
        self._parameters = parameters
        self._dims = np.asarray(parameters.graph.dims)
        is_visible = np.concatenate([np.zeros(len(parameters.graph.latents), dtype=bool), visible])
        self._groups = _groups(parameters, is_visible)
        self._is_visible = is_visible
        self._gains: list[np.ndarray] = []
        self._own: list[np.ndarray] = []
        self._pass_up()

    def _pass_up(self) -> None:
        """Precision of every node from its descendants; per group, ``F`` and ``C`` of ``v = F parent + noise(C)``."""
        precision = _Table(self._dims, square=True)
        for group in self._groups:
            if self._is_visible[group.nodes[0]]:
                gain, own, told = group.matrices, group.roots, np.linalg.solve(group.roots, group.matrices)
            else:
                below = precision[group.dim, group.nodes]
                gain, own, told = _through(group, below)
            self._gains.append(gain)
            self._own.append(own)
            if len(group.parents):
                precision.add(group.matrices.shape[2], group.parents, told.mT @ told)

    def covariances(self) -> list[Float[np.ndarray, "d d"]]:
        """Covariance of each node given the visible variables; zero for the visible ones."""
        table = _Table(self._dims, square=True)
        for group, gain, own in zip(reversed(self._groups), reversed(self._gains), reversed(self._own), strict=True):
            if not self._is_visible[group.nodes[0]]:
                found = own @ own.mT
                if len(group.parents):
                    found += gain @ table[gain.shape[2], group.parents] @ gain.mT
                table[group.dim, group.nodes] = found
        return table.in_order()

    def means(self, values: Float[np.ndarray, "n n_observed_dims"]) -> list[Float[np.ndarray, "d n"]]:
        """Mean of each node given centred values of the visible variables, itself centred.

        Args:
            values: all observed dims side by side; those of masked variables are not read.
        """
        n_samples = len(values)
        linear, means = _Table(self._dims, n_samples), _Table(self._dims, n_samples)
        starts = np.asarray(self._parameters.starts) - self._parameters.starts[len(self._parameters.graph.latents)]
        for group, gain in zip(self._groups, self._gains, strict=True):
            if self._is_visible[group.nodes[0]]:
                seen = values[:, starts[group.nodes, None] + np.arange(group.dim)].transpose(1, 2, 0)
                message = np.linalg.solve(group.roots, gain).mT @ np.linalg.solve(group.roots, seen)
            else:
                message = gain.mT @ linear[group.dim, group.nodes]
            if len(group.parents):
                linear.add(gain.shape[2], group.parents, message)
        for group, gain, own in zip(reversed(self._groups), reversed(self._gains), reversed(self._own), strict=True):
            if not self._is_visible[group.nodes[0]]:
                found = own @ (own.mT @ linear[group.dim, group.nodes])
                if len(group.parents):
                    found += gain @ means[gain.shape[2], group.parents]
                means[group.dim, group.nodes] = found
        return means.in_order()


def prior_variances(parameters: Parameters) -> Float[np.ndarray, " n_dims"]:
    """Variance of every dim when nothing is seen, all variables side by side."""
    dims = np.asarray(parameters.graph.dims)
    table = _Table(dims, square=True)
    for group in reversed(_groups(parameters, np.zeros(len(dims), dtype=bool))):
        found = group.roots @ group.roots.mT
        if len(group.parents):
            found += group.matrices @ table[group.matrices.shape[2], group.parents] @ group.matrices.mT
        table[group.dim, group.nodes] = found
    return np.concatenate([np.diagonal(matrix) for matrix in table.in_order()])


def _through(group: _Group, below: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Given the precision from below: gain on the parent, root of the own covariance, root of what the parent learns.

    With ``Q`` the noise's covariance and ``P`` the precision: the gain is ``(I + Q P)^-1 B``, the own covariance
    ``(Q^-1 + P)^-1`` (``Q`` may be singular), and the parent learns ``B' (P^-1 + Q)^-1 B`` (``P`` may be singular).
    """
    roots, matrices = group.roots, group.matrices
    identity = np.eye(group.dim)
    noise = roots @ roots.mT
    gain = np.linalg.solve(identity + noise @ below, matrices)
    own_lower = np.linalg.cholesky(identity + roots.mT @ below @ roots)
    own = np.linalg.solve(own_lower, roots.mT).mT
    strengths, directions = np.linalg.eigh(below)
    below_root = directions * np.sqrt(np.maximum(strengths, 0.0))[:, None, :]
    told_lower = np.linalg.cholesky(identity + below_root.mT @ noise @ below_root)
    told = np.linalg.solve(told_lower, below_root.mT @ matrices)
    return gain, own, told


def _groups(parameters: Parameters, is_visible: Bool[np.ndarray, " n_nodes"]) -> list[_Group]:
    """Groups of nodes, lowest first, so that children come before their parents."""
    graph = parameters.graph
    members: dict[tuple[int, bool, int, int, int], list[int]] = {}
    for node, (height, matrix, factor) in enumerate(
        zip(graph.heights, parameters.coefficients, parameters.factors, strict=True)
    ):
        signature = (height, bool(is_visible[node]), *matrix.shape, factor.shape[1])
        members.setdefault(signature, []).append(node)
    found = []
    for signature in sorted(members):
        nodes = members[signature]
        found.append(
            _Group(
                nodes=np.asarray(nodes),
                parents=np.asarray([p for node in nodes for p in graph.parent_indices[node]], dtype=np.int64),
                matrices=np.stack([parameters.coefficients[node] for node in nodes]),
                roots=_square_roots(np.stack([parameters.factors[node] for node in nodes])),
            )
        )
    return found


def _square_roots(factors: Float[np.ndarray, "k d e"]) -> Float[np.ndarray, "k d d"]:
    """Square matrices with the same product with their transpose."""
    _, dim, n_noises = factors.shape
    if n_noises == dim:
        return factors
    if n_noises < dim:
        return np.concatenate([factors, np.zeros((len(factors), dim, dim - n_noises))], axis=2)
    left, s, _ = np.linalg.svd(factors, full_matrices=False)
    return left * s[:, None, :]
