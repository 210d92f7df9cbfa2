"""The ``hlvm`` command: every subcommand checks its arguments, makes one call into the package, and prints.

Bad input gives one line on standard error and exit code 2, before any long work. So does a disk or a memory that is
full. Ctrl-C gives one line and exit code 130, SIGTERM the same and 143, from here to the end of the process: therefore
nothing is imported here that takes long. What else is public here is imported when it is first used: settings files of
``hlvm train`` as objects, and the cache of compiled programs for scripts of your own.
"""

from __future__ import annotations

import sys

from hlvm._process import BAD_INPUT, complain, run, run_whole_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from hlvm.cli.compilation import use_compilation_cache
    from hlvm.cli.settings import Settings, load_settings, settings_from_dict

__all__ = ["Settings", "load_settings", "main", "settings_from_dict", "use_compilation_cache"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; ``None`` takes those of the process, which is then taken to be nothing but this command:
            its signals are handled, and it ends without waiting for threads that a Ctrl-C has cut.

    Returns:
        The exit code: 0 on success; 1 when the demo came out against the theory, no mask has the designed target, an
        assumption that was checked fails, or all members that were trained diverged; 2 on bad input, or where there is
        no room; 130 on Ctrl-C; 143 on SIGTERM.

    Raises:
        SystemExit: help was asked for (code 0).
    """
    arguments = sys.argv[1:] if argv is None else list(argv)

    def load() -> Callable[[], int]:
        try:
            from hlvm.cli.commands import run_command
        except ModuleNotFoundError as error:
            missing = (error.name or "hlvm").partition(".")[0]
            if missing == "hlvm":
                raise
            return lambda: _tell_missing(missing, arguments)
        return lambda: run_command(arguments)

    return run_whole_process(load, "hlvm") if argv is None else run(load())


def _tell_missing(name: str, arguments: Sequence[str]) -> int:
    """Say what keeps any command from starting, which is the whole answer of ``hlvm doctor`` then."""
    complain(f"{name} is missing, and no command runs without it: pip install hlvm installs all that is missing")
    return 1 if list(arguments[:1]) == ["doctor"] else BAD_INPUT


def __getattr__(name: str) -> Any:
    """Import what is public on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'hlvm.cli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"hlvm.cli.{'compilation' if name == 'use_compilation_cache' else 'settings'}"), name)
