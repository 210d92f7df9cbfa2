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
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from hlvm._files import atomic_path
from hlvm._layout import Group, Layout, Leaf, Views, mechanism_per_node, take
from hlvm.graph import LatentGraph
from hlvm.mechanisms import LinearGaussian, Mechanism, Params, mechanism_from_dict, mechanism_to_dict

__all__ = ["HierarchicalModel", "Sample"]

_CALIBRATION_SAMPLES = 4096
_FORMAT = "hlvm.model"
_FORMAT_VERSION = 1


@functools.partial(jax.tree_util.register_dataclass, data_fields=["values", "noises"], meta_fields=["layout"])
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """Joint draws of every variable of a model.

    Attributes:
        values: all variables side by side, (n, total dims); use :attr:`latents` and :attr:`observed` to read them.
        noises: all noises side by side, (n, total noise).
        layout: which columns belong to which variable.
    """

    values: Leaf
    noises: Leaf
    layout: Layout

    def __len__(self) -> int:
        return self.values.shape[0]

    def __repr__(self) -> str:
        return f"Sample(shape {self.values.shape} of {self.layout.graph})"

    @property
    def graph(self) -> LatentGraph:
        """The graph that was sampled."""
        return self.layout.graph

    @property
    def latents(self) -> Mapping[str, Leaf]:
        """Latent name -> its values, (n, dim)."""
        return Views(self.values, self.layout.value_slices, self.graph.latents)

    @property
    def observed(self) -> Mapping[str, Leaf]:
        """Observed name -> its values, (n, dim)."""
        return Views(self.values, self.layout.value_slices, self.graph.observed)

    @property
    def variables(self) -> Mapping[str, Leaf]:
        """Every name, latent or observed -> its values, (n, dim)."""
        return Views(self.values, self.layout.value_slices, self.graph.nodes)

    @property
    def noise(self) -> Mapping[str, Leaf]:
        """Name -> the noise that entered there, (n, noise size). A root is its own noise."""
        return Views(self.noises, self.layout.noise_slices, self.graph.nodes)

    @property
    def observed_matrix(self) -> Float[Array, "n x"]:
        """The observed variables side by side in the graph's order, (n, total observed dims)."""
        return take(self.values, self.layout.observed_rows, axis=1)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["params", "shift", "scale"], meta_fields=["layout"])
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
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
    layout: Layout

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
        layout = Layout(graph, mechanism_per_node(graph, mechanism))
        return _init(layout, standardize, key)

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(str(m) for m in self.layout.mechanisms if m is not None))
        return f"HierarchicalModel({self.layout.graph}, {kinds})"

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
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"the number of samples must be a whole number of at least 1, got n={n!r}")
        return _sample(self, key, int(n))

    def linear_gaussian_parameters(self) -> dict[str, dict[str, np.ndarray]]:
        """The model as arrays, if every mechanism is linear with Gaussian noise, with ``standardize`` worked in.

        Each variable is ``coefficients @ parents + offset + noise_scale * noise`` with standard normal noise.

        Returns:
            Three dictionaries from names to float64 arrays: "coefficients", (dim, dims of the parents), without the
            roots; "noise_scales", (dim,); "offsets", (dim,). The keyword arguments of
            ``GaussianOracle.from_parameters`` in :mod:`hlvm.theory`.

        Raises:
            ValueError: some mechanism is not :class:`~hlvm.mechanisms.LinearGaussian`.
        """
        found: dict[str, dict[str, np.ndarray]] = {"coefficients": {}, "noise_scales": {}, "offsets": {}}
        shift, scale = (np.asarray(array, dtype=np.float64) for array in (self.shift, self.scale))
        for group, params in zip(self.layout.groups, self.params, strict=True):
            if not isinstance(group.mechanism, LinearGaussian | None):
                raise ValueError(
                    f"variable {self.graph.nodes[group.nodes[0]]!r} has the mechanism "
                    f"{type(group.mechanism).__name__}: closed forms need LinearGaussian mechanisms everywhere"
                )
            shape = (len(group.nodes), group.dim)
            by_node, spread = shift[group.values].reshape(shape), scale[group.values].reshape(shape)
            own = np.asarray(params.get("scale", np.ones(shape)), dtype=np.float64)
            matrices = np.asarray(params.get("matrix", np.zeros(len(group.nodes))), dtype=np.float64)
            for i, node in enumerate(group.nodes):
                name = self.graph.nodes[node]
                if group.mechanism is not None:
                    found["coefficients"][name] = matrices[i] / spread[i, :, None]
                found["noise_scales"][name] = own[i] / spread[i]
                found["offsets"][name] = -by_node[i] / spread[i]
        return found

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
            arrays = _read_arrays(path)
            header = json.loads(str(arrays["header"]))
            if header.get("format") != _FORMAT or header.get("version") != _FORMAT_VERSION:
                raise ValueError(f"{path} is not a model file of format version {_FORMAT_VERSION}")
            distinct = [None if m is None else mechanism_from_dict(m, known) for m in header["mechanisms"]]
            mechanisms = tuple(distinct[i] for i in header["mechanism_of"])
            layout = Layout(LatentGraph.from_dict(header["graph"]), mechanisms)
            expected = jax.eval_shape(functools.partial(_init, layout, False), jax.random.key(0))
            model = cls(
                params=tuple(
                    {name: jnp.asarray(arrays[f"params/{i}/{name}"]) for name in group}
                    for i, group in enumerate(expected.params)
                ),
                shift=jnp.asarray(arrays["shift"]),
                scale=jnp.asarray(arrays["scale"]),
                layout=layout,
            )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{path} is not a model file written by HierarchicalModel.save: {error}") from None
        shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (model, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{path} is damaged: its arrays have the shapes {shapes[0]}, expected {shapes[1]}")
        return model


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
    group: Group, params: Params, values: Float[Array, "values n"], noises: Float[Array, "noises n"]
) -> Float[Array, "rows n"]:
    """Raw values of one group before shift and scale, (k * dim, n)."""
    own = noises[group.noises]
    if group.mechanism is None:
        return own
    k, n = len(group.nodes), noises.shape[1]
    over_samples = jax.vmap(group.mechanism.apply, in_axes=(None, -1, -1), out_axes=-1)
    over_nodes = jax.vmap(over_samples)
    out = over_nodes(params, take(values, group.parent_rows), own.reshape(k, group.noise_size, n))
    return out.reshape(k * group.dim, n)


def _read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of an ``.npz`` file; pickled objects are refused."""
    try:
        # Opened here, because numpy.load leaves the file open when it is not an archive.
        with open(path, "rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a model file written by HierarchicalModel.save: {error}") from None


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(layout: Layout, standardize: bool, key: PRNGKeyArray) -> HierarchicalModel:
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


def _init_group(group: Group, node_keys: Key[Array, " nodes"]) -> Params:
    if group.mechanism is None:
        return {}
    parent_dim = group.parent_rows.shape[1]
    mechanism = group.mechanism
    return jax.vmap(lambda key: mechanism.init(key, parent_dim, group.noise_size, group.dim))(
        node_keys[np.asarray(group.nodes)]
    )
