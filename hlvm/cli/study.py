"""The command ``study``: a masking ablation, from the prediction to the page."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from hlvm._files import as_path, atomic_path, write_text_atomically
from hlvm._html import outcomes
from hlvm._process import complain, hold_back_log, stopped
from hlvm.cli.compilation import use_compilation_cache
from hlvm.cli.families import Mechanism, check_mechanism
from hlvm.cli.input import Flag, check_folder_can_be_made, check_new_file
from hlvm.cli.tables import number, print_table

if TYPE_CHECKING:
    from hlvm.cli.study_settings import StudySettings
    from hlvm.study import Study, StudyProgress, StudyResult

__all__ = ["study"]

_EXAMPLE = "study_example.toml"


def study(
    data: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="DATA", help_behavior_hint="")] = None,
    *,
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("study.toml"),
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None,
    resume: Flag = False,
    plan: Flag = False,
    example: Flag = False,
    mechanism: Mechanism = None,
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="local|ADDRESS", help_behavior_hint="")] = None,
    devices: Literal["auto", "one", "all", "cores"] = "auto",
    save_every: int = 1000,
) -> int:
    """Compare masks, networks and losses: predict, train, score, decide, and write a page.

    Every combination is trained with several seeds. DIR gets report.html and figure.png, table.csv (by latent) and
    heights.csv, results.json (see hlvm.study.load_study), prediction.json and the fits. The prediction is written
    before anything is trained. --resume continues an interrupted study and repeats no finished part; the end is the
    same as without the interruption. Exit code 1 means that all fits diverged.

    Example: hlvm study --example

    Example: hlvm study graph.json --config study.toml --out runs/first

    Args:
        data: a graph (.json, .graphml), with mechanisms drawn at random; a saved model (.npz, or the folder of an image
            model); a data set with latents and a graph inside (.npz, .h5, .hdf5), with some rows kept for the scores;
            or a family of images (quadtree, shapes or grammar).
        config: the settings (.toml or .json); --example shows all of them.
        out: the folder of results; it must not exist, except with --resume. Required without --plan.
        resume: continue an interrupted study, with the same data and settings, or read a finished one.
        plan: train nothing; only predict the cost of the study.
        example: only write commented settings to the file after --config, which must not exist.
        mechanism: graphs: kind of the structural functions; invertible-mlp if left out.
        scheduler: train on Dask workers: local for one worker on each core of this machine, or the address of a
            scheduler, such as tcp://host:8786.
        devices: without --scheduler. auto: accelerators if there are any, otherwise one device per core of the CPU.
            one: one device. all: all devices that JAX finds. cores: one device per core. A resumed study uses as many
            devices as before.
        save_every: steps between two saved states of training.
    """
    if example:
        return _write_example(data, config)
    if data is None:
        raise ValueError(
            "DATA is missing: give a graph, a model or a data set; hlvm study --example writes first settings"
        )
    check_mechanism(mechanism)
    if save_every < 1:
        raise ValueError(f"--save-every must be at least 1, got {save_every}")
    if not plan and out is None:
        raise ValueError("--out DIR is missing: give a folder for the results; only --plan needs none")
    if scheduler is not None and devices != "auto":
        raise ValueError("--devices is for this process only: leave it out with --scheduler")
    from hlvm.cli.study_data import load_study_data
    from hlvm.cli.study_settings import load_study_settings
    from hlvm.study.workers import check_scheduler

    check_scheduler(scheduler)
    settings = load_study_settings(config)
    out = None if out is None else as_path(out)
    if out is not None and not plan:
        check_folder_can_be_made(out)
        _check_out(out, resume=resume)
    hold_back_log("absl")  # what Orbax says of a full disk
    use_compilation_cache()
    chosen = None if scheduler is not None else _devices(devices, out)
    generators = settings.numbers.get("generators", 1)
    source = load_study_data(data, seed=settings.seed, generators=generators, mechanism=mechanism)
    try:
        return _run(source, settings, config, None if plan else out, resume, scheduler, chosen, save_every)
    finally:
        if hasattr(source, "close"):
            source.close()


def _run(
    source: Any,
    settings: StudySettings,
    config: Path,
    out: Path | None,
    resume: bool,
    scheduler: str | None,
    devices: Sequence[Any] | None,
    save_every: int,
) -> int:
    """Do the study in a folder, or without one print the plan."""
    from hlvm.cli.settings import errors_of_settings

    with errors_of_settings(config, words=settings.words):
        planned = settings.study(source)
        names = [arm.name for arm in planned.arms]
    try:
        with errors_of_settings(config, names, settings.words):
            if out is None:
                print(planned.plan(settings.seed, devices=devices, **settings.stages))
                return 0
            found = _found(planned, settings, out, resume, scheduler, devices, save_every)
        _write_results(out, found)
    except KeyboardInterrupt as stop:
        if out is None or not _is_begun(out):
            raise
        return stopped(stop, f"finished parts are kept in {out}: resume with --resume, or remove it")
    except Exception as error:
        if out is not None and _is_begun(out):
            error.add_note(f"finished parts are kept in {out}: resume with --resume")
        raise
    _print_results(out, found)
    if found.diverged:
        of = f"{len(found.diverged)} of {len(found.losses)} diverged"
        complain(f"{of}: try a lower learning_rate or a longer warmup in [train]")
    if found.collapsed:
        of = f"{len(found.collapsed)} of {len(found.losses)} have a code that collapsed"
        complain(f"{of}, the first is {found.collapsed[0]}")
    return int(len(found.diverged) == len(found.losses))


def _found(
    planned: Study,
    settings: StudySettings,
    out: Path,
    resume: bool,
    scheduler: str | None,
    devices: Sequence[Any] | None,
    save_every: int,
) -> StudyResult:
    from hlvm import mae

    with _bars() as bars, warnings.catch_warnings():
        warnings.simplefilter("ignore", mae.DivergenceWarning)  # said with the results
        return planned.run(
            settings.seed,
            out=out,
            resume=resume,
            scheduler=scheduler,
            devices=devices,
            save_every=save_every,
            on_progress=_Watcher(bars),
            **settings.stages,
        )


# ---------------------------------------------------------------------- checks


def _write_example(data: str | None, path: Path) -> int:
    if data is not None:
        raise ValueError("--example needs no DATA: leave it out")
    check_new_file(path, ".toml")
    write_text_atomically(path, resources.files("hlvm.cli").joinpath(_EXAMPLE).read_text(encoding="utf-8"))
    print(f"wrote settings of a study to {path}; its first lines say how to run it")
    return 0


def _check_out(out: Path, *, resume: bool) -> None:
    if _is_begun(out) and not resume:
        raise ValueError(f"{out} holds a study already: resume it with --resume, or choose another folder")


def _is_begun(out: Path) -> bool:
    return (out / "study.json").exists()


def _devices(option: str, out: Path | None) -> list[Any] | None:
    import jax

    from hlvm import mae
    from hlvm.study.running import devices_of_study

    if option == "auto":
        return mae.fastest_devices(None if out is None else devices_of_study(out))
    devices = mae.one_device_per_core() if option == "cores" else list(jax.devices())
    return devices[:1] if option == "one" else devices


# ---------------------------------------------------------------------- watching


class _Watcher:
    """One bar for the whole study, with the time left at the speed until now."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("study", total=1.0, groups="", left="compiling")

    def __call__(self, progress: StudyProgress) -> None:
        self._bars.update(
            self._task,
            completed=progress.share,
            groups=f"{progress.groups_done} of {progress.groups} groups",
            left="" if progress.seconds_left is None else f"{_in_time(progress.seconds_left)} left",
        )


def _in_time(seconds: float) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> _in_time(4210.3)
        '1:10:11'
    """
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _bars() -> Bars:
    console = Console(stderr=True)
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[groups]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


# ---------------------------------------------------------------------- results


def _write_results(out: Path, found: StudyResult) -> None:
    from hlvm.plotting import save_figure

    for name, table in (("table.csv", found.table()), ("heights.csv", found.table("height"))):
        with atomic_path(out / name) as temporary:
            table.to_csv(temporary, index=False)
    save_figure(found.plot(), out / "figure.png")
    found.report(out / "report.html")


def _print_results(out: Path, found: StudyResult) -> None:
    table: Any = found.table("height")
    rows = []
    for (height, part), arms in table.groupby(["height", "part"], sort=True):
        if arms["value"].notna().any():
            best = arms.loc[arms["value"].idxmax()]
            numbers = (number(best[name]) for name in ("value", "low", "high", "floor", "share_in_c"))
            rows.append([str(height), part, best["arm"], best["score"], *numbers])
    title = f"Best of {table['arm'].nunique()} arms"
    columns = ["height", "part", "arm", "score", "value", "low", "high", "untrained", "predicted share in c"]
    print_table(title, columns, rows)
    claims = found.claims()
    if claims:
        print(f"claims: {outcomes([claim.holds for claim in claims])}")
    print(f"wrote {len(found.losses)} fits and their scores to {out}; the page is {out / 'report.html'}")
