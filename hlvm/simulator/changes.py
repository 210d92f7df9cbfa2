"""What interventions and shifts add to a model."""

from __future__ import annotations

from typing import NamedTuple

from hlvm._layout import Leaf

__all__ = ["NoiseShift", "SetValues"]


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
