"""Devices of one process shared by the groups of a study, several groups at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hlvm._process.provenance import available_cores

__all__ = ["shares"]


def shares(devices: Sequence[Any], n_groups: int) -> list[list[Any]]:
    """Devices of each of the groups that run at a time, equally many: a result depends on their number by rounding.

    Of a single device several groups make use at a time, since compiling and scoring leave it idle: on a CPU as many as
    there are cores, on an accelerator, whose memory they share, two.
    """
    if len(devices) == 1:
        return [list(devices)] * (available_cores() if devices[0].platform == "cpu" else 2)
    of_each = max(1, len(devices) // n_groups)
    return [list(devices[begin : begin + of_each]) for begin in range(0, len(devices) - of_each + 1, of_each)]
