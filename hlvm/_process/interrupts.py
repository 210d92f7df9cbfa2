"""Ctrl-C and SIGTERM: held back where work must not be cut, and the end of a command in one line at any other moment.

Nothing heavy is imported here: a command wants its handlers before anything else.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # typing itself takes longer to import than all of this
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

__all__ = ["CommandSignals", "Interrupts", "Terminated", "exit_code"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SWALLOWED_AGAIN_AFTER = 0.05
"""Seconds after which a signal that a library has swallowed is sent again."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C stops, and cleans up after itself, it does as well."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """130 for Ctrl-C, 143 for SIGTERM, as shells count them."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def _as_exception(number: int, *message: str) -> KeyboardInterrupt:
    return (Terminated if number == signal.SIGTERM else KeyboardInterrupt)(*message)


def _in_main_thread() -> bool:
    """Signals belong to the main thread; as long as nobody has imported threading there is no other."""
    threading = sys.modules.get("threading")
    return threading is None or threading.current_thread() is threading.main_thread()


class Interrupts:
    """Holds the first signal back inside the context; a second one is not held back.

    Outside of the main thread nothing is held back. A signal that is ignored, as Ctrl-C is in the background, or that
    ends the process without a word, as SIGTERM does unless the command line runs, stays as it is. The context may be
    entered again inside itself.

    Attributes:
        held: the signal that was held back in this process, if there was one.

    Args:
        words: said when a signal is held back; nothing if empty.
    """

    def __init__(self, words: str = "stopping after the running steps; Ctrl-C again to stop at once") -> None:
        self.held: int | None = None
        self._words = words
        self._depth = 0
        self._before: dict[int, Any] = {}

    @property
    def wanted(self) -> bool:
        """Tell whether there was one in this process."""
        return self.held is not None

    def __enter__(self) -> Interrupts:
        if self._depth == 0 and _in_main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._before[number] = handler
                    signal.signal(number, self._hold)
        self._depth += 1
        return self

    def wanted_by_any(self) -> bool:
        """Tell whether there was one in any process; all processes ask at the same step."""
        import jax
        import numpy as np

        if jax.process_count() == 1:
            return self.wanted
        from jax.experimental import multihost_utils

        return bool(np.any(multihost_utils.process_allgather(np.asarray(self.wanted))))

    def exception(self, message: str) -> KeyboardInterrupt:
        """The exception to raise once the work that must not be cut is done."""
        return _as_exception(self.held or signal.SIGINT, message)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before = {}

    def _hold(self, number: int, frame: Any) -> None:
        before = self._before[number]
        if self.wanted:
            before(number, frame)
            return
        self.held = number
        if not self._words or sys.stderr is None:
            return
        # In a command, a log gets one line, which comes at the end.
        if sys.stderr.isatty() or not isinstance(before, CommandSignals):
            print(f"hlvm: {self._words}", file=sys.stderr)


class CommandSignals:
    """The handlers of a process that is one command, from its first line of ours to its last.

    While it works, the first signal raises, so that the usual unwinding cleans up. Before (imports) and after (Python's
    own end) there is nothing to clean up, and a second signal is impatience: then the process says its line and ends.

    Attributes:
        name: what its line begins with.
        words: what it says when it ends at once; nothing if all is said.
        works: whether a signal is to raise.
        came: the signal that stopped the work, if there was one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.words = "interrupted; nothing was begun"
        self.works = False
        self.came: int | None = None
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as Ctrl-C is in the background
                signal.signal(number, self)

    def begin_work(self) -> None:
        """From now on there is something to clean up."""
        import logging  # noqa: F401  # a handler must not import what the work may be importing at that moment
        import threading  # noqa: F401

        self.words = "stopped at once; temporary files may be left"
        self.works = True

    def end_work(self, words: str) -> None:
        """From now on there is nothing left to clean up."""
        self.works = False
        self.words = words

    @property
    def stop(self) -> KeyboardInterrupt | None:
        """The exception that stopped the work, whatever libraries have made of it on its way."""
        return None if self.came is None else _as_exception(self.came)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came is not None or not self.works:
            self._end(number)
        if _is_importing(frame):
            # An exception inside an extension module that is being loaded would abort the process.
            self.words = "interrupted while modules were being loaded"
            self._end(number)
        self.came = number
        self._quiet()
        raise _as_exception(number)

    def _end(self, number: int) -> NoReturn:
        """End at once, whatever threads there are; written past Python's own streams, which may be in use."""
        try:
            if self.words:
                os.write(2, f"{self.name}: {self.words}\n".encode())
        finally:
            os._exit(128 + number)

    def _quiet(self) -> None:
        """From now on only our own line is to be read: libraries complain as they are cut."""
        import logging
        import warnings

        logging.disable()
        warnings.simplefilter("ignore")

    def come_again(self) -> None:
        """Send the signal again: a destructor, or a callback of C code, has swallowed it."""
        import threading

        if self.came is not None:
            number, self.came = self.came, None
            threading.Timer(_SWALLOWED_AGAIN_AFTER, os.kill, (os.getpid(), number)).start()


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported at this moment, by whatever called what."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
