"""The ``hlvm`` command: every subcommand checks its arguments, makes one call into the package, and prints.

Bad input gives one line on standard error and exit code 2, before any long work. JAX and everything that needs it are
imported by the commands that use them, so that ``hlvm --help`` is quick.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated

import tyro
from rich.console import Console

import hlvm
from hlvm._cli_input import (
    BAD_INPUT,
    INTERRUPTED,
    check_folder_can_be_made,
    check_seed,
    complain,
    use_compilation_cache,
)
from hlvm._cli_sample import sample
from hlvm._cli_score import score
from hlvm._cli_theory import check, design, theory
from hlvm._cli_train import train
from hlvm._cli_words import in_command_words
from hlvm._files import check_new_folder

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; ``None`` takes those of the process.

    Returns:
        The exit code: 0 on success; 1 when the demo came out against the theory, no mask has the designed target, an
        assumption that was checked fails, or all members that were trained diverged; 2 on bad input; 130 on Ctrl-C.

    Raises:
        SystemExit: help was asked for (code 0), or the arguments do not parse (code 2).
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments == ["--version"]:
        print(f"hlvm {hlvm.__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ² or ẑ shall still get its answer
    try:
        code = _commands().cli(
            prog="hlvm",
            description="Simulate hierarchical latent variable models, predict what a masked autoencoder can "
            "identify, and check. `hlvm COMMAND --help` shows an example; `hlvm --version` the version.",
            args=arguments,
        )
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted; no unfinished file was left behind")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough. Python flushes once more on exit: give it somewhere to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        complain(f"{error.filename}: {error.strerror}" if named else str(error))
        return BAD_INPUT
    except ValueError as error:
        if not _raised_by_this_package(error.__traceback__):
            raise
        complain(in_command_words(str(error)))
        return BAD_INPUT
    return code


def _commands() -> tyro.extras.SubcommandApp:
    app = tyro.extras.SubcommandApp()
    for command in (demo, theory, design, check, sample, train, score):
        app.command(command)
    return app


# ---------------------------------------------------------------------- commands


def demo(*, out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")], seed: int = 0) -> int:
    """The whole chain on one small image model: graph, prediction, training, scores, verdicts.

    Takes about three minutes on two cores and writes figures, tables and a report into a new folder. Exit code 1 says
    that a claim came out against the theory.

    Example: hlvm demo --out runs/demo

    Args:
        out: the folder to make; it must not exist, or be empty.
        seed: seed of everything random.
    """
    check_new_folder(out)
    check_folder_can_be_made(out)
    check_seed(seed)
    from hlvm.demo import DemoConfig, run_demo

    config = DemoConfig(seed=seed)
    use_compilation_cache()
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 150  # a log file has room for whole claims
    return 0 if run_demo(config, out, console=console).agrees else 1


# ---------------------------------------------------------------------- errors


def _raised_by_this_package(traceback: TracebackType | None) -> bool:
    """Whether the innermost frame is ours.

    The package raises ``ValueError`` for bad input, worded for users. One that comes from inside a library is our
    mistake, and its traceback is worth more than its message.
    """
    innermost = ""
    while traceback is not None:
        innermost = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return Path(innermost).is_relative_to(Path(__file__).parent)


if __name__ == "__main__":
    sys.exit(main())
