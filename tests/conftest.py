"""What every test runs under: no window system, no compiled programs from earlier runs, the same examples each time."""

import gc
import itertools
import os
import shutil
import signal
import stat
import sys
import tempfile
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Before JAX and Matplotlib are imported, which read these once.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
os.environ["MPLBACKEND"] = "Agg"
# Compiling is most of the time; unoptimised programs compile faster and compute the same up to rounding.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
if version("jaxlib") < "0.11":  # later ones end the process at a flag that they no longer know
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
_cache = tempfile.TemporaryDirectory(prefix="hlvm-tests-")  # removed when the process ends
os.environ["XDG_CACHE_HOME"] = _cache.name

_MOST_MAPS = 30_000
_MOST_BYTES = min(4 * 2**30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 6)  # several workers share it


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Drop the compiled programs of earlier modules before there are too many of them.

    They are never dropped otherwise: they take gigabytes, and each maps pieces of memory, of which Linux allows a
    process 65,530. Beyond either the compiler aborts.
    """
    yield
    maps, pages = Path("/proc/self/maps"), Path("/proc/self/statm")
    if "jax" in sys.modules and maps.exists():
        resident = int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if resident > _MOST_BYTES or maps.read_bytes().count(b"\n") > _MOST_MAPS:
            sys.modules["jax"].clear_caches()
            gc.collect()


settings.register_profile(
    "deterministic",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # nothing shall depend on how busy the machine is
)
settings.load_profile("deterministic")


# ---------------------------------------------------------------------- the command line
# The package is imported inside, after pytest has arranged for its arrays to be checked.


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder of inputs, good and bad; no test writes into it."""
    from hlvm.graph import LatentGraph, pure_children_chain
    from hlvm.mechanisms import LinearGaussian
    from hlvm.simulator import HierarchicalModel

    path = tmp_path_factory.mktemp("inputs")
    LatentGraph.tree(2, 2).save(path / "tree.json")
    LatentGraph.quadtree(2).save(path / "grid.json")
    LatentGraph.quadtree(5).save(path / "large.json")
    windows = [(f"z{i}", f"x{i + j}") for i in range(19) for j in range(3)]
    LatentGraph.from_edges(windows).save(path / "windows.json")
    LatentGraph.from_edges([("z", "x1"), ("z", "x2")], dims={"z": 3, "x1": 1, "x2": 1}).save(path / "dims.json")
    LatentGraph.from_edges([("a", "x1"), ("a", "x2"), ("b", "x3")]).save(path / "apart.json")
    pure_children_chain(70).save(path / "deep.json")
    HierarchicalModel.init(0, LatentGraph.tree(2, 2), LinearGaussian()).save(path / "model.npz")
    (path / "mask.json").write_text('["x_0", "x_2"]')
    (path / "nothing.json").write_text("[]")
    # Names that are markup for rich, or paths in an archive.
    LatentGraph.from_edges([("[red] z", "x/1"), ("[red] z", "../x 2"), ("y", "../x 2")]).save(path / "odd.json")
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    np.save(path / "z.npy", z)
    np.save(path / "z_hat.npy", np.tanh(z) @ np.array([[1.0, 2.0], [1.0, -1.0]]))
    np.save(path / "noise.npy", rng.normal(size=(300, 2)))
    np.save(path / "short.npy", z[:-1])
    np.save(path / "nan.npy", np.where(np.arange(600).reshape(300, 2) == 77, np.nan, z))
    np.save(path / "constant.npy", np.zeros((300, 2)))
    np.save(path / "text.npy", np.array(["a"] * 300))
    np.save(path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    np.savez(path / "archive.npz", z=z)
    (path / "empty.npy").touch()
    (path / "broken.json").write_text('{"edges": [')
    (path / "list.json").write_text("[1, 2]")
    (path / "cycle.json").write_text('{"edges": [["a", "b"], ["b", "a"], ["a", "x"]]}')
    (path / "binary.json").write_bytes(b"\x80\xff")
    (path / "full").mkdir()
    (path / "full" / "results.json").touch()
    return path


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Run the command among the inputs; returns its exit code, output and errors. ``{new}`` is an empty folder."""
    from hlvm import cli

    monkeypatch.chdir(folder)

    def run(*arguments):
        code = cli.main([argument.format(new=tmp_path) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def in_terminal():
    """Ctrl-C raises KeyboardInterrupt; in the background, where tests may run, it would be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def refused(run, tmp_path):
    """Check that a command line gives one line of error and exit code 2, and writes nothing; returns that line."""

    def refused(line, message):
        code, out, err = run(*line.split())
        assert (code, out) == (2, "")
        assert message in err
        assert err.startswith("hlvm: ")
        assert err.count("\n") == 1
        assert not list(tmp_path.iterdir())
        return err

    return refused


# ---------------------------------------------------------------------- damage


@pytest.fixture
def lose_power(monkeypatch):
    """A context that records what is flushed, and at its end loses the power.

    Contents of files come back only if they were flushed after they were last written, names of files and folders only
    if the folder that holds them was flushed afterwards.
    """

    @contextmanager
    def lose_power(folder):
        flushed, names = {}, {}
        fsync = os.fsync

        def record(descriptor):
            fsync(descriptor)
            status = os.fstat(descriptor)
            place = os.readlink(f"/proc/self/fd/{descriptor}")
            if stat.S_ISDIR(status.st_mode):
                names[status.st_ino] = {
                    os.stat(entry.path, follow_symlinks=False).st_ino for entry in os.scandir(place)
                }
            else:
                flushed[status.st_ino] = status.st_size, status.st_mtime_ns

        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", record)
            try:
                yield
            finally:
                _lose(folder, flushed, names)

    return lose_power


def _lose(folder, flushed, names):
    for path in list(folder.iterdir()):
        status = path.stat(follow_symlinks=False)
        if status.st_ino not in names.get(folder.stat().st_ino, ()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif path.is_dir():
            _lose(path, flushed, names)
        elif flushed.get(status.st_ino) != (status.st_size, status.st_mtime_ns):
            path.write_bytes(b"")


@pytest.fixture
def refused_or_equal():
    """Flip every byte of a file in turn and cut it short everywhere; what is read is equal or refused in one line.

    Returns how often it was refused, and how often equal.
    """

    def refused_or_equal(path, read, expected, *, every=1, flips=(1, 32)):
        whole, counts = path.read_bytes(), [0, 0]
        flipped = (
            whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
            for at in range(0, len(whole), every)
            for flip in flips
        )
        for damaged in itertools.chain(flipped, (whole[:end] for end in range(0, len(whole), 7 * every))):
            _overwrite(path, damaged)
            error, found = _outcome(read)
            if error is None:
                assert found == expected
            else:
                assert str(path) in error
                assert "\n" not in error
            counts[error is None] += 1
        _overwrite(path, whole)
        assert read() == expected
        return counts

    return refused_or_equal


def _overwrite(path, content):
    """Write in place: some file systems wait for the disk when a file is emptied first."""
    with path.open("r+b") as file:
        file.write(content)
        if len(content) < file.seek(0, os.SEEK_END):
            file.truncate(len(content))


def _outcome(read):
    try:
        return None, read()
    except ValueError as error:
        return str(error), None
