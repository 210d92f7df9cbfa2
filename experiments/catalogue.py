"""The experiments that take a preset and write findings, in the order of the pages."""

from __future__ import annotations

__all__ = ["MEASURED", "NAMES"]

MEASURED = (
    "theorem2",
    "masking_ratio",
    "patch_size",
    "reconstruction",
    "attention",
    "linear_separability",
    "shape_bias",
    "transfer",
    "mask_design",
    "sample_complexity",
)
"""Modules of ``experiments`` with committed results of the laptop preset and a page."""

NAMES = MEASURED
"""All of them; those without results were only tried at their smallest size."""
