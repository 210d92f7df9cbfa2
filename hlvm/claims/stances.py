"""Stances: what a source, theory or paper, says of a claim."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

__all__ = ["SILENT", "Says", "Stance", "no", "nothing", "yes"]


class Says(StrEnum):
    """The three things that a source can say of a claim; each member is its own text."""

    YES = "yes"
    NO = "no"
    NOTHING = "nothing"


@dataclasses.dataclass(frozen=True)
class Stance:
    """A source's word on a claim, with its reason; made by :func:`yes`, :func:`no` and :func:`nothing`.

    Attributes:
        says: that it holds, that it does not, or neither.
        reason: why, in a few words. A source that has no reason to expect a claim says nothing, with that as its
            reason.

    Raises:
        ValueError: ``says`` is none of the three.
    """

    says: Says
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "says", Says(self.says))  # a file has its text

    def __str__(self) -> str:
        return f"{self.says}: {self.reason}" if self.reason else str(self.says)

    def agrees(self, holds: bool | None) -> bool | None:
        """Tell whether a measured outcome agrees; ``None`` where it is open or nothing was said."""
        return None if holds is None or self.says is Says.NOTHING else holds == (self.says is Says.YES)


def yes(reason: str = "") -> Stance:
    """A source says that the claim holds."""
    return Stance(Says.YES, reason)


def no(reason: str = "") -> Stance:
    """A source says that the claim does not hold."""
    return Stance(Says.NO, reason)


def nothing(reason: str = "") -> Stance:
    """A source says neither; also where it has no reason to expect either."""
    return Stance(Says.NOTHING, reason)


SILENT = nothing()
"""The stance of a source that has nothing to say of a claim."""
