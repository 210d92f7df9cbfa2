"""The command ``hlvm score``: two files of numbers, a table of scores and a verdict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from hlvm._files import write_text_atomically
from hlvm._process import complain
from hlvm.cli import tables as records
from hlvm.cli.arrays import columns_of, load_named_arrays, side_by_side
from hlvm.cli.input import OptionalFile, OptionalNames, OptionalSource, check_new_file, check_seed, load_graph

if TYPE_CHECKING:
    import numpy as np

    from hlvm.cli.csv_tables import CsvFormat
    from hlvm.graph import LatentGraph
    from hlvm.scoring import RegressionConfig

__all__ = ["score"]

_LATENTS, _NOISE = "latents/", "noise/"
"""Prefixes that hlvm sample writes before the name of a latent."""

_MAX_TRAIN = 100_000
"""Rows that train the regressions, by a Nyström approximation beyond ``RegressionConfig.max_exact``."""


def score(
    z_hat: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="Z_HAT")],
    z: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="Z")],
    *,
    graph: OptionalSource = None,
    masked: OptionalNames = None,
    groups: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None,
    seed: int = 0,
    threshold: float = 0.9,
    max_train: int = _MAX_TRAIN,
    delimiter: Annotated[str | None, tyro.conf.arg(metavar="CHARACTER|tab|space", help_behavior_hint="")] = None,
    decimal: Annotated[Literal[".", ","] | None, tyro.conf.arg(metavar=".|,", help_behavior_hint="")] = None,
    header: Annotated[Literal["yes", "no"] | None, tyro.conf.arg(metavar="yes|no", help_behavior_hint="")] = None,
    out: OptionalFile = None,
) -> int:
    """Score how much of the latents Z a representation Z_HAT holds, and judge whether it identifies them.

    Files are .npy, .npz, .csv, .parquet or HDF5 (.h5, .hdf5), with one row per sample. FILE::NAME,NAME selects arrays
    or columns of a file by name; put a name that contains a comma in double quotes. Exit code 0 means that the scores
    were computed, whatever the verdict.

    Example: hlvm score z_hat.npy z.npy

    Example: hlvm score z_hat.npy samples.npz --graph graph.json --masked x_0_0

    Args:
        z_hat: the representation.
        z: the true latents, in the same rows. With --graph: a file with one array or column per latent, such as the
            file of hlvm sample.
        graph: also score every latent separately, in the order of its height in this graph (.json, .graphml, a data set
            or a saved model with a graph inside, or a family of images).
        masked: with --graph: names of the masked observed variables. The verdict is then about the latents that this
            mask makes identifiable, and the table marks them.
        groups: a file with one number per row, or FILE::NAME. Rows with the same number belong together, such as a
            sequence or views of one scene. They are never on both sides of the split. Without it only copies are kept
            together.
        seed: seed of the split, the bootstrap and the permutations.
        threshold: R² that both directions must reach, strictly between 0 and 1.
        max_train: most rows for training the regressions.
        delimiter: separator of the cells in .csv files, if the text leaves it open.
        decimal: decimal mark in .csv files, if the text leaves it open.
        header: whether the first line of .csv files holds names, if the text leaves it open.
        out: also write the result to this new .json file.
    """
    check_seed(seed)
    if out is not None:
        check_new_file(out, ".json")
    if masked and graph is None:
        raise ValueError("--masked needs --graph: give the graph that the masked variables belong to")
    tables = _csv_format((z_hat, z) if groups is None else (z_hat, z, groups), delimiter, decimal, header)
    from hlvm import scoring
    from hlvm.scoring.inputs import paired_matrices

    config = scoring.RegressionConfig(max_train=max_train)
    about: list[records.Record] = []
    judged: Sequence[str] = ()
    representation = columns_of(z_hat, tables)
    labels = None if groups is None else _labels(groups, tables)
    known = None if graph is None else load_graph(graph)
    if known is None:
        truth = columns_of(z, tables)
        code, latents = paired_matrices(z_hat, representation.values, z, truth.values)
        said = truth.about
        _check_varies(z, latents)
        together = _together(code, latents, labels)
    else:
        named, said, noises = _latents_of(z, known, tables)
        members, judged = _judged(known, masked, named)
        stacked = side_by_side(Path(z), {name: named[name] for name in judged})
        code, latents = paired_matrices(z_hat, representation.values, f"{z} ({', '.join(judged)})", stacked)
        _check_varies(z, latents)
        together = _together(code, latents, labels)
        about = _by_latent(code, named, noises, known, members, seed, together, config)
    verdict = scoring.block_verdict(code, latents, key=seed, threshold=threshold, groups=together, config=config)
    pairs = zip(verdict.directions, ((code, latents), (latents, code)), strict=True)
    how: dict[str, Any] = {"key": seed, "groups": together}
    record = records.score_record(
        verdict,
        linear={direction: scoring.linear_r2(*pair, config=config, **how) for direction, pair in pairs},
        canonical=scoring.cca(code, latents, **how),
        chance=scoring.permutation_null(code, latents, **how),
    )
    if about:
        record["judged"] = list(judged)
        record["latents"] = about
    if out is not None:
        write_text_atomically(out, records.to_json(record) + "\n")
    for line in (*representation.about, *said):
        print(line)
    if about:
        _print_latents(about)
        print(f"judged below: {', '.join(judged)}")
    records.print_score(record)
    return 0


def _csv_format(
    places: Sequence[str], delimiter: str | None, decimal: str | None, header: Literal["yes", "no"] | None
) -> CsvFormat:
    from hlvm.cli.csv_tables import CsvFormat

    given = {"--delimiter": delimiter, "--decimal": decimal, "--header": header}
    option = next((option for option, value in given.items() if value is not None), None)
    if option is not None and not any(place.partition("::")[0].endswith(".csv") for place in places):
        raise ValueError(f"{option} is for .csv files only: leave it out for {' and '.join(places)}")
    words = {"tab": "\t", "\\t": "\t", "space": " "}
    return CsvFormat(
        delimiter=None if delimiter is None else words.get(delimiter, delimiter),
        decimal=decimal,
        header=None if header is None else header == "yes",
    )


def _labels(place: str, tables: CsvFormat) -> np.ndarray:
    """One label per row."""
    found = columns_of(place, tables).values
    if found.ndim > 1 and found.shape[1] != 1:
        raise ValueError(f"{place}: groups must be one column, got {found.shape[1]}: name one, as in FILE::NAME")
    return found.reshape(-1)


def _together(code: np.ndarray, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Find which rows belong together, found once for all scores; what is to be said of it is one line each."""
    from hlvm.scoring.row_groups import own_labels, row_groups

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = own_labels(row_groups(code, latents, labels), len(code))
    for warning in told:
        complain(f"note: {warning.message}")
    return found


def _check_varies(place: str, latents: np.ndarray) -> None:
    if (latents == latents[0]).all():
        raise ValueError(f"{place}: expected at least one column that varies, got constants only")


def _latents_of(
    place: str, graph: LatentGraph, tables: CsvFormat
) -> tuple[dict[str, np.ndarray], list[str], dict[str, np.ndarray]]:
    """The arrays of a file that are latents of the graph, as data sets name them or without "latents/"; what is not.

    Also the noises of these latents, where the file has those of all of them.
    """
    arrays, left_out, about = load_named_arrays(place, tables)
    noises = {name: arrays[_NOISE + name] for name in graph.latents if _NOISE + name in arrays}
    if any(name.startswith(_LATENTS) for name in (*arrays, *left_out)):
        arrays = {name.removeprefix(_LATENTS): array for name, array in arrays.items() if name.startswith(_LATENTS)}
    named = {name: arrays[name] for name in graph.latents if name in arrays}
    if not named:
        raise ValueError(f"{place} has no latent of the graph: it has {', '.join(arrays)}, the graph {graph.latents}")
    unfit = next((name for name in graph.latents if name in left_out or _LATENTS + name in left_out), None)
    if unfit is not None:
        raise ValueError(f"{place}: {unfit} holds no numbers: {left_out.get(unfit, left_out.get(_LATENTS + unfit))}")
    said = [about] if about else []
    missing = [name for name in graph.latents if name not in named]
    if missing:
        said.append(f"{place}: not scored, since it has no {', '.join(missing)}")
    unknown = [name for name in arrays if name not in named]
    if unknown:
        said.append(f"{place}: not scored, since the graph has no latent {', '.join(unknown)}")
    return named, said, {name: noises[name] for name in named} if set(named) <= set(noises) else {}


def _judged(
    graph: LatentGraph, masked: tuple[str, ...] | None, named: dict[str, np.ndarray]
) -> tuple[frozenset[str] | None, Sequence[str]]:
    """Members of the shared information, if a mask was given, and the latents that the verdict is about."""
    if not masked:
        return None, list(named)
    from hlvm.theory import shared_information

    shared = shared_information(graph, masked)
    frontier = [name for name in graph.latents if name in shared.frontier]
    missing = [name for name in frontier if name not in named]
    if missing or not frontier:
        raise ValueError(
            f"the file has no {', '.join(missing)}, which this mask identifies"
            if missing
            else "this mask identifies nothing: mask other variables"
        )
    return shared.members, frontier


def _by_latent(
    code: np.ndarray,
    named: dict[str, np.ndarray],
    noises: dict[str, np.ndarray],
    graph: LatentGraph,
    members: frozenset[str] | None,
    seed: int,
    together: np.ndarray,
    config: RegressionConfig,
) -> list[records.Record]:
    from hlvm.scoring import score_by_height

    table = score_by_height(
        {"z_hat": code},
        noises or named,
        of="noise" if noises else "value",
        heights=dict(zip(graph.nodes, graph.heights, strict=True)),
        predicted=None if members is None else {name: name in members for name in named},
        key=seed,
        groups=together,
        config=config,
    )
    return table.drop(columns="fit").to_dict("records")


def _print_latents(about: Sequence[records.Record]) -> None:
    """One line per latent: its scores, and the kernel R² by chance."""
    by_latent: dict[str, dict[tuple[str, str], records.Record]] = {}
    for row in about:
        by_latent.setdefault(row["latent"], {})[row["score"], row["control"]] = row
    lines = []
    for name, of in by_latent.items():
        r2 = of["kernel_r2", "none"]
        predicted = [] if "predicted" not in r2 else ["in c" if r2["predicted"] else "outside c"]
        lines.append(
            [
                name,
                str(r2["height"]),
                *predicted,
                f"{records.share(r2['value'])} [{records.share(r2['low'])}, {records.share(r2['high'])}]",
                records.share(of["linear_r2", "none"]["value"]),
                records.share(of["cca", "none"]["value"]),
                records.share(of["kernel_r2", "chance"]["value"]),
            ]
        )
    lines.sort(key=lambda line: -int(line[1]))
    theory = ["predicted"] if "predicted" in about[0] else []
    what = {
        "noise": "what enters at every latent, its noise",
        "value": "the value of every latent, which holds its ancestors; a file with its noises is scored by these",
    }
    records.print_table(
        what[about[0]["of"]],
        ("latent", "height", *theory, "kernel R²", "linear R²", "canonical correlation", "chance"),
        lines,
    )
