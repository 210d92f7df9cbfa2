"""The command ``encode``: representations of a data set by saved autoencoders, in a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hlvm._files import as_path
from hlvm._files.arrays import write_npz
from hlvm.cli.compilation import use_compilation_cache
from hlvm.cli.input import (
    Flag,
    OptionalFile,
    OptionalNames,
    check_new_file,
    check_seed,
    load_source,
    masked_names,
)
from hlvm.cli.tables import print_table

if TYPE_CHECKING:
    import numpy as np

    from hlvm.mae import ArrayData, Fit

__all__ = ["encode"]

_FORMAT, _FORMAT_VERSION = "hlvm.codes", 1


def encode(
    fits: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FITS")],
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")],
    *,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    members: Annotated[tuple[int, ...], tyro.conf.arg(metavar="NUMBER ...", help_behavior_hint="")] = (),
    pooling: Literal["mean", "class", "tokens"] = "mean",
    masked: OptionalNames = None,
    mask_file: OptionalFile = None,
    as_trained: Flag = False,
    seed: int = 0,
    rows_at_once: int = 256,
) -> int:
    """Write the codes of saved autoencoders for a data set, as input of hlvm score.

    The new .npz file holds one array (n, dims) per autoencoder, with the names member_0, member_1, ... as in losses.csv
    of hlvm train. Rows are in the order of the data set. "about" describes the autoencoders. By default encoders see
    everything. A bottleneck that was trained with one fixed mask accepts only the part that this mask leaves visible:
    give --as-trained.

    Example: hlvm encode runs/first shapes.h5 --out codes.npz

    Args:
        fits: a folder that hlvm train or hlvm.mae.save_fits has written.
        data: a data set (.h5, .hdf5 or .npz, as hlvm sample writes it) with the graph of the training data.
        out: the file to write (.npz); it must not exist.
        members: numbers of the autoencoders to use, from 0; all if left out.
        pooling: for transformers: the mean over visible tokens, the class token, or all tokens side by side with the
            class token first. Other networks have one code.
        masked: names of observed variables that no encoder may see.
        mask_file: instead of --masked: a JSON list of these names, or the file of hlvm design --out.
        as_trained: draw one mask per row from the strategy that the autoencoder was trained with.
        seed: seed of these masks; autoencoders with the same strategy see the same masks.
        rows_at_once: rows to encode together, at least 1; fewer rows need less memory.
    """
    check_seed(seed)
    if rows_at_once < 1:
        raise ValueError(f"--rows-at-once must be at least 1, got {rows_at_once}")
    names = masked_names(masked, mask_file)
    if names and as_trained:
        raise ValueError("give a mask or --as-trained, not both")
    check_new_file(out, ".npz")
    source = load_source(data)
    if not hasattr(source, "close"):
        raise ValueError(f"{data} holds no rows to encode: hlvm sample {data} --n N --out FILE draws some")
    use_compilation_cache()
    from hlvm import mae
    from hlvm.mae.files import describe_fit
    from hlvm.mae.training.data import as_source

    try:
        found = mae.load_fits(_folder(fits))
        chosen = _chosen(members, len(found))
        rows = as_source(source, found[0].model.graph)
        how = "as trained" if as_trained else list(names)
        codes = {}
        for i in chosen:
            hidden = _masks(found[i], len(rows), seed) if as_trained else names or None
            codes[f"member_{i}"] = _codes(found[i], rows, hidden, pooling, rows_at_once)
    finally:
        source.close()
    about = {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "data": Path(data).name,
        "masked": how,
        "pooling": pooling,
        "seed": seed,
        "members": {f"member_{i}": describe_fit(found[i]) for i in chosen},
    }
    write_npz(out, codes, about)
    said = zip(codes, _in_words(about["members"]), strict=True)
    table = [(name, words, str(codes[name].shape[1])) for name, words in said]
    print_table(f"codes of {len(rows)} rows", ("array", "autoencoder", "dims"), table)
    print(f"wrote {len(codes)} array{'s' if len(codes) > 1 else ''} to {out}")
    graph = "" if source.graph is None else f" --graph {data}"
    print(f"to score one: hlvm score {out}::{next(iter(codes))} {data}{graph}")
    return 0


def _folder(fits: Path) -> Path:
    """The folder of the fits themselves."""
    folder = as_path(fits)
    inside = folder / "fits"
    return inside if not (folder / "fits.json").exists() and (inside / "fits.json").exists() else folder


def _chosen(members: tuple[int, ...], n: int) -> list[int]:
    wrong = next((i for i in members if not 0 <= i < n), None)
    if wrong is not None:
        raise ValueError(f"--members: expected numbers from 0 to {n - 1}, got {wrong}")
    return list(dict.fromkeys(members)) or list(range(n))


def _masks(fit: Fit, n: int, seed: int) -> np.ndarray:
    """One mask per row from the strategy of the training."""
    import jax
    import numpy as np

    return np.asarray(fit.mask.sample(jax.random.key(seed), n, fit.model.graph))


def _codes(fit: Fit, rows: ArrayData, hidden: Any, pooling: Any, at_once: int) -> np.ndarray:
    """Codes of all rows, (n, dims), a part at a time."""
    import numpy as np

    from hlvm import mae

    parts = []
    for begin in range(0, len(rows), at_once):
        places = np.arange(begin, min(begin + at_once, len(rows)))
        some = dataclasses.replace(rows, positions=places)
        part = mae.encode(fit, some, hidden[places] if isinstance(hidden, np.ndarray) else hidden, pooling=pooling)
        parts.append(np.asarray(part).reshape(len(places), -1))
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise ValueError(
            "these masks leave different numbers of tokens visible, so their tokens do not fit into one array: use "
            "--pooling mean or class"
        )
    return np.concatenate(parts)


def _in_words(members: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Network, mask and seed of each, with what tells them from the others."""
    from hlvm.study.arms import labels

    said: list[list[str]] = []
    for part in ("network", "mask"):
        each = [json.dumps(member[part], sort_keys=True) for member in members.values()]
        different = {text: json.loads(text) for text in each}
        names = dict(zip(different, labels(list(different.values())), strict=True))
        said.append([names[text] for text in each])
    seeds = [f"seed {member['seed']}" for member in members.values()]
    return [", ".join(words) for words in zip(*said, seeds, strict=True)]
