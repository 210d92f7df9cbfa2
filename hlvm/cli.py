"""The ``hlvm`` command: every subcommand checks its arguments, makes one call into the package, and prints.

Bad input gives one line on standard error and exit code 2, before any long work. JAX and everything that needs it are
imported by the commands that use them, so that ``hlvm --help`` is quick.
"""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro
from rich.console import Console

import hlvm
from hlvm import _records as records
from hlvm._files import atomic_path, check_new_folder, write_text_atomically
from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    import numpy as np

    from hlvm.simulator import HierarchicalModel, Sample

__all__ = ["main"]

_BAD_INPUT = 2
_INTERRUPTED = 130
_MechanismName = Literal["invertible-mlp", "linear-gaussian", "additive-noise-mlp"]

_Graph = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="GRAPH")]
_File = tyro.conf.arg(metavar="FILE")
_OptionalFile = tyro.conf.arg(metavar="FILE", help_behavior_hint="")

_app = tyro.extras.SubcommandApp()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; ``None`` takes those of the process.

    Returns:
        The exit code: 0 on success, 1 when the demo came out against the theory, 2 on bad input, 130 on Ctrl-C.

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
        code = _app.cli(
            prog="hlvm",
            description="Simulate hierarchical latent variable models, predict what a masked autoencoder can "
            "identify, and check. `hlvm COMMAND --help` shows an example; `hlvm --version` the version.",
            args=arguments,
        )
        sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted; no unfinished file was left behind")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has seen enough. Python flushes once more on exit: give it somewhere to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        _complain(f"{error.filename}: {error.strerror}" if named else str(error))
        return _BAD_INPUT
    except ValueError as error:
        if not _raised_by_this_package(error.__traceback__):
            raise
        _complain(str(error))
        return _BAD_INPUT
    return code


# ---------------------------------------------------------------------- commands


@_app.command
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
    _check_folder_can_be_made(out)
    _check_seed(seed)
    from hlvm.demo import DemoConfig, run_demo

    config = DemoConfig(seed=seed)
    _use_compilation_cache()
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 150  # a log file has room for whole claims
    return 0 if run_demo(config, out, console=console).agrees else 1


@_app.command
def theory(
    graph: _Graph,
    *,
    masked: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = (),
    ratio: Annotated[float | None, tyro.conf.arg(metavar="R", help_behavior_hint="")] = None,
    unit: Annotated[int | tuple[int, int], tyro.conf.arg(metavar="SIDE|ROWS COLUMNS")] = 1,
    regime: Literal["invertible", "general"] = "invertible",
    json: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> int:
    """What a mask, or random masks of one ratio, let a masked autoencoder identify; nothing is trained.

    Example: hlvm theory graph.json --masked x_0 x_1

    Example: hlvm theory graph.json --ratio 0.75 --unit 2

    Args:
        graph: a graph (.json, .graphml) or a saved model (.npz).
        masked: names of the masked observed variables; the others are visible.
        ratio: instead of --masked: the share of units that random masks hide, strictly between 0 and 1.
        unit: with --ratio: side of the masking unit in cells, or its rows and columns. Above 1 it needs a grid.
        regime: invertible mechanisms, or nothing assumed beyond the graph.
        json: print JSON instead of tables.
    """
    if bool(masked) == (ratio is not None):
        raise ValueError("give either --masked with at least one NAME, or --ratio R")
    if ratio is None and unit != 1:
        raise ValueError("--unit goes with --ratio: name single variables after --masked")
    if ratio is not None and regime == "general":
        raise ValueError("--ratio has a closed form in the invertible regime only: leave --regime out")
    loaded = _load_graph(graph, regime=regime)
    if ratio is None:
        from hlvm.theory import shared_information

        record = records.shared_information_record(loaded, shared_information(loaded, masked, regime=regime))
        print_record = records.print_shared_information
    else:
        from hlvm.masking import RandomMask
        from hlvm.theory import level_profile, membership_probability

        patches = RandomMask(ratio=ratio, unit=unit).patches_of(loaded)
        probability = membership_probability(loaded, ratio, patches=patches)
        record = records.profile_record(loaded, probability, level_profile(loaded, [ratio], patches=patches))
        print_record = records.print_profile
    if json:
        print(records.to_json(record))
    else:
        print_record(record)
    return 0


@_app.command
def sample(
    graph: _Graph,
    *,
    n: int,
    out: Annotated[Path, _File],
    seed: int = 0,
    mechanism: Annotated[
        _MechanismName | None, tyro.conf.arg(metavar="|".join(get_args(_MechanismName)), help_behavior_hint="")
    ] = None,
    save_model: Annotated[Path | None, _OptionalFile] = None,
) -> int:
    """Draw samples of every variable of a model into a .npz file.

    It holds one array (n, dim) per variable, named observed/NAME or latents/NAME, their noises as noise/NAME, and the
    graph as JSON text under "graph".

    Example: hlvm sample graph.json --n 1000 --out samples.npz --save-model model.npz

    Args:
        graph: a graph (.json, .graphml), whose mechanisms are drawn at random, or a saved model (.npz).
        n: number of samples, at least 1.
        out: the .npz file to write; it must not exist.
        seed: seed of the mechanisms and the samples. A model saved with --save-model gives the same samples again.
        mechanism: kind of the structural functions, for a graph; invertible-mlp if left out.
        save_model: also write the model to this new .npz file.
    """
    if n < 1:
        raise ValueError(f"--n must be at least 1, got {n}")
    _check_seed(seed)
    is_model = graph.suffix == ".npz"
    if is_model and mechanism is not None:
        raise ValueError(f"{graph} is a model, which has its mechanisms already: leave --mechanism out")
    _check_new_file(out, ".npz")
    if save_model is not None:
        _check_new_file(save_model, ".npz")
        if save_model.resolve() == out.resolve():
            raise ValueError("--out and --save-model name the same file")
    source = _load_model(graph) if is_model else LatentGraph.load(graph)
    _check_fits_into_memory(n, source if isinstance(source, LatentGraph) else source.graph)
    import jax

    _use_compilation_cache()
    key_model, key_draws = jax.random.split(jax.random.key(seed))
    model = _draw_model(key_model, source, mechanism or "invertible-mlp") if isinstance(source, LatentGraph) else source
    if save_model is not None:
        model.save(save_model)
    try:
        drawn = model.sample(key_draws, n)
        _write_sample(out, drawn)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ValueError(f"the device has not enough memory for {n} samples: take a smaller --n") from None
    print(f"wrote {n} samples of {len(model.graph.nodes)} variables to {out}")
    return 0


@_app.command
def score(
    z_hat: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="Z_HAT")],
    z: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="Z")],
    *,
    seed: int = 0,
    threshold: float = 0.9,
    out: Annotated[Path | None, _OptionalFile] = None,
) -> int:
    """How much of the latents Z a representation Z_HAT holds, and whether it identifies them.

    Both are .npy files of shape (rows, columns) with one row per sample. The exit code is 0 whatever the verdict is;
    it speaks of whether the scores could be computed.

    Example: hlvm score z_hat.npy z.npy

    Args:
        z_hat: the representation.
        z: the true latents, same rows.
        seed: seed of the split, the bootstrap and the permutations.
        threshold: R² that both directions must reach, strictly between 0 and 1.
        out: also write the result to this new .json file.
    """
    _check_seed(seed)
    if out is not None:
        _check_new_file(out, ".json")
    from hlvm import scoring
    from hlvm.scoring.inputs import paired_matrices

    code, latents = paired_matrices(str(z_hat), _load_array(z_hat), str(z), _load_array(z))
    verdict = scoring.block_verdict(code, latents, key=seed, threshold=threshold)
    pairs = zip(verdict.directions, ((code, latents), (latents, code)), strict=True)
    record = records.score_record(
        verdict,
        linear={direction: scoring.linear_r2(*pair, key=seed) for direction, pair in pairs},
        canonical=scoring.cca(code, latents, key=seed),
        chance=scoring.permutation_null(code, latents, key=seed),
    )
    if out is not None:
        write_text_atomically(out, records.to_json(record) + "\n")
    records.print_score(record)
    return 0


# ---------------------------------------------------------------------- errors


def _complain(message: str) -> None:
    """One line on standard error, whatever line breaks the message has."""
    print(f"hlvm: {' '.join(message.split())}", file=sys.stderr)


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


# ---------------------------------------------------------------------- checks before any work


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"--seed must be a whole number from 0 to {2**32 - 1}, got {seed}")


def _check_fits_into_memory(n: int, graph: LatentGraph) -> None:
    """Too large an array makes the compiled program abort, which no exception handler sees."""
    needed = n * sum(graph.dims) * 16  # values and noises, four bytes each, in both memory orders
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present or n >= 2**31:
        raise ValueError(
            f"{n} samples of {sum(graph.dims)} dims take about {needed / 2**30:.0f} GiB and this machine has "
            f"{present / 2**30:.0f}: take a smaller --n"
        )


def _check_new_file(path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise ValueError(f"the name of this output ends in {suffix}, got {path}")
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name, or remove it first")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")
    _check_writable(path.parent)


def _check_folder_can_be_made(path: Path) -> None:
    existing = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"{path} cannot be made: {existing} is a file")
    _check_writable(existing)


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write into {folder}: choose another folder")


# ---------------------------------------------------------------------- reading


def _load_graph(path: Path, *, regime: str) -> LatentGraph:
    """The graph of a file; a model's mechanisms must fit the regime."""
    if path.suffix != ".npz":
        return LatentGraph.load(path)
    model = _load_model(path)
    if regime == "invertible" and not model.invertible:
        raise ValueError(f"{path} has mechanisms that are not invertible: use --regime general (with --masked)")
    return model.graph


def _load_model(path: Path) -> HierarchicalModel:
    from hlvm.simulator import HierarchicalModel

    return HierarchicalModel.load(path)


def _load_array(path: Path) -> np.ndarray:
    import numpy as np

    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        reason = "a .npz archive: save the one array with numpy.save" if zipfile.is_zipfile(path) else error
        raise ValueError(f"{path} is not a .npy file of numbers: {reason}") from None


def _draw_model(key: Any, graph: LatentGraph, name: _MechanismName) -> HierarchicalModel:
    from hlvm.mechanisms import AdditiveNoiseMLP, InvertibleMLP, LinearGaussian
    from hlvm.simulator import HierarchicalModel

    kinds = {
        "invertible-mlp": InvertibleMLP,
        "linear-gaussian": LinearGaussian,
        "additive-noise-mlp": AdditiveNoiseMLP,
    }
    return HierarchicalModel.init(key, graph, kinds[name]())


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs of the command, unless the user's environment says otherwise."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    import jax

    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "hlvm" / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder)
    except OSError as error:
        _complain(f"compiled programs are not kept for the next run: {error}")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


# ---------------------------------------------------------------------- writing


def _write_sample(path: Path, drawn: Sample) -> None:
    import numpy as np

    parts = {"observed": drawn.observed, "latents": drawn.latents, "noise": drawn.noise}
    arrays: dict[str, Any] = {
        f"{part}/{name}": np.asarray(values) for part, variables in parts.items() for name, values in variables.items()
    }
    with atomic_path(path) as temporary:
        np.savez(temporary, graph=np.array(json.dumps(drawn.graph.to_dict())), **arrays)


if __name__ == "__main__":
    sys.exit(main())
