"""Knowledge of the assumptions of the two theorems: findings, and a report of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, TypeAlias

__all__ = ["AssumptionReport", "Finding", "Status", "finding", "listed"]

Status: TypeAlias = Literal["holds", "fails", "not checkable"]
"""Status of an assumption; "not checkable" from what was given."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Everything known of one assumption.

    Attributes:
        assumption: its short name.
        theorems: which theorems of the paper need it: 1 (what is shared), 2 (what an autoencoder identifies), or both.
        status: "holds", "fails" or "not checkable".
        message: why, and what to do about it.
        nodes: names of the variables that break it; empty unless it fails at particular ones.
    """

    assumption: str
    theorems: tuple[int, ...]
    status: Status
    message: str
    nodes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssumptionReport:
    """Every assumption and what is known of it; ``str(report)`` is readable.

    Attributes:
        findings: one per assumption.
    """

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Tell whether nothing is known to fail. Assumptions that cannot be checked here may still fail."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The assumptions that fail."""
        return tuple(finding for finding in self.findings if finding.status == "fails")

    @property
    def unchecked(self) -> tuple[Finding, ...]:
        """The assumptions that could not be checked."""
        return tuple(finding for finding in self.findings if finding.status == "not checkable")

    def __str__(self) -> str:
        signs = {"holds": "ok", "fails": "FAILS", "not checkable": "?"}
        return "\n".join(
            f"{signs[f.status]:>5}  {f.assumption} ({_theorems(f.theorems)}): {f.message}" for f in self.findings
        )


def _theorems(numbers: tuple[int, ...]) -> str:
    return f"Theorem{'s' if len(numbers) > 1 else ''} {' and '.join(map(str, numbers))}"


def finding(name: str, nodes: list[str], *, good: str, bad: str, theorems: tuple[int, ...] = (1, 2)) -> Finding:
    """An assumption that fails at some nodes, or holds where there are none."""
    return Finding(
        assumption=name,
        theorems=theorems,
        status="fails" if nodes else "holds",
        message=bad if nodes else good,
        nodes=tuple(nodes),
    )


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first names, in quotes, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(map(repr, names[:limit])) + more
