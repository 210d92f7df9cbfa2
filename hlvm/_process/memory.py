"""Memory that is free, and refusals of what cannot fit into it, before anything is allocated."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

__all__ = ["check_fits", "free_memory", "in_words"]

_NEGLIGIBLE = 2**26
"""So many bytes fit anywhere, and are not compared with what is free."""

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def check_fits(needed: int, what: str, remedy: str, device: Any = None) -> None:
    """Refuse what takes more memory than is free.

    Args:
        needed: bytes that it takes at least.
        what: what takes them, for the message.
        remedy: what to change.
        device: the device of JAX whose memory it takes; ``None`` for the machine's.

    Raises:
        ValueError: there is less.
    """
    if needed <= _NEGLIGIBLE:
        return
    free = free_memory(device)
    if free is not None and needed > free:
        raise ValueError(
            f"{what} takes at least {in_words(needed)} of memory, but only {in_words(free)} are free: {remedy}"
        )


def free_memory(device: Any = None) -> int | None:
    """Bytes that are free on a device of JAX, or that this process may still take; ``None`` where nobody says."""
    stats = None if device is None else device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    known = [number for number in (_of_machine(), _of_container()) if number is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_container() -> int | None:
    """The limit of the process's control group less what the group holds beside files; ``None`` without a limit."""
    root = Path("/sys/fs/cgroup")
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "/"
    found = []
    for folder in [root / own.strip("/"), *(root / own.strip("/")).parents]:
        try:
            limit = int((folder / "memory.max").read_text())
            stats = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            found.append(limit - int(stats.get("anon", 0)))
        except (OSError, ValueError):  # "max" is no number
            continue
    with contextlib.suppress(OSError, ValueError):
        found.append(int((root / "memory" / "memory.limit_in_bytes").read_text()))
    return min(found, default=None)


def in_words(number: int) -> str:
    """A number of bytes, in the largest unit of which there is at least one."""
    size, unit = float(number), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:,.1f} {_UNITS[unit]}" if unit else f"{number} bytes"
