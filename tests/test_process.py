"""Processes that are one command: signals at every stage of their life, and errors of the machine, in one line."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hlvm import _process
from hlvm._process.interrupts import Interrupts, Terminated

ROOT = Path(__file__).parent.parent
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}

BEGIN = """
import atexit, os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal

def strike():
    os.kill(os.getpid(), signal.{signal})

class At:
    '''Does something when a module is about to be imported.'''
    def __init__(self, name, act):
        self.name, self.act = name, act
    def find_spec(self, name, *_):
        if name == self.name:
            self.act()

def whole_process(work, load=lambda: None):
    from hlvm._process import run_whole_process
    def loaded():
        load()
        return work
    sys.exit(run_whole_process(loaded, "hlvm"))

def command(*arguments):
    sys.argv = ["hlvm", *arguments]
    from hlvm.cli import main
    sys.exit(main())
"""

STAGES = {
    "imports of the command": (
        "sys.meta_path.insert(0, At('tyro', strike)); command('--version')",
        "interrupted; nothing was begun",
    ),
    "imports of the work": (
        "sys.meta_path.insert(0, At('hlvm.theory', strike)); command('theory', sys.argv[1], '--masked', 'x_0')",
        "interrupted while modules were being loaded",
    ),
    "imports of an experiment": (
        "sys.argv = ['-m']; sys.meta_path.insert(0, At('jax', strike)); import experiments; import jax",
        "interrupted; nothing was begun",
    ),
    "work": ("whole_process(strike)", "interrupted; no unfinished file was left behind"),
    "work whose library makes another error of it": (
        """
def work():
    try:
        strike()
    except KeyboardInterrupt:
        raise ImportError("initialization failed")

whole_process(work)
""",
        "interrupted; no unfinished file was left behind",
    ),
    "work that goes on all the same": (
        """
def work():
    try:
        strike()
    except BaseException:
        return 0

whole_process(work)
""",
        "interrupted; but all was done",
    ),
    "a destructor": (
        """
class Dying:
    def __del__(self):
        strike()

def work():
    Dying()
    time.sleep(60)  # the signal was swallowed, and comes again

whole_process(work)
""",
        "interrupted; no unfinished file was left behind",
    ),
    "work with threads that break": (
        """
def work():
    go = threading.Event()
    def thread():
        go.wait()
        raise RuntimeError("cannot schedule new futures after shutdown")
    threading.Thread(target=thread).start()
    try:
        strike()
    finally:
        go.set()

whole_process(work)
""",
        "interrupted; no unfinished file was left behind",
    ),
    "cleaning up": (
        """
def work():
    try:
        strike()
    finally:
        strike()

whole_process(work)
""",
        "stopped at once; temporary files may be left",
    ),
    "Python's end": (
        "whole_process(lambda: 0, load=lambda: atexit.register(strike))",
        "interrupted, but all was done",
    ),
    "Python's end after a signal": (
        "whole_process(strike, load=lambda: atexit.register(strike))",
        "interrupted; no unfinished file was left behind",
    ),
}


@pytest.mark.parametrize("name", EXIT_CODES)
@pytest.mark.parametrize("stage", STAGES)
def test_run_whole_process_answers_a_signal_in_one_line(folder, stage, name):
    program, said = STAGES[stage]
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN.format(signal=name) + program, str(folder / "tree.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    who = "experiments" if "experiment" in stage else "hlvm"
    assert (ended.returncode, ended.stdout, ended.stderr) == (EXIT_CODES[name], "", f"{who}: {said}\n")


def test_run_whole_process_leaves_ignored_interrupts_alone():
    """As in the background of a shell."""
    begin = BEGIN.format(signal="SIGINT").replace("signal.default_int_handler", "signal.SIG_IGN")
    ended = subprocess.run([sys.executable, "-c", begin + "whole_process(lambda: strike() or 7)"], capture_output=True)
    assert (ended.returncode, ended.stderr) == (7, b"")


def test_run_whole_process_waits_for_what_is_registered_at_exit(tmp_path):
    """Libraries clean up at exit, and all that was printed comes out."""
    act = f"atexit.register(lambda: open({str(tmp_path / 'done')!r}, 'w').close())"
    program = BEGIN.format(signal="SIGINT") + f"whole_process(lambda: print('out') or 3, load=lambda: {act})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "out\n", "")
    assert (tmp_path / "done").exists()


def test_run_whole_process_shows_our_own_errors():
    program = BEGIN.format(signal="SIGINT") + "whole_process(lambda: 1 / 0)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


@pytest.mark.parametrize("streams", [">&-", ">/dev/full", ">/dev/full 2>&1", ">&- 2>&- <&-"])
def test_process_whose_output_goes_nowhere_exits_2(folder, streams):
    """Closed or full, as shells make them."""
    line = f"{sys.executable} -m hlvm.cli --version {streams}"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=ROOT, env=environ)
    said = {
        ">&-": "hlvm: standard output is closed: send it to a file, or to /dev/null\n",
        ">/dev/full": "hlvm: standard output: No space left on device\n",
    }
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", said.get(streams, ""))


# ---------------------------------------------------------------------- errors


def chained(outer, inner):
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.npz"), "a.npz: No space left on device"),
        (OSError(errno.EFBIG, "File too large"), "File too large"),
        (OSError("Can't write data (errno = 27, error message = 'File too large')"), "File too large"),
        (
            chained(RuntimeError("save failed"), ValueError("INTERNAL: No space left on device [tensorstore]")),
            "No space",
        ),
        (ExceptionGroup("both", [KeyError("x"), OSError(errno.EDQUOT, "full")]), "Disk quota exceeded"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), "b: Permission denied"),
        (MemoryError(), "not enough memory: an allocation failed"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes"), "not enough memory: RESOURCE_EXHAUSTED"),
    ],
)
def test_run_says_errors_of_the_machine_in_one_line(capsys, error, said):
    def work():
        raise error

    assert _process.run(work) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"hlvm: {said}")


def test_run_says_how_to_go_on(capsys):
    def work():
        error = OSError(errno.ENOSPC, "No space left on device", "a")
        error.add_note("go on with --resume")
        raise error

    assert _process.run(work) == 2
    assert capsys.readouterr().err == "hlvm: a: No space left on device; go on with --resume\n"


# ---------------------------------------------------------------------- signals held back


@pytest.fixture
def catches_sigterm():
    def terminate(*_):
        raise Terminated("at once")

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


def test_interrupts_hold_sigterm_back_where_it_is_caught(catches_sigterm):
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert interrupts.wanted
    assert _process.stopped(interrupts.exception("kept"), "kept") == 143
    with interrupts, pytest.raises(Terminated, match="at once"):  # a second one is not held back
        signal.raise_signal(signal.SIGTERM)


def test_interrupts_leave_sigterm_to_the_system():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) is before
