"""The experiments: ``python -m experiments.NAME --preset smoke|laptop|gpu --out DIR``, and ``--help`` says more."""

import sys

from hlvm._process import begin

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
    "signal",
)
"""Modules with a page, in its order; of each, results of the preset ``laptop`` are in ``experiments/results``."""

if sys.argv[0] == "-m":  # as long as Python looks for the module NAME: this process is nothing but that experiment
    begin("experiments")
