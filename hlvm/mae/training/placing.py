"""Arrays on the devices that share a program."""

from __future__ import annotations

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from hlvm.mae.training.data import Source
from hlvm.mae.training.feeding import table_of
from hlvm.mae.training.units import Columns

__all__ = ["Tables", "placed"]


def placed(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays spread over devices, some of which may belong to other processes that hold the same arrays."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> Array:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return leaf  # it is spread already
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, values.__getitem__)

    return jax.tree.map(place, tree)


class Tables:
    """The rows of a data set where programs read them, made once for all programs on the same devices."""

    def __init__(self, data: Source, shift: Columns, scale: Columns) -> None:
        self._data, self._shift, self._scale = data, shift, scale
        self._found: dict[Mesh | None, Array | None] = {}

    def on(self, mesh: Mesh | None) -> Float[Array, "n columns"] | None:
        """The rows on all devices of a mesh; ``None`` where they are not kept there."""
        if mesh not in self._found:
            copies = _copies_in_one_memory(mesh)
            table = table_of(self._data, self._shift, self._scale, copies)
            if table is not None and mesh is not None:
                table = placed(table, NamedSharding(mesh, PartitionSpec()))
            self._found[mesh] = table
        return self._found[mesh]


def _copies_in_one_memory(mesh: Mesh | None) -> int:
    """Copies in one memory of what is on all devices: those of a CPU share one, accelerators have their own."""
    if mesh is None or mesh.devices.flat[0].platform != "cpu":
        return 1
    return max(collections.Counter(device.process_index for device in mesh.devices.flat).values())
