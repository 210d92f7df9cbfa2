"""The command ``sample``: data with known latents from graphs, models and image families."""

from __future__ import annotations

import math
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hlvm._files import atomic_folder, check_new_folder
from hlvm._process import stopped
from hlvm._process.memory import in_words
from hlvm.cli.compilation import use_compilation_cache
from hlvm.cli.families import FAMILIES, Mechanism, check_mechanism, image_model, mechanism_of
from hlvm.cli.input import (
    Flag,
    OptionalFile,
    check_folder_can_be_made,
    check_new_file,
    check_seed,
    graph_of,
    load_source,
)
from hlvm.graph import LatentGraph

__all__ = ["sample"]

_SHEET = 64
_Whole = Annotated[int | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")]
_Number = Annotated[float | None, tyro.conf.arg(metavar="NUMBER", help_behavior_hint="")]


def sample(
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")],
    *,
    n: int,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    seed: int = 0,
    size: _Whole = None,
    objects: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="ROWS COLUMNS", help_behavior_hint="")] = None,
    classes: _Whole = None,
    symbols: _Whole = None,
    synonyms: _Whole = None,
    levels: _Whole = None,
    strips: Flag = False,
    zipf: _Number = None,
    leaf_noise: _Number = None,
    filtered_at: _Whole = None,
    mechanism: Mechanism = None,
    save_model: OptionalFile = None,
    preview: OptionalFile = None,
    image_type: Literal["float32", "uint8"] = "float32",
    chunk_size: int = 1024,
    resume: Flag = False,
) -> int:
    """Draw samples, with all their latents, into a .npz or .h5 file.

    The file holds the images, or one array (n, dim) per observed variable and noise. It also holds one array per
    latent, and the graph; see hlvm.datasets.write_dataset. --resume continues an interrupted run.

    Example: hlvm sample shapes --n 1000 --size 32 --out shapes.h5 --preview sheet.png

    Example: hlvm sample graph.json --n 1000 --out samples.npz --save-model model.npz

    Args:
        source: a family of images (quadtree, shapes or grammar), a saved model (.npz, or the folder of an image model),
            a graph (.json, .graphml), or a data set with a graph inside (.npz, .h5, .hdf5). For a graph or data set,
            mechanisms are drawn at random.
        n: number of samples, at least 1.
        out: the file to write (.npz, .h5 or .hdf5); it must not exist.
        seed: seed of all random numbers, including those of mechanisms and grammar rules.
        size: quadtree, shapes: pixels along each side; 32 if left out. Quadtree: 8, 16, 32 or 64.
        objects: shapes: rows and columns of objects; 1 1 if left out.
        classes: shapes, grammar: number of classes; 8 if left out.
        symbols: grammar: number of symbols; 8 if left out.
        synonyms: grammar: rules of each symbol; 4 if left out.
        levels: grammar: levels of rules; 3 if left out.
        strips: grammar: write strips with two symbols per rule, instead of squares with four.
        zipf: grammar: the k-th rule of each symbol has probability proportional to k^(-zipf); all rules are equally
            likely if left out.
        leaf_noise: grammar: probability that a cell is replaced by a random symbol; 0 if left out.
        filtered_at: grammar: a level, 0 for the cells. Its symbols become independent given the class. No filter if
            left out.
        mechanism: graphs: kind of the structural functions; invertible-mlp if left out.
        save_model: also write the model: to a new .npz file, or an image model to a new folder.
        preview: images: also write a contact sheet of the first images to this new .png file.
        image_type: number type of the images. uint8 needs a quarter of the space and rounds to 256 levels.
        chunk_size: samples to draw and keep in memory at once.
        resume: continue an interrupted run of the same command.
    """
    check_mechanism(mechanism)
    for option, number in (("--n", n), ("--chunk-size", chunk_size)):
        if number < 1:
            raise ValueError(f"{option} must be at least 1, got {number}")
    check_seed(seed)
    options = {"size": size, "objects": objects, "classes": classes, "symbols": symbols, "synonyms": synonyms}
    options |= {"levels": levels, "strips": strips or None}
    options |= {"zipf": zipf, "leaf_noise": leaf_noise, "filtered_at": filtered_at}
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(source, given, mechanism)
    check_new_file(out, ".npz", ".h5", ".hdf5")
    if preview is not None:
        check_new_file(preview, ".png")
    if save_model is not None and save_model.resolve() == out.resolve():
        raise ValueError("--out and --save-model name the same file")
    loaded = None if source in FAMILIES else _loaded(source, mechanism)
    of_images = loaded is None or hasattr(loaded, "shape")
    if preview is not None and not of_images:
        raise ValueError(f"--preview goes with images, and {source} has none: leave it out")
    if save_model is not None and of_images:
        check_new_folder(save_model)
        check_folder_can_be_made(save_model)
    elif save_model is not None:
        check_new_file(save_model, ".npz")
    import jax

    from hlvm.datasets import write_dataset
    from hlvm.datasets.writing import partial_folder

    use_compilation_cache()
    key_model, key_draws = jax.random.split(jax.random.key(seed))
    model: Any = image_model(source, key_model, given) if loaded is None else _drawn_model(key_model, loaded, mechanism)
    _check_room(out, n, model, image_type)
    if save_model is not None:
        _save_model(model, save_model)
    note = {"command": "hlvm sample", "source": Path(source).name, "seed": seed, **given}
    try:
        with _progress() as bar:
            task = bar.add_task("samples", total=n)
            write_dataset(
                out,
                model,
                n,
                key=key_draws,
                chunk_size=chunk_size,
                image_type=image_type,
                resume=resume,
                progress=lambda done, _: bar.update(task, completed=done),
                note=note,
            )
    except KeyboardInterrupt as stop:
        if not partial_folder(out).exists():
            raise
        return stopped(stop, f"finished samples are kept in {partial_folder(out)}: resume with --resume, or remove it")
    except OSError as error:
        if partial_folder(out).exists():
            error.add_note(f"finished samples are kept in {partial_folder(out)}: resume with --resume, or remove it")
        raise
    if preview is not None:
        _write_preview(preview, out)
    print(f"wrote {n} samples of {len(model.graph.nodes)} variables to {out}")
    return 0


# ---------------------------------------------------------------------- checks


def _check_options(source: str, given: Mapping[str, Any], mechanism: str | None) -> None:
    """Refuse options that this source has no use for."""
    if source not in FAMILIES:
        if given:
            raise ValueError(
                f"{_option(next(iter(given)))} goes with a family of images ({', '.join(FAMILIES)}): leave it out"
            )
        return
    for name in given:
        if name not in FAMILIES[source]:
            fits = [family for family, names in FAMILIES.items() if name in names]
            raise ValueError(f"{_option(name)} goes with {' and '.join(fits)}, not with {source}: leave it out")
    if mechanism is not None:
        raise ValueError(f"--mechanism goes with graphs, not with {source}: leave it out")


def _option(name: str) -> str:
    """The option of an argument."""
    return f"--{name.replace('_', '-')}"


def _check_room(out: Path, n: int, model: Any, image_type: str) -> None:
    """The chunks and the finished file are on the disk together for a moment, and that file may be too large as one."""
    graph = model.graph
    noises = sum(graph.noise_dims)
    if hasattr(model, "shape"):
        pixels = math.prod(model.shape) * (1 if image_type == "uint8" else 4)
        width = pixels + 4 * (sum(graph.dims[: graph.n_latents]) + noises)
    else:
        width = 4 * 2 * sum(graph.dims)
    folder = out.absolute().parent
    free = shutil.disk_usage(folder).free
    if 2 * n * width > free:
        raise ValueError(
            f"{n} samples take about {in_words(2 * n * width)} while they are written, and {in_words(free)} are "
            f"free in {folder}: take a smaller --n, or another folder"
        )
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and n * width > most:
        raise ValueError(
            f"{n} samples take about {in_words(n * width)}, and a file of this process may have {in_words(most)} "
            "(ulimit -f): take a smaller --n, or a higher limit"
        )


# ---------------------------------------------------------------------- sources


def _loaded(place: str, mechanism: str | None) -> Any:
    """A graph, a model or an image model."""
    found = load_source(place)
    if isinstance(found, LatentGraph) or hasattr(found, "close"):
        return graph_of(found, place)
    if mechanism is not None:
        raise ValueError(f"{place} is a model, which has its mechanisms already: leave --mechanism out")
    return found


def _drawn_model(key: Any, source: Any, mechanism: str | None) -> Any:
    if not isinstance(source, LatentGraph):
        return source
    from hlvm.simulator import HierarchicalModel

    return HierarchicalModel.init(key, source, mechanism_of(mechanism))


# ---------------------------------------------------------------------- output


def _save_model(model: Any, path: Path) -> None:
    from hlvm.images.files import can_be_saved, save_image_model

    if not can_be_saved(model):
        model.save(path)
        return
    with atomic_folder(path) as temporary:
        save_image_model(model, temporary)


def _progress() -> Progress:
    """A bar on the terminal; nothing in a log file."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _write_preview(path: Path, data: Path) -> None:
    from hlvm.datasets import load_dataset
    from hlvm.images import contact_sheet, save_png

    with load_dataset(data) as written:
        images = written.rows(slice(0, _SHEET))["images"]
    if images.dtype == "uint8":
        images = images / 255
    if images.shape[3] not in (1, 3):
        raise ValueError(f"a contact sheet needs images with 1 or 3 channels, these have {images.shape[3]}")
    save_png(path, contact_sheet(images))
