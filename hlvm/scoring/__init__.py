"""Scores for recovered latents: does a representation hold what the theory says it must?

Bring two arrays with one row per sample, from any framework. Regressions (:func:`kernel_r2`, :func:`linear_r2`,
:func:`mlp_r2`) and :func:`cca` with its relatives measure, controls (all in one call: :func:`controlled_r2`) say what a
measurement is worth, and :func:`block_verdict` turns scores into one of four outcomes. The geometry of a code
(:func:`effective_rank`, :func:`shape_distance` and others) tells one that has collapsed (:func:`collapse`).
Other scores of the field (:func:`mcc`, :func:`dci`, :func:`sap`, :func:`mig`, :func:`cka`,
:func:`mutual_information`) come with :func:`permutation_test`. Everything runs in float64 on the CPU. See section 6 of
``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.scoring.beliefs import BeliefR2, belief_r2
from hlvm.scoring.by_height import score_by_height
from hlvm.scoring.by_layer import score_layers
from hlvm.scoring.controls import (
    ControlledScore,
    PermutationNull,
    controlled_r2,
    permutation_null,
    permutation_test,
)
from hlvm.scoring.correlation.canonical import CCA, cca, cca_many
from hlvm.scoring.correlation.rank import RankTest, cca_rank
from hlvm.scoring.correlation.variants import PWCCA, pwcca, subspace_angles, svcca
from hlvm.scoring.encodings import circular, one_hot
from hlvm.scoring.geometry.collapses import Collapse, collapse
from hlvm.scoring.geometry.shapes import ShapeDistance, shape_distance
from hlvm.scoring.geometry.spectra import Dimension, effective_rank, participation_ratio
from hlvm.scoring.geometry.spheres import Alignment, Uniformity, alignment, uniformity
from hlvm.scoring.inputs import PrecisionWarning
from hlvm.scoring.intervals import Interval, bootstrap_mean
from hlvm.scoring.leakages import Leakage, leakage, leakage_many
from hlvm.scoring.metrics.dependence import cka, mutual_information
from hlvm.scoring.metrics.disentanglement import DCI, dci, mcc, mig, sap
from hlvm.scoring.multiplicity import holm
from hlvm.scoring.regression.config import RegressionConfig
from hlvm.scoring.regression.r2 import KernelR2, normalised_r2, paired_difference, r2_over_seeds
from hlvm.scoring.regression.scores import kernel_r2, kernel_r2_many, linear_r2, linear_r2_many, mlp_r2
from hlvm.scoring.regression.splitting import Split
from hlvm.scoring.row_groups import DependenceWarning
from hlvm.scoring.seeds import RandomEffects, check_seeds, means_over_seeds, over_generators, over_seeds
from hlvm.scoring.verdicts.directions import WorstDirection
from hlvm.scoring.verdicts.power import Power
from hlvm.scoring.verdicts.verdict import BlockVerdict, Verdict, block_verdict, block_verdicts, containment_verdict

__all__ = [
    "CCA",
    "DCI",
    "PWCCA",
    "Alignment",
    "BeliefR2",
    "BlockVerdict",
    "Collapse",
    "ControlledScore",
    "DependenceWarning",
    "Dimension",
    "Interval",
    "KernelR2",
    "Leakage",
    "PermutationNull",
    "Power",
    "PrecisionWarning",
    "RandomEffects",
    "RankTest",
    "RegressionConfig",
    "ShapeDistance",
    "Split",
    "Uniformity",
    "Verdict",
    "WorstDirection",
    "alignment",
    "belief_r2",
    "block_verdict",
    "block_verdicts",
    "bootstrap_mean",
    "cca",
    "cca_many",
    "cca_rank",
    "check_seeds",
    "circular",
    "cka",
    "collapse",
    "containment_verdict",
    "controlled_r2",
    "dci",
    "effective_rank",
    "holm",
    "kernel_r2",
    "kernel_r2_many",
    "leakage",
    "leakage_many",
    "linear_r2",
    "linear_r2_many",
    "mcc",
    "means_over_seeds",
    "mig",
    "mlp_r2",
    "mutual_information",
    "normalised_r2",
    "one_hot",
    "over_generators",
    "over_seeds",
    "paired_difference",
    "participation_ratio",
    "permutation_null",
    "permutation_test",
    "pwcca",
    "r2_over_seeds",
    "sap",
    "score_by_height",
    "score_layers",
    "shape_distance",
    "subspace_angles",
    "svcca",
    "uniformity",
]
