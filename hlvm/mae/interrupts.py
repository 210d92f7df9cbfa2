"""Ctrl-C in a run: held back until the running steps are done and their state is kept."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import jax
import numpy as np

__all__ = ["Interrupts"]


class Interrupts:
    """Holds the first Ctrl-C back inside the context; a second one is not held back.

    Signals belong to the main thread, so outside of it nothing is held back. Where Ctrl-C is ignored, as in the
    background, it stays ignored. The context may be entered again inside itself.

    Attributes:
        wanted: whether there was one in this process.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._depth = 0
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        handler = signal.getsignal(signal.SIGINT)
        if self._depth == 0 and threading.current_thread() is threading.main_thread() and callable(handler):
            self._before = handler
            signal.signal(signal.SIGINT, self._hold)
        self._depth += 1
        return self

    def wanted_by_any(self) -> bool:
        """Whether there was one in any process; all processes ask at the same step."""
        if jax.process_count() == 1:
            return self.wanted
        from jax.experimental import multihost_utils

        return bool(np.any(multihost_utils.process_allgather(np.asarray(self.wanted))))

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _hold(self, *_: object) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        print("hlvm: stopping after the running steps; Ctrl-C again to stop at once", file=sys.stderr)
