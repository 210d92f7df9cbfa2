"""Masked autoencoders: networks, training, ensembles, checkpoints. The learner the theory is about."""

from hlvm.mae.config import BottleneckConfig, NetworkConfig, TrainConfig, ViTConfig
from hlvm.mae.fit import Fit, encode, reconstruct
from hlvm.mae.training import Member, Progress, fit, fit_ensemble

__all__ = [
    "BottleneckConfig",
    "Fit",
    "Member",
    "NetworkConfig",
    "Progress",
    "TrainConfig",
    "ViTConfig",
    "encode",
    "fit",
    "fit_ensemble",
    "reconstruct",
]
