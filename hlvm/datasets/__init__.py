"""Data with known latents in files: written in chunks, read back, and fed to any trainer."""

import hlvm._process.imports  # noqa: F401
from hlvm.datasets.dataset import Dataset
from hlvm.datasets.ground_truth import GroundTruthData
from hlvm.datasets.reading import load_dataset
from hlvm.datasets.rotation import Rotation
from hlvm.datasets.stream import SampleStream
from hlvm.datasets.writing import write_dataset

__all__ = ["Dataset", "GroundTruthData", "Rotation", "SampleStream", "load_dataset", "write_dataset"]
