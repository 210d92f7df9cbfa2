"""Answers of the theory commands: a JSON-ready record of each kind, and its tables for people."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from hlvm.cli.tables import Record, encoded, listed, number, print_table, share
from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm.theory import (
        AssumptionReport,
        DesignedMask,
        GaussianOracle,
        Impossible,
        LevelProfile,
        SharedInformation,
        StrategyMatch,
    )

__all__ = [
    "Record",
    "design_record",
    "mask_record",
    "oracle_record",
    "print_design",
    "print_mask",
    "print_profiles",
    "print_report",
    "profiles_record",
    "report_record",
]

_WIDEST_MAP, _TALLEST_MAP = 64, 32
_WIDEST_TEXT = 100
_RATIOS_SIDE_BY_SIDE = 5
_SMALLEST_SHOWN = 1e-4
_OF_MATCH = ("probability", "standard_error", "upper_bound", "log_probability", "exact", "contained", "contained_error")
_OF_MATCH += ("missing", "missing_error", "extra", "extra_error", "never", "always", "n_masks")
_ROUNDING = 1e-10
"""Correlations and R² up to this are 0; the rank of :class:`~hlvm.theory.GaussianOracle` counts those above it."""

# ---------------------------------------------------------------------- one mask


def mask_record(graph: LatentGraph, found: SharedInformation, targets: Mapping[str, frozenset[str]]) -> Record:
    """Shared information under one mask, and per masked variable; names in the order of the graph."""
    record: Record = encoded(found, "regime", "members", "frontier", "dim", "unique", position=graph.position)
    nearest = {"nearest_masked": found.near_masked, "nearest_visible": found.near_visible, "targets": targets}
    return record | encoded(nearest, position=graph.position)


def oracle_record(oracle: GaussianOracle, masked: Collection[str]) -> Record:
    """Answers of the linear-Gaussian oracle for one mask."""
    loss = oracle.bayes_loss(masked)
    record: Record = {
        "bayes_loss": loss.mean,
        "bayes_loss_relative": loss.relative,
        "latent_r2": oracle.latent_r2(masked),
        "trek_dim": oracle.trek_separating_set(masked).dim,
        "canonical_correlations": None,
        "rank": None,
    }
    try:
        correlations = oracle.canonical_correlations(masked)
    except ValueError as error:  # they need dense matrices of limited size, the rest does not on trees
        record["left_out"] = str(error)
    else:
        record["canonical_correlations"] = correlations.tolist()
        record["rank"] = int((correlations > _ROUNDING).sum())
    return record


def print_mask(record: Record) -> None:
    """Print what :func:`mask_record` made, and :func:`oracle_record` added."""
    print_table(
        f"shared information, {record['regime']} regime",
        ("", ""),
        [
            ("members", listed(record["members"])),
            ("frontier", listed(record["frontier"])),
            ("dim", str(record["dim"])),
            ("unique", "yes" if record["unique"] else "no"),
            *(
                (title, listed(record[field]))
                for title, field in (("nearest masked", "nearest_masked"), ("nearest visible", "nearest_visible"))
                if not record["unique"]
            ),
        ],
    )
    by_lowest: dict[tuple[str, ...], list[str]] = {}
    for target, lowest in record["targets"].items():
        by_lowest.setdefault(tuple(lowest), []).append(target)
    words = "lowest latents" if record["regime"] == "invertible" else "least separator, nearest the visible part"
    print_table(
        "what each masked variable shares with the visible part",
        ("masked", words),
        [(listed(targets, 8), listed(lowest, 8)) for lowest, targets in by_lowest.items()],
    )
    if "oracle" in record:
        _print_oracle(record["oracle"])


def _print_oracle(record: Record) -> None:
    rows = [
        ("least mean squared error", f"{record['bayes_loss']:.4g}"),
        ("in units of the variance", share(record["bayes_loss_relative"], 4)),
        ("rank that the graph implies", str(record["trek_dim"])),
    ]
    if record["canonical_correlations"] is None:
        rows.append(("canonical correlations", f"left out: {record['left_out']}"))
    else:
        correlations = [_strength(value) for value in record["canonical_correlations"]]
        rows += [("canonical correlations", listed(correlations, 12)), ("rank: those above 0", str(record["rank"]))]
    print_table("linear-Gaussian oracle: the best that any autoencoder can reach", ("", ""), rows)
    print_table(
        "how much of each latent the visible part holds",
        ("latent", "R²"),
        [(latent, _strength(value, 4)) for latent, value in record["latent_r2"].items()],
    )


def _strength(value: float, digits: int = 3) -> str:
    """A correlation or an R²; what rounding leaves of 0 is 0."""
    return share(0.0 if value <= _ROUNDING else value, digits)


# ---------------------------------------------------------------------- random masks


def profiles_record(
    graph: LatentGraph, profile: LevelProfile, ratios: Sequence[float], members: Sequence[Mapping[str, float]]
) -> Record:
    """Level profile at each ratio, from the highest level down, and membership where it is exact."""
    rows = []
    for row, ratio in enumerate(ratios):
        columns = {
            "height": profile.heights,
            "latents": profile.n_latents,
            "share": profile.share[row],
            "standard_error": profile.standard_error[row],
            "frontier_share": profile.frontier_share[row],
            "frontier_standard_error": profile.frontier_standard_error[row],
            "number": profile.count[row],
            "dim": profile.dim[row],
            "dim_standard_error": profile.dim_standard_error[row],
        }
        by_height = zip(*(column.tolist()[::-1] for column in columns.values()), strict=True)
        rows.append(
            {
                "ratio": ratio,
                "levels": [dict(zip(columns, values, strict=True)) for values in by_height],
                "total_dim": float(profile.total_dim[row]),
                "total_dim_standard_error": float(profile.total_dim_standard_error[row]),
                "mean_height": float(profile.mean_height[row]),
            }
        )
    for entry, probability in zip(rows, members, strict=False):
        entry["membership"] = [
            {"latent": name, "height": graph.height(name), "probability": p} for name, p in probability.items()
        ]
    return {"regime": profile.regime, "n_masks": profile.n_masks, "profiles": rows}


def print_profiles(record: Record) -> None:
    """Print what :func:`profiles_record` made."""
    profiles, strategy = record["profiles"], record["strategy"]
    drawn = f"; means ± standard errors over {record['n_masks']} masks" if record["n_masks"] else ""
    print(f"{strategy} masks, {record['regime']} regime{drawn}")
    for begin in range(0, len(profiles), _RATIOS_SIDE_BY_SIDE):
        some = [entry for entry in profiles[begin : begin + _RATIOS_SIDE_BY_SIDE] if "membership" in entry]
        if some:
            print_table(
                "probability of being in the shared information c",
                ("latent", "height", *(f"ratio {entry['ratio']:g}" for entry in some)),
                [
                    (rows[0]["latent"], str(rows[0]["height"]), *(share(row["probability"], 4) for row in rows))
                    for rows in zip(*(entry["membership"] for entry in some), strict=True)
                ],
            )
    for entry in profiles:
        total = number(entry["total_dim"], 2, error=entry["total_dim_standard_error"])
        print_table(
            f"ratio {entry['ratio']:g}: expected make-up of c by height, {total} dims in all",
            ("height", "latents", "share in c", "in frontier", "number", "dims"),
            [
                (
                    str(row["height"]),
                    str(row["latents"]),
                    share(row["share"], error=row["standard_error"]),
                    share(row["frontier_share"], error=row["frontier_standard_error"]),
                    number(row["number"], 2),
                    number(row["dim"], 2, error=row["dim_standard_error"]),
                )
                for row in entry["levels"]
            ],
        )


# ---------------------------------------------------------------------- design


def design_record(
    graph: LatentGraph,
    target: Collection[str],
    found: DesignedMask | Impossible,
    matches: Sequence[StrategyMatch] | None,
) -> Record:
    """A mask or the proof that there is none, and the ranked strategies if they were asked for."""
    from hlvm.theory import DesignedMask

    possible = isinstance(found, DesignedMask)
    wanted = ("masked", "dim") if possible else ("reason", "latent", "wanted", "one_of")
    record: Record = {"target": sorted(set(target), key=graph.position), "possible": possible}
    record |= encoded(found, *wanted, position=graph.position)
    if matches is not None:
        record["strategies"] = [
            {
                "strategy": match.description,
                **encoded(match, *_OF_MATCH, position=graph.position),
                "impossible": None if match.impossible is None else match.impossible.reason,
            }
            for match in matches
        ]
    return record


def print_design(graph: LatentGraph, record: Record, matches: Sequence[StrategyMatch]) -> None:
    """Print what :func:`design_record` made; of the strategies the matches given, which come first."""
    if record["possible"]:
        masked = record["masked"]
        rows = [
            ("shared", listed(record["target"])),
            ("dim", str(record["dim"])),
            ("masked", listed(masked, of=len(graph.observed))),
        ]
        print_table("this mask shares exactly the target", ("", ""), rows)
        _print_map(graph, frozenset(masked))
    else:
        print(f"no mask shares exactly the target: {record['reason']}")
    if "strategies" not in record:
        return
    strategies, top = record["strategies"], len(matches)
    print_table(
        f"how often random masks share exactly the target, the best of {len(strategies)} tried",
        ("masks", "exactly", "at least", "missing", "extra"),
        [
            (
                match["strategy"],
                _chance(match),
                share(match["contained"], error=match["contained_error"]),
                number(match["missing"], 2, error=match["missing_error"]),
                number(match["extra"], 2, error=match["extra_error"]),
            )
            for match in strategies[:top]
        ],
    )


def _chance(match: Record) -> str:
    """A probability, also if it is tiny, or was never met."""
    if match["log_probability"] == -math.inf:
        return "0" if match["exact"] else f"below {match['upper_bound']:.2g}"
    if match["probability"] < _SMALLEST_SHOWN:
        return f"1e{match['log_probability'] / math.log(10):.0f}"
    return share(match["probability"], 4, error=match["standard_error"])


def _print_map(graph: LatentGraph, masked: frozenset[str]) -> None:
    if graph.grid is None or graph.grid[0] > _TALLEST_MAP or graph.grid[1] > _WIDEST_MAP:
        return
    rows, columns = graph.grid
    print("the grid, masked cells as #")
    for row in range(rows):
        print("".join("#" if name in masked else "." for name in graph.observed[row * columns : (row + 1) * columns]))


# ---------------------------------------------------------------------- assumptions


def report_record(report: AssumptionReport) -> Record:
    """Every assumption and what is known of it."""
    return encoded(report, "ok", "findings")


def print_report(record: Record) -> None:
    """Print what :func:`report_record` made."""
    findings = record["findings"]
    print("what Theorem 1 (what is shared) and Theorem 2 (what an autoencoder identifies) assume\n")
    for finding in findings:
        theorems = f"Theorem{'s' * (len(finding['theorems']) > 1)} {' and '.join(map(str, finding['theorems']))}"
        print(f"{finding['status'].upper()}: {finding['assumption']} ({theorems})")
        _print_text(finding["message"], indent="    ")
        if finding["nodes"]:
            _print_text(f"at {listed(finding['nodes'])}", indent="    ")
    failing = [finding["assumption"] for finding in findings if finding["status"] == "fails"]
    unknown = sum(finding["status"] == "not checkable" for finding in findings)
    verdict = f"fails: {', '.join(failing)}" if failing else "nothing is known to fail"
    print(f"\n{verdict}; {unknown} of {len(findings)} cannot be checked from what was given")


def _print_text(text: str, *, indent: str = "") -> None:
    width = min(Console().width, _WIDEST_TEXT)
    print(textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))
