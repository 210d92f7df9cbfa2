"""Masked autoencoders: networks, losses, masks, training, ensembles, checkpoints. The learner the theory is about."""

import hlvm.mae._imports  # noqa: F401
from hlvm.mae.config import BottleneckConfig, LinearConfig, NetworkConfig, TrainConfig, ViTConfig
from hlvm.mae.encoding import Attention, attention, encode, encode_layers, reconstruct
from hlvm.mae.files import load_fits, save_fits
from hlvm.mae.likelihood import log_likelihood
from hlvm.mae.objectives import LossConfig
from hlvm.mae.pixels import images_of_rows, rows_of_images
from hlvm.mae.result import DivergenceWarning, Fit
from hlvm.mae.training.data import ArrayData, ImageData, Images, TrainingData
from hlvm.mae.training.devices import environment_of_cores, fastest_devices, one_device_per_core
from hlvm.mae.training.groups import Member
from hlvm.mae.training.held_out import HeldOut
from hlvm.mae.training.mask_draws import TrainingMask
from hlvm.mae.training.planner import Plan, ProgramPlan, plan_ensemble
from hlvm.mae.training.progress_bar import ProgressBar
from hlvm.mae.training.run_state import Checkpoints
from hlvm.mae.training.speed import Cost
from hlvm.mae.training.training import Progress, fit, fit_ensemble
from hlvm.mae.training.watching import TensorBoard

__all__ = [
    "ArrayData",
    "Attention",
    "BottleneckConfig",
    "Checkpoints",
    "Cost",
    "DivergenceWarning",
    "Fit",
    "HeldOut",
    "ImageData",
    "Images",
    "LinearConfig",
    "LossConfig",
    "Member",
    "NetworkConfig",
    "Plan",
    "ProgramPlan",
    "Progress",
    "ProgressBar",
    "TensorBoard",
    "TrainConfig",
    "TrainingData",
    "TrainingMask",
    "ViTConfig",
    "attention",
    "encode",
    "encode_layers",
    "environment_of_cores",
    "fastest_devices",
    "fit",
    "fit_ensemble",
    "images_of_rows",
    "load_fits",
    "log_likelihood",
    "one_device_per_core",
    "plan_ensemble",
    "reconstruct",
    "rows_of_images",
    "save_fits",
]
