"""Measure what kills, Ctrl-C, SIGTERM and full disks leave, and whether runs that go on end as if undisturbed.

python benchmarks/faults.py [--out benchmarks/results/faults.json] [--quick] [--only JOB ...]

Five jobs (``hlvm train`` of two bottlenecks with states, ``hlvm sample``, ``hlvm score --out``, the experiment theorem2
at smoke size without and with two Dask workers) are run undisturbed first. Then each is stopped at moments drawn evenly
from its duration (fixed seed), once by SIGKILL, once by SIGINT to its process group, as a terminal sends it, and once
by SIGTERM; and each is run on a disk that becomes full: a tmpfs of 10 sizes up to what the job needs, or, where that
cannot be mounted, a limit of the size of files. Afterwards the same command goes on with ``--resume``, or is run again
where there is nothing to resume, and everything that it has written is compared bit for bit with what the undisturbed
run wrote. Where nothing was written the disk is as before, and it is not run again.

A signal that comes before the first line of this package runs is Python's to answer, and is counted apart: the process
does not catch SIGTERM yet, as /proc says, and ends in another way than promised. Linux only.

At full size this takes about an hour on two cores, which it keeps busy with two tries at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hlvm import LatentGraph
from hlvm._environment import environment

ROOT = Path(__file__).resolve().parent.parent
SEED = 19
PATIENCE = 300
"""Seconds after which a process counts as hung."""

_PAGE, _FILLER = 4096, "filler"
"""Bytes that a tmpfs hands out at a time, and a file that takes one."""

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
SETTINGS = """
[[network]]
kind = "bottleneck"
code_dim = 2
width = 16
[[network]]
kind = "bottleneck"
code_dim = 3
width = 16
[mask]
kind = "random"
ratio = 0.5
[train]
steps = 2000
batch = 32
warmup = 10
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A command.

    Attributes:
        name: what it is called.
        arguments: of ``python``; ``{folder}`` is where it writes.
        result: what of its folder must be the same after all.
        begun: what in its folder says that it can go on with ``--resume``; empty where it cannot.
    """

    name: str
    arguments: tuple[str, ...]
    result: str
    begun: str = ""

    def line(self, folder: Path, *, resume: bool = False) -> list[str]:
        """Command that is run."""
        given = [argument.format(folder=folder) for argument in self.arguments]
        return [sys.executable, *given, *(["--resume"] if resume else [])]


@dataclasses.dataclass(kw_only=True)
class Row:
    """Outcome of one kind of fault in one job.

    Attributes:
        job: its name.
        fault: what was done to it.
        tried: how often.
        finished: tries in which it was done before; the exit code is then 0.
        before_our_code: signals that came before this package ran and ended it without its line; in no other count.
        exit_code_right: tries that ended with 0, or with the code that is promised for this fault.
        one_line: tries that said one line and no more on standard error; those that were killed or done are counted in.
        tracebacks: tries that showed one.
        hung: tries that had to be killed after minutes.
        nothing_written: tries that left the folder as empty as it was; they are not run again.
        equal: tries after which going on, or running it again, gave what the undisturbed run gave, bit for bit.
        stuck: tries after which it neither went on nor began anew.
        temporary_files: tries that left some behind.
        temporary_files_at_end: tries that left some behind which were still there when all was done.
        processes: tries that left processes behind for more than some seconds.
        odd: what else was seen, shortened.
    """

    job: str
    fault: str
    tried: int = 0
    finished: int = 0
    before_our_code: int = 0
    exit_code_right: int = 0
    one_line: int = 0
    tracebacks: int = 0
    hung: int = 0
    nothing_written: int = 0
    equal: int = 0
    stuck: int = 0
    temporary_files: int = 0
    temporary_files_at_end: int = 0
    processes: int = 0
    odd: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class Ended:
    """End of a process."""

    code: int
    errors: str
    hung: bool = False
    caught: bool = True
    processes: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    parser.add_argument("--quick", action="store_true", help="few moments and sizes, to try the script out")
    parser.add_argument("--only", nargs="+", metavar="JOB", help="some of the jobs: train sample score theorem2 dask")
    parser.add_argument("--moments", type=int, help="moments of each signal (default: 50, or 3 with --quick)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or children of a job in the background would ignore it
    moments = arguments.moments or (3 if arguments.quick else 50)
    sizes = 2 if arguments.quick else 10
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        bench = Bench(Path(name))
        for job in bench.jobs():
            if arguments.only is not None and job.name not in arguments.only:
                continue
            seconds = bench.undisturbed(job)
            rows = [bench.signalled(job, number, moments) for number in (signal.SIGKILL, *EXIT_CODES)]
            rows.append(bench.on_a_full_disk(job, sizes))
            show(rows)
            if arguments.out is not None:
                keep(arguments.out, job, seconds, rows)


def keep(path: Path, job: Job, seconds: float, rows: list[Row]) -> None:
    """Put the rows of a job into the record, in the place of those that it had."""
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"undisturbed_seconds": {}, "rows": []}
    record |= {"environment": environment("jax", "jaxlib", "orbax-checkpoint", "h5py", "distributed"), "seed": SEED}
    record["undisturbed_seconds"][job.name] = round(seconds, 1)
    others = [row for row in record["rows"] if row["job"] != job.name]
    record["rows"] = others + [dataclasses.asdict(row) for row in rows]
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------- jobs


class Bench:
    """Runs jobs in folders of their own, two at a time, with programs that are compiled already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.needs: dict[str, int] = {}
        self._numbers = iter(range(10**9))
        self._lock = threading.Lock()
        self._environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def jobs(self) -> list[Job]:
        """The jobs; their inputs are made first."""
        inputs = self.folder / "inputs"
        inputs.mkdir()
        LatentGraph.quadtree(2).save(inputs / "graph.json")
        (inputs / "settings.toml").write_text(SETTINGS)
        random = np.random.default_rng(SEED)
        z = random.standard_normal((1500, 4))
        np.save(inputs / "z.npy", z)
        np.save(inputs / "z_hat.npy", np.tanh(z @ random.standard_normal((4, 4))))
        hlvm = ("-m", "hlvm.cli")
        sample = (*hlvm, "sample", f"{inputs}/graph.json", "--n", "4000", "--chunk-size", "250", "--seed", "3", "--out")
        made = self._run([sys.executable, *sample, f"{inputs}/data.h5"])
        if made.code:
            raise RuntimeError(made.errors)
        train = (*hlvm, "train", f"{inputs}/data.h5", "--config", f"{inputs}/settings.toml", "--save-every", "100")
        theorem2 = ("-m", "experiments.theorem2", "--preset", "smoke", "--out", "{folder}/out")
        return [
            Job(name="train", arguments=(*train, "--out", "{folder}/out"), result="out/fits", begun="out/run/run.json"),
            Job(name="sample", arguments=(*sample, "{folder}/a.h5"), result="a.h5", begun="a.h5.partial"),
            Job(
                name="score",
                arguments=(*hlvm, "score", f"{inputs}/z_hat.npy", f"{inputs}/z.npy", "--out", "{folder}/scores.json"),
                result="scores.json",
            ),
            Job(name="theorem2", arguments=theorem2, result="out/records.csv", begun="out/config.json"),
            Job(
                name="dask",
                arguments=(*theorem2, "--scheduler", "local"),
                result="out/records.csv",
                begun="out/config.json",
            ),
        ]

    def undisturbed(self, job: Job) -> float:
        """Run it twice, once to compile; keep what it gave, how long it took beside another one, and its size."""
        self._run(job.line(self._new_folder()))
        folders = [self._new_folder() for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            begin = time.perf_counter()
            ended = list(pool.map(self._run, [job.line(folder) for folder in folders]))
            self.seconds[job.name] = time.perf_counter() - begin
        for one, folder in zip(ended, folders, strict=True):
            if one.code:
                raise RuntimeError(f"{job.name} fails undisturbed: {one.errors}")
            self.whole.setdefault(job.name, digest(folder / job.result))
            if digest(folder / job.result) != self.whole[job.name]:
                raise RuntimeError(f"{job.name} does not give the same twice")
        self.needs[job.name] = sum(path.stat().st_size for path in folders[0].rglob("*") if path.is_file())
        return self.seconds[job.name]

    # ------------------------------------------------------------------ faults

    def signalled(self, job: Job, number: signal.Signals, moments: int) -> Row:
        """Send it a signal at so many moments."""
        row = Row(job=job.name, fault=number.name)
        random = np.random.default_rng([SEED, zlib.crc32(job.name.encode()), number])
        when = random.uniform(0, self.seconds[job.name], moments)

        def once(seconds: float) -> None:
            folder = self._new_folder()
            ended = self._run(job.line(folder), number, seconds)
            promised = EXIT_CODES.get(number, -number)
            undecidable = not ended.caught and ended.code not in (0, promised) and number in EXIT_CODES
            self._account(row, job, folder, ended, promised, f"{seconds:.2f} s", undecidable=undecidable)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(once, when))
        return row

    def on_a_full_disk(self, job: Job, sizes: int) -> Row:
        """Nothing is free at first, and nearly what is there at the end at last; what takes a page has but one size."""
        row = Row(job=job.name, fault="disk full")
        most = int(0.95 * self.needs[job.name])
        free = [0, *np.geomspace(_PAGE, most, sizes - 1).astype(int).tolist()] if most > _PAGE else [0]
        for size in free:
            folder = self._new_folder()
            with small_disk(folder, size) as (kind, limit, enlarge):
                row.fault = f"disk full ({kind})"
                ended = self._run(job.line(folder), limit=limit)
                enlarge()
                self._account(row, job, folder, ended, 2, f"{size} bytes")
        return row

    def _account(
        self, row: Row, job: Job, folder: Path, ended: Ended, promised: int, at: str, *, undecidable: bool = False
    ) -> None:
        left = temporary_files(folder)
        empty = all(path.name == _FILLER for path in folder.iterdir())
        again = None if empty else self._go_on(job, folder)
        equal = (folder / job.result).exists() and digest(folder / job.result) == self.whole[job.name]
        is_temporary = bool(temporary_files(folder))
        with self._lock:
            row.tried += 1
            row.nothing_written += empty
            row.equal += equal
            row.stuck += again is not None and again.code == 2
            row.temporary_files += bool(left)
            row.temporary_files_at_end += is_temporary
            row.processes += ended.processes
            if undecidable:
                row.before_our_code += 1
            else:
                lines = ended.errors.count("\n")
                row.finished += ended.code == 0
                row.exit_code_right += ended.code in (0, promised)
                row.one_line += lines == 1 or ended.code == 0 or promised < 0
                row.tracebacks += "Traceback" in ended.errors
                row.hung += ended.hung
                if ended.code not in (0, promised) or (lines > 1 and ended.code > 0):
                    row.odd.append(f"at {at}: exit code {ended.code}, {lines} lines: {ended.errors[-300:]!r}")
            if is_temporary:
                row.odd.append(f"at {at}: left {[path.name for path in temporary_files(folder)]}")
            if not equal and not empty:
                said = "nothing more was run" if again is None else f"{again.code} {again.errors[-300:]!r}"
                row.odd.append(f"at {at}: not equal after going on: {said}")
        shutil.rmtree(folder, ignore_errors=True)

    def _go_on(self, job: Job, folder: Path) -> Ended | None:
        """With ``--resume`` where it was begun; anew where it was not; not at all where it is done."""
        if (folder / job.result).exists() and not (job.begun and job.name in ("theorem2", "dask")):
            return None
        resume = bool(job.begun) and (folder / job.begun).exists()
        again = self._run(job.line(folder, resume=resume))
        if again.code == 2 and job.begun:
            again = self._run(job.line(folder, resume=not resume))
        return again

    # ------------------------------------------------------------------ processes

    def _run(
        self, line: list[str], number: signal.Signals | None = None, after: float = 0.0, limit: int | None = None
    ) -> Ended:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environ,
            cwd=ROOT,
            start_new_session=True,
        )
        if limit is not None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        caught = True
        if number is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(after)
            if process.poll() is None:
                caught = catches_sigterm(process.pid)
                send = os.killpg if number == signal.SIGINT else os.kill
                send(process.pid, number)
        try:
            errors = process.communicate(timeout=PATIENCE)[1]
            hung = False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            errors, hung = process.communicate()[1], True
        return Ended(
            code=process.returncode, errors=errors, hung=hung, caught=caught, processes=leaves_processes(process.pid)
        )

    def _new_folder(self) -> Path:
        with self._lock:
            folder = self.folder / f"try-{next(self._numbers)}"
        folder.mkdir()
        return folder


# ---------------------------------------------------------------------- looking


def digest(path: Path) -> str:
    """Of what was computed: parameters and losses of fits, arrays of a data set, bytes of a file."""
    found = hashlib.sha256()
    if path.is_dir():
        from hlvm.mae import load_fits

        for fit in load_fits(path):
            found.update(np.asarray(fit.params).tobytes() + np.asarray(fit.losses).tobytes())
    elif path.suffix == ".h5":
        from hlvm.datasets import load_dataset

        with load_dataset(path) as data:
            for kind, arrays in sorted(data.rows(slice(None)).items()):
                for name, array in sorted(arrays.items()) if isinstance(arrays, dict) else [("", arrays)]:
                    found.update(f"{kind}/{name}".encode() + np.asarray(array).tobytes())
    else:
        found.update(path.read_bytes())
    return found.hexdigest()


def temporary_files(folder: Path) -> list[Path]:
    """Files and folders that are written under such names before they are renamed."""
    marks = (".orbax-checkpoint-tmp", ".tmp")
    return [path for path in folder.rglob("*") if path.name.startswith(".") or any(m in path.name for m in marks)]


def catches_sigterm(process: int) -> bool:
    """Tell whether it has a handler: Python has none, and this package takes that of SIGTERM together with Ctrl-C's."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def leaves_processes(session: int) -> bool:
    """Tell whether processes of the session are there after some seconds; they are killed."""
    for _ in range(100):
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
    return True


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[str, int | None, Callable[[], None]]]:
    """A disk with so many free bytes at the folder, or else a limit of files; what is called makes room."""

    def mount(options: str) -> bool:
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            return subprocess.run(line, capture_output=True).returncode == 0
        except OSError:
            return False

    def enlarge() -> None:
        mount("remount,size=1g")

    if not mount(f"size={size + _PAGE}"):  # 0 would be no limit
        yield "RLIMIT_FSIZE", size, lambda: None
        return
    try:
        (folder / _FILLER).write_bytes(b"0" * _PAGE)
        yield "tmpfs", None, enlarge
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# ---------------------------------------------------------------------- showing


def show(rows: list[Row]) -> None:
    names = [field.name for field in dataclasses.fields(Row) if field.name != "odd"]
    table = Table(title=rows[0].job, title_justify="left")
    for name in names[1:]:
        table.add_column(name.replace("_", " "), justify="left" if name == "fault" else "right")
    for row in rows:
        table.add_row(*(str(getattr(row, name)) for name in names[1:]))
    console = Console(width=150)
    console.print(table)
    for row in rows:
        for odd in row.odd:
            console.print(f"{row.fault}: {odd}", highlight=False, markup=False)


if __name__ == "__main__":
    main()
