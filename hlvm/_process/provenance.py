"""Circumstances of a measurement or a run besides its settings: versions, machine, load."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hlvm._version import __version__

__all__ = ["available_cores", "environment", "versions"]


def versions(*distributions: str) -> dict[str, str]:
    """Versions of this package, Python and distributions, by name; those that are not installed are left out.

    Example:
        >>> sorted(versions("numpy", "no-such-distribution"))
        ['hlvm', 'numpy', 'python']
    """
    found = {"hlvm": __version__, "python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(*distributions: str) -> dict[str, Any]:
    """Everything that the times of a benchmark depend on.

    Args:
        distributions: whose versions matter beside this package's and Python's.

    Returns:
        The date in UTC, versions, the machine, its processor, number of cores and load averages, and with ``"jax"``
        among the distributions the device it computes on.
    """
    found: dict[str, Any] = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **versions(*distributions),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }
    if "jax" in distributions:
        import jax

        found["device"] = jax.devices()[0].device_kind
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
