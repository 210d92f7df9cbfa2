"""The command line of the scripts without a page: calibration, calibration_rows, identification, inversion, linear.

Experiments on the paper's questions are described by :class:`experiments.experiment.Experiment`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hlvm._files import make_folder
from hlvm._files.digests import write_json
from hlvm._process.provenance import versions


def script(
    name: str, description: str | None, run: Callable[[Any], Mapping[str, Any]], *, smoke: Any, laptop: Any
) -> None:
    """Run a script as the command line says: print what it found, and write it with settings and versions to a file.

    Args:
        name: of the file in the folder that the command line names.
        description: for ``--help``.
        run: config -> results, ready for JSON; printed are those under ``"records"``, or else under ``"summary"``.
        smoke: config of the preset ``smoke``, a dataclass.
        laptop: that of the preset ``laptop``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the results to")
    parser.add_argument("--preset", choices=("smoke", "laptop"), default="laptop", help="how much is run")
    options = parser.parse_args()
    config = smoke if options.preset == "smoke" else laptop
    results = run(config)
    for record in results.get("records") or [results["summary"]]:
        print(", ".join(f"{key}: {_shown(value)}" for key, value in record.items()))
    make_folder(options.out)
    content = {"config": dataclasses.asdict(config), "versions": versions("jax", "numpy", "scipy"), **results}
    write_json(options.out / f"{name}.json", content)


def _shown(value: Any) -> str:
    """Numbers with five digits, also those of a list."""
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)
