"""The command ``hlvm score``: two files of numbers, a table of scores and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from hlvm import _records as records
from hlvm._cli_arrays import load_columns, load_named_arrays
from hlvm._cli_input import OptionalFile, OptionalNames, check_new_file, check_seed, load_graph
from hlvm._files import write_text_atomically

if TYPE_CHECKING:
    import numpy as np

    from hlvm.graph import LatentGraph
    from hlvm.scoring import RegressionConfig

__all__ = ["score"]

_MAX_TRAIN = 100_000
"""Rows that train the regressions, by a Nyström approximation beyond ``RegressionConfig.max_exact``."""


def score(
    z_hat: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="Z_HAT")],
    z: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="Z")],
    *,
    graph: OptionalFile = None,
    masked: OptionalNames = None,
    seed: int = 0,
    threshold: float = 0.9,
    max_train: int = _MAX_TRAIN,
    out: OptionalFile = None,
) -> int:
    """How much of the latents Z a representation Z_HAT holds, and whether it identifies them.

    Files are .npy, .npz, .csv, .parquet or HDF5 (.h5, .hdf5) with one row per sample; FILE::NAME,NAME takes arrays or
    columns of a file by name. The exit code is 0 whatever the verdict is; it speaks of whether the scores could be
    computed.

    Example: hlvm score z_hat.npy z.npy

    Example: hlvm score z_hat.npy samples.npz --graph graph.json --masked x_0

    Args:
        z_hat: the representation.
        z: the true latents, same rows. With --graph a file with one array or column per latent, such as hlvm sample
            writes.
        graph: also score every latent on its own, in the order of its height in this graph (.json, .graphml).
        masked: with --graph: names of the masked observed variables. The verdict is then about the latents that this
            mask lets be identified, and the table says which these are.
        seed: seed of the split, the bootstrap and the permutations.
        threshold: R² that both directions must reach, strictly between 0 and 1.
        max_train: most rows that train the regressions.
        out: also write the result to this new .json file.
    """
    check_seed(seed)
    if out is not None:
        check_new_file(out, ".json")
    if masked and graph is None:
        raise ValueError("--masked needs --graph: give the graph that the masked variables belong to")
    from hlvm import scoring
    from hlvm.scoring.inputs import paired_matrices

    config = scoring.RegressionConfig(max_train=max_train)
    about: list[records.Record] = []
    judged: Sequence[str] = ()
    if graph is None:
        content: Any = load_columns(z)
        code, latents = paired_matrices(z_hat, load_columns(z_hat), z, content)
    else:
        known = load_graph(graph)
        named = _latents_of(z, known)
        members, judged = _judged(known, masked, named)
        import numpy as np

        stacked = np.column_stack([named[name] for name in judged])
        code, latents = paired_matrices(z_hat, load_columns(z_hat), f"{z} ({', '.join(judged)})", stacked)
        about = _by_latent(code, named, known, members, seed, config)
    verdict = scoring.block_verdict(code, latents, key=seed, threshold=threshold, config=config)
    pairs = zip(verdict.directions, ((code, latents), (latents, code)), strict=True)
    record = records.score_record(
        verdict,
        linear={direction: scoring.linear_r2(*pair, key=seed, config=config) for direction, pair in pairs},
        canonical=scoring.cca(code, latents, key=seed),
        chance=scoring.permutation_null(code, latents, key=seed),
    )
    if about:
        record["judged"] = list(judged)
        record["latents"] = about
    if out is not None:
        write_text_atomically(out, records.to_json(record) + "\n")
    if about:
        _print_latents(about)
        print(f"judged below: {', '.join(judged)}")
    records.print_score(record)
    return 0


def _latents_of(place: str, graph: LatentGraph) -> dict[str, np.ndarray]:
    """The arrays of a file that are latents of the graph, with or without the folder that hlvm sample gives them."""
    path = Path(place)
    arrays = {name.removeprefix("latents/"): array for name, array in load_named_arrays(path).items()}
    named = {name: arrays[name] for name in graph.latents if name in arrays}
    if not named:
        raise ValueError(f"{path} has no latent of the graph: it has {', '.join(arrays)}, the graph {graph.latents}")
    return named


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
    graph: LatentGraph,
    members: frozenset[str] | None,
    seed: int,
    config: RegressionConfig,
) -> list[records.Record]:
    from hlvm.scoring import score_by_height

    table = score_by_height(
        {"z_hat": code},
        named,
        heights=dict(zip(graph.nodes, graph.heights, strict=True)),
        predicted=None if members is None else {name: name in members for name in named},
        key=seed,
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
    records.print_table(
        "every latent on its own",
        ("latent", "height", *theory, "kernel R²", "linear R²", "canonical correlation", "chance"),
        lines,
    )
