"""Masking: which observed variables are hidden from the encoder.

A :class:`Patches` says which observed variables are masked together (the masking unit). A mask strategy
draws masks: boolean arrays over ``graph.observed`` in which True means masked. Every mask leaves both sides
non-empty. Masked autoencoders are trained with any strategy, and level profiles are computed for any: those here and
every other object with a method ``sample(key, n, graph)``. See section 1 of ``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.masking.listing import Listed, count_every_mask, every_mask
from hlvm.masking.masks import checked_ratio, count_masked, masked_array, masked_batch, uniform_masks
from hlvm.masking.patches import Patches
from hlvm.masking.spatial import BlockMask, GridMask, SubtreeMask, unit_grid
from hlvm.masking.strategies import BernoulliMask, FixedMask, MaskSampler, RandomMask, log_binomial

__all__ = [
    "BernoulliMask",
    "BlockMask",
    "FixedMask",
    "GridMask",
    "Listed",
    "MaskSampler",
    "Patches",
    "RandomMask",
    "SubtreeMask",
    "checked_ratio",
    "count_every_mask",
    "count_masked",
    "every_mask",
    "log_binomial",
    "masked_array",
    "masked_batch",
    "uniform_masks",
    "unit_grid",
]
