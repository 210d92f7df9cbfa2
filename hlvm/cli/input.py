"""Input of the commands: arguments checked before any work, and files read; bad input raises one clear error."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from hlvm._files.arrays import HDF5, PARTS, npz_names, open_array_file
from hlvm._files.digests import read_json
from hlvm._files.texts import parsed_json
from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm.masking import Patches
    from hlvm.simulator import HierarchicalModel

__all__ = [
    "Flag",
    "GraphFile",
    "Names",
    "OptionalFile",
    "OptionalNames",
    "Unit",
    "check_folder_can_be_made",
    "check_n_masks",
    "check_new_file",
    "check_seed",
    "check_writable",
    "is_model",
    "load_graph",
    "load_model",
    "masked_names",
    "patches_from",
]

GraphFile = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="GRAPH")]
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Names = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
OptionalNames = Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
Unit = Annotated[int | tuple[int, int], tyro.conf.arg(metavar="SIDE|ROWS COLUMNS")]
Flag = tyro.conf.FlagCreatePairsOff[bool]


_ALWAYS_MASKS, _MOST_MASKS = 1000, 1_000_000
_MOST_MASKS_TIMES_HEIGHTS = 50_000_000
"""Numbers kept while masks are averaged; each takes some dozens of bytes."""


# ---------------------------------------------------------------------- checks before any work


def check_seed(seed: int) -> None:
    """Check that a seed fits into 32 bits."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be a whole number from 0 to {2**32 - 1}, got {seed}")


def check_n_masks(n_masks: int, graph: LatentGraph) -> None:
    """Check that there are masks enough for a standard error, and not more than fit into memory."""
    if n_masks < 2:
        raise ValueError(f"--n-masks must be at least 2, for a standard error, got {n_masks}")
    most = max(_ALWAYS_MASKS, min(_MOST_MASKS, _MOST_MASKS_TIMES_HEIGHTS // max(graph.heights)))
    if n_masks > most:
        raise ValueError(
            f"--n-masks can be at most {most} for this graph, got {n_masks}: the standard error of a share is then "
            f"at most {0.5 / math.sqrt(most):.2g}"
        )


def check_new_file(path: Path, *suffixes: str) -> None:
    """Check that a file with one of these suffixes can be made, and that there is none yet."""
    if path.suffix not in suffixes:
        raise ValueError(f"the name of this output ends in {' or '.join(suffixes)}, got {path}")
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name, or remove it first")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    check_writable(path.parent)


def check_folder_can_be_made(path: Path) -> None:
    """Check that a folder can be made, with the folders above it."""
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{path} cannot be made: {existing} is a file")
    check_writable(existing)


def check_writable(folder: Path) -> None:
    """Check that files can be made in a folder; only trying tells of folders such as /proc, or of a full disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        said = error.strerror or str(error)
        raise type(error)(f"no file can be written into {folder} ({said}): choose another folder") from None


# ---------------------------------------------------------------------- reading


def load_graph(path: Path, *, must_be_invertible: str = "") -> LatentGraph:
    """The graph of a file, of a saved model, or of a data set.

    Args:
        path: a graph (.json, .graphml), a saved model (.npz) or a data set (.npz, .h5, .hdf5).
        must_be_invertible: if the mechanisms of a model have to be, what to do when they are not.
    """
    if _is_dataset(path):
        return _graph_inside(path)
    if path.suffix != ".npz":
        return LatentGraph.load(path)
    model = load_model(path)
    if must_be_invertible and not model.invertible:
        raise ValueError(f"{path} has mechanisms that are not invertible: {must_be_invertible}")
    return model.graph


def is_model(path: Path) -> bool:
    """Tell whether a file can only be a saved model."""
    return path.suffix == ".npz" and not _is_dataset(path)


def _is_dataset(path: Path) -> bool:
    if path.suffix != ".npz":
        return path.suffix in HDF5
    try:
        names = npz_names(path)
    except ValueError:  # told by what reads it
        return False
    return "header" not in names and any(name.partition("/")[0] in ("graph", *PARTS) for name in names)


def _graph_inside(path: Path) -> LatentGraph:
    opened = open_array_file(path)
    opened.close()
    if "graph" not in opened.texts:
        raise ValueError(f"{path} holds no graph: give a file that does, such as those that hlvm sample writes")
    try:
        return LatentGraph.from_dict(parsed_json(opened.texts["graph"]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_model(path: Path) -> HierarchicalModel:
    """A saved model."""
    from hlvm.simulator import HierarchicalModel

    return HierarchicalModel.load(path)


def masked_names(masked: tuple[str, ...] | None, mask_file: Path | None) -> tuple[str, ...]:
    """The names after --masked, or those in the file after --mask-file; none if neither option was given."""
    if masked == ():
        raise ValueError("--masked names nothing to mask: give at least one NAME after it, or leave it out")
    if mask_file is None:
        return masked or ()
    if masked:
        raise ValueError("give --masked or --mask-file, not both")
    names = read_json(mask_file)
    if isinstance(names, dict):
        names = names.get("masked")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{mask_file}: a mask is a JSON list of names, or what hlvm design --out writes")
    if not names:
        raise ValueError(f"{mask_file} names nothing to mask")
    return tuple(names)


def patches_from(graph: LatentGraph, unit: int | tuple[int, int], height: int | None) -> Patches:
    """Patches that --unit or --height say are masked together."""
    from hlvm.masking import Patches

    if height is not None:
        if unit != 1:
            raise ValueError("give --unit or --height, not both: they both say what is masked together")
        return Patches.of_subtrees(graph, height)
    return Patches.blocks(graph, unit)
