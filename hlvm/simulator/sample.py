"""Joint draws of every variable of a model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hlvm.graph import LatentGraph
from hlvm.simulator.layout import Layout, Leaf, Views, take

__all__ = ["Sample", "side_by_side"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["values", "noises"], meta_fields=["layout"])
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """Joint draws of every variable of a model.

    Attributes:
        values: all variables side by side, (n, total dims); use :attr:`latents` and :attr:`observed` to read them.
        noises: all noises side by side, (n, total noise); use :attr:`noise` to read them by name.
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
        """Name -> the noise that entered there, (n, noise size).

        A root is its own noise. A variable that was set by an intervention has a noise too, which its value ignores.
        """
        return Views(self.noises, self.layout.noise_slices, self.graph.nodes)

    @property
    def observed_matrix(self) -> Float[Array, "n x"]:
        """The observed variables side by side in the graph's order, (n, total observed dims)."""
        return take(self.values, self.layout.observed_rows, axis=1)

    def latent_matrix(self, names: Sequence[str] | None = None) -> Float[Array, "n dims"]:
        """Latents side by side, for scoring; ``None`` takes all, in the graph's order.

        Raises:
            ValueError: an unknown name, or none.
        """
        return side_by_side(self.latents, names)


def side_by_side(latents: Mapping[str, Leaf], names: Sequence[str] | None) -> Float[Array, "n dims"]:
    """Some latents, or all, in one array.

    Raises:
        ValueError: an unknown name, or none.
    """
    wanted = list(latents) if names is None else list(names)
    unknown = [name for name in wanted if name not in latents]
    if unknown or not wanted:
        raise ValueError(f"{unknown[0]!r} is not a latent of this sample" if unknown else "names is empty: give one")
    return jnp.concatenate([latents[name] for name in wanted], axis=1)
