"""The experiments that take a preset and write claims, in the order of the pages."""

from __future__ import annotations

__all__ = ["NAMES"]

NAMES = (
    "theorem2",
    "masking_ratio",
    "patch_size",
    "masking_grid",
    "reconstruction",
    "attention",
    "linear_separability",
    "shape_bias",
    "transfer",
    "mask_design",
    "assumption_violation",
    "sample_complexity",
)
"""Modules of ``experiments``; of each, results of the laptop preset are in ``experiments/results``."""
