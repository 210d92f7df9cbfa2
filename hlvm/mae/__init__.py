"""Masked autoencoders: networks, losses, masks, training, ensembles, checkpoints. The learner the theory is about."""

from hlvm.mae.checkpoints import load_fits, save_fits
from hlvm.mae.config import BottleneckConfig, LinearConfig, LossConfig, NetworkConfig, TrainConfig, ViTConfig
from hlvm.mae.fit import Fit
from hlvm.mae.mask_strategies import MaskList, RatioRange
from hlvm.mae.masks import TrainingMask
from hlvm.mae.training import Member, Progress, fit, fit_ensemble
from hlvm.mae.using import Attention, attention, encode, reconstruct

__all__ = [
    "Attention",
    "BottleneckConfig",
    "Fit",
    "LinearConfig",
    "LossConfig",
    "MaskList",
    "Member",
    "NetworkConfig",
    "Progress",
    "RatioRange",
    "TrainConfig",
    "TrainingMask",
    "ViTConfig",
    "attention",
    "encode",
    "fit",
    "fit_ensemble",
    "load_fits",
    "reconstruct",
    "save_fits",
]
