"""Scores for recovered latents: does a representation hold what the theory says it must?

Bring two arrays with one row per sample, from any framework. The regression scores
(:func:`kernel_r2`, :func:`linear_r2`) and :func:`cca` measure, :func:`permutation_null` says what
chance would give, and :func:`block_verdict` turns scores into one of three outcomes. Everything runs
in float64 on the CPU. See section 6 of ``docs/theory.md``.
"""

from hlvm.scoring.cca import CCA, cca, cca_many
from hlvm.scoring.config import RegressionConfig
from hlvm.scoring.controls import PermutationNull, permutation_null
from hlvm.scoring.intervals import Interval, bootstrap_mean
from hlvm.scoring.latents import LatentScores, chance_scores, score_latents, score_table
from hlvm.scoring.regression import (
    KernelR2,
    kernel_r2,
    kernel_r2_many,
    linear_r2,
    paired_difference,
)
from hlvm.scoring.splitting import Split
from hlvm.scoring.verdict import BlockVerdict, Verdict, block_verdict, containment_verdict

__all__ = [
    "CCA",
    "BlockVerdict",
    "Interval",
    "KernelR2",
    "LatentScores",
    "PermutationNull",
    "RegressionConfig",
    "Split",
    "Verdict",
    "block_verdict",
    "bootstrap_mean",
    "cca",
    "cca_many",
    "chance_scores",
    "containment_verdict",
    "kernel_r2",
    "kernel_r2_many",
    "linear_r2",
    "paired_difference",
    "permutation_null",
    "score_latents",
    "score_table",
]
