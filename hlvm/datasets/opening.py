"""Data by its path: a data set, a saved model, a saved image model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hlvm._files import as_path
from hlvm._files.arrays import PARTS, npz_names
from hlvm.datasets.dataset import Dataset
from hlvm.datasets.reading import load_dataset
from hlvm.datasets.writing import SUFFIXES
from hlvm.images.files import load_image_model
from hlvm.simulator import HierarchicalModel

if TYPE_CHECKING:
    from hlvm.images import ImageModel

__all__ = ["open_data"]


def open_data(path: str | os.PathLike[str]) -> Dataset | HierarchicalModel | ImageModel:
    """Open what a path holds.

    Args:
        path: a data set (``.npz``, ``.h5``, ``.hdf5``), a saved model (``.npz``), or the folder of an image model.

    Returns:
        The data set, which is to be closed, or the model.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is neither of these, or damaged.
    """
    target = as_path(path)
    if target.is_dir():
        if not (target / "images.json").exists():
            raise ValueError(f"{target} is a folder that holds no image model: give a data set or a saved model")
        return load_image_model(target)
    if target.suffix not in SUFFIXES:
        raise ValueError(
            f"{target}: data must be a file that ends in {', '.join(SUFFIXES)}, or the folder of an image model, got "
            f"{target.suffix or 'no suffix'!r}"
        )
    if target.suffix == ".npz":
        names = npz_names(target)
        if "header" in names:
            return HierarchicalModel.load(target)
        if not any(name.partition("/")[0] in ("graph", *PARTS) for name in names):
            raise ValueError(f"{target} is neither a data set nor a saved model: hlvm sample writes both")
    return load_dataset(target)
