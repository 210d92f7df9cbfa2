"""Results of a benchmark as a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hlvm._files.digests import write_json
from hlvm._process.provenance import environment

__all__ = ["write_rows"]


def write_rows(path: Path, rows: Sequence[Any], *distributions: str) -> None:
    """Write the measured rows, their medians and what they depend on to a JSON file."""
    record = {
        "environment": environment(*distributions),
        "rows": [{**vars(row), "median": row.median} for row in rows],
    }
    write_json(path, record)
