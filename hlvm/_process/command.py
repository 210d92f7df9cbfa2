"""A process that is one command: what it says on standard error, how it ends, and with which exit code.

Every command says at most one line on standard error, unless something in this package is wrong: then Python's
traceback is worth more.
"""

from __future__ import annotations

import errno
import os
import sys

from hlvm._process.interrupts import CommandSignals, exit_code

TYPE_CHECKING = False  # typing itself takes longer to import than all of this
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

__all__ = ["BAD_INPUT", "begin", "complain", "hold_back_log", "run", "run_whole_process", "stopped"]

BAD_INPUT = 2
"""Exit code of everything that the user can mend: arguments, files, room on the disk, memory."""

_NO_ROOM = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}
_NO_MEMORY = (
    "RESOURCE_EXHAUSTED",
    "Out of memory",
    "out of memory",
    "Unable to allocate",
    "Cannot allocate memory",
    "bad_alloc",
    "failed to map segment from shared object",
    "can't start new thread",
)

_signals: CommandSignals | None = None
_aside: _Aside | None = None
_code: int | None = None
"""With which this process is to end, once it has begun to work."""


def complain(message: str, name: str = "hlvm") -> None:
    """One line on standard error, whatever line breaks the message has."""
    from contextlib import suppress

    if sys.stderr is not None:  # print would take standard output instead
        with suppress(OSError):  # a full one, to which nothing more can be said
            print(f"{name}: {' '.join(message.split())}", file=sys.stderr, flush=True)


def stopped(stop: KeyboardInterrupt, message: str, name: str = "hlvm") -> int:
    """Say that Ctrl-C or SIGTERM stopped the work, and what is left of it; the exit code."""
    complain(f"interrupted; {message}", name)
    return exit_code(stop)


def begin(name: str) -> CommandSignals:
    """Take the signals of this process, which is one command, as early as may be."""
    global _signals
    if _signals is None:
        for descriptor in (0, 1, 2):  # or the next file opened gets the number, and what is printed
            try:
                os.fstat(descriptor)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        _signals = CommandSignals(name)
        import atexit

        atexit.register(_end)  # the first one registered is called last, after those of whatever is imported later
    _signals.name = name
    return _signals


def run(work: Callable[[], int], name: str = "hlvm") -> int:
    """Do the work of a command; errors that the user can mend are said in one line.

    Args:
        work: returns the exit code.
        name: what lines on standard error begin with.

    Returns:
        The exit code.
    """
    try:
        code = work()
        _flush()
    except KeyboardInterrupt as stop:
        return stopped(stop, "no unfinished file was left behind", name)
    except BrokenPipeError:
        # The reader of a pipe has seen enough. Python flushes once more on exit: give it somewhere to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if _signals is not None and _signals.stop is not None:  # a library has made another error of it
            return stopped(_signals.stop, "no unfinished file was left behind", name)
        line = _stream_is_full() or _line_of(error)
        if line is None:
            raise
        complain(line, name)
        return BAD_INPUT
    return code


def run_whole_process(load: Callable[[], Callable[[], int]], name: str) -> int:
    """Do the work of a command that is all that this process does.

    A signal gives one line, and the exit code 130 or 143, from here to the last moment of the process.

    Args:
        load: imports what the work needs, and returns what :func:`run` is to be given. A signal is not to be an
            exception meanwhile: what is being imported might take it for one of its own.
        name: what lines on standard error begin with.

    Returns:
        The exit code, with which the process is to end.
    """
    global _aside, _code
    signals, _aside, _code = begin(name), _Aside(), 1  # that of a traceback
    if sys.stdout is None:
        complain("standard output is closed: send it to a file, or to /dev/null", name)
        _code = BAD_INPUT
        return _code

    def work() -> int:
        loaded = load()
        signals.begin_work()
        aside.listen(signals)
        return loaded()

    aside, words = _aside, ""
    try:
        _code = run(work, name)
        words = "" if _code > 128 else "interrupted, but all was done"
        if signals.stop is not None and _code != exit_code(signals.stop):  # it was swallowed on its way
            _code = stopped(signals.stop, "but all was done", name)
    except SystemExit as leaving:  # after --help
        _code = leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt as stop:  # in the last lines of run
        _code = stopped(stop, "no unfinished file was left behind", name)
    finally:
        signals.end_work(words)
    return _code


def _end() -> None:
    """End the process here: in what Python does after this, a signal would end it without a word."""
    if _code is None:  # the module was no command
        return
    from contextlib import suppress

    if _aside is not None and _code < BAD_INPUT:
        _aside.tell()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed or full, which was said
            stream.flush()
    os._exit(_code)


def hold_back_log(name: str) -> None:
    """Hold back the errors of a library's log until the process ends, if that is but one command.

    Args:
        name: of its logger; the library has been imported, which makes it.
    """
    if _aside is not None:
        _aside.listen_to_log(name)


class _Aside:
    """Messages that threads, destructors and logs of libraries say beside the work.

    It is held back: where a command ends in one line, that line says why, and they say it again in hundreds. In every
    other case it is told at the end.
    """

    def __init__(self) -> None:
        self._held: list[str] = []

    def listen(self, signals: CommandSignals) -> None:
        """Hold back what is said from now on."""
        import logging
        import threading
        import traceback

        def hold(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, SystemExit):
                self._held += traceback.format_exception(error)

        def of_any_thread(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
            if threading.current_thread() is threading.main_thread():  # it ends the process
                sys.__excepthook__(kind, error, where)
            else:
                hold(error)

        def of_destructor(unraisable: Any) -> None:
            if isinstance(unraisable.exc_value, KeyboardInterrupt):
                signals.come_again()
            else:
                hold(unraisable.exc_value)

        def of_log(record: logging.LogRecord) -> bool:
            if record.exc_info:
                self._held.append(logging.Formatter().format(record) + "\n")
            return not record.exc_info

        sys.excepthook = of_any_thread
        sys.unraisablehook = of_destructor
        threading.excepthook = lambda thread: hold(thread.exc_value)
        self._of_log = of_log

    def listen_to_log(self, name: str) -> None:
        """Hold back the errors of a library's log; it has been imported."""
        import logging

        logging.getLogger(name).addFilter(self._of_log)

    def tell(self) -> None:
        """Say what was held back."""
        if sys.stderr is not None:
            sys.stderr.writelines(self._held)


# ---------------------------------------------------------------------- errors in one line


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


def _stream_is_full() -> str | None:
    """Tell whether what was printed is why the work failed: then it does not get out now either."""
    try:
        _flush()
    except OSError as error:
        return _line_of(error)
    return None


def _line_of(error: BaseException) -> str | None:
    """Say what the user has to know of an error of the machine: its files, disk, or memory; ``None`` if it is ours."""
    line = next((line for one in _with_causes(error) if (line := _room(one))), None)
    if line is None and isinstance(error, OSError):
        named = error.filename is not None and error.strerror is not None
        line = f"{error.filename}: {error.strerror}" if named else str(error)
    if line is None:
        return None
    notes = getattr(error, "__notes__", ())
    return "; ".join([line, *(note for note in notes if not note.startswith("-"))])  # JAX speaks of its frames there


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was made of, and what it came from; libraries wrap what the system says several times."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        one = left.pop(0)
        if one is None or one in seen:
            continue
        seen.append(one)
        left += [*getattr(one, "exceptions", ()), one.__cause__, one.__context__]
        yield one


def _room(error: BaseException) -> str | None:
    """The words for no room on the disk or in memory, if the error says so."""
    text = str(error)
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename is not None else ""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"{where}{_NO_ROOM[error.errno]}"
    for words in _NO_ROOM.values():
        if words in text:
            return f"{where}{words}"
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return f"not enough memory: {text or 'an allocation failed'}"
    return None
