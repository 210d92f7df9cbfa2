"""Theory: from a graph and a mask to what a masked autoencoder can learn.

Predictions are made from the graph alone: this package knows nothing of simulated data, trained
networks or scores. The derivations are in ``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.theory.assumptions.check import check_assumptions
from hlvm.theory.assumptions.edges import check_edges
from hlvm.theory.assumptions.report import AssumptionReport, Finding
from hlvm.theory.design.mask_design import DesignedMask, Impossible, SearchTimeoutError, design_mask
from hlvm.theory.design.strategy_design import StrategyMatch, design_strategy
from hlvm.theory.estimated.linearised import LinearisedOracle
from hlvm.theory.estimated.oracle import EstimatedLoss, EstimatedOracle, estimated_oracle
from hlvm.theory.gaussian.oracle import GaussianOracle
from hlvm.theory.gaussian.results import BayesLoss, ReducedRank
from hlvm.theory.grammar.oracle import DiscreteTreeModel, GrammarOracle
from hlvm.theory.grammar.results import Outcomes, SymbolLoss
from hlvm.theory.one_mask.shared_information import (
    Regime,
    SharedInformation,
    SharedInformationBatch,
    shared_information,
    shared_information_batch,
    target_ancestors,
)
from hlvm.theory.one_mask.trek_separation import TrekSeparation, trek_separating_set
from hlvm.theory.oracles import Answer, Answers, Oracle
from hlvm.theory.random_masks.membership import frontier_probability, membership_probability, patches_reached
from hlvm.theory.random_masks.profile import LevelProfile, level_profile

__all__ = [
    "Answer",
    "Answers",
    "AssumptionReport",
    "BayesLoss",
    "DesignedMask",
    "DiscreteTreeModel",
    "EstimatedLoss",
    "EstimatedOracle",
    "Finding",
    "GaussianOracle",
    "GrammarOracle",
    "Impossible",
    "LevelProfile",
    "LinearisedOracle",
    "Oracle",
    "Outcomes",
    "ReducedRank",
    "Regime",
    "SearchTimeoutError",
    "SharedInformation",
    "SharedInformationBatch",
    "StrategyMatch",
    "SymbolLoss",
    "TrekSeparation",
    "check_assumptions",
    "check_edges",
    "design_mask",
    "design_strategy",
    "estimated_oracle",
    "frontier_probability",
    "level_profile",
    "membership_probability",
    "patches_reached",
    "shared_information",
    "shared_information_batch",
    "target_ancestors",
    "trek_separating_set",
]
