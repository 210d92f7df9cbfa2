"""Progress of a running study, told by several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

from hlvm.mae import Progress

__all__ = ["Stopped", "StudyProgress", "Watch"]


class StudyProgress(NamedTuple):
    """Where a running study is.

    Attributes:
        groups_done: groups that are trained and scored.
        groups: groups in all.
        share: share of the work that is done, 0 to 1: steps of all members, scores counted as the last tenth of each.
        seconds_left: what is left at the speed until now; ``None`` before anything was done.
    """

    groups_done: int
    groups: int
    share: float
    seconds_left: float | None


class Stopped(BaseException):
    """Ends a thread's training between two chunks of steps."""


_SCORING_SHARE = 0.1


class Watch:
    """Turns what threads report into the progress of the study."""

    def __init__(
        self, tell: Callable[[StudyProgress], None] | None, sizes: Mapping[str, int], done: Container[str]
    ) -> None:
        """Begin.

        Args:
            tell: called with the progress.
            sizes: group -> its fits.
            done: groups that were done before.
        """
        self._tell, self._sizes = tell, dict(sizes)
        self._lock, self._began = threading.Lock(), time.perf_counter()
        self._shares = {name: 1.0 if name in done else 0.0 for name in sizes}
        self._first = self._share()

    def step(self, name: str, stop: threading.Event, progress: Progress) -> None:
        """Take note of a group's steps.

        Raises:
            Stopped: the study is to stop.
        """
        if stop.is_set():
            raise Stopped
        self._set(name, (1 - _SCORING_SHARE) * progress.step / progress.steps)

    def done(self, name: str) -> None:
        """Take note that a group is trained and scored."""
        self._set(name, 1.0)

    def _share(self) -> float:
        total = sum(self._sizes.values())
        return sum(self._sizes[name] * share for name, share in self._shares.items()) / total

    def _set(self, name: str, share: float) -> None:
        with self._lock:
            self._shares[name] = share
            if self._tell is None:
                return
            now, gone = self._share(), time.perf_counter() - self._began
            gained = now - self._first
            self._tell(
                StudyProgress(
                    groups_done=sum(share == 1.0 for share in self._shares.values()),
                    groups=len(self._shares),
                    share=now,
                    seconds_left=gone * (1 - now) / gained if gained > 0 else None,
                )
            )
