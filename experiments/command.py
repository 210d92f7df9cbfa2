"""The command line of an experiment."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import jax
from rich.console import Console
from rich.table import Table

from experiments.experiment import Experiment, Results, conduct, named_experiment
from experiments.groups import UnusableError
from hlvm._process import BAD_INPUT, complain, hold_back_log, run, run_whole_process, stopped
from hlvm.claims import Claim, Says
from hlvm.cli import use_compilation_cache
from hlvm.mae import one_device_per_core

_QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"
"""What XLA leaves out for smoke runs, most of whose time is compiling."""

_QUICKER_TO_COMPILE = "--xla_cpu_use_fusion_emitters=false"
"""The same; from 0.11 on jaxlib does not know it, and ends the process at a flag that it does not know."""


def command(name: str, arguments: Sequence[str] | None = None) -> int:
    """Carry out an experiment as the command line says.

    Args:
        name: of the experiment's module; it is imported under this name even where it runs as a script, so that
            workers find the same one.
        arguments: ``None`` for those of the process, which is then taken to be nothing but this experiment.

    Returns:
        The exit code: 0; 2 for input that cannot be used, or where there is no room; 130 on Ctrl-C; 143 on SIGTERM.
        Of all but 0 one line says why.
    """

    def load() -> Callable[[], int]:
        return lambda: _carry_out(named_experiment(name), sys.argv[1:] if arguments is None else arguments)

    return run_whole_process(load, name) if arguments is None else run(load(), name)


def _carry_out(experiment: Experiment, arguments: Sequence[str]) -> int:
    parser = _OneLineParser(
        prog=f"python -m experiments.{experiment.name}", description=f"{experiment.title}. {experiment.question}"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--preset", choices=tuple(experiment.presets), default="laptop", help="how much is run (default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="resume a run that was stopped")
    parser.add_argument(
        "--scheduler", metavar="local|tcp://...", help="hand groups to Dask workers; needs pip install 'hlvm[dask]'"
    )
    parser.add_argument(
        "--fits", type=Path, metavar="DIR", help="keep what is trained here, for experiments that train the same"
    )
    try:
        options = parser.parse_args(arguments)
    except UnusableError as error:
        complain(str(error), experiment.name)
        return BAD_INPUT
    hold_back_log("absl")  # what Orbax says of a full disk
    try:
        results = _conduct(experiment, options)
    except UnusableError as error:
        complain(str(error), experiment.name)
        return BAD_INPUT
    except KeyboardInterrupt as stop:
        if not (options.out / "config.json").exists():
            raise
        return stopped(stop, f"resume it with --resume: what was done is in {options.out}", experiment.name)
    except Exception as error:
        if (options.out / "config.json").exists():
            error.add_note(f"resume it with --resume: what was done is in {options.out}")
        raise
    print_claims(results.claims)
    Console().print(f"records, results and figures are in {options.out}", highlight=False)
    return 0


def _conduct(experiment: Experiment, options: argparse.Namespace) -> Results:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without "≥" shall still get the verdicts
    if options.preset == "smoke":
        quick = [_QUICK_TO_COMPILE] + [_QUICKER_TO_COMPILE] * (version("jaxlib") < "0.11")
        os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *quick])
    use_compilation_cache()
    if options.scheduler is not None:
        jax.config.update("jax_platforms", "cpu")  # accelerators are for the workers
    else:
        with contextlib.suppress(ValueError):  # JAX was told to leave CPUs out
            one_device_per_core()
    return conduct(
        experiment,
        experiment.presets[options.preset],
        out=options.out,
        resume=options.resume,
        scheduler=options.scheduler,
        fits=options.fits,
    )


class _OneLineParser(argparse.ArgumentParser):
    """Says what is wrong without repeating the usage."""

    def error(self, message: str) -> NoReturn:
        raise UnusableError(f"{message}; see {self.prog} --help")


def print_claims(claims: Sequence[Claim]) -> None:
    """A table of claims and verdicts, with the scores of each below it."""
    words = {True: "yes", False: "NO", None: "open"}
    table = Table()
    for heading in ("claim, and its scores", "value", "low", "high", "holds", "theory", "paper"):
        table.add_column(heading, justify="right" if heading in ("value", "low", "high") else "left")
    for claim in claims:
        sources = (claim.theory, claim.theory_agrees), (claim.paper, claim.paper_agrees)
        agrees = ["-" if stance.says is Says.NOTHING else words[agrees] for stance, agrees in sources]
        table.add_row(claim.text, "", "", "", words[claim.holds], *agrees)
        for name, *numbers in claim.rows:
            table.add_row(f"  {name}", *numbers[:3])
        table.add_section()
    Console().print(table)
