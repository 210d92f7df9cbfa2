"""The command ``train``: masked autoencoders on data with known latents."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from hlvm._files import as_path, atomic_path, check_new_folder, is_new_folder, only_writer
from hlvm._process import complain, hold_back_log, stopped
from hlvm.cli.compilation import use_compilation_cache
from hlvm.cli.input import Flag, check_folder_can_be_made, check_has_graph, load_source
from hlvm.graph import LatentGraph

if TYPE_CHECKING:
    from hlvm.cli.settings import Settings
    from hlvm.mae import Fit, Progress

__all__ = ["train"]


def train(
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")],
    *,
    config: Annotated[Path, tyro.conf.arg(metavar="FILE")],
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None,
    resume: Flag = False,
    plan: Flag = False,
    tensorboard: Flag = False,
    devices: Literal["auto", "one", "all", "cores"] = "auto",
    microbatch: int | None = None,
    save_every: int = 1000,
) -> int:
    """Train masked autoencoders and save them, with their losses, in a new folder.

    DIR gets fits/ (see hlvm.mae.load_fits), losses.csv and losses.png. From images of one or three channels it also
    gets reconstructions.png. During the run its state is kept in DIR/run. --resume continues an interrupted run from
    there; the end is the same as without the interruption. Exit code 1 means that all autoencoders diverged.

    The settings file holds tables [network], [mask] and [train], and optionally [loss] and seeds. With several
    networks, masks, losses or seeds, or lists of values in their fields, every combination is trained. See
    hlvm.cli.settings_from_dict.

    Example: hlvm train shapes.h5 --config settings.toml --out runs/first

    Args:
        data: a data set (.h5, .hdf5 or .npz, as hlvm sample writes it); or a source of fresh samples for every step: a
            saved model (.npz, or the folder of an image model), or a family of images (quadtree, shapes or grammar). A
            family takes its seed from the settings.
        config: the settings (.toml or .json).
        out: the folder of results; it must not exist, except with --resume. Required without --plan.
        resume: continue an interrupted run, with the same data and settings.
        plan: train nothing; only predict the cost: programs, devices, memory and time, including compilation.
        tensorboard: also write event files to DIR/events; needs tensorboardX.
        devices: cores: every core of the CPU is a device, which is faster for several members, or for one member if
            cores can share its batch. all: all devices that JAX finds. one: one device. auto: the GPUs if there are
            any; otherwise the cores, if they can share the work and a step is long enough. With --resume, auto takes as
            many devices as before.
        microbatch: most samples of a batch that a device goes through at a time. It must divide the number of samples
            that the device has; all at once if left out. Smaller parts need less memory, and may be faster for
            transformers on a CPU: try 16 with --devices cores.
        save_every: steps between two saved states.
    """
    from hlvm.cli.settings import load_settings

    settings = load_settings(config)
    if save_every < 1:
        raise ValueError(f"--save-every must be at least 1, got {save_every}")
    if microbatch is not None and microbatch < 1:
        raise ValueError(f"--microbatch must be at least 1, got {microbatch}")
    if not plan and out is None:
        raise ValueError("--out DIR is missing: give a folder for the results; only --plan needs none")
    if plan or out is None:
        return _run(data, settings, config, None, tensorboard, devices, microbatch, save_every)
    out = as_path(out)
    check_folder_can_be_made(out)
    with only_writer(out):
        _check_out(out, resume=resume)
        return _run(data, settings, config, out, tensorboard, devices, microbatch, save_every)


def _run(
    data: str,
    settings: Settings,
    config: Path,
    out: Path | None,
    tensorboard: bool,
    devices: str,
    microbatch: int | None,
    save_every: int,
) -> int:
    """Train into a folder, or without one print the plan."""
    import jax

    from hlvm import mae
    from hlvm.cli.settings import errors_of_settings
    from hlvm.mae.training.planner import worth_sharing
    from hlvm.mae.training.run_state import devices_of_run

    hold_back_log("absl")  # what Orbax says of a full disk
    use_compilation_cache()
    begun_with = None if out is None else devices_of_run(out / "run")
    if devices == "auto":
        chosen = mae.fastest_devices(begun_with)
    else:
        chosen = mae.one_device_per_core() if devices == "cores" else None
    source = _loaded(data, settings.seed)
    where = {"devices": jax.devices() if devices == "all" else chosen, "microbatch": microbatch}
    try:
        with errors_of_settings(config, settings.names):
            if devices == "auto" and begun_with is None and chosen is not None:
                where["devices"] = worth_sharing(source, settings.members, settings.train, chosen)
            if out is None:
                planned = mae.plan_ensemble(
                    jax.random.key(settings.seed), source, settings.members, settings.train, **where
                )
                print(planned)
                return 0
            return _train(source, settings, out, where, tensorboard=tensorboard, save_every=save_every)
    finally:
        if hasattr(source, "close"):
            source.close()


def _train(
    source: Any, settings: Settings, out: Path, where: dict[str, Any], *, tensorboard: bool, save_every: int
) -> int:
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

    try:
        with _bars() as bars, warnings.catch_warnings():
            warnings.simplefilter("ignore", mae.DivergenceWarning)  # printed with the results
            watchers.append(_Watcher(bars, settings))
            fits = mae.fit_ensemble(
                jax.random.key(settings.seed),
                source,
                settings.members,
                settings.train,
                on_progress=watch_all,
                checkpoints=mae.Checkpoints(folder=run, every=save_every),
                **where,
            )
    except KeyboardInterrupt as stop:
        if not run.exists():
            raise
        return stopped(stop, f"the saved states are in {run}: resume with --resume, or remove {out}")
    except Exception as error:
        if run.exists():
            error.add_note(f"the saved states are in {run}: resume with --resume")
        raise
    finally:
        for watch in watchers:
            if hasattr(watch, "close"):
                watch.close()
    _write_results(out, settings, fits, source)
    shutil.rmtree(run)
    _print_results(out, settings, fits)
    diverged = sum(fit.diverged for fit in fits)
    if diverged:
        complain(f"{diverged} of {len(fits)} diverged: try a lower learning_rate or a longer warmup in [train]")
    return int(diverged == len(fits))


# ---------------------------------------------------------------------- checks and input


def _check_out(out: Path, *, resume: bool) -> None:
    run = out / "run"
    if (out / "fits").exists():
        shutil.rmtree(run, ignore_errors=True)  # states that a kill has left
        raise ValueError(f"{out} holds a finished run: choose another folder")
    if resume and not run.exists():
        raise ValueError(
            f"{out} holds no interrupted run: leave --resume out, or give the folder of an interrupted run"
        )
    if not resume:
        if not is_new_folder(run):
            raise ValueError(f"{out} holds an interrupted run: resume it with --resume, or choose another folder")
        if not is_new_folder(out, "run"):  # which a kill leaves empty before its first file is written
            check_new_folder(out)


def _loaded(place: str, seed: int) -> Any:
    """A data set with a graph, a model, or an image model."""
    found = load_source(place, seed=seed)
    if isinstance(found, LatentGraph):
        raise ValueError(
            f"{place} is a graph, which has no mechanisms to draw data with: hlvm sample {place} --save-model FILE "
            "adds them"
        )
    check_has_graph(found, place)
    return found


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
            loss=f"loss {_mean(progress.losses):.4f}",
            speed=f"{progress.samples_per_second:,.0f} samples/s",
        )


def _mean(losses: Any) -> float:
    """The mean of those that are not divergence."""
    from hlvm.mae.training.program import EXPLODED

    sound = losses[losses <= EXPLODED]  # which numbers that are none are not
    return float(sound.mean()) if len(sound) else float("nan")


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
    from hlvm import mae, plotting
    from hlvm.cli.training_results import loss_curves, loss_table

    with atomic_path(out / "losses.csv") as temporary:
        loss_table(settings.names, fits).to_csv(temporary, index=False)
    trained, held_out = loss_curves(settings.names, fits)
    words = "training loss; dots: held out" if held_out else "training loss"
    figure = plotting.plot_losses(trained, held_out=held_out, y_label=words, names_below=True)
    plotting.save_figure(figure, out / "losses.png")
    _write_reconstructions(out / "reconstructions.png", settings, fits, source)
    mae.save_fits(out / "fits", fits)


def _write_reconstructions(path: Path, settings: Settings, fits: tuple[Fit, ...], source: Any) -> None:
    """A contact sheet of the first member that gives images: image, what the encoder sees, reconstruction."""
    import jax
    import numpy as np

    from hlvm import plotting
    from hlvm.cli.training_results import gives_pixels, reconstructed_images
    from hlvm.images import contact_sheet
    from hlvm.mae import ArrayData

    images = getattr(source, "images", None)
    able = [pair for pair in zip(settings.names, fits, strict=True) if gives_pixels(pair[1])]
    if images is None or images.shape[3] not in (1, 3) or not able:
        return
    name, fit = able[0]
    which = np.arange(len(images)) if fit.held_out is None else fit.held_out.rows
    rows = ArrayData.of(source).rows(which[:_SHOWN])
    shown = reconstructed_images(fit, rows, images.shape[1:], jax.random.key(settings.seed))
    kind = "images trained on" if fit.held_out is None else "images held out"
    title = f"{name}\n{kind}, what the encoder sees, reconstructions"
    plotting.save_figure(plotting.plot_picture(contact_sheet(shown, columns=len(rows)), title=title), path)


_SHOWN = 8


def _print_results(out: Path, settings: Settings, fits: tuple[Fit, ...]) -> None:
    for name, fit in zip(settings.names, fits, strict=True):
        last = fit.losses[-max(1, len(fit.losses) // 20) :]
        ended = f"diverged after {len(fit.losses)} steps" if fit.diverged else f"loss {last.mean():.4f}"
        if fit.held_out is not None and not fit.diverged:
            ended += f", held out {fit.held_out.losses[-1]:.4f}"
        print(f"{name}: {ended}")
    print(f"wrote {len(fits)} masked autoencoders to {out}")
