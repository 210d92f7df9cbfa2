"""Means and differences behind the pages on scenes: ``python -m experiments.scene_tables transfer``.

Of every score: the mean of each arm, its difference to one arm, and to codes without training; with 95 % intervals over
replicates. Nothing is trained here, and nothing is judged: what was claimed beforehand stands in the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.experiment import Frame, load_results
from experiments.training_time import NAMES
from hlvm.scoring import over_seeds

COLUMNS = ("score", "arm", "mean", "− {arm}", "− untrained", "− pixels")
_OTHERS = {"ratio", "unit", "seed", "value", "code", "source", "pixels", "x", "y", "cell"}


def rows(records: Frame, ratio: float, unit: int) -> list[tuple[str, ...]]:
    """Rows of :data:`COLUMNS`, an empty text where there is nothing to compare with.

    Args:
        records: of an experiment on scenes, one number of each arm and replicate per score.
        ratio: of the arm that the others are compared with.
        unit: its masking unit.
    """
    which = "code" if "code" in records else "source"
    by = [column for column in records if column not in _OTHERS]
    maps = records["score"].str.startswith(("map", "picture"))
    found = []
    for names, of in records[~maps].groupby(by, dropna=False, sort=False):
        kinds: dict[Any, Frame] = {
            kind: part.pivot_table(index="seed", columns=["ratio", "unit"], values="value")
            if part["ratio"].notna().any()
            else part.groupby("seed")["value"].mean()
            for kind, part in of.groupby(which)
        }
        trained: Frame = kinds.get("trained")
        if not isinstance(trained, pd.DataFrame):
            continue
        floors = [kinds.get(kind) for kind in ("untrained", "pixels")]
        for arm in trained.columns:
            against = [trained[ratio, unit] if arm != (ratio, unit) else None]
            against += [floor[arm] if isinstance(floor, pd.DataFrame) else floor for floor in floors]
            compared = ["" if other is None else _shown(trained[arm] - other) for other in against]
            score = ", ".join(str(name) for name in names if not pd.isna(name))
            found.append((score, f"{arm[0]:g}, {arm[1]:g}", _shown(trained[arm]), *compared))
    return found


def _shown(values: Frame) -> str:
    interval = over_seeds(values.dropna())
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one experiment."""
    parser = argparse.ArgumentParser(prog="python -m experiments.scene_tables", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--ratio", type=float, default=0.75, help="of the arm that others are compared with")
    parser.add_argument("--unit", type=int, default=2, help="its masking unit")
    options = parser.parse_args(arguments)
    records = load_results(Path(__file__).parent / "results" / options.name).records
    table = Table(*(column.format(arm=f"{options.ratio:g}, {options.unit}") for column in COLUMNS))
    for row in rows(records, options.ratio, options.unit):
        table.add_row(*row)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
