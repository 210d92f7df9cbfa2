"""Replicates that the claims would take that are still open. Nothing is trained here: committed results are read.

python -m experiments.open_claims
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments import NAMES
from experiments.experiment import Results, load_results, over_generators
from hlvm.claims import Claim, replicates_needed

COLUMNS = ("experiment", "claim", "replicates", "needed")
MOST = 10_000
"""Replicates beyond which a claim counts as one that no number decides: what is measured lies on its limit."""


def rows(found: Mapping[str, Results]) -> list[tuple[str, str, str, str]]:
    """Rows of :data:`COLUMNS`, one for each open claim.

    Numbers are for a chance of 0.8 where means and spreads are as they were measured, so they are a guide. Claims
    without limits have none.

    Args:
        found: results by name.
    """
    table = []
    for name, results in found.items():
        for claim in results.claims:
            if claim.holds is None:
                now, unit = _replicates(name, results, claim)
                needed = replicates_needed(claim, now, most=MOST) if claim.limits else None
                none = f"over {MOST:,}" if claim.limits else "–"
                table.append((name, claim.text, f"{now} {unit}", none if needed is None else f"{needed:,}"))
    return table


def _replicates(name: str, results: Results, claim: Claim) -> tuple[int, str]:
    """Number of replicates that the intervals of a claim are over, and their kind."""
    families = [re.search(r"(\d+) families", score) for score in claim.limits]
    if families and families[0]:
        return int(families[0][1]), "families"
    column = "generator" if "generator" in results.records else "seed"
    unit = "generators" if over_generators(name, results) else "seeds"
    return int(results.records[column].nunique()), unit


def main() -> None:
    """Print the table for the results of the preset ``laptop``."""
    results = Path(__file__).parent / "results"
    table = Table(*COLUMNS, title="Open claims, and replicates in all that would decide them with a chance of 0.8")
    for row in rows({name: load_results(results / name) for name in NAMES}):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
