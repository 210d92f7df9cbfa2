"""Masking: which observed variables are hidden from the encoder.

A :class:`Patches` says which observed variables are masked together (the masking unit). A mask strategy
draws masks: boolean arrays over ``graph.observed`` in which True means masked. Every mask leaves both sides
non-empty. What a strategy draws is its law (:func:`law_of`); training and theory ask for nothing else. So they take
every strategy: those here and every other object with a method ``sample(key, n, graph)``. See section 1 of
``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.masking.descriptions import mask_from_dict, mask_to_dict
from hlvm.masking.laws import Chance, Counted, Law, LawfulMask, Listed, Sampled
from hlvm.masking.listing import MaskList
from hlvm.masking.masks import count_masked, masked_array
from hlvm.masking.patches import Patches
from hlvm.masking.shapes import BlockMask, GridMask, SubtreeMask
from hlvm.masking.strategies import BernoulliMask, FixedMask, MaskSampler, RandomMask, RatioRange, law_of

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
    "count_masked",
    "law_of",
    "mask_from_dict",
    "mask_to_dict",
    "masked_array",
]
