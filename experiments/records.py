"""What the checks of the package itself share: options of the command line, and one file of results.

These are the scripts without a page of their own (calibration, identification, inversion, linear); experiments on the
paper's questions are described by :class:`experiments.experiment.Experiment`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hlvm._digests import write_json
from hlvm._environment import versions
from hlvm._files import make_folder


def parsed_options(description: str | None) -> argparse.Namespace:
    """The options ``out``, a folder, and ``preset``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write the results to")
    parser.add_argument("--preset", choices=("smoke", "laptop"), default="laptop", help="how much is run")
    return parser.parse_args()


def write_results(path: Path, config: Any, results: Mapping[str, Any], *distributions: str) -> None:
    """Write results with their settings and versions to a JSON file.

    Args:
        path: the file; its folder is made.
        config: the settings, a dataclass.
        results: what was found.
        distributions: whose versions matter beside those of this package and of Python.
    """
    content = {"config": dataclasses.asdict(config), "versions": versions(*distributions), **results}
    make_folder(path.parent)
    write_json(path, content)
