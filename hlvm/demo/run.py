"""The demo's chain: generator, prediction, training, scores, claims, files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hlvm import mae
from hlvm._files import as_path, atomic_folder, check_new_folder, only_writer
from hlvm._files.digests import write_json
from hlvm._keys import checked_key
from hlvm._process.provenance import versions
from hlvm.claims import Claim
from hlvm.demo.page import write_page, write_quick_page
from hlvm.demo.scenes import train_on_scenes
from hlvm.demo.scores import bottleneck_claims, score_bottlenecks, study_claims
from hlvm.demo.setting import DemoConfig, MaskCase, mask_cases, study_of
from hlvm.images import QuadtreeImages
from hlvm.mae import BottleneckConfig, Fit, Member
from hlvm.mae.config import as_ever
from hlvm.study import Prediction, StudyProgress, StudyResult

__all__ = ["DemoResult", "claims_table", "run_demo"]

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-learn")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo found.

    Attributes:
        claims: every claim with what the theory predicted, what was measured, and how it came out.
        scores: one row per bottleneck autoencoder and latent, with all controls.
        study: what the vision transformers found under random masks; ``None`` of a quick run.
        seconds: time spent in each stage.
    """

    claims: tuple[Claim, ...]
    scores: pd.DataFrame
    study: StudyResult | None
    seconds: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether no claim came out against the theory; inconclusive ones are not against it."""
        return all(claim.theory_agrees is not False for claim in self.claims)


def run_demo(config: DemoConfig, out: Path, *, quick: bool = False, console: Console | None = None) -> DemoResult:
    """Run the whole chain and write its results to a new folder, all or nothing.

    The folder receives ``prediction.json``, written before anything is trained, ``report.html`` (self-contained),
    ``results.json``, ``scores.csv``, ``config.json``, ``figures/`` (PNG; ``demo.png`` shows the whole in one picture),
    ``checkpoints/`` (the generator and every bottleneck autoencoder) and ``study/``, that of the vision transformers:
    see :func:`hlvm.study.load_study`.

    Args:
        config: what to run.
        out: the folder to make; it must not exist, or be empty.
        quick: predict as ever, but train one bottleneck autoencoder only, that of the first fixed mask, and draw one
            figure, its scores. There are no checkpoints then, and no study.
        console: where to show progress and the final table; ``None`` for silence.

    Returns:
        Claims and scores.

    Raises:
        FileExistsError: the folder holds something already; before any work.
        ValueError: another process writes there.
        RuntimeError: training diverged.
    """
    out = as_path(out)
    check_new_folder(out)
    quiet = console or Console(quiet=True)
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with only_writer(out), Progress(*columns, console=quiet) as progress, atomic_folder(out) as folder:
        stages = _Stages(progress)
        keys = _named_keys(checked_key(config.key))
        with stages.stage("draw the generator", 1) as advance:
            images = QuadtreeImages.init(keys["model"], height=config.height)
            advance(1)
        with stages.stage("predict from graph and masks", 1) as advance:
            cases = mask_cases(images.graph)
            _write_prediction(folder, cases, study_of(images.model, config).predict(quantities=False))
            advance(1)
        measured = _measure_quickly if quick else _measure
        result = measured(folder, config, keys, images, cases, stages)
    quiet.print(claims_table(result.claims))
    return result


def _measure(
    folder: Path,
    config: DemoConfig,
    keys: Mapping[str, jax.Array],
    images: QuadtreeImages,
    cases: Sequence[MaskCase],
    stages: _Stages,
) -> DemoResult:
    """Train, score and decide everything, and write it down."""
    with stages.stage("train bottleneck autoencoders", config.bottleneck.steps) as advance:
        bottlenecks = train_bottlenecks(keys["bottleneck"], images, cases, config, advance)
    with stages.stage("train and score vision transformers", 100) as advance:
        found = run_study(keys["vit"], images, config, folder / "study", advance)
    with stages.stage("train a transformer on scenes", config.scene_train.steps) as advance:
        scenes = train_on_scenes(keys["scenes"], config, advance)
        _refuse_diverged([scenes.fit])
    scores, claims = _scored(config, keys, images, cases, bottlenecks, stages)
    claims += study_claims(found, images.graph.latents[0])
    with stages.stage("draw figures, write the report", 1) as advance:
        result = DemoResult(claims=tuple(claims), scores=scores, study=found, seconds=stages.seconds)
        settings = _settings(config)
        mae.save_fits(folder / "checkpoints", bottlenecks)
        pictures = images.model.sample(keys["pictures"], 16)
        write_page(folder, config, images, pictures, cases, bottlenecks, found, scenes, scores, claims, settings)
        _write_data(folder, result, settings)
        advance(1)
    return result


def _measure_quickly(
    folder: Path,
    config: DemoConfig,
    keys: Mapping[str, jax.Array],
    images: QuadtreeImages,
    cases: Sequence[MaskCase],
    stages: _Stages,
) -> DemoResult:
    """The first fixed mask alone."""
    cases = cases[:1]
    with stages.stage("train a bottleneck autoencoder", config.bottleneck.steps) as advance:
        bottlenecks = train_bottlenecks(keys["bottleneck"], images, cases, config, advance)
    scores, claims = _scored(config, keys, images, cases, bottlenecks, stages)
    with stages.stage("draw a figure, write the report", 1) as advance:
        result = DemoResult(claims=tuple(claims), scores=scores, study=None, seconds=stages.seconds)
        settings = _settings(config)
        write_quick_page(folder, config, cases[0], scores, claims, settings)
        _write_data(folder, result, settings)
        advance(1)
    return result


def _scored(
    config: DemoConfig,
    keys: Mapping[str, jax.Array],
    images: QuadtreeImages,
    cases: Sequence[MaskCase],
    bottlenecks: Sequence[Fit],
    stages: _Stages,
) -> tuple[pd.DataFrame, list[Claim]]:
    """Scores of the bottlenecks, and the claims about them."""
    sample = images.model.sample(keys["score"], config.score_rows)
    with stages.stage("score every latent, bottlenecks", len(bottlenecks)) as advance:
        scores = score_bottlenecks(keys["split"], sample, cases, bottlenecks, advance)
    with stages.stage("decide the claims", len(bottlenecks)) as advance:
        return scores, bottleneck_claims(keys["split"], sample, cases, bottlenecks, config, advance)


def claims_table(claims: Sequence[Claim]) -> Table:
    """The final table: each claim with its prediction, below it its scores, and whether it holds and agrees."""
    table = Table(title="What the theory predicted, and what was measured", title_justify="left")
    table.add_column("claim, and its scores", overflow="fold")
    for heading in ("value", "low", "high"):
        table.add_column(heading, justify="right")
    for heading in ("holds?", "as predicted?"):
        table.add_column(heading, overflow="fold")
    holds = {True: "yes", False: "no", None: "open"}
    agrees = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "[yellow]open[/]"}
    for claim in claims:
        said = f"[bold]{escape(claim.text)}[/]\npredicted: {escape(str(claim.theory))}"
        table.add_row(said, "", "", "", holds[claim.holds], agrees[claim.theory_agrees])
        for name, *numbers in claim.rows:
            table.add_row(f"  {escape(name)}", *numbers[:3])
        table.add_section()
    return table


# ---------------------------------------------------------------------- stages


class _Stages:
    """Named stages with a progress bar and the seconds each took."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Any]:
        """Yield a function ``advance(done, total=None)``."""
        task = self._progress.add_task(name, total=total)
        began = time.perf_counter()

        def advance(done: int, total: int | None = None) -> None:
            self._progress.update(task, completed=done, total=total)

        yield advance
        self._progress.update(task, completed=self._progress.tasks[task].total)
        self.seconds[name] = time.perf_counter() - began


def _named_keys(key: jax.Array) -> dict[str, jax.Array]:
    names = ("model", "bottleneck", "vit", "score", "split", "pictures")
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    return keys | {"scenes": jax.random.fold_in(key, len(names))}  # one more part would change all others


# ---------------------------------------------------------------------- training


def train_bottlenecks(
    key: jax.Array, images: QuadtreeImages, cases: Sequence[MaskCase], config: DemoConfig, advance: Any
) -> tuple[Fit, ...]:
    members = [
        Member(mask=case.mask, network=BottleneckConfig(code_dim=dim)) for case in cases for dim in case.code_dims
    ]
    fits = mae.fit_ensemble(
        key, images.model, members, config.bottleneck, on_progress=lambda p: advance(p.step, p.steps)
    )
    _refuse_diverged(fits)
    return fits


def _refuse_diverged(fits: Sequence[Fit]) -> None:
    for fit in fits:
        if fit.diverged:
            raise RuntimeError(f"training diverged after {len(fit.losses)} steps: {fit}; try a lower learning rate")


def run_study(key: jax.Array, images: QuadtreeImages, config: DemoConfig, out: Path, advance: Any) -> StudyResult:
    def on_progress(progress: StudyProgress) -> None:
        advance(round(100 * progress.share))

    found = study_of(images.model, config).run(key, out=out, on_progress=on_progress)
    if found.diverged:
        raise RuntimeError(f"training diverged: {found.diverged[0]}; try a lower learning rate")
    return found


# ---------------------------------------------------------------------- files


def _settings(config: DemoConfig) -> dict[str, Any]:
    """Configuration and versions, for the record."""
    used = {**versions(*_PACKAGES), "device": jax.devices()[0].device_kind}
    words = jax.random.key_data(checked_key(config.key)).tolist()
    return {"demo": as_ever(dataclasses.asdict(config)) | {"key": words}, "versions": used}


def _write_prediction(folder: Path, cases: Sequence[MaskCase], random_masks: Prediction) -> None:
    masks = [
        {
            "label": case.label,
            "masked": list(case.mask.masked),
            "members": sorted(case.shared.members),
            "frontier": sorted(case.shared.frontier),
            "d_c": case.shared.dim,
        }
        for case in cases
    ]
    write_json(folder / "prediction.json", {"masks": masks, "random_masks": random_masks.heights.to_dict("records")})


def _write_data(folder: Path, result: DemoResult, settings: Mapping[str, Any]) -> None:
    result.scores.to_csv(folder / "scores.csv", index=False, float_format="%.6g")
    write_json(folder / "config.json", settings)
    write_json(
        folder / "results.json",
        {
            "agrees": result.agrees,
            "claims": [claim.to_dict() for claim in result.claims],
            "seconds": result.seconds,
        },
    )
