"""The subcommands of ``hlvm`` and how their arguments are parsed.

JAX and everything that needs it are imported by the commands that use them, so that ``hlvm --help`` is quick.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, TypeAlias

import tyro
from rich.console import Console

from hlvm._files import check_new_folder
from hlvm._process import BAD_INPUT, complain, hold_back_log
from hlvm._version import __version__
from hlvm.cli.advise import advise
from hlvm.cli.compilation import use_compilation_cache
from hlvm.cli.doctor import doctor
from hlvm.cli.encode import encode
from hlvm.cli.explore import explore
from hlvm.cli.graph import graph
from hlvm.cli.input import check_folder_can_be_made, check_seed
from hlvm.cli.sample import sample
from hlvm.cli.score import score
from hlvm.cli.study import study
from hlvm.cli.theory import check, design, theory
from hlvm.cli.train import train
from hlvm.cli.words import in_command_words, parse_error_in_one_line

__all__ = ["run_command"]

Command: TypeAlias = Callable[..., int]


def run_command(arguments: Sequence[str]) -> int:
    """Parse the arguments and do what they say.

    Returns:
        The exit code.

    Raises:
        SystemExit: help was asked for.
    """
    if list(arguments) == ["--version"]:
        print(f"hlvm {__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without ² or ẑ shall still get its answer
    parsed = _parsed(arguments)
    if parsed is None:
        return BAD_INPUT
    command, call = parsed
    try:
        return call()
    except ValueError as error:
        if not _raised_by_this_package(error.__traceback__):
            raise
        complain(in_command_words(error, command))
        return BAD_INPUT


# ---------------------------------------------------------------------- parsing

_NAMES_FOLLOW = ("--masked", "--target", "--latent")
_DASH = "\N{FULLWIDTH HYPHEN-MINUS}hlvm-dash"
"""Stands for the dash that a name begins with while tyro, which would take it for an option, has the arguments."""


def _parsed(arguments: Sequence[str]) -> tuple[Command, Callable[[], int]] | None:
    """The command, and its call with these arguments; ``None`` if they do not parse, which is said."""
    app = tyro.extras.SubcommandApp()
    names = []
    for command in (demo, graph, theory, design, advise, check, explore, sample, train, encode, score, study, doctor):
        app.command(_deferred(command))
        names.append(command.__name__)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return app.cli(
                prog="hlvm",
                description="Simulate hierarchical latent variable models, predict what a masked autoencoder can "
                "identify, and test the predictions. `hlvm COMMAND --help` explains a command with an example. "
                "`hlvm --version` prints the version.",
                args=_with_dashes_hidden(arguments),
            )
    except SystemExit as leaving:
        if not leaving.code:
            raise
    command = next((name for name in arguments[:1] if name in names), None)
    complain(parse_error_in_one_line(box.getvalue().replace(_DASH, "-"), command))
    return None


def _deferred(command: Command) -> Callable[..., tuple[Command, Callable[[], int]]]:
    """The command, to be called once its arguments are known to parse."""

    @functools.wraps(command)
    def with_arguments(*given: Any, **options: Any) -> tuple[Command, Callable[[], int]]:
        shown = {name: _with_dashes(value) for name, value in options.items()}
        return command, lambda: command(*map(_with_dashes, given), **shown)

    return with_arguments


def _with_dashes_hidden(arguments: Sequence[str]) -> list[str]:
    """Names after these options may begin with a dash: no option but -h begins with a single one."""
    hidden: list[str] = []
    names_follow = False
    for argument in arguments:
        if argument.startswith("--"):
            names_follow = argument in _NAMES_FOLLOW
        elif names_follow and argument.startswith("-") and argument != "-h":
            argument = _DASH + argument[1:]
        hidden.append(argument)
    return hidden


def _with_dashes(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(name.replace(_DASH, "-") if isinstance(name, str) else name for name in value)
    return value


# ---------------------------------------------------------------------- commands


def demo(*, out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")], seed: int = 0, quick: bool = False) -> int:
    """Run the whole chain on small image models: graph, prediction, training, scores, verdicts.

    It takes about three minutes on two cores. It writes figures, tables and a report into a new folder. Exit code 1
    means that a claim came out against the theory.

    Example: hlvm demo --out runs/demo

    Args:
        out: the folder to create; it must not exist, or be empty.
        seed: seed of all random numbers.
        quick: take one minute: predict, train one autoencoder under one mask, draw one figure.
    """
    check_new_folder(out)
    check_folder_can_be_made(out)
    check_seed(seed)
    from hlvm.demo import DemoConfig, run_demo

    hold_back_log("absl")  # what Orbax says of a full disk
    config = DemoConfig(key=seed)
    use_compilation_cache()
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 150  # a log file has room for whole claims
    found = run_demo(config, out, quick=quick, console=console)
    print(f"the report is {out / 'report.html'}")
    return 0 if found.agrees else 1


# ---------------------------------------------------------------------- errors


def _raised_by_this_package(traceback: TracebackType | None) -> bool:
    """Tell whether the innermost frame is ours.

    The package raises ``ValueError`` for bad input, worded for users. One that comes from inside a library is our
    mistake, and its traceback is worth more than its message.
    """
    innermost = ""
    while traceback is not None:
        innermost = traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next
    return Path(innermost).is_relative_to(Path(__file__).parents[1])
