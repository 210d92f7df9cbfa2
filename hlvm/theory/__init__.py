"""Theory: from a graph and a mask to what a masked autoencoder can learn.

Predictions are made from the graph alone: this package knows nothing of simulated data, trained
networks or scores. The derivations are in ``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.theory.assumptions import HasInvertible, check_assumptions
from hlvm.theory.edge_report import check_edges
from hlvm.theory.findings import AssumptionReport, Finding, Status
from hlvm.theory.gaussian_oracle import GaussianOracle, LinearGaussianModel
from hlvm.theory.gaussian_results import BayesLoss, RankAgreement, ReducedRank
from hlvm.theory.mask_design import Choice, DesignedMask, Impossible, SearchTimeoutError, design_mask
from hlvm.theory.membership import frontier_probability, membership_probability, patches_reached
from hlvm.theory.profile import LevelProfile, level_profile
from hlvm.theory.shared_information import (
    Regime,
    SharedInformation,
    SharedInformationBatch,
    shared_information,
    shared_information_batch,
    target_ancestors,
)
from hlvm.theory.strategy_design import StrategyMatch, design_strategy
from hlvm.theory.trek_separation import TrekSeparation, trek_separating_set

__all__ = [
    "AssumptionReport",
    "BayesLoss",
    "Choice",
    "DesignedMask",
    "Finding",
    "GaussianOracle",
    "HasInvertible",
    "Impossible",
    "LevelProfile",
    "LinearGaussianModel",
    "RankAgreement",
    "ReducedRank",
    "Regime",
    "SearchTimeoutError",
    "SharedInformation",
    "SharedInformationBatch",
    "Status",
    "StrategyMatch",
    "TrekSeparation",
    "check_assumptions",
    "check_edges",
    "design_mask",
    "design_strategy",
    "frontier_probability",
    "level_profile",
    "membership_probability",
    "patches_reached",
    "shared_information",
    "shared_information_batch",
    "target_ancestors",
    "trek_separating_set",
]
