"""Additions of interventions and shifts to a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from jaxtyping import Array

from hlvm.simulator.layout import Leaf

__all__ = ["NoiseShift", "SetValues", "StructuralFunction"]

StructuralFunction: TypeAlias = Callable[[dict[str, Array], Array], Array]
"""``fn(parents, noise)``, which takes the place of a mechanism; see ``HierarchicalModel.intervene``."""


class SetValues(NamedTuple):
    """Variables that were set to values.

    Attributes:
        mask: which rows of the value buffer were set, booleans (total dims,).
        values: what they were set to, (total dims, 1), or one column per sample; in the other rows nothing is meant.
    """

    mask: Leaf
    values: Leaf


class NoiseShift(NamedTuple):
    """Noises that were moved and rescaled: ``loc + scale * what the law gives``.

    Attributes:
        loc: locations, (total noise,); zero where nothing was shifted.
        scale: scales, (total noise,), positive; one where nothing was shifted.
    """

    loc: Leaf
    scale: Leaf
