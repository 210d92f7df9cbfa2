"""Theory: from a graph and a mask to what a masked autoencoder can learn.

Predictions are made from the graph alone, or from the graph and a generator's parameters: this package
knows nothing of simulated data, trained networks or scores. The derivations are in ``docs/theory.md``.
"""

import hlvm._process.imports  # noqa: F401
from hlvm.theory.assumptions.check import check_assumptions
from hlvm.theory.assumptions.edges import check_edges
from hlvm.theory.assumptions.report import AssumptionReport, Finding
from hlvm.theory.design.mask_design import DesignedMask, Impossible, SearchTimeoutError, design_mask
from hlvm.theory.design.masks_for_a_target import Advice, advise
from hlvm.theory.design.strategy_design import StrategyMatch, design_strategy
from hlvm.theory.estimated.linearised import LinearisedOracle
from hlvm.theory.estimated.methods import estimated_oracle
from hlvm.theory.estimated.oracle import EstimatedOracle
from hlvm.theory.estimated.results import EstimatedLoss
from hlvm.theory.exact import oracle_of
from hlvm.theory.gaussian.crossings import critical_ratio
from hlvm.theory.gaussian.oracle import GaussianOracle
from hlvm.theory.gaussian.results import BayesLoss, RandomMaskCode, ReducedRank
from hlvm.theory.grammar.correlations import correlation_decay, label_correlation, token_correlation
from hlvm.theory.grammar.oracle import GrammarOracle
from hlvm.theory.grammar.parameters import DiscreteTreeModel
from hlvm.theory.grammar.population_dynamics import DensityEvolution, Evidence, density_evolution
from hlvm.theory.grammar.results import Outcomes, SymbolLoss
from hlvm.theory.grammar.sample_laws import SAMPLE_LAWS, SampleLaw, expected_samples
from hlvm.theory.grammar.sizes import GrammarSizes, SizedGrammar
from hlvm.theory.grammar.thresholds import CorruptionTransition, corruption_transition, kesten_stigum, mean_belief
from hlvm.theory.one_mask.shared_information import (
    Regime,
    SharedInformation,
    SharedInformationBatch,
    shared_information,
    shared_information_batch,
    target_ancestors,
)
from hlvm.theory.one_mask.trek_separation import TrekSeparation, trek_separating_set
from hlvm.theory.oracles import Answer, Answers, ByLatent, NoiseEffects, Oracle
from hlvm.theory.random_masks.membership import frontier_probability, membership_probability, patches_reached
from hlvm.theory.random_masks.profile import LevelProfile, level_profile
from hlvm.theory.random_masks.quantities import MaskProfile, mask_profile
from hlvm.theory.signal.ridge import MaskSignal, mask_signal

__all__ = [
    "SAMPLE_LAWS",
    "Advice",
    "Answer",
    "Answers",
    "AssumptionReport",
    "BayesLoss",
    "ByLatent",
    "CorruptionTransition",
    "DensityEvolution",
    "DesignedMask",
    "DiscreteTreeModel",
    "EstimatedLoss",
    "EstimatedOracle",
    "Evidence",
    "Finding",
    "GaussianOracle",
    "GrammarOracle",
    "GrammarSizes",
    "Impossible",
    "LevelProfile",
    "LinearisedOracle",
    "MaskProfile",
    "MaskSignal",
    "NoiseEffects",
    "Oracle",
    "Outcomes",
    "RandomMaskCode",
    "ReducedRank",
    "Regime",
    "SampleLaw",
    "SearchTimeoutError",
    "SharedInformation",
    "SharedInformationBatch",
    "SizedGrammar",
    "StrategyMatch",
    "SymbolLoss",
    "TrekSeparation",
    "advise",
    "check_assumptions",
    "check_edges",
    "correlation_decay",
    "corruption_transition",
    "critical_ratio",
    "density_evolution",
    "design_mask",
    "design_strategy",
    "estimated_oracle",
    "expected_samples",
    "frontier_probability",
    "kesten_stigum",
    "label_correlation",
    "level_profile",
    "mask_profile",
    "mask_signal",
    "mean_belief",
    "membership_probability",
    "oracle_of",
    "patches_reached",
    "shared_information",
    "shared_information_batch",
    "target_ancestors",
    "token_correlation",
    "trek_separating_set",
]
