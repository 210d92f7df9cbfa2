"""Checks of a model that was drawn."""

from __future__ import annotations

import numpy as np
from jax.core import Tracer

from hlvm._layout import Layout, Leaf

__all__ = ["check_scales"]

_UNEVEN = 0.05
"""A variable of which ``k`` in 4,096 draws stand alone far away has the evenness ``2 sqrt(k / 4096)``: 2.6 draws."""


def check_scales(layout: Layout, scale: Leaf, evenness: Leaf) -> None:
    """Refuse variables that no shift and scale can bring to a usable size. Inside jit nothing is checked.

    Args:
        layout: which rows belong to which variable.
        scale: the estimated scales.
        evenness: see ``calibrate``.

    Raises:
        ValueError: a variable's values are not finite, or a few of them make up all of its variance; the message names
            it.
    """
    if isinstance(scale, Tracer):
        return
    scales, even = np.asarray(scale), np.asarray(evenness)
    for name, mechanism in zip(layout.graph.nodes, layout.mechanisms, strict=True):
        rows, kind = layout.value_slices[name], type(mechanism).__name__
        if not np.isfinite(scales[rows]).all():
            raise ValueError(
                f"variable {name!r}: {kind} gives values that are not finite for parents and noise as they occur here, "
                f"so they cannot be standardised: see whether it is defined for all of them"
            )
        if even[rows].min(initial=1.0) < _UNEVEN:
            raise ValueError(
                f"variable {name!r}: two or three of 4,096 draws from {kind} make up nearly all of its variance, and "
                f"standardising would turn all others into one number: use a mechanism or noises with lighter tails, "
                f"or standardize=False"
            )
