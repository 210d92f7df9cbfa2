"""Exact inference on linear-Gaussian trees: one pass up and one pass down, for all latents and many masks at once.

Upwards every node sends its parent what its visible descendants tell about it, as a precision matrix and a linear
term. Downwards every node's posterior follows from its parent's. All covariances are sums and products of positive
semi-definite matrices, never differences, so that nothing cancels, whatever the depth. Nodes of equal height and dims
are worked on together. The time is linear in the number of nodes and of masks. Where a dim is one, numbers are
multiplied and divided as numbers.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from hlvm._linalg import svd
from hlvm.graph.arrays import Level
from hlvm.theory.gaussian.parameters import Parameters

__all__ = ["Tree", "TreePosterior"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Nodes of equal height and dims, sorted by parent; ``k`` of them.

    Attributes:
        nodes: positions in ``graph.nodes``.
        dim: dims of each.
        family: their parents, each once, with the places of its children in this group; ``None`` for roots.
        parents: each node's parent; empty for roots.
        matrices: coefficients.
        roots: square roots of the noise covariances, ``Q = R R'``.
        told: ``R^-1 B``, what a node of known value tells its parent; 0 where its noise is singular.
    """

    nodes: Int[np.ndarray, " k"]
    dim: int
    family: Level | None
    parents: Int[np.ndarray, " k"]
    matrices: Float[np.ndarray, "k d p"]
    roots: Float[np.ndarray, "k d d"]
    told: Float[np.ndarray, "k d p"]

    @property
    def parent_dim(self) -> int:
        return self.matrices.shape[2]


class _Table:
    """One array per latent, (n_masks, ...), stored together for latents of equal dims."""

    def __init__(self, dims: Int[np.ndarray, " n_latents"], n_masks: int, columns: int | None = None) -> None:
        self._slots = np.zeros(len(dims), dtype=np.int64)
        self._arrays: dict[int, np.ndarray] = {}
        for dim in np.unique(dims).tolist():
            members = np.flatnonzero(dims == dim)
            self._slots[members] = np.arange(len(members))
            self._arrays[dim] = np.zeros((len(members), n_masks, dim, columns or dim))

    def __getitem__(self, place: tuple[int, np.ndarray]) -> np.ndarray:
        dim, nodes = place
        return self._arrays[dim][self._slots[nodes]]

    def __setitem__(self, place: tuple[int, np.ndarray], values: np.ndarray) -> None:
        dim, nodes = place
        self._arrays[dim][self._slots[nodes]] = values

    def add(self, group: _Group, values: np.ndarray) -> None:
        """Add what each node of a group sends to its parent."""
        if group.family is not None:
            slots = self._slots[group.family.parents]
            self._arrays[group.parent_dim][slots] += group.family.fold(np.add, values)


class Tree:
    """A linear-Gaussian model on a forest, made ready for many masks.

    Args:
        parameters: of a model whose graph has at most one parent per node.
    """

    def __init__(self, parameters: Parameters) -> None:
        graph = parameters.graph
        self.n_latents = graph.n_latents
        self.dims = np.asarray(graph.dims)
        starts = np.asarray(parameters.starts)
        self.columns = starts - starts[self.n_latents]  # of the observed variables among observed dims
        self.groups = _groups(parameters)

    @cached_property
    def numbers_per_mask(self) -> int:
        """Numbers that one mask adds to the largest table."""
        return int((self.dims**2).sum())

    @cached_property
    def prior_roots(self) -> list[Float[np.ndarray, "d d"]]:
        """For each node, a square root of its covariance when nothing is seen."""
        found: list[np.ndarray] = [np.zeros(0)] * len(self.dims)
        for group in reversed(self.groups):
            both = group.roots
            if len(group.parents):
                above = np.stack([found[parent] for parent in group.parents.tolist()])
                both = np.concatenate([group.matrices @ above, group.roots], axis=2)
            for node, root in zip(group.nodes.tolist(), _square_roots(both), strict=True):
                found[node] = root
        return found


class TreePosterior:
    """Covariances and means of latents and masked variables given the visible ones, for many masks.

    Args:
        tree: the model.
        seen: shape (n_masks, n_nodes), True = value known. Known variables that are no roots have noise in every dim.
    """

    def __init__(self, tree: Tree, seen: Bool[np.ndarray, "n_masks n_nodes"]) -> None:
        self._tree, self._seen = tree, np.ascontiguousarray(seen.T)
        self._gains: list[np.ndarray] = []
        self._own: list[np.ndarray] = []
        self._below: list[np.ndarray] = []
        self.half_log_dets: Float[np.ndarray, "n_latents n_masks"] = np.zeros((tree.n_latents, len(seen)))
        """Per latent whose value is not known, the bits that the noise which enters at it adds to the entropy of all
        known variables."""
        self._pass_up()

    def _pass_up(self) -> None:
        """Precision of every latent from its descendants; per group, ``F`` and ``C`` of ``v = F parent + noise(C)``."""
        precision = _Table(self._tree.dims[: self._tree.n_latents], self._seen.shape[1])
        for group in self._tree.groups:
            seen = self._seen[group.nodes]
            known = _times(group.told.mT, group.told)[:, None]
            if group.nodes[0] >= self._tree.n_latents:
                precision.add(group, np.where(seen[:, :, None, None], known, 0.0))
                continue
            below = precision[group.dim, group.nodes]
            gain, own, told, lower = _through(group, below)
            self._gains.append(gain)
            self._own.append(own)
            self._below.append(below)
            bits = np.log2(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
            self.half_log_dets[group.nodes] = np.where(seen, 0.0, bits)
            message = _times(told.mT, told)
            if seen.any():
                message = np.where(seen[:, :, None, None], known, message)
            precision.add(group, message)

    def _latent_groups(self) -> list[tuple[_Group, np.ndarray, np.ndarray, np.ndarray]]:
        """Highest first, with gains, roots of the own covariances, and precisions from below."""
        groups = self._tree.groups[len(self._tree.groups) - len(self._gains) :]
        return list(zip(groups, self._gains, self._own, self._below, strict=True))[::-1]

    @cached_property
    def _covariances(self) -> _Table:
        """Covariance of each latent; no latent is known."""
        table = _Table(self._tree.dims[: self._tree.n_latents], self._seen.shape[1])
        for group, gain, own, _ in self._latent_groups():
            found = _times(own, own.mT)
            if len(group.parents):
                found += _times(_times(gain, table[group.parent_dim, group.parents]), gain.mT)
            table[group.dim, group.nodes] = found
        return table

    def latent_variances(self) -> Float[np.ndarray, "n_latents n_masks"]:
        """Variance of each latent, dims summed."""
        found = np.empty_like(self.half_log_dets)
        for group, *_ in self._latent_groups():
            found[group.nodes] = np.trace(self._covariances[group.dim, group.nodes], axis1=-2, axis2=-1)
        return found

    def noise_variances(self) -> Float[np.ndarray, "n_latents n_masks"]:
        """Variance of the noise that enters at each latent, dims summed.

        Given the parent, the noise ``v - B parent`` has the own covariance of ``v``, and its mean moves with the parent
        by ``F - B = -Q P F``.
        """
        found = np.empty_like(self.half_log_dets)
        for group, gain, own, below in self._latent_groups():
            rest = (own**2).sum(axis=(-2, -1))
            if len(group.parents):
                noise = _times(group.roots, group.roots.mT)[:, None]
                moves = _times(noise, _times(below, gain))
                rest += (_times(moves, self._covariances[group.parent_dim, group.parents]) * moves).sum(axis=(-2, -1))
            found[group.nodes] = rest
        return found

    def observed_variances(self) -> Float[np.ndarray, "n_observed_dims n_masks"]:
        """Variance of each observed dim; that of a variable whose own value is not known, whether it is or not."""
        found = np.empty((self._tree.columns[-1], self._seen.shape[1]))
        for group in self._tree.groups[: len(self._tree.groups) - len(self._gains)]:
            matrices = group.matrices[:, None]
            rest = (_times(matrices, self._covariances[group.parent_dim, group.parents]) * matrices).sum(axis=-1)
            rest += (group.roots**2).sum(axis=-1)[:, None]
            columns = self._tree.columns[group.nodes, None] + np.arange(group.dim)
            found[columns.ravel()] = rest.swapaxes(1, 2).reshape(columns.size, -1)
        return found

    def observed_means(self, values: Float[np.ndarray, "n n_observed_dims"]) -> Float[np.ndarray, "n n_observed_dims"]:
        """Mean of each observed variable under the first mask, given centred values of the visible ones.

        Args:
            values: all observed dims side by side, centred; those of variables that are not visible are not read.
        """
        tree, n = self._tree, len(values)
        dims = tree.dims[: tree.n_latents]
        linear, means, found = _Table(dims, 1, n), _Table(dims, 1, n), np.zeros_like(values)
        gains = {id(group): gain[:, :1] for group, gain, *_ in self._latent_groups()}
        for group in tree.groups:
            if group.nodes[0] < tree.n_latents:
                linear.add(group, gains[id(group)].mT @ linear[group.dim, group.nodes])
                continue
            columns = tree.columns[group.nodes, None] + np.arange(group.dim)
            seen = self._seen[group.nodes, 0]
            message = np.zeros((len(seen), 1, group.parent_dim, n))
            shown = values[:, columns[seen]].transpose(1, 2, 0)
            message[seen, 0] = group.told[seen].mT @ _solved(group.roots[seen], shown)
            linear.add(group, message)
        for group, gain, own, _ in self._latent_groups():
            mean = own[:, :1] @ (own[:, :1].mT @ linear[group.dim, group.nodes])
            if len(group.parents):
                mean += gain[:, :1] @ means[group.parent_dim, group.parents]
            means[group.dim, group.nodes] = mean
        for group in tree.groups:
            if group.nodes[0] >= tree.n_latents:
                columns = tree.columns[group.nodes, None] + np.arange(group.dim)
                mean = group.matrices @ means[group.parent_dim, group.parents][:, 0]
                found[:, columns.ravel()] = mean.reshape(columns.size, n).T
        return found


def _through(group: _Group, below: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Given the precision from below: gain on the parent, root of the own covariance, root of what the parent learns.

    With ``Q = R R'`` the noise's covariance and ``P`` the precision: the gain is ``(I + Q P)^-1 B``, the own covariance
    ``(Q^-1 + P)^-1`` (``Q`` may be singular), and the parent learns ``B' (P^-1 + Q)^-1 B`` (``P`` may be singular).
    Last, the Cholesky factor of ``I + R' P R``.
    """
    roots, matrices = group.roots[:, None], group.matrices[:, None]
    identity = np.eye(group.dim)
    noise = _times(roots, roots.mT)
    gain = _solved(identity + _times(noise, below), matrices)
    lower = _lower(identity + _times(_times(roots.mT, below), roots))
    own = _solved(lower, roots.mT).mT
    below_root = _symmetric_root(below)
    told_lower = _lower(identity + _times(_times(below_root.mT, noise), below_root))
    told = _solved(told_lower, _times(below_root.mT, matrices))
    return gain, own, told, lower


# ---------------------------------------------------------------------- small matrices, and numbers where they are one


def _times(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one * other if one.shape[-1] == 1 else one @ other


def _solved(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    return right / matrices if matrices.shape[-1] == 1 else np.linalg.solve(matrices, right)


def _lower(matrices: np.ndarray) -> np.ndarray:
    return np.sqrt(matrices) if matrices.shape[-1] == 1 else np.linalg.cholesky(matrices)


def _symmetric_root(matrices: np.ndarray) -> np.ndarray:
    if matrices.shape[-1] == 1:
        return np.sqrt(matrices)
    strengths, directions = np.linalg.eigh(matrices)
    return directions * np.sqrt(np.maximum(strengths, 0.0))[..., None, :]


def _square_roots(factors: Float[np.ndarray, "k d e"]) -> Float[np.ndarray, "k d d"]:
    """Square matrices with the same product with their transpose."""
    _, dim, n_noises = factors.shape
    if n_noises == dim:
        return factors
    if n_noises < dim:
        return np.concatenate([factors, np.zeros((len(factors), dim, dim - n_noises))], axis=2)
    if dim == 1:
        return np.sqrt((factors**2).sum(axis=2, keepdims=True))
    left, s, _ = svd(factors)
    return left * s[:, None, :]


# ---------------------------------------------------------------------- groups


def _groups(parameters: Parameters) -> list[_Group]:
    """Groups of nodes, lowest first, so that children come before their parents; observed variables come first."""
    graph = parameters.graph
    members: dict[tuple[int, int, int, int], list[int]] = {}
    for node, (height, matrix, factor) in enumerate(
        zip(graph.heights, parameters.coefficients, parameters.factors, strict=True)
    ):
        members.setdefault((height, *matrix.shape, factor.shape[1]), []).append(node)
    return [_group(parameters, np.asarray(members[signature])) for signature in sorted(members)]


def _group(parameters: Parameters, nodes: np.ndarray) -> _Group:
    above = [p for node in nodes.tolist() for p in parameters.graph.parent_indices[node]]
    parents, family = np.asarray(above, dtype=np.int64), None
    if above:
        order = np.argsort(parents, kind="stable")
        nodes, parents = nodes[order], parents[order]
        each, starts, counts = np.unique(parents, return_index=True, return_counts=True)
        width = int(counts[0]) if (counts == counts[0]).all() else 0
        family = Level(parents=each, children=np.arange(len(nodes)), starts=starts, width=width)
    matrices = np.stack([parameters.coefficients[node] for node in nodes.tolist()])
    roots = _square_roots(np.stack([parameters.factors[node] for node in nodes.tolist()]))
    told = np.zeros_like(matrices)
    dim = roots.shape[1]
    if above:
        full = np.asarray([parameters.noise_ranks[node] == dim for node in nodes.tolist()])
        told[full] = _solved(roots[full], matrices[full])
    return _Group(nodes=nodes, dim=dim, family=family, parents=parents, matrices=matrices, roots=roots, told=told)
