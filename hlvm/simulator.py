"""Hierarchical latent variable models: a graph with a mechanism at every variable, ready to sample.

Variables of the same depth that share a mechanism and dims are computed together: one batched call per such *level
group*, however many variables it holds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from hlvm._files import atomic_path
from hlvm.graph import LatentGraph
from hlvm.mechanisms import Mechanism, Params, mechanism_from_dict, mechanism_to_dict

__all__ = ["HierarchicalModel", "Sample"]

if TYPE_CHECKING:
    Leaf = Array
else:
    Leaf = Any  # JAX rebuilds pytrees with placeholders of its own where the arrays go

_CALIBRATION_SAMPLES = 4096
_FORMAT = "hlvm.model"
_FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class _Group:
    """Variables computed by one batched call.

    Attributes:
        mechanism: their common mechanism; ``None`` for roots.
        nodes: positions in ``graph.nodes``, k of them.
        parent_rows: rows of the value buffer to read, shape (k, parent_dim).
        values: rows of the value buffer to write, k * dim of them.
        noises: rows of the noise buffer to read, k * noise_size of them.
        dim: dims of each variable.
        noise_size: noise numbers each variable consumes.
    """

    mechanism: Mechanism | None
    nodes: tuple[int, ...]
    parent_rows: np.ndarray
    values: slice
    noises: slice
    dim: int
    noise_size: int


class _Layout:
    """Where every variable lives in the value and noise buffers, and in which order groups are computed.

    Static under jit: hashed once, equal when graph and mechanisms are equal.
    """

    def __init__(self, graph: LatentGraph, mechanisms: tuple[Mechanism | None, ...]) -> None:
        self.graph = graph
        self.mechanisms = mechanisms
        self._hash = hash((graph, mechanisms))
        self.groups: tuple[_Group, ...] = tuple(self._plan())

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, _Layout) and self.graph == other.graph and self.mechanisms == other.mechanisms
        )

    def _plan(self) -> Iterator[_Group]:
        graph = self.graph
        depths = [0] * len(graph.nodes)
        members: dict[tuple[Any, ...], list[int]] = {}
        for node, above in enumerate(graph.parent_indices):
            depths[node] = 1 + max((depths[p] for p in above), default=-1)
            parent_dim = sum(graph.dims[p] for p in above)
            mechanism = self.mechanisms[node]
            noise_size = graph.dims[node]
            if mechanism is not None:
                try:
                    noise_size = mechanism.noise_size(parent_dim, graph.noise_dims[node], graph.dims[node])
                except ValueError as error:
                    raise ValueError(f"variable {graph.nodes[node]!r}: {error}") from None
            is_observed = not graph.child_indices[node]
            signature = (depths[node], is_observed, mechanism, parent_dim, noise_size, graph.dims[node])
            members.setdefault(signature, []).append(node)
        starts: dict[int, int] = {}
        row = noise_row = 0
        # By depth; dict order keeps variables of one signature in graph order, the observed ones last in their depth.
        for signature in sorted(members, key=lambda s: s[:2]):
            _, _, mechanism, _, noise_size, dim = signature
            nodes = members[signature]
            parent_rows = [
                [r for p in graph.parent_indices[node] for r in range(starts[p], starts[p] + graph.dims[p])]
                for node in nodes
            ]
            for i, node in enumerate(nodes):
                starts[node] = row + i * dim
            yield _Group(
                mechanism=mechanism,
                nodes=tuple(nodes),
                parent_rows=np.asarray(parent_rows, dtype=np.int32).reshape(len(nodes), -1),
                values=slice(row, row + len(nodes) * dim),
                noises=slice(noise_row, noise_row + len(nodes) * noise_size),
                dim=dim,
                noise_size=noise_size,
            )
            row += len(nodes) * dim
            noise_row += len(nodes) * noise_size

    @functools.cached_property
    def value_slices(self) -> dict[str, slice]:
        """Rows of the value buffer that hold each variable."""
        return self._slices(lambda g: (g.values.start, g.dim))

    @functools.cached_property
    def noise_slices(self) -> dict[str, slice]:
        """Rows of the noise buffer that hold each variable's noise."""
        return self._slices(lambda g: (g.noises.start, g.noise_size))

    def _slices(self, place: Any) -> dict[str, slice]:
        found: dict[str, slice] = {}
        for group in self.groups:
            start, size = place(group)
            for i, node in enumerate(group.nodes):
                found[self.graph.nodes[node]] = slice(start + i * size, start + (i + 1) * size)
        return {name: found[name] for name in self.graph.nodes}

    @functools.cached_property
    def observed_rows(self) -> np.ndarray:
        """Rows of the value buffer that hold the observed variables, in the graph's order."""
        slices = [self.value_slices[name] for name in self.graph.observed]
        return np.concatenate([np.arange(s.start, s.stop) for s in slices])


class _Views(Mapping[str, Leaf]):
    """A read-only mapping from names to column slices of one array."""

    def __init__(self, array: Leaf, slices: Mapping[str, slice], names: tuple[str, ...]) -> None:
        self._array = array
        self._slices = slices
        self._names = names
        self._set = frozenset(names)

    def __getitem__(self, name: str) -> Leaf:
        if name not in self._set:
            raise KeyError(name)
        return self._array[:, self._slices[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{n!r}: {self[n].shape}' for n in self._names[:4])}{', ...' if len(self) > 4 else ''}}}"


@functools.partial(jax.tree_util.register_dataclass, data_fields=["values", "noises"], meta_fields=["layout"])
@dataclasses.dataclass(frozen=True)
class Sample:
    """Joint draws of every variable of a model.

    Attributes:
        values: all variables side by side, (n, total dims); use :attr:`latents` and :attr:`observed` to read them.
        noises: all noises side by side, (n, total noise).
        layout: which columns belong to which variable.
    """

    values: Leaf
    noises: Leaf
    layout: _Layout

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def graph(self) -> LatentGraph:
        """The graph that was sampled."""
        return self.layout.graph

    @property
    def latents(self) -> Mapping[str, Leaf]:
        """Latent name -> its values, (n, dim)."""
        return _Views(self.values, self.layout.value_slices, self.graph.latents)

    @property
    def observed(self) -> Mapping[str, Leaf]:
        """Observed name -> its values, (n, dim)."""
        return _Views(self.values, self.layout.value_slices, self.graph.observed)

    @property
    def variables(self) -> Mapping[str, Leaf]:
        """Every name, latent or observed -> its values, (n, dim)."""
        return _Views(self.values, self.layout.value_slices, self.graph.nodes)

    @property
    def noise(self) -> Mapping[str, Leaf]:
        """Name -> the noise that entered there, (n, noise size). A root is its own noise."""
        return _Views(self.noises, self.layout.noise_slices, self.graph.nodes)

    @property
    def observed_matrix(self) -> Float[Array, "n x"]:
        """The observed variables side by side in the graph's order, (n, total observed dims)."""
        return _take(self.values, self.layout.observed_rows, axis=1)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params", "shift", "scale"], meta_fields=["layout"])
@dataclasses.dataclass(frozen=True)
class HierarchicalModel:
    """A latent graph with a mechanism and its parameters at every variable.

    Make one with :meth:`init`. It is a JAX pytree, so it can be passed to jitted functions.

    Attributes:
        params: for every level group, the mechanism's parameters stacked over its variables.
        shift: subtracted from every raw value, (total dims,).
        scale: what the difference is divided by, (total dims,); see ``standardize`` of :meth:`init`.
        layout: graph, mechanisms and the place of every variable in the buffers.

    Example:
        >>> import jax
        >>> from hlvm.mechanisms import InvertibleMLP
        >>> model = HierarchicalModel.init(jax.random.key(0), LatentGraph.quadtree(1), InvertibleMLP())
        >>> model.sample(jax.random.key(1), 5).observed["x_0_1"].shape
        (5, 3)
    """

    params: tuple[dict[str, Leaf], ...]
    shift: Leaf
    scale: Leaf
    layout: _Layout

    @classmethod
    def init(
        cls,
        key: PRNGKeyArray,
        graph: LatentGraph,
        mechanism: Mechanism | Mapping[str, Mechanism],
        *,
        standardize: bool = True,
    ) -> HierarchicalModel:
        """Draw the parameters of every mechanism.

        Args:
            key: a typed key, ``jax.random.key(seed)``.
            graph: the latent graph.
            mechanism: one mechanism for all variables, or one per name (roots need none).
            standardize: shift and scale every coordinate by constants estimated from 4,096 draws, so that each has
                about zero mean and unit variance at any depth. An affine map: it changes neither what is invertible
                nor any signal-to-noise ratio.

        Returns:
            The model.

        Raises:
            ValueError: a mechanism is missing, named for an unknown variable, or cannot have the graph's dims there.
        """
        layout = _Layout(graph, _mechanism_per_node(graph, mechanism))
        return _init(layout, standardize, key)

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self.layout.graph

    @property
    def invertible(self) -> bool:
        """Whether every mechanism is a bijection, so that the theory's invertible regime applies."""
        return all(m is None or m.invertible for m in self.layout.mechanisms)

    def sample(self, key: PRNGKeyArray, n: int) -> Sample:
        """Draw ``n`` independent samples of every variable.

        Compiled once per ``n``; may be called inside a jitted function.

        Raises:
            ValueError: ``n`` is below 1.
        """
        if n < 1:
            raise ValueError(f"the number of samples must be at least 1, got n={n}")
        return _sample(self, key, n)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write graph, mechanisms and parameters to one ``.npz`` file, all or nothing.

        Raises:
            ValueError: the path does not end in ``.npz``.
            OSError: the file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".npz":
            raise ValueError(f"a model is saved as a .npz file, got {target.name!r}")
        distinct = list(dict.fromkeys(self.layout.mechanisms))
        header = {
            "format": _FORMAT,
            "version": _FORMAT_VERSION,
            "graph": self.graph.to_dict(),
            "mechanisms": [None if m is None else mechanism_to_dict(m) for m in distinct],
            "mechanism_of": [distinct.index(m) for m in self.layout.mechanisms],
        }
        arrays = {
            f"params/{i}/{name}": np.asarray(value)
            for i, group in enumerate(self.params)
            for name, value in group.items()
        }
        with atomic_path(target) as temporary:
            np.savez(
                temporary,
                header=np.array(json.dumps(header)),
                shift=np.asarray(self.shift),
                scale=np.asarray(self.scale),
                **arrays,  # pyright: ignore[reportArgumentType]  # numpy's stub mixes them up with allow_pickle
            )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, known: dict[str, type[Mechanism]] | None = None
    ) -> HierarchicalModel:
        """Read a model written by :meth:`save`.

        Args:
            path: the ``.npz`` file.
            known: classes of mechanisms that are not part of this package, by name.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not a model, or uses an unknown mechanism.
        """
        try:
            # Opened here, because numpy.load leaves the file open when it is not an archive.
            with open(path, "rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                if header.get("format") != _FORMAT or header.get("version") != _FORMAT_VERSION:
                    raise ValueError(f"{path} is not a model file of format version {_FORMAT_VERSION}")
                distinct = [None if m is None else mechanism_from_dict(m, known) for m in header["mechanisms"]]
                mechanisms = tuple(distinct[i] for i in header["mechanism_of"])
                layout = _Layout(LatentGraph.from_dict(header["graph"]), mechanisms)
                params: list[Params] = [{} for _ in layout.groups]
                for name in file.files:
                    if name.startswith("params/"):
                        _, group, field = name.split("/", 2)
                        params[int(group)][field] = jnp.asarray(file[name])
                return cls(
                    params=tuple(params),
                    shift=jnp.asarray(file["shift"]),
                    scale=jnp.asarray(file["scale"]),
                    layout=layout,
                )
        except (zipfile.BadZipFile, json.JSONDecodeError, KeyError, EOFError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a model file written by HierarchicalModel.save: {error}") from None


# ---------------------------------------------------------------------- the traced program


@functools.partial(jax.jit, static_argnames="n")
def _sample(model: HierarchicalModel, key: PRNGKeyArray, n: int) -> Sample:
    noises = jax.random.normal(key, (model.layout.groups[-1].noises.stop, n))
    values = _propagate(model, noises)
    return Sample(values=values.T, noises=noises.T, layout=model.layout)


def _propagate(model: HierarchicalModel, noises: Float[Array, "noises n"]) -> Float[Array, "values n"]:
    """Values of all variables from their noises; samples are the minor axis, where vector units work along."""
    n = noises.shape[1]
    values = jnp.zeros((len(model.shift), n))
    for group, params in zip(model.layout.groups, model.params, strict=True):
        raw = _apply_group(group, params, values, noises)
        fitted = (raw - model.shift[group.values, None]) / model.scale[group.values, None]
        values = values.at[group.values].set(fitted)
    return values


def _apply_group(
    group: _Group, params: Params, values: Float[Array, "values n"], noises: Float[Array, "noises n"]
) -> Float[Array, "rows n"]:
    """Raw values of one group before shift and scale, (k * dim, n)."""
    own = noises[group.noises]
    if group.mechanism is None:
        return own
    k, n = len(group.nodes), noises.shape[1]
    over_samples = jax.vmap(group.mechanism.apply, in_axes=(None, -1, -1), out_axes=-1)
    over_nodes = jax.vmap(over_samples)
    out = over_nodes(params, _take(values, group.parent_rows), own.reshape(k, group.noise_size, n))
    return out.reshape(k * group.dim, n)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(layout: _Layout, standardize: bool, key: PRNGKeyArray) -> HierarchicalModel:
    keys = dict(zip(("params", "calibration"), jax.random.split(key), strict=True))
    node_keys = jax.random.split(keys["params"], len(layout.graph.nodes))
    total = layout.groups[-1].values.stop
    model = HierarchicalModel(
        params=tuple(_init_group(group, node_keys) for group in layout.groups),
        shift=jnp.zeros(total),
        scale=jnp.ones(total),
        layout=layout,
    )
    if not standardize:
        return model
    shift, scale = _calibrate(model, keys["calibration"])
    return dataclasses.replace(model, shift=shift, scale=scale)


def _calibrate(model: HierarchicalModel, key: PRNGKeyArray) -> tuple[Float[Array, " values"], Float[Array, " values"]]:
    """Mean and standard deviation of every raw coordinate, its parents being standardised already."""
    noises = jax.random.normal(key, (model.layout.groups[-1].noises.stop, _CALIBRATION_SAMPLES))
    values = jnp.zeros((len(model.shift), _CALIBRATION_SAMPLES))
    shift, scale = model.shift, model.scale
    for group, params in zip(model.layout.groups, model.params, strict=True):
        raw = _apply_group(group, params, values, noises)
        if group.mechanism is not None:
            spread = raw.std(axis=1)
            shift = shift.at[group.values].set(raw.mean(axis=1))
            scale = scale.at[group.values].set(jnp.where(spread > 0, spread, 1.0))
        values = values.at[group.values].set((raw - shift[group.values, None]) / scale[group.values, None])
    return shift, scale


def _take(array: Array, rows: np.ndarray, axis: int = 0) -> Array:
    """``array`` at static ``rows``; a plain slice when they are one contiguous run."""
    flat = rows.reshape(-1)
    if rows.ndim == 1 and len(flat) and np.array_equal(flat, np.arange(flat[0], flat[0] + len(flat))):
        return jax.lax.slice_in_dim(array, int(flat[0]), int(flat[-1]) + 1, axis=axis)
    return jnp.take(array, rows, axis=axis)


def _init_group(group: _Group, node_keys: Key[Array, " nodes"]) -> Params:
    if group.mechanism is None:
        return {}
    parent_dim = group.parent_rows.shape[1]
    mechanism = group.mechanism
    return jax.vmap(lambda key: mechanism.init(key, parent_dim, group.noise_size, group.dim))(
        node_keys[np.asarray(group.nodes)]
    )


def _mechanism_per_node(
    graph: LatentGraph, mechanism: Mechanism | Mapping[str, Mechanism]
) -> tuple[Mechanism | None, ...]:
    is_root = [not above for above in graph.parent_indices]
    if isinstance(mechanism, Mechanism):
        return tuple(None if root else mechanism for root in is_root)
    if not isinstance(mechanism, Mapping):
        raise ValueError(
            f"mechanism must be a Mechanism such as InvertibleMLP(), or a mapping from names to them; "
            f"got {type(mechanism).__name__}"
        )
    for name in mechanism:
        graph.position(name)
    chosen: list[Mechanism | None] = []
    for name, root in zip(graph.nodes, is_root, strict=True):
        given = mechanism.get(name)
        if root and given is not None:
            raise ValueError(f"{name!r} is a root, which is its own noise: give it no mechanism")
        if not root and not isinstance(given, Mechanism):
            raise ValueError(f"no mechanism for variable {name!r}: every variable but the roots needs one")
        chosen.append(given)
    return tuple(chosen)
