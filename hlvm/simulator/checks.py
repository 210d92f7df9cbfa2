"""Checks of a model: of its size before it is drawn, of its scales afterwards."""

from __future__ import annotations

import collections
import math
import warnings

import jax
import numpy as np
from jax.core import Tracer

from hlvm._process.memory import check_fits
from hlvm.graph import LatentGraph
from hlvm.mechanisms import Mechanism
from hlvm.simulator.forward import CALIBRATION_SAMPLES
from hlvm.simulator.layout import Layout, Leaf

__all__ = ["check_model_size", "check_sample_size", "check_scales", "warn_of_depth"]

_SINGLE = 4
_DEEP = 100
_WIDE, _COUNTED = 1000, 64
"""Parameters are counted where a mechanism is between so many numbers or more, and those of the largest kinds only."""

_UNEVEN = 0.05
"""A variable of which ``k`` in 4,096 draws stand alone far away has the evenness ``2 sqrt(k / 4096)``: 2.6 draws."""


def check_model_size(graph: LatentGraph, mechanisms: tuple[Mechanism | None, ...], standardize: bool) -> None:
    """Refuse a model whose parameters, or the samples that its scales come from, cannot fit into memory."""
    kinds: collections.Counter[tuple[Mechanism, int, int, int]] = collections.Counter()
    noises = 0
    for node, mechanism in enumerate(mechanisms):
        dim, noise_size = graph.dims[node], graph.dims[node]
        if mechanism is not None:
            parent_dim = sum(graph.dims[parent] for parent in graph.parent_indices[node])
            try:
                noise_size = mechanism.noise_size(parent_dim, graph.noise_dims[node], dim)
            except ValueError:
                return  # which is refused with the variable's name where rows are laid out
            kinds[mechanism, parent_dim, noise_size, dim] += 1
        noises += noise_size
    width = sum(graph.dims) + noises
    n = CALIBRATION_SAMPLES if standardize else 1
    remedy = "use smaller dims or a smaller graph"
    drawn = f", of which {n:,} are drawn for its scales," if standardize else ""
    check_fits(_SINGLE * n * width, f"a model of {width:,} numbers per sample{drawn}", remedy)
    if max((parent_dim + size + dim for _, parent_dim, size, dim in kinds), default=0) < _WIDE:
        return
    key, parameters = jax.random.key(0), 0
    for kind in sorted(kinds, key=lambda kind: -sum(kind[1:]))[:_COUNTED]:
        mechanism, *sizes = kind
        drawn = jax.eval_shape(lambda key, mechanism=mechanism, sizes=sizes: mechanism.init(key, *sizes), key)
        parameters += kinds[kind] * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(drawn))
    check_fits(_SINGLE * (parameters + n * width), f"a model of {parameters:,} parameters or more", remedy)


def warn_of_depth(layout: Layout) -> None:
    """Warn that many levels take long to compile."""
    depth = 1 + max(group.depth for group in layout.groups)
    if depth > _DEEP:
        warnings.warn(
            f"a model of {depth:,} levels: each is compiled on its own, for the model and for every number of samples, "
            f"which may take up to a second per level; samples are quick afterwards",
            stacklevel=3,
        )


def check_sample_size(layout: Layout, n: int) -> None:
    """Refuse samples that cannot fit into memory."""
    width = layout.n_values + layout.n_noises
    what, remedy = f"a draw of {n:,} samples of {width:,} numbers", "draw fewer at once (write_dataset: chunk_size)"
    check_fits(_SINGLE * n * width, what, remedy)


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
