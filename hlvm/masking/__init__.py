"""Masking: which observed variables are hidden from the encoder.

A :class:`Patches` says which observed variables are masked together (the masking unit). A mask strategy
draws masks: boolean arrays over ``graph.observed`` in which True means masked. Every mask leaves both sides
non-empty. What a strategy draws is its law (:func:`law_of`); training and theory ask for nothing else. So they take
every strategy: those here and every other object with a method ``sample(key, n, graph)``. See section 1 of
``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.masking.descriptions import mask_from_dict, mask_to_dict
from hlvm.masking.laws import Chance, Counted, Law, LawfulMask, Listed, Sampled, log_binomial
from hlvm.masking.listing import MaskList
from hlvm.masking.masks import checked_ratio, count_masked, masked_array, masked_batch, uniform_masks
from hlvm.masking.patches import Patches
from hlvm.masking.shapes import BlockMask, GridMask, SubtreeMask, unit_grid
from hlvm.masking.strategies import BernoulliMask, FixedMask, MaskSampler, RandomMask, RatioRange, as_strategy, law_of

__all__ = [
    "BernoulliMask",
    "BlockMask",
    "Chance",
    "Counted",
    "FixedMask",
    "GridMask",
    "Law",
    "LawfulMask",
    "Listed",
    "MaskList",
    "MaskSampler",
    "Patches",
    "RandomMask",
    "RatioRange",
    "Sampled",
    "SubtreeMask",
    "as_strategy",
    "checked_ratio",
    "count_masked",
    "law_of",
    "log_binomial",
    "mask_from_dict",
    "mask_to_dict",
    "masked_array",
    "masked_batch",
    "uniform_masks",
    "unit_grid",
]
