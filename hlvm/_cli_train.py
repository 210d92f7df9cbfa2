"""The command ``train``: masked autoencoders on data with known latents."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from hlvm._cli_input import (
    INTERRUPTED,
    Flag,
    check_folder_can_be_made,
    complain,
    load_model,
    use_compilation_cache,
)
from hlvm._files import atomic_path, check_new_folder

if TYPE_CHECKING:
    import numpy as np

    from hlvm.graph import LatentGraph
    from hlvm.mae import Fit, Progress
    from hlvm.mae.settings import Settings

__all__ = ["train"]


def train(
    data: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")],
    *,
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    resume: Flag = False,
    plan: Flag = False,
    tensorboard: Flag = False,
    devices: Literal["one", "all"] = "one",
    save_every: int = 1000,
) -> int:
    """Train masked autoencoders and keep them, with their losses, in a new folder.

    DIR gets fits/ (see hlvm.mae.load_fits), losses.csv, losses.png and, from images of one or three channels,
    reconstructions.png. While the run lasts its state is kept in DIR/run; a run that was stopped, in whatever way, goes
    on from there with --resume and ends as if it had never been stopped.

    The settings file holds tables [network], [mask], [train] and, if wanted, [loss] and seeds; with several networks,
    masks, losses or seeds every combination is trained. See hlvm.mae.settings_from_dict.

    Example: hlvm train shapes.h5 --config settings.toml --out runs/first

    Args:
        data: a data set (.h5, .hdf5 or .npz, as hlvm sample writes it), or a saved model (.npz), which draws fresh
            samples for every step.
        config: the settings (.toml or .json).
        out: the folder of results; it must not exist, except with --resume.
        resume: go on with a run that was stopped, with the same data and settings.
        plan: only say what training will take: programs, memory, rough time.
        tensorboard: also write event files to DIR/events; needs tensorboardX.
        devices: one device, or all that JAX finds.
        save_every: steps between two states.
    """
    from hlvm.mae.settings import load_settings

    settings = load_settings(config)
    if save_every < 1:
        raise ValueError(f"--save-every must be at least 1, got {save_every}")
    if not plan:
        _check_out(out, resume=resume)
    import jax

    from hlvm import mae

    use_compilation_cache()
    source = _loaded(data)
    used = jax.devices() if devices == "all" else None
    try:
        _check_members(source, settings, used, config)
        if plan:
            print(mae.plan_ensemble(source, settings.members, settings.train, devices=used))
            return 0
        return _train(source, settings, out, used, tensorboard=tensorboard, save_every=save_every)
    finally:
        if hasattr(source, "close"):
            source.close()


def _train(source: Any, settings: Settings, out: Path, devices: Any, *, tensorboard: bool, save_every: int) -> int:
    import jax

    from hlvm import mae

    watchers: list[Any] = []
    if tensorboard:
        try:
            names = [_as_file_name(f"{i} {name}") for i, name in enumerate(settings.names)]
            watchers.append(mae.TensorBoard(out / "events", names))
        except ImportError as error:
            raise ValueError(f"--tensorboard: {error}") from None
    run = out / "run"

    def watch_all(progress: Progress) -> None:
        for watch in watchers:
            watch(progress)
        interrupts.check()

    try:
        with _bars() as bars, _Interrupts() as interrupts:
            watchers.append(_Watcher(bars, settings))
            fits = mae.fit_ensemble(
                jax.random.key(settings.seed),
                source,
                settings.members,
                settings.train,
                on_progress=watch_all,
                checkpoints=mae.Checkpoints(folder=run, every=save_every),
                devices=devices,
            )
    except KeyboardInterrupt:
        if not run.exists():
            raise
        complain(f"interrupted; the last state is kept in {run}: go on with --resume, or remove {out}")
        return INTERRUPTED
    finally:
        for watch in watchers:
            if hasattr(watch, "close"):
                watch.close()
    _write_results(out, settings, fits, source)
    shutil.rmtree(run)
    _print_results(out, settings, fits)
    return 0


# ---------------------------------------------------------------------- checks and input


def _check_out(out: Path, *, resume: bool) -> None:
    if (out / "fits").exists():
        raise ValueError(f"{out} holds a finished run: choose another folder")
    if resume and not (out / "run" / "run.json").exists():
        raise ValueError(f"{out} holds no stopped run: leave --resume out, or name the folder of one")
    if not resume:
        if (out / "run" / "run.json").exists():
            raise ValueError(f"{out} holds a run that was stopped: go on with --resume, or choose another folder")
        check_new_folder(out)
        check_folder_can_be_made(out)


def _loaded(path: Path) -> Any:
    """A data set, or a model: both may be .npz files, and only data sets hold images or observed values."""
    from hlvm.datasets import load_dataset

    if path.suffix not in {".npz", ".h5", ".hdf5"}:
        raise ValueError(f"{path}: data is a .npz, .h5 or .hdf5 file, got {path.suffix or 'no suffix'!r}")
    if path.suffix == ".npz":
        path.stat()
        try:
            names = zipfile.ZipFile(path).namelist()
        except zipfile.BadZipFile:
            raise ValueError(f"{path} is not an .npz file of arrays") from None
        if "header.npy" in names:
            return load_model(path)
        if not any(name.startswith(("images", "observed/")) for name in names):
            raise ValueError(f"{path} is neither a data set nor a saved model: hlvm sample writes both")
    found = load_dataset(path)
    if found.graph is None:
        found.close()
        raise ValueError(f"{path} has no graph, which says what is masked: hlvm sample writes it with the data")
    return found


def _check_members(source: Any, settings: Settings, devices: Any, config: Path) -> None:
    """Check that data and settings fit together; messages name the file, and members by what tells them apart."""
    from hlvm.mae.data import check_data
    from hlvm.mae.groups import group_members
    from hlvm.mae.settings import in_file_words

    graph = check_data(source).graph
    try:
        group_members(graph, settings.members, settings.train, devices)
    except ValueError as error:
        text = re.sub(r"^member (\d+):", lambda found: f"{settings.names[int(found[1])]}:", in_file_words(str(error)))
        raise ValueError(f"{config}: {text}") from None


# ---------------------------------------------------------------------- watching


class _Watcher:
    """One progress bar per program, with the mean loss, the speed and the time left."""

    def __init__(self, bars: Bars, settings: Settings) -> None:
        self._bars, self._steps = bars, settings.train.steps
        self._tasks: dict[int, Any] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.group not in self._tasks:
            title = f"program {progress.group + 1} of {progress.n_groups}"
            self._tasks[progress.group] = self._bars.add_task(title, total=self._steps, loss="", speed="")
        self._bars.update(
            self._tasks[progress.group],
            completed=progress.step,
            loss=f"loss {progress.losses.mean():.4f}",
            speed=f"{progress.samples_per_second:,.0f} samples/s",
        )


class _Interrupts:
    """Holds Ctrl-C back until steps are done and no state is being written; a second one is not held back.

    Until :meth:`check` is called for the first time, while programs are compiled, none is.
    """

    def __init__(self) -> None:
        self._began = self._wanted = False
        self._before: Any = None

    def check(self) -> None:
        """Stop here if that was wanted."""
        self._began = True
        if self._wanted:
            raise KeyboardInterrupt

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, *_: object) -> None:
        if self._wanted or not self._began:
            raise KeyboardInterrupt
        self._wanted = True
        complain("stopping after these steps; Ctrl-C again to stop at once")


def _bars() -> Bars:
    console = Console(stderr=True)
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _as_file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "=.-" else "_" for letter in name)


# ---------------------------------------------------------------------- results


def _write_results(out: Path, settings: Settings, fits: tuple[Fit, ...], source: Any) -> None:
    """The fits last: a folder with fits is a finished run."""
    import pandas as pd

    from hlvm import mae

    table = pd.concat(
        [
            pd.DataFrame({"member": i, "name": name, "step": range(1, len(fit.losses) + 1), "loss": fit.losses})
            for i, (name, fit) in enumerate(zip(settings.names, fits, strict=True))
        ]
    )
    with atomic_path(out / "losses.csv") as temporary:
        table.to_csv(temporary, index=False)
    _write_curves(out / "losses.png", settings, fits)
    _write_reconstructions(out / "reconstructions.png", settings, fits, source)
    mae.save_fits(out / "fits", fits)


def _write_curves(path: Path, settings: Settings, fits: tuple[Fit, ...]) -> None:
    """Losses, one panel per score, with all names below, because they can be long."""
    from hlvm import plotting

    curves: dict[str, dict[str, Any]] = {}
    for name, fit in zip(settings.names, fits, strict=True):
        curves.setdefault(_LOSSES[fit.loss.score], {})[name] = fit.losses
    figure = plotting.plot_losses(curves)
    figure.axes[0].set_ylabel("training loss")
    for axes in figure.axes:
        if (legend := axes.get_legend()) is not None:
            legend.remove()
    if len(fits) <= _MOST_NAMED:
        lines = [line for axes in figure.axes for line in axes.get_lines()]
        figure.set_figheight(figure.get_figheight() + _INCHES_PER_NAME * len(lines))
        figure.legend(handles=lines, loc="outside lower center", fontsize=8, frameon=False)
    plotting.save_figure(figure, path)


_MOST_NAMED, _INCHES_PER_NAME = 24, 0.18
"""More curves than this are not told apart by a legend; losses.csv has them by name."""

_LOSSES = {"squared_error": "squared error / variance", "energy": "energy score / standard deviation"}
_SHOWN = 8


def _write_reconstructions(path: Path, settings: Settings, fits: tuple[Fit, ...], source: Any) -> None:
    """A contact sheet of the first member that gives images: image, what the encoder sees, reconstruction."""
    import jax
    import numpy as np

    from hlvm import mae, plotting
    from hlvm.images import contact_sheet
    from hlvm.mae import ArrayData

    images = getattr(source, "images", None)
    able = [
        (name, fit)
        for name, fit in zip(settings.names, fits, strict=True)
        if not getattr(fit.config, "normalize_targets", False)
    ]
    if images is None or images.shape[3] not in (1, 3) or not able:
        return
    name, fit = able[0]
    graph = fit.model.graph
    rows = ArrayData.of(source).rows(np.arange(min(_SHOWN, len(images))))
    mask_key, noise_key = jax.random.split(jax.random.key(settings.seed))
    masked = np.asarray(fit.mask.sample(mask_key, len(rows), graph))
    energy = fit.loss.score == "energy"
    made = mae.reconstruct(fit, rows, masked, key=noise_key if energy else None, draws=1 if energy else None)
    seen = np.where(np.repeat(masked, [graph.dim(name) for name in graph.observed], axis=1), 0.5, rows)
    values = np.concatenate([rows, seen, np.asarray(made).reshape(rows.shape)])
    picture = contact_sheet(np.clip(_as_images(values, graph, images.shape[1:]), 0, 1), columns=len(rows))
    title = f"{name}\nimages trained on, what the encoder sees, reconstructions"
    plotting.save_figure(plotting.plot_picture(picture, title=title), path)


def _as_images(values: np.ndarray, graph: LatentGraph, shape: tuple[int, int, int]) -> np.ndarray:
    """Images of patches that stand side by side, row by row of the grid."""
    height, width, channels = shape
    rows, columns = graph.grid or (1, 1)
    patches = values.reshape(len(values), rows, columns, height // rows, width // columns, channels)
    return patches.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)


def _print_results(out: Path, settings: Settings, fits: tuple[Fit, ...]) -> None:
    for name, fit in zip(settings.names, fits, strict=True):
        last = fit.losses[-max(1, len(fit.losses) // 20) :]
        ended = f"diverged after {len(fit.losses)} steps" if fit.diverged else f"loss {last.mean():.4f}"
        print(f"{name}: {ended}")
    print(f"wrote {len(fits)} masked autoencoders to {out}")
