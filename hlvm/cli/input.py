"""Input of the commands: arguments checked before any work, and files read; bad input raises one clear error."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hlvm._files import as_path
from hlvm._files.arrays import HDF5
from hlvm._files.digests import read_json
from hlvm.cli.families import FAMILIES, image_model
from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm.masking import Patches
    from hlvm.simulator import HierarchicalModel

__all__ = [
    "Flag",
    "Names",
    "OptionalFile",
    "OptionalNames",
    "OptionalSource",
    "Source",
    "Unit",
    "check_folder_can_be_made",
    "check_has_graph",
    "check_n_masks",
    "check_new_file",
    "check_seed",
    "check_writable",
    "graph_of",
    "load_graph",
    "load_source",
    "masked_names",
    "model_of",
    "patches_from",
]

Source = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="GRAPH")]
OptionalSource = Annotated[str | None, tyro.conf.arg(metavar="GRAPH", help_behavior_hint="")]
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
        raise ValueError(f"the name of this output must end in {' or '.join(suffixes)}, got {path}")
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


def load_source(place: str, *, seed: int = 0) -> Any:
    """The one reader of graphs and of data: whatever a command takes as either.

    Args:
        place: a graph (.json, .graphml), a saved model (.npz), a data set (.npz, .h5, .hdf5), the folder of an image
            model, or the name of a family of images, with the options that it has by itself.
        seed: of what a family draws by itself, as ``hlvm sample`` does with it.

    Returns:
        A graph, a model, an image model, or a data set, which is to be closed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is nothing of this, or damaged.
    """
    if place in FAMILIES:
        import jax

        return image_model(place, jax.random.split(jax.random.key(seed))[0])
    path = as_path(place)
    if not path.suffix and not path.exists():
        raise ValueError(
            f"{place!r} is neither a family of images ({', '.join(FAMILIES)}) nor the name of a graph (.json, "
            ".graphml), data set or model (.npz)"
        )
    if path.is_dir() or path.suffix in (".npz", *HDF5):
        from hlvm.datasets.opening import open_data

        return open_data(path)
    return LatentGraph.load(path)


def load_graph(place: str, *, must_be_invertible: str = "") -> LatentGraph:
    """The graph that a place holds.

    Args:
        place: as for :func:`load_source`.
        must_be_invertible: if the mechanisms of a model have to be, what to do when they are not.
    """
    source = load_source(place)
    model = model_of(source)
    if must_be_invertible and model is not None and not model.invertible:
        raise ValueError(f"{place} has mechanisms that are not invertible: {must_be_invertible}")
    return graph_of(source, place)


def graph_of(source: Any, place: str) -> LatentGraph:
    """The graph of what was loaded; a data set is closed."""
    if hasattr(source, "close"):
        source.close()
    graph = source if isinstance(source, LatentGraph) else source.graph
    if graph is None:
        raise ValueError(f"{place} holds no graph: give a file that does, such as those that hlvm sample writes")
    return graph


def check_has_graph(source: Any, place: str) -> None:
    """Check that data says what can be masked; a data set that does not is closed."""
    if source.graph is None:
        source.close()
        raise ValueError(
            f"{place} has no graph, so nobody knows what can be masked: hlvm sample writes a graph with the data"
        )


def model_of(source: Any) -> HierarchicalModel | None:
    """The mechanisms of what was loaded; ``None`` where they are not known, or are no functions of latents."""
    found = getattr(source, "model", source)  # quadtree images have one
    return found if hasattr(found, "layout") else None


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
