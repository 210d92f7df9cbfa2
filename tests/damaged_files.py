"""Reads many damaged files of one kind in a process of its own, and says what came of each; see test_damaged_files.py.

python damaged_files.py prepare FOLDER
python damaged_files.py read FOLDER KIND FIRST LAST
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from damage import copy, damage

ROOT = Path(__file__).parent.parent
MEMORY, SECONDS = 12 * 2**30, 600
"""Address space of a process, and time for one file after which it is taken to hang."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """Attributes: file or folder that is damaged, how it is read, how many are tried, what its numbers are protected
    against ("all", "damage" or "nothing": edits that make check sums fit are no damage), a command line that reads it,
    if there is one, and the share that must be refused at least, or damage is not what it was."""

    name: str
    read: Callable[[Path], Any]
    tries: int = 100
    protected: str = "all"
    command: tuple[str, ...] = ()
    refused: float = 0.1


# ---------------------------------------------------------------------- what is read


def _graph(path):
    from hlvm.cli.input import load_graph

    return load_graph(str(path)).to_dict()


def _settings(path):
    from hlvm.cli.settings import load_settings

    return repr(load_settings(path))


def _mask(path):
    from hlvm.cli.input import masked_names

    return masked_names(None, path)


def _arrays(path, names=""):
    from hlvm.cli.arrays import columns_of

    return np.asarray(columns_of(f"{path}{names}").values)


def _data_set(path):
    from hlvm.datasets import load_dataset

    with load_dataset(path) as data:
        parts = [sorted((name, np.asarray(v)) for name, v in part.items()) for part in _parts(data)]
        images = None if data.images is None else np.asarray(data.images)
        return parts, images, None if data.graph is None else data.graph.to_dict(), dict(data.about)


def _parts(data):
    return data.latents, data.observed, data.noise


def _model(path):
    import jax

    from hlvm.simulator import HierarchicalModel

    model = HierarchicalModel.load(path)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model)], repr(model), model.graph.to_dict()


def _partial(path):
    target = path.with_suffix("")
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    _write_data_set(target, resume=True)
    return _data_set(target)


def _results(path):
    from experiments.experiment import load_results

    found = load_results(path)
    return found.config, found.prediction, found.records.to_csv(), [claim.to_dict() for claim in found.claims]


def _experiment(path):
    import counting_experiment as counting

    from experiments.experiment import conduct

    found = conduct(counting.EXPERIMENT, _experiment_config(path), out=path, resume=True)
    return found.prediction, found.records.to_csv(), [claim.to_dict() for claim in found.claims]


def _fits(path):
    import jax

    from hlvm import mae
    from hlvm.masking import mask_to_dict

    found = []
    for fit in mae.load_fits(path):
        arrays = [np.asarray(fit.params), np.asarray(fit.losses), np.asarray(fit.shift), np.asarray(fit.scale)]
        held_out = None if fit.held_out is None else [np.asarray(x) for x in fit.held_out]
        about = (repr(fit.network), repr(fit.train), repr(fit.loss), mask_to_dict(fit.mask), fit.seed, fit.diverged)
        data = [np.asarray(leaf) for leaf in jax.tree.leaves(fit.model) if hasattr(leaf, "dtype")]
        graph = fit.model.graph.to_dict()
        found.append((arrays, held_out, about, data, graph, np.asarray(jax.random.key_data(fit.key))))
    return found


def _run(path):
    """The fit that a run ends with which goes on from its states."""
    fit = _train(path)
    return np.asarray(fit.params), np.asarray(fit.losses)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("graph.json", _graph, 120, "all", ("theory", "{}", "--masked", "x_0")),
        Kind("graph.graphml", _graph, 120, "nothing", ("theory", "{}", "--masked", "x_0")),
        Kind("settings.toml", _settings, 100, "nothing", ("train", "model.npz", "--config", "{}", "--plan")),
        Kind("settings.json", _settings, 100, "nothing", ("train", "model.npz", "--config", "{}", "--plan")),
        Kind("mask.json", _mask, 100, "nothing", ("theory", "graph.json", "--mask-file", "{}")),
        Kind("table.csv", _arrays, 120, "nothing", ("score", "{}", "code.npy")),
        Kind("table.parquet", _arrays, 100, "nothing", ("score", "{}", "code.npy")),
        Kind("code.npy", _arrays, 100, "nothing", ("score", "{}", "code.npy")),
        Kind("arrays.npz", functools.partial(_arrays, names="::z"), 120, "nothing", ("score", "{}::z", "code.npy")),
        Kind("arrays.h5", functools.partial(_arrays, names="::z"), 120, "nothing", ("score", "{}::z", "code.npy")),
        Kind(
            "codes.npz",
            functools.partial(_arrays, names="::member_0"),
            60,
            "damage",
            ("score", "{}::member_0", "code.npy"),
        ),
        Kind("samples.npz", _data_set, 130, "damage", ("train", "{}", "--config", "settings.json", "--plan")),
        Kind("samples.h5", _data_set, 130, "damage", ("train", "{}", "--config", "settings.json", "--plan")),
        Kind("images.h5", _data_set, 120, "damage", ("train", "{}", "--config", "settings.json", "--plan")),
        Kind("model.npz", _model, 130, "all", ("theory", "{}", "--masked", "x_0")),
        Kind("unfinished.h5.partial", _partial, 100, "damage"),
        Kind("results", _results, 120),
        Kind("experiment", _experiment, 100),
        Kind("fits_of_model", _fits, 60),
        Kind("fits_of_samples", _fits, 60),
        Kind("fits_of_images", _fits, 60),
        Kind("run", _run, 40, refused=0.02),  # it goes on from the state before, unless all are damaged
    )
}


# ---------------------------------------------------------------------- what is written


def prepare(folder: Path) -> None:
    """Write a sound file of every kind."""
    import h5py
    import jax
    import pandas as pd

    from experiments.experiment import conduct
    from hlvm import mae
    from hlvm._files.arrays import write_npz
    from hlvm.datasets import load_dataset, write_dataset
    from hlvm.graph import LatentGraph
    from hlvm.images import QuadtreeImages
    from hlvm.masking import RandomMask
    from hlvm.mechanisms import LinearGaussian
    from hlvm.simulator import HierarchicalModel

    graph = LatentGraph.tree(2, 2)
    graph.save(folder / "graph.json")
    graph.save(folder / "graph.graphml")
    network = {"kind": "bottleneck", "code_dim": 2, "width": 8, "depth": 1}
    settings = {"seed": 3, "seeds": [0, 1], "network": network, "mask": {"kind": "random", "ratio": 0.5}}
    train = {"steps": 150, "batch": 8, "warmup": 5}
    (folder / "settings.json").write_text(json.dumps(settings | {"train": train}, indent=1))
    (folder / "settings.toml").write_text(
        'seed = 3\nseeds = [0, 1]\n\n[network]\nkind = "bottleneck"\ncode_dim = 2\nwidth = 8\ndepth = 1\n\n'
        '[mask]\nkind = "random"\nratio = 0.5\n\n[train]\nsteps = 150\nbatch = 8\nwarmup = 5\n'
    )
    (folder / "mask.json").write_text('["x_0", "x_2"]')
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 2))
    pd.DataFrame(z, columns=["a", "b"]).to_csv(folder / "table.csv", index=False)
    pd.DataFrame(z, columns=["a", "b"]).to_parquet(folder / "table.parquet")
    np.save(folder / "code.npy", np.tanh(z))
    np.savez(folder / "arrays.npz", z=z, code=np.tanh(z))
    write_npz(folder / "codes.npz", {"member_0": z, "member_1": np.tanh(z)}, {"pooling": "mean"})
    with h5py.File(folder / "arrays.h5", "w") as file:
        file["z"], file["more/code"] = z, np.tanh(z)
    model = HierarchicalModel.init(jax.random.key(0), graph, LinearGaussian())
    model.save(folder / "model.npz")
    for name in ("samples.npz", "samples.h5"):
        write_dataset(folder / name, model, 30, key=jax.random.key(1), chunk_size=16)
    images = QuadtreeImages.init(jax.random.key(0), height=2)
    write_dataset(folder / "images.h5", images, 12, key=jax.random.key(1))
    _interrupted(folder / "unfinished.h5")
    config = _experiment_config(folder / "experiment")
    import counting_experiment as counting

    for name in ("results", "experiment"):
        conduct(counting.EXPERIMENT, config, out=folder / name)
    for name in ("records.csv", "results.json", "draws.png"):
        (folder / "experiment" / name).unlink()
    for path in (folder / "results").iterdir():  # those that are read alone
        if path.name not in ("records.csv", "results.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    small, short = mae.BottleneckConfig(code_dim=2, width=4, depth=1), mae.TrainConfig(steps=4, batch=4, warmup=1)
    for name, data in (("model", model), ("samples", load_dataset(folder / "samples.npz")), ("images", images)):
        key = jax.random.key(2)
        held = dataclasses.replace(short, held_out=5) if name == "samples" else short
        mae.save_fits(folder / f"fits_of_{name}", [mae.fit(key, data, RandomMask(ratio=0.5), small, held)])
    _train(folder / "run")


def _experiment_config(path):
    import counting_experiment as counting

    return counting.Config(notes=os.devnull, n_groups=6)


def _source():
    import jax

    from hlvm.graph import LatentGraph
    from hlvm.mechanisms import LinearGaussian
    from hlvm.simulator import HierarchicalModel

    return HierarchicalModel.init(jax.random.key(0), LatentGraph.tree(2, 2), LinearGaussian())


def _write_data_set(path, **options):
    import jax

    from hlvm.datasets import write_dataset

    write_dataset(path, _source(), 20, key=jax.random.key(4), chunk_size=5, **options)


def _interrupted(path):
    from hlvm.datasets import writing

    write, calls = writing._write_chunk, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(*arguments, **options)

    writing._write_chunk = stopped
    with contextlib.suppress(KeyboardInterrupt):
        _write_data_set(path)
    writing._write_chunk = write


def _train(path):
    import jax

    from hlvm import mae
    from hlvm.mae.training import training
    from hlvm.masking import RandomMask

    if not hasattr(_train, "compiled"):  # all runs are of one program
        compile_program = training.compile_program
        _train.compiled = {}

        def once(lowered, platform):
            if platform not in _train.compiled:
                _train.compiled[platform] = compile_program(lowered, platform)
            return _train.compiled[platform]

        training.compile_program = once
    return mae.fit(
        jax.random.key(2), _source(), RandomMask(ratio=0.5), mae.BottleneckConfig(code_dim=2, width=4, depth=1),
        mae.TrainConfig(steps=300, batch=4, warmup=1), checkpoints=mae.Checkpoints(folder=path, every=100, keep=2),
    )  # fmt: skip


# ---------------------------------------------------------------------- what came of it


def digest_of(content: Any) -> str:
    """The same for equal contents alone: types, shapes and all bits of arrays."""
    found = hashlib.sha256()

    def add(part):
        if isinstance(part, np.ndarray) and part.dtype.kind != "O":
            found.update(f"{part.dtype.str}{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        elif isinstance(part, dict):
            for key in sorted(part, key=str):
                add((key, part[key]))
        elif isinstance(part, (list, tuple)):
            found.update(f"[{len(part)}".encode())
            for one in part:
                add(one)
        else:
            found.update(repr(part).encode())

    add(content)
    return found.hexdigest()


def outcome(kind: Kind, path: Path, sound: str) -> tuple[str, str]:
    """Say what came of reading: equal, other, refused, or the traceback that a user would see."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = digest_of(kind.read(path))
    except OSError as error:
        return "refused", str(error)
    except ValueError as error:
        innermost = traceback.extract_tb(error.__traceback__)[-1].filename
        ours = Path(innermost).is_relative_to(ROOT / "hlvm") or Path(innermost).is_relative_to(ROOT / "experiments")
        return ("refused" if ours and len(str(error)) < 2000 else "traceback"), f"{innermost}: {error}"
    except BaseException as error:
        return "traceback", "".join(traceback.format_exception(error)[-2:])[-600:]
    return ("equal" if found == sound else "other"), ""


def by_command(kind: Kind, folder: Path, path: Path, came: str) -> str:
    """Say what is wrong with what the command line makes of it; nothing if it is as it shall be."""
    from hlvm import cli

    line = [part.format(path) for part in kind.command]
    line = [str(folder / part) if (folder / part).exists() and part != str(path) else part for part in line]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = cli.main(line)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:600]
    if came == "refused" and code != 2 and path.suffix != ".h5":  # of which no more is read than is needed
        return f"exit code {code} of a file that is refused"
    if code not in (0, 2) or (code == 2 and err.getvalue().count("\n") != 1):
        return f"exit code {code}: {err.getvalue()[:600]}"
    return ""


def read(folder: Path, kind: Kind, first: int, last: int) -> None:
    """Damage and read; one line of JSON for each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    work = folder / f"damaged_{kind.name}"
    work.mkdir(exist_ok=True)
    path = work / kind.name
    copy(folder / kind.name, path)
    sound = digest_of(kind.read(path))
    copy(folder / kind.name, path)
    assert sound == digest_of(kind.read(path)), "reading is not the same twice"
    for number in range(first, last):
        copy(folder / kind.name, path)
        rng = np.random.default_rng([int.from_bytes(kind.name.encode(), "little") % 2**32, number])
        how = damage(path, rng)
        print(json.dumps({"number": number, "how": how}), flush=True)
        signal.alarm(SECONDS)
        damaged = path.read_bytes() if path.is_file() else None
        came, why = outcome(kind, path, sound)
        said = ""
        if kind.command and number % 8 == 0 and came != "traceback":
            path.write_bytes(damaged)
            said = by_command(kind, folder, path, came)
        signal.alarm(0)
        print(json.dumps({"number": number, "came": came, "why": why, "command": said}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]))
    else:
        read(Path(sys.argv[2]), KINDS[sys.argv[3]], int(sys.argv[4]), int(sys.argv[5]))
