"""Findings of the assertions of the running test, for the summary at the end of a test run."""

from __future__ import annotations

__all__ = ["record", "take"]

_found: list[str] = []


def record(text: str) -> None:
    """Note what an assertion found, in one line."""
    _found.append(text)


def take() -> list[str]:
    """Return everything noted since the last call, and forget it."""
    found = _found.copy()
    _found.clear()
    return found
