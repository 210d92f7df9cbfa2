"""Masked autoencoders: networks, training, ensembles, checkpoints. The learner the theory is about."""

from hlvm.mae.checkpoints import load_fits, save_fits
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
    "load_fits",
    "reconstruct",
    "save_fits",
]
