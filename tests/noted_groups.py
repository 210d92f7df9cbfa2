"""Groups of work that note when they are done, for tests of how groups run; Dask workers import them."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Noting:
    """Squares numbers, and notes each number that it begins with.

    Attributes:
        notes: the file.
        fails_at: raises an error there.
        dies_at: kills its process there, the first time.
    """

    notes: Path
    fails_at: int = -1
    dies_at: int = -1

    def __call__(self, number: int) -> int:
        with self.notes.open("a") as file:
            file.write(f"{number}\n")
        if number == self.fails_at:
            raise ArithmeticError("this number cannot be squared")
        if number == self.dies_at:
            die_once(self.notes.with_name("died"))
        return number**2

    def begun(self) -> list[int]:
        """Numbers in the order in which they were begun."""
        return [int(line) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []


def die_once(mark: Path) -> None:
    """Kill this process as ``kill -9`` does, unless one has been killed that left the mark."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
