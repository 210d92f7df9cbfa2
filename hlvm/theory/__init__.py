"""Theory: from a graph and a mask to what a masked autoencoder can learn.

Predictions are made from the graph alone: this package knows nothing of simulated data, trained
networks or scores. The derivations are in ``docs/theory.md``.
"""

from hlvm.theory.profile import LevelProfile, Strategy, level_profile, membership_probability, patches_reached
from hlvm.theory.shared_information import (
    Regime,
    SharedInformation,
    SharedInformationBatch,
    shared_information,
    shared_information_batch,
    target_ancestors,
)

__all__ = [
    "LevelProfile",
    "Regime",
    "SharedInformation",
    "SharedInformationBatch",
    "Strategy",
    "level_profile",
    "membership_probability",
    "patches_reached",
    "shared_information",
    "shared_information_batch",
    "target_ancestors",
]
