"""Fields of a model and what follows from them alone: the ground floor that every operation on models stands on."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from hlvm.graph import LatentGraph
from hlvm.simulator.changes import NoiseShift, SetValues, StructuralFunction
from hlvm.simulator.layout import Layout, Leaf

__all__ = ["AnyModel", "ModelParts"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ModelParts:
    """Fields of a :class:`~hlvm.simulator.HierarchicalModel`, which tells what they mean."""

    params: tuple[dict[str, Leaf], ...]
    shift: Leaf
    scale: Leaf
    layout: Layout
    standardized: bool
    key_data: Leaf | None = None
    key_impl: str | None = None
    set_values: SetValues | None = None
    noise_shift: NoiseShift | None = None
    functions: tuple[tuple[str, StructuralFunction], ...] = ()

    @property
    def graph(self) -> LatentGraph:
        """The latent graph."""
        return self.layout.graph

    @property
    def key(self) -> PRNGKeyArray | None:
        """The key that the model was drawn from; ``None`` for one from a file of the first format."""
        return None if self.key_data is None else jax.random.wrap_key_data(self.key_data, impl=self.key_impl)

    @property
    def invertible(self) -> bool:
        """Tell whether every mechanism is a bijection, so that the theory's invertible regime applies.

        A variable that was set by an intervention is no bijection of its parents.
        """
        bijections = all(m is None or m.invertible for m in self.layout.mechanisms)
        return bijections and self.set_values is None and not self.functions

    @property
    def interventions(self) -> tuple[str, ...]:
        """Names of the variables that were set to values or by functions. Outside of jit only."""
        names = [name for name, _ in self.functions]
        if self.set_values is not None:
            mask = np.asarray(self.set_values.mask)
            names += [name for name, place in self.layout.value_slices.items() if mask[place.start]]
        return tuple(names)


AnyModel = TypeVar("AnyModel", bound=ModelParts)
