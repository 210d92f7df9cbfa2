"""Results as the command line gives them: a JSON-ready record of each kind, and its table for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm.scoring import CCA, BlockVerdict, KernelR2, PermutationNull
    from hlvm.theory import LevelProfile, SharedInformation

__all__ = [
    "print_profile",
    "print_score",
    "print_shared_information",
    "profile_record",
    "score_record",
    "shared_information_record",
    "to_json",
]

Record = dict[str, Any]


def to_json(record: Record) -> str:
    """JSON text of a record; it knows no NaN, so an undefined number becomes null."""
    return json.dumps(_without_nan(record), indent=1, ensure_ascii=False, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------- theory


def shared_information_record(graph: LatentGraph, found: SharedInformation) -> Record:
    """Shared information under one mask; names in the order of ``graph.latents``."""
    return {
        "regime": found.regime,
        "members": [name for name in graph.latents if name in found.members],
        "frontier": [name for name in graph.latents if name in found.frontier],
        "dim": found.dim,
        "unique": found.unique,
        "nearest_masked": [name for name in graph.latents if name in found.near_masked],
        "nearest_visible": [name for name in graph.latents if name in found.near_visible],
    }


def print_shared_information(record: Record) -> None:
    """Print what :func:`shared_information_record` made."""
    _print_table(
        f"shared information, {record['regime']} regime",
        ("", ""),
        [
            ("members", _listed(record["members"])),
            ("frontier", _listed(record["frontier"])),
            ("dim", str(record["dim"])),
            ("unique", "yes" if record["unique"] else "no"),
            *(
                (title, _listed(record[field]))
                for title, field in (("nearest masked", "nearest_masked"), ("nearest visible", "nearest_visible"))
                if not record["unique"]
            ),
        ],
    )


def profile_record(graph: LatentGraph, probability: Mapping[str, float], profile: LevelProfile) -> Record:
    """Membership probabilities, and the profile of its first ratio from the highest level down."""
    columns = (profile.heights, profile.n_latents, profile.share[0], profile.count[0], profile.dim[0])
    levels = [
        dict(zip(("height", "latents", "share", "number", "dim"), row, strict=True))
        for row in zip(*(column.tolist()[::-1] for column in columns), strict=True)
    ]
    latents = [{"latent": name, "height": graph.height(name), "probability": p} for name, p in probability.items()]
    return {
        "ratio": float(profile.ratios[0]),
        "membership": latents,
        "levels": levels,
        "total_dim": float(profile.total_dim[0]),
    }


def print_profile(record: Record) -> None:
    """Print what :func:`profile_record` made."""
    _print_table(
        f"probability of being in the shared information c, ratio {record['ratio']:g}",
        ("latent", "height", "probability"),
        [(row["latent"], str(row["height"]), _number(row["probability"], 4)) for row in record["membership"]],
    )
    _print_table(
        f"expected make-up of c by height: {_number(record['total_dim'], 2)} dims in all",
        ("height", "latents", "share in c", "number in c", "dims"),
        [
            (
                str(row["height"]),
                str(row["latents"]),
                _number(row["share"], 4),
                _number(row["number"], 2),
                _number(row["dim"], 2),
            )
            for row in record["levels"]
        ],
    )


# ---------------------------------------------------------------------- scores


def score_record(
    verdict: BlockVerdict, *, linear: Mapping[str, KernelR2], canonical: CCA, chance: PermutationNull
) -> Record:
    """A verdict with the scores beside it."""
    return {
        "kernel_r2": {direction: _r2_record(score) for direction, score in verdict.directions.items()},
        "linear_r2": {direction: _r2_record(score) for direction, score in linear.items()},
        "cca": {"value": canonical.mean, "low": canonical.low, "high": canonical.high},
        "chance": {"mean": chance.chance, "upper": chance.upper, "p_value": chance.p_value},
        "level": verdict.forward.level,
        "n_train": verdict.forward.n_train,
        "n_test": verdict.forward.n_test,
        "threshold": verdict.threshold,
        "verdict": str(verdict.verdict),
        "reason": verdict.reason,
    }


def _r2_record(score: KernelR2) -> Record:
    return {"value": score.value, "low": score.low, "high": score.high, "per_dim": score.per_dim.tolist()}


def print_score(record: Record) -> None:
    """Print what :func:`score_record` made."""
    chance = record["chance"]
    _print_table(
        f"{record['n_train']} training and {record['n_test']} test rows; ẑ: representation, c: latents",
        ("score", "direction", "value", f"{record['level']:.0%} interval"),
        [
            *(
                (title, direction, _number(score["value"]), f"[{_number(score['low'])}, {_number(score['high'])}]")
                for title, name in (("kernel R²", "kernel_r2"), ("linear R²", "linear_r2"))
                for direction, score in record[name].items()
            ),
            (
                "mean canonical correlation",
                "",
                _number(record["cca"]["value"]),
                f"[{_number(record['cca']['low'])}, {_number(record['cca']['high'])}]",
            ),
            (
                "kernel R² of shuffled latents (chance)",
                next(iter(record["kernel_r2"])),
                _number(chance["mean"]),
                f"95% below {_number(chance['upper'])}; p = {chance['p_value']:.3g}",
            ),
        ],
    )
    print(f"{record['verdict']}: {record['reason']}")


# ---------------------------------------------------------------------- tables


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)}: {', '.join(names)}" if names else "none"


def _number(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Cells are plain text: names with brackets must not be taken for markup."""
    table = Table(show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    print(title)
    Console().print(table)
